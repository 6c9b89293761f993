//! The engine's own layout: the code that a room's writer and readers run, on rows of the engine's own tables.

use smallvec::SmallVec;

use super::{
    history::{Change, History},
    layout::{At, Blocks, Changed, Layout},
    names::{Names, key, tuple},
};
use crate::{
    encoding::{block::Entry, pack::Seal},
    error::{Error, Result},
    ids::{EventNid, RoomNid, SnapshotNid, StateTuple},
    kv::{Batch, Read, Store, TableId, TableSpec},
    state::{
        Sealed, build_derived,
        difference::{Difference, differences, divergence},
        log,
        log::Log,
        read,
        source::{StateCaches, StoredStates},
    },
    stats::count_lists,
    tables::{Share, TABLES, specs},
};

/// The layout.
pub struct Roomserver {
    log: Option<(RoomNid, Log)>,
    /// The newest snapshot of each room, from room 1 on: what the rooms' heads say.
    newest: Vec<SnapshotNid>,
    /// The newest snapshot of the room at hand whose derived list is built.
    built: SnapshotNid,
    caches: StateCaches,
    memory: usize,
}

impl Roomserver {
    /// The layout, with as much memory for decoded rows as given.
    pub fn new(memory: usize) -> Self {
        Self { log: None, newest: Vec::new(), built: SnapshotNid::EMPTY, caches: StateCaches::new(memory), memory }
    }

    fn states<'a>(&'a self, read: &'a dyn Read, room: RoomNid) -> Result<StoredStates<'a>> {
        let newest = self.newest.get((room.number() as usize).saturating_sub(1)).copied();
        let newest = newest.ok_or_else(|| Error::internal("a room that was never begun"))?;
        Ok(StoredStates::new(read, &self.caches, room, newest))
    }
}

impl Layout for Roomserver {
    fn tables(&self) -> Vec<TableSpec> {
        specs()
    }

    fn state_tables(&self) -> Vec<TableId> {
        (0..).map(TableId).zip(TABLES).filter(|(_, table)| table.share == Share::State).map(|(id, _)| id).collect()
    }

    fn begin(&mut self, room: RoomNid, _: &History) -> Result<Option<Vec<u32>>> {
        self.log = Some((room, Log::open(room, SnapshotNid::EMPTY, SmallVec::new())));
        self.newest.resize(room.number() as usize, SnapshotNid::EMPTY);
        self.built = SnapshotNid::EMPTY;
        Ok(None)
    }

    fn append(&mut self, store: &dyn Store, change: &Change<'_>, batch: &mut Batch) -> Result<()> {
        let Some((room, log)) = &mut self.log else { return Err(Error::internal("a change before its room")) };
        let stored = StoredStates::new(store, &self.caches, *room, log.last());
        let mut changes: Vec<(StateTuple, Option<EventNid>, Option<EventNid>)> = Vec::new();
        for (place, before, after) in change.changes {
            let key = change.keys.get(*place as usize).copied().unwrap_or_default();
            changes.push((tuple(key)?, EventNid::new(*before), EventNid::new(*after)));
        }
        changes.sort_unstable_by_key(|change| change.0);
        let step = change.step;
        let appended = log::Change {
            parent: SnapshotNid::new(step.parent),
            second_parent: (step.second_parent > 0).then(|| SnapshotNid::new(step.second_parent)),
            changes,
            unforked: step.unforked,
        };
        let snapshot = log.append(stored, &Names { room: *room }, appended, batch)?;
        if snapshot.number() != change.snapshot {
            return Err(Error::internal("a change took another snapshot number"));
        }
        Ok(())
    }

    fn appended(&mut self, _: &[u32]) {
        let Some((room, log)) = &mut self.log else { return };
        log.written();
        if let Some(newest) = self.newest.get_mut((room.number() as usize).saturating_sub(1)) {
            *newest = log.last();
        }
    }

