//! What a body is written and read beside.

use ruma_common::room_version_rules::EventIdFormatVersion;

/// An event that a body refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    /// The event ID.
    pub event_id: &'a str,
    /// The reference hash.
    pub hash: &'a [u8; 32],
}

/// What a body is written and read beside: it is a PDU only together with this.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// How event IDs are spelled in the room's version.
    pub format: EventIdFormatVersion,
    /// The room ID.
    pub room_id: &'a str,
    /// The event ID.
    pub event_id: &'a str,
    /// The event type.
    pub event_type: &'a str,
    /// The state key, if it is a state event.
    pub state_key: Option<&'a str>,
    /// The sender.
    pub sender: &'a str,
    /// When its server says it was made.
    pub origin_server_ts: i64,
    /// The depth that its server gave it.
    pub depth: i64,
    /// The prev events of the row, in its order.
    pub prev_events: &'a [Option<Reference<'a>>],
    /// The auth events of the row, in its order.
    pub auth_events: &'a [Reference<'a>],
    /// The IDs of the events of [`Header::mentions`](super::Header::mentions), in their order.
    pub mentions: &'a [&'a str],
    /// The ID of the key of [`Header::key_id`](super::Header::key_id).
    pub key_id: Option<&'a str>,
}

/// For measurements and fuzz targets, which have PDUs and no rows.
#[cfg(any(test, feature = "bench", feature = "fuzzing"))]
impl<'a> Beside<'a> {
    /// What a PDU itself tells, without the events that it names and the ID of its key.
    pub fn of(pdu: &'a crate::encoding::pdu::Pdu, format: EventIdFormatVersion) -> Self {
        Self {
            format,
            room_id: pdu.room_id(),
            event_id: pdu.event_id(),
            event_type: pdu.event_type(),
            state_key: pdu.state_key(),
            sender: pdu.sender(),
            origin_server_ts: pdu.origin_server_ts(),
            depth: pdu.depth(),
            prev_events: &[],
            auth_events: &[],
            mentions: &[],
            key_id: None,
        }
    }
}

impl Beside<'_> {
    /// The server of the sender.
    pub(super) fn server(&self) -> &str {
        self.sender.split_once(':').map_or("", |(_, server)| server)
    }

    /// Tells whether references carry hashes: `[event ID, {hash}]`.
    pub(super) fn has_pairs(&self) -> bool {
        matches!(self.format, EventIdFormatVersion::V1)
    }
}
