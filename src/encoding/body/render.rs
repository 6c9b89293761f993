//! From a structured body to canonical JSON, in one pass.

use std::{borrow::Cow, ops::Range};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{
    beside::Beside,
    head::{Head, flag, take_head},
    references,
    tokens::{Reader, SECTION_DEPTH, put_encoded},
};
use crate::{
    encoding::{
        bytes::{Cursor, Decoded, Malformed},
        json::{MAX_DEPTH, write_int, write_string},
    },
    ids::EventNid,
};

/// The characters of a SHA-256 in base64 without padding.
pub(super) const HASH_CHARACTERS: usize = 43;

/// The fields that have sections or stand beside the body, ascending.
#[derive(Clone, Copy)]
enum Field {
    AuthEvents,
    Content,
    Depth,
    EventId,
    Hashes,
    Origin,
    OriginServerTs,
    PrevEvents,
    PrevState,
    RoomId,
    Sender,
    Signatures,
    StateKey,
    Type,
}

/// Each field, its name, and how it begins where it is not the first.
const FIELDS: [(Field, &str, &str); 14] = {
    macro_rules! field {
        ($field:ident, $name:literal) => {
            (Field::$field, $name, concat!(",\"", $name, "\":"))
        };
    }
    [
        field!(AuthEvents, "auth_events"),
        field!(Content, "content"),
        field!(Depth, "depth"),
        field!(EventId, "event_id"),
        field!(Hashes, "hashes"),
        field!(Origin, "origin"),
        field!(OriginServerTs, "origin_server_ts"),
        field!(PrevEvents, "prev_events"),
        field!(PrevState, "prev_state"),
        field!(RoomId, "room_id"),
        field!(Sender, "sender"),
        field!(Signatures, "signatures"),
        field!(StateKey, "state_key"),
        field!(Type, "type"),
    ]
};

/// Where the sections of a body that are rendered out of turn begin.
#[derive(Default)]
struct Sections<'a> {
    signatures: Option<Cursor<'a>>,
    hashes: Option<Cursor<'a>>,
    prev_events: Option<Cursor<'a>>,
    auth_events: Option<Cursor<'a>>,
}

struct Renderer<'a> {
    head: Head<'a>,
    sections: Sections<'a>,
    content: Cursor<'a>,
    beside: &'a Beside<'a>,
    out: Vec<u8>,
    /// Where the content hash belongs, if it is computed.
    hash: Option<usize>,
    /// `hashes`, which the content hash does not cover, with the comma before it.
    hashes: Range<usize>,
    /// `signatures`, the same.
    signatures: Range<usize>,
}

/// Reads the body of an event.
pub(super) fn render(nid: EventNid, body: &[u8], beside: &Beside<'_>) -> Decoded<Vec<u8>> {
    let mut cursor = Cursor::new(body);
    let head = take_head(nid, &mut cursor)?;
    let mut reader = Reader::new(cursor, beside);
    // Rendered in the order of their keys, so the sections before the content are passed over first.
    let mut sections = Sections::default();
    let mut scratch = Vec::new();
    if head.has(flag::SIGNATURES) {
        sections.signatures = Some(reader.cursor.clone());
        reader.render(&mut scratch, SECTION_DEPTH)?;
    }
    if head.has(flag::HASHES) {
        sections.hashes = Some(reader.cursor.clone());
        reader.render(&mut scratch, SECTION_DEPTH)?;
    }
    if head.has(flag::PREV_EVENTS) {
        sections.prev_events = Some(reader.cursor.clone());
        references::skip(&mut reader)?;
    }
    if head.has(flag::AUTH_EVENTS) {
        sections.auth_events = Some(reader.cursor.clone());
        references::skip(&mut reader)?;
    }
    let out = Vec::with_capacity(1024);
    let content = reader.cursor.clone();
    Renderer { head, sections, content, beside, out, hash: None, hashes: 0..0, signatures: 0..0 }.run()
}

