//! Where packs, lists and blocks are read from.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};

use crate::{
    encoding::{
        block::{self, BlockHash, Entry},
        bytes::{Malformed, unseal},
        keys,
        list::{self, BlockNid, Fence, List},
        pack::{self, FULL_ROWS, OPEN_ROWS, Pack, Seal},
    },
    error::Result,
    ids::{RoomNid, SnapshotNid, StateTuple},
    kv::{Read, TableId},
    tables::{
        BLOCKS, LISTS, PACKS,
        rows::{corrupt, missing},
    },
};

/// A pack with what look-ups want to know of it.
#[derive(Debug, Clone)]
pub struct LoadedPack {
    /// The pack.
    pub pack: Pack,
    /// The keys that it touches, ascending.
    touched: Vec<StateTuple>,
    /// Whether each row changes the snapshot before it and none is sealed.
    linear: bool,
}

impl LoadedPack {
    /// Prepares a pack for look-ups.
    pub fn new(pack: Pack) -> Self {
        let mut touched: Vec<StateTuple> =
            pack.rows.iter().flat_map(|row| &row.entries).map(|(tuple, _)| *tuple).collect();
        touched.sort_unstable();
        touched.dedup();
        let follows = |(row, snapshot): (&pack::LogRow, u32)| {
            row.seal == Seal::Open && row.parent.number().checked_add(1) == Some(snapshot)
        };
        let linear = pack.rows.iter().zip(pack.first.number()..).all(follows);
        Self { pack, touched, linear }
    }

    /// The snapshot to go on from, if no row of this pack can touch `tuple` on the way there.
    pub fn skip(&self, tuple: StateTuple) -> Option<SnapshotNid> {
        let untouched = self.linear && self.touched.binary_search(&tuple).is_err();
        untouched.then(|| self.pack.rows.first().map_or(SnapshotNid::EMPTY, |row| row.parent))
    }

    fn memory(&self) -> usize {
        self.pack.memory() + self.touched.len() * size_of::<StateTuple>()
    }
}

/// The states of one room, as rows.
pub trait StateSource {
    /// The pack that holds the log row of a snapshot.
    fn pack(&self, snapshot: SnapshotNid) -> Result<Arc<LoadedPack>>;

    /// The list of a snapshot, whose log row says `seal`; `None` if it has none, or a derived one that is not built.
    fn list(&self, snapshot: SnapshotNid, seal: Seal) -> Result<Option<Arc<List>>>;

    /// The entries of a block, checked against the hash in its fence.
    fn block(&self, fence: &Fence) -> Result<Arc<[Entry]>>;
}

/// Packs, lists and blocks in memory, bounded in bytes.
///
/// All of them are immutable, but for a pack that is still open: it only grows, so a cached copy that lacks a snapshot
/// is read again.
pub struct StateCaches {
    packs: Cache<(RoomNid, SnapshotNid), Arc<LoadedPack>, StateWeight>,
    lists: Cache<(RoomNid, SnapshotNid), Arc<List>, StateWeight>,
    blocks: Cache<(RoomNid, BlockNid), Arc<[Entry]>, StateWeight>,
}

#[derive(Clone)]
struct StateWeight;

impl Weighter<(RoomNid, SnapshotNid), Arc<LoadedPack>> for StateWeight {
    fn weight(&self, _: &(RoomNid, SnapshotNid), pack: &Arc<LoadedPack>) -> u64 {
        pack.memory() as u64
    }
}

impl Weighter<(RoomNid, SnapshotNid), Arc<List>> for StateWeight {
    fn weight(&self, _: &(RoomNid, SnapshotNid), list: &Arc<List>) -> u64 {
        let fences: usize = list.runs.iter().map(Vec::len).sum();
        (fences * size_of::<Fence>() + 128) as u64
    }
}

impl Weighter<(RoomNid, BlockNid), Arc<[Entry]>> for StateWeight {
    fn weight(&self, _: &(RoomNid, BlockNid), entries: &Arc<[Entry]>) -> u64 {
        (entries.len() * size_of::<Entry>() + 64) as u64
    }
}

impl StateCaches {
    /// Caches of about `bytes` bytes in all.
    pub fn new(bytes: usize) -> Self {
        let part = |eighths: usize| bytes / 8 * eighths;
        Self {
            packs: Cache::with_weighter(part(2) / 4096, part(2) as u64, StateWeight),
            lists: Cache::with_weighter(part(1) / 1024, part(1) as u64, StateWeight),
            blocks: Cache::with_weighter(part(5) / 4096, part(5) as u64, StateWeight),
        }
    }

    /// Drops all that is kept of a room.
    pub fn forget_room(&self, room: RoomNid) {
        self.packs.retain(|(owner, _), _| *owner != room);
        self.lists.retain(|(owner, _), _| *owner != room);
        self.blocks.retain(|(owner, _), _| *owner != room);
    }
}

