//! The states of the store that readers see.
//!
//! A reader must not see what a power loss could take back: a host would have told others of it by then. So readers get the
//! newest *point*, a state of the store that was durable as a whole when it was published.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::kv::{Read, Store, claim::Claim};

/// What readers of an engine see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// What is durable.
    Durable,
    /// Everything that was applied, though a power loss may take it back.
    Newest,
}

/// One state of the store that readers see.
#[derive(Clone)]
pub struct Point {
    read: Arc<dyn Read>,
    /// The place in the order in which points were taken.
    number: u64,
}

/// The points of an engine.
#[derive(Default)]
pub(super) struct Points {
    published: RwLock<Option<Point>>,
    /// How many were taken. Points are numbered under this lock, so a later number is a later state.
    taken: Mutex<u64>,
}

impl Points {
    /// A point of the store as it is now. It may be published once all that was applied before this call is durable.
    pub(super) fn take(&self, store: &dyn Store) -> Point {
        let mut taken = self.taken.lock();
        *taken = taken.saturating_add(1);
        Point { read: store.snapshot(), number: *taken }
    }

    /// Shows a point to readers from now on, unless they see a later one already.
    pub(super) fn publish(&self, point: Point) {
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

    /// What was published last.
    pub(super) fn newest(&self) -> Option<Point> {
        self.published.read().clone()
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

/// Keeps a store for whoever reads of it: until the last of these is dropped, no other engine gets the store.
pub struct Kept {
    /// Always there until this is dropped.
    claim: Option<Arc<Claim>>,
}

impl Kept {
    pub(super) fn new(claim: Arc<Claim>) -> Self {
        claim.holder().view_opened();
        Self { claim: Some(claim) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else { return };
        let holder = claim.holder().clone();
        // First the claim: a store that is still taken has somebody who is counted.
        drop(claim);
        holder.view_dropped();
    }
}
