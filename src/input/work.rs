//! What the engine itself does in a room, between two inputs: it has the room's writer for itself meanwhile.

use std::collections::VecDeque;

use crossbeam_channel::{Sender, bounded};

use super::{
    completion::Done,
    lane::{Job, Lane},
    pool::{Inputs, Shared},
};
use crate::{
    error::{Error, Result},
    room::writer::RoomWriter,
    tables::rows::Room,
};

/// Work for a room's lane.
pub(super) type Work = Box<dyn FnOnce(Turn<'_>) -> Result<()> + Send>;

/// A room's lane, while nothing else happens in it.
pub(super) struct Turn<'a> {
    pub(super) shared: &'a Shared,
    pub(super) lane: &'a Lane,
    pub(super) writer: &'a mut Option<RoomWriter>,
    pub(super) done: &'a Sender<Done>,
}

impl Inputs {
    /// Does something with a room's writer, before the inputs that wait in its queue; blocks until it is done.
    ///
    /// The errors of `work`; `NotFound` if the room is not here, or another one of its ID; `Unavailable` if it is in
    /// quarantine, or the store is closed.
    pub fn with_writer<T: Send + 'static>(
        &self,
        room: &Room,
        work: impl FnOnce(&mut RoomWriter) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let nid = room.nid;
        self.in_lane(&room.id, move |Turn { shared, lane, writer, .. }| {
            shared.refuse(lane)?;
            let opened = shared.open(lane, writer, None)?;
            if opened.room().nid != nid {
                return Err(Error::not_found(format!("room {} was purged and has begun anew", lane.room_id)));
            }
            let result = work(opened);
            if result.is_err() {
                // It may be ahead of what is stored.
                *writer = None;
            }
            result
        })
    }

    /// Hides a room for ever and answers the inputs that wait for it; gives what it was. `NotFound` if it is not here.
    pub fn hide(&self, room_id: &str) -> Result<Room> {
        self.in_lane(room_id, |Turn { shared, lane, writer, done }| {
            if *shared.closed.read() {
                return Err(Error::unavailable("the store is closed"));
            }
            let unknown = || Error::not_found(format!("room {} is not here", lane.room_id));
            let room = shared.engine.room(&lane.room_id)?.ok_or_else(unknown)?;
            *writer = None;
            shared.engine.hide(&room)?;
            let mut queue = lane.queue.lock();
            queue.quarantine = None;
            let jobs = std::mem::take(&mut queue.jobs).into_iter();
            let (inputs, rest): (VecDeque<Job>, VecDeque<Job>) = jobs.partition(|job| matches!(job, Job::Event(_)));
            queue.jobs = rest;
            queue.bytes = 0;
            drop(queue);
            for job in inputs {
                let Job::Event(event) = job else { continue };
                let result =
                    Err(Error::not_found(format!("room {} was purged before this input's turn", lane.room_id)));
                let _gone = done.send(Done { promise: event.promise, result, sequence: 0, bytes: event.bytes });
            }
            Ok((*room).clone())
        })
    }

    fn in_lane<T: Send + 'static>(
        &self,
        room_id: &str,
        work: impl FnOnce(Turn<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = bounded(1);
        {
            let closed = self.shared.closed.read();
            if *closed {
                return Err(Error::unavailable("the store is closed"));
            }
            let lane = self.shared.lane(room_id);
            let mut queue = lane.queue.lock();
            queue.jobs.push_front(Job::Work(Box::new(move |turn| {
                // Who waits for it hears of an error; nobody is told twice.
                let _gone = send.send(work(turn));
                Ok(())
            })));
            self.shared.schedule(&lane, &mut queue);
        }
        receive.recv().unwrap_or_else(|_| Err(Error::internal("the work on a room panicked")))
    }
}
