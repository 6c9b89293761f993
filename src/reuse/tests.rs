//! Guards against a layout that is measured while it answers wrongly.

use proptest::prelude::*;

use super::{
    history::History,
    layout::Changed,
    questions::{Draw, Questions},
    *,
};
use crate::{
    generate::random::Random,
    ids::RoomNid,
    kv::{Batch, Store, memory::MemoryStore},
};

/// A room with removals, forks of forks and merges, in which everything is small.
fn history(seed: u64, steps: u32) -> History {
    let mut random = Random::new(seed);
    let mut history = History::default();
    let mut heads = vec![0];
    let mut states = vec![std::collections::BTreeMap::new()];
    for event in 1..=steps {
        let head = random.place(heads.len());
        let parent = heads[head];
        let mut state: std::collections::BTreeMap<u32, u32> = states[parent as usize].clone();
        let is_merge = heads.len() > 1 && random.below(6) == 0;
        let second = if is_merge { heads[(head + 1) % heads.len()] } else { 0 };
        let mut changes = std::collections::BTreeMap::new();
        if is_merge {
            // What the other side has, one time in two.
            for (key, event) in states[second as usize].clone() {
                if state.get(&key) != Some(&event) && random.below(2) == 0 {
                    changes.insert(key, event);
                }
            }
            for key in state.keys().copied().collect::<Vec<_>>() {
                if !states[second as usize].contains_key(&key) && random.below(2) == 0 {
                    changes.insert(key, 0);
                }
            }
        }
        // No two keys of a room have the same event.
        for nth in 0..if is_merge { u64::from(changes.is_empty()) } else { 1 + random.below(3) / 2 } {
            let key = u32::try_from(1 + random.below(60)).unwrap();
            let key = if key < 5 { key } else { 995 + key * key };
            let is_removal = state.contains_key(&key) && random.below(4) == 0;
            changes.insert(key, if is_removal { 0 } else { event * 7 + u32::try_from(nth).unwrap() });
        }
        for (key, event) in &changes {
            if *event == 0 {
                state.remove(key)
            } else {
                state.insert(*key, *event)
            };
        }
        let snapshot = history.push(parent, second, heads.len() == 1, changes);
        states.push(state);
        if is_merge {
            heads[head] = snapshot;
            heads.retain(|head| *head != second);
        } else if heads.len() < 3 && random.below(8) == 0 {
            heads.push(snapshot);
        } else {
            heads[head] = snapshot;
        }
    }
    history.finish();
    history
}

/// Replays a history into a layout and holds every answer against the truth.
fn check(kind: LayoutKind, histories: &[History]) {
    let mut layout = kind.layout(Workload::A);
    let store = MemoryStore::open(&layout.tables());
    let rooms = u32::try_from(histories.len()).unwrap();
    let counts = Counts { points: 300, full: 100, neighbours: 200, forks: 200 };
    let (mut draw, mut questions) = (Draw::new(counts, rooms, 5), Questions::default());
    for (number, history) in (1..).zip(histories) {
        let room = RoomNid::new(number).unwrap();
        let held = layout.begin(room, history).unwrap();
        let drawn = draw.room(room, history, held.as_deref());
        let replayed = history.replay(&mut |change, done| {
            let mut batch = Batch::default();
            layout.append(&store, change, &mut batch)?;
            store.write(batch)?;
            layout.appended(done);
            draw.ask(room, &drawn, change, &mut questions);
            Ok(())
        });
        replayed.unwrap();
    }
    for (at, key, right) in &questions.points {
        assert_eq!(layout.get(&store, *at, *key).unwrap(), *right, "{kind:?}: key {key} of {at:?}");
    }
    for (at, right) in &questions.full {
        assert_eq!(layout.full(&store, *at).unwrap(), *right, "{kind:?}: {at:?}");
        for (key, event) in right {
            assert_eq!(layout.get(&store, *at, *key).unwrap(), Some(*event), "{kind:?}: key {key} of {at:?}");
        }
    }
    for question in questions.neighbours.iter().chain(&questions.forks) {
        let given = layout.differences(&store, question.room, question.from, question.to).unwrap();
        let fill = |(given, right): (&Changed, &Changed)| Changed { before: given.before.or(right.before), ..*given };
        let filled: Vec<Changed> = given.iter().zip(&question.changed).map(fill).collect();
        assert_eq!((given.len(), filled), (question.changed.len(), question.changed.clone()), "{kind:?}: {question:?}");
    }
    let blocks = layout.blocks(&store).unwrap();
    assert!(blocks.shared <= blocks.all, "{kind:?}: {blocks:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn every_layout_answers_as_the_truth_does(seed: u64, steps in 1u32..700) {
        for kind in LayoutKind::ALL {
            check(kind, &[history(seed, steps), history(seed ^ 1, steps / 2 + 1)]);
        }
    }
}

#[test]
fn every_workload_is_answered_by_every_layout() {
    for workload in Workload::ALL {
        let size = if workload == Workload::B { 5 } else { 300 };
        let rooms: Vec<History> = (1..=workload.rooms(size)).map(|room| workload.room(size, room, 1)).collect();
        for kind in LayoutKind::ALL {
            check(kind, &rooms);
        }
    }
}

#[test]
fn a_workload_is_measured() {
    let scratch = tempfile::tempdir().unwrap();
    let settings = Settings {
        workload: Workload::C,
        size: 300,
        seed: 1,
        questions: Counts { points: 20, full: 3, neighbours: 5, forks: 5 },
        scratch: scratch.path(),
    };
    for kind in LayoutKind::ALL {
        let measured = measure(&settings, kind, &mut |_, _| {}).unwrap();
        assert!(measured.changes > 1_200 && measured.bytes_per_change > 1.0, "{measured:?}");
        assert!(measured.fork_diff.unwrap().rows >= 1.0, "{measured:?}");
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}
