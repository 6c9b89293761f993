//! Prerequisites: the events that an event refers to.

use std::{collections::BTreeSet, sync::Arc};

use ruma_common::{OwnedEventId, room_version_rules::EventIdFormatVersion};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::{
    facts::RoomFacts,
    outcome::{Input, Kind, parse_id},
};
use crate::{
    encoding::{event_key::EventKey, event_row::EventRow, pdu::Pdu},
    error::{Error, Result},
    ids::{EventNid, SnapshotNid, StateTuple},
    resolution::{
        AuthEvent,
        reason::{Reason, Rule},
    },
    tables::parked::{Role, Want},
};

/// What an event refers to, as far as it is here.
#[derive(Default)]
pub(super) struct References {
    /// Prev events in the order of the PDU; `None` for one that is not stored.
    pub(super) prev_events: SmallVec<[Option<EventNid>; 2]>,
    /// Their rows.
    pub(super) prev_rows: SmallVec<[Option<EventRow>; 2]>,
    /// Events that were placed before this one though they name it among their prev events.
    pub(super) children: Vec<EventNid>,
    /// Auth events, in the order of the PDU.
    pub(super) auth_events: Vec<(EventNid, Arc<AuthEvent>)>,
    /// The supplied state, without entries that are rejected here.
    pub(super) supplied: Option<FxHashMap<StateTuple, EventNid>>,
    /// A reference to an event of another room.
    pub(super) foreign: Option<Reason>,
    /// What is not here and keeps the event from being decided, in the order in which the event names it.
    pub(super) missing: Vec<Missing>,
}

/// An event that keeps another from being decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) event_id: OwnedEventId,
    pub(super) role: Role,
}

impl References {
    /// The distinct states after the prev events; `None` if one of them has no state here.
    pub(super) fn states_after_prev(&self) -> Option<SmallVec<[SnapshotNid; 4]>> {
        let mut states = SmallVec::new();
        for prev in &self.prev_rows {
            states.push(prev.as_ref().filter(|prev| prev.in_graph())?.states?.after);
        }
        states.sort_unstable();
        states.dedup();
        Some(states)
    }

    /// Notes a reference to an event of another room. In a room that has not begun nothing can be rejected yet: the event is
    /// kept until it has.
    fn note_foreign(&mut self, rule: Rule, role: Role, event_id: &str, has_begun: bool) -> Result<()> {
        if has_begun {
            self.foreign.get_or_insert(Reason::new(rule, event_id));
        } else {
            self.note_missing(role, [parse_id(event_id)?]);
        }
        Ok(())
    }

    fn note_missing(&mut self, role: Role, event_ids: impl IntoIterator<Item = OwnedEventId>) {
        self.missing.extend(event_ids.into_iter().map(|event_id| Missing { event_id, role }));
    }
}

