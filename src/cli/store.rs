//! The store that a command works on.

use std::path::PathBuf;

#[cfg(not(feature = "rocksdb"))]
use crate::kv::memory::MemoryStore;
use crate::{
    error::{Error, Result},
    server::{Options, RoomServer},
};

/// The directory of a store.
#[derive(Debug, Clone)]
pub(super) struct Place {
    directory: PathBuf,
}

/// An open store.
pub(super) struct Opened {
    pub(super) server: RoomServer,
    #[cfg(not(feature = "rocksdb"))]
    memory: (MemoryStore, Place),
}

impl Place {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Opens the store, which must be there.
    pub(super) fn open(&self) -> Result<Opened> {
        self.open_with(&Options { create: false, ..Options::default() })
    }

    #[cfg(feature = "rocksdb")]
    pub(super) fn open_with(&self, options: &Options) -> Result<Opened> {
        Ok(Opened { server: RoomServer::open(&self.directory, options)? })
    }
}

#[cfg(feature = "rocksdb")]
impl Opened {
    /// Keeps what was imported: on disk it is already, but closing may still fail.
    pub(super) fn keep(&self) -> Result<()> {
        self.server.close()
    }
}

/// Without RocksDB a store is one file that is read whole and written anew: enough to try the tool.
#[cfg(not(feature = "rocksdb"))]
impl Place {
    pub(super) fn open_with(&self, options: &Options) -> Result<Opened> {
        let unreadable = |error: std::io::Error| {
            Error::unavailable(format!("{} cannot be read", self.directory.display())).with_source(error)
        };
        let is_new = match std::fs::read_dir(&self.directory) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(unreadable(error)),
        };
        let specs = crate::tables::specs();
        let store = match (is_new, options.create) {
            (false, _) => MemoryStore::load(&self.directory, &specs)?,
            (true, true) => MemoryStore::open(&specs),
            (true, false) => {
                return Err(Error::not_found(format!("there is no store in {}", self.directory.display())));
            }
        };
        let server = RoomServer::open_on(std::sync::Arc::new(store.clone()), options)?;
        Ok(Opened { server, memory: (store, self.clone()) })
    }
}

#[cfg(not(feature = "rocksdb"))]
impl Opened {
    /// Writes the store to its directory.
    pub(super) fn keep(&self) -> Result<()> {
        use crate::kv::Store;

        let (store, Place { directory }) = &self.memory;
        let unwritable = |error: std::io::Error| {
            Error::unavailable(format!("{} cannot be written", directory.display())).with_source(error)
        };
        let new = directory.with_extension("new");
        if new.exists() {
            std::fs::remove_dir_all(&new).map_err(unwritable)?;
        }
        store.checkpoint(&new)?;
        if directory.exists() {
            std::fs::remove_dir_all(directory).map_err(unwritable)?;
        }
        std::fs::rename(&new, directory).map_err(unwritable)
    }
}

/// A room that a command was asked for.
pub(super) fn unknown_room(room_id: &str) -> Error {
    Error::not_found(format!("room {room_id} is not in the store"))
}

/// An event that a command was asked for.
pub(super) fn unknown_event(event_id: &str, room_id: Option<&str>) -> Error {
    let room = room_id.map(|room_id| format!(" of room {room_id}")).unwrap_or_default();
    Error::not_found(format!("event {event_id}{room} is not in the store"))
}
