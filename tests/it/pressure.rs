//! The back-pressure gauge. Elsewhere it rose late and was lost on some paths; here it is 0 whenever nothing is under way.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use roomserver::{
    ErrorKind, Input, Kind, Limits, Options, Outcome, Result, RoomServer,
    kv::{Batch, Claimable, Direction, Garbage, Read, Store, TableId, Value, Visit, memory::MemoryStore},
    tables::{self, TABLES},
    upkeep::Collect,
};

use crate::support::{View, ViewInput, feed, server, views};

fn view(name: &str) -> View {
    views().into_iter().find(|view| view.name == name).expect("a fixture")
}

fn at_rest(server: &RoomServer) {
    server.settle().expect("settles");
    let gauge = server.backpressure();
    assert_eq!((gauge.inputs, gauge.bytes), (0, 0));
}

#[test]
fn the_gauge_is_0_after_accepted_rejected_soft_failed_and_duplicate_events() {
    let view = view("forks-v10.a");
    let (server, _) = server();
    feed(&server, &view.inputs);
    at_rest(&server);
    feed(&server, &view.inputs);
    at_rest(&server);
}

#[test]
fn the_gauge_is_0_after_invalid_inputs() {
    let (server, _) = server();
    for pdu in ["", "{", "[]", "{\"room_id\":\"!r:x\"}", "{\"room_id\":\"!r:x\",\"type\":\"m\",\"depth\":-1}"] {
        let outcome = server.submit(Input::new(pdu)).and_then(roomserver::Ticket::wait);
        let kind = outcome.expect_err("refused").kind();
        assert!(matches!(kind, ErrorKind::Invalid | ErrorKind::NotFound), "{kind:?}");
    }
    at_rest(&server);
}

/// Parents after children: everything is parked and decided in the end.
#[test]
fn the_gauge_is_0_after_parked_events_and_all_of_them_are_decided() {
    let view = view("forks-v12.a");
    let (plain, _) = server();
    feed(&plain, &view.inputs);
    let (server, _) = server();
    let backwards: Vec<&ViewInput> = view.inputs.iter().rev().collect();
    let outcomes = feed(&server, backwards);
    assert!(outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Parked(_)))).count() > 400);
    at_rest(&server);
    let (told, got) = (plain.view(), server.view());
    let (told, got) = (&told.rooms().expect("readable")[0], &got.rooms().expect("readable")[0]);
    assert_eq!(got.counts().parked, 0);
    assert_eq!(got.counts().events, told.counts().events);
    assert_eq!(got.extremities().expect("readable"), told.extremities().expect("readable"));
    assert_eq!(got.current_summary(), told.current_summary());
}

#[test]
fn what_was_left_parked_is_decided_after_a_restart() {
    let view = view("forks-v10.a");
    let (first, store) = server();
    let (create, rest) = view.inputs.split_first().expect("events");
    feed(&first, rest);
    assert!(first.view().rooms().expect("readable").is_empty(), "a room begins with its create event");
    drop(first);
    let again = crate::support::open(Arc::new(store.reopen()));
    feed(&again, [create]);
    let counts = again.view().rooms().expect("readable")[0].counts();
    assert_eq!((counts.events as usize, counts.parked), (view.inputs.len(), 0));
}

#[test]
fn a_full_queue_answers_busy_and_nothing_is_lost() {
    let view = view("forks-v10.a");
    let store = Arc::new(Blocking::new());
    let options = &mut Options::default();
    options.limits = Limits { room_bytes: 20_000, total_bytes: 40_000 };
    let server = RoomServer::open_on(store.clone(), options).expect("opens");
    store.block.store(true, Ordering::Release);
    let (mut taken, mut busy) = (Vec::new(), 0);
    for input in &view.inputs {
        match server.submit(input.to_input()) {
            Ok(ticket) => taken.push(ticket),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Busy);
                busy += 1;
            }
        }
    }
    assert!(busy > 0 && !taken.is_empty());
    assert!(server.backpressure().bytes <= 40_000 + 65_536);
    store.block.store(false, Ordering::Release);
    for ticket in taken {
        ticket.wait().expect("decided");
    }
    at_rest(&server);
}

