//! An open database with its tables, and reads of it: of its newest state, and of a state that a snapshot keeps.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rocksdb::{ColumnFamily, DB, ReadOptions};

use super::super::{Claimable, Direction, Read, TableId, Value, Visit, check_scan, prefix_end};
use super::failure::failure;
use crate::error::{Error, Result};

/// A database that is open. The store has it, and each of the store's snapshots.
pub(super) struct Database {
    // Dropped in this order: the lock is held until the database is closed.
    pub(super) db: DB,
    _lock: File,
    /// The names of the tables, by their numbers.
    pub(super) names: Vec<&'static str>,
    pub(super) claimable: Arc<Claimable>,
}

/// Who has the databases that this process has open, by directory: whoever wants to open one again is told what keeps it.
static OPEN: Mutex<Vec<(PathBuf, Weak<Claimable>)>> = Mutex::new(Vec::new());

impl Database {
    pub(super) fn new(db: DB, lock: File, names: Vec<&'static str>) -> Arc<Self> {
        let directory = canonical(db.path());
        let claimable = Arc::<Claimable>::default();
        let mut open = OPEN.lock();
        open.retain(|(_, claimable)| claimable.strong_count() > 0);
        open.push((directory, Arc::downgrade(&claimable)));
        drop(open);
        Arc::new(Self { db, _lock: lock, names, claimable })
    }

    pub(super) fn family(&self, table: TableId) -> Result<&ColumnFamily> {
        let name = self.names.get(usize::from(table.0));
        let family = name.and_then(|name| self.db.cf_handle(name));
        family.ok_or_else(|| Error::internal(format!("the store was opened without a table {}", table.0)))
    }

    /// Reads the newest state, or the one that `reads` name.
    pub(super) fn get(&self, reads: &ReadOptions, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        let found = self.db.get_pinned_cf_opt(self.family(table)?, key, reads);
        Ok(found.map_err(|error| self.read_failure(table, error))?.map(|value| value.to_vec()))
    }

    pub(super) fn multi_get(&self, reads: &ReadOptions, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        let found = self.db.batched_multi_get_cf_opt(self.family(table)?, keys.iter().copied(), false, reads);
        let value = |found: Result<Option<rocksdb::DBPinnableSlice<'_>>, rocksdb::Error>| {
            Ok(found.map_err(|error| self.read_failure(table, error))?.map(|value| value.to_vec()))
        };
        found.into_iter().map(value).collect()
    }

    /// A scan with `reads`, which it bounds by `prefix`.
    pub(super) fn scan(
        &self,
        mut reads: ReadOptions,
        table: TableId,
        (prefix, start): (&[u8], &[u8]),
        direction: Direction,
        visit: Visit<'_>,
    ) -> Result<()> {
        check_scan(prefix, start)?;
        reads.set_total_order_seek(true);
        reads.set_iterate_lower_bound(prefix);
        if let Some(end) = prefix_end(prefix) {
            reads.set_iterate_upper_bound(end);
        }
        let mut rows = self.db.raw_iterator_cf_opt(self.family(table)?, reads);
        match direction {
            Direction::Forward => rows.seek(start),
            Direction::Reverse => rows.seek_for_prev(start),
        }
        while let Some((key, value)) = rows.item() {
            if !visit(key, value)? {
                return Ok(());
            }
            match direction {
                Direction::Forward => rows.next(),
                Direction::Reverse => rows.prev(),
            }
        }
        rows.status().map_err(|error| self.read_failure(table, error))
    }

    fn read_failure(&self, table: TableId, error: rocksdb::Error) -> Error {
        let name = self.names.get(usize::from(table.0)).copied().unwrap_or_default();
        failure(format!("table {name} cannot be read"), error)
    }
}

/// What keeps the store in a directory open in this process, as far as is known.
pub(super) fn obstacle(directory: &Path) -> Option<String> {
    let directory = canonical(directory);
    let open = OPEN.lock();
    let claimable = open.iter().filter(|(place, _)| *place == directory).find_map(|(_, claimable)| claimable.upgrade());
    drop(open);
    claimable?.obstacle()
}

fn canonical(directory: &Path) -> PathBuf {
    directory.canonicalize().unwrap_or_else(|_| directory.to_owned())
}

mod pinned {
    #![expect(clippy::mem_forget, reason = "the macro forgets what it has moved")]

    use std::sync::Arc;

    use rocksdb::Snapshot;
    use self_cell::self_cell;

    use crate::kv::rocksdb::database::Database;

    self_cell!(
        /// A snapshot beside the database that it is of.
        pub(super) struct Pinned {
            owner: Arc<Database>,
            #[covariant]
            dependent: Snapshot,
        }
    );
}

use self::pinned::Pinned;

/// One fixed state of a database, which stays open for it.
pub(super) struct RocksSnapshot {
    // Dropped before the snapshot that they name.
    reads: ReadOptions,
    pinned: Pinned,
}

impl RocksSnapshot {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let pinned = Pinned::new(database, |database| database.db.snapshot());
        let mut reads = ReadOptions::default();
        reads.set_snapshot(pinned.borrow_dependent());
        Self { reads, pinned }
    }
}

impl Read for RocksSnapshot {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        self.pinned.borrow_owner().get(&self.reads, table, key)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.pinned.borrow_owner().multi_get(&self.reads, table, keys)
    }

    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()> {
        let mut reads = ReadOptions::default();
        reads.set_snapshot(self.pinned.borrow_dependent());
        self.pinned.borrow_owner().scan(reads, table, (prefix, start), direction, visit)
    }
}
