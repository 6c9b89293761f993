//! The engine's public door.

#[cfg(feature = "rocksdb")]
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    encoding::cold,
    error::{Error, Result},
    input::{Backpressure, Durability, Inputs, Limits, Purger, Ticket},
    kv::{Batch, Store, claim::Claim},
    query::View,
    room::{
        engine::{Engine, MEMORY_DEFAULT},
        outcome::Input,
        points::Shows,
    },
    tables::{META, rows::corrupt},
};

/// The version of the format that this build reads and writes; see `docs/format.md`.
pub const FORMAT_VERSION: u32 = 4;

/// How a [`RoomServer`] is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Threads that decide events; each room is with at most one of them at a time.
    pub writers: usize,
    /// Whether outcomes wait for stable storage.
    pub durability: Durability,
    /// Bytes of memory for what the engine caches, besides the store's own block cache.
    pub memory: usize,
    /// How much may wait in the queues.
    pub limits: Limits,
    /// Whether a store that is not there is made.
    pub create: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            writers: 2,
            durability: Durability::Synced,
            memory: MEMORY_DEFAULT,
            limits: Limits::default(),
            create: true,
        }
    }
}

/// A room engine on one store.
///
/// Share it between threads by reference or [`Arc`]. It is the only one on its store until it is closed and its last
/// [`View`] is dropped. Dropping it closes it, but for the last sync.
pub struct RoomServer {
    pub(crate) engine: Arc<Engine>,
    pub(crate) inputs: Inputs,
    purger: Purger,
    /// Held by the one collection of garbage at a time.
    pub(crate) collecting: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Format {
    version: u32,
}

const FORMAT_KEY: &[u8] = b"format";

impl RoomServer {
    /// Opens the store in a directory.
    ///
    /// # Errors
    ///
    /// `Invalid` if the directory is no store or one of another format version; `Unavailable` if another process has it
    /// open; `NotFound` if there is none and `options.create` is off; `Corrupt` if it is damaged.
    #[cfg(feature = "rocksdb")]
    pub fn open(directory: impl AsRef<Path>, options: &Options) -> Result<Self> {
        use crate::kv::rocksdb::{Guard, RocksOptions, RocksStore};

        let directory = directory.as_ref();
        if !options.create && !directory.join("CURRENT").is_file() {
            return Err(Error::not_found(format!("there is no store in {}", directory.display())));
        }
        let guard = Guard { table: crate::tables::name(META), key: FORMAT_KEY, accepts: &accept_format };
        let store = RocksStore::open_guarded(directory, &crate::tables::specs(), &RocksOptions::default(), guard)?;
        Self::open_on(Arc::new(store), options)
    }

    /// Opens the engine on any store whose tables are [`tables::specs`](crate::tables::specs).
    ///
    /// # Errors
    ///
    /// As for [`RoomServer::open`]; `Unavailable` too if another engine is open on the store, through this handle or
    /// another one, or one that was closed and of which a view is open. `Busy` if the store cannot sync now. Whatever the
    /// error, the store can be opened on again.
    pub fn open_on(store: Arc<dyn Store>, options: &Options) -> Result<Self> {
        let claim = Claim::new(store)?;
        check_format(&**claim)?;
        let shows = match options.durability {
            Durability::Synced => Shows::Durable,
            Durability::Buffered => Shows::Newest,
        };
        let engine = Arc::new(Engine::open(claim, options.memory, shows)?);
        // Threads that were started before something failed may still hold the engine.
        Self::start(&engine, options).inspect_err(|_| engine.release())
    }

    fn start(engine: &Arc<Engine>, options: &Options) -> Result<Self> {
        let inputs = Inputs::start(engine.clone(), options.writers, options.limits, options.durability)?;
        let purger = Purger::start(engine.clone(), engine.rows().purges()?)?;
        let server = Self { engine: engine.clone(), inputs, purger, collecting: Mutex::new(()) };
        server.recover()?;
        Ok(server)
    }

    /// Queues an event for its room.
    ///
    /// # Errors
    ///
    /// `Busy` if a queue is full: nothing was taken, try again later. `Invalid` if the PDU is not JSON or names no room, and
    /// if the supplied state is larger than [`Input::state`] says. `Unavailable` after [`RoomServer::close`], and for a room
    /// in quarantine. What is found later comes from the [`Ticket`].
    pub fn submit(&self, input: Input) -> Result<Ticket> {
        input.check_state()?;
        self.inputs.submit(input)
    }

    /// Reads of one consistent state of the store, the newest that is durable: who has an outcome sees its event, and nobody
    /// sees what a power loss could take back. With [`Durability::Buffered`] it is the newest state. Reads block no writer;
    /// this call reads nothing.
    pub fn view(&self) -> View {
        View::new(&self.engine)
    }

    /// The inputs that were taken and whose outcome has not been told.
    pub fn backpressure(&self) -> Backpressure {
        self.inputs.backpressure()
    }

