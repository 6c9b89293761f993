//! References of a PDU to others: those of the row, or a section of their own.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma_common::room_version_rules::EventIdFormatVersion;

use super::{
    beside::{Beside, Reference},
    tokens::{Reader, put_encoded, put_object, put_quoted},
};
use crate::encoding::{
    bytes::{Decoded, put_bytes, put_varint},
    event_key::EventKey,
    json::{Json, MAX_DEPTH, Object, write_string},
};

/// The event is none of the row's: 32 bytes, the reference hash that is its ID.
const BY_HASH: u64 = 0;
/// The event is none of the row's: its ID as text.
const BY_TEXT: u64 = 1;
/// From here on: the event at this place of the row.
const OF_ROW: u64 = 2;

/// The hash of a reference in room versions 1 and 2 is that of the stored event.
const HASH_OF_EVENT: u8 = 0;
/// There is no hash: `{}`.
const HASH_NONE: u8 = 1;
/// The hash is 32 bytes of SHA-256.
const HASH_RAW: u8 = 2;
/// The object of hashes as tokens.
const HASH_OBJECT: u8 = 3;

/// How deeply hashes may be nested: the event, the array and the pair are around them.
const HASHES_DEPTH: u8 = MAX_DEPTH - 3;

/// Tells whether an array names exactly the events of the row, with their hashes where references have them.
pub(super) fn are_those<'r>(
    array: &[Json],
    known: impl ExactSizeIterator<Item = Option<Reference<'r>>>,
    beside: &Beside<'_>,
) -> bool {
    array.len() == known.len()
        && array.iter().zip(known).all(|(element, known)| {
            known.is_some_and(|known| match (element, beside.has_pairs()) {
                (Json::String(event_id), false) => **event_id == *known.event_id,
                (Json::Array(pair), true) => match pair.as_slice() {
                    [Json::String(event_id), Json::Object(hashes)] => {
                        **event_id == *known.event_id && only_sha256(hashes).as_ref() == Some(known.hash)
                    }
                    _ => false,
                },
                _ => false,
            })
        })
}

/// The SHA-256 of an object of hashes that has nothing else.
fn only_sha256(hashes: &Object) -> Option<[u8; 32]> {
    let text = hashes.get_str("sha256").filter(|_| hashes.len() == 1)?;
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Appends an array of references; `None` if it is none of the room's version.
pub(super) fn put(
    out: &mut Vec<u8>,
    array: &[Json],
    known: &[Option<Reference<'_>>],
    beside: &Beside<'_>,
) -> Option<()> {
    put_varint(out, array.len() as u64);
    for element in array {
        let (event_id, hashes) = match (element, beside.has_pairs()) {
            (Json::String(event_id), false) => (event_id, None),
            (Json::Array(pair), true) => match pair.as_slice() {
                [Json::String(event_id), Json::Object(hashes)] => (event_id, Some(hashes)),
                _ => return None,
            },
            _ => return None,
        };
        let place = known.iter().position(|known| known.is_some_and(|known| *known.event_id == **event_id));
        let of_row = place.and_then(|place| known.get(place).copied().flatten());
        match (place, EventKey::of(event_id, beside.format).filter(|_| !beside.has_pairs())) {
            (Some(place), _) => put_varint(out, OF_ROW.saturating_add(place as u64)),
            (None, Some(key)) => {
                put_varint(out, BY_HASH);
                out.extend_from_slice(key.as_bytes());
            }
            (None, None) => {
                put_varint(out, BY_TEXT);
                put_bytes(out, event_id.as_bytes());
            }
        }
        if let Some(hashes) = hashes {
            put_hashes(out, hashes, of_row, beside);
        }
    }
    Some(())
}

fn put_hashes(out: &mut Vec<u8>, hashes: &Object, of_row: Option<Reference<'_>>, beside: &Beside<'_>) {
    match only_sha256(hashes) {
        Some(hash) if of_row.is_some_and(|known| *known.hash == hash) => out.push(HASH_OF_EVENT),
        Some(hash) => {
            out.push(HASH_RAW);
            out.extend_from_slice(&hash);
        }
        None if hashes.iter().len() == 0 => out.push(HASH_NONE),
        None => {
            out.push(HASH_OBJECT);
            put_object(out, hashes.iter(), beside);
        }
    }
}

/// Renders the references of the row.
pub(super) fn render_row<'r>(
    known: impl Iterator<Item = Option<Reference<'r>>>,
    beside: &Beside<'_>,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.push(b'[');
    for (place, known) in known.enumerate() {
        let known = known?;
        if place > 0 {
            out.push(b',');
        }
        if beside.has_pairs() {
            out.push(b'[');
            write_string(known.event_id, out);
            out.push(b',');
            render_sha256(known.hash, out);
            out.push(b']');
        } else {
            // Base64, which needs no escapes.
            put_quoted(out, known.event_id);
        }
    }
    out.push(b']');
    Some(())
}

fn render_sha256(hash: &[u8; 32], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"sha256\":\"");
    put_encoded(out, &STANDARD_NO_PAD, hash);
    out.extend_from_slice(b"\"}");
}

/// Reads a section of references and renders it.
pub(super) fn render<'k>(
    reader: &mut Reader<'_>,
    known: &dyn Fn(usize) -> Option<Reference<'k>>,
    out: &mut Vec<u8>,
) -> Decoded<()> {
    let beside = reader.beside;
    out.push(b'[');
    for nth in 0..reader.cursor.count(1)? {
        if nth > 0 {
            out.push(b',');
        }
        if beside.has_pairs() {
            out.push(b'[');
        }
        let of_row = render_id(reader, known, out)?;
        if beside.has_pairs() {
            out.push(b',');
            render_hashes(reader, of_row, out)?;
            out.push(b']');
        }
    }
    out.push(b']');
    Ok(())
}

