//! What authorisation reads of an event that is not stored yet.

use super::{
    references::References,
    writer::{Draft, RoomWriter},
};
use crate::{
    encoding::{event_row::Name, pdu::Pdu},
    error::Result,
    ids::{EventTypeNid, StateKeyNid, StateTuple},
    resolution::{AuthEvent, content::Content},
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
}
