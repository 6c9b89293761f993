//! A PDU: its format, its size limits, its hashes.

mod hashes;

#[cfg(test)]
mod tests;

pub use hashes::CanonicalEvent;

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ruma_common::{
    UserId,
    room_version_rules::{EventsReferenceFormatVersion, RoomIdFormatVersion, RoomVersionRules},
};

use super::{
    event_key::{EventKey, MAX_FIELD_BYTES},
    json::{Json, Object},
    redaction::redact,
};
use crate::error::{Error, Result};

/// The most bytes of a PDU in canonical form, with its signatures (specification, "Size limits").
pub const MAX_PDU_BYTES: usize = 65_536;
/// The most entries of `prev_events`.
pub const MAX_PREV_EVENTS: usize = 20;
/// The most entries of `auth_events`.
pub const MAX_AUTH_EVENTS: usize = 10;

/// An event as servers exchange it: checked for the format of its room version, and redacted if its content hash is wrong.
#[derive(Debug, Clone)]
pub struct Pdu {
    event_id: Box<str>,
    key: EventKey,
    reference_hash: [u8; 32],
    room_id: Box<str>,
    event_type: Box<str>,
    state_key: Option<Box<str>>,
    sender: Box<str>,
    origin_server_ts: i64,
    depth: i64,
    prev_events: References,
    auth_events: References,
    redacts: Option<Box<str>>,
    object: Object,
    canonical: Vec<u8>,
    redacted: bool,
}

/// The events that a PDU refers to, each once, in the order of the PDU.
#[derive(Debug, Clone, Default)]
struct References {
    event_ids: Vec<Box<str>>,
    keys: Vec<EventKey>,
    /// One that the PDU names again.
    repeated: Option<Box<str>>,
}

impl Pdu {
    /// Checks an event of a room with these rules: everything that can be told from the event alone, but for its
    /// signatures.
    ///
    /// `unsigned` is dropped first. If the content hash does not match, the event is redacted before any field below is
    /// read (specification, "Checks performed on receipt of a PDU", step 3). The event ID is computed where the room
    /// version says that it is a hash; a field `event_id` is then a field like any other, which redaction keeps and
    /// both hashes cover. An event that an array names twice is listed once; see
    /// [`Pdu::repeated_auth_event`].
    ///
    /// # Errors
    ///
    /// `Invalid`, with the field and what is wrong with it. In room version 12 this includes a create event that has a
    /// `room_id`, which the authorisation rules reject: it belongs to no room that could hold the rejected event.
    pub fn parse(json: Json, rules: &RoomVersionRules) -> Result<Self> {
        let Json::Object(mut object) = json else { return Err(Error::invalid("the event is not an object")) };
        object.remove("unsigned");
        if rules.authorization.strict_canonical_json
            && let Some(path) = object.strict_violation()
        {
            return Err(Error::invalid(format!("{path} is not an integer within ±(2^53 - 1), as canonical JSON asks")));
        }
        if object.get_object("content").is_none() {
            return Err(wrong(&object, "content", "is not an object"));
        }
        let claimed_hash = claimed_content_hash(&object)?;
        let event = CanonicalEvent::new(&object);
        if event.bytes().len() > MAX_PDU_BYTES {
            return Err(Error::invalid(format!(
                "the event has {} bytes, at most 65536 are allowed",
                event.bytes().len()
            )));
        }
        let reference_hash = event.reference_hash(&rules.redaction);
        let redacted = claimed_hash != event.content_hash();
        let mut canonical = event.into_bytes();
        if redacted {
            redact(&mut object, &rules.redaction);
            canonical.clear();
            object.write_canonical(&mut canonical);
        }
        Self::from_checked_hash(object, canonical, reference_hash, redacted, rules)
    }

    fn from_checked_hash(
        object: Object,
        canonical: Vec<u8>,
        reference_hash: [u8; 32],
        redacted: bool,
        rules: &RoomVersionRules,
    ) -> Result<Self> {
        check_signatures(&object)?;
        let event_type = short_text(&object, "type")?;
        let state_key = match object.get("state_key") {
            Some(_) => Some(short_text(&object, "state_key")?),
            None => None,
        };
        let sender = short_text(&object, "sender")?;
        if <&UserId>::try_from(sender).is_err() {
            return Err(wrong(&object, "sender", "is not a user ID"));
        }
        let (event_id, key) = event_id(&object, reference_hash, rules)?;
        let is_create = event_type == "m.room.create" && state_key == Some("");
        Ok(Self {
            room_id: room_id(&object, is_create, &event_id, rules)?,
            event_id,
            key,
            reference_hash,
            event_type: event_type.into(),
            state_key: state_key.map(Into::into),
            sender: sender.into(),
            origin_server_ts: integer(&object, "origin_server_ts")?,
            depth: natural(&object, "depth")?,
            prev_events: references(&object, "prev_events", MAX_PREV_EVENTS, rules)?,
            auth_events: references(&object, "auth_events", MAX_AUTH_EVENTS, rules)?,
            redacts: redacts(&object, event_type, rules).map(Into::into),
            object,
            canonical,
            redacted,
        })
    }

