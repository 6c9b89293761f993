//! Every snapshot in full: what storing states costs if nothing is shared.
//!
//! One row a snapshot, keys as differences, events as varints. Too many bytes for a large room: a sample is written.

use super::{
    history::{Change, History},
    layout::{At, Blocks, Changed, Layout, compare_whole, key, load, sound, tables},
};
use crate::{
    encoding::bytes::{Cursor, put_varint},
    error::Result,
    ids::RoomNid,
    kv::{Batch, Read, Store, TableId, TableSpec},
};

const STATES: TableId = TableId(0);
/// Entries that are written for a room; a room that has more is sampled.
const ENTRIES_MAX: u64 = 20_000_000;

/// The layout.
#[derive(Debug, Default)]
pub struct FullCopy {
    room: Option<RoomNid>,
    held: Option<Vec<u32>>,
    written: u64,
}

impl Layout for FullCopy {
    fn tables(&self) -> Vec<TableSpec> {
        tables(&["states"])
    }

    fn begin(&mut self, room: RoomNid, history: &History) -> Result<Option<Vec<u32>>> {
        self.room = Some(room);
        self.held = sample(history);
        Ok(self.held.clone())
    }

    fn append(&mut self, _: &dyn Store, change: &Change<'_>, batch: &mut Batch) -> Result<()> {
        let is_held = self.held.as_ref().is_none_or(|held| held.binary_search(&change.snapshot).is_ok());
        let Some(room) = self.room.filter(|_| is_held) else { return Ok(()) };
        let mut out = Vec::with_capacity(change.after.len() * 5);
        put_varint(&mut out, change.after.len() as u64);
        let mut last = 0;
        change.after.for_each(&mut |place, event| {
            let key = change.keys.get(place as usize).copied().unwrap_or_default();
            put_varint(&mut out, u64::from(key.wrapping_sub(last)));
            put_varint(&mut out, u64::from(event));
            last = key;
        });
        batch.put(STATES, key(room, change.snapshot), out);
        self.written += 1;
        Ok(())
    }

    fn appended(&mut self, _: &[u32]) {}

    fn get(&self, read: &dyn Read, at: At, key: u32) -> Result<Option<u32>> {
        let entries = self.full(read, at)?;
        let place = entries.binary_search_by_key(&key, |entry| entry.0).ok();
        Ok(place.and_then(|place| entries.get(place)).map(|entry| entry.1))
    }

    fn full(&self, read: &dyn Read, at: At) -> Result<Vec<(u32, u32)>> {
        let value = load(read, STATES, &key(at.room, at.snapshot))?;
        let mut cursor = Cursor::new(&value);
        let count = sound(cursor.count(2))?;
        let mut entries = Vec::with_capacity(count);
        let mut last = 0u32;
        for _ in 0..count {
            last = last.wrapping_add(sound(cursor.varint32())?);
            entries.push((last, sound(cursor.varint32())?));
        }
        Ok(entries)
    }

    fn differences(&self, read: &dyn Read, room: RoomNid, from: u32, to: u32) -> Result<Vec<Changed>> {
        compare_whole(self, read, room, from, to)
    }

    fn blocks(&self, _: &dyn Read) -> Result<Blocks> {
        Ok(Blocks { all: self.written, shared: 0 })
    }
}

/// Snapshots, spread evenly, with their parents, so that a difference can be asked for.
fn sample(history: &History) -> Option<Vec<u32>> {
    const LEAST: u64 = 24;
    let per_copy = history.keys.len() as u64;
    let copies = u64::from(history.last());
    if per_copy.saturating_mul(copies) <= ENTRIES_MAX {
        return None;
    }
    let wanted = (ENTRIES_MAX / 3 / per_copy.max(1)).clamp(LEAST, copies);
    let every = usize::try_from(copies / wanted).unwrap_or(1).max(1);
    let mut held = Vec::new();
    let given = history.given.max(1);
    for snapshot in (given + 1..=history.last()).rev().step_by(every) {
        let parent = history.step(snapshot).map_or(0, |step| step.parent);
        held.extend([parent, snapshot]);
    }
    // The sides of some forks too.
    let merges: Vec<_> = history.steps.iter().filter(|step| step.second_parent > 0).collect();
    let every = merges.len().div_ceil(usize::try_from(wanted).unwrap_or(1).max(1)).max(1);
    held.extend(merges.iter().step_by(every).flat_map(|step| [step.parent, step.second_parent]));
    held.retain(|snapshot| *snapshot > 0);
    held.sort_unstable();
    held.dedup();
    Some(held)
}
