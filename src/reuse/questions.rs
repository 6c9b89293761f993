//! Questions about snapshots, drawn before a workload is replayed and answered by the truth while it is.

use std::collections::BTreeMap;

use super::{
    history::{Change, History},
    layout::{At, Changed},
    truth::State,
};
use crate::{generate::random::Random, ids::RoomNid};

/// How many questions of each sort are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// The event at a key of a snapshot. A key in ten is one that the room never has.
    pub points: u32,
    /// A whole snapshot.
    pub full: u32,
    /// Where a snapshot differs from its parent.
    pub neighbours: u32,
    /// Where the two sides of a fork differ, when they meet.
    pub forks: u32,
}

impl Default for Counts {
    fn default() -> Self {
        Self { points: 400, full: 12, neighbours: 60, forks: 40 }
    }
}

/// What is asked, and what is right.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    /// The event at a key.
    pub points: Vec<(At, u32, Option<u32>)>,
    /// Whole snapshots.
    pub full: Vec<(At, Vec<(u32, u32)>)>,
    /// Differences from a snapshot's parent to it.
    pub neighbours: Vec<Difference>,
    /// Differences between the sides of forks.
    pub forks: Vec<Difference>,
}

/// Where two snapshots of a room differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The room.
    pub room: RoomNid,
    /// A snapshot.
    pub from: u32,
    /// Another one.
    pub to: u32,
    /// What changes, by ascending key.
    pub changed: Vec<Changed>,
}

/// The places of all questions among the rooms, each as a fraction of the room's snapshots.
#[derive(Debug)]
pub struct Draw {
    points: BTreeMap<u32, Vec<u64>>,
    full: BTreeMap<u32, Vec<u64>>,
    neighbours: BTreeMap<u32, Vec<u64>>,
    forks: BTreeMap<u32, Vec<u64>>,
    random: Random,
}

/// The questions of one room: how many of each sort a snapshot gets.
#[derive(Debug, Default)]
pub struct RoomDraw {
    points: BTreeMap<u32, u32>,
    full: BTreeMap<u32, u32>,
    neighbours: BTreeMap<u32, u32>,
    forks: BTreeMap<u32, u32>,
}

impl Draw {
    /// Draws questions for rooms 1 to `rooms`, evenly.
    pub fn new(counts: Counts, rooms: u32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut places = |count: u32| {
            let mut by_room: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
            for _ in 0..count {
                let room = 1 + u32::try_from(random.below(u64::from(rooms))).unwrap_or_default();
                by_room.entry(room).or_default().push(random.number());
            }
            by_room
        };
        let Counts { points, full, neighbours, forks } = counts;
        let (points, full, neighbours, forks) = (places(points), places(full), places(neighbours), places(forks));
        Self { points, full, neighbours, forks, random }
    }

    /// The questions of a room, about snapshots that are held.
    pub fn room(&self, room: RoomNid, history: &History, held: Option<&[u32]>) -> RoomDraw {
        let is_held = |snapshot: &u32| *snapshot > 0 && held.is_none_or(|held| held.binary_search(snapshot).is_ok());
        let measured = || (history.given + 1..=history.last()).filter(is_held);
        let parent = |snapshot: u32| history.step(snapshot).map_or(0, |step| step.parent);
        let second = |snapshot: u32| history.step(snapshot).map_or(0, |step| step.second_parent);
        let all: Vec<u32> = measured().collect();
        let children: Vec<u32> = measured().filter(|child| is_held(&parent(*child))).collect();
        // The merge itself need not be held.
        let merges = (history.given + 1..=history.last())
            .filter(|merge| is_held(&second(*merge)) && is_held(&parent(*merge)))
            .collect::<Vec<_>>();
        let spread = |fractions: &BTreeMap<u32, Vec<u64>>, from: &[u32]| {
            let mut drawn = BTreeMap::new();
            for fraction in fractions.get(&room.number()).into_iter().flatten() {
                // The number's upper half, as of a draw.
                let place = (u128::from(*fraction) * from.len() as u128) >> 64;
                if let Some(snapshot) = usize::try_from(place).ok().and_then(|place| from.get(place)) {
                    *drawn.entry(*snapshot).or_default() += 1;
                }
            }
            drawn
        };
        RoomDraw {
            points: spread(&self.points, &all),
            full: spread(&self.full, &all),
            neighbours: spread(&self.neighbours, &children),
            forks: spread(&self.forks, &merges),
        }
    }

    /// Asks what is to be asked about a snapshot, which is at hand now.
    pub fn ask(&mut self, room: RoomNid, drawn: &RoomDraw, change: &Change<'_>, questions: &mut Questions) {
        let at = At { room, snapshot: change.snapshot };
        let times = |drawn: &BTreeMap<u32, u32>| drawn.get(&change.snapshot).copied().unwrap_or(0);
        for _ in 0..times(&drawn.points) {
            let key = self.key(change);
            let place = change.keys.binary_search(&key).ok().and_then(|place| u32::try_from(place).ok());
            let event = place.map_or(0, |place| change.after.get(place));
            questions.points.push((at, key, (event > 0).then_some(event)));
        }
        if times(&drawn.full) > 0 {
            questions.full.push((at, entries(change.keys, change.after)));
        }
        let from = change.step.parent;
        if times(&drawn.neighbours) > 0 {
            let changed = changed(change.keys, change.before, change.after);
            questions.neighbours.push(Difference { room, from, to: change.snapshot, changed });
        }
        if let Some(second) = change.second.filter(|_| times(&drawn.forks) > 0) {
            let changed = changed(change.keys, change.before, second);
            questions.forks.push(Difference { room, from, to: change.step.second_parent, changed });
        }
    }

    /// A key of the state, or, once in ten times, one that is nowhere.
    fn key(&mut self, change: &Change<'_>) -> u32 {
        const TRIES: usize = 1_000;
        let random = &mut self.random;
        if random.below(10) == 0 {
            let strangers = std::iter::repeat_with(|| u32::try_from(random.below(4_000_000)).unwrap_or_default() + 1);
            return strangers.take(TRIES).find(|key| change.keys.binary_search(key).is_err()).unwrap_or(u32::MAX);
        }
        let mut place = 0;
        for _ in 0..TRIES {
            place = random.place(change.keys.len());
            if u32::try_from(place).is_ok_and(|place| change.after.get(place) > 0) {
                break;
            }
        }
        change.keys.get(place).copied().unwrap_or(u32::MAX)
    }
}

fn entries(keys: &[u32], state: &State) -> Vec<(u32, u32)> {
    let mut entries = Vec::with_capacity(state.len());
    state.for_each(&mut |place, event| entries.extend(keys.get(place as usize).map(|key| (*key, event))));
    entries
}

fn changed(keys: &[u32], from: &State, to: &State) -> Vec<Changed> {
    let key = |place: u32| keys.get(place as usize).copied().unwrap_or_default();
    let changed = |(place, before, after)| Changed { key: key(place), before: Some(before), after };
    from.differences(to).into_iter().map(changed).collect()
}
