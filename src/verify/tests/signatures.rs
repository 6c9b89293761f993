//! What is read back still verifies: reference hashes and the signatures of the servers that made the rooms.

use std::{collections::BTreeMap, fs::File, io::Read};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ed25519_dalek::{Signature, VerifyingKey};
use flate2::read::MultiGzDecoder;

use super::support::{feed, server, views};
use crate::{
    Input, RoomServer, Ticket,
    encoding::{
        json::{Json, Object},
        pdu::Pdu,
        redaction::redact,
    },
    import_line,
};

type Keys = BTreeMap<(String, String), VerifyingKey>;

fn decode(text: &str) -> Vec<u8> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, config).decode(text).expect("base64")
}

fn keys(text: &str) -> Keys {
    let servers: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(text).expect("JSON");
    let mut keys = Keys::new();
    for (server, by_id) in servers {
        for (key_id, key) in by_id {
            let bytes: [u8; 32] = decode(&key).try_into().expect("32 bytes");
            keys.insert((server.clone(), key_id), VerifyingKey::from_bytes(&bytes).expect("a key"));
        }
    }
    keys
}

/// The signatures of an event whose keys are known; panics at one that does not verify.
fn verified(object: &Object, rules: &ruma_common::room_version_rules::RoomVersionRules, keys: &Keys) -> usize {
    let mut signed = object.clone();
    redact(&mut signed, &rules.redaction);
    let signatures = signed.remove("signatures").expect("every event is signed");
    let mut message = Vec::new();
    signed.write_canonical(&mut message);
    let mut count = 0;
    for (server, by_id) in signatures.as_object().expect("an object").iter() {
        for (key_id, signature) in by_id.as_object().expect("an object").iter() {
            let Some(key) = keys.get(&(server.to_owned(), key_id.to_owned())) else { continue };
            let signature = Signature::from_slice(&decode(signature.as_str().expect("text"))).expect("64 bytes");
            key.verify_strict(&message, &signature).expect("the signature does not verify");
            count += 1;
        }
    }
    count
}

/// The keys of the servers that made the rooms.
const KEYS: &str = include_str!("../../../tests/it/fixtures/keys.json");

/// What a store exports of its one room: whether it is what came, and verifies. Gives the number of lines.
fn check(server: &RoomServer, came: &BTreeMap<&str, &[u8]>, keys: &Keys) -> usize {
    let reader = server.view();
    let room = reader.rooms().expect("readable").remove(0);
    let rules = room.version().rules().expect("a known version");
    let (mut events, mut signatures) = (0, 0);
    room.records(&mut |record| {
        let event = &record.event;
        let came = Json::parse(came[event.event_id.as_str()]).expect("JSON");
        let came = Pdu::parse(came, &rules).expect("a PDU");
        let pdu = event.pdu.as_deref().expect("it has a body").as_bytes();
        assert_eq!(pdu, came.canonical_bytes(), "{}", event.event_id);
        let exported = Pdu::parse(Json::parse(pdu).expect("JSON"), &rules).expect("a PDU");
        assert_eq!(exported.event_id(), event.event_id.as_str());
        signatures += verified(exported.object(), &rules, keys);
        events += 1;
        Ok(true)
    })
    .expect("readable");
    assert!(signatures >= events, "{signatures} of {events}");
    events
}

#[test]
fn every_event_of_real_rooms_is_read_back_as_it_came_and_verifies() {
    let keys = keys(KEYS);
    let mut checked = 0;
    for view in views() {
        let (server, _store) = server();
        feed(&server, &view.inputs);
        let came = view.inputs.iter().map(|input| (input.event_id.as_str(), input.pdu.as_slice())).collect();
        checked += check(&server, &came, &keys);
    }
    assert!(checked >= 1863, "{checked}");
}

#[test]
fn every_event_of_the_example_rooms_is_read_back_as_it_came_and_verifies() {
    let keys = keys(KEYS);
    let rooms = [("big", 600), ("busy", 1327), ("forks-v1", 445), ("forks-v10", 471), ("forks-v12", 476)];
    for (name, expected) in rooms {
        let path = format!("{}/examples/rooms/{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
        let mut lines = String::new();
        MultiGzDecoder::new(File::open(path).expect("it is there")).read_to_string(&mut lines).expect("readable");
        let inputs: Vec<Input> = lines
            .lines()
            .map(|line| import_line::parse(line.as_bytes(), None).expect("a line of an export").input)
            .collect();
        let (server, _store) = server();
        for input in &inputs {
            server.submit(input.clone()).and_then(Ticket::wait).expect("decided");
        }
        let id = |input: &'_ Input| input.event_id.clone().expect("every line tells it");
        let ids: Vec<String> = inputs.iter().map(id).collect();
        let came = ids.iter().map(String::as_str).zip(inputs.iter().map(|input| &*input.pdu)).collect();
        assert_eq!(check(&server, &came, &keys), expected, "{name}");
    }
}

#[test]
fn a_signature_of_another_event_does_not_verify() {
    let view = views().swap_remove(0);
    let rules = view.inputs[0].room_version.as_str();
    let rules = ruma_common::RoomVersionId::try_from(rules).expect("known").rules().expect("known");
    let object = |place: usize| match Json::parse(&view.inputs[place].pdu).expect("JSON") {
        Json::Object(object) => object,
        other => panic!("{other:?}"),
    };
    let mut event = object(0);
    event.remove("unsigned");
    assert_eq!(verified(&event, &rules, &keys(KEYS)), 1);
    event.insert("depth", Json::Int(77));
    let verifies = std::panic::catch_unwind(|| verified(&event, &rules, &keys(KEYS)));
    assert!(verifies.is_err());
}
