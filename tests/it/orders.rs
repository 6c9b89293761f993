//! The order of arrival decides nothing but soft failures and what is current: in any order in which parents precede
//! children, the states around each event and whether it is rejected are the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, test_runner::TestRunner};
use roomserver::{Fingerprint, Kind};
use serde_json::Value;

use crate::support::{View, ViewInput, feed, server, verdict_word, views};

/// What must not depend on the order.
#[derive(Debug, PartialEq)]
struct Answers {
    events: BTreeMap<String, (bool, Option<Fingerprint>, Option<Fingerprint>)>,
    /// The current state, where one event has all others as ancestors and is an extremity.
    current: Option<Fingerprint>,
}

fn answers(inputs: &[&ViewInput], last: Option<&str>) -> Answers {
    let (server, _) = server();
    for outcome in feed(&server, inputs.iter().copied()) {
        outcome.expect("decided");
    }
    let view = server.view();
    let rooms = view.rooms().expect("readable");
    let mut events = BTreeMap::new();
    rooms[0]
        .history(&mut |entry| {
            let rejected = verdict_word(&entry.event.verdict) == "rejected";
            events.insert(entry.event.event_id.to_string(), (rejected, entry.state_before, entry.state_after));
            Ok(true)
        })
        .expect("readable");
    let extremities = rooms[0].extremities().expect("readable");
    let is_last = matches!(extremities.as_slice(), [only] if Some(only.as_str()) == last);
    Answers { events, current: is_last.then(|| rooms[0].current_summary().0) }
}

/// The events that an event names, of those that are in the view.
fn parents(view: &View) -> Vec<BTreeSet<usize>> {
    let places: BTreeMap<&str, usize> =
        view.inputs.iter().enumerate().map(|(place, input)| (input.event_id.as_str(), place)).collect();
    view.inputs
        .iter()
        .map(|input| {
            let pdu: Value = serde_json::from_slice(&input.pdu).expect("JSON");
            let named = ["prev_events", "auth_events"].into_iter().filter_map(|field| pdu[field].as_array());
            let id = |reference: &Value| reference.as_str().or(reference[0].as_str()).map(str::to_owned);
            named.flatten().filter_map(id).filter_map(|id| places.get(id.as_str()).copied()).collect()
        })
        .collect()
}

/// An order in which parents precede children, made of random choices.
fn order(parents: &[BTreeSet<usize>], choices: &[prop::sample::Index]) -> Vec<usize> {
    let mut lacks: Vec<usize> = parents.iter().map(BTreeSet::len).collect();
    let mut children = vec![Vec::new(); parents.len()];
    for (child, parents) in parents.iter().enumerate() {
        parents.iter().for_each(|parent| children[*parent].push(child));
    }
    let mut ready: Vec<usize> = (0..parents.len()).filter(|place| lacks[*place] == 0).collect();
    let mut order = Vec::new();
    while !ready.is_empty() {
        let choice = choices[order.len() % choices.len()].index(ready.len());
        let next = ready.swap_remove(choice);
        order.push(next);
        for child in &children[next] {
            lacks[*child] -= 1;
            if lacks[*child] == 0 {
                ready.push(*child);
            }
        }
    }
    order
}

fn check(name: &str, cases: u32) {
    let Some(view) = views().into_iter().find(|view| view.name == name) else { return };
    assert!(view.inputs.iter().all(|input| input.kind == Kind::New), "a view without holes");
    let parents = parents(&view);
    let named: BTreeSet<usize> = parents.iter().flatten().copied().collect();
    let ends: Vec<usize> = (0..view.inputs.len()).filter(|place| !named.contains(place)).collect();
    let last = match ends.as_slice() {
        [only] => Some(view.inputs[*only].event_id.as_str()),
        _ => None,
    };
    let in_order: Vec<&ViewInput> = view.inputs.iter().collect();
    let told = answers(&in_order, last);
    let mut runner = TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let choices = prop::collection::vec(any::<prop::sample::Index>(), 64);
    let outcome = runner.run(&choices, |choices| {
        let order = order(&parents, &choices);
        prop_assert_eq!(order.len(), view.inputs.len());
        let shuffled: Vec<&ViewInput> = order.iter().map(|place| &view.inputs[*place]).collect();
        let got = answers(&shuffled, last);
        for (event_id, answer) in &told.events {
            prop_assert_eq!(Some(answer), got.events.get(event_id), "{}", event_id);
        }
        if let (Some(told), Some(got)) = (told.current, got.current) {
            prop_assert_eq!(told, got);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{name}: {error}");
    }
}

/// How many orders of each room are tried; a release is checked with `ROOMSERVER_ORDERS=334`.
fn orders() -> u32 {
    std::env::var("ROOMSERVER_ORDERS").ok().and_then(|orders| orders.parse().ok()).unwrap_or(8)
}

#[test]
fn any_order_gives_the_same_states_in_a_room_of_version_1() {
    check("forks-v1.a", orders());
}

#[test]
fn any_order_gives_the_same_states_in_a_room_of_version_10() {
    check("forks-v10.a", orders());
}

#[test]
fn any_order_gives_the_same_states_in_a_room_of_version_12() {
    check("forks-v12.a", orders());
}
