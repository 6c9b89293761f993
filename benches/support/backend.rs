//! The stores that benchmarks run on.

use std::sync::Arc;

use roomserver::{
    Result,
    kv::{Store, counting::Counting, memory::MemoryStore},
    tables::specs,
};

/// A store that counts, and the directory that it lives in.
pub struct Backend {
    name: &'static str,
    pub store: Arc<Counting<Arc<dyn Store>>>,
    // Removed when the store is closed.
    _directory: Option<tempfile::TempDir>,
}

/// The backends that there are.
pub const BACKENDS: &[&str] = &[
    "memory",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
];

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Backend {
    /// A new store on one of the [`BACKENDS`]. With `yields_cpu`, what it does in the background takes no core from the
    /// benchmark.
    #[cfg_attr(not(feature = "rocksdb"), expect(unused_variables, reason = "memory has no threads of its own"))]
    pub fn open(name: &'static str, yields_cpu: bool) -> Result<Self> {
        #[cfg(feature = "rocksdb")]
        if name == "rocksdb" {
            use roomserver::{
                Error, ErrorKind,
                kv::rocksdb::{RocksOptions, RocksStore},
            };

            let directory =
                tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))?;
            let rocks =
                RocksStore::open(directory.path(), &specs(), &RocksOptions { yields_cpu, ..RocksOptions::default() })?;
            let store: Arc<dyn Store> = Arc::new(rocks);
            return Ok(Self { name, store: Arc::new(Counting::new(store)), _directory: Some(directory) });
        }
        let store: Arc<dyn Store> = Arc::new(MemoryStore::open(&specs()));
        Ok(Self { name, store: Arc::new(Counting::new(store)), _directory: None })
    }
}
