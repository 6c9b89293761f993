//! Lists that are due, and who builds them.
//!
//! That a list is due is decided, and stored, with the event that makes it due; the head names those that may be lacking.
//! The list itself follows from the log. It is built beside the room's writer, and readers do without it until then.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};
use rustc_hash::FxHashSet;

use super::{engine::Engine, facts::RoomFacts};
use crate::{
    error::Result,
    ids::{RoomNid, SnapshotNid},
    kv::Batch,
    state::{Sealed, build_derived},
    tables::rows::Rows,
};

/// The rooms in which lists are due, and those in which nobody may build any.
#[derive(Default)]
pub struct Sealing {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Rooms with lists that are due, each once.
    due: VecDeque<RoomNid>,
    held: FxHashSet<RoomNid>,
    closed: bool,
}

/// While this lives, nobody else builds a list of the room.
///
/// Garbage collection and purges hold it: what they delete must not be what a list that is just being built shares.
pub struct Held<'a> {
    sealing: &'a Sealing,
    room: RoomNid,
}

impl Sealing {
    /// Notes that a room has lists that are due.
    pub fn add(&self, room: RoomNid) {
        let mut state = self.state.lock();
        if !state.due.contains(&room) {
            state.due.push_back(room);
            self.changed.notify_all();
        }
    }

    /// Keeps others from building lists of a room; waits for the one who is just doing so.
    pub fn hold(&self, room: RoomNid) -> Held<'_> {
        let mut state = self.state.lock();
        while !state.held.insert(room) {
            self.changed.wait(&mut state);
        }
        Held { sealing: self, room }
    }

    /// Waits for a room with lists that are due and takes hold of it; `None` once this is closed.
    pub fn next(&self) -> Option<Held<'_>> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(place) = state.due.iter().position(|room| !state.held.contains(room))
                && let Some(room) = state.due.remove(place)
            {
                state.held.insert(room);
                return Some(Held { sealing: self, room });
            }
            self.changed.wait(&mut state);
        }
    }

    /// Waits until no list is due and none is being built, or this is closed.
    pub fn settle(&self) {
        let mut state = self.state.lock();
        while !(state.closed || (state.due.is_empty() && state.held.is_empty())) {
            self.changed.wait(&mut state);
        }
    }

    /// Ends [`Sealing::next`]: lists that are due are built when the store is opened again.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

impl Held<'_> {
    /// The room.
    pub fn room(&self) -> RoomNid {
        self.room
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.sealing.state.lock().held.remove(&self.room);
        self.sealing.changed.notify_all();
    }
}

/// Blocks that one batch writes: a batch must not keep the room's writer waiting.
const BATCH_BLOCKS: usize = if cfg!(test) { 2 } else { 32 };

impl Engine {
    /// Builds the lists of a room that are due and not there, oldest first. A room that is not there has none.
    pub fn build_lists(&self, held: &Held<'_>) -> Result<()> {
        let room = held.room();
        let mut built = SnapshotNid::EMPTY;
        loop {
            // Of the next list, the one before is an ancestor: it needs a view that has it.
            let view = self.store().snapshot();
            let rows = Rows::new(&*view);
            let head = rows.head(room)?;
            let Some(sealed) = head.seals.iter().copied().find(|sealed| *sealed > built) else { return Ok(()) };
            built = sealed;
            if rows.has_list(room, sealed)? {
                continue;
            }
            let Some(row) = rows.unless_purged(room)? else { return Ok(()) };
            let states = self.stored_states(&*view, room, &head).as_of(&head.seals).passing();
            let facts = RoomFacts { engine: self, room: &row, create: head.create, pending: None };
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
