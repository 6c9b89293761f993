//! One engine on a store, and what is left of it when it is closed. Two engines on one store would hand out the same
//! numbers, and one that writes after it was closed would do so into another's rows.

use std::sync::Arc;

use roomserver::{
    ErrorKind, Options, Outcome, RoomServer,
    kv::{
        Batch, Store,
        counting::{Counting, Counts},
        memory::MemoryStore,
    },
    tables::{META, STATE_KEY_NAMES, TYPE_NAMES, specs},
    upkeep::Collect,
};

use crate::support::{feed, is_whole, open, room_id, rows, server, view};

fn refused(store: Arc<dyn Store>) -> ErrorKind {
    RoomServer::open_on(store, &Options::default()).err().expect("the store is taken, or no store of ours").kind()
}

#[test]
fn a_second_engine_on_a_store_is_refused_until_the_first_is_closed_or_dropped() {
    let (first, store) = server();
    assert_eq!(refused(store.clone()), ErrorKind::Unavailable);
    assert_eq!(refused(Arc::new(Counting::new(MemoryStore::clone(&store)))), ErrorKind::Unavailable, "another handle");
    first.close().expect("closes");
    let second = open(store.clone());
    assert_eq!(refused(store.clone()), ErrorKind::Unavailable);
    first.close().expect("it is closed");
    drop(first);
    assert_eq!(refused(store.clone()), ErrorKind::Unavailable, "who has no claim gives none back");
    drop(second);
    drop(open(store.clone()));
    let third = open(store.clone());
    drop((open(Arc::new(store.reopen())), open(Arc::new(store.drop_unsynced()))));
    drop(third);
}

#[test]
fn a_store_on_which_no_engine_could_be_opened_is_given_back() {
    let (first, store) = server();
    drop(first);
    let format = store.reopen();
    let mut batch = Batch::default();
    batch.put(META, *b"format", [2]);
    format.write(batch).expect("writes");
    let format = Arc::new(format);
    for _ in 0..2 {
        assert_eq!(refused(format.clone()), ErrorKind::Invalid);
    }
    let numbers = store.reopen();
    let mut batch = Batch::default();
    batch.put(TYPE_NAMES, *b"odd", *b"");
    numbers.write(batch).expect("writes");
    let numbers = Arc::new(numbers);
    for _ in 0..2 {
        assert_eq!(refused(numbers.clone()), ErrorKind::Corrupt);
    }
    let full = Arc::new(MemoryStore::open(&specs()));
    full.refuse_write_after(1);
    assert_eq!(refused(full.clone()), ErrorKind::Busy, "a new store cannot be marked");
    drop(open(full));
}

/// A server on a store that counts, with one room.
fn counted() -> (RoomServer, Arc<Counting<MemoryStore>>, String) {
    let store = Arc::new(Counting::new(MemoryStore::open(&specs())));
    let server = open(store.clone());
    feed(&server, &view("forks-v10.a").inputs);
    let room = room_id(&server);
    (server, store, room)
}

fn is_idle(counts: Counts) -> bool {
    (counts.batches, counts.syncs, counts.compactions) == (0, 0, 0)
}

#[test]
fn nothing_is_written_through_a_closed_engine() {
    let (server, store, room) = counted();
    server.close().expect("closes");
    store.take();
    let all = Collect { refused: true, ..Collect::default() };
    let one = Collect { room: Some(room.clone()), ..Collect::default() };
    let mut errors = Vec::new();
    errors.extend([&all, &one].map(|what| server.gc(what, &mut |_| {}).err()));
    errors.push(server.purge(&room, &mut |_| {}).err());
    errors.push(server.settle().err());
    errors.push(server.table_bytes(true).err());
    errors.push(server.disk_bytes().err());
    errors.push(server.submit(view("forks-v1.a").inputs[0].to_input()).err());
    for (place, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("call {place} is not refused"));
        assert_eq!(error.kind(), ErrorKind::Unavailable, "call {place}: {error}");
    }
    server.close().expect("it is closed");
    assert!(is_idle(store.take()));
    assert!(server.view().room(&room).expect("readable").is_some(), "it can still be read");
}

#[test]
fn a_purge_that_is_under_way_ends_when_the_engine_is_closed_and_goes_on_when_it_is_opened() {
    let (server, store, room) = counted();
    let error = server.purge(&room, &mut |_| {
        server.close().expect("closes");
        store.take();
    });
    assert_eq!(error.expect_err("closed meanwhile").kind(), ErrorKind::Unavailable);
    assert!(is_idle(store.take()));
    let again = open(store.clone());
    again.settle().expect("settles");
    assert!(store.take().batches > 0 && again.view().room(&room).expect("readable").is_none() && is_whole(&again));
}

#[test]
fn a_collection_that_is_under_way_ends_when_the_engine_is_closed() {
    let (server, store, room) = counted();
    let what = Collect { room: Some(room), refused: true, ..Collect::default() };
    let before = server.stats(false).expect("readable").collectable.snapshots;
    let error = server.gc(&what, &mut |_| {
        server.close().expect("closes");
        store.take();
    });
    assert_eq!(error.expect_err("closed meanwhile").kind(), ErrorKind::Unavailable);
    assert!(is_idle(store.take()));
    let again = open(store);
    assert!(before > 0 && is_whole(&again));
    again.gc(&what, &mut |_| {}).expect("collects");
}

/// A stranger may send any number of events that are refused: their names must use up no numbers.
#[test]
fn names_of_inputs_that_a_busy_store_refused_have_no_numbers() {
    let view = view("forks-v10.a");
    let (plain, expected) = server();
    feed(&plain, &view.inputs);
    let (server, store) = server();
    for (number, input) in view.inputs.iter().enumerate() {
        let submit = |input| server.submit(input).and_then(roomserver::Ticket::wait);
        if number > 0 {
            // The same event as one of a state that nobody has heard of.
            let mut odd = input.to_input();
            let mut pdu: serde_json::Value = serde_json::from_slice(&odd.pdu).expect("JSON");
            pdu["type"] = format!("org.example.{number}").into();
            pdu["state_key"] = number.to_string().into();
            (odd.pdu, odd.event_id) = (serde_json::to_vec(&pdu).expect("JSON"), None);
            store.refuse_write_after(1);
            assert_eq!(submit(odd).expect_err("the store is busy").kind(), ErrorKind::Busy);
        }
        assert!(!matches!(submit(input.to_input()).expect("taken"), Outcome::Duplicate { .. }));
    }
    for table in [TYPE_NAMES, STATE_KEY_NAMES] {
        assert_eq!(rows(&*store, table), rows(&*expected, table));
    }
    assert!(is_whole(&server));
}
