//! What is measured: rooms of different size and habits, made up from a seed.

use std::{fmt, str::FromStr};

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::history::History;
use crate::{
    error::{Error, Result},
    generate::random::{Random, Zipf},
};

/// A sort of rooms, and what happens in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Workload {
    /// A public room: 50,000 users join and change their profiles, three changes a join.
    A,
    /// 10,000 small rooms of 5 to 30 keys, 100 changes each.
    B,
    /// As A, with a fork every 50 changes whose sides make 1 to 20 changes each.
    C,
    /// A room that was joined when it had 200,000 members, and 10,000 profile changes since.
    D,
    /// As A, with 5,000 users, where one event in 100 is a state event.
    E,
    /// As A, with forks whose sides make up to 3,000 changes each.
    F,
    /// As D, with 400,000 changes.
    Dlong,
}

/// Keys that every large room has besides its members: create, power levels, join rules, name.
pub const ROOM_KEYS: u32 = 4;
/// The least number of a member's key.
pub const MEMBERS_FROM: u32 = 1_000;
/// Users whom the server knows before the room is made; half of its members are among them.
const KNOWN_USERS: u32 = 2_000_000;
/// Events between two changes, on average, where not stated otherwise.
const GAP: u64 = 20;
const SMALL_ROOM_CHANGES: u32 = 100;
const SMALL_ROOM_KEYS: (u32, u64) = (5, 26);

/// Forks of a workload.
#[derive(Debug, Clone, Copy)]
struct Forks {
    /// Changes between a merge and the next fork.
    every: u32,
    /// The most changes of a side.
    longest: u64,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F, Self::Dlong];

    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
            Self::F => "F",
            Self::Dlong => "Dlong",
        }
    }

    /// What it is, in a line.
    pub fn description(self) -> &'static str {
        match self {
            Self::A => "one room; three profile changes a join",
            Self::B => "small rooms of 5 to 30 keys, 100 changes each",
            Self::C => "as A, with a fork every 50 changes, sides of 1 to 20 changes, and its merge",
            Self::D => "one room whose members are there at the start; one profile change for 20 members",
            Self::E => "as A, where one event in 100 is a state event",
            Self::F => "as A, with forks whose sides make up to 3,000 changes",
            Self::Dlong => "as D, with two profile changes a member",
        }
    }

    /// Members of its room at full size; for B the number of rooms.
    pub fn full_size(self) -> u32 {
        match self {
            Self::A | Self::C | Self::F => 50_000,
            Self::B => 10_000,
            Self::D | Self::Dlong => 200_000,
            Self::E => 5_000,
        }
    }

    /// Members of its room in a run that is to take seconds; for B the number of rooms.
    pub fn reduced_size(self) -> u32 {
        if self == Self::E { self.full_size() } else { self.full_size() / 10 }
    }

    /// The number of its rooms.
    pub fn rooms(self, size: u32) -> u32 {
        if self == Self::B { size } else { 1 }
    }

    /// Makes up one of its rooms; all follow from the seed.
    pub fn room(self, size: u32, room: u32, seed: u64) -> History {
        let seed = Random::new(seed ^ (u64::from(room) << 32)).number();
        let mut made = Made::new(seed, if self == Self::E { 2_000 } else { GAP });
        match self {
            Self::A | Self::E => made.grow(size, None),
            Self::C => made.grow(size, Some(Forks { every: 50, longest: 20 })),
            Self::F => made.grow(size, Some(Forks { every: 500, longest: 3_000 })),
            Self::B => made.small(),
            Self::D => made.joined_late(size, size / 20),
            Self::Dlong => made.joined_late(size, size.saturating_mul(2)),
        }
        made.history.finish();
        made.history
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|workload| workload.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::invalid(format!("there is no workload {name:?}, only {names}"))
        })
    }
}

/// A room that is being made up.
struct Made {
    history: History,
    random: Random,
    gap: u64,
    event: u32,
    members: Vec<u32>,
    activity: Zipf,
    known: FxHashSet<u32>,
    newest_user: u32,
    changes: u64,
}

/// A branch of a fork: its newest snapshot, and what it changed.
struct Side {
    head: u32,
    left: u64,
    changed: FxHashMap<u32, u32>,
}

impl Made {
    fn new(seed: u64, gap: u64) -> Self {
        Self {
            history: History::default(),
            random: Random::new(seed),
            gap,
            event: 0,
            members: Vec::new(),
            activity: Zipf::default(),
            known: FxHashSet::default(),
            newest_user: KNOWN_USERS,
            changes: 0,
        }
    }

    /// The next state event's number: gaps are geometric.
    fn event(&mut self) -> u32 {
        self.event += 1;
        while self.random.below(self.gap) != 0 {
            self.event += 1;
        }
        self.event
    }

    /// A user who is not in the room yet: half are new to the server, the others anybody.
    fn user(&mut self) -> u32 {
        if self.random.below(2) == 0 {
            self.newest_user += 1;
            return self.newest_user;
        }
        loop {
            let drawn = self.random.below(u64::from(KNOWN_USERS - MEMBERS_FROM));
            let user = MEMBERS_FROM + u32::try_from(drawn).unwrap_or_default();
            if self.known.insert(user) {
                return user;
            }
        }
    }

    /// Adds a user; who came first is the most active.
    fn join(&mut self) -> u32 {
        let user = self.user();
        self.members.push(user);
        self.activity.push();
        user
    }

