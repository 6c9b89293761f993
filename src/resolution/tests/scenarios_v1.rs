//! Rooms of version 1 made by hand: what its text says, and what servers made of what it leaves open.

use ruma_common::room_version_rules::RoomVersionRules;
use serde_json::json;
use sha1::{Digest, Sha1};

use super::room::{ALICE, BOB, CAROL, Draft, Room, State, View};
use crate::{error::ErrorKind, ids::EventNid};

/// A room of version 1 with Bob as moderator, and the events that all of its states have.
fn moderated() -> (Room, Vec<EventNid>, [EventNid; 2]) {
    let (mut room, [create, alice, _, public]) = Room::public(RoomVersionRules::V1);
    let bob = room.add(join(BOB));
    let carol = room.add(join(CAROL));
    let levels = json!({ "users": { ALICE: 100, BOB: 50 } });
    let power = room.add(Draft::new(ALICE, "m.room.power_levels", "", levels));
    (room, vec![create, alice, power, public], [bob, carol])
}

fn join(user: &str) -> Draft {
    Draft::new(user, "m.room.member", user, json!({ "membership": "join" }))
}

fn topic(sender: &str) -> Draft {
    Draft::new(sender, "m.room.topic", "", json!({}))
}

fn ban(sender: &str, user: &str) -> Draft {
    Draft::new(sender, "m.room.member", user, json!({ "membership": "ban" }))
}

fn resolve(room: &Room, common: &[EventNid], sets: &[&[EventNid]]) -> State {
    let states: Vec<_> = sets.iter().map(|own| room.state(&[common, own].concat())).collect();
    let states: Vec<_> = states.iter().collect();
    let (view, mut reversed) = (View::new(room, &states), View::new(room, &states));
    reversed.conflicts.reverse();
    assert_eq!(view.resolve().unwrap(), reversed.resolve().unwrap(), "the order of the conflicts says nothing");
    room.resolve(&states).unwrap()
}

fn has(state: &State, nid: EventNid) -> bool {
    state.values().any(|&other| other == nid)
}

#[test]
fn a_key_with_one_value_in_some_states_only_takes_it() {
    let (mut room, common, [bob, carol]) = moderated();
    // In v2 the topic would be checked, and refused: Carol may not set it.
    let own = room.add(topic(CAROL));
    let state = resolve(&room, &[&common[..], &[bob, carol]].concat(), &[&[own], &[], &[own]]);
    assert!(has(&state, own));
}

#[test]
fn the_topic_of_greatest_depth_that_passes_wins() {
    let (mut room, common, [bob, carol]) = moderated();
    let forbidden = room.add(topic(CAROL).depth(30));
    let deep = room.add(topic(BOB).depth(20));
    let shallow = room.add(topic(ALICE).depth(10));
    let state = resolve(&room, &[&common[..], &[bob, carol]].concat(), &[&[deep], &[forbidden], &[shallow]]);
    assert!(has(&state, deep));
}

#[test]
fn of_two_topics_of_the_same_depth_the_one_with_the_lower_sha1_wins() {
    let (mut room, common, [bob, carol]) = moderated();
    let mut ids: Vec<_> = (0..8).map(|number| format!("$topic{number}:one")).collect();
    ids.sort_by_key(|id| Sha1::digest(id.as_bytes()));
    let topics: Vec<_> = ids.iter().rev().map(|id| room.add(topic(BOB).depth(20).id(id))).collect();
    let sets: Vec<_> = topics.iter().map(std::slice::from_ref).collect();
    let state = resolve(&room, &[&common[..], &[bob, carol]].concat(), &sets);
    assert!(has(&state, topics[7]), "the last one added has the lowest hash");
}

#[test]
fn the_topic_of_least_depth_wins_if_none_passes() {
    let (mut room, common, [bob, carol]) = moderated();
    let deep = room.add(topic(CAROL).depth(20));
    let shallow = room.add(topic(CAROL).depth(10));
    let state = resolve(&room, &[&common[..], &[bob, carol]].concat(), &[&[deep], &[shallow]]);
    assert!(has(&state, shallow));
}

#[test]
fn power_levels_follow_by_depth_as_long_as_each_allows_the_next() {
    let (mut room, common, [bob, carol]) = moderated();
    let common: Vec<_> = common.into_iter().filter(|&nid| room.event(nid).depth != 6).collect();
    let levels = |sender: &str, bob: i64, depth| {
        let content = json!({ "users": { ALICE: 100, BOB: bob } });
        Draft::new(sender, "m.room.power_levels", "", content).depth(depth)
    };
    let first = room.add(levels(ALICE, 50, 10));
    let second = room.add(levels(BOB, 40, 20));
    // Bob has taken power from himself, so the third fails; the fourth would pass, and is not reached.
    let third = room.add(levels(BOB, 50, 30));
    let fourth = room.add(levels(ALICE, 60, 40));
    let state = resolve(&room, &[&common[..], &[bob, carol]].concat(), &[&[fourth], &[second], &[third], &[first]]);
    assert!(has(&state, second));
}

#[test]
fn power_levels_are_resolved_before_members_and_members_before_others() {
    let (mut room, common, [bob, carol]) = moderated();
    let old = common[2];
    let common = [common[0], common[1], common[3], carol];
    let none = Draft::new(ALICE, "m.room.power_levels", "", json!({ "users": { ALICE: 100, BOB: 0 } })).depth(20);
    let none = room.add(none);
    let banned = room.add(ban(ALICE, BOB).depth(30));
    let of_bob = room.add(topic(BOB).depth(50));
    let of_alice = room.add(topic(ALICE).depth(5));
    let state = resolve(&room, &common, &[&[old, banned, of_alice], &[none, bob, of_bob]]);
    assert!(has(&state, none) && has(&state, banned) && has(&state, of_alice), "{state:?}");
}

#[test]
fn one_resolved_member_does_not_count_for_the_next() {
    let (mut room, common, [bob, carol]) = moderated();
    let two_joins = [room.add(join(BOB).depth(10)), room.add(join(BOB).depth(11))];
    let banned = room.add(ban(BOB, CAROL).depth(12));
    let state = resolve(&room, &common, &[&[two_joins[0], carol], &[two_joins[1], banned]]);
    assert!(has(&state, two_joins[1]), "{state:?}");
    assert!(has(&state, carol), "no Bob in the state before the members, so no ban by him: {state:?}");
    // With Bob out of conflict the ban stands.
    let state = resolve(&room, &[&common[..], &[bob]].concat(), &[&[carol], &[banned]]);
    assert!(has(&state, banned));
}

#[test]
fn a_missing_create_event_is_an_error_that_names_the_event() {
    let (mut room, common, [bob, carol]) = moderated();
    let one = room.add(topic(BOB).id("$one:one"));
    let two = room.add(topic(BOB).id("$two:one"));
    let common = [&common[1..], &[bob, carol]].concat();
    let states = [one, two].map(|topic| room.state(&[&common[..], &[topic]].concat()));
    let error = room.resolve(&states.each_ref()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("$one:one") || error.to_string().contains("$two:one"), "{error}");
}
