//! Forward extremities: the accepted New events without an accepted New descendant.
//!
//! Soft-failed and rejected events hide nothing by themselves, nor does history: they are *transparent*, so that an
//! accepted event removes what lies behind them. The set of a live room is never empty.

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::facts::RoomFacts;
use crate::{encoding::event_row::EventRow, error::Result, ids::EventNid};

impl RoomFacts<'_> {
    /// The extremities after an event got its place, ascending.
    pub(super) fn extremities_after(
        &self,
        nid: EventNid,
        row: &EventRow,
        children: &[EventNid],
    ) -> Result<SmallVec<[EventNid; 4]>> {
        let mut extremities = self.head.extremities.clone();
        // An event can come after those that name it: their state was supplied.
        let has_descendant = self.has_accepted_descendant(children)?;
        let counts = !row.is_transparent();
        if counts || has_descendant {
            self.remove_ancestors(row, &mut extremities)?;
        }
        if counts && !has_descendant {
            extremities.push(nid);
            extremities.sort_unstable();
        }
        Ok(extremities)
    }

    /// Removes the nearest events behind `row` that count, looking through transparent ones.
    fn remove_ancestors(&self, row: &EventRow, extremities: &mut SmallVec<[EventNid; 4]>) -> Result<()> {
        let mut seen = FxHashSet::default();
        let mut behind: Vec<EventNid> = row.prev_events.iter().flatten().copied().collect();
        while let Some(prev) = behind.pop() {
            if extremities.is_empty() {
                break;
            }
            if !seen.insert(prev) {
                continue;
            }
            if let Some(place) = extremities.iter().position(|extremity| *extremity == prev) {
                extremities.remove(place);
                continue;
            }
            let row = self.engine.rows().event_row(self.room.nid, prev)?;
            if row.in_graph() && row.is_transparent() {
                behind.extend(row.prev_events.iter().flatten());
            }
        }
        Ok(())
    }

    /// Tells whether one of these events, or of those that descend from them through transparent ones, is an accepted
    /// New event.
    fn has_accepted_descendant(&self, children: &[EventNid]) -> Result<bool> {
        let rows = self.engine.rows();
        let mut seen: FxHashSet<EventNid> = children.iter().copied().collect();
        let mut ahead = children.to_vec();
        while let Some(child) = ahead.pop() {
            if !rows.event_row(self.room.nid, child)?.is_transparent() {
                return Ok(true);
            }
            let key = rows.event_identity(self.room, child)?.key;
            ahead.extend(rows.prev_children(self.room.nid, &key)?.into_iter().filter(|child| seen.insert(*child)));
        }
        Ok(false)
    }
}
