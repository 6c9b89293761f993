//! Purging a room: it is hidden in one batch, and what it left behind is deleted afterwards, in bounded steps.
//!
//! The numbers of events and snapshots mean something only beside their room's, and that is never given out again. So a
//! room of the same ID can begin as soon as the old one is hidden, and nothing that is left of the old one, on disk or in
//! a cache, can be taken for the new one's.

use std::sync::Arc;

use super::engine::Engine;
use crate::{
    encoding::{event_ids::GROUP, event_key::EventKey, keys},
    error::Result,
    ids::{EventNid, RoomNid},
    kv::{Batch, Direction, TableId},
    tables::{
        CURRENT_STATE, EVENT_IDS, PARKED, PURGES, WANTED,
        event_ids::decode_ids,
        interning::member_type,
        parked::decode_parked,
        purges::{delete_room, put_purge, room_ranges},
        rows::{Room, corrupt, missing},
    },
};

/// Rows that one step looks at.
const STEP_ROWS: usize = 256;

/// A room that is hidden and has rows left.
pub struct Purging {
    room: Room,
    place: Place,
}

/// What is next to be deleted.
enum Place {
    /// Index entries, of the events from this key on.
    Index(Vec<u8>),
    /// Memberships by user, of the members from this key on.
    Members(Vec<u8>),
    /// What parked inputs want, of the inputs from this key on.
    Parked(Vec<u8>),
    /// All rows that begin with the room.
    Ranges,
    /// Nothing: the bytes of this table are to come back.
    Compaction(usize),
}

impl Purging {
    /// A purge that begins, or begins again after a crash.
    pub fn new(room: Room) -> Self {
        let begin = keys::room(room.nid).to_vec();
        Self { room, place: Place::Index(begin) }
    }
}

impl Engine {
    /// Hides a room whose writer is at rest: nobody finds it any more. Gives the batch's sequence number.
    pub fn hide(&self, room: &Room) -> Result<u64> {
        let mut batch = Batch::default();
        // A list that is just being built would leave rows behind; whoever builds later sees the mark.
        let _unsealed = self.sealing.hold(room.nid);
        // Held until the batch is applied: a greater number that is given out meanwhile must not be forgotten.
        let numbers = self.hold_room_numbers();
        put_purge(&mut batch, room, numbers.last)?;
        let sequence = self.write(batch)?;
        drop(numbers);
        self.forget_room(&room.id);
        Ok(sequence)
    }