    /// The event ID.
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// The event ID in 32 bytes.
    pub fn key(&self) -> EventKey {
        self.key
    }

    /// The reference hash: SHA-256 of the redacted event without its signatures.
    pub fn reference_hash(&self) -> &[u8; 32] {
        &self.reference_hash
    }

    /// The room ID, of a room version 12 create event too.
    pub fn room_id(&self) -> &str {
        &self.room_id
    }

    /// The event type.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The state key, if this is a state event.
    pub fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    /// Tells whether this is a create event: of type `m.room.create`, with the empty state key.
    pub fn is_create(&self) -> bool {
        &*self.event_type == "m.room.create" && self.state_key() == Some("")
    }

    /// The sender's user ID.
    pub fn sender(&self) -> &str {
        &self.sender
    }

    /// When the origin server says it was made, in milliseconds since the Unix epoch. Anybody may send any
    /// number, one below 0 too.
    pub fn origin_server_ts(&self) -> i64 {
        self.origin_server_ts
    }

    /// The depth in the event graph that its sender gave it; never negative.
    pub fn depth(&self) -> i64 {
        self.depth
    }

    /// The events that came before it, each once, in the order of the PDU.
    pub fn prev_events(&self) -> &[Box<str>] {
        &self.prev_events.event_ids
    }

    /// The keys of [`Pdu::prev_events`], in the same order.
    pub fn prev_keys(&self) -> &[EventKey] {
        &self.prev_events.keys
    }

    /// The events that authorise it, each once, in the order of the PDU.
    pub fn auth_events(&self) -> &[Box<str>] {
        &self.auth_events.event_ids
    }

    /// The keys of [`Pdu::auth_events`], in the same order.
    pub fn auth_keys(&self) -> &[EventKey] {
        &self.auth_events.keys
    }

    /// An event that `auth_events` names more than once, which the authorisation rules reject.
    pub fn repeated_auth_event(&self) -> Option<&str> {
        self.auth_events.repeated.as_deref()
    }

    /// What an `m.room.redaction` event redacts: the text that stands where its room version wants it, unchecked.
    pub fn redacts(&self) -> Option<&str> {
        self.redacts.as_deref()
    }

    /// The content.
    pub fn content(&self) -> &Object {
        static EMPTY: Object = Object::new();
        // Never absent: `parse` has looked.
        self.object.get_object("content").unwrap_or(&EMPTY)
    }

    /// The whole event, without `unsigned`.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Gives up everything but the event itself.
    pub fn into_object(self) -> Object {
        self.object
    }

    /// The canonical JSON of [`Pdu::object`], signatures included.
    pub fn canonical_bytes(&self) -> &[u8] {
        &self.canonical
    }

    /// Tells whether the content hash did not match, so that this is the redacted event.
    pub fn is_redacted(&self) -> bool {
        self.redacted
    }
}

/// What an event tells about its room before the room version, and with it the event's format, is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomIdHint<'a> {
    /// The field `room_id`; the create event of a version 12 room has none.
    pub room_id: Option<&'a str>,
    /// The room version, if this is a create event: `content.room_version`, which defaults to `1`.
    pub room_version: Option<&'a str>,
}

/// Reads what a queue must know of an event before the room version is known.
///
/// # Errors
///
/// `Invalid` if the event is not an object, its `room_id` not a string, or the room version that it names not a string.
pub fn room_id_hint(json: &Json) -> Result<RoomIdHint<'_>> {
    let object = json.as_object().ok_or_else(|| Error::invalid("the event is not an object"))?;
    let room_id = match object.get("room_id") {
        Some(_) => Some(text(object, "room_id")?),
        None => None,
    };
    let is_create = object.get_str("type") == Some("m.room.create") && object.get_str("state_key") == Some("");
    let named = object.get_object("content").and_then(|content| content.get("room_version"));
    let room_version = match (is_create, named) {
        (false, _) => None,
        (true, None) => Some("1"),
        (true, Some(version)) => {
            Some(version.as_str().ok_or_else(|| Error::invalid("`content.room_version` is not a string"))?)
        }
    };
    Ok(RoomIdHint { room_id, room_version })
}

fn wrong(object: &Object, field: &str, what: &str) -> Error {
    Error::invalid(if object.get(field).is_some() {
        format!("`{field}` {what}")
    } else {
        format!("`{field}` is missing")
    })
}

fn text<'a>(object: &'a Object, field: &str) -> Result<&'a str> {
    object.get_str(field).ok_or_else(|| wrong(object, field, "is not a string"))
}

fn short_text<'a>(object: &'a Object, field: &str) -> Result<&'a str> {
    let text = text(object, field)?;
    if text.len() > MAX_FIELD_BYTES {
        return Err(wrong(object, field, &format!("has {} bytes, at most {MAX_FIELD_BYTES} are allowed", text.len())));
    }
    Ok(text)
}

fn integer(object: &Object, field: &str) -> Result<i64> {
    object.get_int(field).ok_or_else(|| wrong(object, field, "is not an integer from -2^63 to 2^63 - 1"))
}

