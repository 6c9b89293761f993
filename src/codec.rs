//! What an event takes on disk, in this engine's form and in others, and what writing and reading it takes.
//!
//! A [`Corpus`](crate::generate::corpus::Corpus) goes through the engine, so that rows, bodies, IDs and index are those of a
//! user's store; every event is read back and held against the bytes that came. Beside that stand its JSON, one by one,
//! compressed, and as the values of a table of the same backend: in blocks of 16 KiB with Zstandard 3, as homeservers have
//! it, and with the settings of our bodies.

mod events;
mod figures;
mod forms;
mod prepared;
pub mod report;
mod stores;
mod times;
mod tuning;

#[cfg(test)]
mod tests;

pub use self::{
    events::{Event, Events},
    figures::{Figures, Settings},
    forms::forms,
    times::times,
    tuning::tunings,
};
