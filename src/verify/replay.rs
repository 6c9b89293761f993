//! The log replayed: every state of the room, one after the other, held against what is derived from it.
//!
//! The log is a tree. It is walked depth first: going down applies a row, coming back takes it away again, so that each
//! row is applied once whatever the shape of the tree. What is needed to come back is kept only where a branch waits,
//! and the greatest branch is walked last.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    room::RoomCheck,
    streams::{RowStream, unless_damaged},
};
use crate::{
    encoding::{block::Entry, keys, list::List, pack::Seal},
    error::Result,
    ids::{EventNid, SnapshotNid, StateTuple},
    kv::TableId,
    state::{
        fingerprint::{StateSummary, changed},
        read::{merge_runs, run_entries},
        source::StateSource,
    },
    tables::{
        CURRENT_STATE, HEADS, LISTS, PACKS, USER_ROOMS,
        current::{CurrentEntry, encode_current, encode_membership},
        interning::member_type,
        rows::stamped,
    },
};

/// A key, its event before, and its event after.
type Changed = (StateTuple, Option<EventNid>, Option<EventNid>);

/// A snapshot that is still to be walked.
struct Step {
    snapshot: SnapshotNid,
    /// How many changes its parent's state is away from the state that the walk began with.
    depth: usize,
    /// What its parent's state is as a whole; `None` if names are missing.
    summary: Option<StateSummary>,
}

/// The state that the walk is at, and the way back.
#[derive(Default)]
struct Walk {
    state: FxHashMap<StateTuple, EventNid>,
    undo: Vec<(StateTuple, Option<EventNid>)>,
}

impl Walk {
    fn set(&mut self, tuple: StateTuple, event: Option<EventNid>) -> Option<EventNid> {
        match event {
            Some(event) => self.state.insert(tuple, event),
            None => self.state.remove(&tuple),
        }
    }

    /// Applies changes; with `way_back`, so that they can be taken away again.
    fn apply(&mut self, entries: &[Entry], way_back: bool) -> Vec<Changed> {
        let mut changes = Vec::with_capacity(entries.len());
        for (tuple, after) in entries {
            let before = self.set(*tuple, *after);
            changes.push((*tuple, before, *after));
        }
        if way_back {
            self.undo.extend(changes.iter().map(|(tuple, before, _)| (*tuple, *before)));
        } else {
            self.undo.clear();
        }
        changes
    }

    fn go_back(&mut self, depth: usize) {
        while self.undo.len() > depth {
            let Some((tuple, before)) = self.undo.pop() else { return };
            self.set(tuple, before);
        }
    }

    /// The changes that make `entries` of the state.
    fn changes_to(&self, entries: &[Entry]) -> Vec<Entry> {
        let kept: FxHashSet<StateTuple> = entries.iter().map(|entry| entry.0).collect();
        let gone = self.state.keys().filter(|tuple| !kept.contains(*tuple)).map(|tuple| (*tuple, None));
        let new = entries.iter().filter(|(tuple, event)| self.state.get(tuple).copied() != *event).copied();
        let mut changes: Vec<Entry> = gone.chain(new).collect();
        changes.sort_unstable();
        changes
    }

    fn is(&self, entries: &[Entry]) -> bool {
        entries.len() == self.state.len()
            && entries.iter().all(|(tuple, event)| self.state.get(tuple).copied() == *event)
    }
}

/// The tree of the log: the children of each snapshot, and how many snapshots follow from each.
struct Tree {
    first_child: Vec<u32>,
    next_sibling: Vec<u32>,
    size: Vec<u32>,
}

impl Tree {
    fn children(&self, parent: SnapshotNid) -> Vec<SnapshotNid> {
        let at = |table: &Vec<u32>, number: u32| table.get(number as usize).copied().unwrap_or_default();
        let mut children = Vec::new();
        let mut child = at(&self.first_child, parent.number());
        while child != 0 {
            children.push(SnapshotNid::new(child));
            child = at(&self.next_sibling, child);
        }
        // The last one is walked first.
        children.sort_by_key(|child| std::cmp::Reverse(at(&self.size, child.number())));
        children
    }
}

