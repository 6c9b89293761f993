//! Derived tables that rooms share.

use std::collections::BTreeSet;

use super::streams::{Check, RowStream, unless_damaged};
use crate::{
    encoding::{event_key::EventKey, keys},
    error::Result,
    ids::{EventNid, RoomNid, StateKeyNid, StateTuple},
    tables::{
        EVENT_INDEX, USER_ROOMS, WANTED,
        current::encode_membership,
        event_ids::{decode_candidates, encode_candidates},
        interning::member_type,
        parked::{ParkedRow, decode_wanted},
    },
};

/// Checks that every candidate of the index is an event whose key begins so, and that no event has two numbers.
///
/// That every event is there is checked with the events.
pub(super) fn check_index(check: &mut Check<'_>, purges: &BTreeSet<RoomNid>) -> Result<()> {
    let mut rows = RowStream::new(check, EVENT_INDEX, &[]);
    while let Some((key, value)) = rows.next(check)? {
        let Some(candidates) = check.decoded(EVENT_INDEX, &key, decode_candidates(&value)) else { continue };
        let ascend = candidates.is_sorted_by(|a, b| a < b) && !candidates.is_empty();
        if !ascend || encode_candidates(&candidates) != value {
            check.problem(EVENT_INDEX, &key, "candidates that do not ascend, or none");
        }
        let mut seen = Vec::with_capacity(candidates.len());
        for (room, event) in candidates.into_iter().filter(|(room, _)| !purges.contains(room)) {
            let Some(event_key) = key_of(check, room, event)? else {
                let what = format!("event {} of room {} is not in the store", event.number(), room.number());
                check.problem(EVENT_INDEX, &key, what);
                continue;
            };
            if event_key.prefix() != *key {
                let what = format!("the ID of event {} of room {} begins otherwise", event.number(), room.number());
                check.problem(EVENT_INDEX, &key, what);
            }
            if seen.contains(&(room, event_key)) {
                let what = format!("one event of room {} has two numbers", room.number());
                check.problem(EVENT_INDEX, &key, what);
            }
            seen.push((room, event_key));
        }
    }
    Ok(())
}

/// The key of an event; `None` if it is not here or cannot be read.
fn key_of(check: &Check<'_>, room: RoomNid, event: EventNid) -> Result<Option<EventKey>> {
    let Some(room) = unless_damaged(check.rows().room(room))? else { return Ok(None) };
    Ok(unless_damaged(check.rows().event_identity(&room, event))?.map(|identity| identity.key))
}

/// Checks that every membership by user is one of the current state of its room.
///
/// That every membership of a current state is there is checked with the current state.
pub(super) fn check_memberships(check: &mut Check<'_>, purges: &BTreeSet<RoomNid>) -> Result<()> {
    let mut rows = RowStream::new(check, USER_ROOMS, &[]);
    while let Some((key, value)) = rows.next(check)? {
        let numbers = key.split_first_chunk::<4>().filter(|_| key.len() == 8);
        let user = numbers.and_then(|(user, _)| StateKeyNid::new(u32::from_be_bytes(*user)));
        let room = keys::last_number(&key).and_then(RoomNid::new);
        let (Some(state_key), Some(room), Some(event_type)) = (user, room, member_type()) else {
            check.problem(USER_ROOMS, &key, "a key that names no user and room");
            continue;
        };
        if purges.contains(&room) {
            continue;
        }
        let entry = check.rows().current_entry(room, StateTuple { event_type, state_key });
        let entry = check.readable(USER_ROOMS, &key, entry)?.flatten();
        let membership = entry.and_then(|entry| entry.membership).map(|membership| encode_membership(&key, membership));
        if membership.is_none_or(|membership| value != membership) {
            check.problem(USER_ROOMS, &key, "not what the current state of the room says");
        }
    }
    Ok(())
}

/// Checks that every row of what is wanted is of a parked input that names this event and lacked it.
///
/// That every such event is there is checked with the parked inputs.
pub(super) fn check_wanted(check: &mut Check<'_>, purges: &BTreeSet<RoomNid>) -> Result<()> {
    let mut rows = RowStream::new(check, WANTED, &[]);
    while let Some((key, value)) = rows.next(check)? {
        let Some((wanted, room, order)) = keys::parts_of_wanted(&key) else {
            check.problem(WANTED, &key, "a key that names no event and room");
            continue;
        };
        if purges.contains(&room) {
            continue;
        }
        let Some(waiting) = check.decoded(WANTED, &key, decode_wanted(&key, &value)) else { continue };
        let Some(of) = unless_damaged(check.rows().room(room))? else {
            check.problem(WANTED, &key, "its room is not in the store");
            continue;
        };
        // A parked row that does not decode is told of when it is read itself.
        let Some(parked) = unless_damaged(check.rows().parked(room, &waiting))? else { continue };
        let names = |parked: &ParkedRow| {
            let named = parked.missing.iter().filter(|want| want.role.is_named());
            let mut keys = named.filter_map(|want| EventKey::of(&want.event_id, of.rules.event_id_format));
            parked.order == order && parked.failed.is_none() && keys.any(|key| key == wanted)
        };
        if !parked.as_ref().is_some_and(names) {
            check.problem(WANTED, &key, "nothing is parked that lacks it");
        }
    }
    Ok(())
}
