//! Appending to a room's log: the only code that takes snapshot numbers.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    fingerprint::{self, EntryNames, StateSummary},
    read::{self, LogWalk},
    seal::{self, tail_max},
    source::{LoadedPack, StateSource, StoredStates},
};
use crate::{
    encoding::{
        block::Entry,
        bytes::seal as seal_value,
        keys,
        list::{self, BlockNid, Fence, List},
        pack::{self, FULL_ROWS, LogRow, OPEN_ROWS, Pack, ROW_ENTRIES_MAX, Seal},
    },
    error::{Error, Result},
    ids::{EventNid, RoomNid, SnapshotNid, StateTuple},
    kv::Batch,
    tables::{BLOCKS, LISTS, PACKS},
};

/// The writing end of a room's log. Between batches it holds the open pack and what is known of recent snapshots;
/// within one it holds what the batch will store. After a failed batch it must be made anew.
pub struct Log {
    room: RoomNid,
    last: SnapshotNid,
    open: Option<Arc<LoadedPack>>,
    known: BTreeMap<SnapshotNid, Known>,
    unwritten_packs: Vec<Arc<LoadedPack>>,
    unwritten_lists: Vec<(SnapshotNid, Arc<List>)>,
    unwritten_blocks: Vec<(BlockNid, Arc<[Entry]>)>,
}

/// What is known of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    summary: StateSummary,
    /// Changes since the nearest sealed ancestor.
    tail: u32,
}

/// Snapshots of which the summary is kept in memory.
const KNOWN_MAX: usize = 512;

/// A change to append.
pub struct Change {
    /// The snapshot that it changes.
    pub parent: SnapshotNid,
    /// Where states met: another snapshot that was resolved into this one.
    pub second_parent: Option<SnapshotNid>,
    /// The keys that change, ascending: value in the parent, new value. They differ.
    pub changes: Vec<(StateTuple, Option<EventNid>, Option<EventNid>)>,
    /// Whether the room has one forward extremity: inside a fork a list is put off, since both branches would pay for
    /// it.
    pub unforked: bool,
}

impl Log {
    /// Goes on from the snapshot `last`.
    pub fn open(room: RoomNid, last: SnapshotNid) -> Self {
        Self {
            room,
            last,
            open: None,
            known: BTreeMap::new(),
            unwritten_packs: Vec::new(),
            unwritten_lists: Vec::new(),
            unwritten_blocks: Vec::new(),
        }
    }

    /// The newest snapshot.
    pub fn last(&self) -> SnapshotNid {
        self.last
    }

    /// The states of the room, with what the batch at hand will store.
    pub fn states<'a>(&'a self, stored: StoredStates<'a>) -> WriterStates<'a> {
        WriterStates { log: self, stored }
    }

    /// Learns that the batch at hand was applied.
    pub fn written(&mut self) {
        self.unwritten_packs.clear();
        self.unwritten_lists.clear();
        self.unwritten_blocks.clear();
        while self.known.len() > KNOWN_MAX {
            self.known.pop_first();
        }
    }

    /// The summary of a snapshot.
    pub fn summary(
        &mut self,
        stored: StoredStates<'_>,
        names: &dyn EntryNames,
        snapshot: SnapshotNid,
    ) -> Result<StateSummary> {
        Ok(self.known(stored, names, snapshot)?.summary)
    }

    fn known(&mut self, stored: StoredStates<'_>, names: &dyn EntryNames, snapshot: SnapshotNid) -> Result<Known> {
        if snapshot.is_empty() {
            return Ok(Known { summary: StateSummary::EMPTY, tail: 0 });
        }
        if let Some(known) = self.known.get(&snapshot) {
            return Ok(*known);
        }
        let states = self.states(stored);
        let known =
            Known { summary: fingerprint::summary(&states, names, snapshot)?, tail: tail_len(&states, snapshot)? };
        self.known.insert(snapshot, known);
        Ok(known)
    }