impl<'a> Renderer<'a> {
    fn run(mut self) -> Decoded<Vec<u8>> {
        self.out.push(b'{');
        let mut end = None;
        // The other fields lie behind the content, which is rendered second.
        let mut others: Option<(Reader<'a>, usize)> = None;
        if self.head.has(flag::OTHERS) {
            let mut reader = Reader::new(self.content.clone(), self.beside);
            reader.render(&mut Vec::new(), MAX_DEPTH)?;
            let count = reader.members()?;
            others = Some((reader, count));
        }
        let mut next = match &mut others {
            Some((reader, left)) => take_key(reader, left, None)?,
            None => None,
        };
        for (field, name, begin) in FIELDS {
            while let (Some((reader, left)), Some(key)) = (&mut others, &next) {
                if **key >= *name {
                    break;
                }
                begin_member(&mut self.out, key);
                reader.render(&mut self.out, SECTION_DEPTH)?;
                next = take_key(reader, left, Some(key))?;
            }
            if self.has(field) {
                if next.as_deref() == Some(name) {
                    return Err(self.content.malformed("a field that stands beside the body is in it too"));
                }
                let start = self.out.len();
                let begin = begin.as_bytes();
                self.out.extend_from_slice(if start > 1 { begin } else { begin.get(1..).unwrap_or_default() });
                if let Some(after) = self.value(field)? {
                    end = Some(after);
                }
                let range = start..self.out.len();
                match field {
                    Field::Hashes => self.hashes = range,
                    Field::Signatures => self.signatures = range,
                    _ => {}
                }
            }
        }
        while let (Some((reader, left)), Some(key)) = (&mut others, &next) {
            begin_member(&mut self.out, key);
            reader.render(&mut self.out, SECTION_DEPTH)?;
            next = take_key(reader, left, Some(key))?;
        }
        match (others, end) {
            (Some((reader, _)), _) => reader.cursor.end()?,
            (None, Some(end)) => end.end()?,
            (None, None) => {}
        }
        self.out.push(b'}');
        self.put_hash();
        Ok(self.out)
    }

    fn has(&self, field: Field) -> bool {
        match field {
            Field::EventId => self.head.has(flag::EVENT_ID),
            Field::Origin => self.head.has(flag::ORIGIN),
            Field::PrevState => self.head.has(flag::PREV_STATE),
            Field::RoomId => !self.head.has(flag::NO_ROOM),
            Field::StateKey => self.beside.state_key.is_some(),
            _ => true,
        }
    }

    /// Renders the value of a field; gives the place behind the content, if it is that.
    fn value(&mut self, field: Field) -> Decoded<Option<Cursor<'a>>> {
        let Self { beside, out, .. } = self;
        match field {
            Field::AuthEvents => match self.sections.auth_events.take() {
                Some(cursor) => {
                    let known = |place: usize| beside.auth_events.get(place).copied();
                    references::render(&mut Reader::new(cursor, beside), &known, out)?;
                }
                None => {
                    references::render_row(beside.auth_events.iter().copied().map(Some), beside, out);
                }
            },
            Field::PrevEvents => match self.sections.prev_events.take() {
                Some(cursor) => {
                    let known = |place: usize| beside.prev_events.get(place).copied().flatten();
                    references::render(&mut Reader::new(cursor, beside), &known, out)?;
                }
                None => {
                    let rendered = references::render_row(beside.prev_events.iter().copied(), beside, out);
                    let lost = Malformed { offset: 0, what: "a prev event of the body is none of the row" };
                    rendered.ok_or(lost)?;
                }
            },
            Field::Content => {
                let mut reader = Reader::new(self.content.clone(), beside);
                reader.render(out, SECTION_DEPTH)?;
                return Ok(Some(reader.cursor));
            }
            Field::Depth => write_int(beside.depth, out),
            Field::OriginServerTs => write_int(beside.origin_server_ts, out),
            Field::EventId => write_string(beside.event_id, out),
            Field::Origin => write_string(beside.server(), out),
            Field::RoomId => write_string(beside.room_id, out),
            Field::Sender => write_string(beside.sender, out),
            Field::StateKey => write_string(beside.state_key.unwrap_or_default(), out),
            Field::Type => write_string(beside.event_type, out),
            Field::PrevState => out.extend_from_slice(b"[]"),
            Field::Hashes => match self.sections.hashes.take() {
                Some(cursor) => Reader::new(cursor, beside).render(out, SECTION_DEPTH)?,
                None => {
                    out.extend_from_slice(b"{\"sha256\":\"");
                    self.hash = Some(out.len());
                    out.resize(out.len() + HASH_CHARACTERS, b'?');
                    out.extend_from_slice(b"\"}");
                }
            },
            Field::Signatures => match (self.sections.signatures.take(), self.head.signature) {
                (Some(cursor), _) => Reader::new(cursor, beside).render(out, SECTION_DEPTH)?,
                (None, signature) => render_signature(beside, signature.unwrap_or_default(), out)?,
            },
        }
        Ok(None)
    }

    /// Puts the content hash into its place: SHA-256 of the event without `hashes` and `signatures`.
    fn put_hash(&mut self) {
        let Some(place) = self.hash else { return };
        let Self { hashes, signatures, .. } = self;
        let mut hasher = Sha256::new();
        // A comma stands before each of them, since `auth_events` comes first.
        for covered in [0..hashes.start, hashes.end..signatures.start, signatures.end..self.out.len()] {
            hasher.update(self.out.get(covered).unwrap_or_default());
        }
        let hash = self.out.get_mut(place..place + HASH_CHARACTERS).unwrap_or_default();
        let written = STANDARD_NO_PAD.encode_slice(hasher.finalize(), hash);
        debug_assert_eq!(written, Ok(HASH_CHARACTERS), "the place of the hash has another length");
    }
}

fn take_key<'a>(reader: &mut Reader<'a>, left: &mut usize, last: Option<&str>) -> Decoded<Option<Cow<'a, str>>> {
    let Some(rest) = left.checked_sub(1) else { return Ok(None) };
    *left = rest;
    reader.key(last).map(Some)
}

fn begin_member(out: &mut Vec<u8>, key: &str) {
    if out.len() > 1 {
        out.push(b',');
    }
    write_string(key, out);
    out.push(b':');
}

fn render_signature(beside: &Beside<'_>, signature: &[u8], out: &mut Vec<u8>) -> Decoded<()> {
    let unknown = Malformed { offset: 0, what: "the ID of the signing key is not known" };
    out.push(b'{');
    write_string(beside.server(), out);
    out.extend_from_slice(b":{");
    write_string(beside.key_id.ok_or(unknown)?, out);
    out.extend_from_slice(b":\"");
    put_encoded(out, &STANDARD_NO_PAD, signature);
    out.extend_from_slice(b"\"}}");
    Ok(())
}
