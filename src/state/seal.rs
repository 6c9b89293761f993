//! Sealing: turning a snapshot's parent list and the changes since into a list of its own.
//!
//! What is built follows from the log alone: who builds a list again writes the same rows.

use xxhash_rust::xxh3::xxh3_64;

use std::sync::Arc;

use super::{
    fingerprint::StateSummary,
    read::{LogWalk, merge_runs, newest_of_each, run_entries},
    source::StateSource,
};
use crate::{
    encoding::{
        block::{self, BLOCK_ENTRIES_MAX, BlockHash, Entry},
        bytes::stamp,
        keys,
        list::{self, BlockNid, Fence, List, Run},
        pack::Seal,
    },
    error::{Error, Result},
    ids::{RoomNid, SnapshotNid, StateTuple},
    kv::Batch,
    tables::{BLOCKS, LISTS},
};

/// Runs of one size class that are merged together.
const FAN_IN: usize = 4;
/// Entries of a block before which no boundary is set, and the mean number until the next after that.
const BLOCK_ENTRIES_MIN: usize = 64;
const BOUNDARY_EVERY: u64 = 192;

/// The changes after which a list is due, in a state of `len` keys: it bounds what a look-up in the tail reads.
pub fn tail_max(len: u32) -> u32 {
    (len / 24).clamp(2048, 8192)
}

/// Whether a list is due: after so many changes since the last one, twice as many inside a fork, where each branch would
/// pay for one; or far fewer if other branches lie between them, so that they are spread over many packs.
pub fn is_due(len: u32, tail: u32, spread: u32, unforked: bool) -> bool {
    let limit = tail_max(len).saturating_mul(if unforked { 1 } else { 2 });
    tail >= limit || (tail >= limit / 8 && spread >= limit.saturating_mul(8))
}

/// The most runs that the list of a state can have, when its largest run has `entries` entries.
pub fn list_length_max(entries: usize) -> usize {
    (FAN_IN - 1) * (size_class(entries) as usize + 1) + 1
}

/// A list, and the blocks that are not in its parent's.
pub struct Sealed {
    /// The snapshot whose list it is.
    pub snapshot: SnapshotNid,
    /// The list.
    pub list: Arc<List>,
    /// Its new blocks, by ordinal.
    pub blocks: Vec<NewBlock>,
}

/// A block that a list writes.
pub struct NewBlock {
    /// The block as the list sees it.
    pub fence: Fence,
    /// Its row.
    pub bytes: Vec<u8>,
    /// What it holds.
    pub entries: Arc<[Entry]>,
}

impl Sealed {
    /// Puts the rows of some of its blocks.
    pub fn put_blocks(room: RoomNid, blocks: &[NewBlock], batch: &mut Batch) {
        for block in blocks {
            batch.put(BLOCKS, keys::block(room, block.fence.block), block.bytes.as_slice());
        }
    }

    /// Puts the row of the list, which must not be there before those of its blocks.
    pub fn put_list(&self, room: RoomNid, batch: &mut Batch) {
        let key = keys::snapshot(room, self.snapshot);
        let mut value = list::encode(self.snapshot, &self.list);
        stamp(&key, &mut value);
        batch.put(LISTS, key, value);
    }
}

/// Builds the list of `snapshot`, which changes `entries` of `parent`, from the list of its nearest sealed ancestor and
/// the changes since. That list must be there.
pub fn build<S: StateSource + ?Sized>(
    source: &S,
    snapshot: SnapshotNid,
    parent: SnapshotNid,
    entries: &[Entry],
    summary: StateSummary,
) -> Result<Sealed> {
    source.read_back(parent)?;
    let mut changes = entries.to_vec();
    let mut walk = LogWalk::new(source);
    let mut at = parent;
    let mut parent_list = None;
    while !at.is_empty() {
        let segment = walk.segment(at)?;
        changes.extend(segment.entries.iter().rev());
        if segment.seal != Seal::Open {
            let list = source.list(segment.oldest, segment.seal)?;
            parent_list = Some(list.ok_or_else(|| Error::internal("a list is built before that of its ancestor"))?);
            break;
        }
        at = segment.parent;
    }
    seal(source, snapshot, parent_list.as_deref(), newest_of_each(changes), summary)
}

