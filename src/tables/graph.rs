//! The event graph: the row of each event, what happened at each position, and the edges that are looked up backwards.

use super::{
    AUTH_CHILDREN, EVENT_ROWS, POSITIONS, PREV_CHILDREN,
    rows::{Rows, corrupt},
};
use crate::{
    encoding::{
        bytes::{Cursor, Decoded, Malformed, put_varint, stamp, unstamp},
        event_key::EventKey,
        event_row::{EventRow, Kind},
        keys,
    },
    error::Result,
    ids::{EventNid, RoomNid},
    kv::{Batch, Direction, TableId},
};

/// What happened at a position of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happening {
    /// The event.
    pub event: EventNid,
    /// Whether it was stored as an outlier, or placed in the graph as old or new.
    pub kind: Kind,
}

impl Rows<'_> {
    /// Loads the row of an event.
    pub fn event_row(&self, room: RoomNid, event: EventNid) -> Result<EventRow> {
        let key = keys::event(room, event);
        self.load(EVENT_ROWS, &key, |bytes| EventRow::decode(event, unstamp(&key, bytes)?))
    }

    /// What happened in a room, by position, ascending; `visit` returns `false` to end.
    pub fn positions(&self, room: RoomNid, visit: &mut dyn FnMut(u32, Happening) -> Result<bool>) -> Result<()> {
        let prefix = keys::room(room);
        self.read().scan(POSITIONS, &prefix, &prefix, Direction::Forward, &mut |key, value| {
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
        self.read().scan(AUTH_CHILDREN, &prefix, &start, Direction::Reverse, &mut |key, _| {
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
        if self.read().get(PREV_CHILDREN, &mark)?.is_none() {
            return Ok(children);
        }
        self.read().scan(PREV_CHILDREN, &mark, &mark, Direction::Forward, &mut |key, _| {
            if key != mark {
                children.push(child_of(PREV_CHILDREN, &mark, key)?);
            }
            Ok(true)
        })?;
        Ok(children)
    }
}

/// The event in the key of an edge: what comes after the prefix that all edges of its other end share.
fn child_of(table: TableId, prefix: &[u8], key: &[u8]) -> Result<EventNid> {
    let none = Malformed { offset: 0, what: "a key that names no event" };
    let number = key.strip_prefix(prefix).and_then(keys::only_number);
    number.and_then(EventNid::new).ok_or_else(|| corrupt(table, key, none))
}

/// Writes the row of an event.
pub fn put_event_row(batch: &mut Batch, room: RoomNid, event: EventNid, row: &EventRow) {
    let key = keys::event(room, event);
    let mut value = row.encode(event);
    stamp(&key, &mut value);
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
