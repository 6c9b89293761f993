//! The rows of one event, and the batch that stores them.

use std::sync::Arc;

use ruma_common::OwnedEventId;

use super::{
    checks::reason_text,
    outcome::{Accepted, Kind, Outcome, Position, StateChange, StateId, parse_id},
    parking::ParkedInputRow,
    references::References,
    writer::{Changed, Draft, Landed, Processed, RoomWriter},
};
use crate::{
    encoding::{
        event_row::{EventRow, Remains, States, Verdict},
        head::{Current, RoomHead},
        keys,
        pdu::Pdu,
    },
    error::Result,
    ids::{EventNid, SnapshotNid},
    resolution::{AuthEvent, content::Content},
    state::difference::differences,
    tables::{
        AUTH_CHILDREN,
        bodies::Bodies,
        current::{CurrentEntry, put_current},
        event_ids::EventIdentity,
        graph::{Happening, put_event_row, put_position, put_prev_child},
        interning::member_type,
    },
};

impl RoomWriter {
    /// Puts the rows of an event that is stored, or gets its place in the graph; `pdu` is the copy that is kept.
    pub(super) fn place(
        &self,
        pdu: &Pdu,
        nid: EventNid,
        row: &EventRow,
        references: &References,
        was_outlier: bool,
        draft: &mut Draft,
    ) -> Result<()> {
        let room = self.room.nid;
        let batch = &mut draft.batch;
        put_event_row(batch, room, nid, row);
        put_position(batch, room, row.position, Happening { event: nid, kind: row.kind });
        self.put_body(self.facts().bodies(), (nid, row), pdu, draft)?;
        let batch = &mut draft.batch;
        // No edges are added for a rejected event. Those from when it was accepted as an outlier are not deleted
        // either, since later events may have it in their auth chains.
        if row.tuple.is_some() && !row.verdict.is_rejected() {
            for auth in &row.auth_events {
                batch.put(AUTH_CHILDREN, keys::auth_child(room, *auth, nid), []);
            }
        }
        if row.in_graph() {
            for (prev, key) in references.prev_rows.iter().zip(pdu.prev_keys()) {
                if prev.as_ref().is_none_or(|prev| !prev.in_graph() || prev.is_transparent()) {
                    put_prev_child(batch, room, key, nid);
                }
            }
        }
        if !was_outlier {
            let identity = EventIdentity {
                event_id: pdu.event_id().into(),
                key: pdu.key(),
                reference_hash: *pdu.reference_hash(),
            };
            self.engine.rows().put_identity(batch, &self.room, nid, &identity)?;
            self.adopt(nid, &identity, &references.children, draft)?;
        }
        let counts = &mut draft.head.counts;
        if was_outlier {
            counts.outliers = counts.outliers.saturating_sub(1);
        }
        if row.kind == Kind::Outlier {
            counts.outliers = counts.outliers.saturating_add(1);
            return Ok(());
        }
        counts.events = counts.events.saturating_add(1);
        match row.verdict {
            Verdict::Accepted => {}
            Verdict::SoftFailed(_) => counts.soft_failed = counts.soft_failed.saturating_add(1),
            Verdict::Rejected(_) => counts.rejected = counts.rejected.saturating_add(1),
        }
        Ok(())
    }

    /// Makes events that came before this one of their prev events point to it.
    fn adopt(&self, nid: EventNid, identity: &EventIdentity, children: &[EventNid], draft: &mut Draft) -> Result<()> {
        let rows = self.engine.rows();
        let facts = self.facts();
        let bodies = facts.bodies().with_arriving(nid, identity);
        for child in children {
            let mut row = rows.event_row(self.room.nid, *child)?;
            let pdu = facts.stored_pdu(*child, &row)?;
            for (prev, prev_key) in row.prev_events.iter_mut().zip(pdu.prev_keys()) {
                if *prev_key == identity.key {
                    *prev = Some(nid);
                }
            }
            put_event_row(&mut draft.batch, self.room.nid, *child, &row);
            self.put_body(bodies, (*child, &row), &pdu, draft)?;
        }
        Ok(())
    }

    /// Puts the body of an event beside its row.
    pub(super) fn put_body(
        &self,
        bodies: Bodies<'_>,
        (nid, row): (EventNid, &EventRow),
        pdu: &Pdu,
        draft: &mut Draft,
    ) -> Result<()> {
        let Draft { batch, used, .. } = draft;
        bodies.put(batch, used, (nid, row), pdu, &|key| self.facts().find(key))?;
        Ok(())
    }

    /// Makes a snapshot the current state; gives what changed.
    pub(super) fn set_current(
        &mut self,
        current: SnapshotNid,
        nid: EventNid,
        event: &Arc<AuthEvent>,
        draft: &mut Draft,
    ) -> Result<Vec<Changed>> {
        let before = self.head.current.snapshot;
        if current == before {
            return Ok(Vec::new());
        }
        let mut changes: Vec<Changed> = Vec::new();
        match &draft.step {
            // The usual case: the current state takes the step of the event at hand.
            Some((step, change)) if *step == (States { before, after: current }) => changes.push(*change),
            _ => {
                for difference in differences(&self.states(), &[before, current])? {
                    if let [before, after] = *difference.events.as_slice() {
                        changes.push((difference.tuple, before, after));
                    }
                }
            }
        }
        for (tuple, _, after) in &changes {
            let is_member = Some(tuple.event_type) == member_type();
            let entry = match after {
                Some(after) => {
                    let event = if *after == nid { event.clone() } else { self.facts().event(*after)? };
                    let membership = match &event.content {
                        Content::Member(member) if is_member => Some(member.membership),
                        _ => None,
                    };
                    Some(CurrentEntry { event: *after, membership })
                }
                None => None,
            };
            put_current(&mut draft.batch, self.room.nid, *tuple, entry, is_member);
        }
        let summary = self.summary(current)?;
        draft.head.current = Current { snapshot: current, fingerprint: summary.fingerprint, len: summary.len };
        Ok(changes)
    }

