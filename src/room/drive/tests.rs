//! What waits is woken by an arrival in any room, in every order, and by a write that succeeds after one that was refused.
//! Elsewhere it depended on which room's writer was first, and one refused write left inputs parked until the next open.

use std::{collections::BTreeMap, sync::Arc};

use ruma_common::RoomVersionId;
use serde_json::json;

use crate::{
    Error, ErrorKind, Input, Kind, Options, Outcome, Result, RoomServer, Ticket,
    encoding::event_key::EventKey,
    kv::{Read, Store, TableId, memory::MemoryStore},
    tables::{PARKED, TABLES, WAITS, WANTED, specs},
    verify::tests::{
        room::{ALICE, Author, BOB, ROOM, Written, live, message, story, with_state},
        support::{is_whole, open, rows, server},
    },
};

const OTHER: &str = "!other:a.example";

fn take(server: &RoomServer, input: Input) -> Result<Outcome> {
    let outcome = server.submit(input).and_then(Ticket::wait);
    server.settle().expect("settles");
    outcome
}

/// What became of an event: its verdict and the reason, or that it is parked, or nothing.
fn fate(server: &RoomServer, room: &str, event: &Written) -> String {
    let view = server.view();
    let Some(room) = view.room(room).expect("readable") else { return "no room".to_owned() };
    if let Some(event) = room.event(&event.event_id).expect("readable") {
        let verdict = if event.verdict.is_accepted() { "accepted" } else { "refused" };
        return format!("{verdict} {}", event.reason.unwrap_or_default());
    }
    let parked = room.parked().expect("readable");
    let is_parked = parked.iter().any(|parked| *parked.event_id.as_str() == *event.event_id);
    if is_parked { "parked" } else { "nowhere" }.to_owned()
}

fn assert_at_rest(server: &RoomServer, store: &MemoryStore) {
    for table in [PARKED, WAITS, WANTED] {
        assert_eq!(rows(store, table), [], "{}", crate::tables::name(table));
    }
    assert!(is_whole(server));
}

/// Two rooms that begin alike, an event of each that the other's can name, and what names it and follows.
struct TwoRooms {
    base: [Written; 5],
    other_base: [Written; 5],
    /// An event of the other room.
    there: Written,
    /// Names `there` among its auth events, and what follows it.
    by_auth: Written,
    after_auth: Written,
    /// Names `there` as a prev event. What follows it would need a state, since it has none.
    by_prev: Written,
}

fn two_rooms() -> TwoRooms {
    let (mut author, mut other) = (Author::new(ROOM), Author::new(OTHER));
    let (base, other_base) = (author.base(), other.base());
    let [other_create, _, other_levels, _, other_bob] = &other_base;
    let there = other.write(BOB, message("there"), &[other_bob], &[other_create, other_levels, other_bob]);
    let [create, _, levels, _, bob] = &base;
    let by_auth = author.write(BOB, message("by auth"), &[bob], &[create, levels, bob, &there]);
    let after_auth = author.write(BOB, message("after auth"), &[&by_auth], &[create, levels, bob]);
    let by_prev = author.write(BOB, message("by prev"), &[&there], &[create, levels, bob]);
    TwoRooms { base, other_base, there, by_auth, after_auth, by_prev }
}

impl TwoRooms {
    fn assert_decided(&self, server: &RoomServer, order: &str) {
        let there = &self.there.event_id;
        let expected = [
            (&self.by_auth, format!("refused auth_events: an entry of another room ({there})")),
            (&self.by_prev, format!("refused prev_events: an entry of another room ({there})")),
            (&self.after_auth, "accepted ".to_owned()),
        ];
        for (event, expected) in expected {
            assert_eq!(fate(server, ROOM, event), expected, "{order}");
        }
        assert_eq!(fate(server, OTHER, &self.there), "accepted ", "{order}");
    }
}

