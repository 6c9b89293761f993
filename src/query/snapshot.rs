//! Reading one state of a room.

use ruma_common::OwnedEventId;

use super::{Room, parse_event_id};
use crate::{
    encoding::fingerprint::Fingerprint,
    error::{Error, Result},
    ids::{EventNid, SnapshotNid, StateTuple},
    room::outcome::{StateChange, StateId},
    state::{
        difference::{Diverged as Parted, Since, differences, divergence},
        fingerprint::{EntryNames, StateSummary, summary},
        read,
    },
};

/// A state of a room. It keeps the view that it was found in.
#[derive(Clone)]
pub struct Snapshot {
    room: Room,
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

/// A key that one of two states changed since they parted, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diverged {
    /// The event type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// What the state that was asked made of it.
    pub here: Since<OwnedEventId>,
    /// What the other one made of it.
    pub there: Since<OwnedEventId>,
}

impl Snapshot {
    pub(super) fn new(room: &Room, snapshot: SnapshotNid) -> Self {
        Self { room: room.clone(), snapshot }
    }

    /// Its token. Equal ones mean equal states.
    pub fn id(&self) -> StateId {
        self.room.state_id(self.snapshot)
    }

    /// The event at a key. Rows: the packs (256 changes each) from this state back to the one that changed the key, at
    /// most to the last list; then that list and one block for each of its runs, some four in a room of 50,000 members; and
    /// the event's ID.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn get(&self, event_type: &str, state_key: &str) -> Result<Option<OwnedEventId>> {
        let view = &self.room.view;
        let Some(tuple) = view.engine.interner.find(view.read(), event_type, state_key)? else { return Ok(None) };
        let event = read::get(&self.room.states(), self.snapshot, tuple)?;
        event.map(|event| self.room.event_id(event)).transpose()
    }

    /// The events at keys, in their order. Rows: up to 8 keys as [`Snapshot::get`] reads them; more of them with one pass
    /// over the packs since the last list, that list, and the blocks that can hold one of the keys; and their IDs, read
    /// together.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn get_many(&self, keys: &[(&str, &str)]) -> Result<Vec<Option<OwnedEventId>>> {
        let view = &self.room.view;
        let mut tuples = Vec::with_capacity(keys.len());
        for (event_type, state_key) in keys {
            tuples.push(view.engine.interner.find(view.read(), event_type, state_key)?);
        }
        let known: Vec<StateTuple> = tuples.iter().flatten().copied().collect();
        let events = read::get_many(&self.room.states(), self.snapshot, &known)?;
        let mut ids = self.room.event_ids(&events.iter().flatten().copied().collect::<Vec<_>>())?.into_iter();
        let mut events = events.into_iter();
        Ok(tuples.iter().map(|tuple| tuple.and_then(|_| events.next().flatten()).and_then(|_| ids.next())).collect())
    }

    /// All entries, in no order that means anything. Rows: the packs since the last list, that list and all its blocks,
    /// read together where they lie together; then, while it is iterated, the names and IDs of some hundred entries at a
    /// time.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read; so for each item.
    pub fn iter(&self) -> Result<StateIter> {
        let entries = read::collect(&self.room.states(), self.snapshot, None)?;
        Ok(StateIter { room: self.room.clone(), entries: entries.into_iter(), named: Vec::new().into_iter() })
    }

    /// The entries of one event type, as [`Snapshot::iter`] gives all. Rows: of the list's blocks only those that can hold
    /// the type.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read; so for each item.
    pub fn iter_type(&self, event_type: &str) -> Result<StateIter> {
        let view = &self.room.view;
        let entries = match view.engine.interner.find_type(view.read(), event_type)? {
            Some(event_type) => read::collect(&self.room.states(), self.snapshot, Some(event_type))?,
            None => Vec::new(),
        };
        Ok(StateIter { room: self.room.clone(), entries: entries.into_iter(), named: Vec::new().into_iter() })
    }

    /// All entries, by type and then key, in the order of their UTF-8 bytes. Rows: as for [`Snapshot::iter`].
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn entries(&self) -> Result<Vec<StateEntry>> {
        sorted(self.iter()?)
    }

    /// The entries of one event type, by key. Rows: as for [`Snapshot::iter_type`].
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn entries_of_type(&self, event_type: &str) -> Result<Vec<StateEntry>> {
        sorted(self.iter_type(event_type)?)
    }

    /// The number of its keys. Rows: as for [`Snapshot::summary`].
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn len(&self) -> Result<usize> {
        Ok(self.summary()?.1 as usize)
    }

    /// Whether it has no keys: so before the create event, and never after it. Reads nothing.
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_empty()
    }

    /// Tells whether another snapshot of the room is the same state. Equal tokens mean that it is; if they are not, the
    /// fingerprints tell that it is not, or [`Snapshot::diff`] decides. Rows: those of two [`Snapshot::summary`], and of a
    /// diff where the fingerprints are equal.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn is_same_state(&self, other: &Snapshot) -> Result<bool> {
        if self.id() == other.id() {
            return Ok(true);
        }
        if self.room.row.nid != other.room.row.nid || self.summary()? != other.summary()? {
            return Ok(false);
        }
        Ok(differences(&self.room.states(), &[self.snapshot, other.snapshot])?.is_empty())
    }

    /// Where this state and another one of the room differ, by type and then key: from this one to the other.
    ///
    /// Rows: the packs back to the last state that both come from, so that neighbours and the branches of a fork cost what
    /// they changed; for what only one of them changed, a look-up in that state, as [`Snapshot::get_many`]. States further
    /// apart than comparing them costs: the packs of each since its last list, the lists, and those blocks that the lists
    /// do not have in common.
    ///
    /// # Errors
    ///
    /// `NotFound` if the other is a state of another room; `Corrupt` or `Unavailable`, as for every read.
    pub fn diff(&self, other: &Snapshot) -> Result<Vec<StateChange>> {
        self.in_same_room(other)?;
        let found = differences(&self.room.states(), &[self.snapshot, other.snapshot])?;
        let events: Vec<EventNid> = found.iter().flat_map(|found| &found.events).flatten().copied().collect();
        let mut ids = self.room.event_ids(&events)?.into_iter();
        let mut changes = Vec::with_capacity(found.len());
        for difference in found {
            let (event_type, state_key) = self.room.names(difference.tuple)?;
            let mut id = |event: Option<&Option<EventNid>>| event.copied().flatten().and_then(|_| ids.next());
            let before = id(difference.events.first());
            let after = id(difference.events.get(1));
            changes.push(StateChange { event_type, state_key, before, after });
        }
        changes.sort_unstable_by(|a, b| (&a.event_type, &a.state_key).cmp(&(&b.event_type, &b.state_key)));
        Ok(changes)
    }

    /// What this state and another one of the room changed since they parted, by type and then key: every key at which
    /// they differ, and those that came back to the event that they had. It is what [`Snapshot::diff`] gives without the
    /// look-ups: of neighbours one row, of the branches of a fork the packs since they parted. `None` for states that are
    /// further apart than comparing them costs, or have a change of more than 512 keys between them: ask `diff`.
    ///
    /// Rows: those packs and the IDs of the events.
    ///
    /// # Errors
    ///
    /// `NotFound` if the other is a state of another room; `Corrupt` or `Unavailable`, as for every read.
    pub fn divergence(&self, other: &Snapshot) -> Result<Option<Vec<Diverged>>> {
        self.in_same_room(other)?;
        let found = divergence(&self.room.states(), [self.snapshot, other.snapshot])?;
        let Some(found) = found.map(|found| found.keys) else { return Ok(None) };
        let sides = found.iter().flat_map(|found| &found.sides);
        let events: Vec<EventNid> = sides.filter_map(|side| side.event().copied()).collect();
        let mut ids = self.room.event_ids(&events)?.into_iter();
        let mut named = |since: Since<EventNid>| match since {
            Since::Unchanged => Since::Unchanged,
            Since::Set(_) => ids.next().map_or(Since::Removed, Since::Set),
            Since::Removed => Since::Removed,
        };
        let mut diverged = Vec::with_capacity(found.len());
        for Parted { tuple, sides: [here, there] } in found {
            let (event_type, state_key) = self.room.names(tuple)?;
            diverged.push(Diverged { event_type, state_key, here: named(here), there: named(there) });
        }
        diverged.sort_unstable_by(|a, b| (&a.event_type, &a.state_key).cmp(&(&b.event_type, &b.state_key)));
        Ok(Some(diverged))
    }

    fn in_same_room(&self, other: &Snapshot) -> Result<()> {
        if self.room.row.nid == other.room.row.nid {
            return Ok(());
        }
        Err(Error::not_found(format!("room {} has no such state", self.room.row.id)))
    }

    /// Its fingerprint, and the number of its keys. Rows: the packs back to the nearest state whose summary is stored, which
    /// is at most one pack away unless the room was forked; and the names and IDs of what changed since.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn summary(&self) -> Result<(Fingerprint, u32)> {
        let StateSummary { fingerprint, len } = summary(&self.room.states(), &self.room, self.snapshot)?;
        Ok((fingerprint, len))
    }
}