    /// Commits a decided event; `parked` is its parked input, if there was one.
    pub(super) fn commit(
        &mut self,
        pdu: &Pdu,
        (nid, row): (EventNid, &EventRow),
        event: Arc<AuthEvent>,
        changes: &[Changed],
        parked: Option<&ParkedInputRow>,
        mut draft: Draft,
    ) -> Result<Processed> {
        let key = pdu.key();
        if let Some(parked) = parked {
            self.facts().forget_parked(parked, &mut draft)?;
        }
        let outcome = self.outcome(pdu, (nid, row), changes, &draft.head)?;
        let lists = self.head.seals.clone();
        // Rooms share index rows: nobody may read this one between our reading and our writing it. Nor may an input of
        // another room that names this event be parked meanwhile, since nothing would wake it.
        let engine = self.engine.clone();
        let index = engine.index_lock(&key);
        engine.rows().put_index(&mut draft.batch, &key, self.room.nid, nid)?;
        let elsewhere = self.facts().wanted_elsewhere(&key)?;
        // Kept until all is done: after a panic of the store the event may be stored, and other rooms wait for it.
        self.landing = Some(Landed { key, elsewhere });
        let stored = self.store(draft);
        drop(index);
        if stored.is_err() {
            self.landing = None;
        }
        let sequence = stored?;
        self.note_lists_due(&lists);
        self.engine.keys.insert((self.room.nid, key), nid);
        self.engine.events.insert((self.room.nid, nid), event);
        for (tuple, _, after) in changes {
            self.engine.current.insert((self.room.nid, *tuple), *after);
        }
        Ok(Processed { outcome, sequence, landed: self.landing.take() })
    }

    /// What is told of a decided event. `head` is the one after it.
    fn outcome(
        &self,
        pdu: &Pdu,
        (nid, row): (EventNid, &EventRow),
        changes: &[Changed],
        head: &RoomHead,
    ) -> Result<Outcome> {
        let event_id = parse_id(pdu.event_id())?;
        let position = Position(row.position);
        match &row.verdict {
            Verdict::Accepted => {}
            Verdict::SoftFailed(why) => {
                return Ok(Outcome::SoftFailed { event_id, position, reason: reason_text(why) });
            }
            Verdict::Rejected(why) => return Ok(Outcome::Rejected { event_id, position, reason: reason_text(why) }),
        }
        let facts = self.facts();
        let id = |event: EventNid| -> Result<OwnedEventId> {
            if event == nid { Ok(event_id.clone()) } else { facts.event_id(event) }
        };
        let mut described = Vec::with_capacity(changes.len());
        for (tuple, before, after) in changes {
            let (event_type, state_key) = self.engine.interner.names(&**self.engine.store(), *tuple)?;
            described.push(StateChange {
                event_type: event_type.to_string(),
                state_key: state_key.to_string(),
                before: before.map(id).transpose()?,
                after: after.map(id).transpose()?,
            });
        }
        let state = |snapshot| StateId { room: self.room.nid, snapshot };
        let extremities = head.extremities.iter().map(|extremity| id(*extremity)).collect::<Result<_>>()?;
        Ok(Outcome::Accepted(Accepted {
            position,
            state_before: row.states.map(|states| state(states.before)),
            state_after: row.states.map(|states| state(states.after)),
            changes: described,
            extremities,
            event_id,
        }))
    }

    /// Stores the body of an event again that garbage collection dropped, if all its auth events have theirs and there is
    /// an input in the room that may wait for it; verdict and place stay. Gives the batch's number.
    pub(super) fn restore_body(&mut self, nid: EventNid, row: &EventRow, pdu: &Pdu) -> Result<Option<u64>> {
        if self.head.counts.parked == 0 || (pdu.is_redacted() && !row.redacted_at_acceptance) {
            return Ok(None);
        }
        for auth in &row.auth_events {
            if !self.facts().has_body(*auth)? {
                return Ok(None);
            }
        }
        let room = self.room.nid;
        let mut draft = self.draft();
        let row = EventRow { remains: Remains::Body, ..row.clone() };
        put_event_row(&mut draft.batch, room, nid, &row);
        self.put_body(self.facts().bodies(), (nid, &row), pdu, &mut draft)?;
        if row.tuple.is_some() && !row.verdict.is_rejected() {
            for auth in &row.auth_events {
                draft.batch.put(AUTH_CHILDREN, keys::auth_child(room, *auth, nid), []);
            }
        }
        draft.head.collected.bodies = draft.head.collected.bodies.saturating_sub(1);
        self.apply(draft).map(Some)
    }

    /// Stores the full copy of an event of which only a redacted one was here. The verdict stays, and what decides.
    pub(super) fn replace_body(&mut self, nid: EventNid, row: &EventRow, pdu: &Pdu) -> Result<u64> {
        if !self.facts().stored_pdu(nid, row)?.is_redacted() {
            return Ok(self.engine.last_sequence());
        }
        let mut draft = self.draft();
        self.put_body(self.facts().bodies(), (nid, row), pdu, &mut draft)?;
        self.apply(draft)
    }
}
