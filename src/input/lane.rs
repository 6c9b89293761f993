//! The queue of one room.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::{ticket::Promise, work::Work};
use crate::{
    encoding::{event_key::EventKey, json::Json},
    room::{outcome::Input, writer::RoomWriter},
};

/// An input in a queue.
pub(super) enum Job {
    /// An event to decide.
    Event(Box<QueuedEvent>),
    /// Parked inputs to look at again after the store was opened.
    Recover,
    /// An event landed in another room, which parked inputs of this one name.
    Landed(EventKey),
    /// What the engine itself has to do in the room.
    Work(Work),
}

/// An event in a queue.
pub(super) struct QueuedEvent {
    pub(super) input: Input,
    pub(super) json: Json,
    pub(super) promise: Promise,
    pub(super) bytes: usize,
}

/// A room's queue and writer.
pub(super) struct Lane {
    /// The room's ID.
    pub(super) room_id: Box<str>,
    pub(super) queue: Mutex<Queue>,
    /// Held by the thread that drains the queue; kept between inputs. `None` until the first, and after an error.
    pub(super) writer: Mutex<Option<RoomWriter>>,
}

/// What waits in a room.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) jobs: VecDeque<Job>,
    /// Bytes of the jobs.
    pub(super) bytes: usize,
    /// Whether the lane is with the pool: at most once at any time.
    pub(super) scheduled: bool,
    /// Why the room takes no inputs.
    pub(super) quarantine: Option<String>,
}

impl Lane {
    pub(super) fn new(room_id: &str) -> Self {
        Self { room_id: room_id.into(), queue: Mutex::default(), writer: Mutex::new(None) }
    }
}
