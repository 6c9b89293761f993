//! Rooms made by hand, each for one sentence of the specification: its answer changes if the sentence is not obeyed.

use ruma_common::room_version_rules::RoomVersionRules;
use serde_json::{Value, json};

use super::{
    room::{ALICE, BOB, CAROL, Draft, Room, State, View},
    ruma::{AS_SPECIFIED, Oracle},
};
use crate::{error::ErrorKind, ids::EventNid};

/// A room that Alice has made, and what every event of hers names.
struct Base {
    room: Room,
    create: EventNid,
    alice: EventNid,
    power: EventNid,
    public: EventNid,
}

impl Base {
    fn new(rules: RoomVersionRules) -> Self {
        let (room, [create, alice, power, public]) = Room::public(rules);
        Self { room, create, alice, power, public }
    }

    /// Adds an event that names the create event, where versions want that, and `auth_events`.
    fn add(&mut self, draft: Draft, auth_events: &[EventNid]) -> EventNid {
        let named = self.room.named(&[&[self.create], auth_events].concat());
        self.room.add(draft.auth(&named))
    }

    /// A join under the public join rules and the first power levels.
    fn join(&mut self, user: &str) -> EventNid {
        let auth_events = [self.public, self.power];
        self.add(member(user, user, "join"), &auth_events)
    }

    /// Alice's power levels, naming the first ones.
    fn levels(&mut self, content: Value) -> EventNid {
        let auth_events = [self.alice, self.power];
        self.add(levels(ALICE, content), &auth_events)
    }

    /// Resolves states; each is the common events and those of its own. The oracle has to agree.
    fn resolve(&self, common: &[EventNid], sets: &[&[EventNid]]) -> State {
        let states: Vec<_> = sets.iter().map(|own| self.room.state(&[common, own].concat())).collect();
        let states: Vec<_> = states.iter().collect();
        let resolved = self.room.resolve(&states).unwrap();
        assert_eq!(Oracle::default().resolve(&self.room, &states, AS_SPECIFIED), resolved);
        resolved
    }

    fn at(&self, state: &State, event_type: &str, state_key: &str) -> Option<EventNid> {
        state.get(&self.room.find_tuple(event_type, state_key)?).copied()
    }

    fn topic(&self, state: &State) -> Option<EventNid> {
        self.at(state, "m.room.topic", "")
    }

    fn power_levels(&self, state: &State) -> Option<EventNid> {
        self.at(state, "m.room.power_levels", "")
    }
}

fn member(sender: &str, user: &str, membership: &str) -> Draft {
    Draft::new(sender, "m.room.member", user, json!({ "membership": membership }))
}

fn levels(sender: &str, content: Value) -> Draft {
    Draft::new(sender, "m.room.power_levels", "", content)
}

fn topic(sender: &str) -> Draft {
    Draft::new(sender, "m.room.topic", "", json!({}))
}

#[test]
fn the_later_of_two_topics_wins() {
    let mut base = Base::new(RoomVersionRules::V11);
    let auth_events = [base.alice, base.power];
    let early = base.add(topic(ALICE).ts(100).id("$z"), &auth_events);
    let late = base.add(topic(ALICE).ts(101).id("$a"), &auth_events);
    let state = base.resolve(&[base.create, base.alice, base.power, base.public], &[&[early], &[late]]);
    assert_eq!(base.topic(&state), Some(late));
}

#[test]
fn a_time_before_1970_is_before_all_others() {
    for (before, after) in [(-1, 0), (-2, -1), (-1_700_000_000_000, 1_700_000_000_000), (-1, 5)] {
        let mut base = Base::new(RoomVersionRules::V11);
        let auth_events = [base.alice, base.power];
        let early = base.add(topic(ALICE).ts(before).id("$z"), &auth_events);
        let late = base.add(topic(ALICE).ts(after).id("$a"), &auth_events);
        let common = [base.create, base.alice, base.power, base.public];
        let state = base.resolve(&common, &[&[early], &[late]]);
        assert_eq!(base.topic(&state), Some(late), "{before} {after}");

        let early = levels(ALICE, json!({ "users": { ALICE: 100, BOB: 1 } })).ts(before).id("$y");
        let late = levels(ALICE, json!({ "users": { ALICE: 100, BOB: 2 } })).ts(after).id("$b");
        let [early, late] = [early, late].map(|draft| base.add(draft, &auth_events));
        let state = base.resolve(&[base.create, base.alice, base.public], &[&[early], &[late]]);
        assert_eq!(base.power_levels(&state), Some(late), "{before} {after}");
    }
}

