//! The layout against plain maps, and what it promises of reuse, crashes and damage.

mod corruption;
mod model;
mod reuse;

use std::{collections::BTreeMap, sync::Arc};

use smallvec::SmallVec;

use super::{
    Sealed, build_derived,
    collect::{Bits, Plan, Retained},
    fingerprint::{EntryNames, StateSummary},
    log::{Change, Log},
    source::{StateCaches, StoredStates},
};
use crate::{
    encoding::{fingerprint::Fingerprint, head::SEALS_MAX},
    error::Result,
    ids::{EventNid, EventTypeNid, RoomNid, SnapshotNid, StateKeyNid, StateTuple},
    kv::{Batch, Store, memory::MemoryStore},
    tables::{purges::room_ranges, rows::Rows, specs},
};

/// A state as a plain map.
type Plain = BTreeMap<StateTuple, EventNid>;

/// A name for each entry.
struct Names;

impl EntryNames for Names {
    fn entry(&self, tuple: StateTuple, event: EventNid) -> Result<Fingerprint> {
        let mut bytes = [0; 32];
        for (place, number) in [tuple.event_type.number(), tuple.state_key.number(), event.number()].iter().enumerate()
        {
            let mixed = u64::from(*number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            bytes[place * 8..][..8].copy_from_slice(&mixed.to_be_bytes());
        }
        Ok(Fingerprint::from_bytes(bytes))
    }
}

/// A room's log on a store in memory, with what its head would say.
struct Site {
    store: Arc<MemoryStore>,
    caches: StateCaches,
    log: Log,
    /// How often collections rewrote packs, and the last of the snapshots without one.
    revision: u32,
    gone: u32,
}

fn room() -> RoomNid {
    RoomNid::new(7).unwrap()
}

fn tuple(event_type: u32, state_key: u32) -> StateTuple {
    StateTuple { event_type: EventTypeNid::new(event_type).unwrap(), state_key: StateKeyNid::new(state_key).unwrap() }
}

fn event(number: u32) -> EventNid {
    EventNid::new(number).unwrap()
}

impl Site {
    fn new() -> Self {
        let log = Log::open(room(), SnapshotNid::EMPTY, SmallVec::new());
        let store = Arc::new(MemoryStore::open(&specs()));
        Self { store, caches: StateCaches::new(1 << 20), log, revision: 0, gone: 0 }
    }

    fn states(&self) -> StoredStates<'_> {
        StoredStates::new(&*self.store, &self.caches, self.log.room(), self.log.last()).revised(self.revision)
    }

    /// The store after a restart: nothing is known but the rows.
    fn reopen(&mut self) {
        self.store = Arc::new(self.store.reopen());
        self.caches = StateCaches::new(1 << 20);
        let seals: SmallVec<[SnapshotNid; SEALS_MAX]> = self.log.seals().clone();
        self.log = Log::open(self.log.room(), self.log.last(), seals);
    }

    /// Appends what makes `after` of `parent`, which is `before`.
    fn append(&mut self, parent: SnapshotNid, before: &Plain, after: &Plain, unforked: bool) -> SnapshotNid {
        self.append_merge(parent, None, before, after, unforked)
    }

    fn append_merge(
        &mut self,
        parent: SnapshotNid,
        second_parent: Option<SnapshotNid>,
        before: &Plain,
        after: &Plain,
        unforked: bool,
    ) -> SnapshotNid {
        let changes = changes(before, after);
        let change = Change { parent, second_parent, changes, unforked };
        let mut batch = Batch::default();
        let stored = StoredStates::new(&*self.store, &self.caches, self.log.room(), self.log.last());
        let stored = stored.revised(self.revision);
        let snapshot = self.log.append(stored, &Names, change, &mut batch).unwrap();
        self.store.write(batch).unwrap();
        self.log.written();
        snapshot
    }

    fn has_list(&self, sealed: SnapshotNid) -> bool {
        Rows::new(&*self.store).has_list(self.log.room(), sealed).unwrap()
    }

    /// Builds the lists that are due and not there.
    fn build(&self) {
        for sealed in self.log.seals().iter().filter(|sealed| !self.has_list(**sealed)) {
            self.write_list(*sealed, usize::MAX);
        }
    }

    /// Writes a list; of one that has more than so many blocks only these, as one who was cut off does.
    fn write_list(&self, sealed: SnapshotNid, most: usize) {
        let list = build_derived(&self.states(), &Names, sealed).unwrap();
        let mut batch = Batch::default();
        Sealed::put_blocks(self.log.room(), &list.blocks[..most.min(list.blocks.len())], &mut batch);
        if list.blocks.len() <= most {
            list.put_list(self.log.room(), &mut batch);
        }
        self.store.write(batch).unwrap();
    }

    /// What can be collected when these snapshots are retained.
    fn plan(&self, retained: &[SnapshotNid]) -> Plan {
        let mut snapshots = Bits::default();
        for snapshot in retained {
            snapshots.set(snapshot.number());
        }
        let retained = Retained { last: self.log.last(), gone: self.gone, snapshots };
        Plan::new(Rows::new(&*self.store), self.log.room(), retained).unwrap()
    }

    /// Makes a step of a collection.
    fn sweep(&mut self, plan: &Plan, place: usize) {
        let mut batch = Batch::default();
        let stored = StoredStates::new(&*self.store, &self.caches, self.log.room(), self.log.last());
        let stored = stored.revised(self.revision);
        self.gone = plan.sweep(place, stored, &mut self.log, self.gone, &mut batch).unwrap().1;
        self.store.write(batch).unwrap();
        self.revision += 1;
        self.log.written();
    }

    /// Begins a new room, as one does whose predecessor was just hidden; gives that one's number.
    fn begin_again(&mut self) -> RoomNid {
        let hidden = self.log.room();
        let room = RoomNid::new(hidden.number() + 1).unwrap();
        self.log = Log::open(room, SnapshotNid::EMPTY, SmallVec::new());
        (self.revision, self.gone) = (0, 0);
        hidden
    }

    /// Deletes what a hidden room left behind.
    fn purge(&self, hidden: RoomNid) {
        let mut batch = Batch::default();
        for (table, (start, end)) in room_ranges(hidden) {
            batch.delete_range(table, start, end);
        }
        self.store.write(batch).unwrap();
        self.caches.forget_room(hidden);
    }
}

/// A key, its event before, and its event after.
type Changed = (StateTuple, Option<EventNid>, Option<EventNid>);

/// Where two plain states differ.
fn changes(before: &Plain, after: &Plain) -> Vec<Changed> {
    let mut keys: Vec<StateTuple> = before.keys().chain(after.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    let value = |state: &Plain, key: StateTuple| state.get(&key).copied();
    let all = keys.into_iter().map(|key| (key, value(before, key), value(after, key)));
    all.filter(|(_, before, after)| before != after).collect()
}

fn summary(state: &Plain) -> StateSummary {
    let entries = state.iter().map(|(tuple, event)| (*tuple, None, Some(*event)));
    super::fingerprint::changed(&Names, StateSummary::EMPTY, entries).unwrap()
}

/// Numbers that follow from the seed: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
