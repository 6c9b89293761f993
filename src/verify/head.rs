//! The head of a room, held against its rows.

use super::room::RoomCheck;
use crate::{
    encoding::{
        bytes::unstamp,
        event_row::Remains,
        head::{Counts, MERGES_MAX, RoomHead},
        keys,
    },
    error::Result,
    ids::{EventNid, SnapshotNid},
    tables::{HEADS, PARKED},
};

use super::{facts::Judged, streams::RowStream};

impl RoomCheck<'_, '_> {
    /// Reads the head; the steps that follow hold it against the rows.
    pub(super) fn check_head_row(&mut self) -> Result<()> {
        let key = keys::room(self.room.nid);
        let mut rows = RowStream::new(self.check, HEADS, &key);
        if let Some(value) = rows.take(self.check, &key)? {
            let head = unstamp(&key, &value).and_then(RoomHead::decode);
            self.head = self.check.decoded(HEADS, &key, head);
        }
        rows.finish(self.check)
    }

    /// Checks everything that the head says of events and states, but for the summary of the current state.
    pub(super) fn check_head(&mut self) -> Result<()> {
        let Some(head) = self.head.take() else { return Ok(()) };
        let parked = self.count_parked()?;
        let mut wrong = self.wrong_counts(&head, parked);
        wrong.extend(self.wrong_create(&head));
        wrong.extend(self.wrong_collected(&head));
        wrong.extend(wrong_merges(&head));
        let extremities = self.facts.extremities();
        // Events that cannot be read may be extremities, or hide them.
        let readable = self.facts.iter().count() == self.facts.len();
        if readable && *head.extremities != *extremities {
            wrong.push(format!("extremities {:?} and not {extremities:?}", head.extremities));
        }
        let states = head.extremities.iter().map(|extremity| Some(self.facts.get(*extremity)?.states?.after));
        if let Some(states) = states.collect::<Option<Vec<SnapshotNid>>>() {
            wrong.extend(self.wrong_current(&head, states));
        }
        for what in wrong {
            self.check.problem(HEADS, &keys::room(self.room.nid), what);
        }
        self.head = Some(head);
        Ok(())
    }

    fn count_parked(&mut self) -> Result<u32> {
        let mut rows = RowStream::new(self.check, PARKED, &keys::room(self.room.nid));
        let mut parked = 0u32;
        while rows.next(self.check)?.is_some() {
            parked = parked.saturating_add(1);
        }
        Ok(parked)
    }

    fn wrong_counts(&self, head: &RoomHead, parked: u32) -> Vec<String> {
        let mut counts = Counts { parked, ..Counts::default() };
        for (_, fact) in self.facts.iter() {
            let sort = match (fact.in_graph(), fact.judged) {
                (false, _) => {
                    counts.outliers = counts.outliers.saturating_add(1);
                    continue;
                }
                (true, Judged::Accepted) => None,
                (true, Judged::SoftFailed) => Some(&mut counts.soft_failed),
                (true, Judged::Rejected | Judged::Foreign) => Some(&mut counts.rejected),
            };
            if let Some(count) = sort {
                *count = count.saturating_add(1);
            }
            counts.events = counts.events.saturating_add(1);
        }
        // What cannot be read has been told of, and may be what is lacking.
        let told = head.counts;
        let readable = self.facts.iter().count() == self.facts.len();
        if readable && told != counts { vec![format!("counts {told:?} and not {counts:?}")] } else { Vec::new() }
    }

    /// Checks what the head says of collected events, and that what it names is still there.
    fn wrong_collected(&self, head: &RoomHead) -> Option<String> {
        let bodies = self.facts.iter().filter(|(_, fact)| fact.remains == Remains::Row).count();
        let readable = self.facts.iter().count() == self.facts.len();
        if readable && bodies != head.collected.bodies as usize {
            return Some(format!("{} events without a body, and not {bodies}", head.collected.bodies));
        }
        let merged = head.merges.iter().flat_map(|merge| merge.parents.iter().chain([&merge.result]));
        let gone = merged.chain([&head.current.snapshot]).find(|snapshot| self.log.is_gone(**snapshot))?;
        Some(format!("snapshot {}, which was collected", gone.number()))
    }

    fn wrong_create(&self, head: &RoomHead) -> Option<String> {
        let creates = || self.facts.iter().filter(|(_, fact)| fact.is_create);
        let accepted: Vec<EventNid> =
            creates().filter(|(_, fact)| fact.judged == Judged::Accepted).map(|(nid, _)| nid).collect();
        let right = match (head.create, accepted.as_slice()) {
            (None, []) => true,
            // Accepted as an outlier, rejected in its place.
            (Some(create), []) => creates().any(|(nid, fact)| nid == create && fact.was_outlier),
            (create, [only]) => create == Some(*only),
            (_, _) => false,
        };
        let readable = self.facts.iter().count() == self.facts.len();
        (readable && !right).then(|| format!("create event {:?}, accepted are {accepted:?}", head.create))
    }

    /// Checks the current state against the states after the extremities.
    fn wrong_current(&self, head: &RoomHead, mut states: Vec<SnapshotNid>) -> Option<String> {
        states.sort_unstable();
        states.dedup();
        let current = head.current.snapshot;
        let remembered = head.merges.iter().find(|merge| *merge.parents == *states);
        match remembered {
            Some(merge) if states.len() > 1 => (merge.result != current)
                .then(|| format!("current snapshot {} and not {}", current.number(), merge.result.number())),
            _ => self.wrong_merge(states, current).map(|what| format!("current state: {what}")),
        }
    }
}

fn wrong_merges(head: &RoomHead) -> Option<String> {
    let last = SnapshotNid::new(head.last_snapshot);
    let right = head.merges.iter().enumerate().all(|(place, merge)| {
        merge.parents.len() > 1
            && merge.parents.is_sorted_by(|a, b| a < b)
            && merge.parents.iter().chain([&merge.result]).all(|snapshot| *snapshot <= last)
            && head.merges.iter().skip(place + 1).all(|other| other.parents != merge.parents)
    });
    (!right || head.merges.len() > MERGES_MAX).then(|| format!("impossible merges: {:?}", head.merges))
}
