//! One engine on a store: how it takes the store, and gives it back.
//!
//! Two engines on one store would each hand out the numbers of rooms, events and names from their own memory, and overwrite
//! each other's rows. A lock file keeps other processes out; this keeps out a second engine of the same process.

use std::{ops::Deref, sync::Arc};

use super::{Store, claimable::Holder};
use crate::error::Result;

/// A store that its holder has claimed. Dropped, it gives the store back.
pub(crate) struct Claim {
    store: Arc<dyn Store>,
    holder: Arc<Holder>,
}

impl Claim {
    /// Claims a store; `Unavailable` if another engine has it.
    pub(crate) fn new(store: Arc<dyn Store>) -> Result<Self> {
        let holder = Arc::<Holder>::default();
        store.claimable().claim_for(holder.clone())?;
        Ok(Self { store, holder })
    }

    /// Who has the store by this claim.
    pub(crate) fn holder(&self) -> &Arc<Holder> {
        &self.holder
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
        self.store.claimable().release();
    }
}
