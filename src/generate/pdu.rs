//! Making events: fields, hashes, IDs.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma_common::room_version_rules::{EventsReferenceFormatVersion, RoomVersionRules};

use super::random::Random;
use crate::encoding::{
    event_key::EventKey,
    json::{Json, Object},
    pdu::CanonicalEvent,
};

/// An event, as the server of its sender would send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Its ID.
    pub event_id: String,
    /// The PDU: canonical JSON.
    pub pdu: Vec<u8>,
}

/// An event that others may refer to.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) event_id: Box<str>,
    /// It, as `prev_events` and `auth_events` of the room version name it.
    pub(super) reference: Json,
    pub(super) depth: i64,
    pub(super) origin_server_ts: i64,
}

/// What tells one event from another.
pub(super) struct Draft<'a> {
    pub(super) room_id: Option<&'a str>,
    pub(super) event_type: &'a str,
    pub(super) state_key: Option<&'a str>,
    pub(super) sender: &'a str,
    pub(super) content: Object,
    pub(super) depth: i64,
    pub(super) origin_server_ts: i64,
    pub(super) prev_events: Vec<Json>,
    pub(super) auth_events: Vec<Json>,
    /// The ID of the key that it is signed with.
    pub(super) key_id: &'a str,
    /// Another server that signs it.
    pub(super) cosigner: Option<&'a str>,
}

/// An object with these members.
pub(super) fn object<const N: usize>(members: [(&str, Json); N]) -> Object {
    members.into_iter().map(|(key, value)| (key.into(), value)).collect()
}

/// Gives an event its hashes, its ID, and the signature of its sender's server: random bytes, since the engine leaves
/// signatures to its host.
pub(super) fn finish(draft: Draft<'_>, rules: &RoomVersionRules, random: &mut Random) -> (Made, Generated) {
    let Draft { depth, origin_server_ts, sender, .. } = draft;
    let server = sender.split_once(':').map_or("", |(_, server)| server);
    let mut event = object([
        ("auth_events", Json::Array(draft.auth_events)),
        ("content", Json::Object(draft.content)),
        ("depth", Json::Int(depth)),
        ("origin_server_ts", Json::Int(origin_server_ts)),
        ("prev_events", Json::Array(draft.prev_events)),
        ("sender", sender.into()),
        ("type", draft.event_type.into()),
    ]);
    let others = [("room_id", draft.room_id), ("state_key", draft.state_key)];
    for (key, value) in others {
        if let Some(value) = value {
            event.insert(key, value.into());
        }
    }
    if rules.event_format.require_event_id {
        let localpart = URL_SAFE_NO_PAD.encode(random.bytes::<12>());
        event.insert("event_id", Json::String(format!("${localpart}:{server}").into()));
    }
    let content_hash = STANDARD_NO_PAD.encode(CanonicalEvent::new(&event).content_hash());
    event.insert("hashes", Json::Object(object([("sha256", Json::String(content_hash.into()))])));
    let reference_hash = CanonicalEvent::new(&event).reference_hash(&rules.redaction);

    let event_id = match event.get_str("event_id") {
        Some(event_id) => event_id.to_owned(),
        None => EventKey::from_bytes(reference_hash).event_id(rules.event_id_format).unwrap_or_default(),
    };
    let mut signatures = Object::new();
    for signer in std::iter::once(server).chain(draft.cosigner) {
        let signature = STANDARD_NO_PAD.encode(random.bytes::<64>());
        let by_key = object([(draft.key_id, Json::String(signature.into()))]);
        signatures.insert(signer, Json::Object(by_key));
    }
    event.insert("signatures", Json::Object(signatures));
    let reference = match rules.events_reference_format {
        EventsReferenceFormatVersion::V1 => {
            let hash = object([("sha256", Json::String(STANDARD_NO_PAD.encode(reference_hash).into()))]);
            Json::Array(vec![event_id.as_str().into(), Json::Object(hash)])
        }
        _ => event_id.as_str().into(),
    };
    let mut pdu = Vec::with_capacity(1024);
    event.write_canonical(&mut pdu);
    (Made { event_id: event_id.as_str().into(), reference, depth, origin_server_ts }, Generated { event_id, pdu })
}
