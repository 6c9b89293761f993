//! A room's writer: what it holds between events.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    engine::Engine,
    facts::{RoomFacts, StateView},
    outcome::Outcome,
};
use crate::{
    encoding::{event_key::EventKey, event_row::States, head::RoomHead},
    error::{Error, Result},
    ids::{EventNid, SnapshotNid, StateTuple},
    kv::Batch,
    resolution::AuthEvent,
    state::{
        log::{Log, WriterStates},
        source::StoredStates,
    },
    tables::{interning::UsedNames, rooms::Room},
};

/// The one writer of a room.
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
    /// The event whose batch is being written. Only after a panic does it stay here: then it may be stored or not.
    pub(super) landing: Option<Landed>,
}

/// What an input did, and up to which batch the store must be durable before anyone is told.
pub struct Processed {
    /// What came of it.
    pub outcome: Outcome,
    /// The number of the last batch that it depends on; 0 if it stored nothing.
    pub sequence: u64,
    /// The event, if it was stored or placed, so that others may have waited for it.
    pub landed: Option<Landed>,
}

/// An event that was stored or placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The event.
    pub key: EventKey,
    /// IDs of other rooms with parked inputs that name this event. Now that it is known to belong here, those inputs
    /// are to be looked at and rejected.
    pub elsewhere: Vec<Box<str>>,
}

/// What one event's batch will store.
pub(super) struct Draft {
    pub(super) batch: Batch,
    pub(super) used: UsedNames,
    /// The head after the batch.
    pub(super) head: RoomHead,
    /// For a state event: the states before and after it, and the one key that it set. Spares comparing them when the
    /// current state takes the same step.
    pub(super) step: Option<(States, Changed)>,
    /// Keys of events for which this batch adds rows to `wanted`, and for which it deletes them. `Engine::wanted` is
    /// corrected by both when the batch is written.
    pub(super) wants: SmallVec<[EventKey; 2]>,
    pub(super) wants_no_more: SmallVec<[EventKey; 2]>,
}

/// A key, its value in a parent, and its new value.
pub(super) type Changed = (StateTuple, Option<EventNid>, Option<EventNid>);

impl RoomWriter {
    /// Goes on with a room of the store.
    pub fn open(engine: Arc<Engine>, room: Arc<Room>) -> Result<Self> {
        let head = engine.rows().head(room.nid)?;
        let log = Log::open(room.nid, SnapshotNid::new(head.last_snapshot), head.seals.clone());
        Ok(Self { engine, room, head, log, registered: true, pending: None, landing: None })
    }

    /// Begins a room that the store does not know; its rows come with its first event.
    pub fn begin(engine: Arc<Engine>, room: Room) -> Self {
        let log = Log::open(room.nid, SnapshotNid::EMPTY, SmallVec::new());
        let (room, head) = (Arc::new(room), RoomHead::default());
        Self { engine, room, head, log, registered: false, pending: None, landing: None }
    }

    /// The room.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Tells whether the store knows the room. If not, its version was told by an input that stored nothing, and the next
    /// input may tell another one.
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// The event that a panic left between being written and being told of, for whoever wakes what waits for it.
    pub fn take_landing(&mut self) -> Option<Landed> {
        self.landing.take()
    }

    /// Forgets what an input appended that was refused half way: nothing may be read or written that follows from an event
    /// which is not stored.
    pub(super) fn forget_refused(&mut self) {
        if self.pending.is_some() || self.log.last().number() != self.head.last_snapshot {
            self.pending = None;
            self.log = Log::open(self.room.nid, SnapshotNid::new(self.head.last_snapshot), self.head.seals.clone());
        }
    }

    /// Begins a batch.
    pub(super) fn draft(&mut self) -> Draft {
        self.forget_refused();
        Draft {
            batch: Batch::default(),
            used: UsedNames::default(),
            head: self.head.clone(),
            step: None,
            wants: SmallVec::new(),
            wants_no_more: SmallVec::new(),
        }
    }

    /// What is read of the room.
    pub(super) fn facts(&self) -> RoomFacts<'_> {
        RoomFacts { engine: &self.engine, room: &self.room, head: &self.head, pending: self.pending.as_ref() }
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
        self.note_lists_due(&seals);
        Ok(sequence)
    }

    /// Applies a draft, and leaves it to the caller whether lists are due.
    pub(super) fn store(&mut self, draft: Draft) -> Result<u64> {
        let Draft { mut batch, used, mut head, step: _, wants, wants_no_more } = draft;
        head.last_snapshot = self.log.last().number();
        head.seals = self.log.seals().clone();
        crate::tables::rooms::put_head(&mut batch, self.room.nid, &head);
        if !self.registered {
            crate::tables::rooms::put_room(&mut batch, &self.room)?;
        }
        for wanted in &wants {
            self.engine.wanted.add(wanted);
        }
        // Should the store panic, nobody knows whether the batch was stored: the room must not lose its number to another.
        let was_registered = std::mem::replace(&mut self.registered, true);
        let written = self.engine.write(batch);
        self.registered = was_registered || written.is_ok();
        for wanted in if written.is_ok() { &wants_no_more } else { &wants } {
            self.engine.wanted.remove(wanted);
        }
        let sequence = written?;
        self.engine.interner.written(&used);
        self.log.written();
        self.head = head;
        self.pending = None;
        Ok(sequence)
    }

    /// Tells the builder of lists if a batch made one due. `before` are the lists that the head named before it.
    pub(super) fn note_lists_due(&self, before: &[SnapshotNid]) {
        if *before != *self.head.seals {
            self.engine.due_lists.add(self.room.nid);
            self.push_back();
        }
    }

    /// If both lists that the head names are unbuilt, the writer builds the older one itself. Otherwise look-ups, and
    /// recovery after a crash, would have ever longer logs to walk.
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
            let held = self.engine.due_lists.hold(self.room.nid);
            self.engine.build_lists(&held)
        });
        // The event is stored. If the list can still not be built when the next one is due, that event is refused.
        if let Err(error) = built {
            tracing::warn!(room = %self.room.id, %error, "a list could not be built");
        }
    }
}

impl Draft {
    /// Takes the next event number.
    pub(super) fn next_event(&mut self) -> Result<EventNid> {
        let nid = self.head.last_event.checked_add(1).and_then(EventNid::new);
        let nid = nid.ok_or_else(|| Error::internal("all event numbers of a room are taken"))?;
        self.head.last_event = nid.number();
        Ok(nid)
    }

    /// Takes the next position.
    pub(super) fn next_position(&mut self) -> Result<u32> {
        let position = self.head.last_position.checked_add(1);
        self.head.last_position = position.ok_or_else(|| Error::internal("all positions of a room are taken"))?;
        Ok(self.head.last_position)
    }

    /// Takes the next place in the order of parking.
    pub(super) fn next_parked(&mut self) -> Result<u32> {
        let order = self.head.last_parked.checked_add(1);
        self.head.last_parked = order.ok_or_else(|| Error::internal("a room parked 2^32 inputs"))?;
        Ok(self.head.last_parked)
    }
}

impl Drop for RoomWriter {
    fn drop(&mut self) {
        if !self.registered {
            self.engine.give_back(self.room.nid);
        }
    }
}
