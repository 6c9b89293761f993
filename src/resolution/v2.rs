//! State resolution v2 (room versions 2 to 11) and v2.1 (from 12 on): `rooms/v2` and `rooms/v12`, "State resolution".

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::room_version_rules::StateResolutionV2Rules;

use super::{
    Conflict,
    auth_difference::auth_difference,
    content::types,
    iterative::{PartialState, iterative_auth_checks},
    loaded::Loaded,
    mainline::mainline_ordering,
    power,
    rules::{Resolved, Rules},
    subgraph::conflicted_state_subgraph,
};
use crate::{error::Result, ids::EventNid};

/// Resolves by v2, or by v2.1 where `v2_rules` say so.
pub(super) fn resolve(
    rules: &Rules<'_>,
    v2_rules: &StateResolutionV2Rules,
    sets: usize,
    conflicts: &[Conflict],
    room: &Loaded<'_>,
) -> Result<Resolved> {
    let full_conflicted_set = full_conflicted_set(v2_rules, sets, conflicts, room)?;

    // 1. "Select the set X of all power events that appear in the full conflicted set. For each such power event P,
    // enlarge X by adding the events in the auth chain of P which also belong to the full conflicted set. Sort X into
    // a list using the reverse topological power ordering."
    let power_events = power::with_auth_chains(room, &full_conflicted_set)?;
    let ordered = power::reverse_topological_power_ordering(rules, room, &power_events)?;

    // 2. "Apply the iterative auth checks algorithm, starting from the unconflicted state map, to the list of events
    // from the previous step to get a partially resolved state." In v2.1: "starting from an empty state map".
    let on_unconflicted = !v2_rules.begin_iterative_auth_checks_with_empty_state_map;
    let mut state = PartialState { room, on_unconflicted, resolved: BTreeMap::new() };
    iterative_auth_checks(rules, &mut state, &ordered)?;

    // 3. "Take all remaining events that weren't picked in step 1 and order them by the mainline ordering based on the
    // power level in the partially resolved state obtained in step 2."
    let power_levels = state.get(types::POWER_LEVELS, "")?;
    let remaining = &full_conflicted_set - &power_events;
    let ordered = mainline_ordering(room, power_levels, &remaining)?;

    // 4. "Apply the iterative auth checks algorithm on the partial resolved state and the list of events from the
    // previous step."
    iterative_auth_checks(rules, &mut state, &ordered)?;

    // 5. "Update the result by replacing any event with the event with the same key from the unconflicted state map,
    // if such an event exists, to get the final resolved state."
    let mut result: BTreeMap<_, _> = conflicts.iter().map(|conflict| (conflict.tuple, None)).collect();
    for (tuple, nid) in state.resolved {
        if room.store.unconflicted(tuple)?.is_none() {
            result.insert(tuple, Some(nid));
        }
    }
    Ok(result.into_iter().collect())
}

/// "The full conflicted set is the union of the conflicted state set and the auth difference." In v2.1: "the union of
/// the conflicted state set, the conflicted state subgraph, and the auth difference".
fn full_conflicted_set(
    v2_rules: &StateResolutionV2Rules,
    sets: usize,
    conflicts: &[Conflict],
    room: &Loaded<'_>,
) -> Result<BTreeSet<EventNid>> {
    let conflicted: BTreeSet<_> = conflicts.iter().flat_map(|conflict| &conflict.events).flatten().copied().collect();
    let mut full: BTreeSet<_> = auth_difference(room, sets, conflicts, &conflicted)?.into_iter().collect();
    if v2_rules.consider_conflicted_state_subgraph {
        full.extend(conflicted_state_subgraph(room, &conflicted)?);
    }
    full.extend(conflicted);
    Ok(full)
}
