//! Inputs that wait for events which are not here: their rows, and the rows by which an arrival finds them.

use serde::{Deserialize, Serialize};

use super::{
    PARKED, WAITS, WANTED,
    rows::{Rows, corrupt},
};
use crate::{
    encoding::{
        bytes::{Cursor, Decoded, Malformed, put_varint, stamp, unstamp},
        cold,
        event_key::EventKey,
        keys,
    },
    error::{Error, Result},
    ids::RoomNid,
    kv::{Batch, Direction, TableId},
};

/// An input that waits for events that are not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedRow {
    /// Its place in the order of parking.
    pub order: u32,
    /// The newest position of its room when it was parked first; 0 in a room that had no events.
    pub parked_at: u32,
    /// As `kind` of the input: 0 outlier, 1 old, 2 new.
    pub kind: u8,
    /// Whether this homeserver made the event.
    pub local: bool,
    /// The server that sent it.
    #[serde(deserialize_with = "cold::owned")]
    pub origin: Option<String>,
    /// The supplied state before it.
    #[serde(deserialize_with = "cold::owned")]
    pub state: Option<Vec<String>>,
    /// The PDU, as canonical JSON.
    #[serde(deserialize_with = "cold::owned")]
    pub pdu: Vec<u8>,
    /// What was not here when it was parked: first what it names, then the rest in the order in which it is waited for.
    #[serde(deserialize_with = "cold::owned")]
    pub missing: Vec<Want>,
    /// Why it cannot be decided though all is here; it is kept for an administrator to look at.
    #[serde(deserialize_with = "cold::owned")]
    pub failed: Option<String>,
}

/// An event that a parked input waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The event ID.
    #[serde(deserialize_with = "cold::owned")]
    pub event_id: String,
    /// What it is wanted as.
    pub role: Role,
}

impl<'de> cold::Owned<'de> for Vec<Want> {
    type Seen = cold::Grown<Want>;

    fn own(cold::Grown(wants): cold::Grown<Want>) -> Self {
        wants
    }
}

/// What a missing event is to the event that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// A prev event: it must have a place in the graph, and a state.
    Prev,
    /// An auth event: it must be stored, with its body.
    Auth,
    /// An event of the supplied state, or of the auth chain of one: it must be stored, with its body.
    State,
    /// An event of the auth chain of an auth event: its body was collected, and must be stored again.
    Chain,
}

impl Role {
    /// Whether the event itself names what it wants in this role. There are at most 31 of these, and an arrival finds the
    /// input by each of them. Of the others there can be half a million: the input waits for one after the other.
    pub fn is_named(self) -> bool {
        matches!(self, Self::Prev | Self::Auth)
    }
}

/// The row by which the arrival of one event of a supplied state, or of an auth chain, finds a parked input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The event that is waited for.
    pub wanted: EventKey,
    /// Its place among what the parked input lacks.
    pub place: u32,
    /// The place of the parked input in the order of parking.
    pub order: u32,
}

/// Told of each row of a scan that is malformed: what it gives back ends the scan, or lets it go on without that row.
pub type OnDamage<'a> = &'a mut dyn FnMut(Error) -> Result<()>;

fn keep<T>(found: Result<T>, rows: &mut Vec<T>, on_damage: OnDamage<'_>) -> Result<bool> {
    match found {
        Ok(row) => rows.push(row),
        Err(error) => on_damage(error)?,
    }
    Ok(true)
}

