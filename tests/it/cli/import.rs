//! What an import tells, and what a second one and one of an export give.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use serde_json::{Value, json};

use super::{Ran, Scene, counts, expected, room_file, room_lines, text};

/// Everything that is told of a store's rooms: fingerprints, verdicts, the states around every event.
fn told(scene: &Scene, store: &str) -> Vec<Value> {
    let mut told = Vec::new();
    for room in scene.run_on(store, &["rooms", "--json"]).objects() {
        let room_id = room["room_id"].as_str().unwrap();
        told.extend(scene.run_on(store, &["room", "--json", room_id]).objects());
        told.extend(scene.run_on(store, &["history", "--json", room_id]).objects());
    }
    told
}

/// A server that joined late: outliers, a supplied state, an outlier that gets its place, and events that stay parked.
fn late_join(scene: &Scene) -> Vec<Value> {
    let lines = room_lines("forks-v10");
    let whole = scene.file("whole.jsonl", text(&lines));
    scene.import("whole", &whole);
    let room = expected("forks-v10")["room_id"].as_str().unwrap().to_owned();
    let (join, lost) = (60, 400);
    let join_id = lines[join]["event_id"].as_str().unwrap();
    let state = scene.run_on("whole", &["state", "--json", &room, "--before", join_id]).objects();

    let with = |line: &Value, key: &str, value: Value| {
        let mut line = line.clone();
        line[key] = value;
        line
    };
    let mut late: Vec<Value> = lines[..join].iter().map(|line| with(line, "kind", json!("outlier"))).collect();
    let early = with(&lines[join], "kind", json!("outlier"));
    late.push(early);
    late.push(with(&lines[join], "state", state.iter().map(|entry| entry["event_id"].clone()).collect()));
    late.extend_from_slice(&lines[join + 1..lost]);
    late.extend_from_slice(&lines[lost + 1..]);
    late
}

#[test]
fn a_room_ends_as_the_homeserver_says() {
    for name in ["forks-v1", "forks-v10", "forks-v12", "busy", "big"] {
        let scene = Scene::new();
        let summary = scene.import("store", &room_file(name));
        assert!(counts(&summary).iter().all(|(sort, _)| ["accepted", "soft_failed"].contains(sort)), "{summary}");
        let expected = expected(name);
        let room = scene.run(&["room", "--json", expected["room_id"].as_str().unwrap()]).objects().pop().unwrap();
        assert_eq!((&room["state"], &room["extremities"]), (&expected["state"], &expected["extremities"]), "{name}");
    }
}

/// Its last event has a field that is called as the one in which a wrapper has its PDU.
#[test]
fn a_bare_pdu_may_have_a_field_of_any_name() {
    let scene = Scene::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/cases/field_pdu.jsonl");
    let summary = scene.import("store", file);
    assert_eq!(counts(&summary), [("accepted", 3)], "{summary}");
}

#[test]
fn a_second_import_is_all_duplicates_and_changes_nothing() {
    let scene = Scene::new();
    let first = scene.import("store", &room_file("forks-v12"));
    let before = told(&scene, "store");
    let second = scene.import("store", &room_file("forks-v12"));
    assert_eq!(counts(&second), [("duplicate", first["lines"].as_u64().unwrap())]);
    assert_eq!(told(&scene, "store"), before);
}

#[test]
fn each_line_counts_once_by_its_state_at_the_end() {
    let scene = Scene::new();
    let late = scene.file("late.jsonl", text(&late_join(&scene)));
    let summary = scene.import("store", &late);
    let room = expected("forks-v10")["room_id"].as_str().unwrap().to_owned();
    let room = scene.run(&["room", "--json", &room]).objects().pop().unwrap();
    assert_eq!(summary["lines"], late_join(&scene).len());
    counts(&summary);
    // The outlier that got its place is two lines and one event.
    let [accepted, soft_failed] = ["accepted", "soft_failed"].map(|sort| summary[sort].as_u64().unwrap());
    assert_eq!(accepted + soft_failed, room["events"].as_u64().unwrap() + 1);
    for sort in ["soft_failed", "rejected", "parked", "outliers"] {
        assert_eq!(summary[sort], room[sort], "{sort}");
    }
    assert!(summary["parked"].as_u64().unwrap() > 0 && summary["outliers"] == 60, "{summary}");
}

#[test]
fn a_parked_line_that_is_accepted_later_counts_as_accepted() {
    let mut lines = room_lines("busy");
    lines.truncate(300);
    lines[1..].reverse();
    let scene = Scene::new();
    let summary = scene.import("store", &scene.file("events.jsonl", text(&lines)));
    assert_eq!(counts(&summary), [("accepted", 300)]);
}

