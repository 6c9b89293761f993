//! Event IDs, rows and bodies, held against each other.

use super::{
    facts::{Fact, Judged},
    ids::IdStream,
    room::RoomCheck,
    streams::RowStream,
};
use crate::{
    encoding::{
        bytes::{Malformed, unstamp},
        event_key::EventKey,
        event_row::{EventRow, Kind, Remains, Verdict},
        json::Json,
        keys,
        pdu::Pdu,
        redaction::redact,
    },
    error::Result,
    ids::EventNid,
    kv::{Direction, TableId},
    resolution::content::Content,
    tables::{
        EVENT_BODIES, EVENT_INDEX, EVENT_ROWS,
        current::Membership,
        event_ids::{EventIdentity, decode_candidates},
        interning::member_type,
        rows::corrupt,
    },
};

impl RoomCheck<'_, '_> {
    /// Checks that the events are those numbered from 1 to the head's last, each with an ID, a row and a body that
    /// agree, and in the index.
    pub(super) fn check_events(&mut self) -> Result<()> {
        let prefix = keys::room(self.room.nid);
        let [mut rows, mut bodies] = [EVENT_ROWS, EVENT_BODIES].map(|table| RowStream::new(self.check, table, &prefix));
        let last = match &self.head {
            Some(head) => head.last_event,
            None => self.last_number(EVENT_ROWS)?,
        };
        let mut ids = IdStream::new(self.check, self.room, last);
        for nid in (1..=last).filter_map(EventNid::new) {
            let key = keys::event(self.room.nid, nid);
            if ids.is_at_end(self.check)? && rows.is_at_end(self.check)? && bodies.is_at_end(self.check)? {
                let what = format!("all rows of the events from {} to {last} are missing", nid.number());
                self.check.problem(EVENT_ROWS, &key, what);
                break;
            }
            let identity = ids.take(self.check, nid)?;
            let row = rows.take(self.check, &key)?;
            self.check.counts().events = self.check.counts().events.saturating_add(u64::from(row.is_some()));
            let decoded = row.map(|row| unstamp(&key, &row).and_then(|row| EventRow::decode(nid, row)));
            let row = decoded.and_then(|row| self.check.decoded(EVENT_ROWS, &key, row));
            let body = if row.as_ref().is_none_or(EventRow::has_body) {
                bodies.take(self.check, &key)?
            } else if bodies.take_if_there(self.check, &key)?.is_some() {
                self.check.problem(EVENT_BODIES, &key, "a body that is said to be collected");
                None
            } else {
                None
            };
            let pdu = match (&row, body) {
                (Some(row), Some(body)) => self.body(nid, row, &body)?,
                _ => None,
            };
            self.check_event(nid, identity.as_ref(), row.as_ref(), pdu.as_ref())?;
            self.remember(nid, row, pdu);
        }
        ids.finish(self.check)?;
        rows.finish(self.check)?;
        bodies.finish(self.check)
    }

    /// The number at the end of the last key of a table; 0 if it has no row of this room.
    pub(super) fn last_number(&mut self, table: TableId) -> Result<u32> {
        let prefix = keys::room(self.room.nid);
        let start = [prefix.as_slice(), &[0xff; 4]].concat();
        let mut last = 0;
        let scanned = self.check.read().scan(table, &prefix, &start, Direction::Reverse, &mut |key, _| {
            let none = Malformed { offset: 0, what: "a key that ends in no number" };
            last = keys::second_number(key).ok_or_else(|| corrupt(table, key, none))?;
            Ok(false)
        });
        self.check.readable(table, &start, scanned)?;
        Ok(last)
    }

    /// The PDU of an event; whatever it takes from elsewhere that is wrong is told of as wrong in the body.
    fn body(&mut self, nid: EventNid, row: &EventRow, body: &[u8]) -> Result<Option<Pdu>> {
        let key = keys::event(self.room.nid, nid);
        let canonical = self.names.bodies().decode(nid, row, body);
        let canonical = self.check.readable(EVENT_BODIES, &key, canonical)?;
        Ok(canonical.and_then(|canonical| self.pdu(&key, &canonical)))
    }

