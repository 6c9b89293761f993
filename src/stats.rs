//! What a store holds, in numbers.

use rustc_hash::FxHashMap;

use crate::{
    encoding::{
        bytes::{Malformed, unstamp},
        keys, list,
        pack::{self, Seal},
    },
    error::{Error, Result},
    ids::{RoomNid, SnapshotNid},
    kv::{Direction, Read, TableId},
    query::{Counts, View},
    server::RoomServer,
    tables::{BLOCKS, LISTS, PACKS, Share, TABLES, rows::corrupt},
    upkeep::{Collectable, collectable},
};

/// What a store, or one room of it, holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Rooms.
    pub rooms: u64,
    /// Events in the graph, whatever the verdict.
    pub events: u64,
    /// Outliers.
    pub outliers: u64,
    /// State changes and merges: the snapshot numbers that were taken.
    pub state_changes: u64,
    /// Snapshots that can be read.
    pub snapshots: u64,
    /// Blocks of state entries.
    pub blocks: u64,
    /// Blocks that stand in two lists or more.
    pub blocks_shared: u64,
    /// How often blocks stand in lists: divided by `blocks`, how many lists share one.
    pub block_uses: u64,
    /// Lists of whole states.
    pub lists: u64,
    /// The runs of the longest list: at most so many blocks are read for one key.
    pub longest_list: u64,
    /// What it all takes.
    pub bytes: Bytes,
    /// What garbage collection would free without touching history.
    pub collectable: Collectable,
}

/// Bytes by what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Bytes {
    /// All tables together.
    pub total: u64,
    /// States: packs, lists, blocks.
    pub state: u64,
    /// Events: rows, bodies, IDs, indexes, edges, interned names.
    pub events: u64,
    /// Each table, by name.
    pub tables: Vec<(&'static str, u64)>,
}

impl Stats {
    /// Bytes of events for each event and outlier; `None` if there is none.
    pub fn bytes_per_event(&self) -> Option<f64> {
        quotient(self.bytes.events, self.events.saturating_add(self.outliers))
    }

    /// Bytes of states for each state change and merge; `None` if there is none.
    pub fn bytes_per_state_change(&self) -> Option<f64> {
        quotient(self.bytes.state, self.state_changes)
    }

    fn count_room(&mut self, counts: Counts, snapshots: u32) {
        self.rooms = self.rooms.saturating_add(1);
        self.events = self.events.saturating_add(u64::from(counts.events));
        self.outliers = self.outliers.saturating_add(u64::from(counts.outliers));
        self.state_changes = self.state_changes.saturating_add(u64::from(snapshots));
    }

    fn count_states(&mut self, read: &dyn Read, room: RoomNid) -> Result<()> {
        scan_room(read, PACKS, room, &mut |key, value| {
            let first = keys::second_number(key).map(SnapshotNid::new).ok_or(NO_SNAPSHOT);
            let pack = first.and_then(|first| pack::decode(first, unstamp(key, value)?));
            let pack = pack.map_err(|malformed| corrupt(PACKS, key, malformed))?;
            let rows = pack.rows().filter(|row| row.seal != Seal::Gone).count();
            self.snapshots = self.snapshots.saturating_add(rows as u64);
            Ok(())
        })?;
        let counted = count_lists(read, room)?;
        self.blocks = self.blocks.saturating_add(counted.blocks);
        self.blocks_shared = self.blocks_shared.saturating_add(counted.shared);
        self.block_uses = self.block_uses.saturating_add(counted.uses);
        self.lists = self.lists.saturating_add(counted.lists);
        self.longest_list = self.longest_list.max(counted.longest);
        Ok(())
    }
}

const NO_SNAPSHOT: Malformed = Malformed { offset: 0, what: "a key that names no snapshot" };

/// The lists of a room and their blocks.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ListCounts {
    pub(crate) blocks: u64,
    /// Blocks that stand in two lists or more.
    pub(crate) shared: u64,
    uses: u64,
    lists: u64,
    longest: u64,
}

