//! The room while one resolution runs.

use std::{cell::RefCell, sync::Arc};

use rustc_hash::FxHashMap;

use super::event::{AuthEvent, ResolutionStore};
use crate::{
    error::{Error, ErrorKind, Result},
    ids::{EventNid, StateTuple},
};

/// A room's store, with each event that it gave kept until the resolution ends.
pub(super) struct Loaded<'a> {
    pub(super) store: &'a dyn ResolutionStore,
    events: RefCell<FxHashMap<EventNid, Arc<AuthEvent>>>,
}

impl<'a> Loaded<'a> {
    pub(super) fn new(store: &'a dyn ResolutionStore) -> Self {
        Self { store, events: RefCell::default() }
    }

    /// Loads an event, from the store the first time.
    pub(super) fn event(&self, nid: EventNid) -> Result<Arc<AuthEvent>> {
        if let Some(event) = self.events.borrow().get(&nid) {
            return Ok(Arc::clone(event));
        }
        let event = self.store.event(nid)?;
        self.events.borrow_mut().insert(nid, Arc::clone(&event));
        Ok(event)
    }

    /// Loads an event that must be a state event, and the key that it stands at.
    pub(super) fn state_event(&self, nid: EventNid) -> Result<(Arc<AuthEvent>, StateTuple)> {
        let event = self.event(nid)?;
        match event.tuple {
            Some(tuple) => Ok((event, tuple)),
            None => Err(Error::new(
                ErrorKind::Corrupt,
                format!("event {} stands in a state or among auth events, and is no state event", event.event_id),
            )),
        }
    }

    /// Tells whether the unconflicted state has this event.
    pub(super) fn is_unconflicted(&self, nid: EventNid) -> Result<bool> {
        let (_, tuple) = self.state_event(nid)?;
        Ok(self.store.unconflicted(tuple)? == Some(nid))
    }

    /// The event at (`event_type`, "") among an event's auth events.
    pub(super) fn auth_event_at(
        &self,
        event: &AuthEvent,
        event_type: &str,
    ) -> Result<Option<(EventNid, Arc<AuthEvent>)>> {
        for &nid in &event.auth_events {
            let auth_event = self.event(nid)?;
            if auth_event.is_at(event_type, "") {
                return Ok(Some((nid, auth_event)));
            }
        }
        Ok(None)
    }
}
