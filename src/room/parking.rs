//! Inputs that wait for events which are not here: kept durably, and decided when those have arrived.

mod waits;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ruma_common::{OwnedServerName, room_version_rules::RoomVersionRules};
use rustc_hash::FxHashMap;

use super::{
    outcome::{FirstVerdict, Input, Kind, Outcome, Parked},
    pipeline::Processed,
    references::{Missing, parse_id},
    writer::{Draft, RoomWriter},
};
use crate::{
    encoding::{cold, event_key::EventKey, json::Json, keys, pdu::Pdu},
    error::{Error, ErrorKind, Result},
    ids::EventNid,
    tables::{
        PARKED,
        rows::{ParkedRow, Role, Want, put_parked},
    },
};

/// The most bytes of a parked input. What a row may have beyond that is for the reason, if it cannot be decided.
const MAX_BYTES: usize = cold::LIMIT - (8 << 10);
/// The most characters of that reason; each takes at most 4 bytes.
const MAX_REASON_CHARS: usize = 1 << 10;

/// How an input stands to the parked input of the same event.
pub(super) enum Again {
    /// There is none.
    Not,
    /// It adds nothing.
    Duplicate(Processed),
    /// It brings a state, a higher kind, or the content that was redacted: both together.
    Merged(Box<(Pdu, Input)>),
}

impl RoomWriter {
    /// Looks for the parked input of the same event.
    pub(super) fn again_parked(&self, pdu: &Pdu, input: &Input) -> Result<Again> {
        if self.head.counts.parked == 0 {
            return Ok(Again::Not);
        }
        let Some(row) = self.engine.rows().parked(self.room.nid, &pdu.key())? else { return Ok(Again::Not) };
        let first = parked_pdu(&row, &self.room.rules)?;
        if first.reference_hash() != pdu.reference_hash() {
            return Err(Error::invalid(format!(
                "another event with the ID {} is parked; its reference hash differs",
                pdu.event_id()
            )));
        }
        let has_failed = row.failed.is_some();
        let parked = input_of(row)?;
        let has_content = first.is_redacted() && !pdu.is_redacted();
        let has_state = input.state.is_some() && parked.state.is_none();
        // One that could not be decided is tried again.
        if !has_failed && !has_content && !has_state && input.kind <= parked.kind {
            let outcome = Outcome::Duplicate { event_id: parse_id(pdu.event_id())?, first: FirstVerdict::Parked };
            return Ok(Again::Duplicate(Processed { outcome, sequence: self.engine.last_sequence(), landed: None }));
        }
        let merged = Input {
            kind: parked.kind.max(input.kind),
            state: input.state.clone().or(parked.state),
            local: parked.local || input.local,
            origin: parked.origin.or_else(|| input.origin.clone()),
            ..input.clone()
        };
        // Whatever else the copies differ in, the first stays.
        Ok(Again::Merged(Box::new((if has_content { pdu.clone() } else { first }, merged))))
    }

    /// Keeps an input until what it lacks is here.
    pub(super) fn park(&mut self, pdu: &Pdu, input: &Input, missing: Missing) -> Result<Processed> {
        let mut draft = self.draft();
        let key = pdu.key();
        let (order, parked_at) = match self.unpark(&key, &mut draft)? {
            Some(first) => first,
            None => {
                let order = draft.head.last_parked.checked_add(1);
                draft.head.last_parked = order.ok_or_else(|| Error::internal("a room parked 2^32 inputs"))?;
                (draft.head.last_parked, draft.head.last_position)
            }
        };
        let row = ParkedRow {
            order,
            parked_at,
            kind: match input.kind {
                Kind::Outlier => 0,
                Kind::Old => 1,
                Kind::New => 2,
            },
            local: input.local,
            origin: input.origin.as_ref().map(ToString::to_string),
            state: input.state.as_ref().map(|state| state.iter().map(ToString::to_string).collect()),
            pdu: pdu.canonical_bytes().to_vec(),
            missing: self.in_order_of_waiting(&key, &missing)?,
            failed: None,
        };
        let bytes = bytes_of(&row);
        if bytes > MAX_BYTES {
            return Err(Error::invalid(format!(
                "the input and what it lacks are {bytes} bytes, at most {MAX_BYTES} can be kept until it can be decided"
            )));
        }
        put_parked(&mut draft.batch, self.room.nid, &key, &row)?;
        self.put_next_wait(&row, &key, 0, &mut draft)?;
        draft.head.counts.parked = draft.head.counts.parked.saturating_add(1);
        let sequence = self.apply(draft)?;
        let event_id = parse_id(pdu.event_id())?;
        let Missing { prev, auth, state } = missing;
        let parked = Parked { event_id, missing_prev: prev, missing_auth: auth, missing_state: state };
        Ok(Processed { outcome: Outcome::Parked(parked), sequence, landed: None })
    }

    /// Forgets the parked input of an event, which is now decided or parked anew; gives its place in the order, and the
    /// position at which it was parked.
    pub(super) fn unpark(&self, key: &EventKey, draft: &mut Draft) -> Result<Option<(u32, u32)>> {
        if draft.head.counts.parked == 0 {
            return Ok(None);
        }
        let Some(row) = self.engine.rows().parked(self.room.nid, key)? else { return Ok(None) };
        self.delete_wait(&row, key, draft)?;
        draft.batch.delete(PARKED, keys::prev_children(self.room.nid, key));
        draft.head.counts.parked = draft.head.counts.parked.saturating_sub(1);
        Ok(Some((row.order, row.parked_at)))
    }

