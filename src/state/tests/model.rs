//! Random histories against plain maps: changes, forks, merges, lists that are built late or in part, restarts, collections
//! that retain whatever they like, and purges after which a new room begins.
//!
//! `ROOMSERVER_MODEL_OPERATIONS` operations are made (10,000; `.ci/run` makes 100,000), from the seed
//! `ROOMSERVER_MODEL_SEED` (1). Many short histories and some long ones, since a snapshot of a long one costs a whole map
//! to compare.

use std::{collections::BTreeSet, env, rc::Rc};

use super::*;
use crate::{
    encoding::keys,
    kv::{Direction, Read},
    state::{
        difference::{Diverged, Since, differences, divergence},
        fingerprint, read,
    },
    tables::{BLOCKS, LISTS, PACKS},
};

/// What was made, and what it must be.
struct Model {
    site: Site,
    random: Random,
    /// By snapshot; the empty one is the first. `None` was collected, or is about to be.
    made: Vec<Option<Rc<Plain>>>,
    /// What events have, so that new ones can take it: not all that can be read.
    live: Vec<SnapshotNid>,
    /// Ends of branches.
    tips: Vec<SnapshotNid>,
    /// Some that a collection which has begun drops, sooner or later.
    doomed: Vec<(SnapshotNid, Rc<Plain>)>,
    /// That collection, and its next step.
    collecting: Option<(Plan, usize)>,
    /// A room that was purged, and has rows left.
    hidden: Option<RoomNid>,
    tally: Tally,
    /// Keys of this history are numbered below it.
    keys: usize,
    last_event: u32,
}

/// What a run had in it.
#[derive(Debug, Default)]
struct Tally {
    sealed: usize,
    collections: usize,
    collected: u64,
    lists: u64,
    blocks: u64,
    purges: usize,
}

/// Keys and length of a history that is long enough for several lists.
const LONG: (usize, usize) = (60, 9_000);

