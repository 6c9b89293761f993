//! Appending to a room's log: the only code that takes snapshot numbers.

use std::{collections::BTreeMap, sync::Arc};

use smallvec::SmallVec;

use super::{
    fingerprint::{self, EntryNames, StateSummary},
    read::LogWalk,
    seal::{self, Sealed},
    source::{LoadedPack, StateSource, StoredStates},
};
use crate::{
    encoding::{
        block::Entry,
        bytes::stamp,
        head::SEALS_MAX,
        keys,
        list::{BlockNid, Fence, List},
        pack::{self, FULL_ROWS, OPEN_ROWS, Pack, ROW_ENTRIES_MAX, RowRef, Seal},
    },
    error::{Error, Result},
    ids::{EventNid, RoomNid, SnapshotNid, StateTuple},
    kv::Batch,
    tables::PACKS,
};

/// The writing end of a room's log. Between batches it holds the open pack and what is known of recent snapshots;
/// within one it holds what the batch will store. After a failed batch it must be made anew.
pub struct Log {
    room: RoomNid,
    last: SnapshotNid,
    seals: SmallVec<[SnapshotNid; SEALS_MAX]>,
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
    /// That ancestor, which may be the snapshot itself; the empty one if there is none.
    sealed: SnapshotNid,
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
    /// Goes on from the snapshot `last`; `seals` are the newest that have a derived list, as the head says.
    pub fn open(room: RoomNid, last: SnapshotNid, seals: SmallVec<[SnapshotNid; SEALS_MAX]>) -> Self {
        Self {
            room,
            last,
            seals,
            open: None,
            known: BTreeMap::new(),
            unwritten_packs: Vec::new(),
            unwritten_lists: Vec::new(),
            unwritten_blocks: Vec::new(),
        }
    }

    /// The room.
    pub fn room(&self) -> RoomNid {
        self.room
    }

    /// The newest snapshot.
    pub fn last(&self) -> SnapshotNid {
        self.last
    }

    /// The newest snapshots that have a derived list: the only ones whose lists may not be built yet.
    pub fn seals(&self) -> &SmallVec<[SnapshotNid; SEALS_MAX]> {
        &self.seals
    }

    /// The states of the room, with what the batch at hand will store.
    pub fn states<'a>(&'a self, stored: StoredStates<'a>) -> WriterStates<'a> {
        WriterStates { log: self, stored }
    }

    /// Learns that the batch at hand rewrites packs, so that none in memory is right; `seals` are the newest snapshots
    /// with a derived list from then on.
    pub fn rewritten(&mut self, seals: SmallVec<[SnapshotNid; SEALS_MAX]>) {
        *self = Self::open(self.room, self.last, seals);
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
            return Ok(Known { summary: StateSummary::EMPTY, tail: 0, sealed: SnapshotNid::EMPTY });
        }
        if let Some(known) = self.known.get(&snapshot) {
            return Ok(*known);
        }
        let states = self.states(stored);
        let (tail, sealed) = tail_of(&states, snapshot)?;
        let known = Known { summary: fingerprint::summary(&states, names, snapshot)?, tail, sealed };
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
        let Known { summary, tail, sealed } = self.known(stored, names, parent)?;
        let summary = fingerprint::changed(names, summary, changes.iter().copied())?;
        let entries: Vec<Entry> = changes.iter().map(|(tuple, _, after)| (*tuple, *after)).collect();
        let whole = entries.len() > ROW_ENTRIES_MAX;
        let tail = tail.saturating_add(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        let spread = snapshot.number().saturating_sub(sealed.number());
        let due = if whole {
            Seal::Whole
        } else if seal::is_due(summary.len, tail, spread, unforked) {
            Seal::Derived
        } else {
            Seal::Open
        };
        match due {
            Seal::Open | Seal::Gone => {}
            Seal::Derived => self.note_seal(stored, names, snapshot, batch)?,
            Seal::Whole => {
                // What it shares must not depend on which lists happen to be built.
                for sealed in self.seals.clone() {
                    self.ensure_list(stored, names, sealed, batch)?;
                }
                let list = seal::build(&self.states(stored), snapshot, parent, &entries, summary)?;
                self.put_list(list, batch);
            }
        }
        let row = RowRef { parent, second_parent, seal: due, entries: if whole { &[] } else { &entries } };
        self.last = snapshot;
        self.push(stored, row, summary, batch)?;
        let (tail, sealed) = if due == Seal::Open { (tail, sealed) } else { (0, snapshot) };
        self.known.insert(snapshot, Known { summary, tail, sealed });
        Ok(snapshot)
    }

    /// Notes that a derived list is due. It is built elsewhere; if that cannot keep up, the oldest list that is not there
    /// is written with the batch at hand, so that no more than [`SEALS_MAX`] are lacking.
    fn note_seal(
        &mut self,
        stored: StoredStates<'_>,
        names: &dyn EntryNames,
        snapshot: SnapshotNid,
        batch: &mut Batch,
    ) -> Result<()> {
        while self.seals.len() >= SEALS_MAX {
            let Some(oldest) = self.seals.first().copied() else { break };
            self.ensure_list(stored, names, oldest, batch)?;
            self.seals.remove(0);
        }
        self.seals.push(snapshot);
        Ok(())
    }

    /// Puts a derived list and its blocks, if it is not there; those of its sealed ancestors must be.
    fn ensure_list(
        &mut self,
        stored: StoredStates<'_>,
        names: &dyn EntryNames,
        sealed: SnapshotNid,
        batch: &mut Batch,
    ) -> Result<()> {
        let states = self.states(stored);
        if states.list(sealed, Seal::Derived)?.is_some() {
            return Ok(());
        }
        let list = build_derived(&states, names, sealed)?;
        self.put_list(list, batch);
        Ok(())
    }

