//! The row of an event: all that the engine knows of it but its body and its ID.
//!
//! The bytes are drawn in `docs/format.md`.

use smallvec::SmallVec;

use super::bytes::{Cursor, Decoded, put_bytes, put_varint, put_zigzag};
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

/// A name, by its number if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name<N> {
    /// The number of an interned name.
    Number(N),
    /// A name that had no number when the row was written.
    Text(Box<str>),
}

/// The states around an event of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States {
    /// The state before it.
    pub before: SnapshotNid,
    /// The state after it; the same unless it is a state event that was not rejected.
    pub after: SnapshotNid,
}

/// What garbage collection left of an event beside its row and its ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Remains {
    /// Neither states nor body.
    Row,
    /// The body: something that is retained needs it.
    Body,
    /// All of it.
    #[default]
    All,
}

/// The row of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its place in the room.
    pub kind: Kind,
    /// What is left of it.
    pub remains: Remains,
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
    /// Its type; that of `tuple`, if it is a state event.
    pub event_type: Name<EventTypeNid>,
    /// Its sender, numbered as state keys are.
    pub sender: Name<StateKeyNid>,
    /// The depth that its server gave it.
    pub depth: i64,
    /// When its server says it was made, in milliseconds since the Unix epoch; may be negative.
    pub origin_server_ts: i64,
    /// Its prev events, in the order of the PDU; `None` for one that was not stored when it was placed.
    pub prev_events: SmallVec<[Option<EventNid>; 2]>,
    /// Its auth events, in the order of the PDU.
    pub auth_events: SmallVec<[EventNid; 6]>,
}

const KIND_MASK: u8 = 3;
/// Instead of a kind: the event was collected, and a byte with the kind follows.
const COLLECTED: u8 = 3;
/// In that byte: the body is gone too.
const NO_BODY: u8 = 4;
const VERDICT_SHIFT: u8 = 2;
const REDACTED: u8 = 16;
const SUPPLIED: u8 = 32;
const HAS_STATES: u8 = 64;
const IS_STATE: u8 = 128;

const SENDER_MASK: u8 = 3;
const SENDER_IS_NUMBER: u8 = 0;
const SENDER_IS_KEY: u8 = 1;
const SENDER_IS_TEXT: u8 = 2;
const TYPE_IS_TEXT: u8 = 4;
const FOLLOWS: u8 = 8;
const AUTH_EVENTS_SHIFT: u8 = 4;
/// Their number follows.
const MANY_AUTH_EVENTS: u8 = 7;
const UNUSED: u8 = 128;

