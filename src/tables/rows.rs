//! Typed access to the rows of a room.

use ruma_common::{RoomVersionId, room_version_rules::RoomVersionRules};
use serde::{Deserialize, Serialize};

pub use super::membership::Membership;
use super::{
    AUTH_CHILDREN, CURRENT_STATE, EVENT_ROWS, HEADS, LISTS, POSITIONS, PREV_CHILDREN, ROOM_IDS, ROOMS, USER_ROOMS, name,
};
use crate::{
    encoding::{
        bytes::{Cursor, Decoded, Malformed, put_varint, seal, unseal},
        cold,
        event_key::EventKey,
        event_row::{EventRow, Kind},
        head::RoomHead,
        keys,
    },
    error::{Corruption, Error, Result},
    ids::{EventNid, EventTypeNid, RoomNid, SnapshotNid, StateKeyNid, StateTuple},
    kv::{Batch, Direction, Read, TableId},
};

/// A room of the store.
#[derive(Debug, Clone)]
pub struct Room {
    /// Its number.
    pub nid: RoomNid,
    /// Its ID.
    pub id: Box<str>,
    /// Its version.
    pub version: RoomVersionId,
    /// What its version means.
    pub rules: RoomVersionRules,
}

/// A room, as its row has it.
#[derive(Serialize, Deserialize)]
pub struct RoomRow {
    #[serde(deserialize_with = "cold::owned")]
    id: String,
    #[serde(deserialize_with = "cold::owned")]
    version: String,
}

impl RoomRow {
    pub(super) fn of(room: &Room) -> Self {
        Self { id: room.id.to_string(), version: room.version.to_string() }
    }
}

/// What happened at a position of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happening {
    /// The event.
    pub event: EventNid,
    /// Whether it was stored as an outlier, or placed in the graph as old or new.
    pub kind: Kind,
}

/// An entry of the current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentEntry {
    /// The event.
    pub event: EventNid,
    /// The membership that it gives, if it is a member event.
    pub membership: Option<Membership>,
}

/// Names the place of malformed bytes.
pub fn corrupt(table: TableId, key: &[u8], malformed: Malformed) -> Error {
    let Malformed { offset, what } = malformed;
    Corruption { table: name(table), key: key.to_vec(), offset, what: what.to_owned() }.into()
}

/// An error about a row that must be there.
pub fn missing(table: TableId, key: &[u8]) -> Error {
    corrupt(table, key, Malformed { offset: 0, what: "the row is missing" })
}

/// Reads rows through one view of the store.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    read: &'a dyn Read,
}

impl<'a> Rows<'a> {
    /// Reads through `read`.
    pub fn new(read: &'a dyn Read) -> Self {
        Self { read }
    }