impl RoomCheck<'_, '_> {
    /// Holds the fingerprints in packs, the lists, the head's current state and the rows of the current state against the
    /// states that the log gives.
    pub(super) fn replay(&mut self) -> Result<()> {
        let tree = self.tree();
        let mut walk = Walk::default();
        self.check_current(SnapshotNid::EMPTY, Some(StateSummary::EMPTY), &walk)?;
        let step = |snapshot, depth, summary| Step { snapshot, depth, summary };
        let roots = tree.children(SnapshotNid::EMPTY).into_iter();
        let mut steps: Vec<Step> = roots.map(|root| step(root, 0, Some(StateSummary::EMPTY))).collect();
        while let Some(Step { snapshot, depth, summary }) = steps.pop() {
            walk.go_back(depth);
            let Some(summary) = self.walk_row(snapshot, summary, !steps.is_empty(), &mut walk)? else { continue };
            self.check_current(snapshot, summary, &walk)?;
            let depth = walk.undo.len();
            steps.extend(tree.children(snapshot).into_iter().map(|child| step(child, depth, summary)));
        }
        Ok(())
    }

    fn tree(&self) -> Tree {
        let last = self.log.last();
        let places = (last as usize).saturating_add(1);
        let [mut first_child, mut next_sibling, mut size] = [vec![0; places], vec![0; places], vec![1u32; places]];
        for snapshot in (1..=last).rev() {
            // What hangs on a row that cannot be read is not walked.
            let Some(row) = self.log.get(SnapshotNid::new(snapshot)).filter(|row| row.parent.number() < snapshot)
            else {
                continue;
            };
            let parent = match row.seal {
                Seal::Gone => continue,
                // Its list is all that is left to begin with.
                Seal::Whole if self.log.is_gone(row.parent) => 0,
                _ => row.parent.number() as usize,
            };
            let below = size.get(snapshot as usize).copied().unwrap_or_default();
            if let (Some(first), Some(next), Some(size)) =
                (first_child.get_mut(parent), next_sibling.get_mut(snapshot as usize), size.get_mut(parent))
            {
                *next = std::mem::replace(first, snapshot);
                *size = size.saturating_add(below);
            }
        }
        Tree { first_child, next_sibling, size }
    }

    /// Applies a row and checks what is stored of the state that it makes; gives the state's summary, or nothing if the
    /// state cannot be had.
    fn walk_row(
        &mut self,
        snapshot: SnapshotNid,
        parent: Option<StateSummary>,
        way_back: bool,
        walk: &mut Walk,
    ) -> Result<Option<Option<StateSummary>>> {
        let Some(pack) = self.stored(PACKS, snapshot, self.states.pack(snapshot))? else { return Ok(None) };
        let Some(row) = pack.pack.row(snapshot) else { return Ok(None) };
        let list = self.list(snapshot, row.seal)?;
        let summary = match (&list, row.seal) {
            (None, Seal::Whole) => return Ok(None),
            (Some((_, entries)), Seal::Whole) => {
                let changes = walk.apply(&walk.changes_to(entries), way_back);
                match parent {
                    Some(parent) => self.summary(parent, changes)?,
                    None => self.summary(StateSummary::EMPTY, added(entries))?,
                }
            }
            _ => {
                let changes = walk.apply(row.entries, way_back);
                parent.map(|parent| self.summary(parent, changes)).transpose()?.flatten()
            }
        };
        if let Some(summary) = summary.filter(|_| pack.pack.first == snapshot) {
            let told = StateSummary { fingerprint: pack.pack.fingerprint, len: pack.pack.len };
            self.check_summary(PACKS, snapshot, told, summary);
        }
        if let Some((list, entries)) = list {
            let told = StateSummary { fingerprint: list.fingerprint, len: list.len };
            if let Some(summary) = summary {
                self.check_summary(LISTS, snapshot, told, summary);
            }
            if row.seal == Seal::Derived && !walk.is(&entries) {
                let what = "the list does not hold the state that the log gives";
                self.check.problem(LISTS, &keys::snapshot(self.room.nid, snapshot), what);
            }
        }
        Ok(Some(summary))
    }

