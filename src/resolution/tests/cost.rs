//! What a resolution asks of the store does not depend on the size of the room.

use ruma_common::room_version_rules::RoomVersionRules;
use serde_json::json;

use super::room::{ALICE, Calls, Draft, Room, View};
use crate::ids::EventNid;

/// A room of so many members that two branches leave in conflict about two keys: what its resolution asks.
///
/// The members joined under the first power levels; a third of them changed their name under the second. On one branch
/// a member is banned, on the other that member changes the topic; the members of the branches still cite memberships
/// and power levels that the state has left behind.
fn calls(rules: RoomVersionRules, members: usize, of_the_past: bool) -> Calls {
    let (mut room, [create, alice, first, public]) = Room::public(rules);
    let named = |room: &Room, nids: &[EventNid]| room.named(nids);
    let mut users = json!({ "@user0:one": 50, "@user1:one": 50 });
    if !room.create_is_implied() {
        users[ALICE] = json!(100);
    }
    let mut joined = Vec::new();
    for number in 0..members {
        joined.push(join(&mut room, number, &[create, public, first]));
    }
    let auth_events = named(&room, &[create, alice, first]);
    let second = room.add(Draft::new(ALICE, "m.room.power_levels", "", json!({ "users": users })).auth(&auth_events));
    let earlier = joined[1];
    for number in (1..members).step_by(3) {
        joined[number] = join(&mut room, number, &[create, public, second, joined[number]]);
    }
    let auth_events = named(&room, &[create, alice, second]);
    let third = room.add(Draft::new(ALICE, "m.room.power_levels", "", json!({ "users": users })).auth(&auth_events));

    let auth_events = named(&room, &[create, alice, third, joined[0]]);
    let ban = Draft::new(ALICE, "m.room.member", "@user0:one", json!({ "membership": "ban" }));
    let ban = room.add(ban.auth(&auth_events));
    let auth_events = named(&room, &[create, earlier, second]);
    let topic = room.add(Draft::new("@user1:one", "m.room.topic", "", json!({})).auth(&auth_events));

    let common = [&[create, alice, third, public], &joined[1..]].concat();
    let with = |own: &[EventNid]| room.state(&[&common[..], own].concat());
    let states = [with(&[ban]), with(&[joined[0], topic])];
    if of_the_past {
        for number in 0..members {
            join(&mut room, members + number, &[create, public, second]);
        }
    }
    let view = View::new(&room, &states.each_ref());
    assert_eq!(view.conflicts.len(), 2);
    view.resolve().unwrap();
    view.calls.get()
}

fn join(room: &mut Room, number: usize, auth_events: &[EventNid]) -> EventNid {
    let user = format!("@user{number}:one");
    let draft = Draft::new(&user, "m.room.member", &user, json!({ "membership": "join" }));
    let auth_events = room.named(auth_events);
    room.add(draft.auth(&auth_events))
}

#[test]
fn a_conflict_costs_the_same_in_a_room_of_10_and_of_5_000_members() {
    for rules in [RoomVersionRules::V1, RoomVersionRules::V11, RoomVersionRules::V12] {
        for of_the_past in [false, true] {
            let small = calls(rules.clone(), 10, of_the_past);
            assert_eq!(small, calls(rules.clone(), 5_000, of_the_past));
            assert!(small.event > 0 && small.event < 40, "{small:?}");
        }
    }
}