    fn pdu(&mut self, key: &[u8], canonical: &[u8]) -> Option<Pdu> {
        let json = Json::parse(canonical).map_err(|error| Malformed { offset: error.offset, what: error.what });
        let json = self.check.decoded(EVENT_BODIES, key, json)?;
        let pdu = match Pdu::parse(json, &self.room.rules) {
            Ok(pdu) => pdu,
            Err(error) => {
                self.check.problem(EVENT_BODIES, key, format!("no PDU of the room's version: {error}"));
                return None;
            }
        };
        if !pdu.is_redacted() && pdu.canonical_bytes() != canonical {
            self.check.problem(EVENT_BODIES, key, "the body is not in canonical form");
        }
        if *pdu.room_id() != *self.room.id {
            self.check.problem(EVENT_BODIES, key, format!("the event is of room {}", pdu.room_id()));
        }
        Some(pdu)
    }

    fn check_event(
        &mut self,
        nid: EventNid,
        identity: Option<&EventIdentity>,
        row: Option<&EventRow>,
        pdu: Option<&Pdu>,
    ) -> Result<()> {
        let key = keys::event(self.room.nid, nid);
        if let Some(identity) = identity {
            self.check_indexed(nid, &identity.key)?;
        }
        if let (Some(identity), Some(pdu)) = (identity, pdu) {
            if *identity.event_id != *pdu.event_id() {
                let what = format!("the body is of event {} and not {}", pdu.event_id(), identity.event_id);
                self.check.problem(EVENT_BODIES, &key, what);
            } else if identity.reference_hash != *pdu.reference_hash() {
                let what = format!("the body of event {} has another reference hash", identity.event_id);
                self.check.problem(EVENT_BODIES, &key, what);
            }
        }
        if let Some(row) = row {
            self.check_kind(&key, row);
        }
        if let (Some(row), Some(pdu)) = (row, pdu) {
            self.check_tuple(&key, row, pdu)?;
            self.check_prev_events(nid, row, pdu)?;
            self.check_auth_events(&key, row, pdu)?;
            if pdu.is_redacted() && !row.redacted_at_acceptance {
                let what = "the content hash does not match, though the event was not redacted when it was accepted";
                self.check.problem(EVENT_BODIES, &key, what);
            }
            self.check_version(&key, row, pdu);
        }
        Ok(())
    }

    fn check_indexed(&mut self, nid: EventNid, event_key: &EventKey) -> Result<()> {
        let index_key = event_key.prefix();
        let value = self.check.get(EVENT_INDEX, &index_key)?.unwrap_or_default();
        // What does not decode is told of when the index itself is read.
        let candidates = decode_candidates(&value).unwrap_or_default();
        if !candidates.contains(&(self.room.nid, nid)) {
            let what = format!("event {} of room {} is missing", nid.number(), self.room.nid.number());
            self.check.problem(EVENT_INDEX, &index_key, what);
        }
        Ok(())
    }

    /// Checks what a row says of itself.
    fn check_kind(&mut self, key: &[u8], row: &EventRow) {
        let mut wrong = |what: &str| self.check.problem(EVENT_ROWS, key, what);
        if row.kind == Kind::Outlier && (row.states.is_some() || row.state_supplied) {
            wrong("an outlier with states");
        }
        let is_collected = row.remains != Remains::All;
        if is_collected && (row.kind == Kind::Outlier || row.states.is_some()) {
            wrong("collected, but an outlier or with states");
        }
        if matches!(row.verdict, Verdict::SoftFailed(_))
            && (row.kind != Kind::New || (row.states.is_none() && !is_collected))
        {
            wrong("soft-failed, but no live event with a state");
        }
        let changes = row.tuple.is_some() && !row.verdict.is_rejected();
        if row.states.is_some_and(|states| (states.before != states.after) != changes) {
            wrong("the states around it differ, or do not, against what the event is");
        }
    }

    fn check_tuple(&mut self, key: &[u8], row: &EventRow, pdu: &Pdu) -> Result<()> {
        let (Some(tuple), Some(state_key)) = (row.tuple, pdu.state_key()) else {
            if row.tuple.is_some() || pdu.state_key().is_some() {
                self.check.problem(EVENT_ROWS, key, "a state event here, but not in the body, or the other way round");
            }
            return Ok(());
        };
        let names = self.names.tuple(tuple);
        if let Some((event_type, name)) = self.check.readable(EVENT_ROWS, key, names)?
            && (*event_type != *pdu.event_type() || *name != *state_key)
        {
            let what = format!("says ({event_type}, {name:?}), the body ({}, {state_key:?})", pdu.event_type());
            self.check.problem(EVENT_ROWS, key, what);
        }
        Ok(())
    }

