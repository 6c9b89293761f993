//! Where states meet: resolving the states after several events into one snapshot.

use smallvec::SmallVec;

use super::{
    facts::{Meeting, RoomFacts},
    writer::{Changed, Draft, RoomWriter},
};
use crate::{
    encoding::head::{MERGES_MAX, Merge},
    error::{Error, Result},
    ids::{EventNid, SnapshotNid, StateTuple},
    resolution,
    state::{
        difference::{Difference, differences},
        fingerprint::StateSummary,
        log::Change,
    },
};

/// States resolved into one, as changes to one of them.
pub(super) struct Resolution {
    /// The state that is changed least.
    pub(super) parent: SnapshotNid,
    /// Another of the states.
    pub(super) second_parent: Option<SnapshotNid>,
    /// What changes, ascending.
    pub(super) changes: Vec<Changed>,
}

impl RoomWriter {
    /// Resolves the states of `snapshots` (the specification's "resolution of the states after its prev events"),
    /// storing nothing.
    pub(super) fn resolve(&self, snapshots: &[SnapshotNid]) -> Result<Resolution> {
        let [first, rest @ ..] = snapshots else {
            return Ok(Resolution { parent: SnapshotNid::EMPTY, second_parent: None, changes: Vec::new() });
        };
        let unchanged = Resolution { parent: *first, second_parent: None, changes: Vec::new() };
        if rest.is_empty() {
            return Ok(unchanged);
        }
        let conflicts = differences(&self.states(), snapshots)?;
        if conflicts.is_empty() {
            return Ok(unchanged);
        }
        let missing = || Error::internal("states differ in a room without a create event");
        let create = self.head.create.ok_or_else(missing)?;
        let newest = EventNid::new(self.head.last_event).ok_or_else(missing)?;
        let conflicted = conflicts.iter().map(|conflict| conflict.tuple).collect();
        let meeting = Meeting { state: self.view(*first, &[]), conflicted, newest };
        let resolved = resolution::resolve(&self.room.rules, create, snapshots.len(), &conflicts, &meeting)?;
        Ok(nearest(snapshots, &conflicts, &resolved))
    }

    /// The snapshot of resolved states. It follows from stored rows alone whether it takes a new number: one of the
    /// room's newest merges, one of the states themselves, else a new one.
    pub(super) fn merge(&mut self, draft: &mut Draft, snapshots: &[SnapshotNid]) -> Result<SnapshotNid> {
        let mut parents: SmallVec<[SnapshotNid; 4]> = snapshots.into();
        parents.sort_unstable();
        parents.dedup();
        if let [only] = parents.as_slice() {
            return Ok(*only);
        }
        if let Some(merge) = draft.head.merges.iter().find(|merge| merge.parents == parents) {
            return Ok(merge.result);
        }
        let Resolution { parent, second_parent, changes } = self.resolve(&parents)?;
        let result = self.append(draft, parent, second_parent, changes)?;
        if draft.head.merges.len() >= MERGES_MAX {
            draft.head.merges.remove(0);
        }
        draft.head.merges.push(Merge { parents, result });
        Ok(result)
    }

    /// The summary of a snapshot.
    pub(super) fn summary(&mut self, snapshot: SnapshotNid) -> Result<StateSummary> {
        let Self { engine, room, head, log, pending, .. } = self;
        let facts = RoomFacts { engine, room, head, pending: pending.as_ref() };
        log.summary(engine.stored_states(&**engine.store(), room.nid, head), &facts, snapshot)
    }

    /// Appends changes to a snapshot; gives the snapshot itself if there are none.
    pub(super) fn append(
        &mut self,
        draft: &mut Draft,
        parent: SnapshotNid,
        second_parent: Option<SnapshotNid>,
        changes: Vec<Changed>,
    ) -> Result<SnapshotNid> {
        let Self { engine, room, head, log, pending, .. } = self;
        let facts = RoomFacts { engine, room, head, pending: pending.as_ref() };
        let stored = engine.stored_states(&**engine.store(), room.nid, head);
        let unforked = head.extremities.len() <= 1;
        log.append(stored, &facts, Change { parent, second_parent, changes, unforked }, &mut draft.batch)
    }
}

/// The result as changes to the state that it is nearest to, the oldest of equals.
fn nearest(snapshots: &[SnapshotNid], conflicts: &[Difference], resolved: &resolution::Resolved) -> Resolution {
    let mut nearest: Option<Resolution> = None;
    for (place, parent) in snapshots.iter().enumerate() {
        let value = |tuple: &StateTuple| {
            let conflict = conflicts.binary_search_by_key(tuple, |conflict| conflict.tuple).ok()?;
            *conflicts.get(conflict)?.events.get(place)?
        };
        let changes: Vec<Changed> = resolved
            .iter()
            .map(|(tuple, after)| (*tuple, value(tuple), *after))
            .filter(|(_, before, after)| before != after)
            .collect();
        if nearest.as_ref().is_none_or(|nearest| changes.len() < nearest.changes.len()) {
            let second_parent = snapshots.iter().copied().find(|other| other != parent);
            nearest = Some(Resolution { parent: *parent, second_parent, changes });
        }
    }
    nearest.unwrap_or(Resolution { parent: SnapshotNid::EMPTY, second_parent: None, changes: Vec::new() })
}
