//! Parked inputs, and what they wait for.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashSet;

use super::{facts::Fact, room::RoomCheck, streams::RowStream};
use crate::{
    encoding::{event_key::EventKey, event_row::Remains, json::Json, keys, pdu::Pdu},
    error::Result,
    ids::EventNid,
    tables::{
        PARKED, WAITS, WANTED,
        parked::{ParkedRow, Role, Want, decode_parked, decode_wait, decode_wanted},
    },
};

impl RoomCheck<'_, '_> {
    /// Checks that parked inputs are PDUs of this room that have no place in the graph; that each is found by every event
    /// that it names and lacked; and that it waits for the first of the others that it lacks.
    ///
    /// Between the batch that stores an event and those that decide what waited for it, rows look as if nobody had noticed;
    /// if the process ends between, the engine takes them up when it is opened. So an input may wait for an event that is
    /// here, and for nothing if it lacks nothing.
    pub(super) fn check_parked(&mut self) -> Result<()> {
        let mut waits = self.check_waits()?;
        let mut orders = BTreeSet::new();
        let mut rows = RowStream::new(self.check, PARKED, &keys::room(self.room.nid));
        while let Some((key, value)) = rows.next(self.check)? {
            let Some(event_key) = self.only_event_key(&key) else {
                self.check.problem(PARKED, &key, "a key that names no event");
                continue;
            };
            let waits = waits.remove(&event_key).unwrap_or_default();
            let Some(row) = self.check.decoded(PARKED, &key, decode_parked(&key, &value)) else { continue };
            if let Some(what) = self.wrong_parked(&event_key, &row)? {
                self.check.problem(PARKED, &key, what);
            }
            if self.head.as_ref().is_some_and(|head| row.parked_at > head.last_position) {
                self.check.problem(PARKED, &key, format!("parked at position {}, beyond the last", row.parked_at));
            }
            let last = self.head.as_ref().map_or(u32::MAX, |head| head.last_parked);
            if !orders.insert(row.order) || row.order > last {
                self.check.problem(PARKED, &key, format!("place {} is another's, or beyond the last", row.order));
            }
            self.check_found_by(&key, &event_key, &row)?;
            let mut lacks = None;
            for want in row.missing.iter().filter(|want| !want.role.is_named()) {
                if lacks.is_none() && self.arrived(want)?.is_none() {
                    lacks = Some(want);
                }
            }
            // What it does not name is waited for once all that it names is here, at the latest.
            match (&row.failed, waits, lacks) {
                (Some(_), 1.., _) => self.check.problem(PARKED, &key, "it has failed, and waits nevertheless"),
                (None, 2.., _) => self.check.problem(PARKED, &key, format!("it waits for {waits} events at once")),
                (None, 0, Some(want)) if self.has_all_named(&row)? => {
                    self.check.problem(PARKED, &key, format!("nothing will wake it when {} comes", want.event_id));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn has_all_named(&mut self, row: &ParkedRow) -> Result<bool> {
        for want in row.missing.iter().filter(|want| want.role.is_named()) {
            if self.arrived(want)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks that a parked input is found by the events that it names, if it has not failed.
    fn check_found_by(&mut self, key: &[u8], event_key: &EventKey, row: &ParkedRow) -> Result<()> {
        for want in row.missing.iter().filter(|want| want.role.is_named() && row.failed.is_none()) {
            let Some(wanted) = self.key_of(want) else { continue };
            let wanted_key = keys::wanted(&wanted, self.room.nid, row.order);
            let found = self.check.get(WANTED, &wanted_key)?;
            let found =
                found.and_then(|value| self.check.decoded(WANTED, &wanted_key, decode_wanted(&wanted_key, &value)));
            if found != Some(*event_key) {
                self.check.problem(PARKED, key, format!("nothing will wake it when {} comes", want.event_id));
            }
        }
        Ok(())
    }

    /// Checks the rows of what is waited for; gives how many each parked input has.
    fn check_waits(&mut self) -> Result<BTreeMap<EventKey, u32>> {
        let mut waits = BTreeMap::new();
        let mut rows = RowStream::new(self.check, WAITS, &keys::room(self.room.nid));
        while let Some((key, value)) = rows.next(self.check)? {
            let parts = key.split_last_chunk::<32>().map(|(rest, waiting)| (rest, EventKey::from_bytes(*waiting)));
            let Some((wanted, waiting)) = parts.and_then(|(rest, waiting)| Some((self.only_event_key(rest)?, waiting)))
            else {
                self.check.problem(WAITS, &key, "a key that does not name two events");
                continue;
            };
            let Some((place, order)) = self.check.decoded(WAITS, &key, decode_wait(&key, &value)) else { continue };
            let count: &mut u32 = waits.entry(waiting).or_default();
            *count = count.saturating_add(1);
            // A parked row that does not decode is told of when it is read itself.
            let parked_key = keys::parked(self.room.nid, &waiting);
            let parked = self.check.get(PARKED, &parked_key)?;
            let Some(parked) = parked else {
                self.check.problem(WAITS, &key, "nothing is parked that waits");
                continue;
            };
            let Ok(parked) = decode_parked(&parked_key, &parked) else { continue };
            if order != parked.order {
                self.check.problem(WAITS, &key, format!("place {order} in the order of parking is another's"));
            }
            if let Some(what) = self.wrong_wait(&parked, &wanted, place)? {
                self.check.problem(WAITS, &key, what);
            }
        }
        Ok(waits)
    }

    fn wrong_wait(&mut self, parked: &ParkedRow, wanted: &EventKey, place: u32) -> Result<Option<&'static str>> {
        let place = place as usize;
        let Some(want) = parked.missing.get(place).filter(|want| self.key_of(want) == Some(*wanted)) else {
            return Ok(Some("what is waited for is not at this place of what the parked input lacks"));
        };
        if want.role.is_named() {
            return Ok(Some("the parked input names what is waited for, and is found by that itself"));
        }
        for earlier in parked.missing.iter().take(place).filter(|want| !want.role.is_named()) {
            if self.arrived(earlier)?.is_none() {
                return Ok(Some("the parked input lacks an event before this one"));
            }
        }
        Ok(None)
    }

    fn wrong_parked(&mut self, event_key: &EventKey, row: &ParkedRow) -> Result<Option<String>> {
        let pdu = Json::parse(&row.pdu).ok().map(|json| Pdu::parse(json, &self.room.rules));
        let pdu = match pdu {
            None => return Ok(Some("the input is not JSON".to_owned())),
            Some(Err(error)) => return Ok(Some(format!("the input is no PDU of the room's version: {error}"))),
            Some(Ok(pdu)) => pdu,
        };
        if pdu.key() != *event_key || pdu.canonical_bytes() != row.pdu {
            return Ok(Some(format!("the input is another event, or not canonical: {}", pdu.event_id())));
        }
        if *pdu.room_id() != *self.room.id {
            return Ok(Some(format!("the event is of room {}", pdu.room_id())));
        }
        if row.kind > 2 || row.missing.is_empty() {
            return Ok(Some("an input of an unknown kind, or that lacks nothing".to_owned()));
        }
        let supplied: FxHashSet<&str> = row.state.iter().flatten().map(String::as_str).collect();
        if let Some(want) = row.missing.iter().find(|want| !self.may_want(row, (&pdu, &supplied), want)) {
            return Ok(Some(format!("the input has no use for {}", want.event_id)));
        }
        let stored = self.check.rows().find_event(self.room, event_key);
        let stored = self.check.readable(PARKED, event_key.as_bytes(), stored)?.flatten();
        let in_graph = stored.and_then(|nid| self.facts.get(nid)).is_some_and(Fact::in_graph);
        Ok(in_graph.then(|| "the event has its place in the graph".to_owned()))
    }

    /// The event that is wanted, if it is here as it is wanted: a prev event with a state, any other as it may be.
    fn arrived(&mut self, want: &Want) -> Result<Option<EventNid>> {
        let Some(wanted) = self.key_of(want) else { return Ok(None) };
        let found = self.check.rows().find_event(self.room, &wanted);
        let found = self.check.readable(PARKED, wanted.as_bytes(), found)?.flatten();
        Ok(found.filter(|nid| match want.role {
            Role::Auth | Role::State | Role::Chain => {
                self.facts.get(*nid).is_none_or(|fact| fact.remains > Remains::Row)
            }
            Role::Prev => self.facts.get(*nid).is_some_and(|fact| fact.states.is_some()),
        }))
    }

    /// Tells whether an input, of this PDU and supplied state, waits for an event of this role, and names this one.
    fn may_want(&self, row: &ParkedRow, (pdu, supplied): (&Pdu, &FxHashSet<&str>), want: &Want) -> bool {
        const NEW: u8 = 2;
        let Some(key) = self.key_of(want) else { return false };
        // What an event lacks can be in the auth chain of what it names.
        if want.role != Role::Prev && self.is_collected(&key) {
            return true;
        }
        // From room version 12 on the room ID names the create event.
        let implied = || want.event_id.strip_prefix('$') == pdu.room_id().strip_prefix('!');
        match want.role {
            Role::Auth => pdu.auth_keys().contains(&key) || implied(),
            // Its body was collected, which was looked at above; it has been stored again since.
            Role::Chain => self.is_stored(&key),
            Role::State => row.kind > 0 && supplied.contains(&*want.event_id),
            Role::Prev => row.kind == NEW && row.state.is_none() && pdu.prev_keys().contains(&key),
        }
    }

    fn is_collected(&self, event_key: &EventKey) -> bool {
        let found = self.check.rows().find_event(self.room, event_key).ok().flatten();
        found.and_then(|nid| self.facts.get(nid)).is_some_and(|fact| fact.remains != Remains::All)
    }

    fn is_stored(&self, event_key: &EventKey) -> bool {
        self.check.rows().find_event(self.room, event_key).ok().flatten().is_some()
    }

    fn key_of(&self, want: &Want) -> Option<EventKey> {
        EventKey::of(&want.event_id, self.room.rules.event_id_format)
    }

    /// The event in a key that names the room and it.
    fn only_event_key(&self, key: &[u8]) -> Option<EventKey> {
        let (room, event_key) = key.split_last_chunk::<32>()?;
        (*room == keys::room(self.room.nid)).then(|| EventKey::from_bytes(*event_key))
    }
}
