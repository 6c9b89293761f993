//! The states of the store that readers see.
//!
//! A reader must not see what a power loss could take back: a host would have told others of it by then. So readers get the
//! newest *point*, a state of the store that was durable as a whole when it was published.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::kv::{Read, Store, claim::Claim};

/// One state of the store that readers see.
pub struct Point {
    read: Arc<dyn Read>,
    /// The place in the order in which points were taken.
    number: u64,
    /// The store is not given back while somebody reads of it; none for points that were taken after the engine closed.
    claim: Option<Arc<Claim>>,
}

/// The points of an engine.
pub(super) struct Points {
    published: RwLock<Option<Arc<Point>>>,
    /// How many were taken. Held while one is: the one with the greater number never shows less.
    taken: Mutex<u64>,
}

impl Points {
    pub(super) fn new() -> Self {
        Self { published: RwLock::new(None), taken: Mutex::new(0) }
    }

    /// A point of the store as it is now. It may be published once all that was applied before this call is durable.
    pub(super) fn take(&self, store: &dyn Store, claim: Option<Arc<Claim>>) -> Arc<Point> {
        let mut taken = self.taken.lock();
        *taken = taken.saturating_add(1);
        let point = Point { read: store.snapshot(), number: *taken, claim };
        drop(taken);
        if let Some(claim) = &point.claim {
            claim.holder().view_opened();
        }
        Arc::new(point)
    }

    /// Shows a point to readers from now on, unless they see a later one already.
    pub(super) fn publish(&self, point: Arc<Point>) {
        let replaced = {
            let mut published = self.published.write();
            match &*published {
                Some(shown) if shown.number >= point.number => Some(point),
                _ => published.replace(point),
            }
        };
        // Dropped when nothing is locked: a store may have work with a snapshot that ends.
        drop(replaced);
    }

    pub(super) fn newest(&self) -> Option<Arc<Point>> {
        self.published.read().clone()
    }

    /// Keeps no point any more.
    pub(super) fn close(&self) {
        let published = self.published.write().take();
        drop(published);
    }
}

impl Point {
    /// What was stored at this point.
    pub fn read(&self) -> &dyn Read {
        &*self.read
    }
}

impl std::fmt::Debug for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Point").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        if let Some(claim) = &self.claim {
            claim.holder().view_dropped();
        }
    }
}
