//! What is told of parked events: whoever asked for one was told that it is not here, and nothing said what must be fetched.

use serde_json::{Value, json};

use super::{Scene, expected, room_lines, text};

/// A room of which an event is left out, and the last one names another that never came: some events stay parked.
struct Gap {
    scene: Scene,
    room: String,
    /// The event that is left out.
    lost: String,
    /// The events that name it, in their order.
    followers: Vec<String>,
}

fn gap() -> Gap {
    const LOST: usize = 300;
    let lines = room_lines("busy");
    let id = |line: &Value| line["event_id"].as_str().unwrap().to_owned();
    let lost = id(&lines[LOST]);
    let mut given = lines[..LOST].to_vec();
    // All that cannot be decided without it.
    let mut behind = vec![lost.clone()];
    for line in &lines[LOST + 1..] {
        let prev = line["pdu"]["prev_events"].as_array().unwrap();
        if prev.iter().any(|prev| behind.iter().any(|id| prev == id)) && behind.len() < 5 {
            behind.push(id(line));
            given.push(line.clone());
        }
    }
    assert_eq!(behind.len(), 5, "the room is no chain behind this event");
    let scene = Scene::new();
    let summary = scene.import("store", &scene.file("events.jsonl", text(&given)));
    assert_eq!((&summary["parked"], &summary["invalid"]), (&json!(4), &json!(0)), "{summary}");
    let room = expected("busy")["room_id"].as_str().unwrap().to_owned();
    Gap { scene, room, lost, followers: behind[1..].to_vec() }
}

#[test]
fn what_is_parked_is_listed_with_what_it_waits_for_in_the_end() {
    let Gap { scene, room, lost, followers } = gap();
    let ran = scene.run(&["parked", "--json"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let parked = ran.objects();
    assert_eq!(parked.iter().map(|parked| parked["event_id"].as_str().unwrap()).collect::<Vec<_>>(), followers);
    let first = json!({
        "room_id": room, "event_id": followers[0], "kind": "new", "parked_at": 300,
        "lacks": [{"event_id": lost, "role": "prev"}], "waits_for": [lost],
    });
    assert_eq!(parked[0], first);
    for (place, parked) in parked.iter().enumerate().skip(1) {
        assert_eq!(parked["waits_for"], json!([lost]), "{place}");
        assert!(parked["lacks"].as_array().unwrap().iter().all(|lack| lack["role"] == "prev"), "{parked}");
    }
    assert_eq!(scene.run(&["parked", "--json", &room]).stdout, ran.stdout);
    assert_eq!(scene.run(&["room", "--json", &room]).objects()[0]["lacks"], json!([lost]));
    for arguments in [&["parked"][..], &["parked", &room], &["room", &room]] {
        let ran = scene.run(arguments);
        assert!(ran.code == 0 && ran.stdout.contains(&lost), "{}", ran.stdout);
    }
    let ran = scene.run(&["parked", "!nowhere:x"]);
    assert_eq!((ran.code, &*ran.stdout), (2, ""));
    assert!(ran.stderr.contains("room !nowhere:x is not in the store"), "{}", ran.stderr);
}

#[test]
fn a_parked_event_is_found_by_its_id() {
    let Gap { scene, room, lost, followers } = gap();
    let event_id = &followers[0];
    let event = scene.run(&["event", "--json", event_id]).objects().pop().unwrap();
    let known = ["event_id", "room_id", "kind", "verdict", "state_before", "state_after", "lacks", "parked_at"];
    let told: Vec<Value> = known.iter().map(|key| event[key].clone()).collect();
    let lacks = json!([{"event_id": lost, "role": "prev"}]);
    assert_eq!(json!(told), json!([event_id, room, "new", "parked", null, null, lacks, 300]));
    for key in ["depth", "prev_events", "auth_events"] {
        assert_eq!(event[key], event["pdu"][key], "{key}");
    }
    assert_eq!(scene.run(&["event", "--json", event_id, "--room", &room]).objects(), [event]);
    let text = scene.run(&["event", event_id]).stdout;
    assert!(text.contains("parked at position 300, 0 positions ago") && text.contains(&lost), "{text}");

    // What was lost comes: the parked ones are decided.
    let lost = room_lines("busy").into_iter().find(|line| line["event_id"] == *lost).unwrap();
    scene.import("store", &scene.file("lost.jsonl", super::text(&[lost])));
    let event = scene.run(&["event", "--json", event_id]).objects().pop().unwrap();
    assert!(event["verdict"] == "accepted" && event.get("lacks").is_none(), "{event}");
    assert_eq!(scene.run(&["parked"]).stdout, "");
}

/// An outlier that is to get its place: both what is stored and what is parked is told.
#[test]
fn an_outlier_with_a_parked_input_tells_of_both() {
    let Gap { scene, lost, .. } = gap();
    let lines = room_lines("busy");
    let follower = lines.iter().position(|line| line["pdu"]["prev_events"] == json!([lost])).unwrap();
    let mut outlier = lines[follower].clone();
    outlier["kind"] = json!("outlier");
    let given = [&lines[..300], &[outlier, lines[follower].clone()]].concat();
    scene.run_on("other", &["import", &scene.file("outlier.jsonl", text(&given))]);
    let event_id = lines[follower]["event_id"].as_str().unwrap();
    let events = scene.run_on("other", &["event", "--json", event_id]).objects();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((&event["kind"], &event["verdict"]), (&json!("outlier"), &json!("accepted")));
    let parked = &event["parked"];
    let expected = json!([{"event_id": lost, "role": "prev"}]);
    assert_eq!((&parked["kind"], &parked["lacks"], &parked["parked_at"]), (&json!("new"), &expected, &json!(301)));
    let text = scene.run_on("other", &["event", event_id]).stdout;
    assert!(text.contains("as new, parked at position 301"), "{text}");
}