    fn put_list(&mut self, sealed: Sealed, batch: &mut Batch) {
        Sealed::put_blocks(self.room, &sealed.blocks, batch);
        sealed.put_list(self.room, batch);
        let blocks = sealed.blocks.into_iter().map(|block| (block.fence.block, block.entries));
        self.unwritten_blocks.extend(blocks);
        self.unwritten_lists.push((sealed.snapshot, sealed.list));
    }

    /// Adds the row of `self.last` to the open pack; folds small packs when there are enough for a full one.
    fn push(
        &mut self,
        stored: StoredStates<'_>,
        row: RowRef<'_>,
        summary: StateSummary,
        batch: &mut Batch,
    ) -> Result<()> {
        let first = SnapshotNid::new((self.last.number() & !(OPEN_ROWS - 1)).max(1));
        let mut pack = if first == self.last {
            Pack::new(first, summary.fingerprint, summary.len)
        } else {
            let before = SnapshotNid::new(self.last.number() - 1);
            self.states(stored).pack(before)?.pack.clone()
        };
        pack.push(row);
        if self.last.number() % FULL_ROWS == FULL_ROWS - 1 {
            pack = self.fold(stored, &pack, batch)?;
        }
        let key = keys::snapshot(self.room, pack.first);
        let mut value = pack::encode(&pack);
        stamp(&key, &mut value);
        batch.put(PACKS, key, value);
        let pack = Arc::new(LoadedPack::new(pack));
        self.unwritten_packs.retain(|unwritten| unwritten.pack.first != pack.pack.first);
        self.unwritten_packs.push(pack.clone());
        self.open = Some(pack);
        Ok(())
    }

    fn fold(&self, stored: StoredStates<'_>, newest: &Pack, batch: &mut Batch) -> Result<Pack> {
        let base = self.last.number() & !(FULL_ROWS - 1);
        let states = WriterStates { log: self, stored };
        let mut full: Option<Pack> = None;
        for first in (base..newest.first.number()).step_by(OPEN_ROWS as usize) {
            // By its last row: a reader may have cached it when it was open and had fewer.
            let part = states.pack(SnapshotNid::new(first | (OPEN_ROWS - 1)))?;
            let first = part.pack.first;
            match &mut full {
                Some(full) => part.pack.rows().for_each(|row| full.push(row)),
                None => full = Some(part.pack.clone()),
            }
            batch.delete(PACKS, keys::snapshot(self.room, first));
        }
        let mut full = full.ok_or_else(|| Error::internal("a fold of no packs"))?;
        batch.delete(PACKS, keys::snapshot(self.room, newest.first));
        newest.rows().for_each(|row| full.push(row));
        if full.first.number().saturating_add(full.row_count()) != self.last.number().saturating_add(1) {
            return Err(Error::internal("a fold that lacks rows"));
        }
        Ok(full)
    }
}

/// Builds the derived list of a sealed snapshot from its log row and what is before it. The lists of its sealed
/// ancestors must be there.
pub fn build_derived<S: StateSource, N: EntryNames + ?Sized>(
    states: &S,
    names: &N,
    sealed: SnapshotNid,
) -> Result<Sealed> {
    let summary = fingerprint::summary(states, names, sealed)?;
    let mut walk = LogWalk::new(states);
    let row = walk.row(sealed)?;
    seal::build(states, sealed, row.parent, row.entries, summary)
}

/// The number of changes since the nearest sealed ancestor, and that ancestor.
fn tail_of<S: StateSource>(states: &S, snapshot: SnapshotNid) -> Result<(u32, SnapshotNid)> {
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
    Ok((len, at))
}

/// The states of a room as its writer sees them: stored rows, and those of the batch at hand.
pub struct WriterStates<'a> {
    log: &'a Log,
    stored: StoredStates<'a>,
}

impl StateSource for WriterStates<'_> {
    fn pack(&self, snapshot: SnapshotNid) -> Result<Arc<LoadedPack>> {
        let unwritten = self.log.unwritten_packs.iter().rev().chain(&self.log.open);
        match unwritten.into_iter().find(|pack| pack.pack.contains(snapshot)) {
            Some(pack) => Ok(pack.clone()),
            None => self.stored.pack(snapshot),
        }
    }

    fn list(&self, snapshot: SnapshotNid, seal: Seal) -> Result<Option<Arc<List>>> {
        match self.log.unwritten_lists.iter().find(|(sealed, _)| *sealed == snapshot) {
            Some((_, list)) => Ok(Some(list.clone())),
            None => self.stored.list(snapshot, seal),
        }
    }

    fn blocks(&self, fences: &[Fence]) -> Result<Vec<Arc<[Entry]>>> {
        if self.log.unwritten_blocks.is_empty() {
            return self.stored.blocks(fences);
        }
        fences.iter().map(|fence| self.block(fence)).collect()
    }

    fn read_back(&self, newest: SnapshotNid) -> Result<()> {
        // The newest packs may not be stored yet.
        if self.log.open.as_ref().is_some_and(|open| newest >= open.pack.first) {
            Ok(())
        } else {
            self.stored.read_back(newest)
        }
    }

    fn block(&self, fence: &Fence) -> Result<Arc<[Entry]>> {
        match self.log.unwritten_blocks.iter().find(|(block, _)| *block == fence.block) {
            Some((_, entries)) => Ok(entries.clone()),
            None => self.stored.block(fence),
        }
    }
}
