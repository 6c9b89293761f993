//! The doors into the queues.

use std::sync::Arc;

use super::{
    completion::{Completion, Durability, Waiter},
    event::ReadInput,
    gauge::{Backpressure, Gauge, Limits},
    lane::{InRoom, Means, QueuedEvent},
    lanes::Lanes,
    list_builder::ListBuilder,
    pool::Pool,
    ticket::{Ticket, promise},
    turn::Task,
};
use crate::{
    error::{Error, ErrorKind, Result},
    ids::RoomNid,
    room::{engine::Engine, outcome::Input, writer::RoomWriter},
    tables::rooms::Room,
};

/// All queues, and the threads behind them.
pub struct Inputs {
    engine: Arc<Engine>,
    limits: Limits,
    gauge: Arc<Gauge>,
    lanes: Arc<Lanes>,
    pool: Pool,
    list_builder: ListBuilder,
}

impl Inputs {
    /// Starts `writers` threads that decide events, and those beside them.
    pub fn start(engine: Arc<Engine>, writers: usize, limits: Limits, durability: Durability) -> Result<Self> {
        let gauge = Arc::new(Gauge::default());
        let (lanes, turns) = Lanes::new(gauge.clone());
        let lanes = Arc::new(lanes);
        let completion = Completion::start(engine.clone(), durability)?;
        let means = Means { engine: engine.clone(), completion };
        let pool = Pool::start(lanes.clone(), turns, means, writers)?;
        let list_builder = ListBuilder::start(engine.clone())?;
        Ok(Self { engine, limits, gauge, lanes, pool, list_builder })
    }

    /// Queues an input for its room.
    ///
    /// # Errors
    ///
    /// `Busy` if the room's queue or all of them together are full; `Invalid` if the PDU is not JSON, too large or names no
    /// room; `Unavailable` after `close`, and for a room in quarantine. Nothing is queued then.
    pub fn submit(&self, input: Input) -> Result<Ticket> {
        if self.lanes.is_closed() {
            return Err(Error::unavailable("the store is closed"));
        }
        let read = ReadInput::read(input)?;
        let (room_id, bytes) = (read.room_id.clone(), read.bytes);
        // All queues together first, then the room's: an input that finds no place makes no lane.
        let counted = self.gauge.count(bytes, self.limits.total_bytes)?;
        let (promise, answer) = promise();
        // Outside, so that an input that is refused is dropped when the lanes are not locked any more.
        let mut event = Some(QueuedEvent { read, waiter: Waiter::new(counted, promise) });
        self.lanes.enter(&room_id, |queue| {
            queue.admit(&room_id, bytes, self.limits.room_bytes)?;
            if let Some(event) = event.take() {
                queue.push_event(event);
            }
            Ok(())
        })?;
        Ok(Ticket::new(answer))
    }

    /// Looks again at what was left parked in a room when the store was closed.
    pub fn recover(&self, room_id: &str) {
        let entered = self.lanes.enter(room_id, |queue| {
            queue.push_everything();
            Ok(())
        });
        // Closed: it is looked at when the store is opened again.
        drop(entered);
    }

    /// What is under way.
    pub fn backpressure(&self) -> Backpressure {
        self.gauge.backpressure()
    }

    /// Builds the lists of a room that were due and not there when the store was closed.
    pub fn build_lists(&self, room: RoomNid) {
        self.engine.due_lists.add(room);
    }

    /// Blocks until nothing is under way, all that was woken is decided, and no list is due.
    ///
    /// `Busy` if the store refuses to write, so that parked inputs which are ready cannot be decided now.
    pub fn settle(&self) -> Result<()> {
        self.gauge.settle();
        if self.lanes.stuck().is_some() {
            self.lanes.resume();
            self.gauge.settle();
        }
        self.engine.due_lists.settle();
        match self.lanes.stuck() {
            None => Ok(()),
            Some(room_id) => Err(Error::new(
                ErrorKind::Busy,
                format!("the store refuses to write what was parked in room {room_id} and is ready"),
            )),
        }
    }

    /// The rooms in quarantine, with the reasons.
    pub fn quarantined(&self) -> Vec<(String, String)> {
        self.lanes.quarantined()
    }

    /// Why a room is in quarantine, if it is.
    pub fn quarantined_reason(&self, room_id: &str) -> Option<String> {
        self.lanes.quarantined_reason(room_id)
    }

    /// Ends a room's quarantine, and looks again at what is parked in it. `NotFound` if it is not in quarantine.
    pub fn release(&self, room_id: &str) -> Result<()> {
        self.lanes.enter(room_id, |queue| {
            if !queue.release() {
                return Err(Error::not_found(format!("room {room_id} is not in quarantine")));
            }
            queue.push_everything();
            Ok(())
        })
    }

    /// Does something with a room's writer, before the inputs that wait in its queue; blocks until it is done.
    ///
    /// The errors of `work`; `NotFound` if the room is not here, or another one of its ID; `Unavailable` if it is in
    /// quarantine, or the store is closed; `Internal` if it panicked.
    pub fn with_writer<T: Send + 'static>(
        &self,
        room: &Room,
        work: impl FnOnce(&mut RoomWriter) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let nid = room.nid;
        self.in_room(&room.id, move |room| work(room.writer(nid)?))
    }

    /// Hides a room for ever and answers the inputs that wait for it; gives what it was. `NotFound` if it is not here.
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone does not fit every lifetime")]
    pub fn hide(&self, room_id: &str) -> Result<Room> {
        self.in_room(room_id, |room| room.hide())
    }

    /// Takes no more inputs, answers those that wait with `Unavailable`, and ends all threads.
    pub fn close(&self) {
        self.pool.close();
        self.list_builder.close();
    }

    /// The lanes, for tests that look into them or put their own work there.
    #[cfg(test)]
    pub(super) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    fn in_room<T: Send + 'static>(
        &self,
        room_id: &str,
        work: impl FnOnce(InRoom<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (promise, answer) = promise();
        let mut task = Some(Box::new(Task::new(work, promise)));
        self.lanes.enter(room_id, |queue| {
            if let Some(task) = task.take() {
                queue.push_work(task);
            }
            Ok(())
        })?;
        answer.wait()
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        self.close();
    }
}
