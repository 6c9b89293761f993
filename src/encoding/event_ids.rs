//! Event IDs as stored: those of a group of consecutive events in one value, once the group is full.

use super::bytes::{Cursor, Decoded, put_bytes};
use crate::ids::EventNid;

/// Consecutive events whose IDs share a value: a row for each would take a fifth more.
pub const GROUP: u32 = 64;

const HASH_BYTES: usize = 32;

/// An event ID, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredId<'a> {
    /// The reference hash.
    pub hash: &'a [u8; HASH_BYTES],
    /// The event ID, if it is no hash.
    pub text: Option<&'a str>,
}

/// The IDs in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventIds<'a> {
    hashes: &'a [[u8; HASH_BYTES]],
    texts: Vec<&'a str>,
}

/// The last event of a group: the key of its row has its number.
pub fn last_of_group(event: EventNid) -> EventNid {
    let last = event.number() | (GROUP - 1);
    EventNid::new(last).unwrap_or(event)
}

/// The first event of a group, given any of it.
pub fn first_of_group(event: EventNid) -> EventNid {
    let first = event.number() & !(GROUP - 1);
    EventNid::new(first.max(1)).unwrap_or(event)
}

/// The first event of which the row of an event has the ID: itself, or the first of the group that it ends.
pub fn first_in_row(event: EventNid) -> EventNid {
    if last_of_group(event) == event { first_of_group(event) } else { event }
}

/// Writes IDs. Either all of them are hashes or none.
pub fn encode<'a>(ids: impl Iterator<Item = StoredId<'a>>) -> Vec<u8> {
    let (mut value, mut texts) = (Vec::new(), Vec::new());
    for StoredId { hash, text } in ids {
        value.extend_from_slice(hash);
        if let Some(text) = text {
            put_bytes(&mut texts, text.as_bytes());
        }
    }
    value.extend(texts);
    value
}

/// Reads the IDs of `count` events.
pub fn decode(bytes: &[u8], count: usize) -> Decoded<EventIds<'_>> {
    let mut cursor = Cursor::new(bytes);
    let (hashes, _) = cursor.take(count.saturating_mul(HASH_BYTES))?.as_chunks();
    let mut texts = Vec::new();
    if cursor.left() > 0 {
        for _ in hashes {
            texts.push(cursor.text()?);
        }
    }
    cursor.end()?;
    Ok(EventIds { hashes, texts })
}

/// Reads the IDs in the row of an event: the number of the first, and they.
pub fn decode_row(event: EventNid, bytes: &[u8]) -> Decoded<(EventNid, EventIds<'_>)> {
    let first = first_in_row(event);
    let count = event.number().saturating_sub(first.number()).saturating_add(1);
    Ok((first, decode(bytes, count as usize)?))
}

impl<'a> EventIds<'a> {
    /// The ID at a place.
    pub fn get(&self, place: usize) -> Option<StoredId<'a>> {
        Some(StoredId { hash: self.hashes.get(place)?, text: self.texts.get(place).copied() })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = StoredId<'a>> {
        (0..self.hashes.len()).filter_map(|place| self.get(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nid(number: u32) -> EventNid {
        EventNid::new(number).unwrap()
    }

    #[test]
    fn golden_bytes() {
        let (a, b) = ([0xaa; 32], [0xbb; 32]);
        let hashes = [StoredId { hash: &a, text: None }, StoredId { hash: &b, text: None }];
        assert_eq!(encode(hashes.into_iter()), [a, b].concat());
        let texts = [StoredId { hash: &a, text: Some("$1:b") }, StoredId { hash: &b, text: Some("$22:b") }];
        let bytes = encode(texts.into_iter());
        assert_eq!(bytes, [&a[..], &b, b"\x04$1:b\x05$22:b"].concat());
        assert!(decode(&bytes, 2).unwrap().iter().eq(texts));
    }

    #[test]
    fn groups_end_before_each_multiple_of_64_and_the_first_lacks_number_0() {
        let groups = [(1, 1, 63), (63, 1, 63), (64, 64, 127), (127, 64, 127), (128, 128, 191)];
        for (event, first, last) in groups {
            assert_eq!((first_of_group(nid(event)), last_of_group(nid(event))), (nid(first), nid(last)));
        }
        assert_eq!(last_of_group(nid(u32::MAX)), nid(u32::MAX));
        assert_eq!([62, 63, 64, 127].map(|event| first_in_row(nid(event)).number()), [62, 1, 64, 64]);
    }

    #[test]
    fn a_value_of_another_number_of_ids_is_malformed() {
        let hash = [7; 32];
        let value = |count: usize, text| encode((0..count).map(|_| StoredId { hash: &hash, text }));
        for text in [None, Some("$a:b")] {
            assert!(decode(&value(3, text), 3).is_ok());
            assert!(decode(&value(3, text), 2).is_err());
            assert!(decode(&value(3, text), 4).is_err());
        }
    }
}
