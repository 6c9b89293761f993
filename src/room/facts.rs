//! What is read of a room, by its writer and by authorisation and resolution.

use std::sync::Arc;

use ruma_common::OwnedEventId;
use rustc_hash::FxHashSet;

use super::{engine::Engine, outcome::parse_id};
use crate::{
    encoding::{
        body::Essence, event_row::EventRow, fingerprint::Fingerprint, head::RoomHead, redaction::redact_content,
    },
    error::Result,
    ids::{EventNid, SnapshotNid, StateTuple},
    resolution::{AuthEvent, AuthState, PrevEvents, ResolutionStore, content::Content},
    state::{fingerprint::EntryNames, log::WriterStates, near::get_near},
    tables::{bodies::Bodies, event_ids::EventIdentity, rooms::Room},
};

/// The events of a room, as its writer sees them.
#[derive(Clone, Copy)]
pub struct RoomFacts<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The room.
    pub room: &'a Room,
    /// The room's head.
    pub head: &'a RoomHead,
    /// The event at hand, which is not stored yet.
    pub pending: Option<&'a (EventNid, Arc<AuthEvent>)>,
}

impl RoomFacts<'_> {
    /// What authorisation reads of an event.
    pub fn event(&self, nid: EventNid) -> Result<Arc<AuthEvent>> {
        if let Some((_, event)) = self.pending.filter(|(pending, _)| *pending == nid) {
            return Ok(event.clone());
        }
        if let Some(event) = self.engine.events.get(&(self.room.nid, nid)) {
            return Ok(event);
        }
        let rows = self.engine.rows();
        let row = rows.event_row(self.room.nid, nid)?;
        let event = Arc::new(self.parse(nid, &row, rows.event_identity(self.room, nid)?)?);
        self.engine.events.insert((self.room.nid, nid), event.clone());
        Ok(event)
    }

    fn parse(&self, nid: EventNid, row: &EventRow, identity: EventIdentity) -> Result<AuthEvent> {
        let names = self.bodies().names(row)?;
        let content = if Content::is_read(&names.event_type) {
            let Essence { mut content, mut redacts } = self.bodies().essence(nid, row, &identity.event_id, &names)?;
            // A full copy may have replaced the redacted body since. What decides is the content as it was at acceptance.
            if row.redacted_at_acceptance {
                redact_content(&mut content, &names.event_type, &self.room.rules.redaction);
                redacts = None;
            }
            Content::parse(&self.room.rules, &names.event_type, &content, redacts.as_deref())
        } else {
            Content::Other
        };
        Ok(AuthEvent {
            event_id: identity.event_id,
            event_type: (*names.event_type).into(),
            state_key: names.state_key.as_deref().map(Into::into),
            tuple: row.tuple,
            sender: (*names.sender).into(),
            origin_server_ts: row.origin_server_ts,
            depth: row.depth,
            rejected: row.verdict.is_rejected(),
            prev_events: self.prev_events(&row.prev_events),
            auth_events: row.auth_events.to_vec().into(),
            content,
        })
    }

    /// The event at a key of the current state, as stored. Only the room's writer asks, and it notes what it changes.
    fn in_current_state(&self, tuple: StateTuple) -> Result<Option<EventNid>> {
        let key = (self.room.nid, tuple);
        if let Some(event) = self.engine.current.get(&key) {
            return Ok(event);
        }
        let event = self.engine.rows().current_entry(self.room.nid, tuple)?.map(|entry| entry.event);
        self.engine.current.insert(key, event);
        Ok(event)
    }

    /// The ID of an event.
    pub(super) fn event_id(&self, nid: EventNid) -> Result<OwnedEventId> {
        parse_id(&self.engine.rows().event_identity(self.room, nid)?.event_id)
    }

    /// The bodies of the room's events.
    pub fn bodies(&self) -> Bodies<'_> {
        Bodies::new(self.engine.rows(), self.room, &self.engine.interner)
    }

    /// What the rules ask about prev events.
    pub fn prev_events(&self, prev_events: &[Option<EventNid>]) -> PrevEvents {
        match prev_events {
            [] => PrevEvents::None,
            [only] if only.is_some() && *only == self.head.create => PrevEvents::OnlyCreate,
            _ => PrevEvents::Other,
        }
    }
}

