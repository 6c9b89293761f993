//! rust-synapse-compress-state: Synapse's groups, put on other groups afterwards.
//!
//! Parameters from its README and `compressor.rs`: levels of 100, 50 and 25. Groups are taken in the order of their
//! numbers; each becomes a delta of the newest group of the first level that has room, and the newest group of that level
//! and all before it. A base that has a key which the group lacks will not do: then the base's base is tried, and so on,
//! and the group is full if none is left.

use rustc_hash::FxHashMap;

use super::{
    history::{Change, History},
    layout::{At, Blocks, Changed, Layout},
    synapse_rows::{Groups, differences, full, get, state_tables},
    truth::State,
};
use crate::{
    error::Result,
    ids::RoomNid,
    kv::{Batch, Read, Store, TableSpec},
};

const LEVELS: [u32; 3] = [100, 50, 25];

/// A level: the groups in its chain, and the newest of them.
#[derive(Debug, Default, Clone, Copy)]
struct Level {
    length: u32,
    newest: u32,
}

/// The layout.
#[derive(Debug, Default)]
pub struct CompressState {
    room: Option<RoomNid>,
    groups: Groups,
    levels: [Level; LEVELS.len()],
    /// Groups that may still become bases, each with its own base and its state.
    bases: FxHashMap<u32, (u32, State)>,
}

impl Layout for CompressState {
    fn tables(&self) -> Vec<TableSpec> {
        state_tables()
    }

    fn begin(&mut self, room: RoomNid, _: &History) -> Result<Option<Vec<u32>>> {
        *self = Self { room: Some(room), groups: std::mem::take(&mut self.groups), ..Self::default() };
        self.groups.begin(room);
        Ok(None)
    }

    fn append(&mut self, _: &dyn Store, change: &Change<'_>, batch: &mut Batch) -> Result<()> {
        let Some(room) = self.room else { return Ok(()) };
        let mut base = self.take_place(change.snapshot);
        let mut delta = None;
        while let Some((next, state)) = self.bases.get(&base) {
            let differing = state.differences(change.after);
            if differing.iter().all(|(_, _, after)| *after > 0) {
                delta = Some((base, differing));
                break;
            }
            base = *next;
        }
        let (base, entries) = match delta {
            Some((base, differing)) => {
                (base, differing.into_iter().map(|(place, _, after)| (place, after)).collect::<Vec<_>>())
            }
            None => {
                let mut entries = Vec::with_capacity(change.after.len());
                change.after.for_each(&mut |place, event| entries.push((place, event)));
                (0, entries)
            }
        };
        self.bases.insert(change.snapshot, (base, change.after.clone()));
        self.drop_lost_bases();
        self.groups.put(room, change, (base > 0).then_some(base), entries, batch)
    }

    fn appended(&mut self, _: &[u32]) {}

    fn get(&self, read: &dyn Read, at: At, key: u32) -> Result<Option<u32>> {
        get(read, at, key)
    }

    fn full(&self, read: &dyn Read, at: At) -> Result<Vec<(u32, u32)>> {
        full(read, at)
    }

    fn differences(&self, read: &dyn Read, room: RoomNid, from: u32, to: u32) -> Result<Vec<Changed>> {
        differences(self, read, room, from, to)
    }

    fn blocks(&self, _: &dyn Read) -> Result<Blocks> {
        Ok(self.groups.blocks())
    }
}

impl CompressState {
    /// Puts a group into the levels and gives the base that it should have; 0 is none.
    fn take_place(&mut self, group: u32) -> u32 {
        for (level, length_max) in self.levels.iter_mut().zip(LEVELS) {
            if level.length < length_max {
                let base = level.newest;
                *level = Level { length: level.length + 1, newest: group };
                return base;
            }
            *level = Level { length: 1, newest: group };
        }
        0
    }

    /// Keeps the groups on which the newest of each level stand, and no others.
    fn drop_lost_bases(&mut self) {
        const ENOUGH: usize = 1_000;
        if self.bases.len() < ENOUGH {
            return;
        }
        let mut kept = FxHashMap::default();
        for level in self.levels {
            let mut next = level.newest;
            while let Some((base, state)) = self.bases.remove(&next) {
                kept.insert(next, (base, state));
                next = base;
            }
        }
        self.bases = kept;
    }
}
