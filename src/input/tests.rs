//! The queues under stress: a host's code that panics, a store that refuses, strangers that send what is of no use.
//!
//! Elsewhere one panic in the wrong thread left everyone waiting; a test that would wait for ever fails after a while.

mod growth;
mod parked;
mod survival;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use parking_lot::RwLock;
use ruma_common::RoomVersionId;
use serde_json::json;

use crate::{
    Durability, Error, ErrorKind, Input, Options, Outcome, Result, RoomServer, Ticket,
    kv::{Batch, Claimable, Direction, Garbage, Op, Read, Store, TableId, Value, Visit, memory::MemoryStore},
    tables::{HEADS, specs},
    verify::tests::room::{ALICE, Author, Written, live},
};

type Hook<T> = RwLock<Option<Arc<dyn Fn(T) -> Result<()> + Send + Sync>>>;

/// A store in memory that asks first whether it may.
struct Hooked {
    inner: MemoryStore,
    /// Asked before each write, with the number of the room whose head it changes, 0 if it is none.
    before_write: Hook<u32>,
    /// Asked after it.
    after_write: Hook<u32>,
    before_sync: Hook<()>,
    /// Asked before each view is opened; it must allow it, or panic.
    before_snapshot: Hook<()>,
    /// Asked before each look-up outside of a view, with its table.
    before_read: Hook<TableId>,
}

impl Hooked {
    fn new() -> Arc<Self> {
        let inner = MemoryStore::open(&specs());
        let [before_write, after_write] = [(); 2].map(|()| RwLock::new(None));
        let [before_sync, before_snapshot] = [(); 2].map(|()| RwLock::new(None));
        Arc::new(Self {
            inner,
            before_write,
            after_write,
            before_sync,
            before_snapshot,
            before_read: RwLock::new(None),
        })
    }

    fn server(self: &Arc<Self>, writers: usize) -> RoomServer {
        let options = Options { writers, durability: Durability::Buffered, ..Options::default() };
        RoomServer::open_on(self.clone(), &options).expect("opens")
    }

    fn on_write(&self, hook: impl Fn(u32) -> Result<()> + Send + Sync + 'static) {
        *self.before_write.write() = Some(Arc::new(hook));
    }

    fn on_read(&self, hook: impl Fn(TableId) -> Result<()> + Send + Sync + 'static) {
        *self.before_read.write() = Some(Arc::new(hook));
    }

    fn on_snapshot(&self, hook: impl Fn() + Send + Sync + 'static) {
        *self.before_snapshot.write() = Some(Arc::new(move |()| {
            hook();
            Ok(())
        }));
    }

    fn let_reads_pass(&self) {
        *self.before_read.write() = None;
    }

    /// Panics once after a write of this room, when as many others of it have passed.
    fn panic_after_write(&self, room: u32, others: usize) {
        let writes = AtomicUsize::new(0);
        *self.after_write.write() = Some(Arc::new(move |written| {
            let is_it = written == room && writes.fetch_add(1, Ordering::AcqRel) == others;
            assert!(!is_it, "a panic after a write, for the test");
            Ok(())
        }));
    }

    fn let_writes_pass(&self) {
        *self.before_write.write() = None;
    }
}

fn ask<T>(hook: &Hook<T>, what: T) -> Result<()> {
    let hook = hook.read().clone();
    hook.map_or(Ok(()), |hook| hook(what))
}

fn room_of(batch: &Batch) -> u32 {
    let head = batch.ops().iter().find_map(|op| match op {
        Op::Put { table, key, .. } if *table == HEADS => key.as_slice().try_into().ok(),
        _ => None,
    });
    head.map_or(0, u32::from_be_bytes)
}

impl Read for Hooked {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        ask(&self.before_read, table)?;
        self.inner.get(table, key)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.inner.multi_get(table, keys)
    }

    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()> {
        self.inner.scan(table, prefix, start, direction, visit)
    }
}

impl Store for Hooked {
    fn snapshot(&self) -> Arc<dyn Read> {
        ask(&self.before_snapshot, ()).expect("a view can always be opened");
        self.inner.snapshot()
    }

    fn write(&self, batch: Batch) -> Result<u64> {
        let room = room_of(&batch);
        ask(&self.before_write, room)?;
        let sequence = self.inner.write(batch)?;
        ask(&self.after_write, room)?;
        Ok(sequence)
    }

    fn sync(&self) -> Result<u64> {
        ask(&self.before_sync, ())?;
        self.inner.sync()
    }

    fn flush(&self, compact: bool) -> Result<()> {
        self.inner.flush(compact)
    }

    fn claimable(&self) -> &Claimable {
        self.inner.claimable()
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

/// Does something that must come to an end, on a thread of its own.
fn ends<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(work()));
    receive.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{what} does not end, or it panicked"))
}

/// Settles, which must come to an end.
fn settles(server: &Arc<RoomServer>) {
    let server = server.clone();
    ends("settle", move || server.settle()).expect("settles");
}

/// Settles and closes, which must come to an end, with nothing under way afterwards.
fn ends_well(server: &Arc<RoomServer>) {
    let closing = server.clone();
    ends("settle and close", move || {
        if let Err(error) = closing.settle() {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "it is closed already: {error}");
        }
        closing.close().expect("closes");
        let after = closing.settle().map_err(|error| error.kind());
        assert_eq!(after, Err(ErrorKind::Unavailable), "there is nothing to wait for, and nothing can be synced");
    });
    let gauge = server.backpressure();
    assert_eq!((gauge.inputs, gauge.bytes), (0, 0));
}

fn busy() -> Error {
    Error::new(ErrorKind::Busy, "the store refuses, for the test")
}

fn submit(server: &RoomServer, input: Input) -> Result<Outcome> {
    let ticket = server.submit(input)?;
    ends("a ticket", move || ticket.wait())
}

fn accepted(server: &RoomServer, event: &Written) {
    let outcome = submit(server, live(event));
    assert!(matches!(outcome, Ok(Outcome::Accepted(_))), "{outcome:?}");
}

/// The first event of the `n`th room.
fn beginning(n: usize) -> (String, Written) {
    let room_id = format!("!room{n}:a.example");
    let create = json!({"creator": ALICE, "room_version": "10"});
    let mut author = Author::new(Box::leak(room_id.clone().into_boxed_str()));
    (room_id, author.write(ALICE, ("m.room.create", Some(""), create), &[], &[]))
}

/// An event of a room that nobody has told anything about.
fn stray(n: usize) -> Input {
    Input::new(format!("{{\"room_id\":\"!stray{n}:a.example\",\"type\":\"m\"}}"))
}

/// The same, with a version that is told.
fn stray_of_known_version(n: usize) -> Input {
    Input { room_version: Some(RoomVersionId::V10), ..stray(n) }
}

fn kind_of<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("it is refused").kind()
}
