//! Rows of state groups, as Synapse has them and rust-synapse-compress-state rewrites them.

use rustc_hash::FxHashMap;

use super::{
    history::Change,
    layout::{At, Blocks, Changed, Layout, Overlay, compare_whole, key, numbers, put_numbers, tables},
    names::{event_id, event_of_id, key_of_text, text_of_key},
};
use crate::{
    error::Result,
    ids::RoomNid,
    kv::{Batch, Direction, Read, TableId, TableSpec},
};

const STATES: TableId = TableId(0);
const EDGES: TableId = TableId(1);
/// What a row of a member takes, about.
pub const ROW_BYTES: u64 = 100;

/// The tables.
pub fn state_tables() -> Vec<TableSpec> {
    tables(&["state_groups_state", "state_group_edges"])
}

/// Writes groups, and counts those on which others stand.
#[derive(Debug, Default)]
pub struct Groups {
    all: u64,
    bases: u64,
    is_base: FxHashMap<u32, bool>,
}

impl Groups {
    /// Begins a room.
    pub fn begin(&mut self, _: RoomNid) {
        self.is_base.clear();
    }

    /// Puts the rows of a group; entries are places and events.
    pub fn put(
        &mut self,
        room: RoomNid,
        change: &Change<'_>,
        parent: Option<u32>,
        entries: impl IntoIterator<Item = (u32, u32)>,
        batch: &mut Batch,
    ) -> Result<()> {
        let group = key(room, change.snapshot);
        for (place, event) in entries {
            let text = text_of_key(change.keys.get(place as usize).copied().unwrap_or_default())?;
            batch.put(STATES, [group.as_slice(), text.as_bytes()].concat(), event_id(room, event));
        }
        if let Some(parent) = parent {
            let mut value = Vec::new();
            put_numbers(&mut value, [parent]);
            batch.put(EDGES, group, value);
            let known = self.is_base.insert(parent, true);
            self.bases += u64::from(known != Some(true));
        }
        self.all += 1;
        Ok(())
    }

    /// Groups, and those that others are deltas of.
    pub fn blocks(&self) -> Blocks {
        Blocks { all: self.all, shared: self.bases }
    }
}

/// The group that another one is a delta of.
fn parent(read: &dyn Read, at: At) -> Result<Option<At>> {
    let row = read.get(EDGES, &key(at.room, at.snapshot))?;
    Ok(row.and_then(|row| numbers(&row).next()).map(|snapshot| At { snapshot, ..at }))
}

/// The event at a key: from the newest group of the chain that has it.
pub fn get(read: &dyn Read, at: At, wanted: u32) -> Result<Option<u32>> {
    let text = text_of_key(wanted)?;
    let mut next = Some(at);
    while let Some(at) = next {
        let row = [key(at.room, at.snapshot).as_slice(), text.as_bytes()].concat();
        if let Some(id) = read.get(STATES, &row)? {
            return event_of_id(&id).map(Some);
        }
        next = parent(read, at)?;
    }
    Ok(None)
}

/// All entries: the rows of the whole chain.
pub fn full(read: &dyn Read, at: At) -> Result<Vec<(u32, u32)>> {
    let mut overlay = Overlay::default();
    let mut next = Some(at);
    while let Some(at) = next {
        for (key, event) in group(read, at)? {
            overlay.add(key, event);
        }
        next = parent(read, at)?;
    }
    Ok(overlay.entries())
}

/// The rows of one group.
fn group(read: &dyn Read, at: At) -> Result<Vec<(u32, u32)>> {
    let prefix = key(at.room, at.snapshot);
    let mut entries = Vec::new();
    read.scan(STATES, &prefix, &prefix, Direction::Forward, &mut |row, id| {
        entries.push((key_of_text(row.get(prefix.len()..).unwrap_or_default())?, event_of_id(id)?));
        Ok(true)
    })?;
    entries.sort_unstable();
    Ok(entries)
}

/// Where a group differs from another: its own rows if it is a delta of that one, else both in full.
pub fn differences(layout: &dyn Layout, read: &dyn Read, room: RoomNid, from: u32, to: u32) -> Result<Vec<Changed>> {
    let at = At { room, snapshot: to };
    if parent(read, at)?.is_some_and(|parent| parent.snapshot == from) {
        let changed = |(key, after)| Changed { key, before: None, after };
        return Ok(group(read, at)?.into_iter().map(changed).collect());
    }
    compare_whole(layout, read, room, from, to)
}