impl EntryNames for RoomFacts<'_> {
    fn entry(&self, tuple: StateTuple, event: EventNid) -> Result<Fingerprint> {
        let (event_type, state_key) = self.engine.interner.names(&**self.engine.store(), tuple)?;
        let pending = self.pending.filter(|(pending, _)| *pending == event).map(|(_, event)| event.clone());
        let cached = pending.or_else(|| self.engine.events.get(&(self.room.nid, event)));
        match cached {
            Some(event) => Ok(Fingerprint::of_entry(&event_type, &state_key, &event.event_id)),
            None => {
                let identity = self.engine.rows().event_identity(self.room, event)?;
                Ok(Fingerprint::of_entry(&event_type, &state_key, &identity.event_id))
            }
        }
    }
}

/// A state of the room: a snapshot, and changes to it that are not stored.
pub struct StateView<'a> {
    /// The room's events.
    pub facts: RoomFacts<'a>,
    /// The room's snapshots.
    pub states: WriterStates<'a>,
    /// The current state, as stored.
    pub current: SnapshotNid,
    /// The snapshot.
    pub snapshot: SnapshotNid,
    /// The changes, ascending.
    pub changes: &'a [(StateTuple, Option<EventNid>)],
}

impl StateView<'_> {
    /// The events at keys, in their order.
    pub fn get_many(&self, tuples: &[StateTuple]) -> Result<Vec<Option<EventNid>>> {
        let in_current = |tuple| self.facts.in_current_state(tuple);
        let mut events = get_near(&self.states, (self.current, &in_current), self.snapshot, tuples)?;
        for (tuple, event) in tuples.iter().zip(&mut events) {
            if let Ok(place) = self.changes.binary_search_by_key(tuple, |change| change.0) {
                *event = self.changes.get(place).and_then(|change| change.1);
            }
        }
        Ok(events)
    }

    /// The event at a key.
    pub fn nid(&self, tuple: StateTuple) -> Result<Option<EventNid>> {
        Ok(self.get_many(&[tuple])?.into_iter().next().flatten())
    }
}

impl AuthState for StateView<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Result<Option<Arc<AuthEvent>>> {
        let engine = self.facts.engine;
        let Some(tuple) = engine.interner.find(&**engine.store(), event_type, state_key)? else { return Ok(None) };
        self.nid(tuple)?.map(|nid| self.facts.event(nid)).transpose()
    }
}

/// The state that an event's own auth events make.
pub struct AuthEventsState<'a> {
    /// The auth events.
    pub events: &'a [Arc<AuthEvent>],
    /// The create event, in room versions in which no event names it.
    pub implied_create: Option<Arc<AuthEvent>>,
}

impl AuthState for AuthEventsState<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Result<Option<Arc<AuthEvent>>> {
        let at =
            |event: &&Arc<AuthEvent>| &*event.event_type == event_type && event.state_key.as_deref() == Some(state_key);
        Ok(self.events.iter().chain(&self.implied_create).find(at).cloned())
    }
}

/// States that meet, as resolution asks about them.
pub struct Meeting<'a> {
    /// One of the states.
    pub state: StateView<'a>,
    /// The keys at which they differ.
    pub conflicted: FxHashSet<StateTuple>,
    /// The room's newest event.
    pub newest: EventNid,
}

impl ResolutionStore for Meeting<'_> {
    fn event(&self, nid: EventNid) -> Result<Arc<AuthEvent>> {
        self.state.facts.event(nid)
    }

    fn auth_children(&self, nid: EventNid, up_to: EventNid, limit: usize) -> Result<Vec<EventNid>> {
        let facts = &self.state.facts;
        facts.engine.rows().auth_children(facts.room.nid, nid, up_to, limit)
    }

    fn newest(&self) -> EventNid {
        self.newest
    }

    fn unconflicted(&self, tuple: StateTuple) -> Result<Option<EventNid>> {
        if self.conflicted.contains(&tuple) { Ok(None) } else { self.state.nid(tuple) }
    }

    fn tuple(&self, event_type: &str, state_key: &str) -> Result<Option<StateTuple>> {
        let engine = self.state.facts.engine;
        engine.interner.find(&**engine.store(), event_type, state_key)
    }
}
