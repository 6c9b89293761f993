//! Looking again at parked inputs: when an event has landed that they wait for, and when the store was opened.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{
    parking::{ParkedInputRow, input_of, parked_pdu},
    writer::{Landed, Processed, RoomWriter},
};
use crate::{
    encoding::event_key::EventKey,
    error::{Error, ErrorKind, Result},
    tables::parked::Wait,
};

/// What a room's writer still has to look at: parked inputs that an arrival may have made ready, and what arrived.
///
/// It is kept in memory only, beside the writer. What is lost of it, since the process ended, is found when the store is
/// opened again: rows say what each input lacks.
#[derive(Debug, Default)]
pub struct Driving {
    /// Events that were stored; the rows in `wanted` and `waits` that tell which parked inputs wait for them are not
    /// read yet.
    landed: Vec<EventKey>,
    /// Whether all parked inputs of the room are to be looked at.
    all: bool,
    /// Parked inputs to be looked at, in the order of parking.
    ready: BTreeMap<u32, Candidate>,
}

/// A parked input that may lack nothing any more.
#[derive(Debug, Clone)]
struct Candidate {
    key: EventKey,
    /// The row in `waits` by which the input was found; `None` if it was found by an event that it names itself, or by
    /// a scan of all.
    wait: Option<Wait>,
}

impl Driving {
    /// Whether nothing is to be looked at.
    pub fn is_empty(&self) -> bool {
        self.landed.is_empty() && !self.all && self.ready.is_empty()
    }

    /// An event has landed, in this room or in another one: the parked inputs of this room that wait for it are to be looked
    /// at.
    pub fn landed(&mut self, key: EventKey) {
        self.landed.push(key);
    }

    /// After the store was opened, or a quarantine ended: all parked inputs of the room are to be looked at.
    pub fn everything(&mut self) {
        self.all = true;
    }

    fn add(&mut self, order: u32, key: EventKey, wait: Option<Wait>) {
        let candidate = self.ready.entry(order).or_insert(Candidate { key, wait: None });
        candidate.wait = wait.or(candidate.wait.take());
    }
}

/// What one step of driving did.
#[derive(Debug, Default)]
pub struct Step {
    /// The number of the last batch that it wrote; 0 if it wrote none.
    pub sequence: u64,
    /// The event that it decided.
    pub landed: Option<Landed>,
}

/// Whether an error says that the store cannot be used just now, and nothing about what is in it.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unavailable)
}

impl RoomWriter {
    /// Looks at the next parked input, in the order of parking; decides it if it lacks nothing any more. One unit of work,
    /// one batch at most.
    ///
    /// What was to be looked at is still to be looked at after an error that says that the store takes no writes, `Busy` or
    /// `Unavailable`. After any other error it goes on without the input at hand, which stays parked.
    pub fn drive(&mut self, driving: &mut Driving) -> Result<Step> {
        self.forget_refused();
        self.find_ready(driving)?;
        let Some((order, candidate)) = driving.ready.first_key_value() else { return Ok(Step::default()) };
        let (order, candidate) = (*order, candidate.clone());
        let looked = self.look(&candidate);
        if !looked.as_ref().is_err_and(is_passing) {
            driving.ready.remove(&order);
        }
        looked
    }

    /// Finds the parked inputs that wait for what has landed.
    fn find_ready(&self, driving: &mut Driving) -> Result<()> {
        if std::mem::take(&mut driving.all) {
            let found = self.find_all(driving);
            driving.all = found.as_ref().is_err_and(is_passing);
            found?;
        }
        while let Some(landed) = driving.landed.pop() {
            let found = self.find_waiting(landed, driving);
            if found.as_ref().is_err_and(is_passing) {
                driving.landed.push(landed);
            }
            found?;
        }
        Ok(())
    }

    /// Lets a scan go on after a damaged row: it keeps nobody but its own input waiting.
    fn go_on(&self, error: &Error) -> Result<()> {
        tracing::warn!(room = %self.room.id, %error, "a row of a parked input cannot be read");
        Ok(())
    }

