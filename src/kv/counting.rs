//! A store that counts what is asked of the store under it, for benchmarks and tests of cost.

use std::ops::Deref;
use std::path::Path;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{Batch, Claimable, Direction, Garbage, Read, Store, TableId, Value, Visit};
use crate::error::Result;

/// What was asked of a store, since it was opened or the counts were last taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `get`.
    pub gets: u64,
    /// Calls of `multi_get`.
    pub multi_gets: u64,
    /// Keys that `multi_get` was asked for.
    pub multi_get_keys: u64,
    /// Calls of `scan`.
    pub scans: u64,
    /// Rows that scans visited.
    pub rows_scanned: u64,
    /// Bytes of the values that were got, and of the keys and values that were visited.
    pub bytes_read: u64,
    /// Batches that were applied.
    pub batches: u64,
    /// Changes in them.
    pub ops: u64,
    /// Bytes of keys and values in them.
    pub bytes_written: u64,
    /// Calls of `sync` that did not fail.
    pub syncs: u64,
    /// Calls of `compact` that did not fail.
    pub compactions: u64,
    /// Ranges that they were given.
    pub ranges_compacted: u64,
}

#[derive(Debug, Default)]
struct Counters {
    gets: AtomicU64,
    multi_gets: AtomicU64,
    multi_get_keys: AtomicU64,
    scans: AtomicU64,
    rows_scanned: AtomicU64,
    bytes_read: AtomicU64,
    batches: AtomicU64,
    ops: AtomicU64,
    bytes_written: AtomicU64,
    syncs: AtomicU64,
    compactions: AtomicU64,
    ranges_compacted: AtomicU64,
}

/// A store over another one, which counts reads (those through its snapshots too) and writes.
#[derive(Debug)]
pub struct Counting<S> {
    inner: S,
    counters: Arc<Counters>,
}

impl<S: Store> Counting<S> {
    /// Puts itself over `inner`, with all counts at 0.
    pub fn new(inner: S) -> Self {
        Self { inner, counters: Arc::default() }
    }

    /// The store under it.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn reads(&self) -> CountedRead<&S, &Counters> {
        CountedRead { inner: &self.inner, counters: &self.counters }
    }

    /// Gives the counts and starts again from 0. What other threads do meanwhile is counted once, before or after.
    pub fn take(&self) -> Counts {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let counters = &self.counters;
        Counts {
            gets: take(&counters.gets),
            multi_gets: take(&counters.multi_gets),
            multi_get_keys: take(&counters.multi_get_keys),
            scans: take(&counters.scans),
            rows_scanned: take(&counters.rows_scanned),
            bytes_read: take(&counters.bytes_read),
            batches: take(&counters.batches),
            ops: take(&counters.ops),
            bytes_written: take(&counters.bytes_written),
            syncs: take(&counters.syncs),
            compactions: take(&counters.compactions),
            ranges_compacted: take(&counters.ranges_compacted),
        }
    }
}

fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Counts the reads of what `inner` points to.
struct CountedRead<P, C> {
    inner: P,
    counters: C,
}

impl<P: Deref<Target: Read> + Send + Sync, C: Deref<Target = Counters> + Send + Sync> Read for CountedRead<P, C> {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        add(&self.counters.gets, 1);
        let value = self.inner.get(table, key)?;
        add(&self.counters.bytes_read, value.as_ref().map_or(0, Vec::len));
        Ok(value)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        add(&self.counters.multi_gets, 1);
        add(&self.counters.multi_get_keys, keys.len());
        let values = self.inner.multi_get(table, keys)?;
        add(&self.counters.bytes_read, values.iter().flatten().map(Vec::len).sum());
        Ok(values)
    }

    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()> {
        add(&self.counters.scans, 1);
        self.inner.scan(table, prefix, start, direction, &mut |key, value| {
            add(&self.counters.rows_scanned, 1);
            add(&self.counters.bytes_read, key.len() + value.len());
            visit(key, value)
        })
    }
}

