//! Parked inputs that became ready: they are decided in slices, surely, and before the next input of their room.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::{
    super::{
        completion::{Completion, Replies, Waiter},
        gauge::Gauge,
        lane::{Desk, InRoom, Lane, Work},
        pool::TURN,
        ticket::promise,
    },
    *,
};
use crate::{
    Kind,
    encoding::event_key::EventKey,
    kv::claim::Claim,
    room::engine::Engine,
    tables::PARKED,
    verify::tests::{
        room::{ROOM, message},
        support::rows,
    },
};

/// A room in which many events wait for one.
struct Crowd {
    base: [Written; 5],
    /// What is waited for.
    wanted: Written,
    waiting: Vec<Written>,
    /// Needs nothing of these.
    next: Written,
}

impl Crowd {
    fn new(size: usize) -> Self {
        let mut author = Author::new(ROOM);
        let base = author.base();
        let [create, alice, levels, _, bob] = &base;
        let change = ("m.room.power_levels", Some(""), json!({"users": {ALICE: 100}, "state_default": 60}));
        let wanted = author.write(ALICE, change, &[bob], &[create, levels, alice]);
        let waiting = (0..size)
            .map(|n| author.write(ALICE, message(&n.to_string()), &[bob], &[create, alice, &wanted]))
            .collect();
        let next = author.write(ALICE, message("next"), &[bob], &[create, alice, levels]);
        Self { base, wanted, waiting, next }
    }

    fn park(&self, server: &RoomServer) {
        for event in &self.base {
            accepted(server, event);
        }
        for part in self.waiting.chunks(1_000) {
            let outlier = |event| Input { kind: Kind::Outlier, ..live(event) };
            let tickets: Vec<Result<Ticket>> = part.iter().map(|event| server.submit(outlier(event))).collect();
            for ticket in tickets {
                assert!(matches!(ticket.and_then(Ticket::wait), Ok(Outcome::Parked(_))));
            }
        }
        server.settle().expect("settles");
        assert_eq!(parked(server), self.waiting.len());
    }
}

fn parked(server: &RoomServer) -> usize {
    server.view().room(ROOM).expect("readable").expect("here").counts().parked as usize
}

