//! Panics, and what is left when the engine is closed.

use std::{
    future::Future,
    pin::pin,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake},
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

use super::{
    super::{
        lane::{InRoom, Work},
        list_builder::ListBuilder,
        ticket::promise,
    },
    *,
};
use crate::{
    ids::RoomNid,
    kv::claim::Claim,
    room::engine::Engine,
    tables::{PURGES, STATE_KEYS},
    upkeep::Collect,
    verify::tests::{
        room::{BOB, ROOM, member, message},
        support::{is_whole, rows},
    },
};

fn synced(store: &Arc<Hooked>) -> Arc<RoomServer> {
    Arc::new(RoomServer::open_on(store.clone(), &Options::default()).expect("opens"))
}

#[test]
fn a_sync_that_panics_fails_its_inputs_and_later_ones_are_told() {
    let store = Hooked::new();
    let server = synced(&store);
    let base = Author::new(ROOM).base();
    let panics = AtomicBool::new(true);
    *store.before_sync.write() = Some(Arc::new(move |()| {
        assert!(!panics.swap(false, Ordering::AcqRel), "a panic for the test");
        Ok(())
    }));
    let error = submit(&server, live(&base[0])).expect_err("its sync panicked");
    assert!(error.kind() == ErrorKind::Internal && error.to_string().contains("for the test"), "{error}");
    accepted(&server, &base[1]);
    ends_well(&server);
}

/// Panics when it is woken.
struct Alarm;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        panic!("a waker's panic for the test");
    }
}

/// Polls a ticket with this waker while its outcome cannot come yet.
fn poll_early(store: &Hooked, server: &RoomServer, event: &Written, waker: Arc<impl Wake + Send + Sync + 'static>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    store.on_write(move |_| {
        let _gone = wait.lock().recv();
        Ok(())
    });
    let mut ticket = pin!(server.submit(live(event)).expect("taken"));
    let waker = waker.into();
    assert!(matches!(ticket.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending));
    store.let_writes_pass();
    drop(go);
}

#[test]
fn a_waker_that_panics_keeps_no_other_ticket_waiting() {
    let store = Hooked::new();
    let server = synced(&store);
    let base = Author::new(ROOM).base();
    poll_early(&store, &server, &base[0], Arc::new(Alarm));
    accepted(&server, &base[1]);
    ends_well(&server);
}

/// Drops the engine when it is woken.
struct Last(Mutex<Option<Arc<RoomServer>>>, Mutex<mpsc::Sender<()>>);

impl Wake for Last {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().take());
        self.1.lock().send(()).expect("it is waited for");
    }
}

#[test]
fn a_waker_may_drop_the_engine_whose_thread_calls_it() {
    let store = Hooked::new();
    let server = synced(&store);
    let base = Author::new(ROOM).base();
    let (send, receive) = mpsc::channel();
    let last = Arc::new(Last(Mutex::new(None), Mutex::new(send)));
    poll_early(&store, &server.clone(), &base[0], {
        *last.0.lock() = Some(server);
        last
    });
    receive.recv_timeout(Duration::from_secs(60)).expect("the engine is dropped");
}

/// A recorder that panics in the gauge of the queues while it is told to.
struct Broken;

static IS_BROKEN: AtomicBool = AtomicBool::new(false);

impl Recorder for Broken {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let is_ours = key.name() == "roomserver_input_backpressure";
        assert!(!(is_ours && IS_BROKEN.load(Ordering::Acquire)), "a recorder's panic for the test");
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_recorder_that_panics_reaches_neither_who_submits_nor_the_count() {
    static RECORDER: OnceLock<()> = OnceLock::new();
    RECORDER.get_or_init(|| metrics::set_global_recorder(Broken).expect("there is no other"));
    let store = Hooked::new();
    let server = synced(&store);
    let base = Author::new(ROOM).base();
    IS_BROKEN.store(true, Ordering::Release);
    let outcome = submit(&server, live(&base[0]));
    IS_BROKEN.store(false, Ordering::Release);
    assert!(matches!(outcome, Ok(Outcome::Accepted(_))), "{outcome:?}");
    accepted(&server, &base[1]);
    ends_well(&server);
}

#[test]
fn a_promise_that_is_dropped_is_answered() {
    let (end, answer) = promise::<()>();
    drop(end);
    assert_eq!(kind_of(ends("an answer", || answer.wait())), ErrorKind::Unavailable);
    let (end, answer) = promise::<()>();
    let panicked = std::thread::spawn(move || {
        let _end = end;
        panic!("for the test");
    });
    assert!(panicked.join().is_err());
    assert_eq!(kind_of(ends("an answer", || answer.wait())), ErrorKind::Internal);
}

#[test]
fn the_list_builder_goes_on_after_a_panic() {
    let store = Hooked::new();
    let engine = Arc::new(
        Engine::open(Claim::new(store.clone()).expect("free"), 1 << 20, crate::room::points::Shows::Durable)
            .expect("opens"),
    );
    store.on_snapshot(|| panic!("for the test"));
    let builder = ListBuilder::start(engine.clone()).expect("starts");
    engine.due_lists.add(RoomNid::new(1).expect("a number"));
    ends("settle", {
        let engine = engine.clone();
        move || engine.due_lists.settle()
    });
    store.on_snapshot(|| {});
    engine.due_lists.add(RoomNid::new(2).expect("a number"));
    ends("settle and close", move || {
        engine.due_lists.settle();
        builder.close();
    });
}

/// Work that waits for a sign.
struct Wait(mpsc::Receiver<()>);

impl Work for Wait {
    fn run(&mut self, _: InRoom<'_>) -> Result<()> {
        let _gone = self.0.recv();
        Ok(())
    }

