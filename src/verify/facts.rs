//! What the check of a room remembers of its events and snapshots.

use crate::{
    encoding::{
        event_row::{EventRow, Kind, Remains, States, Verdict},
        pack::Seal,
    },
    ids::{EventNid, SnapshotNid, StateTuple},
    resolution::reason::Rule,
    tables::current::Membership,
};

/// A verdict, without its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    Accepted,
    SoftFailed,
    Rejected,
    /// Rejected for a reference into another room: such an event does not wait for what it lacks.
    Foreign,
}

impl Judged {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Accepted => Self::Accepted,
            Verdict::SoftFailed(_) => Self::SoftFailed,
            Verdict::Rejected(why) => match Rule::from_code(why.code) {
                Some(Rule::ForeignAuthEvent | Rule::ForeignPrevEvent) => Self::Foreign,
                _ => Self::Rejected,
            },
        }
    }

    pub(super) fn is_rejected(self) -> bool {
        matches!(self, Self::Rejected | Self::Foreign)
    }
}

/// What is remembered of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact {
    pub(super) kind: Kind,
    pub(super) remains: Remains,
    pub(super) judged: Judged,
    pub(super) state_supplied: bool,
    /// Whether it is an `m.room.create` event with the empty state key.
    pub(super) is_create: bool,
    /// Whether it was stored as an outlier before it got its place.
    pub(super) was_outlier: bool,
    /// Whether its position says that it happened there.
    pub(super) has_happened: bool,
    /// What a member event says.
    pub(super) membership: Option<Membership>,
    pub(super) position: u32,
    pub(super) tuple: Option<StateTuple>,
    pub(super) states: Option<States>,
}

impl Fact {
    pub(super) fn new(row: &EventRow, is_create: bool, membership: Option<Membership>) -> Self {
        Self {
            kind: row.kind,
            remains: row.remains,
            judged: Judged::of(&row.verdict),
            state_supplied: row.state_supplied,
            is_create,
            was_outlier: false,
            has_happened: false,
            membership,
            position: row.position,
            tuple: row.tuple,
            states: row.states,
        }
    }

    pub(super) fn in_graph(&self) -> bool {
        self.kind != Kind::Outlier
    }

    /// As [`EventRow::is_transparent`].
    pub(super) fn is_transparent(&self) -> bool {
        self.kind != Kind::New || self.judged != Judged::Accepted
    }

    /// Tells whether it had its place in the graph when what happened at `position` was decided.
    pub(super) fn in_graph_before(&self, position: u32) -> bool {
        self.in_graph() && self.position < position
    }

    /// Tells whether a state can have it: rejected events can only if they were accepted as outliers first.
    pub(super) fn may_be_state(&self) -> bool {
        !self.judged.is_rejected() || self.was_outlier
    }
}

/// What is remembered of the events of a room, by number.
#[derive(Debug, Default)]
pub(super) struct Facts {
    events: Vec<Option<Fact>>,
    prev_ends: Vec<usize>,
    prev_events: Vec<Option<EventNid>>,
    /// Edges from state events to their auth events: (auth event, state event).
    pub(super) auth_edges: Vec<(EventNid, EventNid)>,
}

impl Facts {
    /// Adds the next event; `None` if its row cannot be read.
    pub(super) fn push(&mut self, event: Option<(Fact, &[Option<EventNid>])>) {
        self.events.push(event.map(|(fact, _)| fact));
        self.prev_events.extend(event.iter().flat_map(|(_, prev_events)| prev_events.iter()));
        self.prev_ends.push(self.prev_events.len());
    }

    /// The number of events, unreadable ones included.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Tells whether there is an event of this number, be it unreadable.
    pub(super) fn has(&self, nid: EventNid) -> bool {
        index(nid) < self.events.len()
    }

    pub(super) fn get(&self, nid: EventNid) -> Option<&Fact> {
        self.events.get(index(nid))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, nid: EventNid) -> Option<&mut Fact> {
        self.events.get_mut(index(nid))?.as_mut()
    }

    /// The prev events of an event, in the order of its PDU.
    pub(super) fn prev_events(&self, nid: EventNid) -> &[Option<EventNid>] {
        let end = self.prev_ends.get(index(nid)).copied().unwrap_or_default();
        let start = index(nid).checked_sub(1).and_then(|before| self.prev_ends.get(before)).copied();
        self.prev_events.get(start.unwrap_or_default()..end).unwrap_or_default()
    }

    /// The readable events, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EventNid, &Fact)> {
        let numbered = (1..).filter_map(EventNid::new).zip(&self.events);
        numbered.filter_map(|(nid, fact)| Some((nid, fact.as_ref()?)))
    }

    /// The forward extremities by definition: the accepted New events without an accepted New descendant.
    pub(super) fn extremities(&self) -> Vec<EventNid> {
        let mut hidden = vec![false; self.events.len()];
        let mut behind: Vec<EventNid> = Vec::new();
        for (nid, _) in self.iter().filter(|(_, fact)| !fact.is_transparent()) {
            behind.extend(self.prev_events(nid).iter().flatten());
            while let Some(prev) = behind.pop() {
                let (Some(hidden), Some(fact)) = (hidden.get_mut(index(prev)), self.get(prev)) else { continue };
                // What an event hides that counts itself, it hides by itself.
                if !std::mem::replace(hidden, true) && fact.in_graph() && fact.is_transparent() {
                    behind.extend(self.prev_events(prev).iter().flatten());
                }
            }
        }
        let is_hidden = |nid: EventNid| hidden.get(index(nid)).copied().unwrap_or_default();
        self.iter().filter(|(nid, fact)| !fact.is_transparent() && !is_hidden(*nid)).map(|(nid, _)| nid).collect()
    }
}

fn index(nid: EventNid) -> usize {
    (nid.number() as usize).saturating_sub(1)
}

/// What is remembered of a log row.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogFact {
    pub(super) parent: SnapshotNid,
    pub(super) second_parent: Option<SnapshotNid>,
    /// The event that the row sets, if that is all it does.
    pub(super) sets: Option<EventNid>,
    pub(super) seal: Seal,
}

impl LogFact {
    pub(super) const GONE: Self =
        Self { parent: SnapshotNid::EMPTY, second_parent: None, sets: None, seal: Seal::Gone };
}

/// What is remembered of the log of a room.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// By snapshot, from 1 on; `None` for a row that cannot be read.
    pub(super) rows: Vec<Option<LogFact>>,
    /// The snapshots that have a list or will have one, ascending; whether it is derived.
    pub(super) sealed: Vec<(SnapshotNid, bool)>,
}

impl Log {
    pub(super) fn get(&self, snapshot: SnapshotNid) -> Option<&LogFact> {
        self.rows.get((snapshot.number() as usize).checked_sub(1)?)?.as_ref()
    }

    /// Whether every row can be read.
    pub(super) fn is_readable(&self) -> bool {
        self.rows.iter().all(Option::is_some)
    }

    /// Tells whether a snapshot was collected.
    pub(super) fn is_gone(&self, snapshot: SnapshotNid) -> bool {
        self.get(snapshot).is_some_and(|row| row.seal == Seal::Gone)
    }

    /// The number of the newest snapshot.
    pub(super) fn last(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }
}
