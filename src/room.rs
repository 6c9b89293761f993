//! One room: the pipeline that decides an event and commits it.
//!
//! Everything here runs under the room's writer: at most one thread at a time is in a room. Nothing else allocates event
//! numbers or commits a batch.

mod checks;
pub mod collect;
mod commit;
mod copies;
pub mod drive;
pub mod due_lists;
pub mod engine;
mod extremities;
mod facts;
mod incoming;
mod list_builder;
mod merge;
pub mod outcome;
pub mod parking;
mod pipeline;
pub mod points;
pub mod purge;
mod references;
mod wanted;
pub mod writer;

pub use checks::reason_text;