#[test]
fn a_reference_to_another_room_is_refused_whichever_room_was_first_and_its_followers_are_decided() {
    let rooms = two_rooms();
    let here: Vec<&Written> = rooms.base.iter().chain([&rooms.by_auth, &rooms.after_auth, &rooms.by_prev]).collect();
    let there: Vec<&Written> = rooms.other_base.iter().chain([&rooms.there]).collect();
    let backwards = |events: &[&Written]| events.iter().rev().map(|event| (*event).clone()).collect::<Vec<_>>();
    let forwards = |events: &[&Written]| events.iter().map(|event| (*event).clone()).collect::<Vec<_>>();
    let orders = [
        ("the other room first", [forwards(&there), forwards(&here)].concat()),
        ("the other room last", [forwards(&here), forwards(&there)].concat()),
        ("children first, the other room last", [backwards(&here), forwards(&there)].concat()),
        ("all backwards", [backwards(&there), backwards(&here)].concat()),
    ];
    for (name, order) in orders {
        let (server, store) = server();
        for event in &order {
            take(&server, live(event)).expect("valid");
        }
        rooms.assert_decided(&server, name);
        assert_at_rest(&server, &store);
    }
}

/// Both rooms at the same time, by two writers. In each round the two meet at another place.
#[test]
fn a_reference_to_another_room_is_refused_when_both_are_written_at_the_same_time() {
    let rooms = two_rooms();
    for round in 0..300 {
        let (server, store) = server();
        for event in rooms.base.iter().chain(&rooms.other_base) {
            server.submit(live(event)).expect("taken");
        }
        let mut events = vec![&rooms.by_auth, &rooms.after_auth, &rooms.by_prev];
        events.insert(round % 4, &rooms.there);
        let tickets: Vec<Ticket> = events.into_iter().map(|event| server.submit(live(event)).expect("taken")).collect();
        for ticket in tickets {
            ticket.wait().expect("valid");
        }
        server.settle().expect("settles");
        rooms.assert_decided(&server, "at the same time");
        assert_at_rest(&server, &store);
    }
}

/// The end of the process between the arrival in the other room and the look at what waits.
#[test]
fn a_reference_that_turned_out_to_be_foreign_while_nobody_looked_is_refused_after_the_next_open() {
    let rooms = two_rooms();
    let (server, store) = server();
    for event in rooms.base.iter().chain([&rooms.by_auth, &rooms.after_auth, &rooms.by_prev]) {
        take(&server, live(event)).expect("valid");
    }
    let early = store.reopen();
    for event in rooms.other_base.iter().chain([&rooms.there]) {
        take(&server, live(event)).expect("valid");
    }
    server.close().expect("closes");
    // Of every table what the other room wrote, but of the first room what was there before.
    let mut batch = crate::kv::Batch::default();
    for (place, table) in (0..).zip(TABLES) {
        let id = TableId(place);
        let is_of_first = |key: &[u8]| table.by_room && key.starts_with(&[0, 0, 0, 1]);
        for (key, _) in rows(&*store, id).into_iter().filter(|(key, _)| is_of_first(key) || id == WANTED) {
            batch.delete(id, key);
        }
        for (key, value) in rows(&early, id).into_iter().filter(|(key, _)| is_of_first(key) || id == WANTED) {
            batch.put(id, key, value);
        }
        if id == crate::tables::EVENT_INDEX {
            // The events that were decided since.
            for (key, value) in rows(&*store, id) {
                let mut candidates = crate::tables::event_ids::decode_candidates(&value).expect("candidates");
                candidates.retain(|(room, event)| room.number() != 1 || event.number() <= 5);
                batch.delete(id, key.clone());
                if !candidates.is_empty() {
                    batch.put(id, key, crate::tables::event_ids::encode_candidates(&candidates));
                }
            }
        }
    }
    store.write(batch).expect("writable");
    let store = Arc::new(store.reopen());
    let server = open(store.clone());
    server.settle().expect("settles");
    rooms.assert_decided(&server, "after an open");
    assert_at_rest(&server, &store);
}

/// What is decided without its prev events must not depend on what other rooms have.
#[test]
fn history_and_what_comes_with_a_state_are_decided_alike_wherever_their_prev_events_are() {
    let rooms = two_rooms();
    let told = with_state(&rooms.by_prev, &rooms.base);
    let old = Input { kind: Kind::Old, ..live(&rooms.by_prev) };
    for input in [told, old] {
        for other_first in [true, false] {
            let (server, store) = server();
            let there: Vec<&Written> = rooms.other_base.iter().chain([&rooms.there]).collect();
            let submit = |events: &[&Written]| events.iter().for_each(|event| drop(take(&server, live(event))));
            if other_first {
                submit(&there);
            }
            submit(&rooms.base.iter().collect::<Vec<_>>());
            assert!(matches!(take(&server, input.clone()), Ok(Outcome::Accepted(_))), "{other_first}");
            submit(&there);
            assert_eq!(fate(&server, ROOM, &rooms.by_prev), "accepted ");
            assert_at_rest(&server, &store);
        }
    }
}

