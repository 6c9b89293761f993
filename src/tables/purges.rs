//! Rooms that were purged: hidden at once, and marked until the last of their rows is gone.

use super::{
    EVENT_INDEX, HEADS, META, PURGES, ROOM_IDS, ROOMS, TABLES,
    event_ids::encode_candidates,
    rooms::{Room, RoomRow, decode_room},
    rows::{Rows, corrupt, missing},
};
use crate::{
    encoding::{
        bytes::{Decoded, Malformed, stamp, unstamp},
        cold,
        event_key::EventKey,
        keys,
    },
    error::Result,
    ids::RoomNid,
    kv::{Batch, Direction, TableId, prefix_end},
};

/// The key in `meta` of the greatest number that any room has had when one was purged.
pub const LAST_ROOM_KEY: &[u8] = b"last_room";

impl Rows<'_> {
    /// Loads a room; `None` if it was purged and some of its rows are still there.
    pub fn unless_purged(&self, nid: RoomNid) -> Result<Option<Room>> {
        match self.read().get(PURGES, &keys::room(nid))? {
            Some(_) => Ok(None),
            None => self.room(nid).map(Some),
        }
    }

    /// The rooms that were purged and have rows left, in the order of their numbers.
    pub fn purges(&self) -> Result<Vec<Room>> {
        let load = |nid: RoomNid| {
            let key = keys::room(nid);
            let room = self.decode(PURGES, &key, |bytes| decode_purge(nid, bytes))?;
            room.ok_or_else(|| missing(PURGES, &key))
        };
        self.room_numbers(PURGES)?.into_iter().map(load).collect()
    }

    /// The greatest number that a room of this store has or had; 0 if there was none.
    pub fn last_room(&self) -> Result<u32> {
        let mut last = self.decode(META, LAST_ROOM_KEY, decode_last_room)?.unwrap_or_default();
        // From behind the last number there can be, so that a key that is too long is seen too.
        self.read().scan(ROOMS, &[], &[0xff; 5], Direction::Reverse, &mut |key, _| {
            let what = Malformed { offset: 0, what: "a key that is no number of a room" };
            last = last.max(keys::only_number(key).ok_or_else(|| corrupt(ROOMS, key, what))?);
            Ok(false)
        })?;
        Ok(last)
    }

    /// Takes a room's events out of the index row of a key.
    pub fn remove_from_index(&self, batch: &mut Batch, event_key: &EventKey, room: RoomNid) -> Result<()> {
        let mut candidates = self.candidates(event_key)?;
        let before = candidates.len();
        candidates.retain(|(owner, _)| *owner != room);
        if candidates.is_empty() {
            batch.delete(EVENT_INDEX, event_key.prefix());
        } else if candidates.len() < before {
            batch.put(EVENT_INDEX, event_key.prefix(), encode_candidates(&candidates));
        }
        Ok(())
    }
}

/// Hides a room: nobody finds it any more, and its mark says what is left to delete. `last_room` is the greatest number
/// that any room has had, so that none is given out twice.
pub fn put_purge(batch: &mut Batch, room: &Room, last_room: u32) -> Result<()> {
    let key = keys::room(room.nid);
    for table in [ROOMS, HEADS] {
        batch.delete(table, key);
    }
    batch.delete(ROOM_IDS, room.id.as_bytes());
    let mut mark = cold::encode(&RoomRow::of(room))?;
    stamp(&key, &mut mark);
    batch.put(PURGES, key, mark);
    let mut last = cold::encode(&(last_room,))?;
    stamp(LAST_ROOM_KEY, &mut last);
    batch.put(META, LAST_ROOM_KEY, last);
    Ok(())
}

/// The range of a room's rows in every table that is keyed by room.
pub fn room_ranges(room: RoomNid) -> impl Iterator<Item = (TableId, (Vec<u8>, Vec<u8>))> {
    let start = keys::room(room).to_vec();
    // No key begins with the greatest prefix but those of the last room, and none is longer than this.
    let end = prefix_end(&start).unwrap_or_else(|| vec![0xff; 128]);
    let tables = (0..).map(TableId).zip(TABLES).filter(|(_, table)| table.by_room);
    tables.map(move |(table, _)| (table, (start.clone(), end.clone())))
}

/// Reads the mark of a purged room.
pub fn decode_purge(nid: RoomNid, stamped: &[u8]) -> Decoded<Room> {
    let row = cold::decode(unstamp(&keys::room(nid), stamped)?)?;
    decode_room(nid, row)
}

/// Reads the greatest number of a room that `meta` remembers.
pub fn decode_last_room(stamped: &[u8]) -> Decoded<u32> {
    cold::decode::<(u32,)>(unstamp(LAST_ROOM_KEY, stamped)?).map(|(last,)| last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, kv::Store, kv::memory::MemoryStore};

    #[test]
    fn a_last_room_whose_key_is_malformed_is_damage_and_no_room_gets_its_number() {
        for key in [&[0, 0, 1][..], &[0, 0, 0, 0], &[0, 0, 0, 7, 1], &[0xff; 5]] {
            let store = MemoryStore::open(&crate::tables::specs());
            let mut batch = Batch::default();
            batch.put(ROOMS, key, *b"");
            store.write(batch).unwrap();
            assert_eq!(Rows::new(&store).last_room().unwrap_err().kind(), ErrorKind::Corrupt, "{key:?}");
        }
    }
}
