//! The steps of a collection, each a batch of the room's writer.

use super::{FreedCounts, Marks, Plan, Touched, is_collectable, marks::is_adoptive};
use crate::{
    encoding::{event_row::Remains, head::Merge, keys},
    error::Result,
    ids::{EventNid, SnapshotNid},
    room::writer::{Draft, RoomWriter},
    tables::{AUTH_CHILDREN, EVENT_BODIES, graph::put_event_row},
};

impl RoomWriter {
    /// Takes their states from events; those that may not lose them, as things are now, keep them.
    pub fn trim(&mut self, events: &[EventNid]) -> Result<(FreedCounts, Touched)> {
        let mut counted = FreedCounts::default();
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
    pub fn drop_bodies(&mut self, events: &[EventNid], marks: &mut Marks) -> Result<(FreedCounts, Touched)> {
        let mut counted = FreedCounts::default();
        let room = self.room.nid;
        let engine = self.engine.clone();
        let rows = engine.rows();
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
    pub fn sweep(&mut self, plan: &Plan, place: usize) -> Result<(FreedCounts, Touched)> {
        let engine = self.engine.clone();
        let mut draft = self.draft();
        // Nobody builds a list meanwhile.
        let _held = engine.due_lists.hold(self.room.nid);
        let stored = engine.stored_states(&**engine.store(), self.room.nid, &self.head);
        let gone = draft.head.collected.snapshots;
        let (dropped, gone) = plan.sweep(place, stored, &mut self.log, gone, &mut draft.batch)?;
        draft.head.collected.snapshots = gone;
        draft.head.collected.revision = draft.head.collected.revision.wrapping_add(1);
        draft.head.merges.retain(|merge| keeps_merge(plan, merge));
        let mut touched = Touched::default();
        touched.note(&draft.batch);
        self.store(draft)?;
        Ok((dropped.into(), touched))
    }

    fn apply_step(&mut self, draft: Draft, counted: FreedCounts) -> Result<(FreedCounts, Touched)> {
        let mut touched = Touched::default();
        touched.note(&draft.batch);
        self.apply(draft)?;
        Ok((counted, touched))
    }
}

/// Tells whether a merge of the head can be asked for again: events have the states that it resolved.
fn keeps_merge(plan: &Plan, merge: &Merge) -> bool {
    let is_known = |snapshot: &SnapshotNid| snapshot.is_empty() || !plan.drops(*snapshot);
    merge.parents.iter().chain([&merge.result]).all(is_known)
}
