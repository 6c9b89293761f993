//! How a store remembers that an engine is on it, and what keeps it from the next one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// Remembers whether an engine is on a store, and what keeps the store from the next one.
#[derive(Debug, Default)]
pub struct Claimable {
    holder: Mutex<Option<Arc<Holder>>>,
}

/// The engine that has a store, for as long as it is open and views of it are.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    is_closed: AtomicBool,
    views: AtomicUsize,
}

impl Holder {
    /// The engine was closed: from now on only views keep the store.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// A view of the store was opened.
    pub(crate) fn view_opened(&self) {
        self.views.fetch_add(1, Ordering::AcqRel);
    }

    /// A view of the store was dropped.
    pub(crate) fn view_dropped(&self) {
        self.views.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many views of the store are open.
    pub(crate) fn views(&self) -> usize {
        self.views.load(Ordering::Acquire)
    }

    /// What must happen before another engine can have the store.
    pub(crate) fn obstacle(&self) -> String {
        if self.is_closed.load(Ordering::Acquire) {
            let views = self.views();
            let [noun, verb] = if views == 1 { ["view", "is"] } else { ["views", "are"] };
            return format!(
                "the engine on this store was closed, but {views} {noun} of it {verb} still open: drop them first"
            );
        }
        "another engine is open on this store: close it first".to_owned()
    }
}

impl Claimable {
    /// Takes the store for the caller; `Unavailable` if somebody has it.
    pub fn claim(&self) -> Result<()> {
        self.claim_for(Arc::default())
    }

    /// Gives the store back. Without a claim nothing happens.
    pub fn release(&self) {
        *self.holder.lock() = None;
    }

    /// What keeps the store from an engine now.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn obstacle(&self) -> Option<String> {
        self.holder.lock().as_ref().map(|holder| holder.obstacle())
    }

    /// Takes the store for an engine; `Unavailable` if somebody has it.
    pub(super) fn claim_for(&self, engine: Arc<Holder>) -> Result<()> {
        let mut holder = self.holder.lock();
        match &*holder {
            Some(other) => Err(Error::unavailable(other.obstacle())),
            None => {
                *holder = Some(engine);
                Ok(())
            }
        }
    }
}
