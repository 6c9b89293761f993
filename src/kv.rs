//! The key-value store under the engine: a small trait, two backends, and the suite that every backend passes.
//!
//! The engine needs ordered tables, atomic batches across tables, consistent snapshots and an explicit `sync`.
//! A host that already has a RocksDB of its own implements [`Store`] over its handle and runs [`conformance`].

pub(crate) mod claim;
mod claimable;
pub mod conformance;
pub mod counting;
pub mod memory;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
#[cfg(any(test, feature = "rocksdb", feature = "fuzzing"))]
pub mod wal;

use std::path::Path;
use std::sync::Arc;

pub use self::claimable::Claimable;
use crate::error::{Error, Result};

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
    /// Point look-ups of keys that are there: wants no filter.
    Present,
    /// The same, of many small rows that have much in common: wants a dictionary for its compression.
    Dense,
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

/// Gives the first key after all keys that begin with `prefix`: the exclusive end of its range.
///
/// `None` if there is no such key, which is so for the empty prefix and for prefixes of 0xff bytes only.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// Refuses a scan whose start lies outside its prefix, for backends; an [`Internal`](crate::ErrorKind::Internal) error.
pub fn check_scan(prefix: &[u8], start: &[u8]) -> Result<()> {
    if start.starts_with(prefix) {
        return Ok(());
    }
    Err(Error::internal("a scan was asked to start outside its prefix"))
}

/// Refuses a checkpoint into a directory that exists already, and makes its parent.
fn prepare_checkpoint(directory: &Path) -> Result<()> {
    let unusable = |error: std::io::Error| {
        Error::unavailable(format!("a checkpoint cannot be written to {}", directory.display())).with_source(error)
    };
    if directory.try_exists().map_err(unusable)? {
        return Err(Error::invalid(format!("a checkpoint needs a new directory: {} is there", directory.display())));
    }
    match directory.parent() {
        Some(parent) => std::fs::create_dir_all(parent).map_err(unusable),
        None => Ok(()),
    }
}

/// Reads of one consistent state of a store.
///
/// A table that the store was not opened with is an [`Internal`](crate::ErrorKind::Internal) error.
pub trait Read: Send + Sync {
    /// Looks up one key.
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>>;

    /// Looks up several keys of one table; the answers are in the order of the keys.
    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>>;

    /// Visits the rows whose keys begin with `prefix`, in key order, from `start` on (inclusive).
    ///
    /// `start` must begin with `prefix`. Forward: keys at or after it; reverse: keys at or before it.
    /// All rows are of one state of the table, also when `visit` or another thread writes meanwhile.
    /// An error of `visit` ends the scan and is given back.
    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()>;
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Puts a row.
    Put {
        /// The table of the row.
        table: TableId,
        /// Its key.
        key: Vec<u8>,
        /// Its value, which replaces an earlier one.
        value: Vec<u8>,
    },
    /// Deletes a row; a key that is not there is no error.
    Delete {
        /// The table of the row.
        table: TableId,
        /// Its key.
        key: Vec<u8>,
    },
    /// Deletes the rows from `start` (inclusive) to `end` (exclusive); none if `end` is not after `start`.
    DeleteRange {
        /// The table of the rows.
        table: TableId,
        /// The first key of the range.
        start: Vec<u8>,
        /// The first key after the range.
        end: Vec<u8>,
    },
}

impl Op {
    /// The table that it changes.
    pub fn table(&self) -> TableId {
        match self {
            Self::Put { table, .. } | Self::Delete { table, .. } | Self::DeleteRange { table, .. } => *table,
        }
    }
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

    /// Deletes the rows from `start` (inclusive) to `end` (exclusive); none if `end` is not after `start`.
    ///
    /// [`prefix_end`] gives the end of all rows with a prefix.
    pub fn delete_range(&mut self, table: TableId, start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) {
        let (start, end) = (start.into(), end.into());
        self.bytes += start.len() + end.len();
        self.ops.push(Op::DeleteRange { table, start, end });
    }

    /// The changes, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Gives the changes away, in order, for a backend that keeps keys and values.
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
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

/// A part of a table in which rows were deleted or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// The table.
    pub table: TableId,
    /// The first key of the part.
    pub start: Vec<u8>,
    /// The first key after it.
    pub end: Vec<u8>,
    /// How many rows of it are garbage, about; `None` if all are that it had.
    pub rows: Option<u64>,
}