impl RoomFacts<'_> {
    /// Finds an event of this room.
    pub(super) fn find(&self, key: &EventKey) -> Result<Option<EventNid>> {
        let cache_key = (self.room.nid, *key);
        if let Some(nid) = self.engine.keys.get(&cache_key) {
            return Ok(Some(nid));
        }
        let found = self.engine.rows().find_event(self.room, key)?;
        if let Some(nid) = found {
            self.engine.keys.insert(cache_key, nid);
        }
        Ok(found)
    }

    /// Tells whether an event has its body: garbage collection can have dropped it.
    pub(super) fn has_body(&self, nid: EventNid) -> Result<bool> {
        if self.head.collected.bodies == 0 || self.engine.events.contains_key(&(self.room.nid, nid)) {
            return Ok(true);
        }
        Ok(self.engine.rows().event_row(self.room.nid, nid)?.has_body())
    }

    /// An event without a body and those of its auth chain that have none either, in the order in which they can be had
    /// back; without those that were `told` before, and their chains.
    fn without_bodies(&self, nid: EventNid, told: &mut FxHashSet<EventNid>) -> Result<Vec<OwnedEventId>> {
        let rows = self.engine.rows();
        let mut lacking = BTreeSet::new();
        let mut ahead = vec![nid];
        while let Some(nid) = ahead.pop() {
            let row = rows.event_row(self.room.nid, nid)?;
            if !row.has_body() && told.insert(nid) {
                lacking.insert(nid);
                ahead.extend(row.auth_events);
            }
        }
        lacking.into_iter().map(|nid| parse_id(&rows.event_identity(self.room, nid)?.event_id)).collect()
    }

    /// Looks up everything that an event refers to.
    pub(super) fn references(&self, pdu: &Pdu, input: &Input) -> Result<References> {
        let mut references = References::default();
        self.auth_references(pdu, &mut references)?;
        if input.kind != Kind::Outlier {
            references.supplied = self.supplied_state(input, &mut references)?;
        }
        self.prev_references(pdu, input, &mut references)?;
        references.children = self.engine.rows().prev_children(self.room.nid, &pdu.key())?;
        Ok(references)
    }

    fn auth_references(&self, pdu: &Pdu, references: &mut References) -> Result<()> {
        let mut told = FxHashSet::default();
        for (event_id, key) in pdu.auth_events().iter().zip(pdu.auth_keys()) {
            match self.find(key)? {
                Some(nid) if !self.has_body(nid)? => {
                    for lacking in self.without_bodies(nid, &mut told)? {
                        let role = if *lacking.as_str() == **event_id { Role::Auth } else { Role::Chain };
                        references.note_missing(role, [lacking]);
                    }
                }
                Some(nid) => references.auth_events.push((nid, self.event(nid)?)),
                None if self.is_foreign(event_id)? => {
                    references.note_foreign(
                        Rule::ForeignAuthEvent,
                        Role::Auth,
                        event_id,
                        self.head.create.is_some(),
                    )?;
                }
                None => references.note_missing(Role::Auth, [parse_id(event_id)?]),
            }
        }
        // From room version 12 on the room ID names the create event, which must be stored before anything is decided.
        if !pdu.is_create()
            && let Some(create) = self.awaited_create()?
        {
            if self.is_foreign(create.as_str())? {
                return Err(Error::invalid(format!(
                    "the room can never begin: {create}, which its ID names, is an event of another room"
                )));
            }
            references.note_missing(Role::Auth, [create]);
        }
        Ok(())
    }

    /// The create event that the room's ID names, as from room version 12 on, while the room has not begun.
    fn awaited_create(&self) -> Result<Option<OwnedEventId>> {
        if self.head.create.is_some() || !self.room.rules.authorization.room_create_event_id_as_room_id {
            return Ok(None);
        }
        parse_id(&self.room.id.replacen('!', "$", 1)).map(Some)
    }

    /// Tells whether the room can never begin, since the event that its ID names is one of another room.
    pub(super) fn can_never_begin(&self) -> Result<bool> {
        match self.awaited_create()? {
            Some(create) => self.is_foreign(create.as_str()),
            None => Ok(false),
        }
    }

    /// A prev event is looked for in other rooms only where the event cannot be decided without it. History, outliers and
    /// events that come with a state are decided though their prev events are nowhere: what they name must mean the same
    /// whether another room has it yet or not.
    fn prev_references(&self, pdu: &Pdu, input: &Input, references: &mut References) -> Result<()> {
        let needed = input.kind == Kind::New && input.state.is_none();
        for (event_id, key) in pdu.prev_events().iter().zip(pdu.prev_keys()) {
            let nid = self.find(key)?;
            let row = nid.map(|nid| self.engine.rows().event_row(self.room.nid, nid)).transpose()?;
            let has_state = row.as_ref().is_some_and(|row| row.in_graph() && row.states.is_some());
            if needed && nid.is_none() && self.is_foreign(event_id)? {
                references.note_foreign(Rule::ForeignPrevEvent, Role::Prev, event_id, self.head.create.is_some())?;
            } else if needed && !has_state {
                references.note_missing(Role::Prev, [parse_id(event_id)?]);
            }
            references.prev_events.push(nid);
            references.prev_rows.push(row);
        }
        Ok(())
    }

    fn supplied_state(
        &self,
        input: &Input,
        references: &mut References,
    ) -> Result<Option<FxHashMap<StateTuple, EventNid>>> {
        let Some(event_ids) = &input.state else { return Ok(None) };
        let (mut state, mut told) = (FxHashMap::default(), FxHashSet::default());
        for event_id in event_ids {
            let format = self.room.rules.event_id_format;
            let key = EventKey::of(event_id.as_str(), format).ok_or_else(|| {
                Error::invalid(format!(
                    "the supplied state has `{event_id}`, which is no event ID of this room version"
                ))
            })?;
            let Some(nid) = self.find(&key)? else {
                if self.is_foreign(event_id.as_str())? {
                    return Err(Error::invalid(format!("the supplied state has {event_id}, an event of another room")));
                }
                references.note_missing(Role::State, [event_id.clone()]);
                continue;
            };
            let row = self.engine.rows().event_row(self.room.nid, nid)?;
            if !row.has_body() {
                references.note_missing(Role::State, self.without_bodies(nid, &mut told)?);
                continue;
            }
            let tuple = row
                .tuple
                .ok_or_else(|| Error::invalid(format!("the supplied state has {event_id}, which is no state event")))?;
            if row.verdict.is_rejected() {
                continue;
            }
            match state.insert(tuple, nid) {
                Some(other) if other != nid => {
                    let (event_type, state_key) = self.engine.interner.names(&**self.engine.store(), tuple)?;
                    return Err(Error::invalid(format!(
                        "the supplied state has two events for ({event_type}, {state_key:?}), one is {event_id}"
                    )));
                }
                _ => {}
            }
        }
        Ok(Some(state))
    }

    /// Tells whether an event that is not in this room is known to be of another one. In room versions 1 and 2 it never is:
    /// their senders choose event IDs, so an event of that ID in another room says nothing about this one.
    pub(super) fn is_foreign(&self, event_id: &str) -> Result<bool> {
        if self.room.rules.event_id_format == EventIdFormatVersion::V1 {
            return Ok(false);
        }
        let rooms = self.engine.rows().rooms_of_event(event_id)?;
        Ok(rooms.iter().any(|(room, _)| room.nid != self.room.nid))
    }

    /// Tells whether an input is refused for naming an event, since that is of another room. Until this room has begun
    /// nothing is refused in it.
    pub(super) fn is_known_elsewhere(&self, key: &EventKey, event_id: &str) -> Result<bool> {
        Ok(self.head.create.is_some() && self.find(key)?.is_none() && self.is_foreign(event_id)?)
    }

    /// The key of an event that a parked input wants.
    pub(super) fn key_of(&self, want: &Want) -> Result<EventKey> {
        let key = EventKey::of(&want.event_id, self.room.rules.event_id_format);
        key.ok_or_else(|| Error::internal("a parked input waits for no event ID"))
    }

    /// Tells whether an event is here as it is wanted.
    pub(super) fn is_here(&self, wanted: &EventKey, role: Role) -> Result<bool> {
        let Some(nid) = self.find(wanted)? else { return Ok(false) };
        match role {
            Role::Auth | Role::State | Role::Chain => self.has_body(nid),
            Role::Prev => Ok(self.engine.rows().event_row(self.room.nid, nid)?.states.is_some()),
        }
    }
}