impl Rows<'_> {
    /// The parked input of an event.
    pub fn parked(&self, room: RoomNid, event_key: &EventKey) -> Result<Option<ParkedRow>> {
        let key = keys::parked(room, event_key);
        self.decode(PARKED, &key, |bytes| decode_parked(&key, bytes))
    }

    /// All parked inputs of a room, in the order of parking.
    pub fn all_parked(&self, room: RoomNid, on_damage: OnDamage<'_>) -> Result<Vec<(u32, EventKey)>> {
        let prefix = keys::room(room);
        let mut parked = Vec::new();
        self.read().scan(PARKED, &prefix, &prefix, Direction::Forward, &mut |key, value| {
            let row = decode_parked(key, value).map_err(|malformed| corrupt(PARKED, key, malformed));
            let found = row.and_then(|row| Ok((row.order, last_event_key(PARKED, key)?)));
            keep(found, &mut parked, on_damage)
        })?;
        parked.sort_unstable();
        Ok(parked)
    }

    /// The parked inputs of a room that wait for an event of their supplied state, or of an auth chain.
    pub fn waits_for(
        &self,
        room: RoomNid,
        wanted: &EventKey,
        on_damage: OnDamage<'_>,
    ) -> Result<Vec<(EventKey, Wait)>> {
        self.waits(&keys::waits_for(room, wanted), on_damage)
    }

    /// What the parked inputs of a room wait for of their supplied states and of auth chains.
    pub fn all_waits(&self, room: RoomNid, on_damage: OnDamage<'_>) -> Result<Vec<(EventKey, Wait)>> {
        self.waits(&keys::room(room), on_damage)
    }

    fn waits(&self, prefix: &[u8], on_damage: OnDamage<'_>) -> Result<Vec<(EventKey, Wait)>> {
        let mut waits = Vec::new();
        self.read().scan(WAITS, prefix, prefix, Direction::Forward, &mut |key, value| {
            let parts = keys::parts_of_wait(key).ok_or(NO_EVENT);
            let found = parts.and_then(|(wanted, waiting)| {
                let (place, order) = decode_wait(key, value)?;
                Ok((waiting, Wait { wanted, place, order }))
            });
            keep(found.map_err(|malformed| corrupt(WAITS, key, malformed)), &mut waits, on_damage)
        })?;
        Ok(waits)
    }

    /// Tells whether a parked input waits for this event of its supplied state, or of an auth chain.
    pub fn has_wait(&self, room: RoomNid, wanted: &EventKey, waiting: &EventKey) -> Result<bool> {
        Ok(self.read().get(WAITS, &keys::wait(room, wanted, waiting))?.is_some())
    }

    /// The parked inputs of a room that lack this event among those that they name, in the order of parking.
    pub fn wanted_by(&self, wanted: &EventKey, room: RoomNid, on_damage: OnDamage<'_>) -> Result<Vec<(u32, EventKey)>> {
        let prefix = keys::wanted_in_room(wanted, room);
        let mut waiting = Vec::new();
        self.read().scan(WANTED, &prefix, &prefix, Direction::Forward, &mut |key, value| {
            let parts = keys::parts_of_wanted(key).ok_or(NO_EVENT);
            let found = parts.and_then(|(_, _, order)| Ok((order, decode_wanted(key, value)?)));
            keep(found.map_err(|malformed| corrupt(WANTED, key, malformed)), &mut waiting, on_damage)
        })?;
        Ok(waiting)
    }

    /// The rooms in which parked inputs lack this event among those that they name.
    pub fn rooms_that_want(&self, wanted: &EventKey) -> Result<Vec<RoomNid>> {
        let mut rooms = Vec::new();
        let mut from = wanted.as_bytes().to_vec();
        loop {
            // One row a room is enough to know: the next is looked for behind all rows of the last.
            let mut found = None;
            self.read().scan(WANTED, wanted.as_bytes(), &from, Direction::Forward, &mut |key, _| {
                let parts = keys::parts_of_wanted(key).ok_or_else(|| corrupt(WANTED, key, NO_EVENT))?;
                found = Some(parts.1);
                Ok(false)
            })?;
            let Some(room) = found else { return Ok(rooms) };
            rooms.push(room);
            from = keys::wanted(wanted, room, u32::MAX);
            from.push(0);
        }
    }

    /// Visits every event that parked inputs of this store lack among those that they name, once for each input.
    pub fn all_wanted(&self, visit: &mut dyn FnMut(EventKey)) -> Result<()> {
        self.read().scan(WANTED, &[], &[], Direction::Forward, &mut |key, _| {
            let (wanted, ..) = keys::parts_of_wanted(key).ok_or_else(|| corrupt(WANTED, key, NO_EVENT))?;
            visit(wanted);
            Ok(true)
        })
    }
}

const NO_EVENT: Malformed = Malformed { offset: 0, what: "a key that names no event" };

fn last_event_key(table: TableId, key: &[u8]) -> Result<EventKey> {
    let found = key.last_chunk::<32>().map(|bytes| EventKey::from_bytes(*bytes));
    found.ok_or_else(|| corrupt(table, key, NO_EVENT))
}

/// Writes a parked input.
pub fn put_parked(batch: &mut Batch, room: RoomNid, event_key: &EventKey, row: &ParkedRow) -> Result<()> {
    let key = keys::parked(room, event_key);
    let mut value = cold::encode(row)?;
    stamp(&key, &mut value);
    batch.put(PARKED, key, value);
    Ok(())
}

/// Reads a parked input.
pub fn decode_parked(key: &[u8], stamped: &[u8]) -> Decoded<ParkedRow> {
    cold::decode(unstamp(key, stamped)?)
}

/// Writes that a parked input waits for an event of its supplied state, or of an auth chain.
pub fn put_wait(batch: &mut Batch, room: RoomNid, waiting: &EventKey, wait: &Wait) {
    let key = keys::wait(room, &wait.wanted, waiting);
    let mut value = Vec::new();
    put_varint(&mut value, u64::from(wait.place));
    put_varint(&mut value, u64::from(wait.order));
    stamp(&key, &mut value);
    batch.put(WAITS, key, value);
}

/// Reads the place of an event among what a parked input lacks, and the place of the input in the order of parking.
pub(crate) fn decode_wait(key: &[u8], stamped: &[u8]) -> Decoded<(u32, u32)> {
    let mut cursor = Cursor::new(unstamp(key, stamped)?);
    let wait = (cursor.varint32()?, cursor.varint32()?);
    cursor.end()?;
    Ok(wait)
}

/// Writes that a parked input lacks an event which it names.
pub fn put_wanted(batch: &mut Batch, wanted: &EventKey, room: RoomNid, order: u32, waiting: &EventKey) {
    let key = keys::wanted(wanted, room, order);
    let mut value = waiting.as_bytes().to_vec();
    stamp(&key, &mut value);
    batch.put(WANTED, key, value);
}

/// Reads the event of the parked input that lacks what the key names.
pub(crate) fn decode_wanted(key: &[u8], stamped: &[u8]) -> Decoded<EventKey> {
    let bytes = unstamp(key, stamped)?;
    let what = Malformed { offset: 0, what: "a value that is no event" };
    bytes.try_into().map(EventKey::from_bytes).map_err(|_| what)
}
