//! What every layout can do, and what several of them need.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::history::{Change, History, Step};
use crate::{
    encoding::bytes::Decoded,
    error::{Error, Result},
    ids::RoomNid,
    kv::{Access, Batch, Read, Store, TableId, TableSpec},
};

/// A snapshot of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// The room.
    pub room: RoomNid,
    /// The snapshot in its [`History`].
    pub snapshot: u32,
}

/// A key at which two states differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// The key's number.
    pub key: u32,
    /// The event in the first state, 0 if it has none; `None` if the layout does not tell.
    pub before: Option<u32>,
    /// The event in the second state, 0 if it has none.
    pub after: u32,
}

/// How often the pieces that a layout stores stand in more than one snapshot.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// Pieces.
    pub all: u64,
    /// Those that two snapshots have in common, or more.
    pub shared: u64,
}

impl Blocks {
    /// As many for `all` snapshots as there are for `counted` ones.
    pub fn scaled(self, all: u64, counted: u64) -> Self {
        let scale = |blocks: u64| blocks.saturating_mul(all).checked_div(counted).unwrap_or(0);
        Self { all: scale(self.all), shared: scale(self.shared) }
    }
}

/// A way to store the states of rooms.
pub trait Layout {
    /// The tables that it wants.
    fn tables(&self) -> Vec<TableSpec>;

    /// Which of its tables hold states, and nothing else: their bytes are its cost.
    fn state_tables(&self) -> Vec<TableId> {
        (0..).zip(self.tables()).map(|(number, _)| TableId(number)).collect()
    }

    /// Begins a room. Gives the snapshots that it will hold, ascending, if all would be too many bytes; each of them is
    /// then held, and its cost stands for that of the others.
    fn begin(&mut self, room: RoomNid, history: &History) -> Result<Option<Vec<u32>>>;

    /// Puts the rows of a new snapshot. `store` holds all earlier ones.
    fn append(&mut self, store: &dyn Store, change: &Change<'_>, batch: &mut Batch) -> Result<()>;

    /// Learns that the batch was applied, and which snapshots no later change will name.
    fn appended(&mut self, done: &[u32]);

    /// Does what the layout leaves to another thread than the writer's, if there is anything to do.
    fn background(&mut self, _: &dyn Store) -> Result<()> {
        Ok(())
    }

    /// The event at a key.
    fn get(&self, read: &dyn Read, at: At, key: u32) -> Result<Option<u32>>;

    /// All entries, by ascending key.
    fn full(&self, read: &dyn Read, at: At) -> Result<Vec<(u32, u32)>>;

    /// Where a state differs from another one of its room, by ascending key.
    fn differences(&self, read: &dyn Read, room: RoomNid, from: u32, to: u32) -> Result<Vec<Changed>>;

    /// The keys that one side of a fork set since it began, or both, ascending, if the layout can tell by reading what they
    /// set and nothing else.
    fn divergence(&self, _: &dyn Read, _: RoomNid, _: u32, _: u32) -> Result<Option<Vec<u32>>> {
        Ok(None)
    }

    /// Drops what it keeps in memory of stored rows.
    fn forget(&mut self) {}

    /// Counts what it stored.
    fn blocks(&self, read: &dyn Read) -> Result<Blocks>;
}

/// The comparison of two states that are read in full.
pub fn compare_whole(layout: &dyn Layout, read: &dyn Read, room: RoomNid, from: u32, to: u32) -> Result<Vec<Changed>> {
    let before = layout.full(read, At { room, snapshot: from })?;
    let after = layout.full(read, At { room, snapshot: to })?;
    Ok(compare(&before, &after))
}

/// The comparison of two states, given by ascending key.
pub fn compare(before: &[(u32, u32)], after: &[(u32, u32)]) -> Vec<Changed> {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    let mut found = Vec::new();
    while let Some(key) = [before.peek(), after.peek()].into_iter().flatten().map(|entry| entry.0).min() {
        let event = |entries: &mut std::iter::Peekable<std::slice::Iter<'_, (u32, u32)>>| {
            entries.next_if(|entry| entry.0 == key).map_or(0, |entry| entry.1)
        };
        let (before, after) = (event(&mut before), event(&mut after));
        if before != after {
            found.push(Changed { key, before: Some(before), after });
        }
    }
    found
}

