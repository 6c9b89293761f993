//! The way of one event, from bytes to one atomic batch.

use std::sync::Arc;

use super::{
    checks::{reason_text, refusal, rejected},
    merge::Resolution,
    outcome::{FirstVerdict, Input, Kind, Outcome, parse_id},
    parking::{Again, ParkedInputRow},
    references::References,
    writer::{Changed, Draft, Landed, Processed, RoomWriter},
};
use crate::{
    encoding::{
        event_row::{EventRow, Remains, States, Verdict},
        json::Json,
        pdu::Pdu,
    },
    error::{Error, Result},
    ids::{EventNid, SnapshotNid, StateTuple},
    resolution::AuthEvent,
};

impl RoomWriter {
    /// Decides one event and commits it.
    ///
    /// The steps are those of the specification's "Checks performed on receipt of a PDU", but for signatures, which are
    /// the caller's business.
    pub fn process(&mut self, input: &Input, json: Json) -> Result<Processed> {
        // Format and size limits, content hash (redacts on mismatch), reference hash.
        let pdu = Pdu::parse(json, &self.room.rules)?;
        if let Some(told) = input.event_id.as_deref().filter(|told| *told != pdu.event_id()) {
            return Err(Error::invalid(format!("the event ID is {}, not {told} as told", pdu.event_id())));
        }

        self.forget_refused();

        // Dedupe.
        let stored = self.facts().find(&pdu.key())?;
        let outlier = match stored {
            Some(nid) => match self.again(nid, &pdu, input)? {
                Some(processed) => return Ok(processed),
                None => Some(nid),
            },
            None => None,
        };
        match self.facts().again_parked(&pdu, input)? {
            Again::Not => self.decide_or_park(&pdu, input, outlier, None),
            Again::Duplicate(processed) => Ok(processed),
            Again::Merged(merged) => {
                let (pdu, input, parked) = &*merged;
                self.decide_or_park(pdu, input, outlier, Some(parked))
            }
        }
    }

    /// Decides an event, or parks it if something that it needs is not here. `parked` is its parked input, if there is one.
    pub(super) fn decide_or_park(
        &mut self,
        pdu: &Pdu,
        input: &Input,
        outlier: Option<EventNid>,
        parked: Option<&ParkedInputRow>,
    ) -> Result<Processed> {
        // `park` gives `None` if another room stored one of the lacking events meanwhile. The references are then
        // looked up again, now as foreign.
        loop {
            // Prerequisites.
            let mut references = self.facts().references(pdu, input)?;
            if let Some(nid) = outlier {
                // An outlier that was rejected for a reference to another room may lack auth events which came since.
                references.auth_events.retain(|(auth, _)| *auth < nid);
            }
            if references.missing.is_empty() {
                return self.decide(pdu, input, &references, outlier, parked);
            }
            if let Some(processed) = self.park(pdu, input, &references.missing, parked)? {
                return Ok(processed);
            }
        }
    }

