//! The room as its generator knows it: who is where in the event graph, and the state there.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
};

use ruma_common::room_version_rules::{RoomVersionRules, StateResolutionVersion};
use sha1::{Digest as _, Sha1};

use super::{User, pdu::Made};

/// A key of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// The state of the room, with the empty state key.
    Room(&'static str),
    /// The membership of a user.
    Member(User),
}

/// An event of the state.
#[derive(Debug, Clone)]
pub(super) struct StateEvent {
    pub(super) made: Made,
    /// Whether it is a membership `join`.
    pub(super) joined: bool,
}

/// A part of the event graph that grows event by event.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// Its newest events: one, but for a line that begins with a merge.
    pub(super) tips: Vec<Made>,
    /// What it changed of the state since the lines parted.
    changes: BTreeMap<Key, StateEvent>,
}

/// The event graph and the state at its ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    /// The state where the lines part; with one line, the state at its end.
    state: BTreeMap<Key, StateEvent>,
    lines: Vec<Line>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self { state: BTreeMap::new(), lines: vec![Line::default()] }
    }

    /// How many lines there are.
    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The newest events of a line. A line that is not there counts as the last.
    pub(super) fn tips(&self, line: usize) -> &[Made] {
        self.line(line).map_or(&[], |line| &line.tips)
    }

    /// The event at a key, at the end of a line.
    pub(super) fn get(&self, line: usize, key: Key) -> Option<&StateEvent> {
        self.line(line).and_then(|line| line.changes.get(&key)).or_else(|| self.state.get(&key))
    }

    /// Adds an event to a line, and what it changes of the state.
    pub(super) fn add(&mut self, line: usize, made: Made, change: Option<(Key, bool)>) {
        if let Some((key, joined)) = change {
            let event = StateEvent { made: made.clone(), joined };
            match self.lines.as_mut_slice() {
                [_only] => drop(self.state.insert(key, event)),
                lines => {
                    let line = line.min(lines.len().saturating_sub(1));
                    drop(lines.get_mut(line).map(|line| line.changes.insert(key, event)));
                }
            }
        }
        let line = line.min(self.lines.len().saturating_sub(1));
        if let Some(line) = self.lines.get_mut(line) {
            line.tips = vec![made];
        }
    }

    /// Parts the one line into several; lines that have parted stay as they are.
    pub(super) fn fork(&mut self, lines: usize) {
        if let [only] = self.lines.as_slice() {
            self.lines = vec![only.clone(); lines.max(1)];
        }
    }

    /// Makes one line of all, which goes on from all their ends.
    pub(super) fn join(&mut self, rules: &RoomVersionRules) {
        let mut tips = Vec::new();
        for line in std::mem::take(&mut self.lines) {
            tips.extend(line.tips);
            resolve(&mut self.state, line.changes, rules);
        }
        self.lines.push(Line { tips, changes: BTreeMap::new() });
    }

    /// The state over all lines.
    pub(super) fn merged(&self, rules: &RoomVersionRules) -> BTreeMap<Key, StateEvent> {
        let mut merged = self.state.clone();
        for line in &self.lines {
            resolve(&mut merged, line.changes.clone(), rules);
        }
        merged
    }

    fn line(&self, line: usize) -> Option<&Line> {
        self.lines.get(line).or(self.lines.last())
    }
}

/// Puts those of `changes` into a state that resolution prefers to what it has.
fn resolve(state: &mut BTreeMap<Key, StateEvent>, changes: BTreeMap<Key, StateEvent>, rules: &RoomVersionRules) {
    for (key, event) in changes {
        let stays = state.get(&key).is_some_and(|other| order(rules, &other.made, &event.made) == Ordering::Greater);
        if !stays {
            state.insert(key, event);
        }
    }
}

/// The order of two events of one key, of which resolution prefers the greater where both are allowed and neither is a
/// power event: by v1 that of greater depth, else of smaller SHA-1; from v2 on, under equal power levels, the later one.
fn order(rules: &RoomVersionRules, left: &Made, right: &Made) -> Ordering {
    if rules.state_res == StateResolutionVersion::V1 {
        let rank = |made: &Made| (made.depth, Reverse(Sha1::digest(made.event_id.as_bytes())));
        return rank(left).cmp(&rank(right));
    }
    (left.origin_server_ts, &left.event_id).cmp(&(right.origin_server_ts, &right.event_id))
}
