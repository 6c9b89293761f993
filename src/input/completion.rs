//! Making outcomes durable before they are told: one sync for all that wait.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{pool::Gauge, ticket::Promise};
use crate::{
    error::Result,
    room::{engine::Engine, outcome::Outcome},
};

/// An input that is done, once the store is durable up to `sequence`.
pub(super) struct Done {
    pub(super) promise: Promise,
    pub(super) result: Result<Outcome>,
    pub(super) sequence: u64,
    pub(super) bytes: usize,
}

/// Whether outcomes wait until they are on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// An outcome is told only after its batch is on stable storage.
    #[default]
    Synced,
    /// An outcome is told when its batch is applied: a power loss can take it back. For imports that can be repeated.
    Buffered,
}

/// The end into which writers put what is done.
pub(super) fn channel() -> (Sender<Done>, Receiver<Done>) {
    // What lies in the channel is bounded by the gauge, which counts every input until its outcome is told.
    unbounded()
}

/// Tells outcomes until all writers are gone.
pub(super) fn run(engine: &Engine, durability: Durability, done: &Receiver<Done>, gauge: &Arc<Gauge>) {
    let mut durable = 0;
    while let Ok(first) = done.recv() {
        let all: Vec<Done> = std::iter::once(first).chain(done.try_iter()).collect();
        let wanted = all.iter().map(|done| done.sequence).max().unwrap_or(0);
        let mut failure = None;
        if durability == Durability::Synced && wanted > durable {
            match engine.sync() {
                Ok(sequence) => durable = sequence,
                Err(error) => failure = Some(error),
            }
        }
        for Done { promise, result, sequence, bytes } in all {
            let result = match &failure {
                Some(error) if sequence > durable => Err(error.duplicate()),
                _ => result,
            };
            // The gauge falls first: who has the outcome must not find its input still counted.
            gauge.fall(bytes);
            promise.keep(result);
        }
    }
}
