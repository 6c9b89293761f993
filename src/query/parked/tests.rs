//! What parked inputs wait for in the end. Guards against lists that tell only of the next gap, and against a cost that
//! grows with the square of a chain that anyone can send.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma_common::RoomVersionId;
use serde_json::{Value, json};

use super::{Lack, ParkedInput, Waiting};
use crate::{
    ErrorKind, Input, Kind, Outcome, Role, RoomServer, Ticket,
    encoding::{json::Json, pdu::CanonicalEvent},
    kv::{counting::Counting, memory::MemoryStore},
    tables::specs,
    verify::tests::{
        room::{ALICE, Author, BOB, ROOM, Written, live, message, with_state},
        support::{is_whole, open, server},
    },
};

fn take(server: &RoomServer, input: Input) -> Outcome {
    let outcome = server.submit(input).and_then(Ticket::wait).expect("the input is valid");
    server.settle().expect("settles");
    outcome
}

fn parked(server: &RoomServer) -> Vec<ParkedInput> {
    server.view().parked(Some(ROOM)).expect("readable")
}

fn lacks(server: &RoomServer) -> Vec<String> {
    let lacks = server.view().room(ROOM).expect("readable").expect("here").lacks().expect("readable");
    lacks.iter().map(ToString::to_string).collect()
}

fn lack(event_id: &str, role: Role) -> Lack {
    Lack { event_id: event_id.try_into().expect("an event ID"), role }
}

/// An input of a room of version 1, whose sender chooses its ID: a message, or the create event if it follows none.
fn textual(event_id: &str, prev: &[&str]) -> Input {
    let references = |ids: &[&str]| ids.iter().map(|id| json!([id, {}])).collect::<Vec<_>>();
    let mut event = json!({
        "event_id": event_id, "type": "m.room.message", "sender": ALICE, "room_id": ROOM, "content": {"body": event_id},
        "depth": 7, "origin_server_ts": 1_700_000_000_000i64, "prev_events": references(prev), "auth_events": [],
        "signatures": {}, "hashes": {"sha256": ""},
    });
    if prev.is_empty() {
        event["type"] = "m.room.create".into();
        event["state_key"] = "".into();
        event["content"] = json!({"creator": ALICE});
    }
    let hash = |event: &Value| {
        let json = Json::parse(event.to_string().as_bytes()).expect("JSON");
        CanonicalEvent::new(json.as_object().expect("an object")).content_hash()
    };
    event["hashes"]["sha256"] = STANDARD_NO_PAD.encode(hash(&event)).into();
    Input { room_version: Some(RoomVersionId::V1), ..Input::new(event.to_string()) }
}

/// The events of a room of version 1, each with the ones before it, after its create event.
fn textual_room(events: &[(&str, &[&str])]) -> RoomServer {
    let (server, _) = server();
    assert!(matches!(take(&server, textual("$create:a", &[])), Outcome::Accepted(_)));
    for (event_id, prev) in events {
        assert!(matches!(take(&server, textual(event_id, prev)), Outcome::Parked(_)));
    }
    server
}

/// What each parked input waits for, in the order of parking.
fn waits_for(server: &RoomServer) -> Vec<(String, Vec<String>)> {
    let texts = |parked: &ParkedInput| parked.waits_for.iter().map(ToString::to_string).collect();
    parked(server).iter().map(|parked| (parked.event_id.to_string(), texts(parked))).collect()
}

fn waiting(event_id: &str, waits_for: &[&str]) -> (String, Vec<String>) {
    (event_id.to_owned(), waits_for.iter().map(|id| (*id).to_owned()).collect())
}

/// A room, and two messages one after the other, of which the second names an auth event that is not here either.
struct Gap {
    server: RoomServer,
    base: [Written; 5],
    first: Written,
    gone: Written,
    second: Written,
}

fn gap() -> Gap {
    let (server, _) = server();
    let mut author = Author::new(ROOM);
    let base = author.base();
    let [create, _, levels, _, bob] = &base;
    let first = author.write(BOB, message("first"), &[bob], &[create, levels, bob]);
    let gone = author.write(BOB, message("gone"), &[bob], &[create, levels, bob]);
    let second = author.write(BOB, message("second"), &[&first], &[create, levels, bob, &gone]);
    for event in &base {
        take(&server, live(event));
    }
    Gap { server, base, first, gone, second }
}