    fn background(&mut self, store: &dyn Store) -> Result<()> {
        let Some((room, log)) = &self.log else { return Ok(()) };
        let Some(sealed) = log.seals().last().copied().filter(|sealed| *sealed > self.built) else { return Ok(()) };
        let states = StoredStates::new(store, &self.caches, *room, log.last()).passing();
        let list = build_derived(&states, &Names { room: *room }, sealed)?;
        let mut batch = Batch::default();
        Sealed::put_blocks(*room, &list.blocks, &mut batch);
        list.put_list(*room, &mut batch);
        store.write(batch)?;
        self.built = sealed;
        Ok(())
    }

    fn get(&self, read: &dyn Read, at: At, key: u32) -> Result<Option<u32>> {
        let states = self.states(read, at.room)?;
        Ok(read::get(&states, SnapshotNid::new(at.snapshot), tuple(key)?)?.map(EventNid::number))
    }

    fn full(&self, read: &dyn Read, at: At) -> Result<Vec<(u32, u32)>> {
        let states = self.states(read, at.room)?;
        let entries = read::collect(&states, SnapshotNid::new(at.snapshot), None)?;
        let mut entries: Vec<(u32, u32)> =
            entries.into_iter().map(|(tuple, event)| (key(tuple), event.number())).collect();
        // The few keys of the room itself have types after the members'.
        entries.sort_unstable();
        Ok(entries)
    }

    fn differences(&self, read: &dyn Read, room: RoomNid, from: u32, to: u32) -> Result<Vec<Changed>> {
        let states = self.states(read, room)?;
        let (from, to) = (SnapshotNid::new(from), SnapshotNid::new(to));
        let number = |event: Option<EventNid>| event.map_or(0, EventNid::number);
        let mut changed: Vec<Changed> = match step(&states, from, to)? {
            Some(entries) => {
                let changed = |(tuple, after): Entry| Changed { key: key(tuple), before: None, after: number(after) };
                entries.into_iter().map(changed).collect()
            }
            None => {
                let number = |event: Option<&Option<EventNid>>| number(event.copied().flatten());
                let changed = |found: Difference| Changed {
                    key: key(found.tuple),
                    before: Some(number(found.events.first())),
                    after: number(found.events.get(1)),
                };
                differences(&states, &[from, to])?.into_iter().map(changed).collect()
            }
        };
        changed.sort_unstable_by_key(|changed| changed.key);
        Ok(changed)
    }

    fn divergence(&self, read: &dyn Read, room: RoomNid, from: u32, to: u32) -> Result<Option<Vec<u32>>> {
        let found = divergence(&self.states(read, room)?, [SnapshotNid::new(from), SnapshotNid::new(to)])?;
        Ok(found.map(|found| {
            let mut keys: Vec<u32> = found.keys.iter().map(|found| key(found.tuple)).collect();
            keys.sort_unstable();
            keys
        }))
    }

    fn forget(&mut self) {
        self.caches = StateCaches::new(self.memory);
    }

    fn blocks(&self, read: &dyn Read) -> Result<Blocks> {
        let mut counted = Blocks::default();
        for number in 1..=u32::try_from(self.newest.len()).unwrap_or(u32::MAX) {
            let Some(room) = RoomNid::new(number) else { continue };
            let lists = count_lists(read, room)?;
            counted.all += lists.blocks;
            counted.shared += lists.shared;
        }
        Ok(counted)
    }
}

/// What a snapshot changed in its parent, ascending: its own row of the log says it. `None` if `from` is not the parent of
/// `to`, or the row does not say it.
fn step(source: &StoredStates<'_>, from: SnapshotNid, to: SnapshotNid) -> Result<Option<Vec<Entry>>> {
    if to.is_empty() {
        return Ok(None);
    }
    let mut walk = read::LogWalk::new(source);
    let row = walk.row(to)?;
    Ok((row.parent == from && row.seal != Seal::Whole).then(|| row.entries.to_vec()))
}
