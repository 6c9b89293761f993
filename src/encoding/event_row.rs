//! The row of an event: all that the engine knows of it but its body and its ID.
//!
//! The bytes are drawn in `docs/format.md`.

use smallvec::SmallVec;

use super::bytes::{Cursor, Decoded, put_bytes, put_varint};
use crate::ids::{EventNid, EventTypeNid, SnapshotNid, StateKeyNid, StateTuple};

/// What kind of place an event has in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Stored for the auth graph only: no state, no place in the event graph.
    Outlier,
    /// History, fetched by backfill: in the event graph, never a forward extremity.
    Old,
    /// Live: may become a forward extremity.
    New,
}

/// What was decided about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Allowed.
    Accepted,
    /// Allowed where its sender stood, but not by the current state when it came: in the graph, never an extremity.
    SoftFailed(Refusal),
    /// Not allowed; it changes no state.
    Rejected(Refusal),
}

/// Why an event was refused, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The number of the rule; see [`Reason`](crate::resolution::auth::Reason).
    pub code: u8,
    /// What broke it, in a few words.
    pub detail: Box<str>,
}

impl Verdict {
    /// Tells whether the event was accepted without reserve.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }

    /// Tells whether the event was rejected.
    pub fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

/// The states around an event of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States {
    /// The state before it.
    pub before: SnapshotNid,
    /// The state after it; the same unless it is a state event that was not rejected.
    pub after: SnapshotNid,
}

/// The row of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its place in the room.
    pub kind: Kind,
    /// What was decided about it.
    pub verdict: Verdict,
    /// Whether its content hash was wrong when it was accepted, so that it was redacted before authorisation.
    pub redacted_at_acceptance: bool,
    /// Whether the host told the state before it.
    pub state_supplied: bool,
    /// Its position in the room: when it was stored, or got its place in the graph.
    pub position: u32,
    /// The states around it; none for outliers, and for history whose state could not be had.
    pub states: Option<States>,
    /// Its key, if it is a state event.
    pub tuple: Option<StateTuple>,
    /// Its prev events, in the order of the PDU; `None` for one that was not stored when it was placed.
    pub prev_events: SmallVec<[Option<EventNid>; 2]>,
    /// Its auth events, in the order of the PDU.
    pub auth_events: SmallVec<[EventNid; 6]>,
}

const KIND_MASK: u8 = 3;
const VERDICT_SHIFT: u8 = 2;
const REDACTED: u8 = 16;
const SUPPLIED: u8 = 32;
const HAS_STATES: u8 = 64;
const IS_STATE: u8 = 128;

impl EventRow {
    /// Tells whether the event has a place in the event graph.
    pub fn in_graph(&self) -> bool {
        self.kind != Kind::Outlier
    }

    /// Tells whether events before this one stay visible behind it when extremities are computed: it is no outlier, but
    /// hides nothing by itself.
    pub fn is_transparent(&self) -> bool {
        self.kind != Kind::New || !self.verdict.is_accepted()
    }

