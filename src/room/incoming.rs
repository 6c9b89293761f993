//! What authorisation reads of an event that is not stored yet.

use std::sync::Arc;

use super::{
    facts::AuthEventsState,
    references::References,
    writer::{Draft, RoomWriter},
};
use crate::{
    encoding::{
        event_row::{Name, Refusal, Verdict},
        pdu::Pdu,
    },
    error::Result,
    ids::{EventNid, EventTypeNid, SnapshotNid, StateKeyNid, StateTuple},
    resolution::{
        AuthEvent, AuthState, auth,
        content::Content,
        reason::{Reason, Rule},
    },
};

impl RoomWriter {
    /// An event as the rules see it. A state event's type and key get their numbers.
    pub(super) fn incoming(&self, pdu: &Pdu, references: &References, draft: &mut Draft) -> Result<AuthEvent> {
        let store = &**self.engine.store();
        let tuple = match pdu.state_key() {
            Some(state_key) => {
                let Draft { batch, used, .. } = draft;
                Some(self.engine.interner.intern(store, pdu.event_type(), state_key, batch, used)?)
            }
            None => None,
        };
        Ok(AuthEvent {
            event_id: pdu.event_id().into(),
            event_type: pdu.event_type().into(),
            state_key: pdu.state_key().map(Into::into),
            tuple,
            sender: pdu.sender().into(),
            origin_server_ts: pdu.origin_server_ts(),
            depth: pdu.depth(),
            rejected: false,
            prev_events: self.facts().prev_events(&references.prev_events),
            auth_events: references.auth_events.iter().map(|(nid, _)| *nid).collect(),
            content: Content::parse(&self.room.rules, pdu.event_type(), pdu.content(), pdu.redacts()),
        })
    }

    /// An event's type and sender as its row has them: by number, if they have one.
    pub(super) fn row_names(
        &self,
        pdu: &Pdu,
        tuple: Option<StateTuple>,
        draft: &mut Draft,
    ) -> Result<(Name<EventTypeNid>, Name<StateKeyNid>)> {
        fn name<N>(number: Option<N>, text: &str) -> Name<N> {
            number.map_or_else(|| Name::Text(text.into()), Name::Number)
        }
        let (store, interner) = (&**self.engine.store(), &self.engine.interner);
        let Draft { batch, used, .. } = draft;
        let event_type = match tuple {
            Some(tuple) => Some(tuple.event_type),
            None => interner.known_type(store, pdu.event_type(), batch, used)?,
        };
        let sender = interner.known_state_key(store, pdu.sender(), batch, used)?;
        Ok((name(event_type, pdu.event_type()), name(sender, pdu.sender())))
    }

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
                let first = self.engine.rows().event_identity(&self.room, create)?;
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
        let create = self.head.create.filter(|_| implied).map(|create| self.facts().event(create)).transpose()?;
        if create.as_ref().is_some_and(|create| create.rejected) {
            return Ok(Some(Reason::new(Rule::CreateNotAccepted, "")));
        }
        self.check(event, &AuthEventsState { events: &events, implied_create: create })
    }

    /// The check by a state of the room, with changes to it.
    pub(super) fn check_by_state(
        &self,
        event: &AuthEvent,
        snapshot: SnapshotNid,
        changes: &[(StateTuple, Option<EventNid>)],
    ) -> Result<Option<Reason>> {
        self.check(event, &self.view(snapshot, changes))
    }

    fn check(&self, event: &AuthEvent, state: &dyn AuthState) -> Result<Option<Reason>> {
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
