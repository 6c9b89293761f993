//! The IDs of a room's events, by number and by ID.

use super::{
    EVENT_IDS, EVENT_INDEX, PURGES, ROOMS,
    rooms::Room,
    rows::{Rows, corrupt, missing},
};
use crate::{
    encoding::{
        bytes::{Cursor, Decoded, Malformed, put_varint, stamp, unstamp},
        event_ids::{EventIds, GROUP, StoredId, decode_row, encode, first_in_row, first_of_group, last_of_group},
        event_key::EventKey,
        keys,
    },
    error::Result,
    ids::{EventNid, RoomNid},
    kv::{Batch, Direction},
};

/// The ID of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventIdentity {
    /// The event ID.
    pub event_id: Box<str>,
    /// What the index knows it by.
    pub key: EventKey,
    /// Its reference hash.
    pub reference_hash: [u8; 32],
}

impl EventIdentity {
    /// `None` if it is no event ID of the room's version.
    fn of(room: &Room, stored: StoredId<'_>) -> Option<Self> {
        let (format, reference_hash) = (room.rules.event_id_format, *stored.hash);
        let of_hash = EventKey::from_bytes(reference_hash);
        let (event_id, key) = match (stored.text, of_hash.event_id(format)) {
            (Some(text), None) => (text.into(), EventKey::of(text, format)?),
            (None, Some(event_id)) => (event_id.into(), of_hash),
            (None, None) | (Some(_), Some(_)) => return None,
        };
        Some(Self { event_id, key, reference_hash })
    }

    fn stored(&self) -> StoredId<'_> {
        let text = (!self.key.is_hash_of(&self.reference_hash)).then_some(&*self.event_id);
        StoredId { hash: &self.reference_hash, text }
    }
}

/// What is wrong with a row of IDs.
const FOREIGN: Malformed = Malformed { offset: 0, what: "no event ID of the room's version" };

/// The IDs in the row of an event: its own, or those of the group that it ends.
pub(crate) fn decode_ids(room: &Room, event: EventNid, value: &[u8]) -> Decoded<Vec<(EventNid, EventIdentity)>> {
    let row = IdRow::read(&keys::event(room.nid, event), event, value)?;
    let numbers = (row.first.number()..=event.number()).filter_map(EventNid::new);
    numbers.zip(row.ids.iter()).map(|(nid, id)| Ok((nid, EventIdentity::of(room, id).ok_or(FOREIGN)?))).collect()
}

/// A row of IDs, read once for all events that are asked for.
struct IdRow<'v> {
    first: EventNid,
    ids: EventIds<'v>,
}

impl<'v> IdRow<'v> {
    fn read(key: &[u8], event: EventNid, value: &'v [u8]) -> Decoded<Self> {
        let (first, ids) = decode_row(event, unstamp(key, value)?)?;
        Ok(Self { first, ids })
    }

    fn decode(room: &Room, event: EventNid, value: &'v [u8]) -> Result<Self> {
        let key = keys::event(room.nid, event);
        Self::read(&key, event, value).map_err(|malformed| corrupt(EVENT_IDS, &key, malformed))
    }

    fn get(&self, room: &Room, event: EventNid) -> Result<EventIdentity> {
        let place = event.number().saturating_sub(self.first.number()) as usize;
        let identity = self.ids.get(place).and_then(|stored| EventIdentity::of(room, stored));
        identity.ok_or_else(|| corrupt(EVENT_IDS, &keys::event(room.nid, event), FOREIGN))
    }
}

