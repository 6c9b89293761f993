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

/// A row that stands by itself.
#[cfg(test)]
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

#[cfg(test)]
impl LogRow {
    /// The row, borrowed.
    pub fn borrowed(&self) -> RowRef<'_> {
        let Self { parent, second_parent, seal, ref entries } = *self;
        RowRef { parent, second_parent, seal, entries }
    }
}

/// What one snapshot changed: a row of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef<'a> {
    /// The snapshot that it changes.
    pub parent: SnapshotNid,
    /// Where states met: another snapshot that was resolved into this one.
    pub second_parent: Option<SnapshotNid>,
    /// Whether and why a list is due at this snapshot.
    pub seal: Seal,
    /// The changed keys; `None` removes one.
    pub entries: &'a [Entry],
}

/// Whether a snapshot has a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// Neither a list nor a state: it was collected. Its number stays taken.
    Gone,
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
const GONE: u8 = 64;
const KNOWN_FLAGS: u8 = 63;

/// The log rows of consecutive snapshots.
///
/// Most rows change one key of the snapshot before: they are an entry and nothing else. So a pack is its entries one
/// after the other, and the shapes of the rows that are otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The first snapshot.
    pub first: SnapshotNid,
    /// The fingerprint of the first snapshot's state.
    pub fingerprint: Fingerprint,
    /// The number of keys in the first snapshot's state.
    pub len: u32,
    count: u32,
    shapes: Vec<Shape>,
    entries: Vec<Entry>,
}

/// A row that does not simply change one key of the snapshot before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// Its place in the pack.
    index: u32,
    parent: SnapshotNid,
    second_parent: Option<SnapshotNid>,
    seal: Seal,
    /// The place of its first entry, and their number.
    start: u32,
    len: u32,
}

/// Rows of a pack that each change the snapshot before, from one on that need not.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Their entries, oldest first, and the place of the first one in the pack.
    pub entries: &'a [Entry],
    /// The place of the first of the entries among those of the pack.
    pub start: usize,
    /// The oldest of the snapshots.
    pub oldest: SnapshotNid,
    /// Whether it has a list.
    pub seal: Seal,
    /// What it changes.
    pub parent: SnapshotNid,
}

impl RowRef<'_> {
    /// The row of a snapshot that was collected.
    pub const GONE: Self = Self { parent: SnapshotNid::EMPTY, second_parent: None, seal: Seal::Gone, entries: &[] };
}

impl Pack {
    /// A pack without rows.
    pub fn new(first: SnapshotNid, fingerprint: Fingerprint, len: u32) -> Self {
        Self { first, fingerprint, len, count: 0, shapes: Vec::new(), entries: Vec::new() }
    }

    /// The number of its rows.
    pub fn row_count(&self) -> u32 {
        self.count
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Appends a row.
    pub fn push(&mut self, row: RowRef<'_>) {
        let RowRef { parent, second_parent, seal, entries } = row;
        let place = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let (start, len) = (place(self.entries.len()), place(entries.len()));
        self.push_shape(Shape { index: self.count, parent, second_parent, seal, start, len });
        self.entries.extend_from_slice(entries);
        self.count = self.count.saturating_add(1);
    }

    fn push_shape(&mut self, shape: Shape) {
        let follows = shape.parent.number().checked_add(1) == Some(self.snapshot(shape.index).number());
        if !follows || shape.second_parent.is_some() || shape.seal != Seal::Open || shape.len != 1 {
            self.shapes.push(shape);
        }
    }

    fn snapshot(&self, index: u32) -> SnapshotNid {
        SnapshotNid::new(self.first.number().saturating_add(index))
    }

    fn index(&self, snapshot: SnapshotNid) -> Option<u32> {
        snapshot.number().checked_sub(self.first.number()).filter(|index| *index < self.count)
    }

    /// Tells whether the row of a snapshot is in this pack.
    pub fn contains(&self, snapshot: SnapshotNid) -> bool {
        self.index(snapshot).is_some()
    }

    /// The row of a snapshot, if it is in this pack.
    pub fn row(&self, snapshot: SnapshotNid) -> Option<RowRef<'_>> {
        let shape = self.shape(self.index(snapshot)?);
        let Shape { parent, second_parent, seal, start, len, .. } = shape;
        let entries = self.entries.get(start as usize..)?.get(..len as usize)?;
        Some(RowRef { parent, second_parent, seal, entries })
    }

