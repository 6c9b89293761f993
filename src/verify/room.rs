//! What the check of a room gathers, step by step.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::{Facts, Log},
    names::EventNames,
    streams::Check,
};
use crate::{
    encoding::{
        head::RoomHead,
        list::{BlockNid, Fence},
    },
    ids::SnapshotNid,
    state::source::{StateCaches, StoredStates},
    tables::{interning::Interner, rooms::Room},
};

/// The check of one room.
pub(super) struct RoomCheck<'c, 'a> {
    pub(super) check: &'c mut Check<'a>,
    pub(super) room: &'c Room,
    pub(super) names: EventNames<'c>,
    pub(super) caches: &'c StateCaches,
    pub(super) states: StoredStates<'c>,
    /// The room's head; `None` if it cannot be read.
    pub(super) head: Option<RoomHead>,
    pub(super) facts: Facts,
    pub(super) log: Log,
    /// What the lists say of each block, and the first list that does.
    pub(super) blocks: BTreeMap<BlockNid, (Fence, SnapshotNid)>,
    /// Lists that are due and not built, and those that cannot be read.
    pub(super) absent_lists: BTreeSet<SnapshotNid>,
    /// Lists that are due and not built: some of their blocks may be there.
    pub(super) unbuilt: BTreeSet<SnapshotNid>,
}

impl<'c, 'a: 'c> RoomCheck<'c, 'a> {
    pub(super) fn new(
        check: &'c mut Check<'a>,
        room: &'c Room,
        interner: &'c Interner,
        caches: &'c StateCaches,
    ) -> Self {
        let read = check.read();
        Self {
            check,
            room,
            names: EventNames::new(read, room, interner),
            caches,
            states: StoredStates::new(read, caches, room.nid, SnapshotNid::EMPTY),
            head: None,
            facts: Facts::default(),
            log: Log::default(),
            blocks: BTreeMap::new(),
            absent_lists: BTreeSet::new(),
            unbuilt: BTreeSet::new(),
        }
    }
}
