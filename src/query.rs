//! Reading rooms: everything through one consistent view.

mod event;
mod history;
mod parked;
mod snapshot;

use std::sync::Arc;

use ruma_common::{OwnedEventId, OwnedRoomId, RoomVersionId};

pub use self::{
    event::{Event, Standing},
    history::{HistoryEntry, Record},
    parked::{Lack, ParkedInput},
    snapshot::{Diverged, Snapshot, StateEntry, StateIter},
};
use crate::{
    encoding::{event_key::EventKey, fingerprint::Fingerprint, head::RoomHead},
    error::{Error, Result},
    ids::{EventNid, SnapshotNid},
    kv::Read,
    room::{
        engine::Engine,
        outcome::StateId,
        points::{Kept, Point},
    },
    state::source::StoredStates,
    tables::{current::Membership, interning::member_type, rooms, rows::Rows},
};
pub use crate::{state::difference::Since, tables::parked::Role};

/// One consistent state of the store. Cloning it costs nothing, and it can be kept, also beyond the end of the engine: it
/// shows what it showed.
///
/// While it is kept, what was deleted since takes room on the medium, the store is not given back, and the engine's caches
/// stay in memory.
#[derive(Clone)]
pub struct View {
    engine: Arc<Engine>,
    // Dropped before what keeps the store.
    point: Point,
    _kept: Option<Arc<Kept>>,
}

/// A room, as one view has it. It keeps its view.
#[derive(Clone)]
pub struct Room {
    view: View,
    row: Arc<rooms::Room>,
    head: Arc<RoomHead>,
}

/// How many events a room has of each sort.
pub use crate::encoding::head::Counts;

/// How many users stand to a room in each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberCounts {
    /// In the room.
    pub join: u64,
    /// Invited.
    pub invite: u64,
    /// Gone.
    pub leave: u64,
    /// Banned.
    pub ban: u64,
    /// Asking to be let in.
    pub knock: u64,
}

impl View {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        let (point, kept) = engine.point();
        Self { engine: engine.clone(), point, _kept: kept.map(Arc::new) }
    }

    fn read(&self) -> &dyn Read {
        self.point.read()
    }

    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows::new(self.read())
    }

    /// All rooms, in the order in which they came. A room is one from the moment on in which its create event is accepted.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn rooms(&self) -> Result<Vec<Room>> {
        let mut rooms = Vec::new();
        for row in self.rows().rooms()? {
            rooms.extend(self.open(row)?);
        }
        Ok(rooms)
    }

    /// A room by its ID; `None` if it has not begun, since its create event was not accepted yet.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn room(&self, room_id: &str) -> Result<Option<Room>> {
        match self.rows().room_by_id(room_id)? {
            Some(row) => self.open(row),
            None => Ok(None),
        }
    }

    /// The rooms that have an event of this ID: at most one, unless servers reuse the textual IDs of room versions 1
    /// and 2.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn rooms_of_event(&self, event_id: &str) -> Result<Vec<Room>> {
        let mut rooms = Vec::new();
        for (row, _) in self.rows().rooms_of_event(event_id)? {
            rooms.extend(self.open(row)?);
        }
        Ok(rooms)
    }

    /// The rooms in which a user has a membership.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn rooms_of_user(&self, user_id: &str) -> Result<Vec<(OwnedRoomId, Membership)>> {
        let Some(user) = self.engine.interner.find_state_key(self.read(), user_id)? else { return Ok(Vec::new()) };
        let rooms = self.rows().rooms_of_user(user)?;
        rooms.into_iter().map(|(room, membership)| Ok((parse_room_id(&room.id)?, membership))).collect()
    }

    /// The room of a row; `None` if it has not begun: then it has parked inputs and nothing else.
    fn open(&self, row: rooms::Room) -> Result<Option<Room>> {
        let head = self.rows().head(row.nid)?;
        Ok(head.create.is_some().then(|| Room { view: self.clone(), row: Arc::new(row), head: Arc::new(head) }))
    }
}

impl Room {
    /// The room's ID.
    pub fn id(&self) -> &str {
        &self.row.id
    }

    /// The room's version.
    pub fn version(&self) -> &RoomVersionId {
        &self.row.version
    }

    /// How many events it has of each sort.
    pub fn counts(&self) -> Counts {
        self.head.counts
    }

    /// How many snapshots its log has: state changes and merges.
    pub fn snapshots(&self) -> u32 {
        self.head.last_snapshot
    }

    /// The forward extremities.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn extremities(&self) -> Result<Vec<OwnedEventId>> {
        self.head.extremities.iter().map(|extremity| self.event_id(*extremity)).collect()
    }

    /// The fingerprint of the current state, and the number of its keys.
    pub fn current_summary(&self) -> (Fingerprint, u32) {
        (self.head.current.fingerprint, self.head.current.len)
    }

    /// How many users stand to the room in each way. Reads the room's members.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn member_counts(&self) -> Result<MemberCounts> {
        let mut counts = MemberCounts::default();
        self.view.rows().current_state(self.row.nid, member_type(), &mut |_, entry| {
            let count = match entry.membership {
                Some(Membership::Join) => &mut counts.join,
                Some(Membership::Invite) => &mut counts.invite,
                Some(Membership::Ban) => &mut counts.ban,
                Some(Membership::Knock) => &mut counts.knock,
                Some(Membership::Leave) | None => &mut counts.leave,
            };
            *count = count.saturating_add(1);
            Ok(())
        })?;
        Ok(counts)
    }

    pub(crate) fn find(&self, event_id: &str) -> Result<Option<EventNid>> {
        match EventKey::of(event_id, self.row.rules.event_id_format) {
            Some(key) => self.view.rows().find_event(&self.row, &key),
            None => Ok(None),
        }
    }

    fn event_id(&self, event: EventNid) -> Result<OwnedEventId> {
        parse_event_id(&self.view.rows().event_identity(&self.row, event)?.event_id)
    }

    fn states(&self) -> StoredStates<'_> {
        self.view.engine.stored_states(self.view.read(), self.row.nid, &self.head).as_of(&self.head.seals)
    }

    fn state_id(&self, snapshot: SnapshotNid) -> StateId {
        StateId { room: self.row.nid, snapshot }
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("point", &self.point).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("id", &self.row.id).field("view", &self.view).finish_non_exhaustive()
    }
}

fn parse_event_id(event_id: &str) -> Result<OwnedEventId> {
    let parsed = OwnedEventId::try_from(event_id);
    parsed.map_err(|error| Error::internal(format!("`{event_id}` is stored and no event ID")).with_source(error))
}

fn parse_room_id(room_id: &str) -> Result<OwnedRoomId> {
    let parsed = OwnedRoomId::try_from(room_id);
    parsed.map_err(|error| Error::internal(format!("`{room_id}` is stored and no room ID")).with_source(error))
}
