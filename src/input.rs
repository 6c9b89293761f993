//! Queues and writers: each room's inputs in order, one writer a room, rooms multiplexed on a small pool.

mod completion;
mod lane;
mod pool;
mod purger;
mod sealer;
mod ticket;
mod work;

pub use completion::Durability;
pub use pool::{Backpressure, Inputs, Limits};
pub use purger::Purger;
#[cfg(any(test, feature = "bench"))]
pub use sealer::Sealer;
pub use ticket::Ticket;