/// Renders the ID of a reference; gives the event of the row, if it is one.
fn render_id<'k>(
    reader: &mut Reader<'_>,
    known: &dyn Fn(usize) -> Option<Reference<'k>>,
    out: &mut Vec<u8>,
) -> Decoded<Option<Reference<'k>>> {
    match reader.cursor.varint()? {
        BY_HASH => {
            let key = EventKey::from_bytes(reader.cursor.array()?);
            let event_id = key.event_id(reader.beside.format);
            let no_hash = reader.cursor.malformed("a hash where event IDs are none");
            write_string(&event_id.ok_or(no_hash)?, out);
            Ok(None)
        }
        BY_TEXT => {
            write_string(reader.cursor.text()?, out);
            Ok(None)
        }
        place => {
            let place = usize::try_from(place.saturating_sub(OF_ROW)).unwrap_or(usize::MAX);
            let known = known(place).ok_or(reader.cursor.malformed("a reference that the row has not"))?;
            write_string(reader.borrow(known.event_id)?, out);
            Ok(Some(known))
        }
    }
}

fn render_hashes(reader: &mut Reader<'_>, of_row: Option<Reference<'_>>, out: &mut Vec<u8>) -> Decoded<()> {
    match (reader.cursor.byte()?, of_row) {
        (HASH_OF_EVENT, Some(known)) => render_sha256(known.hash, out),
        (HASH_NONE, _) => out.extend_from_slice(b"{}"),
        (HASH_RAW, _) => render_sha256(&reader.cursor.array()?, out),
        (HASH_OBJECT, _) => reader.render(out, HASHES_DEPTH)?,
        _ => return Err(reader.cursor.malformed("an unknown sort of hash")),
    }
    Ok(())
}

/// Passes over a section of references.
pub(super) fn skip(reader: &mut Reader<'_>) -> Decoded<()> {
    for _ in 0..reader.cursor.count(1)? {
        match reader.cursor.varint()? {
            BY_HASH => drop(reader.cursor.array::<32>()?),
            BY_TEXT => drop(reader.cursor.bytes()?),
            _ => {}
        }
        if matches!(reader.beside.format, EventIdFormatVersion::V1) {
            match reader.cursor.byte()? {
                HASH_RAW => drop(reader.cursor.array::<32>()?),
                HASH_OBJECT => drop(reader.object(HASHES_DEPTH)?),
                _ => {}
            }
        }
    }
    Ok(())
}