    /// All rows, oldest first.
    pub fn rows(&self) -> impl Iterator<Item = RowRef<'_>> {
        (0..self.count).filter_map(|index| self.row(self.snapshot(index)))
    }

    /// Tells whether no snapshot of it is left.
    pub fn is_gone(&self) -> bool {
        self.rows().all(|row| row.seal == Seal::Gone)
    }

    fn shape(&self, index: u32) -> Shape {
        let after = self.shapes.partition_point(|shape| shape.index <= index);
        let before = after.checked_sub(1).and_then(|place| self.shapes.get(place));
        if let Some(shape) = before.filter(|shape| shape.index == index) {
            return *shape;
        }
        let start = match before {
            Some(Shape { index: before, start, len, .. }) => {
                start.saturating_add(*len).saturating_add(index.saturating_sub(*before)).saturating_sub(1)
            }
            None => index,
        };
        let parent = SnapshotNid::new(self.snapshot(index).number().saturating_sub(1));
        Shape { index, parent, second_parent: None, seal: Seal::Open, start, len: 1 }
    }

    /// The rows from that of `newest` back to the first one that has a list, or does not change the snapshot before it.
    pub fn segment(&self, newest: SnapshotNid) -> Option<Segment<'_>> {
        let index = self.index(newest)?;
        let parts = |shape: &Shape| {
            shape.seal != Seal::Open
                || shape.parent.number().checked_add(1) != Some(self.snapshot(shape.index).number())
        };
        let after = self.shapes.partition_point(|shape| shape.index <= index);
        let oldest = self.shapes.get(..after)?.iter().rev().find(|shape| parts(shape)).copied();
        let oldest = oldest.unwrap_or_else(|| self.shape(0));
        let last = self.shape(index);
        let start = oldest.start as usize;
        let entries = self.entries.get(start..last.start.saturating_add(last.len) as usize)?;
        Some(Segment { entries, start, oldest: self.snapshot(oldest.index), seal: oldest.seal, parent: oldest.parent })
    }

    /// Gives back memory that is held for rows to come.
    pub fn shrink(&mut self) {
        self.shapes.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// Bytes that the decoded pack takes in memory.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.shapes.capacity() * size_of::<Shape>() + self.entries.capacity() * size_of::<Entry>()
    }
}

/// Writes a pack.
pub fn encode(pack: &Pack) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, u64::from(pack.count));
    out.extend_from_slice(&pack.fingerprint.to_bytes());
    put_varint(&mut out, u64::from(pack.len));
    put_exceptions(&mut out, pack);
    let mut dictionary: Vec<StateTuple> = pack.entries.iter().map(|entry| entry.0).collect();
    dictionary.sort_unstable();
    dictionary.dedup();
    put_varint(&mut out, dictionary.len() as u64);
    put_tuples(&mut out, dictionary.iter().copied());
    let place = |entry: &Entry| dictionary.binary_search(&entry.0).map_or(0, |place| place as u64);
    put_packed(&mut out, bits_for(dictionary.len()), pack.entries.iter().map(place));
    let mut last = 0i64;
    for event in pack.entries.iter().filter_map(|(_, event)| *event) {
        put_zigzag(&mut out, i64::from(event.number()) - last);
        last = i64::from(event.number());
    }
    out
}