/// An ordered key-value store with atomic batches.
///
/// Reads through the store itself see the newest applied batch; reads through [`Store::snapshot`] one fixed state.
///
/// An error of [`write`](Store::write), [`sync`](Store::sync), [`flush`](Store::flush) or [`compact`](Store::compact)
/// *poisons* the store: all four then refuse with [`Unavailable`](crate::ErrorKind::Unavailable) until it is opened again; reads go on. What the
/// medium holds of the batches after the last sync is not known then. Two errors do not poison, and leave nothing
/// behind: [`Busy`](crate::ErrorKind::Busy), the store cannot do it yet, and the same call may succeed later; and
/// [`Internal`](crate::ErrorKind::Internal), the call names a table that does not exist. After a `Busy` sync no more is
/// durable than before it.
pub trait Store: Read + 'static {
    /// What remembers whether an engine is on the store: a backend keeps one and gives it here.
    ///
    /// Handles that share one open store share it. It is no part of what is stored: a store that is opened again, or copied,
    /// is claimed by nobody.
    fn claimable(&self) -> &Claimable;

    /// The state as it is now, whole, which later writes do not change.
    ///
    /// It keeps what it reads: the store's files are given back when the store and all its snapshots are dropped, and what
    /// was deleted since takes room as long as one of them has it.
    fn snapshot(&self) -> Arc<dyn Read>;

    /// Applies a batch and gives its sequence number; it is durable after the next [`sync`](Store::sync).
    ///
    /// Sequence numbers grow while the store is open; they start anew at each open. Of two batches the one with the
    /// smaller number was applied before the other, and is durable no later. A batch is seen whole or not at all.
    fn write(&self, batch: Batch) -> Result<u64>;

    /// Makes every batch that was applied before the call durable; gives the sequence number up to which all is.
    ///
    /// 0 if nothing was written since the store was opened.
    fn sync(&self) -> Result<u64>;

    /// Moves everything from memory to the medium and, if `compact`, rewrites all tables in full.
    fn flush(&self, compact: bool) -> Result<()>;

    /// Gives back bytes on the medium that deleted and replaced rows take, wherever that is worth its cost.
    ///
    /// Changes no row. A backend that rewrites what lies around the garbage leaves out what gives back little of what would
    /// be rewritten, and what is small in all; garbage that is left comes back when the backend next rewrites that part of
    /// the table for reasons of its own. What a snapshot that is still open sees is kept. A table that does not exist is
    /// an `Internal` error, and nothing is done; other errors do as one of [`flush`](Store::flush).
    fn compact(&self, garbage: &[Garbage]) -> Result<()>;

    /// Live bytes on the medium by table, in the order of the store's tables. Exact after `flush(true)`.
    fn table_bytes(&self) -> Result<Vec<u64>>;

    /// Writes a consistent copy of the whole store into `directory`, which must not exist yet.
    fn checkpoint(&self, directory: &Path) -> Result<()>;
}

impl<T: Read + ?Sized> Read for Arc<T> {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        (**self).get(table, key)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        (**self).multi_get(table, keys)
    }

    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()> {
        (**self).scan(table, prefix, start, direction, visit)
    }
}

impl<T: Store + ?Sized> Store for Arc<T> {
    fn claimable(&self) -> &Claimable {
        (**self).claimable()
    }

    fn snapshot(&self) -> Arc<dyn Read> {
        (**self).snapshot()
    }

    fn write(&self, batch: Batch) -> Result<u64> {
        (**self).write(batch)
    }

    fn sync(&self) -> Result<u64> {
        (**self).sync()
    }

    fn flush(&self, compact: bool) -> Result<()> {
        (**self).flush(compact)
    }

    fn compact(&self, garbage: &[Garbage]) -> Result<()> {
        (**self).compact(garbage)
    }

    fn table_bytes(&self) -> Result<Vec<u64>> {
        (**self).table_bytes()
    }

    fn checkpoint(&self, directory: &Path) -> Result<()> {
        (**self).checkpoint(directory)
    }
}
