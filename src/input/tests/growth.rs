//! What strangers send leaves nothing behind, and a lane is in one place.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    super::{
        gauge::Gauge,
        lanes::{IDLE_LANES_MAX, Lanes},
    },
    *,
};
use crate::{
    Limits,
    verify::tests::room::{ROOM, message},
};

const MANY: usize = 100_000;

#[test]
fn inputs_that_find_no_place_leave_no_lanes_behind() {
    let store = Hooked::new();
    let limits = Limits { total_bytes: 10_000, ..Limits::default() };
    let options = Options { writers: 1, durability: Durability::Buffered, limits, ..Options::default() };
    let server = Arc::new(RoomServer::open_on(store.clone(), &options).expect("opens"));
    let (go, wait) = mpsc::channel::<()>();
    let wait = parking_lot::Mutex::new(wait);
    store.on_write(move |_| {
        let _gone = wait.lock().recv();
        Ok(())
    });
    // The one writer is busy with the first room, and those of a second one fill the queues.
    let mut taken = vec![server.submit(live(&beginning(0).1)).expect("taken")];
    while let Ok(ticket) = server.submit(stray_of_known_version(0)) {
        taken.push(ticket);
    }
    for n in 0..MANY {
        assert_eq!(kind_of(server.submit(stray_of_known_version(n))), ErrorKind::Busy);
    }
    assert_eq!(server.inputs.lanes().len(), 2);
    drop(go);
    store.let_writes_pass();
    assert!(taken.len() > 2);
    for ticket in taken {
        // Those of the second room are no events.
        drop(ends("a ticket", || ticket.wait()));
    }
    ends_well(&server);
}

#[test]
fn inputs_that_no_room_can_take_leave_no_lanes_behind() {
    let store = Hooked::new();
    let server = Arc::new(store.server(2));
    let mut kinds = Vec::new();
    for input in [stray as fn(usize) -> Input, stray_of_known_version] {
        for n in 0..MANY / 100 {
            let tickets: Vec<Ticket> =
                (0..100).map(|m| server.submit(input(n * 100 + m)).expect("it is taken")).collect();
            for ticket in tickets {
                let kind = kind_of(ticket.wait());
                if kinds.last() != Some(&kind) {
                    kinds.push(kind);
                }
            }
        }
        server.settle().expect("settles");
        assert_eq!(server.inputs.lanes().len(), 0);
    }
    assert_eq!(kinds, [ErrorKind::NotFound, ErrorKind::Invalid]);
    assert_eq!(kind_of(server.release("!stray0:a.example")), ErrorKind::NotFound);
    assert_eq!(server.inputs.lanes().len(), 0);
    ends_well(&server);
}

#[test]
fn rooms_without_inputs_are_kept_up_to_a_number_and_the_newest_ones_stay() {
    let store = Hooked::new();
    let server = Arc::new(store.server(1));
    for n in 0..2 * IDLE_LANES_MAX {
        let (_, first) = beginning(n);
        accepted(&server, &first);
        // The first room is used again and again, and is never the one that was idle for longest.
        assert!(matches!(submit(&server, live(&beginning(0).1)), Ok(Outcome::Duplicate { .. }) | Err(_)));
    }
    server.settle().expect("settles");
    assert_eq!(server.inputs.lanes().len(), IDLE_LANES_MAX);
    assert!(server.inputs.lanes().has(&beginning(0).0) && !server.inputs.lanes().has(&beginning(1).0));
    ends_well(&server);
}

#[test]
fn a_lane_is_with_the_pool_once() {
    let (lanes, turns) = Lanes::new(Arc::new(Gauge::default()));
    let enter = || {
        let entered = lanes.enter(ROOM, |queue| {
            queue.push_everything();
            Ok(())
        });
        entered.expect("open");
    };
    enter();
    enter();
    assert_eq!(turns.len(), 1, "while it waits for a thread");
    let mut turn = turns.recv().expect("it is ready");
    enter();
    assert_eq!(turns.len(), 0, "while a thread has it");
    lanes.end(turn);
    assert_eq!(turns.len(), 1, "what came meanwhile makes it ready again");
    turn = turns.recv().expect("it is ready");
    assert!(turn.lane.queue().next(&mut turn.desk).is_some());
    turn.desk.driving = Default::default();
    lanes.end(turn);
    assert_eq!((turns.len(), lanes.len()), (0, 0), "it has nothing to do and holds nothing");
}

/// A slow room would hold several threads otherwise, and other rooms none.
#[test]
fn one_thread_at_a_time_is_in_a_room() {
    let store = Hooked::new();
    let server = Arc::new(store.server(4));
    let mut author = Author::new(ROOM);
    let base = author.base();
    for event in &base {
        accepted(&server, event);
    }
    let [create, _, levels, _, bob] = &base;
    let inside = Arc::new([(); 2].map(|()| AtomicUsize::new(0)));
    let counts = inside.clone();
    store.on_write(move |_| {
        let now = counts[0].fetch_add(1, Ordering::AcqRel) + 1;
        counts[1].fetch_max(now, Ordering::AcqRel);
        std::thread::yield_now();
        counts[0].fetch_sub(1, Ordering::AcqRel);
        Ok(())
    });
    let events: Vec<Written> =
        (0..2_000).map(|n| author.write(ALICE, message(&n.to_string()), &[bob], &[create, levels, &base[1]])).collect();
    std::thread::scope(|scope| {
        for part in events.chunks(500) {
            let server = &server;
            scope.spawn(move || {
                for event in part {
                    let input = Input { kind: crate::Kind::Outlier, ..live(event) };
                    server.submit(input).and_then(Ticket::wait).expect("decided");
                }
            });
        }
    });
    assert_eq!(inside[1].load(Ordering::Acquire), 1);
    ends_well(&server);
}
