//! The keys of every table: one function for each shape, with the prefix that finds its neighbours beside it.
//!
//! Numbers are big-endian, so that byte order is numeric order. All but the server-wide tables begin with the room.

use super::list::BlockNid;
use crate::{
    encoding::event_key::EventKey,
    ids::{EventNid, EventTypeNid, RoomNid, SnapshotNid, StateKeyNid, StateTuple},
};

/// `room`: the rows of one room, in tables keyed by room; also the key of its only row.
pub fn room(room: RoomNid) -> [u8; 4] {
    room.number().to_be_bytes()
}

/// `room event`
pub fn event(room: RoomNid, event: EventNid) -> [u8; 8] {
    pair(room.number(), event.number())
}

/// `room position`
pub fn position(room: RoomNid, position: u32) -> [u8; 8] {
    pair(room.number(), position)
}

/// `room snapshot`: pack rows by their first snapshot, list rows by the sealed one.
pub fn snapshot(room: RoomNid, snapshot: SnapshotNid) -> [u8; 8] {
    pair(room.number(), snapshot.number())
}

/// `room sealed ordinal`
pub fn block(room: RoomNid, block: BlockNid) -> [u8; 12] {
    triple(room.number(), block.sealed.number(), block.ordinal)
}

/// The block in a key of a block, if it names one.
pub fn block_of(key: &[u8]) -> Option<BlockNid> {
    let (rest, ordinal) = key.split_last_chunk::<4>()?;
    Some(BlockNid { sealed: SnapshotNid::new(last_number(rest)?), ordinal: u32::from_be_bytes(*ordinal) })
}

/// `room event child`: an auth event and a state event that names it.
pub fn auth_child(room: RoomNid, event: EventNid, child: EventNid) -> [u8; 12] {
    triple(room.number(), event.number(), child.number())
}

/// `room event_key child`: a prev event, by its ID, and an event that names it.
pub fn prev_child(room: RoomNid, prev: &EventKey, child: EventNid) -> Vec<u8> {
    [prev_children(room, prev).as_slice(), &child.number().to_be_bytes()].concat()
}

/// `room event_key`: the events that name this prev event, and their mark.
pub fn prev_children(room: RoomNid, prev: &EventKey) -> Vec<u8> {
    event_of_room(room, prev)
}

/// `room event_key`: the parked input of an event.
pub fn parked(room: RoomNid, event: &EventKey) -> Vec<u8> {
    event_of_room(room, event)
}

/// `room wanted waiting`: an event that is wanted and the parked event that waits for it.
pub fn wait(room: RoomNid, wanted: &EventKey, waiting: &EventKey) -> Vec<u8> {
    [waits_for(room, wanted).as_slice(), waiting.as_bytes()].concat()
}

/// `room wanted`: the parked events that wait for one event.
pub fn waits_for(room: RoomNid, wanted: &EventKey) -> Vec<u8> {
    event_of_room(room, wanted)
}

/// The wanted and the waiting event in the key of a wait, if it has these parts.
pub fn parts_of_wait(key: &[u8]) -> Option<(EventKey, EventKey)> {
    let (rest, waiting) = key.split_last_chunk::<32>()?;
    let (_, wanted) = rest.split_last_chunk::<32>()?;
    Some((EventKey::from_bytes(*wanted), EventKey::from_bytes(*waiting)))
}

/// `wanted room order`: an event that is wanted, and the place in the order of parking of an input that waits for it.
pub fn wanted(wanted: &EventKey, room: RoomNid, order: u32) -> Vec<u8> {
    [wanted_in_room(wanted, room).as_slice(), &order.to_be_bytes()].concat()
}

/// `wanted room`: the inputs of one room that wait for an event.
pub fn wanted_in_room(wanted: &EventKey, room: RoomNid) -> Vec<u8> {
    [wanted.as_bytes().as_slice(), &self::room(room)].concat()
}

/// The wanted event, the room and the place in the order of parking in a key of what is wanted, if it has these parts.
pub fn parts_of_wanted(key: &[u8]) -> Option<(EventKey, RoomNid, u32)> {
    let (rest, order) = key.split_last_chunk::<4>()?;
    let (wanted, room) = rest.split_last_chunk::<4>()?;
    let wanted = EventKey::from_bytes(wanted.try_into().ok()?);
    Some((wanted, RoomNid::new(u32::from_be_bytes(*room))?, u32::from_be_bytes(*order)))
}

/// `room type key`
pub fn current(room: RoomNid, tuple: StateTuple) -> [u8; 12] {
    triple(room.number(), tuple.event_type.number(), tuple.state_key.number())
}

