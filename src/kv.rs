//! The key-value store under the engine: a small trait, two backends, and the suite that every backend passes.
//!
//! The engine needs ordered tables, atomic batches across tables, consistent snapshots and an explicit `sync`.
//! A host that already has a RocksDB of its own implements [`Store`] over its handle and runs [`conformance`].

pub mod conformance;
pub mod memory;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
#[cfg(feature = "rocksdb")]
mod wal;

use crate::error::Result;

/// What a backend must know about a table to open and tune it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSpec {
    /// Its name; in RocksDB the name of its column family.
    pub name: &'static str,
    /// How it is read.
    pub access: Access,
}

/// How a table is read, which decides its tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Mostly point look-ups of keys that are there or not: wants a Bloom filter.
    Point,
    /// Mostly neighbours in key order: wants larger, better compressed blocks.
    Scan,
}

/// A table of an open store: its index in the list of [`TableSpec`]s that the store was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableId(pub u16);

/// The direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys, from the first key at or after the start.
    Forward,
    /// Descending keys, from the last key at or before the start.
    Reverse,
}

/// A value as read; cheap to hold while it is decoded.
pub type Value = Vec<u8>;

/// Called for each row of a scan; returning `false` ends it.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<bool>;

/// Reads of one consistent state of a store.
pub trait Read: Send + Sync {
    /// Looks up one key.
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>>;

    /// Looks up several keys of one table; the answers are in the order of the keys.
    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>>;

    /// Visits the rows whose keys begin with `prefix`, in key order, from `start` on (inclusive).
    ///
    /// `start` must begin with `prefix`. Forward: keys at or after it; reverse: keys at or before it.
    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()>;
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Puts a row.
    Put { table: TableId, key: Vec<u8>, value: Vec<u8> },
    /// Deletes a row; a key that is not there is no error.
    Delete { table: TableId, key: Vec<u8> },
    /// Deletes the rows from `start` (inclusive) to `end` (exclusive).
    DeleteRange { table: TableId, start: Vec<u8>, end: Vec<u8> },
}

/// Changes that are applied together or not at all, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Batch {
    ops: Vec<Op>,
    bytes: usize,
}

impl Batch {
    /// Puts a row.
    pub fn put(&mut self, table: TableId, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.ops.push(Op::Put { table, key, value });
    }

    /// Deletes a row.
    pub fn delete(&mut self, table: TableId, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.bytes += key.len();
        self.ops.push(Op::Delete { table, key });
    }

    /// Deletes the rows from `start` (inclusive) to `end` (exclusive).
    pub fn delete_range(&mut self, table: TableId, start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) {
        let (start, end) = (start.into(), end.into());
        self.bytes += start.len() + end.len();
        self.ops.push(Op::DeleteRange { table, start, end });
    }

    /// The changes, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Tells whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes of keys and values in it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// An ordered key-value store with atomic batches.
///
/// Reads through the store itself see the newest applied batch; reads through [`Store::snapshot`] one fixed state.
/// After the first error of a write, `write` and `sync` refuse with [`Unavailable`](crate::ErrorKind::Unavailable)
/// until the store is opened again; reads go on.
pub trait Store: Read + 'static {
    /// A consistent view of the state as it is now, which later writes do not change.
    fn snapshot(&self) -> Box<dyn Read + '_>;

    /// Applies a batch and gives its sequence number; it is durable after the next [`sync`](Store::sync).
    ///
    /// Sequence numbers grow. Of two batches the one with the smaller number is durable before the other.
    fn write(&self, batch: Batch) -> Result<u64>;

    /// Makes every batch that was applied before the call durable; gives the sequence number up to which all is.
    fn sync(&self) -> Result<u64>;

    /// Moves everything from memory to the medium and, if `compact`, rewrites all tables in full.
    fn flush(&self, compact: bool) -> Result<()>;

    /// Live bytes on the medium by table, in the order of the store's tables. Exact after `flush(true)`.
    fn table_bytes(&self) -> Result<Vec<u64>>;

    /// Writes a consistent copy of the whole store into `directory`, which must not exist yet.
    fn checkpoint(&self, directory: &std::path::Path) -> Result<()>;
}