    fn check_prev_events(&mut self, nid: EventNid, row: &EventRow, pdu: &Pdu) -> Result<()> {
        let key = keys::event(self.room.nid, nid);
        let named = pdu.prev_keys();
        if row.prev_events.len() != named.len() {
            self.check.problem(EVENT_ROWS, &key, "not as many prev events as the body has");
            return Ok(());
        }
        for (prev, named) in row.prev_events.iter().zip(named) {
            if let Some(prev) = prev {
                if self.is_event(&key, *prev, named)? == Some(false) {
                    let what = format!("prev event {} is not the one that the body names", prev.number());
                    self.check.problem(EVENT_ROWS, &key, what);
                }
                continue;
            }
            // Nobody tells an outlier that a prev event of it has come: it has no place in the graph.
            if row.kind == Kind::Outlier {
                continue;
            }
            let found = self.check.rows().find_event(self.room, named);
            // Textual event IDs allow an event that names itself: it was not stored when it was placed.
            if let Some(Some(found)) = self.check.readable(EVENT_ROWS, &key, found)?
                && found != nid
            {
                let what = format!("a prev event that is said to be missing is event {}", found.number());
                self.check.problem(EVENT_ROWS, &key, what);
            }
        }
        Ok(())
    }

    fn check_auth_events(&mut self, key: &[u8], row: &EventRow, pdu: &Pdu) -> Result<()> {
        let may_lack = Fact::new(row, false, None).judged == Judged::Foreign;
        let mut named = pdu.auth_keys().iter();
        for auth in &row.auth_events {
            let mut matches = named.next().map(|named| self.is_event(key, *auth, named)).transpose()?;
            while may_lack && matches == Some(Some(false)) {
                matches = named.next().map(|named| self.is_event(key, *auth, named)).transpose()?;
            }
            if matches!(matches, None | Some(Some(false))) {
                let what = format!("auth event {} is not the one that the body names", auth.number());
                self.check.problem(EVENT_ROWS, key, what);
            }
        }
        if named.next().is_some() && !may_lack {
            self.check.problem(EVENT_ROWS, key, "fewer auth events than the body has");
        }
        Ok(())
    }

    /// Tells whether an event has this key; `None` if that cannot be read.
    fn is_event(&mut self, key: &[u8], nid: EventNid, named: &EventKey) -> Result<Option<bool>> {
        let event_key = self.names.key(nid);
        Ok(self.check.readable(EVENT_ROWS, key, event_key)?.map(|event_key| event_key == *named))
    }

    /// The create event names the room's version.
    fn check_version(&mut self, key: &[u8], row: &EventRow, pdu: &Pdu) {
        // Redaction can take the version away.
        if !pdu.is_create() || !row.verdict.is_accepted() || row.redacted_at_acceptance {
            return;
        }
        let version = pdu.content().get_str("room_version").unwrap_or("1");
        if version != self.room.version.as_str() {
            let what = format!("the create event is of room version {version}, the room of {}", self.room.version);
            self.check.problem(EVENT_BODIES, key, what);
        }
    }

    fn remember(&mut self, nid: EventNid, row: Option<EventRow>, pdu: Option<Pdu>) {
        let Some(row) = row else { return self.facts.push(None) };
        if row.has_body() {
            for auth in &row.auth_events {
                if self.facts.get(*auth).is_some_and(|auth| auth.remains == Remains::Row) {
                    let what = format!("it has a body, its auth event {} has none any more", auth.number());
                    self.check.problem(EVENT_ROWS, &keys::event(self.room.nid, nid), what);
                }
            }
        }
        let is_create = pdu.as_ref().is_some_and(Pdu::is_create);
        let membership = pdu.and_then(|pdu| self.membership(&row, pdu));
        if row.tuple.is_some() && row.has_body() {
            self.facts.auth_edges.extend(row.auth_events.iter().map(|auth| (*auth, nid)));
        }
        self.facts.push(Some((Fact::new(&row, is_create, membership), &row.prev_events)));
    }

    /// What a member event says, as it was when it was accepted.
    fn membership(&self, row: &EventRow, pdu: Pdu) -> Option<Membership> {
        if row.tuple.map(|tuple| tuple.event_type) != member_type() {
            return None;
        }
        let event_type: Box<str> = pdu.event_type().into();
        let mut object = pdu.into_object();
        if row.redacted_at_acceptance {
            redact(&mut object, &self.room.rules.redaction);
        }
        match Content::parse(&self.room.rules, &event_type, object.get_object("content")?, None) {
            Content::Member(member) => Some(member.membership),
            _ => None,
        }
    }
}
