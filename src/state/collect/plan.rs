//! What of a room's snapshots is needed, as one view of the store has it.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::{Bits, Dropped, Retained};
use crate::{
    encoding::{
        head::SEALS_MAX,
        list::BlockNid,
        pack::{FULL_ROWS, Pack, Seal},
    },
    error::{Error, Result},
    ids::{RoomNid, SnapshotNid},
    state::{read, source::StateSource},
    tables::rows::Rows,
};

/// Windows of [`FULL_ROWS`] snapshots that one step rewrites.
const STEP_WINDOWS: usize = if cfg!(test) { 2 } else { 16 };

/// What cannot be reached in a room, and the steps that delete it.
pub struct Plan {
    /// The newest snapshot of the view.
    last: SnapshotNid,
    /// The retained snapshots.
    roots: Bits,
    /// Those, and all that it takes to read them.
    needed: Bits,
    /// Sealed ones whose parent goes: their list is truth from then on.
    whole: Bits,
    whole_ones: Vec<SnapshotNid>,
    steps: Vec<Step>,
    /// All sealed snapshots with a derived list that the view has, newest first.
    derived: Vec<SnapshotNid>,
    /// Those of them that go and whose list the view lacks.
    unbuilt: Vec<SnapshotNid>,
    /// Events that stand in a retained state.
    in_states: Bits,
    boundary: Vec<SnapshotNid>,
    counted: Dropped,
    bytes: u64,
}

/// What one batch deletes.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Whether it only makes lists truth. That comes first: no row may be cut off from its parent between two batches.
    pub(super) only_whole: bool,
    /// The windows of snapshots whose packs are rewritten.
    pub(super) windows: Vec<u32>,
    pub(super) lists: Vec<SnapshotNid>,
    pub(super) blocks: Vec<BlockNid>,
    /// The lists in the windows up to here are truth after it.
    whole_to: u32,
    /// What goes in the windows from here on is gone after it.
    dropped_from: u32,
}

impl Plan {
    /// Looks at the snapshots of a room. Reads all its packs and lists, and the names of its blocks.
    pub fn new(rows: Rows<'_>, room: RoomNid, retained: Retained) -> Result<Self> {
        let Retained { last, gone, snapshots } = retained;
        let mut plan = Self {
            last,
            needed: snapshots.clone(),
            roots: snapshots,
            whole: Bits::default(),
            whole_ones: Vec::new(),
            steps: Vec::new(),
            derived: Vec::new(),
            unbuilt: Vec::new(),
            in_states: Bits::default(),
            boundary: Vec::new(),
            counted: Dropped::default(),
            bytes: 0,
        };
        let mut windows: BTreeMap<u32, Step> = BTreeMap::new();
        let sealed = plan.walk(rows, room, &mut windows)?;
        plan.find_lists(rows, room, &sealed, &mut windows)?;
        plan.add_steps(windows, gone);
        Ok(plan)
    }

    /// Lists become truth first. Then what goes does so newest first: no row, needed or not, is ever cut off from its
    /// parent between two steps.
    fn add_steps(&mut self, mut windows: BTreeMap<u32, Step>, gone: u32) {
        let with_whole: BTreeSet<u32> = self.whole_ones.iter().map(|sealed| window_of(*sealed)).collect();
        for windows in with_whole.into_iter().collect::<Vec<u32>>().chunks(STEP_WINDOWS) {
            let whole_to = windows.last().copied().unwrap_or_default();
            let windows = windows.to_vec();
            self.steps.push(Step { only_whole: true, windows, whole_to, dropped_from: u32::MAX, ..Step::default() });
        }
        while !windows.is_empty() {
            let mut step = Step { whole_to: u32::MAX, ..Step::default() };
            while step.windows.len() < STEP_WINDOWS
                && let Some((window, part)) = windows.pop_last()
            {
                step.dropped_from = window;
                step.windows.push(window);
                step.lists.extend(part.lists);
                step.blocks.extend(part.blocks);
            }
            self.steps.push(step);
        }
        // Packs from the first on that are all gone need no rows.
        let first = gone / FULL_ROWS + u32::from(gone > 0);
        let gone: Vec<u32> = (first..).take_while(|window| self.is_gone(*window)).collect();
        for windows in gone.chunks(STEP_WINDOWS) {
            self.steps.push(Step { windows: windows.to_vec(), whole_to: u32::MAX, ..Step::default() });
        }
    }

