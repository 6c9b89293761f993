//! Events that meet what was collected, and a room with lists.

use serde_json::{Value, json};

use super::Collect;
use crate::{
    FirstVerdict, Input, Outcome, RoomServer, Ticket,
    verify::tests::{
        room::{ALICE, Author, BOB, ROOM, Written, live, member, message, told, with_state},
        support::server,
    },
};

fn submit(server: &RoomServer, input: Input) -> Outcome {
    server.submit(input).and_then(Ticket::wait).expect("the input is valid")
}

fn is_whole(server: &RoomServer) -> bool {
    server.verify(&mut |problem| println!("{problem}")).expect("readable").problems == 0
}

fn topic(text: &str) -> (&'static str, Option<&'static str>, Value) {
    ("m.room.topic", Some(""), json!({"topic": text}))
}

fn collect(server: &RoomServer, before: Option<&Written>, refused: bool) -> super::Freed {
    let before = before.map(|event| event.event_id.as_str().try_into().expect("an event ID"));
    server.gc(&Collect { room: Some(ROOM.to_owned()), before, refused }, &mut |_| {}).expect("collects")
}

/// A room in which bob joined twice and the topic changed; who submits an event that follows the first of each, and the
/// last event.
struct Scene {
    server: RoomServer,
    author: Author,
    /// Create, alice, power levels, join rules.
    base: [Written; 4],
    bob: Written,
    topic: Written,
    talk: Written,
    last: Written,
}

fn scene() -> Scene {
    let (server, _) = server();
    let mut author = Author::new(ROOM);
    let base = author.base();
    let [create, alice, levels, public, bob] = &base;
    let by_alice = [create, levels, alice];
    let first = author.write(ALICE, topic("first"), &[bob], &by_alice);
    let talk = author.write(BOB, message("early"), &[&first], &[create, levels, bob]);
    let named = json!({"membership": "join", "displayname": "Bob"});
    let named = author.write(BOB, ("m.room.member", Some(BOB), named), &[&talk], &[create, levels, public, bob]);
    let again = json!({"membership": "join", "displayname": "Bobby"});
    let again = author.write(BOB, ("m.room.member", Some(BOB), again), &[&named], &[create, levels, public, &named]);
    let second = author.write(ALICE, topic("second"), &[&again], &by_alice);
    let last = author.write(ALICE, message("last"), &[&second], &by_alice);
    for event in base.iter().chain([&first, &talk, &named, &again, &second, &last]) {
        assert!(matches!(submit(&server, live(event)), Outcome::Accepted(_)));
    }
    let [create, alice, levels, public, bob] = base;
    Scene { server, author, base: [create, alice, levels, public], bob, topic: first, talk, last }
}

fn event(server: &RoomServer, event: &Written) -> crate::query::Event {
    let view = server.view();
    let room = view.room(ROOM).expect("readable").expect("here");
    room.event(&event.event_id).expect("readable").expect("here")
}

#[test]
fn a_collected_event_keeps_its_id_verdict_and_place_and_loses_its_body_unless_it_is_needed() {
    let scene = scene();
    let freed = collect(&scene.server, Some(&scene.last), false);
    // All but the last; the first topic and the first talk have nothing left, the first join is in the last one's chain.
    assert_eq!((freed.events, freed.bodies), (10, 2));
    for (written, has_body) in
        [(&scene.talk, false), (&scene.topic, false), (&scene.bob, true), (&scene.base[0], true), (&scene.last, true)]
    {
        let event = event(&scene.server, written);
        assert_eq!(event.pdu.is_some(), has_body, "{}", written.event_id);
        assert!(event.verdict.is_accepted() && event.collected == (written.event_id != scene.last.event_id));
        assert_eq!(event.prev_events.is_empty(), written.event_id == scene.base[0].event_id);
        let again = submit(&scene.server, live(written));
        assert!(matches!(again, Outcome::Duplicate { first: FirstVerdict::Accepted, .. }), "{again:?}");
    }
    assert!(is_whole(&scene.server));
}