    fn tell(self: Box<Self>, _: Option<Error>) {}
}

/// Work that panics where no step of the writer is.
struct Fall;

impl Work for Fall {
    fn run(&mut self, _: InRoom<'_>) -> Result<()> {
        Ok(())
    }

    fn tell(self: Box<Self>, _: Option<Error>) {
        panic!("a panic beside the writer, for the test");
    }
}

#[test]
fn a_panic_between_two_steps_quarantines_the_room_and_its_thread_goes_on() {
    let store = Hooked::new();
    let server = Arc::new(store.server(1));
    let base = Author::new(ROOM).base();
    accepted(&server, &base[0]);
    let (go, wait) = mpsc::channel();
    let push = |work: Box<dyn Work>| {
        let pushed = server.inputs.lanes().enter(ROOM, |queue| {
            queue.push_work(work);
            Ok(())
        });
        pushed.expect("open");
    };
    push(Box::new(Wait(wait)));
    push(Box::new(Fall));
    let waiting = server.submit(live(&base[1])).expect("taken");
    drop(go);
    assert_eq!(kind_of(ends("a ticket", || waiting.wait())), ErrorKind::Unavailable);
    assert!(server.quarantined()[0].1.contains("beside the writer"), "{:?}", server.quarantined());
    accepted(&server, &beginning(1).1);
    server.release(ROOM).expect("it is in quarantine");
    accepted(&server, &base[1]);
    ends_well(&server);
}

#[test]
fn a_quarantine_lasts_until_it_is_ended_and_then_what_was_parked_is_decided() {
    let store = Hooked::new();
    let server = Arc::new(store.server(1));
    let base = Author::new(ROOM).base();
    accepted(&server, &base[0]);
    for event in [&base[2], &base[1]] {
        // The second makes the first ready: when that is decided, the writer panics.
        let writes = AtomicUsize::new(0);
        store.on_write(move |_| {
            assert!(writes.fetch_add(1, Ordering::AcqRel) < 1, "a panic for the test");
            Ok(())
        });
        submit(&server, live(event)).expect("taken");
    }
    server.settle().expect("settles");
    store.let_writes_pass();
    for n in 0..1_000 {
        accepted(&server, &beginning(n).1);
    }
    server.settle().expect("settles");
    let error = server.submit(live(&base[3])).expect_err("in quarantine");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let before = Some(base[1].event_id.as_str().try_into().expect("an event ID"));
    let collect = Collect { room: Some(ROOM.to_owned()), before, ..Collect::default() };
    let refused = server.gc(&collect, &mut |_| {}).expect_err("in quarantine");
    assert_eq!((refused.kind(), refused.to_string()), (ErrorKind::Unavailable, error.to_string()));
    let reason = server.quarantined_reason(ROOM).expect("in quarantine");
    assert!(error.to_string().contains(ROOM) && error.to_string().contains(&reason), "{error}");
    assert!(reason.contains("a panic for the test"), "{reason}");
    let parked = || server.view().room(ROOM).expect("readable").expect("here").counts().parked;
    assert_eq!(parked(), 1);

    assert_eq!(kind_of(server.release("!room1:a.example")), ErrorKind::NotFound);
    assert_eq!(kind_of(server.release("!nowhere:a.example")), ErrorKind::NotFound);
    server.release(ROOM).expect("it is in quarantine");
    assert_eq!(kind_of(server.release(ROOM)), ErrorKind::NotFound);
    server.settle().expect("settles");
    assert_eq!((parked(), server.quarantined()), (0, Vec::new()));
    accepted(&server, &base[3]);
    ends_well(&server);
}

#[test]
fn close_answers_inputs_and_work_that_wait_in_any_room() {
    let store = Hooked::new();
    let server = Arc::new(store.server(1));
    let base = Author::new(ROOM).base();
    accepted(&server, &base[0]);
    server.settle().expect("settles");
    let room = server.view().rows().room_by_id(ROOM).expect("readable").expect("here");
    let (go, wait) = mpsc::channel();
    let blocked = server.inputs.lanes().enter(ROOM, |queue| {
        queue.push_work(Box::new(Wait(wait)));
        Ok(())
    });
    blocked.expect("open");
    let tickets: Vec<Ticket> = base[1..]
        .iter()
        .chain(&(0..100).map(|n| beginning(n).1).collect::<Vec<_>>())
        .map(|event| server.submit(live(event)).expect("taken"))
        .collect();
    let waiting = server.clone();
    let work = std::thread::spawn(move || waiting.inputs.with_writer(&room, |_| Ok(())));
    let closing = server.clone();
    let close = std::thread::spawn(move || closing.close());
    while !server.inputs.lanes().is_closed() {
        std::thread::yield_now();
    }
    drop(go);
    ends("close", move || close.join().expect("no panic").expect("closes"));
    for ticket in tickets {
        assert_eq!(kind_of(ends("a ticket", || ticket.wait())), ErrorKind::Unavailable);
    }
    assert_eq!(kind_of(ends("work", move || work.join().expect("no panic"))), ErrorKind::Unavailable);
    ends_well(&server);
}

/// The batch is stored, and nobody knows: no number that it used may be given out again.
#[test]
fn a_store_that_panics_after_it_wrote_gives_no_number_twice() {
    let mut author = Author::new(ROOM);
    let base = author.base();
    // After which write of the first room: its first one, one with a new state key, one with a message.
    for place in [0, 1, 4] {
        let store = Hooked::new();
        let server = Arc::new(store.server(1));
        store.panic_after_write(1, place);
        for event in &base {
            let outcome = submit(&server, live(event));
            if outcome.is_err() {
                server.release(ROOM).expect("it is in quarantine");
                let again = submit(&server, live(event));
                assert!(matches!(again, Ok(Outcome::Duplicate { .. })), "{again:?}");
            }
        }
        for n in 0..3 {
            accepted(&server, &beginning(n).1);
        }
        let carol = author.write(
            "@carol:c.example",
            member("@carol:c.example", "join"),
            &[&base[4]],
            &[&base[0], &base[2], &base[3]],
        );
        accepted(&server, &carol);
        assert!(is_whole(&server), "write {place}");
        let view = server.view();
        assert_eq!(view.rooms().expect("readable").len(), 4);
        for user in [ALICE, BOB, "@carol:c.example"] {
            assert_eq!(view.rooms_of_user(user).expect("readable").len(), 1, "{user} after write {place}");
        }
        assert!(rows(&store.inner, STATE_KEYS).len() >= 3);
        drop(view);
        ends_well(&server);
    }
}

/// Begins two rooms: the first, and `ROOM`. Gives an event of the first that has not come, and one that is parked in `ROOM`
/// since it names that event.
fn across_rooms(server: &RoomServer) -> [Written; 2] {
    let mut author = Author::new(ROOM);
    let base = author.base();
    let (other, create) = beginning(0);
    accepted(server, &create);
    for event in &base {
        accepted(server, event);
    }
    let mut elsewhere = Author::new(Box::leak(other.into_boxed_str()));
    let there = elsewhere.write(ALICE, member(ALICE, "join"), &[&create], &[&create]);
    let waits = author.write(ALICE, message("waits"), &[&base[4]], &[&base[0], &base[1], &base[2], &there]);
    assert!(matches!(submit(server, live(&waits)), Ok(Outcome::Parked(_))));
    [there, waits]
}

#[test]
fn an_event_that_is_stored_when_its_writer_panics_wakes_the_rooms_that_wait_for_it() {
    for writers in [1, 2] {
        let store = Hooked::new();
        let server = Arc::new(store.server(writers));
        let [there, waits] = across_rooms(&server);
        store.panic_after_write(1, 0);
        assert_eq!(kind_of(submit(&server, live(&there))), ErrorKind::Internal);
        settles(&server);
        let view = server.view();
        let decided = view.room(ROOM).expect("readable").expect("here").event(&waits.event_id).expect("readable");
        assert!(decided.expect("decided").reason.expect("it is refused").contains("another room"));
        drop(view);
        ends_well(&server);
    }
}

#[test]
fn a_room_that_was_hidden_when_its_writer_panicked_is_gone_and_begins_anew() {
    let store = Hooked::new();
    let server = Arc::new(store.server(1));
    let base = Author::new(ROOM).base();
    for event in &base {
        accepted(&server, event);
    }
    store.panic_after_write(0, 0);
    assert_eq!(kind_of(server.purge(ROOM, &mut |_| {})), ErrorKind::Internal);
    server.release(ROOM).expect("it is in quarantine");
    for event in &base {
        accepted(&server, event);
    }
    let number =
        |server: &RoomServer| server.view().rows().room_by_id(ROOM).expect("readable").expect("here").nid.number();
    assert_eq!(number(&server), 2);
    ends_well(&server);
    drop(server);
    let server = Arc::new(store.server(1));
    server.settle().expect("settles");
    assert!(is_whole(&server) && rows(&store.inner, PURGES).is_empty());
    assert_eq!(number(&server), 2);
    assert_eq!(server.view().room(ROOM).expect("readable").expect("here").counts().events, 5);
}

/// What another room is asked while an event is stored must not be read in two halves.
#[test]
fn an_event_lands_while_a_room_that_waits_for_it_is_purged() {
    let store = Hooked::new();
    let server = Arc::new(store.server(2));
    let [there, _] = across_rooms(&server);
    let purged = AtomicBool::new(false);
    let weak = Arc::downgrade(&server);
    let hide = move || {
        if !purged.swap(true, Ordering::AcqRel) {
            weak.upgrade().expect("open").inputs.hide(ROOM).expect("it is here");
        }
    };
    let hide = Arc::new(hide);
    // Between the mark of a purged room and the room's own row, or before the view of both is opened.
    store.on_read({
        let (hide, is_next) = (hide.clone(), AtomicBool::new(false));
        move |table| {
            if is_next.swap(table == PURGES, Ordering::AcqRel) && table == crate::tables::ROOMS {
                hide();
            }
            Ok(())
        }
    });
    store.on_snapshot(move || hide());
    accepted(&server, &there);
    store.let_reads_pass();
    store.on_snapshot(|| {});
    ends_well(&server);
}

#[test]
fn who_settles_is_told_of_a_purge_that_the_store_refuses_to_go_on_with() {
    let store = Hooked::new();
    let server = Arc::new(store.server(1));
    for event in &Author::new(ROOM).base() {
        accepted(&server, event);
    }
    server.inputs.hide(ROOM).expect("it is here");
    ends_well(&server);
    drop(server);
    store.on_write(|_| Err(busy()));
    let server = Arc::new(store.server(1));
    let settling = server.clone();
    let told = ends("settle", move || settling.settle()).expect_err("it cannot go on");
    assert!(told.kind() == ErrorKind::Busy && told.to_string().contains(ROOM), "{told}");
    store.let_writes_pass();
    while let Err(error) = server.settle() {
        assert_eq!(error.kind(), ErrorKind::Busy);
        std::thread::yield_now();
    }
    assert!(rows(&store.inner, PURGES).is_empty() && is_whole(&server));
    ends_well(&server);
}

/// Between the end of the pool's threads and the end of the lanes.
#[test]
fn a_lane_that_stands_still_is_not_sent_to_a_pool_that_ends() {
    let store = Hooked::new();
    let server = Arc::new(store.server(1));
    let base = Author::new(ROOM).base();
    accepted(&server, &base[0]);
    assert!(matches!(submit(&server, live(&base[2])), Ok(Outcome::Parked(_))));
    let writes = AtomicUsize::new(0);
    store.on_write(move |_| if writes.fetch_add(1, Ordering::AcqRel) == 0 { Ok(()) } else { Err(busy()) });
    accepted(&server, &base[1]);
    let settling = server.clone();
    assert_eq!(kind_of(ends("settle", move || settling.settle())), ErrorKind::Busy);
    let lanes = server.inputs.lanes();
    lanes.close();
    lanes.resume();
    assert_eq!(lanes.stuck().as_deref(), Some(ROOM), "it is at rest");
    let closing = server.clone();
    ends("close", move || closing.close()).expect("closes");
}
