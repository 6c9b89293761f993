//! Inputs that wait for events which are not here, as they are stored.
//!
//! What an event itself names, its auth events and prev events, is at most 31 events. The arrival of each of them finds the
//! input, by a row in `wanted`; also an arrival in another room, which makes the reference one to another room.
//!
//! A supplied state can lack half a million events. To be found takes reading the whole parked row, so an input must
//! not be found by each of these: it waits for one of them at a time, by one row in `waits`. If it waited for them in
//! the order in which they arrive, each arrival would wake it. So the order is by a hash of both IDs, which nobody
//! arranges: an arrival wakes it if it comes after all that have arrived before in that order, and of `n` events about
//! ln `n` do.

#[cfg(test)]
mod tests;

use ruma_common::{
    OwnedServerName,
    room_version_rules::{EventIdFormatVersion, RoomVersionRules},
};
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    facts::RoomFacts,
    outcome::{FirstVerdict, Input, Kind, Outcome, Parked, parse_id},
    references::Missing,
    writer::{Draft, Processed, RoomWriter},
};
use crate::{
    encoding::{cold, event_key::EventKey, json::Json, keys, pdu::Pdu},
    error::{Error, Result},
    ids::EventNid,
    tables::{
        PARKED, WAITS, WANTED,
        parked::{ParkedRow, Role, Wait, Want, put_parked, put_wait, put_wanted},
        rows::Rows,
    },
};

/// The most bytes of a parked input. What a row may have beyond that is for the reason, if it cannot be decided.
const MAX_BYTES: usize = cold::LIMIT - (8 << 10);
/// The most characters of that reason; each takes at most 4 bytes.
const MAX_REASON_CHARS: usize = 1 << 10;

/// A parked input, as it is stored.
pub(super) struct ParkedInputRow {
    /// Its event.
    pub(super) key: EventKey,
    pub(super) row: ParkedRow,
    /// The event of its supplied state, or of an auth chain, that it waits for.
    pub(super) wait: Option<Wait>,
}

/// How an input stands to the parked input of the same event.
pub(super) enum Again {
    /// There is none.
    Not,
    /// It adds nothing.
    Duplicate(Processed),
    /// The copy adds something: a state, a higher kind, or the content that was redacted. Holds the event and the input
    /// merged from both copies, and the parked row that they replace.
    Merged(Box<(Pdu, Input, ParkedInputRow)>),
}

