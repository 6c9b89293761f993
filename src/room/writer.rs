//! A room's writer: what it holds between events.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    engine::Engine,
    facts::{RoomFacts, StateView},
    merge::Changed,
};
use crate::{
    encoding::{event_key::EventKey, event_row::States, head::RoomHead},
    error::Result,
    ids::{EventNid, SnapshotNid, StateTuple},
    kv::Batch,
    resolution::AuthEvent,
    state::{
        log::{Log, WriterStates},
        source::StoredStates,
    },
    tables::{interning::UsedNames, rows::Room},
};

/// The one writer of a room. After an error it may be ahead of what is stored: see [`RoomWriter::is_ahead`].
pub struct RoomWriter {
    pub(super) engine: Arc<Engine>,
    pub(super) room: Arc<Room>,
    /// The head, as stored.
    pub(super) head: RoomHead,
    pub(super) log: Log,
    /// Whether the room's own rows are stored.
    pub(super) registered: bool,
    /// The event at hand, which is not stored yet.
    pub(super) pending: Option<(EventNid, Arc<AuthEvent>)>,
    /// The event of the parked input at hand, which waits for nothing any more.
    pub(super) awake: Option<EventKey>,
}

/// What one event's batch will store.
pub(super) struct Draft {
    pub(super) batch: Batch,
    pub(super) used: UsedNames,
    /// The head after the batch.
    pub(super) head: RoomHead,
    /// The states around the event at hand, and the one key at which they differ.
    pub(super) step: Option<(States, Changed)>,
}

impl RoomWriter {
    /// Goes on with a room of the store.
    pub fn open(engine: Arc<Engine>, room: Arc<Room>) -> Result<Self> {
        let head = engine.rows().head(room.nid)?;
        let log = Log::open(room.nid, SnapshotNid::new(head.last_snapshot), head.seals.clone());
        Ok(Self { engine, room, head, log, registered: true, pending: None, awake: None })
    }

    /// Begins a room that the store does not know; its rows come with its first event.
    pub fn begin(engine: Arc<Engine>, room: Room) -> Self {
        let log = Log::open(room.nid, SnapshotNid::EMPTY, SmallVec::new());
        Self {
            engine,
            room: Arc::new(room),
            head: RoomHead::default(),
            log,
            registered: false,
            pending: None,
            awake: None,
        }
    }

    /// The room.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Tells whether an error left the writer ahead of the store, so that it must be made anew: one of a room that the store
    /// does not know has its version from an input that was refused.
    pub fn is_ahead(&self) -> bool {
        !self.registered || self.pending.is_some() || self.log.last().number() != self.head.last_snapshot
    }

    pub(super) fn draft(&self) -> Draft {
        Draft { batch: Batch::default(), used: UsedNames::default(), head: self.head.clone(), step: None }
    }

    pub(super) fn facts(&self) -> RoomFacts<'_> {
        RoomFacts { engine: &self.engine, room: &self.room, create: self.head.create, pending: self.pending.as_ref() }
    }

    /// The stored part of the room's states.
    pub(super) fn stored(&self) -> StoredStates<'_> {
        self.engine.stored_states(&**self.engine.store(), self.room.nid, &self.head)
    }

    pub(super) fn states(&self) -> WriterStates<'_> {
        self.log.states(self.stored())
    }

    /// A state of the room with changes to it.
    pub(super) fn view<'a>(
        &'a self,
        snapshot: SnapshotNid,
        changes: &'a [(StateTuple, Option<EventNid>)],
    ) -> StateView<'a> {
        let current = self.head.current.snapshot;
        StateView { facts: self.facts(), states: self.states(), current, snapshot, changes }
    }

    /// Applies a draft: the batch, and what the writer holds. Gives the batch's sequence number.
    pub(super) fn apply(&mut self, draft: Draft) -> Result<u64> {
        let seals = self.head.seals.clone();
        let sequence = self.store(draft)?;
        if seals != self.head.seals {
            self.engine.sealing.add(self.room.nid);
            self.push_back();
        }
        Ok(sequence)
    }

    /// Applies a draft, and leaves it to the caller whether lists are due.
    pub(super) fn store(&mut self, draft: Draft) -> Result<u64> {
        let Draft { mut batch, used, mut head, .. } = draft;
        head.last_snapshot = self.log.last().number();
        head.seals = self.log.seals().clone();
        crate::tables::rows::put_head(&mut batch, self.room.nid, &head);
        if !self.registered {
            crate::tables::rows::put_room(&mut batch, &self.room)?;
        }
        let sequence = self.engine.write(batch)?;
        self.engine.interner.written(&used);
        self.log.written();
        self.head = head;
        self.registered = true;
        self.pending = None;
        Ok(sequence)
    }

    /// With two lists lacking, the room waits until one is there: what look-ups walk stays bounded, and so does what is
    /// left to do after a crash.
    fn push_back(&self) {
        let lacking = |sealed: &SnapshotNid| self.engine.rows().has_list(self.room.nid, *sealed).map(|has| !has);
        let built = match self.head.seals.split_last() {
            Some((_, older)) => older.iter().map(lacking).collect::<Result<Vec<bool>>>(),
            None => return,
        };
        let built = built.and_then(|lacking| {
            if !lacking.contains(&true) {
                return Ok(());
            }
            let held = self.engine.sealing.hold(self.room.nid);
            self.engine.build_lists(&held)
        });
        // The event is stored. If the list can still not be built when the next one is due, that event is refused.
        if let Err(error) = built {
            tracing::warn!(room = %self.room.id, %error, "a list could not be built");
        }
    }
}
