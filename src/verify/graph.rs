//! The states around the events of the graph, held against the states after their prev events and against the log.

use super::room::RoomCheck;
use crate::{
    encoding::{
        event_row::{Kind, Remains, States},
        keys,
        pack::Seal,
    },
    error::Result,
    ids::{EventNid, SnapshotNid},
    tables::EVENT_ROWS,
};

use super::facts::{Fact, Judged};

impl RoomCheck<'_, '_> {
    /// Checks that each event was placed after what it needs, and that the states around it follow from its prev events.
    pub(super) fn check_graph(&mut self) -> Result<()> {
        for (nid, fact) in self.facts.iter().filter(|(_, fact)| fact.in_graph()) {
            for what in [self.misplaced(nid, fact), self.wrong_before(nid, fact), self.wrong_after(nid, fact)] {
                let Some(what) = what else { continue };
                self.check.problem(EVENT_ROWS, &keys::event(self.room.nid, nid), what);
            }
        }
        Ok(())
    }

    /// A live event that was told no state waits for its prev events, unless it was rejected without them.
    fn misplaced(&self, nid: EventNid, fact: &Fact) -> Option<String> {
        if fact.kind != Kind::New || fact.state_supplied || fact.judged == Judged::Foreign {
            return None;
        }
        let late = |prev: &&Option<EventNid>| {
            prev.is_none_or(|prev| self.facts.get(prev).is_some_and(|prev| !prev.in_graph_before(fact.position)))
        };
        self.facts.prev_events(nid).iter().find(late).map(|prev| match prev {
            Some(prev) => format!("placed before its prev event {}", prev.number()),
            None => "placed without a prev event, though no state was supplied".to_owned(),
        })
    }

    fn wrong_before(&self, nid: EventNid, fact: &Fact) -> Option<String> {
        if fact.remains != Remains::All {
            return None;
        }
        if fact.state_supplied {
            return fact.states.is_none().then(|| "no state, though one was supplied".to_owned());
        }
        let mut known = Some(Vec::new());
        for prev in self.facts.prev_events(nid) {
            let states = match prev {
                // An unreadable event has been told of; nothing can be said of the state after it.
                Some(prev) if self.facts.get(*prev)?.remains != Remains::All => return None,
                Some(prev) => self.facts.get(*prev)?.states.filter(|_| self.is_placed(*prev, fact.position)),
                None => None,
            };
            match (&mut known, states) {
                (Some(known), Some(states)) => known.push(states.after),
                _ => known = None,
            }
        }
        match (known, fact.states) {
            (None, None) => None,
            (None, Some(_)) => Some("a state, though that of a prev event was not here".to_owned()),
            (Some(_), None) => Some("no state, though all its prev events had one".to_owned()),
            (Some(known), Some(states)) => self.wrong_merge(known, states.before),
        }
    }

    fn is_placed(&self, prev: EventNid, position: u32) -> bool {
        self.facts.get(prev).is_some_and(|prev| prev.in_graph_before(position))
    }

    /// What is wrong with `result` as the resolution of `states`, as far as the log tells: it is one of them, or a
    /// change to one of them that names another one as its second parent.
    pub(super) fn wrong_merge(&self, mut states: Vec<SnapshotNid>, result: SnapshotNid) -> Option<String> {
        states.sort_unstable();
        states.dedup();
        let is_one = |snapshot: SnapshotNid| states.binary_search(&snapshot).is_ok();
        let right = match states.as_slice() {
            [] => result.is_empty(),
            [only] => result == *only,
            // An unreadable row has been told of.
            _ if is_one(result) || (result.number() <= self.log.last() && self.log.get(result).is_none()) => true,
            _ => self.log.get(result).is_some_and(|row| is_one(row.parent) && row.second_parent.is_some_and(is_one)),
        };
        (!right).then(|| format!("snapshot {} cannot be what snapshots {states:?} resolve into", result.number()))
    }

    /// The state after a state event that was not rejected is a log row of its own, which sets this event and nothing
    /// else.
    fn wrong_after(&self, nid: EventNid, fact: &Fact) -> Option<String> {
        let States { before, after } = fact.states?;
        for snapshot in [before, after] {
            if self.log.is_gone(snapshot) {
                return Some(format!("snapshot {} was collected", snapshot.number()));
            }
        }
        if after.number() > self.log.last() {
            return Some(format!("snapshot {} is not in the store", after.number()));
        }
        let row = self.log.get(after).filter(|_| after != before)?;
        // What a snapshot changed is not told any more where its list is all that is left.
        let sets = row.sets == Some(nid) || row.seal == Seal::Whole;
        let right = row.parent == before && row.second_parent.is_none() && sets;
        (!right).then(|| format!("snapshot {} is not snapshot {} with this event", after.number(), before.number()))
    }
}