#[test]
fn of_two_topics_of_the_same_time_the_one_with_the_greater_id_wins() {
    let mut base = Base::new(RoomVersionRules::V11);
    let auth_events = [base.alice, base.power];
    let less = base.add(topic(ALICE).ts(100).id("$Z"), &auth_events);
    let greater = base.add(topic(ALICE).ts(100).id("$a"), &auth_events);
    let common = [base.create, base.alice, base.power, base.public];
    for sets in [[[less], [greater]], [[greater], [less]]] {
        let state = base.resolve(&common, &[&sets[0], &sets[1]]);
        assert_eq!(base.topic(&state), Some(greater), "byte order, whatever the order of the sets");
    }
}

#[test]
fn of_two_power_levels_of_the_same_time_the_one_with_the_greater_id_wins() {
    let mut base = Base::new(RoomVersionRules::V11);
    let auth_events = [base.alice, base.power];
    let greater = base.add(levels(ALICE, json!({ "users": { ALICE: 100, BOB: 1 } })).ts(9).id("$b"), &auth_events);
    let less = base.add(levels(ALICE, json!({ "users": { ALICE: 100, BOB: 2 } })).ts(9).id("$a"), &auth_events);
    let state = base.resolve(&[base.create, base.alice, base.public], &[&[greater], &[less]]);
    assert_eq!(base.power_levels(&state), Some(greater));
}

#[test]
fn the_topic_under_newer_power_levels_wins_over_a_later_one_under_older_ones() {
    let mut base = Base::new(RoomVersionRules::V11);
    let newer = base.levels(json!({ "users": { ALICE: 100, BOB: 50 } }));
    let [alice, power] = [base.alice, base.power];
    let under_older = base.add(topic(ALICE).ts(200), &[alice, power]);
    let under_newer = base.add(topic(ALICE).ts(100), &[alice, newer]);
    let state = base.resolve(&[base.create, alice, base.public, newer], &[&[under_older], &[under_newer]]);
    assert_eq!(base.topic(&state), Some(under_newer));
}

#[test]
fn power_levels_of_the_more_powerful_are_checked_first_though_they_are_later() {
    let mut base = Base::new(RoomVersionRules::V11);
    let bob = base.join(BOB);
    let users = json!({ ALICE: 100, BOB: 50 });
    let common_levels = base.levels(json!({ "users": users }));
    let of_bob = levels(BOB, json!({ "users": users, "invite": 10 })).ts(100);
    let of_bob = base.add(of_bob, &[bob, common_levels]);
    let alice = base.alice;
    let of_alice = levels(ALICE, json!({ "users": users, "invite": 20 })).ts(200);
    let of_alice = base.add(of_alice, &[alice, common_levels]);
    let state = base.resolve(&[base.create, alice, base.public, bob], &[&[of_bob], &[of_alice]]);
    assert_eq!(base.power_levels(&state), Some(of_bob), "applied last: Bob may still do it after Alice did hers");
}

#[test]
fn a_ban_stops_the_power_levels_that_the_banned_moderator_made_meanwhile() {
    let mut base = Base::new(RoomVersionRules::V11);
    let bob = base.join(BOB);
    let before = base.levels(json!({ "users": { ALICE: 100, BOB: 50 } }));
    let alice = base.alice;
    let ban = base.add(member(ALICE, BOB, "ban").ts(200), &[alice, before, bob]);
    let meanwhile = levels(BOB, json!({ "users": { ALICE: 100, BOB: 50, CAROL: 50 } })).ts(100);
    let meanwhile = base.add(meanwhile, &[bob, before]);
    let state = base.resolve(&[base.create, alice, base.public], &[&[before, ban], &[meanwhile, bob]]);
    assert_eq!(base.power_levels(&state), Some(before));
    assert_eq!(base.at(&state, "m.room.member", BOB), Some(ban));
}