/// From room version 12 on the room ID names the create event. One that names an event of another room is no room.
#[test]
fn a_room_whose_id_names_an_event_of_another_room_never_begins_in_whatever_order_they_come() {
    let mut author = Author::new(ROOM);
    let [create, _, levels, _, bob] = &author.base();
    let base = Author::new(ROOM).base();
    let there = author.write(BOB, message("there"), &[bob], &[create, levels, bob]);
    let room: &'static str = Box::leak(there.event_id.replacen('$', "!", 1).into_boxed_str());
    let version = RoomVersionId::V12;
    let mut author = Author::in_version(room, &version);
    let first = author.write(BOB, message("first"), &[], &[]);
    let second = author.write(BOB, message("second"), &[&first], &[]);
    let of_room = |event: &Written| Input { room_version: Some(version.clone()), ..live(event) };
    let inputs = [Input { kind: Kind::Outlier, ..of_room(&first) }, of_room(&second)];

    // The other room last: they are parked, and then failed with the reason.
    let (server, _) = server();
    for input in &inputs {
        assert!(matches!(take(&server, input.clone()), Ok(Outcome::Parked(_))));
    }
    for event in base.iter().chain([&there]) {
        take(&server, live(event)).expect("valid");
    }
    let failed: Vec<String> =
        server.view().parked(None).expect("readable").into_iter().filter_map(|parked| parked.failed).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|why| why.contains(&there.event_id) && why.contains("another room")), "{failed:?}");
    assert!(is_whole(&server));

    // The other room first: they are refused.
    let (server, _) = self::server();
    for event in base.iter().chain([&there]) {
        take(&server, live(event)).expect("valid");
    }
    for input in &inputs {
        let error = take(&server, input.clone()).expect_err("it can never begin");
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("another room"), "{error}");
    }
    assert!(is_whole(&server));
}

fn flip_last_bit(store: &MemoryStore, table: TableId, is_it: impl Fn(&[u8], &[u8]) -> bool) {
    let found = rows(store, table).into_iter().find(|(key, value)| is_it(key, value));
    let (key, mut value) = found.expect("it is there");
    *value.last_mut().expect("not empty") ^= 1;
    let mut batch = crate::kv::Batch::default();
    batch.put(table, key, value);
    store.write(batch).expect("writable");
}

/// All parked inputs are looked at when a store is opened, and when their room begins.
#[test]
fn a_damaged_parked_input_keeps_no_other_waiting() {
    let (server, store) = server();
    let base = Author::new(ROOM).base();
    for event in base[1..].iter().rev() {
        assert!(matches!(take(&server, live(event)), Ok(Outcome::Parked(_))));
    }
    server.close().expect("closes");
    let format = RoomVersionId::V10.rules().expect("known").event_id_format;
    let damaged = EventKey::of(&base[4].event_id, format).expect("an event ID");
    flip_last_bit(&store, PARKED, |key, _| key.ends_with(damaged.as_bytes()));
    let server = open(store.clone());
    take(&server, live(&base[0])).expect("valid");
    assert_eq!(rows(&*store, PARKED).len(), 1, "only the damaged one is left");
    assert_eq!(fate(&server, ROOM, &base[3]), "accepted ");
}

