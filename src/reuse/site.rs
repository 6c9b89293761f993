//! The store that a layout is measured on.

use std::path::Path;
use std::sync::Arc;

#[cfg(not(feature = "rocksdb"))]
use crate::kv::memory::MemoryStore;
#[cfg(feature = "rocksdb")]
use crate::{
    error::Error,
    kv::rocksdb::{RocksOptions, RocksStore, probe::BlockReads},
};
use crate::{
    error::Result,
    kv::{
        Store, TableSpec,
        counting::{Counting, Counts},
    },
};

/// A store that counts. Without the feature `rocksdb` it is in memory: then bytes are those of keys and values.
pub struct Site {
    /// The store.
    pub store: Counting<Arc<dyn Store>>,
    #[cfg(feature = "rocksdb")]
    rocks: Arc<RocksStore>,
    #[cfg(feature = "rocksdb")]
    directory: std::path::PathBuf,
}

/// What a question read when nothing was cached.
pub struct Cold {
    /// What the store was asked for.
    pub counts: Counts,
    /// Blocks of rows that came from files, where there are files.
    pub blocks: Option<u64>,
}

/// Room for all that the questions of one sort read.
#[cfg(feature = "rocksdb")]
const OPTIONS: RocksOptions =
    RocksOptions { cache_bytes: 512 << 20, write_buffer_bytes: 32 << 20, yields_cpu: false, counts_written: false };

#[cfg(feature = "rocksdb")]
impl Site {
    /// Makes a store in a new directory of this name, which goes when the site is dropped.
    pub fn new(scratch: &Path, name: &str, tables: &[TableSpec]) -> Result<Self> {
        let directory = scratch.join(name);
        let rocks = Arc::new(RocksStore::open(&directory, tables, &OPTIONS)?);
        Ok(Self { store: Counting::new(rocks.clone()), rocks, directory })
    }

    /// Asks the store something while its cache is empty.
    pub fn cold<T>(&self, ask: impl FnOnce(&dyn Store) -> Result<T>) -> Result<(T, Cold)> {
        self.rocks.drop_cached_blocks(&OPTIONS);
        self.store.take();
        let mut reads = BlockReads::default();
        let answer = ask(&self.store)?;
        let blocks = Some(reads.take().data);
        Ok((answer, Cold { counts: self.store.take(), blocks }))
    }
}

#[cfg(feature = "rocksdb")]
impl Drop for Site {
    fn drop(&mut self) {
        // Files that are still open take no space once their names are gone.
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            let error = Error::unavailable("a temporary store stays behind").with_source(error);
            tracing::warn!(directory = %self.directory.display(), %error);
        }
    }
}

#[cfg(not(feature = "rocksdb"))]
impl Site {
    /// Makes a store.
    pub fn new(_: &Path, _: &str, tables: &[TableSpec]) -> Result<Self> {
        Ok(Self { store: Counting::new(Arc::new(MemoryStore::open(tables))) })
    }

    /// Asks the store something.
    pub fn cold<T>(&self, ask: impl FnOnce(&dyn Store) -> Result<T>) -> Result<(T, Cold)> {
        self.store.take();
        let answer = ask(&self.store)?;
        Ok((answer, Cold { counts: self.store.take(), blocks: None }))
    }
}