/// What was sent with an event and is no part of it is not kept while the event waits.
#[test]
fn the_queues_hold_no_more_than_they_may_of_events_that_come_with_much_around_them() {
    let view = view("forks-v10.a");
    let store = Arc::new(Blocking::new());
    let options = &mut Options::default();
    options.limits = Limits { room_bytes: 1 << 20, total_bytes: 1 << 20 };
    let server = RoomServer::open_on(store.clone(), options).expect("opens");
    store.block.store(true, Ordering::Release);
    let large = |input: &ViewInput| {
        let text = String::from_utf8(input.pdu.clone()).expect("text");
        let around = format!("{}{{\"unsigned\":{{\"n\":[{}0]}},", " ".repeat(200_000), "0,".repeat(300_000));
        ViewInput { pdu: text.replacen('{', &around, 1).into_bytes(), ..input.clone() }
    };
    let tickets: Vec<_> = view.inputs[..50].iter().map(|input| server.submit(large(input).to_input())).collect();
    let waiting = server.backpressure();
    store.block.store(false, Ordering::Release);
    for ticket in tickets {
        ticket.and_then(roomserver::Ticket::wait).expect("taken and decided");
    }
    assert!(waiting.inputs == 50 && waiting.bytes < 500_000, "{waiting:?}");
    at_rest(&server);
}

/// Values take more memory than text.
#[test]
fn a_queue_counts_the_memory_that_an_event_takes() {
    let view = view("forks-v10.a");
    let store = Arc::new(Blocking::new());
    let server = RoomServer::open_on(store.clone(), &Options::default()).expect("opens");
    feed(&server, &view.inputs[..1]);
    store.block.store(true, Ordering::Release);
    let mut input = view.inputs[1].to_input();
    let text = String::from_utf8(input.pdu).expect("text");
    input.pdu = text.replacen('{', &format!("{{\"n\":[{}0],", "0,".repeat(20_000)), 1).into_bytes();
    input.event_id = None;
    let ticket = server.submit(input).expect("taken");
    let bytes = server.backpressure().bytes;
    store.block.store(false, Ordering::Release);
    // Its content hash is wrong: it is the event itself, redacted.
    ticket.wait().expect("decided");
    assert!((20_000 * 16..20_000 * 40).contains(&bytes), "{bytes}");
    at_rest(&server);
}

#[test]
fn shutdown_with_full_queues_answers_everyone() {
    let view = view("forks-v10.a");
    let store = Arc::new(Blocking::new());
    let server = RoomServer::open_on(store.clone(), &Options::default()).expect("opens");
    store.block.store(true, Ordering::Release);
    let tickets: Vec<_> = view.inputs.iter().map(|input| server.submit(input.to_input()).expect("taken")).collect();
    thread::scope(|scope| {
        let closing = scope.spawn(|| server.close());
        thread::sleep(std::time::Duration::from_millis(50));
        store.block.store(false, Ordering::Release);
        closing.join().expect("no panic").expect("closes");
    });
    let answers: Vec<_> = tickets.into_iter().map(roomserver::Ticket::wait).collect();
    assert!(answers.iter().any(|answer| matches!(answer, Err(error) if error.kind() == ErrorKind::Unavailable)));
    let gauge = server.backpressure();
    assert_eq!((gauge.inputs, gauge.bytes), (0, 0));
    let late = server.submit(view.inputs[0].to_input()).expect_err("closed");
    assert_eq!(late.kind(), ErrorKind::Unavailable);
}