    /// Writes the row of the event `nid`.
    pub fn encode(&self, nid: EventNid) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        let kind = match self.kind {
            Kind::Outlier => 0,
            Kind::Old => 1,
            Kind::New => 2,
        };
        let (verdict, refusal) = match &self.verdict {
            Verdict::Accepted => (0, None),
            Verdict::SoftFailed(refusal) => (1, Some(refusal)),
            Verdict::Rejected(refusal) => (2, Some(refusal)),
        };
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        out.push(
            kind | (verdict << VERDICT_SHIFT)
                | flag(self.redacted_at_acceptance, REDACTED)
                | flag(self.state_supplied, SUPPLIED)
                | flag(self.states.is_some(), HAS_STATES)
                | flag(self.tuple.is_some(), IS_STATE),
        );
        put_varint(&mut out, u64::from(self.position));
        if let Some(states) = self.states {
            put_varint(&mut out, u64::from(states.before.number()));
            put_varint(&mut out, u64::from(states.after.number().saturating_sub(states.before.number())));
        }
        if let Some(tuple) = self.tuple {
            put_varint(&mut out, u64::from(tuple.event_type.number()));
            put_varint(&mut out, u64::from(tuple.state_key.number()));
        }
        // A prev event of an outlier that got its place can be younger than it, so distances go both ways.
        put_varint(&mut out, self.prev_events.len() as u64);
        for prev in &self.prev_events {
            let distance = prev.map_or(0, |prev| i64::from(nid.number()) - i64::from(prev.number()));
            super::bytes::put_zigzag(&mut out, distance);
        }
        put_varint(&mut out, self.auth_events.len() as u64);
        for auth in &self.auth_events {
            put_varint(&mut out, u64::from(nid.number().saturating_sub(auth.number())));
        }
        if let Some(refusal) = refusal {
            out.push(refusal.code);
            put_bytes(&mut out, refusal.detail.as_bytes());
        }
        out
    }

    /// Reads the row of the event `nid`.
    pub fn decode(nid: EventNid, bytes: &[u8]) -> Decoded<Self> {
        let mut cursor = Cursor::new(bytes);
        let flags = cursor.byte()?;
        let kind = match flags & KIND_MASK {
            0 => Kind::Outlier,
            1 => Kind::Old,
            2 => Kind::New,
            _ => return Err(cursor.malformed("an unknown kind of event")),
        };
        let position = cursor.varint32()?;
        let states = if flags & HAS_STATES != 0 { Some(take_states(&mut cursor)?) } else { None };
        let tuple = if flags & IS_STATE != 0 { Some(take_tuple(&mut cursor)?) } else { None };
        let mut prev_events = SmallVec::new();
        for _ in 0..cursor.count(1)? {
            let distance = cursor.zigzag()?;
            prev_events.push(match distance {
                0 => None,
                _ => {
                    let number = i64::from(nid.number()).checked_sub(distance).and_then(|n| u32::try_from(n).ok());
                    let prev = number.and_then(EventNid::new);
                    Some(prev.ok_or(cursor.malformed("a prev event number of 0 or beyond 32 bits"))?)
                }
            });
        }
        let mut auth_events = SmallVec::new();
        for _ in 0..cursor.count(1)? {
            let distance = cursor.varint32()?;
            let auth = nid.number().checked_sub(distance).filter(|_| distance > 0).and_then(EventNid::new);
            auth_events.push(auth.ok_or(cursor.malformed("an auth event that is not older"))?);
        }
        let verdict = match (flags >> VERDICT_SHIFT) & 3 {
            0 => Verdict::Accepted,
            1 => Verdict::SoftFailed(take_refusal(&mut cursor)?),
            2 => Verdict::Rejected(take_refusal(&mut cursor)?),
            _ => return Err(cursor.malformed("an unknown verdict")),
        };
        cursor.end()?;
        let (redacted_at_acceptance, state_supplied) = (flags & REDACTED != 0, flags & SUPPLIED != 0);
        Ok(Self {
            kind,
            verdict,
            redacted_at_acceptance,
            state_supplied,
            position,
            states,
            tuple,
            prev_events,
            auth_events,
        })
    }
}

fn take_states(cursor: &mut Cursor<'_>) -> Decoded<States> {
    let before = cursor.varint32()?;
    let after = before.checked_add(cursor.varint32()?).ok_or(cursor.malformed("a snapshot beyond 32 bits"))?;
    Ok(States { before: SnapshotNid::new(before), after: SnapshotNid::new(after) })
}

fn take_tuple(cursor: &mut Cursor<'_>) -> Decoded<StateTuple> {
    match (EventTypeNid::new(cursor.varint32()?), StateKeyNid::new(cursor.varint32()?)) {
        (Some(event_type), Some(state_key)) => Ok(StateTuple { event_type, state_key }),
        _ => Err(cursor.malformed("an event type or state key of 0")),
    }
}

fn take_refusal(cursor: &mut Cursor<'_>) -> Decoded<Refusal> {
    Ok(Refusal { code: cursor.byte()?, detail: cursor.text()?.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;
    use crate::encoding::block::tests::tuple;

    fn row() -> EventRow {
        EventRow {
            kind: Kind::New,
            verdict: Verdict::SoftFailed(Refusal { code: 7, detail: "sender is banned".into() }),
            redacted_at_acceptance: true,
            state_supplied: false,
            position: 300,
            states: Some(States { before: SnapshotNid::new(70), after: SnapshotNid::new(72) }),
            tuple: Some(tuple(2, 900)),
            prev_events: smallvec![EventNid::new(299), None, EventNid::new(500)],
            auth_events: smallvec![EventNid::new(1).expect("not 0"), EventNid::new(290).expect("not 0")],
        }
    }

    #[test]
    fn a_row_comes_back() {
        let nid = EventNid::new(301).expect("not 0");
        assert_eq!(EventRow::decode(nid, &row().encode(nid)), Ok(row()));
    }

    #[test]
    fn an_auth_event_that_is_not_older_is_refused() {
        let bytes = row().encode(EventNid::new(301).expect("not 0"));
        assert!(EventRow::decode(EventNid::new(200).expect("not 0"), &bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
            let _ = EventRow::decode(EventNid::new(301).expect("not 0"), &bytes);
        }

        #[test]
        fn a_cut_row_is_refused(cut in 0usize..30) {
            let nid = EventNid::new(301).expect("not 0");
            let bytes = row().encode(nid);
            prop_assume!(cut < bytes.len());
            prop_assert!(EventRow::decode(nid, &bytes[..cut]).is_err());
        }
    }
}
