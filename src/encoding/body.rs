//! The body of an event: what its PDU says beyond the event's row, in few bytes, and canonical JSON again.
//!
//! A body leaves out what stands elsewhere: the event's type, sender, state key, depth and time are in its row, the
//! events that it refers to are those of the row, and the content hash is computed anew. [`Beside`] is all of that. The
//! bytes are drawn in `docs/format.md`.
//!
//! Whoever writes a body decodes it and compares: what does not come back byte for byte is kept as JSON, see [`Form`].

mod references;
mod render;
mod strings;
mod tokens;

#[cfg(test)]
mod tests;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma_common::room_version_rules::EventIdFormatVersion;
use smallvec::SmallVec;

use self::tokens::{Reader, SECTION_DEPTH, put_object};
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

/// An event that a body refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    /// The event ID.
    pub event_id: &'a str,
    /// The reference hash.
    pub hash: &'a [u8; 32],
}

/// What a body is written and read beside: it is a PDU only together with this.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// How event IDs are spelled in the room's version.
    pub format: EventIdFormatVersion,
    /// The room ID.
    pub room_id: &'a str,
    /// The event ID.
    pub event_id: &'a str,
    /// The event type.
    pub event_type: &'a str,
    /// The state key, if it is a state event.
    pub state_key: Option<&'a str>,
    /// The sender.
    pub sender: &'a str,
    /// When its server says it was made.
    pub origin_server_ts: i64,
    /// The depth that its server gave it.
    pub depth: i64,
    /// The prev events of the row, in its order.
    pub prev_events: &'a [Option<Reference<'a>>],
    /// The auth events of the row, in its order.
    pub auth_events: &'a [Reference<'a>],
    /// The IDs of the events of [`Header::mentions`], in their order.
    pub mentions: &'a [&'a str],
    /// The ID of the key of [`Header::key_id`].
    pub key_id: Option<&'a str>,
}

/// For measurements and fuzz targets, which have PDUs and no rows.
#[cfg(any(test, feature = "bench", feature = "fuzzing"))]
impl<'a> Beside<'a> {
    /// What a PDU itself tells, without the events that it names and the ID of its key.
    pub fn of(pdu: &'a super::pdu::Pdu, format: EventIdFormatVersion) -> Self {
        Self {
            format,
            room_id: pdu.room_id(),
            event_id: pdu.event_id(),
            event_type: pdu.event_type(),
            state_key: pdu.state_key(),
            sender: pdu.sender(),
            origin_server_ts: pdu.origin_server_ts(),
            depth: pdu.depth(),
            prev_events: &[],
            auth_events: &[],
            mentions: &[],
            key_id: None,
        }
    }
}

impl Beside<'_> {
    /// The server of the sender.
    fn server(&self) -> &str {
        self.sender.split_once(':').map_or("", |(_, server)| server)
    }

    /// Tells whether references carry hashes: `[event ID, {hash}]`.
    fn has_pairs(&self) -> bool {
        matches!(self.format, EventIdFormatVersion::V1)
    }
}

/// What must be looked up before a body can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Events of the room that the content names.
    pub mentions: SmallVec<[EventNid; 2]>,
    /// The number of the signing key's ID.
    pub key_id: Option<u32>,
}

/// The most events that a body names by number in its content.
pub const MENTIONS_MAX: usize = 8;

/// What the first byte after the form, and sometimes the next, says: what is not as it is with most events.
mod flag {
    /// `hashes` is a section: something else than the content hash that is computed.
    pub(super) const HASHES: u64 = 1;
    /// `signatures` is a section: something else than one signature of the sender's server.
    pub(super) const SIGNATURES: u64 = 2;
    /// `prev_events` is a section: something else than those of the row.
    pub(super) const PREV_EVENTS: u64 = 4;
    /// `auth_events` is a section: something else than those of the row.
    pub(super) const AUTH_EVENTS: u64 = 8;
    /// The content names events of the room.
    pub(super) const MENTIONS: u64 = 16;
    /// There are other fields.
    pub(super) const OTHERS: u64 = 32;
    /// There is no `room_id`.
    pub(super) const NO_ROOM: u64 = 64;
    /// There is an `event_id`: the event's.
    pub(super) const EVENT_ID: u64 = 128;
    /// There is an `origin`: the sender's server.
    pub(super) const ORIGIN: u64 = 256;
    /// There is a `prev_state`: an empty array.
    pub(super) const PREV_STATE: u64 = 512;
    /// All flags are below this.
    pub(super) const END: u64 = 1024;
}

/// The bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

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

/// The beginning of a structured body.
struct Head<'a> {
    flags: u64,
    header: Header,
    signature: Option<&'a [u8]>,
}

impl Head<'_> {
    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}

fn take_head<'a>(nid: EventNid, cursor: &mut Cursor<'a>) -> Decoded<Head<'a>> {
    cursor.byte()?;
    let flags = cursor.varint()?;
    if flags >= flag::END {
        return Err(cursor.malformed("an unknown flag"));
    }
    let mut header = Header::default();
    if flags & flag::MENTIONS != 0 {
        let count = cursor.count(1)?;
        if count == 0 || count > MENTIONS_MAX {
            return Err(cursor.malformed("too many events that the content names, or none"));
        }
        for _ in 0..count {
            let distance = cursor.zigzag()?;
            let number = i64::from(nid.number()).checked_sub(distance).and_then(|number| u32::try_from(number).ok());
            let mentioned = number.and_then(EventNid::new);
            header.mentions.push(mentioned.ok_or(cursor.malformed("an event number of 0 or beyond 32 bits"))?);
        }
    }
    let mut signature = None;
    if flags & flag::SIGNATURES == 0 {
        header.key_id = Some(cursor.varint32()?);
        signature = Some(cursor.take(SIGNATURE_BYTES)?);
    }
    Ok(Head { flags, header, signature })
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
