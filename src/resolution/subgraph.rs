//! The conflicted state subgraph of v2.1.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use super::{content::types, event::AuthEvent, loaded::Loaded};
use crate::{error::Result, ids::EventNid};

/// Finds the events on the ways from one conflicted event to another, both included, in ascending order.
///
/// "Starting from an event in the conflicted state set and following auth_events edges may lead to another event in
/// the conflicted state set. The union of all such paths between any pair of events in the conflicted state set
/// (including endpoints) forms a subgraph of the original auth_event graph, called the conflicted state subgraph."
pub(super) fn conflicted_state_subgraph(room: &Loaded<'_>, conflicted: &BTreeSet<EventNid>) -> Result<Vec<EventNid>> {
    // A way cannot lead below its end, so the lowest event at which one can end bounds the walk down.
    let mut lowest = None;
    for &nid in conflicted {
        if can_be_named(&*room.event(nid)?) {
            lowest = Some(nid);
            break;
        }
    }
    let Some(lowest) = lowest else { return Ok(Vec::new()) };

    let mut frontier: BTreeSet<EventNid> = conflicted.range(lowest..).copied().collect();
    let mut visited = Vec::new();
    while let Some(nid) = frontier.pop_last() {
        let event = room.event(nid)?;
        frontier.extend(event.auth_events.iter().filter(|&&auth_event| auth_event >= lowest));
        visited.push((nid, event));
    }

    // All of these are reached from a conflicted event; those that also lead to one are on a way.
    let mut leads = FxHashSet::default();
    let mut subgraph = Vec::new();
    for (nid, event) in visited.into_iter().rev() {
        if conflicted.contains(&nid) || event.auth_events.iter().any(|auth_event| leads.contains(auth_event)) {
            leads.insert(nid);
            subgraph.push(nid);
        }
    }
    Ok(subgraph)
}

/// Tells whether an event can be another's auth event: the rules refuse events that name any other type.
fn can_be_named(event: &AuthEvent) -> bool {
    matches!(
        &*event.event_type,
        types::CREATE | types::POWER_LEVELS | types::JOIN_RULES | types::MEMBER | types::THIRD_PARTY_INVITE
    )
}
