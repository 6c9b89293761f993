//! Conduit, and Tuwunel and Continuwuity after it: a state is a difference to a parent, at most four of them deep.
//!
//! Parameters from Tuwunel's `rooms/state_compressor`: a row of `shortstatehash_statediff` is the parent's number and 16
//! bytes for each entry that is added, then eight zeros and as many for each that is removed. A fifth layer is merged
//! into its parent, and so is any whose size squared is at least `2 * diff_to_sibling * size of the parent`, where
//! `diff_to_sibling` is 2 for a change of the room's state, and after a merge the size of what was merged.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    history::{Change, History},
    layout::{At, Blocks, Changed, Layout, compare_whole, key, load, numbers, put_numbers, tables},
};
use crate::{
    error::Result,
    ids::RoomNid,
    kv::{Batch, Read, Store, TableId, TableSpec},
};

const DIFFS: TableId = TableId(0);
/// Layers below one that is written; with more, it is merged into the newest.
const PARENTS_MAX: usize = 3;
const DIFF_TO_SIBLING: usize = 2;

/// An entry: key and event.
type Entry = (u32, u32);

/// What a state adds to its parent and removes from it, each ascending.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Diff {
    added: Vec<Entry>,
    removed: Vec<Entry>,
}

/// A stored difference, and the state that it belongs to.
type Layer = (u32, Arc<Diff>);

/// The layout.
#[derive(Debug, Default)]
pub struct Conduit {
    room: Option<RoomNid>,
    /// The layers of states that may still get children, oldest first.
    stacks: FxHashMap<u32, Vec<Layer>>,
    /// How many states stand on each stored difference, and how often that is more than one.
    blocks: Blocks,
    unshared: FxHashSet<u32>,
}

impl Layout for Conduit {
    fn tables(&self) -> Vec<TableSpec> {
        tables(&["shortstatehash_statediff"])
    }

    fn begin(&mut self, room: RoomNid, _: &History) -> Result<Option<Vec<u32>>> {
        self.room = Some(room);
        self.stacks.clear();
        self.unshared.clear();
        Ok(None)
    }

    fn append(&mut self, _: &dyn Store, change: &Change<'_>, batch: &mut Batch) -> Result<()> {
        let Some(room) = self.room else { return Ok(()) };
        let mut diff = Diff::default();
        for (place, before, after) in change.changes {
            let key = change.keys.get(*place as usize).copied().unwrap_or_default();
            diff.removed.extend((*before > 0).then_some((key, *before)));
            diff.added.extend((*after > 0).then_some((key, *after)));
        }
        let mut stack = self.stacks.get(&change.step.parent).cloned().unwrap_or_default();
        let diff = settle(&mut stack, diff);
        batch.put(DIFFS, key(room, change.snapshot), encode(stack.last().map_or(0, |layer| layer.0), &diff));
        self.blocks.all += 1;
        for (parent, _) in &stack {
            self.blocks.shared += u64::from(self.unshared.remove(parent));
        }
        self.unshared.insert(change.snapshot);
        stack.push((change.snapshot, Arc::new(diff)));
        self.stacks.insert(change.snapshot, stack);
        Ok(())
    }

    fn appended(&mut self, done: &[u32]) {
        for snapshot in done {
            self.stacks.remove(snapshot);
        }
    }

    fn get(&self, read: &dyn Read, at: At, key: u32) -> Result<Option<u32>> {
        // All layers are read, as a miss of the server's cache does; then the newest that has the key decides.
        let layers = layers(read, at)?;
        for (added, removed) in &layers {
            let places = [added, removed].map(|bytes| find(bytes, key));
            match places {
                [Some(event), _] => return Ok(Some(event)),
                [None, Some(_)] => return Ok(None),
                [None, None] => {}
            }
        }
        Ok(None)
    }

