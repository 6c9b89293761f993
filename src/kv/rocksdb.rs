//! The RocksDB backend: this file and those under it are the only ones that name the `rocksdb` crate.
//!
//! One column family for each table. The settings follow from measured faults: a write-ahead log whose tail may be torn
//! but whose middle may not be damaged, checked by [`wal`](super::wal) before RocksDB reads it; writes that report a
//! stall instead of waiting in it, where a full disk can leave them for ever; checksums on every block.

mod database;
mod directory;
mod failure;
mod options;
mod peek;
pub mod probe;
mod reclaim;
#[cfg(test)]
mod tests;
mod tuning;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::properties::BACKGROUND_ERRORS;
use rocksdb::{
    BottommostLevelCompaction, Cache, CompactOptions, DB, DEFAULT_COLUMN_FAMILY_NAME, Env, FlushOptions, Options,
    ReadOptions, WriteBatch, WriteOptions,
};

use self::{
    database::{Database, RocksSnapshot},
    directory::Found,
    failure::failure,
    options::{cache_bytes, database_options, yield_cpu},
    tuning::families,
};
pub use self::{options::RocksOptions, peek::Guard, reclaim::Written, tuning::Tuning};
use super::{Batch, Claimable, Direction, Garbage, Op, Read, Store, TableId, TableSpec, Value, Visit};
use crate::error::{Error, ErrorKind, Result};

/// How often a write that meets a stall is tried, with pauses of 1, 2, 4, 8, 16 and then 32 ms: below 2 s in all.
const STALL_TRIES: u32 = 64;

/// A store in a directory of its own.
///
/// A written batch outlives the process, a synced one a power loss. Threads that sync at the same time share one sync.
pub struct RocksStore {
    database: Arc<Database>,
    cache: Cache,
    reads: ReadOptions,
    writes: WriteOptions,
    /// Number of the batch that was applied last. Held while a batch is applied: batches have the log's order.
    applied: Mutex<u64>,
    /// Number up to which all is durable. Held during a sync.
    durable: Mutex<u64>,
    /// What failed first.
    poison: OnceLock<String>,
    /// The options that hold the counters of what was written, if that is counted.
    counting: Option<Options>,
}

impl RocksStore {
    /// Opens the store in `directory`, or makes it if there is nothing yet.
    ///
    /// `Unavailable` if it is open already or may not be read or written; `Invalid` if the directory holds something
    /// else, or a table that is not in `specs`; `Corrupt` if its manifest or logs are damaged. A refused directory is
    /// left as it was, except for a lock file in one that is a store.
    pub fn open(directory: &Path, specs: &[TableSpec], options: &RocksOptions) -> Result<Self> {
        Self::open_with(directory, &usual(specs), options, None)
    }

    /// The same, unless `guard` refuses the store that is there, with its error.
    pub fn open_guarded(
        directory: &Path,
        specs: &[TableSpec],
        options: &RocksOptions,
        guard: Guard<'_>,
    ) -> Result<Self> {
        Self::open_with(directory, &usual(specs), options, Some(guard))
    }

    /// The same with tables that are laid out as told, to compare.
    pub fn open_tuned(directory: &Path, tuned: &[(TableSpec, Tuning)], options: &RocksOptions) -> Result<Self> {
        Self::open_with(directory, tuned, options, None)
    }

    fn open_with(
        directory: &Path,
        tuned: &[(TableSpec, Tuning)],
        options: &RocksOptions,
        guard: Option<Guard<'_>>,
    ) -> Result<Self> {
        let specs: Vec<TableSpec> = tuned.iter().map(|(spec, _)| *spec).collect();
        directory::inspect(directory)?;
        let lock = directory::lock(directory, &database::obstacle)?;
        // Again, since another process may have made a store before it gave the lock back.
        if directory::inspect(directory)? == Found::Store {
            super::wal::check(directory)?;
            let found = families_in(directory)?;
            if let Some(guard) = guard.filter(|guard| found.iter().any(|name| name == guard.table)) {
                guard.ask(directory)?;
            }
            check_families(directory, &found, &specs)?;
        }
        let cache = Cache::new_lru_cache(cache_bytes(options));
        let mut database = database_options(options);
        if options.yields_cpu {
            let env = Env::new().map_err(|error| failure("the priority of threads cannot be set".to_owned(), error))?;
            yield_cpu(env, &mut database);
        }
        let db = DB::open_cf_descriptors(&database, directory, families(tuned, options, &cache)?)
            .map_err(|error| failure(format!("the store in {} does not open", directory.display()), error))?;
        let mut writes = WriteOptions::default();
        writes.set_no_slowdown(true);
        Ok(Self {
            database: Database::new(db, lock, specs.iter().map(|spec| spec.name).collect()),
            cache,
            reads: ReadOptions::default(),
            writes,
            applied: Mutex::new(0),
            durable: Mutex::new(0),
            poison: OnceLock::new(),
            counting: options.counts_written.then_some(database),
        })
    }