#[test]
fn an_export_makes_the_same_rooms_again() {
    let scene = Scene::new();
    scene.import("store", &scene.file("late.jsonl", text(&late_join(&scene))));
    scene.import("store", &room_file("forks-v1"));
    scene.import("store", &room_file("forks-v12"));
    let export = scene.run(&["export"]);
    assert_eq!((export.code, &*export.stderr), (0, ""));
    let ran = scene.run_on("copy", &["import", "--json", &scene.file("export.jsonl", &export.stdout)]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    assert_eq!(told(&scene, "copy"), told(&scene, "store"));
    assert_eq!(scene.run_on("copy", &["export"]).stdout, export.stdout);

    let lines = export.objects();
    assert!(lines.iter().any(|line| line["kind"] == "outlier") && lines.iter().any(|line| line["state"].is_array()));
    let room = expected("forks-v1")["room_id"].as_str().unwrap().to_owned();
    let one = scene.run(&["export", &room]).objects();
    assert_eq!(one.len(), 445);
    assert!(one.iter().all(|line| line["pdu"]["room_id"] == *room));
}

/// JSON text with every character of its strings escaped.
fn escaped(text: &str) -> String {
    let (mut out, mut in_string) = (String::new(), false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => in_string = !in_string,
            '\\' => {
                out.extend(['\\', characters.next().unwrap()]);
                if out.ends_with('u') {
                    out.extend(characters.by_ref().take(4));
                }
                continue;
            }
            _ if in_string => {
                let units = &mut [0; 2];
                out.extend(character.encode_utf16(units).iter().map(|unit| format!("\\u{unit:04x}")));
                continue;
            }
            _ => {}
        }
        out.push(character);
    }
    out
}

/// Escapes take six times as many bytes, and `unsigned` more than an event may have: neither is part of it.
#[test]
fn what_comes_with_an_event_is_neither_counted_nor_kept() {
    let (scene, lines) = (Scene::new(), room_lines("forks-v1"));
    let plain = scene.import("store", &room_file("forks-v1"));
    let wordy = lines.iter().enumerate().map(|(place, line)| {
        let mut line = line.clone();
        if place % 20 == 0 {
            line["pdu"]["unsigned"] = json!({ "age": 7, "org.example.more": "x".repeat(140_000) });
        }
        escaped(&line.to_string()) + "\n"
    });
    let wordy = scene.file("wordy.jsonl", wordy.collect::<String>());
    assert_eq!(counts(&scene.import("copy", &wordy)), counts(&plain));
    assert_eq!(scene.run_on("copy", &["export"]).stdout, scene.run(&["export"]).stdout);
}

