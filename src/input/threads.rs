//! Threads that are ended together.

use std::thread::{Builder, JoinHandle, ThreadId};

use parking_lot::Mutex;

use super::guarded::harmless;
use crate::error::{Error, Result};

/// Threads, and their IDs for as long as this lives.
#[derive(Default)]
pub(super) struct Threads {
    handles: Mutex<Vec<JoinHandle<()>>>,
    ids: Mutex<Vec<ThreadId>>,
}

impl Threads {
    /// Starts one more.
    pub(super) fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let handle = Builder::new().name(name.into()).spawn(run);
        let handle = handle.map_err(|error| Error::unavailable("no thread can be started").with_source(error))?;
        self.ids.lock().push(handle.thread().id());
        self.handles.lock().push(handle);
        Ok(())
    }

    /// Waits until all have ended. They must have been told to.
    ///
    /// One of them may be the caller: a waker can drop the last handle of the engine, and it is called by a thread of the
    /// engine. No thread can wait for itself, nor for another one that waits for it.
    pub(super) fn join(&self) {
        #[expect(clippy::disallowed_methods, reason = "a thread that waited for itself would stand still for ever")]
        let caller = std::thread::current().id();
        let is_one_of_them = self.ids.lock().contains(&caller);
        let handles = if is_one_of_them { self.handles.try_lock() } else { Some(self.handles.lock()) };
        let Some(mut handles) = handles else { return };
        for handle in handles.drain(..) {
            if handle.thread().id() != caller && handle.join().is_err() {
                harmless(|| tracing::error!("a thread of the engine panicked"));
            }
        }
    }
}
