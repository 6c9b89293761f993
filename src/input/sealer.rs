//! The thread that builds lists beside the writers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
};

use parking_lot::Mutex;

use crate::{
    error::{Error, Result},
    room::engine::Engine,
};

/// Builds the lists that are due in any room, one after the other.
pub struct Sealer {
    engine: Arc<Engine>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Sealer {
    /// Starts the thread.
    pub fn start(engine: Arc<Engine>) -> Result<Self> {
        let work = engine.clone();
        let thread = std::thread::Builder::new().name("roomserver-seal".into()).spawn(move || run(&work));
        let thread = thread.map_err(|error| Error::unavailable("no thread can be started").with_source(error))?;
        Ok(Self { engine, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread once the list at hand is built. The rest is built after the next open.
    pub fn close(&self) {
        self.engine.sealing.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that builds lists panicked");
        }
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.close();
    }
}

/// A list that cannot be built is lacking until the store is opened again; the room's writer hears of what is wrong when
/// the next but one is due.
fn run(engine: &Engine) {
    while let Some(held) = engine.sealing.next() {
        let room = held.room().number();
        match catch_unwind(AssertUnwindSafe(|| engine.build_lists(&held))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(room, %error, "a list could not be built"),
            Err(_) => tracing::error!(room, "building a list panicked"),
        }
    }
}
