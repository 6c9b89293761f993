//! Garbage collection in one room.
//!
//! What can be reached is found out over a view of the store, while the room goes on. What cannot is deleted by the
//! room's writer, in bounded steps between its events. That is sound, since what cannot be reached stays so:
//!
//! - An event that is to lose its states loses them first. From then on no new event can take one of them.
//! - A new event takes the state after an event that has states, the current state, what a merge in the head gave, or a
//!   new one. So a snapshot that stands beside no event and is not reached from one can never be taken.
//! - Blocks are shared with lists that are reached only, and new ones have new names.
//! - A body is another matter: a new event may name any event among its auth events, and a supplied state may have any.
//!   So before bodies are dropped, the writer marks what came since the view.
//!
//! Every batch leaves a whole store. Numbers of events and of snapshots are never given out again.

mod marks;
mod sweep;

use std::collections::BTreeMap;

pub use self::marks::Marks;
use crate::{
    encoding::{
        event_row::{EventRow, Remains},
        head::RoomHead,
    },
    error::Result,
    ids::{EventNid, RoomNid, SnapshotNid},
    kv::{Batch, Op, TableId},
    state::collect::{Bits, Dropped, Plan, Retained},
    tables::{HEADS, rows::Rows},
};

/// Events of one step: what the room waits for.
pub const STEP_EVENTS: usize = 256;

/// Which events of a room lose their states, and their bodies unless something that is retained needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scope {
    /// The events of the graph before this position that are no forward extremities.
    pub before: Option<u32>,
    /// Rejected and soft-failed events that no retained event has among its prev events.
    pub refused: bool,
}

/// What was freed, or could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Events that lost their states.
    pub events: u64,
    /// Bodies of events.
    pub bodies: u64,
    /// Snapshots: rows of packs.
    pub snapshots: u64,
    /// Lists.
    pub lists: u64,
    /// Blocks.
    pub blocks: u64,
}

impl Counted {
    /// Adds what another step freed.
    pub fn add(&mut self, other: Self) {
        let Self { events, bodies, snapshots, lists, blocks } = other;
        for (sum, more) in [
            (&mut self.events, events),
            (&mut self.bodies, bodies),
            (&mut self.snapshots, snapshots),
            (&mut self.lists, lists),
            (&mut self.blocks, blocks),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

impl From<Dropped> for Counted {
    fn from(dropped: Dropped) -> Self {
        let Dropped { snapshots, lists, blocks } = dropped;
        Self { snapshots, lists, blocks, ..Self::default() }
    }
}

/// The part of each table in which rows were deleted or replaced: its first and its last key.
#[derive(Debug, Clone, Default)]
pub struct Touched(BTreeMap<u16, (Vec<u8>, Vec<u8>)>);

impl Touched {
    fn note(&mut self, batch: &Batch) {
        for op in batch.ops().iter().filter(|op| op.table() != HEADS) {
            let (Op::Put { key, .. } | Op::Delete { key, .. } | Op::DeleteRange { start: key, .. }) = op;
            self.widen(op.table().0, key, key);
        }
    }

    fn widen(&mut self, table: u16, first: &[u8], last: &[u8]) {
        let (least, greatest) = self.0.entry(table).or_insert_with(|| (first.to_vec(), last.to_vec()));
        if first < least.as_slice() {
            *least = first.to_vec();
        }
        if last > greatest.as_slice() {
            *greatest = last.to_vec();
        }
    }

    /// Adds what another step touched.
    pub fn add(&mut self, other: &Self) {
        for (table, (first, last)) in &other.0 {
            self.widen(*table, first, last);
        }
    }

    /// The ranges, their ends exclusive.
    pub fn ranges(self) -> impl Iterator<Item = (TableId, Vec<u8>, Vec<u8>)> {
        self.0.into_iter().map(|(table, (first, last))| (TableId(table), first, [last.as_slice(), &[0]].concat()))
    }
}

/// What cannot be reached in a room. Reads all its event rows, packs and lists, and the names of its blocks.
///
/// A snapshot is retained that stands beside an event, is the current state, or what a merge gave that can be asked for
/// again.
pub fn plan_of(rows: Rows<'_>, room: RoomNid, head: &RoomHead) -> Result<Plan> {
    let mut snapshots = Bits::default();
    rows.event_rows(room, &mut |_, row| {
        if let Some(states) = row.states {
            snapshots.set(states.before.number());
            snapshots.set(states.after.number());
        }
        Ok(())
    })?;
    let taken = |snapshot: &SnapshotNid| snapshot.is_empty() || snapshots.has(snapshot.number());
    let merges = head.merges.iter().filter(|merge| merge.parents.iter().all(taken));
    let results: Vec<SnapshotNid> = merges.map(|merge| merge.result).collect();
    for snapshot in results.into_iter().chain([head.current.snapshot]) {
        snapshots.set(snapshot.number());
    }
    let last = SnapshotNid::new(head.last_snapshot);
    Plan::new(rows, room, Retained { last, gone: head.collected.snapshots, snapshots })
}

/// The events that lose their states under a scope, newest first, as one view has the room.
///
/// A rejected event that a retained one names among its auth events stays: that is why the other was rejected, and who
/// imports what is left must come to the same verdict.
pub fn doomed(rows: Rows<'_>, room: RoomNid, scope: Scope) -> Result<Vec<EventNid>> {
    let mut doomed = Vec::new();
    if scope == Scope::default() {
        return Ok(doomed);
    }
    let head = rows.head(room)?;
    let [mut named, mut cited] = [Bits::default(), Bits::default()];
    rows.event_rows(room, &mut |nid, row| {
        let reasons = named.has(nid.number()) && row.verdict.is_rejected();
        let old = scope.before.is_some_and(|before| row.position < before);
        let refused = scope.refused && !row.verdict.is_accepted() && !cited.has(nid.number());
        if is_collectable(&row, head.extremities.contains(&nid)) && (old || refused) && !reasons {
            doomed.push(nid);
            return Ok(());
        }
        for auth in &row.auth_events {
            named.set(auth.number());
        }
        for prev in row.prev_events.iter().flatten() {
            cited.set(prev.number());
        }
        Ok(())
    })?;
    Ok(doomed)
}

/// Tells whether an event has states, or could have had, that it may lose.
fn is_collectable(row: &EventRow, is_extremity: bool) -> bool {
    row.in_graph() && row.remains == Remains::All && !is_extremity
}
