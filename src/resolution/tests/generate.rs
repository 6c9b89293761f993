//! Random rooms: forks of bans, kicks, power levels, join rules, topics, joins and leaves, with ties in time.
//!
//! A room is played from a list of small steps, so that a failing one shrinks to few steps.

use proptest::{
    collection::vec,
    prelude::any,
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use ruma_common::room_version_rules::RoomVersionRules;
use serde_json::{Value, json};

use super::room::{ALICE, BOB, CAROL, Draft, Room, State};
use crate::ids::EventNid;

/// One attempt to send an event; the rules may refuse it.
#[derive(Debug, Clone)]
pub(super) struct Step {
    parents: Vec<u8>,
    sender: u8,
    action: u8,
    target: u8,
    value: u8,
    ts: u8,
    rejected: bool,
}

const USERS: [&str; 5] = [ALICE, BOB, CAROL, "@dan:one", "@eve:three"];

/// How far back a parent can be, in events.
const REACH: usize = 8;

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let parents = proptest::prop_oneof![
        4 => vec(any::<u8>(), 1),
        3 => vec(any::<u8>(), 2),
        1 => vec(any::<u8>(), 3..=5),
    ];
    let step = (parents, 0..8_u8, 0..18_u8, 0..5_u8, any::<u8>(), 0..6_u8, proptest::bool::weighted(0.02));
    let step = step.prop_map(|(parents, sender, action, target, value, ts, rejected)| Step {
        parents,
        sender,
        action,
        target,
        value,
        ts,
        rejected,
    });
    vec(step, 8..48)
}

/// Runs a property on as many random inputs as `ROOMSERVER_CASES` says, or 500; the same ones each time.
///
/// Below 50 the examples that some tests ask for may be missing.
pub(super) fn check<S: Strategy>(strategy: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let cases = std::env::var("ROOMSERVER_CASES").ok().map_or(500, |cases| cases.parse().unwrap());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    match runner.run(&strategy, property) {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => panic!("{reason}\nfor {value:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// A room that was played, with the state after each of its events.
pub(super) struct Played {
    pub(super) room: Room,
    pub(super) after: Vec<State>,
}

/// Plays a room; `merge` is told of the states after the parents of each event, and gives the state before it.
pub(super) fn play<E>(
    rules: RoomVersionRules,
    steps: &[Step],
    mut merge: impl FnMut(&Room, &[&State]) -> Result<State, E>,
) -> Result<Played, E> {
    let (room, first) = Room::public(rules);
    let after = (1..=first.len()).map(|count| room.state(&first[..count])).collect();
    let mut played = Played { room, after };
    for step in steps {
        let newest = played.after.len() - 1;
        let mut parents: Vec<_> =
            step.parents.iter().map(|&back| newest - usize::from(back) % REACH.min(newest)).collect();
        parents.sort_unstable();
        parents.dedup();
        let states: Vec<_> = parents.iter().map(|&place| &played.after[place]).collect();
        let before = merge(&played.room, &states)?;
        let depth = parents.iter().map(|&place| played.room.events[place].event.depth).max().unwrap();
        let draft = draft(&played.room, &before, step).depth(depth + 1);
        if !played.room.allows(&before, &draft) {
            continue;
        }
        let nid = played.room.add_in(&before, draft);
        let mut after = before;
        after.insert(played.room.event(nid).tuple.unwrap(), nid);
        played.after.push(after);
    }
    Ok(played)
}

fn draft(room: &Room, before: &State, step: &Step) -> Draft {
    let sender = [ALICE, ALICE, ALICE, BOB, BOB, CAROL, USERS[3], USERS[4]][usize::from(step.sender)];
    let target = USERS[usize::from(step.target)];
    let member =
        |user: &str, membership: &str| Draft::new(sender, "m.room.member", user, json!({ "membership": membership }));
    let draft = match step.action {
        0..=3 => {
            let user = if step.value.is_multiple_of(2) { sender } else { target };
            let mut content = json!({ "membership": "join" });
            if step.value % 8 == 7 {
                content["join_authorised_via_users_server"] = json!(ALICE);
            }
            Draft::new(user, "m.room.member", user, content)
        }
        4 => member(sender, "leave"),
        5 | 6 => member(target, "leave"),
        7 | 8 => member(target, "ban"),
        9 => member(target, "invite"),
        10 => member(sender, "knock"),
        11..=13 => Draft::new(sender, "m.room.power_levels", "", power_levels(room, before, target, step.value)),
        14 => {
            let rule = ["public", "public", "invite", "knock", "restricted"][usize::from(step.value) % 5];
            Draft::new(sender, "m.room.join_rules", "", json!({ "join_rule": rule, "allow": [] }))
        }
        15 => Draft::new(sender, "m.room.name", "", json!({})),
        16 if step.value.is_multiple_of(3) => Draft::new(sender, "m.room.third_party_invite", "token", json!({})),
        16 => Draft::new(sender, "org.example.own", sender, json!({})),
        _ => Draft::new(sender, "m.room.topic", "", json!({})),
    };
    // Some of them before 1970, which anybody may claim.
    let draft = draft.ts(i64::from(step.ts) - 2);
    if step.rejected { draft.rejected() } else { draft }
}

/// The power levels of a state with one change.
fn power_levels(room: &Room, before: &State, target: &str, value: u8) -> Value {
    let current = room.find_tuple("m.room.power_levels", "").and_then(|tuple| before.get(&tuple));
    let mut content = current.map_or(json!({}), |nid| room.events[nid.number() as usize - 1].json["content"].clone());
    let level = [0, 25, 50, 50, 100][usize::from(value) / 8 % 5];
    match value % 8 {
        0..=4 => content["users"][target] = json!(level),
        5 => content["users_default"] = json!(level),
        6 => content["events"]["m.room.topic"] = json!(level),
        _ => content[["ban", "kick", "invite", "state_default"][usize::from(value) / 64]] = json!(level),
    }
    content
}

/// States that no graph has led to: each key has any of its events, or none, often the same in all.
pub(super) fn wild_states(room: &Room, sets: usize, seed: u64) -> Vec<State> {
    let mut random = seed | 1;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap() % below
    };
    let mut by_key: std::collections::BTreeMap<_, Vec<EventNid>> = Default::default();
    for (place, event) in room.events.iter().enumerate() {
        let nid = EventNid::new(u32::try_from(place + 1).unwrap()).unwrap();
        by_key.entry(event.event.tuple.unwrap()).or_default().push(nid);
    }
    let mut states = vec![State::new(); sets];
    for (tuple, events) in by_key {
        let shared = next(3) > 0 || &*room.event(events[0]).event_type == "m.room.create";
        let first = events[next(events.len())];
        for state in &mut states {
            let picked = if shared { Some(first) } else { events.get(next(events.len() + 1)).copied() };
            state.extend(picked.map(|nid| (tuple, nid)));
        }
    }
    states
}