#[test]
fn an_event_that_follows_a_collected_one_waits_for_its_state_and_for_the_bodies_in_it() {
    let mut scene = scene();
    let state = || scene.base.iter().chain([&scene.bob, &scene.topic]);
    let before = {
        let view = scene.server.view();
        let room = view.room(ROOM).expect("readable").expect("here");
        let talk = room.event(&scene.talk.event_id).expect("readable").expect("here");
        room.state(talk.state_after.expect("it has one")).expect("here").summary().expect("readable")
    };
    let [create, _, levels, _] = &scene.base;
    let late = scene.author.write(BOB, message("late"), &[&scene.talk], &[create, levels, &scene.bob]);
    collect(&scene.server, Some(&scene.last), false);
    let Outcome::Parked(parked) = submit(&scene.server, live(&late)) else { panic!("its state is gone") };
    assert_eq!(parked.missing_prev, [scene.talk.event_id.as_str()]);
    assert!(is_whole(&scene.server));
    let Outcome::Parked(parked) = submit(&scene.server, with_state(&late, state())) else { panic!("a body is gone") };
    assert_eq!(parked.missing_state, [scene.topic.event_id.as_str()]);
    assert!(parked.missing_prev.is_empty() && is_whole(&scene.server));
    let again = submit(&scene.server, live(&scene.topic));
    assert!(matches!(again, Outcome::Duplicate { first: FirstVerdict::Accepted, .. }), "{again:?}");
    scene.server.settle().expect("settles");
    let view = scene.server.view();
    let room = view.room(ROOM).expect("readable").expect("here");
    let late = room.event(&late.event_id).expect("readable").expect("it is decided");
    assert_eq!(room.state(late.state_before.expect("told")).expect("here").summary().expect("readable"), before);
    assert_eq!(room.counts().parked, 0);
    assert!(event(&scene.server, &scene.topic).pdu.is_some() && is_whole(&scene.server));
}

#[test]
fn auth_events_without_a_body_are_wanted_with_those_of_their_chain_oldest_first() {
    let mut scene = scene();
    let [create, _, levels, public] = &scene.base;
    // A third and a fourth join, by chains that the current state has not: they go with the history.
    let leave = |author: &mut Author, prev: &Written, auth: &Written| {
        author.write(BOB, member(BOB, "leave"), &[prev], &[create, levels, auth])
    };
    let gone = leave(&mut scene.author, &scene.last, &scene.bob);
    let join = scene.author.write(BOB, member(BOB, "join"), &[&gone], &[create, levels, public, &gone]);
    let fresh = scene.author.write(BOB, member(BOB, "join"), &[&join], &[create, levels, public]);
    let end = scene.author.write(ALICE, message("end"), &[&fresh], &[create, levels, &scene.base[1]]);
    for event in [&gone, &join] {
        assert!(matches!(submit(&scene.server, live(event)), Outcome::Accepted(_)));
    }
    // The one that replaces them names none of them; it is refused or not, as the rules say.
    submit(&scene.server, live(&fresh));
    submit(&scene.server, live(&end));
    collect(&scene.server, Some(&end), false);
    if event(&scene.server, &join).pdu.is_some() {
        panic!("the join is needed by nothing");
    }
    let late = scene.author.write(BOB, message("late"), &[&end], &[create, levels, &join]);
    let Outcome::Parked(parked) = submit(&scene.server, live(&late)) else { panic!("an auth event is gone") };
    assert!(parked.missing_auth.ends_with(&[join.event_id.as_str().try_into().expect("an event ID")]));
    assert!(parked.missing_auth.contains(&gone.event_id.as_str().try_into().expect("an event ID")));
    assert!(is_whole(&scene.server));
    {
        let view = scene.server.view();
        let told = view.room(ROOM).expect("readable").expect("here").parked().expect("readable");
        let told: Vec<_> = told[0].lacks.iter().map(|lack| lack.event_id.clone()).collect();
        assert_eq!(told, parked.missing_auth, "told anew, as at first");
    }
    for wanted in &parked.missing_auth {
        let all = [&scene.bob, &gone, &join];
        let again = all.into_iter().find(|event| event.event_id == *wanted).expect("one of them");
        submit(&scene.server, live(again));
        assert!(is_whole(&scene.server));
    }
    scene.server.settle().expect("settles");
    let view = scene.server.view();
    let room = view.room(ROOM).expect("readable").expect("here");
    assert!(room.event(&late.event_id).expect("readable").is_some(), "it is decided");
}

