//! The body of an event: what its PDU says beyond the event's row, in few bytes, and canonical JSON again.
//!
//! A body leaves out what stands elsewhere: the event's type, sender, state key, depth and time are in its row, the
//! events that it refers to are those of the row, and the content hash is computed anew. [`Beside`] is all of that. The
//! bytes are drawn in `docs/format.md`.
//!
//! Whoever writes a body decodes it and compares: what does not come back byte for byte is kept as JSON, see [`Form`].

mod beside;
mod head;
mod references;
mod render;
mod strings;
mod tokens;

#[cfg(test)]
mod tests;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma_common::room_version_rules::EventIdFormatVersion;
use smallvec::SmallVec;

pub use self::{
    beside::{Beside, Reference},
    head::{Header, MENTIONS_MAX, SIGNATURE_BYTES},
};
use self::{
    head::{flag, take_head},
    tokens::{Reader, SECTION_DEPTH, put_object},
};
use super::{
    bytes::{Cursor, Decoded, Malformed, put_varint, put_zigzag},
    event_key::EventKey,
    json::{Json, MAX_DEPTH, Object},
};
use crate::ids::EventNid;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Form {
    /// Canonical JSON with signatures, as it is.
    Json,
    /// Sections and tokens, beside the event's row.
    Structured,
}

impl Form {
    /// Every form, in the order of its number in a body.
    pub const ALL: [Self; 2] = [Self::Json, Self::Structured];

    /// The form of a body.
    pub fn of(body: &[u8]) -> Decoded<Self> {
        match body.first() {
            Some(1) => Ok(Self::Json),
            Some(2) => Ok(Self::Structured),
            _ => Err(Malformed { offset: 0, what: "an unknown form of body" }),
        }
    }

    /// Its name, for figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Structured => "structured",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Json => 1,
            Self::Structured => 2,
        }
    }
}

/// Writes a PDU as it is.
pub fn encode_json(canonical: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(canonical.len() + 1);
    body.push(Form::Json.code());
    body.extend_from_slice(canonical);
    body
}

/// Writes the PDU of the event `nid` in sections and tokens; `None` if `beside` is not what it stands beside.
///
/// `recomputes` says that the content hash is right, so that it can be left out. `header` has the events of `mentions`,
/// and the number of the key ID if the signature may be left to it.
pub fn encode(
    nid: EventNid,
    object: &Object,
    recomputes: bool,
    header: &Header,
    beside: &Beside<'_>,
) -> Option<Vec<u8>> {
    let mut flags = 0;
    let mut head = Vec::with_capacity(80);
    let mut tail = Vec::with_capacity(256);
    if !header.mentions.is_empty() {
        flags |= flag::MENTIONS;
        put_varint(&mut head, header.mentions.len() as u64);
        for mentioned in &header.mentions {
            put_zigzag(&mut head, i64::from(nid.number()) - i64::from(mentioned.number()));
        }
    }
    match (header.key_id, only_signature(object, beside)) {
        (Some(key_id), Some(signature)) => {
            put_varint(&mut head, u64::from(key_id));
            head.extend_from_slice(&signature);
        }
        _ => {
            flags |= flag::SIGNATURES;
            put_object(&mut tail, object.get_object("signatures")?.iter(), beside);
        }
    }
    let hashes = object.get_object("hashes")?;
    if !recomputes || !is_plain_hash(hashes) {
        flags |= flag::HASHES;
        put_object(&mut tail, hashes.iter(), beside);
    }
    if !references::are_those(object.get_array("prev_events")?, beside.prev_events.iter().copied(), beside) {
        flags |= flag::PREV_EVENTS;
        let known: SmallVec<[Option<Reference<'_>>; 4]> = beside.prev_events.iter().copied().collect();
        references::put(&mut tail, object.get_array("prev_events")?, &known, beside)?;
    }
    if !references::are_those(object.get_array("auth_events")?, beside.auth_events.iter().copied().map(Some), beside) {
        flags |= flag::AUTH_EVENTS;
        let known: SmallVec<[Option<Reference<'_>>; 4]> = beside.auth_events.iter().copied().map(Some).collect();
        references::put(&mut tail, object.get_array("auth_events")?, &known, beside)?;
    }
    put_object(&mut tail, object.get_object("content")?.iter(), beside);
    let others = other_fields(object, beside, &mut flags)?;
    if !others.is_empty() {
        flags |= flag::OTHERS;
        put_object(&mut tail, others.into_iter(), beside);
    }
    let mut body = Vec::with_capacity(3 + head.len() + tail.len() + super::bytes::CHECKSUM_BYTES);
    body.push(Form::Structured.code());
    put_varint(&mut body, flags);
    body.append(&mut head);
    body.append(&mut tail);
    Some(body)
}

/// The signature, if it is the only one, with the key that the header names.
fn only_signature(object: &Object, beside: &Beside<'_>) -> Option<[u8; SIGNATURE_BYTES]> {
    let (key_id, signature) = only_key(object, beside.server())?;
    (Some(key_id) == beside.key_id).then_some(signature)
}

/// The ID of the signing key and the signature, if a PDU has one signature: of `server`, and 64 bytes.
pub fn only_key<'o>(object: &'o Object, server: &str) -> Option<(&'o str, [u8; SIGNATURE_BYTES])> {
    let mut servers = object.get_object("signatures")?.iter();
    let (Some((signer, keys)), None) = (servers.next(), servers.next()) else { return None };
    let mut keys = keys.as_object().filter(|_| signer == server)?.iter();
    let (Some((key_id, signature)), None) = (keys.next(), keys.next()) else { return None };
    let bytes = STANDARD_NO_PAD.decode(signature.as_str()?).ok()?;
    Some((key_id, bytes.try_into().ok()?))
}

/// Tells whether `hashes` could be what is computed: nothing but a SHA-256 in base64.
fn is_plain_hash(hashes: &Object) -> bool {
    hashes.len() == 1 && hashes.get_str("sha256").is_some_and(|hash| hash.len() == render::HASH_CHARACTERS)
}

/// The fields that are sections of no other sort, ascending; notes in `flags` what can be told in a bit.
fn other_fields<'o>(
    object: &'o Object,
    beside: &Beside<'_>,
    flags: &mut u64,
) -> Option<SmallVec<[(&'o str, &'o Json); 4]>> {
    let is = |is_so: bool| is_so.then_some(true);
    let mut others = SmallVec::new();
    let mut has_room = false;
    for (key, value) in object.iter() {
        let known = match key {
            "auth_events" | "content" | "hashes" | "prev_events" | "signatures" => true,
            "depth" => is(value.as_int() == Some(beside.depth))?,
            "origin_server_ts" => is(value.as_int() == Some(beside.origin_server_ts))?,
            "sender" => is(value.as_str() == Some(beside.sender))?,
            "type" => is(value.as_str() == Some(beside.event_type))?,
            "state_key" => is(value.as_str() == beside.state_key)?,
            "room_id" => {
                has_room = true;
                is(value.as_str() == Some(beside.room_id))?
            }
            "event_id" => note(value.as_str() == Some(beside.event_id), flag::EVENT_ID, flags),
            "origin" => note(value.as_str() == Some(beside.server()), flag::ORIGIN, flags),
            "prev_state" => note(value.as_array().is_some_and(<[Json]>::is_empty), flag::PREV_STATE, flags),
            _ => false,
        };
        if !known {
            others.push((key, value));
        }
    }
    if !has_room {
        *flags |= flag::NO_ROOM;
    }
    Some(others)
}

