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
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, btree_map::Entry};

pub use self::marks::Marks;
use crate::{
    encoding::{
        event_row::{EventRow, Remains},
        head::RoomHead,
    },
    error::Result,
    ids::{EventNid, RoomNid, SnapshotNid},
    kv::{Batch, Garbage, Op, TableId},
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
pub struct FreedCounts {
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

impl From<Dropped> for FreedCounts {
    fn from(dropped: Dropped) -> Self {
        let Dropped { snapshots, lists, blocks } = dropped;
        Self { snapshots, lists, blocks, ..Self::default() }
    }
}

/// What was deleted or replaced in a room: in each table the first and the last key, and how many rows.
#[derive(Debug, Clone, Default)]
pub struct Touched(BTreeMap<u16, Part>);

/// The part of a table that lies around what was deleted or replaced in it.
#[derive(Debug, Clone)]
struct Part {
    first: Vec<u8>,
    last: Vec<u8>,
    rows: u64,
}

impl Touched {
    fn note(&mut self, batch: &Batch) {
        for op in batch.ops().iter().filter(|op| op.table() != HEADS) {
            let (Op::Put { key, .. } | Op::Delete { key, .. } | Op::DeleteRange { start: key, .. }) = op;
            self.widen(op.table().0, Part { first: key.clone(), last: key.clone(), rows: 1 });
        }
    }

    fn widen(&mut self, table: u16, part: Part) {
        match self.0.entry(table) {
            Entry::Vacant(place) => _ = place.insert(part),
            Entry::Occupied(mut place) => place.get_mut().join(part),
        }
    }

    /// Adds what another step touched in the same room.
    pub fn add(&mut self, other: Self) {
        for (table, part) in other.0 {
            self.widen(table, part);
        }
    }
}

impl Part {
    fn join(&mut self, other: Self) {
        if other.first < self.first {
            self.first = other.first;
        }
        if other.last > self.last {
            self.last = other.last;
        }
        self.rows = self.rows.saturating_add(other.rows);
    }
}

/// Parts of one table that are kept apart.
const PARTS_MAX: usize = if cfg!(test) { 8 } else { 4096 };

/// What was touched in all rooms of a collection, for one compaction at its end.
#[derive(Debug, Default)]
pub struct GarbageRanges(BTreeMap<u16, Vec<Part>>);

impl GarbageRanges {
    /// Adds what was touched in a room; rooms come in the order of their numbers. Where many rooms were touched, neighbours
    /// are told of as one part, so that the memory that this takes is bounded.
    pub fn add(&mut self, room: Touched) {
        for (table, part) in room.0 {
            let parts = self.0.entry(table).or_default();
            parts.push(part);
            if parts.len() >= PARTS_MAX {
                let mut joined: Vec<Part> = Vec::with_capacity(PARTS_MAX);
                for (place, part) in std::mem::take(parts).into_iter().enumerate() {
                    match joined.last_mut().filter(|_| place % 2 == 1) {
                        Some(last) => last.join(part),
                        None => joined.push(part),
                    }
                }
                *parts = joined;
            }
        }
    }

    /// The parts as a store takes them.
    pub fn garbage(self) -> Vec<Garbage> {
        let parts = self.0.into_iter().flat_map(|(table, parts)| parts.into_iter().map(move |part| (table, part)));
        let garbage = parts.map(|(table, Part { first, last, rows })| Garbage {
            table: TableId(table),
            start: first,
            end: [last.as_slice(), &[0]].concat(),
            rows: Some(rows),
        });
        garbage.collect()
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
