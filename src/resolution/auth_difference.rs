//! The auth difference of v2, found from the conflict outwards.
//!
//! "If Ci is the full auth chain of Si, then the auth difference is ∪ Ci − ∩ Ci." With U the unconflicted state and Xi
//! the conflicted events of set i, Ci is what U reaches together with what Xi reaches. What U reaches is in every Ci,
//! so the difference is what some Xi reaches, not all do, and U does not. Two walks decide it, and neither visits the
//! rest of the room:
//!
//! - down from the conflicted events, newest first, with the sets that reach each event. An event's auth events have
//!   smaller numbers, so an event's sets are complete when its turn comes. What U reaches is not entered: all below it
//!   is reached too;
//! - up from each event on the way, to see whether U reaches it: from an event to those that name it, newest first,
//!   until one stands in U. Successors of an event (the next membership of that user, the next power levels) name
//!   it, so the way up is short where it ends, and where it does not, it stays among events that U does not reach.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::{Conflict, loaded::Loaded};
use crate::{error::Result, ids::EventNid};

/// How many children are asked for at once: the first one nearly always ends the search.
const PAGE: usize = 16;

/// How many events a walk up looks at where its answer decides nothing but saves a way down.
const PATIENCE: usize = 64;

/// Finds the auth difference of `sets` states, without the events of the conflicts themselves (`conflicted`), which
/// the full conflicted set has anyway. In descending order.
pub(super) fn auth_difference(
    room: &Loaded<'_>,
    sets: usize,
    conflicts: &[Conflict],
    conflicted: &BTreeSet<EventNid>,
) -> Result<Vec<EventNid>> {
    let mut frontier = Frontier { sets, reached: BTreeMap::new(), partial: 0 };
    for conflict in conflicts {
        for (set, nid) in conflict.events.iter().enumerate() {
            if let Some(nid) = *nid {
                frontier.add(nid, &SetMask::of(set));
            }
        }
    }
    let mut unconflicted = UnconflictedChains { room, known: FxHashMap::default() };
    let mut difference = Vec::new();
    while let Some((nid, mask)) = frontier.next() {
        let event = room.event(nid)?;
        let decides = mask.len() < sets && !conflicted.contains(&nid);
        if unconflicted.reach(nid, if decides { usize::MAX } else { PATIENCE })? {
            unconflicted.known.extend(event.auth_events.iter().map(|&auth_event| (auth_event, true)));
            continue;
        }
        if decides {
            difference.push(nid);
        }
        for &auth_event in &event.auth_events {
            frontier.add(auth_event, &mask);
        }
    }
    Ok(difference)
}

/// Which of the state sets reach an event, a bit each.
#[derive(Debug, Clone, Default)]
struct SetMask(SmallVec<[u64; 1]>);

impl SetMask {
    fn of(set: usize) -> Self {
        let mut words = SmallVec::from_elem(0, set / 64 + 1);
        if let Some(word) = words.last_mut() {
            *word = 1 << (set % 64);
        }
        Self(words)
    }

    fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// The events that are reached and not yet visited.
struct Frontier {
    sets: usize,
    reached: BTreeMap<EventNid, SetMask>,
    /// How many of them not every set reaches, as far as is known.
    partial: usize,
}

impl Frontier {
    fn add(&mut self, nid: EventNid, mask: &SetMask) {
        let entry = self.reached.entry(nid).or_default();
        // An event enters with an empty mask, which counts as neither.
        let was_partial = entry.len() > 0 && entry.len() < self.sets;
        entry.add(mask);
        let is_partial = entry.len() < self.sets;
        self.partial = self.partial + usize::from(is_partial) - usize::from(was_partial);
    }

    /// Takes the newest event; none once every set reaches all that is left.
    fn next(&mut self) -> Option<(EventNid, SetMask)> {
        if self.partial == 0 {
            return None;
        }
        let (nid, mask) = self.reached.pop_last()?;
        self.partial -= usize::from(mask.len() < self.sets);
        Some((nid, mask))
    }
}

/// Tells which events the unconflicted state reaches: its own and their auth chains.
struct UnconflictedChains<'a> {
    room: &'a Loaded<'a>,
    known: FxHashMap<EventNid, bool>,
}

impl UnconflictedChains<'_> {
    /// Walks up from `nid`, depth first, until an event is known to be reached; false if that is not found out within
    /// `patience` steps.
    fn reach(&mut self, nid: EventNid, patience: usize) -> Result<bool> {
        if let Some(known) = self.settle(nid)? {
            return Ok(known);
        }
        let mut path = vec![Children::of(nid, self.room)];
        let mut steps = 0;
        while let Some(children) = path.last_mut() {
            let Some(child) = children.next(self.room)? else {
                path.pop();
                continue;
            };
            if steps == patience {
                // Nothing is known of those that are not walked to the end.
                for children in &path {
                    self.known.remove(&children.parent);
                }
                return Ok(false);
            }
            steps += 1;
            match self.settle(child)? {
                Some(true) => {
                    self.known.extend(path.iter().map(|children| (children.parent, true)));
                    return Ok(true);
                }
                Some(false) => {}
                None => path.push(Children::of(child, self.room)),
            }
        }
        Ok(false)
    }

    /// Answers from memory or from the unconflicted state itself; else notes the event as not reached, which holds
    /// unless the walk that now goes up from it finds a way.
    fn settle(&mut self, nid: EventNid) -> Result<Option<bool>> {
        if let Some(&known) = self.known.get(&nid) {
            return Ok(Some(known));
        }
        let found = self.room.is_unconflicted(nid)?;
        self.known.insert(nid, found);
        Ok(found.then_some(true))
    }
}

/// The events that name `parent` among their auth events, newest first, fetched as they are needed.
struct Children {
    parent: EventNid,
    page: std::vec::IntoIter<EventNid>,
    /// Where the next page begins.
    up_to: Option<EventNid>,
}

impl Children {
    fn of(parent: EventNid, room: &Loaded<'_>) -> Self {
        Self { parent, page: Vec::new().into_iter(), up_to: Some(room.store.newest()) }
    }

    fn next(&mut self, room: &Loaded<'_>) -> Result<Option<EventNid>> {
        if self.page.len() == 0 {
            let Some(up_to) = self.up_to else { return Ok(None) };
            let page = room.store.auth_children(self.parent, up_to, PAGE)?;
            self.up_to = match page.last() {
                Some(last) if page.len() == PAGE => EventNid::new(last.number() - 1),
                _ => None,
            };
            self.page = page.into_iter();
        }
        Ok(self.page.next())
    }
}
