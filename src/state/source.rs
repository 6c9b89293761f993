//! Where packs, lists and blocks are read from.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};

use crate::{
    encoding::{
        block::{self, BlockHash, Entry},
        bytes::{Malformed, unstamp},
        keys,
        list::{self, BlockNid, Fence, List, Run},
        pack::{self, FULL_ROWS, OPEN_ROWS, Pack, Seal},
    },
    error::Result,
    ids::{EventNid, RoomNid, SnapshotNid, StateTuple},
    kv::{Direction, Read},
    tables::{
        BLOCKS, LISTS, PACKS,
        rows::{corrupt, missing},
    },
};

/// A pack, and its entries in the order of their keys.
#[derive(Debug, Clone)]
pub struct LoadedPack {
    /// The pack.
    pub pack: Pack,
    /// The places of the entries, by key and then by age, oldest first.
    order: Box<[u32]>,
}

/// What a look-up goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The key has this event, or was removed.
    Found(Option<EventNid>),
    /// No row as far back as this one changes the key: its list has it, or else what it changes.
    Parent {
        /// The oldest snapshot that was looked at.
        of: SnapshotNid,
        /// Whether it has a list.
        seal: Seal,
        /// What it changes.
        parent: SnapshotNid,
    },
}

impl LoadedPack {
    /// Prepares a pack for look-ups.
    pub fn new(mut pack: Pack) -> Self {
        pack.shrink();
        let entries = pack.entries();
        let mut order: Vec<u32> = (0..).take(entries.len()).collect();
        order.sort_by_key(|place| entries.get(*place as usize).map(|entry| entry.0));
        Self { pack, order: order.into() }
    }

    /// Looks for a key in the rows from that of `newest` back to the first that branches off or has a list; `None` if the
    /// row is not here.
    pub fn look(&self, newest: SnapshotNid, tuple: StateTuple) -> Option<Step> {
        let segment = self.pack.segment(newest)?;
        let end = segment.start + segment.entries.len();
        let entries = self.pack.entries();
        let is_before = |place: &u32| {
            let place = *place as usize;
            entries.get(place).is_some_and(|entry| (entry.0, place) < (tuple, end))
        };
        let after = self.order.partition_point(is_before);
        let newest = after.checked_sub(1).and_then(|place| self.order.get(place)).map(|place| *place as usize);
        if let Some(place) = newest.filter(|place| *place >= segment.start)
            && let Some((found, event)) = entries.get(place)
            && *found == tuple
        {
            return Some(Step::Found(*event));
        }
        Some(Step::Parent { of: segment.oldest, seal: segment.seal, parent: segment.parent })
    }

    fn memory(&self) -> usize {
        self.pack.memory() + self.order.len() * size_of::<u32>()
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

    /// The entries of blocks, in the order of the fences.
    fn blocks(&self, fences: &[Fence]) -> Result<Vec<Arc<[Entry]>>> {
        fences.iter().map(|fence| self.block(fence)).collect()
    }

    /// Says that the log will be read from a snapshot back to a list: packs that are not at hand may be read together.
    fn read_back(&self, _newest: SnapshotNid) -> Result<()> {
        Ok(())
    }
}

/// Packs, lists and blocks in memory, bounded in bytes.
///
/// All of them are immutable, but for packs. One that is still open only grows, so a cached copy that lacks a snapshot is
/// read again; when garbage collection rewrites packs, their revision, which stands in the room's head, grows.
pub struct StateCaches {
    packs: Cache<(RoomNid, u32, SnapshotNid), Arc<LoadedPack>, StateWeight>,
    lists: Cache<(RoomNid, SnapshotNid), Arc<List>, StateWeight>,
    blocks: Cache<(RoomNid, BlockNid), Arc<[Entry]>, StateWeight>,
}

#[derive(Clone)]
struct StateWeight;

/// What a cached value takes beside its own memory: its key, two counts, its place in the cache.
const ENTRY_OVERHEAD: usize = 80;

impl Weighter<(RoomNid, u32, SnapshotNid), Arc<LoadedPack>> for StateWeight {
    fn weight(&self, _: &(RoomNid, u32, SnapshotNid), pack: &Arc<LoadedPack>) -> u64 {
        (pack.memory() + ENTRY_OVERHEAD) as u64
    }
}

impl Weighter<(RoomNid, SnapshotNid), Arc<List>> for StateWeight {
    fn weight(&self, _: &(RoomNid, SnapshotNid), list: &Arc<List>) -> u64 {
        let runs: usize = list.runs.iter().map(|run| size_of::<Run>() + run.capacity() * size_of::<Fence>()).sum();
        (size_of::<List>() + runs + ENTRY_OVERHEAD) as u64
    }
}

impl Weighter<(RoomNid, BlockNid), Arc<[Entry]>> for StateWeight {
    fn weight(&self, _: &(RoomNid, BlockNid), entries: &Arc<[Entry]>) -> u64 {
        (entries.len() * size_of::<Entry>() + ENTRY_OVERHEAD) as u64
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
        self.packs.retain(|(owner, _, _), _| *owner != room);
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
    revision: u32,
    unsettled: &'a [SnapshotNid],
    fills_caches: bool,
}

impl<'a> StoredStates<'a> {
    /// Reads a room whose newest snapshot is `last`, as the head in the same view says.
    pub fn new(read: &'a dyn Read, caches: &'a StateCaches, room: RoomNid, last: SnapshotNid) -> Self {
        Self { read, caches, room, last, revision: 0, unsettled: &[], fills_caches: true }
    }

