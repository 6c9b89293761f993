//! Where the suite runs, and what each of its claims uses to write and read.

use super::super::{Access, Batch, Direction, Read, Store, TableId, TableSpec};
use crate::error::Result;

/// Where a backend keeps one store, so that the suite can open it again.
pub trait Place {
    /// Opens the store, empty at first, and later with what was synced before. Earlier handles have been dropped.
    fn open(&mut self, specs: &[TableSpec]) -> Result<Box<dyn Store>>;

    /// Writes a checkpoint of `store`, which this place opened, and opens it as a store of its own.
    fn open_copy(&mut self, store: &dyn Store, specs: &[TableSpec]) -> Result<Box<dyn Store>>;

    /// Lets the next write of the store that was opened last answer `Busy`; `false` if this place cannot do so.
    ///
    /// Without it the suite leaves out what must hold after such a write.
    fn refuse_next_write(&mut self) -> bool {
        false
    }
}

/// The tables that the suite opens.
pub const TABLES: &[TableSpec] =
    &[TableSpec { name: "left", access: Access::Scan }, TableSpec { name: "right", access: Access::Point }];

pub(super) const LEFT: TableId = TableId(0);
pub(super) const RIGHT: TableId = TableId(1);

/// A row of a scan.
pub(super) type Row = (Vec<u8>, Vec<u8>);

pub(super) fn put(store: &dyn Store, table: TableId, key: &[u8], value: &[u8]) -> u64 {
    let mut batch = Batch::default();
    batch.put(table, key, value);
    store.write(batch).unwrap()
}

pub(super) fn put_keys(store: &dyn Store, keys: &[&[u8]]) {
    let mut batch = Batch::default();
    for key in keys {
        batch.put(LEFT, *key, *key);
    }
    store.write(batch).unwrap();
}

pub(super) fn get(read: &(impl Read + ?Sized), table: TableId, key: &[u8]) -> Option<Vec<u8>> {
    read.get(table, key).unwrap()
}

pub(super) fn keys(read: &(impl Read + ?Sized), prefix: &[u8], start: &[u8], direction: Direction) -> Vec<Vec<u8>> {
    scan(read, LEFT, prefix, start, direction).into_iter().map(|(key, _)| key).collect()
}

pub(super) fn all(read: &(impl Read + ?Sized), table: TableId) -> Vec<Row> {
    scan(read, table, b"", b"", Direction::Forward)
}

pub(super) fn scan(
    read: &(impl Read + ?Sized),
    table: TableId,
    prefix: &[u8],
    start: &[u8],
    direction: Direction,
) -> Vec<Row> {
    let mut rows = Vec::new();
    read.scan(table, prefix, start, direction, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(true)
    })
    .unwrap();
    rows
}