    /// Deletes the next part of what a hidden room left behind; `false` once nothing is left.
    pub fn purge_step(&self, purging: &mut Purging) -> Result<bool> {
        let nid = purging.room.nid;
        match &mut purging.place {
            Place::Index(from) => {
                let next = self.purge_index(&purging.room, from)?;
                purging.place = next.map_or_else(|| Place::Members(keys::room(nid).to_vec()), Place::Index);
            }
            Place::Members(from) => {
                let next = self.purge_members(nid, from)?;
                purging.place = next.map_or_else(|| Place::Parked(keys::room(nid).to_vec()), Place::Members);
            }
            Place::Parked(from) => {
                let next = self.purge_wanted(&purging.room, from)?;
                purging.place = next.map_or(Place::Ranges, Place::Parked);
            }
            Place::Ranges => {
                let mut batch = Batch::default();
                delete_room(&mut batch, nid);
                self.write(batch)?;
                self.forget_rows(nid);
                purging.place = Place::Compaction(0);
            }
            Place::Compaction(done) => {
                if let Some((table, (start, end))) = room_ranges(nid).nth(*done) {
                    self.store().compact(table, &start, &end)?;
                    *done = done.saturating_add(1);
                    return Ok(true);
                }
                // Views that were opened before the room was hidden may have put rows back meanwhile.
                self.forget_rows(nid);
                let mut batch = Batch::default();
                batch.delete(PURGES, keys::room(nid));
                self.write(batch)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes a page of events out of the index; gives where the next page begins.
    fn purge_index(&self, room: &Room, from: &[u8]) -> Result<Option<Vec<u8>>> {
        let rows = self.rows();
        let page = self.page(EVENT_IDS, room.nid, from, STEP_ROWS / GROUP as usize)?;
        let mut event_keys = Vec::new();
        for (key, value) in &page.rows {
            let event = keys::last_number(key).and_then(EventNid::new).ok_or_else(|| missing(EVENT_IDS, key))?;
            let ids = decode_ids(room, event, value).map_err(|malformed| corrupt(EVENT_IDS, key, malformed))?;
            event_keys.extend(ids.into_iter().map(|(_, identity)| identity.key));
        }
        // Events whose keys begin alike share a row, which is to be read and written once.
        event_keys.sort_unstable_by_key(EventKey::prefix);
        event_keys.dedup_by_key(|key| key.prefix());
        let mut batch = Batch::default();
        let _held = self.index_locks(&event_keys);
        for event_key in &event_keys {
            rows.remove_from_index(&mut batch, event_key, room.nid)?;
        }
        if !batch.is_empty() {
            self.write(batch)?;
        }
        Ok(page.next)
    }

    /// Deletes the memberships of a page of members by user; gives where the next page begins.
    fn purge_members(&self, room: RoomNid, from: &[u8]) -> Result<Option<Vec<u8>>> {
        let page = self.page(CURRENT_STATE, room, from, STEP_ROWS)?;
        let mut batch = Batch::default();
        for (key, _) in &page.rows {
            let tuple = keys::tuple_of_current(key);
            if let Some(tuple) = tuple.filter(|tuple| Some(tuple.event_type) == member_type()) {
                batch.delete(crate::tables::USER_ROOMS, keys::user_room(tuple.state_key, room));
            }
        }
        if !batch.is_empty() {
            self.write(batch)?;
        }
        Ok(page.next)
    }

    /// Deletes the rows of what a page of parked inputs want; gives where the next page begins.
    fn purge_wanted(&self, room: &Room, from: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut found = Vec::new();
        let (mut last, mut count) = (Vec::new(), 0usize);
        // Not a page of rows: each can have 64 MiB.
        self.store().scan(PARKED, &keys::room(room.nid), from, Direction::Forward, &mut |key, value| {
            let row = decode_parked(key, value).map_err(|malformed| corrupt(PARKED, key, malformed))?;
            let named = row.missing.iter().filter(|want| want.role.is_named());
            let named = named.filter_map(|want| EventKey::of(&want.event_id, room.rules.event_id_format));
            found.extend(named.map(|wanted| (wanted, row.order)));
            last = key.to_vec();
            count = count.saturating_add(1);
            Ok(count < STEP_ROWS)
        })?;
        found.sort_unstable();
        found.dedup();
        let mut batch = Batch::default();
        let mut deleted = Vec::with_capacity(found.len());
        for (wanted, order) in found {
            let key = keys::wanted(&wanted, room.nid, order);
            // One that is gone, since a purge that was cut off deleted it, is not counted any more.
            if self.store().get(WANTED, &key)?.is_some() {
                batch.delete(WANTED, key);
                deleted.push(wanted);
            }
        }
        if !batch.is_empty() {
            self.write(batch)?;
            deleted.iter().for_each(|wanted| self.wanted.remove(wanted));
        }
        Ok((count >= STEP_ROWS).then(|| [last.as_slice(), &[0]].concat()))
    }

    fn page(&self, table: TableId, room: RoomNid, from: &[u8], limit: usize) -> Result<Page> {
        let mut rows = Vec::new();
        self.store().scan(table, &keys::room(room), from, Direction::Forward, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(rows.len() < limit)
        })?;
        let last = rows.last().filter(|_| rows.len() >= limit);
        Ok(Page { next: last.map(|(last, _)| [last.as_slice(), &[0]].concat()), rows })
    }

    /// Drops a room's rows from memory: after a purge, and after a panic of the room's writer, which may have stored what
    /// memory does not hold.
    pub fn forget_rows(&self, room: RoomNid) {
        self.states.forget_room(room);
        self.events.retain(|(owner, _), _: &Arc<_>| *owner != room);
        self.keys.retain(|(owner, _), _| *owner != room);
        self.current.retain(|(owner, _), _| *owner != room);
    }
}

/// Some rows of a table, and the first key after them if there may be more.
struct Page {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    next: Option<Vec<u8>>,
}
