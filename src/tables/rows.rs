//! Reading and writing rows of any table: what is damaged or missing is named with its place.

use super::name;
use crate::{
    encoding::{
        bytes::{Cursor, Decoded, Malformed, put_varint, stamp},
        keys,
    },
    error::{Corruption, Error, Result},
    ids::RoomNid,
    kv::{Direction, Read, TableId},
};

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

    pub(super) fn load<T>(&self, table: TableId, key: &[u8], decode: impl FnOnce(&[u8]) -> Decoded<T>) -> Result<T> {
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
}

/// A value with its checksum.
pub(crate) fn stamped(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    stamp(key, &mut value);
    value
}

pub(super) fn encode_number(number: u32) -> Vec<u8> {
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
