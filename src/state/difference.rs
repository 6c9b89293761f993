//! Where snapshots differ.

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::{
    read::{self, LogWalk, find, get_in_runs, merge_runs, newest_of_each, run_entries},
    source::StateSource,
};
use crate::{
    encoding::{
        block::Entry,
        list::{BlockNid, Fence, Run},
        pack::Seal,
    },
    error::Result,
    ids::{EventNid, SnapshotNid, StateTuple},
};

/// A key at which snapshots differ: its event in each of them, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub tuple: StateTuple,
    /// Its event in each snapshot; `None` where the snapshot lacks the key.
    pub events: SmallVec<[Option<EventNid>; 4]>,
}

/// The fewest log rows after which comparing lists is cheaper than walking on; in a large state, twice its keys.
const WALK_MIN: u32 = 4096;
const WALK_MAX: u32 = 65_536;

/// Finds every key at which snapshots of a room differ, ascending.
///
/// Costs what the snapshots changed since their last common ancestor in the log: the packs with these changes, and a
/// look-up in the ancestor for what only some of them changed. If that is more than comparing the states would be, reads
/// the packs since the last list of each, the lists, and those blocks that not all lists have.
pub fn differences<S: StateSource + ?Sized>(source: &S, snapshots: &[SnapshotNid]) -> Result<Vec<Difference>> {
    match walk_to_ancestor(source, snapshots, steps_worth(source, snapshots)?)? {
        Some((ancestor, sides)) => compare(&sides, |tuples| read::get_many(source, ancestor, tuples)),
        None => compare_lists(source, snapshots),
    }
}

/// What a snapshot made of a key since it parted from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since<E> {
    /// Nothing: its event is that of the state from which both come.
    Unchanged,
    /// It has another event.
    Set(E),
    /// It lacks the key.
    Removed,
}

impl<E> Since<E> {
    /// The event that was set.
    pub fn event(&self) -> Option<&E> {
        match self {
            Self::Set(event) => Some(event),
            Self::Unchanged | Self::Removed => None,
        }
    }
}

/// A key that one of two snapshots changed since they parted, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Diverged {
    /// The key.
    pub tuple: StateTuple,
    /// What each of them made of it.
    pub sides: [Since<EventNid>; 2],
}

/// What the states of two snapshots changed since they parted, by ascending key: every key at which they differ, and
/// those that came back to the event that they had. `None` where they are so far apart, or the log says so little of what
/// lies between, that [`differences`] compares lists.
///
/// Reads the packs back to their last common ancestor, and nothing else.
pub fn divergence<S: StateSource + ?Sized>(source: &S, snapshots: [SnapshotNid; 2]) -> Result<Option<Divergence>> {
    let walked = walk_to_ancestor(source, &snapshots, steps_worth(source, &snapshots)?)?;
    Ok(walked.map(|(ancestor, sides)| {
        let since = |event: Option<EventNid>| event.map_or(Since::Removed, Since::Set);
        let diverged = |tuple| {
            let of = |side: Option<&Side>| side.and_then(|side| find(side, tuple)).map_or(Since::Unchanged, since);
            Diverged { tuple, sides: [of(sides.first()), of(sides.get(1))] }
        };
        Divergence { ancestor, keys: touched(&sides).into_iter().map(diverged).collect() }
    }))
}

/// How two snapshots diverged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The newest snapshot from which both come.
    pub ancestor: SnapshotNid,
    /// The keys, ascending.
    pub keys: Vec<Diverged>,
}

/// The log rows after which comparing the lists of snapshots is cheaper than walking on.
fn steps_worth<S: StateSource + ?Sized>(source: &S, snapshots: &[SnapshotNid]) -> Result<usize> {
    let youngest = snapshots.iter().copied().max().filter(|youngest| !youngest.is_empty());
    let len = youngest.map(|youngest| source.pack(youngest)).transpose()?.map_or(0, |pack| pack.pack.len);
    Ok(len.saturating_mul(2).clamp(WALK_MIN, WALK_MAX) as usize)
}

/// The keys that any side changed, ascending.
fn touched(sides: &[Side]) -> Vec<StateTuple> {
    let mut touched: Vec<StateTuple> = sides.iter().flatten().map(|entry| entry.0).collect();
    touched.sort_unstable();
    touched.dedup();
    touched
}

/// What one snapshot changed since they parted: ascending, the newest value of each key.
pub(super) type Side = Vec<Entry>;

