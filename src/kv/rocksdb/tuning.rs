//! How RocksDB lays out each table.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ChecksumType, ColumnFamilyDescriptor, DBCompressionType,
    DEFAULT_COLUMN_FAMILY_NAME, Options,
};

use super::options::{RocksOptions, options_from, write_buffer_bytes};
use crate::{
    error::Result,
    kv::{Access, TableSpec},
};

/// Memory that a table takes with its first row, and then again each time it is full.
const ARENA_BLOCK_BYTES: usize = 256 << 10;
const TABLE_FILE_BYTES: u64 = 32 << 20;
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// What is chosen for a table by how it is read; what is the same for all is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Bytes of a block before it is compressed: what is read, checked and decompressed for one row.
    pub block_bytes: usize,
    /// Level of Zstandard at the bottom level; `None` leaves all levels as they are.
    pub compression: Option<u8>,
    /// Bytes of the dictionary that is trained for each table file of the bottom level, 0 for none.
    pub dictionary_bytes: u32,
    /// Whether a Bloom filter tells of most keys that they are not there.
    pub filter: bool,
}

impl Tuning {
    /// What a store uses.
    pub const fn of(access: Access) -> Self {
        match access {
            Access::Point => Self { block_bytes: 4 << 10, compression: Some(3), dictionary_bytes: 0, filter: true },
            Access::Present => Self { block_bytes: 8 << 10, compression: Some(9), dictionary_bytes: 0, filter: false },
            Access::Dense => {
                Self { block_bytes: 8 << 10, compression: Some(9), dictionary_bytes: 64 << 10, filter: false }
            }
            Access::Scan => {
                Self { block_bytes: 16 << 10, compression: Some(3), dictionary_bytes: 16 << 10, filter: false }
            }
        }
    }

    /// Settings that the binding has no calls for. The two protections cost below 5% of a write: rows in memory carry a
    /// checksum, and a table file is read again before it takes the place of others.
    fn settings(&self) -> String {
        let protections = "memtable_protection_bytes_per_key=8;paranoid_file_checks=true";
        let Some(level) = self.compression else { return protections.to_owned() };
        let dictionary = match self.dictionary_bytes {
            0 => String::new(),
            // Trained on a hundred times its size, as Zstandard advises; samples wait in memory for as much.
            bytes => format!(
                ";max_dict_bytes={bytes};zstd_max_train_bytes={};max_dict_buffer_bytes={}",
                bytes.saturating_mul(100),
                (8 << 20).max(bytes.saturating_mul(100))
            ),
        };
        format!(
            "{protections};bottommost_compression=kZSTD;\
             bottommost_compression_opts={{level={level};enabled=true{dictionary}}}"
        )
    }
}

/// The families of a database, with the one that RocksDB insists on; it stays empty.
pub(super) fn families(
    tuned: &[(TableSpec, Tuning)],
    options: &RocksOptions,
    cache: &Cache,
) -> Result<Vec<ColumnFamilyDescriptor>> {
    let unused = TableSpec { name: DEFAULT_COLUMN_FAMILY_NAME, access: Access::Point };
    let unused = Some((unused, Tuning::of(unused.access)));
    let unused = unused.filter(|(unused, _)| tuned.iter().all(|(spec, _)| spec.name != unused.name));
    let all = tuned.iter().copied().chain(unused);
    all.map(|(spec, tuning)| Ok(ColumnFamilyDescriptor::new(spec.name, family_options(&tuning, options, cache)?)))
        .collect()
}

fn family_options(tuning: &Tuning, options: &RocksOptions, cache: &Cache) -> Result<Options> {
    let mut family = options_from(&tuning.settings())?;
    if tuning.compression.is_some() {
        // What is still to be compacted is compressed fast.
        family.set_compression_type(DBCompressionType::Zstd);
        family.set_compression_options(-14, 1, 0, 0);
    } else {
        family.set_compression_type(DBCompressionType::None);
    }
    let buffers = write_buffer_bytes(options);
    family.set_write_buffer_size(buffers / 2);
    family.set_max_write_buffer_number(4);
    family.set_arena_block_size(ARENA_BLOCK_BYTES);
    family.set_target_file_size_base(TABLE_FILE_BYTES);
    family.set_max_bytes_for_level_base(u64::try_from(buffers).unwrap_or(u64::MAX).saturating_mul(2));

    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_checksum_type(ChecksumType::XXH3);
    // Index and filters are cut into blocks and cached as such, so that a large store stays within the cache.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_block_size(tuning.block_bytes);
    if tuning.filter {
        blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        blocks.set_partition_filters(true);
    }
    family.set_block_based_table_factory(&blocks);
    Ok(family)
}
