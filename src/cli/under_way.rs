//! Lines of an import on their way from the thread that reads and submits them to the one that waits for the outcomes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use super::{refused::Identity, source::Source};
use crate::{error::Error, input::Ticket, room::outcome::Kind};

/// A line under way.
pub(super) struct Sent {
    pub(super) source: Arc<Source>,
    /// The number of the line in it.
    pub(super) line: u64,
    pub(super) what: What,
}

/// What became of a line so far.
pub(super) enum What {
    /// It was submitted.
    Submitted(Submitted),
    /// It is invalid.
    Invalid { why: String, identity: Option<Identity> },
    /// The file cannot be read from here on, and nothing of the line was.
    Unreadable(String),
}

/// A line that was submitted.
pub(super) struct Submitted {
    /// The error if the engine could not take it.
    pub(super) ticket: Result<Ticket, Error>,
    pub(super) kind: Kind,
    /// The room that the PDU names.
    pub(super) room_id: Option<Box<str>>,
    /// Whether the line or the command told the room version.
    pub(super) has_version: bool,
    /// What tells the ID of its event, if it turns out to be invalid.
    pub(super) identity: Option<Identity>,
}

/// How the two threads talk to each other.
pub(super) struct Control {
    /// Set by the follower to end the reading.
    pub(super) stop: AtomicBool,
    /// Bytes read of the files.
    pub(super) bytes_read: Arc<AtomicU64>,
}
