//! Resolution v1 as the specification tells it, on full states: for the tests here and for the integration tests, each
//! with its own events and its own authorisation.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use sha1::{Digest as _, Sha1};

/// Resolves states: `rank` tells an event's depth and ID, `name` the type and state key of a key, `allowed` whether the
/// rules allow an event in a state.
pub fn resolve_v1<K: Ord + Clone, E: Ord + Copy>(
    states: &[&BTreeMap<K, E>],
    rank: impl Fn(&E) -> (i64, String),
    name: impl Fn(&K) -> (String, String),
    allowed: impl Fn(&BTreeMap<K, E>, &E) -> bool,
) -> BTreeMap<K, E> {
    let mut resolved = BTreeMap::new();
    let mut conflicts: Vec<(&K, Vec<E>)> = Vec::new();
    for key in states.iter().flat_map(|state| state.keys()).collect::<BTreeSet<_>>() {
        let events: BTreeSet<E> = states.iter().filter_map(|state| state.get(key).copied()).collect();
        let mut events: Vec<E> = events.into_iter().collect();
        if let [event] = events[..] {
            resolved.insert(key.clone(), event);
            continue;
        }
        events.sort_by_key(|event| {
            let (depth, id) = rank(event);
            (depth, Reverse(Sha1::digest(id.as_bytes())))
        });
        conflicts.push((key, events));
    }
    for pass in ["m.room.power_levels", "m.room.join_rules", "m.room.member", ""] {
        let before = resolved.clone();
        for (key, events) in &conflicts {
            let (event_type, state_key) = name(key);
            let own = match (event_type.as_str(), state_key.as_str()) {
                ("m.room.power_levels", "") => "m.room.power_levels",
                (kind @ ("m.room.join_rules" | "m.room.member"), _) => kind,
                _ => "",
            };
            if own != pass {
                continue;
            }
            let mut choice = events[0];
            if pass.is_empty() {
                choice = events.iter().rev().copied().find(|event| allowed(&before, event)).unwrap_or(choice);
            } else {
                for event in &events[1..] {
                    let mut state = before.clone();
                    state.insert((*key).clone(), choice);
                    if !allowed(&state, event) {
                        break;
                    }
                    choice = *event;
                }
            }
            resolved.insert((*key).clone(), choice);
        }
    }
    resolved
}
