//! Dendrite: a snapshot is a list of blocks of event numbers; a change adds a block of one, and a snapshot that has 64
//! blocks is followed by one with a single block of everything.
//!
//! Parameters from Dendrite's `roomserver/state/state.go` (`maxStateBlockNIDs` = 64) and the tables
//! `roomserver_state_block` and `roomserver_state_snapshots`: arrays of 8-byte numbers, each row found again by a hash of
//! 32 bytes. A merge always stores everything. A block has no keys: event numbers are joined with the events table,
//! which here costs no reads and no bytes. A room that would take too many bytes is sampled: some of the
//! snapshots with a block of everything, and all that add to them.

use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};

use super::{
    history::{Change, History, Step},
    layout::{At, Blocks, Changed, Layout, Overlay, compare_whole, key, load, numbers, put_numbers, sample, tables},
};
use crate::{
    error::Result,
    ids::RoomNid,
    kv::{Batch, Read, Store, TableId, TableSpec},
};

const BLOCKS: TableId = TableId(0);
const BLOCK_HASHES: TableId = TableId(1);
const SNAPSHOTS: TableId = TableId(2);
const SNAPSHOT_HASHES: TableId = TableId(3);
/// Blocks of a snapshot to which no more are added.
const BLOCKS_MAX: usize = 64;
/// Bytes of blocks of everything that are written for a room; a room that would have more is sampled.
const BYTES_MAX: u64 = 1_500_000_000;

/// The layout.
#[derive(Debug, Default)]
pub struct Dendrite {
    room: Option<RoomNid>,
    held: Option<Vec<u32>>,
    newest_block: u32,
    /// The blocks of snapshots that may still get children.
    lists: FxHashMap<u32, Vec<u32>>,
    /// The events table: the key of each event.
    keys: FxHashMap<(RoomNid, u32), u32>,
    unshared: FxHashSet<u32>,
    blocks: Blocks,
}

impl Layout for Dendrite {
    fn tables(&self) -> Vec<TableSpec> {
        tables(&["state_block", "state_block_hash", "state_snapshots", "state_snapshots_hash"])
    }

    fn begin(&mut self, room: RoomNid, history: &History) -> Result<Option<Vec<u32>>> {
        // A list of as many blocks as are allowed has one delta less.
        let is_full = |deltas: u32, step: &Step| step.second_parent > 0 || deltas as usize + 1 >= BLOCKS_MAX;
        self.held = sample(history, is_full, 8, BYTES_MAX);
        self.room = Some(room);
        self.newest_block = 0;
        self.lists.clear();
        self.unshared.clear();
        Ok(self.held.clone())
    }

    fn append(&mut self, _: &dyn Store, change: &Change<'_>, batch: &mut Batch) -> Result<()> {
        let Some(room) = self.room else { return Ok(()) };
        for (place, _, event) in change.changes {
            let key = change.keys.get(*place as usize).copied().unwrap_or_default();
            self.keys.insert((room, *event), key);
        }
        let mut list = self.lists.get(&change.step.parent).cloned().unwrap_or_default();
        self.newest_block += 1;
        let removes = change.changes.iter().any(|(_, _, event)| *event == 0);
        let mut events = Vec::new();
        if change.step.second_parent > 0 || list.len() >= BLOCKS_MAX || removes {
            list.clear();
            change.after.for_each(&mut |_, event| events.push(event));
        } else {
            events.extend(change.changes.iter().map(|(_, _, event)| *event));
        }
        events.sort_unstable();
        let is_held = self.held.as_ref().is_none_or(|held| held.binary_search(&change.snapshot).is_ok());
        let earlier = if is_held { list.as_slice() } else { &[] };
        for block in earlier {
            self.blocks.shared += u64::from(self.unshared.remove(block));
        }
        list.push(self.newest_block);
        if is_held {
            self.unshared.insert(self.newest_block);
            self.blocks.all += 1;
            put(batch, room, (BLOCKS, BLOCK_HASHES), self.newest_block, &events);
            put(batch, room, (SNAPSHOTS, SNAPSHOT_HASHES), change.snapshot, &list);
        }
        self.lists.insert(change.snapshot, list);
        Ok(())
    }

    fn appended(&mut self, done: &[u32]) {
        for snapshot in done {
            self.lists.remove(snapshot);
        }
    }

    fn get(&self, read: &dyn Read, at: At, wanted: u32) -> Result<Option<u32>> {
        let list = load(read, SNAPSHOTS, &key(at.room, at.snapshot))?;
        for block in numbers(&list).rev() {
            let events = load(read, BLOCKS, &key(at.room, block))?;
            let is_it = |event: &u32| self.keys.get(&(at.room, *event)) == Some(&wanted);
            if let Some(event) = numbers(&events).find(is_it) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn full(&self, read: &dyn Read, at: At) -> Result<Vec<(u32, u32)>> {
        let list = load(read, SNAPSHOTS, &key(at.room, at.snapshot))?;
        let mut overlay = Overlay::default();
        for block in numbers(&list).rev() {
            let events = load(read, BLOCKS, &key(at.room, block))?;
            for event in numbers(&events) {
                overlay.add(self.key(at.room, event), event);
            }
        }
        Ok(overlay.entries())
    }

    fn differences(&self, read: &dyn Read, room: RoomNid, from: u32, to: u32) -> Result<Vec<Changed>> {
        let before = load(read, SNAPSHOTS, &key(room, from))?;
        let after = load(read, SNAPSHOTS, &key(room, to))?;
        let Some(added) = after.strip_prefix(before.as_slice()) else {
            return compare_whole(self, read, room, from, to);
        };
        let mut overlay = Overlay::default();
        for block in numbers(added).rev() {
            for event in numbers(&load(read, BLOCKS, &key(room, block))?) {
                overlay.add(self.key(room, event), event);
            }
        }
        let changed = |(key, after)| Changed { key, before: None, after };
        Ok(overlay.entries().into_iter().map(changed).collect())
    }

    fn blocks(&self, _: &dyn Read) -> Result<Blocks> {
        Ok(self.blocks)
    }
}

impl Dendrite {
    fn key(&self, room: RoomNid, event: u32) -> u32 {
        self.keys.get(&(room, event)).copied().unwrap_or_default()
    }
}

/// Puts an array, and the row by which it is found from its hash.
fn put(batch: &mut Batch, room: RoomNid, (table, hashes): (TableId, TableId), number: u32, array: &[u32]) {
    let mut value = Vec::with_capacity(array.len() * 8);
    put_numbers(&mut value, array.iter().copied());
    let hash = [room.number().to_be_bytes().as_slice(), &Sha256::digest(&value)].concat();
    batch.put(table, key(room, number), value);
    let mut value = Vec::new();
    put_numbers(&mut value, [number]);
    batch.put(hashes, hash, value);
}
