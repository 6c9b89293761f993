//! What upkeep of many small rooms costs on RocksDB: a collection of all rooms, and purges of single ones.
//!
//! ```text
//! cargo bench --features bench --bench upkeep            # a table
//! cargo bench --features bench --bench upkeep -- --json  # a JSON object a line
//! ```
//!
//! `-- --quick` leaves out the largest store; `-- --only 100` takes one size.
//!
//! Each room has 26 events, forks among them, and four at the end that are rejected, which nothing follows. First a collection
//! that finds nothing looks at all rooms, then one frees the rejected events of each. The store is compacted in full
//! before the collection and before the purges. Bytes are what flushes and compactions wrote into table files, with a last
//! flush of what was left in memory, as a store that goes on pays it; the write-ahead log is not counted.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark measures time, prints, and ends where something fails"
)]

#[path = "support/report.rs"]
mod report;

use std::{sync::Arc, time::Instant};

use roomserver::{
    Durability, Error, ErrorKind, Input, Options, Result, RoomServer,
    generate::{Room, Spec, TRUNK, direct::Direct},
    kv::{
        Store,
        rocksdb::{RocksOptions, RocksStore},
    },
    tables::specs,
    upkeep::{Collect, Freed},
};

use self::report::{Arguments, Table, percentile};

const SIZES: [u32; 3] = [100, 1_000, 10_000];
const EVENTS: usize = 26;
/// Events at the end of each room that are rejected.
const REFUSED: usize = 4;
/// Rooms that are purged, one after the other.
const PURGES: usize = 21;

fn main() -> Result<()> {
    let arguments = Arguments::read();
    let mut table = Table::new("upkeep of rooms of 26 events, rocksdb");
    for rooms in SIZES {
        let is_left_out = arguments.quick && rooms == SIZES[2];
        if !is_left_out && arguments.wants("--only", &rooms.to_string()) {
            measure(rooms, &mut table)?;
        }
    }
    table.print(&arguments);
    Ok(())
}

fn measure(rooms: u32, table: &mut Table) -> Result<()> {
    let directory = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))?;
    let options = RocksOptions { counts_written: true, ..RocksOptions::default() };
    let store = Arc::new(RocksStore::open(directory.path(), &specs(), &options)?);
    let ids = fill(&store, rooms)?;
    store.flush(true)?;
    let bytes: u64 = store.table_bytes()?.iter().sum();

    let mut options = Options::default();
    options.durability = Durability::Buffered;
    let server = RoomServer::open_on(store.clone(), &options)?;
    let before = written(&store);
    let start = Instant::now();
    let freed = server.gc(&Collect::default(), &mut |_| {})?;
    let looked = start.elapsed();
    assert_eq!(freed, Freed::default(), "there is nothing that no event reaches");
    let start = Instant::now();
    let freed = server.gc(&Collect { refused: true, ..Collect::default() }, &mut |_| {})?;
    let gc = start.elapsed();
    assert_eq!(freed.events, u64::from(rooms) * REFUSED as u64, "{freed:?}");
    store.flush(false)?;
    let after_gc = written(&store);
    let left: u64 = store.table_bytes()?.iter().sum();

    store.flush(true)?;
    let before_purges = written(&store);
    let mut times = Vec::new();
    for room_id in ids.iter().step_by(ids.len() / PURGES).take(PURGES) {
        let start = Instant::now();
        server.purge(room_id, &mut |_| {})?;
        times.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    store.flush(false)?;
    let after_purges = written(&store);
    let purged: u64 = (0..2).map(|kind| after_purges[kind] - before_purges[kind]).sum();
    table.row(vec![
        ("rooms", rooms.into()),
        ("bytes", bytes.into()),
        ("looked_ms", u64::try_from(looked.as_millis()).unwrap_or(u64::MAX).into()),
        ("events_freed", freed.events.into()),
        ("bytes_left", left.into()),
        ("gc_ms", u64::try_from(gc.as_millis()).unwrap_or(u64::MAX).into()),
        ("gc_flushed", (after_gc[0] - before[0]).into()),
        ("gc_compacted", (after_gc[1] - before[1]).into()),
        ("purge_median_us", percentile(&mut times, 500).into()),
        ("purge_longest_us", percentile(&mut times, 1000).into()),
        ("purge_bytes_written", (purged / PURGES as u64).into()),
    ]);
    Ok(())
}

/// Bytes flushed and compacted.
fn written(store: &RocksStore) -> [u64; 2] {
    let written = store.written().unwrap_or_default();
    [written.flushed, written.compacted]
}

/// Fills a store with rooms; gives their IDs.
fn fill(store: &Arc<RocksStore>, rooms: u32) -> Result<Vec<String>> {
    let engine = Direct::open(store.clone(), Options::default().memory)?;
    let mut ids = Vec::new();
    for number in 0..rooms {
        let spec = Spec { members: 5, seed: u64::from(number) + 1, ..Spec::default() };
        let mut room = Room::new(Spec { first_user: number % 1_000, ..spec })?;
        let mut writer = engine.begin(room.id(), room.version())?;
        let mut events = room.starting_state();
        let alice = room.creator();
        while events.len() + 3 <= EVENTS - REFUSED {
            room.fork(2);
            events.extend([room.topic(0), room.message(1, alice), room.merge(alice)]);
        }
        while events.len() < EVENTS - REFUSED {
            events.push(room.message(TRUNK, alice));
        }
        // Of users that are not in the room.
        room.fork(REFUSED as u32);
        for line in 0..REFUSED {
            let stranger = room.new_user();
            events.push(room.message(line, stranger));
        }
        for event in events {
            writer.process(&Input::new(event.pdu))?;
        }
        ids.push(room.id().to_owned());
    }
    engine.settle();
    Ok(ids)
}
