//! PDUs as strings: made, hashed and read without any code of the engine.

use std::rc::Rc;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use roomserver::Kind;
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId,
    RoomId, UserId,
    canonical_json::redact,
    room_version_rules::{EventIdFormatVersion, EventsReferenceFormatVersion, RoomVersionRules},
};
use ruma_events::TimelineEventType;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use sha2::{Digest as _, Sha256};

/// An event as it counts: redacted if its content hash is wrong.
#[derive(Debug)]
pub struct Pdu {
    pub id: OwnedEventId,
    /// What other servers send.
    pub bytes: Vec<u8>,
    pub room_id: Option<OwnedRoomId>,
    pub sender: OwnedUserId,
    pub ts: MilliSecondsSinceUnixEpoch,
    pub depth: i64,
    pub event_type: TimelineEventType,
    pub state_key: Option<String>,
    pub content: Box<RawValue>,
    pub redacts: Option<OwnedEventId>,
    pub prev_events: Vec<OwnedEventId>,
    pub auth_events: Vec<OwnedEventId>,
    /// How another event names it.
    pub reference: Value,
    /// Whether redaction took something from it.
    pub redacted: bool,
}

/// What there is to decide about an event.
#[derive(Debug, Clone)]
pub struct In {
    pub pdu: Rc<Pdu>,
    pub kind: Kind,
    pub state: Option<Vec<OwnedEventId>>,
    pub local: bool,
}

impl Pdu {
    pub fn is_at(&self, event_type: &str, state_key: &str) -> bool {
        self.event_type.to_string() == event_type && self.state_key.as_deref() == Some(state_key)
    }

    /// Its key in a state.
    pub fn key(&self) -> Option<(String, String)> {
        Some((self.event_type.to_string(), self.state_key.clone()?))
    }

    /// Makes an event of everything but its hashes. With `spoilt` its content hash is wrong.
    pub fn make(mut event: Value, rules: &RoomVersionRules, spoilt: bool) -> Rc<Self> {
        event["hashes"] = json!({ "sha256": STANDARD_NO_PAD.encode(content_hash(&object(&event))) });
        event["signatures"] = json!({ "one": { "ed25519:a": "c2ln" } });
        if spoilt {
            event["content"]["spoilt"] = json!(true);
        }
        Rc::new(Self::read(&serde_json::to_vec(&object(&event)).unwrap(), rules))
    }

    /// Reads what another server sent.
    pub fn read(bytes: &[u8], rules: &RoomVersionRules) -> Self {
        let mut event = object(&serde_json::from_slice(bytes).unwrap());
        let claimed = json_of(&event)["hashes"]["sha256"].as_str().unwrap().to_owned();
        let redacted = redact(event.clone(), &rules.redaction, None).unwrap();
        let reference_hash = hash_without(redacted.clone(), &["signatures", "unsigned"]);
        let is_right = |event: &CanonicalJsonObject| claimed == STANDARD_NO_PAD.encode(content_hash(event));
        if !is_right(&event) {
            event = redacted;
        }
        let redacted = !is_right(&event);
        let event = json_of(&event);
        let text = |name: &str| event[name].as_str();
        let id = match rules.event_id_format {
            EventIdFormatVersion::V1 => text("event_id").unwrap().to_owned(),
            EventIdFormatVersion::V2 => format!("${}", STANDARD_NO_PAD.encode(reference_hash)),
            _ => format!("${}", URL_SAFE_NO_PAD.encode(reference_hash)),
        };
        let names_pairs = rules.events_reference_format == EventsReferenceFormatVersion::V1;
        let reference =
            if names_pairs { json!([id, { "sha256": STANDARD_NO_PAD.encode(reference_hash) }]) } else { json!(id) };
        let references = |field: &str| {
            let entries = event[field].as_array().unwrap().iter();
            entries.map(|entry| entry.as_str().or(entry[0].as_str()).unwrap().try_into().unwrap()).collect()
        };
        let redacts =
            if rules.redaction.content_field_redacts { &event["content"]["redacts"] } else { &event["redacts"] };
        Self {
            bytes: bytes.to_vec(),
            room_id: text("room_id").map(|id| RoomId::parse(id).unwrap()),
            sender: UserId::parse(text("sender").unwrap()).unwrap(),
            ts: MilliSecondsSinceUnixEpoch(u32::try_from(event["origin_server_ts"].as_u64().unwrap()).unwrap().into()),
            depth: event["depth"].as_i64().unwrap(),
            event_type: text("type").unwrap().into(),
            state_key: text("state_key").map(str::to_owned),
            content: to_raw_value(&event["content"]).unwrap(),
            redacts: redacts.as_str().and_then(|id| id.try_into().ok()),
            prev_events: references("prev_events"),
            auth_events: references("auth_events"),
            id: id.as_str().try_into().unwrap(),
            reference,
            redacted,
        }
    }
}

fn object(event: &Value) -> CanonicalJsonObject {
    match CanonicalJsonValue::try_from(event.clone()).unwrap() {
        CanonicalJsonValue::Object(object) => object,
        _ => panic!("an event is an object"),
    }
}

fn json_of(object: &CanonicalJsonObject) -> Value {
    serde_json::to_value(object).unwrap()
}

fn content_hash(event: &CanonicalJsonObject) -> [u8; 32] {
    hash_without(event.clone(), &["hashes", "signatures", "unsigned"])
}

fn hash_without(mut event: CanonicalJsonObject, fields: &[&str]) -> [u8; 32] {
    for field in fields {
        event.remove(*field);
    }
    Sha256::digest(serde_json::to_vec(&event).unwrap()).into()
}
