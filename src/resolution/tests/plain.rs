//! Resolution v1 as the specification tells it, on full states and by strings.

use std::{cmp::Reverse, collections::BTreeSet};

use sha1::{Digest, Sha1};

use super::room::{PlainState, Room, State};
use crate::{
    ids::{EventNid, StateTuple},
    resolution::auth,
};

pub(super) fn resolve_v1(room: &Room, states: &[&State]) -> State {
    let mut resolved = State::new();
    let mut conflicts: Vec<(StateTuple, Vec<EventNid>)> = Vec::new();
    for tuple in states.iter().flat_map(|state| state.keys()).collect::<BTreeSet<_>>() {
        let nids: BTreeSet<_> = states.iter().filter_map(|state| state.get(tuple).copied()).collect();
        let mut nids: Vec<_> = nids.into_iter().collect();
        match nids[..] {
            [nid] => {
                resolved.insert(*tuple, nid);
            }
            _ => {
                let hash = |nid: &EventNid| Sha1::digest(room.event(*nid).event_id.as_bytes());
                nids.sort_by_key(|nid| (room.event(*nid).depth, Reverse(hash(nid))));
                conflicts.push((*tuple, nids));
            }
        }
    }
    for pass in ["m.room.power_levels", "m.room.join_rules", "m.room.member", ""] {
        let before = resolved.clone();
        for (tuple, nids) in &conflicts {
            let event = room.event(nids[0]);
            let own = match &*event.event_type {
                "m.room.power_levels" if event.state_key.as_deref() != Some("") => "",
                kind @ ("m.room.power_levels" | "m.room.join_rules" | "m.room.member") => kind,
                _ => "",
            };
            if own != pass {
                continue;
            }
            let mut choice = nids[0];
            if pass.is_empty() {
                choice = nids.iter().rev().copied().find(|&nid| allowed(room, &before, nid)).unwrap_or(choice);
            } else {
                for &nid in &nids[1..] {
                    let mut state = before.clone();
                    state.insert(*tuple, choice);
                    if !allowed(room, &state, nid) {
                        break;
                    }
                    choice = nid;
                }
            }
            resolved.insert(*tuple, choice);
        }
    }
    resolved
}

fn allowed(room: &Room, state: &State, nid: EventNid) -> bool {
    auth::check(&room.rules, room.event(nid), &PlainState { room, state }).unwrap().is_ok()
}
