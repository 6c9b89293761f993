//! Reading a room's events in the order in which they were processed.

use std::collections::BTreeMap;

use ruma_common::OwnedEventId;

use super::{Event, Room, StateEntry};
use crate::{
    encoding::{
        bytes::Malformed,
        event_row::{EventRow, Remains},
        fingerprint::Fingerprint,
        json::Json,
        keys,
        redaction::redact,
    },
    error::{Error, Result},
    ids::{EventNid, SnapshotNid},
    room::outcome::Kind,
    state::{
        difference::differences,
        fingerprint::{StateSummary, changed, summary},
    },
    tables::{POSITIONS, graph::Happening, rows::corrupt},
};

/// An event of the graph with the states around it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The event.
    pub event: Event,
    /// The fingerprint of the state before it; none for history whose state could not be had.
    pub state_before: Option<Fingerprint>,
    /// The fingerprint of the state after it.
    pub state_after: Option<Fingerprint>,
    /// The entries that only the state after it has, by type and then key.
    pub added: Vec<StateEntry>,
    /// The entries that only the state before it has, by type and then key.
    pub removed: Vec<StateEntry>,
}

/// An event as it was stored or placed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Record {
    /// The event.
    pub event: Event,
    /// What happened: it was stored as an outlier, or placed as old or new.
    pub kind: Kind,
    /// The supplied state before it, if it was placed with one.
    pub state: Option<Vec<OwnedEventId>>,
}

/// Summaries that are kept while a history is read.
const SUMMARIES_MAX: usize = 65_536;

impl Room {
    /// Visits every event of the graph in the order of processing; `visit` returns `false` to end.
    ///
    /// # Errors
    ///
    /// Those of `visit`; `Corrupt` or `Unavailable`, as for every read.
    pub fn history(&self, visit: &mut dyn FnMut(HistoryEntry) -> Result<bool>) -> Result<()> {
        let mut summaries = BTreeMap::new();
        self.happenings(false, &mut |_, event| visit(self.history_entry(event, &mut summaries)?))
    }

    /// Visits what was stored or placed, with or without the outliers that were stored, in order.
    ///
    /// What a position says is held against the events: those that are named first are numbered in their order, and the row
    /// of each says where it has its place.
    fn happenings(&self, with_outliers: bool, visit: &mut dyn FnMut(Happening, Event) -> Result<bool>) -> Result<()> {
        let rows = self.view.rows();
        let mut newest = 0u32;
        rows.positions(self.row.nid, &mut |at, happening| {
            let wrong = |what| corrupt(POSITIONS, &keys::position(self.row.nid, at), Malformed { offset: 0, what });
            let is_outlier = happening.kind == Kind::Outlier;
            let number = happening.event.number();
            let next = newest.saturating_add(1);
            if number > next || (is_outlier && number < next) {
                return Err(wrong("an event that does not come next"));
            }
            newest = newest.max(number);
            let event = if is_outlier && !with_outliers { None } else { Some(self.load_event(happening.event)?) };
            let (kind, place) = match &event {
                Some(event) => (event.kind, event.position.number()),
                None => {
                    let row = rows.event_row(self.row.nid, happening.event)?;
                    (row.kind, row.position)
                }
            };
            let got_its_place_later = is_outlier && kind != Kind::Outlier && place > at;
            if !got_its_place_later && (kind, place) != (happening.kind, at) {
                return Err(wrong("not what the row of the event says"));
            }
            event.map_or(Ok(true), |event| visit(happening, event))
        })
    }

