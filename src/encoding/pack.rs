//! The packed change log: what each snapshot of a room changed against its parent.
//!
//! A pack holds the log rows of up to 256 consecutive snapshots: one dictionary of the keys they touch, bit-packed
//! indexes into it, event numbers as deltas, and exceptions for rows that are not simply "one key changed against the
//! snapshot before". The bytes are drawn in `docs/format.md`.

use super::{
    block::{Entry, put_tuples, take_tuples},
    bytes::{Cursor, Decoded, Packed, bits_for, packed_len, put_packed, put_varint, put_zigzag},
    fingerprint::Fingerprint,
};
use crate::ids::{EventNid, SnapshotNid, StateTuple};

/// Rows of a pack that is still open.
pub const OPEN_ROWS: u32 = 32;
/// Rows of a pack that is full.
pub const FULL_ROWS: u32 = 256;
/// The most entries of one log row; a greater change is written as a list at once.
pub const ROW_ENTRIES_MAX: usize = 512;

/// What one snapshot changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// The snapshot that it changes.
    pub parent: SnapshotNid,
    /// Where states met: another snapshot that was resolved into this one.
    pub second_parent: Option<SnapshotNid>,
    /// Whether and why a list is due at this snapshot.
    pub seal: Seal,
    /// The changed keys; `None` removes one. Empty if `seal` is [`Seal::Whole`].
    pub entries: Vec<Entry>,
}

/// Whether a snapshot has a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// No list.
    Open,
    /// A list that repeats what the log says: derived.
    Derived,
    /// A list that holds what the log does not: the change was too great for a log row.
    Whole,
}

const EXPLICIT_PARENT: u8 = 1;
const SECOND_PARENT: u8 = 2;
const ENTRY_COUNT: u8 = 4;
const REMOVALS: u8 = 8;
const SEALED: u8 = 16;
const WHOLE: u8 = 32;
const KNOWN_FLAGS: u8 = 63;

/// The log rows of consecutive snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The first snapshot.
    pub first: SnapshotNid,
    /// The fingerprint of the first snapshot's state.
    pub fingerprint: Fingerprint,
    /// The number of keys in the first snapshot's state.
    pub len: u32,
    /// A row for each snapshot from the first on.
    pub rows: Vec<LogRow>,
}

impl Pack {
    /// The row of a snapshot, if it is in this pack.
    pub fn row(&self, snapshot: SnapshotNid) -> Option<&LogRow> {
        let index = snapshot.number().checked_sub(self.first.number())?;
        self.rows.get(index as usize)
    }

    /// Bytes that the decoded pack takes in memory, about.
    pub fn memory(&self) -> usize {
        self.rows.iter().map(|row| size_of::<LogRow>() + row.entries.len() * size_of::<Entry>()).sum::<usize>() + 64
    }
}

/// Writes a pack.
pub fn encode(pack: &Pack) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, pack.rows.len() as u64);
    out.extend_from_slice(&pack.fingerprint.to_bytes());
    put_varint(&mut out, u64::from(pack.len));
    put_exceptions(&mut out, pack);
    let mut dictionary: Vec<StateTuple> = pack.rows.iter().flat_map(|row| &row.entries).map(|entry| entry.0).collect();
    dictionary.sort_unstable();
    dictionary.dedup();
    put_varint(&mut out, dictionary.len() as u64);
    put_tuples(&mut out, dictionary.iter().copied());
    let entries = || pack.rows.iter().flat_map(|row| &row.entries);
    let place = |entry: &Entry| dictionary.binary_search(&entry.0).map_or(0, |place| place as u64);
    put_packed(&mut out, bits_for(dictionary.len()), entries().map(place));
    let mut last = 0i64;
    for event in entries().filter_map(|(_, event)| *event) {
        put_zigzag(&mut out, i64::from(event.number()) - last);
        last = i64::from(event.number());
    }
    out
}