/// The entries of a state, named as they are asked for.
#[derive(Debug)]
pub struct StateIter {
    room: Room,
    entries: std::vec::IntoIter<(StateTuple, EventNid)>,
    named: std::vec::IntoIter<StateEntry>,
}

/// Entries that are named at once.
const NAMED_AT_ONCE: usize = 512;

impl StateIter {
    fn name_more(&mut self) -> Result<()> {
        let page: Vec<(StateTuple, EventNid)> = self.entries.by_ref().take(NAMED_AT_ONCE).collect();
        let ids = self.room.event_ids(&page.iter().map(|entry| entry.1).collect::<Vec<_>>())?;
        let mut named = Vec::with_capacity(page.len());
        for ((tuple, _), event_id) in page.into_iter().zip(ids) {
            let (event_type, state_key) = self.room.names(tuple)?;
            named.push(StateEntry { event_type, state_key, event_id });
        }
        self.named = named.into_iter();
        Ok(())
    }
}

impl Iterator for StateIter {
    type Item = Result<StateEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.named.len() == 0
            && self.entries.len() > 0
            && let Err(error) = self.name_more()
        {
            self.entries = Vec::new().into_iter();
            return Some(Err(error));
        }
        self.named.next().map(Ok)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.named.len() + self.entries.len();
        (left.min(1), Some(left))
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("id", &self.id()).field("room", &self.room).finish()
    }
}

