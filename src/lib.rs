//! roomserver
pub mod encoding;
pub mod error;
pub mod ids;
pub mod input;
pub mod kv;
pub mod query;
pub mod resolution;
pub mod room;
pub mod server;
pub mod state;
pub mod tables;

pub use encoding::event_row::Verdict;
