//! The states of a room: every snapshot ever made stays readable.
//!
//! A snapshot is the state after some event. It is stored as a list of content-hashed blocks that it shares with other
//! snapshots, plus the few changes since: the packed log. Changes of one key cost a few bytes whatever the size of the
//! room; see `docs/design.md`.

pub mod collect;
pub mod difference;
pub mod fingerprint;
pub mod log;
pub mod near;
pub mod read;
mod seal;
pub mod source;

#[cfg(test)]
mod tests;

pub use self::{
    log::build_derived,
    seal::{Sealed, list_length_max},
};