fn sorted(entries: StateIter) -> Result<Vec<StateEntry>> {
    let mut entries = entries.collect::<Result<Vec<_>>>()?;
    entries.sort_unstable();
    Ok(entries)
}

impl Room {
    /// The current state: the resolution of the states after all forward extremities.
    pub fn current_state(&self) -> Snapshot {
        Snapshot::new(self, self.head.current.snapshot)
    }

    /// The state of this token.
    ///
    /// # Errors
    ///
    /// `NotFound` if the token is of another room, of a state that this view does not have yet, or of one that was
    /// collected.
    pub fn state(&self, id: StateId) -> Result<Snapshot> {
        if id.room != self.row.nid || id.snapshot.number() > self.head.last_snapshot {
            return Err(Error::not_found(format!("the state is not in the store, or not one of room {}", self.row.id)));
        }
        if !id.snapshot.is_empty() {
            let is_gone =
                id.snapshot.number() <= self.head.collected.snapshots || self.states().is_gone(id.snapshot)?;
            if is_gone {
                return Err(Error::not_found(format!("the state of room {} was collected", self.row.id)));
            }
        }
        Ok(Snapshot::new(self, id.snapshot))
    }

    /// The IDs of events, in their order.
    fn event_ids(&self, events: &[EventNid]) -> Result<Vec<OwnedEventId>> {
        let identities = self.view.rows().event_identities(&self.row, events)?;
        identities.iter().map(|identity| parse_event_id(&identity.event_id)).collect()
    }

    pub(super) fn names(&self, tuple: StateTuple) -> Result<(String, String)> {
        let (event_type, state_key) = self.view.engine.interner.names(self.view.read(), tuple)?;
        Ok((event_type.to_string(), state_key.to_string()))
    }
}

impl EntryNames for Room {
    fn entry(&self, tuple: StateTuple, event: EventNid) -> Result<Fingerprint> {
        let (event_type, state_key) = self.view.engine.interner.names(self.view.read(), tuple)?;
        let identity = self.view.rows().event_identity(&self.row, event)?;
        Ok(Fingerprint::of_entry(&event_type, &state_key, &identity.event_id))
    }
}