/// A kick or ban of Carol, who meanwhile sets the topic; the topic is earlier.
fn removal_against_topic(membership: &str) {
    let mut base = Base::new(RoomVersionRules::V11);
    let carol = base.join(CAROL);
    let power = base.levels(json!({ "users": { ALICE: 100, CAROL: 50 } }));
    let alice = base.alice;
    let first = base.add(topic(ALICE).ts(50), &[alice, power]);
    let removal = base.add(member(ALICE, CAROL, membership).ts(200), &[alice, power, carol]);
    let meanwhile = base.add(topic(CAROL).ts(100), &[carol, power]);
    let state = base.resolve(&[base.create, alice, base.public, power], &[&[first, removal], &[meanwhile, carol]]);
    assert_eq!(base.at(&state, "m.room.member", CAROL), Some(removal));
    assert_eq!(base.topic(&state), Some(first), "the removal counts before the topic");
}

#[test]
fn a_kick_is_a_power_event() {
    removal_against_topic("leave");
}

#[test]
fn a_ban_is_a_power_event() {
    removal_against_topic("ban");
}

#[test]
fn leaving_is_no_power_event() {
    let mut base = Base::new(RoomVersionRules::V11);
    let carol = base.join(CAROL);
    let power = base.levels(json!({ "users": { ALICE: 100, CAROL: 50 } }));
    let alice = base.alice;
    let first = base.add(topic(ALICE).ts(50), &[alice, power]);
    let leave = base.add(member(CAROL, CAROL, "leave").ts(200), &[power, carol]);
    let meanwhile = base.add(topic(CAROL).ts(100), &[carol, power]);
    let state = base.resolve(&[base.create, alice, base.public, power], &[&[first, leave], &[meanwhile, carol]]);
    assert_eq!(base.topic(&state), Some(meanwhile), "she was still there");
    assert_eq!(base.at(&state, "m.room.member", CAROL), Some(leave));
}

#[test]
fn the_auth_chain_of_a_power_event_is_checked_with_it() {
    let mut base = Base::new(RoomVersionRules::V11);
    let [alice, power, public, create] = [base.alice, base.power, base.public, base.create];
    // Bob joins and gets power on a branch; both are needed for his ban of Carol there.
    let bob = base.join(BOB);
    let carol = base.join(CAROL);
    let moderator = base.add(levels(ALICE, json!({ "users": { ALICE: 100, BOB: 50 } })), &[alice, power]);
    let ban = base.add(member(BOB, CAROL, "ban"), &[bob, moderator, carol]);
    let state = base.resolve(&[create, alice, public], &[&[moderator, bob, ban], &[power, carol]]);
    assert_eq!(base.at(&state, "m.room.member", CAROL), Some(ban));
}

#[test]
fn an_event_of_the_auth_difference_is_checked_though_no_state_has_it() {
    let mut base = Base::new(RoomVersionRules::V11);
    let bob = base.join(BOB);
    let [alice, power] = [base.alice, base.power];
    // Power levels that no state has let Bob set the topic.
    let lost = base.levels(json!({ "users": { ALICE: 100, BOB: 50 } }));
    let of_bob = base.add(topic(BOB), &[bob, lost]);
    let of_alice = base.add(topic(ALICE), &[alice, power]);
    let common = [base.create, alice, base.public, power, bob];
    let state = base.resolve(&common, &[&[of_bob], &[of_alice]]);
    assert_eq!(base.topic(&state), Some(of_bob));
    assert_eq!(base.power_levels(&state), Some(power), "what no state disputes stays");
}

#[test]
fn an_event_that_unconflicted_state_reaches_is_not_in_the_auth_difference() {
    let mut base = Base::new(RoomVersionRules::V11);
    let bob = base.join(BOB);
    let [alice, power] = [base.alice, base.power];
    let moderator = base.levels(json!({ "users": { ALICE: 100, BOB: 50 } }));
    let no_more = base.add(levels(ALICE, json!({ "users": { ALICE: 100, BOB: 0 } })), &[alice, moderator]);
    // Bob cites power levels that all states have left behind.
    let of_alice = base.add(topic(ALICE), &[alice, power]);
    let of_bob = base.add(topic(BOB), &[bob, moderator]);
    let common = [base.create, alice, base.public, no_more, bob];
    let state = base.resolve(&common, &[&[of_alice], &[of_bob]]);
    assert_eq!(base.topic(&state), Some(of_alice), "the old power levels do not come back to allow it");
}

