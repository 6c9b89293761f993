//! Queues and writers: each room's inputs in order, one thread a room, rooms multiplexed on a small pool.
//!
//! The files, lowest first; each uses only those before it:
//!
//! - `guarded`: code that may panic, run so that its thread lives on. `threads`: threads that are ended together.
//! - `gauge`: counts what is under way. `ticket`: the promise of an answer. `event`: what is read of an event in the
//!   thread that submits it.
//! - `completion`: the thread that syncs, and tells outcomes.
//! - `lane`: the queue of one room. `turn`: what a thread does in a room. `lanes`: the lanes of all rooms.
//! - `pool`: the threads that take turns. `inputs`: the doors into all this.
//! - `list_builder`, `purger`: threads that work beside the writers.

mod completion;
mod event;
mod gauge;
mod guarded;
mod inputs;
mod lane;
mod lanes;
mod list_builder;
mod pool;
mod purger;
mod threads;
mod ticket;
mod turn;

#[cfg(test)]
mod tests;

pub use completion::Durability;
pub use gauge::{Backpressure, Limits};
pub use inputs::Inputs;
#[cfg(any(test, feature = "bench"))]
pub use list_builder::ListBuilder;
pub use purger::Purger;
pub use ticket::Ticket;
