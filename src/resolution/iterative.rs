//! The iterative auth checks, and the state that they build up.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    content::types,
    event::{AuthEvent, AuthState},
    loaded::Loaded,
    rules::Rules,
};
use crate::{
    error::{Error, Result},
    ids::{EventNid, StateTuple},
};

/// A state in the making: what resolution put into it, above the unconflicted state or above nothing.
pub(super) struct PartialState<'a> {
    pub(super) room: &'a Loaded<'a>,
    /// Whether keys that resolution did not set have their unconflicted value.
    pub(super) on_unconflicted: bool,
    pub(super) resolved: BTreeMap<StateTuple, EventNid>,
}

impl PartialState<'_> {
    /// The event at a key, as far as the state is known.
    pub(super) fn get(&self, event_type: &str, state_key: &str) -> Result<Option<EventNid>> {
        let Some(tuple) = self.room.store.tuple(event_type, state_key)? else { return Ok(None) };
        match self.resolved.get(&tuple) {
            Some(&nid) => Ok(Some(nid)),
            None if self.on_unconflicted => self.room.store.unconflicted(tuple),
            None => Ok(None),
        }
    }
}

/// The iterative auth checks of v2: applies `events`, in order, to `state`.
///
/// "If the state event is not allowed by the authorisation rules, then the event is ignored."
pub(super) fn iterative_auth_checks(
    rules: &Rules<'_>,
    state: &mut PartialState<'_>,
    events: &[EventNid],
) -> Result<()> {
    for &nid in events {
        let (event, tuple) = state.room.state_event(nid)?;
        if rules.allow(&event, &StateOrAuthEvents { rules, state, event: &event })? {
            state.resolved.insert(tuple, nid);
        }
    }
    Ok(())
}

/// "If a (event_type, state_key) key that is required for checking the authorisation rules is not present in the
/// state, then the appropriate state event from the event's auth_events is used if the auth event is not rejected."
struct StateOrAuthEvents<'a> {
    rules: &'a Rules<'a>,
    state: &'a PartialState<'a>,
    event: &'a AuthEvent,
}

impl AuthState for StateOrAuthEvents<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Result<Option<Arc<AuthEvent>>> {
        let room = self.state.room;
        if let Some(create) = self.rules.implied_create(event_type, state_key) {
            return room.event(create).map(Some);
        }
        if let Some(nid) = self.state.get(event_type, state_key)? {
            let event = room.event(nid)?;
            if !event.rejected {
                return Ok(Some(event));
            }
        }
        for &nid in &self.event.auth_events {
            let auth_event = room.event(nid)?;
            if auth_event.is_at(event_type, state_key) && !auth_event.rejected {
                return Ok(Some(auth_event));
            }
        }
        if (event_type, state_key) == (types::CREATE, "") {
            return Err(no_create_event(self.event));
        }
        Ok(None)
    }
}

/// The error of an event that is to be checked in a state that has no create event.
pub(super) fn no_create_event(event: &AuthEvent) -> Error {
    Error::invalid(format!("cannot resolve: no create event to check event {} against", event.event_id))
}
