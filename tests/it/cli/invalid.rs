//! Input that is wrong: each line is reported with file, line and cause, and the rest is processed.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::{Scene, counts, expected, room_file, room_lines, text};

/// A line whose PDU is changed.
fn changed(line: &Value, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut line = line.clone();
    line.as_object_mut().unwrap().remove("event_id");
    change(&mut line["pdu"]);
    line.to_string().into_bytes()
}

#[test]
fn an_invalid_line_is_reported_with_file_line_and_cause_and_the_rest_is_processed() {
    let lines = room_lines("forks-v10");
    let sample = &lines[20];
    let with = |key: &str, value: Value| {
        let mut line = sample.clone();
        line[key] = value;
        line.to_string().into_bytes()
    };
    let mut not_utf8 = sample.to_string().into_bytes();
    let place = not_utf8.windows(4).position(|bytes| bytes == b"type").unwrap();
    not_utf8[place] = 0xff;
    let id = sample["event_id"].as_str().unwrap();
    let cases: Vec<(Vec<u8>, String)> = vec![
        (b"{\"a\":x}".to_vec(), "not JSON at byte 5: expected a value".into()),
        (b"[1]".to_vec(), "the line is not a JSON object".into()),
        (not_utf8, format!("not JSON at byte {place}: invalid UTF-8")),
        (with("event_id", json!("$other")), format!("the event ID is {id}, not $other as told")),
        (with("event_id", json!(7)), "`event_id` is not a string".into()),
        (with("kind", json!("newest")), "`kind` is `newest`, not new, old or outlier".into()),
        (with("room_version", json!("99")), "room version `99` is not known".into()),
        (with("state", json!(["x"])), "`state` has `x`, which is no event ID".into()),
        (changed(sample, |pdu| pdu["depth"] = json!("7")), "`depth`".into()),
        (changed(sample, |pdu| pdu["depth"] = json!(1u64 << 53)), "depth".into()),
        (changed(sample, |pdu| pdu["depth"] = json!(-1)), "`depth`".into()),
        (changed(sample, |pdu| pdu["content"]["x"] = json!("x".repeat(65_536))), "at most 65536".into()),
        (changed(sample, |pdu| pdu["content"]["x"] = json!("x".repeat(300_000))), "at most 65536".into()),
        (
            changed(sample, |pdu| {
                pdu["prev_events"] = (0..10_000).map(|n| json!(format!("${n:043}"))).collect();
            }),
            " bytes, at most 65536".into(),
        ),
        (
            changed(sample, |pdu| pdu["prev_events"] = (0..21).map(|n| json!(format!("${n:043}"))).collect()),
            "`prev_events` has 21 entries, at most 20 are allowed".into(),
        ),
        (changed(sample, |pdu| drop(pdu.as_object_mut().unwrap().remove("room_id"))), "`room_id` is missing".into()),
    ];
    // A good line before and after each bad one; the file ends with good ones.
    let mut file = Vec::new();
    for (good, (bad, _)) in lines.iter().zip(&cases) {
        writeln!(file, "{good}").unwrap();
        file.extend_from_slice(bad);
        file.push(b'\n');
    }
    file.extend_from_slice(text(&lines[cases.len()..]).as_bytes());

    let scene = Scene::new();
    let path = scene.file("events.jsonl", file);
    let ran = scene.run(&["import", "--json", &path]);
    assert_eq!(ran.code, 1);
    let reports: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(reports.len(), cases.len(), "{}", ran.stderr);
    for (number, (report, (_, cause))) in reports.iter().zip(&cases).enumerate() {
        let place = format!("{path}:{}: ", 2 * number + 2);
        assert!(report.starts_with(&place) && report.contains(cause), "{report}\nis not about {place}{cause}");
    }
    let summary = ran.objects().pop().unwrap();
    let invalid = cases.len() as u64;
    assert_eq!(counts(&summary), [("accepted", 441), ("soft_failed", 30), ("invalid", invalid)]);
}

#[test]
fn a_room_that_nobody_told_the_version_of_is_an_invalid_line() {
    let mut bare = room_lines("forks-v10").remove(1)["pdu"].take();
    bare["room_id"] = json!("!elsewhere:example.org");
    let scene = Scene::new();
    let path = scene.file("events.jsonl", text(&[bare.clone()]));
    let ran = scene.run(&["import", &path]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with(&format!("{path}:1: room !elsewhere:example.org is not known")), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("; tell it with --room-version\n"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);

    let ran = scene.run(&["import", "--room-version", "10", "--json", &path]);
    assert_eq!((ran.code, counts(&ran.objects()[0])), (0, vec![("parked", 1)]));
}

#[test]
fn a_torn_archive_is_reported_after_what_could_be_read_is_processed() {
    let lines = room_lines("forks-v10");
    for len in [40, 400] {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text(&lines[..len]).as_bytes()).unwrap();
        let mut archive = encoder.finish().unwrap();
        archive.truncate(archive.len() * 2 / 3);

        let scene = Scene::new();
        let path = scene.file("events.jsonl.gz", archive);
        let ran = scene.run(&["import", "--json", &path]);
        assert_eq!(ran.code, 1);
        let summary = ran.objects().pop().unwrap();
        let accepted = summary["accepted"].as_u64().unwrap() + summary["soft_failed"].as_u64().unwrap();
        assert!(accepted > 0 && accepted < len as u64, "{summary}");
        assert!(ran.stderr.starts_with(&format!("{path}:{}: cannot be read on", accepted + 1)), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1);
        assert_eq!(scene.run(&["rooms", "--json"]).objects()[0]["events"], accepted);
    }
}

