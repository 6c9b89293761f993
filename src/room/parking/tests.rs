//! Copies of a parked event, and what it costs to wait: elsewhere whoever came last won, and each arrival cost the whole of
//! what was lacking.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma_common::OwnedEventId;
use serde_json::{Value, json};

use super::{MAX_BYTES, bytes_of};
use crate::{
    ErrorKind, FirstVerdict, Input, Kind, Outcome, ParkedInput, Result, RoomServer, Ticket,
    encoding::{event_key::EventKey, json::Json, pdu::CanonicalEvent},
    kv::{self, Batch, Claimable, Direction, Garbage, Read, Store, TableId, Visit, memory::MemoryStore},
    room::{
        drive::Driving,
        writer::{Processed, RoomWriter},
    },
    tables::{PARKED, parked::ParkedRow, specs},
    verify::tests::{
        room::{ALICE, Author, BOB, ROOM, Written, live, member, message, with_state},
        support::{is_whole, open, server},
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

fn lacking(parked: &ParkedInput) -> Vec<&str> {
    parked.lacks.iter().map(|lack| lack.event_id.as_str()).collect()
}

/// The PDU of an event as it is shown.
fn shown(server: &RoomServer, event_id: &str) -> Value {
    let view = server.view();
    let event = view.room(ROOM).expect("readable").expect("here").event(event_id).expect("readable").expect("stored");
    serde_json::from_str(&event.pdu.expect("it has a body")).expect("JSON")
}

/// An event of a room of version 1, whose ID is what it says.
fn textual(event_id: &str, what: (&str, Option<&str>, Value), prev: &[&str], auth: &[&str]) -> Vec<u8> {
    let (event_type, state_key, content) = what;
    let references = |ids: &[&str]| ids.iter().map(|id| json!([id, {}])).collect::<Vec<_>>();
    let mut event = json!({
        "event_id": event_id, "type": event_type, "sender": ALICE, "room_id": ROOM, "content": content, "depth": 7,
        "origin_server_ts": 1_700_000_000_000i64, "prev_events": references(prev), "auth_events": references(auth),
        "signatures": {}, "hashes": {"sha256": ""},
    });
    if let Some(state_key) = state_key {
        event["state_key"] = state_key.into();
    }
    let json = Json::parse(event.to_string().as_bytes()).expect("JSON");
    let hash = CanonicalEvent::new(json.as_object().expect("an object")).content_hash();
    event["hashes"]["sha256"] = STANDARD_NO_PAD.encode(hash).into();
    event.to_string().into_bytes()
}

/// A room of version 1 with its creator.
fn textual_room() -> RoomServer {
    let (server, _) = server();
    let create = textual("$create:a", ("m.room.create", Some(""), json!({"creator": ALICE})), &[], &[]);
    let alice = textual("$alice:a", member(ALICE, "join"), &["$create:a"], &["$create:a"]);
    for pdu in [create, alice] {
        assert!(matches!(take(&server, Input::new(pdu)), Outcome::Accepted(_)));
    }
    server
}

const AUTH: [&str; 2] = ["$create:a", "$alice:a"];

fn assert_refused(outcome: Result<Outcome>, what: &str) {
    let error = outcome.map(|_| ()).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(what), "{error}");
}

#[test]
fn another_event_with_the_id_of_a_parked_one_is_invalid_and_the_first_stays() {
    let server = textual_room();
    let first = textual("$x:a", message("first"), &["$gap:a"], &["$create:a", "$alice:a", "$late:a"]);
    let other = textual("$x:a", message("other"), &["$alice:a"], &AUTH);
    assert!(matches!(take(&server, Input::outlier(first.clone())), Outcome::Parked(_)));
    for input in [Input::outlier(other.clone()), Input::old(other.clone()), Input::new(other)] {
        assert_refused(submit(&server, input), "another event with the ID $x:a is parked; its reference hash differs");
    }
    assert!(is_whole(&server));
    let again = take(&server, Input::outlier(first));
    assert!(matches!(again, Outcome::Duplicate { first: FirstVerdict::Parked, .. }), "{again:?}");
    take(&server, Input::outlier(textual("$late:a", message("late"), &["$alice:a"], &AUTH)));
    assert_eq!(shown(&server, "$x:a")["content"]["body"], "first");
    assert!(parked(&server).is_empty() && is_whole(&server));
}

#[test]
fn another_event_with_the_id_of_a_stored_one_is_invalid_and_the_first_stays() {
    let server = textual_room();
    let [first, other] = ["first", "other"].map(|text| textual("$x:a", message(text), &["$alice:a"], &AUTH));
    for kind in [Kind::Outlier, Kind::New] {
        take(&server, Input { kind, ..Input::new(first.clone()) });
        for kind in [Kind::Outlier, Kind::Old, Kind::New] {
            let input = Input { kind, ..Input::new(other.clone()) };
            assert_refused(submit(&server, input), "another event with the ID $x:a is stored");
        }
        assert_eq!(shown(&server, "$x:a")["content"]["body"], "first");
        assert!(is_whole(&server));
    }
}

/// A room, and a message whose prev event is not here yet.
struct Gap {
    server: RoomServer,
    author: Author,
    base: [Written; 5],
    prev: Written,
    late: Written,
}

fn gap() -> Gap {
    let (server, _) = server();
    let mut author = Author::new(ROOM);
    let base = author.base();
    let [create, _, levels, _, bob] = &base;
    let prev = author.write(BOB, message("prev"), &[bob], &[create, levels, bob]);
    let late = author.write(BOB, message("late"), &[&prev], &[create, levels, bob]);
    for event in &base {
        take(&server, live(event));
    }
    Gap { server, author, base, prev, late }
}

#[test]
fn a_full_copy_takes_the_place_of_a_parked_one_that_is_redacted() {
    for kind in [Kind::Outlier, Kind::New] {
        let Gap { server, author, prev, late, .. } = gap();
        assert!(matches!(take(&server, live(&author.forged(&late))), Outcome::Parked(_)));
        let outcome = take(&server, Input { kind, ..live(&late) });
        assert!(matches!(outcome, Outcome::Parked(_)), "{outcome:?}");
        assert_eq!((parked(&server).len(), parked(&server)[0].input.kind), (1, Kind::New));
        assert!(is_whole(&server));
        let again = take(&server, live(&late));
        assert!(matches!(again, Outcome::Duplicate { first: FirstVerdict::Parked, .. }), "{again:?}");
        take(&server, live(&prev));
        assert_eq!(shown(&server, &late.event_id)["content"]["body"], "late");
        assert!(parked(&server).is_empty() && is_whole(&server));
    }
}

#[test]
fn a_redacted_copy_never_takes_the_place_of_a_parked_one() {
    let Gap { server, mut author, prev, late, base: [create, _, levels, _, bob] } = gap();
    // As history it would be decided at once; an auth event that is not here keeps it.
    let gone = author.write(BOB, message("gone"), &[&bob], &[&create, &levels, &bob]);
    let old = author.write(BOB, message("old"), &[&prev], &[&create, &levels, &bob, &gone]);
    assert!(matches!(take(&server, Input::old(old.pdu.clone())), Outcome::Parked(_)));
    assert!(matches!(take(&server, live(&author.forged(&old))), Outcome::Parked(_)));
    assert_eq!(parked(&server)[0].input.kind, Kind::New);
    assert!(matches!(take(&server, live(&late)), Outcome::Parked(_)));
    let again = take(&server, live(&author.forged(&late)));
    assert!(matches!(again, Outcome::Duplicate { first: FirstVerdict::Parked, .. }), "{again:?}");
    for event in [&prev, &gone] {
        take(&server, live(event));
    }
    for (event, body) in [(&late, "late"), (&old, "old")] {
        assert_eq!(shown(&server, &event.event_id)["content"]["body"], body);
    }
    assert!(parked(&server).is_empty() && is_whole(&server));
}

/// The copy that is stored as an outlier decides, whichever is parked.
#[test]
fn a_parked_copy_never_takes_the_place_of_a_stored_one() {
    let Gap { server, mut author, base: [create, _, levels, _, bob], prev, late } = gap();
    for event in [&prev, &late] {
        take(&server, Input { kind: Kind::Outlier, ..live(event) });
    }
    let redacted = |event: &Written| {
        let rows = server.engine.rows();
        let room = rows.rooms().expect("readable").pop().expect("a room");
        let key = EventKey::of(&event.event_id, room.rules.event_id_format).expect("an event ID");
        let nid = rows.find_event(&room, &key).expect("readable").expect("stored");
        rows.event_row(room.nid, nid).expect("readable").redacted_at_acceptance
    };
    // Parked, and decided at once.
    assert!(matches!(take(&server, live(&author.forged(&late))), Outcome::Parked(_)));
    assert!(matches!(take(&server, live(&author.forged(&prev))), Outcome::Accepted(_)));
    assert!(parked(&server).is_empty());
    for (event, body) in [(&prev, "prev"), (&late, "late")] {
        assert_eq!((redacted(event), &shown(&server, &event.event_id)["content"]["body"]), (false, &json!(body)));
    }
    assert!(is_whole(&server));

    // A redacted outlier, its redacted copy parked, and then the full one: that is what is shown.
    let gone = author.write(BOB, message("gone"), &[&late], &[&create, &levels, &bob]);
    let last = author.write(BOB, message("last"), &[&gone], &[&create, &levels, &bob]);
    let forged = author.forged(&last);
    take(&server, Input { kind: Kind::Outlier, ..live(&forged) });
    assert!(matches!(take(&server, live(&forged)), Outcome::Parked(_)));
    assert!(redacted(&last));
    let again = take(&server, Input { kind: Kind::Outlier, ..live(&last) });
    assert!(matches!(again, Outcome::Duplicate { .. }), "{again:?}");
    take(&server, live(&gone));
    assert_eq!((redacted(&last), &shown(&server, &last.event_id)["content"]["body"]), (true, &json!("last")));
    assert!(parked(&server).is_empty() && is_whole(&server));
}

fn ids(count: usize, id: impl Fn(usize) -> String) -> Vec<OwnedEventId> {
    (0..count).map(|place| id(place).try_into().expect("an event ID")).collect()
}

#[test]
fn a_supplied_state_just_beyond_the_bound_is_invalid_and_one_at_it_is_kept() {
    let server = textual_room();
    let pdu = textual("$x:a", message("late"), &["$gap:a"], &AUTH);
    let told = |state: Vec<OwnedEventId>| Input { state: Some(state), ..Input::new(pdu.clone()) };
    let text = |place: usize| format!("${place:0>47}:a");
    let outcome = submit(&server, told(ids(Input::MAX_STATE_EVENTS + 1, text)));
    assert_refused(outcome, "the supplied state has 500001 events, at most 500000 are allowed");
    let long = |place: usize| format!("${place:0>252}:a");
    let most = Input::MAX_STATE_BYTES / 255;
    let bytes = format!("have {} bytes, at most 25165824 are allowed", (most + 1) * 255);
    assert_refused(submit(&server, told(ids(most + 1, long))), &bytes);
    assert!(parked(&server).is_empty() && is_whole(&server));

    // All of them are lacking, so the row has each of them twice.
    let outcome = take(&server, told(ids(Input::MAX_STATE_EVENTS, text)));
    let Outcome::Parked(told) = outcome else { panic!("{outcome:?}") };
    assert_eq!(told.missing_state.len(), Input::MAX_STATE_EVENTS);
    assert_eq!(lacking(&parked(&server)[0]), told.missing_state);
    assert!(is_whole(&server));
}

/// A room of version 1 without a queue before its writer, where no state is refused at the door.
fn writer_of(server: &RoomServer) -> RoomWriter {
    server.settle().expect("settles");
    let room = server.engine.rows().rooms().expect("readable").pop().expect("a room");
    RoomWriter::open(server.engine.clone(), Arc::new(room)).expect("readable")
}

fn process(writer: &mut RoomWriter, input: &Input) -> Result<Processed> {
    writer.process(input, Json::parse(&input.pdu).expect("JSON"))
}

/// The row of the one parked input.
fn only_row(server: &RoomServer) -> ParkedRow {
    let rows = server.engine.rows();
    let room = rows.rooms().expect("readable").pop().expect("a room").nid;
    let (_, key) = rows.all_parked(room, &mut Err).expect("readable").pop().expect("a parked input");
    rows.parked(room, &key).expect("readable").expect("parked")
}

#[test]
fn an_input_that_is_too_large_to_be_parked_is_invalid_and_the_room_goes_on() {
    // What it waits for will turn out to be no state event.
    let prev = format!("${:0>252}:a", 0);
    let late = textual("$late:a", message("late"), &[&prev], &AUTH);
    let told = |state: &[&str], times: usize| {
        let state = state.repeat(times);
        Input { state: Some(ids(state.len(), |place| state[place].to_owned())), ..Input::new(late.clone()) }
    };
    let server = textual_room();
    assert!(process(&mut writer_of(&server), &told(&[&prev], 1)).is_ok());
    let most = 1 + (MAX_BYTES - bytes_of(&only_row(&server))) / (prev.len() + 3);

    let server = textual_room();
    let mut writer = writer_of(&server);
    let refused = process(&mut writer, &told(&[&prev], most + 1)).map(|processed| processed.outcome);
    assert_refused(refused, "can be kept until it can be decided");
    assert!(parked(&server).is_empty() && is_whole(&server));
    let kept = process(&mut writer, &told(&[&prev], most)).expect("it fits");
    assert!(matches!(kept.outcome, Outcome::Parked(_)) && is_whole(&server));

    let landed = process(&mut writer, &Input::new(textual(&prev, message("prev"), &["$alice:a"], &AUTH)));
    let mut driving = Driving::default();
    driving.landed(landed.expect("valid").landed.expect("stored").key);
    while !driving.is_empty() {
        writer.drive(&mut driving).expect("writable");
    }
    assert!(only_row(&server).failed.is_some_and(|why| why.contains("no state event")) && is_whole(&server));
    let decided = process(&mut writer, &told(&AUTH, 1)).expect("valid");
    assert!(matches!(decided.outcome, Outcome::Accepted(_)), "{:?}", decided.outcome);
    assert!(parked(&server).is_empty() && is_whole(&server));
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
    fn claimable(&self) -> &Claimable {
        self.inner.claimable()
    }

    fn snapshot(&self) -> Arc<dyn Read> {
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
        assert_eq!(lacking(&parked(&server)[0]), named);
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
