//! What authorisation and resolution read of an event, and what they ask of a room.

use std::sync::Arc;

use super::content::Content;
use crate::{
    error::Result,
    ids::{EventNid, StateTuple},
};

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
    /// What the rules ask about its prev events.
    pub prev_events: PrevEvents,
    /// Its auth events, in the order of the PDU.
    pub auth_events: Box<[EventNid]>,
    /// Its content, as far as the rules read it.
    pub content: Content,
}

/// What the rules ask about an event's prev events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrevEvents {
    /// There are none.
    None,
    /// There is one, and it is an `m.room.create` event.
    OnlyCreate,
    /// Anything else.
    Other,
}

impl AuthEvent {
    /// Tells whether it is the state event at (`event_type`, `state_key`).
    pub fn is_at(&self, event_type: &str, state_key: &str) -> bool {
        &*self.event_type == event_type && self.state_key.as_deref() == Some(state_key)
    }

    /// About how much memory it takes, in bytes, itself included.
    pub fn approx_bytes(&self) -> usize {
        let state_key = self.state_key.as_deref().map_or(0, str::len);
        let strings = self.event_id.len() + self.event_type.len() + state_key + self.sender.len();
        let beyond = strings + size_of_val(&*self.auth_events);
        size_of::<Self>() - size_of::<Content>() + self.content.approx_bytes() + beyond
    }
}

/// The state that an event is checked against.
pub trait AuthState {
    /// The event that this state has at (`event_type`, `state_key`).
    ///
    /// From room version 12 on no event names the create event among its auth events, for the room ID implies it. So
    /// the state that an event's auth events form must answer for `m.room.create` with the room's create event too.
    fn get(&self, event_type: &str, state_key: &str) -> Result<Option<Arc<AuthEvent>>>;
}

/// What resolution asks of the room whose states it resolves. An answer never changes while a resolution runs.
pub trait ResolutionStore {
    /// Loads an event of the room.
    fn event(&self, nid: EventNid) -> Result<Arc<AuthEvent>>;

    /// The state events that name `nid` among their auth events, newest first: the first `limit` of those numbered
    /// `up_to` or less.
    ///
    /// Events that were rejected when they arrived may be left out, since no accepted event names them. One that was
    /// accepted as an outlier and rejected in its place counts.
    fn auth_children(&self, nid: EventNid, up_to: EventNid, limit: usize) -> Result<Vec<EventNid>>;

    /// A number that no event of the states exceeds. The room's newest event will do; for states of the past a lower
    /// one spares the search what came after them.
    fn newest(&self) -> EventNid;

    /// The event at `tuple` that every set has there; `None` where the sets differ or have none.
    fn unconflicted(&self, tuple: StateTuple) -> Result<Option<EventNid>>;

    /// The numeric form of a state key, if it occurs in any state.
    fn tuple(&self, event_type: &str, state_key: &str) -> Result<Option<StateTuple>>;
}