    fn full(&self, read: &dyn Read, at: At) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        for (added, removed) in layers(read, at)?.iter().rev() {
            let mut removed = pairs(removed).peekable();
            entries.retain(|entry| {
                while removed.next_if(|removed| removed < entry).is_some() {}
                removed.next_if(|removed| removed == entry).is_none()
            });
            entries = merge(&entries, &pairs(added).collect::<Vec<_>>());
        }
        Ok(entries)
    }

    fn differences(&self, read: &dyn Read, room: RoomNid, from: u32, to: u32) -> Result<Vec<Changed>> {
        compare_whole(self, read, room, from, to)
    }

    fn blocks(&self, _: &dyn Read) -> Result<Blocks> {
        Ok(self.blocks)
    }
}

/// Finds out on which layers a difference is to stand, and merges it with those that it is not.
fn settle(stack: &mut Vec<Layer>, mut diff: Diff) -> Diff {
    let mut sibling = DIFF_TO_SIBLING;
    while let Some((_, parent)) = stack.last() {
        let size = diff.len();
        if stack.len() <= PARENTS_MAX && size.saturating_mul(size) < 2 * sibling * parent.len() {
            break;
        }
        diff = parent.then(&diff);
        sibling = size;
        stack.pop();
    }
    diff
}

impl Diff {
    fn len(&self) -> usize {
        self.added.len() + self.removed.len()
    }

    /// This difference and then another one.
    fn then(&self, next: &Self) -> Self {
        let (kept, undone) = subtract(&self.added, &next.removed);
        let removed = merge(&self.removed, &undone);
        let (removed, restored) = subtract(&removed, &next.added);
        Self { added: merge(&kept, &restored), removed }
    }
}

/// `from` without `what`, and what of `what` was not in it.
fn subtract(from: &[Entry], what: &[Entry]) -> (Vec<Entry>, Vec<Entry>) {
    let is_in = |entries: &[Entry], entry: &Entry| entries.binary_search(entry).is_ok();
    let kept = from.iter().filter(|entry| !is_in(what, entry)).copied().collect();
    let missing = what.iter().filter(|entry| !is_in(from, entry)).copied().collect();
    (kept, missing)
}

/// Two ascending lists as one.
fn merge(left: &[Entry], right: &[Entry]) -> Vec<Entry> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let mut right = right.iter().peekable();
    for entry in left {
        while let Some(before) = right.next_if(|right| *right < entry) {
            merged.push(*before);
        }
        merged.push(*entry);
    }
    merged.extend(right);
    merged
}

fn encode(parent: u32, diff: &Diff) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 + 16 * (diff.added.len() + diff.removed.len()));
    put_numbers(&mut out, [parent]);
    put_numbers(&mut out, diff.added.iter().flat_map(|(key, event)| [*key, *event]));
    if !diff.removed.is_empty() {
        put_numbers(&mut out, [0]);
        put_numbers(&mut out, diff.removed.iter().flat_map(|(key, event)| [*key, *event]));
    }
    out
}

/// The layers of a state, newest first: the bytes of what each adds and removes.
fn layers(read: &dyn Read, at: At) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut layers = Vec::new();
    let mut snapshot = at.snapshot;
    while snapshot > 0 {
        let mut row = load(read, DIFFS, &key(at.room, snapshot))?;
        snapshot = numbers(&row).next().unwrap_or_default();
        // A key is never 0, so the zeros end what is added.
        let added = row.get(8..).unwrap_or_default().chunks(16);
        let ends = added.take_while(|entry| entry.first_chunk::<8>() != Some(&[0; 8])).map(<[u8]>::len).sum::<usize>();
        let removed = row.get(8 + ends + 8..).unwrap_or_default().to_vec();
        row.truncate(8 + ends);
        row.drain(..8);
        layers.push((row, removed));
    }
    Ok(layers)
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = Entry> + '_ {
    let mut numbers = numbers(bytes);
    std::iter::from_fn(move || Some((numbers.next()?, numbers.next()?)))
}

fn find(bytes: &[u8], key: u32) -> Option<u32> {
    let (entries, _) = bytes.as_chunks::<16>();
    let key = u64::from(key).to_be_bytes();
    let place = entries.binary_search_by_key(&key, |entry| *entry.first_chunk().unwrap_or(&[0; 8])).ok()?;
    numbers(entries.get(place)?).nth(1)
}