/// The state's key in a key of the current state, if it names one.
pub fn tuple_of_current(key: &[u8]) -> Option<StateTuple> {
    let (rest, state_key) = key.split_last_chunk::<4>()?;
    let event_type = EventTypeNid::new(last_number(rest)?)?;
    Some(StateTuple { event_type, state_key: StateKeyNid::new(u32::from_be_bytes(*state_key))? })
}

/// `room type`: the current state of one event type.
pub fn current_of_type(room: RoomNid, event_type: EventTypeNid) -> [u8; 8] {
    pair(room.number(), event_type.number())
}

/// `user room`
pub fn user_room(user: StateKeyNid, room: RoomNid) -> [u8; 8] {
    pair(user.number(), room.number())
}

/// `user`: the rooms of a user.
pub fn user(user: StateKeyNid) -> [u8; 4] {
    user.number().to_be_bytes()
}

/// `number`: the row of a server-wide numeric ID.
pub fn number(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// The number of a key that is one number and nothing else. Who goes on from the greatest number there is must not take
/// a damaged key for none.
pub fn only_number(key: &[u8]) -> Option<u32> {
    let number = u32::from_be_bytes(<[u8; 4]>::try_from(key).ok()?);
    (number > 0).then_some(number)
}

/// The second number of a key of a room and one more number.
pub fn second_number(key: &[u8]) -> Option<u32> {
    let (_, number) = key.split_first_chunk::<4>()?;
    only_number(number)
}

/// The last four bytes of a key as a number, if it has as many: the last part of most shapes.
pub fn last_number(key: &[u8]) -> Option<u32> {
    key.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

fn event_of_room(room: RoomNid, event: &EventKey) -> Vec<u8> {
    [&self::room(room), event.as_bytes().as_slice()].concat()
}

fn pair(first: u32, second: u32) -> [u8; 8] {
    ((u64::from(first) << 32) | u64::from(second)).to_be_bytes()
}

fn triple(first: u32, second: u32, third: u32) -> [u8; 12] {
    let mut key = [0; 12];
    for (chunk, number) in key.chunks_exact_mut(4).zip([first, second, third]) {
        chunk.copy_from_slice(&number.to_be_bytes());
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_keys_are_these() {
        let (one, two) = (RoomNid::new(1).unwrap(), EventNid::new(0x0203).unwrap());
        let (event_type, user) = (EventTypeNid::new(5).unwrap(), StateKeyNid::new(0x0600).unwrap());
        let (prev, other) = (EventKey::from_bytes([7; 32]), EventKey::from_bytes([8; 32]));
        let snapshot = SnapshotNid::new(4);
        assert_eq!(room(one), [0, 0, 0, 1]);
        assert_eq!(event(one, two), [0, 0, 0, 1, 0, 0, 2, 3]);
        assert_eq!(position(one, 9), [0, 0, 0, 1, 0, 0, 0, 9]);
        assert_eq!(super::snapshot(one, snapshot), [0, 0, 0, 1, 0, 0, 0, 4]);
        assert_eq!(block(one, BlockNid { sealed: snapshot, ordinal: 3 }), [0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 3]);
        assert_eq!(auth_child(one, two, two), [0, 0, 0, 1, 0, 0, 2, 3, 0, 0, 2, 3]);
        assert_eq!(prev_children(one, &prev), [&[0, 0, 0, 1][..], &[7; 32]].concat());
        assert_eq!(prev_child(one, &prev, two), [&[0, 0, 0, 1][..], &[7; 32], &[0, 0, 2, 3]].concat());
        assert_eq!(parked(one, &prev), prev_children(one, &prev));
        assert_eq!(parts_of_wait(&wait(one, &prev, &other)), Some((prev, other)));
        assert_eq!(wait(one, &prev, &other), [&[0, 0, 0, 1][..], &[7; 32], &[8; 32]].concat());
        let wanted_key = [&[7; 32][..], &[0, 0, 0, 1, 0, 0, 0, 5]].concat();
        assert_eq!(wanted(&prev, one, 5), wanted_key);
        assert_eq!(parts_of_wanted(&wanted_key), Some((prev, one, 5)));
        assert_eq!(wanted_in_room(&prev, one), [&[7; 32][..], &[0, 0, 0, 1]].concat());
        assert_eq!(current(one, StateTuple { event_type, state_key: user }), [0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 6, 0]);
        assert_eq!(current_of_type(one, event_type), [0, 0, 0, 1, 0, 0, 0, 5]);
        assert_eq!(user_room(user, one), [0, 0, 6, 0, 0, 0, 0, 1]);
        assert_eq!(super::user(user), [0, 0, 6, 0]);
        assert_eq!(number(0x0102_0304), [1, 2, 3, 4]);
    }
}
