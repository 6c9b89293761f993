//! The walks over the auth graph, against the definitions, on graphs that no rule has shaped.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::any, test_runner::TestCaseError};
use ruma_common::room_version_rules::RoomVersionRules;
use serde_json::json;

use super::{
    generate::{check, wild_states},
    room::{Calls, Draft, Room, State, View},
    ruma,
};
use crate::{
    ids::EventNid,
    resolution::{auth_difference::auth_difference, loaded::Loaded, mainline, subgraph::conflicted_state_subgraph},
};

/// An event that names some of those before it; its key is one of few.
fn event(room: &mut Room, key: u8, back: &[u8]) -> EventNid {
    let count = room.events.len();
    let numbers: BTreeSet<_> = back.iter().map(|&back| count - usize::from(back) % count.max(1)).collect();
    let named: Vec<_> =
        numbers.into_iter().filter_map(|number| EventNid::new(u32::try_from(number).unwrap())).collect();
    let (event_type, key) = match key % 16 {
        0 => ("m.room.power_levels", String::new()),
        1 => ("m.room.join_rules", String::new()),
        key => ("m.room.member", format!("@user{key}:one")),
    };
    room.add(Draft::new("@user:one", event_type, &key, json!({})).auth(&named))
}

/// The auth difference as found, and the conflicted events.
fn difference(view: &View<'_>) -> (Vec<EventNid>, BTreeSet<EventNid>) {
    let conflicted = view.conflicts.iter().flat_map(|conflict| &conflict.events).flatten().copied().collect();
    let found = auth_difference(&Loaded::new(view), view.sets, &view.conflicts, &conflicted).unwrap();
    (found, conflicted)
}

/// "∪ Ci − ∩ Ci", with chains that include the events they start from.
fn difference_by_definition(room: &Room, states: &[State]) -> BTreeSet<EventNid> {
    let chains: Vec<_> = states.iter().map(|state| room.chain(state.values().copied())).collect();
    let union: BTreeSet<_> = chains.iter().flatten().copied().collect();
    union.into_iter().filter(|nid| !chains.iter().all(|chain| chain.contains(nid))).collect()
}

#[test]
fn the_auth_difference_is_what_the_definition_says() {
    let events = vec((any::<u8>(), vec(0..12_u8, 0..4)), 1..60);
    check((events, 2..=6_usize, any::<u64>(), any::<bool>()), |(events, sets, seed, of_the_past)| {
        let mut room = Room::new(RoomVersionRules::V11);
        for (key, back) in &events {
            event(&mut room, *key, back);
        }
        let states = wild_states(&room, sets, seed);
        let mut view = View::new(&room, &states.iter().collect::<Vec<_>>());
        if !of_the_past {
            view.newest = room.newest();
        }
        let (found, conflicted) = difference(&view);
        let expected = &difference_by_definition(&room, &states) - &conflicted;
        proptest::prop_assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), expected, "of {:?}", states);
        proptest::prop_assert!(found.is_sorted_by(|a, b| a > b), "descending, each once");
        Ok::<(), TestCaseError>(())
    });
}

#[test]
fn the_auth_difference_of_more_than_64_sets_is_what_the_definition_says() {
    let events = vec((any::<u8>(), vec(0..12_u8, 0..4)), 20..80);
    check((events, 65..=140_usize, any::<u64>()), |(events, sets, seed)| {
        let mut room = Room::new(RoomVersionRules::V11);
        for (key, back) in &events {
            event(&mut room, *key, back);
        }
        // All sets but one are equal, so that one bit among many decides.
        let two = wild_states(&room, 2, seed);
        let odd = usize::try_from(seed % 64).unwrap() * sets / 64;
        let states: Vec<_> = (0..sets).map(|set| two[usize::from(set == odd)].clone()).collect();
        let view = View::new(&room, &states.iter().collect::<Vec<_>>());
        let (found, conflicted) = difference(&view);
        let expected = &difference_by_definition(&room, &two) - &conflicted;
        proptest::prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
        Ok::<(), TestCaseError>(())
    });
}