fn put_exceptions(out: &mut Vec<u8>, pack: &Pack) {
    let mut exceptions = Vec::new();
    let (mut count, mut last) = (0u64, 0);
    for (index, (row, snapshot)) in pack.rows.iter().zip(pack.first.number()..).enumerate() {
        let removals: Vec<usize> =
            row.entries.iter().enumerate().filter(|(_, (_, event))| event.is_none()).map(|(at, _)| at).collect();
        let mut flags = 0;
        let mut set = |flag, on: bool| flags |= if on { flag } else { 0 };
        set(EXPLICIT_PARENT, row.parent.number().checked_add(1) != Some(snapshot));
        set(SECOND_PARENT, row.second_parent.is_some());
        set(ENTRY_COUNT, row.entries.len() != 1);
        set(REMOVALS, !removals.is_empty());
        set(SEALED, row.seal != Seal::Open);
        set(WHOLE, row.seal == Seal::Whole);
        if flags == 0 {
            continue;
        }
        count += 1;
        put_varint(&mut exceptions, (index - last) as u64);
        last = index;
        exceptions.push(flags);
        if flags & EXPLICIT_PARENT != 0 {
            put_varint(&mut exceptions, u64::from(snapshot.saturating_sub(row.parent.number())));
        }
        if let Some(second) = row.second_parent {
            put_varint(&mut exceptions, u64::from(snapshot.saturating_sub(second.number())));
        }
        if flags & ENTRY_COUNT != 0 {
            put_varint(&mut exceptions, row.entries.len() as u64);
        }
        if flags & REMOVALS != 0 {
            put_varint(&mut exceptions, removals.len() as u64);
            let mut before = 0;
            for at in removals {
                put_varint(&mut exceptions, (at - before) as u64);
                before = at;
            }
        }
    }
    put_varint(out, count);
    out.append(&mut exceptions);
}

/// A row as its exceptions tell it, before the entries are read.
#[derive(Clone)]
struct Shape {
    parent: SnapshotNid,
    second_parent: Option<SnapshotNid>,
    seal: Seal,
    entries: usize,
    removals: Vec<usize>,
}

/// Reads the pack whose first snapshot is `first`.
pub fn decode(first: SnapshotNid, bytes: &[u8]) -> Decoded<Pack> {
    let mut cursor = Cursor::new(bytes);
    let count = cursor.varint32()?;
    if count > FULL_ROWS {
        return Err(cursor.malformed("a pack of too many rows"));
    }
    let fingerprint = Fingerprint::from_bytes(cursor.array()?);
    let len = cursor.varint32()?;
    let shapes = take_shapes(&mut cursor, first, count)?;
    let total: usize = shapes.iter().map(|shape| shape.entries).sum();
    let removals: usize = shapes.iter().map(|shape| shape.removals.len()).sum();
    // Each entry that is not a removal takes a byte of event number.
    if total - removals > cursor.left() {
        return Err(cursor.malformed("more entries than bytes"));
    }
    let words = cursor.count(1)?;
    let dictionary = take_tuples(&mut cursor, words)?;
    let bits = bits_for(dictionary.len());
    let places = Packed::new(cursor.take(packed_len(total, bits))?, bits);
    let mut rows = Vec::with_capacity(shapes.len());
    let (mut place, mut event) = (0usize, 0i64);
    for shape in shapes {
        let mut entries = Vec::with_capacity(shape.entries);
        let mut removals = shape.removals.iter().peekable();
        for at in 0..shape.entries {
            let word = usize::try_from(places.get(place)).ok().and_then(|word| dictionary.get(word));
            let tuple = *word.ok_or(cursor.malformed("an entry beyond the dictionary"))?;
            place += 1;
            if removals.next_if(|removed| **removed == at).is_some() {
                entries.push((tuple, None));
                continue;
            }
            event = event.checked_add(cursor.zigzag()?).ok_or(cursor.malformed("an event number beyond 32 bits"))?;
            let nid = u32::try_from(event).ok().and_then(EventNid::new);
            entries.push((tuple, Some(nid.ok_or(cursor.malformed("an event number of 0 or beyond 32 bits"))?)));
        }
        let Shape { parent, second_parent, seal, .. } = shape;
        rows.push(LogRow { parent, second_parent, seal, entries });
    }
    cursor.end()?;
    Ok(Pack { first, fingerprint, len, rows })
}

