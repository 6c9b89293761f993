//! Every event comes back byte for byte: those of a corpus and of rooms of every version out of a store, and odd ones.
//!
//! `ROOMSERVER_CASES` sets how many of each are tried at least; a release is checked with 1,000,000.

use std::sync::Arc;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma_common::{RoomVersionId, room_version_rules::RoomVersionRules};

use super::{
    Event, Events,
    stores::{fill, read_back},
};
use crate::{
    encoding::{
        json::{Json, Object},
        pdu::CanonicalEvent,
        redaction::redact,
    },
    fuzzing,
    generate::{Forks, Generated, Room, Spec, corpus::Corpus, random::Random},
    kv::{Store, memory::MemoryStore},
    tables::specs,
};

/// Events of one store, so that memory stays bounded.
const AT_ONCE: u32 = 25_000;

fn cases() -> u32 {
    std::env::var("ROOMSERVER_CASES").map_or(30_000, |cases| cases.parse().unwrap())
}

/// How many events a store must be given yet.
fn left(tried: usize) -> u32 {
    (cases() - u32::try_from(tried).unwrap()).min(AT_ONCE)
}

/// Puts events into a store and gives how many there are: all of them are read back as they came.
fn assert_comes_back(events: &Events) -> usize {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::open(&specs()));
    fill(&store, events).unwrap();
    let read = read_back(&store, events).unwrap();
    assert_eq!(read, events.events.len(), "{}", events.name);
    read
}

#[test]
fn every_event_of_a_corpus_is_read_back_as_it_came() {
    let (mut seed, mut same) = (100, 0);
    while same < cases() as usize {
        let mut events = Events::generated(seed, left(same)).unwrap();
        events.name = format!("corpus of seed {seed}");
        same += assert_comes_back(&events);
        seed += 1;
    }
    println!("{same} events read back as they came");
}

/// A room with forks, where every kind of reference occurs.
fn room(version: u8, seed: u64, events: u32) -> Events {
    let version = RoomVersionId::try_from(version.to_string()).unwrap();
    let name = format!("room of version {version} and seed {seed}");
    let forks = Some(Forks { every: 20, length: 4, lines: 3 });
    let mut room = Room::new(Spec { version: version.clone(), seed, forks, ..Spec::default() }).unwrap();
    let event = |made: Generated| Event { room: 0, class: None, pdu: made.pdu };
    let events = room.by_ref().take(events as usize).map(event).collect();
    Events { name, rooms: vec![(room.id().to_owned(), version)], events }
}

#[test]
fn every_event_of_a_room_of_each_version_is_read_back_as_it_came() {
    let (mut seed, mut same) = (100, 0);
    while same < cases() as usize {
        let events = left(same).div_ceil(12).max(100);
        same += (1..=12).map(|version| assert_comes_back(&room(version, seed, events))).sum::<usize>();
        seed += 1;
    }
    println!("{same} events read back as they came");
}

#[test]
fn an_event_that_was_changed_in_the_store_is_not_taken_for_the_one_that_came() {
    let mut events = Events::generated(5, 800).unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::open(&specs()));
    fill(&store, &events).unwrap();
    let last = events.events.last_mut().unwrap();
    last.pdu.push(b' ');
    assert_eq!(read_back(&store, &events).unwrap(), events.events.len() - 1);
}

#[test]
fn odd_events_of_every_room_version_come_back() {
    let (mut seed, mut tried) = (1_000_000, 0);
    while tried < cases() {
        let mut random = Random::new(seed);
        for sample in Corpus::new(seed, left(tried as usize)).unwrap() {
            let version = *random.choose(&[1, 2, 3, 6, 10, 11, 12]).unwrap();
            let event = odd(&sample.event.pdu, version, &mut random);
            let mut bytes = vec![version - 1];
            event.write_canonical(&mut bytes);
            assert!(fuzzing::pdu(&bytes), "version {version}: {}", String::from_utf8_lossy(&bytes[1..]));
            tried += 1;
        }
        seed += 1;
    }
    println!("{tried} odd events come back");
}

fn parse(json: &[u8]) -> Object {
    match Json::parse(json).unwrap() {
        Json::Object(object) => object,
        other => panic!("{other:?}"),
    }
}

