//! Look-ups in one snapshot.

use std::sync::Arc;

use super::source::{LoadedPack, StateSource, Step};
use crate::{
    encoding::{
        block::Entry,
        bytes::Malformed,
        list::{Fence, List, Run},
        pack::{RowRef, Seal, Segment},
    },
    error::Result,
    ids::{EventNid, EventTypeNid, SnapshotNid, StateTuple},
    tables::{PACKS, rows::corrupt},
};

/// Walks the log from one snapshot to its ancestors, keeping the pack at hand.
pub struct LogWalk<'a, S: ?Sized> {
    source: &'a S,
    pack: Option<Arc<LoadedPack>>,
}

impl<'a, S: StateSource + ?Sized> LogWalk<'a, S> {
    /// A walk over `source`.
    pub fn new(source: &'a S) -> Self {
        Self { source, pack: None }
    }

    /// The log row of a snapshot.
    pub fn row(&mut self, snapshot: SnapshotNid) -> Result<RowRef<'_>> {
        let row = self.load(snapshot)?.pack.row(snapshot).filter(|row| row.seal != Seal::Gone);
        row.ok_or_else(|| lacks(snapshot))
    }

    /// The rows from that of a snapshot back to the first that branches off or has a list, or to where the pack ends.
    pub fn segment(&mut self, newest: SnapshotNid) -> Result<Segment<'_>> {
        let segment = self.load(newest)?.pack.segment(newest).filter(|segment| segment.seal != Seal::Gone);
        segment.ok_or_else(|| lacks(newest))
    }

    /// Looks for a key in these rows.
    fn look(&mut self, newest: SnapshotNid, tuple: StateTuple) -> Result<Step> {
        let is_there = |step: &Step| !matches!(step, Step::Parent { seal: Seal::Gone, .. });
        self.load(newest)?.look(newest, tuple).filter(is_there).ok_or_else(|| lacks(newest))
    }

    fn load(&mut self, snapshot: SnapshotNid) -> Result<&LoadedPack> {
        let held = self.pack.take().filter(|pack| pack.pack.contains(snapshot));
        let pack = match held {
            Some(pack) => pack,
            None => self.source.pack(snapshot)?,
        };
        Ok(self.pack.insert(pack))
    }
}

fn lacks(snapshot: SnapshotNid) -> crate::error::Error {
    let what = Malformed { offset: 0, what: "the pack lacks a snapshot, or it was collected" };
    corrupt(PACKS, &snapshot.number().to_be_bytes(), what)
}

/// Looks up one key. Reads the packs from the snapshot back to the one that changed the key, and, if none did since the
/// last list, that list and at most one block for each of its runs.
pub fn get<S: StateSource + ?Sized>(source: &S, snapshot: SnapshotNid, tuple: StateTuple) -> Result<Option<EventNid>> {
    let mut walk = LogWalk::new(source);
    let mut at = snapshot;
    while !at.is_empty() {
        match walk.look(at, tuple)? {
            Step::Found(event) => return Ok(event),
            Step::Parent { of, seal, parent } => match source.list(of, seal)? {
                Some(list) => return get_in_list(source, &list, tuple),
                None => at = parent,
            },
        }
    }
    Ok(None)
}

fn get_in_list<S: StateSource + ?Sized>(source: &S, list: &List, tuple: StateTuple) -> Result<Option<EventNid>> {
    for run in list.runs.iter().rev() {
        let Some(fence) = fence_of(run, tuple) else { continue };
        if let Some(event) = find(&source.block(fence)?, tuple) {
            return Ok(event);
        }
    }
    Ok(None)
}

/// The only block of a run that can hold a key.
fn fence_of(run: &Run, tuple: StateTuple) -> Option<&Fence> {
    let after = run.partition_point(|fence| fence.first <= tuple);
    after.checked_sub(1).and_then(|place| run.get(place))
}

/// What sorted entries say of a key.
pub(super) fn find(entries: &[Entry], tuple: StateTuple) -> Option<Option<EventNid>> {
    let place = entries.binary_search_by_key(&tuple, |entry| entry.0).ok()?;
    entries.get(place).map(|entry| entry.1)
}

/// Looks up several keys; the answers are in the order of the keys.
///
/// Few of them one by one, as [`get`] does. Many with one walk of the packs since the last list, that list, and of each
/// of its runs the blocks that can hold a key, each once and all of a run together.
pub fn get_many<S: StateSource + ?Sized>(
    source: &S,
    snapshot: SnapshotNid,
    tuples: &[StateTuple],
) -> Result<Vec<Option<EventNid>>> {
    const FEW: usize = 8;
    if tuples.len() <= FEW {
        return tuples.iter().map(|tuple| get(source, snapshot, *tuple)).collect();
    }
    let tail = tail(source, snapshot)?;
    let mut open: Vec<(StateTuple, usize)> = Vec::new();
    let mut events = Vec::with_capacity(tuples.len());
    for (place, tuple) in tuples.iter().enumerate() {
        let changed = find(&tail.changes, *tuple);
        if changed.is_none() {
            open.push((*tuple, place));
        }
        events.push(changed.flatten());
    }
    open.sort_unstable();
    let keys: Vec<StateTuple> = open.iter().map(|(tuple, _)| *tuple).collect();
    let runs = tail.list.as_ref().map_or(&[][..], |list| &list.runs);
    for ((_, place), event) in open.into_iter().zip(get_in_runs(source, runs, &keys)?) {
        if let Some(slot) = events.get_mut(place) {
            *slot = event;
        }
    }
    Ok(events)
}

