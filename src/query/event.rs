//! Reading one event.

use ruma_common::OwnedEventId;

use super::{Room, parse_event_id};
pub use crate::encoding::event_row::Verdict;
use crate::{
    encoding::{
        event_key::EventKey,
        event_row::{EventRow, Remains},
        json::Json,
    },
    error::{Error, Result},
    ids::EventNid,
    room::{
        outcome::{Kind, Position, StateId},
        reason_text,
    },
    tables::bodies::Bodies,
};

/// An event of a room.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// Its ID.
    pub event_id: OwnedEventId,
    /// What place it has.
    pub kind: Kind,
    /// What was decided about it.
    pub verdict: Verdict,
    /// Why it was refused, if it was.
    pub reason: Option<String>,
    /// Where it was stored, or got its place.
    pub position: Position,
    /// The depth that its sender gave it.
    pub depth: i64,
    /// The events before it.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that authorise it.
    pub auth_events: Vec<OwnedEventId>,
    /// The state before it; none for an outlier, and for history whose state could not be had.
    pub state_before: Option<StateId>,
    /// The state after it.
    pub state_after: Option<StateId>,
    /// Whether the caller told the state before it.
    pub state_supplied: bool,
    /// Whether garbage collection took its states.
    pub collected: bool,
    /// The PDU, as canonical JSON with its signatures. Redacted, if its content hash was wrong; none if it was collected.
    pub pdu: Option<String>,
}

/// What is known of an event, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// What place it has and what was decided about it, if it is stored.
    pub stored: Option<(Kind, Verdict)>,
    /// Whether an input of it waits for other events.
    pub parked: bool,
}

impl Room {
    /// What is known of an event by its ID: whether it is stored, and whether it is parked. An outlier can be both.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn standing(&self, event_id: &str) -> Result<Standing> {
        let Some(key) = EventKey::of(event_id, self.row.rules.event_id_format) else {
            return Ok(Standing { stored: None, parked: false });
        };
        let rows = self.view.rows();
        let stored = match rows.find_event(&self.row, &key)? {
            Some(nid) => {
                let row = rows.event_row(self.row.nid, nid)?;
                Some((row.kind, row.verdict))
            }
            None => None,
        };
        let parked = self.head.counts.parked > 0 && rows.parked(self.row.nid, &key)?.is_some();
        Ok(Standing { stored, parked })
    }

    /// An event by its ID.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn event(&self, event_id: &str) -> Result<Option<Event>> {
        self.find(event_id)?.map(|nid| self.load_event(nid)).transpose()
    }

    pub(super) fn load_event(&self, nid: EventNid) -> Result<Event> {
        let row = self.view.rows().event_row(self.row.nid, nid)?;
        let body = if row.has_body() { Some(self.load_body(nid, &row)?) } else { None };
        let EventRow { kind, remains, verdict, states, position, state_supplied, depth, .. } = row;
        let EventRow { prev_events, auth_events, .. } = row;
        let (prev_events, auth_events) = match &body {
            Some(body) => (body.prev_events.clone(), body.auth_events.clone()),
            // The body of an event stays while one of its prev events is not here.
            None => (
                prev_events.into_iter().flatten().map(|prev| self.event_id(prev)).collect::<Result<_>>()?,
                auth_events.into_iter().map(|auth| self.event_id(auth)).collect::<Result<_>>()?,
            ),
        };
        let reason = match &verdict {
            Verdict::Accepted => None,
            Verdict::SoftFailed(why) | Verdict::Rejected(why) => Some(reason_text(why)),
        };
        Ok(Event {
            event_id: self.event_id(nid)?,
            kind,
            verdict,
            reason,
            position: Position(position),
            depth,
            prev_events,
            auth_events,
            state_before: states.map(|states| self.state_id(states.before)),
            state_after: states.map(|states| self.state_id(states.after)),
            state_supplied,
            collected: remains != Remains::All,
            pdu: body.map(|body| body.pdu),
        })
    }

    fn load_body(&self, nid: EventNid, row: &EventRow) -> Result<Body> {
        let body = Bodies::new(self.view.rows(), &self.row, &self.view.engine.interner).load_beside(nid, row)?;
        let wrong = || Error::internal(format!("the body of event {} is no PDU", nid.number()));
        let json = Json::parse(&body).map_err(|_| wrong())?;
        let object = json.as_object().ok_or_else(wrong)?;
        let references = |field: &str| -> Result<Vec<OwnedEventId>> {
            let references = object.get_array(field).ok_or_else(wrong)?;
            let id = |reference: &Json| match reference {
                Json::Array(pair) => pair.first().and_then(Json::as_str).map(str::to_owned),
                Json::String(id) => Some(id.to_string()),
                _ => None,
            };
            references.iter().map(|reference| parse_event_id(&id(reference).ok_or_else(wrong)?)).collect()
        };
        Ok(Body {
            prev_events: references("prev_events")?,
            auth_events: references("auth_events")?,
            pdu: String::from_utf8(body).map_err(|_| wrong())?,
        })
    }
}

/// What the body of an event says.
struct Body {
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    pdu: String,
}