    /// The room.
    pub fn room(&self) -> RoomNid {
        self.room
    }

    /// Takes packs as they are after so many collections have rewritten them.
    #[must_use]
    pub fn revised(self, revision: u32) -> Self {
        Self { revision, ..self }
    }

    /// Tells whether a snapshot that has a pack was collected.
    pub fn is_gone(&self, snapshot: SnapshotNid) -> Result<bool> {
        Ok(self.pack(snapshot)?.pack.row(snapshot).is_some_and(|row| row.seal == Seal::Gone))
    }

    /// For a view that does not follow the store: `seals` are the head's, in the same view. Their lists may be built, and
    /// be in the caches, while the view has neither them nor their blocks.
    #[must_use]
    pub fn as_of(self, seals: &'a [SnapshotNid]) -> Self {
        Self { unsettled: seals, ..self }
    }

    /// For one who reads much and once: what was read is not kept.
    #[must_use]
    pub fn passing(self) -> Self {
        Self { fills_caches: false, ..self }
    }

    fn cached_pack(&self, snapshot: SnapshotNid) -> Option<Arc<LoadedPack>> {
        let cached = self.caches.packs.get(&(self.room, self.revision, pack_of(snapshot, self.last)));
        cached.filter(|cached| cached.pack.contains(snapshot))
    }

    fn take_pack(&self, first: SnapshotNid, key: &[u8], stamped: &[u8]) -> Result<Arc<LoadedPack>> {
        let pack = unstamp(key, stamped).and_then(|bytes| pack::decode(first, bytes));
        let pack = Arc::new(LoadedPack::new(pack.map_err(|malformed| corrupt(PACKS, key, malformed))?));
        if self.fills_caches {
            self.caches.packs.insert((self.room, self.revision, first), pack.clone());
        }
        Ok(pack)
    }

    fn take_block(&self, fence: &Fence, bytes: Option<Vec<u8>>) -> Result<Arc<[Entry]>> {
        let key = keys::block(self.room, fence.block);
        let bytes = bytes.ok_or_else(|| missing(BLOCKS, &key))?;
        let wrong = |what| corrupt(BLOCKS, &key, Malformed { offset: 0, what });
        if BlockHash::of(&bytes) != fence.hash {
            return Err(wrong("the block's hash is not the one in its fence"));
        }
        let entries = block::decode(&bytes).map_err(|malformed| corrupt(BLOCKS, &key, malformed))?;
        if entries.len() != fence.entries as usize || entries.first().map(|entry| entry.0) != Some(fence.first) {
            return Err(wrong("the block is not the one that its fence describes"));
        }
        let entries: Arc<[Entry]> = entries.into();
        if self.fills_caches {
            self.caches.blocks.insert((self.room, fence.block), entries.clone());
        }
        Ok(entries)
    }
}

/// Blocks that are read from the store at once.
const BLOCKS_AT_ONCE: usize = 256;
/// Packs that are read ahead: the longest tail of an unbranched log, twice over.
const PACKS_AHEAD: usize = 64;

/// The first snapshot of the pack that holds `snapshot`, when `last` is the newest one: packs of [`OPEN_ROWS`] are folded
/// into packs of [`FULL_ROWS`] when there are enough of them.
pub fn pack_of(snapshot: SnapshotNid, last: SnapshotNid) -> SnapshotNid {
    let full_end = snapshot.number() | (FULL_ROWS - 1);
    let rows = if full_end <= last.number() { FULL_ROWS } else { OPEN_ROWS };
    SnapshotNid::new((snapshot.number() & !(rows - 1)).max(1))
}

/// The newest snapshot that the pack of `snapshot` holds, when `last` is the newest one. Who needs the whole pack asks for
/// it by this: one that a reader cached while it was open may have fewer rows.
pub fn pack_end(snapshot: SnapshotNid, last: SnapshotNid) -> SnapshotNid {
    let full_end = snapshot.number() | (FULL_ROWS - 1);
    let end = if full_end <= last.number() { full_end } else { snapshot.number() | (OPEN_ROWS - 1) };
    last.min(SnapshotNid::new(end))
}

impl StateSource for StoredStates<'_> {
    fn pack(&self, snapshot: SnapshotNid) -> Result<Arc<LoadedPack>> {
        if let Some(pack) = self.cached_pack(snapshot) {
            return Ok(pack);
        }
        let first = pack_of(snapshot, self.last);
        let key = keys::snapshot(self.room, first);
        let stamped = self.read.get(PACKS, &key)?.ok_or_else(|| missing(PACKS, &key))?;
        let pack = self.take_pack(first, &key, &stamped)?;
        if !pack.pack.contains(snapshot) {
            return Err(corrupt(PACKS, &key, Malformed { offset: 0, what: "the pack lacks a snapshot" }));
        }
        Ok(pack)
    }