/// The rows by which an arrival finds who waits for it.
#[test]
fn a_damaged_row_of_one_that_waits_keeps_no_other_waiting() {
    let mut author = Author::new(ROOM);
    let base = author.base();
    let [create, alice, levels, _, bob] = &base;
    let gap = author.write(BOB, message("gap"), &[bob], &[create, levels, bob]);
    let topic = ("m.room.topic", Some(""), json!({"topic": "told"}));
    let told = author.write(ALICE, topic, &[bob], &[create, levels, alice]);
    let (server, store) = server();
    for event in &base {
        take(&server, live(event)).expect("valid");
    }
    let mut waiting = Vec::new();
    for n in 0..2 {
        let by_prev = author.write(BOB, message(&format!("prev {n}")), &[&gap], &[create, levels, bob]);
        take(&server, live(&by_prev)).expect("valid");
        let by_state = author.write(BOB, message(&format!("state {n}")), &[&gap], &[create, levels, bob]);
        take(&server, with_state(&by_state, base.iter().chain([&told]))).expect("valid");
        waiting.extend([by_prev, by_state]);
    }
    assert_eq!((rows(&*store, WANTED).len(), rows(&*store, WAITS).len()), (2, 2));
    flip_last_bit(&store, WANTED, |_, _| true);
    flip_last_bit(&store, WAITS, |_, _| true);
    take(&server, live(&gap)).expect("valid");
    take(&server, Input { kind: Kind::Outlier, ..live(&told) }).expect("valid");
    let parked = parked_ids(&server, ROOM);
    assert_eq!(parked.len(), 2, "of four, the two whose rows are damaged");
    assert!(parked.iter().all(|id| waiting.iter().any(|event| event.event_id == *id)));
}

fn parked_ids(server: &RoomServer, room: &str) -> Vec<String> {
    let view = server.view();
    let room = view.room(room).expect("readable").expect("here");
    room.parked().expect("readable").iter().map(|parked| parked.event_id.to_string()).collect()
}

#[test]
fn a_later_state_takes_the_place_of_one_that_cannot_be_had_and_of_no_other() {
    let mut author = Author::new(ROOM);
    let base = author.base();
    let [create, alice, levels, _, bob] = &base;
    let topic = |text: &str| ("m.room.topic", Some(""), json!({"topic": text}));
    let by_alice = [create, levels, alice];
    let lost = author.write(ALICE, topic("lost"), &[bob], &by_alice);
    let also_lost = author.write(ALICE, topic("also lost"), &[bob], &by_alice);
    let had = author.write(ALICE, topic("had"), &[bob], &by_alice);
    let missing_auth = author.write(ALICE, topic("missing"), &[bob], &by_alice);
    let gap = author.write(BOB, message("gap"), &[bob], &[create, levels, bob]);
    let late = author.write(BOB, message("late"), &[&gap], &[create, levels, bob]);
    let after = author.write(BOB, message("after"), &[&late], &[create, levels, bob]);
    let state = |last: &Written| base.iter().chain([last]).cloned().collect::<Vec<Written>>();
    let begin = || {
        let (server, store) = server();
        for event in &base {
            take(&server, live(event)).expect("valid");
        }
        take(&server, Input { kind: Kind::Outlier, ..live(&had) }).expect("valid");
        (server, store)
    };

    // It cannot be had, and neither can the next one: the newest that was told counts.
    let (server, store) = begin();
    for told in [state(&lost), state(&also_lost)] {
        assert!(matches!(take(&server, with_state(&late, &told)), Ok(Outcome::Parked(_))));
        assert!(is_whole(&server));
    }
    assert!(matches!(take(&server, live(&after)), Ok(Outcome::Parked(_))));
    let again = take(&server, with_state(&late, &state(&also_lost)));
    assert!(matches!(again, Ok(Outcome::Duplicate { .. })), "the same one adds nothing: {again:?}");
    take(&server, Input { kind: Kind::Outlier, ..live(&lost) }).expect("valid");
    assert_eq!(parked_ids(&server, ROOM).len(), 2, "nobody waits for the first one any more");
    assert!(matches!(take(&server, with_state(&late, &state(&had))), Ok(Outcome::Accepted(_))));
    assert_eq!(fate(&server, ROOM, &after), "accepted ");
    assert_at_rest(&server, &store);

    // It could be had, only an auth event is lacking: it stays.
    let (server, store) = begin();
    let unsure = author.write(ALICE, message("unsure"), &[&gap], &[create, levels, alice, &missing_auth]);
    assert!(matches!(take(&server, with_state(&unsure, &state(&had))), Ok(Outcome::Parked(_))));
    assert!(matches!(take(&server, with_state(&unsure, &base)), Ok(Outcome::Duplicate { .. })));
    take(&server, Input { kind: Kind::Outlier, ..live(&missing_auth) }).expect("valid");
    let view = server.view();
    let room = view.room(ROOM).expect("readable").expect("here");
    let decided = room.event(&unsure.event_id).expect("readable").expect("decided");
    let before = room.state(decided.state_before.expect("told")).expect("here");
    assert_eq!(before.iter().expect("readable").count(), 6);
    assert_at_rest(&server, &store);
}

