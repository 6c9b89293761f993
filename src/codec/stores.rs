//! The stores that bytes are counted on.

use std::{path::Path, sync::Arc};

use super::events::Events;
#[cfg(not(feature = "rocksdb"))]
use crate::kv::memory::MemoryStore;
#[cfg(feature = "rocksdb")]
use crate::kv::rocksdb::{RocksOptions, RocksStore, Tuning};
use crate::{
    encoding::keys,
    error::{Error, Result},
    generate::direct::Direct,
    ids::{EventNid, RoomNid},
    kv::{Access, Batch, Direction, Store, TableId, TableSpec},
    room::outcome::{Input, Outcome},
    server::{Options, RoomServer},
    tables::{TABLES, specs},
};

/// How a table is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// KiB of a block.
    pub block: u32,
    /// Level of Zstandard, if blocks are compressed.
    pub level: Option<u8>,
    /// KiB of the dictionary of a file.
    pub dictionary: u32,
    /// Whether there are Bloom filters.
    pub filter: bool,
}

impl Layout {
    /// Its name, for tables.
    pub fn name(&self) -> String {
        let level = self.level.map_or("none".to_owned(), |level| format!("zstd-{level}"));
        let dictionary = if self.dictionary > 0 { format!(" + {} KiB", self.dictionary) } else { String::new() };
        format!("{} KiB, {level}{dictionary}{}", self.block, if self.filter { ", filter" } else { "" })
    }

    /// What a store uses for a table that is read so.
    #[cfg(feature = "rocksdb")]
    pub fn of(access: Access) -> Self {
        let Tuning { block_bytes, compression, dictionary_bytes, filter } = Tuning::of(access);
        let block = u32::try_from(block_bytes >> 10).unwrap_or(u32::MAX);
        Self { block, level: compression, dictionary: dictionary_bytes >> 10, filter }
    }

    /// The same in memory, where there are no blocks.
    #[cfg(not(feature = "rocksdb"))]
    pub fn of(_: Access) -> Self {
        Self { block: 0, level: None, dictionary: 0, filter: false }
    }

    #[cfg(feature = "rocksdb")]
    fn tuning(self) -> Tuning {
        Tuning {
            block_bytes: usize::try_from(self.block).unwrap_or(0) << 10,
            compression: self.level,
            dictionary_bytes: self.dictionary << 10,
            filter: self.filter,
        }
    }
}

/// The store with the engine's own tables.
#[cfg(feature = "rocksdb")]
pub fn own(scratch: &Path, name: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(RocksStore::open(&scratch.join(name), &specs(), &RocksOptions::default())?))
}

/// The same in memory: bytes are those of keys and values.
#[cfg(not(feature = "rocksdb"))]
pub fn own(_: &Path, _: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(MemoryStore::open(&specs())))
}

/// Names of tables that are there to be compared: as many as [`compared`] makes at most.
const NAMES: [&str; 24] = [
    "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11", "t12", "t13", "t14", "t15", "t16", "t17",
    "t18", "t19", "t20", "t21", "t22", "t23",
];

/// A store with a table for each layout, at most 24, and as little cache as can be.
#[cfg(feature = "rocksdb")]
pub fn compared(scratch: &Path, name: &str, layouts: &[Layout]) -> Result<Arc<dyn Store>> {
    let spec = |name: &'static str| TableSpec { name, access: Access::Point };
    let tuned: Vec<(TableSpec, Tuning)> =
        NAMES.iter().zip(layouts).map(|(name, layout)| (spec(name), layout.tuning())).collect();
    let options = RocksOptions { cache_bytes: 1 << 20, ..RocksOptions::default() };
    Ok(Arc::new(RocksStore::open_tuned(&scratch.join(name), &tuned, &options)?))
}

/// The same in memory, where there are no layouts.
#[cfg(not(feature = "rocksdb"))]
pub fn compared(_: &Path, _: &str, layouts: &[Layout]) -> Result<Arc<dyn Store>> {
    let spec = |(name, _): (&&'static str, &Layout)| TableSpec { name, access: Access::Point };
    Ok(Arc::new(MemoryStore::open(&NAMES.iter().zip(layouts).map(spec).collect::<Vec<_>>())))
}

/// Puts events through the engine, each into its room, and writes all out.
///
/// Room and event numbers are their places, from 1 on.
///
/// # Errors
///
/// `Internal` if the engine does not accept one.
pub fn fill(store: &Arc<dyn Store>, events: &Events) -> Result<()> {
    let engine = Direct::open(store.clone(), Options::default().memory)?;
    let mut writers = Vec::new();
    for (room_id, version) in &events.rooms {
        writers.push(engine.begin(room_id, version)?);
    }
    for event in &events.events {
        let Some(writer) = writers.get_mut(event.room) else { continue };
        match writer.process(&Input::new(event.pdu.clone()))? {
            Outcome::Accepted(_) | Outcome::SoftFailed { .. } => {}
            other => {
                let text = String::from_utf8_lossy(&event.pdu);
                return Err(Error::internal(format!("an event is not accepted: {other:?}: {text}")));
            }
        }
    }
    engine.settle();
    store.flush(true)
}

/// How many events of a store read back as they came.
pub fn read_back(store: &Arc<dyn Store>, events: &Events) -> Result<usize> {
    let server = RoomServer::open_on(store.clone(), &Options::default())?;
    let view = server.view();
    let mut same = 0;
    for (place, (room_id, _)) in events.rooms.iter().enumerate() {
        let Some(room) = view.room(room_id)? else { continue };
        let mut came = events.events.iter().filter(|event| event.room == place);
        room.records(&mut |record| {
            let read = record.event.pdu.as_deref().map(str::as_bytes);
            same += usize::from(came.next().map(|event| event.pdu.as_slice()) == read);
            Ok(true)
        })?;
    }
    Ok(same)
}

/// The key of an event, as in the engine's tables.
pub fn key(room: usize, event: usize) -> Result<Vec<u8>> {
    let number = |place: usize| u32::try_from(place).ok().and_then(|place| place.checked_add(1));
    match (number(room).and_then(RoomNid::new), number(event).and_then(EventNid::new)) {
        (Some(room), Some(event)) => Ok(keys::event(room, event).to_vec()),
        _ => Err(Error::internal("too many events")),
    }
}

/// Rows that are written in batches.
pub struct Writer<'s> {
    store: &'s dyn Store,
    batch: Batch,
}

impl<'s> Writer<'s> {
    /// Writes into `store`.
    pub fn new(store: &'s dyn Store) -> Self {
        Self { store, batch: Batch::default() }
    }

    /// Puts a row.
    pub fn put(&mut self, table: TableId, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Result<()> {
        self.batch.put(table, key, value);
        if self.batch.bytes() > 1 << 20 {
            self.store.write(std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }

    /// Writes what is left, and all of it into compacted files.
    pub fn finish(self) -> Result<()> {
        self.store.write(self.batch)?;
        self.store.flush(true)
    }
}

/// Visits every row of a table.
pub fn rows(store: &dyn Store, table: TableId, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    store.scan(table, &[], &[], Direction::Forward, &mut |key, value| visit(key, value).map(|()| true))
}

/// The bytes of a table, for each of `events`.
pub fn bytes_each(store: &dyn Store, table: TableId, events: usize) -> Result<f64> {
    let bytes = store.table_bytes()?.get(usize::from(table.0)).copied().unwrap_or(0);
    Ok(bytes as f64 / events.max(1) as f64)
}

/// The name of a table of the engine.
pub fn table_name(table: TableId) -> &'static str {
    TABLES.get(usize::from(table.0)).map_or("", |table| table.spec.name)
}