impl RoomFacts<'_> {
    /// Looks for the event that a parked input waits for among those that it does not name.
    pub(super) fn wait_of(&self, row: &ParkedRow, key: &EventKey) -> Result<Option<Wait>> {
        for (place, want) in (0..).zip(&row.missing).filter(|(_, want)| !want.role.is_named()) {
            let wanted = self.key_of(want)?;
            if self.engine.rows().has_wait(self.room.nid, &wanted, key)? {
                return Ok(Some(Wait { wanted, place, order: row.order }));
            }
        }
        Ok(None)
    }

    /// Looks for the parked input of the same event.
    pub(super) fn again_parked(&self, pdu: &Pdu, input: &Input) -> Result<Again> {
        if self.head.counts.parked == 0 {
            return Ok(Again::Not);
        }
        let key = pdu.key();
        let Some(row) = self.engine.rows().parked(self.room.nid, &key)? else { return Ok(Again::Not) };
        let first = parked_pdu(&row, &self.room.rules)?;
        if first.reference_hash() != pdu.reference_hash() {
            return Err(Error::invalid(format!(
                "another event with the ID {} is parked; its reference hash differs",
                pdu.event_id()
            )));
        }
        let has_failed = row.failed.is_some();
        let kept = input_of(&row)?;
        let has_content = first.is_redacted() && !pdu.is_redacted();
        // A state that another server told takes the place of one that was told before and cannot be had.
        let has_state = match (&kept.state, &input.state) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(kept), Some(told)) => kept != told && (has_failed || !self.has_told_state(&row)?),
        };
        // One that could not be decided is tried again.
        if !has_failed && !has_content && !has_state && input.kind <= kept.kind {
            let outcome = Outcome::Duplicate { event_id: parse_id(pdu.event_id())?, first: FirstVerdict::Parked };
            return Ok(Again::Duplicate(Processed { outcome, sequence: self.engine.last_sequence(), landed: None }));
        }
        let merged = Input {
            kind: kept.kind.max(input.kind),
            state: if has_state { input.state.clone() } else { kept.state },
            local: kept.local || input.local,
            origin: kept.origin.or_else(|| input.origin.clone()),
            ..input.clone()
        };
        let parked = ParkedInputRow { wait: self.wait_of(&row, &key)?, key, row };
        // All other fields are kept from the copy that was parked first.
        Ok(Again::Merged(Box::new((if has_content { pdu.clone() } else { first }, merged, parked))))
    }

    /// Tells whether the events of a parked input's supplied state have all arrived.
    fn has_told_state(&self, row: &ParkedRow) -> Result<bool> {
        for want in row.missing.iter().filter(|want| want.role == Role::State) {
            if !self.is_here(&self.key_of(want)?, want.role)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What an input lacks: first what it names, then the rest in the order in which it is waited for; each once in each
    /// role.
    fn wants(&self, waiting: &EventKey, missing: &[Missing]) -> Result<Vec<Want>> {
        let mut turns = Vec::with_capacity(missing.len());
        for Missing { event_id, role } in missing {
            let want = Want { event_id: event_id.to_string(), role: *role };
            let turn = turn(waiting, &self.key_of(&want)?);
            turns.push((!role.is_named(), turn, want));
        }
        turns.sort_by_key(|(is_not_named, turn, _)| (*is_not_named, *turn));
        turns.dedup();
        Ok(turns.into_iter().map(|(.., want)| want).collect())
    }

    /// The keys of the events that an input lacks among those that it names.
    pub(super) fn named_wants(&self, row: &ParkedRow) -> Result<Vec<EventKey>> {
        let named = row.missing.iter().filter(|want| want.role.is_named());
        let mut keys = named.map(|want| self.key_of(want)).collect::<Result<Vec<EventKey>>>()?;
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// The first event from `place` on that an input lacks, of those that it does not name.
    pub(super) fn next_wait(&self, row: &ParkedRow, place: u32) -> Result<Option<Wait>> {
        for (place, want) in (0..).zip(&row.missing).skip(place as usize).filter(|(_, want)| !want.role.is_named()) {
            let wanted = self.key_of(want)?;
            if !self.is_here(&wanted, want.role)? {
                return Ok(Some(Wait { wanted, place, order: row.order }));
            }
        }
        Ok(None)
    }

    /// Other rooms of which parked inputs name an event.
    pub(super) fn wanted_elsewhere(&self, key: &EventKey) -> Result<Vec<Box<str>>> {
        let mut elsewhere = Vec::new();
        if !self.engine.wanted.may_have(key) {
            return Ok(elsewhere);
        }
        // One view for all reads: a room may be purged meanwhile.
        let view = self.engine.store().snapshot();
        let rows = Rows::new(&*view);
        for room in rows.rooms_that_want(key)?.into_iter().filter(|room| *room != self.room.nid) {
            let room = rows.unless_purged(room)?;
            // In room versions 1 and 2 nothing is refused for what is in another room.
            let room = room.filter(|room| room.rules.event_id_format != EventIdFormatVersion::V1);
            elsewhere.extend(room.map(|room| room.id));
        }
        Ok(elsewhere)
    }

    /// Deletes a parked input, and what an arrival would have found it by.
    pub(super) fn forget_parked(&self, parked: &ParkedInputRow, draft: &mut Draft) -> Result<()> {
        self.stop_waiting(parked, draft)?;
        draft.batch.delete(PARKED, keys::parked(self.room.nid, &parked.key));
        draft.head.counts.parked = draft.head.counts.parked.saturating_sub(1);
        Ok(())
    }

    fn stop_waiting(&self, parked: &ParkedInputRow, draft: &mut Draft) -> Result<()> {
        let ParkedInputRow { key, row, wait } = parked;
        if row.failed.is_some() {
            return Ok(());
        }
        for wanted in self.named_wants(row)? {
            draft.batch.delete(WANTED, keys::wanted(&wanted, self.room.nid, row.order));
            draft.wants_no_more.push(wanted);
        }
        if let Some(wait) = wait {
            draft.batch.delete(WAITS, keys::wait(self.room.nid, &wait.wanted, key));
        }
        Ok(())
    }
}

impl RoomWriter {
    /// Keeps an input until what it lacks is here; `parked` is what was kept of it before. `None` if something that it names
    /// has arrived in another room since it was looked for: then it is to be looked at again.
    pub(super) fn park(
        &mut self,
        pdu: &Pdu,
        input: &Input,
        missing: &[Missing],
        parked: Option<&ParkedInputRow>,
    ) -> Result<Option<Processed>> {
        let told = told(pdu, missing)?;
        let mut draft = self.draft();
        let key = pdu.key();
        let (order, parked_at) = match parked {
            Some(parked) => (parked.row.order, parked.row.parked_at),
            None => (draft.next_parked()?, draft.head.last_position),
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
            missing: self.facts().wants(&key, missing)?,
            failed: None,
        };
        let bytes = bytes_of(&row);
        if bytes > MAX_BYTES {
            return Err(Error::invalid(format!(
                "the input and what it lacks are {bytes} bytes, at most {MAX_BYTES} can be kept until it can be decided"
            )));
        }
        if let Some(parked) = parked {
            self.facts().forget_parked(parked, &mut draft)?;
        }
        put_parked(&mut draft.batch, self.room.nid, &key, &row)?;
        draft.head.counts.parked = draft.head.counts.parked.saturating_add(1);
        if let Some(wait) = self.facts().next_wait(&row, 0)? {
            put_wait(&mut draft.batch, self.room.nid, &key, &wait);
        }
        let named = self.facts().named_wants(&row)?;
        for wanted in &named {
            put_wanted(&mut draft.batch, wanted, self.room.nid, order, &key);
        }
        draft.wants.extend_from_slice(&named);
        // A writer that stores an event holds the index lock of its key. Holding the same locks here means: either that
        // writer sees our rows in `wanted`, or we see its event in the check below.
        let engine = self.engine.clone();
        let held = engine.index_locks(&named);
        for want in row.missing.iter().filter(|want| want.role.is_named()) {
            if self.facts().is_known_elsewhere(&self.facts().key_of(want)?, &want.event_id)? {
                return Ok(None);
            }
        }
        let sequence = self.store(draft)?;
        drop(held);
        Ok(Some(Processed { outcome: Outcome::Parked(told), sequence, landed: None }))
    }

    /// Makes a parked input wait for the next event that it lacks, of those that it does not name, if that is another one
    /// than it waits for.
    pub(super) fn put_next_wait(&mut self, parked: &ParkedInputRow, next: Option<Wait>) -> Result<u64> {
        if parked.wait == next {
            return Ok(0);
        }
        let mut draft = self.draft();
        if let Some(wait) = &parked.wait {
            draft.batch.delete(WAITS, keys::wait(self.room.nid, &wait.wanted, &parked.key));
        }
        if let Some(wait) = &next {
            put_wait(&mut draft.batch, self.room.nid, &parked.key, wait);
        }
        self.apply(draft)
    }

    /// Keeps an input that cannot be decided though all is here, with the reason. It waits for nothing any more.
    pub(super) fn fail(&mut self, parked: &ParkedInputRow, error: &Error) -> Result<u64> {
        tracing::warn!(room = %self.room.id, %error, "a parked event cannot be decided");
        let mut draft = self.draft();
        self.facts().stop_waiting(parked, &mut draft)?;
        // Nothing that arrives by itself would help it.
        let needs = if parked.row.state.is_some() { "; it waits for another state" } else { "" };
        let reason = error.to_string().chars().take(MAX_REASON_CHARS).chain(needs.chars()).collect();
        let row = ParkedRow { failed: Some(reason), ..parked.row.clone() };
        put_parked(&mut draft.batch, self.room.nid, &parked.key, &row)?;
        self.apply(draft)
    }
}

/// What is told of an input that was parked.
fn told(pdu: &Pdu, missing: &[Missing]) -> Result<Parked> {
    let lacks = |roles: &[Role]| {
        let of_role = missing.iter().filter(|missing| roles.contains(&missing.role));
        of_role.map(|missing| missing.event_id.clone()).collect()
    };
    Ok(Parked {
        event_id: parse_id(pdu.event_id())?,
        missing_prev: lacks(&[Role::Prev]),
        missing_auth: lacks(&[Role::Auth, Role::Chain]),
        missing_state: lacks(&[Role::State]),
    })
}

/// The sort key that decides in which order a parked input waits for the events that it lacks.
fn turn(waiting: &EventKey, wanted: &EventKey) -> u64 {
    xxh3_64_with_seed(wanted.as_bytes(), xxh3_64_with_seed(waiting.as_bytes(), 0))
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
            Role::Auth | Role::Chain => (0, place(pdu.auth_events(), &want)),
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
pub fn input_of(row: &ParkedRow) -> Result<Input> {
    let state = row.state.as_ref().map(|state| state.iter().map(|event_id| parse_id(event_id)).collect::<Result<_>>());
    let origin = row.origin.as_ref().map(|origin| {
        let parsed = OwnedServerName::try_from(origin.as_str());
        parsed.map_err(|error| Error::invalid(format!("`{origin}` is no server name")).with_source(error))
    });
    Ok(Input {
        kind: match row.kind {
            0 => Kind::Outlier,
            1 => Kind::Old,
            _ => Kind::New,
        },
        state: state.transpose()?,
        local: row.local,
        origin: origin.transpose()?,
        ..Input::new(row.pdu.clone())
    })
}
