//! Resolution v1 by its text, with the engine's own authorisation.

use super::{
    room::{PlainState, Room, State},
    text_v1,
};
use crate::{ids::EventNid, resolution::auth};

pub(super) fn resolve_v1(room: &Room, states: &[&State]) -> State {
    let rank = |nid: &EventNid| (room.event(*nid).depth, room.event(*nid).event_id.to_string());
    let allowed = |state: &State, nid: &EventNid| {
        auth::check(&room.rules, room.event(*nid), &PlainState { room, state }).unwrap().is_ok()
    };
    text_v1::resolve_v1(states, rank, |tuple| room.name(*tuple), allowed)
}