    /// Authorises an event that has all it needs, finds its states and commits it.
    fn decide(
        &mut self,
        pdu: &Pdu,
        input: &Input,
        references: &References,
        outlier: Option<EventNid>,
        parked: Option<&ParkedInputRow>,
    ) -> Result<Processed> {
        let copies = self.facts().copies(pdu, outlier)?;
        let pdu = copies.deciding();
        let mut draft = self.draft();
        let event = self.incoming(pdu, references, &mut draft)?;

        // Check by the event's own auth events: reject.
        let mut verdict = rejected(self.facts().check_by_auth_events(pdu, &event, references)?);
        if let (None, None, Verdict::Rejected(why)) = (self.head.create, parked, &verdict) {
            return Err(Error::invalid(format!("the room cannot begin with this event: {}", reason_text(why))));
        }

        let nid = match outlier {
            Some(nid) => nid,
            None => draft.next_event()?,
        };
        self.pending = Some((nid, Arc::new(event.clone())));
        let (event_type, sender) = self.row_names(pdu, event.tuple, &mut draft)?;
        let mut row = EventRow {
            kind: input.kind,
            remains: Remains::All,
            verdict: Verdict::Accepted,
            redacted_at_acceptance: copies.is_redacted,
            state_supplied: references.supplied.is_some(),
            position: draft.next_position()?,
            states: None,
            tuple: event.tuple,
            event_type,
            sender,
            depth: pdu.depth(),
            origin_server_ts: pdu.origin_server_ts(),
            prev_events: references.prev_events.clone(),
            auth_events: references.auth_events.iter().map(|(nid, _)| *nid).collect(),
        };

        // State before the event, and the check by it: reject.
        let before = if input.kind == Kind::Outlier { None } else { self.state_before(pdu, references, &mut draft)? };
        if let (Some(before), false) = (before, verdict.is_rejected()) {
            verdict = rejected(self.facts().check(&event, &self.view(before, &[]))?);
        }

        // Check by the current state: soft-fail.
        if let (Some(before), Verdict::Accepted) = (before, &verdict)
            && let Some(reason) = self.soft_fail(input, &event, references, before)?
        {
            verdict = Verdict::SoftFailed(refusal(&reason));
        }

        // State after the event.
        row.states = match before {
            Some(before) => Some(self.state_after(&event, nid, &verdict, before, &mut draft)?),
            None => None,
        };
        row.verdict = verdict;

        // Forward extremities, current state, memberships.
        let event = Arc::new(AuthEvent { rejected: row.verdict.is_rejected(), ..event });
        // The event may have been accepted as an outlier before and be an entry of the states resolved below.
        // Resolution must see that it is rejected now.
        self.pending = Some((nid, event.clone()));
        if pdu.is_create() && row.verdict.is_accepted() {
            draft.head.create = Some(nid);
        }
        self.place(&copies.kept, nid, &row, references, outlier.is_some(), &mut draft)?;
        let changes =
            if row.in_graph() { self.advance(nid, &row, references, &event, &mut draft)? } else { Vec::new() };

        // One atomic batch.
        self.commit(pdu, (nid, &row), event, &changes, parked, draft)
    }

    /// An event that is stored already: `None` if it is an outlier that is now to get its place.
    fn again(&mut self, nid: EventNid, pdu: &Pdu, input: &Input) -> Result<Option<Processed>> {
        let row = self.engine.rows().event_row(self.room.nid, nid)?;
        let identity = self.engine.rows().event_identity(&self.room, nid)?;
        if identity.reference_hash != *pdu.reference_hash() {
            return Err(Error::invalid(format!(
                "another event with the ID {} is stored; its reference hash differs",
                pdu.event_id()
            )));
        }
        if !row.in_graph() && input.kind != Kind::Outlier {
            return Ok(None);
        }
        let mut landed = None;
        let sequence = if !row.has_body() {
            let restored = self.restore_body(nid, &row, pdu)?;
            // No other room waits for an event of this one: there it would be foreign.
            landed = restored.map(|_| Landed { key: pdu.key(), elsewhere: Vec::new() });
            restored.unwrap_or_else(|| self.engine.last_sequence())
        } else if row.redacted_at_acceptance && !pdu.is_redacted() {
            self.replace_body(nid, &row, pdu)?
        } else {
            self.engine.last_sequence()
        };
        let first = match row.verdict {
            Verdict::Accepted => FirstVerdict::Accepted,
            Verdict::SoftFailed(_) => FirstVerdict::SoftFailed,
            Verdict::Rejected(_) => FirstVerdict::Rejected,
        };
        let outcome = Outcome::Duplicate { event_id: parse_id(pdu.event_id())?, first };
        Ok(Some(Processed { outcome, sequence, landed }))
    }