/// An event as one of another room version, with something that is seldom seen.
fn odd(pdu: &[u8], version: u8, random: &mut Random) -> Object {
    let rules = RoomVersionId::try_from(version.to_string()).unwrap().rules().unwrap();
    let mut event = parse(pdu);
    let server = event.get_str("sender").unwrap().split_once(':').unwrap().1.to_owned();
    for key in ["auth_events", "prev_events"] {
        let ids = event.get_array(key).unwrap().iter().map(|id| reference(id.as_str().unwrap(), version, random));
        let ids = ids.collect();
        event.insert(key, Json::Array(ids));
    }
    if version < 3 {
        let own = URL_SAFE_NO_PAD.encode(random.bytes::<12>());
        event.insert("event_id", Json::String(format!("${own}:{server}").into()));
        event.insert("origin", server.as_str().into());
        event.insert("prev_state", Json::Array(Vec::new()));
    }
    let is_create = event.get_str("type") == Some("m.room.create");
    match (version, is_create) {
        (12, true) => drop(event.remove("room_id")),
        (12, false) => {
            let hash = URL_SAFE_NO_PAD.encode(random.bytes::<32>());
            event.insert("room_id", Json::String(format!("!{hash}").into()));
        }
        _ => {}
    }
    if version < 11
        && let Some(redacts) = event.get_object("content").unwrap().get("redacts").cloned()
    {
        event.insert("redacts", redacts);
    }
    let change = random.below(12);
    put_oddity(&mut event, change, version, &server);
    let hash = STANDARD_NO_PAD.encode(CanonicalEvent::new(&event).content_hash());
    event.insert("hashes", Json::Object(parse(format!(r#"{{"sha256":"{hash}"}}"#).as_bytes())));
    spoil(&mut event, change, &rules, random);
    event
}

/// A reference as the room version spells it.
fn reference(event_id: &str, version: u8, random: &mut Random) -> Json {
    match version {
        1 | 2 => {
            let hash = STANDARD_NO_PAD.encode(random.bytes::<32>());
            let hashes = match random.below(3) {
                0 => "{}".to_owned(),
                _ => format!(r#"{{"sha256":"{hash}"}}"#),
            };
            let local = event_id.get(1..13).unwrap();
            Json::parse(format!(r#"["${local}:a.example",{hashes}]"#).as_bytes()).unwrap()
        }
        3 => Json::String(event_id.replace('-', "+").replace('_', "/").into()),
        _ => event_id.into(),
    }
}

/// What the content hash covers.
fn put_oddity(event: &mut Object, change: u64, version: u8, server: &str) {
    let mut content = event.get_object("content").unwrap().clone();
    match change {
        0 => drop(event.insert("membership", "join".into())),
        1 => drop(event.insert("zz.unknown", Json::Array(vec![Json::Null, Json::Object(content.clone())]))),
        2 => drop(event.insert("origin", "other.example".into())),
        3 => drop(event.insert("origin", server.into())),
        4 if version < 6 => {
            let numbers = br#"{"n":[0.1,-0.0,1e-7,1e300,1.0,123456789012345678901234567890,-9223372036854775808]}"#;
            content.insert("numbers", Json::Object(parse(numbers)));
        }
        4 => drop(content.insert("numbers", Json::Array([1 << 52, -(1 << 52), 0].map(Json::Int).to_vec()))),
        5 => drop(content.insert("", "\u{0}\u{1f}\"\\/\u{7f}\u{2028}\u{10ffff}".into())),
        6 if event.get_str("type") != Some("m.room.create") => {
            drop(event.insert("state_key", event.get_str("sender").unwrap().into()));
        }
        _ => {}
    }
    event.insert("content", Json::Object(content));
}

/// What it does not cover, or what makes it wrong.
fn spoil(event: &mut Object, change: u64, rules: &RoomVersionRules, random: &mut Random) {
    let mut signatures = event.get_object("signatures").unwrap().clone();
    match change {
        7 => {
            let hash = STANDARD_NO_PAD.encode(random.bytes::<32>());
            event.insert("hashes", Json::Object(parse(format!(r#"{{"sha256":"{hash}"}}"#).as_bytes())));
        }
        8 => redact(event, &rules.redaction),
        9 => {
            let hash = event.get_object("hashes").unwrap().get("sha256").unwrap().clone();
            let hashes = [("md5".into(), "AAAA".into()), ("sha256".into(), hash)];
            event.insert("hashes", Json::Object(hashes.into_iter().collect()));
        }
        10 => {
            let key = format!(r#"{{"ed25519:x":"{}","rsa:1":"not base64!"}}"#, STANDARD_NO_PAD.encode([7; 64]));
            signatures.insert("elsewhere.example", Json::Object(parse(key.as_bytes())));
        }
        11 => {
            // 64 bytes with spare bits that are set: another text than theirs.
            let signature = format!("{}B", "A".repeat(85));
            let server = event.get_str("sender").unwrap().split_once(':').unwrap().1.to_owned();
            signatures.insert(server, Json::Object(parse(format!(r#"{{"ed25519:1":"{signature}"}}"#).as_bytes())));
        }
        _ => {}
    }
    event.insert("signatures", Json::Object(signatures));
}