    fn active_member(&mut self) -> u32 {
        let rank = self.activity.draw(&mut self.random);
        self.members.get(rank).copied().unwrap_or(MEMBERS_FROM)
    }

    /// The next change of a room in which one change in four is a join.
    fn change(&mut self) -> (u32, u32) {
        let key = match u32::try_from(self.changes) {
            Ok(number) if number < ROOM_KEYS => number + 1,
            _ if self.changes.is_multiple_of(4) => self.join(),
            _ => self.active_member(),
        };
        self.changes += 1;
        (key, self.event())
    }

    fn grow(&mut self, members: u32, forks: Option<Forks>) {
        let total = u64::from(members) * 4;
        let mut head = 0;
        let mut trunk = 0;
        while self.changes < total {
            if forks.is_some_and(|forks| trunk >= forks.every) {
                trunk = 0;
                head = self.fork(head, forks.map_or(1, |forks| forks.longest));
                continue;
            }
            let change = self.change();
            head = self.history.push(head, 0, true, [change]);
            trunk += 1;
        }
    }

    /// Two sides that change without each other for a while, and the state that both are resolved to: of keys that both
    /// changed, one side wins at random.
    fn fork(&mut self, base: u32, longest: u64) -> u32 {
        let mut sides =
            [(); 2].map(|()| Side { head: base, left: 1 + self.random.below(longest), changed: FxHashMap::default() });
        loop {
            let weights = sides.each_ref().map(|side| u32::try_from(side.left).unwrap_or(u32::MAX));
            let Some(side) = self.random.weighted(&weights).and_then(|place| sides.get_mut(place)) else { break };
            let (key, event) = self.change();
            side.head = self.history.push(side.head, 0, false, [(key, event)]);
            side.left -= 1;
            side.changed.insert(key, event);
        }
        let [left, right] = sides;
        let mut from_right: Vec<(u32, u32)> = right.changed.iter().map(|(key, event)| (*key, *event)).collect();
        from_right.sort_unstable();
        let mut from_left: Vec<(u32, u32)> = left.changed.iter().map(|(key, event)| (*key, *event)).collect();
        from_left.sort_unstable();
        let (left_wins, right_wins): (Vec<u32>, Vec<u32>) = from_left
            .iter()
            .map(|change| change.0)
            .filter(|key| right.changed.contains_key(key))
            .partition(|_| self.random.below(2) == 0);
        from_right.retain(|(key, _)| !left_wins.contains(key));
        from_left.retain(|(key, _)| !right_wins.contains(key));
        // Against the side from which less differs.
        let (parent, second, changes) = if from_right.len() <= from_left.len() {
            (left.head, right.head, from_right)
        } else {
            (right.head, left.head, from_left)
        };
        if changes.is_empty() { parent } else { self.history.push(parent, second, true, changes) }
    }

    fn small(&mut self) {
        let (least, more) = SMALL_ROOM_KEYS;
        let keys = least + u32::try_from(self.random.below(more)).unwrap_or_default();
        let mut head = 0;
        for number in 0..SMALL_ROOM_CHANGES {
            let key = match number {
                number if number < ROOM_KEYS => number + 1,
                number if number < keys => self.join(),
                _ => self.active_member(),
            };
            let event = self.event();
            head = self.history.push(head, 0, true, [(key, event)]);
        }
    }

    fn joined_late(&mut self, members: u32, changes: u32) {
        let mut state = Vec::with_capacity(members as usize);
        for number in 0..members {
            let key = if number < ROOM_KEYS { number + 1 } else { self.user() };
            state.push((key, self.event()));
            if number >= ROOM_KEYS {
                self.members.push(key);
                self.activity.push_flat();
            }
        }
        let mut head = self.history.push(0, 0, true, state);
        self.history.given = head;
        for _ in 0..changes {
            let change = (self.active_member(), self.event());
            head = self.history.push(head, 0, true, [change]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_follows_from_its_seed_alone() {
        for workload in Workload::ALL {
            let [once, again, other] = [7, 7, 8].map(|seed| workload.room(200, 3, seed));
            assert_eq!(format!("{once:?}"), format!("{again:?}"), "{workload}");
            assert_ne!(format!("{once:?}"), format!("{other:?}"), "{workload}");
        }
    }

    #[test]
    fn every_name_is_its_workload() {
        for workload in Workload::ALL {
            assert_eq!(workload.name().parse::<Workload>().unwrap(), workload);
        }
        assert!("G".parse::<Workload>().is_err());
    }

    #[test]
    fn rooms_have_the_shape_that_is_asked_for() {
        let room = Workload::A.room(500, 1, 1);
        assert_eq!((room.steps.len(), room.given), (2_000, 0));
        assert!((495..=504).contains(&room.keys.len()), "{}", room.keys.len());
        let room = Workload::D.room(2_000, 1, 1);
        assert_eq!((room.steps.len(), room.given, room.keys.len()), (101, 1, 2_000));
        let room = Workload::B.room(10, 1, 1);
        assert!(room.steps.len() == 100 && (5..=30).contains(&room.keys.len()));
        let room = Workload::C.room(2_000, 1, 1);
        let merges = room.steps.iter().filter(|step| step.second_parent > 0).count();
        // A merge for 50 changes of the trunk and 21 of both sides.
        assert!((95..=125).contains(&merges), "{merges}");
        let events: Vec<u64> = vec![u64::from(Workload::E.room(500, 1, 1).steps.len() as u32)];
        assert_eq!(events, [2_000]);
    }
}
