//! Events that come again. Elsewhere a redelivered event was processed again on top of a state that was not its own, and
//! the room's state was reset.

use std::{sync::Arc, thread};

use roomserver::{FirstVerdict, Kind, Outcome, RoomServer, kv::Read, tables::TABLES};

use crate::support::{View, ViewInput, feed, open, server, shared_data, views};

/// Everything that a store holds, as one comparable text per row.
fn rows(store: &dyn Read) -> Vec<(u16, Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    for (number, _) in (0u16..).zip(TABLES) {
        let scan = store.scan(
            roomserver::kv::TableId(number),
            &[],
            &[],
            roomserver::kv::Direction::Forward,
            &mut |key, value| {
                rows.push((number, key.to_vec(), value.to_vec()));
                Ok(true)
            },
        );
        scan.expect("readable");
    }
    rows
}

/// The small rooms; a release is checked with `ROOMSERVER_ALL_VIEWS=1`, which takes minutes.
fn few_views() -> Vec<View> {
    let all = std::env::var_os("ROOMSERVER_ALL_VIEWS").is_some();
    views().into_iter().filter(|view| all || view.name.starts_with("forks")).collect()
}

fn is_duplicate(outcome: &Result<Outcome, roomserver::Error>) -> bool {
    matches!(outcome, Ok(Outcome::Duplicate { .. }))
}

#[test]
fn a_redelivered_event_changes_no_byte_of_the_store_across_restarts_too() {
    for view in few_views() {
        let (server, store) = server();
        feed(&server, &view.inputs);
        let before = rows(&*store);
        assert!(feed(&server, &view.inputs).iter().all(is_duplicate), "{}", view.name);
        assert_eq!(rows(&*store), before, "{}", view.name);
        server.close().expect("closes");
        drop(server);
        let again = Arc::new(store.reopen());
        let server = open(again.clone());
        assert!(feed(&server, &view.inputs).iter().all(is_duplicate), "{}", view.name);
        assert_eq!(rows(&*again), before, "{}", view.name);
    }
}

#[test]
fn a_duplicate_tells_the_first_verdict() {
    for view in few_views() {
        let (server, _) = server();
        let first = feed(&server, &view.inputs);
        for (first, again) in first.iter().zip(feed(&server, &view.inputs)) {
            let Ok(Outcome::Duplicate { first: told, .. }) = again else { panic!("{again:?}") };
            match first {
                Ok(Outcome::SoftFailed { .. }) => assert_eq!(told, FirstVerdict::SoftFailed),
                Ok(Outcome::Rejected { .. }) => assert_eq!(told, FirstVerdict::Rejected),
                _ => assert_eq!(told, FirstVerdict::Accepted),
            }
        }
    }
}

/// Eight threads submit every event five times each; the store must be as after one run.
#[test]
fn events_that_eight_threads_submit_again_change_nothing() {
    for view in few_views() {
        let (server, store) = server();
        feed(&server, &view.inputs);
        let before = rows(&*store);
        thread::scope(|scope| {
            for offset in 0..8 {
                let (server, inputs) = (&server, &view.inputs);
                scope.spawn(move || {
                    for round in 0..5 {
                        for place in 0..inputs.len() {
                            let input = &inputs[(place * 31 + offset * 7 + round) % inputs.len()];
                            let ticket = submit_until_taken(server, input);
                            assert!(is_duplicate(&ticket.wait()), "{}", input.event_id);
                        }
                    }
                });
            }
        });
        server.settle().expect("settles");
        assert_eq!(rows(&*store), before, "{}", view.name);
        assert_eq!(server.backpressure().inputs, 0);
    }
}

fn submit_until_taken(server: &RoomServer, input: &ViewInput) -> roomserver::Ticket {
    loop {
        match server.submit(input.to_input()) {
            Ok(ticket) => return ticket,
            Err(error) if error.kind() == roomserver::ErrorKind::Busy => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// All copies of one event race before the next event follows: exactly one of them is the first.
#[test]
fn of_copies_that_race_exactly_one_is_the_first() {
    for view in few_views() {
        let (plain, plain_store) = server();
        feed(&plain, &view.inputs);
        let (server, store) = server();
        for input in &view.inputs {
            let outcomes: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..8).map(|_| scope.spawn(|| submit_until_taken(&server, input).wait())).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            let first = outcomes.iter().filter(|outcome| !is_duplicate(outcome)).count();
            // An outlier that gets its place was here before.
            assert_eq!(first, 1, "{} {}", view.name, input.event_id);
        }
        server.settle().expect("settles");
        assert_eq!(rows(&*store), rows(&*plain_store), "{}", view.name);
    }
}

/// The table of transitions: an outlier gets its place once; nothing else moves.
#[test]
fn an_event_in_the_graph_never_moves() {
    let view = few_views().into_iter().find(|view| view.name == "forks-v10.b").expect("a fixture");
    let (server, store) = server();
    feed(&server, &view.inputs);
    let before = rows(&*store);
    for kind in [Kind::Outlier, Kind::Old, Kind::New] {
        let moved = view.inputs.iter().filter(|input| input.kind == Kind::New);
        let moved: Vec<ViewInput> = moved.map(|input| ViewInput { kind, ..input.clone() }).collect();
        assert!(feed(&server, &moved).iter().all(is_duplicate), "{kind:?}");
        assert_eq!(rows(&*store), before, "{kind:?}");
    }
}

#[test]
fn the_shared_views_are_used_when_they_are_there() {
    assert!(shared_data().is_none() || views().len() > 3);
}