fn put_exceptions(out: &mut Vec<u8>, pack: &Pack) {
    let mut exceptions = Vec::new();
    let (mut count, mut last) = (0u64, 0);
    let mut rows = pack.rows().zip(pack.first.number()..).enumerate().peekable();
    while let Some((index, (row, snapshot))) = rows.next() {
        if row.seal == Seal::Gone {
            let mut run = 1;
            while rows.next_if(|(_, (row, _))| row.seal == Seal::Gone).is_some() {
                run += 1;
            }
            count += 1;
            put_varint(&mut exceptions, (index - last) as u64);
            last = index + run - 1;
            exceptions.push(GONE);
            put_varint(&mut exceptions, run as u64);
            continue;
        }
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

/// Reads the pack whose first snapshot is `first`.
pub fn decode(first: SnapshotNid, bytes: &[u8]) -> Decoded<Pack> {
    let mut cursor = Cursor::new(bytes);
    let count = cursor.varint32()?;
    if count > FULL_ROWS {
        return Err(cursor.malformed("a pack of too many rows"));
    }
    let fingerprint = Fingerprint::from_bytes(cursor.array()?);
    let mut pack = Pack { count, ..Pack::new(first, fingerprint, cursor.varint32()?) };
    let (total, removals) = take_shapes(&mut cursor, &mut pack)?;
    // Each entry that is not a removal takes a byte of event number.
    if total.saturating_sub(removals.len()) > cursor.left() {
        return Err(cursor.malformed("more entries than bytes"));
    }
    let words = cursor.count(1)?;
    let dictionary = take_tuples(&mut cursor, words)?;
    let bits = bits_for(dictionary.len());
    let places = Packed::new(cursor.take(packed_len(total, bits))?, bits);
    pack.entries.reserve_exact(total);
    let mut removals = removals.into_iter().peekable();
    let mut event = 0i64;
    for place in 0..total {
        let word = usize::try_from(places.get(place)).ok().and_then(|word| dictionary.get(word));
        let tuple = *word.ok_or(cursor.malformed("an entry beyond the dictionary"))?;
        if removals.next_if(|removed| *removed == place).is_some() {
            pack.entries.push((tuple, None));
            continue;
        }
        event = event.checked_add(cursor.zigzag()?).ok_or(cursor.malformed("an event number beyond 32 bits"))?;
        let nid = u32::try_from(event).ok().and_then(EventNid::new);
        pack.entries.push((tuple, Some(nid.ok_or(cursor.malformed("an event number of 0 or beyond 32 bits"))?)));
    }
    cursor.end()?;
    Ok(pack)
}

/// Reads the exceptions; gives the number of entries of all rows and the places of the removals among them.
fn take_shapes(cursor: &mut Cursor<'_>, pack: &mut Pack) -> Decoded<(usize, Vec<usize>)> {
    let mut removals = Vec::new();
    // The next row, and the place of its first entry.
    let (mut index, mut start) = (0u32, 0u32);
    for nth in 0..cursor.count(2)? {
        let step = cursor.varint32()?;
        if nth > 0 && step == 0 {
            return Err(cursor.malformed("two exceptions of one row"));
        }
        // The row of the exception before is behind already.
        let skipped = if nth > 0 { step.saturating_sub(1) } else { step };
        (index, start) = (index.saturating_add(skipped), start.saturating_add(skipped));
        if index >= pack.count {
            return Err(cursor.malformed("an exception beyond the last row"));
        }
        let flags = cursor.byte()?;
        if flags == GONE {
            index = take_gone(cursor, pack, index, start)?;
            continue;
        }
        let place = Shape { index, start, ..GONE_SHAPE };
        let shape = take_shape(cursor, pack.snapshot(index), flags, place, &mut removals)?;
        pack.push_shape(shape);
        (index, start) = (index.saturating_add(1), start.saturating_add(shape.len));
    }
    let total = start.saturating_add(pack.count.saturating_sub(index));
    Ok((total as usize, removals))
}

/// The shape of a row that is gone, but for its place.
const GONE_SHAPE: Shape =
    Shape { index: 0, parent: SnapshotNid::EMPTY, second_parent: None, seal: Seal::Gone, start: 0, len: 0 };

/// Reads how many rows are gone from `index` on; gives the one after them.
fn take_gone(cursor: &mut Cursor<'_>, pack: &mut Pack, index: u32, start: u32) -> Decoded<u32> {
    let after = index.checked_add(cursor.varint32()?).filter(|after| *after > index && *after <= pack.count);
    let after = after.ok_or(cursor.malformed("no rows that are gone, or some beyond the last"))?;
    pack.shapes.extend((index..after).map(|index| Shape { index, start, ..GONE_SHAPE }));
    Ok(after)
}

/// Reads a row whose place is known.
fn take_shape(
    cursor: &mut Cursor<'_>,
    snapshot: SnapshotNid,
    flags: u8,
    place: Shape,
    removals: &mut Vec<usize>,
) -> Decoded<Shape> {
    if flags & !KNOWN_FLAGS != 0 {
        return Err(cursor.malformed("an unknown flag"));
    }
    let ancestor = |distance: u32| match (distance, snapshot.number().checked_sub(distance)) {
        (1.., Some(number)) => Some(SnapshotNid::new(number)),
        _ => None,
    };
    let parent = SnapshotNid::new(snapshot.number().saturating_sub(1));
    let mut shape = Shape { parent, seal: Seal::Open, len: 1, ..place };
    if flags & EXPLICIT_PARENT != 0 {
        let distance = cursor.varint32()?;
        shape.parent = ancestor(distance).ok_or(cursor.malformed("a parent that is not older"))?;
    }
    if flags & SECOND_PARENT != 0 {
        let distance = cursor.varint32()?;
        shape.second_parent = Some(ancestor(distance).ok_or(cursor.malformed("a parent that is not older"))?);
    }
    if flags & ENTRY_COUNT != 0 {
        shape.len = cursor.varint32()?;
        if shape.len as usize > ROW_ENTRIES_MAX {
            return Err(cursor.malformed("a row of too many entries"));
        }
    }
    if flags & REMOVALS != 0 {
        let removed = take_removals(cursor, shape.len as usize)?;
        removals.extend(removed.into_iter().map(|at| at + place.start as usize));
    }
    shape.seal = match (flags & SEALED != 0, flags & WHOLE != 0) {
        (false, false) => Seal::Open,
        (true, false) => Seal::Derived,
        (true, true) if shape.len == 0 => Seal::Whole,
        _ => return Err(cursor.malformed("a whole list without a seal or with entries")),
    };
    Ok(shape)
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

    fn gone() -> LogRow {
        LogRow { parent: SnapshotNid::EMPTY, second_parent: None, seal: Seal::Gone, entries: Vec::new() }
    }

    fn rows(first: u32) -> impl Strategy<Value = Vec<LogRow>> {
        let entry = ((1u32..4, 1u32..200), prop::option::weighted(0.8, 1u32..));
        let row = (1u32..3, prop::option::weighted(0.2, 1u32..40), 0u8..8, prop::collection::vec(entry, 0..4));
        prop::collection::vec(row, 0..=256).prop_map(move |rows| {
            rows.into_iter()
                .zip(first..)
                .map(|((distance, second, seal, entries), snapshot)| {
                    let ancestor = |distance: u32| SnapshotNid::new(snapshot.saturating_sub(distance));
                    let seal = match seal {
                        0 => Seal::Derived,
                        1 => return gone(),
                        _ => Seal::Open,
                    };
                    let entries = entries.into_iter().map(|((t, k), e)| (tuple(t, k), e.and_then(EventNid::new)));
                    let (parent, second_parent) = (ancestor(distance), second.map(ancestor));
                    LogRow { parent, second_parent, seal, entries: entries.collect() }
                })
                .collect()
        })
    }

    /// A pack of these rows.
    fn pack(first: u32, len: u32, rows: &[LogRow]) -> Pack {
        let mut pack = Pack::new(SnapshotNid::new(first), Fingerprint::from_bytes([5; 32]), len);
        rows.iter().for_each(|row| pack.push(row.borrowed()));
        pack
    }

    proptest! {
        #[test]
        fn a_pack_comes_back(rows in rows(512), len: u32) {
            let pack = pack(512, len, &rows);
            prop_assert_eq!(pack.rows().collect::<Vec<_>>(), rows.iter().map(LogRow::borrowed).collect::<Vec<_>>());
            prop_assert_eq!(decode(pack.first, &encode(&pack)), Ok(pack));
        }

        #[test]
        fn segments_are_the_rows_one_after_the_other(rows in rows(512), newest in 512u32..768) {
            let pack = pack(512, 7, &rows);
            let newest = SnapshotNid::new(newest);
            let Some(segment) = pack.segment(newest) else {
                prop_assert!(!pack.contains(newest));
                return Ok(());
            };
            let (mut entries, mut at) = (Vec::new(), newest);
            loop {
                let row = pack.row(at).expect("in the pack");
                entries.splice(0..0, row.entries.iter().copied());
                let follows = row.parent.number() + 1 == at.number() && row.seal == Seal::Open;
                if !follows || at == pack.first {
                    prop_assert_eq!((segment.oldest, segment.seal, segment.parent), (at, row.seal, row.parent));
                    break;
                }
                at = row.parent;
            }
            prop_assert_eq!(segment.entries, entries.as_slice());
            prop_assert_eq!(&pack.entries()[segment.start..][..entries.len()], entries.as_slice());
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
        let mut pack = pack(512, 50_000, &(0..256).map(row).collect::<Vec<_>>());
        assert!(encode(&pack).len() < 256 * 6, "{} bytes", encode(&pack).len());
        pack.shrink();
        assert!(pack.memory() < 256 * 13, "{} bytes in memory", pack.memory());
    }

    #[test]
    fn rows_that_are_gone_take_five_bytes_however_many_they_are() {
        let all = pack(512, 9, &vec![gone(); 256]);
        assert_eq!(encode(&all).len(), encode(&pack(512, 9, &[])).len() + 5);
        assert_eq!(decode(all.first, &encode(&all)), Ok(all));
    }

    #[test]
    fn a_row_that_is_gone_has_nothing_else() {
        let first = SnapshotNid::new(512);
        // Two rows and their exceptions.
        let head = |exceptions: &[u8]| [&[2u8], &[0; 32][..], &[9], exceptions, &[0]].concat();
        assert!(decode(first, &head(&[1, 0, GONE, 2])).is_ok());
        for exceptions in
            [&[2, 0, GONE, 2, 1, SEALED][..], &[1, 0, GONE, 0], &[1, 0, GONE, 3], &[1, 0, GONE | SEALED, 1]]
        {
            assert!(decode(first, &head(exceptions)).is_err(), "{exceptions:?}");
        }
    }

    #[test]
    fn a_whole_list_comes_back() {
        let row = LogRow { parent: SnapshotNid::EMPTY, second_parent: None, seal: Seal::Whole, entries: Vec::new() };
        let pack = pack(1, 9, &[row]);
        assert_eq!(decode(pack.first, &encode(&pack)), Ok(pack));
    }
}