#[test]
fn a_supplied_state_with_an_event_of_another_room_is_invalid() {
    let mut lines = room_lines("forks-v10");
    let mut last = lines.pop().unwrap();
    let foreign = room_lines("busy")[0]["event_id"].clone();
    last["state"] = json!([lines[0]["event_id"], foreign]);
    lines.push(last);
    let scene = Scene::new();
    scene.import("store", &room_file("busy"));
    let path = scene.file("events.jsonl", text(&lines));
    let ran = scene.run(&["import", "--json", &path]);
    assert_eq!(ran.code, 1);
    let cause = format!(
        "{path}:{}: the supplied state has {}, an event of another room\n",
        lines.len(),
        foreign.as_str().unwrap()
    );
    assert_eq!(ran.stderr, cause);
    assert_eq!(ran.objects()[0]["invalid"], 1);
}

#[test]
fn strict_stops_at_the_first_invalid_line() {
    let lines = room_lines("forks-v10");
    let file = format!("{}{{\n{}", text(&lines[..9]), text(&lines[9..]));
    let scene = Scene::new();
    let path = scene.file("events.jsonl", file);
    let ran = scene.run(&["import", "--strict", "--json", &path, &room_file("busy")]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with(&format!("{path}:10: not JSON")), "{}", ran.stderr);
    assert_eq!(counts(&ran.objects()[0]), [("accepted", 9), ("invalid", 1)]);
    let rooms = scene.run(&["rooms", "--json"]).objects();
    assert_eq!((rooms.len(), &rooms[0]["events"]), (1, &json!(9)));
}

#[test]
fn what_cannot_be_done_ends_with_2() {
    let scene = Scene::new();
    let missing = scene.path("missing.jsonl");
    let missing = missing.to_str().unwrap();
    for (arguments, cause) in [
        (&["import", missing][..], missing),
        (&["rooms"], "there is no store in"),
        (&["import", "--room-version", "99", "-"], "room version `99` is not known"),
        (&["no-such-command"], "unrecognized subcommand"),
        (&["diff", "!r", "sideways"], "before:EVENT"),
    ] {
        let ran = scene.run(arguments);
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(cause), "{arguments:?}: {}", ran.stderr);
    }
    assert!(!scene.path("store").exists(), "nothing was to be made");

    scene.import("store", &room_file("forks-v12"));
    let room = expected("forks-v12")["room_id"].as_str().unwrap().to_owned();
    for (arguments, cause) in [
        (&["room", "!nowhere:x"][..], "room !nowhere:x is not in the store"),
        (&["event", "$nothing"], "event $nothing is not in the store"),
        (&["state", "!nowhere:x"], "room !nowhere:x is not in the store"),
        (&["stats", "!nowhere:x"], "room !nowhere:x is not in the store"),
        (&["event", "$nothing", "--room", "!nowhere:x"], "room !nowhere:x is not in the store"),
        (&["event", "$nothing", "--room", &room], &format!("event $nothing of room {room} is not in the store")),
        (&["state", &room, "--before", "$nothing"], &format!("event $nothing of room {room} is not in the store")),
        (&["export", "!nowhere:x"], "room !nowhere:x is not in the store"),
        (&["history", "!nowhere:x"], "room !nowhere:x is not in the store"),
    ] {
        let ran = scene.run(arguments);
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(cause), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn a_file_that_cannot_be_read_does_not_keep_the_others_from_being_read() {
    let scene = Scene::new();
    let missing = scene.path("missing.jsonl");
    let ran = scene.run(&["import", "--json", missing.to_str().unwrap(), &room_file("forks-v12")]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("missing.jsonl: cannot be read"), "{}", ran.stderr);
    assert_eq!(counts(&ran.objects()[0]), [("accepted", 441), ("soft_failed", 35)]);
}

/// A script that adds to what it was told need not look at it first.
#[test]
fn a_flag_may_be_given_twice_and_the_last_value_counts() {
    let scene = Scene::new();
    let mut bare = room_lines("forks-v10").remove(1)["pdu"].take();
    bare["room_id"] = json!("!elsewhere:example.org");
    let path = scene.file("events.jsonl", text(&[bare]));
    let twice = ["import", "--each", "--json", "--strict", "--each", "--json", "--strict", &path];
    let ran = scene.run(&[&twice[..], &["--room-version", "3", "--room-version", "10"]].concat());
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let room = scene.run(&["rooms", "--json", "--store", scene.path("none").to_str().unwrap(), "--json"]);
    assert_eq!(room.code, 0, "the scene's own store comes last: {}", room.stderr);
    for arguments in
        [&["verify", "--json", "--json"][..], &["stats", "--exact", "--exact"], &["gc", "--rejected", "--rejected"]]
    {
        let ran = scene.run(arguments);
        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{arguments:?}");
    }
}
