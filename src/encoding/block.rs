//! A state block: up to 768 sorted entries of one run, named by the hash of its bytes and shared between lists.
//!
//! The bytes are drawn in `docs/format.md`.

use xxhash_rust::xxh3::xxh3_64;

use super::bytes::{Cursor, Decoded, Packed, bits_for, packed_len, put_packed, put_varint};
use crate::ids::{EventNid, EventTypeNid, StateKeyNid, StateTuple};

/// An entry of a run: the event at a key, or `None` where the run removes the key from the older runs.
pub type Entry = (StateTuple, Option<EventNid>);

/// The most entries that a block holds.
pub const BLOCK_ENTRIES_MAX: usize = 768;

/// The hash that names a block's content. A hint for finding equal blocks; bytes decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockHash(pub u64);

impl BlockHash {
    /// Hashes a block's bytes (XXH3, 64 bits).
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_64(bytes))
    }
}

/// Writes sorted, distinct entries as a block.
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + entries.len() * 4);
    put_varint(&mut out, entries.len() as u64);
    put_tuples(&mut out, entries.iter().map(|(tuple, _)| *tuple));
    let events = || entries.iter().filter_map(|(_, event)| event.map(EventNid::number));
    let least = events().min().unwrap_or(0);
    let span = events().max().unwrap_or(0) - least;
    let bits = bits_for((span as usize).saturating_add(1));
    put_varint(&mut out, u64::from(least));
    put_varint(&mut out, u64::from(bits));
    let offsets = entries.iter().map(|(_, event)| event.map_or(0, |event| u64::from(event.number() - least)));
    put_packed(&mut out, bits, offsets);
    let removed: Vec<usize> =
        entries.iter().enumerate().filter(|(_, (_, event))| event.is_none()).map(|(index, _)| index).collect();
    put_varint(&mut out, removed.len() as u64);
    let mut last = 0;
    for index in removed {
        put_varint(&mut out, (index - last) as u64);
        last = index;
    }
    out
}

/// Reads a block's entries, in order.
pub fn decode(bytes: &[u8]) -> Decoded<Vec<Entry>> {
    let mut cursor = Cursor::new(bytes);
    let count = cursor.count(1)?;
    if count > BLOCK_ENTRIES_MAX {
        return Err(cursor.malformed("a block of too many entries"));
    }
    let tuples = take_tuples(&mut cursor, count)?;
    let least = cursor.varint32()?;
    let bits = cursor.varint32()?;
    if bits > 32 {
        return Err(cursor.malformed("event numbers wider than 32 bits"));
    }
    let packed = Packed::new(cursor.take(packed_len(count, bits))?, bits);
    let mut removed = vec![false; count];
    let mut index = 0usize;
    for nth in 0..cursor.count(1)? {
        let step = cursor.varint32()? as usize;
        if nth > 0 && step == 0 {
            return Err(cursor.malformed("a removal that is named twice"));
        }
        index = index.saturating_add(step);
        *removed.get_mut(index).ok_or(cursor.malformed("a removal beyond the last entry"))? = true;
    }
    cursor.end()?;
    let entry = |(index, (tuple, removed)): (usize, (StateTuple, bool))| {
        if removed {
            return Ok((tuple, None));
        }
        let number = u64::from(least) + packed.get(index);
        let event = u32::try_from(number).ok().and_then(EventNid::new);
        event.map(|event| (tuple, Some(event))).ok_or(cursor.malformed("an event number of 0 or beyond 32 bits"))
    };
    tuples.into_iter().zip(removed).enumerate().map(entry).collect()
}

/// Appends sorted, distinct keys: per event type its number as delta and the count of its keys, then the state keys as
/// deltas.
pub fn put_tuples(out: &mut Vec<u8>, tuples: impl Iterator<Item = StateTuple> + Clone) {
    let mut last_type = 0;
    let mut rest = tuples.peekable();
    while let Some(first) = rest.peek().copied() {
        let group = rest.clone().take_while(|tuple| tuple.event_type == first.event_type).count();
        put_varint(out, u64::from(first.event_type.number() - last_type));
        put_varint(out, group as u64);
        last_type = first.event_type.number();
        let mut last_key = 0;
        for tuple in rest.by_ref().take(group) {
            put_varint(out, u64::from(tuple.state_key.number() - last_key));
            last_key = tuple.state_key.number();
        }
    }
}

/// Reads `count` sorted, distinct keys; `count` must have been checked against the bytes that are left.
pub fn take_tuples(cursor: &mut Cursor<'_>, count: usize) -> Decoded<Vec<StateTuple>> {
    let mut tuples = Vec::with_capacity(count);
    let mut type_number = 0u32;
    while tuples.len() < count {
        let step = cursor.varint32()?;
        type_number = type_number.checked_add(step).ok_or(cursor.malformed("an event type beyond 32 bits"))?;
        let event_type = match EventTypeNid::new(type_number) {
            Some(event_type) if step > 0 => event_type,
            _ => return Err(cursor.malformed("event types that do not ascend")),
        };
        let group = cursor.count(1)?;
        if group == 0 || group > count - tuples.len() {
            return Err(cursor.malformed("a group of keys that does not fit"));
        }
        let mut key_number = 0u32;
        for _ in 0..group {
            let step = cursor.varint32()?;
            key_number = key_number.checked_add(step).ok_or(cursor.malformed("a state key beyond 32 bits"))?;
            match StateKeyNid::new(key_number) {
                Some(state_key) if step > 0 => tuples.push(StateTuple { event_type, state_key }),
                _ => return Err(cursor.malformed("state keys that do not ascend")),
            }
        }
    }
    Ok(tuples)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    pub(crate) fn tuple(event_type: u32, state_key: u32) -> StateTuple {
        StateTuple {
            event_type: EventTypeNid::new(event_type).expect("not 0"),
            state_key: StateKeyNid::new(state_key).expect("not 0"),
        }
    }

    proptest! {
        #[test]
        fn a_block_comes_back(
            map in prop::collection::btree_map((1u32..5, 1u32..), prop::option::of(1u32..), 0..100),
        ) {
            let map: BTreeMap<(u32, u32), Option<u32>> = map;
            let entries: Vec<Entry> =
                map.into_iter().map(|((t, k), e)| (tuple(t, k), e.and_then(EventNid::new))).collect();
            prop_assert_eq!(decode(&encode(&entries)), Ok(entries));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_block_of_members_takes_under_four_bytes_an_entry() {
        let entries: Vec<Entry> =
            (0..256).map(|i| (tuple(2, 1000 + i * 90), EventNid::new(5000 + (i * 7919) % 20_000))).collect();
        assert!(encode(&entries).len() < 256 * 4);
    }

    #[test]
    fn the_bytes_of_a_block_are_these() {
        let entries = [(tuple(1, 1), EventNid::new(10)), (tuple(2, 3), None), (tuple(2, 5), EventNid::new(13))];
        assert_eq!(encode(&entries), [3, 1, 1, 1, 1, 2, 3, 2, 10, 2, 0b11_00_00, 1, 1]);
    }
}
