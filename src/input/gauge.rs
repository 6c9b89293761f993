//! Counts what is under way: inputs, their bytes, and lanes at work.
//!
//! In other servers such a gauge rose only after the work began, and some error paths never lowered it. Here it falls
//! when the value that was counted is dropped, whatever happens to it.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::guarded::harmless;
use crate::error::{Error, ErrorKind, Result};

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory that inputs which wait in one room may take.
    pub room_bytes: usize,
    /// Bytes of memory that inputs which wait in all rooms together may take.
    pub total_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { room_bytes: 16 << 20, total_bytes: 128 << 20 }
    }
}

/// Inputs that were taken and whose outcome has not been told yet. Both are 0 when nothing is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backpressure {
    /// How many there are.
    pub inputs: usize,
    /// The bytes of memory that they take.
    pub bytes: usize,
}

/// Counts what is under way in all rooms.
#[derive(Default)]
pub(super) struct Gauge {
    count: Mutex<Count>,
    at_rest: Condvar,
}

#[derive(Default)]
struct Count {
    waiting: Backpressure,
    /// Lanes that wait for a thread of the pool or are with one. They are counted beside the inputs since work may go on for
    /// which no outcome waits: what is looked at after an open, a release or a refusal.
    lanes: usize,
}

/// An input that is counted until this is dropped.
pub(super) struct Counted {
    gauge: Arc<Gauge>,
    bytes: usize,
}

/// A lane that is counted as being at work until this is dropped.
pub(super) struct AtWork {
    gauge: Arc<Gauge>,
}

impl Gauge {
    /// Counts an input of so many bytes; `Busy` if that makes more than `limit` bytes. One input alone may have any size.
    pub(super) fn count(self: &Arc<Self>, bytes: usize, limit: usize) -> Result<Counted> {
        let mut count = self.count.lock();
        let waiting = count.waiting;
        let after = waiting.bytes.saturating_add(bytes);
        if after > limit && waiting.inputs > 0 {
            return Err(Error::new(
                ErrorKind::Busy,
                format!("the queues hold {} bytes, all that they may", waiting.bytes),
            ));
        }
        count.waiting = Backpressure { inputs: waiting.inputs.saturating_add(1), bytes: after };
        drop(count);
        let counted = Counted { gauge: self.clone(), bytes };
        // The recorder is the host's: a panic in it must reach neither the count nor who submits.
        harmless(|| metrics::gauge!("roomserver_input_backpressure").increment(1.0));
        Ok(counted)
    }

    /// Counts a lane that has something to do.
    pub(super) fn count_lane(self: &Arc<Self>) -> AtWork {
        let mut count = self.count.lock();
        count.lanes = count.lanes.saturating_add(1);
        AtWork { gauge: self.clone() }
    }

    /// What is counted now.
    pub(super) fn backpressure(&self) -> Backpressure {
        self.count.lock().waiting
    }

    /// Blocks until no input waits and no lane is at work.
    pub(super) fn settle(&self) {
        let mut count = self.count.lock();
        while !count.is_at_rest() {
            self.at_rest.wait(&mut count);
        }
    }

    fn fall(&self, change: impl FnOnce(&mut Count)) {
        let mut count = self.count.lock();
        change(&mut count);
        if count.is_at_rest() {
            self.at_rest.notify_all();
        }
    }
}

impl Count {
    fn is_at_rest(&self) -> bool {
        self.waiting.inputs == 0 && self.lanes == 0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.fall(|Count { waiting, .. }| {
            waiting.inputs = waiting.inputs.saturating_sub(1);
            waiting.bytes = waiting.bytes.saturating_sub(self.bytes);
        });
        harmless(|| metrics::gauge!("roomserver_input_backpressure").decrement(1.0));
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.gauge.fall(|count| count.lanes = count.lanes.saturating_sub(1));
    }
}