#[test]
fn each_line_is_told_as_soon_as_it_is_durable() {
    let lines = room_lines("forks-v12");
    let scene = Scene::new();
    let mut command = scene.command("store", &["import", "--each", "--json", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ask = |line: &str| -> Value {
        writeln!(input, "{line}").unwrap();
        serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap()
    };
    // Standard input stays open: the answer must not wait for more of it.
    let first = ask(&lines[0].to_string());
    let id = &lines[0]["event_id"];
    assert_eq!(first, json!({"line": 1, "event_id": id, "outcome": "accepted", "position": 1}));
    let again = ask(&lines[0].to_string());
    assert_eq!(again, json!({"line": 2, "event_id": id, "outcome": "duplicate", "position": null}));
    let wrong = ask("\n{");
    assert_eq!((&wrong["line"], &wrong["event_id"], &wrong["outcome"]), (&json!(4), &json!(null), &json!("invalid")));
    assert_eq!(wrong["error"], "not JSON at byte 1: unexpected end");
    let parked = ask(&lines[5].to_string());
    let lacks =
        lines[5]["pdu"]["auth_events"].as_array().unwrap().iter().map(|id| json!({"event_id": id, "role": "auth"}));
    let prev =
        lines[5]["pdu"]["prev_events"].as_array().unwrap().iter().map(|id| json!({"event_id": id, "role": "prev"}));
    let id = &lines[5]["event_id"];
    let lacks: Vec<Value> = lacks.chain(prev).filter(|lack| lack["event_id"] != lines[0]["event_id"]).collect();
    let expected = json!({"line": 5, "event_id": id, "outcome": "parked", "position": null, "lacks": lacks});
    assert_eq!(parked, expected);
    let mut outlier = lines[1].clone();
    outlier["kind"] = json!("outlier");
    let outlier = ask(&outlier.to_string());
    assert_eq!((&outlier["outcome"], &outlier["position"]), (&json!("outlier"), &json!(2)));
    drop(input);
    let summary: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
    let counts = counts(&summary);
    assert_eq!(counts, [("accepted", 1), ("duplicate", 1), ("parked", 1), ("outliers", 1), ("invalid", 1)]);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// The reason is the one that `event` gives later.
#[test]
fn a_line_that_is_refused_says_why() {
    let scene = Scene::new();
    let mut lines = room_lines("forks-v10");
    let mut outsider = lines[20].clone();
    outsider.as_object_mut().unwrap().remove("event_id");
    outsider["pdu"]["sender"] = json!("@outsider:elsewhere.example");
    lines.insert(21, outsider);
    let told = scene.run(&["import", "--each", "--json", &scene.file("events.jsonl", text(&lines))]).objects();
    let mut seen = Vec::new();
    for line in told.iter().filter(|line| line["event_id"].is_string()) {
        let is_refused = ["rejected", "soft_failed"].contains(&line["outcome"].as_str().unwrap());
        assert_eq!(line["reason"].is_string(), is_refused, "{line}");
        if is_refused && !seen.contains(&line["outcome"]) {
            seen.push(line["outcome"].clone());
            let event = scene.run(&["event", "--json", line["event_id"].as_str().unwrap()]).objects().pop().unwrap();
            assert_eq!((&event["verdict"], &event["reason"]), (&line["outcome"], &line["reason"]));
        }
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    let text = scene.run_on("text", &["import", "--each", scene.path("events.jsonl").to_str().unwrap()]).stdout;
    let rejected = told.iter().find(|line| line["outcome"] == "rejected").unwrap();
    let line = format!("rejected {}: {}", rejected["event_id"].as_str().unwrap(), rejected["reason"].as_str().unwrap());
    assert!(text.contains(&line), "{line}");
}

/// Nobody will send it again: who waits for it waits for the wrong thing.
#[test]
fn a_line_that_waits_for_one_that_is_invalid_says_so() {
    let lines = room_lines("forks-v10");
    let [before, follower] = [300, 301].map(|place| lines[place].clone());
    assert_eq!(follower["pdu"]["prev_events"], json!([before["event_id"]]), "these two are neighbours");
    assert!(follower["pdu"]["auth_events"].as_array().unwrap().contains(&before["event_id"]));
    let mut bare = before["pdu"].clone();
    bare["signatures"] = json!("none");
    let mut unknown = before.clone();
    unknown["kind"] = json!("newest");
    for (name, invalid) in [("bare", bare), ("unknown", unknown)] {
        let given = [&lines[..300], &[invalid, follower.clone()]].concat();
        let scene = Scene::new();
        let file = scene.file("events.jsonl", text(&given));
        let told = scene.run(&["import", "--each", "--json", &file]).objects();
        assert_eq!(told[300]["outcome"], "invalid", "{name}");
        let lack = |role| json!({"event_id": before["event_id"], "role": role, "invalid_line": 301});
        let lacks = json!([lack("auth"), lack("prev")]);
        assert_eq!((&told[301]["outcome"], &told[301]["lacks"]), (&json!("parked"), &lacks), "{name}");
        let told = scene.run_on("text", &["import", "--each", &file]).stdout;
        let last = told.lines().nth(301).unwrap();
        let id = before["event_id"].as_str().unwrap();
        let lacks = format!("lacks auth event {id} (invalid: line 301), prev event {id} (invalid: line 301)");
        assert!(last.ends_with(&lacks), "{last}");
    }
}

#[test]
fn outcomes_come_in_the_order_of_the_lines_and_name_the_file_if_there_are_several() {
    let scene = Scene::new();
    let files = [room_file("forks-v12"), room_file("forks-v1")];
    let ran = scene.run(&["import", "--each", "--json", &files[0], &files[1]]);
    let told: Vec<(String, u64)> = (ran.objects().iter().filter(|line| line["outcome"].is_string()))
        .map(|line| (line["file"].as_str().unwrap().to_owned(), line["line"].as_u64().unwrap()))
        .collect();
    let all: Vec<(String, u64)> =
        (1..=476).map(|line| (files[0].clone(), line)).chain((1..=445).map(|line| (files[1].clone(), line))).collect();
    assert_eq!(told, all);
}

#[test]
fn compression_and_standard_input_make_no_difference() {
    let lines = text(&room_lines("forks-v10"));
    let scene = Scene::new();
    let Ran { stdout, .. } = scene.run_with_input(&["import", "--json", "-"], lines.as_bytes());
    let plain: Value = serde_json::from_str(&stdout).unwrap();
    let zstd = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    let zstd = scene.import("zstd", &scene.file("any.name", zstd));
    let gzip = scene.import("gzip", &room_file("forks-v10"));
    assert_eq!((counts(&zstd), counts(&gzip)), (counts(&plain), counts(&plain)));
    let told_plain = told(&scene, "store");
    assert_eq!((told(&scene, "zstd"), told(&scene, "gzip")), (told_plain.clone(), told_plain));
}
