//! The queue of one room, and the desk at which its events are decided.
//!
//! There is one [`Desk`] in each lane, and nobody can copy it. While nothing is to do it lies in the queue; with the first
//! thing to do it is taken out, under the queue's lock, and goes through the pool as part of a [`Turn`]. So a room cannot be
//! with two threads, nor twice in the list of rooms that wait for one.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};

use super::{
    completion::{Completion, Replies, Waiter},
    event::ReadInput,
    gauge::{AtWork, Gauge},
};
use crate::{
    encoding::event_key::EventKey,
    error::{Error, ErrorKind, Result},
    room::{
        drive::Driving,
        engine::Engine,
        writer::{Landed, RoomWriter},
    },
};

/// A room's queue.
pub(super) struct Lane {
    /// The room's ID.
    pub(super) room_id: Box<str>,
    queue: Mutex<Queue>,
}

/// An input that waits for its turn.
pub(super) struct QueuedEvent {
    pub(super) read: ReadInput,
    pub(super) waiter: Waiter,
}

/// What waits in a room.
pub(super) struct Queue {
    events: VecDeque<QueuedEvent>,
    /// Bytes of the events.
    bytes: usize,
    /// Tasks of the engine in this room (garbage collection, purge). They run before parked inputs and before queued
    /// events.
    works: VecDeque<Box<dyn Work>>,
    /// Events that landed in other rooms, for which parked inputs of this one wait.
    landed: BTreeSet<EventKey>,
    /// Whom to tell once those inputs are decided.
    replies: Replies,
    /// Whether all parked inputs of the room are to be looked at.
    everything: bool,
    /// Why the room takes no inputs.
    quarantine: Option<String>,
    /// The desk, while the lane is at rest.
    desk: Option<Box<Desk>>,
    /// Its key in the map's `idle`, while nothing is to do here and the lane is kept only because its open writer saves
    /// reads.
    pub(super) idle: Option<u64>,
}

/// What the thread that is in the room has in its hands.
#[derive(Default)]
pub(super) struct Desk {
    /// The room's writer; made when it is needed, and made anew after most errors.
    pub(super) writer: Option<RoomWriter>,
    /// Parked inputs that are still to be looked at. They come before the next event of the queue.
    pub(super) driving: Driving,
    /// Whom to tell once nothing is to be driven any more.
    pub(super) replies: Replies,
    /// How often in a row the store refused to write what is to be driven.
    pub(super) refusals: u32,
    /// The sequence number of the last batch written for parked inputs. After an open or a release no ticket waits for it, so
    /// the end of the turn must ask for its sync.
    pub(super) driven: u64,
    /// An event that was being stored when something panicked. It may be stored, so the rooms that wait for it are woken.
    pub(super) landing: Option<Landed>,
}

/// A lane that has something to do: it waits for a thread of the pool, or is with one.
pub(super) struct Turn {
    pub(super) lane: Arc<Lane>,
    pub(super) desk: Box<Desk>,
    at_work: AtWork,
}

/// What is used in all rooms.
pub(super) struct Means {
    pub(super) engine: Arc<Engine>,
    pub(super) completion: Completion,
}

/// What a task gets to work in a room: the lane, the desk that was taken out of it, and what all rooms share.
pub(super) struct InRoom<'a> {
    pub(super) lane: &'a Lane,
    pub(super) desk: &'a mut Desk,
    pub(super) means: &'a Means,
}

/// What the engine itself has to do in a room.
pub(super) trait Work: Send {
    /// Runs the task. On an error the lane throws the room's writer away, since that may be ahead of what is stored.
    fn run(&mut self, room: InRoom<'_>) -> Result<()>;

    /// Tells whoever waits for it. `error` is what kept it from ending.
    fn tell(self: Box<Self>, error: Option<Error>);
}

/// How a lane is left when its turn ends and nothing more is to do in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It holds something that must not be forgotten: a quarantine, or parked inputs that are still to be looked at.
    Needed,
    /// It holds a writer, which spares the next input some reads.
    WithWriter,
    /// It holds nothing.
    Empty,
}

/// What is to be done next in a room.
pub(super) enum Job {
    Work(Box<dyn Work>),
    Drive,
    Event(QueuedEvent),
}

impl Lane {
    pub(super) fn new(room_id: &str) -> Self {
        let queue = Queue {
            events: VecDeque::new(),
            bytes: 0,
            works: VecDeque::new(),
            landed: BTreeSet::new(),
            replies: Replies::new(),
            everything: false,
            quarantine: None,
            desk: Some(Box::default()),
            idle: None,
        };
        Self { room_id: room_id.into(), queue: Mutex::new(queue) }
    }

    /// Locks the queue, for as long as something is put into it or taken from it. Nothing of the host's is called meanwhile.
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// `Unavailable` if the room is in quarantine.
    pub(super) fn refuse_quarantined(&self) -> Result<()> {
        self.queue().quarantine.as_deref().map_or(Ok(()), |reason| Err(in_quarantine(&self.room_id, reason)))
    }

    /// Puts the room into quarantine; gives the inputs that waited in it.
    pub(super) fn quarantine(&self, reason: String) -> VecDeque<QueuedEvent> {
        let mut queue = self.queue();
        queue.quarantine = Some(reason);
        queue.forget_wakes();
        queue.take_events()
    }
}