    /// Finds the events that stand in a retained state. Reads whole states where a state's parent is not retained.
    pub fn find_events<S: StateSource>(&mut self, states: &S) -> Result<()> {
        for snapshot in std::mem::take(&mut self.boundary) {
            for (_, event) in read::collect(states, snapshot, None)? {
                self.in_states.set(event.number());
            }
        }
        Ok(())
    }

    /// The events that stand in a retained state, once they were looked for.
    pub fn in_states(&self) -> &Bits {
        &self.in_states
    }

    /// The number of steps.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    pub(super) fn step(&self, place: usize) -> Option<&Step> {
        self.steps.get(place)
    }

    /// The snapshots, lists and blocks that would go, and about how many bytes their rows have.
    pub fn counted(&self) -> (Dropped, u64) {
        (self.counted, self.bytes)
    }

    /// Tells whether a snapshot goes: one that the view has and nothing needs.
    pub fn drops(&self, snapshot: SnapshotNid) -> bool {
        snapshot <= self.last && !self.needed.has(snapshot.number())
    }

    /// The snapshots that go and had no list yet when they were due one: the head named them, so there are few.
    pub(super) fn unbuilt(&self) -> &[SnapshotNid] {
        &self.unbuilt
    }

    /// Tells whether the list of a snapshot becomes truth.
    pub(super) fn makes_whole(&self, snapshot: SnapshotNid) -> bool {
        self.whole.has(snapshot.number())
    }

    /// The newest snapshots with a derived list once the step at `place` is done, when the head names `seals` now.
    pub(super) fn seals_after(&self, place: usize, seals: &[SnapshotNid]) -> SmallVec<[SnapshotNid; SEALS_MAX]> {
        let Some(step) = self.steps.get(place) else { return seals.into() };
        let stays = |sealed: &SnapshotNid| {
            let window = window_of(*sealed);
            let is_whole = self.whole.has(sealed.number()) && window <= step.whole_to;
            let is_dropped = self.drops(*sealed) && window >= step.dropped_from;
            !is_whole && !is_dropped
        };
        let since = seals.iter().rev().copied().filter(|sealed| *sealed > self.last);
        let mut newest: SmallVec<[SnapshotNid; SEALS_MAX]> =
            since.chain(self.derived.iter().copied().filter(stays)).take(SEALS_MAX).collect();
        newest.reverse();
        newest
    }

    /// Walks the log from its end, and marks what it takes to read what is marked; gives the snapshots that have a list.
    fn walk(&mut self, rows: Rows<'_>, room: RoomNid, windows: &mut BTreeMap<u32, Step>) -> Result<Bits> {
        let mut lists = Bits::default();
        rows.lists(room, &mut |sealed, _, _| {
            lists.set(sealed.number());
            Ok(())
        })?;
        let mut sealed = Bits::default();
        let mut bases = Vec::new();
        rows.packs(room, &mut |pack, bytes| {
            let dropped = self.walk_pack(&pack, &lists, &mut sealed, &mut bases)?;
            if dropped > 0 {
                windows.entry(window_of(pack.first)).or_default();
                self.counted.snapshots = self.counted.snapshots.saturating_add(dropped);
                let share = (bytes as u64).saturating_mul(dropped).checked_div(u64::from(pack.row_count()));
                self.bytes = self.bytes.saturating_add(share.unwrap_or_default());
            }
            Ok(())
        })?;
        for (snapshot, parent) in bases {
            if !parent.is_empty() && !self.needed.has(parent.number()) {
                self.whole.set(snapshot.number());
                self.whole_ones.push(snapshot);
            }
        }
        Ok(sealed)
    }

    fn walk_pack(
        &mut self,
        pack: &Pack,
        lists: &Bits,
        sealed: &mut Bits,
        bases: &mut Vec<(SnapshotNid, SnapshotNid)>,
    ) -> Result<u64> {
        let mut dropped = 0u64;
        let rows: Vec<_> = (pack.first.number()..).zip(pack.rows()).collect();
        for (number, row) in rows.into_iter().rev() {
            let snapshot = SnapshotNid::new(number);
            if row.seal == Seal::Derived {
                self.derived.push(snapshot);
            }
            if !self.needed.has(number) {
                if row.seal == Seal::Derived && !lists.has(number) {
                    self.unbuilt.push(snapshot);
                }
                dropped = dropped.saturating_add(u64::from(row.seal != Seal::Gone));
                continue;
            }
            if row.seal == Seal::Gone {
                return Err(Error::internal(format!("snapshot {number} is needed, and was collected")));
            }
            let has_list = row.seal != Seal::Open && lists.has(number);
            if has_list {
                sealed.set(number);
            }
            if self.roots.has(number) {
                let covered = row.parent.is_empty() || self.roots.has(row.parent.number());
                if covered && row.seal != Seal::Whole {
                    let events = row.entries.iter().filter_map(|(_, event)| *event);
                    events.for_each(|event| _ = self.in_states.set(event.number()));
                } else {
                    self.boundary.push(snapshot);
                }
            }
            match row.seal {
                Seal::Whole | Seal::Gone => {}
                Seal::Derived if has_list => bases.push((snapshot, row.parent)),
                Seal::Derived | Seal::Open => _ = self.needed.set(row.parent.number()),
            }
        }
        Ok(dropped)
    }

    /// Finds the lists and blocks that go. A block goes with the oldest of the lists that name it, which goes last.
    fn find_lists(
        &mut self,
        rows: Rows<'_>,
        room: RoomNid,
        sealed: &Bits,
        windows: &mut BTreeMap<u32, Step>,
    ) -> Result<()> {
        let mut kept: FxHashSet<BlockNid> = FxHashSet::default();
        let mut oldest_list: FxHashMap<BlockNid, SnapshotNid> = FxHashMap::default();
        rows.lists(room, &mut |snapshot, list, bytes| {
            let fences = list.runs.iter().flatten();
            if sealed.has(snapshot.number()) {
                kept.extend(fences.map(|fence| fence.block));
                return Ok(());
            }
            for fence in fences {
                oldest_list.insert(fence.block, snapshot);
            }
            windows.entry(window_of(snapshot)).or_default().lists.push(snapshot);
            self.counted.lists = self.counted.lists.saturating_add(1);
            self.bytes = self.bytes.saturating_add(bytes as u64);
            Ok(())
        })?;
        rows.blocks(room, &mut |block, bytes| {
            // The list of a snapshot that has none yet is being built.
            let in_work = !self.drops(block.sealed) && !sealed.has(block.sealed.number());
            if kept.contains(&block) || (in_work && !oldest_list.contains_key(&block)) {
                return Ok(());
            }
            let list = oldest_list.get(&block).copied().unwrap_or(block.sealed);
            windows.entry(window_of(list)).or_default().blocks.push(block);
            self.counted.blocks = self.counted.blocks.saturating_add(1);
            self.bytes = self.bytes.saturating_add(bytes as u64);
            Ok(())
        })
    }

    /// Tells whether a full window has nothing that is needed.
    fn is_gone(&self, window: u32) -> bool {
        let Some(first) = window.checked_mul(FULL_ROWS) else { return false };
        let last = first | (FULL_ROWS - 1);
        last <= self.last.number() && !self.needed.has_any(first.max(1)..=last)
    }
}

/// The window of [`FULL_ROWS`] snapshots that a snapshot lies in.
pub(super) fn window_of(snapshot: SnapshotNid) -> u32 {
    snapshot.number() / FULL_ROWS
}