impl<S: Store> Read for Counting<S> {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        self.reads().get(table, key)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.reads().multi_get(table, keys)
    }

    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()> {
        self.reads().scan(table, prefix, start, direction, visit)
    }
}

impl<S: Store> Store for Counting<S> {
    fn claimable(&self) -> &Claimable {
        self.inner.claimable()
    }

    fn snapshot(&self) -> Arc<dyn Read> {
        Arc::new(CountedRead { inner: self.inner.snapshot(), counters: self.counters.clone() })
    }

    fn write(&self, batch: Batch) -> Result<u64> {
        let (ops, bytes) = (batch.ops().len(), batch.bytes());
        let sequence = self.inner.write(batch)?;
        add(&self.counters.batches, 1);
        add(&self.counters.ops, ops);
        add(&self.counters.bytes_written, bytes);
        Ok(sequence)
    }

    fn sync(&self) -> Result<u64> {
        let sequence = self.inner.sync()?;
        add(&self.counters.syncs, 1);
        Ok(sequence)
    }

    fn flush(&self, compact: bool) -> Result<()> {
        self.inner.flush(compact)
    }

    fn compact(&self, garbage: &[Garbage]) -> Result<()> {
        self.inner.compact(garbage)?;
        add(&self.counters.compactions, 1);
        add(&self.counters.ranges_compacted, garbage.len());
        Ok(())
    }

    fn table_bytes(&self) -> Result<Vec<u64>> {
        self.inner.table_bytes()
    }

    fn checkpoint(&self, directory: &Path) -> Result<()> {
        self.inner.checkpoint(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::memory::MemoryStore;
    use crate::kv::{Access, TableSpec};

    const TABLE: TableId = TableId(0);

    #[test]
    fn every_read_and_write_is_counted_once() {
        let store = Counting::new(MemoryStore::open(&[TableSpec { name: "rows", access: Access::Scan }]));
        let mut batch = Batch::default();
        batch.put(TABLE, *b"a1", *b"one");
        batch.put(TABLE, *b"a2", *b"three");
        batch.delete(TABLE, *b"b");
        store.write(batch).unwrap();
        store.sync().unwrap();
        let garbage = Garbage { table: TABLE, start: b"a".to_vec(), end: b"b".to_vec(), rows: None };
        store.compact(&[garbage.clone(), garbage]).unwrap();
        assert_eq!(store.get(TABLE, b"a1").unwrap().unwrap(), b"one");
        assert_eq!(store.snapshot().multi_get(TABLE, &[b"a2", b"c"]).unwrap(), [Some(b"three".to_vec()), None]);
        let mut rows = 0;
        store
            .snapshot()
            .scan(TABLE, b"a", b"a", Direction::Forward, &mut |_, _| {
                rows += 1;
                Ok(true)
            })
            .unwrap();
        assert_eq!(rows, 2);
        let expected = Counts {
            gets: 1,
            multi_gets: 1,
            multi_get_keys: 2,
            scans: 1,
            rows_scanned: 2,
            bytes_read: 3 + 5 + (2 + 3) + (2 + 5),
            batches: 1,
            ops: 3,
            bytes_written: 2 + 3 + 2 + 5 + 1,
            syncs: 1,
            compactions: 1,
            ranges_compacted: 2,
        };
        assert_eq!(store.take(), expected);
        assert_eq!(store.take(), Counts::default());
    }

    #[test]
    fn a_failed_write_is_not_counted() {
        let memory = MemoryStore::open(&[TableSpec { name: "rows", access: Access::Scan }]);
        memory.fail_write_after(1);
        let store = Counting::new(memory);
        let mut batch = Batch::default();
        batch.put(TABLE, *b"a", *b"b");
        store.write(batch).unwrap_err();
        assert_eq!(store.take(), Counts::default());
    }
}