#[test]
fn the_conflicted_state_subgraph_is_what_the_definition_says() {
    let events = vec((any::<u8>(), vec(0..12_u8, 0..4)), 1..60);
    check((events, vec(any::<u8>(), 1..8)), |(events, picks)| {
        let mut room = Room::new(RoomVersionRules::V12);
        for (key, back) in &events {
            event(&mut room, *key, back);
        }
        let count = u32::try_from(events.len()).unwrap();
        let conflicted: BTreeSet<_> =
            picks.iter().map(|&pick| EventNid::new(u32::from(pick) % count + 1).unwrap()).collect();
        let view = View::new(&room, &[]);
        let found: BTreeSet<_> =
            conflicted_state_subgraph(&Loaded::new(&view), &conflicted).unwrap().into_iter().collect();
        proptest::prop_assert_eq!(found, ruma::subgraph(&room, &conflicted), "of {:?}", conflicted);
        Ok::<(), TestCaseError>(())
    });
}

/// A room of `depth` power levels, each naming the one before it, that two states end in; `shared` is in both.
fn deep(depth: usize) -> (Room, [State; 2]) {
    let (mut room, [create, alice, mut power, public]) = Room::public(RoomVersionRules::V11);
    let shared = [create, alice, public];
    let first = power;
    for _ in 0..depth {
        let draft = Draft::new("@alice:one", "m.room.power_levels", "", json!({ "users": { "@alice:one": 100 } }));
        power = room.add(draft.auth(&[create, alice, power]));
    }
    let states = [[&shared[..], &[first]].concat(), [&shared[..], &[power]].concat()];
    let states = states.map(|nids| room.state(&nids));
    (room, states)
}

#[test]
fn an_auth_graph_100_000_deep_is_walked_without_recursion() {
    const DEPTH: usize = 100_000;
    let (room, states) = deep(DEPTH);
    let [first, last] = states.each_ref();
    let view = View::new(&room, &[first, last]);
    let loaded = Loaded::new(&view);
    // Down: all but the two in conflict.
    let (found, conflicted) = difference(&view);
    assert_eq!(found.len(), DEPTH - 1);
    assert_eq!(conflicted_state_subgraph(&loaded, &conflicted).unwrap().len(), DEPTH + 1);
    // The mainline, from one end to the other.
    let [lowest, highest] = [conflicted.first(), conflicted.last()].map(|nid| *nid.unwrap());
    let ordered = mainline::mainline_ordering(&loaded, Some(highest), &BTreeSet::from([lowest, highest])).unwrap();
    assert_eq!(ordered, [lowest, highest]);
    assert_eq!(room.resolve(&[first, last]).unwrap(), *last);

    // Up: whether unconflicted state reaches the first one shows only at the end of the chain.
    let [bob, carol] = ["@bob:one", "@carol:one"].map(|user| Draft::new(user, "m.room.topic", "", json!({})));
    let mut room = room;
    let [bob, carol] = [room.add(bob.auth(&[lowest])), room.add(carol)];
    let with = |topic: EventNid| room.state(&[&last.values().copied().collect::<Vec<_>>()[..], &[topic]].concat());
    let (one, two) = (with(bob), with(carol));
    let view = View::new(&room, &[&one, &two]);
    assert_eq!(difference(&view).0, []);
    assert!(view.calls.get().auth_children > DEPTH, "the walk went all the way up");
    assert!(carol > bob);
}

