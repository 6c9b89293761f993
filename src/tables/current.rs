//! The current state of each room, and how each user stands to each room.

pub use super::membership::Membership;
use super::{
    CURRENT_STATE, USER_ROOMS,
    rooms::Room,
    rows::{Rows, corrupt, encode_number, stamped},
};
use crate::{
    encoding::{
        bytes::{Cursor, Decoded, Malformed, unstamp},
        keys,
    },
    error::Result,
    ids::{EventNid, EventTypeNid, RoomNid, StateKeyNid, StateTuple},
    kv::{Batch, Direction},
};

/// An entry of the current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentEntry {
    /// The event.
    pub event: EventNid,
    /// The membership that it gives, if it is a member event.
    pub membership: Option<Membership>,
}

impl Rows<'_> {
    /// The current state's entry at a key.
    pub fn current_entry(&self, room: RoomNid, tuple: StateTuple) -> Result<Option<CurrentEntry>> {
        let key = keys::current(room, tuple);
        self.decode(CURRENT_STATE, &key, |bytes| decode_current(unstamp(&key, bytes)?))
    }

    /// The current state, or the part of it that has one event type, ascending by key.
    pub fn current_state(
        &self,
        room: RoomNid,
        event_type: Option<EventTypeNid>,
        visit: &mut dyn FnMut(StateTuple, CurrentEntry) -> Result<()>,
    ) -> Result<()> {
        let prefix = match event_type {
            Some(event_type) => keys::current_of_type(room, event_type).to_vec(),
            None => keys::room(room).to_vec(),
        };
        self.read().scan(CURRENT_STATE, &prefix, &prefix, Direction::Forward, &mut |key, value| {
            let entry = unstamp(key, value).and_then(decode_current);
            let entry = entry.map_err(|malformed| corrupt(CURRENT_STATE, key, malformed))?;
            let what = Malformed { offset: 0, what: "a key that names no event type and state key" };
            let tuple = keys::tuple_of_current(key).ok_or_else(|| corrupt(CURRENT_STATE, key, what))?;
            visit(tuple, entry)?;
            Ok(true)
        })
    }

    /// The rooms of a user, with how they stand to each.
    pub fn rooms_of_user(&self, user: StateKeyNid) -> Result<Vec<(Room, Membership)>> {
        let mut rooms = Vec::new();
        let prefix = keys::user(user);
        self.read().scan(USER_ROOMS, &prefix, &prefix, Direction::Forward, &mut |key, value| {
            let what = Malformed { offset: 0, what: "a key that names no room" };
            let room = keys::last_number(key).and_then(RoomNid::new);
            let room = room.ok_or_else(|| corrupt(USER_ROOMS, key, what))?;
            let membership = unstamp(key, value).and_then(decode_membership);
            let membership = membership.map_err(|malformed| corrupt(USER_ROOMS, key, malformed))?;
            rooms.extend(self.unless_purged(room)?.map(|room| (room, membership)));
            Ok(true)
        })?;
        Ok(rooms)
    }
}

/// Writes or removes an entry of the current state, and with it the membership of its user.
pub fn put_current(batch: &mut Batch, room: RoomNid, tuple: StateTuple, entry: Option<CurrentEntry>, is_member: bool) {
    let key = keys::current(room, tuple);
    match entry {
        Some(entry) => {
            batch.put(CURRENT_STATE, key, stamped(&key, encode_current(entry)));
        }
        None => batch.delete(CURRENT_STATE, key),
    }
    if !is_member {
        return;
    }
    let user_key = keys::user_room(tuple.state_key, room);
    match entry.and_then(|entry| entry.membership) {
        Some(membership) => batch.put(USER_ROOMS, user_key, encode_membership(&user_key, membership)),
        None => batch.delete(USER_ROOMS, user_key),
    }
}

/// What the value of a current-state row holds before its stamp.
pub fn encode_current(entry: CurrentEntry) -> Vec<u8> {
    let mut value = encode_number(entry.event.number());
    value.extend(entry.membership.map(Membership::code));
    value
}

/// The value of a user's membership row.
pub fn encode_membership(key: &[u8], membership: Membership) -> Vec<u8> {
    stamped(key, vec![membership.code()])
}

/// Reads what the value of a user's membership row holds before its stamp.
pub(crate) fn decode_membership(bytes: &[u8]) -> Decoded<Membership> {
    let what = Malformed { offset: 0, what: "no membership of a room" };
    let [code] = bytes else { return Err(what) };
    Membership::from_code(*code).ok_or(what)
}

pub(crate) fn decode_current(bytes: &[u8]) -> Decoded<CurrentEntry> {
    let mut cursor = Cursor::new(bytes);
    let event = EventNid::new(cursor.varint32()?).ok_or(cursor.malformed("an event of number 0"))?;
    let membership = if cursor.left() == 0 {
        None
    } else {
        let code = cursor.byte()?;
        Some(Membership::from_code(code).ok_or(cursor.malformed("an unknown membership"))?)
    };
    cursor.end()?;
    Ok(CurrentEntry { event, membership })
}