#[test]
fn refused_events_that_nothing_follows_go_if_asked() {
    let (server, _) = told();
    let refused = |server: &RoomServer| {
        let view = server.view();
        let room = view.room(ROOM).expect("readable").expect("here");
        let mut refused = Vec::new();
        room.history(&mut |entry| {
            if !entry.event.verdict.is_accepted() {
                refused.push((entry.event.event_id.to_string(), entry.event.collected));
            }
            Ok(true)
        })
        .expect("readable");
        refused
    };
    assert!(refused(&server).iter().all(|(_, collected)| !collected));
    assert_eq!(collect(&server, None, false).events, 0);
    let freed = collect(&server, None, true);
    let after = refused(&server);
    assert_eq!(after.iter().filter(|(_, collected)| *collected).count() as u64, freed.events);
    assert!(freed.events > 0 && (freed.events as usize) < after.len(), "{freed:?} of {after:?}");
    assert!(is_whole(&server));
}

#[test]
fn a_room_of_every_sort_of_event_is_whole_after_any_collection() {
    for refused in [false, true] {
        for place in 0..6 {
            let (server, _) = told();
            let mut events = Vec::new();
            {
                let view = server.view();
                let room = view.room(ROOM).expect("readable").expect("here");
                room.history(&mut |entry| {
                    events.push(entry.event.event_id);
                    Ok(true)
                })
                .expect("readable");
            }
            let before = events.get(events.len() * place / 6).cloned().filter(|_| place > 0);
            let what = Collect { room: Some(ROOM.to_owned()), before, refused };
            server.gc(&what, &mut |_| {}).expect("collects");
            assert!(is_whole(&server), "{place} {refused}");
        }
    }
}

/// A room whose log has lists: members join, and then change their names.
#[cfg(feature = "bench")]
mod lists {
    use std::{collections::BTreeMap, sync::Arc};

    use super::is_whole;
    use crate::{
        Fingerprint, Input, RoomServer, Ticket,
        generate::{Churn, Forks, Room, Spec},
        upkeep::{Collect, Freed},
        verify::tests::support::{open, server},
    };

    type States = BTreeMap<u32, (Option<Fingerprint>, Option<Fingerprint>)>;

    fn spec() -> Spec {
        let churn = Churn { profile: 90, leave: 4, rejoin: 4, newcomer: 1, topic: 1 };
        let forks = Some(Forks { every: 400, length: 30, lines: 2 });
        Spec { members: 200, state_per_mille: 1000, churn, forks, ..Spec::default() }
    }

    /// The states before and after each event that has them, read through a new view.
    fn states(server: &RoomServer, room: &str) -> States {
        let mut states = BTreeMap::new();
        let view = server.view();
        let room = view.room(room).expect("readable").expect("here");
        room.history(&mut |entry| {
            states.insert(entry.event.position.number(), (entry.state_before, entry.state_after));
            Ok(true)
        })
        .expect("readable");
        states
    }

    fn assert_retained(server: &RoomServer, room: &str, before: &States) {
        for (position, states) in states(server, room) {
            assert!(states == (None, None) || states == before[&position], "position {position}");
        }
    }

