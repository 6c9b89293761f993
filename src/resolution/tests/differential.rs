//! Random rooms, resolved here and by others: `ruma-state-res` for v2 and v2.1, a plain transcription for v1.

use std::cell::{Cell, RefCell};

use proptest::{prelude::any, test_runner::TestCaseError};
use ruma_common::room_version_rules::RoomVersionRules;

use super::{
    generate::{check, play, steps, wild_states},
    plain,
    room::{Room, State},
    ruma::{AS_SPECIFIED, Oracle, Variant},
};

/// How many resolutions there were, and how many of them show that a part of the algorithm matters.
#[derive(Default)]
struct Shown {
    merges: Cell<usize>,
    auth_difference: Cell<usize>,
    unconflicted_in_chains: Cell<usize>,
    subgraph: Cell<usize>,
    from_empty: Cell<usize>,
}

/// Enough examples of a part: they are costly to look for.
const EXAMPLES: usize = 5;

impl Shown {
    fn look(&self, oracle: &mut Oracle, room: &Room, states: &[&State], expected: &State) {
        let without = [
            (&self.auth_difference, Variant { auth_difference: false, ..AS_SPECIFIED }),
            (&self.unconflicted_in_chains, Variant { unconflicted_in_chains: false, ..AS_SPECIFIED }),
            (&self.subgraph, Variant { subgraph: false, ..AS_SPECIFIED }),
            (&self.from_empty, Variant { from_empty: false, ..AS_SPECIFIED }),
        ];
        for (count, variant) in without {
            if count.get() < EXAMPLES && oracle.resolve(room, states, variant) != *expected {
                count.set(count.get() + 1);
            }
        }
    }
}

/// Resolves states here and by the oracle.
fn agree(oracle: &mut Oracle, shown: &Shown, room: &Room, states: &[&State]) -> Result<State, TestCaseError> {
    let resolved = room.resolve(states).map_err(|error| TestCaseError::fail(error.to_string()))?;
    if states.iter().all(|state| *state == states[0]) {
        return Ok(resolved);
    }
    shown.merges.set(shown.merges.get() + 1);
    let expected = oracle.resolve(room, states, AS_SPECIFIED);
    if resolved != expected {
        return Err(TestCaseError::fail(difference(room, states, &resolved, &expected)));
    }
    shown.look(oracle, room, states, &expected);
    Ok(resolved)
}

fn difference(room: &Room, states: &[&State], resolved: &State, expected: &State) -> String {
    let events: Vec<_> = room.events.iter().map(|event| format!("{:?}\n", event.event)).collect();
    format!("resolved {resolved:?}\nexpected {expected:?}\nof {states:#?}\nin {}", events.concat())
}

/// Plays random rooms of some versions; compares each merge, and states that no graph leads to.
fn compare(versions: &[RoomVersionRules]) -> Shown {
    let shown = Shown::default();
    check((steps(), any::<u8>(), 2..=5_usize, any::<u64>()), |(steps, version, sets, seed)| {
        let rules = versions[usize::from(version) % versions.len()].clone();
        let oracle = RefCell::new(Oracle::default());
        let merge = |room: &Room, states: &[&State]| agree(&mut oracle.borrow_mut(), &shown, room, states);
        let played = play(rules, &steps, merge)?;
        for seed in [seed, !seed] {
            let states = wild_states(&played.room, sets, seed);
            let states: Vec<_> = states.iter().collect();
            agree(&mut oracle.borrow_mut(), &shown, &played.room, &states)?;
        }
        Ok(())
    });
    assert!(shown.merges.get() > 0);
    assert!(shown.auth_difference.get() > 0, "leaving the auth difference out has changed no answer");
    assert!(shown.unconflicted_in_chains.get() > 0, "unconflicted state in the chains has changed no answer");
    shown
}

#[test]
fn v2_gives_the_answers_of_ruma_on_random_rooms() {
    compare(&[
        RoomVersionRules::V6,
        RoomVersionRules::V7,
        RoomVersionRules::V8,
        RoomVersionRules::V9,
        RoomVersionRules::V10,
        RoomVersionRules::V11,
    ]);
}

#[test]
fn v2_1_gives_the_answers_of_ruma_on_random_rooms() {
    let shown = compare(&[RoomVersionRules::V12]);
    assert!(shown.subgraph.get() > 0, "leaving the conflicted state subgraph out has changed no answer");
    assert!(shown.from_empty.get() > 0, "starting from the unconflicted state has changed no answer");
}

#[test]
fn v1_gives_the_answers_of_the_plain_transcription_on_random_rooms() {
    let conflicts = Cell::new(0_usize);
    let agree = |room: &Room, states: &[&State]| {
        let resolved = room.resolve(states).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let expected = plain::resolve_v1(room, states);
        if resolved != expected {
            return Err(TestCaseError::fail(difference(room, states, &resolved, &expected)));
        }
        conflicts.set(conflicts.get() + usize::from(states.iter().any(|state| *state != states[0])));
        Ok(resolved)
    };
    check((steps(), 2..=5_usize, any::<u64>()), |(steps, sets, seed)| {
        let played = play(RoomVersionRules::V1, &steps, agree)?;
        let states = wild_states(&played.room, sets, seed);
        agree(&played.room, &states.iter().collect::<Vec<_>>())?;
        Ok(())
    });
    assert!(conflicts.get() > 0);
}
