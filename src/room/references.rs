//! Prerequisites: the events that an event refers to.

use std::{collections::BTreeSet, sync::Arc};

use ruma_common::OwnedEventId;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::{
    outcome::{Input, Kind},
    writer::RoomWriter,
};
use crate::{
    encoding::{event_key::EventKey, event_row::EventRow, pdu::Pdu},
    error::{Error, Result},
    ids::{EventNid, SnapshotNid, StateTuple},
    resolution::{
        AuthEvent,
        reason::{Reason, Rule},
    },
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
    /// What is not here and keeps the event from being decided.
    pub(super) missing: Missing,
}

/// The events that keep an event from being decided.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// Prev events without a place in the graph, or without a state.
    pub(super) prev: Vec<OwnedEventId>,
    /// Auth events that are not stored.
    pub(super) auth: Vec<OwnedEventId>,
    /// Events of the supplied state that are not stored.
    pub(super) state: Vec<OwnedEventId>,
}

impl Missing {
    pub(super) fn is_empty(&self) -> bool {
        self.prev.is_empty() && self.auth.is_empty() && self.state.is_empty()
    }
}

impl RoomWriter {
    /// Finds an event of this room.
    pub(super) fn find(&self, key: &EventKey) -> Result<Option<EventNid>> {
        let cache_key = (self.room.nid, *key);
        if let Some(nid) = self.engine.keys.get(&cache_key) {
            return Ok(Some(nid));
        }
        let found = self.engine.rows().find_event(&self.room, key)?;
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
        lacking.into_iter().map(|nid| parse_id(&rows.event_identity(&self.room, nid)?.event_id)).collect()
    }

    /// Looks up everything that an event refers to.
    pub(super) fn references(&self, pdu: &Pdu, input: &Input) -> Result<References> {
        let mut references = References::default();
        self.auth_references(pdu, &mut references)?;
        if input.kind != Kind::Outlier {
            references.supplied = self.supplied_state(input, &mut references.missing)?;
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
                    references.missing.auth.extend(self.without_bodies(nid, &mut told)?);
                }
                Some(nid) => references.auth_events.push((nid, self.facts().event(nid)?)),
                None if self.is_foreign(event_id)? => {
                    references.foreign.get_or_insert(Reason::new(Rule::ForeignAuthEvent, event_id.clone()));
                }
                None => references.missing.auth.push(parse_id(event_id)?),
            }
        }
        // From room version 12 on the room ID names the create event, which must be stored before anything is decided.
        if self.room.rules.authorization.room_create_event_id_as_room_id
            && !pdu.is_create()
            && self.head.create.is_none()
        {
            references.missing.auth.push(parse_id(&pdu.room_id().replacen('!', "$", 1))?);
        }
        Ok(())
    }

    fn prev_references(&self, pdu: &Pdu, input: &Input, references: &mut References) -> Result<()> {
        // Told the whole state before it, an event needs no prev events; history takes what state can be had.
        let needed = input.kind == Kind::New && references.supplied.is_none() && input.state.is_none();
        for (event_id, key) in pdu.prev_events().iter().zip(pdu.prev_keys()) {
            let nid = self.find(key)?;
            let row = nid.map(|nid| self.engine.rows().event_row(self.room.nid, nid)).transpose()?;
            let has_state = row.as_ref().is_some_and(|row| row.in_graph() && row.states.is_some());
            if nid.is_none() && self.is_foreign(event_id)? {
                references.foreign.get_or_insert(Reason::new(Rule::ForeignPrevEvent, event_id.clone()));
            } else if needed && !has_state {
                references.missing.prev.push(parse_id(event_id)?);
            }
            references.prev_events.push(nid);
            references.prev_rows.push(row);
        }
        Ok(())
    }

    fn supplied_state(&self, input: &Input, missing: &mut Missing) -> Result<Option<FxHashMap<StateTuple, EventNid>>> {
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
                missing.state.push(event_id.clone());
                continue;
            };
            let row = self.engine.rows().event_row(self.room.nid, nid)?;
            if !row.has_body() {
                missing.state.extend(self.without_bodies(nid, &mut told)?);
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

    /// Tells whether another room of the store has an event of this ID.
    fn is_foreign(&self, event_id: &str) -> Result<bool> {
        let rooms = self.engine.rows().rooms_of_event(event_id)?;
        Ok(rooms.iter().any(|(room, _)| room.nid != self.room.nid))
    }

    /// The distinct states after the prev events; `None` if one of them has no state here.
    pub(super) fn states_after_prev(references: &References) -> Option<SmallVec<[SnapshotNid; 4]>> {
        let mut states = SmallVec::new();
        for prev in &references.prev_rows {
            states.push(prev.as_ref().filter(|prev| prev.in_graph())?.states?.after);
        }
        states.sort_unstable();
        states.dedup();
        Some(states)
    }
}

/// An event ID that was checked before, as a type of its own.
pub(super) fn parse_id(event_id: &str) -> Result<OwnedEventId> {
    let parsed = OwnedEventId::try_from(event_id);
    parsed.map_err(|error| Error::invalid(format!("`{event_id}` is no event ID")).with_source(error))
}