fn from_env(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn every_snapshot_of_a_random_history_reads_as_a_plain_map() {
    let operations = from_env("ROOMSERVER_MODEL_OPERATIONS", 10_000);
    let mut random = Random(from_env("ROOMSERVER_MODEL_SEED", 1) as u64);
    let mut done = 0;
    let mut tally = Tally::default();
    while done < operations {
        // Some rooms are small and long, so that lists are sealed and merged; some wide, so that changes are whole.
        let (keys, length) = [(20, 500), LONG, (700, 600), (1_500, 200)][random.below(4)];
        let mut model = Model::new(Random(random.next()), keys, tally);
        let length = length.min(operations - done);
        for step in 0..length {
            model.step();
            if step % 256 == 255 {
                model.compare_some();
            }
        }
        model.compare_all();
        model.tally.sealed += model.site.log.seals().len();
        tally = model.tally;
        done += length;
    }
    println!("{tally:?}");
    let Tally { sealed, collections, collected, lists, blocks, purges } = tally;
    let counts = [sealed, collections, collected as usize, lists as usize, blocks as usize, purges];
    assert!(!counts.contains(&0) || operations < 10_000, "something never happened: {tally:?}");
}

impl Model {
    fn new(random: Random, keys: usize, tally: Tally) -> Self {
        let mut model = Self {
            site: Site::new(),
            random,
            made: Vec::new(),
            live: Vec::new(),
            tips: Vec::new(),
            doomed: Vec::new(),
            collecting: None,
            hidden: None,
            tally,
            keys,
            last_event: 0,
        };
        model.begin();
        model
    }

    /// An empty room.
    fn begin(&mut self) {
        self.made = vec![Some(Rc::new(Plain::new()))];
        self.live = vec![SnapshotNid::EMPTY];
        self.tips = vec![SnapshotNid::EMPTY];
        self.collecting = None;
        self.last_event = 0;
    }

    fn plain(&self, snapshot: SnapshotNid) -> Rc<Plain> {
        self.made[snapshot.number() as usize].clone().expect("it was not collected")
    }

    fn is_readable(&self, snapshot: SnapshotNid) -> bool {
        self.made[snapshot.number() as usize].is_some()
    }

    /// A snapshot that a new event can take.
    fn any(&mut self) -> SnapshotNid {
        self.live[self.random.below(self.live.len())]
    }

    /// A snapshot that can be read: it was not collected.
    fn any_readable(&mut self) -> SnapshotNid {
        loop {
            let snapshot = SnapshotNid::new(u32::try_from(self.random.below(self.made.len())).unwrap());
            if self.is_readable(snapshot) {
                return snapshot;
            }
        }
    }

    fn tip(&mut self) -> usize {
        self.random.below(self.tips.len())
    }

    fn new_event(&mut self) -> EventNid {
        self.last_event += 1 + u32::try_from(self.random.below(20)).unwrap();
        event(self.last_event)
    }

    fn key(&mut self) -> StateTuple {
        let number = u32::try_from(self.random.below(self.keys)).unwrap();
        tuple(1 + number % 3, 1 + number * 37 % 10_007)
    }

    /// Stores a state and notes what it must be; gives its snapshot.
    fn store(&mut self, parent: SnapshotNid, second: Option<SnapshotNid>, after: Plain) -> SnapshotNid {
        let before = self.plain(parent);
        let unforked = self.tips.len() == 1;
        let last = self.site.log.last();
        let snapshot = self.site.append_merge(parent, second, &before, &after, unforked);
        if after == *before {
            assert_eq!((snapshot, self.site.log.last()), (parent, last), "an unchanged state took a number");
        } else {
            assert_eq!(snapshot.number() as usize, self.made.len());
            self.made.push(Some(Rc::new(after)));
            self.live.push(snapshot);
        }
        snapshot
    }

    fn step(&mut self) {
        match self.random.below(1000) {
            0..700 => self.change(1),
            700..760 => self.remove(),
            760..800 => self.fork(),
            800..860 => self.merge(),
            860..880 => self.apply_an_old_state(),
            880..884 => self.supply_a_state(),
            884..900 => self.backfill(),
            900..960 => {
                let changes = 2 + self.random.below(12);
                self.change(changes);
            }
            960..962 => self.change(600),
            962..970 => self.site.reopen(),
            970..984 => self.site.build(),
            984..988 => self.build_in_part(),
            988..993 => self.collect(),
            // Long rooms are to grow old enough for lists.
            993..995 if self.keys != LONG.0 || self.random.below(8) == 0 => self.purge(),
            _ => {
                let tip = self.tip();
                let same = self.plain(self.tips[tip]);
                self.tips[tip] = self.store(self.tips[tip], None, (*same).clone());
            }
        }
    }

    fn change(&mut self, changes: usize) {
        let tip = self.tip();
        let mut state = (*self.plain(self.tips[tip])).clone();
        for _ in 0..changes {
            let (key, event) = (self.key(), self.new_event());
            state.insert(key, event);
        }
        self.tips[tip] = self.store(self.tips[tip], None, state);
    }

    fn remove(&mut self) {
        let tip = self.tip();
        let mut state = (*self.plain(self.tips[tip])).clone();
        let place = self.random.below(state.len().max(1));
        if let Some(key) = state.keys().nth(place).copied() {
            state.remove(&key);
        }
        self.tips[tip] = self.store(self.tips[tip], None, state);
    }

    fn fork(&mut self) {
        if self.tips.len() < 20 {
            let tip = self.tip();
            self.tips.push(self.tips[tip]);
        }
    }

    /// All branches meet; what differs comes from any of them, or is gone.
    fn merge(&mut self) {
        if self.tips.len() < 2 {
            return;
        }
        let mut parents = self.tips.clone();
        parents.sort_unstable();
        parents.dedup();
        let states: Vec<Rc<Plain>> = parents.iter().map(|parent| self.plain(*parent)).collect();
        let found = differences(&self.site.states(), &parents).unwrap();
        let mut merged = (*states[0]).clone();
        let mut right = Vec::new();
        let mut keys: Vec<StateTuple> = states.iter().flat_map(|state| state.keys().copied()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let events: SmallVec<[Option<EventNid>; 4]> = states.iter().map(|state| state.get(&key).copied()).collect();
            if events.iter().all(|event| *event == events[0]) {
                continue;
            }
            match events[self.random.below(events.len())] {
                Some(event) => merged.insert(key, event),
                None => merged.remove(&key),
            };
            right.push((key, events));
        }
        let found: Vec<_> = found.into_iter().map(|found| (found.tuple, found.events)).collect();
        assert_eq!(found, right, "where {parents:?} differ");
        let nearest = (0..parents.len()).min_by_key(|place| changes(&states[*place], &merged).len()).unwrap();
        let second = parents.iter().copied().find(|other| *other != parents[nearest]);
        self.tips = vec![self.store(parents[nearest], second, merged)];
    }

    fn apply_an_old_state(&mut self) {
        let (tip, old) = (self.tip(), self.any());
        let state = (*self.plain(old)).clone();
        self.tips[tip] = self.store(self.tips[tip], None, state);
    }

    fn supply_a_state(&mut self) {
        let tip = self.tip();
        let mut state = Plain::new();
        for _ in 0..self.keys {
            let (key, event) = (self.key(), self.new_event());
            state.insert(key, event);
        }
        self.tips[tip] = self.store(self.tips[tip], None, state);
    }

    /// A change of an old state, which nothing goes on from.
    fn backfill(&mut self) {
        let old = self.any();
        let mut state = (*self.plain(old)).clone();
        let (key, event) = (self.key(), self.new_event());
        state.insert(key, event);
        self.store(old, None, state);
    }

    /// Builds the lists that are due but the newest, of which some blocks are written: its builder was cut off.
    fn build_in_part(&mut self) {
        let seals = self.site.log.seals().clone();
        let Some((newest, older)) = seals.split_last() else { return };
        for sealed in older.iter().filter(|sealed| !self.site.has_list(**sealed)) {
            self.site.write_list(*sealed, usize::MAX);
        }
        if !self.site.has_list(*newest) {
            self.site.write_list(*newest, 1);
        }
    }

    /// Begins a collection, or makes the next step of the one that has begun.
    fn collect(&mut self) {
        let Some((plan, place)) = self.collecting.take() else {
            self.plan();
            return;
        };
        if place < plan.steps() {
            self.site.sweep(&plan, place);
            self.compare_doomed();
            self.collecting = Some((plan, place + 1));
        } else {
            self.assert_collected(&plan);
        }
    }

    /// Retains the ends of the branches, and of the others all, some, or none.
    fn plan(&mut self) {
        let share = [0, 1, 10, 50, 90, 100][self.random.below(6)];
        let (tips, random) = (&self.tips, &mut self.random);
        self.live.retain(|snapshot| snapshot.is_empty() || tips.contains(snapshot) || random.below(100) < share);
        let mut plan = self.site.plan(&self.live);
        plan.find_events(&self.site.states()).unwrap();
        if self.live.len() < 64 {
            let retained =
                self.live.iter().flat_map(|snapshot| self.plain(*snapshot).values().copied().collect::<Vec<_>>());
            let retained: BTreeSet<u32> = retained.map(EventNid::number).collect();
            for number in 1..=self.last_event {
                assert_eq!(plan.in_states().has(number), retained.contains(&number), "event {number}");
            }
        }
        let mut dropped = 0;
        self.doomed.clear();
        for number in 1..self.made.len() {
            let snapshot = SnapshotNid::new(u32::try_from(number).unwrap());
            if plan.drops(snapshot) {
                assert!(!self.live.contains(&snapshot), "{snapshot:?} is retained");
                let Some(plain) = self.made[number].take() else { continue };
                dropped += 1;
                if self.random.below(100) == 0 {
                    self.doomed.push((snapshot, plain));
                }
            }
        }
        let (counted, _) = plan.counted();
        assert_eq!(counted.snapshots, dropped);
        self.tally.collections += 1;
        self.tally.collected += dropped;
        self.tally.lists += counted.lists;
        self.tally.blocks += counted.blocks;
        self.collecting = Some((plan, 0));
    }

    /// Between two steps a snapshot is gone, or reads as ever.
    fn compare_doomed(&self) {
        let states = self.site.states();
        for (snapshot, plain) in &self.doomed {
            if snapshot.number() > self.site.gone && !states.is_gone(*snapshot).unwrap() {
                let whole = read::collect(&states, *snapshot, None).unwrap();
                assert!(
                    whole.into_iter().eq(plain.iter().map(|(key, event)| (*key, *event))),
                    "{snapshot:?} is cut off"
                );
            }
        }
    }

    /// What a collection that is done has dropped is no state, and nothing that it would drop is left.
    fn assert_collected(&mut self, plan: &Plan) {
        let states = self.site.states();
        let key = tuple(1, 1);
        for number in 1..self.made.len() {
            let snapshot = SnapshotNid::new(u32::try_from(number).unwrap());
            if self.is_readable(snapshot) {
                continue;
            }
            let is_gone = snapshot.number() <= self.site.gone || states.is_gone(snapshot).unwrap();
            assert!(plan.drops(snapshot) && is_gone, "{snapshot:?} is left");
            assert!(read::get(&states, snapshot, key).is_err(), "{snapshot:?} at {key:?}");
            if number % 64 == 0 {
                assert!(read::collect(&states, snapshot, None).is_err(), "{snapshot:?} in full");
                assert!(differences(&states, &[snapshot, self.tips[0]]).is_err(), "{snapshot:?} against a tip");
            }
        }
    }

    /// Purges the room, and begins a new one beside what is left of it.
    fn purge(&mut self) {
        // What was hidden before is gone by now, or goes first.
        if let Some(hidden) = self.hidden.take() {
            self.site.purge(hidden);
            for table in [PACKS, LISTS, BLOCKS] {
                let mut found = 0;
                let visit = &mut |_: &[u8], _: &[u8]| {
                    found += 1;
                    Ok(true)
                };
                self.site
                    .store
                    .scan(table, &keys::room(hidden), &keys::room(hidden), Direction::Forward, visit)
                    .unwrap();
                assert_eq!(found, 0, "rows of {hidden:?} are left");
            }
            return;
        }
        self.compare_some();
        self.hidden = Some(self.site.begin_again());
        self.begin();
        self.tally.purges += 1;
    }

    fn compare_some(&mut self) {
        for _ in 0..6 {
            let (a, b) = (self.any_readable(), self.any_readable());
            self.compare(a);
            self.compare_difference(a, b);
            let before = SnapshotNid::new(a.number().saturating_sub(1));
            if self.is_readable(before) {
                self.compare_difference(before, a);
            }
        }
    }

    fn compare_all(&mut self) {
        for number in 0..self.made.len() {
            let snapshot = SnapshotNid::new(u32::try_from(number).unwrap());
            if self.is_readable(snapshot) {
                self.compare(snapshot);
                let other = self.any_readable();
                self.compare_difference(other, snapshot);
            }
        }
    }

    fn compare(&mut self, snapshot: SnapshotNid) {
        let plain = self.plain(snapshot);
        let mut keys: Vec<StateTuple> = (0..12).map(|_| self.key()).collect();
        let states = self.site.states();
        let right = |key: &StateTuple| plain.get(key).copied();
        let whole = read::collect(&states, snapshot, None).unwrap();
        assert!(whole.into_iter().eq(plain.iter().map(|(key, event)| (*key, *event))), "{snapshot:?} in full");
        for key in keys.iter().take(4) {
            assert_eq!(read::get(&states, snapshot, *key).unwrap(), right(key), "{snapshot:?} at {key:?}");
        }
        keys.push(tuple(2, 1_000_000));
        let many = read::get_many(&states, snapshot, &keys).unwrap();
        assert_eq!(many, keys.iter().map(right).collect::<Vec<_>>(), "{snapshot:?} at {keys:?}");
        let wanted = keys[0].event_type;
        let of_type = read::collect(&states, snapshot, Some(wanted)).unwrap();
        let right = plain.iter().filter(|(key, _)| key.event_type == wanted).map(|(key, event)| (*key, *event));
        assert!(of_type.into_iter().eq(right), "{snapshot:?} of type {wanted:?}");
        if snapshot.number().is_multiple_of(16) {
            assert_eq!(fingerprint::summary(&states, &Names, snapshot).unwrap(), summary(&plain), "{snapshot:?}");
        }
    }

    fn compare_difference(&self, a: SnapshotNid, b: SnapshotNid) {
        let found = differences(&self.site.states(), &[a, b]).unwrap();
        let found: Vec<Changed> =
            found.into_iter().map(|found| (found.tuple, found.events[0], found.events[1])).collect();
        assert_eq!(found, changes(&self.plain(a), &self.plain(b)), "{a:?} against {b:?}");
        let Some(diverged) = divergence(&self.site.states(), [a, b]).unwrap() else { return };
        let base = self.plain(diverged.ancestor);
        for Diverged { tuple, sides } in &diverged.keys {
            for (since, snapshot) in sides.iter().zip([a, b]) {
                let event = match since {
                    Since::Unchanged => base.get(tuple).copied(),
                    Since::Set(event) => Some(*event),
                    Since::Removed => None,
                };
                assert_eq!(event, self.plain(snapshot).get(tuple).copied(), "{snapshot:?} at {tuple:?}");
            }
        }
        let all = |key| diverged.keys.binary_search_by_key(&key, |diverged| diverged.tuple).is_ok();
        assert!(found.iter().all(|changed| all(changed.0)), "{a:?} against {b:?}: a key is missing");
    }
}
