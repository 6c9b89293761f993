//! Bodies come back byte for byte, whatever a homeserver may have signed.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma_common::{RoomVersionId, room_version_rules::RoomVersionRules};

use super::*;
use crate::{
    encoding::pdu::{CanonicalEvent, Pdu},
    fuzzing,
};

const PREV: &str = "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const AUTH: &str = "$-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s";

/// The room version, its rules.
fn rules(version: u8) -> RoomVersionRules {
    RoomVersionId::try_from(version.to_string()).unwrap().rules().unwrap()
}

/// An event with a right content hash and a signature, with `more` members put over the usual ones.
fn event(version: u8, more: &str) -> Object {
    let old = version < 3;
    let reference = |id: &str| if old { format!("[\"{id}:a.b\",{{}}]") } else { format!("\"{id}\"") };
    let usual = format!(
        r#"{{"auth_events":[{0}],"prev_events":[{1}],"content":{{"body":"hi","msgtype":"m.text"}},"depth":7,
        "origin_server_ts":1700000000000,"room_id":"!r:a.b","sender":"@u:a.b","type":"m.room.message"}}"#,
        reference(&if version == 3 { AUTH.replace('-', "+").replace('_', "/") } else { AUTH.to_owned() }),
        reference(PREV)
    );
    let parse = |text: &str| match Json::parse(text.as_bytes()).unwrap() {
        Json::Object(object) => object,
        _ => panic!("{text}"),
    };
    let mut object = parse(&usual);
    if old {
        object.insert("event_id", "$own:a.b".into());
    }
    for (key, value) in parse(more).iter() {
        object.insert(key, value.clone());
    }
    if object.get("hashes").is_none() {
        let hash = STANDARD_NO_PAD.encode(CanonicalEvent::new(&object).content_hash());
        object.insert("hashes", Json::Object(parse(&format!(r#"{{"sha256":"{hash}"}}"#))));
    }
    if object.get("signatures").is_none() {
        let signature = STANDARD_NO_PAD.encode([9; 64]);
        object.insert("signatures", Json::Object(parse(&format!(r#"{{"a.b":{{"ed25519:1":"{signature}"}}}}"#))));
    }
    object
}

/// Puts an event through the door that writes it beside a row, with all, half and one of its references there.
fn comes_back(version: u8, more: &str) {
    assert!(is_taken(version, more), "version {version} refuses {more}");
}

fn is_refused(version: u8, more: &str) {
    assert!(!is_taken(version, more), "version {version} takes {more}");
}

fn is_taken(version: u8, more: &str) -> bool {
    let mut bytes = vec![0];
    event(version, more).write_canonical(&mut bytes);
    let takes = |has: u8| {
        bytes[0] = version - 1 + 12 * has;
        fuzzing::pdu(&bytes)
    };
    let taken = [0, 1, 2].map(takes);
    assert!(taken.iter().all(|each| *each == taken[0]), "whether an event is taken hangs on its row: {more}");
    taken[0]
}

#[test]
fn unknown_and_old_fields_come_back() {
    for version in [1, 3, 6, 10, 12] {
        if version < 12 {
            comes_back(version, r#"{"origin":"a.b","prev_state":[],"membership":"join","z":[1,null]}"#);
            comes_back(version, r#"{"origin":"other","prev_state":[["$x:a.b",{}]],"a":{},"event_id":"$e:a.b"}"#);
        }
    }
}

#[test]
fn a_state_event_comes_back() {
    for key in ["", "@u:a.b", "@v:a.b", "k"] {
        comes_back(10, &format!(r#"{{"state_key":"{key}","type":"org.example"}}"#));
    }
}

#[test]
fn floats_and_huge_integers_come_back_where_rooms_allow_them() {
    let odd = r#"{"content":{"a":1.5,"b":1e300,"c":123456789012345678901234567890,"d":-0.0,"e":-7,"f":9223372036854775807,
        "g":-9223372036854775808,"h":[0,14,15,16,-1]}}"#;
    for version in 1..=5 {
        comes_back(version, odd);
    }
    is_refused(6, odd);
    comes_back(10, r#"{"content":{"a":9007199254740991,"b":-9007199254740991}}"#);
}

#[test]
fn every_sort_of_string_comes_back() {
    let long = "x".repeat(60_000);
    let deep = format!("{}{}", "[".repeat(126), "]".repeat(126));
    let b64 = STANDARD_NO_PAD.encode([0xfa; 40]);
    for text in [
        "\"\"".to_owned(),
        format!("\"{long}\""),
        deep,
        r#"["\u0000\u001f\"\\","é😀","@u:a.b","!r:a.b","a.b","mxc://a.b/x","mxc://a.bc/x","mxc://c.d/x"]"#.to_owned(),
        format!(
            r#"["{b64}","{b64}=","{}","abcdefghijklmnopqrstuvwxyz","ABCDEFGHIJKLMNOPQRSTUVW1"]"#,
            b64.replace('+', "-")
        ),
        format!(r#"["{AUTH}","{PREV}","{PREV}x","$","$x:a.b","{}"]"#, PREV.replace("AAA", "AA/")),
        format!("[{}]", vec!["0"; 300].join(",")),
    ] {
        comes_back(10, &format!(r#"{{"content":{{"body":{text}}}}}"#));
    }
    let keys: Vec<String> = (0..300).map(|n| format!("\"key{n}\":{n}")).collect();
    comes_back(10, &format!(r#"{{"content":{{{},"$x":1,"@u:a.b":2,"{AUTH}":3}}}}"#, keys.join(",")));
}

/// 43 characters of base64 carry two spare bits, which a hostile sender can set.
#[test]
fn spare_bits_come_back_or_are_refused() {
    let (sound, spare) = (STANDARD_NO_PAD.encode([0; 64]), format!("{}AB", "A".repeat(84)));
    assert_eq!(sound.len(), spare.len());
    for signature in [sound, spare, "no signature".to_owned(), String::new()] {
        for signer in ["a.b", "c.d"] {
            comes_back(10, &format!(r#"{{"signatures":{{"{signer}":{{"ed25519:1":"{signature}"}}}}}}"#));
        }
    }
    comes_back(10, r#"{"signatures":{}}"#);
    comes_back(10, r#"{"signatures":{"a.b":{"ed25519:1":"x","ed25519:2":"y"},"c.d":{}}}"#);
    is_refused(10, &format!(r#"{{"prev_events":["{}B"]}}"#, &PREV[..PREV.len() - 1]));
    is_refused(10, r#"{"signatures":{"a.b":{"ed25519:1":7}}}"#);
}

/// A hash may be spelled in either alphabet, with padding and spare bits; only its plain spelling can be left out.
#[test]
fn a_content_hash_comes_back_as_it_was_spelled() {
    let hash = CanonicalEvent::new(&event(10, "{}")).content_hash();
    let plain = STANDARD_NO_PAD.encode(hash);
    for spelled in [plain.clone(), format!("{plain}="), plain.replace('+', "-").replace('/', "_"), "AAAA".to_owned()] {
        comes_back(10, &format!(r#"{{"hashes":{{"sha256":"{spelled}"}}}}"#));
        comes_back(10, &format!(r#"{{"hashes":{{"md5":[1],"sha256":"{spelled}"}}}}"#));
    }
}

#[test]
fn references_come_back_with_their_hashes() {
    let b64 = STANDARD_NO_PAD.encode([3; 32]);
    for hashes in ["{}".to_owned(), format!(r#"{{"sha256":"{b64}"}}"#), r#"{"sha256":"x","y":{}}"#.to_owned()] {
        let pair = |id: &str| format!(r#"["{id}:a.b",{hashes}]"#);
        for list in [vec![], vec![pair("$x")], vec![pair("$x"), pair("$y"), pair("$x")], vec![pair("$y"); 20]] {
            comes_back(1, &format!(r#"{{"prev_events":[{}]}}"#, list.join(",")));
        }
    }
    for list in [vec![], vec![PREV, AUTH], vec![PREV, PREV], vec![AUTH, PREV, AUTH]] {
        let list: Vec<String> = list.iter().map(|id| format!("\"{id}\"")).collect();
        comes_back(10, &format!(r#"{{"prev_events":[{0}],"auth_events":[{0}]}}"#, list.join(",")));
    }
}

#[test]
fn an_event_of_the_greatest_size_comes_back() {
    let short = {
        let mut bytes = Vec::new();
        event(10, "{}").write_canonical(&mut bytes);
        bytes.len()
    };
    let most = 65_536 - short + 2;
    comes_back(10, &format!(r#"{{"content":{{"body":"{}","msgtype":"m.text"}}}}"#, "x".repeat(most)));
    is_refused(10, &format!(r#"{{"content":{{"body":"{}","msgtype":"m.text"}}}}"#, "x".repeat(most + 1)));
}

/// The event is an object around its sections, so they may be nested less deeply than a document.
#[test]
fn a_body_gives_no_json_that_is_nested_too_deeply() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let pair = |hashes: &str| format!("[[\"$x:a.b\",{hashes}]]");
    for (version, field, most) in [(10, "content", 127), (10, "hashes", 127), (10, "z", 127), (1, "prev_events", 125)] {
        let is_read = |depth: usize| {
            let value = if version == 1 { pair(&nested(depth)) } else { nested(depth) };
            let mut object = event(version, "{}");
            object.insert(field, Json::parse_within(value.as_bytes(), 200, 1000).unwrap());
            let beside = Beside {
                format: rules(version).event_id_format,
                room_id: "!r:a.b",
                event_id: "$own:a.b",
                event_type: "m.room.message",
                state_key: None,
                sender: "@u:a.b",
                origin_server_ts: 1_700_000_000_000,
                depth: 7,
                prev_events: &[],
                auth_events: &[],
                mentions: &[],
                key_id: None,
            };
            let nid = EventNid::new(10).unwrap();
            let body = encode(nid, &object, false, &Header::default(), &beside).unwrap();
            let read = decode(nid, &body, &beside);
            assert_eq!(essence(nid, &body, &beside).is_ok(), read.is_ok(), "{field}");
            read.is_ok_and(|read| Json::parse(&read).is_ok())
        };
        assert!(is_read(most), "{field}");
        assert!(!is_read(most + 1), "{field}");
    }
}

#[test]
fn a_create_event_without_a_room_comes_back() {
    let mut object = event(12, r#"{"type":"m.room.create","state_key":"","content":{"room_version":"12"}}"#);
    object.remove("room_id");
    object.remove("hashes");
    let hash = STANDARD_NO_PAD.encode(CanonicalEvent::new(&object).content_hash());
    object.insert("hashes", Json::Object([("sha256".into(), Json::String(hash.into()))].into_iter().collect()));
    let mut bytes = vec![11];
    object.write_canonical(&mut bytes);
    assert!(fuzzing::pdu(&bytes));
}

#[test]
fn the_bytes_of_a_body_are_these() {
    let object =
        event(10, &format!(r#"{{"content":{{"body":"hi","m.relates_to":{{"event_id":"{AUTH}"}},"n":[16,-1]}}}}"#));
    let pdu = Pdu::parse(Json::Object(object), &rules(10)).unwrap();
    let nid = EventNid::new(10).unwrap();
    let reference = |event_id| Reference { event_id, hash: &[0; 32] };
    let beside = Beside {
        format: EventIdFormatVersion::V3,
        room_id: "!r:a.b",
        event_id: pdu.event_id(),
        event_type: "m.room.message",
        state_key: None,
        sender: "@u:a.b",
        origin_server_ts: 1_700_000_000_000,
        depth: 7,
        prev_events: &[None],
        auth_events: &[reference(AUTH)],
        mentions: &[AUTH],
        key_id: Some("ed25519:1"),
    };
    let header = Header { mentions: [EventNid::new(8).unwrap()].into_iter().collect(), key_id: Some(3) };
    let body = encode(nid, pdu.object(), true, &header, &beside).unwrap();
    let expected = [
        &[2, 4 + 16, 1, 4, 3][..],
        &[9; 64],
        &[1, 0],
        &[0; 32],
        &[0x13, 0x80, 0x42, b'h', b'i', 0x83, 0x11, 0x84, 9, 0],
        &[0x41, b'n', 0x22, 3, 16, 4, 0],
    ];
    assert_eq!(body, expected.concat());
    assert_eq!(decode(nid, &body, &beside).unwrap(), pdu.canonical_bytes());
}

#[test]
fn a_body_is_not_read_beside_a_row_that_lacks_its_references() {
    let object = event(10, "{}");
    let nid = EventNid::new(10).unwrap();
    let prev = [Some(Reference { event_id: PREV, hash: &[0; 32] })];
    let auth = [Reference { event_id: AUTH, hash: &[0; 32] }];
    let beside = Beside {
        format: EventIdFormatVersion::V3,
        room_id: "!r:a.b",
        event_id: "$x",
        event_type: "m.room.message",
        state_key: None,
        sender: "@u:a.b",
        origin_server_ts: 1_700_000_000_000,
        depth: 7,
        prev_events: &prev,
        auth_events: &auth,
        mentions: &[],
        key_id: Some("ed25519:1"),
    };
    let body = encode(nid, &object, true, &Header { key_id: Some(3), ..Header::default() }, &beside).unwrap();
    assert!(decode(nid, &body, &beside).is_ok());
    assert!(decode(nid, &body, &Beside { prev_events: &[None], ..beside }).is_err());
    assert!(decode(nid, &body, &Beside { key_id: None, ..beside }).is_err());
}
