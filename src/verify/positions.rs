//! The order in which events were stored and placed, and the edges between them.

use super::{
    room::RoomCheck,
    streams::{RowStream, unless_damaged},
};
use crate::{
    encoding::{event_key::EventKey, event_row::Kind, json::Json, keys, pdu::Pdu},
    error::Result,
    ids::EventNid,
    tables::{
        AUTH_CHILDREN, EVENT_ROWS, POSITIONS, PREV_CHILDREN,
        graph::{Happening, decode_happening},
    },
};

impl RoomCheck<'_, '_> {
    /// Checks that what happened is told for every position from 1 to the head's last, and agrees with the events' rows.
    pub(super) fn check_positions(&mut self) -> Result<()> {
        let mut rows = RowStream::new(self.check, POSITIONS, &keys::room(self.room.nid));
        let last = match &self.head {
            Some(head) => head.last_position,
            None => self.last_number(POSITIONS)?,
        };
        let mut newest = 0u32;
        for position in 1..=last {
            let key = keys::position(self.room.nid, position);
            if rows.is_at_end(self.check)? {
                let what = format!("all rows of the positions from {position} to {last} are missing");
                self.check.problem(POSITIONS, &key, what);
                break;
            }
            let Some(value) = rows.take(self.check, &key)? else { continue };
            let Some(happening) = self.check.decoded(POSITIONS, &key, decode_happening(&value)) else { continue };
            if happening.event.number() > newest.saturating_add(1) {
                self.check.problem(POSITIONS, &key, "an event before those of smaller numbers");
            }
            newest = newest.max(happening.event.number());
            if let Some(what) = self.happening(position, happening) {
                self.check.problem(POSITIONS, &key, what);
            }
        }
        rows.finish(self.check)?;
        for (nid, fact) in self.facts.iter().filter(|(_, fact)| !fact.has_happened) {
            let what = format!("nothing says that it happened at position {}", fact.position);
            self.check.problem(EVENT_ROWS, &keys::event(self.room.nid, nid), what);
        }
        Ok(())
    }

    /// Notes what happened; what is wrong with it, if anything is.
    fn happening(&mut self, position: u32, happening: Happening) -> Option<&'static str> {
        if !self.facts.has(happening.event) {
            return Some("an event that is not in the store");
        }
        // An unreadable event has been told of.
        let fact = self.facts.get_mut(happening.event)?;
        if fact.position == position {
            fact.has_happened = true;
            return (fact.kind != happening.kind).then_some("an event of another kind");
        }
        let first = happening.kind == Kind::Outlier && fact.in_graph() && position < fact.position && !fact.was_outlier;
        fact.was_outlier |= first;
        (!first).then_some("an event whose row says another position")
    }

    /// Checks that the auth edges are those of the state events that were not rejected.
    pub(super) fn check_auth_children(&mut self) -> Result<()> {
        let mut edges = std::mem::take(&mut self.facts.auth_edges);
        edges.sort_unstable();
        let mut rows = RowStream::new(self.check, AUTH_CHILDREN, &keys::room(self.room.nid));
        for (auth, child) in edges {
            let Some(fact) = self.facts.get(child) else { continue };
            let key = keys::auth_child(self.room.nid, auth, child);
            let value = match (fact.judged.is_rejected(), fact.was_outlier) {
                (false, _) => rows.take(self.check, &key)?,
                // Accepted as an outlier it got its edges, and others may name it: they stay when its place rejects it.
                (true, true) => rows.take_if_there(self.check, &key)?,
                (true, false) => None,
            };
            if value.is_some_and(|value| !value.is_empty()) {
                self.check.problem(AUTH_CHILDREN, &key, "a value where there is none");
            }
        }
        rows.finish(self.check)
    }

    /// Checks that the edges to prev events are those to events which hid nothing, or were not here, when the event that
    /// names them was placed.
    pub(super) fn check_prev_children(&mut self) -> Result<()> {
        let mut edges = Vec::new();
        for (nid, fact) in self.facts.iter().filter(|(_, fact)| fact.in_graph()) {
            let mut missing = false;
            for prev in self.facts.prev_events(nid) {
                let Some(prev) = prev else {
                    missing = true;
                    continue;
                };
                let hides = match self.facts.get(*prev) {
                    Some(prev) => prev.in_graph_before(fact.position) && !prev.is_transparent(),
                    None => continue,
                };
                if !hides {
                    edges.extend(unless_damaged(self.names.key(*prev))?.map(|key| (key, nid)));
                }
            }
            if missing {
                edges.extend(self.missing_prev_events(nid)?.into_iter().map(|key| (key, nid)));
            }
        }
        edges.sort_unstable();
        let mut rows = RowStream::new(self.check, PREV_CHILDREN, &keys::room(self.room.nid));
        let mut marked = None;
        for (prev, child) in edges {
            if marked != Some(prev) {
                rows.take(self.check, &keys::prev_children(self.room.nid, &prev))?;
                marked = Some(prev);
            }
            let key = keys::prev_child(self.room.nid, &prev, child);
            if rows.take(self.check, &key)?.is_some_and(|value| !value.is_empty()) {
                self.check.problem(PREV_CHILDREN, &key, "a value where there is none");
            }
        }
        rows.finish(self.check)
    }

    /// The keys of the prev events of an event that are not stored.
    fn missing_prev_events(&self, nid: EventNid) -> Result<Vec<EventKey>> {
        let canonical = unless_damaged(self.names.bodies().load(nid))?;
        let json = canonical.and_then(|canonical| Json::parse(&canonical).ok());
        let Some(pdu) = json.and_then(|json| Pdu::parse(json, &self.room.rules).ok()) else { return Ok(Vec::new()) };
        let named = self.facts.prev_events(nid).iter().zip(pdu.prev_keys());
        Ok(named.filter(|(prev, _)| prev.is_none()).map(|(_, key)| *key).collect())
    }
}
