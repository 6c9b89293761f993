//! Lists that are due, and who may build them.
//!
//! That a list is due is decided, and stored, with the event that makes it due; the head names those that may be lacking.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};
use rustc_hash::FxHashSet;

use crate::ids::RoomNid;

/// The rooms in which lists are due, and those in which nobody may build any.
#[derive(Default)]
pub struct DueLists {
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
    lists: &'a DueLists,
    room: RoomNid,
}

impl DueLists {
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
        Held { lists: self, room }
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
                return Some(Held { lists: self, room });
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

    /// Ends [`DueLists::next`]: lists that are due are built when the store is opened again.
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
        self.lists.state.lock().held.remove(&self.room);
        self.lists.changed.notify_all();
    }
}
