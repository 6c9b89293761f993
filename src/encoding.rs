//! Pure bytes: JSON and PDUs as they come from the network, and every key and value as it lies on disk.
//!
//! Nothing here reads a store or a clock. Every decoder returns a [`Result`], never panics, and never allocates from a
//! length that it has not checked against the bytes at hand.

pub mod block;
pub mod body;
pub mod bytes;
pub mod cold;
pub mod event_ids;
pub mod event_key;
pub mod event_row;
pub mod fingerprint;
pub mod head;
pub mod json;
pub mod keys;
pub mod list;
pub mod pack;
pub mod pdu;
pub mod redaction;