/// A panic under a writer puts its room into quarantine; other rooms go on.
#[test]
fn a_panic_quarantines_its_room_and_no_other() {
    let (bad, good) = (view("forks-v10.a"), view("forks-v12.a"));
    let store = Arc::new(Blocking::new());
    let server = RoomServer::open_on(store.clone(), &Options::default()).expect("opens");
    let (before, after) = bad.inputs.split_at(100);
    feed(&server, before);
    store.panic.store(true, Ordering::Release);
    let outcome = server.submit(after[0].to_input()).expect("taken").wait();
    assert_eq!(outcome.expect_err("the writer panicked").kind(), ErrorKind::Internal);
    store.panic.store(false, Ordering::Release);
    let refused = server.submit(after[1].to_input()).and_then(roomserver::Ticket::wait);
    assert_eq!(refused.expect_err("in quarantine").kind(), ErrorKind::Unavailable);
    assert_eq!(server.quarantined().len(), 1);
    assert!(feed(&server, &good.inputs).iter().all(Result::is_ok));
    at_rest(&server);
    drop(server);
    // Opened again, the room goes on where it was.
    let server = RoomServer::open_on(store, &Options::default()).expect("opens");
    assert!(feed(&server, after).iter().all(Result::is_ok));
    let events =
        server.view().rooms().expect("readable").iter().map(|room| room.counts().events as usize).sum::<usize>();
    assert_eq!(events, bad.inputs.len() + good.inputs.len());
}

#[test]
fn a_room_in_quarantine_is_left_out_of_a_collection_of_all_rooms_and_told_of() {
    let (bad, good) = (view("forks-v10.a"), view("forks-v12.a"));
    let store = Arc::new(Blocking::new());
    let server = RoomServer::open_on(store.clone(), &Options::default()).expect("opens");
    assert!(feed(&server, &good.inputs).iter().all(Result::is_ok));
    feed(&server, &bad.inputs[..400]);
    store.panic.store(true, Ordering::Release);
    server.submit(bad.inputs[400].to_input()).expect("taken").wait().expect_err("the writer panicked");
    store.panic.store(false, Ordering::Release);
    let (quarantined, _) = server.quarantined().pop().expect("one");
    let freed = server.gc(&Collect::default(), &mut |_| {}).expect("the other room is collected");
    assert!(freed.snapshots > 0, "{freed:?}");
    let [left_out] = freed.left_out.as_slice() else { panic!("{freed:?}") };
    assert_eq!((&left_out.room_id, left_out.kind), (&quarantined, ErrorKind::Unavailable));
    assert!(left_out.reason.contains("quarantine"), "{left_out:?}");
    let named = Collect { room: Some(quarantined), ..Collect::default() };
    assert_eq!(server.gc(&named, &mut |_| {}).expect_err("it was named").kind(), ErrorKind::Unavailable);
}

#[test]
fn a_purge_that_panics_keeps_nobody_waiting() {
    let (other, gone) = (view("forks-v12.a"), view("forks-v10.a"));
    let (server, store) = server();
    let mut rooms = Vec::new();
    for view in [&gone, &other] {
        feed(&server, &view.inputs[..50]);
        rooms.push(crate::support::room_id(&server));
    }
    drop(server);
    let mut left = store.reopen();
    for room in &rooms {
        let server = crate::support::open(Arc::new(left.clone()));
        left.fail_write_after(2);
        server.purge(room, &mut |_| {}).expect_err("cut off");
        drop(server);
        left = left.reopen();
    }
    let store = Arc::new(Blocking { inner: left, ..Blocking::new() });
    store.panic_once.store(true, Ordering::Release);
    let server = RoomServer::open_on(store.clone(), &Options::default()).expect("opens");
    server.settle().expect("settles");
    assert_eq!(crate::support::rows(&store.inner, tables::PURGES).len(), 1, "the other room's purge went on");
    server.close().expect("closes");
    let server = RoomServer::open_on(store.clone(), &Options::default()).expect("opens");
    server.settle().expect("settles");
    assert!(crate::support::rows(&store.inner, tables::PURGES).is_empty() && crate::support::is_whole(&server));
}

