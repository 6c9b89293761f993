//! What a view shows: nothing that a power loss could take back, for as long as it is kept, whatever becomes of the engine.
//! Elsewhere a view showed the newest state, and what was told to others on the strength of it was gone after a power loss.

use std::{collections::BTreeSet, sync::Arc, thread};

use roomserver::{
    Error, ErrorKind, Options, RoomServer,
    kv::{Store, memory::MemoryStore},
    query::{Event, Room, Snapshot, View},
};

use crate::support::{self, ViewInput, feed, is_whole, open, server, view};

fn refusal(store: Arc<dyn Store>) -> Error {
    let error = RoomServer::open_on(store, &Options::default()).err().expect("the store is kept");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    error
}

#[test]
fn handles_are_owned_and_go_anywhere() {
    fn owned<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    owned::<View>();
    owned::<Room>();
    owned::<Snapshot>();
    owned::<Event>();
}

#[test]
fn a_store_is_given_back_when_the_last_view_of_a_closed_engine_is_dropped() {
    let (server, store) = server();
    feed(&server, &view("forks-v10.a").inputs);
    let room = server.view().rooms().expect("readable").remove(0);
    let state = room.current_state();
    let entries = state.entries().expect("readable");
    drop(room);
    // Another view, at another point.
    feed(&server, &view("forks-v12.a").inputs);
    let later = server.view();
    assert!(refusal(store.clone()).to_string().contains("close it first"));
    server.close().expect("closes");
    assert!(refusal(store.clone()).to_string().contains("2 views of it are still open"));
    drop(later);
    assert!(refusal(store.clone()).to_string().contains("1 view of it is still open"));
    drop(server);
    refusal(store.clone());
    let elsewhere = thread::spawn(move || state.entries().expect("readable after the engine is gone"));
    assert_eq!(elsewhere.join().expect("no panic"), entries);
    assert!(is_whole(&open(store)));
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_directory_is_given_back_when_the_last_view_of_its_store_is_dropped() {
    let directory = tempfile::tempdir().expect("a place");
    let open = || RoomServer::open(directory.path(), &Options::default());
    let server = open().expect("opens");
    feed(&server, &view("forks-v10.a").inputs);
    let room = server.view().rooms().expect("readable").remove(0);
    let told = |error: Error| (error.kind(), error.to_string());
    let (kind, text) = told(open().err().expect("it is open"));
    assert!(kind == ErrorKind::Unavailable && text.contains("close it first"), "{text}");
    server.close().expect("closes");
    drop(server);
    let (kind, text) = told(open().err().expect("a view keeps it"));
    assert!(kind == ErrorKind::Unavailable && text.contains("1 view of it is still open"), "{text}");
    let events = room.counts().events;
    let counted = thread::spawn(move || {
        let mut count = 0;
        room.history(&mut |_| {
            count += 1;
            Ok(true)
        })
        .map(|()| count)
    });
    assert_eq!(counted.join().expect("no panic").expect("readable"), events);
    assert!(is_whole(&open().expect("nobody keeps it")));
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// All events that a view shows, with what was decided about them, and what is parked.
fn shown(view: &View) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for room in view.rooms().expect("readable") {
        room.records(&mut |record| {
            let event = &record.event;
            shown.insert(format!("{} {:?} {:?}", event.event_id, event.kind, event.verdict));
            Ok(true)
        })
        .expect("readable");
    }
    shown
}

/// Inputs in random orders, children before parents, on a store that refuses a sync for one in three: whatever a view or a ticket showed is
/// there after a power loss at that moment. For as many schedules as `ROOMSERVER_SCHEDULES` says (20).
#[test]
fn whatever_was_shown_is_there_after_a_power_loss() {
    let schedules = std::env::var("ROOMSERVER_SCHEDULES").map_or(20, |count| count.parse().expect("a number"));
    let inputs = view("forks-v10.a").inputs;
    for schedule in 1..=schedules {
        let mut random = u64::wrapping_mul(schedule, 0x9e37_79b9_7f4a_7c15) | 1;
        let mut part: Vec<&ViewInput> = inputs[..60].iter().collect();
        // Few, many, or all of them out of order.
        let swaps = [0, 10, 60][(schedule % 3) as usize];
        for _ in 0..swaps {
            let [a, b] = [0, 0].map(|_| next(&mut random) as usize % part.len());
            part.swap(a, b);
        }
        let store = Arc::new(MemoryStore::open(&roomserver::tables::specs()));
        let server = RoomServer::open_on(store.clone(), &Options::default()).expect("opens");
        for input in part {
            if next(&mut random).is_multiple_of(3) {
                store.refuse_sync_after(1);
            }
            let told = server.submit(input.to_input()).and_then(roomserver::Ticket::wait);
            if let Err(error) = &told {
                assert!(matches!(error.kind(), ErrorKind::Busy | ErrorKind::Invalid), "{error}");
            }
            if !next(&mut random).is_multiple_of(4) {
                continue;
            }
            let seen = shown(&server.view());
            let left = open(Arc::new(store.drop_unsynced()));
            let there = shown(&left.view());
            let gone: Vec<_> = seen.difference(&there).collect();
            assert!(gone.is_empty(), "schedule {schedule}: {gone:?} was shown");
            if let Ok(outcome) = told {
                let is_there = there.iter().any(|event| event.starts_with(outcome.event_id().as_str()));
                let is_parked = left
                    .view()
                    .parked(None)
                    .expect("readable")
                    .iter()
                    .any(|parked| parked.event_id == *outcome.event_id());
                assert!(is_there || is_parked, "schedule {schedule}: {outcome:?} was told");
            }
        }
    }
}

#[test]
fn a_view_shows_what_it_showed_while_its_room_goes_on_and_is_collected() {
    let (server, _) = server();
    let inputs = view("forks-v10.a").inputs;
    let (first, rest) = inputs.split_at(200);
    feed(&server, first);
    let early = server.view();
    let before = (shown(&early), early.rooms().expect("readable")[0].current_state().entries().expect("readable"));
    feed(&server, rest);
    server.gc(&roomserver::upkeep::Collect::default(), &mut |_| {}).expect("collects");
    let room_id = support::room_id(&server);
    server.purge(&room_id, &mut |_| {}).expect("it is here");
    assert!(server.view().rooms().expect("readable").is_empty());
    let after = (shown(&early), early.rooms().expect("readable")[0].current_state().entries().expect("readable"));
    assert_eq!(before, after);
}
