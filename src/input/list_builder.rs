//! The thread that builds lists beside the writers.

use std::sync::Arc;

use super::{
    guarded::{guarded, harmless},
    threads::Threads,
};
use crate::{error::Result, room::engine::Engine};

/// Builds the lists that are due in any room, one after the other.
pub struct ListBuilder {
    engine: Arc<Engine>,
    threads: Threads,
}

impl ListBuilder {
    /// Starts the thread.
    pub fn start(engine: Arc<Engine>) -> Result<Self> {
        let builder = Self { engine: engine.clone(), threads: Threads::default() };
        builder.threads.spawn("roomserver-lists", move || run(&engine))?;
        Ok(builder)
    }

    /// Ends the thread once the list at hand is built. The rest is built after the next open.
    pub fn close(&self) {
        self.engine.due_lists.close();
        self.threads.join();
    }
}

impl Drop for ListBuilder {
    fn drop(&mut self) {
        self.close();
    }
}

/// A list that cannot be built is lacking until the store is opened again; the room's writer hears of what is wrong when
/// the next but one is due.
fn run(engine: &Engine) {
    while let Some(held) = engine.due_lists.next() {
        let room = held.room().number();
        // The thread goes on with the next room whatever happens, also in the host's log: otherwise no list would be built
        // any more, and whoever waits until none is due would wait for ever.
        match guarded(|| engine.build_lists(&held)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => harmless(|| tracing::warn!(room, %error, "a list could not be built")),
            Err(panic) => harmless(|| tracing::error!(room, panic, "building a list panicked")),
        }
    }
}
