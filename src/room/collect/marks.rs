//! Which bodies must stay: what authorisation and resolution may still read.

use crate::{
    encoding::{
        event_row::{EventRow, Remains},
        head::RoomHead,
        pack::Seal,
    },
    error::Result,
    ids::{EventNid, RoomNid, SnapshotNid},
    state::{
        collect::{Bits, Plan},
        read::{self, LogWalk},
        source::StateSource,
    },
    tables::rows::Rows,
};

/// The events of a room whose bodies are needed.
///
/// If an event has a body, so have all its auth events: chains are walked without asking.
pub struct Marks {
    needed: Bits,
    /// Events without states whose bodies may go, newest first.
    candidates: Vec<EventNid>,
    /// The newest event and the newest snapshot that were looked at.
    last_event: u32,
    last_snapshot: u32,
}

impl Marks {
    /// Looks at the events of a room. Reads all its event rows.
    pub fn new(rows: Rows<'_>, room: RoomNid, head: &RoomHead, plan: &Plan) -> Result<Self> {
        let mut marks = Self {
            needed: plan.in_states().clone(),
            candidates: Vec::new(),
            last_event: head.last_event,
            last_snapshot: head.last_snapshot,
        };
        if let Some(create) = head.create {
            marks.needed.set(create.number());
        }
        // Auth events have smaller numbers than those that name them.
        rows.event_rows(room, &mut |nid, row| {
            if row.remains == Remains::All || is_adoptive(&row) || marks.needed.has(nid.number()) {
                marks.needed.set(nid.number());
                for auth in &row.auth_events {
                    marks.needed.set(auth.number());
                }
            } else if row.remains == Remains::Body {
                marks.candidates.push(nid);
            }
            Ok(())
        })?;
        Ok(marks)
    }

    /// The events without states whose bodies may go.
    pub fn candidates(&self) -> &[EventNid] {
        &self.candidates
    }

    /// Tells whether the body of an event must stay.
    pub(super) fn has(&self, nid: EventNid) -> bool {
        self.needed.has(nid.number())
    }

    /// Marks what came since it was looked last: new events, and what new snapshots have in them.
    pub(super) fn catch_up<S: StateSource>(
        &mut self,
        rows: Rows<'_>,
        room: RoomNid,
        head: &RoomHead,
        states: &S,
    ) -> Result<()> {
        let mut ahead: Vec<EventNid> =
            (self.last_event.saturating_add(1)..=head.last_event).filter_map(EventNid::new).collect();
        let mut walk = LogWalk::new(states);
        for number in self.last_snapshot.saturating_add(1)..=head.last_snapshot {
            let snapshot = SnapshotNid::new(number);
            let row = walk.row(snapshot)?;
            if row.seal == Seal::Whole {
                ahead.extend(read::collect(states, snapshot, None)?.into_iter().map(|(_, event)| event));
            } else {
                ahead.extend(row.entries.iter().filter_map(|(_, event)| *event));
            }
        }
        while let Some(nid) = ahead.pop() {
            // What is marked has its chain marked, but for the newest, which come here once each.
            if self.needed.set(nid.number()) {
                ahead.extend(rows.event_row(room, nid)?.auth_events);
            }
        }
        (self.last_event, self.last_snapshot) = (head.last_event, head.last_snapshot);
        Ok(())
    }
}

/// Tells whether an event has a prev event that is not here: if that comes, the body tells which one it is.
pub(super) fn is_adoptive(row: &EventRow) -> bool {
    row.prev_events.contains(&None)
}