    fn read_back(&self, newest: SnapshotNid) -> Result<()> {
        if newest.is_empty() || !self.fills_caches || self.cached_pack(newest).is_some() {
            return Ok(());
        }
        let prefix = keys::room(self.room);
        let start = keys::snapshot(self.room, pack_of(newest, self.last));
        let (mut left, mut last) = (PACKS_AHEAD, newest);
        self.read.scan(PACKS, &prefix, &start, Direction::Reverse, &mut |key, value| {
            // What is not as it should be is found by who needs it.
            let Some(first) = keys::second_number(key).map(SnapshotNid::new) else { return Ok(false) };
            if self.cached_pack(first).is_some() {
                return Ok(false);
            }
            let Ok(pack) = self.take_pack(first, key, value) else { return Ok(false) };
            left -= 1;
            let segment = pack.pack.segment(last);
            last = SnapshotNid::new(first.number().saturating_sub(1));
            // Only as far as no row branches off or has a list.
            Ok(left > 0 && segment.is_some_and(|segment| segment.seal == Seal::Open && segment.parent == last))
        })
    }

    fn list(&self, sealed: SnapshotNid, seal: Seal) -> Result<Option<Arc<List>>> {
        if matches!(seal, Seal::Open | Seal::Gone) {
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
            (None, Seal::Open | Seal::Gone | Seal::Derived) => return Ok(None),
        };
        if cached.is_some() {
            return Ok(cached);
        }
        let list = unstamp(&key, &bytes).and_then(|bytes| list::decode(sealed, bytes));
        let list = Arc::new(list.map_err(|malformed| corrupt(LISTS, &key, malformed))?);
        if self.fills_caches {
            self.caches.lists.insert((self.room, sealed), list.clone());
        }
        Ok(Some(list))
    }

    fn block(&self, fence: &Fence) -> Result<Arc<[Entry]>> {
        match self.caches.blocks.get(&(self.room, fence.block)) {
            Some(entries) => Ok(entries),
            None => self.take_block(fence, self.read.get(BLOCKS, &keys::block(self.room, fence.block))?),
        }
    }

    fn blocks(&self, fences: &[Fence]) -> Result<Vec<Arc<[Entry]>>> {
        let mut blocks = Vec::with_capacity(fences.len());
        for fences in fences.chunks(BLOCKS_AT_ONCE) {
            let cached: Vec<Option<Arc<[Entry]>>> =
                fences.iter().map(|fence| self.caches.blocks.get(&(self.room, fence.block))).collect();
            let lacking = fences.iter().zip(&cached).filter(|(_, cached)| cached.is_none());
            let lacking: Vec<[u8; 12]> = lacking.map(|(fence, _)| keys::block(self.room, fence.block)).collect();
            let lacking: Vec<&[u8]> = lacking.iter().map(<[u8; 12]>::as_slice).collect();
            let mut rows =
                if lacking.is_empty() { Vec::new() } else { self.read.multi_get(BLOCKS, &lacking)? }.into_iter();
            for (fence, cached) in fences.iter().zip(cached) {
                blocks.push(match cached {
                    Some(entries) => entries,
                    None => self.take_block(fence, rows.next().flatten())?,
                });
            }
        }
        Ok(blocks)
    }
}
