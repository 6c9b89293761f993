//! What the rooms of a store share.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use quick_cache::{Weighter, sync::Cache};
use ruma_common::RoomVersionId;

use super::{
    due_lists::DueLists,
    points::{Kept, Point, Points, Shows},
    wanted::Wanted,
};
use crate::{
    encoding::{event_key::EventKey, head::RoomHead},
    error::{Error, Result},
    ids::{EventNid, RoomNid, SnapshotNid, StateTuple},
    kv::{Batch, Garbage, Read, Store, claim::Claim},
    resolution::AuthEvent,
    state::source::{StateCaches, StoredStates},
    tables::{interning::Interner, rooms::Room, rows::Rows},
};

/// The store, and what is kept in memory of it.
pub struct Engine {
    store: Arc<dyn Store>,
    /// The claim on the store, until the engine is closed. Held for reading while something is written: when the claim is
    /// given back, no write of this engine is under way, and none follows.
    claim: RwLock<Option<Arc<Claim>>>,
    /// The same claim for those who read, in a lock that is never held for long.
    kept: Mutex<Option<Arc<Claim>>>,
    /// What readers see.
    points: Points,
    shows: Shows,
    /// Numbers of names.
    pub interner: Interner,
    /// Packs, lists and blocks.
    pub states: StateCaches,
    /// Lists that are due.
    pub due_lists: DueLists,
    /// What authorisation reads of events. Only a room's writer adds to it and takes from it.
    pub events: Cache<(RoomNid, EventNid), Arc<AuthEvent>, EventWeight>,
    /// Events by key. An event keeps its number for ever.
    pub keys: Cache<(RoomNid, EventKey), EventNid>,
    /// Entries of current states. Only a room's writer adds to it and changes it.
    pub current: Cache<(RoomNid, StateTuple), Option<EventNid>>,
    /// What parked inputs lack.
    pub(super) wanted: Wanted,
    rooms: Cache<Box<str>, Arc<Room>>,
    room_numbers: Mutex<RoomNumbers>,
    last_sequence: AtomicU64,
    index: [Mutex<()>; INDEX_STRIPES],
}

/// The numbers of rooms that are given out.
pub(super) struct RoomNumbers {
    /// The greatest one.
    pub(super) last: u32,
    /// Smaller ones under which no batch was written: those of first events that were refused. At most as many as there
    /// are writers, since each is given out again before a new one.
    free: BTreeSet<u32>,
}

/// Locks for index rows, each for the rows whose keys end alike.
const INDEX_STRIPES: usize = 64;

/// Weighs events by their memory.
#[derive(Clone)]
pub struct EventWeight;

impl Weighter<(RoomNid, EventNid), Arc<AuthEvent>> for EventWeight {
    fn weight(&self, _: &(RoomNid, EventNid), event: &Arc<AuthEvent>) -> u64 {
        event.approx_bytes() as u64
    }
}

impl Engine {
    /// Opens the engine on a store that was claimed for it; keeps at most about `memory` bytes of it. The store is given
    /// back when this fails, and after [`Engine::close`], or the end of the engine, once nobody reads of it any more.
    pub fn open(claim: Claim, memory: usize, shows: Shows) -> Result<Self> {
        let store = (*claim).clone();
        let claim = Arc::new(claim);
        let last_room = Rows::new(&*store).last_room()?;
        let part = memory / 8;
        let engine = Self {
            interner: Interner::open(&*store, part)?,
            states: StateCaches::new(part * STATES_SHARE),
            due_lists: DueLists::default(),
            events: Cache::with_weighter(part / 512, (part * 3) as u64, EventWeight),
            keys: Cache::new(part / 128),
            current: Cache::new(part / 64),
            rooms: Cache::new(4096),
            wanted: Wanted::open(Rows::new(&*store))?,
            room_numbers: Mutex::new(RoomNumbers { last: last_room, free: BTreeSet::new() }),
            last_sequence: AtomicU64::new(0),
            index: std::array::from_fn(|_| Mutex::new(())),
            store,
            claim: RwLock::new(Some(claim.clone())),
            kept: Mutex::new(Some(claim)),
            points: Points::default(),
            shows,
        };
        // What an engine that was closed before had on this store may not be durable yet.
        engine.sync()?;
        Ok(engine)
    }

    /// What readers see now, and what keeps the store for as long as they do: nothing once the engine is closed.
    pub fn point(&self) -> (Point, Option<Kept>) {
        let kept = self.kept.lock().clone();
        let point = match self.points.newest() {
            Some(point) if self.shows == Shows::Durable || kept.is_none() => point,
            _ => self.points.take(&*self.store),
        };
        (point, kept.map(Kept::new))
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Rows as they are now.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(&*self.store)
    }

    /// Applies a batch; gives its sequence number. `Unavailable` once the engine is closed, as for all that writes.
    pub fn write(&self, batch: Batch) -> Result<u64> {
        let _open = self.hold_open()?;
        let sequence = self.store.write(batch)?;
        self.last_sequence.fetch_max(sequence, Ordering::AcqRel);
        Ok(sequence)
    }

    /// Makes everything durable that was applied, and shows it to readers; gives the sequence number up to which all is
    /// durable and shown.
    pub fn sync(&self) -> Result<u64> {
        let _open = self.hold_open()?;
        if self.shows == Shows::Newest {
            return self.store.sync();
        }
        // What other rooms apply from here on may become durable by this sync, but is not in the point.
        let shown = self.last_sequence();
        let point = self.points.take(&*self.store);
        self.store.sync()?;
        self.points.publish(point);
        Ok(shown)
    }

