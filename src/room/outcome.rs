//! What goes into a room, and what comes of it.

use ruma_common::{OwnedEventId, OwnedServerName, RoomVersionId};

pub use crate::encoding::event_row::Kind;
use crate::{
    error::{Error, Result},
    ids::{RoomNid, SnapshotNid},
};

/// An event for a room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Input {
    /// The PDU: JSON as another server sends it, or as this one signed it.
    pub pdu: Vec<u8>,
    /// What place it is to have.
    pub kind: Kind,
    /// The event ID, if the caller knows it; the computed one must be equal.
    pub event_id: Option<String>,
    /// The room version, for an event whose room is not known yet. A create event names its own, if it is not redacted.
    pub room_version: Option<RoomVersionId>,
    /// The complete state before the event, if the caller was told it: at most [`Input::MAX_STATE_EVENTS`] event IDs, of
    /// at most [`Input::MAX_STATE_BYTES`] bytes together.
    pub state: Option<Vec<OwnedEventId>>,
    /// Whether this homeserver made the event: such events are never soft-failed.
    pub local: bool,
    /// The server that sent it: the first to be asked for what is missing.
    pub origin: Option<OwnedServerName>,
}

impl Input {
    /// The most event IDs of a supplied state.
    pub const MAX_STATE_EVENTS: usize = 500_000;
    /// The most bytes that they have together: 50 for each, where that of a room version from 3 on has 44.
    pub const MAX_STATE_BYTES: usize = 24 << 20;

    /// A live event from another server.
    pub fn new(pdu: impl Into<Vec<u8>>) -> Self {
        Self {
            pdu: pdu.into(),
            kind: Kind::New,
            event_id: None,
            room_version: None,
            state: None,
            local: false,
            origin: None,
        }
    }

    /// An event for the auth graph only.
    pub fn outlier(pdu: impl Into<Vec<u8>>) -> Self {
        Self { kind: Kind::Outlier, ..Self::new(pdu) }
    }

    /// History.
    pub fn old(pdu: impl Into<Vec<u8>>) -> Self {
        Self { kind: Kind::Old, ..Self::new(pdu) }
    }

    /// Refuses a supplied state that is beyond the limits, with `Invalid`.
    ///
    /// Within them an input can be parked, whatever it lacks of that state: its row has what is lacking once more.
    pub(crate) fn check_state(&self) -> Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        if state.len() > Self::MAX_STATE_EVENTS {
            return Err(Error::invalid(format!(
                "the supplied state has {} events, at most {} are allowed",
                state.len(),
                Self::MAX_STATE_EVENTS
            )));
        }
        let bytes: usize = state.iter().map(|event_id| event_id.as_str().len()).sum();
        if bytes > Self::MAX_STATE_BYTES {
            return Err(Error::invalid(format!(
                "the event IDs of the supplied state have {bytes} bytes, at most {} are allowed",
                Self::MAX_STATE_BYTES
            )));
        }
        Ok(())
    }

    /// Bytes that it takes in a queue, without its event once that is parsed.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.state.iter().flatten().map(|id| id.as_str().len() + 32).sum::<usize>();
        self.pdu.len() + state + 512
    }
}

/// A place in the order in which a room's events were stored and placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub(crate) u32);

impl Position {
    /// Its number, from 1 on.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// A state of one room: an opaque token. Equal ones mean equal states; unequal ones may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId {
    pub(crate) room: RoomNid,
    pub(crate) snapshot: SnapshotNid,
}

/// A key of the current state that an event changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The event type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// The event that was there.
    pub before: Option<OwnedEventId>,
    /// The event that is there now.
    pub after: Option<OwnedEventId>,
}

/// What came of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The event is stored and allowed.
    Accepted(Accepted),
    /// The event was here already; nothing changed.
    Duplicate {
        /// The event.
        event_id: OwnedEventId,
        /// What came of it the first time.
        first: FirstVerdict,
    },
    /// The event is in the graph, but not by the current state: no client sees it, and it is no extremity.
    SoftFailed {
        /// The event.
        event_id: OwnedEventId,
        /// Where it is.
        position: Position,
        /// Why.
        reason: String,
    },
    /// The event is stored, and changes nothing.
    Rejected {
        /// The event.
        event_id: OwnedEventId,
        /// Where it is.
        position: Position,
        /// Why.
        reason: String,
    },
    /// The event is kept until what it lacks is here.
    Parked(Parked),
}

/// An accepted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The event.
    pub event_id: OwnedEventId,
    /// Where it is.
    pub position: Position,
    /// The state before it; none for an outlier, and for history whose state could not be had.
    pub state_before: Option<StateId>,
    /// The state after it.
    pub state_after: Option<StateId>,
    /// What it changed in the current state.
    pub changes: Vec<StateChange>,
    /// The room's forward extremities, now.
    pub extremities: Vec<OwnedEventId>,
}

/// A parked event, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The event.
    pub event_id: OwnedEventId,
    /// Prev events that have no place in the graph here, or no state.
    pub missing_prev: Vec<OwnedEventId>,
    /// Auth events that are not here.
    pub missing_auth: Vec<OwnedEventId>,
    /// Events of the supplied state that are not here.
    pub missing_state: Vec<OwnedEventId>,
}

/// What was decided about an event that came again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstVerdict {
    /// It was accepted.
    Accepted,
    /// It was soft-failed.
    SoftFailed,
    /// It was rejected.
    Rejected,
    /// It waits for others.
    Parked,
}

impl Outcome {
    /// The event.
    pub fn event_id(&self) -> &OwnedEventId {
        match self {
            Self::Accepted(accepted) => &accepted.event_id,
            Self::Parked(parked) => &parked.event_id,
            Self::Duplicate { event_id, .. } | Self::SoftFailed { event_id, .. } | Self::Rejected { event_id, .. } => {
                event_id
            }
        }
    }

    /// Its position, if it got one now.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Accepted(accepted) => Some(accepted.position),
            Self::SoftFailed { position, .. } | Self::Rejected { position, .. } => Some(*position),
            Self::Duplicate { .. } | Self::Parked(_) => None,
        }
    }
}

/// An event ID as a type of its own; `Invalid` if it is none.
pub(super) fn parse_id(event_id: &str) -> Result<OwnedEventId> {
    let parsed = OwnedEventId::try_from(event_id);
    parsed.map_err(|error| Error::invalid(format!("`{event_id}` is no event ID")).with_source(error))
}
