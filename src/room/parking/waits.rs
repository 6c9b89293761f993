//! What parked inputs wait for: one event at a time, and never long in the order of arrival.
//!
//! To be woken takes reading the whole parked row, however much it lacks. If an input waited for what it lacks in the order
//! in which that arrives, every arrival would wake it. So it waits in the order of a hash that differs from input to input.
//! An arrival wakes it if it is the last one so far in that order: of `n` in any order that does not depend on the hash,
//! about ln `n` do.

use std::collections::BTreeMap;

use ruma_common::OwnedEventId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    encoding::{event_key::EventKey, keys},
    error::{Error, Result},
    room::{
        references::Missing,
        writer::{Draft, RoomWriter},
    },
    tables::{
        WAITS,
        rows::{ParkedRow, Role, Want, put_wait},
    },
};

/// The place of a missing event among all that an input may wait for.
fn turn(waiting: &EventKey, wanted: &EventKey) -> u64 {
    xxh3_64_with_seed(wanted.as_bytes(), xxh3_64_with_seed(waiting.as_bytes(), 0))
}

impl RoomWriter {
    /// What an input lacks, in the order in which it waits for it, each once in each role.
    pub(super) fn in_order_of_waiting(&self, waiting: &EventKey, missing: &Missing) -> Result<Vec<Want>> {
        let role = |role: Role| move |event_id: &OwnedEventId| Want { event_id: event_id.to_string(), role };
        let wants = (missing.auth.iter().map(role(Role::Auth)))
            .chain(missing.state.iter().map(role(Role::State)))
            .chain(missing.prev.iter().map(role(Role::Prev)));
        let turns = wants.map(|want| Ok((turn(waiting, &self.key_of(&want)?), want)));
        let mut turns = turns.collect::<Result<Vec<(u64, Want)>>>()?;
        turns.sort_by_key(|(turn, _)| *turn);
        turns.dedup();
        Ok(turns.into_iter().map(|(_, want)| want).collect())
    }

    fn key_of(&self, want: &Want) -> Result<EventKey> {
        let key = EventKey::of(&want.event_id, self.room.rules.event_id_format);
        key.ok_or_else(|| Error::internal("a parked input waits for no event ID"))
    }

    /// Deletes the row of what a parked input waits for.
    pub(in crate::room) fn delete_wait(&self, row: &ParkedRow, key: &EventKey, draft: &mut Draft) -> Result<()> {
        if self.awake == Some(*key) {
            return Ok(());
        }
        for want in &row.missing {
            let wait = keys::wait(self.room.nid, &self.key_of(want)?, key);
            if self.engine.store().get(WAITS, &wait)?.is_some() {
                draft.batch.delete(WAITS, wait);
                break;
            }
        }
        Ok(())
    }

    /// Makes a parked input wait for the first event that it lacks from `place` on; `false` if it lacks none.
    pub(in crate::room) fn put_next_wait(
        &self,
        row: &ParkedRow,
        key: &EventKey,
        place: usize,
        draft: &mut Draft,
    ) -> Result<bool> {
        for (place, want) in row.missing.iter().enumerate().skip(place) {
            let wanted = self.key_of(want)?;
            if self.is_here(&wanted, want.role)? {
                continue;
            }
            let place = u32::try_from(place).map_err(|_| Error::internal("a parked input lacks 2^32 events"))?;
            put_wait(&mut draft.batch, self.room.nid, &wanted, key, place);
            return Ok(true);
        }
        Ok(false)
    }

    fn is_here(&self, wanted: &EventKey, role: Role) -> Result<bool> {
        let Some(nid) = self.find(wanted)? else { return Ok(false) };
        match role {
            Role::Auth | Role::State => self.has_body(nid),
            Role::Prev => Ok(self.engine.rows().event_row(self.room.nid, nid)?.states.is_some()),
        }
    }

    /// Finds the inputs that waited for an event and lack nothing more; makes the others wait for the next.
    pub(in crate::room) fn wake(&mut self, landed: &EventKey, ready: &mut BTreeMap<u32, EventKey>) -> Result<()> {
        if self.head.counts.parked == 0 {
            return Ok(());
        }
        let rows = self.engine.rows();
        let mut draft = self.draft();
        for (waiting, place) in rows.waiting(self.room.nid, landed)? {
            let Some(row) = rows.parked(self.room.nid, &waiting)? else { continue };
            draft.batch.delete(WAITS, keys::wait(self.room.nid, landed, &waiting));
            if !self.put_next_wait(&row, &waiting, place as usize, &mut draft)? {
                ready.insert(row.order, waiting);
            }
        }
        if !draft.batch.is_empty() {
            self.apply(draft)?;
        }
        Ok(())
    }
}