    /// The state before an event: supplied, or the resolution of the states after its prev events; `None` for history
    /// whose state cannot be had.
    fn state_before(&mut self, pdu: &Pdu, references: &References, draft: &mut Draft) -> Result<Option<SnapshotNid>> {
        if let Some(supplied) = &references.supplied {
            let parent = references.states_after_prev().and_then(|states| states.last().copied());
            let parent = parent.unwrap_or(self.head.current.snapshot);
            let mut changes: Vec<Changed> = Vec::new();
            let mut rest = supplied.clone();
            for (tuple, before) in crate::state::read::collect(&self.states(), parent, None)? {
                match rest.remove(&tuple) {
                    Some(after) if after == before => {}
                    after => changes.push((tuple, Some(before), after)),
                }
            }
            let mut added: Vec<Changed> = rest.into_iter().map(|(tuple, after)| (tuple, None, Some(after))).collect();
            changes.append(&mut added);
            changes.sort_unstable_by_key(|change| change.0);
            return self.append(draft, parent, None, changes).map(Some);
        }
        if pdu.prev_events().is_empty() {
            return Ok(Some(SnapshotNid::EMPTY));
        }
        match references.states_after_prev() {
            Some(states) => self.merge(draft, &states).map(Some),
            None => Ok(None),
        }
    }

    /// Why the current state refuses an event that the state before it allows.
    fn soft_fail(
        &self,
        input: &Input,
        event: &AuthEvent,
        references: &References,
        before: SnapshotNid,
    ) -> Result<Option<crate::resolution::reason::Reason>> {
        if input.kind != Kind::New || input.local || self.head.extremities.is_empty() {
            return Ok(None);
        }
        let mut prev_events: Vec<EventNid> = references.prev_events.iter().flatten().copied().collect();
        prev_events.sort_unstable();
        if prev_events.len() == references.prev_events.len() && prev_events == self.head.extremities.to_vec() {
            return Ok(None);
        }
        if references.supplied.is_some() {
            let mut states = self.states_after(&self.head.extremities)?;
            states.push(before);
            states.sort_unstable();
            states.dedup();
            let Resolution { parent, changes, .. } = self.resolve(&states)?;
            let changes: Vec<(StateTuple, Option<EventNid>)> =
                changes.into_iter().map(|(tuple, _, after)| (tuple, after)).collect();
            return self.facts().check(event, &self.view(parent, &changes));
        }
        if before == self.head.current.snapshot {
            return Ok(None);
        }
        self.facts().check(event, &self.view(self.head.current.snapshot, &[]))
    }

    fn state_after(
        &mut self,
        event: &AuthEvent,
        nid: EventNid,
        verdict: &Verdict,
        before: SnapshotNid,
        draft: &mut Draft,
    ) -> Result<States> {
        let after = match event.tuple.filter(|_| !verdict.is_rejected()) {
            Some(tuple) => {
                let change = (tuple, self.view(before, &[]).nid(tuple)?, Some(nid));
                let after = self.append(draft, before, None, vec![change])?;
                draft.step = Some((States { before, after }, change));
                after
            }
            None => before,
        };
        Ok(States { before, after })
    }

    /// Moves extremities and current state on; gives what changed in the current state.
    fn advance(
        &mut self,
        nid: EventNid,
        row: &EventRow,
        references: &References,
        event: &Arc<AuthEvent>,
        draft: &mut Draft,
    ) -> Result<Vec<Changed>> {
        draft.head.extremities = self.facts().extremities_after(nid, row, &references.children)?;
        if draft.head.extremities == self.head.extremities {
            return Ok(Vec::new());
        }
        let mut others = draft.head.extremities.clone();
        others.retain(|extremity| *extremity != nid);
        let mut states = self.states_after(&others)?;
        if others.len() < draft.head.extremities.len() {
            states.extend(row.states.map(|states| states.after));
        }
        let current = self.merge(draft, &states)?;
        self.set_current(current, nid, event, draft)
    }

    /// The states after events of the graph.
    fn states_after(&self, events: &[EventNid]) -> Result<Vec<SnapshotNid>> {
        let mut states = Vec::with_capacity(events.len());
        for event in events {
            let row = self.engine.rows().event_row(self.room.nid, *event)?;
            let known = row.states.ok_or_else(|| Error::internal("an extremity without a state"))?;
            states.push(known.after);
        }
        Ok(states)
    }
}
