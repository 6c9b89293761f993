//! Look-ups in one snapshot.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::source::{LoadedPack, StateSource};
use crate::{
    encoding::{
        block::Entry,
        bytes::Malformed,
        list::{List, Run},
        pack::LogRow,
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
    pub fn row(&mut self, snapshot: SnapshotNid) -> Result<&LogRow> {
        self.load(snapshot)?;
        let row = self.pack.as_ref().and_then(|pack| pack.pack.row(snapshot));
        let what = Malformed { offset: 0, what: "the pack lacks a snapshot" };
        row.ok_or_else(|| corrupt(PACKS, &snapshot.number().to_be_bytes(), what))
    }

    fn load(&mut self, snapshot: SnapshotNid) -> Result<&LoadedPack> {
        let held = self.pack.take().filter(|pack| pack.pack.row(snapshot).is_some());
        let pack = match held {
            Some(pack) => pack,
            None => self.source.pack(snapshot)?,
        };
        Ok(self.pack.insert(pack))
    }
}

/// Looks up one key. Reads the packs of the snapshot's tail that touch the key or branch, and, if none has it, one list
/// and at most one block for each of its runs.
pub fn get<S: StateSource + ?Sized>(source: &S, snapshot: SnapshotNid, tuple: StateTuple) -> Result<Option<EventNid>> {
    let mut walk = LogWalk::new(source);
    let mut at = snapshot;
    while !at.is_empty() {
        if let Some(before) = walk.load(at)?.skip(tuple) {
            at = before;
            continue;
        }
        let row = walk.row(at)?;
        if let Some((_, event)) = row.entries.iter().find(|entry| entry.0 == tuple) {
            return Ok(*event);
        }
        if let Some(list) = source.list(at, row.seal)? {
            return get_in_list(source, &list, tuple);
        }
        at = row.parent;
    }
    Ok(None)
}

fn get_in_list<S: StateSource + ?Sized>(source: &S, list: &List, tuple: StateTuple) -> Result<Option<EventNid>> {
    for run in list.runs.iter().rev() {
        let after = run.partition_point(|fence| fence.first <= tuple);
        let Some(fence) = after.checked_sub(1).and_then(|place| run.get(place)) else { continue };
        let entries = source.block(fence)?;
        if let Ok(place) = entries.binary_search_by_key(&tuple, |entry| entry.0) {
            return Ok(entries.get(place).and_then(|entry| entry.1));
        }
    }
    Ok(None)
}

/// Looks up several keys; many of them with one walk of the tail. The answers are in the order of the keys.
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
    let get_one = |tuple: &StateTuple| match (tail.changes.get(tuple), &tail.list) {
        (Some(event), _) => Ok(*event),
        (None, Some(list)) => get_in_list(source, list, *tuple),
        (None, None) => Ok(None),
    };
    tuples.iter().map(get_one).collect()
}

/// The changes since the nearest ancestor whose list is built.
pub struct Tail {
    /// The newest value of every key that was changed.
    pub changes: FxHashMap<StateTuple, Option<EventNid>>,
    /// The list of that ancestor; `None` if there is none.
    pub list: Option<Arc<List>>,
}

/// Collects the changes of a snapshot since the nearest ancestor, itself included, whose list is built.
pub fn tail<S: StateSource + ?Sized>(source: &S, snapshot: SnapshotNid) -> Result<Tail> {
    let mut walk = LogWalk::new(source);
    let mut changes = FxHashMap::default();
    let mut at = snapshot;
    while !at.is_empty() {
        let row = walk.row(at)?;
        if let Some(list) = source.list(at, row.seal)? {
            // The list holds the changes of its own snapshot too.
            return Ok(Tail { changes, list: Some(list) });
        }
        for (tuple, event) in &row.entries {
            changes.entry(*tuple).or_insert(*event);
        }
        at = row.parent;
    }
    Ok(Tail { changes, list: None })
}

/// The whole state, or its entries of one event type, ascending. Reads the packs of the tail, one list, and the blocks
/// of its runs that can hold the type.
pub fn collect<S: StateSource + ?Sized>(
    source: &S,
    snapshot: SnapshotNid,
    event_type: Option<EventTypeNid>,
) -> Result<Vec<(StateTuple, EventNid)>> {
    let tail = tail(source, snapshot)?;
    let wanted = |tuple: &StateTuple| event_type.is_none_or(|wanted| tuple.event_type == wanted);
    let mut runs = Vec::new();
    for run in tail.list.iter().flat_map(|list| &list.runs) {
        runs.push(run_entries(source, run, event_type)?);
    }
    let mut newest: Vec<Entry> = tail.changes.into_iter().filter(|(tuple, _)| wanted(tuple)).collect();
    newest.sort_unstable_by_key(|entry| entry.0);
    runs.push(newest);
    Ok(merge_runs(runs).into_iter().filter_map(|(tuple, event)| Some((tuple, event?))).collect())
}

/// The entries of a run, or those of one event type, ascending.
pub fn run_entries<S: StateSource + ?Sized>(
    source: &S,
    run: &Run,
    event_type: Option<EventTypeNid>,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut fences = run.iter().peekable();
    while let Some(fence) = fences.next() {
        let ends_before = fences.peek().is_some_and(|next| Some(next.first.event_type) < event_type);
        if event_type.is_some_and(|wanted| fence.first.event_type > wanted || ends_before) {
            continue;
        }
        let block = source.block(fence)?;
        let wanted = |entry: &&Entry| event_type.is_none_or(|wanted| entry.0.event_type == wanted);
        entries.extend(block.iter().filter(wanted));
    }
    Ok(entries)
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
        let mut newer = merged.into_iter().peekable();
        for entry in older {
            while let Some(before) = newer.next_if(|newer| newer.0 < entry.0) {
                both.push(before);
            }
            match newer.next_if(|newer| newer.0 == entry.0) {
                Some(replaced) => both.push(replaced),
                None => both.push(entry),
            }
        }
        both.extend(newer);
        merged = both;
    }
    merged
}
