//! What is read back still verifies: reference hashes and the signatures of the servers that made the rooms.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ed25519_dalek::{Signature, VerifyingKey};

use super::support::{feed, server, shared_data, views};
use crate::encoding::{
    json::{Json, Object},
    pdu::Pdu,
    redaction::redact,
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

#[test]
fn every_event_of_real_rooms_is_read_back_as_it_came_and_verifies() {
    let path = shared_data().map(|folder| folder.join("keys.json"));
    let keys = path.map(|path| keys(&std::fs::read_to_string(path).expect("readable")));
    for view in views() {
        let (server, _store) = server();
        feed(&server, &view.inputs);
        let came: BTreeMap<&str, &[u8]> =
            view.inputs.iter().map(|input| (input.event_id.as_str(), input.pdu.as_slice())).collect();
        let reader = server.view();
        let room = reader.rooms().expect("readable").remove(0);
        let rules = room.version().rules().expect("a known version");
        let (mut events, mut signatures) = (0, 0);
        room.records(&mut |record| {
            let event = &record.event;
            let came = Json::parse(came[event.event_id.as_str()]).expect("JSON");
            let came = Pdu::parse(came, &rules).expect("a PDU");
            assert_eq!(
                event.pdu.as_deref().map(str::as_bytes),
                Some(came.canonical_bytes()),
                "{}: {}",
                view.name,
                event.event_id
            );
            events += 1;
            let exported = Json::parse(event.pdu.as_deref().expect("it has a body").as_bytes()).expect("JSON");
            let exported = Pdu::parse(exported, &rules).expect("a PDU");
            assert_eq!(exported.event_id(), event.event_id.as_str());
            if let Some(keys) = &keys {
                signatures += verified(exported.object(), &rules, keys);
            }
            Ok(true)
        })
        .expect("readable");
        assert!(events > 0 && (keys.is_none() || signatures >= events), "{}: {signatures} of {events}", view.name);
    }
}