/// Builds a list from its parent's and the changes since, ascending.
///
/// The changes become the newest run; runs of equal size class are merged, so that the number of runs follows the
/// logarithm of the size of the room. Blocks that the parent's list already has are shared.
fn seal<S: StateSource + ?Sized>(
    source: &S,
    snapshot: SnapshotNid,
    parent: Option<&List>,
    changes: Vec<Entry>,
    summary: StateSummary,
) -> Result<Sealed> {
    let parent_runs = parent.map_or(&[][..], |list| &list.runs);
    let mut sizes: Vec<usize> = parent_runs.iter().map(run_len).chain([changes.len()]).collect();
    let mut merged_from = sizes.len().saturating_sub(1);
    // What is merged must be known before anything is read: sizes are bounds, since merging drops replaced keys.
    while let Some(from) = next_merge(&sizes) {
        merged_from = merged_from.min(from);
        let together = sizes.split_off(from).iter().sum();
        sizes.push(together);
    }
    let mut runs = Vec::new();
    for run in parent_runs.iter().skip(merged_from) {
        runs.push(run_entries(source, run, None)?);
    }
    runs.push(changes);
    let mut entries = merge_runs(runs);
    if merged_from == 0 {
        entries.retain(|(_, event)| event.is_some());
    }
    let mut blocks = Vec::new();
    let mut run = Run::new();
    for chunk in chunks(&entries) {
        let (fence, new) = fence(source, snapshot, parent_runs, chunk, blocks.len())?;
        run.push(fence);
        blocks.extend(new.map(|bytes| NewBlock { fence, bytes, entries: chunk.into() }));
    }
    let mut runs: Vec<Run> = parent_runs.iter().take(merged_from).cloned().collect();
    if !run.is_empty() {
        runs.push(run);
    }
    let longest = runs.iter().map(run_len).max().unwrap_or(0);
    if runs.len() > list_length_max(longest) {
        return Err(Error::internal("a list has more runs than its size allows"));
    }
    let list = Arc::new(List { fingerprint: summary.fingerprint, len: summary.len, runs });
    Ok(Sealed { snapshot, list, blocks })
}

fn run_len(run: &Run) -> usize {
    run.iter().map(|fence| fence.entries as usize).sum()
}

/// The power of [`FAN_IN`] by which a run is larger than the smallest ones.
fn size_class(entries: usize) -> u32 {
    let smallest = tail_max(0) as usize / 2;
    entries.checked_div(smallest).and_then(usize::checked_ilog2).map_or(0, |log| log / FAN_IN.ilog2())
}

/// The first of the newest runs that are to be merged into one: those of one size class once there are [`FAN_IN`], and
/// any that a younger run has outgrown.
fn next_merge(sizes: &[usize]) -> Option<usize> {
    let newest = size_class(*sizes.last()?);
    let outgrown = sizes.iter().rposition(|size| size_class(*size) > newest).map_or(0, |place| place + 1);
    let group = sizes.len() - outgrown;
    let smaller = sizes.iter().skip(outgrown).any(|size| size_class(*size) < newest);
    (group > 1 && (smaller || group >= FAN_IN)).then_some(outgrown)
}

/// Cuts sorted entries into blocks. Boundaries follow from the keys alone, so that equal ranges make equal blocks.
fn chunks(entries: &[Entry]) -> Vec<&[Entry]> {
    let mut chunks = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let boundary = rest.iter().skip(BLOCK_ENTRIES_MIN).position(|entry| is_boundary(entry.0));
        let end = boundary.map_or(rest.len(), |place| place + BLOCK_ENTRIES_MIN).min(BLOCK_ENTRIES_MAX).min(rest.len());
        let (chunk, after) = rest.split_at(end);
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

fn is_boundary(tuple: StateTuple) -> bool {
    let key = (u64::from(tuple.event_type.number()) << 32) | u64::from(tuple.state_key.number());
    xxh3_64(&key.to_le_bytes()).is_multiple_of(BOUNDARY_EVERY)
}

/// The fence of a block, and its bytes if none of the parent's blocks has them. A hash is a hint, bytes decide.
fn fence<S: StateSource + ?Sized>(
    source: &S,
    snapshot: SnapshotNid,
    parent_runs: &[Run],
    chunk: &[Entry],
    ordinal: usize,
) -> Result<(Fence, Option<Vec<u8>>)> {
    let first = chunk.first().map(|entry| entry.0).ok_or_else(|| Error::internal("an empty block"))?;
    let bytes = block::encode(chunk);
    let hash = BlockHash::of(&bytes);
    for known in parent_runs.iter().flatten().filter(|fence| fence.hash == hash) {
        if *source.block(known)? == *chunk {
            return Ok((*known, None));
        }
    }
    let ordinal = u32::try_from(ordinal).map_err(|_| Error::internal("a list of too many blocks"))?;
    let entries = u32::try_from(chunk.len()).map_err(|_| Error::internal("a block of too many entries"))?;
    let block = BlockNid { sealed: snapshot, ordinal };
    Ok((Fence { first, block, hash, entries }, Some(bytes)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_number_of_runs_follows_the_logarithm_of_their_size(
            runs in prop::collection::vec(1usize..100_000, 0..300),
        ) {
            let mut sizes: Vec<usize> = Vec::new();
            for run in runs {
                sizes.push(run);
                while let Some(from) = next_merge(&sizes) {
                    let together = sizes.split_off(from).iter().sum();
                    sizes.push(together);
                }
                let longest = sizes.iter().copied().max().unwrap_or(0);
                prop_assert!(sizes.len() <= list_length_max(longest));
                let classes: Vec<u32> = sizes.iter().map(|size| size_class(*size)).collect();
                prop_assert!(classes.is_sorted_by(|older, newer| older >= newer));
            }
        }
    }
}