/// After the first failed write nothing more is acknowledged.
#[test]
fn a_failing_store_acknowledges_nothing_more() {
    let view = view("forks-v10.a");
    let (server, store) = server();
    feed(&server, &view.inputs[..50]);
    store.fail_write_after(1);
    for outcome in feed_all(&server, &view.inputs[50..]) {
        assert_eq!(outcome.expect_err("the store is poisoned").kind(), ErrorKind::Unavailable);
    }
    let gauge = server.backpressure();
    assert_eq!((gauge.inputs, gauge.bytes), (0, 0));
    assert_eq!(server.view().rooms().expect("readable")[0].counts().events, 50);
}

fn feed_all(server: &RoomServer, inputs: &[ViewInput]) -> Vec<Result<Outcome>> {
    inputs.iter().map(|input| server.submit(input.to_input()).and_then(roomserver::Ticket::wait)).collect()
}

/// History comes without states and moves no extremity; a later event that stands on it waits for a state.
#[test]
fn old_events_are_kept_without_states_and_never_become_extremities() {
    let view = view("forks-v10.a");
    let (server, _) = server();
    feed(&server, &view.inputs[..20]);
    let extremities = server.view().rooms().expect("readable")[0].extremities().expect("readable");
    let old: Vec<ViewInput> =
        view.inputs[20..40].iter().map(|input| ViewInput { kind: Kind::Old, ..input.clone() }).collect();
    assert!(feed(&server, &old).iter().all(Result::is_ok));
    assert_eq!(server.view().rooms().expect("readable")[0].extremities().expect("readable"), extremities);
    feed(&server, &view.inputs[40..]);
    at_rest(&server);
    let reader = server.view();
    let room = &reader.rooms().expect("readable")[0];
    assert!(!room.extremities().expect("readable").is_empty());
    assert_eq!(room.counts().events as usize, view.inputs.len());
}

/// A store in memory that blocks writes, or panics in them, when told to.
struct Blocking {
    inner: MemoryStore,
    block: AtomicBool,
    panic: AtomicBool,
    panic_once: AtomicBool,
}

impl Blocking {
    fn new() -> Self {
        let inner = MemoryStore::open(&tables::specs());
        Self { inner, block: AtomicBool::default(), panic: AtomicBool::default(), panic_once: AtomicBool::default() }
    }
}

impl Read for Blocking {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        self.inner.get(table, key)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.inner.multi_get(table, keys)
    }

    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()> {
        self.inner.scan(table, prefix, start, direction, visit)
    }
}

impl Store for Blocking {
    fn claimable(&self) -> &Claimable {
        self.inner.claimable()
    }

    fn snapshot(&self) -> Arc<dyn Read> {
        self.inner.snapshot()
    }

    fn write(&self, batch: Batch) -> Result<u64> {
        assert!(!self.panic.load(Ordering::Acquire), "a panic for the test");
        assert!(!self.panic_once.swap(false, Ordering::AcqRel), "a panic for the test");
        while self.block.load(Ordering::Acquire) {
            thread::sleep(std::time::Duration::from_millis(1));
        }
        self.inner.write(batch)
    }

    fn sync(&self) -> Result<u64> {
        self.inner.sync()
    }

    fn flush(&self, compact: bool) -> Result<()> {
        self.inner.flush(compact)
    }

    fn compact(&self, garbage: &[Garbage]) -> Result<()> {
        self.inner.compact(garbage)
    }

    fn table_bytes(&self) -> Result<Vec<u64>> {
        self.inner.table_bytes()
    }

    fn checkpoint(&self, directory: &Path) -> Result<()> {
        self.inner.checkpoint(directory)
    }
}

#[test]
fn every_table_has_a_name_of_its_own() {
    let mut names: Vec<&str> = TABLES.iter().map(|table| table.spec.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TABLES.len());
}
