//! Lines before their room's create event. They were invalid, each of them, and nothing said how to tell the room version.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::{Ran, Scene, counts, room_file, room_lines, text};

/// The events of a room without anything that tells its version, the create event after the first ones.
fn late_create() -> Vec<Value> {
    let mut lines: Vec<Value> = room_lines("busy").iter().map(|line| line["pdu"].clone()).collect();
    lines.truncate(200);
    lines[..20].rotate_left(1);
    lines
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn lines_before_the_create_event_are_read_again_where_the_file_can_be() {
    let plain = text(&late_create());
    for (name, bytes) in [("plain", plain.clone().into_bytes()), ("gzip", gzip(&plain))] {
        let scene = Scene::new();
        let ran = scene.run(&["import", "--json", &scene.file(name, bytes)]);
        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{name}");
        assert_eq!(counts(&ran.objects()[0]), [("accepted", 200)], "{name}");
        assert_eq!(scene.run(&["verify"]).code, 0);
    }
}

#[test]
fn the_create_event_may_stand_in_another_file() {
    let lines = late_create();
    let scene = Scene::new();
    let (before, after) = (scene.file("a.jsonl", text(&lines[..10])), scene.file("b.jsonl", text(&lines[10..])));
    let ran = scene.run(&["import", "--each", "--json", &before, &after]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let mut told = ran.objects();
    assert_eq!(counts(&told.pop().unwrap()), [("accepted", 200)]);
    // Each line is told once, those that were read again at the end.
    let places: Vec<(&str, u64)> =
        told.iter().map(|line| (line["file"].as_str().unwrap(), line["line"].as_u64().unwrap())).collect();
    let of = |file: &'static str, lines: std::ops::RangeInclusive<u64>| lines.map(move |line| (file, line));
    let expected: Vec<(&str, u64)> = of("b", 10..=190).chain(of("a", 1..=10)).chain(of("b", 1..=9)).collect();
    let name = |file: &str| if file == before { "a" } else { "b" };
    assert_eq!(places.iter().map(|(file, line)| (name(file), *line)).collect::<Vec<_>>(), expected);
    assert!(told.iter().all(|line| line["error"].is_null()), "{told:?}");
}

/// What the tool says of lines whose room version nobody tells.
fn is_refused(ran: &Ran, file: &str, lines: std::ops::RangeInclusive<u64>) {
    assert_eq!(ran.code, 1);
    let complaints: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(complaints.len() as u64, lines.end() + 1 - lines.start(), "{}", ran.stderr);
    for (line, complaint) in lines.zip(complaints) {
        assert!(complaint.starts_with(&format!("{file}:{line}: room !")), "{complaint}");
        assert!(complaint.contains("--room-version"), "{complaint}");
    }
}

#[test]
fn what_cannot_be_read_again_or_is_to_be_strict_is_refused_and_the_flag_named() {
    let lines = text(&late_create());
    let scene = Scene::new();
    let ran = scene.run_with_input(&["import", "--json", "-"], lines.as_bytes());
    is_refused(&ran, "stdin", 1..=19);
    let summary = ran.objects().pop().unwrap();
    assert_eq!((&summary["invalid"], &summary["lines"]), (&json!(19), &json!(200)));
    let file = scene.file("late.jsonl", &lines);
    is_refused(&scene.run_on("strict", &["import", "--strict", &file]), &file, 1..=1);
    let told = scene.run_on("told", &["import", "--room-version", "11", "--json", &file]).objects();
    assert_eq!(counts(&told[0]), [("accepted", 200)]);
}

#[test]
fn what_no_create_event_decides_is_refused_once_and_the_rest_is_taken() {
    let mut lines = late_create();
    lines.retain(|line| line["type"] != "m.room.create");
    let scene = Scene::new();
    let file = scene.file("headless.jsonl", format!("{}{{\n", text(&lines[..30])));
    let ran = scene.run(&["import", "--json", &file, &room_file("forks-v12")]);
    let complaints: Vec<&str> = ran.stderr.lines().collect();
    assert!(complaints[0].starts_with(&format!("{file}:31: not JSON")), "{}", ran.stderr);
    let rest = Ran { stderr: complaints[1..].join("\n"), ..ran };
    is_refused(&rest, &file, 1..=30);
    assert_eq!(counts(&rest.objects()[0]), [("accepted", 441), ("soft_failed", 35), ("invalid", 31)]);
}

/// A torn archive ends twice at the same place, and is told of once.
#[test]
fn a_torn_archive_with_lines_that_are_read_again_is_told_of_once() {
    let mut archive = gzip(&text(&late_create()));
    archive.truncate(archive.len() * 2 / 3);
    let scene = Scene::new();
    let ran = scene.run(&["import", "--json", &scene.file("torn.gz", archive)]);
    assert_eq!((ran.code, ran.stderr.lines().count()), (1, 1), "{}", ran.stderr);
    let summary = ran.objects().pop().unwrap();
    assert_eq!(summary["invalid"], json!(1));
    assert!(summary["accepted"].as_u64().unwrap() > 50, "{summary}");
}