    /// Writes out what the store has in memory, and with `compact` all its tables anew.
    pub fn flush(&self, compact: bool) -> Result<()> {
        if compact {
            // What readers saw until now would keep what was replaced since.
            self.sync()?;
        }
        let _open = self.hold_open()?;
        self.store.flush(compact)
    }

    /// Gives back bytes that deleted and replaced rows take, where it is worth it.
    pub fn compact(&self, garbage: &[Garbage]) -> Result<()> {
        let _open = self.hold_open()?;
        self.store.compact(garbage)
    }

    /// Makes everything durable that was applied, and gives the store back once nobody reads of it any more; a second call
    /// does nothing. Waits for a write that is under way; whoever writes later is refused.
    pub fn close(&self) -> Result<()> {
        let mut open = self.claim.write();
        let Some(claim) = open.take() else { return Ok(()) };
        let synced = claim.sync();
        if synced.is_ok() {
            // Whoever asks from here on sees this, whatever another engine does with the store.
            self.points.publish(self.points.take(&*self.store));
        }
        self.part_with(&claim);
        drop(open);
        synced.map(|_| ())
    }

    /// Gives the store back without a sync.
    pub fn release(&self) {
        let claim = self.claim.write().take();
        if let Some(claim) = claim {
            self.part_with(&claim);
        }
    }

    /// From now on only those who read of the store keep it.
    fn part_with(&self, claim: &Claim) {
        claim.holder().close();
        let kept = self.kept.lock().take();
        drop(kept);
    }

    /// Keeps the engine open until what this returns is dropped.
    fn hold_open(&self) -> Result<RwLockReadGuard<'_, Option<Arc<Claim>>>> {
        let claim = self.claim.read();
        if claim.is_none() {
            return Err(Error::unavailable("the store is closed"));
        }
        Ok(claim)
    }

    /// The number of the newest batch that was applied. A host that is told what is stored must not be told before this
    /// batch is durable: the row that it is told of may be in it.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Acquire)
    }

    /// Finds a room.
    pub fn room(&self, room_id: &str) -> Result<Option<Arc<Room>>> {
        if let Some(room) = self.rooms.get(room_id) {
            return Ok(Some(room));
        }
        let room = self.rows().room_by_id(room_id)?.map(Arc::new);
        if let Some(room) = &room {
            self.rooms.insert(room_id.into(), room.clone());
        }
        Ok(room)
    }

    /// Gives a new room its number. Nothing is stored until the first batch of its writer.
    pub fn new_room(&self, room_id: &str, version: &RoomVersionId) -> Result<Room> {
        let rules = version.rules().ok_or_else(|| Error::invalid(format!("room version {version} is not known")))?;
        let mut numbers = self.room_numbers.lock();
        let number = match numbers.free.pop_first() {
            Some(number) => Some(number),
            None => numbers.last.checked_add(1),
        };
        let nid = number.and_then(RoomNid::new);
        let nid = nid.ok_or_else(|| Error::internal("all numbers for rooms are taken"))?;
        numbers.last = numbers.last.max(nid.number());
        Ok(Room { nid, id: room_id.into(), version: version.clone(), rules })
    }

    /// Takes back the number of a room of which nothing was written, so that refused events use up no numbers.
    pub(super) fn give_back(&self, nid: RoomNid) {
        self.room_numbers.lock().free.insert(nid.number());
    }

    /// Holds the numbers of rooms: none begins meanwhile.
    pub(super) fn hold_room_numbers(&self) -> parking_lot::MutexGuard<'_, RoomNumbers> {
        self.room_numbers.lock()
    }

    /// Forgets where a room is. Only with its writer at rest: a writer looks rooms up here.
    pub(super) fn forget_room(&self, room_id: &str) {
        self.rooms.remove(room_id);
    }

    /// The states of a room as one view of the store holds them, the room's head included.
    pub fn stored_states<'a>(&'a self, read: &'a dyn Read, room: RoomNid, head: &RoomHead) -> StoredStates<'a> {
        let last = SnapshotNid::new(head.last_snapshot);
        StoredStates::new(read, &self.states, room, last).revised(head.collected.revision)
    }

    /// Holds the index row of a key: rooms share index rows, so reading and writing one must not interleave.
    pub fn index_lock(&self, key: &EventKey) -> parking_lot::MutexGuard<'_, ()> {
        let [first, rest @ ..] = &self.index;
        index_stripe(key).checked_sub(1).and_then(|place| rest.get(place)).unwrap_or(first).lock()
    }

    /// Holds the index rows of many keys. They are taken in one order, and whoever holds one alone takes no other.
    pub(super) fn index_locks(&self, keys: &[EventKey]) -> Vec<parking_lot::MutexGuard<'_, ()>> {
        let stripes: BTreeSet<usize> = keys.iter().map(index_stripe).collect();
        stripes.into_iter().filter_map(|stripe| Some(self.index.get(stripe)?.lock())).collect()
    }
}

fn index_stripe(key: &EventKey) -> usize {
    let [.., last] = key.prefix();
    usize::from(last) % INDEX_STRIPES
}

/// Eighths of an [`Engine`]'s memory that states take.
pub const STATES_SHARE: usize = 3;
/// The memory of an [`Engine`] that a host does not set: enough for some dozen busy rooms of 50,000 members.
pub const MEMORY_DEFAULT: usize = 128 << 20;
