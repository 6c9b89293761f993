//! Collecting the states of a room that nobody asks for any more.
//!
//! Who calls it says which snapshots are retained. Needed are those, and what it takes to read them: the log down to the
//! nearest list. All else of the view goes, in steps, between which the room goes on from what is retained or new.

mod bits;
mod plan;
mod sweep;

pub use self::{bits::Bits, plan::Plan};
use crate::ids::SnapshotNid;

/// What of a room's snapshots is to stay.
#[derive(Debug, Clone)]
pub struct Retained {
    /// The newest snapshot of the view.
    pub last: SnapshotNid,
    /// The last of the snapshots that have no pack any more; 0 if there is none.
    pub gone: u32,
    /// The numbers of the snapshots that can still be asked for, the newest state among them.
    pub snapshots: Bits,
}

/// What of the states goes, or could go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Snapshots: rows of packs.
    pub snapshots: u64,
    /// Lists.
    pub lists: u64,
    /// Blocks.
    pub blocks: u64,
}
