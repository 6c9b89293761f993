//! An embeddable room engine for Matrix homeservers: which events exist, how they hang together, and what the room's state
//! was at each of them.
//!
//! It is to a Rust homeserver what the RoomServer component is to Dendrite, as a library on RocksDB. It has no network, no
//! signing keys and no async runtime: the host checks signatures, fetches what [parked](Parked) events lack, and submits.
//!
//! - [`RoomServer`] opens a store and takes [`Input`]s; a [`Ticket`] tells each one's [`Outcome`] once it, and what it made
//!   ready, is durable.
//! - [`RoomServer::view`] reads rooms, events and states through one consistent, durable view, which can be kept: see
//!   [`query`].
//! - [`upkeep`] gives bytes back: purges of rooms, and garbage collection.
//! - [`kv`] is the store underneath: RocksDB, memory, or a host's own.
//!
//! ```
//! use std::sync::Arc;
//! use roomserver::{Input, Options, Outcome, RoomServer, kv::memory::MemoryStore, tables};
//!
//! # fn main() -> Result<(), roomserver::Error> {
//! let store = Arc::new(MemoryStore::open(&tables::specs()));
//! let server = RoomServer::open_on(store, &Options::default())?;
//! for line in include_str!("../examples/first.jsonl").lines() {
//!     match server.submit(Input::new(line))?.wait()? {
//!         Outcome::Accepted(accepted) => println!("{} changed {:?}", accepted.event_id, accepted.changes),
//!         other => println!("{other:?}"),
//!     }
//! }
//! let view = server.view();
//! let room = &view.rooms()?[0];
//! assert_eq!(room.current_state().entries()?.len(), 4);
//! # Ok(())
//! # }
//! ```
// In `Cargo.toml` these would hold in tests too, which clippy cannot exempt from them.
#![cfg_attr(
    not(test),
    deny(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::needless_pass_by_value,
        clippy::string_slice,
        clippy::too_many_lines
    )
)]

#[cfg(test)]
extern crate self as roomserver;

/// The README, so that its example is compiled and run.
#[cfg(all(doctest, feature = "rocksdb"))]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "bench")]
pub mod codec;
mod encoding;
mod error;
/// What lies on disk.
#[doc = include_str!("../docs/format.md")]
pub mod format {}
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(any(test, feature = "bench"))]
pub mod generate;
mod ids;
#[cfg(any(test, feature = "cli", feature = "fuzzing"))]
mod import_line;
mod input;
pub mod kv;
pub mod query;
mod resolution;
#[cfg(feature = "bench")]
pub mod reuse;
mod room;
mod server;
mod state;
pub mod stats;
pub mod tables;
pub mod upkeep;
pub mod verify;

pub use encoding::{event_row::Verdict, fingerprint::Fingerprint};
pub use error::{Error, ErrorKind, Result};
pub use input::{Backpressure, Durability, Limits, Ticket};
pub use query::{Lack, ParkedInput, Role};
pub use room::outcome::{Accepted, FirstVerdict, Input, Kind, Outcome, Parked, Position, StateChange, StateId};
pub use server::{Options, RoomServer};
pub use tables::current::Membership;