    /// Appends a change and puts its rows; gives the new snapshot, or the parent if nothing changes.
    pub fn append(
        &mut self,
        stored: StoredStates<'_>,
        names: &dyn EntryNames,
        change: Change,
        batch: &mut Batch,
    ) -> Result<SnapshotNid> {
        let Change { parent, second_parent, changes, unforked } = change;
        if changes.is_empty() {
            return Ok(parent);
        }
        let number = self.last.number().checked_add(1);
        let snapshot = SnapshotNid::new(number.ok_or_else(|| Error::internal("a room has 2^32 snapshots"))?);
        let Known { summary, tail } = self.known(stored, names, parent)?;
        let summary = fingerprint::changed(names, summary, changes.iter().copied())?;
        let entries: Vec<Entry> = changes.iter().map(|(tuple, _, after)| (*tuple, *after)).collect();
        let whole = entries.len() > ROW_ENTRIES_MAX;
        let tail = tail.saturating_add(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        let limit = if unforked { tail_max(summary.len) } else { tail_max(summary.len).saturating_mul(2) };
        let due = if whole {
            Seal::Whole
        } else if tail >= limit {
            Seal::Derived
        } else {
            Seal::Open
        };
        if due != Seal::Open {
            self.seal(stored, snapshot, parent, &entries, summary, batch)?;
        }
        let row = LogRow { parent, second_parent, seal: due, entries: if whole { Vec::new() } else { entries } };
        self.last = snapshot;
        self.push(stored, row, summary, batch)?;
        self.known.insert(snapshot, Known { summary, tail: if due == Seal::Open { tail } else { 0 } });
        Ok(snapshot)
    }

    fn seal(
        &mut self,
        stored: StoredStates<'_>,
        snapshot: SnapshotNid,
        parent: SnapshotNid,
        entries: &[Entry],
        summary: StateSummary,
        batch: &mut Batch,
    ) -> Result<()> {
        let states = self.states(stored);
        let mut tail = read::tail(&states, parent)?;
        tail.changes.extend(entries.iter().copied());
        let mut changes: Vec<Entry> = tail.changes.into_iter().collect();
        changes.sort_unstable_by_key(|entry| entry.0);
        let parent_list = tail.sealed.map(|sealed| states.list(sealed)).transpose()?;
        let sealed = seal::seal(&states, snapshot, parent_list.as_deref(), changes, summary)?;
        let key = keys::snapshot(self.room, snapshot);
        let mut value = list::encode(snapshot, &sealed.list);
        seal_value(&key, &mut value);
        batch.put(LISTS, key, value);
        for (fence, bytes, entries) in sealed.blocks {
            batch.put(BLOCKS, keys::block(self.room, fence.block), bytes);
            self.unwritten_blocks.push((fence.block, entries.into()));
        }
        self.unwritten_lists.push((snapshot, Arc::new(sealed.list)));
        Ok(())
    }

    /// Adds the row of `self.last` to the open pack; folds small packs when there are enough for a full one.
    fn push(&mut self, stored: StoredStates<'_>, row: LogRow, summary: StateSummary, batch: &mut Batch) -> Result<()> {
        let first = SnapshotNid::new((self.last.number() & !(OPEN_ROWS - 1)).max(1));
        let mut pack = if first == self.last {
            Pack { first, fingerprint: summary.fingerprint, len: summary.len, rows: Vec::new() }
        } else {
            let before = SnapshotNid::new(self.last.number() - 1);
            self.states(stored).pack(before)?.pack.clone()
        };
        pack.rows.push(row);
        if self.last.number() % FULL_ROWS == FULL_ROWS - 1 {
            pack = self.fold(stored, pack, batch)?;
        }
        let key = keys::snapshot(self.room, pack.first);
        let mut value = pack::encode(&pack);
        seal_value(&key, &mut value);
        batch.put(PACKS, key, value);
        let pack = Arc::new(LoadedPack::new(pack));
        self.unwritten_packs.retain(|unwritten| unwritten.pack.first != pack.pack.first);
        self.unwritten_packs.push(pack.clone());
        self.open = Some(pack);
        Ok(())
    }

    fn fold(&self, stored: StoredStates<'_>, newest: Pack, batch: &mut Batch) -> Result<Pack> {
        let base = self.last.number() & !(FULL_ROWS - 1);
        let states = WriterStates { log: self, stored };
        let mut rows = Vec::with_capacity(FULL_ROWS as usize);
        let mut start = None;
        for first in (base..newest.first.number()).step_by(OPEN_ROWS as usize) {
            let first = SnapshotNid::new(first.max(1));
            let part = states.pack(first)?;
            rows.extend(part.pack.rows.iter().cloned());
            start.get_or_insert((part.pack.first, part.pack.fingerprint, part.pack.len));
            batch.delete(PACKS, keys::snapshot(self.room, first));
        }
        let (first, fingerprint, len) = start.ok_or_else(|| Error::internal("a fold of no packs"))?;
        batch.delete(PACKS, keys::snapshot(self.room, newest.first));
        rows.extend(newest.rows);
        Ok(Pack { first, fingerprint, len, rows })
    }
}

/// The changes since the nearest sealed ancestor.
fn tail_len<S: StateSource>(states: &S, snapshot: SnapshotNid) -> Result<u32> {
    let mut walk = LogWalk::new(states);
    let (mut at, mut len) = (snapshot, 0u32);
    while !at.is_empty() {
        let row = walk.row(at)?;
        if row.seal != Seal::Open {
            break;
        }
        len = len.saturating_add(u32::try_from(row.entries.len()).unwrap_or(u32::MAX));
        at = row.parent;
    }
    Ok(len)
}

/// The states of a room as its writer sees them: stored rows, and those of the batch at hand.
pub struct WriterStates<'a> {
    log: &'a Log,
    stored: StoredStates<'a>,
}

impl StateSource for WriterStates<'_> {
    fn pack(&self, snapshot: SnapshotNid) -> Result<Arc<LoadedPack>> {
        let unwritten = self.log.unwritten_packs.iter().rev().chain(&self.log.open);
        match unwritten.into_iter().find(|pack| pack.pack.row(snapshot).is_some()) {
            Some(pack) => Ok(pack.clone()),
            None => self.stored.pack(snapshot),
        }
    }

    fn list(&self, sealed: SnapshotNid) -> Result<Arc<List>> {
        match self.log.unwritten_lists.iter().find(|(snapshot, _)| *snapshot == sealed) {
            Some((_, list)) => Ok(list.clone()),
            None => self.stored.list(sealed),
        }
    }

    fn block(&self, fence: &Fence) -> Result<Arc<[Entry]>> {
        match self.log.unwritten_blocks.iter().find(|(block, _)| *block == fence.block) {
            Some((_, entries)) => Ok(entries.clone()),
            None => self.stored.block(fence),
        }
    }
}
