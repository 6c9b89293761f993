//! Doors for the fuzz targets: each takes any bytes and reads them as one kind of value.
//!
//! What is read must come back: written and read again it is the same value. A panic is a finding, whether it comes from
//! the decoder or from a comparison here. Each door tells whether the bytes were a value, so that a seed that no longer
//! reaches the far side of its decoder is noticed. No part of the public interface.

use ruma_common::{
    RoomVersionId,
    room_version_rules::{EventIdFormatVersion, RoomVersionRules},
};

use crate::{
    encoding::{
        block, cold, event_ids,
        event_key::EventKey,
        event_row::EventRow,
        head::RoomHead,
        json::Json,
        keys, list,
        pack::{self, FULL_ROWS},
        pdu::{self, Pdu},
    },
    ids::{EventNid, EventTypeNid, RoomNid, SnapshotNid, StateKeyNid, StateTuple},
    import_line,
    kv::wal,
    resolution::content::Content,
    tables::{
        event_ids::{decode_candidates, encode_candidates},
        rows::{decode_current, decode_happening, decode_number, encode_current, encode_happening},
    },
};

mod beside;
mod made;
#[cfg(test)]
mod tests;

/// A door: gets any bytes, tells whether they were a value.
pub type Door = fn(&[u8]) -> bool;

/// Every door, under the name of its fuzz target.
pub const DOORS: &[(&str, Door)] = &[
    ("block", block),
    ("body", body),
    ("cold_row", cold_row),
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

/// A PDU and what authorisation reads of its content: the first byte picks the room version, the rest is JSON.
pub fn pdu(bytes: &[u8]) -> bool {
    let Some((version, bytes)) = bytes.split_first() else { return false };
    let version = RoomVersionId::try_from((version % 12 + 1).to_string());
    let Some(rules) = version.ok().and_then(|version| version.rules()) else { return false };
    let Ok(json) = Json::parse(bytes) else { return false };
    let _ = pdu::room_id_hint(&json);
    let Ok(pdu) = Pdu::parse(json, &rules) else { return false };
    comes_back(&rules, &pdu);
    true
}

/// The same of an event that is made of the bytes, each of which decides something; and a row of it.
pub fn made_pdu(bytes: &[u8]) -> bool {
    let mut choices = made::Choices::new(bytes);
    let version = RoomVersionId::try_from((choices.byte() % 12 + 1).to_string());
    let Some(rules) = version.ok().and_then(|version| version.rules()) else { return false };
    let event = choices.event(&rules);
    let Ok(pdu) = Pdu::parse(Json::Object(event), &rules) else { return false };
    comes_back(&rules, &pdu);
    let nid = EventNid::new(u32::from(choices.byte()) + 300).expect_value("a number");
    made::row_comes_back(nid, &choices.row(nid, &pdu));
    true
}

/// An event comes back from its body, and is the same when it is read again.
fn comes_back(rules: &RoomVersionRules, pdu: &Pdu) {
    beside::round_trip(rules, pdu);
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
    let _ = line.room_id.is_some();
    // A bare PDU may be nested as deep as a wrapper is.
    if let Ok(again) = import_line::parse(&[b"{\"pdu\":", &*line.input.pdu, b"}"].concat(), None) {
        assert_eq!(again.input.pdu, line.input.pdu, "a PDU of a line is read otherwise than it is written");
    }
    true
}

/// The values of a few bytes: the first picks an index row, a position, an entry of the current state or a number.
pub fn short_row(bytes: &[u8]) -> bool {
    let Some((table, bytes)) = bytes.split_first() else { return false };
    let written = match table % 4 {
        0 => decode_candidates(bytes).map(|read| encode_candidates(&read)),
        1 => decode_happening(bytes).map(encode_happening),
        2 => decode_current(bytes).map(encode_current),
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

/// The body of an event: the first byte picks the room version, the rest is the value. Read beside a made-up row.
pub fn body(bytes: &[u8]) -> bool {
    let Some((version, bytes)) = bytes.split_first() else { return false };
    let version = RoomVersionId::try_from((version % 12 + 1).to_string());
    let Some(rules) = version.ok().and_then(|version| version.rules()) else { return false };
    beside::open(&rules, bytes)
}

/// A write-ahead log or manifest, as it is checked before RocksDB reads it; the check must end, and tell no place beyond it.
pub fn wal(bytes: &[u8]) -> bool {
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

/// A cold row, of a shape that holds what cold rows hold: texts, raw bytes, options, lists.
pub fn cold_row(bytes: &[u8]) -> bool {
    type Row = (String, Vec<u8>, Option<Vec<String>>, u64);
    let Ok(row) = cold::decode::<Row>(bytes) else { return false };
    let again = cold::encode(&row).ok().expect_value("a row that was read cannot be written");
    assert_eq!(cold::decode::<Row>(&again), Ok(row));
    true
}

/// Keys: six numbers, the parts of two keys of each numeric shape.
pub fn keys(bytes: &[u8]) -> bool {
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

/// A value that must be there, in the one place of the crate whose panics are wanted.
trait ExpectValue<T> {
    fn expect_value(self, finding: &str) -> T;
}

impl<T> ExpectValue<T> for Option<T> {
    #[expect(clippy::expect_used, reason = "a panic is how a fuzz target reports a finding")]
    fn expect_value(self, finding: &str) -> T {
        self.expect(finding)
    }
}