    fn history_entry(&self, event: Event, summaries: &mut BTreeMap<SnapshotNid, StateSummary>) -> Result<HistoryEntry> {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let (Some(before), Some(after)) = (event.state_before, event.state_after) else {
            return Ok(HistoryEntry { event, state_before: None, state_after: None, added, removed });
        };
        let before = before.snapshot;
        let after = after.snapshot;
        let states = self.states();
        let known = match summaries.get(&before) {
            Some(known) => *known,
            None => summary(&states, self, before)?,
        };
        summaries.insert(before, known);
        let mut known_after = known;
        if after != before {
            let mut changes = Vec::new();
            for difference in differences(&states, &[before, after])? {
                if let [old, new] = *difference.events.as_slice() {
                    changes.push((difference.tuple, old, new));
                    let (event_type, state_key) = self.names(difference.tuple)?;
                    for (nid, entries) in [(old, &mut removed), (new, &mut added)] {
                        let Some(nid) = nid else { continue };
                        let (event_type, state_key) = (event_type.clone(), state_key.clone());
                        entries.push(StateEntry { event_type, state_key, event_id: self.event_id(nid)? });
                    }
                }
            }
            known_after = changed(self, known, changes)?;
            summaries.insert(after, known_after);
            while summaries.len() > SUMMARIES_MAX {
                summaries.pop_first();
            }
        }
        added.sort_unstable();
        removed.sort_unstable();
        let (state_before, state_after) = (Some(known.fingerprint), Some(known_after.fingerprint));
        Ok(HistoryEntry { event, state_before, state_after, added, removed })
    }

    /// Visits everything that was stored or placed, in order: what it takes to make the room again. An outlier that got
    /// its place comes twice. An event of which a redacted copy was here before the full one comes first in the form that
    /// decides, and right after it in full: that is then a duplicate which replaces the body.
    ///
    /// Of collected events only those come whose bodies others need, as outliers. What is retained then has the same states
    /// in the copy, since it comes with the state before it where a prev event was collected.
    ///
    /// # Errors
    ///
    /// Those of `visit`; `Corrupt` or `Unavailable`, as for every read.
    pub fn records(&self, visit: &mut dyn FnMut(Record) -> Result<bool>) -> Result<()> {
        let mut newest = 0;
        self.happenings(true, &mut |happening, event| {
            let is_first = happening.event.number() > newest;
            newest = newest.max(happening.event.number());
            let Some(pdu) = &event.pdu else { return Ok(true) };
            let row = self.view.rows().event_row(self.row.nid, happening.event)?;
            let decided = if is_first && row.redacted_at_acceptance { self.redacted(pdu)? } else { None };
            let kind = if event.collected { Kind::Outlier } else { happening.kind };
            let is_told = event.state_supplied || self.follows_collected(&row)?;
            let state = match event.state_before.filter(|_| is_told && kind != Kind::Outlier) {
                Some(before) => Some(self.event_ids_of(before.snapshot)?),
                None => None,
            };
            let Some(decided) = decided else { return visit(Record { event, kind, state }) };
            let redacted = Event { pdu: Some(decided), ..event.clone() };
            Ok(visit(Record { event: redacted, kind, state })? && visit(Record { event, kind, state: None })?)
        })
    }

    /// What redaction leaves of a PDU, if it takes something.
    fn redacted(&self, pdu: &str) -> Result<Option<String>> {
        let wrong = || Error::internal("a body that was read is no PDU");
        let Ok(Json::Object(mut object)) = Json::parse(pdu.as_bytes()) else { return Err(wrong()) };
        redact(&mut object, &self.row.rules.redaction);
        let mut bytes = Vec::new();
        object.write_canonical(&mut bytes);
        let redacted = String::from_utf8(bytes).map_err(|_| wrong())?;
        Ok((redacted != pdu).then_some(redacted))
    }

    /// The events of a state, in the order in which they were stored.
    fn event_ids_of(&self, snapshot: SnapshotNid) -> Result<Vec<OwnedEventId>> {
        let entries = crate::state::read::collect(&self.states(), snapshot, None)?;
        // Names are numbered for the whole store, by whichever room was first: by key, the order would tell of others.
        let mut events: Vec<EventNid> = entries.into_iter().map(|(_, event)| event).collect();
        events.sort_unstable();
        events.into_iter().map(|event| self.event_id(event)).collect()
    }

    /// Tells whether one of an event's prev events was collected.
    fn follows_collected(&self, row: &EventRow) -> Result<bool> {
        let rows = self.view.rows();
        for prev in row.prev_events.iter().flatten() {
            if rows.event_row(self.row.nid, *prev)?.remains != Remains::All {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
