//! Doors for the fuzz targets: each takes any bytes and reads them as one kind of value.
//!
//! What is read must come back: written and read again it is the same value. A panic is a finding, whether it comes from
//! the decoder or from a comparison here. Each door tells whether the bytes were a value, so that a seed that no longer
//! reaches the far side of its decoder is noticed. No part of the public interface.

use ruma_common::{
    RoomVersionId,
    room_version_rules::{EventIdFormatVersion, RoomVersionRules},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    encoding::{
        block, cold, event_ids,
        event_key::EventKey,
        event_row::EventRow,
        head::RoomHead,
        json::{Json, Object},
        keys,
        list::{self, BlockNid},
        pack::{self, FULL_ROWS},
        pdu::{self, Pdu},
    },
    ids::{EventNid, EventTypeNid, RoomNid, SnapshotNid, StateKeyNid, StateTuple},
    import_line,
    kv::{memory, wal},
    resolution::content::Content,
    tables::{
        current::{decode_current, decode_membership, encode_current},
        event_ids::{decode_candidates, encode_candidates},
        graph::{decode_happening, encode_happening},
        parked::ParkedRow,
        rooms::RoomRow,
        rows::decode_number,
    },
};

mod beside;
mod expect;
mod made;
#[cfg(test)]
mod tests;

use self::{beside::Has, expect::ExpectValue as _};

/// A door: gets any bytes, tells whether they were a value.
pub type Door = fn(&[u8]) -> bool;

/// Every door, under the name of its fuzz target.
pub const DOORS: &[(&str, Door)] = &[
    ("block", block),
    ("body", body),
    ("cold_row", cold_row),
    ("dump", dump),
    ("event_ids", event_ids),
    ("event_key", event_key),
    ("event_row", event_row),
    ("head", head),
    ("import_line", import_line),
    ("json", json),
    ("keys", keys),
    ("list", list),
    ("made_pdu", made_pdu),
    ("pack", pack),
    ("pdu", pdu),
    ("short_row", short_row),
    ("wal", wal),
];

/// JSON as it comes from the network.
pub fn json(bytes: &[u8]) -> bool {
    let Ok(json) = Json::parse(bytes) else { return false };
    let mut canonical = Vec::new();
    json.write_canonical(&mut canonical);
    assert_eq!(Json::parse(&canonical).as_ref(), Ok(&json), "canonical JSON reads as another value");
    assert_eq!(json.strict_violation().is_none(), json.is_strictly_canonical());
    true
}

/// A PDU and what authorisation reads of its content: the first byte picks the room version and what the row has, the
/// rest is JSON.
pub fn pdu(bytes: &[u8]) -> bool {
    let Some((first, bytes)) = bytes.split_first() else { return false };
    let Some((rules, has)) = setting(*first) else { return false };
    let Ok(json) = Json::parse(bytes) else { return false };
    let _ = pdu::room_id_hint(&json);
    let Ok(pdu) = Pdu::parse(json, &rules) else { return false };
    comes_back(&rules, &pdu, has);
    true
}

/// The same of an event that is made of the bytes, each of which decides something; and a row of it.
pub fn made_pdu(bytes: &[u8]) -> bool {
    let mut choices = made::Choices::new(bytes);
    let Some((rules, has)) = setting(choices.byte()) else { return false };
    let event = choices.event(&rules);
    let Ok(pdu) = Pdu::parse(Json::Object(event), &rules) else { return false };
    comes_back(&rules, &pdu, has);
    let nid = EventNid::new(u32::from(choices.byte()) + 300).expect_value("a number");
    made::row_comes_back(nid, &choices.row(nid, &pdu));
    true
}

/// What a byte picks: a room version, and which of the events that an event names its row has.
fn setting(byte: u8) -> Option<(RoomVersionRules, Has)> {
    let has = [Has::All, Has::Half, Has::One].into_iter().cycle().nth(usize::from(byte / 12))?;
    let version = RoomVersionId::try_from((byte % 12 + 1).to_string()).ok()?;
    Some((version.rules()?, has))
}

/// An event comes back from its body, and is the same when it is read again.
fn comes_back(rules: &RoomVersionRules, pdu: &Pdu, has: Has) {
    beside::round_trip(rules, pdu, has);
    let again = Json::parse(pdu.canonical_bytes()).ok().and_then(|json| Pdu::parse(json, rules).ok());
    let again = again.expect_value("an event that was read cannot be read again");
    assert_eq!(again.canonical_bytes(), pdu.canonical_bytes(), "an event changes when it is read again");
    assert_eq!(again.reference_hash(), pdu.reference_hash(), "redaction changes the reference hash");
    assert_eq!(again.event_id(), pdu.event_id());
    assert_eq!(again.room_id(), pdu.room_id());
    let content = |pdu: &Pdu| Content::parse(rules, pdu.event_type(), pdu.content(), pdu.redacts());
    assert_eq!(content(&again), content(pdu));
}