#[test]
fn a_parked_outlier_makes_no_room_and_goes_with_its_room_when_that_begins_or_is_purged() {
    let mut author = Author::new(ROOM);
    let base = author.base();
    let (server, store) = server();
    let nobody_sees_it = |server: &RoomServer| {
        let view = server.view();
        assert!(view.rooms().expect("readable").is_empty() && view.room(ROOM).expect("readable").is_none());
        assert!(view.rooms_of_event(&base[4].event_id).expect("readable").is_empty());
        assert_eq!(server.stats(false).expect("readable").rooms, 0);
    };
    let bob = || Input { kind: Kind::Outlier, ..live(&base[4]) };
    assert!(matches!(take(&server, bob()), Ok(Outcome::Parked(_))));
    nobody_sees_it(&server);
    assert!(is_whole(&server));
    server.purge(ROOM, &mut |_| {}).expect("it can be purged");
    assert_at_rest(&server, &store);
    assert!(matches!(take(&server, bob()), Ok(Outcome::Parked(_))));
    for event in base[1..4].iter().rev() {
        assert!(matches!(take(&server, live(event)), Ok(Outcome::Parked(_))));
        nobody_sees_it(&server);
    }
    assert!(matches!(take(&server, live(&base[0])), Ok(Outcome::Accepted(_))));
    let view = server.view();
    assert_eq!(view.rooms().expect("readable")[0].counts().outliers, 1);
    assert_eq!(fate(&server, ROOM, &base[3]), "accepted ");
    assert_at_rest(&server, &store);
}

