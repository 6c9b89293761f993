//! Purging a room: it is hidden in one batch, and what it left behind is deleted afterwards, in bounded steps.
//!
//! The numbers of events and snapshots mean something only beside their room's, and that is never given out again. So a
//! room of the same ID can begin as soon as the old one is hidden, and nothing that is left of the old one, on disk or in
//! a cache, can be taken for the new one's.

use std::{sync::Arc, time::Duration};

use super::engine::Engine;
use crate::{
    encoding::{event_ids::GROUP, event_key::EventKey, keys},
    error::{ErrorKind, Result},
    ids::{EventNid, RoomNid},
    kv::{Batch, Direction, Garbage, TableId},
    tables::{
        CURRENT_STATE, EVENT_IDS, PARKED, PURGES, WANTED,
        event_ids::decode_ids,
        interning::member_type,
        parked::decode_parked,
        purges::{put_purge, room_ranges},
        rooms::Room,
        rows::{corrupt, missing},
    },
};

/// Rows that one step looks at.
const STEP_ROWS: usize = 256;

/// Rows of a room in one table that are deleted one by one; what a larger room has beyond them goes as one range.
///
/// A store keeps a deleted range as a range, and reads near it ask for it until it is compacted away: with one for every
/// small room, and every table, all reads would pay. A row that is deleted costs about what it cost to write.
const SINGLE_ROWS: usize = 1024;

/// Between two attempts to write into a store that is busy.
const PAUSE: Duration = Duration::from_millis(10);

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
    /// Rows that begin with the room, from this one on.
    Rows(RowPlace),
    /// Nothing: the bytes of all tables are to come back.
    Compaction,
}

/// A row among those that begin with a room, table by table.
#[derive(Clone)]
struct RowPlace {
    /// The place of its table among those that are keyed by room.
    table: usize,
    /// The first key that may be left there.
    from: Vec<u8>,
    /// Rows before it in its table, which were deleted one by one.
    before: usize,
}

impl RowPlace {
    fn begin(table: usize, room: RoomNid) -> Self {
        Self { table, from: keys::room(room).to_vec(), before: 0 }
    }
}

/// Tries again what the store is too busy for, until it is taken, fails otherwise, or `is_over`. What a hidden room left
/// behind is nobody's any more: nobody would come back to it before the store is opened again.
pub fn until_taken<T>(is_over: &dyn Fn() -> bool, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::Busy && !is_over() => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
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
        let _held = self.due_lists.hold(room.nid);
        // Held until the batch is applied: a greater number that is given out meanwhile must not be forgotten.
        let numbers = self.hold_room_numbers();
        put_purge(&mut batch, room, numbers.last)?;
        // First, since the store may panic after it has written the batch: the room would be found in memory alone.
        self.forget_room(&room.id);
        self.write(batch)
    }

    /// Deletes the next part of what a hidden room left behind; `false` once nothing is left. After an error the same part
    /// can be tried again.
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
                purging.place = next.map_or_else(|| Place::Rows(RowPlace::begin(0, nid)), Place::Parked);
            }
            Place::Rows(from) => {
                let next = self.purge_rows(nid, from)?;
                purging.place = next.map_or(Place::Compaction, Place::Rows);
            }
            Place::Compaction => {
                let garbage: Vec<Garbage> =
                    room_ranges(nid).map(|(table, (start, end))| Garbage { table, start, end, rows: None }).collect();
                // Readers see the room gone from here on: what they see keeps its bytes, compacted or not.
                self.sync()?;
                self.compact(&garbage)?;
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
        let page = self
            .page(EVENT_IDS, room.nid, from, STEP_ROWS / GROUP as usize, |key, value| (key.to_vec(), value.to_vec()))?;
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
        let page = self.page(CURRENT_STATE, room, from, STEP_ROWS, |key, _| key.to_vec())?;
        let mut batch = Batch::default();
        for key in &page.rows {
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

    /// Deletes the next rows that begin with the room; gives where to go on, if any were left.
    fn purge_rows(&self, room: RoomNid, from: &RowPlace) -> Result<Option<RowPlace>> {
        let mut batch = Batch::default();
        let mut place = from.clone();
        while let Some((table, (_, end))) = room_ranges(room).nth(place.table) {
            let limit = STEP_ROWS.saturating_sub(batch.ops().len());
            if limit == 0 {
                break;
            }
            let Page { rows, next } = self.page(table, room, &place.from, limit, |key, _| key.to_vec())?;
            place.before = place.before.saturating_add(rows.len());
            rows.into_iter().for_each(|key| batch.delete(table, key));
            match next {
                Some(next) if place.before < SINGLE_ROWS => place.from = next,
                next => {
                    if let Some(next) = next {
                        batch.delete_range(table, next, end);
                    }
                    place = RowPlace::begin(place.table.saturating_add(1), room);
                }
            }
        }
        if batch.is_empty() {
            return Ok(None);
        }
        self.write(batch)?;
        Ok(Some(place))
    }

    /// What `take` makes of at most `limit` rows of a room, from a key on.
    fn page<R>(
        &self,
        table: TableId,
        room: RoomNid,
        from: &[u8],
        limit: usize,
        take: fn(&[u8], &[u8]) -> R,
    ) -> Result<Page<R>> {
        let (mut rows, mut last) = (Vec::new(), Vec::new());
        self.store().scan(table, &keys::room(room), from, Direction::Forward, &mut |key, value| {
            last = key.to_vec();
            rows.push(take(key, value));
            Ok(rows.len() < limit)
        })?;
        let next = (rows.len() >= limit).then(|| [last.as_slice(), &[0]].concat());
        Ok(Page { rows, next })
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
struct Page<R> {
    rows: Vec<R>,
    next: Option<Vec<u8>>,
}
