//! The settings of a store: what a host chooses, and what follows from measured faults.

use rocksdb::{DBRecoveryMode, Env, LogLevel, Options, statistics::StatsLevel};

use super::failure::failure;
use crate::error::Result;

/// How much memory a store may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RocksOptions {
    /// Bytes of blocks, index blocks and filters that are kept, over all tables. At least 1 MiB is used.
    pub cache_bytes: usize,
    /// Bytes of rows that wait in memory to be written into tables, over all tables. At least 4 MiB are used.
    ///
    /// The write-ahead log grows to at most four times as much, which bounds the time that an open after a crash takes.
    pub write_buffer_bytes: usize,
    /// Whether flushes and compactions have the lowest CPU priority, in this store and all others of the process.
    ///
    /// On a machine with few cores a write then never waits for a core that they have. In return, where other programs take
    /// all cores for long, they fall behind, and writes are refused until they have caught up.
    pub yields_cpu: bool,
    /// Whether it is counted what flushes and compactions write, for [`RocksStore::written`](super::RocksStore::written). Costs reads some nanoseconds.
    pub counts_written: bool,
}

impl Default for RocksOptions {
    /// 64 MiB of cache, 32 MiB of write buffers, usual priorities, nothing counted.
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, write_buffer_bytes: 32 << 20, yields_cpu: false, counts_written: false }
    }
}

/// Threads that flush and compact.
const BACKGROUND_JOBS: i32 = 4;
/// Table files that are kept open: half of the 1,024 files that a process has by default.
const OPEN_FILES: i32 = 512;
const MANIFEST_BYTES: usize = 16 << 20;
const INFO_LOG_BYTES: usize = 4 << 20;

/// A RocksDB options object with the settings that the binding has no call for.
pub(super) fn options_from(text: &str) -> Result<Options> {
    let options = Options::default().get_options_from_string(text);
    options.map_err(|error| failure("RocksDB does not know its own settings", error))
}

pub(super) fn database_options(options: &RocksOptions) -> Options {
    let buffers = write_buffer_bytes(options);
    let mut database = Options::default();
    database.create_if_missing(true);
    database.create_missing_column_families(true);
    database.set_paranoid_checks(true);
    // The only mode that opens after a torn tail and never drops a synced batch silently; with recycled logs it would.
    database.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    database.set_recycle_log_file_num(0);
    database.set_max_total_wal_size(u64::try_from(buffers).unwrap_or(u64::MAX).saturating_mul(4));
    database.set_db_write_buffer_size(buffers);
    database.set_max_background_jobs(BACKGROUND_JOBS);
    database.set_max_file_opening_threads(2);
    database.set_max_open_files(OPEN_FILES);
    database.set_max_manifest_file_size(MANIFEST_BYTES);
    // Written out as it comes, so that a large compaction does not hold up the sync of a log.
    database.set_bytes_per_sync(1 << 20);
    database.set_log_level(LogLevel::Warn);
    database.set_max_log_file_size(INFO_LOG_BYTES);
    database.set_keep_log_file_num(4);
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);
    if options.counts_written {
        count_written(&mut database);
    }
    database
}

/// Lowers the priority of the threads that flush and compact. They belong to the process, not to a store.
pub(super) fn yield_cpu(mut env: Env, database: &mut Options) {
    env.lower_thread_pool_cpu_priority();
    env.lower_high_priority_thread_pool_cpu_priority();
    database.set_env(&env);
}

pub(super) fn write_buffer_bytes(options: &RocksOptions) -> usize {
    options.write_buffer_bytes.max(4 << 20)
}

pub(super) fn cache_bytes(options: &RocksOptions) -> usize {
    options.cache_bytes.max(1 << 20)
}

/// Options that count what is written into table files.
fn count_written(database: &mut Options) {
    database.enable_statistics();
    database.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
}
