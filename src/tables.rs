//! The tables of a store: one list of them, and typed access to their rows.

pub mod bodies;
pub mod current;
pub mod event_ids;
pub mod graph;
pub mod interning;
mod membership;
pub mod parked;
pub mod purges;
pub mod rooms;
pub mod rows;
mod scans;

#[cfg(test)]
mod tests;

use crate::kv::{Access, TableId, TableSpec};

/// Whether a table could be made anew from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Holds what stands nowhere else.
    Truth,
    /// Follows from the tables of truth; `verify` derives it again.
    Derived,
}

/// What `stats` counts a table's bytes as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// The storage of states: packs, lists, blocks.
    State,
    /// The storage of events: rows, bodies, IDs, indexes, edges, interned names.
    Events,
    /// All the rest.
    Other,
}

/// A table, as it is opened, tuned, measured, verified and documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name and tuning.
    pub spec: TableSpec,
    /// The parts of its keys.
    pub key: &'static str,
    /// The parts of its values.
    pub value: &'static str,
    /// Whether it is truth or derived.
    pub standing: Standing,
    /// What its bytes count as.
    pub share: Share,
    /// Whether its keys begin with the room.
    pub by_room: bool,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $id:ident = $name:literal { $key:literal => $value:literal, $standing:ident, $access:ident, $share:ident, by_room: $by_room:literal })*) => {
        #[repr(u16)]
        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "numbers the constants below")]
        enum Index { $($id),* }

        $($(#[$doc])* pub const $id: TableId = TableId(Index::$id as u16);)*

        /// Every table of a store, in the order of their [`TableId`]s.
        pub const TABLES: &[Table] = &[$(Table {
            spec: TableSpec { name: $name, access: Access::$access },
            key: $key,
            value: $value,
            standing: Standing::$standing,
            share: Share::$share,
            by_room: $by_room,
        }),*];
    };
}

tables! {
    /// Settings of the store itself.
    META = "meta" { "name" => "cold row", Truth, Point, Other, by_room: false }
    /// The rooms.
    ROOMS = "rooms" { "room" => "stamped: cold row: room ID, room version", Truth, Point, Other, by_room: true }
    /// The rooms by ID.
    ROOM_IDS = "room_ids" { "room ID" => "stamped: room", Derived, Point, Other, by_room: false }
    /// Rooms that were purged and whose rows are not all gone yet.
    PURGES = "purges" { "room" => "stamped: cold row: room ID, room version", Truth, Point, Other, by_room: false }
    /// What a room's writer goes on from.
    HEADS = "heads" { "room" => "stamped: head", Truth, Point, Other, by_room: true }
    /// Event types by number.
    TYPE_NAMES = "type_names" { "type" => "stamped: event type", Truth, Point, Events, by_room: false }
    /// Event types by name.
    TYPES = "types" { "event type" => "type", Derived, Point, Events, by_room: false }
    /// State keys by number.
    STATE_KEY_NAMES = "state_key_names" { "key" => "stamped: state key", Truth, Point, Events, by_room: false }
    /// State keys by name.
    STATE_KEYS = "state_keys" { "state key" => "key", Derived, Point, Events, by_room: false }
    /// IDs of signing keys by number.
    KEY_ID_NAMES = "key_id_names" { "key ID" => "stamped: ID of a signing key", Truth, Point, Events, by_room: false }
    /// IDs of signing keys by name.
    KEY_IDS = "key_ids" { "ID of a signing key" => "key ID", Derived, Point, Events, by_room: false }
    /// Event IDs by number.
    EVENT_IDS = "event_ids" { "room event" => "stamped: reference hash..., event ID... if they are no hashes", Truth, Point, Events, by_room: true }
    /// Events by a short prefix of their ID; checked against `event_ids`.
    EVENT_INDEX = "event_index" { "first 8 bytes of the event key" => "(room, event)...", Derived, Point, Events, by_room: false }
    /// What is known of each event but its body.
    EVENT_ROWS = "event_rows" { "room event" => "stamped: event row", Truth, Present, Events, by_room: true }
    /// The PDUs.
    EVENT_BODIES = "event_bodies" { "room event" => "stamped: body", Truth, Dense, Events, by_room: true }
    /// The order in which events were stored and placed.
    POSITIONS = "positions" { "room position" => "event, what happened", Truth, Scan, Events, by_room: true }
    /// State events by the auth events that they name.
    AUTH_CHILDREN = "auth_children" { "room event child" => "", Derived, Scan, Events, by_room: true }
    /// Events by those prev events that hide nothing or were not here, behind a mark for each such prev event.
    PREV_CHILDREN = "prev_children" { "room event_key child" => "", Derived, Point, Events, by_room: true }
    /// The packed log of state changes.
    PACKS = "packs" { "room first_snapshot" => "stamped: pack", Truth, Scan, State, by_room: true }
    /// Whole states, as lists of shared blocks.
    LISTS = "lists" { "room snapshot" => "stamped: list", Truth, Scan, State, by_room: true }
    /// Blocks of state entries, shared between lists.
    BLOCKS = "blocks" { "room snapshot ordinal" => "block", Truth, Scan, State, by_room: true }
    /// The current state.
    CURRENT_STATE = "current_state" { "room type key" => "stamped: event, membership", Derived, Point, Other, by_room: true }
    /// Memberships by user.
    USER_ROOMS = "user_rooms" { "user room" => "stamped: membership", Derived, Scan, Other, by_room: false }
    /// Inputs that wait for other events.
    PARKED = "parked" { "room event_key" => "stamped: cold row: the input, what it lacks", Truth, Point, Other, by_room: true }
    /// Parked inputs by those events of a supplied state, or of an auth chain, that they wait for one after the other.
    WAITS = "waits" { "room event_key waiting_key" => "stamped: place among what it lacks, place in the order of parking", Truth, Scan, Other, by_room: true }
    /// Parked inputs of all rooms by each auth event and prev event that they lack.
    WANTED = "wanted" { "event_key room place in the order of parking" => "stamped: waiting_key", Derived, Scan, Other, by_room: false }
}

/// The tables as a backend opens them.
pub fn specs() -> Vec<TableSpec> {
    TABLES.iter().map(|table| table.spec).collect()
}

/// The table with this number.
pub fn table(id: TableId) -> Option<&'static Table> {
    TABLES.get(usize::from(id.0))
}

/// The name of a table, for messages.
pub fn name(id: TableId) -> &'static str {
    table(id).map_or("unknown table", |table| table.spec.name)
}