fn natural(object: &Object, field: &str) -> Result<i64> {
    match object.get_int(field) {
        Some(int) if int >= 0 => Ok(int),
        _ => Err(wrong(object, field, "is not an integer from 0 to 2^63 - 1")),
    }
}

/// Reads the content hash that the event claims to have.
///
/// Like the reference homeserver it takes either alphabet of base64, with or without padding. A hash of another length
/// is a hash that does not match; text that is no base64 at all is an error.
fn claimed_content_hash(object: &Object) -> Result<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    static EITHER: [GeneralPurpose; 2] =
        [GeneralPurpose::new(&STANDARD, LENIENT), GeneralPurpose::new(&URL_SAFE, LENIENT)];

    let hashes = object.get_object("hashes").ok_or_else(|| wrong(object, "hashes", "is not an object"))?;
    let text = text(hashes, "sha256").map_err(|error| error.context("`hashes`"))?;
    let decoded = EITHER.iter().find_map(|engine| engine.decode(text).ok());
    decoded.ok_or_else(|| Error::invalid("`hashes.sha256` is not base64"))
}

fn check_signatures(object: &Object) -> Result<()> {
    let servers = object.get_object("signatures").ok_or_else(|| wrong(object, "signatures", "is not an object"))?;
    for (server, keys) in servers.iter() {
        let keys = keys.as_object().filter(|keys| keys.iter().all(|(_, signature)| signature.as_str().is_some()));
        if keys.is_none() {
            return Err(wrong(object, "signatures", &format!("has no object of strings for {server:?}")));
        }
    }
    Ok(())
}

fn event_id(object: &Object, reference_hash: [u8; 32], rules: &RoomVersionRules) -> Result<(Box<str>, EventKey)> {
    if rules.event_format.require_event_id {
        let event_id = short_text(object, "event_id")?;
        let key = EventKey::of(event_id, rules.event_id_format);
        return Ok((event_id.into(), key.ok_or_else(|| wrong(object, "event_id", "is not `$localpart:server`"))?));
    }
    let key = EventKey::from_bytes(reference_hash);
    let event_id = key.event_id(rules.event_id_format);
    Ok((event_id.ok_or_else(|| Error::invalid("the room version's event IDs are of an unknown format"))?.into(), key))
}

fn room_id(object: &Object, is_create: bool, event_id: &str, rules: &RoomVersionRules) -> Result<Box<str>> {
    if is_create && !rules.event_format.require_room_create_room_id {
        if object.get("room_id").is_some() {
            return Err(wrong(object, "room_id", "must not be in a create event, whose event ID it is"));
        }
        return Ok(event_id.replacen('$', "!", 1).into());
    }
    let room_id = short_text(object, "room_id")?;
    let rest = room_id.strip_prefix('!').unwrap_or_default();
    let (is_valid, what) = match rules.room_id_format {
        RoomIdFormatVersion::V1 => {
            // The server's name tells rooms apart and nothing else, so it need not be one that a server could have.
            let parts = rest.split_once(':');
            (parts.is_some_and(|(opaque, server)| !opaque.is_empty() && !server.is_empty()), "is not `!opaque:server`")
        }
        RoomIdFormatVersion::V2 => {
            (EventKey::of_hash(rest, rules.event_id_format).is_some(), "is not `!` and the hash of a create event")
        }
        _ => (false, "is of an unknown format"),
    };
    if is_valid { Ok(room_id.into()) } else { Err(wrong(object, "room_id", what)) }
}

fn references(object: &Object, field: &str, most: usize, rules: &RoomVersionRules) -> Result<References> {
    let array = object.get_array(field).ok_or_else(|| wrong(object, field, "is not an array"))?;
    if array.len() > most {
        return Err(wrong(object, field, &format!("has {} entries, at most {most} are allowed", array.len())));
    }
    let mut references = References::default();
    for (index, entry) in array.iter().enumerate() {
        let event_id = match (rules.events_reference_format, entry) {
            (EventsReferenceFormatVersion::V1, Json::Array(pair)) => match pair.as_slice() {
                [Json::String(event_id), Json::Object(_)] => Some(event_id),
                _ => None,
            },
            (EventsReferenceFormatVersion::V2, Json::String(event_id)) => Some(event_id),
            _ => None,
        };
        let key = event_id.and_then(|event_id| EventKey::of(event_id, rules.event_id_format));
        let (Some(event_id), Some(key)) = (event_id, key) else {
            return Err(wrong(
                object,
                field,
                &format!("has an entry {index} that is no reference of the room version"),
            ));
        };
        if references.keys.contains(&key) {
            references.repeated = Some(event_id.clone());
        } else {
            references.event_ids.push(event_id.clone());
            references.keys.push(key);
        }
    }
    Ok(references)
}

fn redacts<'a>(object: &'a Object, event_type: &str, rules: &RoomVersionRules) -> Option<&'a str> {
    let holder = if rules.redaction.content_field_redacts { object.get_object("content")? } else { object };
    holder.get_str("redacts").filter(|_| event_type == "m.room.redaction")
}