impl Rows<'_> {
    /// Loads the ID of an event: the row of its group, or its own if it is one of the newest 63.
    pub fn event_identity(&self, room: &Room, event: EventNid) -> Result<EventIdentity> {
        let group = last_of_group(event);
        // The writer may be filling the group just now: then its row is there the second time.
        for holder in [group, event, group] {
            if let Some(value) = self.read().get(EVENT_IDS, &keys::event(room.nid, holder))? {
                return IdRow::decode(room, holder, &value)?.get(room, event);
            }
        }
        Err(missing(EVENT_IDS, &keys::event(room.nid, event)))
    }

    /// Loads the IDs of events, in their order: each row once, and all together.
    pub fn event_identities(&self, room: &Room, events: &[EventNid]) -> Result<Vec<EventIdentity>> {
        let groups = self.id_values(room, events.iter().map(|event| last_of_group(*event)).collect())?;
        let lacks = |event: &&EventNid| groups.binary_search_by_key(&last_of_group(**event), |group| group.0).is_err();
        let singles = self.id_values(room, events.iter().filter(lacks).copied().collect())?;
        let mut rows = Vec::with_capacity(groups.len().saturating_add(singles.len()));
        for (holder, value) in groups.iter().chain(&singles) {
            rows.push((*holder, IdRow::decode(room, *holder, value)?));
        }
        rows.sort_unstable_by_key(|(holder, _)| *holder);
        let row = |holder| Some(&rows.get(rows.binary_search_by_key(&holder, |(holder, _)| *holder).ok()?)?.1);
        let identity = |event: &EventNid| match row(last_of_group(*event)).or_else(|| row(*event)) {
            Some(row) => row.get(room, *event),
            None => self.event_identity(room, *event),
        };
        events.iter().map(identity).collect()
    }

    /// The rows of IDs that are there, of those with the numbers of these events; ascending, each once.
    fn id_values(&self, room: &Room, mut holders: Vec<EventNid>) -> Result<Vec<(EventNid, Vec<u8>)>> {
        holders.sort_unstable();
        holders.dedup();
        if holders.is_empty() {
            return Ok(Vec::new());
        }
        let stored: Vec<[u8; 8]> = holders.iter().map(|holder| keys::event(room.nid, *holder)).collect();
        let by_slice: Vec<&[u8]> = stored.iter().map(<[u8; 8]>::as_slice).collect();
        let values = self.read().multi_get(EVENT_IDS, &by_slice)?;
        Ok(holders.into_iter().zip(values).filter_map(|(holder, value)| Some((holder, value?))).collect())
    }

    /// Writes the ID of an event, the newest of its room. The last of a group takes the rows of the others into its own.
    pub fn put_identity(
        &self,
        batch: &mut Batch,
        room: &Room,
        event: EventNid,
        identity: &EventIdentity,
    ) -> Result<()> {
        let key = keys::event(room.nid, event);
        let mut others = Vec::new();
        if first_in_row(event) != event {
            let start = keys::event(room.nid, first_of_group(event));
            self.read().scan(EVENT_IDS, &keys::room(room.nid), &start, Direction::Forward, &mut |key, value| {
                others.push((key.to_vec(), value.to_vec()));
                Ok(others.len() < GROUP as usize)
            })?;
        }
        let mut ids = Vec::with_capacity(others.len().saturating_add(1));
        let numbers = (first_in_row(event).number()..event.number()).filter_map(EventNid::new);
        let mut rows = others.iter();
        for number in numbers {
            let own = keys::event(room.nid, number);
            let Some((_, value)) = rows.next().filter(|(key, _)| *key == own) else {
                return Err(missing(EVENT_IDS, &own));
            };
            ids.extend(IdRow::decode(room, number, value)?.ids.iter());
            batch.delete(EVENT_IDS, own);
        }
        ids.push(identity.stored());
        let mut value = encode(ids.into_iter());
        stamp(&key, &mut value);
        batch.put(EVENT_IDS, key, value);
        Ok(())
    }

    /// The events whose key begins as `event_key` does: candidates, to be checked by [`Rows::event_identity`].
    pub(super) fn candidates(&self, event_key: &EventKey) -> Result<Vec<(RoomNid, EventNid)>> {
        let index_key = event_key.prefix();
        Ok(self.decode(EVENT_INDEX, &index_key, decode_candidates)?.unwrap_or_default())
    }

    /// Finds an event in a room.
    pub fn find_event(&self, room: &Room, event_key: &EventKey) -> Result<Option<EventNid>> {
        let candidates = self.candidates(event_key)?;
        for (_, event) in candidates.iter().filter(|(owner, _)| *owner == room.nid) {
            match self.event_identity(room, *event) {
                Ok(identity) if identity.key == *event_key => return Ok(Some(*event)),
                Ok(_) => {}
                Err(error) => {
                    self.check_candidates(event_key, &candidates)?;
                    return Err(error);
                }
            }
        }
        self.check_candidates(event_key, &candidates)?;
        Ok(None)
    }

    /// Holds an index row against the events that it names. Where a look-up finds none of them the row may have been
    /// another one; few rows are there for nothing.
    fn check_candidates(&self, event_key: &EventKey, candidates: &[(RoomNid, EventNid)]) -> Result<()> {
        for candidate in candidates {
            self.unless_purging(event_key, *candidate, self.check_candidate(event_key, *candidate))?;
        }
        Ok(())
    }

    fn check_candidate(&self, event_key: &EventKey, (owner, event): (RoomNid, EventNid)) -> Result<()> {
        let index_key = event_key.prefix();
        let what = "an event that is not in the store, or whose ID begins otherwise";
        let wrong = || corrupt(EVENT_INDEX, &index_key, Malformed { offset: 0, what });
        let room_key = keys::room(owner);
        if self.read().get(PURGES, &room_key)?.is_some() {
            return Ok(());
        }
        if self.read().get(ROOMS, &room_key)?.is_none() || event.number() > self.head(owner)?.last_event {
            return Err(wrong());
        }
        let identity = self.event_identity(&self.room(owner)?, event)?;
        if identity.key.prefix() == index_key { Ok(()) } else { Err(wrong()) }
    }

    /// What was read for a candidate; nothing if its room is being purged just now, or was meanwhile: writers read a store
    /// that goes on, and another room's rows can go between two reads.
    fn unless_purging<T>(
        &self,
        event_key: &EventKey,
        (owner, event): (RoomNid, EventNid),
        read: Result<T>,
    ) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) => {
                let is_marked = self.read().get(PURGES, &keys::room(owner))?.is_some();
                let is_gone = is_marked || !self.candidates(event_key)?.contains(&(owner, event));
                if is_gone { Ok(None) } else { Err(error) }
            }
        }
    }

    /// Finds the rooms of this store that have an event of this ID.
    pub fn rooms_of_event(&self, event_id: &str) -> Result<Vec<(Room, EventNid)>> {
        let mut found = Vec::new();
        for event_key in EventKey::any_format(event_id) {
            let candidates = self.candidates(&event_key)?;
            self.check_candidates(&event_key, &candidates)?;
            for (owner, event) in candidates {
                let read = self.unless_purged(owner).and_then(|room| {
                    let Some(room) = room else { return Ok(None) };
                    let identity = self.event_identity(&room, event)?;
                    Ok((*identity.event_id == *event_id).then_some(room))
                });
                let room = self.unless_purging(&event_key, (owner, event), read)?.flatten();
                found.extend(room.map(|room| (room, event)));
            }
        }
        Ok(found)
    }

    /// Adds an event to the index row of its key, which may be shared with events whose IDs begin alike.
    pub fn put_index(&self, batch: &mut Batch, event_key: &EventKey, room: RoomNid, event: EventNid) -> Result<()> {
        let mut candidates = self.candidates(event_key)?;
        candidates.push((room, event));
        candidates.sort_unstable();
        candidates.dedup();
        batch.put(EVENT_INDEX, event_key.prefix(), encode_candidates(&candidates));
        Ok(())
    }
}

