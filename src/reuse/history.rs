//! What happens to a room's state, without the events that make it happen.

use rustc_hash::FxHashMap;

use super::truth::State;
use crate::error::Result;

/// The changes of one room, in the order of their arrival. Snapshot `n` is the state after the `n`th of them; snapshot 0
/// is the empty state.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The numbers of all keys that the room ever has, ascending.
    pub keys: Vec<u32>,
    /// The changes.
    pub steps: Vec<Step>,
    /// Snapshots at the start that are there before anything is measured.
    pub given: u32,
    changes: Vec<(u32, u32)>,
}

/// A change, or a merge of two branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The snapshot that it changes.
    pub parent: u32,
    /// The other branch, where two meet; 0 if none do.
    pub second_parent: u32,
    /// Whether no other branch is open.
    pub unforked: bool,
    first: usize,
    count: usize,
}

/// A step, as a layout is told of it.
pub struct Change<'a> {
    /// The new snapshot.
    pub snapshot: u32,
    /// The step.
    pub step: Step,
    /// The numbers of the room's keys, by place.
    pub keys: &'a [u32],
    /// Places whose event changes, ascending: the event before and after; 0 is none.
    pub changes: &'a [(u32, u32, u32)],
    /// The state of the parent.
    pub before: &'a State,
    /// The new state.
    pub after: &'a State,
    /// The state of the other branch, where two meet.
    pub second: Option<&'a State>,
    /// Whether some other step changes the parent too, before or after this one.
    pub is_fork: bool,
}

/// Told of a change, and of the snapshots that no later change names.
pub type Visit<'a> = &'a mut dyn FnMut(&Change<'_>, &[u32]) -> Result<()>;

impl History {
    /// Appends a step that sets the event at each key, or removes it with 0; gives its snapshot.
    ///
    /// Until [`finish`](History::finish) keys may come in any order, and stand for themselves.
    pub fn push(
        &mut self,
        parent: u32,
        second_parent: u32,
        unforked: bool,
        changes: impl IntoIterator<Item = (u32, u32)>,
    ) -> u32 {
        let first = self.changes.len();
        self.changes.extend(changes);
        self.steps.push(Step { parent, second_parent, unforked, first, count: self.changes.len() - first });
        self.last()
    }

    /// The newest snapshot.
    pub fn last(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// Snapshots that are measured.
    pub fn measured(&self) -> u64 {
        u64::from(self.last().saturating_sub(self.given))
    }

    /// Whether any step removes a key.
    pub fn has_removals(&self) -> bool {
        self.changes.iter().any(|change| change.1 == 0)
    }

    /// Numbers the keys by their places, once all steps are pushed.
    pub fn finish(&mut self) {
        self.keys = self.changes.iter().map(|change| change.0).collect();
        self.keys.sort_unstable();
        self.keys.dedup();
        let places: FxHashMap<u32, u32> = self.keys.iter().copied().zip(0..).collect();
        for (key, _) in &mut self.changes {
            *key = places.get(key).copied().unwrap_or_default();
        }
    }

    /// The step that makes a snapshot.
    pub fn step(&self, snapshot: u32) -> Option<&Step> {
        self.steps.get(snapshot.checked_sub(1)? as usize)
    }

    /// Goes through all steps, in order.
    ///
    /// # Errors
    ///
    /// Those of `visit`, which end it.
    pub fn replay(&self, visit: Visit<'_>) -> Result<()> {
        let mut uses: FxHashMap<u32, (u32, u32)> = FxHashMap::default();
        for (snapshot, step) in (1..).zip(&self.steps) {
            for parent in [step.parent, step.second_parent].into_iter().filter(|parent| *parent > 0) {
                let (last, count) = uses.entry(parent).or_default();
                *last = snapshot;
                *count += u32::from(parent == step.parent);
            }
        }
        let mut live = FxHashMap::default();
        let empty = State::new(self.keys.len());
        for (snapshot, step) in (1..).zip(&self.steps) {
            let before =
                if step.parent == 0 { empty.clone() } else { live.get(&step.parent).unwrap_or(&empty).clone() };
            let mut after = before.clone();
            let end = step.first + step.count;
            let mut changes: Vec<(u32, u32, u32)> = Vec::with_capacity(step.count);
            for (place, event) in self.changes.get(step.first..end).unwrap_or_default() {
                changes.push((*place, after.set(*place, *event), *event));
            }
            changes.sort_unstable();
            let use_of = |snapshot: u32| uses.get(&snapshot).copied().unwrap_or_default();
            let is_fork = use_of(step.parent).1 > 1;
            let (keys, changes) = (self.keys.as_slice(), changes.as_slice());
            let second = live.get(&step.second_parent);
            let change =
                Change { snapshot, step: *step, keys, changes, before: &before, after: &after, second, is_fork };
            let parents = [step.parent, step.second_parent].into_iter();
            let mut done: Vec<u32> = parents.filter(|parent| *parent > 0 && use_of(*parent).0 == snapshot).collect();
            if use_of(snapshot).0 == 0 {
                done.push(snapshot);
            }
            visit(&change, &done)?;
            live.insert(snapshot, after);
            for snapshot in done {
                live.remove(&snapshot);
            }
        }
        Ok(())
    }
}