    fn find_all(&self, driving: &mut Driving) -> Result<()> {
        let (rows, room) = (self.engine.rows(), self.room.nid);
        for (order, key) in rows.all_parked(room, &mut |error| self.go_on(&error))? {
            driving.add(order, key, None);
        }
        for (key, wait) in rows.all_waits(room, &mut |error| self.go_on(&error))? {
            driving.add(wait.order, key, Some(wait));
        }
        Ok(())
    }

    fn find_waiting(&self, landed: EventKey, driving: &mut Driving) -> Result<()> {
        let (rows, room) = (self.engine.rows(), self.room.nid);
        if self.head.counts.parked == 0 {
            return Ok(());
        }
        // This is the create event. Until now inputs that name events of other rooms could not be rejected, so all
        // parked inputs are looked at.
        if self.head.create.is_some() && self.facts().find(&landed)? == self.head.create {
            return self.find_all(driving);
        }
        if self.engine.wanted.may_have(&landed) {
            for (order, key) in rows.wanted_by(&landed, room, &mut |error| self.go_on(&error))? {
                driving.add(order, key, None);
            }
        }
        for (key, wait) in rows.waits_for(room, &landed, &mut |error| self.go_on(&error))? {
            driving.add(wait.order, key, Some(wait));
        }
        Ok(())
    }

    /// Looks at a parked input: decides it, makes it wait for the next event that it lacks, or leaves it as it is.
    fn look(&mut self, candidate: &Candidate) -> Result<Step> {
        let Candidate { key, wait } = candidate;
        let Some(row) = self.engine.rows().parked(self.room.nid, key)? else { return Ok(Step::default()) };
        if row.failed.is_some() {
            return Ok(Step::default());
        }
        let facts = self.facts();
        let can_never_begin = facts.can_never_begin()?;
        let mut lacks_named = false;
        for want in row.missing.iter().filter(|want| want.role.is_named()) {
            let wanted = facts.key_of(want)?;
            // What is of another room will never be here: the input is refused for it, once it has all else.
            if !facts.is_here(&wanted, want.role)? && !facts.is_known_elsewhere(&wanted, &want.event_id)? {
                lacks_named = true;
                break;
            }
        }
        // The events of the supplied state are looked up only if the input can be decided or its row in `waits` must
        // move: there can be 500,000 of them.
        let next = match wait {
            None if lacks_named => None,
            Some(wait) => facts.next_wait(&row, wait.place)?,
            None => facts.next_wait(&row, 0)?,
        };
        let parked = match wait {
            None if lacks_named && !can_never_begin => return Ok(Step::default()),
            // The input was not found by its row in `waits`, which must still be deleted if it is decided, so that row
            // is searched.
            None => ParkedInputRow { key: *key, wait: facts.wait_of(&row, key)?, row },
            Some(wait) => ParkedInputRow { key: *key, row, wait: Some(*wait) },
        };
        if can_never_begin || (!lacks_named && next.is_none()) {
            return self.decide_parked(&parked);
        }
        Ok(Step { sequence: self.put_next_wait(&parked, next)?, landed: None })
    }

    fn decide_parked(&mut self, parked: &ParkedInputRow) -> Result<Step> {
        match self.process_parked(parked) {
            Ok(Processed { sequence, landed, .. }) => Ok(Step { sequence, landed }),
            Err(error) if error.kind() == ErrorKind::Invalid => {
                Ok(Step { sequence: self.fail(parked, &error)?, landed: None })
            }
            Err(error) => Err(error),
        }
    }

    fn process_parked(&mut self, parked: &ParkedInputRow) -> Result<Processed> {
        let pdu = parked_pdu(&parked.row, &self.room.rules)?;
        let outlier = self.facts().find(&parked.key)?;
        self.decide_or_park(&pdu, &input_of(&parked.row)?, outlier, Some(parked))
    }
}