    /// The view itself.
    pub fn read(&self) -> &'a dyn Read {
        self.read
    }

    pub(super) fn decode<T>(
        &self,
        table: TableId,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Decoded<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.read.get(table, key)? else { return Ok(None) };
        decode(&value).map(Some).map_err(|malformed| corrupt(table, key, malformed))
    }

    fn load<T>(&self, table: TableId, key: &[u8], decode: impl FnOnce(&[u8]) -> Decoded<T>) -> Result<T> {
        self.decode(table, key, decode)?.ok_or_else(|| missing(table, key))
    }

    /// The numbers of rooms that are the keys of a table, ascending.
    pub(super) fn room_numbers(&self, table: TableId) -> Result<Vec<RoomNid>> {
        let mut numbers = Vec::new();
        self.read.scan(table, &[], &[], Direction::Forward, &mut |key, _| {
            let what = Malformed { offset: 0, what: "a key that is no number of a room" };
            let number = keys::only_number(key).and_then(RoomNid::new);
            numbers.push(number.ok_or_else(|| corrupt(table, key, what))?);
            Ok(true)
        })?;
        Ok(numbers)
    }

    /// Finds a room by its ID.
    pub fn room_by_id(&self, room_id: &str) -> Result<Option<Room>> {
        let key = room_id.as_bytes();
        let nid = self.decode(ROOM_IDS, key, |bytes| decode_number(unseal(key, bytes)?))?;
        nid.and_then(RoomNid::new).map(|nid| self.room(nid)).transpose()
    }

    /// Loads a room.
    pub fn room(&self, nid: RoomNid) -> Result<Room> {
        let key = keys::room(nid);
        let row: RoomRow = self.load(ROOMS, &key, |bytes| cold::decode(unseal(&key, bytes)?))?;
        decode_room(nid, row).map_err(|malformed| corrupt(ROOMS, &key, malformed))
    }

    /// All rooms, in the order of their numbers.
    pub fn rooms(&self) -> Result<Vec<Room>> {
        self.room_numbers(ROOMS)?.into_iter().map(|nid| self.room(nid)).collect()
    }

    /// The head of a room; a room that has none yet has the empty one.
    pub fn head(&self, room: RoomNid) -> Result<RoomHead> {
        let key = keys::room(room);
        let head = self.decode(HEADS, &key, |bytes| RoomHead::decode(unseal(&key, bytes)?))?;
        Ok(head.unwrap_or_default())
    }

    /// Tells whether the list of a sealed snapshot is built.
    pub fn has_list(&self, room: RoomNid, sealed: SnapshotNid) -> Result<bool> {
        Ok(self.read.get(LISTS, &keys::snapshot(room, sealed))?.is_some())
    }

    /// Loads the row of an event.
    pub fn event_row(&self, room: RoomNid, event: EventNid) -> Result<EventRow> {
        let key = keys::event(room, event);
        self.load(EVENT_ROWS, &key, |bytes| EventRow::decode(event, unseal(&key, bytes)?))
    }

    /// What happened in a room, by position, ascending; `visit` returns `false` to end.
    pub fn positions(&self, room: RoomNid, visit: &mut dyn FnMut(u32, Happening) -> Result<bool>) -> Result<()> {
        let prefix = keys::room(room);
        self.read.scan(POSITIONS, &prefix, &prefix, Direction::Forward, &mut |key, value| {
            let happening = decode_happening(value).map_err(|malformed| corrupt(POSITIONS, key, malformed))?;
            let none = Malformed { offset: 0, what: "a key that names no position" };
            visit(keys::second_number(key).ok_or_else(|| corrupt(POSITIONS, key, none))?, happening)
        })
    }

    /// The state events that name `event` among their auth events, newest first: at most `limit` of those numbered
    /// `up_to` or less.
    pub fn auth_children(
        &self,
        room: RoomNid,
        event: EventNid,
        up_to: EventNid,
        limit: usize,
    ) -> Result<Vec<EventNid>> {
        let mut children = Vec::new();
        let (prefix, start) = (keys::event(room, event), keys::auth_child(room, event, up_to));
        self.read.scan(AUTH_CHILDREN, &prefix, &start, Direction::Reverse, &mut |key, _| {
            children.push(child_of(AUTH_CHILDREN, &prefix, key)?);
            Ok(children.len() < limit)
        })?;
        Ok(children)
    }

    /// The events that name a prev event of this key, which hides nothing or was not here when they were placed.
    pub fn prev_children(&self, room: RoomNid, prev: &EventKey) -> Result<Vec<EventNid>> {
        let mut children = Vec::new();
        let mark = keys::prev_children(room, prev);
        // Few events have such children. A look-up passes a Bloom filter, where a scan would ask every level.
        if self.read.get(PREV_CHILDREN, &mark)?.is_none() {
            return Ok(children);
        }
        self.read.scan(PREV_CHILDREN, &mark, &mark, Direction::Forward, &mut |key, _| {
            if key != mark {
                children.push(child_of(PREV_CHILDREN, &mark, key)?);
            }
            Ok(true)
        })?;
        Ok(children)
    }

    /// The current state's entry at a key.
    pub fn current_entry(&self, room: RoomNid, tuple: StateTuple) -> Result<Option<CurrentEntry>> {
        let key = keys::current(room, tuple);
        self.decode(CURRENT_STATE, &key, |bytes| decode_current(unseal(&key, bytes)?))
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
        self.read.scan(CURRENT_STATE, &prefix, &prefix, Direction::Forward, &mut |key, value| {
            let entry = unseal(key, value).and_then(decode_current);
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
        self.read.scan(USER_ROOMS, &prefix, &prefix, Direction::Forward, &mut |key, value| {
            let what = Malformed { offset: 0, what: "a key that names no room" };
            let room = keys::last_number(key).and_then(RoomNid::new);
            let room = room.ok_or_else(|| corrupt(USER_ROOMS, key, what))?;
            let membership = unseal(key, value).and_then(decode_membership);
            let membership = membership.map_err(|malformed| corrupt(USER_ROOMS, key, malformed))?;
            rooms.extend(self.unless_purged(room)?.map(|room| (room, membership)));
            Ok(true)
        })?;
        Ok(rooms)
    }
}

/// The event in the key of an edge: what comes after the prefix that all edges of its other end share.
fn child_of(table: TableId, prefix: &[u8], key: &[u8]) -> Result<EventNid> {
    let none = Malformed { offset: 0, what: "a key that names no event" };
    let number = key.strip_prefix(prefix).and_then(keys::only_number);
    number.and_then(EventNid::new).ok_or_else(|| corrupt(table, key, none))
}

/// Writes the rows of a room.
pub fn put_room(batch: &mut Batch, room: &Room) -> Result<()> {
    let key = keys::room(room.nid);
    let mut value = cold::encode(&RoomRow::of(room))?;
    seal(&key, &mut value);
    batch.put(ROOMS, key, value);
    batch.put(ROOM_IDS, room.id.as_bytes(), sealed(room.id.as_bytes(), encode_number(room.nid.number())));
    Ok(())
}

/// Writes a room's head.
pub fn put_head(batch: &mut Batch, room: RoomNid, head: &RoomHead) {
    let key = keys::room(room);
    let mut value = head.encode();
    seal(&key, &mut value);
    batch.put(HEADS, key, value);
}

/// Writes the row of an event.
pub fn put_event_row(batch: &mut Batch, room: RoomNid, event: EventNid, row: &EventRow) {
    let key = keys::event(room, event);
    let mut value = row.encode(event);
    seal(&key, &mut value);
    batch.put(EVENT_ROWS, key, value);
}

/// Writes what happened at a position.
pub fn put_position(batch: &mut Batch, room: RoomNid, position: u32, happening: Happening) {
    batch.put(POSITIONS, keys::position(room, position), encode_happening(happening));
}

/// Writes that an event names a prev event, and the mark that there is one that does.
pub fn put_prev_child(batch: &mut Batch, room: RoomNid, prev: &EventKey, child: EventNid) {
    batch.put(PREV_CHILDREN, keys::prev_children(room, prev), []);
    batch.put(PREV_CHILDREN, keys::prev_child(room, prev, child), []);
}

/// Writes or removes an entry of the current state, and with it the membership of its user.
pub fn put_current(batch: &mut Batch, room: RoomNid, tuple: StateTuple, entry: Option<CurrentEntry>, is_member: bool) {
    let key = keys::current(room, tuple);
    match entry {
        Some(entry) => {
            batch.put(CURRENT_STATE, key, sealed(&key, encode_current(entry)));
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

/// A value with its checksum.
pub(crate) fn sealed(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    seal(key, &mut value);
    value
}

/// What the value of a current-state row seals.
pub fn encode_current(entry: CurrentEntry) -> Vec<u8> {
    let mut value = encode_number(entry.event.number());
    value.extend(entry.membership.map(Membership::code));
    value
}

/// The value of a user's membership row.
pub fn encode_membership(key: &[u8], membership: Membership) -> Vec<u8> {
    sealed(key, vec![membership.code()])
}

/// Reads what the value of a user's membership row seals.
pub(crate) fn decode_membership(bytes: &[u8]) -> Decoded<Membership> {
    let what = Malformed { offset: 0, what: "no membership of a room" };
    let [code] = bytes else { return Err(what) };
    Membership::from_code(*code).ok_or(what)
}

fn encode_number(number: u32) -> Vec<u8> {
    let mut value = Vec::new();
    put_varint(&mut value, u64::from(number));
    value
}

pub(crate) fn decode_number(bytes: &[u8]) -> Decoded<u32> {
    let mut cursor = Cursor::new(bytes);
    let number = cursor.varint32()?;
    cursor.end()?;
    Ok(number)
}

pub(super) fn decode_room(nid: RoomNid, row: RoomRow) -> Decoded<Room> {
    let unknown = Malformed { offset: 0, what: "an unknown room version" };
    let version = RoomVersionId::try_from(row.version).map_err(|_| unknown)?;
    let rules = version.rules().ok_or(unknown)?;
    Ok(Room { nid, id: row.id.into(), version, rules })
}

pub(crate) fn encode_happening(happening: Happening) -> Vec<u8> {
    let kind = match happening.kind {
        Kind::Outlier => 0,
        Kind::Old => 1,
        Kind::New => 2,
    };
    let mut value = Vec::new();
    put_varint(&mut value, u64::from(happening.event.number()) * 3 + kind);
    value
}

pub(crate) fn decode_happening(bytes: &[u8]) -> Decoded<Happening> {
    let mut cursor = Cursor::new(bytes);
    let number = cursor.varint()?;
    let event = u32::try_from(number / 3).ok().and_then(EventNid::new);
    let event = event.ok_or(cursor.malformed("an event number of 0 or beyond 32 bits"))?;
    cursor.end()?;
    let kind = match number % 3 {
        0 => Kind::Outlier,
        1 => Kind::Old,
        _ => Kind::New,
    };
    Ok(Happening { event, kind })
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
