//! Building the lists that are due.
//!
//! A list follows from the log. It is built beside the room's writer, and readers do without it until it is there.

#[cfg(test)]
mod tests;

use super::{due_lists::Held, engine::Engine, facts::RoomFacts};
use crate::{
    error::Result,
    ids::{RoomNid, SnapshotNid},
    kv::Batch,
    state::{Sealed, build_derived},
    tables::rows::Rows,
};

/// Blocks that one batch writes: a batch must not keep the room's writer waiting.
const BATCH_BLOCKS: usize = if cfg!(test) { 2 } else { 32 };

impl Engine {
    /// Builds the lists of a room that are due and not there, oldest first. A room that is not there has none.
    pub fn build_lists(&self, held: &Held<'_>) -> Result<()> {
        let room = held.room();
        let mut built = SnapshotNid::EMPTY;
        loop {
            // Each list is built upon the one before it, so every round opens a view that has the list just written.
            let view = self.store().snapshot();
            let rows = Rows::new(&*view);
            let Some(head) = rows.find_head(room)? else { return Ok(()) };
            let Some(sealed) = head.seals.iter().copied().find(|sealed| *sealed > built) else { return Ok(()) };
            built = sealed;
            if rows.has_list(room, sealed)? {
                continue;
            }
            let Some(row) = rows.unless_purged(room)? else { return Ok(()) };
            let states = self.stored_states(&*view, room, &head).as_of(&head.seals).passing();
            let facts = RoomFacts { engine: self, room: &row, head: &head, pending: None };
            let list = build_derived(&states, &facts, sealed)?;
            drop(view);
            self.write_list(room, &list)?;
        }
    }

    /// Writes a list in steps; its own row comes last, so that readers never find it without its blocks.
    fn write_list(&self, room: RoomNid, list: &Sealed) -> Result<()> {
        let mut steps = list.blocks.chunks(BATCH_BLOCKS).peekable();
        loop {
            let mut batch = Batch::default();
            Sealed::put_blocks(room, steps.next().unwrap_or_default(), &mut batch);
            let is_last = steps.peek().is_none();
            if is_last {
                list.put_list(room, &mut batch);
            }
            self.write(batch)?;
            if is_last {
                return Ok(());
            }
        }
    }
}