#[test]
fn first_events_that_are_refused_use_up_no_numbers_of_rooms() {
    let (server, _) = server();
    for place in 0..500 {
        let room: &'static str = Box::leak(format!("!{place}:a.example").into_boxed_str());
        let orphan = Author::new(room).write(ALICE, message("no room"), &[], &[]);
        assert_eq!(take(&server, live(&orphan)).map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    }
    for event in &Author::new(ROOM).base() {
        take(&server, live(event)).expect("valid");
    }
    assert_eq!(server.engine.rows().rooms().expect("readable")[0].nid.number(), 1);
}

/// What a workload is to come to, whatever fails on the way.
fn outcome_of(server: &RoomServer) -> BTreeMap<String, String> {
    let view = server.view();
    let mut told = BTreeMap::new();
    for room in view.rooms().expect("readable") {
        room.records(&mut |record| {
            let event = &record.event;
            told.insert(format!("{} {}", room.id(), event.event_id), format!("{:?} {:?}", event.kind, event.verdict));
            Ok(true)
        })
        .expect("readable");
        let (fingerprint, len) = room.current_summary();
        told.insert(room.id().to_owned(), format!("{fingerprint} {len} {:?}", room.counts()));
    }
    told
}

/// A room whose events come children first, a state that is told before it can be had, and events of another room that
/// decide about some of this one.
fn workload() -> Vec<Input> {
    let rooms = two_rooms();
    let mut author = Author::new(ROOM);
    let base = author.base();
    let [create, alice, levels, _, bob] = &base;
    let topic =
        author.write(ALICE, ("m.room.topic", Some(""), json!({"topic": "told"})), &[bob], &[create, levels, alice]);
    let gap = author.write(BOB, message("gap"), &[bob], &[create, levels, bob]);
    let late = author.write(BOB, message("late"), &[&gap], &[create, levels, bob]);
    let last = author.write(BOB, message("last"), &[&late], &[create, levels, bob]);
    let mut inputs = vec![live(&base[0]), live(&rooms.other_base[0])];
    inputs.extend([&rooms.after_auth, &rooms.by_auth, &rooms.by_prev, &last].map(live));
    inputs.push(with_state(&late, base.iter().chain([&topic])));
    inputs.extend(base[1..].iter().rev().map(live));
    inputs.extend(rooms.other_base[1..].iter().rev().chain([&rooms.there]).map(live));
    inputs.push(Input { kind: Kind::Outlier, ..live(&topic) });
    inputs
}

/// Submits all inputs to a new store that `arm` lets fail; what is refused because the store takes no writes is submitted again, on a store that is opened again
/// if it was poisoned.
fn run(inputs: &[Input], arm: impl FnOnce(&MemoryStore)) -> (RoomServer, Arc<MemoryStore>) {
    let mut store = Arc::new(MemoryStore::open(&specs()));
    let mut server = open(store.clone());
    arm(&store);
    for input in inputs {
        for tries in 0.. {
            assert!(tries < 4, "one write failed, and three inputs were refused for it");
            match server.submit(input.clone()).and_then(Ticket::wait) {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Busy => {}
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    drop(server.close());
                    store = Arc::new(store.reopen());
                    server = open(store.clone());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    if server.settle().is_err() {
        drop(server.close());
        store = Arc::new(store.reopen());
        server = open(store.clone());
        server.settle().expect("settles");
    }
    (server, store)
}

/// Every single write of a workload fails once, as one that the store could not take just then, and as one after which it
/// takes no more until it is opened again.
#[test]
fn whichever_write_fails_nothing_stays_parked_that_has_all_it_needs_and_the_rooms_are_the_same() {
    let inputs = workload();
    let (server, store) = run(&inputs, |_| {});
    let expected = outcome_of(&server);
    assert_at_rest(&server, &store);
    assert!(expected.len() > 15, "{expected:#?}");
    let fails: [fn(&MemoryStore, u64); 2] = [MemoryStore::refuse_write_after, MemoryStore::fail_write_after];
    for (poisons, fail) in fails.into_iter().enumerate() {
        for write in 1..60 {
            let (server, store) = run(&inputs, |store| fail(store, write));
            let gauge = server.backpressure();
            assert_eq!((gauge.inputs, gauge.bytes), (0, 0), "write {write}");
            let told = outcome_of(&server);
            let differ: Vec<_> = told.iter().filter(|(id, what)| expected.get(*id) != Some(what)).collect();
            assert!(
                told.len() == expected.len() && differ.is_empty(),
                "write {write}, poisons: {poisons}: {differ:#?}"
            );
            assert_at_rest(&server, &store);
        }
    }
}

/// A room of the same story, of which one write is refused: elsewhere in the engine an appended state must not outlive it.
#[test]
fn a_writer_goes_on_from_what_is_stored_after_a_write_that_was_refused() {
    let inputs: Vec<Input> = story().into_iter().take(40).collect();
    let (server, _) = run(&inputs, |_| {});
    let expected = outcome_of(&server);
    for write in 1..60 {
        let (server, _) = run(&inputs, |store| store.refuse_write_after(write));
        assert_eq!(outcome_of(&server), expected, "write {write}");
        assert!(is_whole(&server), "write {write}");
    }
}

#[test]
fn opening_a_store_writes_nothing_for_inputs_that_still_wait() {
    let mut author = Author::new(ROOM);
    let base = author.base();
    let [create, _, levels, _, bob] = &base;
    let gone = author.write(BOB, message("gone"), &[bob], &[create, levels, bob]);
    let lost = author.write(ALICE, ("m.room.topic", Some(""), json!({"topic": "lost"})), &[bob], &[create, levels]);
    let (server, store) = server();
    for event in &base {
        take(&server, live(event)).expect("valid");
    }
    for place in 0..200 {
        let late = author.write(BOB, message(&format!("late {place}")), &[&gone], &[create, levels, bob]);
        let input = if place % 2 == 0 { live(&late) } else { with_state(&late, base.iter().chain([&lost])) };
        take(&server, input).expect("valid");
    }
    server.close().expect("closes");
    let store = Arc::new(store.reopen());
    // The first write would fail.
    store.fail_write_after(1);
    let server = RoomServer::open_on(store.clone(), &Options::default()).expect("opens");
    server.settle().expect("settles");
    assert_eq!(parked_ids(&server, ROOM).len(), 200);
    store.write(crate::kv::Batch::default()).expect_err("no write came before this one");
    let still_reads: Result<_, Error> = store.get(PARKED, &[]);
    assert!(still_reads.expect("readable").is_none());
}
