//! State resolution v1 (room version 1): `rooms/v1`, "State resolution".

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sha1::{Digest, Sha1};

use super::{
    Conflict,
    content::types,
    event::{AuthEvent, AuthState},
    iterative::{PartialState, no_create_event},
    loaded::Loaded,
    rules::{Resolved, Rules},
};
use crate::{
    error::Result,
    ids::{EventNid, StateTuple},
};

/// A key and the different events that the states have there, by ascending depth, then descending SHA-1 of the ID.
struct Candidates {
    tuple: StateTuple,
    events: Vec<(EventNid, Arc<AuthEvent>)>,
}

/// The passes, in order; each sees what those before it resolved, and nothing of its own but the key at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    PowerLevels,
    JoinRules,
    Members,
    Others,
}

/// Resolves by v1.
pub(super) fn resolve(rules: &Rules<'_>, conflicts: &[Conflict], room: &Loaded<'_>) -> Result<Resolved> {
    // "Start by setting R to the union of the states to be resolved, excluding any conflicting events." A conflict
    // occurs "where those states have different event_ids": a key that some states lack is none.
    let mut state = PartialState { room, on_unconflicted: true, resolved: BTreeMap::new() };
    let mut conflicting = Vec::new();
    for conflict in conflicts {
        let candidates = candidates(conflict, room)?;
        if let [(nid, _)] = candidates.events.as_slice() {
            state.resolved.insert(conflict.tuple, *nid);
        } else {
            conflicting.push(candidates);
        }
    }
    // "First we resolve conflicts between m.room.power_levels events." "Repeat the above process for conflicts between
    // m.room.join_rules events." "Repeat the above process for conflicts between m.room.member events."
    for pass in [Pass::PowerLevels, Pass::JoinRules, Pass::Members, Pass::Others] {
        let mut chosen = Vec::new();
        for candidates in conflicting.iter().filter(|candidates| pass_of(candidates) == pass) {
            let nid = match pass {
                Pass::Others => newest_allowed(rules, &state, candidates)?,
                Pass::PowerLevels | Pass::JoinRules | Pass::Members => last_of_allowed(rules, &state, candidates)?,
            };
            chosen.extend(nid.map(|nid| (candidates.tuple, nid)));
        }
        // The text leaves open whether a resolved member counts for the next one. Servers check each key against the
        // state as it was before the pass.
        state.resolved.extend(chosen);
    }
    let tuples: BTreeSet<_> = conflicts.iter().map(|conflict| conflict.tuple).collect();
    Ok(tuples.into_iter().map(|tuple| (tuple, state.resolved.get(&tuple).copied())).collect())
}

/// Orders the different events at a key.
fn candidates(conflict: &Conflict, room: &Loaded<'_>) -> Result<Candidates> {
    let mut nids: Vec<_> = conflict.events.iter().flatten().copied().collect();
    nids.sort_unstable();
    nids.dedup();
    let mut events = Vec::with_capacity(nids.len());
    for nid in nids {
        events.push((nid, room.event(nid)?));
    }
    events.sort_by_cached_key(|(_, event)| (event.depth, Reverse(Sha1::digest(event.event_id.as_bytes()))));
    Ok(Candidates { tuple: conflict.tuple, events })
}

/// The pass that resolves a key.
fn pass_of(candidates: &Candidates) -> Pass {
    match candidates.events.first() {
        Some((_, event)) if event.is_at(types::POWER_LEVELS, "") => Pass::PowerLevels,
        Some((_, event)) if &*event.event_type == types::JOIN_RULES => Pass::JoinRules,
        Some((_, event)) if &*event.event_type == types::MEMBER => Pass::Members,
        _ => Pass::Others,
    }
}

/// "Sort the list by ascending depth then descending sha1(event_id). Add the first event in the list to R. For each
/// subsequent event in the list, check that the event would be allowed by the authorisation rules for a room in state
/// R. If the event would be allowed, then update R with the event and continue with the next event in the list. If it
/// would not be allowed, stop."
fn last_of_allowed(rules: &Rules<'_>, state: &PartialState<'_>, candidates: &Candidates) -> Result<Option<EventNid>> {
    let mut last = None;
    for (nid, event) in &candidates.events {
        let allowed = match last {
            None => true,
            Some((_, candidate)) => rules.allow(event, &StateWithCandidate { state, candidate, event })?,
        };
        if !allowed {
            break;
        }
        last = Some((*nid, Some(event)));
    }
    Ok(last.map(|(nid, _)| nid))
}

/// "Pick the event with the highest depth and lowest sha1(event_id) that passes authentication in R."
///
/// The text leaves open what happens if none passes. Servers take the one of least depth.
fn newest_allowed(rules: &Rules<'_>, state: &PartialState<'_>, candidates: &Candidates) -> Result<Option<EventNid>> {
    for (nid, event) in candidates.events.iter().rev() {
        if rules.allow(event, &StateWithCandidate { state, candidate: None, event })? {
            return Ok(Some(*nid));
        }
    }
    Ok(candidates.events.first().map(|&(nid, _)| nid))
}

/// R, with the candidate that its own key has so far.
struct StateWithCandidate<'a> {
    state: &'a PartialState<'a>,
    candidate: Option<&'a Arc<AuthEvent>>,
    /// The event that is checked.
    event: &'a AuthEvent,
}

impl AuthState for StateWithCandidate<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Result<Option<Arc<AuthEvent>>> {
        if let Some(candidate) = self.candidate.filter(|candidate| candidate.is_at(event_type, state_key)) {
            return Ok(Some(Arc::clone(candidate)));
        }
        match self.state.get(event_type, state_key)? {
            Some(nid) => self.state.room.event(nid).map(Some),
            None if (event_type, state_key) == (types::CREATE, "") => Err(no_create_event(self.event)),
            None => Ok(None),
        }
    }
}
