//! What authorisation and resolution read of an event.

use std::sync::Arc;

use super::content::Content;
use crate::{error::Result, ids::{EventNid, StateTuple}};

/// What authorisation and resolution read of an event; cached by event NID.
#[derive(Debug, Clone)]
pub struct AuthEvent {
    /// The event ID, in full.
    pub event_id: Box<str>,
    /// The event type.
    pub event_type: Box<str>,
    /// The state key, if it is a state event.
    pub state_key: Option<Box<str>>,
    /// The interned (type, state key), if it is a state event.
    pub tuple: Option<StateTuple>,
    /// The sender's user ID.
    pub sender: Box<str>,
    /// When the origin server says it was made, in milliseconds since the Unix epoch.
    pub origin_server_ts: i64,
    /// The depth in the event graph that its sender gave it.
    pub depth: i64,
    /// Whether it was rejected.
    pub rejected: bool,
    /// Its auth events, in the order of the PDU.
    pub auth_events: Box<[EventNid]>,
    /// Its content, as far as the rules read it.
    pub content: Content,
}

/// The state that an event is checked against.
pub trait AuthState {
    /// The event that this state has at (`event_type`, `state_key`).
    fn get(&self, event_type: &str, state_key: &str) -> Result<Option<Arc<AuthEvent>>>;
}

/// What resolution asks of the room whose states it resolves.
pub trait ResolutionStore {
    /// Loads an event of the room.
    fn event(&self, nid: EventNid) -> Result<Arc<AuthEvent>>;

    /// The accepted state events that name `nid` among their auth events, ascending.
    fn auth_children(&self, nid: EventNid) -> Result<Vec<EventNid>>;

    /// The event at `tuple` in the unconflicted state: the one that every set has there; `None` where the sets differ or have none.
    fn unconflicted(&self, tuple: StateTuple) -> Result<Option<EventNid>>;

    /// The numeric form of a state key, if it occurs in any state.
    fn tuple(&self, event_type: &str, state_key: &str) -> Result<Option<StateTuple>>;
}