pub(crate) fn count_lists(read: &dyn Read, room: RoomNid) -> Result<ListCounts> {
    let mut counts = ListCounts::default();
    scan_room(read, BLOCKS, room, &mut |_, _| {
        counts.blocks = counts.blocks.saturating_add(1);
        Ok(())
    })?;
    let mut lists_of: FxHashMap<list::BlockNid, u32> = FxHashMap::default();
    scan_room(read, LISTS, room, &mut |key, value| {
        let sealed = keys::second_number(key).map(SnapshotNid::new).ok_or(NO_SNAPSHOT);
        let list = sealed.and_then(|sealed| list::decode(sealed, unstamp(key, value)?));
        let list = list.map_err(|malformed| corrupt(LISTS, key, malformed))?;
        counts.lists = counts.lists.saturating_add(1);
        counts.longest = counts.longest.max(list.runs.len() as u64);
        for fence in list.runs.iter().flatten() {
            let lists = lists_of.entry(fence.block).or_default();
            *lists = lists.saturating_add(1);
            counts.uses = counts.uses.saturating_add(1);
            if *lists == 2 {
                counts.shared = counts.shared.saturating_add(1);
            }
        }
        Ok(())
    })?;
    Ok(counts)
}

impl RoomServer {
    /// What the store holds. Reads all event rows, packs, lists and blocks.
    ///
    /// `bytes` are live bytes on disk; with `exact` after writing everything out and compacting it.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn stats(&self, exact: bool) -> Result<Stats> {
        let mut stats = Stats::default();
        let view = self.view();
        for room in view.rooms()? {
            stats.count_room(room.counts(), room.snapshots());
        }
        for room in view.rows().rooms()? {
            stats.count_states(view.rows().read(), room.nid)?;
            stats.collectable.add(collectable(view.rows(), &room)?);
        }
        stats.bytes = Bytes::of(self.table_bytes(exact)?);
        Ok(stats)
    }
}

impl View {
    /// What one room holds. Reads all its rows.
    ///
    /// `bytes` are those of keys and values, before compression, in the tables whose rows belong to one room: what the
    /// room takes on disk cannot be told apart from the others.
    ///
    /// # Errors
    ///
    /// `NotFound` if the room is not here; `Corrupt` or `Unavailable`, as for every read.
    pub fn room_stats(&self, room_id: &str) -> Result<Stats> {
        let unknown = || Error::not_found(format!("room {room_id} is not in the store"));
        let room = self.rows().room_by_id(room_id)?.ok_or_else(unknown)?;
        let head = self.rows().head(room.nid)?;
        let mut stats = Stats::default();
        stats.count_room(head.counts, head.last_snapshot);
        stats.count_states(self.rows().read(), room.nid)?;
        let mut tables = Vec::new();
        for (id, table) in (0..).map(TableId).zip(TABLES).filter(|(_, table)| table.by_room) {
            let mut bytes = 0u64;
            scan_room(self.rows().read(), id, room.nid, &mut |key, value| {
                bytes = bytes.saturating_add((key.len() + value.len()) as u64);
                Ok(())
            })?;
            tables.push((table.spec.name, bytes));
        }
        stats.bytes = Bytes::of(tables);
        stats.collectable = collectable(self.rows(), &room)?;
        Ok(stats)
    }
}

impl Bytes {
    fn of(tables: Vec<(&'static str, u64)>) -> Self {
        let share = |name: &str| TABLES.iter().find(|table| table.spec.name == name).map(|table| table.share);
        let sum = |wanted: Option<Share>| {
            tables.iter().filter(|(name, _)| wanted.is_none() || share(name) == wanted).map(|(_, bytes)| bytes).sum()
        };
        Self { total: sum(None), state: sum(Some(Share::State)), events: sum(Some(Share::Events)), tables }
    }
}

/// Called for each row.
type VisitRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

fn scan_room(read: &dyn Read, table: TableId, room: RoomNid, visit: VisitRow<'_>) -> Result<()> {
    let prefix = keys::room(room);
    read.scan(table, &prefix, &prefix, Direction::Forward, &mut |key, value| visit(key, value).map(|()| true))
}

fn quotient(bytes: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| bytes as f64 / count as f64)
}
