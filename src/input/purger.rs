//! The thread that goes on with purges which the end of the process cut off.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use parking_lot::{Condvar, Mutex};

use crate::{
    error::{Error, Result},
    room::{
        engine::Engine,
        purge::{Purging, until_taken},
    },
    tables::rooms::Room,
};

/// Deletes what rooms left behind that were hidden before the store was opened.
pub struct Purger {
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    closed: AtomicBool,
    is_done: Mutex<bool>,
    done: Condvar,
}

impl Purger {
    /// Goes on with the purges of `rooms`, one after the other, on a thread of its own.
    pub fn start(engine: Arc<Engine>, rooms: Vec<Room>) -> Result<Self> {
        let state = Arc::new(State { is_done: Mutex::new(rooms.is_empty()), ..State::default() });
        if rooms.is_empty() {
            return Ok(Self { state, thread: Mutex::new(None) });
        }
        let shared = state.clone();
        let thread = std::thread::Builder::new().name("roomserver-purge".into()).spawn(move || {
            // Dropped whatever happens here: who settles must not wait for a thread that is gone.
            let _done = SetDone(&shared);
            for room in rooms {
                let id = room.id.clone();
                // A panic of a host's store ends the purge of one room, not of those after it.
                let purged = catch_unwind(AssertUnwindSafe(|| shared.purge(&engine, room)));
                let purged = purged.unwrap_or_else(|_| Err(Error::internal("the purge of a room panicked")));
                if let Err(error) = purged {
                    tracing::warn!(room = %id, %error, "a purge stopped; it goes on when the store is opened again");
                }
            }
        });
        let thread = thread.map_err(|error| Error::unavailable("no thread can be started").with_source(error))?;
        Ok(Self { state, thread: Mutex::new(Some(thread)) })
    }

    /// Blocks until nothing is left to delete, each purge that is left has failed, or this is closed.
    pub fn settle(&self) {
        let mut is_done = self.state.is_done.lock();
        while !*is_done {
            self.state.done.wait(&mut is_done);
        }
    }

    /// Ends the thread after the step at hand.
    pub fn close(&self) {
        self.state.closed.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that purges rooms panicked");
        }
    }
}

/// Tells that nothing more will be deleted once it is dropped.
struct SetDone<'a>(&'a State);

impl Drop for SetDone<'_> {
    fn drop(&mut self) {
        *self.0.is_done.lock() = true;
        self.0.done.notify_all();
    }
}

impl State {
    fn purge(&self, engine: &Engine, room: Room) -> Result<()> {
        let mut purging = Purging::new(room);
        let mut has_more = true;
        while has_more && !self.closed.load(Ordering::Acquire) {
            let is_closed = || self.closed.load(Ordering::Acquire);
            has_more = until_taken(&is_closed, || engine.purge_step(&mut purging))?;
        }
        Ok(())
    }
}

impl Drop for Purger {
    fn drop(&mut self) {
        self.close();
    }
}