impl EventRow {
    /// Tells whether its body is there.
    pub fn has_body(&self) -> bool {
        self.remains > Remains::Row
    }

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
        let first = if self.remains == Remains::All { kind } else { COLLECTED };
        out.push(
            first
                | (verdict << VERDICT_SHIFT)
                | flag(self.redacted_at_acceptance, REDACTED)
                | flag(self.state_supplied, SUPPLIED)
                | flag(self.states.is_some(), HAS_STATES)
                | flag(self.tuple.is_some(), IS_STATE),
        );
        if self.remains != Remains::All {
            out.push(kind | flag(self.remains == Remains::Row, NO_BODY));
        }
        self.put_shape(&mut out, nid);
        put_zigzag(&mut out, i64::from(self.position) - i64::from(nid.number()));
        if let Some(states) = self.states {
            put_varint(&mut out, u64::from(states.before.number()));
            put_varint(&mut out, u64::from(states.after.number().saturating_sub(states.before.number())));
        }
        put_zigzag(&mut out, self.depth.wrapping_sub(i64::from(nid.number())));
        // Not as a zigzag, which would take a byte more from 2039 on: times before 1970 are rare, and may take 10.
        put_varint(&mut out, self.origin_server_ts.cast_unsigned());
        // A prev event of an outlier that got its place can be younger than it, so distances go both ways.
        if !self.follows(nid) {
            put_varint(&mut out, self.prev_events.len() as u64);
            for prev in &self.prev_events {
                let distance = prev.map_or(0, |prev| i64::from(nid.number()) - i64::from(prev.number()));
                put_zigzag(&mut out, distance);
            }
        }
        if let Some(refusal) = refusal {
            out.push(refusal.code);
            put_bytes(&mut out, refusal.detail.as_bytes());
        }
        out
    }

    /// Tells whether the only prev event is the event that was stored before it.
    fn follows(&self, nid: EventNid) -> bool {
        matches!(self.prev_events.as_slice(), [Some(prev)] if prev.number() == nid.number() - 1)
    }

    /// What is the same for many events of a room: type, sender, auth events. In that order, so that a sender's events
    /// have it in common byte for byte.
    fn put_shape(&self, out: &mut Vec<u8>, nid: EventNid) {
        let sender = match (&self.sender, self.tuple) {
            (Name::Number(sender), Some(tuple)) if *sender == tuple.state_key => SENDER_IS_KEY,
            (Name::Number(_), _) => SENDER_IS_NUMBER,
            (Name::Text(_), _) => SENDER_IS_TEXT,
        };
        let has_text = matches!((&self.event_type, self.tuple), (Name::Text(_), None));
        let auth_events = u8::try_from(self.auth_events.len()).unwrap_or(MANY_AUTH_EVENTS).min(MANY_AUTH_EVENTS);
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        out.push(
            sender
                | flag(has_text, TYPE_IS_TEXT)
                | flag(self.follows(nid), FOLLOWS)
                | (auth_events << AUTH_EVENTS_SHIFT),
        );
        match (self.tuple, &self.event_type) {
            (Some(tuple), _) => {
                put_varint(out, u64::from(tuple.event_type.number()));
                put_varint(out, u64::from(tuple.state_key.number()));
            }
            (None, Name::Number(event_type)) => put_varint(out, u64::from(event_type.number())),
            (None, Name::Text(event_type)) => put_bytes(out, event_type.as_bytes()),
        }
        match &self.sender {
            Name::Number(_) if sender == SENDER_IS_KEY => {}
            Name::Number(number) => put_varint(out, u64::from(number.number())),
            Name::Text(text) => put_bytes(out, text.as_bytes()),
        }
        if auth_events == MANY_AUTH_EVENTS {
            put_varint(out, self.auth_events.len() as u64);
        }
        for auth in &self.auth_events {
            put_varint(out, u64::from(auth.number()));
        }
    }

    /// Reads the row of the event `nid`.
    pub fn decode(nid: EventNid, bytes: &[u8]) -> Decoded<Self> {
        let mut cursor = Cursor::new(bytes);
        let flags = cursor.byte()?;
        let (kind, remains) = take_kind(&mut cursor, flags)?;
        let shape = cursor.byte()?;
        if shape & UNUSED != 0 {
            return Err(cursor.malformed("an unknown flag"));
        }
        let tuple = if flags & IS_STATE != 0 { Some(take_tuple(&mut cursor)?) } else { None };
        let event_type = match tuple {
            Some(tuple) => Name::Number(tuple.event_type),
            None if shape & TYPE_IS_TEXT != 0 => Name::Text(cursor.text()?.into()),
            None => take_number(&mut cursor, EventTypeNid::new)?,
        };
        let sender = match (shape & SENDER_MASK, tuple) {
            (SENDER_IS_NUMBER, _) => take_number(&mut cursor, StateKeyNid::new)?,
            (SENDER_IS_KEY, Some(tuple)) => Name::Number(tuple.state_key),
            (SENDER_IS_TEXT, _) => Name::Text(cursor.text()?.into()),
            _ => return Err(cursor.malformed("an unknown sort of sender")),
        };
        let auth_events = take_auth_events(&mut cursor, shape >> AUTH_EVENTS_SHIFT & MANY_AUTH_EVENTS, nid)?;
        let position = i64::from(nid.number()).checked_add(cursor.zigzag()?).and_then(|at| u32::try_from(at).ok());
        let position = position.ok_or(cursor.malformed("a position beyond 32 bits"))?;
        let states = if flags & HAS_STATES != 0 { Some(take_states(&mut cursor)?) } else { None };
        let depth = cursor.zigzag()?.wrapping_add(i64::from(nid.number()));
        let origin_server_ts = cursor.varint()?.cast_signed();
        let prev_events = if shape & FOLLOWS != 0 {
            let before = nid.number().checked_sub(1).and_then(EventNid::new);
            SmallVec::from_iter([Some(before.ok_or(cursor.malformed("an event before the first"))?)])
        } else {
            take_prev_events(&mut cursor, nid)?
        };
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
            remains,
            verdict,
            redacted_at_acceptance,
            state_supplied,
            position,
            states,
            tuple,
            event_type,
            sender,
            depth,
            origin_server_ts,
            prev_events,
            auth_events,
        })
    }
}

/// The kind in the first byte, or in the one after it if the event was collected.
fn take_kind(cursor: &mut Cursor<'_>, flags: u8) -> Decoded<(Kind, Remains)> {
    let (kind, remains) = match flags & KIND_MASK {
        COLLECTED => match cursor.byte()? {
            rest @ 0..=3 => (rest, Remains::Body),
            rest @ 4..=7 => (rest & KIND_MASK, Remains::Row),
            _ => return Err(cursor.malformed("an unknown flag")),
        },
        kind => (kind, Remains::All),
    };
    match kind {
        0 => Ok((Kind::Outlier, remains)),
        1 => Ok((Kind::Old, remains)),
        2 => Ok((Kind::New, remains)),
        _ => Err(cursor.malformed("an unknown kind of event")),
    }
}

