//! Pure bytes: JSON and PDUs as they come from the network, and every key and value as it lies on disk.
//!
//! Nothing here reads a store or a clock. Every decoder returns a [`Result`](crate::error::Result), never panics,
//! and never allocates from a length that it has not checked against the bytes at hand.

pub mod json;
pub mod pdu;
