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
    pub counted: Counted,
    pub redacts: Option<OwnedEventId>,
    pub prev_events: Vec<OwnedEventId>,
    pub auth_events: Vec<OwnedEventId>,
    /// How another event names it.
    pub reference: Value,
    /// Whether redaction took something from it.
    pub redacted: bool,
}

/// What of an event `ruma-state-res` is given in another form, since it should count as that.
#[derive(Debug)]
pub struct Counted {
    /// See [`counted_levels`].
    pub content: Box<RawValue>,
    /// See [`counted_key`].
    pub state_key: Option<String>,
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

    /// Whether the join rules are among the auth events that the selection asks for.
    pub fn wants_join_rules(&self) -> bool {
        let content: Value = serde_json::from_str(self.content.get()).unwrap();
        let of = |membership| content["membership"] == membership;
        self.state_key.is_some()
            && self.event_type.to_string() == "m.room.member"
            && (of("join") || of("invite") || of("knock"))
    }

    /// Join rules that ask for an invite, which nobody has sent.
    pub fn absent_join_rules(room_id: &RoomId, id: OwnedEventId) -> Self {
        let content = to_raw_value(&json!({ "join_rule": "invite" })).unwrap();
        Self {
            bytes: Vec::new(),
            room_id: Some(room_id.to_owned()),
            sender: UserId::parse("@nobody:one").unwrap(),
            ts: MilliSecondsSinceUnixEpoch(0_u32.into()),
            depth: 0,
            event_type: "m.room.join_rules".into(),
            state_key: Some(String::new()),
            content: content.clone(),
            counted: Counted { content, state_key: Some(String::new()) },
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            reference: Value::Null,
            redacted: false,
            id,
        }
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
        let (event_type, state_key) = (text("type").unwrap(), text("state_key"));
        let mut counted = event["content"].clone();
        if event_type == "m.room.power_levels" && !rules.authorization.integer_power_levels {
            counted_levels(&mut counted);
        }
        Self {
            bytes: bytes.to_vec(),
            counted: Counted {
                content: to_raw_value(&counted).unwrap(),
                state_key: state_key.map(|key| counted_key(event_type, key)),
            },
            room_id: text("room_id").map(|id| RoomId::parse(id).unwrap()),
            sender: UserId::parse(text("sender").unwrap()).unwrap(),
            ts: MilliSecondsSinceUnixEpoch(u32::try_from(event["origin_server_ts"].as_u64().unwrap()).unwrap().into()),
            depth: event["depth"].as_i64().unwrap(),
            event_type: event_type.into(),
            state_key: state_key.map(str::to_owned),
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

/// What follows the state key in its stand-in.
const STAND_IN: &str = ":stand-in.example";

/// A user ID in the place of a membership's state key that is none. `ruma-state-res` refuses that; here it is a target like
/// others, and its stand-in is a user of whom nobody has heard.
pub fn counted_key(event_type: &str, state_key: &str) -> String {
    let is_counted = event_type != "m.room.member" || <&UserId>::try_from(state_key).is_ok();
    if is_counted { state_key.to_owned() } else { format!("@{state_key}{STAND_IN}") }
}

/// The state key that `ruma-state-res` knows as this one.
pub fn state_key_of(counted: &str) -> &str {
    counted.strip_suffix(STAND_IN).and_then(|key| key.strip_prefix('@')).unwrap_or(counted)
}

/// Takes out of power levels before room version 10 what counts as absent there. `ruma-state-res` refuses it.
fn counted_levels(content: &mut Value) {
    let is_level =
        |level: &Value| level.is_number() || level.as_str().is_some_and(|text| text.trim().parse::<i64>().is_ok());
    let Some(properties) = content.as_object_mut() else { return };
    properties.retain(|property, value| match (property.as_str(), value) {
        ("users", _) => true,
        ("events" | "notifications", Value::Object(entries)) => {
            entries.retain(|_, level| is_level(level));
            true
        }
        ("events" | "notifications", _) => false,
        (_, level) => is_level(level),
    });
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