#[test]
fn unconflicted_state_wins_at_the_end() {
    let mut base = Base::new(RoomVersionRules::V11);
    let [alice, power] = [base.alice, base.power];
    let lost = base.join(BOB);
    let kept = base.join(BOB);
    let of_alice = base.add(topic(ALICE), &[alice, power]);
    let newer = base.add(levels(ALICE, json!({ "users": { ALICE: 100, BOB: 50 } })), &[alice, power]);
    let of_bob = base.add(topic(BOB), &[lost, newer]);
    let common = [base.create, alice, base.public, newer, kept];
    let state = base.resolve(&common, &[&[of_alice], &[of_bob]]);
    assert_eq!(base.topic(&state), Some(of_bob), "the lost join was checked with it");
    assert_eq!(base.at(&state, "m.room.member", BOB), Some(kept));
}

#[test]
fn resolution_can_add_a_key_that_no_state_has() {
    let mut base = Base::new(RoomVersionRules::V11);
    let [alice, power] = [base.alice, base.power];
    let bob = base.join(BOB);
    let newer = base.add(levels(ALICE, json!({ "users": { ALICE: 100, BOB: 50 } })), &[alice, power]);
    let of_alice = base.add(topic(ALICE), &[alice, power]);
    let of_bob = base.add(topic(BOB), &[bob, newer]);
    let state = base.resolve(&[base.create, alice, base.public, newer], &[&[of_alice], &[of_bob]]);
    assert_eq!(base.at(&state, "m.room.member", BOB), Some(bob), "from the auth difference");
}

#[test]
fn a_key_that_one_state_lacks_is_in_conflict() {
    let mut base = Base::new(RoomVersionRules::V11);
    let [alice, power] = [base.alice, base.power];
    let carol = base.join(CAROL);
    let own = base.add(topic(CAROL), &[carol, power]);
    let state = base.resolve(&[base.create, alice, base.public, power, carol], &[&[own], &[]]);
    assert_eq!(base.topic(&state), None, "Carol had no power to set it, so no state keeps it");
}

#[test]
fn a_rejected_auth_event_does_not_count_in_the_checks() {
    let mut base = Base::new(RoomVersionRules::V11);
    let [alice, power, public] = [base.alice, base.power, base.public];
    // Accepted as an outlier, rejected in its place: the topic that cites it was accepted in between.
    let join = base.add(member(BOB, BOB, "join").rejected(), &[public, power]);
    let newer = base.add(levels(ALICE, json!({ "users": { ALICE: 100, BOB: 50 } })), &[alice, power]);
    let of_alice = base.add(topic(ALICE), &[alice, power]);
    let of_bob = base.add(topic(BOB), &[join, newer]);
    let state = base.resolve(&[base.create, alice, public, newer], &[&[of_alice], &[of_bob]]);
    assert_eq!(base.topic(&state), Some(of_alice), "Bob is not in the room");
}

/// MSC4297, problem A: the events in conflict are checked against newer state than that in which they were sent.
fn join_under_rules_that_changed(rules: RoomVersionRules) -> (Option<EventNid>, EventNid) {
    let mut base = Base::new(rules);
    let [alice, power] = [base.alice, base.power];
    let bob = base.join(BOB);
    let carol = base.join(CAROL);
    let invite = Draft::new(ALICE, "m.room.join_rules", "", json!({ "join_rule": "invite" }));
    let invite = base.add(invite, &[alice, power]);
    // One state has lost the join that came before the rules changed; both have Carol's, so both reach the old rules.
    let state = base.resolve(&[base.create, alice, power, carol, invite], &[&[bob], &[]]);
    (base.at(&state, "m.room.member", BOB), bob)
}

#[test]
fn v2_1_keeps_a_join_that_the_join_rules_of_its_time_allowed() {
    let (found, bob) = join_under_rules_that_changed(RoomVersionRules::V12);
    assert_eq!(found, Some(bob), "checked from the empty map, by its own auth events");
}

#[test]
fn v2_loses_a_join_that_the_present_join_rules_forbid() {
    let (found, _) = join_under_rules_that_changed(RoomVersionRules::V11);
    assert_eq!(found, None);
}