/// An event ID: the first byte picks the format, the rest is text.
pub fn event_key(bytes: &[u8]) -> bool {
    use EventIdFormatVersion::{V1, V2, V3};
    let Some((format, bytes)) = bytes.split_first() else { return false };
    let (format, hash) = match format % 3 {
        0 => (V1, false),
        1 => (V2, true),
        _ => (V3, true),
    };
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some(key) = EventKey::of(text, format) else { return false };
    assert_eq!(key.event_id(format).as_deref(), hash.then_some(text), "an event ID has two spellings");
    true
}

/// The row of event IDs that has a given event's number: the number, then the value.
pub fn event_ids(bytes: &[u8]) -> bool {
    let Some((number, bytes)) = number(bytes) else { return false };
    let Some(nid) = EventNid::new(number) else { return false };
    let Ok((first, ids)) = event_ids::decode_row(nid, bytes) else { return false };
    assert_eq!(
        first.number() as usize + ids.iter().count(),
        number as usize + 1,
        "a row has other events than its own"
    );
    assert_eq!(event_ids::encode(ids.iter()), bytes, "IDs are written otherwise than they were read");
    true
}

/// A line of an import: a PDU, or a wrapper of one.
pub fn import_line(bytes: &[u8]) -> bool {
    let Ok(line) = import_line::parse(bytes, None) else { return false };
    let input = &line.input;
    let mut wrapper = Object::default();
    let mut put = |key: &str, text: Option<&str>| {
        if let Some(text) = text {
            wrapper.insert(key, Json::from(text));
        }
    };
    put("event_id", input.event_id.as_deref());
    put("kind", import_line::KINDS.iter().find(|(_, kind)| *kind == input.kind).map(|(word, _)| *word));
    put("origin", input.origin.as_ref().map(|origin| origin.as_str()));
    put("room_version", input.room_version.as_ref().map(RoomVersionId::as_str));
    wrapper.insert("local", Json::Bool(input.local));
    if let Some(state) = &input.state {
        wrapper.insert("state", Json::Array(state.iter().map(|event_id| Json::from(event_id.as_str())).collect()));
    }
    // A bare PDU may be nested as deep as a wrapper is.
    let Ok(pdu) = Json::parse(&input.pdu) else { return true };
    wrapper.insert("pdu", pdu);
    let mut written = Vec::new();
    wrapper.write_canonical(&mut written);
    let again = import_line::parse(&written, None).ok().expect_value("a line that was read cannot be read again");
    assert_eq!(again.input, line.input, "a line is read otherwise than it is written");
    assert_eq!(again.room_id, line.room_id);
    true
}

/// A copy of a memory store, without its magic and its checksum.
pub fn dump(bytes: &[u8]) -> bool {
    memory::dump::is_content(bytes, &["events", "heads"])
}

/// The values of a few bytes: the first picks an index row, a position, an entry of the current state, a number or a
/// membership.
pub fn short_row(bytes: &[u8]) -> bool {
    let Some((table, bytes)) = bytes.split_first() else { return false };
    let written = match table % 5 {
        0 => decode_candidates(bytes).map(|read| encode_candidates(&read)),
        1 => decode_happening(bytes).map(encode_happening),
        2 => decode_current(bytes).map(encode_current),
        3 => decode_membership(bytes).map(|membership| vec![membership.code()]),
        _ => return decode_number(bytes).is_ok(),
    };
    let Ok(written) = written else { return false };
    assert_eq!(written, bytes, "a row is written otherwise than it was read");
    true
}

/// An event row: the event's number, then the value.
pub fn event_row(bytes: &[u8]) -> bool {
    let Some((number, bytes)) = number(bytes) else { return false };
    let Some(nid) = EventNid::new(number) else { return false };
    let Ok(row) = EventRow::decode(nid, bytes) else { return false };
    assert_eq!(EventRow::decode(nid, &row.encode(nid)), Ok(row));
    true
}

/// A room's head.
pub fn head(bytes: &[u8]) -> bool {
    let Ok(head) = RoomHead::decode(bytes) else { return false };
    assert_eq!(RoomHead::decode(&head.encode()), Ok(head));
    true
}

/// A pack: the first snapshot's number, then the value.
pub fn pack(bytes: &[u8]) -> bool {
    let Some((first, bytes)) = number(bytes) else { return false };
    // Snapshots of a pack are numbered from its first; the room's writer stops long before the numbers end.
    if first == 0 || first > u32::MAX - FULL_ROWS {
        return false;
    }
    let first = SnapshotNid::new(first);
    let Ok(pack) = pack::decode(first, bytes) else { return false };
    assert_eq!(pack::decode(first, &pack::encode(&pack)), Ok(pack));
    true
}

