//! Who may do what, and what the state is where branches of the event graph meet.
//!
//! Everything here works on numeric IDs and on what [`ResolutionStore`] tells; nothing reads a table.

pub mod auth;
pub mod content;
mod event;

pub use event::AuthEvent;
