//! The rows of event IDs, an event at a time.

use std::collections::VecDeque;

use super::streams::{Check, RowStream};
use crate::{
    encoding::{event_ids::last_of_group, keys},
    error::Result,
    ids::EventNid,
    tables::{
        EVENT_IDS,
        event_ids::{EventIdentity, decode_ids},
        rooms::Room,
    },
};

/// The IDs of a room's events from the first on.
pub(super) struct IdStream<'r, 'c> {
    room: &'r Room,
    /// The last event of the room, of which it follows which groups are full.
    last: u32,
    rows: RowStream<'c>,
    /// The event whose row was read last.
    holder: u32,
    /// The IDs that this row still has.
    held: VecDeque<(EventNid, EventIdentity)>,
}

impl<'r, 'c> IdStream<'r, 'c> {
    /// Those of the events from 1 to `last`.
    pub(super) fn new(check: &Check<'c>, room: &'r Room, last: u32) -> Self {
        let rows = RowStream::new(check, EVENT_IDS, &keys::room(room.nid));
        Self { room, last, rows, holder: 0, held: VecDeque::new() }
    }

    /// Tells whether no ID is left.
    pub(super) fn is_at_end(&mut self, check: &mut Check<'_>) -> Result<bool> {
        Ok(self.held.is_empty() && self.rows.is_at_end(check)?)
    }

    /// The ID of an event. All are asked for, ascending.
    pub(super) fn take(&mut self, check: &mut Check<'_>, event: EventNid) -> Result<Option<EventIdentity>> {
        if event.number() > self.holder {
            let group = last_of_group(event);
            let holder = if group.number() <= self.last { group } else { event };
            let key = keys::event(self.room.nid, holder);
            if let Some(value) = self.rows.take(check, &key)? {
                let ids = check.decoded(EVENT_IDS, &key, decode_ids(self.room, holder, &value));
                self.held = ids.unwrap_or_default().into();
            }
            self.holder = holder.number();
        }
        let is_own = self.held.front().is_some_and(|(held, _)| *held == event);
        Ok(if is_own { self.held.pop_front().map(|(_, identity)| identity) } else { None })
    }

    /// Whatever is left is too much.
    pub(super) fn finish(self, check: &mut Check<'_>) -> Result<()> {
        self.rows.finish(check)
    }
}