#[test]
fn a_parked_input_tells_what_it_still_lacks_and_for_how_long() {
    let Gap { server, base, first, gone, second } = gap();
    assert!(matches!(take(&server, live(&second)), Outcome::Parked(_)));
    let told = parked(&server).pop().expect("parked");
    assert_eq!(told.lacks, [lack(&gone.event_id, Role::Auth), lack(&first.event_id, Role::Prev)]);
    assert_eq!((told.parked_at, told.parked_for, told.depth), (5, 0, 8));
    assert_eq!((told.room_id.as_str(), &told.room_version, told.input.kind), (ROOM, &RoomVersionId::V10, Kind::New));
    assert_eq!(
        (told.prev_events, told.auth_events.len()),
        (vec![first.event_id.as_str().try_into().expect("an ID")], 4)
    );

    // Woken, and parked again for the rest: as long as before.
    take(&server, Input { kind: Kind::Outlier, ..live(&gone) });
    let told = parked(&server).pop().expect("parked");
    assert_eq!(told.lacks, [lack(&first.event_id, Role::Prev)]);
    assert_eq!((told.parked_at, told.parked_for), (5, 1));
    assert!(matches!(take(&server, with_state(&second, base.iter().chain([&first]))), Outcome::Parked(_)));
    let told = parked(&server).pop().expect("parked");
    assert_eq!(told.lacks, [lack(&first.event_id, Role::State)]);
    assert_eq!((told.parked_at, told.parked_for), (5, 1));
    assert!(is_whole(&server));

    let view = server.view();
    let one = view.parked_event(&second.event_id, None).expect("readable").pop().expect("parked");
    assert_eq!((one.lacks, one.waits_for), (told.lacks, told.waits_for));
    assert!(view.parked_event(&first.event_id, Some(ROOM)).expect("readable").is_empty());
    for asked in [view.parked(Some("!other:a")), view.parked_event(&second.event_id, Some("!other:a"))] {
        assert_eq!(asked.expect_err("there is no such room").kind(), ErrorKind::NotFound);
    }
}

/// An outlier is here, and has no state: whoever has it as prev event waits all the same.
#[test]
fn a_prev_event_without_a_state_is_lacking_though_it_is_stored() {
    let Gap { server, first, gone, second, .. } = gap();
    for event in [&first, &gone] {
        take(&server, Input { kind: Kind::Outlier, ..live(event) });
    }
    take(&server, live(&second));
    let told = parked(&server).pop().expect("parked");
    assert_eq!(told.lacks, [lack(&first.event_id, Role::Prev)]);
    assert_eq!((told.waits_for, lacks(&server)), (vec![told.lacks[0].event_id.clone()], vec![first.event_id]));
}

#[test]
fn what_is_waited_for_is_followed_through_what_is_parked_itself() {
    let server = textual_room(&[
        ("$d:a", &["$c:a", "$b:a"]),
        ("$c:a", &["$x:a", "$a:a"]),
        ("$b:a", &["$a:a", "$y:a"]),
        ("$a:a", &["$z:a"]),
        ("$lone:a", &["$d:a"]),
    ]);
    let expected = [
        waiting("$d:a", &["$x:a", "$z:a", "$y:a"]),
        waiting("$c:a", &["$x:a", "$z:a"]),
        waiting("$b:a", &["$y:a", "$z:a"]),
        waiting("$a:a", &["$z:a"]),
        waiting("$lone:a", &["$x:a", "$z:a", "$y:a"]),
    ];
    assert_eq!(waits_for(&server), expected);
    assert_eq!(lacks(&server), ["$x:a", "$y:a", "$z:a"]);
    for (event_id, expected) in expected {
        let one = server.view().parked_event(&event_id, None).expect("readable").pop().expect("parked");
        let waits_for: Vec<String> = one.waits_for.iter().map(ToString::to_string).collect();
        assert_eq!((one.event_id.to_string(), waits_for), (event_id, expected));
    }
}