/// Work that notes when it is done.
struct Note(Arc<Mutex<Vec<&'static str>>>);

impl Work for Note {
    fn run(&mut self, _: InRoom<'_>) -> Result<()> {
        self.0.lock().push("work");
        Ok(())
    }

    fn tell(self: Box<Self>, _: Option<Error>) {}
}

#[test]
fn many_inputs_that_one_arrival_makes_ready_hold_up_no_other_room_and_precede_the_next_of_their_own() {
    let crowd = Crowd::new(10_000);
    for is_other_first in [false, true] {
        let store = Hooked::new();
        let server = Arc::new(store.server(1));
        crowd.park(&server);
        // The writer itself submits, when it has decided some hundred: so no clock decides how far it is.
        let log = Arc::new(Mutex::new(Vec::new()));
        let tickets = Arc::new(Mutex::new(Vec::new()));
        let (own, other) = (live(&crowd.next), live(&beginning(0).1));
        let inputs = if is_other_first { [other, own] } else { [own, other] };
        store.on_write({
            let (weak, log, tickets) = (Arc::downgrade(&server), log.clone(), tickets.clone());
            move |room| {
                let place = {
                    let mut log = log.lock();
                    log.push(if room == 1 { "crowd" } else { "other" });
                    log.len()
                };
                if place == 300 {
                    let server = weak.upgrade().expect("open");
                    for input in inputs.clone() {
                        tickets.lock().push(server.submit(input).expect("taken"));
                    }
                    let work = Box::new(Note(log.clone()));
                    let entered = server.inputs.lanes().enter(ROOM, |queue| {
                        queue.push_work(work);
                        Ok(())
                    });
                    entered.expect("open");
                }
                Ok(())
            }
        });
        submit(&server, live(&crowd.wanted)).expect("decided");
        settles(&server);
        for ticket in tickets.lock().drain(..) {
            assert!(matches!(ticket.wait(), Ok(Outcome::Accepted(_))));
        }
        let log = log.lock();
        let place = |what: &str| log.iter().position(|wrote| *wrote == what).expect("it came");
        assert_eq!(place("work"), 300, "between two steps");
        assert!(place("other") < 300 + 2 * TURN, "{} steps came before the other room", place("other") - 300);
        // The arrival, all that waited, and then the next input.
        assert_eq!(log.iter().filter(|wrote| **wrote == "crowd").count(), 1 + 10_000 + 1);
        assert_eq!(parked(&server), 0);
        let view = server.view();
        let position = |event: &Written| {
            let room = view.room(ROOM).expect("readable").expect("here");
            room.event(&event.event_id).expect("readable").expect("stored").position
        };
        let last = crowd.waiting.iter().map(position).max();
        assert!(Some(position(&crowd.next)) > last);
        ends_well(&server);
    }
}

#[test]
fn a_store_that_refuses_for_a_while_strands_nothing() {
    let crowd = Crowd::new(5);
    let store = Hooked::new();
    let server = Arc::new(store.server(1));
    crowd.park(&server);
    // Each write is refused thrice, but the arrival's own.
    let asked = AtomicUsize::new(0);
    store.on_write(move |_| match asked.fetch_add(1, Ordering::AcqRel) {
        n if n % 4 == 0 => Ok(()),
        _ => Err(busy()),
    });
    submit(&server, live(&crowd.wanted)).expect("decided");
    settles(&server);
    assert_eq!(parked(&server), 0);
    ends_well(&server);
}

/// Each single look-up fails once: as one that can be made again, and as one of a store that cannot be used just then.
#[test]
fn whichever_read_fails_nothing_stays_parked() {
    for kind in [ErrorKind::Busy, ErrorKind::Unavailable] {
        let mut failed = true;
        let mut nth = 0;
        while std::mem::take(&mut failed) {
            let crowd = Crowd::new(3);
            let store = Hooked::new();
            let server = Arc::new(store.server(1));
            crowd.park(&server);
            // A write fails as well, so that the writer has to be made anew.
            let writes = AtomicUsize::new(0);
            store.on_write(move |_| if writes.fetch_add(1, Ordering::AcqRel) == 1 { Err(busy()) } else { Ok(()) });
            let (reads, fired) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
            store.on_read({
                let fired = fired.clone();
                move |_| {
                    if reads.fetch_add(1, Ordering::AcqRel) != nth {
                        return Ok(());
                    }
                    fired.store(true, Ordering::Release);
                    Err(Error::new(kind, "a read that fails once, for the test"))
                }
            });
            while let Err(error) = submit(&server, live(&crowd.wanted)) {
                assert_eq!(error.kind(), kind, "read {nth}");
            }
            ends("settle", {
                let server = server.clone();
                move || server.settle().or_else(|_| server.settle()).expect("settles")
            });
            store.let_reads_pass();
            assert_eq!(parked(&server), 0, "read {nth}, {kind:?}");
            ends_well(&server);
            failed = fired.load(Ordering::Acquire);
            nth += 1;
        }
        assert!(nth > 20, "{nth} reads");
    }
}

#[test]
fn a_store_that_refuses_for_long_is_told_of_and_nothing_is_lost() {
    for by_an_input in [false, true] {
        let crowd = Crowd::new(5);
        let store = Hooked::new();
        let server = Arc::new(store.server(1));
        crowd.park(&server);
        let asked = AtomicUsize::new(0);
        store.on_write(
            move |room| if room == 1 && asked.fetch_add(1, Ordering::AcqRel) > 2 { Err(busy()) } else { Ok(()) },
        );
        submit(&server, live(&crowd.wanted)).expect("decided");
        // The room stands still, and no other does.
        accepted(&server, &beginning(0).1);
        let settling = server.clone();
        assert_eq!(kind_of(ends("settle", move || settling.settle())), ErrorKind::Busy);
        assert_eq!(kind_of(submit(&server, live(&crowd.next))), ErrorKind::Busy);
        // Its turn comes after those that it has to wait for, so it must not have been decided.
        assert!(
            server
                .view()
                .room(ROOM)
                .expect("readable")
                .expect("here")
                .event(&crowd.next.event_id)
                .expect("readable")
                .is_none()
        );
        store.let_writes_pass();
        if by_an_input {
            accepted(&server, &crowd.next);
            assert_eq!(parked(&server), 0);
        } else {
            settles(&server);
            assert_eq!(parked(&server), 0);
        }
        ends_well(&server);
    }
}

#[test]
fn a_room_that_stands_still_is_not_forgotten() {
    let crowd = Crowd::new(3);
    let store = Hooked::new();
    let server = Arc::new(store.server(1));
    crowd.park(&server);
    let asked = AtomicUsize::new(0);
    store
        .on_write(move |room| if room == 1 && asked.fetch_add(1, Ordering::AcqRel) > 1 { Err(busy()) } else { Ok(()) });
    submit(&server, live(&crowd.wanted)).expect("decided");
    for n in 0..500 {
        accepted(&server, &beginning(n).1);
    }
    let settling = server.clone();
    assert_eq!(kind_of(ends("settle", move || settling.settle())), ErrorKind::Busy);
    for n in 500..1_000 {
        accepted(&server, &beginning(n).1);
    }
    store.let_writes_pass();
    server.settle().expect("settles");
    assert_eq!(parked(&server), 0);
    ends_well(&server);
}

/// That an event landed in another room is told to the lane of this one, and `settle` waits for what comes of it.
#[test]
fn an_event_that_landed_elsewhere_wakes_what_waits_for_it() {
    let crowd = Crowd::new(100);
    let store = Hooked::new();
    let server = Arc::new(store.server(2));
    crowd.park(&server);
    // The arrival is stored, and then a panic makes the engine forget what it woke, as the end of the process does.
    let asked = AtomicUsize::new(0);
    store.on_write(move |_| {
        assert!(asked.fetch_add(1, Ordering::AcqRel) != 1, "a panic for the test");
        Ok(())
    });
    submit(&server, live(&crowd.wanted)).expect("decided");
    server.settle().expect("settles");
    assert_eq!(parked(&server), 100);
    server
        .inputs
        .lanes()
        .enter(ROOM, |queue| {
            assert!(queue.release());
            Ok(())
        })
        .expect("open");
    let format = server.view().rows().room_by_id(ROOM).expect("readable").expect("here").rules.event_id_format;
    let key = EventKey::of(&crowd.wanted.event_id, format).expect("an event ID");
    let entered = server.inputs.lanes().enter(ROOM, |queue| {
        queue.push_landed(key, &Default::default());
        Ok(())
    });
    entered.expect("open");
    settles(&server);
    assert_eq!(parked(&server), 0);
    ends_well(&server);
}

/// Who has an outcome finds decided, and durable, what the input made ready: in its own room, and in others.
#[test]
fn a_ticket_is_kept_when_all_that_its_input_made_ready_is_durable() {
    for fails in [false, true] {
        let crowd = Crowd::new(200);
        let store = Hooked::new();
        let server = Arc::new(RoomServer::open_on(store.clone(), &Options::default()).expect("opens"));
        let (other, create) = beginning(0);
        accepted(&server, &create);
        crowd.park(&server);
        // Another room waits for the last of those that wait.
        let mut author = Author::new(Box::leak(other.clone().into_boxed_str()));
        let last = crowd.waiting.last().expect("some");
        let waits = author.write(ALICE, message("waits"), &[&create], &[&create, last]);
        assert!(matches!(submit(&server, live(&waits)), Ok(Outcome::Parked(_))));
        if fails {
            // Not now, but soon.
            let asked = AtomicUsize::new(0);
            store.on_write(move |_| if asked.fetch_add(1, Ordering::AcqRel) % 5 == 3 { Err(busy()) } else { Ok(()) });
        }
        submit(&server, live(&crowd.wanted)).expect("decided");
        assert_eq!(parked(&server), 0);
        let view = server.view();
        let decided = view.room(&other).expect("readable").expect("here").event(&waits.event_id).expect("readable");
        assert!(decided.expect("decided").reason.expect("it is refused").contains("another room"));
        assert_eq!(rows(&store.inner.drop_unsynced(), PARKED), []);
        drop(view);
        ends_well(&server);
    }
}

/// Two rooms can wake each other again and again while both have much to decide.
#[test]
fn a_room_holds_each_reply_once_however_often_it_is_woken_with_it() {
    let store = Hooked::new();
    let engine = Arc::new(
        Engine::open(Claim::new(store).expect("free"), 1 << 20, crate::room::points::Shows::Durable).expect("opens"),
    );
    let completion = Completion::start(engine, Durability::Synced).expect("starts");
    let gauge = Arc::new(Gauge::default());
    let (promise, answer) = promise();
    let waiter = Waiter::new(gauge.count(1, 10).expect("room"), promise);
    let event_id = "$mAEDbIh-M8o0-wvOPoSSBQcnOZZVHGKRSVzLcsOP0zQ".try_into().expect("an event ID");
    let outcome = Outcome::Duplicate { event_id, first: crate::FirstVerdict::Accepted };
    let replies = Replies::from([completion.reply(waiter, outcome, 0)]);
    let lanes = ["!a:a.example", "!b:a.example"].map(Lane::new);
    for n in 0..100u8 {
        for lane in &lanes {
            lane.queue().push_landed(EventKey::from_bytes([n; 32]), &replies);
        }
    }
    let mut desks = [(); 2].map(|()| Desk::default());
    for (lane, desk) in lanes.iter().zip(&mut desks) {
        assert_eq!(lane.queue().replies(), 1);
        assert!(lane.queue().next(desk).is_some());
    }
    // The other way, with what each has at hand.
    for (lane, desk) in lanes.iter().zip(desks.iter().rev()) {
        lane.queue().push_landed(EventKey::from_bytes([1; 32]), &desk.replies);
    }
    for (lane, desk) in lanes.iter().zip(&mut desks) {
        assert!(lane.queue().next(desk).is_some());
        assert_eq!(desk.replies.len(), 1);
    }
    assert_eq!(gauge.backpressure().inputs, 1, "it is told when the last one lets go");
    drop((replies, desks));
    assert!(matches!(ends("an answer", || answer.wait()), Ok(Outcome::Duplicate { .. })));
}

/// What another room applies while a sync begins may become durable by it.
#[test]
fn what_is_told_is_shown_whichever_sync_made_it_durable() {
    let store = Hooked::new();
    let server =
        Arc::new(RoomServer::open_on(store.clone(), &Options { writers: 2, ..Options::default() }).expect("opens"));
    let (other, create) = beginning(0);
    let late: Arc<Mutex<Option<Ticket>>> = Arc::default();
    *store.before_sync.write() = Some(Arc::new({
        let (weak, late, inner) = (Arc::downgrade(&server), late.clone(), store.inner.clone());
        let is_first = AtomicBool::new(true);
        move |()| {
            if is_first.swap(false, Ordering::AcqRel) {
                let rooms = || rows(&inner, crate::tables::ROOMS).len();
                let before = rooms();
                *late.lock() = Some(weak.upgrade().expect("open").submit(live(&create)).expect("taken"));
                while rooms() == before {
                    std::thread::yield_now();
                }
            }
            Ok(())
        }
    }));
    accepted(&server, &Author::new(ROOM).base()[0]);
    let late = late.lock().take().expect("it was submitted");
    assert!(matches!(ends("a ticket", move || late.wait()), Ok(Outcome::Accepted(_))));
    assert!(server.view().room(&other).expect("readable").is_some());
    ends_well(&server);
}

#[test]
fn what_a_store_refused_to_sync_is_synced_and_shown_later_though_nobody_asks_again() {
    let store = Hooked::new();
    let server = Arc::new(RoomServer::open_on(store.clone(), &Options::default()).expect("opens"));
    let left = AtomicUsize::new(3);
    *store.before_sync.write() = Some(Arc::new(move |()| {
        let refused = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        refused.map_or(Ok(()), |_| Err(busy()))
    }));
    assert_eq!(kind_of(submit(&server, live(&Author::new(ROOM).base()[0]))), ErrorKind::Busy);
    let showing = server.clone();
    ends("waiting", move || {
        while showing.view().rooms().expect("readable").is_empty() {
            std::thread::yield_now();
        }
    });
    ends_well(&server);
}

/// A sync that fails takes nothing back that was shown, and shows nothing new, not even when the engine is closed.
#[test]
fn a_closed_engine_shows_what_it_showed() {
    let store = Hooked::new();
    let server = RoomServer::open_on(store.clone(), &Options::default()).expect("opens");
    let base = Author::new(ROOM).base();
    accepted(&server, &base[0]);
    *store.before_sync.write() = Some(Arc::new(|()| Err(Error::unavailable("for the test"))));
    assert_eq!(kind_of(submit(&server, live(&base[1]))), ErrorKind::Unavailable);
    let events = |server: &RoomServer| server.view().room(ROOM).expect("readable").expect("here").counts().events;
    assert_eq!(events(&server), 1);
    server.close().expect_err("the sync fails");
    assert_eq!(events(&server), 1);
    *store.before_sync.write() = None;
    let again = RoomServer::open_on(store, &Options::default()).expect("opens");
    assert_eq!((events(&again), events(&server)), (2, 1));
}

/// A view shows only what a power loss cannot take back.
#[test]
fn what_is_not_durable_is_not_shown() {
    let store = Hooked::new();
    let server = Arc::new(RoomServer::open_on(store.clone(), &Options::default()).expect("opens"));
    let base = Author::new(ROOM).base();
    accepted(&server, &base[0]);
    *store.before_sync.write() = Some(Arc::new(|()| Err(busy())));
    assert_eq!(kind_of(submit(&server, live(&base[1]))), ErrorKind::Busy);
    let shown = || {
        let view = server.view();
        let room = view.room(ROOM).expect("readable").expect("here");
        room.event(&base[1].event_id).expect("readable").is_some()
    };
    assert!(!rows(&store.inner, crate::tables::EVENT_ROWS)[1..].is_empty(), "it is applied");
    assert!(!shown(), "and not durable");
    *store.before_sync.write() = None;
    let again = submit(&server, live(&base[1]));
    assert!(matches!(again, Ok(Outcome::Duplicate { .. })), "{again:?}");
    assert!(shown());
    ends_well(&server);
}

#[test]
fn what_was_parked_becomes_durable_without_another_input() {
    let crowd = Crowd::new(10);
    let store = Hooked::new();
    let server = Arc::new(RoomServer::open_on(store.clone(), &Options::default()).expect("opens"));
    crowd.park(&server);
    submit(&server, live(&crowd.wanted)).expect("decided");
    // Closing the queues syncs nothing by itself: it only ends what has begun.
    while parked(&server) > 0 {
        std::thread::yield_now();
    }
    server.inputs.close();
    let left = store.inner.drop_unsynced();
    assert!(rows(&left, PARKED).is_empty());
    ends_well(&server);
}
