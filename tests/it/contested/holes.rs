//! The room as a server sees it that joined late: outliers and a told state first, gaps, history by backfill.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use roomserver::Kind;
use ruma_common::OwnedEventId;

use super::{
    pdu::{In, Pdu},
    plain::{Plain, Verdict},
    random::Random,
    rooms::Room,
};

/// The inputs of a server that joins somewhere in the middle of a room.
pub fn late_view(room: &Room, seed: u64) -> Vec<In> {
    let Room { plain: full, inputs, unspoilt, .. } = room;
    let mut view = View { full, inputs, unspoilt, random: Random::new(seed), timed: Vec::new() };
    let join = view.join();
    for place in 0..inputs.len() {
        if place > join {
            view.live(place);
        } else if place < join {
            view.history(place, join);
        }
    }
    view.timed.sort_by_key(|(time, _)| *time);
    view.timed.into_iter().map(|(_, input)| input).collect()
}

struct View<'a> {
    full: &'a Plain,
    inputs: &'a [In],
    unspoilt: &'a BTreeMap<OwnedEventId, Rc<Pdu>>,
    random: Random,
    /// When each input comes: a place in the room, in tenths.
    timed: Vec<(usize, In)>,
}

impl View<'_> {
    fn put(&mut self, time: usize, place: usize, kind: Kind, state: Option<Vec<OwnedEventId>>) {
        let input = &self.inputs[place];
        // Each copy may be one with a right content hash.
        let unspoilt = self.unspoilt.get(&input.pdu.id).filter(|_| self.random.percent(50));
        let pdu = Rc::clone(unspoilt.unwrap_or(&input.pdu));
        self.timed.push((time, In { pdu, kind, state, local: input.local }));
    }

    /// The join: the state before it and the auth chains as outliers, and the event with its state. Gives its place.
    fn join(&mut self) -> usize {
        let middle = self.inputs.len() / 4 + self.random.below(self.inputs.len() / 2);
        let accepted = |place: &usize| self.full.events[*place].verdict == Verdict::Accepted;
        let join = (middle..self.inputs.len()).find(accepted);
        let join = join.or_else(|| (0..middle).rev().find(accepted)).unwrap();
        let state = self.state_before(join);
        let mut closure = BTreeSet::new();
        let mut open: Vec<&OwnedEventId> = state.iter().chain(&self.inputs[join].pdu.auth_events).collect();
        while let Some(id) = open.pop() {
            if closure.insert(self.full.places[id]) {
                open.extend(&self.inputs[self.full.places[id]].pdu.auth_events);
            }
        }
        let shuffled = self.random.percent(30);
        for place in closure {
            let time = if shuffled && place > 0 { 1 + self.random.below(place * 2) } else { place };
            self.put(time, place, Kind::Outlier, None);
        }
        self.put(join * 10, join, Kind::New, Some(state));
        join
    }

    fn state_before(&self, place: usize) -> Vec<OwnedEventId> {
        let state = self.full.events[place].before.unwrap_or(0);
        self.full.states[state].values().map(|&place| self.full.events[place].pdu.id.clone()).collect()
    }

    /// An event after the join: sooner or later, with its state, without it, or first as an outlier.
    fn live(&mut self, place: usize) {
        let end = self.inputs.len() * 10;
        let time = match self.random.below(20) {
            0..=13 => place * 10,
            14..=17 => place * 10 + self.random.below(150),
            _ => end + self.random.below(200),
        };
        let state = match self.random.below(20) {
            0..=3 => Some(self.state_before(place)),
            4 => {
                let other = self.random.below(self.inputs.len());
                Some(self.state_before(other))
            }
            _ => None,
        };
        let kind = if self.random.percent(10) { Kind::Old } else { Kind::New };
        self.put(time, place, kind, state);
        if self.random.percent(15) {
            let sooner = time.saturating_sub(self.random.below(100));
            self.put(sooner, place, Kind::Outlier, None);
        }
        if self.random.percent(20) {
            let later = time + self.random.below(200);
            let state = self.random.percent(40).then(|| self.state_before(place));
            let kind = *self.random.choose(&[Kind::New, Kind::New, Kind::Old]);
            self.put(later, place, kind, state);
        }
    }

    /// An event before the join: most come late and as history, some as if they were new.
    fn history(&mut self, place: usize, join: usize) {
        let end = self.inputs.len() * 10;
        if self.random.percent(40) {
            // Events that were sent at the time of the join are told by servers that did not know of it.
            let near = join - place < 15 && self.random.percent(60);
            let time = join * 10 + self.random.below(if near { 60 } else { end - join * 10 + 200 });
            let kind = if near || self.random.percent(10) { Kind::New } else { Kind::Old };
            let state = match self.random.below(10) {
                0..=2 => Some(self.state_before(place)),
                // By such a state events may be refused that others have been authorised by, as outliers.
                3 | 4 => {
                    let other = self.random.below(self.inputs.len());
                    Some(self.state_before(other))
                }
                _ => None,
            };
            self.put(time, place, kind, state);
        }
        if self.random.percent(60) {
            // The whole of the past, from the newest to the oldest or the other way.
            let back = if self.random.percent(50) { join - place } else { place };
            let state = self.random.percent(30).then(|| self.state_before(place));
            self.put(end + 200 + back, place, Kind::Old, state);
        }
    }
}
