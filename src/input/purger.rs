//! The thread that goes on with purges which the end of the process cut off.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::{Condvar, Mutex};

use super::{
    guarded::{guarded, harmless},
    threads::Threads,
};
use crate::{
    error::{Error, ErrorKind, Result},
    room::{
        engine::Engine,
        purge::{Purging, until_taken},
    },
    tables::rooms::Room,
};

/// After so many refusals in a row whoever settles is told of them, and waits no longer.
const REFUSALS_MAX: u32 = 64;

/// Deletes what rooms left behind that were hidden before the store was opened.
pub struct Purger {
    state: Arc<State>,
    threads: Threads,
}

#[derive(Default)]
struct State {
    closed: AtomicBool,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// Nothing is left to delete, or each purge that is left has failed.
    is_done: bool,
    /// The room whose purge the store refuses to go on with, for so long that nobody should wait for it.
    refused: Option<Box<str>>,
}

impl Purger {
    /// Goes on with the purges of `rooms`, one after the other, on a thread of its own.
    pub fn start(engine: Arc<Engine>, rooms: Vec<Room>) -> Result<Self> {
        let purger = Self { state: Arc::default(), threads: Threads::default() };
        if rooms.is_empty() {
            purger.state.progress.lock().is_done = true;
            return Ok(purger);
        }
        let state = purger.state.clone();
        purger.threads.spawn("roomserver-purge", move || {
            // Dropped whatever happens here: who settles must not wait for a thread that is gone.
            let _done = SetDone(&state);
            for room in rooms {
                let id = room.id.clone();
                // A panic of a host's store ends the purge of one room, not of those after it.
                let purged = guarded(|| state.purge(&engine, room));
                let purged = purged.unwrap_or_else(|panic| Err(Error::internal(format!("the purge panicked: {panic}"))));
                if let Err(error) = purged {
                    harmless(|| {
                        tracing::warn!(room = %id, %error, "a purge stopped; it goes on when the store is opened again");
                    });
                }
            }
        })?;
        Ok(purger)
    }

    /// Blocks until nothing is left to delete, each purge that is left has failed, or this is closed. `Busy` if the store
    /// refuses for long: the purge goes on once it does not.
    pub fn settle(&self) -> Result<()> {
        let mut progress = self.state.progress.lock();
        loop {
            match &progress.refused {
                _ if progress.is_done => return Ok(()),
                Some(room_id) => {
                    let text = format!("the store refuses to delete what is left of room {room_id}, which was purged");
                    return Err(Error::new(ErrorKind::Busy, text));
                }
                None => self.state.changed.wait(&mut progress),
            }
        }
    }

    /// Ends the thread after the step at hand.
    pub fn close(&self) {
        self.state.closed.store(true, Ordering::Release);
        self.threads.join();
    }
}

/// Tells that nothing more will be deleted once it is dropped.
struct SetDone<'a>(&'a State);

impl Drop for SetDone<'_> {
    fn drop(&mut self) {
        self.0.note(|progress| progress.is_done = true);
    }
}

impl State {
    fn note(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock());
        self.changed.notify_all();
    }

    fn purge(&self, engine: &Engine, room: Room) -> Result<()> {
        let room_id = room.id.clone();
        let mut purging = Purging::new(room);
        let (mut has_more, mut refusals) = (true, 0u32);
        while has_more && !self.closed.load(Ordering::Acquire) {
            let is_closed = || self.closed.load(Ordering::Acquire);
            has_more = until_taken(&is_closed, || {
                let done = engine.purge_step(&mut purging);
                if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Busy) {
                    refusals = refusals.saturating_add(1);
                    if refusals == REFUSALS_MAX {
                        self.note(|progress| progress.refused = Some(room_id.clone()));
                    }
                } else if std::mem::take(&mut refusals) >= REFUSALS_MAX {
                    self.note(|progress| progress.refused = None);
                }
                done
            })?;
        }
        Ok(())
    }
}

impl Drop for Purger {
    fn drop(&mut self) {
        self.close();
    }
}