fn take_shapes(cursor: &mut Cursor<'_>, first: SnapshotNid, count: u32) -> Decoded<Vec<Shape>> {
    let snapshots = first.number()..first.number().saturating_add(count);
    let mut shapes: Vec<Shape> = snapshots
        .map(|snapshot| Shape {
            parent: SnapshotNid::new(snapshot.saturating_sub(1)),
            second_parent: None,
            seal: Seal::Open,
            entries: 1,
            removals: Vec::new(),
        })
        .collect();
    let mut index = 0u32;
    for nth in 0..cursor.count(2)? {
        let step = cursor.varint32()?;
        if nth > 0 && step == 0 {
            return Err(cursor.malformed("two exceptions of one row"));
        }
        index = index.saturating_add(step);
        let flags = cursor.byte()?;
        if flags & !KNOWN_FLAGS != 0 {
            return Err(cursor.malformed("an unknown flag"));
        }
        let snapshot = first.number().saturating_add(index);
        let ancestor = |distance: u32| match (distance, snapshot.checked_sub(distance)) {
            (1.., Some(number)) => Some(SnapshotNid::new(number)),
            _ => None,
        };
        let shape = shapes.get_mut(index as usize).ok_or(cursor.malformed("an exception beyond the last row"))?;
        if flags & EXPLICIT_PARENT != 0 {
            let distance = cursor.varint32()?;
            shape.parent = ancestor(distance).ok_or(cursor.malformed("a parent that is not older"))?;
        }
        if flags & SECOND_PARENT != 0 {
            let distance = cursor.varint32()?;
            shape.second_parent = Some(ancestor(distance).ok_or(cursor.malformed("a parent that is not older"))?);
        }
        if flags & ENTRY_COUNT != 0 {
            shape.entries = cursor.varint32()? as usize;
            if shape.entries > ROW_ENTRIES_MAX {
                return Err(cursor.malformed("a row of too many entries"));
            }
        }
        if flags & REMOVALS != 0 {
            shape.removals = take_removals(cursor, shape.entries)?;
        }
        shape.seal = match (flags & SEALED != 0, flags & WHOLE != 0) {
            (false, false) => Seal::Open,
            (true, false) => Seal::Derived,
            (true, true) if shape.entries == 0 => Seal::Whole,
            _ => return Err(cursor.malformed("a whole list without a seal or with entries")),
        };
    }
    Ok(shapes)
}

fn take_removals(cursor: &mut Cursor<'_>, entries: usize) -> Decoded<Vec<usize>> {
    let mut removals = Vec::new();
    let mut at = 0usize;
    for nth in 0..cursor.count(1)? {
        let step = cursor.varint32()? as usize;
        at = at.saturating_add(step);
        if (nth > 0 && step == 0) || at >= entries {
            return Err(cursor.malformed("a removal that is not an entry"));
        }
        removals.push(at);
    }
    Ok(removals)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encoding::block::tests::tuple;

    fn rows(first: u32) -> impl Strategy<Value = Vec<LogRow>> {
        let entry = ((1u32..4, 1u32..200), prop::option::weighted(0.8, 1u32..));
        let row = (1u32..3, prop::option::weighted(0.2, 1u32..40), 0u8..8, prop::collection::vec(entry, 0..4));
        prop::collection::vec(row, 0..=256).prop_map(move |rows| {
            rows.into_iter()
                .zip(first..)
                .map(|((distance, second, seal, entries), snapshot)| {
                    let ancestor = |distance: u32| SnapshotNid::new(snapshot.saturating_sub(distance));
                    let seal = if seal == 0 { Seal::Derived } else { Seal::Open };
                    let entries = entries.into_iter().map(|((t, k), e)| (tuple(t, k), e.and_then(EventNid::new)));
                    let (parent, second_parent) = (ancestor(distance), second.map(ancestor));
                    LogRow { parent, second_parent, seal, entries: entries.collect() }
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn a_pack_comes_back(rows in rows(512), len: u32, print: [u8; 32]) {
            let first = SnapshotNid::new(512);
            let pack = Pack { first, fingerprint: Fingerprint::from_bytes(print), len, rows };
            prop_assert_eq!(decode(first, &encode(&pack)), Ok(pack));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
            let _ = decode(SnapshotNid::new(512), &bytes);
        }
    }

    #[test]
    fn a_linear_change_takes_under_six_bytes() {
        let row = |i: u32| LogRow {
            parent: SnapshotNid::new(511 + i),
            second_parent: None,
            seal: Seal::Open,
            entries: vec![(tuple(2, 1 + (i * 7919) % 50_000), EventNid::new(90_000 + i * 20))],
        };
        let rows = (0..256).map(row).collect();
        let pack = Pack { first: SnapshotNid::new(512), fingerprint: Fingerprint::EMPTY, len: 50_000, rows };
        assert!(encode(&pack).len() < 256 * 6, "{} bytes", encode(&pack).len());
    }

    #[test]
    fn a_whole_list_comes_back() {
        let row = LogRow { parent: SnapshotNid::EMPTY, second_parent: None, seal: Seal::Whole, entries: Vec::new() };
        let pack = Pack { first: SnapshotNid::new(1), fingerprint: Fingerprint::EMPTY, len: 9, rows: vec![row] };
        assert_eq!(decode(pack.first, &encode(&pack)), Ok(pack));
    }
}
