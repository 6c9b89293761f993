//! One engine on a store: how a store remembers that an engine has it, and how the engine gives it back.
//!
//! Two engines on one store would each hand out the numbers of rooms, events and names from their own memory, and overwrite
//! each other's rows. A lock file keeps other processes out; this keeps out a second engine of the same process.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::Store;
use crate::error::{Error, Result};

/// Remembers whether an engine is on a store: what a backend needs for [`Store::claim`] and [`Store::release`].
#[derive(Debug, Default)]
pub struct Claimable {
    is_claimed: AtomicBool,
}

impl Claimable {
    /// Takes the store for the caller; `Unavailable` if somebody has it.
    pub fn claim(&self) -> Result<()> {
        if self.is_claimed.swap(true, Ordering::AcqRel) {
            return Err(Error::unavailable("another engine is open on this store: close it first"));
        }
        Ok(())
    }

    /// Gives the store back. Without a claim nothing happens.
    pub fn release(&self) {
        self.is_claimed.store(false, Ordering::Release);
    }
}

/// A store that its holder has claimed. Dropped, it gives the store back.
pub(crate) struct Claim {
    store: Arc<dyn Store>,
}

impl Claim {
    /// Claims a store; `Unavailable` if another engine has it.
    pub(crate) fn new(store: Arc<dyn Store>) -> Result<Self> {
        store.claim()?;
        Ok(Self { store })
    }
}

impl Deref for Claim {
    type Target = Arc<dyn Store>;

    fn deref(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.store.release();
    }
}