/// Looks up ascending keys in the runs of a list.
pub(super) fn get_in_runs<S: StateSource + ?Sized>(
    source: &S,
    runs: &[Run],
    tuples: &[StateTuple],
) -> Result<Vec<Option<EventNid>>> {
    let mut events = vec![None; tuples.len()];
    let mut open: Vec<(usize, StateTuple)> = tuples.iter().copied().enumerate().collect();
    for run in runs.iter().rev() {
        let mut fences: Vec<Fence> = open.iter().filter_map(|(_, tuple)| fence_of(run, *tuple)).copied().collect();
        fences.dedup_by_key(|fence| fence.first);
        let blocks = source.blocks(&fences)?;
        open.retain(|(place, tuple)| {
            let after = fences.partition_point(|fence| fence.first <= *tuple);
            let block = after.checked_sub(1).and_then(|place| blocks.get(place));
            match (block.and_then(|block| find(block, *tuple)), events.get_mut(*place)) {
                (Some(event), Some(slot)) => {
                    *slot = event;
                    false
                }
                _ => true,
            }
        });
    }
    Ok(events)
}

/// The changes since the nearest ancestor whose list is built.
pub struct Tail {
    /// The newest value of every key that was changed, ascending.
    pub changes: Vec<Entry>,
    /// The list of that ancestor; `None` if there is none.
    pub list: Option<Arc<List>>,
}

/// Collects the changes of a snapshot since the nearest ancestor, itself included, whose list is built.
pub fn tail<S: StateSource + ?Sized>(source: &S, snapshot: SnapshotNid) -> Result<Tail> {
    source.read_back(snapshot)?;
    let mut walk = LogWalk::new(source);
    let mut changes = Vec::new();
    let mut at = snapshot;
    while !at.is_empty() {
        let segment = walk.segment(at)?;
        // A list holds the changes of its own snapshot too: taken twice they do no harm.
        changes.extend(segment.entries.iter().rev());
        let (oldest, seal, parent) = (segment.oldest, segment.seal, segment.parent);
        if let Some(list) = source.list(oldest, seal)? {
            return Ok(Tail { changes: newest_of_each(changes), list: Some(list) });
        }
        at = parent;
    }
    Ok(Tail { changes: newest_of_each(changes), list: None })
}

/// Sorts changes by key, given newest first, and leaves the newest of each.
pub(super) fn newest_of_each(mut changes: Vec<Entry>) -> Vec<Entry> {
    changes.sort_by_key(|entry| entry.0);
    changes.dedup_by_key(|entry| entry.0);
    changes
}

/// The whole state, or its entries of one event type, ascending. Reads the packs since the last list, that list, and the
/// blocks of its runs that can hold the type: packs and blocks that are not at hand in few reads, since they lie together.
pub fn collect<S: StateSource + ?Sized>(
    source: &S,
    snapshot: SnapshotNid,
    event_type: Option<EventTypeNid>,
) -> Result<Vec<(StateTuple, EventNid)>> {
    let Tail { mut changes, list } = tail(source, snapshot)?;
    if let Some(wanted) = event_type {
        changes.retain(|(tuple, _)| tuple.event_type == wanted);
    }
    let mut runs = Vec::new();
    for run in list.iter().flat_map(|list| &list.runs) {
        runs.push(run_entries(source, run, event_type)?);
    }
    runs.push(changes);
    Ok(merge_runs(runs).into_iter().filter_map(|(tuple, event)| Some((tuple, event?))).collect())
}

/// The entries of a run, or those of one event type, ascending.
pub fn run_entries<S: StateSource + ?Sized>(
    source: &S,
    run: &[Fence],
    event_type: Option<EventTypeNid>,
) -> Result<Vec<Entry>> {
    let Some(wanted) = event_type else {
        return Ok(source.blocks(run)?.iter().flat_map(|block| block.iter()).copied().collect());
    };
    // The block before the first that begins with the type may end with it.
    let begin = run.partition_point(|fence| fence.first.event_type < wanted).saturating_sub(1);
    let end = run.partition_point(|fence| fence.first.event_type <= wanted);
    let blocks = source.blocks(run.get(begin..end).unwrap_or_default())?;
    let entries = blocks.iter().flat_map(|block| block.iter());
    Ok(entries.filter(|entry| entry.0.event_type == wanted).copied().collect())
}

/// The number of entries before a key, in steps that double: few new entries may stand among many old ones, or as many.
fn gallop(entries: &[Entry], tuple: StateTuple) -> usize {
    let is_before = |entry: &Entry| entry.0 < tuple;
    let (mut from, mut step) = (0, 1);
    while entries.get(from + step - 1).is_some_and(is_before) {
        from += step;
        step *= 2;
    }
    let to = entries.len().min(from + step);
    from + entries.get(from..to).unwrap_or_default().partition_point(is_before)
}

/// Merges sorted runs, oldest first, into one: the newest entry of each key, removals included.
///
/// Merges from the newest run on, so that the great old runs are copied once.
pub fn merge_runs(runs: Vec<Vec<Entry>>) -> Vec<Entry> {
    let mut merged: Vec<Entry> = Vec::new();
    for older in runs.into_iter().rev() {
        if merged.is_empty() {
            merged = older;
            continue;
        }
        let mut both = Vec::with_capacity(older.len() + merged.len());
        let mut rest = older.as_slice();
        for newer in merged {
            let (before, after) = rest.split_at(gallop(rest, newer.0));
            both.extend_from_slice(before);
            both.push(newer);
            let replaced = after.first().is_some_and(|entry| entry.0 == newer.0);
            rest = after.get(usize::from(replaced)..).unwrap_or_default();
        }
        both.extend_from_slice(rest);
        merged = both;
    }
    merged
}