/// The value of an index row.
pub fn encode_candidates(candidates: &[(RoomNid, EventNid)]) -> Vec<u8> {
    let mut value = Vec::new();
    for (room, event) in candidates {
        put_varint(&mut value, u64::from(room.number()));
        put_varint(&mut value, u64::from(event.number()));
    }
    value
}

pub(crate) fn decode_candidates(bytes: &[u8]) -> Decoded<Vec<(RoomNid, EventNid)>> {
    let mut cursor = Cursor::new(bytes);
    let mut candidates = Vec::new();
    while cursor.left() > 0 {
        match (RoomNid::new(cursor.varint32()?), EventNid::new(cursor.varint32()?)) {
            (Some(room), Some(event)) => candidates.push((room, event)),
            _ => return Err(cursor.malformed("a room or event of number 0")),
        }
    }
    Ok(candidates)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use ruma_common::RoomVersionId;

    use super::*;
    use crate::{
        encoding::head::RoomHead,
        kv::{Read, Store as _, TableId, Value, Visit, memory::MemoryStore},
        tables::{
            purges::put_purge,
            rooms::{put_head, put_room},
            specs,
        },
    };

    fn room(version: RoomVersionId) -> Room {
        let rules = version.rules().unwrap();
        Room { nid: RoomNid::new(1).unwrap(), id: "!r:a.b".into(), rules, version }
    }

    fn nid(number: u32) -> EventNid {
        EventNid::new(number).unwrap()
    }

    fn identity(room: &Room, number: u32) -> EventIdentity {
        let mut hash = [9; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        let key = EventKey::from_bytes(hash);
        match key.event_id(room.rules.event_id_format) {
            Some(event_id) => EventIdentity { event_id: event_id.into(), key, reference_hash: hash },
            None => {
                let event_id = format!("${number}:a.b");
                let key = EventKey::of(&event_id, room.rules.event_id_format).unwrap();
                EventIdentity { event_id: event_id.into(), key, reference_hash: hash }
            }
        }
    }

    fn put(store: &MemoryStore, room: &Room, number: u32) {
        let mut batch = Batch::default();
        Rows::new(store).put_identity(&mut batch, room, nid(number), &identity(room, number)).unwrap();
        store.write(batch).unwrap();
    }

    fn rows(store: &MemoryStore) -> Vec<u32> {
        let mut numbers = Vec::new();
        store
            .scan(EVENT_IDS, &[], &[], Direction::Forward, &mut |key, _| {
                numbers.extend(keys::last_number(key));
                Ok(true)
            })
            .unwrap();
        numbers
    }

    #[test]
    fn ids_are_read_alike_before_and_after_their_group_is_full() {
        for version in [RoomVersionId::V1, RoomVersionId::V3, RoomVersionId::V11] {
            let (store, room) = (MemoryStore::open(&specs()), room(version));
            for last in 1..=200 {
                put(&store, &room, last);
                if ![62, 63, 64, 127, 128, 200].contains(&last) {
                    continue;
                }
                let reader = Rows::new(&store);
                let all: Vec<EventIdentity> = (1..=last).map(|number| identity(&room, number)).collect();
                let each: Vec<_> =
                    (1..=last).map(|number| reader.event_identity(&room, nid(number)).unwrap()).collect();
                assert_eq!(each, all);
                let mut some: Vec<EventNid> = (1..=last).rev().step_by(3).map(nid).collect();
                some.push(nid(1));
                let right: Vec<_> = some.iter().map(|event| identity(&room, event.number())).collect();
                assert_eq!(reader.event_identities(&room, &some).unwrap(), right);
                let missing = reader.event_identity(&room, nid(last + 1)).unwrap_err();
                assert!(missing.to_string().contains("event_ids"), "{missing}");
            }
            assert_eq!(rows(&store), [&[63, 127, 191][..], &(192..=200).collect::<Vec<u32>>()].concat());
        }
    }

    #[test]
    fn ids_that_share_their_first_8_bytes_are_told_apart() {
        let store = MemoryStore::open(&specs());
        let rooms = [1, 2].map(|number| Room { nid: RoomNid::new(number).unwrap(), ..room(RoomVersionId::V11) });
        let key = |number: u8| {
            let mut hash = [7; 32];
            hash[8] = number;
            EventKey::from_bytes(hash)
        };
        // Two in one room, a third in the other, and a fourth that is nowhere.
        for (room, number) in [(&rooms[0], 1), (&rooms[0], 2), (&rooms[1], 1), (&rooms[1], 3)] {
            let rows = Rows::new(&store);
            let mut head = rows.find_head(room.nid).unwrap().unwrap_or_default();
            head.last_event += 1;
            let event = nid(head.last_event);
            let event_id = key(number).event_id(room.rules.event_id_format).unwrap();
            let identity =
                EventIdentity { event_id: event_id.into(), key: key(number), reference_hash: *key(number).as_bytes() };
            let mut batch = Batch::default();
            put_room(&mut batch, room).unwrap();
            put_head(&mut batch, room.nid, &head);
            rows.put_identity(&mut batch, room, event, &identity).unwrap();
            rows.put_index(&mut batch, &key(number), room.nid, event).unwrap();
            store.write(batch).unwrap();
        }
        let rows = Rows::new(&store);
        let found = |room: &Room| [1, 2, 3, 4].map(|number| rows.find_event(room, &key(number)).unwrap());
        assert_eq!(found(&rooms[0]), [Some(nid(1)), Some(nid(2)), None, None]);
        assert_eq!(found(&rooms[1]), [Some(nid(1)), None, Some(nid(2)), None]);
        let of = |number| rows.rooms_of_event(&key(number).event_id(rooms[0].rules.event_id_format).unwrap()).unwrap();
        assert_eq!([1, 2, 3, 4].map(|number| of(number).len()), [2, 1, 1, 0]);
        let mut batch = Batch::default();
        rows.remove_from_index(&mut batch, &key(1), rooms[0].nid).unwrap();
        store.write(batch).unwrap();
        assert_eq!(Rows::new(&store).find_event(&rooms[1], &key(3)).unwrap(), Some(nid(2)));
        assert_eq!(Rows::new(&store).find_event(&rooms[0], &key(2)).unwrap(), None);
    }

    /// A store in which a room is hidden right after someone asked whether it is.
    struct HiddenMeanwhile {
        store: MemoryStore,
        room: Room,
        is_hidden: AtomicBool,
    }

    impl Read for HiddenMeanwhile {
        fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
            let value = self.store.get(table, key)?;
            if table == PURGES && !self.is_hidden.swap(true, Ordering::Relaxed) {
                let mut batch = Batch::default();
                put_purge(&mut batch, &self.room, 2)?;
                self.store.write(batch)?;
            }
            Ok(value)
        }

        fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
            self.store.multi_get(table, keys)
        }

        fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], way: Direction, visit: Visit<'_>) -> Result<()> {
            self.store.scan(table, prefix, start, way, visit)
        }
    }

    #[test]
    fn a_room_that_is_hidden_between_two_reads_is_no_damage_to_another() {
        let store = || {
            let store = MemoryStore::open(&specs());
            let other = Room { nid: RoomNid::new(2).unwrap(), ..room(RoomVersionId::V1) };
            let (mut batch, id) = (Batch::default(), identity(&other, 1));
            put_room(&mut batch, &other).unwrap();
            put_head(&mut batch, other.nid, &RoomHead { last_event: 1, ..RoomHead::default() });
            Rows::new(&store).put_identity(&mut batch, &other, nid(1), &id).unwrap();
            Rows::new(&store).put_index(&mut batch, &id.key, other.nid, nid(1)).unwrap();
            store.write(batch).unwrap();
            (HiddenMeanwhile { store, room: other, is_hidden: AtomicBool::new(false) }, id)
        };
        let (read, id) = store();
        assert_eq!(Rows::new(&read).find_event(&room(RoomVersionId::V1), &id.key).unwrap(), None);
        let (read, id) = store();
        assert!(Rows::new(&read).rooms_of_event(&id.event_id).unwrap().is_empty());
    }

    #[test]
    fn a_group_is_not_filled_over_a_gap() {
        let (store, room) = (MemoryStore::open(&specs()), room(RoomVersionId::V11));
        (1..=62).filter(|number| *number != 40).for_each(|number| put(&store, &room, number));
        let put = Rows::new(&store).put_identity(&mut Batch::default(), &room, nid(63), &identity(&room, 63));
        assert_eq!(put.unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
    }

    #[test]
    fn ids_of_another_format_than_the_rooms_are_corrupt() {
        for (written, read) in [(RoomVersionId::V1, RoomVersionId::V11), (RoomVersionId::V11, RoomVersionId::V1)] {
            let store = MemoryStore::open(&specs());
            put(&store, &room(written), 1);
            let error = Rows::new(&store).event_identity(&room(read), nid(1)).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Corrupt);
        }
    }
}
