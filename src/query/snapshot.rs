//! Reading one state of a room.

use ruma_common::OwnedEventId;

use super::Room;
use crate::{
    encoding::fingerprint::Fingerprint,
    error::Result,
    ids::{EventNid, SnapshotNid, StateTuple},
    room::outcome::{StateChange, StateId},
    state::{
        difference::differences,
        fingerprint::{EntryNames, StateSummary, summary},
        read,
    },
};

/// A state of a room.
pub struct Snapshot<'r> {
    room: &'r Room<'r>,
    snapshot: SnapshotNid,
}

/// An entry of a state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateEntry {
    /// The event type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// The event.
    pub event_id: OwnedEventId,
}

impl<'r> Snapshot<'r> {
    pub(super) fn new(room: &'r Room<'r>, snapshot: SnapshotNid) -> Self {
        Self { room, snapshot }
    }

    /// Its token. Equal ones mean equal states.
    pub fn id(&self) -> StateId {
        self.room.state_id(self.snapshot)
    }

    /// The event at a key. Reads the packs of the state's tail that touch the key, and at most one list and one block
    /// for each of its runs.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn get(&self, event_type: &str, state_key: &str) -> Result<Option<OwnedEventId>> {
        let view = self.room.view;
        let Some(tuple) = view.engine.interner.find(&*view.read, event_type, state_key)? else { return Ok(None) };
        let event = read::get(&self.room.states(), self.snapshot, tuple)?;
        event.map(|event| self.room.event_id(event)).transpose()
    }

    /// All entries, by type and then key, in the order of their UTF-8 bytes.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn entries(&self) -> Result<Vec<StateEntry>> {
        self.named(read::collect(&self.room.states(), self.snapshot, None)?)
    }

    /// The entries of one event type, by key.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn entries_of_type(&self, event_type: &str) -> Result<Vec<StateEntry>> {
        let view = self.room.view;
        match view.engine.interner.find_type(&*view.read, event_type)? {
            Some(event_type) => self.named(read::collect(&self.room.states(), self.snapshot, Some(event_type))?),
            None => Ok(Vec::new()),
        }
    }

    /// Where this state and another one of the room differ, by type and then key: from this one to the other.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn diff(&self, other: &Snapshot<'_>) -> Result<Vec<StateChange>> {
        let mut changes = Vec::new();
        for difference in differences(&self.room.states(), &[self.snapshot, other.snapshot])? {
            let (event_type, state_key) = self.room.names(difference.tuple)?;
            if let [before, after] = *difference.events.as_slice() {
                changes.push(StateChange {
                    event_type,
                    state_key,
                    before: before.map(|event| self.room.event_id(event)).transpose()?,
                    after: after.map(|event| self.room.event_id(event)).transpose()?,
                });
            }
        }
        changes.sort_unstable_by(|a, b| (&a.event_type, &a.state_key).cmp(&(&b.event_type, &b.state_key)));
        Ok(changes)
    }

    /// Its fingerprint, and the number of its keys.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn summary(&self) -> Result<(Fingerprint, u32)> {
        let StateSummary { fingerprint, len } = summary(&self.room.states(), self.room, self.snapshot)?;
        Ok((fingerprint, len))
    }

    fn named(&self, entries: Vec<(StateTuple, EventNid)>) -> Result<Vec<StateEntry>> {
        let mut named = Vec::with_capacity(entries.len());
        for (tuple, event) in entries {
            let (event_type, state_key) = self.room.names(tuple)?;
            named.push(StateEntry { event_type, state_key, event_id: self.room.event_id(event)? });
        }
        named.sort_unstable();
        Ok(named)
    }
}

impl Room<'_> {
    pub(super) fn names(&self, tuple: StateTuple) -> Result<(String, String)> {
        let (event_type, state_key) = self.view.engine.interner.names(&*self.view.read, tuple)?;
        Ok((event_type.to_string(), state_key.to_string()))
    }
}

impl EntryNames for Room<'_> {
    fn entry(&self, tuple: StateTuple, event: EventNid) -> Result<Fingerprint> {
        let (event_type, state_key) = self.view.engine.interner.names(&*self.view.read, tuple)?;
        let identity = self.view.rows().event_identity(&self.row, event)?;
        Ok(Fingerprint::of_entry(&event_type, &state_key, &identity.event_id))
    }
}
