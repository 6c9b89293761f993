//! What the algorithms share: the rules that they apply, and the form of their answer.

use ruma_common::room_version_rules::RoomVersionRules;

use super::{
    auth, content,
    event::{AuthEvent, AuthState},
};
use crate::{
    error::Result,
    ids::{EventNid, StateTuple},
};

/// What resolution found: keys and their events, sorted by key.
pub type Resolved = Vec<(StateTuple, Option<EventNid>)>;

/// The authorisation rules of a room, and the fact that they take from outside of its state.
pub(super) struct Rules<'a> {
    pub(super) version: &'a RoomVersionRules,
    pub(super) create: EventNid,
}

impl Rules<'_> {
    /// Tells whether `event` passes the authorisation rules in `state`.
    pub(super) fn allow(&self, event: &AuthEvent, state: &dyn AuthState) -> Result<bool> {
        Ok(auth::check(self.version, event, state)?.is_ok())
    }

    /// The create event, if a look-up asks for it and the room version implies it.
    pub(super) fn implied_create(&self, event_type: &str, state_key: &str) -> Option<EventNid> {
        let implied = self.version.authorization.room_create_event_id_as_room_id;
        (implied && (event_type, state_key) == (content::types::CREATE, "")).then_some(self.create)
    }
}
