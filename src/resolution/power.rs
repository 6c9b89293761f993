//! Power events of v2 and their order.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    sync::Arc,
};

use rustc_hash::FxHashMap;

use super::{
    auth::{self, Power},
    content::{Content, Membership, types},
    event::AuthEvent,
    iterative::no_create_event,
    loaded::Loaded,
    rules::Rules,
};
use crate::{
    error::{Error, ErrorKind, Result},
    ids::EventNid,
};

/// The power events of the full conflicted set, with those events of their auth chains that belong to it.
///
/// A chain is followed only as far as it stays within the set, as servers do. An event of the set that it would meet
/// again further down is conflicted state below unconflicted state, and is left to its own kind.
pub(super) fn with_auth_chains(room: &Loaded<'_>, full: &BTreeSet<EventNid>) -> Result<BTreeSet<EventNid>> {
    let mut selected = BTreeSet::new();
    // An event's auth events have smaller numbers, so one descent meets each event after all that name it.
    for &nid in full.iter().rev() {
        let event = room.event(nid)?;
        if selected.contains(&nid) || is_power_event(&event) {
            selected.insert(nid);
            selected.extend(event.auth_events.iter().filter(|auth_event| full.contains(auth_event)));
        }
    }
    Ok(selected)
}

/// "A power event is a state event with type m.room.power_levels or m.room.join_rules, or a state event with type
/// m.room.member where the membership is leave or ban and the sender does not match the state_key."
///
/// Servers count the create event as well, and the first two only where the rules read them, at the empty state key.
fn is_power_event(event: &AuthEvent) -> bool {
    let state_key = event.state_key.as_deref();
    match &event.content {
        Content::PowerLevels(_) | Content::JoinRules(_) | Content::Create(_) => state_key == Some(""),
        Content::Member(member) => {
            matches!(member.membership, Membership::Leave | Membership::Ban) && state_key != Some(&*event.sender)
        }
        _ => false,
    }
}

/// What the ordering compares, smallest first: "1. x's sender has greater power level than y's sender, when looking at
/// their respective auth_events; or 2. [...] x's origin_server_ts is less than y's origin_server_ts; or 3. [...] x's
/// event_id is less than y's event_id."
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    power: Reverse<Power>,
    origin_server_ts: i64,
    event_id: Box<str>,
    nid: EventNid,
}

/// Sorts events by the reverse topological power ordering: "Kahn's algorithm for topological sorting, and at each step
/// selecting, among all the candidate vertices, the smallest vertex using the above comparison relation".
pub(super) fn reverse_topological_power_ordering(
    rules: &Rules<'_>,
    room: &Loaded<'_>,
    events: &BTreeSet<EventNid>,
) -> Result<Vec<EventNid>> {
    // How many auth events of each event are still to come, and who waits for each.
    let mut awaited: FxHashMap<EventNid, usize> = FxHashMap::default();
    let mut waiting: FxHashMap<EventNid, Vec<EventNid>> = FxHashMap::default();
    let mut candidates = BinaryHeap::new();
    for &nid in events {
        let event = room.event(nid)?;
        let before: BTreeSet<_> = event.auth_events.iter().filter(|auth_event| events.contains(auth_event)).collect();
        if before.is_empty() {
            candidates.push(Reverse(rank(rules, room, nid)?));
        }
        awaited.insert(nid, before.len());
        for &auth_event in before {
            waiting.entry(auth_event).or_default().push(nid);
        }
    }
    let mut ordered = Vec::with_capacity(events.len());
    while let Some(Reverse(Rank { nid, .. })) = candidates.pop() {
        ordered.push(nid);
        for later in waiting.remove(&nid).unwrap_or_default() {
            let Some(left) = awaited.get_mut(&later) else { continue };
            *left -= 1;
            if *left == 0 {
                candidates.push(Reverse(rank(rules, room, later)?));
            }
        }
    }
    Ok(ordered)
}

fn rank(rules: &Rules<'_>, room: &Loaded<'_>, nid: EventNid) -> Result<Rank> {
    let event = room.event(nid)?;
    let power = Reverse(sender_power(rules, room, &event)?);
    Ok(Rank { power, origin_server_ts: event.origin_server_ts, event_id: event.event_id.clone(), nid })
}

/// The power of an event's sender, by the event's own auth events.
fn sender_power(rules: &Rules<'_>, room: &Loaded<'_>, event: &Arc<AuthEvent>) -> Result<Power> {
    let create = if event.is_at(types::CREATE, "") {
        Some(Arc::clone(event))
    } else if let Some(create) = rules.implied_create(types::CREATE, "") {
        Some(room.event(create)?)
    } else {
        room.auth_event_at(event, types::CREATE)?.map(|(_, create)| create)
    };
    let create = create.ok_or_else(|| no_create_event(event))?;
    let power_levels = room.auth_event_at(event, types::POWER_LEVELS)?.map(|(_, power_levels)| power_levels);
    auth::user_power_level(rules.version, &event.sender, power_levels.as_deref(), &create)
        .map_err(|reason| Error::new(ErrorKind::Corrupt, format!("auth events of event {}: {reason}", event.event_id)))
}
