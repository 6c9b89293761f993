//! What it costs to keep every state of a room, and how much of one state serves others: this engine's layout beside
//! those of other servers, each re-implemented from its source, on the same store with the same settings.
//!
//! A [`Workload`] is replayed into a layout; then its bytes are counted, and questions are asked whose answers are known.

pub(crate) mod chart;
mod compress_state;
mod conduit;
mod dendrite;
mod full_copy;
mod history;
mod kind;
mod layout;
mod measure;
mod names;
mod prolly;
mod questions;
pub mod report;
mod roomserver;
mod simulated;
mod site;
mod synapse;
mod synapse_rows;
mod truth;
mod workload;

#[cfg(test)]
mod tests;

pub use self::{
    kind::LayoutKind,
    layout::Blocks,
    measure::{Measured, Progress, Reads, Settings, measure},
    questions::Counts,
    workload::Workload,
};