/// A sealed list: the snapshot's number, then the value.
pub fn list(bytes: &[u8]) -> bool {
    let Some((sealed, bytes)) = number(bytes) else { return false };
    let sealed = SnapshotNid::new(sealed);
    let Ok(list) = list::decode(sealed, bytes) else { return false };
    assert_eq!(list::decode(sealed, &list::encode(sealed, &list)), Ok(list));
    true
}

/// A block of state entries.
pub fn block(bytes: &[u8]) -> bool {
    let Ok(entries) = block::decode(bytes) else { return false };
    assert_eq!(block::decode(&block::encode(&entries)), Ok(entries));
    true
}

/// The body of an event: the first byte picks the room version and what the row has where the event is written again,
/// the rest is the value. Read beside a made-up row.
pub fn body(bytes: &[u8]) -> bool {
    let Some((first, bytes)) = bytes.split_first() else { return false };
    let Some((rules, has)) = setting(*first) else { return false };
    beside::open(&rules, bytes, has)
}

/// A write-ahead log or manifest, or the file that names the manifest, as it is checked before RocksDB reads it; the check
/// must end, and tell no place beyond it.
pub fn wal(bytes: &[u8]) -> bool {
    assert!(wal::manifest_in(bytes).is_none_or(|name| !name.contains('/')), "a manifest in another directory");
    match wal::scan(bytes) {
        Ok(end) => {
            assert!(end.torn.is_none_or(|offset| offset <= bytes.len() as u64));
            true
        }
        Err(wal::Fault::Damaged { offset, .. }) => {
            assert!(offset <= bytes.len() as u64);
            false
        }
        Err(wal::Fault::Io(_)) => false,
    }
}

/// A cold row: the first byte picks a room, a parked input or a number alone.
pub fn cold_row(bytes: &[u8]) -> bool {
    fn comes_back<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> bool {
        let Ok(row) = cold::decode::<T>(bytes) else { return false };
        let written = cold::encode(&row).ok();
        let again = written.as_deref().and_then(|written| cold::decode::<T>(written).ok());
        let again = again.expect_value("a row that was read cannot be written and read again");
        assert_eq!(cold::encode(&again).ok(), written, "a row is read otherwise than it was written");
        true
    }
    let Some((table, bytes)) = bytes.split_first() else { return false };
    match table % 3 {
        0 => comes_back::<RoomRow>(bytes),
        1 => comes_back::<ParkedRow>(bytes),
        _ => comes_back::<(u32,)>(bytes),
    }
}

/// Keys: any bytes as the keys that are read, and six numbers, the parts of two keys of each numeric shape.
pub fn keys(bytes: &[u8]) -> bool {
    let _ = (keys::last_number(bytes), keys::block_of(bytes), keys::tuple_of_current(bytes));
    let _ = (keys::parts_of_wait(bytes), keys::parts_of_wanted(bytes));
    let Some((left, bytes)) = key_parts(bytes) else { return false };
    let Some((right, _)) = key_parts(bytes) else { return false };
    let [a, b] = [left, right].map(|(room, event, child)| keys::auth_child(room, event, child));
    assert_eq!(a.cmp(&b), left.cmp(&right), "keys sort unlike their parts");
    assert!(a.starts_with(&keys::event(left.0, left.1)) && a.starts_with(&keys::room(left.0)));
    assert_eq!(keys::last_number(&a), Some(left.2.number()));
    let tuple = |(_, event_type, state_key): KeyParts| {
        let event_type = EventTypeNid::new(event_type.number())?;
        Some(StateTuple { event_type, state_key: StateKeyNid::new(state_key.number())? })
    };
    let (Some(left_tuple), Some(right_tuple)) = (tuple(left), tuple(right)) else { return false };
    let (a, b) = (keys::current(left.0, left_tuple), keys::current(right.0, right_tuple));
    assert_eq!(a.cmp(&b), (left.0, left_tuple).cmp(&(right.0, right_tuple)), "keys sort unlike their parts");
    assert!(a.starts_with(&keys::current_of_type(left.0, left_tuple.event_type)));
    assert_eq!(keys::tuple_of_current(&a), Some(left_tuple));
    let block = BlockNid { sealed: SnapshotNid::new(left.1.number()), ordinal: left.2.number() };
    let a = keys::block(left.0, block);
    assert_eq!(keys::block_of(&a), Some(block));
    assert!(a.starts_with(&keys::snapshot(left.0, block.sealed)));
    true
}

/// The parts of a key of three numbers.
type KeyParts = (RoomNid, EventNid, EventNid);

fn key_parts(bytes: &[u8]) -> Option<(KeyParts, &[u8])> {
    let (room, bytes) = number(bytes)?;
    let (event, bytes) = number(bytes)?;
    let (child, bytes) = number(bytes)?;
    Some(((RoomNid::new(room)?, EventNid::new(event)?, EventNid::new(child)?), bytes))
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u32::from_be_bytes(*number), rest))
}
