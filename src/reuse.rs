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

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::{
    compress_state::CompressState, conduit::Conduit, dendrite::Dendrite, full_copy::FullCopy, layout::Layout,
    prolly::Prolly, roomserver::Roomserver, synapse::Synapse,
};
pub use self::{
    layout::Blocks,
    measure::{Measured, Progress, Reads, Settings, measure},
    questions::Counts,
    workload::Workload,
};
use crate::{
    error::{Error, Result},
    room::engine::{MEMORY_DEFAULT, STATES_SHARE},
};

/// A way to store states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayoutKind {
    /// This engine's.
    Roomserver,
    /// Every state in full.
    FullCopy,
    /// Synapse's deltas.
    Synapse,
    /// What rust-synapse-compress-state makes of them.
    CompressState,
    /// Conduit's differences, which Tuwunel and Continuwuity have too.
    Conduit,
    /// Dendrite's blocks.
    Dendrite,
    /// A prolly tree.
    Prolly,
}

impl LayoutKind {
    /// All of them, this engine's first.
    pub const ALL: [Self; 7] = [
        Self::Roomserver,
        Self::FullCopy,
        Self::Synapse,
        Self::CompressState,
        Self::Conduit,
        Self::Dendrite,
        Self::Prolly,
    ];

    /// Its name, as in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Roomserver => "roomserver",
            Self::FullCopy => "full-copy",
            Self::Synapse => "synapse",
            Self::CompressState => "compress-state",
            Self::Conduit => "conduit",
            Self::Dendrite => "dendrite",
            Self::Prolly => "prolly",
        }
    }

    fn layout(self, workload: Workload) -> Box<dyn Layout> {
        match self {
            Self::Roomserver => Box::new(Roomserver::new(MEMORY_DEFAULT / 8 * STATES_SHARE)),
            Self::FullCopy => Box::new(FullCopy::default()),
            Self::Synapse => Box::new(Synapse::default()),
            Self::CompressState => Box::new(CompressState::default()),
            Self::Conduit => Box::new(Conduit::default()),
            Self::Dendrite => Box::new(Dendrite::default()),
            Self::Prolly => Box::new(Prolly::new(if workload == Workload::B { 0 } else { 2 })),
        }
    }
}

impl FromStr for LayoutKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|layout| layout.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::invalid(format!("there is no layout {name:?}, only {names}"))
        })
    }
}
