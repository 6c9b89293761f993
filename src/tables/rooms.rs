//! The rooms: their numbers, IDs and versions, and the head of each, which says where its writer goes on.

use ruma_common::{RoomVersionId, room_version_rules::RoomVersionRules};
use serde::{Deserialize, Serialize};

use super::{
    HEADS, LISTS, ROOM_IDS, ROOMS,
    rows::{Rows, corrupt, decode_number, encode_number, missing, stamped},
};
use crate::{
    encoding::{
        bytes::{Decoded, Malformed, stamp, unstamp},
        cold,
        head::RoomHead,
        keys,
    },
    error::Result,
    ids::{RoomNid, SnapshotNid},
    kv::Batch,
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

impl Rows<'_> {
    /// Finds a room by its ID.
    pub fn room_by_id(&self, room_id: &str) -> Result<Option<Room>> {
        let key = room_id.as_bytes();
        let nid = self.decode(ROOM_IDS, key, |bytes| decode_number(unstamp(key, bytes)?))?;
        nid.and_then(RoomNid::new).map(|nid| self.room(nid)).transpose()
    }

    /// Loads a room.
    pub fn room(&self, nid: RoomNid) -> Result<Room> {
        let key = keys::room(nid);
        let row: RoomRow = self.load(ROOMS, &key, |bytes| cold::decode(unstamp(&key, bytes)?))?;
        decode_room(nid, row).map_err(|malformed| corrupt(ROOMS, &key, malformed))
    }

    /// All rooms, in the order of their numbers.
    pub fn rooms(&self) -> Result<Vec<Room>> {
        self.room_numbers(ROOMS)?.into_iter().map(|nid| self.room(nid)).collect()
    }

    /// Loads the head of a room. It is written with the first row of the room.
    pub fn head(&self, room: RoomNid) -> Result<RoomHead> {
        self.find_head(room)?.ok_or_else(|| missing(HEADS, &keys::room(room)))
    }

    /// The head of a room that may be gone.
    pub fn find_head(&self, room: RoomNid) -> Result<Option<RoomHead>> {
        let key = keys::room(room);
        self.decode(HEADS, &key, |bytes| RoomHead::decode(unstamp(&key, bytes)?))
    }

    /// Tells whether the list of a sealed snapshot is built.
    pub fn has_list(&self, room: RoomNid, sealed: SnapshotNid) -> Result<bool> {
        Ok(self.read().get(LISTS, &keys::snapshot(room, sealed))?.is_some())
    }
}

/// Writes the rows of a room.
pub fn put_room(batch: &mut Batch, room: &Room) -> Result<()> {
    let key = keys::room(room.nid);
    let mut value = cold::encode(&RoomRow::of(room))?;
    stamp(&key, &mut value);
    batch.put(ROOMS, key, value);
    batch.put(ROOM_IDS, room.id.as_bytes(), stamped(room.id.as_bytes(), encode_number(room.nid.number())));
    Ok(())
}

/// Writes a room's head.
pub fn put_head(batch: &mut Batch, room: RoomNid, head: &RoomHead) {
    let key = keys::room(room);
    let mut value = head.encode();
    stamp(&key, &mut value);
    batch.put(HEADS, key, value);
}

pub(super) fn decode_room(nid: RoomNid, row: RoomRow) -> Decoded<Room> {
    let unknown = Malformed { offset: 0, what: "an unknown room version" };
    let version = RoomVersionId::try_from(row.version).map_err(|_| unknown)?;
    let rules = version.rules().ok_or(unknown)?;
    Ok(Room { nid, id: row.id.into(), version, rules })
}