/// Entries laid over each other, newest first; 0 hides the older ones.
#[derive(Debug, Default)]
pub struct Overlay {
    entries: BTreeMap<u32, u32>,
}

impl Overlay {
    /// Adds older entries: only where no newer one is.
    pub fn add(&mut self, key: u32, event: u32) {
        self.entries.entry(key).or_insert(event);
    }

    /// What is seen.
    pub fn entries(self) -> Vec<(u32, u32)> {
        self.entries.into_iter().filter(|entry| entry.1 != 0).collect()
    }
}

/// `room number`: the key of most rows.
pub fn key(room: RoomNid, number: u32) -> [u8; 8] {
    ((u64::from(room.number()) << 32) | u64::from(number)).to_be_bytes()
}

/// Big-endian numbers of eight bytes, as several servers store them.
pub fn put_numbers(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        out.extend_from_slice(&u64::from(number).to_be_bytes());
    }
}

/// Reads what [`put_numbers`] wrote.
pub fn numbers(bytes: &[u8]) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + Clone + '_ {
    let number = |chunk: &[u8]| match chunk {
        [_, _, _, _, low @ ..] => low.try_into().map_or(0, u32::from_be_bytes),
        _ => 0,
    };
    bytes.chunks_exact(8).map(number)
}

/// A row that must be there.
pub fn load(read: &dyn Read, table: TableId, key: &[u8]) -> Result<Vec<u8>> {
    read.get(table, key)?.ok_or_else(|| Error::internal("a layout lost a row"))
}

/// A decoded value that must be right.
pub fn sound<T>(decoded: Decoded<T>) -> Result<T> {
    decoded.map_err(|_| Error::internal("a layout cannot read what it wrote"))
}

/// Tables that are tuned as those of the engine's own states are.
pub fn tables(names: &[&'static str]) -> Vec<TableSpec> {
    names.iter().map(|name| TableSpec { name, access: Access::Scan }).collect()
}

/// A sample for a layout that writes some states in full and others as deltas, if a whole room would take more than
/// `bytes_max` for those that are full: every snapshot whose full one is among some that are spread evenly.
///
/// `is_full` tells it from the number of deltas under a step's parent. Removals, which make more states full, are not
/// foreseen: in a room that has any, all is written.
pub fn sample(
    history: &History,
    is_full: impl Fn(u32, &Step) -> bool,
    bytes_per_entry: u64,
    bytes_max: u64,
) -> Option<Vec<u32>> {
    const LEAST: u32 = 8;
    // For each snapshot: its full one's place among all, and the deltas above that.
    let mut trees: Vec<(u32, u32)> = vec![(0, 0)];
    let mut full = 0;
    for step in &history.steps {
        let (tree, deltas) = trees.get(step.parent as usize).copied().unwrap_or_default();
        if step.parent > 0 && !is_full(deltas, step) {
            trees.push((tree, deltas + 1));
        } else {
            trees.push((full, 0));
            full += 1;
        }
    }
    let bytes_each = (history.keys.len() as u64).saturating_mul(bytes_per_entry);
    let wanted = u32::try_from(bytes_max / bytes_each.max(1)).unwrap_or(u32::MAX).max(LEAST);
    if history.has_removals() || full <= wanted {
        return None;
    }
    // Those in the middle of equal parts: the room's size there is that of the parts, on average.
    let every = full.div_ceil(wanted);
    let is_held = |(_, (tree, _)): &(u32, (u32, u32))| tree % every == every / 2;
    Some((0..).zip(trees).skip(1).filter(is_held).map(|(snapshot, _)| snapshot).collect())
}
