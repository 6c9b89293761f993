//! What is known of a snapshot as a whole: its fingerprint and its number of keys.

use super::{
    read::{self, LogWalk, newest_of_each},
    source::StateSource,
};
use crate::{
    encoding::{block::Entry, fingerprint::Fingerprint},
    error::Result,
    ids::{EventNid, SnapshotNid, StateTuple},
};

/// A state as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSummary {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// The number of its keys.
    pub len: u32,
}

impl StateSummary {
    /// The empty state.
    pub const EMPTY: Self = Self { fingerprint: Fingerprint::EMPTY, len: 0 };
}

/// Gives the names that fingerprints are made of.
pub trait EntryNames {
    /// The fingerprint of one entry.
    fn entry(&self, tuple: StateTuple, event: EventNid) -> Result<Fingerprint>;
}

/// A summary after changes, each given with the value that it replaces.
pub fn changed<N: EntryNames + ?Sized>(
    names: &N,
    summary: StateSummary,
    changes: impl IntoIterator<Item = (StateTuple, Option<EventNid>, Option<EventNid>)>,
) -> Result<StateSummary> {
    let StateSummary { mut fingerprint, mut len } = summary;
    for (tuple, before, after) in changes {
        if before == after {
            continue;
        }
        if let Some(event) = before {
            fingerprint = fingerprint.without(names.entry(tuple, event)?);
            len = len.saturating_sub(1);
        }
        if let Some(event) = after {
            fingerprint = fingerprint.with(names.entry(tuple, event)?);
            len = len.saturating_add(1);
        }
    }
    Ok(StateSummary { fingerprint, len })
}

/// Log rows after which adding up the whole state is cheaper than folding changes.
const FOLD_MAX: usize = 1024;

/// The summary of any snapshot: folded from the nearest ancestor whose summary is stored, which is at most a pack away
/// on an unbranched log. What was changed more than once on the way counts once.
pub fn summary<S: StateSource + ?Sized, N: EntryNames + ?Sized>(
    source: &S,
    names: &N,
    snapshot: SnapshotNid,
) -> Result<StateSummary> {
    let mut changes: Vec<Entry> = Vec::new();
    let mut walk = LogWalk::new(source);
    let mut at = snapshot;
    let mut known = StateSummary::EMPTY;
    for steps in 0.. {
        if at.is_empty() {
            break;
        }
        if steps >= FOLD_MAX {
            return whole(source, names, snapshot);
        }
        let pack = source.pack(at)?;
        if pack.pack.first == at {
            known = StateSummary { fingerprint: pack.pack.fingerprint, len: pack.pack.len };
            break;
        }
        let row = walk.row(at)?;
        if let Some(list) = source.list(at, row.seal)? {
            known = StateSummary { fingerprint: list.fingerprint, len: list.len };
            break;
        }
        changes.extend_from_slice(row.entries);
        at = row.parent;
    }
    let changes = newest_of_each(changes);
    let tuples: Vec<StateTuple> = changes.iter().map(|entry| entry.0).collect();
    let before = if tuples.is_empty() { Vec::new() } else { read::get_many(source, at, &tuples)? };
    changed(names, known, changes.iter().zip(before).map(|((tuple, after), before)| (*tuple, before, *after)))
}

/// The summary of a snapshot, added up from its entries.
pub fn whole<S: StateSource + ?Sized, N: EntryNames + ?Sized>(
    source: &S,
    names: &N,
    snapshot: SnapshotNid,
) -> Result<StateSummary> {
    let entries = read::collect(source, snapshot, None)?;
    changed(names, StateSummary::EMPTY, entries.into_iter().map(|(tuple, event)| (tuple, None, Some(event))))
}
