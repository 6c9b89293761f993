//! Whole tables of a room, row by row: what garbage collection looks at.

use super::{
    BLOCKS, EVENT_ROWS, LISTS, PACKS,
    rows::{Rows, corrupt},
};
use crate::{
    encoding::{
        bytes::{Malformed, unstamp},
        event_row::EventRow,
        keys,
        list::{self, BlockNid, List},
        pack::{self, Pack},
    },
    error::Result,
    ids::{EventNid, RoomNid, SnapshotNid},
    kv::{Direction, TableId},
};

/// Called for each row.
type VisitRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

impl Rows<'_> {
    /// Visits the rows of all events of a room, the newest first.
    pub fn event_rows(&self, room: RoomNid, visit: &mut dyn FnMut(EventNid, EventRow) -> Result<()>) -> Result<()> {
        self.newest_first(EVENT_ROWS, room, &mut |key, value| {
            let none = Malformed { offset: 0, what: "a key that names no event" };
            let nid = keys::second_number(key).and_then(EventNid::new).ok_or_else(|| corrupt(EVENT_ROWS, key, none))?;
            let row = unstamp(key, value).and_then(|bytes| EventRow::decode(nid, bytes));
            visit(nid, row.map_err(|malformed| corrupt(EVENT_ROWS, key, malformed))?)
        })
    }

    /// Visits the packs of a room, the newest first, with the bytes of their rows.
    pub fn packs(&self, room: RoomNid, visit: &mut dyn FnMut(Pack, usize) -> Result<()>) -> Result<()> {
        self.newest_first(PACKS, room, &mut |key, value| {
            let first = snapshot_of(PACKS, key)?;
            let pack = unstamp(key, value).and_then(|bytes| pack::decode(first, bytes));
            visit(pack.map_err(|malformed| corrupt(PACKS, key, malformed))?, key.len() + value.len())
        })
    }

    /// Visits the lists of a room, the newest first, with the bytes of their rows.
    pub fn lists(&self, room: RoomNid, visit: &mut dyn FnMut(SnapshotNid, List, usize) -> Result<()>) -> Result<()> {
        self.newest_first(LISTS, room, &mut |key, value| {
            let sealed = snapshot_of(LISTS, key)?;
            let list = unstamp(key, value).and_then(|bytes| list::decode(sealed, bytes));
            visit(sealed, list.map_err(|malformed| corrupt(LISTS, key, malformed))?, key.len() + value.len())
        })
    }

    /// Visits the names of the blocks of a room, the newest first, with the bytes of their rows.
    pub fn blocks(&self, room: RoomNid, visit: &mut dyn FnMut(BlockNid, usize) -> Result<()>) -> Result<()> {
        self.newest_first(BLOCKS, room, &mut |key, value| {
            let none = Malformed { offset: 0, what: "a key that names no block" };
            let block = keys::block_of(key).ok_or_else(|| corrupt(BLOCKS, key, none))?;
            visit(block, key.len() + value.len())
        })
    }

    fn newest_first(&self, table: TableId, room: RoomNid, visit: VisitRow<'_>) -> Result<()> {
        let prefix = keys::room(room);
        let last = [prefix.as_slice(), &[0xff; 8]].concat();
        self.read().scan(table, &prefix, &last, Direction::Reverse, &mut |key, value| visit(key, value).map(|()| true))
    }
}

/// The snapshot in the key of a pack or a list.
fn snapshot_of(table: TableId, key: &[u8]) -> Result<SnapshotNid> {
    let none = Malformed { offset: 0, what: "a key that names no snapshot" };
    keys::second_number(key).map(SnapshotNid::new).ok_or_else(|| corrupt(table, key, none))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ErrorKind,
        kv::{Batch, Store, memory::MemoryStore},
        tables::POSITIONS,
    };

    #[test]
    fn a_row_whose_key_is_malformed_is_damage_and_not_row_0() {
        let room = RoomNid::new(1).unwrap();
        for key in [&[0, 0, 0, 1][..], &[0, 0, 0, 1, 9, 9, 9], &[0, 0, 0, 1, 0, 0, 0, 0], &[0, 0, 0, 1, 0, 0, 0, 1, 1]]
        {
            let store = MemoryStore::open(&crate::tables::specs());
            let mut batch = Batch::default();
            // A position that would be read: event 1, which came as an outlier.
            batch.put(POSITIONS, key, [3]);
            [EVENT_ROWS, PACKS, LISTS].into_iter().for_each(|table| batch.put(table, key, *b""));
            store.write(batch).unwrap();
            let rows = Rows::new(&store);
            for (read, what) in [
                (rows.event_rows(room, &mut |_, _| Ok(())), "names no event"),
                (rows.packs(room, &mut |_, _| Ok(())), "names no snapshot"),
                (rows.lists(room, &mut |_, _, _| Ok(())), "names no snapshot"),
                (rows.positions(room, &mut |_, _| Ok(true)), "names no position"),
            ] {
                let error = read.unwrap_err();
                assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(what), "{key:?}: {error}");
            }
        }
    }
}
