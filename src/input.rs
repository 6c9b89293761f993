//! Queues and writers: each room's inputs in order, one writer a room, rooms multiplexed on a small pool.

mod completion;
mod lane;
mod pool;
mod ticket;

pub use completion::Durability;
pub use pool::{Backpressure, Inputs, Limits};
pub use ticket::Ticket;
