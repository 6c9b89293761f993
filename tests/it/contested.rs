//! Rooms of people who disagree, on an engine and on a plain server beside it: for each input both tell the same, and
//! afterwards both have the same extremities, current state, and states around every event.
//!
//! The real rooms of `replay.rs` leave out much that other servers may send: events that are refused for one reason
//! only, prev events that were rejected or soft-failed, fans of twenty, gaps. `ROOMSERVER_ROOMS` sets how many rooms
//! each test plays (with few, what some tests ask for may be missing), `ROOMSERVER_SEED` where their seeds begin. A
//! failure is told with as few inputs as still show it.

mod acts;
mod holes;
mod pdu;
mod plain;
mod random;
#[path = "../../src/resolution/tests/text_v1.rs"]
mod resolution_v1;
mod rooms;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use roomserver::{Accepted, Fingerprint, FirstVerdict, Input, Outcome, RoomServer, query::Snapshot};
use ruma_common::{OwnedEventId, RoomVersionId};

use self::{
    pdu::In,
    plain::{Key, Plain, State, Told, Verdict},
    rooms::Room,
};
use crate::{
    exports,
    support::{open, server},
};

const VERSIONS: [RoomVersionId; 12] = [
    RoomVersionId::V1,
    RoomVersionId::V2,
    RoomVersionId::V3,
    RoomVersionId::V4,
    RoomVersionId::V5,
    RoomVersionId::V6,
    RoomVersionId::V7,
    RoomVersionId::V8,
    RoomVersionId::V9,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

/// How often each thing that the rooms are made for has happened.
#[derive(Debug, Default)]
struct Seen {
    inputs: usize,
    accepted: usize,
    soft_failed: usize,
    rejected: usize,
    parked: usize,
    duplicate: usize,
    merges: usize,
    widest: usize,
    on_refused: usize,
    outliers_rejected: usize,
}

impl Seen {
    fn look(&mut self, plain: &Plain) {
        for event in &plain.events {
            let refused = |id: &OwnedEventId| {
                plain.places.get(id).is_some_and(|&place| plain.events[place].verdict != Verdict::Accepted)
            };
            self.merges += usize::from(event.pdu.prev_events.len() > 1);
            self.widest = self.widest.max(event.pdu.prev_events.len());
            self.on_refused += usize::from(event.pdu.prev_events.iter().any(refused));
            self.outliers_rejected += usize::from(!event.in_graph() && event.verdict == Verdict::Rejected);
            match event.verdict {
                Verdict::Accepted => self.accepted += 1,
                Verdict::SoftFailed => self.soft_failed += 1,
                Verdict::Rejected => self.rejected += 1,
            }
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The seeds of a test that plays this many rooms.
fn seeds(rooms: u64) -> Range<u64> {
    let first = number("ROOMSERVER_SEED", 0);
    first..first + number("ROOMSERVER_ROOMS", rooms)
}

/// Plays rooms of all versions; `view` makes of a room what a server is given.
fn play(seeds: Range<u64>, make: impl Fn(&mut Room), view: impl Fn(&Room, u64) -> Vec<In>) -> Seen {
    let mut seen = Seen::default();
    for seed in seeds {
        let version = &VERSIONS[usize::try_from(seed).unwrap() % VERSIONS.len()];
        let mut room = Room::new(version, seed);
        make(&mut room);
        let inputs = view(&room, seed);
        if let Err(difference) = compare(version, &inputs, &mut seen) {
            let least = minimal(version, inputs);
            let difference = compare(version, &least, &mut seen).err().unwrap_or(difference);
            panic!("version {version}, seed {seed}: {difference}\nof these inputs:\n{}", listing(&least));
        }
    }
    seen
}

/// Leaves inputs out as long as a difference stays.
fn minimal(version: &RoomVersionId, mut inputs: Vec<In>) -> Vec<In> {
    let differs = |inputs: &[In]| {
        let told = std::panic::catch_unwind(|| compare(version, inputs, &mut Seen::default()));
        matches!(told, Ok(Err(_)))
    };
    let mut step = inputs.len() / 2;
    while step > 0 {
        let mut end = inputs.len();
        while end > 1 {
            let start = end.saturating_sub(step).max(1);
            let mut fewer = inputs.clone();
            fewer.drain(start..end);
            if differs(&fewer) {
                inputs = fewer;
            }
            end = start;
        }
        step /= 2;
    }
    inputs
}

fn listing(inputs: &[In]) -> String {
    let line = |input: &In| {
        let In { pdu, kind, state, local } = input;
        let state = state.as_ref().map_or(String::new(), |state| format!(" with state {state:?}"));
        format!(
            "{} {kind:?}{} {}{state}\n",
            pdu.id,
            if *local { " local" } else { "" },
            String::from_utf8_lossy(&pdu.bytes)
        )
    };
    inputs.iter().map(line).collect()
}

/// Gives the inputs to an engine and to a plain server.
fn compare(version: &RoomVersionId, inputs: &[In], seen: &mut Seen) -> Result<(), String> {
    let rules = version.rules().unwrap();
    let mut plain = Plain::new(rules);
    let (mut server, mut store) = server();
    for (at, input) in inputs.iter().enumerate() {
        if at % 16 == 15 {
            // What was cached is forgotten.
            server.close().unwrap();
            store = Arc::new(store.reopen());
            server = open(store.clone());
        }
        let (current, parked_before) = (plain.current, !plain.parked.is_empty());
        let mut submitted = Input::new(input.pdu.bytes.clone());
        submitted.kind = input.kind;
        submitted.state.clone_from(&input.state);
        submitted.local = input.local;
        submitted.room_version = Some(version.clone());
        let outcome = server.submit(submitted).and_then(roomserver::Ticket::wait);
        server.settle().unwrap();
        let expected = plain.take(input);
        let told = match &outcome {
            Ok(outcome) => told(outcome),
            Err(error) if error.kind() == roomserver::ErrorKind::Invalid => Told::Invalid,
            Err(error) => return Err(format!("input {at}, {}: {error}", input.pdu.id)),
        };
        if told != expected {
            return Err(format!("input {at}, {}: {outcome:?}, expected is {expected:?}", input.pdu.id));
        }
        if let Ok(Outcome::Accepted(accepted)) = &outcome
            && !parked_before
        {
            changes(&plain, current, accepted).map_err(|what| format!("input {at}, {}: {what}", input.pdu.id))?;
        }
        seen.inputs += 1;
        seen.parked += usize::from(matches!(told, Told::Parked { .. }));
        seen.duplicate += usize::from(matches!(told, Told::Duplicate(_)));
        heads(&server, &plain).map_err(|what| format!("after input {at}, {}: {what}", input.pdu.id))?;
    }
    seen.look(&plain);
    all_states(&server, &plain)?;
    let local: BTreeSet<&str> = inputs.iter().filter(|input| input.local).map(|input| input.pdu.id.as_str()).collect();
    exports::compare(&server, &|event_id| local.contains(event_id))?;
    let mut problems = Vec::new();
    server.verify(&mut |problem| problems.push(format!("{problem:?}"))).unwrap();
    if problems.is_empty() { Ok(()) } else { Err(format!("the store is not whole: {problems:?}")) }
}

/// What an event is said to have changed in the current state; it woke no parked input.
fn changes(plain: &Plain, before: usize, accepted: &Accepted) -> Result<(), String> {
    let [before, after] = [before, plain.current].map(|number| &plain.states[number]);
    let id = |place: Option<&usize>| place.map(|&place| plain.events[place].pdu.id.clone());
    let keys: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
    let keys = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    let expected: BTreeMap<_, _> = keys.map(|key| (key.clone(), (id(before.get(key)), id(after.get(key))))).collect();
    let told: BTreeMap<_, _> = accepted
        .changes
        .iter()
        .map(|change| {
            ((change.event_type.clone(), change.state_key.clone()), (change.before.clone(), change.after.clone()))
        })
        .collect();
    if told == expected { Ok(()) } else { Err(format!("the changes are {told:?}, expected are {expected:?}")) }
}

fn told(outcome: &Outcome) -> Told {
    let set = |ids: &[OwnedEventId]| ids.iter().cloned().collect::<BTreeSet<_>>();
    match outcome {
        Outcome::Accepted(_) => Told::Decided(Verdict::Accepted),
        Outcome::SoftFailed { .. } => Told::Decided(Verdict::SoftFailed),
        Outcome::Rejected { .. } => Told::Decided(Verdict::Rejected),
        Outcome::Duplicate { first, .. } => Told::Duplicate(match first {
            FirstVerdict::Accepted => Some(Verdict::Accepted),
            FirstVerdict::SoftFailed => Some(Verdict::SoftFailed),
            FirstVerdict::Rejected => Some(Verdict::Rejected),
            _ => None,
        }),
        Outcome::Parked(parked) => Told::Parked {
            prev: set(&parked.missing_prev),
            auth: set(&parked.missing_auth),
            state: set(&parked.missing_state),
        },
        other => panic!("{other:?}"),
    }
}

fn fingerprint(plain: &Plain, state: &State) -> Fingerprint {
    state.iter().fold(Fingerprint::EMPTY, |print, ((event_type, key), &place)| {
        print.with(Fingerprint::of_entry(event_type, key, plain.events[place].pdu.id.as_str()))
    })
}

/// Extremities, current state and what is parked.
fn heads(server: &RoomServer, plain: &Plain) -> Result<(), String> {
    let view = server.view();
    let rooms = view.rooms().unwrap();
    let [room] = rooms.as_slice() else { return Err("there is not one room".to_owned()) };
    let extremities: BTreeSet<OwnedEventId> = room.extremities().unwrap().into_iter().collect();
    let expected = plain.extremities.iter().map(|&place| plain.events[place].pdu.id.clone()).collect();
    if extremities != expected {
        return Err(format!("the extremities are {extremities:?}, expected are {expected:?}"));
    }
    if room.current_summary().0 != fingerprint(plain, &plain.states[plain.current]) {
        return Err(format!("the current state is {:?}", unlike(plain, &room.current_state(), plain.current)));
    }
    let parked: BTreeSet<OwnedEventId> = room.parked().unwrap().into_iter().map(|parked| parked.event_id).collect();
    let expected: BTreeSet<OwnedEventId> = plain.parked.values().map(|input| input.pdu.id.clone()).collect();
    if parked != expected {
        return Err(format!("parked are {parked:?}, expected are {expected:?}"));
    }
    Ok(())
}

/// The keys at which a state is not as expected.
fn unlike(plain: &Plain, state: &Snapshot, expected: usize) -> Vec<String> {
    let got: BTreeMap<_, _> = state
        .entries()
        .unwrap()
        .into_iter()
        .map(|entry| ((entry.event_type, entry.state_key), entry.event_id))
        .collect();
    let expected: BTreeMap<_, _> =
        plain.states[expected].iter().map(|(key, &place)| (key.clone(), plain.events[place].pdu.id.clone())).collect();
    let keys: BTreeSet<_> = got.keys().chain(expected.keys()).collect();
    let keys = keys.into_iter().filter(|key| got.get(*key) != expected.get(*key));
    keys.map(|key| format!("{key:?}: {:?}, expected is {:?}", got.get(key), expected.get(key))).collect()
}

/// Kind, verdict and the full states around every event.
fn all_states(server: &RoomServer, plain: &Plain) -> Result<(), String> {
    let view = server.view();
    let rooms = view.rooms().unwrap();
    let room = &rooms[0];
    let mut looked = BTreeSet::new();
    for expected in &plain.events {
        let id = expected.pdu.id.as_str();
        let event = room.event(id).unwrap().ok_or_else(|| format!("{id} is not stored"))?;
        let verdict = match crate::support::verdict_word(&event.verdict) {
            "accepted" => Verdict::Accepted,
            "soft_failed" => Verdict::SoftFailed,
            _ => Verdict::Rejected,
        };
        let got = (event.kind, verdict, event.state_supplied);
        let told = (expected.kind, expected.verdict, expected.supplied);
        if got != told {
            return Err(format!("{id} is {got:?} ({:?}), expected is {told:?}", event.reason));
        }
        for (what, got, expected) in
            [("before", event.state_before, expected.before), ("after", event.state_after, expected.after)]
        {
            match (got, expected) {
                (None, None) => {}
                (Some(got), Some(expected)) if !looked.insert((got, expected)) => {}
                (Some(got), Some(expected)) => {
                    let unlike = unlike(plain, &room.state(got).unwrap(), expected);
                    if !unlike.is_empty() {
                        return Err(format!("the state {what} {id} has {unlike:?}"));
                    }
                }
                _ => return Err(format!("the state {what} {id} is {got:?}, expected is {expected:?}")),
            }
        }
    }
    Ok(())
}

#[test]
fn contested_rooms_are_decided_as_by_a_plain_server() {
    let seen = play(seeds(120), |room| room.grow(80), |room, _| room.inputs.clone());
    assert!(seen.widest == 20 && seen.soft_failed > 0 && seen.rejected > 0 && seen.on_refused > 0, "{seen:?}");
}

#[test]
fn long_braids_and_wide_fans_are_decided_as_by_a_plain_server() {
    let make = |room: &mut Room| {
        room.braid(80);
        room.fan();
        room.fan();
    };
    let seen = play(seeds(24), make, |room, _| room.inputs.clone());
    assert!(seen.widest == 20 && seen.merges > 0, "{seen:?}");
}

#[test]
fn a_room_with_holes_is_decided_as_by_a_plain_server() {
    let view = |room: &Room, seed: u64| holes::late_view(room, seed ^ 0x5eed);
    let seen = play(seeds(120), |room| room.grow(60), view);
    assert!(seen.parked > 0 && seen.duplicate > 0 && seen.outliers_rejected > 0, "{seen:?}");
}

/// In this room an outlier that others build on is rejected in its place, and at that moment it is resolved against.
#[test]
fn an_outlier_that_is_rejected_in_its_place_counts_as_rejected_at_once() {
    play(20456..20457, |room| room.grow(60), |room, seed| holes::late_view(room, seed ^ 0x5eed));
}