fn in_quarantine(room_id: &str, reason: &str) -> Error {
    Error::unavailable(format!("room {room_id} is in quarantine: {reason}"))
}

impl Queue {
    /// Refuses an input of so many bytes: `Unavailable` in quarantine, `Busy` if the queue would hold more than `limit`. A
    /// queue without inputs takes one of any size.
    pub(super) fn admit(&self, room_id: &str, bytes: usize, limit: usize) -> Result<()> {
        if let Some(reason) = &self.quarantine {
            return Err(in_quarantine(room_id, reason));
        }
        if self.bytes.saturating_add(bytes) > limit && self.bytes > 0 {
            return Err(Error::new(ErrorKind::Busy, format!("the queue of room {room_id} is full")));
        }
        Ok(())
    }

    pub(super) fn push_event(&mut self, event: QueuedEvent) {
        self.bytes = self.bytes.saturating_add(event.read.bytes);
        self.events.push_back(event);
    }

    pub(super) fn push_work(&mut self, work: Box<dyn Work>) {
        self.works.push_back(work);
    }

    /// An event has landed in another room, for which parked inputs of this one wait; `replies` are told when these are
    /// decided.
    pub(super) fn push_landed(&mut self, key: EventKey, replies: &Replies) {
        // When a quarantine ends, all parked inputs are looked at.
        if self.quarantine.is_none() {
            self.landed.insert(key);
            self.replies.extend(replies.iter().map(|(number, reply)| (*number, reply.clone())));
        }
    }

    /// All parked inputs of the room are to be looked at.
    pub(super) fn push_everything(&mut self) {
        self.everything = true;
    }

    /// Why the room is in quarantine.
    pub(super) fn quarantined(&self) -> Option<&str> {
        self.quarantine.as_deref()
    }

    /// Ends the quarantine; `false` if there is none.
    pub(super) fn release(&mut self) -> bool {
        self.quarantine.take().is_some()
    }

    /// Takes all inputs out.
    pub(super) fn take_events(&mut self) -> VecDeque<QueuedEvent> {
        self.bytes = 0;
        std::mem::take(&mut self.events)
    }

    /// Forgets what was to be looked at among the parked inputs.
    pub(super) fn forget_wakes(&mut self) {
        self.landed.clear();
        self.replies.clear();
        self.everything = false;
    }

    /// What comes next: work of the engine, then what is to be driven, then the next input, whose verdict must not depend
    /// on how far the driving is.
    pub(super) fn next(&mut self, desk: &mut Desk) -> Option<Job> {
        if std::mem::take(&mut self.everything) {
            desk.driving.everything();
        }
        while let Some(key) = self.landed.pop_first() {
            desk.driving.landed(key);
        }
        desk.replies.append(&mut self.replies);
        if let Some(work) = self.works.pop_front() {
            return Some(Job::Work(work));
        }
        if !desk.driving.is_empty() {
            return Some(Job::Drive);
        }
        let event = self.events.pop_front()?;
        self.bytes = self.bytes.saturating_sub(event.read.bytes);
        Some(Job::Event(event))
    }

    /// How many replies wait here.
    #[cfg(test)]
    pub(super) fn replies(&self) -> usize {
        self.replies.len()
    }

    fn has_jobs(&self) -> bool {
        !(self.events.is_empty() && self.works.is_empty() && self.landed.is_empty()) || self.everything
    }

    /// Begins a turn if something is to do and the desk is here.
    pub(super) fn begin(&mut self, lane: &Arc<Lane>, gauge: &Arc<Gauge>) -> Option<Turn> {
        if !self.has_jobs() {
            return None;
        }
        let desk = self.desk.take()?;
        Some(Turn { lane: lane.clone(), desk, at_work: gauge.count_lane() })
    }

    /// Begins a turn for parked inputs alone that could not be looked at before.
    pub(super) fn resume(&mut self, lane: &Arc<Lane>, gauge: &Arc<Gauge>) -> Option<Turn> {
        let desk = self.desk.take_if(|desk| !desk.driving.is_empty())?;
        Some(Turn { lane: lane.clone(), desk, at_work: gauge.count_lane() })
    }

    /// Tells whether the lane is at rest though parked inputs are still to be looked at.
    pub(super) fn is_stuck(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| !desk.driving.is_empty())
    }

    /// Puts the desk back; gives the turn back if something came meanwhile. The lane must be locked with this queue.
    pub(super) fn end(&mut self, turn: Turn) -> Result<Left, Turn> {
        if self.has_jobs() {
            return Err(turn);
        }
        let Turn { desk, at_work, .. } = turn;
        let left = match (&self.quarantine, &desk.writer) {
            _ if !desk.driving.is_empty() => Left::Needed,
            (Some(_), _) => Left::Needed,
            (None, Some(_)) => Left::WithWriter,
            (None, None) => Left::Empty,
        };
        self.desk = Some(desk);
        // Last: when the count of lanes falls to 0, `settle` wakes up and looks for desks with work left, so the desk
        // must be back.
        drop(at_work);
        Ok(left)
    }
}
