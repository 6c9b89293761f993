//! Copies of one event: the full one, and the one that was redacted because its content was not what was hashed.
//!
//! The form in which an event was first accepted decides for ever, as an outlier too: what was decided by it must not
//! change under those that rely on it. A full copy that comes later replaces the body, and nothing else.

use std::borrow::Cow;

use super::facts::RoomFacts;
use crate::{
    encoding::{event_row::EventRow, json::Json, pdu::Pdu, redaction::redact},
    error::{Error, Result},
    ids::EventNid,
};

/// The copies of an event that is stored, or gets its place.
pub(super) struct Copies<'p> {
    /// The one whose body is kept: the full one, if there is one.
    pub(super) kept: Cow<'p, Pdu>,
    /// Whether it is the redacted form that decides.
    pub(super) is_redacted: bool,
    redacted: Option<Pdu>,
}

impl Copies<'_> {
    /// The one that authorisation and resolution read.
    pub(super) fn deciding(&self) -> &Pdu {
        self.redacted.as_ref().unwrap_or(&self.kept)
    }
}

impl RoomFacts<'_> {
    /// The copies of an event of which one is at hand and another, if it is an outlier, is stored.
    pub(super) fn copies<'p>(&self, pdu: &'p Pdu, outlier: Option<EventNid>) -> Result<Copies<'p>> {
        let Some(nid) = outlier else {
            return Ok(Copies { kept: Cow::Borrowed(pdu), is_redacted: pdu.is_redacted(), redacted: None });
        };
        let row = self.engine.rows().event_row(self.room.nid, nid)?;
        let stored = self.stored_pdu(nid, &row)?;
        let kept = if stored.is_redacted() && !pdu.is_redacted() { Cow::Borrowed(pdu) } else { Cow::Owned(stored) };
        let is_redacted = row.redacted_at_acceptance;
        let redacted = (is_redacted && !kept.is_redacted()).then(|| self.redacted(&kept)).transpose()?;
        Ok(Copies { kept, is_redacted, redacted })
    }

    fn redacted(&self, pdu: &Pdu) -> Result<Pdu> {
        let mut object = pdu.object().clone();
        redact(&mut object, &self.room.rules.redaction);
        Pdu::parse(Json::Object(object), &self.room.rules)
    }

    /// The stored PDU of an event.
    pub(super) fn stored_pdu(&self, nid: EventNid, row: &EventRow) -> Result<Pdu> {
        let body = self.bodies().load_beside(nid, row)?;
        let wrong = |_| Error::internal("a stored body is not JSON");
        Pdu::parse(Json::parse(&body).map_err(wrong)?, &self.room.rules)
    }
}
