//! What a check tells.

use std::fmt;

/// A row that is not what the rest of the store says that it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The room whose check found it; `None` in tables that belong to no room.
    pub room: Option<String>,
    /// The table's name.
    pub table: &'static str,
    /// The key, as stored, or as it would be if the row were there.
    pub key: Vec<u8>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(room) = &self.room {
            write!(f, "room {room}, ")?;
        }
        write!(f, "table {}, key ", self.table)?;
        for byte in &self.key {
            write!(f, "{byte:02x}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What [`RoomServer::verify`](crate::RoomServer::verify) looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Rooms.
    pub rooms: u64,
    /// Events, outliers included.
    pub events: u64,
    /// Snapshots: rows of the change logs.
    pub snapshots: u64,
    /// Blocks of state entries.
    pub blocks: u64,
    /// Problems that were found.
    pub problems: u64,
}
