//! The layouts that are compared.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    compress_state::CompressState, conduit::Conduit, dendrite::Dendrite, full_copy::FullCopy, layout::Layout,
    prolly::Prolly, roomserver::Roomserver, synapse::Synapse, workload::Workload,
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

    pub(super) fn layout(self, workload: Workload) -> Box<dyn Layout> {
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
