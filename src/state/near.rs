//! Look-ups in snapshots that are not far from the current state, whatever the size of the room.

use super::{
    difference::walk_to_ancestor,
    read::{self, find},
    source::StateSource,
};
use crate::{
    error::Result,
    ids::{EventNid, SnapshotNid, StateTuple},
};

/// Log rows that are walked before an ordinary look-up is cheaper.
const NEAR: usize = 256;

/// Looks up keys in a snapshot; the answers are in the order of the keys. `current` is the current snapshot, and what
/// looks up keys in it.
///
/// What neither this snapshot nor the current one changed since they parted is as in the current state, which has a row
/// for each key. So a look-up near the head costs the walk to the fork and one row a key, in a room of any size.
pub fn get_near<S: StateSource + ?Sized>(
    source: &S,
    current: (SnapshotNid, &dyn Fn(StateTuple) -> Result<Option<EventNid>>),
    snapshot: SnapshotNid,
    tuples: &[StateTuple],
) -> Result<Vec<Option<EventNid>>> {
    let (current, in_current) = current;
    let Some((ancestor, sides)) = walk_to_ancestor(source, &[snapshot, current], NEAR)? else {
        return read::get_many(source, snapshot, tuples);
    };
    let [ours, theirs] = sides.as_slice() else { return read::get_many(source, snapshot, tuples) };
    let get = |tuple: &StateTuple| match find(ours, *tuple) {
        Some(event) => Ok(event),
        None if find(theirs, *tuple).is_some() => read::get(source, ancestor, *tuple),
        None => in_current(*tuple),
    };
    tuples.iter().map(get).collect()
}
