//! The rows of the store itself, its rooms, and rows of rooms that are none.

use std::collections::BTreeSet;

use super::streams::{Check, RowStream, unless_damaged};
use crate::{
    encoding::{bytes::unstamp, cold, keys},
    error::Result,
    ids::RoomNid,
    kv::{Direction, TableId},
    server::FORMAT_VERSION,
    tables::{
        META, PURGES, ROOM_IDS, ROOMS, TABLES,
        purges::{LAST_ROOM_KEY, decode_last_room, decode_purge},
        rows::decode_number,
    },
};

/// Checks the settings of the store; gives the greatest number that any room had when one was purged.
pub(super) fn check_settings(check: &mut Check<'_>) -> Result<u32> {
    let key = b"format";
    let mut settings = RowStream::new(check, META, &[]);
    if let Some(value) = settings.take(check, key)?
        && let Some((version,)) = check.decoded(META, key, cold::decode::<(u32,)>(&value))
        && version != FORMAT_VERSION
    {
        check.problem(META, key, format!("format version {version} and not {FORMAT_VERSION}"));
    }
    let mut last_room = 0;
    if let Some(value) = settings.take_if_there(check, LAST_ROOM_KEY)? {
        last_room = check.decoded(META, LAST_ROOM_KEY, decode_last_room(&value)).unwrap_or_default();
    }
    settings.finish(check)?;
    Ok(last_room)
}

/// Checks the marks of purged rooms; gives their numbers. `last_room` is the greatest number that any room had when one
/// was purged, as the settings tell.
pub(super) fn check_purges(
    check: &mut Check<'_>,
    rooms: &BTreeSet<RoomNid>,
    last_room: u32,
) -> Result<BTreeSet<RoomNid>> {
    let mut purges = BTreeSet::new();
    let mut rows = RowStream::new(check, PURGES, &[]);
    while let Some((key, value)) = rows.next(check)? {
        let Some(nid) = keys::last_number(&key).filter(|_| key.len() == 4).and_then(RoomNid::new) else {
            check.problem(PURGES, &key, "a key that is no room's number");
            continue;
        };
        check.decoded(PURGES, &key, decode_purge(nid, &value));
        if rooms.contains(&nid) {
            check.problem(PURGES, &key, "the room is still there");
        }
        if nid.number() > last_room {
            check.problem(PURGES, &key, format!("beyond the last room that was ever here, {last_room}"));
        }
        purges.insert(nid);
    }
    Ok(purges)
}

/// Checks both directions of the rooms' names; gives the rooms, those that cannot be read included.
pub(super) fn check_rooms(check: &mut Check<'_>) -> Result<BTreeSet<RoomNid>> {
    let mut rooms = BTreeSet::new();
    let mut rows = RowStream::new(check, ROOMS, &[]);
    while let Some((key, _)) = rows.next(check)? {
        let Some(nid) = keys::last_number(&key).filter(|_| key.len() == 4).and_then(RoomNid::new) else {
            check.problem(ROOMS, &key, "a key that is no room's number");
            continue;
        };
        rooms.insert(nid);
        check.counts().rooms = check.counts().rooms.saturating_add(1);
        let room = check.rows().room(nid);
        let Some(room) = check.readable(ROOMS, &key, room)? else { continue };
        let id = room.id.as_bytes();
        match check.get(ROOM_IDS, id)? {
            None => check.problem(ROOM_IDS, id, format!("the row is missing: {} is number {}", room.id, nid.number())),
            Some(value) => match check.decoded(ROOM_IDS, id, unstamp(id, &value).and_then(decode_number)) {
                Some(told) if told != nid.number() => {
                    check.problem(ROOM_IDS, id, format!("room {} is number {} and not {told}", room.id, nid.number()));
                }
                _ => {}
            },
        }
    }
    let mut ids = RowStream::new(check, ROOM_IDS, &[]);
    while let Some((id, value)) = ids.next(check)? {
        let number = unstamp(&id, &value).and_then(decode_number);
        let Some(number) = check.decoded(ROOM_IDS, &id, number) else { continue };
        let known = RoomNid::new(number).filter(|nid| rooms.contains(nid));
        let room = known.map(|nid| unless_damaged(check.rows().room(nid))).transpose()?.flatten();
        if room.is_none_or(|room| room.id.as_bytes() != id) {
            check.problem(ROOM_IDS, &id, format!("number {number} is no room of this ID"));
        }
    }
    Ok(rooms)
}

/// Looks in every table that is keyed by room for rows of rooms that are none, and are not being purged either.
pub(super) fn check_strays(check: &mut Check<'_>, rooms: &BTreeSet<RoomNid>) -> Result<()> {
    for (number, table) in (0..).zip(TABLES) {
        if table.by_room {
            check_strays_of(check, TableId(number), rooms)?;
        }
    }
    Ok(())
}

fn check_strays_of(check: &mut Check<'_>, table: TableId, rooms: &BTreeSet<RoomNid>) -> Result<()> {
    let mut start = Vec::new();
    loop {
        let mut found = None;
        let scanned = check.read().scan(table, &[], &start, Direction::Forward, &mut |key, _| {
            found = Some(key.to_vec());
            Ok(false)
        });
        check.readable(table, &start, scanned)?;
        let Some(key) = found else { return Ok(()) };
        let Some(room) = key.first_chunk::<4>().map(|room| u32::from_be_bytes(*room)) else {
            check.problem(table, &key, "a key that names no room");
            start = [key.as_slice(), &[0]].concat();
            continue;
        };
        if RoomNid::new(room).is_none_or(|room| !rooms.contains(&room)) {
            check.problem(table, &key, format!("the first row of a room {room}, which is none of this store"));
        }
        let Some(next) = room.checked_add(1) else { return Ok(()) };
        start = next.to_be_bytes().to_vec();
    }
}
