//! Synapse: a state group is a delta to the one before, and every 101st is written in full.
//!
//! Parameters from Synapse's `storage/databases/state/store.py`: at most `MAX_STATE_DELTA_HOPS` = 100 deltas above a full
//! group. A delta cannot remove a key: then the group is full too. Rows are text: `state_groups_state` has one for each
//! key of a group, (group, type, state key) to event ID; `state_group_edges` has one for each group that is a delta.
//! The room's ID, which stands in each row there, is the number in front of the key here. Too many rows for a large room:
//! a sample of the full groups, with all groups above them, is written.

use super::{
    history::{Change, History},
    layout::{At, Blocks, Changed, Layout, sample},
    synapse_rows::{Groups, ROW_BYTES, differences, full, get, state_tables},
};
use crate::{
    error::Result,
    ids::RoomNid,
    kv::{Batch, Read, Store, TableSpec},
};

/// Deltas above a full group.
const HOPS_MAX: u32 = 100;
/// Bytes of full groups that are written for a room; a room that would have more is sampled.
const BYTES_MAX: u64 = 400_000_000;

/// The layout.
#[derive(Debug, Default)]
pub struct Synapse {
    room: Option<RoomNid>,
    groups: Groups,
    /// For each snapshot of the room, the deltas between it and a full group.
    hops: Vec<u32>,
    held: Option<Vec<u32>>,
}

impl Layout for Synapse {
    fn tables(&self) -> Vec<TableSpec> {
        state_tables()
    }

    fn begin(&mut self, room: RoomNid, history: &History) -> Result<Option<Vec<u32>>> {
        self.room = Some(room);
        self.groups.begin(room);
        self.hops = vec![0];
        self.held = sample(history, |hops, _| hops >= HOPS_MAX, ROW_BYTES, BYTES_MAX);
        Ok(self.held.clone())
    }

    fn append(&mut self, _: &dyn Store, change: &Change<'_>, batch: &mut Batch) -> Result<()> {
        let Some(room) = self.room else { return Ok(()) };
        let parent = change.step.parent;
        let hops = self.hops.get(parent as usize).copied().unwrap_or(0);
        let removes = change.changes.iter().any(|(_, _, after)| *after == 0);
        let is_delta = parent > 0 && hops < HOPS_MAX && !removes;
        self.hops.push(if is_delta { hops + 1 } else { 0 });
        if self.held.as_ref().is_some_and(|held| held.binary_search(&change.snapshot).is_err()) {
            return Ok(());
        }
        if is_delta {
            let entries = change.changes.iter().map(|(place, _, after)| (*place, *after));
            self.groups.put(room, change, Some(parent), entries, batch)
        } else {
            let mut entries = Vec::with_capacity(change.after.len());
            change.after.for_each(&mut |place, event| entries.push((place, event)));
            self.groups.put(room, change, None, entries, batch)
        }
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