/// MSC4297, problem B: an event between two in conflict is in every auth chain, and is not checked again.
fn power_levels_with_a_gap(rules: RoomVersionRules) -> (Option<EventNid>, [EventNid; 3]) {
    let mut base = Base::new(rules);
    let [alice, first] = [base.alice, base.power];
    let bob = base.join(BOB);
    let mut users = json!({ BOB: 100 });
    if !base.room.create_is_implied() {
        users[ALICE] = json!(100);
    }
    let second = base.add(levels(ALICE, json!({ "users": users })), &[alice, first]);
    users[CAROL] = json!(50);
    let third = base.add(levels(BOB, json!({ "users": users })), &[bob, second]);
    // Both states have a topic that was set under the third power levels; one of them fell back to the first.
    let common = base.add(topic(BOB), &[bob, third]);
    let state = base.resolve(&[base.create, alice, base.public, bob, common], &[&[first], &[third]]);
    (base.power_levels(&state), [first, second, third])
}

#[test]
fn v2_1_checks_what_lies_between_two_events_in_conflict() {
    let (found, [_, _, third]) = power_levels_with_a_gap(RoomVersionRules::V12);
    assert_eq!(found, Some(third), "the second power levels let Bob send the third");
}

#[test]
fn v2_falls_back_to_the_older_power_levels_over_a_gap() {
    let (found, [first, ..]) = power_levels_with_a_gap(RoomVersionRules::V11);
    assert_eq!(found, Some(first));
}

#[test]
fn a_creator_of_version_12_outranks_every_power_level() {
    let mut base = Base::new(RoomVersionRules::V12);
    let [alice, power] = [base.alice, base.power];
    let bob = base.join(BOB);
    let common_levels = base.add(levels(ALICE, json!({ "users": { BOB: 100 } })), &[alice, power]);
    // Bob's are earlier; checked after Alice's, they fail: he may not touch the 101 that she gave Carol.
    let of_bob = base.add(levels(BOB, json!({ "users": { BOB: 100 } })).ts(100), &[bob, common_levels]);
    let of_alice = levels(ALICE, json!({ "users": { BOB: 100, CAROL: 101 } })).ts(200);
    let of_alice = base.add(of_alice, &[alice, common_levels]);
    let state = base.resolve(&[base.create, alice, base.public, bob], &[&[of_bob], &[of_alice]]);
    assert_eq!(base.power_levels(&state), Some(of_alice));
}

#[test]
fn a_missing_create_event_is_an_error_that_names_the_event() {
    let mut base = Base::new(RoomVersionRules::V11);
    let [alice, power] = [base.alice, base.power];
    for (draft, what) in [(topic(ALICE), "topic"), (levels(ALICE, json!({})), "power-event")] {
        let orphan = base.room.add(draft.id(&format!("$orphan-{what}")).auth(&[alice, power]));
        let states = [base.room.state(&[alice, orphan]), base.room.state(&[alice])];
        let error = base.room.resolve(&states.each_ref()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{what}");
        assert!(error.to_string().contains(&format!("$orphan-{what}")), "{error}");
    }
}

#[test]
fn an_event_without_state_key_among_auth_events_is_an_error() {
    let mut base = Base::new(RoomVersionRules::V11);
    let [alice, power] = [base.alice, base.power];
    let message = base.add(topic(ALICE).id("$message"), &[alice, power]);
    let event = std::sync::Arc::make_mut(&mut base.room.events[message.number() as usize - 1].event);
    (event.tuple, event.state_key) = (None, None);
    let named = base.add(topic(ALICE), &[alice, power, message]);
    let states = [base.room.state(&[base.create, alice, named]), base.room.state(&[base.create, alice])];
    let error = base.room.resolve(&states.each_ref()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("$message"), "{error}");
}

#[test]
fn a_conflict_with_a_wrong_number_of_values_is_an_error() {
    let base = Base::new(RoomVersionRules::V11);
    let states = [base.room.state(&[base.create]), base.room.state(&[base.create, base.alice])];
    let mut view = View::new(&base.room, &states.each_ref());
    view.conflicts[0].events.pop();
    assert_eq!(view.resolve().unwrap_err().kind(), ErrorKind::Internal);
}
