//! What can be asked of a state, on real rooms: every answer follows from the whole state.

use std::collections::{BTreeMap, BTreeSet};

use roomserver::query::{Room, Since, Snapshot};

use crate::support::{feed, server, views};

type Plain = BTreeMap<(String, String), String>;

fn plain(state: &Snapshot) -> Plain {
    let entries = state.entries().expect("readable").into_iter();
    entries.map(|entry| ((entry.event_type, entry.state_key), entry.event_id.to_string())).collect()
}

/// The states of a room that differ in number, oldest first; at most so many, evenly taken.
fn states(room: &Room, most: usize) -> Vec<Snapshot> {
    let mut ids = Vec::new();
    room.history(&mut |entry| {
        let event = room.event(entry.event.event_id.as_str()).expect("readable").expect("it is there");
        ids.extend([event.state_before, event.state_after].into_iter().flatten());
        Ok(true)
    })
    .expect("readable");
    ids.dedup();
    let every = ids.len().div_ceil(most).max(1);
    ids.into_iter().step_by(every).map(|id| room.state(id).expect("it is there")).collect()
}

#[test]
fn every_answer_about_a_state_follows_from_its_entries() {
    for view in views().into_iter().filter(|view| view.name.starts_with("forks")) {
        let (server, _) = server();
        feed(&server, &view.inputs);
        let reader = server.view();
        let room = reader.rooms().expect("readable").remove(0);
        let states = states(&room, 24);
        let plains: Vec<Plain> = states.iter().map(plain).collect();
        assert!(states.len() > 10, "{}", view.name);
        for (state, plain) in states.iter().zip(&plains) {
            assert_eq!((state.len().expect("readable"), state.is_empty()), (plain.len(), plain.is_empty()));
            let keys: Vec<(&str, &str)> = (plain.keys().map(|(event_type, key)| (event_type.as_str(), key.as_str())))
                .chain([("m.room.member", "@nobody:nowhere"), ("no.such.type", "")])
                .collect();
            let right: Vec<Option<&String>> =
                keys.iter().map(|(event_type, key)| plain.get(&((*event_type).into(), (*key).into()))).collect();
            let many = state.get_many(&keys).expect("readable");
            assert!(
                many.iter()
                    .map(Option::as_ref)
                    .map(|id| id.map(ToString::to_string))
                    .eq(right.iter().map(|id| id.cloned()))
            );
            for ((event_type, key), right) in keys.iter().zip(right) {
                let found = state.get(event_type, key).expect("readable");
                assert_eq!(found.map(|id| id.to_string()).as_ref(), right, "{event_type} {key}");
            }
            let types: BTreeSet<&str> = keys.iter().map(|key| key.0).collect();
            for event_type in types {
                let of_type = state.entries_of_type(event_type).expect("readable").into_iter();
                let right = plain.iter().filter(|(key, _)| key.0 == event_type);
                assert!(of_type.map(|entry| entry.state_key).eq(right.map(|(key, _)| key.1.clone())), "{event_type}");
            }
        }
        for (a, here) in states.iter().zip(&plains) {
            for (b, there) in states.iter().zip(&plains) {
                compare((a, here), (b, there));
            }
        }
    }
}

/// Their difference, what each set since they parted, and whether they are one state.
fn compare((a, here): (&Snapshot, &Plain), (b, there): (&Snapshot, &Plain)) {
    assert_eq!(a.is_same_state(b).expect("readable"), here == there);
    let keys: BTreeSet<_> = here.keys().chain(there.keys()).filter(|key| here.get(*key) != there.get(*key)).collect();
    let found = a.diff(b).expect("readable");
    assert_eq!(found.len(), keys.len());
    for (change, key) in found.iter().zip(&keys) {
        assert_eq!((&change.event_type, &change.state_key), (&key.0, &key.1));
        assert_eq!(change.before.as_ref().map(ToString::to_string), here.get(*key).cloned());
        assert_eq!(change.after.as_ref().map(ToString::to_string), there.get(*key).cloned());
    }
    let diverged = a.divergence(b).expect("readable").expect("near each other");
    let mut named = BTreeSet::new();
    for found in &diverged {
        let key = (found.event_type.clone(), found.state_key.clone());
        for (since, plain) in [(&found.here, here), (&found.there, there)] {
            match since {
                Since::Unchanged => {}
                Since::Set(event_id) => assert_eq!(plain.get(&key).map(String::as_str), Some(event_id.as_str())),
                Since::Removed => assert_eq!(plain.get(&key), None),
            }
        }
        assert!((&found.here, &found.there) != (&Since::Unchanged, &Since::Unchanged), "{key:?}");
        assert!(named.insert(key), "{found:?}");
    }
    assert!(keys.iter().all(|key| named.contains(*key)), "a key is missing");
}
