//! Sealed lists and their blocks, as rows; the replay of the log compares what they hold.

use std::collections::btree_map::Entry as Slot;

use super::{room::RoomCheck, streams::RowStream};
use crate::{
    encoding::{
        block::{self, BlockHash},
        bytes::unstamp,
        head::SEALS_MAX,
        keys,
        list::{self, List, Run},
    },
    error::Result,
    ids::SnapshotNid,
    state::list_length_max,
    tables::{BLOCKS, HEADS, LISTS},
};

impl RoomCheck<'_, '_> {
    /// Checks that the sealed snapshots, and no others, have a list of a sensible shape. Those that the head names may
    /// lack it: they are the newest, and it is built beside the room's writer.
    pub(super) fn check_lists(&mut self) -> Result<()> {
        let sealed = std::mem::take(&mut self.log.sealed);
        let seals = self.head.as_ref().map(|head| head.seals.clone()).unwrap_or_default();
        let derived = sealed.iter().rev().filter(|(_, is_derived)| *is_derived).map(|(snapshot, _)| *snapshot);
        let mut newest: Vec<SnapshotNid> = derived.take(SEALS_MAX).collect();
        newest.reverse();
        if self.head.is_some() && self.log.is_readable() && *seals != *newest {
            let what = format!("newest seals {seals:?} and not {newest:?}");
            self.check.problem(HEADS, &keys::room(self.room.nid), what);
        }
        let mut rows = RowStream::new(self.check, LISTS, &keys::room(self.room.nid));
        for (sealed, is_derived) in sealed {
            let key = keys::snapshot(self.room.nid, sealed);
            let may_lack = is_derived && seals.contains(&sealed);
            let value = if may_lack { rows.take_if_there(self.check, &key)? } else { rows.take(self.check, &key)? };
            if may_lack && value.is_none() {
                self.unbuilt.insert(sealed);
            }
            let decoded = value.map(|value| unstamp(&key, &value).and_then(|bytes| list::decode(sealed, bytes)));
            match decoded.and_then(|list| self.check.decoded(LISTS, &key, list)) {
                Some(list) => self.check_list(&key, sealed, &list),
                None => {
                    self.absent_lists.insert(sealed);
                }
            }
        }
        rows.finish(self.check)
    }

    fn check_list(&mut self, key: &[u8], sealed: SnapshotNid, list: &List) {
        let entries = |run: &Run| run.iter().map(|fence| fence.entries as usize).sum::<usize>();
        let longest = list.runs.iter().map(entries).max().unwrap_or_default();
        if list.runs.len() > list_length_max(longest) {
            self.check.problem(LISTS, key, format!("{} runs, more than its size allows", list.runs.len()));
        }
        if list.runs.iter().any(Vec::is_empty) {
            self.check.problem(LISTS, key, "an empty run");
        }
        for fence in list.runs.iter().flatten() {
            match self.blocks.entry(fence.block) {
                Slot::Vacant(slot) => {
                    slot.insert((*fence, sealed));
                }
                Slot::Occupied(known) if known.get().0 != *fence => {
                    let what = format!("the list of snapshot {} tells otherwise of a block", known.get().1.number());
                    self.check.problem(LISTS, key, what);
                }
                Slot::Occupied(_) => {}
            }
        }
    }

    /// Checks that the blocks are those that some list names, with the hash that it tells.
    pub(super) fn check_blocks(&mut self) -> Result<()> {
        let mut rows = RowStream::new(self.check, BLOCKS, &keys::room(self.room.nid));
        // A list's own row comes after those of its blocks.
        for sealed in &self.unbuilt {
            rows.tolerate(&keys::snapshot(self.room.nid, *sealed));
        }
        for (block, (fence, sealed)) in std::mem::take(&mut self.blocks) {
            let key = keys::block(self.room.nid, block);
            let Some(value) = rows.take(self.check, &key)? else { continue };
            self.check.counts().blocks = self.check.counts().blocks.saturating_add(1);
            if BlockHash::of(&value) != fence.hash {
                let what = format!("another hash than in the list of snapshot {}", sealed.number());
                self.check.problem(BLOCKS, &key, what);
                continue;
            }
            let Some(entries) = self.check.decoded(BLOCKS, &key, block::decode(&value)) else { continue };
            if entries.first().map(|entry| entry.0) != Some(fence.first) || entries.len() != fence.entries as usize {
                let what = format!("not what its fence in the list of snapshot {} tells", sealed.number());
                self.check.problem(BLOCKS, &key, what);
            }
            for entry in &entries {
                self.check_entry(BLOCKS, &key, entry)?;
            }
        }
        rows.finish(self.check)
    }
}
