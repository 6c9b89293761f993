//! The steps of a collection, each a batch of the room's writer.

use super::{Counted, Marks, Plan, Touched, is_collectable, marks::is_adoptive, plan::window_of};
use crate::{
    encoding::{
        bytes::seal,
        event_row::Remains,
        keys,
        list::BlockNid,
        pack::{self, FULL_ROWS, OPEN_ROWS, Pack, RowRef, Seal},
    },
    error::Result,
    ids::{EventNid, SnapshotNid},
    room::writer::{Draft, RoomWriter},
    state::source::{StateSource, pack_of},
    tables::{AUTH_CHILDREN, BLOCKS, EVENT_BODIES, LISTS, PACKS, rows::put_event_row},
};

impl RoomWriter {
    /// Takes their states from events; those that may not lose them, as things are now, keep them.
    pub fn trim(&mut self, events: &[EventNid]) -> Result<(Counted, Touched)> {
        let mut counted = Counted::default();
        let mut draft = self.draft();
        for nid in events {
            let mut row = self.engine.rows().event_row(self.room.nid, *nid)?;
            if !is_collectable(&row, self.head.extremities.contains(nid)) {
                continue;
            }
            row.states = None;
            row.remains = Remains::Body;
            put_event_row(&mut draft.batch, self.room.nid, *nid, &row);
            counted.events = counted.events.saturating_add(1);
        }
        self.apply_step(draft, counted)
    }

    /// Drops bodies that are not marked, after marking what came since the marks were made.
    pub fn drop_bodies(&mut self, events: &[EventNid], marks: &mut Marks) -> Result<(Counted, Touched)> {
        let mut counted = Counted::default();
        let room = self.room.nid;
        let rows = self.engine.rows();
        marks.catch_up(rows, room, &self.head, &self.stored())?;
        let mut draft = self.draft();
        for nid in events.iter().filter(|nid| !marks.has(**nid)) {
            let mut row = rows.event_row(room, *nid)?;
            if row.remains != Remains::Body || is_adoptive(&row) {
                continue;
            }
            row.remains = Remains::Row;
            put_event_row(&mut draft.batch, room, *nid, &row);
            draft.batch.delete(EVENT_BODIES, keys::event(room, *nid));
            // No walk up the auth graph may come to an event without a body.
            for auth in row.auth_events.iter().filter(|_| row.tuple.is_some()) {
                draft.batch.delete(AUTH_CHILDREN, keys::auth_child(room, *auth, *nid));
            }
            counted.bodies = counted.bodies.saturating_add(1);
            draft.head.collected.bodies = draft.head.collected.bodies.saturating_add(1);
        }
        let applied = self.apply_step(draft, counted)?;
        // Whether an event can be read never depends on what is in memory.
        for nid in events {
            self.engine.events.remove(&(room, *nid));
        }
        Ok(applied)
    }

    /// Rewrites the packs of a step without the snapshots that go, and deletes the lists and blocks that go with them.
    pub fn sweep(&mut self, plan: &Plan, place: usize) -> Result<(Counted, Touched)> {
        let mut counted = Counted::default();
        let mut draft = self.draft();
        let Some(step) = plan.step(place) else { return Ok((counted, Touched::default())) };
        // Nobody builds a list meanwhile.
        let engine = self.engine.clone();
        let _held = engine.sealing.hold(self.room.nid);
        for window in &step.windows {
            let dropped = self.sweep_window(plan, (*window, step.only_whole), &mut draft)?;
            counted.snapshots = counted.snapshots.saturating_add(dropped);
        }
        let room = self.room.nid;
        for sealed in &step.lists {
            draft.batch.delete(LISTS, keys::snapshot(room, *sealed));
        }
        for block in &step.blocks {
            draft.batch.delete(BLOCKS, keys::block(room, *block));
        }
        // A list that goes can have been built since, or be there in part.
        for sealed in self.head.seals.iter().filter(|sealed| plan.drops(**sealed) && !step.lists.contains(sealed)) {
            if !step.only_whole && step.windows.contains(&window_of(*sealed)) {
                let [first, after] = [*sealed, SnapshotNid::new(sealed.number().saturating_add(1))];
                let block = |sealed| keys::block(room, BlockNid { sealed, ordinal: 0 });
                draft.batch.delete(LISTS, keys::snapshot(room, *sealed));
                draft.batch.delete_range(BLOCKS, block(first), block(after));
            }
        }
        counted.lists = step.lists.len() as u64;
        counted.blocks = step.blocks.len() as u64;
        draft.head.merges.retain(|merge| plan.keeps_merge(merge));
        draft.head.collected.revision = draft.head.collected.revision.wrapping_add(1);
        let mut touched = Touched::default();
        touched.note(&draft.batch);
        self.reopen_log(plan.seals_after(place, &self.head.seals));
        self.store(draft)?;
        Ok((counted, touched))
    }

    /// Rewrites the packs of one window; gives how many snapshots went.
    fn sweep_window(&self, plan: &Plan, (window, only_whole): (u32, bool), draft: &mut Draft) -> Result<u64> {
        let last = SnapshotNid::new(self.head.last_snapshot);
        let mut at = window.saturating_mul(FULL_ROWS).max(1);
        let end = (at | (FULL_ROWS - 1)).min(last.number());
        let mut dropped = 0u64;
        while at <= end {
            let first = pack_of(SnapshotNid::new(at), last);
            let (pack, changed) = rewrite(&self.stored().pack(first)?.pack, plan, only_whole);
            at = first.number().saturating_add(pack.row_count().max(1));
            dropped = dropped.saturating_add(changed.dropped);
            let key = keys::snapshot(self.room.nid, first);
            let is_full =
                at.is_multiple_of(FULL_ROWS) && first.number() / FULL_ROWS == window && pack.row_count() > OPEN_ROWS;
            let follows = draft.head.collected.snapshots.checked_add(1) == Some(first.number());
            if is_full && follows && !only_whole && pack.is_gone() {
                draft.batch.delete(PACKS, key);
                draft.head.collected.snapshots = at.saturating_sub(1);
            } else if changed.any {
                let mut value = pack::encode(&pack);
                seal(&key, &mut value);
                draft.batch.put(PACKS, key, value);
            }
        }
        Ok(dropped)
    }

    fn apply_step(&mut self, draft: Draft, counted: Counted) -> Result<(Counted, Touched)> {
        let mut touched = Touched::default();
        touched.note(&draft.batch);
        self.apply(draft)?;
        Ok((counted, touched))
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