/// Walks the log from all snapshots to their last common ancestor; `None` if it is more than `steps` rows away, or the
/// log does not say what changed on the way.
pub(super) fn walk_to_ancestor<S: StateSource + ?Sized>(
    source: &S,
    snapshots: &[SnapshotNid],
    steps: usize,
) -> Result<Option<(SnapshotNid, Vec<Side>)>> {
    let mut walks: Vec<LogWalk<'_, S>> = snapshots.iter().map(|_| LogWalk::new(source)).collect();
    let mut at = snapshots.to_vec();
    let mut sides = vec![Side::default(); snapshots.len()];
    for _ in 0..=steps {
        let youngest = at.iter().copied().max().unwrap_or(SnapshotNid::EMPTY);
        if at.iter().all(|at| *at == youngest) {
            return Ok(Some((youngest, sides.into_iter().map(newest_of_each).collect())));
        }
        // A parent is always older than its child, so the youngest cannot be an ancestor of the others.
        for ((at, side), walk) in at.iter_mut().zip(&mut sides).zip(&mut walks).filter(|((at, _), _)| **at == youngest)
        {
            let row = walk.row(youngest)?;
            if row.seal == Seal::Whole {
                return Ok(None);
            }
            side.extend_from_slice(row.entries);
            *at = row.parent;
        }
    }
    Ok(None)
}

/// Compares states that are changes to one and the same; `base` looks up ascending keys in it.
fn compare(
    sides: &[Side],
    base: impl FnOnce(&[StateTuple]) -> Result<Vec<Option<EventNid>>>,
) -> Result<Vec<Difference>> {
    let touched = touched(sides);
    let in_some_only = |tuple: &&StateTuple| sides.iter().any(|side| find(side, **tuple).is_none());
    let inherited: Vec<StateTuple> = touched.iter().filter(in_some_only).copied().collect();
    let values = if inherited.is_empty() { Vec::new() } else { base(&inherited)? };
    let inherited: Side = inherited.into_iter().zip(values).collect();
    let difference = |tuple: StateTuple| {
        let base = find(&inherited, tuple).flatten();
        let events = sides.iter().map(|side| find(side, tuple).unwrap_or(base)).collect();
        Difference { tuple, events }
    };
    Ok(touched.into_iter().map(difference).filter(Difference::is_real).collect())
}

/// Compares states by their lists. The oldest runs that all lists have, and those blocks of the next run that all have
/// there, are what the states have in common; the rest is what each changed.
///
/// Blocks further up are not left out where they are equal: between them another run may have replaced a key.
fn compare_lists<S: StateSource + ?Sized>(source: &S, snapshots: &[SnapshotNid]) -> Result<Vec<Difference>> {
    let mut tails = Vec::with_capacity(snapshots.len());
    for snapshot in snapshots {
        tails.push(read::tail(source, *snapshot)?);
    }
    let lists: Vec<&[Run]> = tails.iter().map(|tail| tail.list.as_ref().map_or(&[][..], |list| &list.runs)).collect();
    let first = lists.first().copied().unwrap_or_default();
    let in_all = |place: &usize| {
        let run = first.get(*place);
        run.is_some() && lists.iter().all(|runs| runs.get(*place) == run)
    };
    let common = (0..).take_while(in_all).count();
    let mut base: Vec<Run> = first.iter().take(common).cloned().collect();
    let parting: Vec<&[Fence]> = lists.iter().map(|runs| runs.get(common).map_or(&[][..], Vec::as_slice)).collect();
    let shared = shared_blocks(&parting);
    let is_shared = |fence: &&Fence| shared.contains(&fence.block);
    base.push(parting.first().copied().unwrap_or_default().iter().filter(is_shared).copied().collect());
    let mut sides = Vec::with_capacity(snapshots.len());
    for ((tail, runs), parting) in tails.iter().zip(&lists).zip(&parting) {
        let own: Run = parting.iter().filter(|fence| !is_shared(fence)).copied().collect();
        let mut newer = vec![run_entries(source, &own, None)?];
        for run in runs.iter().skip(common.saturating_add(1)) {
            newer.push(run_entries(source, run, None)?);
        }
        newer.push(tail.changes.clone());
        sides.push(merge_runs(newer));
    }
    compare(&sides, |tuples| get_in_runs(source, &base, tuples))
}

/// The blocks that stand in all of these runs.
fn shared_blocks(runs: &[&[Fence]]) -> FxHashSet<BlockNid> {
    let blocks = |run: &&[Fence]| run.iter().map(|fence| fence.block).collect::<FxHashSet<BlockNid>>();
    let mut runs = runs.iter();
    let mut shared = runs.next().map(blocks).unwrap_or_default();
    for run in runs {
        let others = blocks(run);
        shared.retain(|block| others.contains(block));
    }
    shared
}

impl Difference {
    fn is_real(&self) -> bool {
        self.events.windows(2).any(|pair| matches!(pair, [a, b] if a != b))
    }
}
