//! roomserver
pub mod error;
pub mod ids;
pub mod encoding;
pub mod kv;
pub mod tables;
pub mod state;
pub mod resolution;
pub mod room;
pub use encoding::event_row::Verdict;
