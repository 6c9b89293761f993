//! A benchmark of events that the engine refuses, or that differ from run to run, measures nothing.

use std::{collections::BTreeSet, sync::Arc};

use sha2::{Digest as _, Sha256};

use super::{
    random::{Random, Zipf},
    *,
};
use crate::{
    encoding::json::Json,
    input::Durability,
    kv::memory::MemoryStore,
    room::outcome::{Input, Outcome},
    server::{Options, RoomServer},
    tables::specs,
};

const VERSIONS: [RoomVersionId; 6] = [
    RoomVersionId::V1,
    RoomVersionId::V3,
    RoomVersionId::V6,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

fn server() -> RoomServer {
    let options = Options { writers: 1, durability: Durability::Buffered, ..Options::default() };
    RoomServer::open_on(Arc::new(MemoryStore::open(&specs())), &options).unwrap()
}

fn accept(server: &RoomServer, generated: &Generated) {
    match server.submit(Input::new(generated.pdu.clone())).unwrap().wait() {
        Ok(Outcome::Accepted(accepted)) => assert_eq!(accepted.event_id.as_str(), generated.event_id),
        other => panic!("{other:?} for {}", String::from_utf8_lossy(&generated.pdu)),
    }
}

/// A busy spec: much state, many forks.
fn busy(version: RoomVersionId) -> Spec {
    let forks = Some(Forks { every: 10, length: 8, lines: 4 });
    Spec { version, members: 30, state_per_mille: 500, forks, ..Spec::default() }
}

#[test]
fn every_event_is_accepted_as_it_is_and_makes_the_expected_state() {
    for version in VERSIONS {
        let server = server();
        let mut room = Room::new(busy(version.clone())).unwrap();
        let id = room.id().to_owned();
        let mut merges = 0;
        for generated in room.by_ref().take(600) {
            accept(&server, &generated);
            let view = server.view();
            let stored = view.room(&id).unwrap().unwrap();
            let event = stored.event(&generated.event_id).unwrap().unwrap();
            // An event with a wrong hash would be accepted too, without its content.
            assert_eq!(event.pdu.as_deref().map(str::as_bytes), Some(&*generated.pdu), "version {version}");
            merges += usize::from(event.prev_events.len() > 1);
        }
        assert!(merges > 10, "{merges} merges in version {version}");

        let view = server.view();
        let stored = view.room(&id).unwrap().unwrap();
        let current: BTreeSet<_> = stored
            .current_state()
            .entries()
            .unwrap()
            .into_iter()
            .map(|entry| (entry.event_type, entry.state_key, entry.event_id.to_string()))
            .collect();
        assert_eq!(current, room.state().into_iter().collect(), "version {version}");
        assert!(current.len() > 40, "{} keys", current.len());
    }
}

#[test]
fn chosen_acts_are_accepted_on_both_sides_of_a_fork() {
    for version in VERSIONS {
        let server = server();
        let mut room = Room::new(Spec { version, members: 5, ..Spec::default() }).unwrap();
        let mut events = room.starting_state();
        let (moderator, troll) = (room.member(1), room.member(2));
        events.push(room.power_level(TRUNK, moderator, 50));
        events.push(room.ban(TRUNK, troll));
        room.fork(2);
        for line in [0, 1] {
            let newcomer = room.new_user();
            let member = room.member(3);
            events.extend([
                room.topic(line),
                room.profile(line, member),
                room.join(line, newcomer),
                room.message(line, newcomer),
            ]);
        }
        events.push(room.merge(moderator));
        let gone = room.member(4);
        events.push(room.leave(TRUNK, gone));
        for event in &events {
            accept(&server, event);
        }
        let last = events.last().unwrap();
        let view = server.view();
        let stored = view.room(room.id()).unwrap().unwrap();
        assert_eq!(stored.extremities().unwrap(), [last.event_id.as_str()]);
        let members = stored.member_counts().unwrap();
        assert_eq!((members.join, members.leave, members.ban), (5, 1, 1));
    }
}

#[test]
fn the_starting_state_can_be_supplied_with_outliers() {
    let server = server();
    let mut room = Room::new(Spec { members: 20, ..Spec::default() }).unwrap();
    for event in room.starting_state() {
        let outcome = server.submit(Input::outlier(event.pdu)).unwrap().wait().unwrap();
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }
    let state: Vec<_> = room.state().into_iter().map(|(_, _, id)| id.try_into().unwrap()).collect();
    assert_eq!(state.len(), 25);
    let message = room.message(TRUNK, room.member(7));
    let input = Input { state: Some(state), ..Input::new(message.pdu) };
    let outcome = server.submit(input).unwrap().wait().unwrap();
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    assert_eq!(server.view().room(room.id()).unwrap().unwrap().current_summary().1, 25);
}

#[test]
fn a_seed_makes_the_same_bytes_in_every_build() {
    let digest = |version, seed| {
        let mut hasher = Sha256::new();
        for generated in Room::new(Spec { seed, ..busy(version) }).unwrap().take(200) {
            hasher.update(generated.event_id);
            hasher.update(generated.pdu);
        }
        let digest: [u8; 8] = hasher.finalize()[..8].try_into().unwrap();
        format!("{:016x}", u64::from_be_bytes(digest))
    };
    assert_eq!(digest(RoomVersionId::V1, 1), "dcc63ab612ed4725");
    assert_eq!(digest(RoomVersionId::V10, 1), "036a46781fb45730");
    assert_eq!(digest(RoomVersionId::V12, 1), "459d15936735c1c3");
    assert_ne!(digest(RoomVersionId::V10, 2), digest(RoomVersionId::V10, 1));
}

#[test]
fn state_events_are_as_many_as_asked_for() {
    let room = Room::new(Spec { members: 50, state_per_mille: 100, ..Spec::default() }).unwrap();
    let is_state = |generated: &Generated| {
        let json = Json::parse(&generated.pdu).unwrap();
        json.as_object().unwrap().get("state_key").is_some()
    };
    let states = room.skip(55).take(2000).filter(is_state).count();
    assert!((150..=250).contains(&states), "{states} of 2000");
}

#[test]
fn random_numbers_are_those_of_splitmix64() {
    // The reference implementation's first outputs for seed 1234567.
    let mut random = Random::new(1_234_567);
    let numbers = [(); 3].map(|()| random.number());
    assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
}

#[test]
fn the_first_rank_is_drawn_twice_as_often_as_the_second() {
    let mut random = Random::new(1);
    let mut zipf = Zipf::default();
    for _ in 0..100 {
        zipf.push();
    }
    let mut counts = [0u32; 100];
    for _ in 0..100_000 {
        counts[zipf.draw(&mut random)] += 1;
    }
    let ratio = f64::from(counts[0]) / f64::from(counts[1]);
    assert!((1.9..2.1).contains(&ratio), "{ratio}");
    assert!(counts[99] > 0);
}