/// Two topics in conflict, one of which names power levels that the states have left behind. Nothing in the states
/// names these but their successor, and 40 memberships that came later and are in no state.
fn with_dead_ends() -> (Room, EventNid, [State; 2]) {
    let (mut room, [create, alice, old, public]) = Room::public(RoomVersionRules::V11);
    let levels = Draft::new("@alice:one", "m.room.power_levels", "", json!({}));
    let new = room.add(levels.auth(&[create, alice, old]));
    let topic = Draft::new("@alice:one", "m.room.topic", "", json!({}));
    let topics = [room.add(topic.clone().auth(&[create, alice, old])), room.add(topic.auth(&[create, alice]))];
    for number in 0..40 {
        let user = format!("@user{number}:one");
        room.add(Draft::new(&user, "m.room.member", &user, json!({})).auth(&[create, public, old]));
    }
    let states = topics.map(|topic| room.state(&[create, alice, public, new, topic]));
    (room, topics[1], states)
}

#[test]
fn an_event_behind_pages_of_dead_ends_is_found() {
    let (room, _, [first, second]) = with_dead_ends();
    let mut view = View::new(&room, &[&first, &second]);
    view.newest = room.newest();
    assert_eq!(difference(&view).0, []);
    assert!(view.calls.get().children_told > 40, "{:?}", view.calls);
}

#[test]
fn what_came_after_the_states_is_not_looked_at() {
    let (room, newest, [first, second]) = with_dead_ends();
    let view = View::new(&room, &[&first, &second]);
    assert_eq!(view.newest, newest);
    assert_eq!(difference(&view).0, []);
    assert!(view.calls.get().children_told < 10, "{:?}", view.calls);
}

/// What it takes to resolve a kick of Bob against his last topic, after so many topics of his. The topic is also in
/// conflict with one of Carol's, who meanwhile has changed her name.
fn kick_after(topics: usize) -> Calls {
    let (mut room, [create, alice, power, public]) = Room::public(RoomVersionRules::V11);
    let [bob, carol] = ["@bob:one", "@carol:one"];
    let join = |user: &str| Draft::new(user, "m.room.member", user, json!({ "membership": "join" }));
    let [old, bob_in] = [carol, bob].map(|user| room.add(join(user).auth(&[create, power, public])));
    let carol_in = room.add(join(carol).auth(&[create, power, public, old]));
    let topic = |user: &str| Draft::new(user, "m.room.topic", "", json!({}));
    for _ in 0..topics {
        room.add(topic(bob).auth(&[create, power, bob_in]));
    }
    let last = room.add(topic(bob).auth(&[create, power, bob_in]));
    let kick = Draft::new("@alice:one", "m.room.member", bob, json!({ "membership": "leave" }));
    let kick = room.add(kick.auth(&[create, power, alice, bob_in]));
    let of_carol = room.add(topic(carol).auth(&[create, power, old]));
    let with = |own: &[EventNid]| room.state(&[&[create, alice, power, public, carol_in], own].concat());
    let states = [with(&[kick, of_carol]), with(&[bob_in, last])];
    let view = View::new(&room, &states.each_ref());
    assert_eq!(difference(&view).0, []);
    view.calls.get()
}

#[test]
fn what_is_in_conflict_anyway_is_not_searched_to_the_end() {
    assert_eq!(kick_after(1_000), kick_after(2_000));
}

#[test]
fn a_search_that_was_given_up_tells_nothing_of_those_it_passed() {
    let (mut room, [create, alice, power, public]) = Room::public(RoomVersionRules::V11);
    let bob = "@bob:one";
    let join = Draft::new(bob, "m.room.member", bob, json!({ "membership": "join" }));
    let first = room.add(join.clone().auth(&[create, power, public]));
    let second = room.add(join.auth(&[create, power, public, first]));
    let topic = Draft::new(bob, "m.room.topic", "", json!({})).auth(&[create, power, second]);
    let shared = room.add(topic.clone());
    for _ in 0..200 {
        room.add(topic.clone());
    }
    // The second join is in conflict, so nobody searches long for the topic that names it; the first one is not.
    let states = [&[second][..], &[]].map(|own| room.state(&[&[create, alice, power, public, shared], own].concat()));
    let mut view = View::new(&room, &states.each_ref());
    view.newest = room.newest();
    assert_eq!(difference(&view).0, []);
}