    /// Decides, in the order of parking, everything that waited for an event which has arrived, and what waited for that
    /// in turn. Each event is a batch of its own. Gives the number of the last one.
    pub fn drive(&mut self, landed: EventKey) -> Result<u64> {
        let mut ready = BTreeMap::new();
        self.wake(&landed, &mut ready)?;
        self.drive_ready(ready)
    }

    /// Takes up what was parked when the process ended: decides what lacks nothing by now, and lets the others wait for
    /// what they lack. What they waited for may have been stored just before, and nobody was told.
    pub fn recover(&mut self) -> Result<u64> {
        let mut ready = BTreeMap::new();
        let engine = self.engine.clone();
        let rows = engine.rows();
        for (order, key) in rows.all_parked(self.room.nid)? {
            let Some(row) = rows.parked(self.room.nid, &key)?.filter(|row| row.failed.is_none()) else { continue };
            let mut draft = self.draft();
            self.delete_wait(&row, &key, &mut draft)?;
            if !self.put_next_wait(&row, &key, 0, &mut draft)? {
                ready.insert(order, key);
            }
            if !draft.batch.is_empty() {
                self.apply(draft)?;
            }
        }
        self.drive_ready(ready)
    }

    fn drive_ready(&mut self, mut ready: BTreeMap<u32, EventKey>) -> Result<u64> {
        let mut sequence = 0;
        while let Some((_, key)) = ready.pop_first() {
            let Some(row) = self.engine.rows().parked(self.room.nid, &key)? else { continue };
            self.awake = Some(key);
            let processed = self.process_parked(row.clone(), &key);
            self.awake = None;
            match processed {
                Ok(processed) => {
                    sequence = processed.sequence;
                    if let Some(landed) = processed.landed {
                        self.wake(&landed, &mut ready)?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Invalid => sequence = self.fail(row, &key, &error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(sequence)
    }

    fn process_parked(&mut self, row: ParkedRow, key: &EventKey) -> Result<Processed> {
        let pdu = parked_pdu(&row, &self.room.rules)?;
        let outlier = self.find(key)?;
        self.decide_or_park(&pdu, &input_of(row)?, outlier)
    }

    /// Keeps an input that cannot be decided though all is here, with the reason.
    fn fail(&mut self, row: ParkedRow, key: &EventKey, error: &Error) -> Result<u64> {
        tracing::warn!(room = %self.room.id, %error, "a parked event cannot be decided");
        let mut draft = self.draft();
        let reason = error.to_string().chars().take(MAX_REASON_CHARS).collect();
        put_parked(&mut draft.batch, self.room.nid, key, &ParkedRow { failed: Some(reason), ..row })?;
        self.apply(draft)
    }
}

/// What an input lacks, in the order in which it names them: auth events, events of the supplied state, prev events; before
/// the auth events and those of the state what is lacking of their auth chains, oldest first.
pub fn in_order_of_naming(
    missing: Vec<Want>,
    pdu: &Pdu,
    input: &Input,
    find: &dyn Fn(&str) -> Result<Option<EventNid>>,
) -> Result<Vec<Want>> {
    let supplied = input.state.iter().flatten().map(|event_id| event_id.as_str());
    let places: FxHashMap<&str, usize> = supplied.zip(0..).collect();
    let place = |events: &[Box<str>], want: &Want| events.iter().position(|event_id| **event_id == *want.event_id);
    let mut placed = Vec::with_capacity(missing.len());
    for want in missing {
        let (role, place) = match want.role {
            Role::Auth => (0, place(pdu.auth_events(), &want)),
            Role::State => (1, places.get(&*want.event_id).copied()),
            Role::Prev => (2, place(pdu.prev_events(), &want)),
        };
        // Of what is stored, only the body is lacking: it can be had back once those of its auth events are here.
        let stored = if want.role == Role::Prev { None } else { find(&want.event_id)? };
        placed.push(((role, stored.is_none(), stored, place), want));
    }
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, want)| want).collect())
}

/// The bytes of a row, or a few more: 3 for the length of a text, 1 for a role, 64 for what is no list.
fn bytes_of(row: &ParkedRow) -> usize {
    let texts = row.state.iter().flatten().chain(&row.origin).map(|text| text.len().saturating_add(3));
    let missing = row.missing.iter().map(|want| want.event_id.len().saturating_add(4));
    texts.chain(missing).fold(row.pdu.len().saturating_add(64), usize::saturating_add)
}

/// The PDU of a parked input.
pub fn parked_pdu(row: &ParkedRow, rules: &RoomVersionRules) -> Result<Pdu> {
    let json = Json::parse(&row.pdu).map_err(|_| Error::internal("a parked PDU is not JSON"))?;
    Pdu::parse(json, rules)
}

/// A parked input, as it was submitted.
pub fn input_of(row: ParkedRow) -> Result<Input> {
    let ParkedRow { kind, local, origin, state, pdu, .. } = row;
    let state = state.map(|state| state.iter().map(|event_id| parse_id(event_id)).collect::<Result<_>>());
    let origin = origin.map(|origin| {
        let parsed = OwnedServerName::try_from(origin.as_str());
        parsed.map_err(|error| Error::invalid(format!("`{origin}` is no server name")).with_source(error))
    });
    Ok(Input {
        kind: match kind {
            0 => Kind::Outlier,
            1 => Kind::Old,
            _ => Kind::New,
        },
        state: state.transpose()?,
        local,
        origin: origin.transpose()?,
        ..Input::new(pdu)
    })
}
