//! Where snapshots differ.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::{
    read::{self, LogWalk},
    source::StateSource,
};
use crate::{
    encoding::pack::Seal,
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

/// Log rows after which comparing whole states is cheaper than walking on.
const WALK_MAX: usize = 16_384;

/// Finds every key at which snapshots of a room differ, ascending. Costs what the snapshots changed since their last
/// common ancestor in the log; if that is far, reads the whole states.
pub fn differences<S: StateSource + ?Sized>(source: &S, snapshots: &[SnapshotNid]) -> Result<Vec<Difference>> {
    match walk_to_ancestor(source, snapshots, WALK_MAX)? {
        Some((ancestor, sides)) => compare_sides(source, ancestor, &sides),
        None => compare_whole(source, snapshots),
    }
}

/// What one snapshot changed since the common ancestor.
pub(super) type Side = FxHashMap<StateTuple, Option<EventNid>>;

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
            return Ok(Some((youngest, sides)));
        }
        // A parent is always older than its child, so the youngest cannot be an ancestor of the others.
        for ((at, side), walk) in at.iter_mut().zip(&mut sides).zip(&mut walks).filter(|((at, _), _)| **at == youngest)
        {
            let row = walk.row(youngest)?;
            if row.seal == Seal::Whole {
                return Ok(None);
            }
            for (tuple, event) in &row.entries {
                side.entry(*tuple).or_insert(*event);
            }
            *at = row.parent;
        }
    }
    Ok(None)
}

fn compare_sides<S: StateSource + ?Sized>(
    source: &S,
    ancestor: SnapshotNid,
    sides: &[Side],
) -> Result<Vec<Difference>> {
    let mut touched: Vec<StateTuple> = sides.iter().flat_map(|side| side.keys().copied()).collect();
    touched.sort_unstable();
    touched.dedup();
    let in_some_only = |tuple: &&StateTuple| sides.iter().any(|side| !side.contains_key(*tuple));
    let inherited: Vec<StateTuple> = touched.iter().filter(in_some_only).copied().collect();
    let values = if inherited.is_empty() { Vec::new() } else { read::get_many(source, ancestor, &inherited)? };
    let inherited: FxHashMap<StateTuple, Option<EventNid>> = inherited.into_iter().zip(values).collect();
    let difference = |tuple: StateTuple| {
        let base = inherited.get(&tuple).copied().flatten();
        let events = sides.iter().map(|side| side.get(&tuple).copied().unwrap_or(base)).collect();
        Difference { tuple, events }
    };
    Ok(touched.into_iter().map(difference).filter(Difference::is_real).collect())
}

fn compare_whole<S: StateSource + ?Sized>(source: &S, snapshots: &[SnapshotNid]) -> Result<Vec<Difference>> {
    let mut states = Vec::with_capacity(snapshots.len());
    for snapshot in snapshots {
        states.push(read::collect(source, *snapshot, None)?.into_iter().peekable());
    }
    let mut differences = Vec::new();
    while let Some(tuple) = states.iter_mut().filter_map(|state| state.peek().map(|entry| entry.0)).min() {
        let events = states.iter_mut().map(|state| state.next_if(|entry| entry.0 == tuple).map(|entry| entry.1));
        let difference = Difference { tuple, events: events.collect() };
        if difference.is_real() {
            differences.push(difference);
        }
    }
    Ok(differences)
}

impl Difference {
    fn is_real(&self) -> bool {
        self.events.windows(2).any(|pair| matches!(pair, [a, b] if a != b))
    }
}
