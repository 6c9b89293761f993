//! The checks of an event that is received, and what is kept of their reasons.

use std::sync::Arc;

use super::{
    facts::{AuthEventsState, RoomFacts},
    references::References,
};
use crate::{
    encoding::{
        event_row::{Refusal, Verdict},
        pdu::Pdu,
    },
    error::Result,
    resolution::{
        AuthEvent, AuthState, auth,
        reason::{Reason, Rule},
    },
};

impl RoomFacts<'_> {
    /// The checks that need no state of the room: what the event refers to, and its own auth events
    /// (specification, "Checks performed on receipt of a PDU", step 4).
    pub(super) fn check_by_auth_events(
        &self,
        pdu: &Pdu,
        event: &AuthEvent,
        references: &References,
    ) -> Result<Option<Reason>> {
        if let Some(reason) = &references.foreign {
            return Ok(Some(reason.clone()));
        }
        if pdu.is_create() {
            if let Some(create) = self.head.create {
                let first = self.engine.rows().event_identity(self.room, create)?;
                if *first.event_id != *pdu.event_id() {
                    return Ok(Some(Reason::new(Rule::SecondCreate, first.event_id)));
                }
            }
            // From room version 12 on the room ID is made of the event; one that names it is malformed.
            let room_id = pdu.object().get_str("room_id");
            return Ok(auth::check_create(&self.room.rules, event, room_id).err());
        }
        if pdu.prev_events().is_empty() {
            return Ok(Some(Reason::new(Rule::NoPrevEvents, "")));
        }
        // "If type is m.room.create: if it has any prev_events, reject", whatever its state key.
        if let Err(reason) = auth::check_create(&self.room.rules, event, None) {
            return Ok(Some(reason));
        }
        // "If there are duplicate entries for a given type and state_key pair, reject": also one event named twice.
        if let Some(event_id) = pdu.repeated_auth_event() {
            return Ok(Some(Reason::new(Rule::DuplicateAuthEvent, event_id)));
        }
        let events: Vec<Arc<AuthEvent>> = references.auth_events.iter().map(|(_, event)| event.clone()).collect();
        if let Err(reason) = auth::check_auth_events(&self.room.rules, event, &events) {
            return Ok(Some(reason));
        }
        let implied = self.room.rules.authorization.room_create_event_id_as_room_id;
        let create = self.head.create.filter(|_| implied).map(|create| self.event(create)).transpose()?;
        if create.as_ref().is_some_and(|create| create.rejected) {
            return Ok(Some(Reason::new(Rule::CreateNotAccepted, "")));
        }
        self.check(event, &AuthEventsState { events: &events, implied_create: create })
    }

    /// The check by a state (step 5 by the state before the event, step 6 by the current one).
    pub(super) fn check(&self, event: &AuthEvent, state: &dyn AuthState) -> Result<Option<Reason>> {
        Ok(auth::check(&self.room.rules, event, state)?.err())
    }
}

/// A reason as it is stored.
pub(super) fn refusal(reason: &Reason) -> Refusal {
    Refusal { code: reason.code(), detail: reason.detail().into() }
}

/// The verdict of a reason to reject, if there is one.
pub(super) fn rejected(reason: Option<Reason>) -> Verdict {
    reason.map_or(Verdict::Accepted, |reason| Verdict::Rejected(refusal(&reason)))
}

/// What a stored reason says.
pub fn reason_text(refusal: &Refusal) -> String {
    match Rule::from_code(refusal.code) {
        Some(rule) => Reason::new(rule, refusal.detail.clone()).to_string(),
        None => format!("rule {} ({})", refusal.code, refusal.detail),
    }
}