    /// The list of a snapshot and the state in it; `None` if it has none, or one that cannot be read.
    fn list(&mut self, sealed: SnapshotNid, seal: Seal) -> Result<Option<(std::sync::Arc<List>, Vec<Entry>)>> {
        if self.absent_lists.contains(&sealed) {
            return Ok(None);
        }
        let Some(list) = self.stored(LISTS, sealed, self.states.list(sealed, seal))?.flatten() else { return Ok(None) };
        let key = keys::snapshot(self.room.nid, sealed);
        let mut runs = Vec::with_capacity(list.runs.len());
        for (age, run) in list.runs.iter().enumerate() {
            let entries = run_entries(&self.states, run, None);
            let Some(entries) = self.stored(LISTS, sealed, entries)? else { return Ok(None) };
            if !entries.is_sorted_by(|a, b| a.0 < b.0) {
                self.check.problem(LISTS, &key, "a run whose blocks overlap");
            }
            if age == 0 && entries.iter().any(|(_, event)| event.is_none()) {
                self.check.problem(LISTS, &key, "the oldest run removes a key");
            }
            runs.push(entries);
        }
        let mut entries = merge_runs(runs);
        entries.retain(|(_, event)| event.is_some());
        Ok(Some((list, entries)))
    }

    fn stored<T>(&mut self, table: TableId, snapshot: SnapshotNid, read: Result<T>) -> Result<Option<T>> {
        self.check.readable(table, &keys::snapshot(self.room.nid, snapshot), read)
    }

    /// The summary after changes; `None` if a name is missing.
    fn summary(
        &self,
        parent: StateSummary,
        changes: impl IntoIterator<Item = Changed>,
    ) -> Result<Option<StateSummary>> {
        unless_damaged(changed(&self.names, parent, changes))
    }

    fn check_summary(&mut self, table: TableId, snapshot: SnapshotNid, told: StateSummary, right: StateSummary) {
        if told != right {
            let what = format!("tells {} ({} keys) of snapshot {}", told.fingerprint, told.len, snapshot.number());
            let what = format!("{what}, which is {} ({} keys)", right.fingerprint, right.len);
            self.check.problem(table, &keys::snapshot(self.room.nid, snapshot), what);
        }
    }

    /// Checks the head's summary and the rows of the current state, if the walk is at it.
    fn check_current(&mut self, snapshot: SnapshotNid, summary: Option<StateSummary>, walk: &Walk) -> Result<()> {
        let Some(current) = self.head.as_ref().map(|head| head.current).filter(|head| head.snapshot == snapshot) else {
            return Ok(());
        };
        let key = keys::room(self.room.nid);
        if summary.is_some_and(|right| (right.fingerprint, right.len) != (current.fingerprint, current.len)) {
            self.check.problem(HEADS, &key, "the current state has another fingerprint or number of keys");
        }
        let mut entries: Vec<(StateTuple, EventNid)> =
            walk.state.iter().map(|(tuple, event)| (*tuple, *event)).collect();
        entries.sort_unstable();
        let mut rows = RowStream::new(self.check, CURRENT_STATE, &key);
        for (tuple, event) in entries {
            let membership = self.facts.get(event).and_then(|fact| fact.membership);
            let key = keys::current(self.room.nid, tuple);
            let right = stamped(&key, encode_current(CurrentEntry { event, membership }));
            if rows.take(self.check, &key)?.is_some_and(|value| value != right) {
                let what = format!("another event than {}, or another membership", event.number());
                self.check.problem(CURRENT_STATE, &key, what);
            }
            let Some(membership) = membership.filter(|_| Some(tuple.event_type) == member_type()) else { continue };
            let user_key = keys::user_room(tuple.state_key, self.room.nid);
            if self.check.get(USER_ROOMS, &user_key)?.as_deref() != Some(&*encode_membership(&user_key, membership)) {
                let what = format!("the row is missing, or has another membership than {}", membership.as_str());
                self.check.problem(USER_ROOMS, &user_key, what);
            }
        }
        rows.finish(self.check)
    }
}

/// A whole state as a change to the empty one.
fn added(entries: &[Entry]) -> impl Iterator<Item = Changed> + '_ {
    entries.iter().map(|(tuple, event)| (*tuple, None, *event))
}