    fn refuse_poisoned(&self) -> Result<()> {
        match self.poison.get() {
            Some(first) => Err(Error::unavailable(format!("the store takes no writes since this: {first}"))),
            None => Ok(()),
        }
    }

    /// Lets no write follow; gives an `Unavailable` or `Corrupt` error.
    fn poison(&self, what: &str, error: rocksdb::Error) -> Error {
        let kind = match error.kind() {
            rocksdb::ErrorKind::Corruption => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        };
        let error = Error::new(kind, format!("{what} failed")).with_source(error);
        self.poison.get_or_init(|| error.to_string());
        error
    }

    /// Rewrites the table files that a range touches; other compactions go on meanwhile.
    fn compact_range(&self, table: TableId, start: &[u8], end: &[u8]) -> Result<()> {
        self.refuse_poisoned()?;
        let before = self.background_errors()?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        self.database.db.compact_range_cf_opt(self.database.family(table)?, Some(start), Some(end), &options);
        self.refuse_failed_since(before)
    }

    /// What was written since the store was opened; `None` unless it was opened with [`RocksOptions::counts_written`].
    pub fn written(&self) -> Option<Written> {
        self.counting.as_ref().map(Written::of)
    }

    fn encode(&self, batch: &Batch) -> Result<WriteBatch> {
        // A change takes a type, a table and two lengths beside its key and value.
        let mut encoded = WriteBatch::with_capacity_bytes(batch.bytes() + 12 * batch.ops().len() + 12);
        for op in batch.ops() {
            let family = self.database.family(op.table())?;
            match op {
                Op::Put { key, value, .. } => encoded.put_cf(family, key, value),
                Op::Delete { key, .. } => encoded.delete_cf(family, key),
                Op::DeleteRange { start, end, .. } if start < end => encoded.delete_range_cf(family, start, end),
                // RocksDB would take a range that ends before it starts into the log, and fail then.
                Op::DeleteRange { .. } => {}
            }
        }
        Ok(encoded)
    }

    /// `None` if the store is stalled, and nothing was applied.
    fn try_write(&self, encoded: WriteBatch) -> Result<Option<u64>> {
        let mut applied = self.applied.lock();
        self.refuse_poisoned()?;
        match self.database.db.write_opt(encoded, &self.writes) {
            Ok(()) => {
                *applied += 1;
                Ok(Some(*applied))
            }
            Err(error) if error.kind() == rocksdb::ErrorKind::Incomplete => Ok(None),
            Err(error) => Err(self.poison("a write", error)),
        }
    }

    /// Poisons the store if a flush or compaction failed since there were `before` errors: it does not give its error back.
    fn refuse_failed_since(&self, before: u64) -> Result<()> {
        if self.background_errors()? > before {
            self.poison.get_or_init(|| "a flush or compaction failed".to_owned());
        }
        self.refuse_poisoned()
    }

    fn background_errors(&self) -> Result<u64> {
        let count = self.database.db.property_int_value(BACKGROUND_ERRORS);
        Ok(count.map_err(|error| failure("the store cannot be asked", error))?.unwrap_or(0))
    }
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore").field("directory", &self.database.db.path()).finish_non_exhaustive()
    }
}

impl Read for RocksStore {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        self.database.get(&self.reads, table, key)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.database.multi_get(&self.reads, table, keys)
    }

    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()> {
        self.database.scan(ReadOptions::default(), table, (prefix, start), direction, visit)
    }
}

impl Store for RocksStore {
    fn claimable(&self) -> &Claimable {
        &self.database.claimable
    }

    fn snapshot(&self) -> Arc<dyn Read> {
        Arc::new(RocksSnapshot::new(self.database.clone()))
    }