/// The states of a room as one view of the store holds them.
#[derive(Clone, Copy)]
pub struct StoredStates<'a> {
    read: &'a dyn Read,
    caches: &'a StateCaches,
    room: RoomNid,
    last: SnapshotNid,
    unsettled: &'a [SnapshotNid],
}

impl<'a> StoredStates<'a> {
    /// Reads a room whose newest snapshot is `last`, as the head in the same view says.
    pub fn new(read: &'a dyn Read, caches: &'a StateCaches, room: RoomNid, last: SnapshotNid) -> Self {
        Self { read, caches, room, last, unsettled: &[] }
    }

    /// For a view that does not follow the store: `seals` are the head's, in the same view. Their lists may be built, and
    /// be in the caches, while the view has neither them nor their blocks.
    #[must_use]
    pub fn as_of(self, seals: &'a [SnapshotNid]) -> Self {
        Self { unsettled: seals, ..self }
    }

    fn get(&self, table: TableId, key: &[u8]) -> Result<Vec<u8>> {
        self.read.get(table, key)?.ok_or_else(|| missing(table, key))
    }
}

/// The first snapshot of the pack that holds `snapshot`, when `last` is the newest one: packs of [`OPEN_ROWS`] are folded
/// into packs of [`FULL_ROWS`] when there are enough of them.
pub fn pack_of(snapshot: SnapshotNid, last: SnapshotNid) -> SnapshotNid {
    let full_end = snapshot.number() | (FULL_ROWS - 1);
    let rows = if full_end <= last.number() { FULL_ROWS } else { OPEN_ROWS };
    SnapshotNid::new((snapshot.number() & !(rows - 1)).max(1))
}

impl StateSource for StoredStates<'_> {
    fn pack(&self, snapshot: SnapshotNid) -> Result<Arc<LoadedPack>> {
        let first = pack_of(snapshot, self.last);
        let cached = self.caches.packs.get(&(self.room, first));
        if let Some(pack) = cached.filter(|cached| cached.pack.row(snapshot).is_some()) {
            return Ok(pack);
        }
        let key = keys::snapshot(self.room, first);
        let sealed = self.get(PACKS, &key)?;
        let pack = unseal(&key, &sealed).and_then(|bytes| pack::decode(first, bytes));
        let pack = Arc::new(LoadedPack::new(pack.map_err(|malformed| corrupt(PACKS, &key, malformed))?));
        if pack.pack.row(snapshot).is_none() {
            return Err(corrupt(PACKS, &key, Malformed { offset: 0, what: "the pack lacks a snapshot" }));
        }
        self.caches.packs.insert((self.room, first), pack.clone());
        Ok(pack)
    }

    fn list(&self, sealed: SnapshotNid, seal: Seal) -> Result<Option<Arc<List>>> {
        if seal == Seal::Open {
            return Ok(None);
        }
        let key = keys::snapshot(self.room, sealed);
        let cached = self.caches.lists.get(&(self.room, sealed));
        if cached.is_some() && !self.unsettled.contains(&sealed) {
            return Ok(cached);
        }
        let bytes = match (self.read.get(LISTS, &key)?, seal) {
            (Some(bytes), _) => bytes,
            (None, Seal::Whole) => return Err(missing(LISTS, &key)),
            (None, Seal::Open | Seal::Derived) => return Ok(None),
        };
        if cached.is_some() {
            return Ok(cached);
        }
        let list = unseal(&key, &bytes).and_then(|bytes| list::decode(sealed, bytes));
        let list = Arc::new(list.map_err(|malformed| corrupt(LISTS, &key, malformed))?);
        self.caches.lists.insert((self.room, sealed), list.clone());
        Ok(Some(list))
    }

    fn block(&self, fence: &Fence) -> Result<Arc<[Entry]>> {
        if let Some(entries) = self.caches.blocks.get(&(self.room, fence.block)) {
            return Ok(entries);
        }
        let key = keys::block(self.room, fence.block);
        let bytes = self.get(BLOCKS, &key)?;
        let wrong = |what| corrupt(BLOCKS, &key, Malformed { offset: 0, what });
        if BlockHash::of(&bytes) != fence.hash {
            return Err(wrong("the block's hash is not the one in its fence"));
        }
        let entries = block::decode(&bytes).map_err(|malformed| corrupt(BLOCKS, &key, malformed))?;
        if entries.len() != fence.entries as usize || entries.first().map(|entry| entry.0) != Some(fence.first) {
            return Err(wrong("the block is not the one that its fence describes"));
        }
        let entries: Arc<[Entry]> = entries.into();
        self.caches.blocks.insert((self.room, fence.block), entries.clone());
        Ok(entries)
    }
}
