//! Counting what RocksDB reads from its files, for benchmarks.

use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};

use super::{
    RocksStore,
    options::{RocksOptions, cache_bytes},
};

/// Counts the blocks of table files that this thread reads from the file system, while it lives.
///
/// What RocksDB finds in its cache does not count. Blocks that it reads on threads of its own, to flush and compact, do
/// not either.
pub struct BlockReads {
    context: PerfContext,
}

/// What was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct BlocksRead {
    /// Blocks of rows.
    pub data: u64,
    /// All other blocks: indexes, filters, dictionaries of the compression.
    pub other: u64,
}

impl Default for BlockReads {
    fn default() -> Self {
        set_perf_stats(PerfStatsLevel::EnableCount);
        let mut context = PerfContext::default();
        context.reset();
        Self { context }
    }
}

impl BlockReads {
    /// Gives what was read since the counter was made or last asked.
    pub fn take(&mut self) -> BlocksRead {
        let all = self.context.metric(PerfMetric::BlockReadCount);
        let report = self.context.report(true);
        let counted = |name: &str| {
            let value = report.split(", ").find_map(|field| field.strip_prefix(name)?.strip_prefix(" = "));
            value.and_then(|value| value.trim().parse().ok()).unwrap_or(0u64)
        };
        let names = ["index_block_read_count", "filter_block_read_count", "compression_dict_block_read_count"];
        let other = names.into_iter().map(counted).sum();
        self.context.reset();
        BlocksRead { data: all.saturating_sub(other), other }
    }
}

impl Drop for BlockReads {
    fn drop(&mut self) {
        set_perf_stats(PerfStatsLevel::Disable);
    }
}

impl RocksStore {
    /// Drops every block from the cache that `options` made, so that the next reads come from the file system.
    pub fn drop_cached_blocks(&self, options: &RocksOptions) {
        let mut cache = self.cache.clone();
        cache.set_capacity(0);
        cache.set_capacity(cache_bytes(options));
    }
}