fn take_number<N>(cursor: &mut Cursor<'_>, number: fn(u32) -> Option<N>) -> Decoded<Name<N>> {
    number(cursor.varint32()?).map(Name::Number).ok_or(cursor.malformed("a name of number 0"))
}

fn take_auth_events(cursor: &mut Cursor<'_>, count: u8, nid: EventNid) -> Decoded<SmallVec<[EventNid; 6]>> {
    let count = if count == MANY_AUTH_EVENTS { cursor.count(1)? } else { usize::from(count) };
    let mut auth_events = SmallVec::new();
    for _ in 0..count {
        let auth = EventNid::new(cursor.varint32()?).filter(|auth| *auth < nid);
        auth_events.push(auth.ok_or_else(|| cursor.malformed("an auth event that is not older"))?);
    }
    Ok(auth_events)
}

fn take_prev_events(cursor: &mut Cursor<'_>, nid: EventNid) -> Decoded<SmallVec<[Option<EventNid>; 2]>> {
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
    Ok(prev_events)
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
            remains: Remains::All,
            verdict: Verdict::SoftFailed(Refusal { code: 7, detail: "sender is banned".into() }),
            redacted_at_acceptance: true,
            state_supplied: false,
            position: 300,
            states: Some(States { before: SnapshotNid::new(70), after: SnapshotNid::new(72) }),
            tuple: Some(tuple(2, 900)),
            event_type: Name::Number(tuple(2, 900).event_type),
            sender: Name::Text("@a:b".into()),
            depth: i64::MAX,
            origin_server_ts: 1_700_000_000_000,
            prev_events: smallvec![EventNid::new(299), None, EventNid::new(500)],
            auth_events: smallvec![EventNid::new(1).expect("not 0"), EventNid::new(290).expect("not 0")],
        }
    }

    #[test]
    fn a_row_comes_back() {
        let nid = EventNid::new(301).expect("not 0");
        assert_eq!(EventRow::decode(nid, &row().encode(nid)), Ok(row()));
    }

    /// Any member may send any time, and most send one of today: 6 bytes, until 2109.
    #[test]
    fn any_time_comes_back_and_only_one_before_1970_takes_more_bytes() {
        let nid = EventNid::new(301).expect("not 0");
        let rest = EventRow { origin_server_ts: 0, ..row() }.encode(nid).len() - 1;
        for (origin_server_ts, bytes) in [
            (0, 1),
            (1_700_000_000_000, 6),
            ((1 << 42) - 1, 6),
            (i64::MAX, 9),
            (-1, 10),
            (-1_700_000_000_000, 10),
            (i64::MIN, 10),
        ] {
            let row = EventRow { origin_server_ts, ..row() };
            assert_eq!(row.encode(nid).len() - rest, bytes, "{origin_server_ts}");
            assert_eq!(EventRow::decode(nid, &row.encode(nid)), Ok(row));
        }
    }

    #[test]
    fn the_bytes_of_a_row_are_these() {
        let row = EventRow {
            verdict: Verdict::Accepted,
            redacted_at_acceptance: false,
            position: 301,
            depth: 301,
            sender: Name::Number(tuple(2, 7).state_key),
            origin_server_ts: -2,
            prev_events: smallvec![EventNid::new(300)],
            ..row()
        };
        let flags = [0b1100_0010, 0b0010_1000];
        let shape = [2, 0x84, 7, 7, 1, 0xa2, 2];
        let before_time = [0, 70, 2, 0];
        let time = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        let expected = [flags.as_slice(), &shape, &before_time, &time].concat();
        assert_eq!(row.encode(EventNid::new(301).expect("not 0")), expected);
    }

    #[test]
    fn what_is_left_of_an_event_comes_back() {
        let nid = EventNid::new(301).expect("not 0");
        for remains in [Remains::Body, Remains::Row] {
            for kind in [Kind::Outlier, Kind::Old, Kind::New] {
                let row = EventRow { kind, remains, states: None, ..row() };
                let bytes = row.encode(nid);
                assert_eq!(EventRow::decode(nid, &bytes), Ok(row));
                for wrong in [3, 7, 8, 255] {
                    let mut bytes = bytes.clone();
                    bytes[1] = wrong;
                    assert!(EventRow::decode(nid, &bytes).is_err(), "{wrong}");
                }
            }
        }
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