    /// Blocks until every input that was taken is done, with all that it re-drove, and durable, and purges that the end of
    /// the last process cut off are done too. It waits for a moment in which nothing at all is under way: under steady load
    /// that may not come. A waker of a ticket must not call it, since it would wait for the thread that it is called by.
    ///
    /// # Errors
    ///
    /// `Busy` if the store refuses to write, so that parked inputs which are ready cannot be decided now, or a purge cannot
    /// go on: inputs are tried again with the next input of their room, and when this is called again. `Unavailable` if the
    /// store cannot be synced, and after [`RoomServer::close`].
    pub fn settle(&self) -> Result<()> {
        let settled = self.inputs.settle();
        let purged = self.purger.settle();
        self.engine.sync()?;
        settled.and(purged)
    }

    /// Rooms whose writer panicked, with the reason. They take no inputs until [`RoomServer::release`], or until the store
    /// is opened again.
    pub fn quarantined(&self) -> Vec<(String, String)> {
        self.inputs.quarantined()
    }

    /// Why a room is in quarantine, if it is: tells an `Unavailable` that is the room's from one that is the store's.
    pub fn quarantined_reason(&self, room_id: &str) -> Option<String> {
        self.inputs.quarantined_reason(room_id)
    }

    /// Ends a room's quarantine: the room takes inputs again, and what is parked in it and ready is decided.
    ///
    /// What made the writer panic may do so again; the room is in quarantine again then, and nothing is lost.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use roomserver::{ErrorKind, Options, RoomServer, kv::memory::MemoryStore, tables};
    ///
    /// # fn main() -> Result<(), roomserver::Error> {
    /// let server = RoomServer::open_on(Arc::new(MemoryStore::open(&tables::specs())), &Options::default())?;
    /// for (room_id, reason) in server.quarantined() {
    ///     println!("{room_id}: {reason}");
    ///     server.release(&room_id)?;
    /// }
    /// let unknown = server.release("!fine:example.org").expect_err("it is not in quarantine");
    /// assert_eq!(unknown.kind(), ErrorKind::NotFound);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `NotFound` if the room is not in quarantine; `Unavailable` after [`RoomServer::close`].
    pub fn release(&self, room_id: &str) -> Result<()> {
        self.inputs.release(room_id)
    }

    /// Live bytes on disk of each table, by name. With `exact`, after writing everything out and compacting it.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store fails; with `exact`, after [`RoomServer::close`] too.
    pub fn table_bytes(&self, exact: bool) -> Result<Vec<(&'static str, u64)>> {
        if exact {
            self.engine.flush(true)?;
        }
        let bytes = self.engine.store().table_bytes()?;
        Ok(crate::tables::TABLES.iter().map(|table| table.spec.name).zip(bytes).collect())
    }

    /// Ends the engine: inputs that wait are answered with `Unavailable`, everything that was decided becomes durable, and
    /// the store is given back, once the last view of it is dropped: then it can be opened on again.
    ///
    /// Nothing is written through this engine afterwards: what is under way in other threads, a collection of garbage or a
    /// purge too, ends after the step at hand. Views go on reading. A second call does nothing.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store cannot be synced.
    pub fn close(&self) -> Result<()> {
        self.inputs.close();
        self.purger.close();
        self.engine.close()
    }

    /// Re-drives what was left parked though all that it lacked had arrived, and builds the lists that are due.
    fn recover(&self) -> Result<()> {
        let rows = self.engine.rows();
        for room in rows.rooms()? {
            let head = rows.head(room.nid)?;
            if head.counts.parked > 0 {
                self.inputs.recover(&room.id);
            }
            for sealed in &head.seals {
                if !rows.has_list(room.nid, *sealed)? {
                    self.inputs.build_lists(room.nid);
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Drop for RoomServer {
    fn drop(&mut self) {
        self.inputs.close();
        self.purger.close();
        // Whatever still holds the engine, the store can be opened on again, once no view of it is open.
        self.engine.release();
    }
}

/// Refuses a store of another format; marks a new one.
fn check_format(store: &dyn Store) -> Result<()> {
    match store.get(META, FORMAT_KEY)? {
        Some(row) => accept_format(&row)?,
        None => {
            let mut batch = Batch::default();
            batch.put(META, FORMAT_KEY, cold::encode(&Format { version: FORMAT_VERSION })?);
            store.write(batch)?;
            store.sync()?;
        }
    }
    Ok(())
}

/// Refuses a format that is not this build's, by its row.
fn accept_format(row: &[u8]) -> Result<()> {
    let Format { version } = cold::decode(row).map_err(|malformed| corrupt(META, FORMAT_KEY, malformed))?;
    if version == FORMAT_VERSION {
        return Ok(());
    }
    Err(Error::invalid(format!("the store is of format version {version}, this build reads version {FORMAT_VERSION}")))
}
