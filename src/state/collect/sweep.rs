//! The steps of a collection, each a batch of the room's writer.

use super::{Dropped, Plan, plan::window_of};
use crate::{
    encoding::{
        bytes::stamp,
        keys,
        list::BlockNid,
        pack::{self, FULL_ROWS, OPEN_ROWS, Pack, RowRef, Seal},
    },
    error::Result,
    ids::SnapshotNid,
    kv::Batch,
    state::{
        log::Log,
        source::{StateSource, StoredStates, pack_end},
    },
    tables::{BLOCKS, LISTS, PACKS},
};

impl Plan {
    /// Puts what the step at `place` does: packs without the snapshots that go, lists and blocks deleted. `gone` is the
    /// last of the snapshots that have no pack; gives it as it is after the batch, beside what goes. The log forgets what
    /// it has in memory of the packs; nobody may build a list of the room meanwhile.
    pub fn sweep(
        &self,
        place: usize,
        stored: StoredStates<'_>,
        log: &mut Log,
        mut gone: u32,
        batch: &mut Batch,
    ) -> Result<(Dropped, u32)> {
        let Some(step) = self.step(place) else { return Ok((Dropped::default(), gone)) };
        let mut sweep = Sweep { plan: self, stored, last: log.last(), only_whole: step.only_whole, batch };
        let mut dropped = Dropped { snapshots: 0, lists: step.lists.len() as u64, blocks: step.blocks.len() as u64 };
        for window in &step.windows {
            let snapshots = sweep.window(*window, &mut gone)?;
            dropped.snapshots = dropped.snapshots.saturating_add(snapshots);
        }
        let room = log.room();
        for sealed in &step.lists {
            batch.delete(LISTS, keys::snapshot(room, *sealed));
        }
        for block in &step.blocks {
            batch.delete(BLOCKS, keys::block(room, *block));
        }
        // Since the view, such a list can have been built, or a part of it.
        for sealed in self.unbuilt().iter().filter(|sealed| step.windows.contains(&window_of(**sealed))) {
            if !step.only_whole {
                let [first, after] = [*sealed, SnapshotNid::new(sealed.number().saturating_add(1))];
                let block = |sealed| keys::block(room, BlockNid { sealed, ordinal: 0 });
                batch.delete(LISTS, keys::snapshot(room, *sealed));
                batch.delete_range(BLOCKS, block(first), block(after));
            }
        }
        log.rewritten(self.seals_after(place, log.seals()));
        Ok((dropped, gone))
    }
}

/// One step.
struct Sweep<'a> {
    plan: &'a Plan,
    stored: StoredStates<'a>,
    last: SnapshotNid,
    only_whole: bool,
    batch: &'a mut Batch,
}

impl Sweep<'_> {
    /// Rewrites the packs of one window; gives how many snapshots went.
    fn window(&mut self, window: u32, gone: &mut u32) -> Result<u64> {
        let mut at = window.saturating_mul(FULL_ROWS).max(1);
        let end = (at | (FULL_ROWS - 1)).min(self.last.number());
        let mut dropped = 0u64;
        // Its packs are no more: a step before this one deleted them.
        if end <= *gone {
            return Ok(dropped);
        }
        while at <= end {
            let newest = pack_end(SnapshotNid::new(at), self.last);
            let (pack, changed) = rewrite(&self.stored.pack(newest)?.pack, self.plan, self.only_whole);
            let first = pack.first;
            at = newest.number().saturating_add(1);
            dropped = dropped.saturating_add(changed.dropped);
            let key = keys::snapshot(self.stored.room(), first);
            let is_full =
                at.is_multiple_of(FULL_ROWS) && first.number() / FULL_ROWS == window && pack.row_count() > OPEN_ROWS;
            let follows = gone.checked_add(1) == Some(first.number());
            if is_full && follows && !self.only_whole && pack.is_gone() {
                self.batch.delete(PACKS, key);
                *gone = at.saturating_sub(1);
            } else if changed.any {
                let mut value = pack::encode(&pack);
                stamp(&key, &mut value);
                self.batch.put(PACKS, key, value);
            }
        }
        Ok(dropped)
    }
}

/// What became of a pack.
struct Rewritten {
    dropped: u64,
    any: bool,
}

/// A pack as it is after a collection.
fn rewrite(pack: &Pack, plan: &Plan, only_whole: bool) -> (Pack, Rewritten) {
    let mut rewritten = Rewritten { dropped: 0, any: false };
    let mut after = Pack::new(pack.first, pack.fingerprint, pack.len);
    for (number, row) in (pack.first.number()..).zip(pack.rows()) {
        let snapshot = SnapshotNid::new(number);
        if plan.drops(snapshot) && !only_whole {
            if row.seal != Seal::Gone {
                rewritten.dropped = rewritten.dropped.saturating_add(1);
                rewritten.any = true;
            }
            after.push(RowRef::GONE);
        } else if plan.makes_whole(snapshot) && row.seal == Seal::Derived {
            rewritten.any = true;
            after.push(RowRef { seal: Seal::Whole, entries: &[], ..row });
        } else {
            after.push(row);
        }
    }
    (after, rewritten)
}