/// In room versions 1 and 2 senders choose event IDs, so that events can name each other.
#[test]
fn inputs_that_wait_for_each_other_wait_for_the_same() {
    let server = textual_room(&[
        ("$a:a", &["$b:a", "$x:a"]),
        ("$b:a", &["$c:a"]),
        ("$c:a", &["$a:a", "$y:a", "$out:a"]),
        ("$out:a", &["$z:a"]),
        ("$in:a", &["$b:a"]),
        ("$self:a", &["$self:a"]),
        ("$for_self:a", &["$self:a"]),
    ]);
    let told = waits_for(&server);
    let ids = |place: usize| -> Vec<&str> {
        let (_, waits_for) = &told[place];
        let mut ids: Vec<&str> = waits_for.iter().map(String::as_str).collect();
        ids.sort_unstable();
        ids
    };
    for place in [0, 1, 2, 4] {
        assert_eq!(ids(place), ["$x:a", "$y:a", "$z:a"], "{}", told[place].0);
    }
    assert_eq!((ids(3), ids(5), ids(6)), (vec!["$z:a"], vec![], vec![]));
    assert_eq!(lacks(&server), ["$x:a", "$y:a", "$z:a"]);
}

#[test]
fn parked_inputs_of_a_room_that_has_not_begun_are_listed() {
    let (server, _) = server();
    assert!(matches!(take(&server, textual("$a:a", &["$x:a"])), Outcome::Parked(_)));
    let told = server.view().parked(None).expect("readable");
    assert_eq!(told.iter().map(|parked| &*parked.event_id).collect::<Vec<_>>(), ["$a:a"]);
    assert_eq!((told[0].parked_at, told[0].parked_for), (0, 0));
}

#[test]
fn of_what_others_wait_for_a_part_is_told_and_of_what_itself_lacks_all() {
    let gone: Vec<String> = (0..20).map(|place| format!("$gone{place}:a")).collect();
    let server = textual_room(&[]);
    let mut prev = Vec::new();
    for link in 0..6 {
        let event_id = format!("$link{link}:a");
        let own: Vec<String> = gone[..19].iter().map(|gone| gone.replace('$', &format!("${link}"))).collect();
        let names: Vec<&str> = own.iter().chain(&prev).map(String::as_str).collect();
        take(&server, textual(&event_id, &names));
        prev = vec![event_id];
    }
    let told = parked(&server);
    let counts = told.iter().map(|parked| (parked.waits_for.len(), parked.waits_for_more)).collect::<Vec<_>>();
    assert_eq!(counts, [(19, false), (38, false), (57, false), (76, false), (95, false), (114, false)]);
    take(&server, textual("$last:a", &["$link5:a"]));
    let last = parked(&server).pop().expect("parked");
    assert_eq!((last.waits_for.len(), last.waits_for_more), (ParkedInput::MAX_INHERITED, true));

    let mut many = textual("$many:a", &["$x:a"]);
    many.state = Some((0..300).map(|place| format!("$s{place}:a").try_into().expect("an event ID")).collect());
    take(&server, many);
    let many = parked(&server).pop().expect("parked");
    assert_eq!((many.waits_for.len(), many.waits_for_more), (300, false));
}

/// A chain of inputs, each parked on the one before it.
fn chain(length: usize) -> (RoomServer, Arc<Counting<MemoryStore>>) {
    let store = Arc::new(Counting::new(MemoryStore::open(&specs())));
    let server = open(store.clone());
    for link in (0..length).rev() {
        let prev = if link == 0 { "$gone:a".to_owned() } else { format!("${}:a", link - 1) };
        server.submit(textual(&format!("${link}:a"), &[&prev])).and_then(Ticket::wait).expect("valid");
    }
    server.settle().expect("settles");
    (server, store)
}

#[test]
fn in_a_chain_all_wait_for_the_same_and_share_it() {
    const LENGTH: usize = 10_000;
    let (server, store) = chain(LENGTH);
    let view = server.view();
    store.take();
    let told = view.parked(None).expect("readable");
    let gets = store.take().gets as usize;
    assert_eq!(told.len(), LENGTH);
    assert!(told.iter().all(|parked| parked.waits_for == ["$gone:a"] && !parked.waits_for_more));
    // Of each: its row, whether what it lacks is stored, and whether that is parked.
    assert!(gets < 8 * LENGTH, "{gets} rows were asked for");

    let room = view.rows().rooms().expect("readable").pop().expect("here");
    let mut waiting = Waiting::new(view.rows(), &room).expect("readable");
    for key in waiting.order().expect("readable") {
        waiting.follow(key, false).expect("readable");
    }
    let first = waiting.nodes[0].known.as_ref().expect("known");
    let known = |place: usize| &waiting.nodes[place].known.as_ref().expect("known").events;
    assert!((0..LENGTH).all(|place| Arc::ptr_eq(known(place), &first.events)));
}
