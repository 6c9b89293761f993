//! Reading a store: the JSON of each command.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Value, json};

use super::{Scene, expected, room_file, rooms};

/// A store with one room, and the room's ID.
fn scene() -> (Scene, String) {
    let scene = Scene::new();
    scene.import("store", &room_file("forks-v10"));
    (scene, expected("forks-v10")["room_id"].as_str().unwrap().to_owned())
}

/// The fingerprint of a state, as the contract defines it.
fn fingerprint(entries: &[Value]) -> String {
    use sha2::{Digest, Sha256};
    let mut sum = [0u8; 32];
    for entry in entries {
        let text = ["type", "state_key", "event_id"].map(|key| entry[key].as_str().unwrap()).join("\0");
        let mut carry = 0u16;
        for (byte, add) in sum.iter_mut().zip(Sha256::digest(text)).rev() {
            carry += u16::from(*byte) + u16::from(add);
            *byte = u8::try_from(carry & 0xff).unwrap();
            carry >>= 8;
        }
    }
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_room_tells_what_its_parts_tell() {
    let (scene, room_id) = scene();
    let room = scene.run(&["room", "--json", &room_id]).objects().pop().unwrap();
    let state = scene.run(&["state", "--json", &room_id]).objects();
    assert_eq!(room["state"], fingerprint(&state));
    assert_eq!(room["state_len"], state.len());
    let key = |entry: &Value| (entry["type"].to_string(), entry["state_key"].to_string());
    assert!(state.is_sorted_by_key(key));
    let members = state.iter().filter(|entry| entry["type"] == "m.room.member").count();
    assert_eq!(room["members"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(), members as u64);
    let listed = scene.run(&["rooms", "--json"]).objects();
    let row = json!({"room_id": room_id, "version": "10", "events": 471, "state_len": state.len()});
    assert_eq!(listed, [row]);
    assert_eq!(scene.run(&["history", "--json", &room_id]).objects().len(), 471);
}

#[test]
fn the_states_around_an_event_differ_by_what_history_says() {
    let (scene, room_id) = scene();
    let history = scene.run(&["history", "--json", &room_id]).objects();
    let replaced = history.iter().find(|event| event["removed"].as_array().is_some_and(|removed| !removed.is_empty()));
    let event = replaced.expect("some state is replaced in this room");
    let event_id = event["event_id"].as_str().unwrap();
    let before = scene.run(&["state", "--json", &room_id, "--before", event_id]).objects();
    let after = scene.run(&["state", "--json", &room_id, "--after", event_id]).objects();
    assert_eq!(event["state_before"], fingerprint(&before));
    assert_eq!(event["state_after"], fingerprint(&after));

    let (from, to) = (format!("before:{event_id}"), format!("after:{event_id}"));
    let diff = scene.run(&["diff", "--json", &room_id, &from, &to]);
    assert_eq!(diff.code, 1);
    let (added, removed) = (&event["added"][0], &event["removed"][0]);
    let change = json!({"type": added[0], "state_key": added[1], "before": removed[2], "after": added[2]});
    assert_eq!(diff.objects(), [change]);
    assert_eq!(scene.run(&["diff", &room_id, &from, &from]).code, 0);
    let last = history.last().unwrap()["event_id"].as_str().unwrap();
    assert_eq!(scene.run(&["diff", &room_id, "current", &format!("after:{last}")]).code, 0);

    let shown = scene.run(&["event", "--json", event_id]).objects().pop().unwrap();
    for key in ["event_id", "kind", "verdict", "state_before", "state_after"] {
        assert_eq!(shown[key], event[key], "{key}");
    }
    assert_eq!((&shown["room_id"], &shown["pdu"]["type"]), (&json!(room_id), &added[0]));
    assert_eq!(shown["prev_events"], shown["pdu"]["prev_events"]);
    let one = ["state", "--json", &room_id, "--after", event_id, "--type", added[0].as_str().unwrap()];
    let one = [&one[..], &["--key", added[1].as_str().unwrap()]].concat();
    assert_eq!(scene.run(&one).objects()[0]["event_id"], added[2]);
}

#[test]
fn refusals_have_a_reason() {
    let (scene, room_id) = scene();
    let history = scene.run(&["history", "--json", &room_id]).objects();
    let with_reason = |verdict: &str| {
        history.iter().filter(|event| event["verdict"] == verdict && event["reason"].is_string()).count()
    };
    assert_eq!((with_reason("soft_failed"), with_reason("accepted")), (30, 0));
}

#[test]
fn stats_count_what_is_there() {
    let (scene, room_id) = scene();
    let stats = scene.run(&["stats", "--exact", "--json"]).objects().pop().unwrap();
    assert_eq!((&stats["rooms"], &stats["events"], &stats["outliers"]), (&json!(1), &json!(471), &json!(0)));
    let bytes = &stats["bytes"];
    let tables = bytes["tables"].as_object().unwrap();
    let sum = |names: &[&str]| names.iter().map(|name| tables[*name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(bytes["total"], tables.values().map(|bytes| bytes.as_u64().unwrap()).sum::<u64>());
    assert_eq!(bytes["state"], sum(&["packs", "lists", "blocks"]));
    let per_event = stats["bytes_per_event"].as_f64().unwrap() * 471.0;
    assert!((per_event - bytes["events"].as_f64().unwrap()).abs() < 1.0, "{stats}");

    let room = scene.run(&["stats", "--json", &room_id]).objects().pop().unwrap();
    for key in ["rooms", "events", "state_changes", "snapshots", "blocks"] {
        assert_eq!(room[key], stats[key], "{key}");
    }
    assert!(room["bytes"]["events"].as_u64().unwrap() > 100 * 471);
}

#[test]
fn a_store_that_is_whole_verifies() {
    let (scene, _) = scene();
    let ran = scene.run(&["verify", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let report = ran.objects().pop().unwrap();
    assert_eq!((&report["rooms"], &report["problems"]), (&json!(1), &json!(0)));
}

#[test]
fn a_reader_that_goes_away_ends_the_tool_quietly() {
    let (scene, room_id) = scene();
    let mut child = scene.command("store", &["history", "--json", &room_id]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with('{'));
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*complaint), (Some(0), ""));
}

#[test]
fn the_demo_agrees_with_the_homeserver() {
    let scene = Scene::new();
    let directory = rooms();
    let ran = scene.run(&["demo", "--json", directory.to_str().unwrap()]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let rooms = ran.objects();
    assert_eq!(rooms.len(), 5);
    assert!(rooms.iter().all(|room| room["agrees"] == true), "{rooms:?}");
    assert!(!scene.path("store").exists());

    let ran = scene.run(&["demo", directory.to_str().unwrap()]);
    assert!(ran.stdout.contains("forks-v12") && ran.stdout.contains("In each of the 5 rooms"), "{}", ran.stdout);
}

#[test]
fn a_demo_that_disagrees_ends_with_1() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("rooms")).unwrap();
    std::fs::copy(room_file("big"), scene.path("rooms/big.jsonl.gz")).unwrap();
    let mut expected = expected("big");
    expected["extremities"] = json!(["$other"]);
    scene.file("rooms/big.expected.json", expected.to_string());
    let ran = scene.run(&["demo", scene.path("rooms").to_str().unwrap()]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("ANOTHER"), "{}", ran.stdout);
}

#[test]
fn completions_know_every_command() {
    let scene = Scene::new();
    let script = scene.run(&["completions", "bash"]).stdout;
    for command in ["import", "history", "parked", "completions"] {
        assert!(script.contains(command), "{command}");
    }
}

#[test]
fn the_store_can_be_named_by_the_environment() {
    let (scene, _) = scene();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roomserver"));
    let output = command.args(["rooms", "--json"]).env("ROOMSERVER_STORE", scene.path("store")).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"{\"room_id\""));
}
