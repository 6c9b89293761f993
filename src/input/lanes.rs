//! The lanes of all rooms: found, made, and forgotten.
//!
//! What is here must not grow with what strangers send. A lane is in the map while something is to do in it, while its room
//! is in quarantine, or while parked inputs are still to be looked at; lanes that have nothing but a writer are kept up to
//! a number. An input that is refused leaves none behind.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;

use super::{
    gauge::Gauge,
    lane::{Lane, Left, Queue, Turn},
};
use crate::error::{Error, Result};

/// How many lanes with nothing to do are kept, so that the next input of their room finds its writer open.
pub(super) const IDLE_LANES_MAX: usize = 256;

/// The lanes, and the way on which those with something to do go to the pool.
pub(super) struct Lanes {
    // Lock order: first this map, then a lane's queue. `enter` and `end` hold both, so an input cannot go into a lane
    // that is just being removed from the map.
    map: Mutex<Map>,
    /// Set while the map is locked: afterwards nothing comes into a queue, and no lane goes to the pool.
    closed: AtomicBool,
    ready: Sender<Turn>,
    gauge: Arc<Gauge>,
}

#[derive(Default)]
struct Map {
    // A tree, since room IDs are chosen by strangers: with a hash that is the same in each process they could find IDs that
    // all fall together, and one that is not would let chance into the engine.
    by_room: BTreeMap<Box<str>, Arc<Lane>>,
    /// Lanes that are kept for their writers alone, the longest idle first.
    idle: BTreeMap<u64, Arc<Lane>>,
    /// How often a lane became idle.
    rests: u64,
}

impl Lanes {
    /// No lanes, and the end at which the pool finds those with something to do.
    pub(super) fn new(gauge: Arc<Gauge>) -> (Self, Receiver<Turn>) {
        let (ready, turns) = unbounded();
        (Self { map: Mutex::default(), closed: AtomicBool::new(false), ready, gauge }, turns)
    }

    /// Changes a room's queue, and sends its lane to the pool if that gives it something to do. A lane is made for it only
    /// then. `Unavailable` once this is closed, else the errors of `change`, which leave nothing behind.
    ///
    /// Everything is locked meanwhile: `change` must not call what is the host's.
    pub(super) fn enter(&self, room_id: &str, change: impl FnOnce(&mut Queue) -> Result<()>) -> Result<()> {
        let mut map = self.map.lock();
        if self.is_closed() {
            return Err(Error::unavailable("the store is closed"));
        }
        let known = map.by_room.get(room_id).cloned();
        let lane = known.clone().unwrap_or_else(|| Arc::new(Lane::new(room_id)));
        let mut queue = lane.queue();
        change(&mut queue)?;
        let Some(turn) = queue.begin(&lane, &self.gauge) else { return Ok(()) };
        if let Some(place) = queue.idle.take() {
            map.idle.remove(&place);
        }
        if known.is_none() {
            map.by_room.insert(room_id.into(), lane.clone());
        }
        self.send_to_pool(turn);
        Ok(())
    }

    /// Sends a lane to the pool once more, behind all others.
    pub(super) fn send_to_pool(&self, turn: Turn) {
        // Sending fails only after the pool is gone. The turn comes back then and is dropped, and the count of lanes
        // falls.
        let _gone = self.ready.send(turn);
    }

    /// Ends a turn after which nothing was to do, unless something came meanwhile.
    pub(super) fn end(&self, turn: Turn) {
        let mut map = self.map.lock();
        // A lane that is removed is dropped after both locks are released: dropping its writer takes other locks.
        let mut forgotten = None;
        let lane = turn.lane.clone();
        let mut queue = lane.queue();
        if self.is_closed() {
            drop((queue, map, turn));
            return;
        }
        match queue.end(turn) {
            Err(turn) => self.send_to_pool(turn),
            Ok(Left::Needed) => {}
            Ok(Left::Empty) => forgotten = map.by_room.remove(&lane.room_id),
            Ok(Left::WithWriter) => {
                map.rests = map.rests.saturating_add(1);
                let place = map.rests;
                queue.idle = Some(place);
                map.idle.insert(place, lane.clone());
                if map.idle.len() > IDLE_LANES_MAX {
                    forgotten = map.idle.pop_first().and_then(|(_, oldest)| map.by_room.remove(&oldest.room_id));
                }
            }
        }
        drop((queue, map, forgotten));
    }

    /// Sends the lanes to the pool that are at rest though parked inputs are still to be looked at.
    pub(super) fn resume(&self) {
        let map = self.map.lock();
        // The pool may have no threads any more: a lane that is sent to it would count as at work for ever.
        if self.is_closed() {
            return;
        }
        for lane in map.by_room.values() {
            let turn = lane.queue().resume(lane, &self.gauge);
            if let Some(turn) = turn {
                self.send_to_pool(turn);
            }
        }
    }

    /// A room that is at rest though parked inputs are still to be looked at.
    pub(super) fn stuck(&self) -> Option<String> {
        let map = self.map.lock();
        map.by_room.values().find(|lane| lane.queue().is_stuck()).map(|lane| lane.room_id.to_string())
    }

    /// The rooms in quarantine, with the reasons, in the order of their IDs.
    pub(super) fn quarantined(&self) -> Vec<(String, String)> {
        let map = self.map.lock();
        let reason = |lane: &Arc<Lane>| Some((lane.room_id.to_string(), lane.queue().quarantined()?.to_owned()));
        map.by_room.values().filter_map(reason).collect()
    }

    /// Why a room is in quarantine.
    pub(super) fn quarantined_reason(&self, room_id: &str) -> Option<String> {
        let map = self.map.lock();
        map.by_room.get(room_id)?.queue().quarantined().map(str::to_owned)
    }

    /// Tells whether nothing is to be begun any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Lets nothing in any more.
    pub(super) fn close(&self) {
        let _nobody_enters = self.map.lock();
        self.closed.store(true, Ordering::Release);
    }

    /// Forgets all lanes, once no thread of the pool is left: what waits in them is dropped, and told so.
    pub(super) fn clear(&self) {
        // Not under the lock: wakers are called.
        let map = std::mem::take(&mut *self.map.lock());
        drop(map);
    }

    /// How many lanes there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.map.lock().by_room.len()
    }

    /// Tells whether a room has a lane.
    #[cfg(test)]
    pub(super) fn has(&self, room_id: &str) -> bool {
        self.map.lock().by_room.contains_key(room_id)
    }
}
