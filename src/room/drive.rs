//! Deciding parked inputs that lack nothing any more, one at a time, so that whoever owns the writer can do something else
//! between two of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{pipeline::Processed, writer::RoomWriter};
use crate::{
    encoding::event_key::EventKey,
    error::{ErrorKind, Result},
};

/// What a room's writer still has to look at: parked inputs that an arrival may have made ready. It is kept beside the
/// writer, between its steps.
#[derive(Default)]
pub struct Driving {
    /// Events that have landed; the inputs that wait for them are to be woken.
    landed: BTreeSet<EventKey>,
    /// Whether all parked inputs are to be looked at.
    everything: bool,
    /// Parked inputs that lack nothing, by the order of parking.
    ready: BTreeMap<u32, EventKey>,
}

impl Driving {
    /// Tells whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.landed.is_empty() && !self.everything && self.ready.is_empty()
    }

    /// An event has landed, in this room or in another one: the parked inputs of this room that wait for it are to be looked
    /// at.
    pub fn landed(&mut self, key: EventKey) {
        self.landed.insert(key);
    }

    /// The store was opened, or a quarantine ended: all parked inputs of the room are to be looked at.
    pub fn everything(&mut self) {
        self.everything = true;
    }
}

/// An event that was stored or placed.
pub struct Landed {
    /// The event.
    pub key: EventKey,
    /// The rooms, other than its own, in which parked inputs wait for this event ID.
    pub elsewhere: Vec<Box<str>>,
}

impl Landed {
    /// An event that nobody in another room waits for.
    pub(super) fn here(key: EventKey) -> Self {
        Self { key, elsewhere: Vec::new() }
    }
}

/// What one step of driving did.
pub struct Step {
    /// The number of the last batch that it wrote; 0 if it wrote none.
    pub sequence: u64,
    /// The event that it stored or placed.
    pub landed: Option<Landed>,
}

impl RoomWriter {
    /// Looks at the next parked input; decides it if it lacks nothing. One unit of work. After an error nothing is lost:
    /// what was to be looked at still is, but for an input that is damaged itself.
    pub fn drive(&mut self, driving: &mut Driving) -> Result<Step> {
        if driving.everything {
            let sequence = self.look_at_all(&mut driving.ready)?;
            driving.everything = false;
            return Ok(Step { sequence, landed: None });
        }
        if let Some(landed) = driving.landed.first().copied() {
            let mut ready = BTreeMap::new();
            self.wake(&landed, &mut ready)?;
            driving.landed.remove(&landed);
            driving.ready.append(&mut ready);
            return Ok(Step { sequence: 0, landed: None });
        }
        let Some(next) = driving.ready.first_entry() else { return Ok(Step { sequence: 0, landed: None }) };
        let key = *next.get();
        let result = self.drive_input(&key);
        match &result {
            Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unavailable) => {}
            _ => drop(next.remove()),
        }
        result
    }

    fn drive_input(&mut self, key: &EventKey) -> Result<Step> {
        let nothing = Step { sequence: 0, landed: None };
        let Some(row) = self.engine.rows().parked(self.room.nid, key)? else { return Ok(nothing) };
        self.awake = Some(*key);
        let processed = self.process_parked(row.clone(), key);
        self.awake = None;
        match processed {
            Ok(Processed { sequence, landed, .. }) => Ok(Step { sequence, landed }),
            Err(error) if error.kind() == ErrorKind::Invalid => {
                Ok(Step { sequence: self.fail(row, key, &error)?, landed: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Finds the parked inputs that lack nothing, and lets the others wait for what they lack: what they waited for may
    /// have been stored just before the process ended, and nobody was told.
    fn look_at_all(&mut self, ready: &mut BTreeMap<u32, EventKey>) -> Result<u64> {
        let engine = self.engine.clone();
        let rows = engine.rows();
        let mut sequence = 0;
        for (order, key) in rows.all_parked(self.room.nid)? {
            let Some(row) = rows.parked(self.room.nid, &key)?.filter(|row| row.failed.is_none()) else { continue };
            let mut draft = self.draft();
            self.delete_wait(&row, &key, &mut draft)?;
            if !self.put_next_wait(&row, &key, 0, &mut draft)? {
                ready.insert(order, key);
            }
            if !draft.batch.is_empty() {
                sequence = self.apply(draft)?;
            }
        }
        Ok(sequence)
    }
}