    /// Waits for a stall of RocksDB for up to two seconds; `Busy` after that.
    fn write(&self, batch: Batch) -> Result<u64> {
        for tried in 0..STALL_TRIES {
            if let Some(sequence) = self.try_write(self.encode(&batch)?)? {
                return Ok(sequence);
            }
            std::thread::sleep(Duration::from_millis(1 << tried.min(5)));
        }
        Err(Error::new(ErrorKind::Busy, "the store cannot take more until it has written out what it has"))
    }

    fn sync(&self) -> Result<u64> {
        let wanted = *self.applied.lock();
        let mut durable = self.durable.lock();
        self.refuse_poisoned()?;
        // Another thread's sync has covered it meanwhile.
        if *durable >= wanted {
            return Ok(*durable);
        }
        let covered = *self.applied.lock();
        self.database.db.flush_wal(true).map_err(|error| self.poison("a sync", error))?;
        *durable = covered;
        Ok(covered)
    }

    fn flush(&self, compact: bool) -> Result<()> {
        self.refuse_poisoned()?;
        let before = self.background_errors()?;
        for table in &self.database.names {
            let Some(family) = self.database.db.cf_handle(table) else { continue };
            self.database
                .db
                .flush_cf_opt(family, &FlushOptions::default())
                .map_err(|error| self.poison("a flush", error))?;
        }
        if compact {
            let mut options = CompactOptions::default();
            options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
            for table in &self.database.names {
                let Some(family) = self.database.db.cf_handle(table) else { continue };
                self.database.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
            }
        }
        self.refuse_failed_since(before)
    }

    /// Rewrites the table files in which at least an eighth is garbage, and of whole rooms that went at least 8 KiB; other
    /// compactions go on meanwhile. What was never written into a table file takes nothing there: it goes with the next flush.
    fn compact(&self, garbage: &[Garbage]) -> Result<()> {
        reclaim::check_tables(&self.database, garbage)?;
        self.refuse_poisoned()?;
        let mut by_table: BTreeMap<u16, Vec<&Garbage>> = BTreeMap::new();
        for part in garbage {
            by_table.entry(part.table.0).or_default().push(part);
        }
        for (table, parts) in by_table {
            let ranges = reclaim::worthwhile(&self.database, TableId(table), &parts)?;
            ranges.iter().try_for_each(|(start, end)| self.compact_range(TableId(table), start, end))?;
        }
        Ok(())
    }

    /// Bytes of the live table files; what is in memory and in the log only does not count.
    fn table_bytes(&self) -> Result<Vec<u64>> {
        let size = |table: &&str| {
            let family = self.database.db.cf_handle(table);
            family.map_or(0, |family| self.database.db.get_column_family_metadata_cf(family).size)
        };
        Ok(self.database.names.iter().map(size).collect())
    }

    /// Table files are linked, not copied, if `directory` is on the same file system.
    fn checkpoint(&self, directory: &Path) -> Result<()> {
        super::prepare_checkpoint(directory)?;
        Checkpoint::new(&self.database.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(directory))
            .map_err(|error| failure(format!("a checkpoint cannot be written to {}", directory.display()), error))
    }
}

fn usual(specs: &[TableSpec]) -> Vec<(TableSpec, Tuning)> {
    specs.iter().map(|spec| (*spec, Tuning::of(spec.access))).collect()
}

/// The names of the tables in `directory`.
fn families_in(directory: &Path) -> Result<Vec<String>> {
    DB::list_cf(&Options::default(), directory)
        .map_err(|error| failure(format!("the tables in {} cannot be listed", directory.display()), error))
}

/// Refuses tables that are not asked for, and databases of other applications.
fn check_families(directory: &Path, found: &[String], specs: &[TableSpec]) -> Result<()> {
    let known = |name: &String| specs.iter().any(|spec| spec.name == name);
    if let Some(name) = found.iter().find(|name| !known(name) && *name != DEFAULT_COLUMN_FAMILY_NAME) {
        let message = format!("the store in {} has a table {name:?} that is not asked for", directory.display());
        return Err(Error::invalid(message));
    }
    // A store of ours has none of its tables only if its creation was cut off, and then no rows.
    if !specs.is_empty() && !found.iter().any(known) && directory::has_data(directory)? {
        let message = format!("{} is a RocksDB database, but has none of a store's tables", directory.display());
        return Err(Error::invalid(message));
    }
    Ok(())
}
