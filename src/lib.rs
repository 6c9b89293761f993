//! roomserver
mod encoding;
mod error;
mod ids;
mod input;
pub mod kv;
pub mod query;
mod resolution;
mod room;
mod server;
mod state;
pub mod tables;

pub use encoding::event_row::Verdict;
pub use encoding::fingerprint::Fingerprint;
pub use error::{Error, ErrorKind, Result};
pub use input::{Backpressure, Durability, Limits, Ticket};
pub use room::outcome::{Input, Kind, Outcome, Parked, FirstVerdict, Position, StateChange, StateId, Accepted};
pub use server::{Options, RoomServer};
