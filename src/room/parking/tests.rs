//! What it costs to wait: elsewhere each arrival cost the whole of what was lacking.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;

use crate::{
    Input, Kind, Outcome, ParkedInput, Result, RoomServer, Ticket,
    kv::{self, Batch, Direction, Read, Store, TableId, Visit, memory::MemoryStore},
    tables::{PARKED, specs},
    verify::tests::{
        room::{ALICE, Author, BOB, ROOM, Written, live, message, with_state},
        support::{is_whole, open},
    },
};

fn submit(server: &RoomServer, input: Input) -> Result<Outcome> {
    let outcome = server.submit(input).and_then(Ticket::wait);
    server.settle().expect("settles");
    outcome
}

fn take(server: &RoomServer, input: Input) -> Outcome {
    submit(server, input).expect("the input is valid")
}

fn parked(server: &RoomServer) -> Vec<ParkedInput> {
    server.view().room(ROOM).expect("readable").expect("here").parked().expect("readable")
}

/// A store that counts how often a parked input is read.
struct ReadsOfParked {
    inner: MemoryStore,
    reads: AtomicUsize,
}

impl Read for ReadsOfParked {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<kv::Value>> {
        let value = self.inner.get(table, key)?;
        if table == PARKED && value.is_some() {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(value)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<kv::Value>>> {
        self.inner.multi_get(table, keys)
    }

    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()> {
        self.inner.scan(table, prefix, start, direction, visit)
    }
}

impl Store for ReadsOfParked {
    fn snapshot(&self) -> Box<dyn Read + '_> {
        self.inner.snapshot()
    }

    fn write(&self, batch: Batch) -> Result<u64> {
        self.inner.write(batch)
    }

    fn sync(&self) -> Result<u64> {
        self.inner.sync()
    }

    fn flush(&self, compact: bool) -> Result<()> {
        self.inner.flush(compact)
    }

    fn compact(&self, table: TableId, start: &[u8], end: &[u8]) -> Result<()> {
        self.inner.compact(table, start, end)
    }

    fn table_bytes(&self) -> Result<Vec<u64>> {
        self.inner.table_bytes()
    }

    fn checkpoint(&self, directory: &Path) -> Result<()> {
        self.inner.checkpoint(directory)
    }
}

/// A supplied state of 1,000 events that come after the event that waits for them: waiting for them in the order in which
/// they come, it would be read 1,000 times.
#[test]
fn a_parked_input_is_read_a_few_times_in_whatever_order_what_it_lacks_arrives() {
    const LACKING: usize = 1_000;
    let mut author = Author::new(ROOM);
    let base = author.base();
    let [create, alice, levels, _, bob] = &base;
    let wide: Vec<Written> = (0..LACKING)
        .map(|place| {
            let state_key = format!("key {place}");
            let what = ("org.example.wide", Some(&*state_key), json!({"place": place}));
            author.write(ALICE, what, &[bob], &[create, levels, alice])
        })
        .collect();
    let lost = author.write(BOB, message("lost"), &[bob], &[create, levels, bob]);
    let late = author.write(BOB, message("late"), &[&lost], &[create, levels, bob]);
    let orders: [(&str, Vec<usize>); 3] = [
        ("as named", (0..LACKING).collect()),
        ("backwards", (0..LACKING).rev().collect()),
        ("shuffled", (0..LACKING).map(|place| place * 387 % LACKING).collect()),
    ];
    for (name, order) in orders {
        let store = Arc::new(ReadsOfParked { inner: MemoryStore::open(&specs()), reads: AtomicUsize::new(0) });
        let server = open(store.clone());
        for event in &base {
            take(&server, live(event));
        }
        let outcome = take(&server, with_state(&late, base.iter().chain(&wide)));
        let Outcome::Parked(told) = outcome else { panic!("{outcome:?}") };
        let named: Vec<&str> = wide.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!(told.missing_state, named);
        assert_eq!(parked(&server)[0].missing, named);
        store.reads.store(0, Ordering::Relaxed);
        for place in order {
            take(&server, Input { kind: Kind::Outlier, ..live(&wide[place]) });
        }
        assert!(parked(&server).is_empty() && is_whole(&server), "{name}");
        let view = server.view();
        let event = view.room(ROOM).expect("readable").expect("here").event(&late.event_id).expect("readable");
        assert!(event.expect("decided").verdict.is_accepted(), "{name}");
        let reads = store.reads.load(Ordering::Relaxed);
        assert!(reads < 25, "{name}: {reads} reads for {LACKING} arrivals");
    }
}
