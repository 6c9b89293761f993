//! roomserver
pub mod error;
pub mod ids;
pub mod encoding;
