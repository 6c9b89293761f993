//! The threads that decide events, and whose turn it is.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select};
use parking_lot::Mutex;

use super::{
    completion::Replies,
    guarded::{guarded, harmless},
    lane::{Means, Turn},
    lanes::Lanes,
    threads::Threads,
    turn::Unit,
};
use crate::{error::Result, room::writer::Landed};

/// Units that a thread does in one room before it turns to the next: a long queue delays no other room, nor do many parked
/// inputs that one arrival made ready.
pub(super) const TURN: usize = 64;

/// The threads. Each takes the lane that has waited longest, does a slice of what is to do in it, and puts it back.
pub(super) struct Pool {
    shared: Arc<Shared>,
    turns: Receiver<Turn>,
    /// Never sent anything: the threads end once it is dropped.
    running: Mutex<Option<Sender<()>>>,
    threads: Threads,
}

struct Shared {
    lanes: Arc<Lanes>,
    means: Means,
}

/// A lane that goes on after a pause.
struct Paused {
    turn: Turn,
    over: Receiver<std::time::Instant>,
}

/// How a slice of a lane's work ended.
enum Slice {
    /// There may be more to do.
    Full,
    /// Nothing more was to do.
    Done,
    /// The store refuses to write; what is to be driven is tried again after this long.
    Refused(Duration),
}

impl Pool {
    /// Starts `writers` threads, at least one.
    pub(super) fn start(lanes: Arc<Lanes>, turns: Receiver<Turn>, means: Means, writers: usize) -> Result<Self> {
        let (running, stop) = bounded(0);
        let pool = Self {
            shared: Arc::new(Shared { lanes, means }),
            turns,
            running: Mutex::new(Some(running)),
            threads: Threads::default(),
        };
        for _ in 0..writers.max(1) {
            let (shared, turns, stop) = (pool.shared.clone(), pool.turns.clone(), stop.clone());
            pool.threads.spawn("roomserver-writer", move || shared.run(&turns, &stop))?;
        }
        Ok(pool)
    }

    /// Ends the threads after the unit at hand, and then the one that tells outcomes. What waits is told that the store was
    /// closed.
    pub(super) fn close(&self) {
        self.shared.lanes.close();
        drop(self.running.lock().take());
        self.threads.join();
        // Whoever waits until nothing is at work must not wait for these.
        self.turns.try_iter().for_each(drop);
        self.shared.lanes.clear();
        self.shared.means.completion.close();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Takes turns until told to stop.
    fn run(&self, turns: &Receiver<Turn>, stop: &Receiver<()>) {
        let never = never();
        // Rooms whose write was refused wait in this queue with a timer. The thread serves other rooms meanwhile
        // instead of sleeping.
        let mut paused: VecDeque<Paused> = VecDeque::new();
        while !self.lanes.is_closed() {
            let over = paused.front().map_or(&never, |first| &first.over);
            let turn = select! {
                recv(stop) -> _ => return,
                recv(over) -> _ => paused.pop_front().map(|first| first.turn),
                recv(turns) -> turn => turn.ok(),
            };
            if let Some(turn) = turn {
                paused.extend(self.slice(turn));
            }
        }
    }

    /// Does a slice of what is to do in a lane. Gives it back if it must pause.
    fn slice(&self, mut turn: Turn) -> Option<Paused> {
        let slice = guarded(|| self.units(&mut turn)).unwrap_or_else(|panic| {
            // Steps of the room's writer are guarded, each by itself; this was something around them. The room is out of
            // order, the thread is not.
            harmless(|| turn.quarantine(&panic, &self.means));
            Slice::Full
        });
        // After a panic, wherever it was.
        if let Some(landed) = turn.desk.landing.take() {
            self.wake(&landed, &Replies::new());
        }
        turn.sync_driven(&self.means);
        match slice {
            Slice::Full => self.lanes.send_to_pool(turn),
            Slice::Done => self.lanes.end(turn),
            Slice::Refused(pause) => return Some(Paused { turn, over: after(pause) }),
        }
        None
    }

    fn units(&self, turn: &mut Turn) -> Slice {
        for _ in 0..TURN {
            if self.lanes.is_closed() {
                return Slice::Done;
            }
            match turn.unit(&self.means) {
                Unit::Nothing | Unit::GivenUp => return Slice::Done,
                Unit::Refused(pause) => return Slice::Refused(pause),
                Unit::Done(None) => {}
                Unit::Done(Some(landed)) => self.wake(&landed, &turn.desk.replies),
            }
            turn.tell_settled();
        }
        Slice::Full
    }

    /// Lets the other rooms look at their parked inputs that wait for an event which has landed. Their lanes are at work
    /// before this one's turn ends, so that nobody finds all of them at rest in between. `replies` wait for them, too.
    fn wake(&self, landed: &Landed, replies: &Replies) {
        for room_id in &landed.elsewhere {
            let woken = self.lanes.enter(room_id, |queue| {
                queue.push_landed(landed.key, replies);
                Ok(())
            });
            // Closed: the parked inputs are looked at when the store is opened again.
            drop(woken);
        }
    }
}