    #[test]
    fn lists_and_blocks_that_only_collected_states_had_go_and_the_others_stay_wherever_it_is_cut_off() {
        let (server, store) = server();
        let mut generated = Room::new(spec()).expect("a known version");
        let room = generated.id().to_owned();
        let start = generated.starting_state();
        let mut ids = Vec::new();
        for event in start.into_iter().chain(generated.by_ref().take(9_000)) {
            ids.push(event.event_id.clone());
            server.submit(Input::new(event.pdu)).and_then(Ticket::wait).expect("valid");
        }
        server.settle().expect("settles");
        let stats = server.stats(false).expect("readable");
        assert!(stats.lists > 3, "{stats:?}");
        let before = states(&server, &room);
        let what = |place: usize| Collect {
            room: Some(room.clone()),
            before: Some(ids[ids.len() * place / 100].as_str().try_into().expect("an event ID")),
            refused: false,
        };
        let all: Freed = server.gc(&Collect::default(), &mut |_| {}).expect("collects");
        assert!(all.snapshots > 0 && is_whole(&server), "{all:?}");
        assert_retained(&server, &room, &before);
        server.close().expect("closes");
        let first = open(store.clone()).gc(&what(45), &mut |_| {}).expect("collects");
        for cut in 1.. {
            let left = store.reopen();
            let server = open(Arc::new(left.clone()));
            left.fail_write_after(cut);
            let done = server.gc(&what(97), &mut |_| {});
            drop(server);
            let server = open(Arc::new(left.reopen()));
            assert!(is_whole(&server), "cut at write {cut}");
            assert_retained(&server, &room, &before);
            if let Ok(done) = done {
                let [lists, blocks] = [first.lists + done.lists, first.blocks + done.blocks];
                assert!(lists > 0 && blocks > 0 && first.snapshots + done.snapshots > 2_000, "{first:?} {done:?}");
                // The room goes on, with new lists above what is left.
                for event in generated.by_ref().take(3_000) {
                    server.submit(Input::new(event.pdu)).and_then(Ticket::wait).expect("valid");
                }
                server.settle().expect("settles");
                assert!(is_whole(&server));
                assert!(server.stats(false).expect("readable").lists > 1);
                break;
            }
        }
    }

    /// Elsewhere what was deleted stays on disk until somebody compacts the database by hand.
    #[cfg(feature = "rocksdb")]
    #[test]
    fn the_bytes_of_a_large_rooms_history_come_back_at_once_on_disk() {
        use crate::{
            Options,
            generate::Generated,
            kv::rocksdb::{RocksOptions, RocksStore},
        };

        let directory = tempfile::tempdir().expect("a place");
        let store = RocksStore::open(directory.path(), &crate::tables::specs(), &RocksOptions::default());
        // What readers see is a view of the store, and must not keep what is collected: nothing else happens here.
        let server = RoomServer::open_on(Arc::new(store.expect("opens")), &Options::default()).expect("opens");
        // The room that is collected between two that stay.
        let mut rooms = Vec::new();
        for (seed, events) in [(2, 500), (1, 6_000), (3, 500)] {
            let mut generated = Room::new(Spec { seed, ..spec() }).expect("a known version");
            let start = generated.starting_state();
            let events: Vec<_> = start.into_iter().chain(generated.by_ref().take(events)).collect();
            rooms.push((generated.id().to_owned(), events[events.len() * 97 / 100].event_id.clone()));
            for part in events.chunks(500) {
                let submit = |event: &Generated| server.submit(Input::new(event.pdu.clone()));
                let tickets: Vec<_> = part.iter().map(submit).collect();
                tickets.into_iter().for_each(|ticket| drop(ticket.and_then(Ticket::wait).expect("valid")));
            }
        }
        server.settle().expect("settles");
        let tables = |exact| server.table_bytes(exact).expect("readable");
        let total = |tables: &[(&'static str, u64)]| tables.iter().map(|(_, bytes)| bytes).sum::<u64>();
        let before_tables = tables(true);
        let full = total(&before_tables);
        let (room, before) = rooms.swap_remove(1);
        let before = Some(before.as_str().try_into().expect("an event ID"));
        let freed = server.gc(&Collect { room: Some(room.clone()), before, refused: false }, &mut |_| {});
        let collected = server.disk_bytes().expect("readable");
        // Nearly all bodies are needed by the state that is retained: what can come back at all is what is gone after
        // everything was compacted.
        let packs = |tables: &[(&'static str, u64)]| tables.iter().find(|(name, _)| *name == "packs").map(|row| row.1);
        let packs_left = packs(&tables(false));
        let all = tables(true);
        let least = total(&all);
        assert!(packs(&before_tables) > packs(&all).map(|bytes| bytes * 2), "{freed:?}");
        assert_eq!(packs_left, packs(&all), "the packs of the history are gone at once");
        assert!(
            collected - least < (full - least) / 2,
            "of {full} bytes {collected} are left, {least} can be: {freed:?}"
        );
        server.purge(&room, &mut |_| {}).expect("it is here");
        let purged = server.disk_bytes().expect("readable");
        assert!(purged < least / 2, "{purged} of {least} bytes are left");
        assert!(is_whole(&server));
    }
}
