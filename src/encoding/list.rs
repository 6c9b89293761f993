//! A sealed list: the whole state at one snapshot as runs of blocks, oldest run first.
//!
//! The bytes are drawn in `docs/format.md`.

use super::{
    block::BlockHash,
    bytes::{Cursor, Decoded, put_varint},
    fingerprint::Fingerprint,
};
use crate::ids::{EventTypeNid, SnapshotNid, StateKeyNid, StateTuple};

/// The name of a block: the sealed snapshot that wrote it, and its place among the blocks written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockNid {
    /// The snapshot whose sealing wrote the block.
    pub sealed: SnapshotNid,
    /// Its place among the blocks of that sealing.
    pub ordinal: u32,
}

/// A block as a run sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The first key in the block.
    pub first: StateTuple,
    /// The block's name.
    pub block: BlockNid,
    /// The hash of the block's bytes, checked when it is read.
    pub hash: BlockHash,
    /// The number of its entries.
    pub entries: u32,
}

/// Sorted entries in blocks; entries of a later run replace those of an earlier one.
pub type Run = Vec<Fence>;

/// The whole state at one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The state's fingerprint.
    pub fingerprint: Fingerprint,
    /// The number of keys in the state.
    pub len: u32,
    /// The runs, oldest first.
    pub runs: Vec<Run>,
}

/// Writes the list of the snapshot `sealed`.
pub fn encode(sealed: SnapshotNid, list: &List) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&list.fingerprint.to_bytes());
    put_varint(&mut out, u64::from(list.len));
    put_varint(&mut out, list.runs.len() as u64);
    for run in &list.runs {
        put_varint(&mut out, run.len() as u64);
        let mut last_type = 0;
        for fence in run {
            put_varint(&mut out, u64::from(fence.first.event_type.number() - last_type));
            last_type = fence.first.event_type.number();
            put_varint(&mut out, u64::from(fence.first.state_key.number()));
            put_varint(&mut out, u64::from(sealed.number().saturating_sub(fence.block.sealed.number())));
            put_varint(&mut out, u64::from(fence.block.ordinal));
            put_varint(&mut out, u64::from(fence.entries));
            out.extend_from_slice(&fence.hash.0.to_le_bytes());
        }
    }
    out
}

/// Reads the list of the snapshot `sealed`.
pub fn decode(sealed: SnapshotNid, bytes: &[u8]) -> Decoded<List> {
    const FENCE_BYTES_MIN: usize = 13;
    let mut cursor = Cursor::new(bytes);
    let fingerprint = Fingerprint::from_bytes(cursor.array()?);
    let len = cursor.varint32()?;
    let mut runs = Vec::new();
    for _ in 0..cursor.count(1)? {
        let mut run: Run = Vec::with_capacity(cursor.clone().count(FENCE_BYTES_MIN)?);
        let mut last_type = 0u32;
        for _ in 0..cursor.count(FENCE_BYTES_MIN)? {
            let step = cursor.varint32()?;
            last_type = last_type.checked_add(step).ok_or(cursor.malformed("an event type beyond 32 bits"))?;
            let key = cursor.varint32()?;
            let (Some(event_type), Some(state_key)) = (EventTypeNid::new(last_type), StateKeyNid::new(key)) else {
                return Err(cursor.malformed("a fence with a key of 0"));
            };
            let first = StateTuple { event_type, state_key };
            if run.last().is_some_and(|before| before.first >= first) {
                return Err(cursor.malformed("fences that do not ascend"));
            }
            let writer = sealed.number().checked_sub(cursor.varint32()?);
            let writer = writer.ok_or(cursor.malformed("a block that is younger than its list"))?;
            let block = BlockNid { sealed: SnapshotNid::new(writer), ordinal: cursor.varint32()? };
            let entries = cursor.varint32()?;
            let hash = BlockHash(u64::from_le_bytes(cursor.array()?));
            run.push(Fence { first, block, hash, entries });
        }
        runs.push(run);
    }
    cursor.end()?;
    Ok(List { fingerprint, len, runs })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encoding::block::tests::tuple;

    fn list() -> List {
        let fence = |key, sealed, ordinal| Fence {
            first: tuple(2, key),
            block: BlockNid { sealed: SnapshotNid::new(sealed), ordinal },
            hash: BlockHash(0x0807_0605_0403_0201),
            entries: 200,
        };
        List {
            fingerprint: Fingerprint::from_bytes([7; 32]),
            len: 300,
            runs: vec![vec![fence(1, 10, 0), fence(90, 10, 1)], vec![fence(5, 40, 0)]],
        }
    }

    #[test]
    fn a_list_comes_back() {
        let sealed = SnapshotNid::new(40);
        assert_eq!(decode(sealed, &encode(sealed, &list())), Ok(list()));
    }

    #[test]
    fn a_list_of_an_older_snapshot_cannot_name_younger_blocks() {
        let bytes = encode(SnapshotNid::new(40), &list());
        assert!(decode(SnapshotNid::new(20), &bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
            let _ = decode(SnapshotNid::new(40), &bytes);
        }
    }
}
