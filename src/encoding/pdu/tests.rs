//! Guards against events that are stored under another ID, in another form or in another room than their sender meant.

use std::{fs::File, io::Read as _, path::Path};

use base64::engine::general_purpose::STANDARD_NO_PAD;
use proptest::prelude::*;
use ruma_common::RoomVersionId;
use sha2::Digest as _;

use super::*;
use crate::error::ErrorKind;

const FIXTURES: &str = include_str!("../../../tests/it/fixtures/pdus.jsonl");

/// The versions whose rules differ in the format of events.
const VERSIONS: [&str; 7] = ["1", "3", "5", "6", "10", "11", "12"];

fn rules(version: &str) -> RoomVersionRules {
    RoomVersionId::try_from(version).unwrap().rules().unwrap()
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

fn object(json: Json) -> Object {
    match json {
        Json::Object(object) => object,
        other => panic!("{other:?}"),
    }
}

/// Gives the event the content hash that it should have.
fn hashed(mut event: Object) -> Object {
    let hash = STANDARD_NO_PAD.encode(CanonicalEvent::new(&event).content_hash());
    event.insert("hashes", json(&format!(r#"{{"sha256":"{hash}"}}"#)));
    event
}

fn event_id(version: &str, n: u8) -> String {
    EventKey::from_bytes([n; 32])
        .event_id(rules(version).event_id_format)
        .unwrap_or_else(|| format!("${n}:example.org"))
}

fn reference(version: &str, n: u8) -> Json {
    let event_id = event_id(version, n);
    match version {
        "1" | "2" => json(&format!(r#"["{event_id}",{{}}]"#)),
        _ => event_id.as_str().into(),
    }
}

/// A message in a room of `version`, with a right content hash.
fn message(version: &str) -> Object {
    let mut event = object(json(
        r#"{"type":"m.room.message","room_id":"!r:example.org","sender":"@a:example.org","origin_server_ts":7,"depth":3,
        "content":{"body":"x"},"signatures":{"example.org":{"ed25519:1":"c2ln"}}}"#,
    ));
    event.insert("prev_events", Json::Array(vec![reference(version, 1)]));
    event.insert("auth_events", Json::Array(vec![reference(version, 2), reference(version, 3)]));
    if matches!(version, "1" | "2") {
        event.insert("event_id", "$new:example.org".into());
    }
    if version == "12" {
        event.insert("room_id", event_id(version, 9).replace('$', "!").as_str().into());
    }
    hashed(event)
}

fn with(version: &str, field: &str, value: Json) -> Object {
    let mut event = message(version);
    event.insert(field, value);
    hashed(event)
}

fn parse(version: &str, event: Object) -> Result<Pdu> {
    Pdu::parse(Json::Object(event), &rules(version))
}

/// The message of the error that setting `field` to `value` gives.
fn refusal(version: &str, field: &str, value: &str) -> String {
    let error =
        parse(version, with(version, field, json(value))).expect_err(&format!("version {version}, {field}: {value}"));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

fn accepts(version: &str, field: &str, value: &str) -> bool {
    parse(version, with(version, field, json(value))).is_ok()
}

/// Holds every event of JSON lines against the ID that a real homeserver gave it; returns how many there were, and how
/// many of them were redacted before they were sent.
fn check_lines(lines: &str) -> (usize, usize) {
    let mut redacted = 0;
    for line in lines.lines() {
        let line = object(json(line));
        let rules = rules(line.get_str("room_version").unwrap());
        let given = line.get_object("pdu").unwrap();
        let pdu = Pdu::parse(Json::Object(given.clone()), &rules).unwrap();
        assert_eq!(pdu.event_id(), line.get_str("event_id").unwrap());
        redacted += usize::from(pdu.is_redacted());
        // Of an event that came redacted, redaction takes nothing.
        assert_eq!(pdu.object(), given);
        assert_eq!(Json::parse(pdu.canonical_bytes()).unwrap().as_object(), Some(given));
        let python: serde_json::Value = serde_json::from_slice(pdu.canonical_bytes()).unwrap();
        assert_eq!(serde_json::to_vec(&python).unwrap(), pdu.canonical_bytes());
        assert_eq!(EventKey::of(pdu.event_id(), rules.event_id_format), Some(pdu.key()));
        assert_eq!(CanonicalEvent::new(pdu.object()).reference_hash(&rules.redaction), *pdu.reference_hash());
    }
    (lines.lines().count(), redacted)
}

#[test]
fn events_of_a_real_homeserver_have_the_ids_that_it_gave_them() {
    assert_eq!(check_lines(FIXTURES), (70, 2));
}

/// Whole rooms, and more of them where their folder is beside the checkout.
#[test]
fn whole_rooms_of_a_real_homeserver_have_the_ids_that_it_gave_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut events, mut redacted) = (0, 0);
    for folder in ["tests/it/fixtures/views", "examples/rooms", "../shared/data"].map(|folder| root.join(folder)) {
        let Ok(entries) = folder.read_dir() else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".events.jsonl.gz") || (folder.ends_with("rooms") && name.ends_with(".jsonl.gz")) {
                let mut lines = String::new();
                flate2::read::MultiGzDecoder::new(File::open(&path).unwrap()).read_to_string(&mut lines).unwrap();
                let counts = check_lines(&lines);
                (events, redacted) = (events + counts.0, redacted + counts.1);
            }
        }
    }
    assert!(events >= 5182, "{events}");
    assert!(redacted * 1000 < events, "{redacted} of {events} content hashes do not match");
}

#[test]
fn the_references_of_version_1_carry_the_reference_hashes_of_their_events() {
    let lines: Vec<_> = FIXTURES.lines().map(|line| object(json(line))).collect();
    let of_version_1 = lines.iter().filter(|line| line.get_str("room_version") == Some("1"));
    let pdus: Vec<_> = of_version_1.map(|line| parse("1", line.get_object("pdu").unwrap().clone()).unwrap()).collect();
    let mut checked = 0;
    for (pdu, field) in pdus.iter().flat_map(|pdu| [(pdu, "prev_events"), (pdu, "auth_events")]) {
        for reference in pdu.object().get_array(field).unwrap() {
            let [Json::String(event_id), Json::Object(hashes)] = reference.as_array().unwrap() else { panic!() };
            let target = pdus.iter().find(|pdu| pdu.event_id() == &**event_id);
            // The hash may be left out: `{}` is in real rooms.
            if let (Some(target), Some(hash)) = (target, hashes.get_str("sha256")) {
                assert_eq!(hash, STANDARD_NO_PAD.encode(target.reference_hash()));
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "{checked}");
}

#[test]
fn every_field_is_read() {
    let mut event = message("10");
    event.insert("state_key", "k".into());
    let pdu = parse("10", hashed(event)).unwrap();
    assert_eq!(pdu.event_type(), "m.room.message");
    assert_eq!(pdu.room_id(), "!r:example.org");
    assert_eq!(pdu.sender(), "@a:example.org");
    assert_eq!(pdu.state_key(), Some("k"));
    assert_eq!((pdu.origin_server_ts(), pdu.depth()), (7, 3));
    assert_eq!(pdu.prev_events(), [event_id("10", 1).into()]);
    assert_eq!(pdu.prev_keys(), [EventKey::from_bytes([1; 32])]);
    assert_eq!(pdu.auth_events(), [event_id("10", 2).into(), event_id("10", 3).into()]);
    assert_eq!(pdu.auth_keys(), [EventKey::from_bytes([2; 32]), EventKey::from_bytes([3; 32])]);
    assert_eq!((pdu.redacts(), pdu.is_create(), pdu.is_redacted()), (None, false, false));
    assert_eq!(pdu.content().get_str("body"), Some("x"));
    assert_eq!(pdu.key().as_bytes(), pdu.reference_hash());
    assert_eq!(parse("10", message("10")).unwrap().state_key(), None);
}

#[test]
fn an_event_of_version_1_has_the_id_that_it_names() {
    let pdu = parse("1", message("1")).unwrap();
    assert_eq!(pdu.event_id(), "$new:example.org");
    assert_ne!(pdu.key().as_bytes(), pdu.reference_hash());
    for value in [r#""$x""#, r#""new:example.org""#, "7", "null"] {
        assert!(refusal("1", "event_id", value).starts_with("`event_id` is not"));
    }
    assert!(refusal("1", "event_id", &format!(r#""${}:b""#, "a".repeat(255))).contains("258 bytes"));
}

#[test]
fn a_field_event_id_where_the_id_is_a_hash_is_a_field_like_any_other() {
    let event = with("10", "event_id", "$x".into());
    let pdu = parse("10", event.clone()).unwrap();
    assert_ne!(pdu.event_id(), parse("10", message("10")).unwrap().event_id());
    assert_eq!(pdu.object(), &event);
}

#[test]
fn unsigned_is_dropped_before_anything_else() {
    for version in VERSIONS {
        let mut event = message(version);
        let expected = parse(version, event.clone()).unwrap();
        event.insert("unsigned", json(&format!(r#"{{"age":1.5,"x":"{}"}}"#, "x".repeat(70_000))));
        let pdu = parse(version, event).unwrap();
        assert_eq!((pdu.event_id(), pdu.object()), (expected.event_id(), expected.object()));
        assert!(!pdu.is_redacted());
    }
}

#[test]
fn an_event_whose_content_hash_is_wrong_is_redacted_before_it_is_read() {
    for version in VERSIONS {
        let honest = parse(version, message(version)).unwrap();
        let mut event = message(version);
        event.insert("content", json(r#"{"body":"forged"}"#));
        event.insert("forged", json("1"));
        let pdu = parse(version, event).unwrap();
        assert!(pdu.is_redacted());
        assert_eq!(pdu.event_id(), honest.event_id());
        assert_eq!(pdu.reference_hash(), honest.reference_hash());
        assert!(pdu.content().is_empty() && pdu.object().get("forged").is_none());
        assert_eq!(Json::parse(pdu.canonical_bytes()).unwrap().as_object(), Some(pdu.object()));
        // What is left of the two copies is the same.
        let mut redacted = honest.into_object();
        redact(&mut redacted, &rules(version).redaction);
        assert_eq!(pdu.object(), &redacted);
    }
}

#[test]
fn a_redacted_redaction_has_no_target_where_redaction_takes_it() {
    for (version, target) in [("10", None), ("11", Some("$x"))] {
        let mut event = message(version);
        event.insert("type", "m.room.redaction".into());
        event.insert("redacts", "$x".into());
        event.insert("content", json(r#"{"redacts":"$x"}"#));
        assert_eq!(parse(version, hashed(event.clone())).unwrap().redacts(), Some("$x"));
        assert_eq!(parse(version, event).unwrap().redacts(), target);
    }
}

#[test]
fn the_target_of_a_redaction_stands_where_the_room_version_wants_it() {
    for (version, expected) in
        [("1", Some("$top")), ("10", Some("$top")), ("11", Some("$content")), ("12", Some("$content"))]
    {
        let mut event = message(version);
        event.insert("redacts", "$top".into());
        event.insert("content", json(r#"{"redacts":"$content"}"#));
        assert_eq!(parse(version, hashed(event.clone())).unwrap().redacts(), None, "no redaction");
        event.insert("type", "m.room.redaction".into());
        assert_eq!(parse(version, hashed(event)).unwrap().redacts(), expected);
    }
}

#[test]
fn a_content_hash_counts_in_every_spelling_that_the_reference_homeserver_takes() {
    let event = message("10");
    let hash = event.get_object("hashes").and_then(|hashes| hashes.get_str("sha256")).unwrap().to_owned();
    let is_redacted = |hash: &str| {
        let mut event = event.clone();
        event.insert("hashes", json(&format!(r#"{{"sha256":"{hash}"}}"#)));
        parse("10", event).map(|pdu| pdu.is_redacted()).map_err(|error| error.to_string())
    };
    assert_eq!(is_redacted(&hash), Ok(false));
    assert_eq!(is_redacted(&format!("{hash}=")), Ok(false));
    assert_eq!(is_redacted(&hash.replace('+', "-").replace('/', "_")), Ok(false));
    let last = hash.chars().last().unwrap();
    let spare_bit = char::from_u32(u32::from(last) + 1).unwrap();
    assert_eq!(is_redacted(&format!("{}{spare_bit}", &hash[..42])), Ok(false), "{last}");
    assert_eq!(is_redacted(&hash[..40]), Ok(true));
    assert_eq!(is_redacted(""), Ok(true));
    assert_eq!(is_redacted("not base64!"), Err("`hashes.sha256` is not base64".to_owned()));
}

#[test]
fn a_missing_field_is_named() {
    for version in VERSIONS {
        let required = "type room_id sender origin_server_ts depth content hashes signatures prev_events auth_events";
        let own = if version == "1" { "event_id" } else { "type" };
        for field in required.split(' ').chain([own]) {
            let mut event = message(version);
            event.remove(field);
            assert_eq!(parse(version, event).unwrap_err().to_string(), format!("`{field}` is missing"));
        }
    }
    let mut event = message("10");
    event.insert("hashes", json("{}"));
    assert_eq!(parse("10", event).unwrap_err().to_string(), "`hashes`: `sha256` is missing");
}

#[test]
fn a_field_of_another_type_is_named() {
    for (field, values, what) in [
        ("type", ["1", "null", "{}"], "is not a string"),
        ("room_id", ["1", "null", "[]"], "is not a string"),
        ("sender", ["1", "null", "{}"], "is not a string"),
        ("state_key", ["1", "null", "{}"], "is not a string"),
        ("content", ["1", "null", "[]"], "is not an object"),
        ("signatures", ["1", "null", "[]"], "is not an object"),
        ("depth", [r#""1""#, "null", "[]"], "is not an integer from 0 to 2^63 - 1"),
        ("origin_server_ts", [r#""1""#, "null", "true"], "is not an integer from -2^63 to 2^63 - 1"),
        ("prev_events", ["1", "null", "{}"], "is not an array"),
        ("auth_events", ["1", "null", "{}"], "is not an array"),
    ] {
        for (version, value) in VERSIONS.iter().flat_map(|version| values.map(|value| (version, value))) {
            assert_eq!(refusal(version, field, value), format!("`{field}` {what}"));
        }
    }
    for hashes in ["1", "[]", r#""x""#] {
        let mut event = message("10");
        event.insert("hashes", json(hashes));
        assert_eq!(parse("10", event).unwrap_err().to_string(), "`hashes` is not an object");
    }
    assert!(Pdu::parse(Json::Array(vec![]), &rules("10")).is_err());
}

#[test]
fn signatures_are_objects_of_strings() {
    for value in [r#"{"a":"b"}"#, r#"{"a":{"b":1}}"#, r#"{"a":{"b":"c"},"d":[]}"#] {
        assert!(refusal("10", "signatures", value).starts_with("`signatures` has no object of strings for"));
    }
    assert!(accepts("10", "signatures", "{}"));
}

#[test]
fn a_sender_is_a_user_id() {
    for value in ["a:b", "@a", "@a:", "@:", "@a:b c", "@a:[::g]", "@a:b:99999", "", "#a:b", "@a\\u0000:b"] {
        assert_eq!(refusal("10", "sender", &format!(r#""{value}""#)), "`sender` is not a user ID", "{value}");
    }
    // Historical localparts are any characters but a colon, or none at all.
    for value in ["@a:b", "@:b", "@A B\u{e9}#/:b", "@a:b:8448", "@a:1.2.3.4", "@a:[::1]:1"] {
        assert!(accepts("10", "sender", &format!(r#""{value}""#)), "{value}");
    }
}

#[test]
fn a_room_id_has_the_form_of_the_room_version() {
    let hash = event_id("12", 5).replace('$', "!");
    for version in ["1", "10", "11"] {
        assert!(accepts(version, "room_id", r#""!a:b""#) && accepts(version, "room_id", r#""!a:not a server""#));
        for value in ["!a", "!a:", "!:b", "!", "", "a:b", "#a:b", &hash] {
            assert_eq!(refusal(version, "room_id", &format!(r#""{value}""#)), "`room_id` is not `!opaque:server`");
        }
    }
    assert!(accepts("12", "room_id", &format!(r#""{hash}""#)));
    for value in ["!a:b", "!", &hash[..43], &format!("{hash}A"), &hash.replace('!', "$")] {
        let expected = "`room_id` is not `!` and the hash of a create event";
        assert_eq!(refusal("12", "room_id", &format!(r#""{value}""#)), expected);
    }
}

#[test]
fn the_room_id_of_version_12_is_that_of_the_create_event() {
    let mut create = message("12");
    create.remove("room_id");
    create.insert("type", "m.room.create".into());
    create.insert("prev_events", Json::Array(vec![]));
    create.insert("auth_events", Json::Array(vec![]));
    assert!(parse("12", hashed(create.clone())).is_err(), "without a state key it is not the create event");
    create.insert("state_key", "".into());
    let pdu = parse("12", hashed(create.clone())).unwrap();
    assert!(pdu.is_create());
    assert_eq!(pdu.room_id(), pdu.event_id().replace('$', "!"));

    create.insert("room_id", pdu.room_id().into());
    let message = parse("12", hashed(create.clone())).unwrap_err().to_string();
    assert_eq!(message, "`room_id` must not be in a create event, whose event ID it is");
    create.insert("room_id", "!r:example.org".into());
    assert_eq!(parse("11", hashed(create)).unwrap().room_id(), "!r:example.org");
}

#[test]
fn a_reference_has_the_form_of_the_room_version() {
    let standard = EventKey::from_bytes([0xFB; 32]).event_id(rules("3").event_id_format).unwrap();
    let url_safe = EventKey::from_bytes([0xFB; 32]).event_id(rules("4").event_id_format).unwrap();
    let quoted = [&standard, &url_safe].map(|event_id| format!(r#""{event_id}""#));
    let old = [r#"["$a:b",{}]"#, r#"["$a:b",{"sha256":"x"}]"#];
    for (version, valid, invalid) in [
        (
            "1",
            old,
            vec![&*quoted[0], r#""$a:b""#, r#"["$a:b"]"#, r#"["$a:b","x"]"#, r#"["$a:b",{},{}]"#, r#"["$a",{}]"#, "[]"],
        ),
        ("3", [&quoted[0]; 2], vec![&quoted[1], old[0], r#""$a:b""#, r#""""#, "null"]),
        ("4", [&quoted[1]; 2], vec![&quoted[0], old[0], r#""$a:b""#, "1", "{}"]),
        ("12", [&quoted[1]; 2], vec![&quoted[0], old[0], r#""$a:b""#, "1", "{}"]),
    ] {
        for field in ["prev_events", "auth_events"] {
            let first = reference(version, 1).to_canonical();
            let array = |entry: &str| format!("[{},{entry}]", str::from_utf8(&first).unwrap());
            for entry in valid {
                assert!(accepts(version, field, &array(entry)), "version {version}: {entry}");
            }
            for entry in &invalid {
                let expected = format!("`{field}` has an entry 1 that is no reference of the room version");
                assert_eq!(refusal(version, field, &array(entry)), expected, "version {version}: {entry}");
            }
        }
    }
}

#[test]
fn an_event_that_is_named_twice_is_listed_once() {
    for version in VERSIONS {
        let array = Json::Array([1, 2, 1, 3, 2].map(|n| reference(version, n)).into());
        let event = with(version, "prev_events", array);
        let pdu = parse(version, event.clone()).unwrap();
        assert_eq!(pdu.prev_events(), [1, 2, 3].map(|n| event_id(version, n).into()));
        assert_eq!(pdu.prev_keys().len(), 3);
        assert_eq!(pdu.object(), &event);
    }
}

#[test]
fn at_most_20_prev_events_and_10_auth_events_are_allowed() {
    for version in VERSIONS {
        for (field, most) in [("prev_events", 20), ("auth_events", 10)] {
            let array = |length| Json::Array((0..length).map(|n| reference(version, n)).collect());
            assert!(parse(version, with(version, field, array(most))).is_ok());
            let error = parse(version, with(version, field, array(most + 1))).unwrap_err().to_string();
            assert_eq!(error, format!("`{field}` has {} entries, at most {most} are allowed", most + 1));
        }
    }
}

#[test]
fn a_field_has_at_most_255_bytes() {
    for (field, prefix, suffix) in
        [("type", "", ""), ("state_key", "", ""), ("sender", "@", ":b"), ("room_id", "!", ":b")]
    {
        let value = |length: usize| {
            // Two bytes a character: what counts is bytes.
            let rest = length - prefix.len() - suffix.len();
            format!(r#""{prefix}{}{}{suffix}""#, "\u{e9}".repeat(rest / 2), "x".repeat(rest % 2))
        };
        assert!(accepts("10", field, &value(255)), "{field}");
        assert_eq!(refusal("10", field, &value(256)), format!("`{field}` has 256 bytes, at most 255 are allowed"));
    }
}

#[test]
fn an_event_has_at_most_65536_bytes_with_its_signatures() {
    for version in VERSIONS {
        let rest = parse(version, with(version, "content", json(r#"{"body":""}"#))).unwrap().canonical_bytes().len();
        let body = |bytes: usize| json(&format!(r#"{{"body":"{}"}}"#, "x".repeat(bytes - rest)));
        assert_eq!(parse(version, with(version, "content", body(65_536))).unwrap().canonical_bytes().len(), 65_536);
        let error = parse(version, with(version, "content", body(65_537))).unwrap_err().to_string();
        assert_eq!(error, "the event has 65537 bytes, at most 65536 are allowed");
    }
    let signature = format!(r#"{{"a":{{"b":"{}"}}}}"#, "x".repeat(65_536));
    assert!(refusal("10", "signatures", &signature).contains("bytes"));
}

#[test]
fn depth_and_timestamp_go_to_the_limit_of_the_room_version_and_a_depth_not_below_0() {
    for (field, least) in [("depth", "0"), ("origin_server_ts", "-2^63")] {
        for version in ["1", "2", "3", "4", "5"] {
            assert!(accepts(version, field, "9223372036854775807") && accepts(version, field, "0"));
            for value in ["9223372036854775808", "-9223372036854775809", "1.0", "-1.0", "1e3"] {
                let expected = format!("`{field}` is not an integer from {least} to 2^63 - 1");
                assert_eq!(refusal(version, field, value), expected);
            }
        }
        for version in ["6", "7", "8", "9", "10", "11", "12"] {
            assert!(accepts(version, field, "9007199254740991") && accepts(version, field, "0"));
            for value in ["9007199254740992", "-9007199254740992", "1.0"] {
                assert!(refusal(version, field, value).contains(field));
            }
        }
        assert_eq!(accepts("10", field, "-1"), field == "origin_server_ts");
    }
}

/// Elsewhere any member could keep this server from following a room by sending a time before 1970.
#[test]
fn a_time_may_be_before_1970() {
    for version in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"] {
        let is_strict = rules(version).authorization.strict_canonical_json;
        let least = if is_strict { -9_007_199_254_740_991 } else { i64::MIN };
        for time in [-1, least] {
            let event = with(version, "origin_server_ts", Json::Int(time));
            let pdu = parse(version, event).unwrap();
            assert_eq!((pdu.origin_server_ts(), pdu.is_redacted()), (time, false), "version {version}");
        }
    }
}

#[test]
fn numbers_that_canonical_json_forbids_are_kept_up_to_version_5_and_refused_later() {
    for value in ["1.0", "1e5", "-0.0", "9007199254740992", "-9007199254740992", "123456789012345678901234567890"] {
        let content = format!(r#"{{"a":[{{"b":{value}}}]}}"#);
        for version in ["1", "3", "5"] {
            let pdu = parse(version, with(version, "content", json(&content))).unwrap();
            assert!(!pdu.is_redacted());
            assert_eq!(pdu.content(), json(&content).as_object().unwrap());
        }
        for version in ["6", "10", "11", "12"] {
            let expected = "/content/a/0/b is not an integer within ±(2^53 - 1), as canonical JSON asks";
            assert_eq!(refusal(version, "content", &content), expected);
        }
    }
}

#[test]
fn a_float_is_hashed_as_python_writes_it() {
    // What `hashlib.sha256(json.dumps(.., sort_keys=True, separators=(",", ":")))` gave for this event in Python 3.11.
    let event = object(json(
        r#"{"content":{"users":{"@a:b":1e2,"@c:d":1E+16,"@e:f":-0}},"type":"m.room.power_levels","unsigned":{}}"#,
    ));
    let hash = CanonicalEvent::new(&event).content_hash();
    assert_eq!(STANDARD_NO_PAD.encode(hash), "MkgsiFBQMG2j/1mlsnPlwRH+sy/y9Aq5ku4OmbrPpjo");
}

#[test]
fn what_is_left_of_an_event_without_hashed_fields_is_an_empty_object() {
    let event = object(json(r#"{"hashes":{},"signatures":{}}"#));
    assert_eq!(CanonicalEvent::new(&event).content_hash(), *sha2::Sha256::digest("{}"));
}

#[test]
fn a_hint_tells_the_room_and_the_version_of_a_create_event() {
    let hint = |text: &str| {
        let json = json(text);
        room_id_hint(&json)
            .map(|hint| (hint.room_id.map(str::to_owned), hint.room_version.map(str::to_owned)))
            .map_err(|error| error.to_string())
    };
    let owned = |text: &str| Some(text.to_owned());
    assert_eq!(hint(r#"{"room_id":"!a:b","content":{"room_version":"9"}}"#), Ok((owned("!a:b"), None)));
    let create = |rest: &str| hint(&format!(r#"{{"type":"m.room.create","state_key":""{rest}}}"#));
    assert_eq!(create(r#","room_id":"!a:b","content":{"creator":"@a:b"}"#), Ok((owned("!a:b"), owned("1"))));
    assert_eq!(create(r#","content":{"room_version":"12"}"#), Ok((None, owned("12"))));
    assert_eq!(create(""), Ok((None, owned("1"))));
    assert_eq!(hint(r#"{"type":"m.room.create","state_key":"x","content":{"room_version":"9"}}"#), Ok((None, None)));
    assert_eq!(hint("{}"), Ok((None, None)));
    assert_eq!(create(r#","content":{"room_version":9}"#), Err("`content.room_version` is not a string".to_owned()));
    assert_eq!(hint(r#"{"room_id":1}"#), Err("`room_id` is not a string".to_owned()));
    assert_eq!(hint("[]"), Err("the event is not an object".to_owned()));
}

fn any_version() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&VERSIONS)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), version in any_version()) {
        if let Ok(json) = Json::parse(&bytes) {
            let _ = room_id_hint(&json);
            prop_assert!(Pdu::parse(json, &rules(version)).is_err());
        }
    }

    /// A changed byte gives another event ID, a redacted event or an error, and never a panic; what is accepted is stable.
    #[test]
    fn a_changed_event_is_another_event_or_redacted(
        line in prop::sample::select(FIXTURES.lines().collect::<Vec<_>>()),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        version in any_version(),
    ) {
        let line = object(json(line));
        let given = line.get("pdu").unwrap();
        let mut bytes = given.to_canonical();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let Ok(changed) = Json::parse(&bytes) else { return Ok(()) };
        for version in [line.get_str("room_version").unwrap(), version] {
            let rules = rules(version);
            let Ok(pdu) = Pdu::parse(changed.clone(), &rules) else { continue };
            let again = Pdu::parse(Json::parse(pdu.canonical_bytes()).unwrap(), &rules).unwrap();
            prop_assert_eq!(again.event_id(), pdu.event_id());
            prop_assert_eq!(again.object(), pdu.object());
            if changed != *given && line.get_str("room_version") == Some(version) && !pdu.is_redacted() {
                // Nothing but the signatures can change without anyone noticing.
                let mut unsigned = [given, &changed].map(|json| json.as_object().unwrap().clone());
                unsigned.iter_mut().for_each(|object| drop(object.remove("signatures")));
                prop_assert_eq!(&unsigned[0], &unsigned[1]);
            }
        }
    }
}