fn note(is_so: bool, flag: u64, flags: &mut u64) -> bool {
    if is_so {
        *flags |= flag;
    }
    is_so
}

/// Event IDs in the content and in other fields that may be events of the room: at most [`MENTIONS_MAX`].
pub fn mentioned_ids(object: &Object, format: EventIdFormatVersion) -> SmallVec<[(EventKey, &str); 2]> {
    let mut found = SmallVec::new();
    for (key, value) in object.iter() {
        let is_own = matches!(key, "auth_events" | "prev_events" | "hashes" | "signatures" | "event_id" | "type");
        if !is_own {
            mentioned_in(value, format, &mut found);
        }
    }
    found
}

fn mentioned_in<'o>(value: &'o Json, format: EventIdFormatVersion, found: &mut SmallVec<[(EventKey, &'o str); 2]>) {
    match value {
        Json::String(text) if text.starts_with('$') && found.len() < MENTIONS_MAX => {
            if let Some(key) = EventKey::of(text, format)
                && found.iter().all(|(other, _)| *other != key)
            {
                found.push((key, text));
            }
        }
        Json::Array(elements) => elements.iter().for_each(|element| mentioned_in(element, format, found)),
        Json::Object(object) => object.iter().for_each(|(_, value)| mentioned_in(value, format, found)),
        _ => {}
    }
}

/// Reads what must be looked up before the body of the event `nid` can be read.
pub fn header(nid: EventNid, body: &[u8]) -> Decoded<Header> {
    match Form::of(body)? {
        Form::Json => Ok(Header::default()),
        Form::Structured => take_head(nid, &mut Cursor::new(body)).map(|head| head.header),
    }
}

/// Reads the body of the event `nid`: the PDU as canonical JSON, signatures included.
pub fn decode(nid: EventNid, body: &[u8], beside: &Beside<'_>) -> Decoded<Vec<u8>> {
    match Form::of(body)? {
        Form::Json => Ok(body.get(1..).unwrap_or_default().to_vec()),
        Form::Structured => render::render(nid, body, beside),
    }
}

/// What authorisation reads of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Essence {
    /// The content.
    pub content: Object,
    /// The field `redacts`, if it is a string.
    pub redacts: Option<Box<str>>,
}

/// Reads the content of the event `nid`, and `redacts`; of the rest of the body as little as it can. References are not
/// looked at: those in `beside` may be left out.
pub fn essence(nid: EventNid, body: &[u8], beside: &Beside<'_>) -> Decoded<Essence> {
    if Form::of(body)? == Form::Json {
        let json = Json::parse(body.get(1..).unwrap_or_default());
        let json = json.map_err(|error| Malformed { offset: error.offset.saturating_add(1), what: error.what })?;
        let wrong = Malformed { offset: 1, what: "no object with a content" };
        let Json::Object(mut object) = json else { return Err(wrong) };
        let Some(Json::Object(content)) = object.remove("content") else { return Err(wrong) };
        return Ok(Essence { content, redacts: object.get_str("redacts").map(Into::into) });
    }
    let mut cursor = Cursor::new(body);
    let head = take_head(nid, &mut cursor)?;
    let mut reader = Reader::new(cursor, beside);
    for section in [flag::SIGNATURES, flag::HASHES] {
        if head.has(section) {
            reader.object(SECTION_DEPTH)?;
        }
    }
    for section in [flag::PREV_EVENTS, flag::AUTH_EVENTS] {
        if head.has(section) {
            references::skip(&mut reader)?;
        }
    }
    let content = reader.object(SECTION_DEPTH)?;
    // The other fields are an object for themselves, but members of the event.
    let others = if head.has(flag::OTHERS) { reader.object(MAX_DEPTH)? } else { Object::new() };
    reader.cursor.end()?;
    Ok(Essence { content, redacts: others.get_str("redacts").map(Into::into) })
}
