//! Giving bytes back: the JSON of `gc` and `purge`, and what is left after them.

use serde_json::{Value, json};

use super::{Scene, expected, room_file};

/// A store with two rooms, and their IDs.
fn scene() -> (Scene, [String; 2]) {
    let scene = Scene::new();
    let names = ["forks-v10", "forks-v1"];
    for name in names {
        scene.import("store", &room_file(name));
    }
    (scene, names.map(|name| expected(name)["room_id"].as_str().unwrap().to_owned()))
}

#[test]
fn a_purged_room_is_gone_and_can_be_imported_again() {
    let (scene, [gone, other]) = scene();
    let others = scene.run(&["history", "--json", &other]).stdout;
    let history = scene.run(&["history", "--json", &gone]).stdout;
    let ran = scene.run(&["purge", "--json", &gone]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let purged = ran.objects().pop().unwrap();
    assert_eq!((&purged["room_id"], &purged["events"]), (&json!(gone), &json!(471)));
    assert!(purged["snapshots"].as_u64().unwrap() > 0 && purged["bytes"].as_u64().unwrap() > 10_000, "{purged}");
    let rooms = scene.run(&["rooms", "--json"]).objects();
    assert_eq!(rooms.len(), 1);
    assert_eq!(rooms[0]["room_id"], other);
    assert_eq!(scene.run(&["history", "--json", &other]).stdout, others);
    assert_eq!(scene.run(&["verify"]).code, 0);

    let ran = scene.run(&["purge", &gone]);
    assert_eq!((ran.code, &*ran.stdout), (2, ""));
    assert!(ran.stderr.contains(&gone), "{}", ran.stderr);

    let summary = scene.import("store", &room_file("forks-v10"));
    assert_eq!(summary["duplicate"], json!(0));
    assert_eq!(scene.run(&["history", "--json", &gone]).stdout, history);
    assert_eq!(scene.run(&["verify"]).code, 0);
}

/// The event at a place of a room's history.
fn event_at(history: &[Value], place: usize) -> &str {
    history[place]["event_id"].as_str().unwrap()
}

#[test]
fn what_nothing_reaches_is_what_stats_told_and_gc_frees() {
    let (scene, [room, _]) = scene();
    let history = scene.run(&["history", "--json", &room]).stdout;
    let told = scene.run(&["stats", "--json"]).objects().pop().unwrap();
    let of_room = scene.run(&["stats", "--json", &room]).objects().pop().unwrap();
    let freed = scene.run(&["gc", "--json"]).objects().pop().unwrap();
    let [collectable, of_room] = [&told["collectable"], &of_room["collectable"]];
    assert!(collectable["snapshots"].as_u64() > of_room["snapshots"].as_u64());
    for what in ["snapshots", "lists", "blocks"] {
        assert_eq!(freed[what], collectable[what], "{what}");
    }
    assert_eq!((&freed["events"], &freed["bodies"]), (&json!(0), &json!(0)));
    assert_eq!(scene.run(&["history", "--json", &room]).stdout, history);
    let rest = scene.run(&["stats", "--json"]).objects().pop().unwrap();
    assert_eq!(rest["collectable"], json!({"snapshots": 0, "lists": 0, "blocks": 0, "bytes": 0}));
    assert_eq!(scene.run(&["verify"]).code, 0);
}

#[test]
fn history_before_an_event_is_collected_and_an_export_of_the_rest_makes_it_again() {
    let (scene, [room, other]) = scene();
    let others = scene.run(&["history", "--json", &other]).stdout;
    let before = scene.run(&["history", "--json", &room]).objects();
    let bytes = |scene: &Scene| scene.run(&["stats", "--exact", "--json"]).objects()[0]["bytes"]["total"].as_u64();
    let full = bytes(&scene);
    let ran = scene.run(&["gc", "--json", &room, "--before", event_at(&before, 300)]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let freed = ran.objects().pop().unwrap();
    assert!(freed["events"].as_u64().unwrap() > 200 && freed["bytes"].as_u64().unwrap() > 5_000, "{freed}");
    assert!(bytes(&scene) < full);
    assert_eq!(scene.run(&["history", "--json", &other]).stdout, others);
    assert_eq!(scene.run(&["verify"]).code, 0);

    let after = scene.run(&["history", "--json", &room]).objects();
    let is_collected = |event: &&Value| event["state_before"].is_null();
    assert_eq!(after.iter().filter(is_collected).count() as u64, freed["events"].as_u64().unwrap());
    for (before, after) in before.iter().zip(&after).filter(|(_, after)| !is_collected(after)) {
        assert_eq!(before, after);
    }
    let mut without_body = 0;
    for place in [1, 10, 100, 200] {
        let event_id = event_at(&before, place);
        let event = scene.run(&["event", "--json", event_id]).objects().pop().unwrap();
        assert_eq!((&event["event_id"], &event["verdict"]), (&json!(event_id), &before[place]["verdict"]));
        assert!(event["state_after"].is_null() && !event["prev_events"].as_array().unwrap().is_empty());
        assert!(event["depth"].is_number());
        without_body += usize::from(event["pdu"].is_null());
        assert_eq!(scene.run(&["event", event_id]).code, 0);
    }
    assert!(without_body > 0);
    assert_eq!(scene.import("store", &room_file("forks-v10"))["duplicate"], json!(471));

    let exported = scene.file("export.jsonl", scene.run(&["export", &room]).stdout);
    let summary = scene.import("copy", &exported);
    assert_eq!((&summary["parked"], &summary["invalid"]), (&json!(0), &json!(0)), "{summary}");
    let copy = scene.run_on("copy", &["history", "--json", &room]).objects();
    let retained: Vec<&Value> = after.iter().filter(|event| !is_collected(event)).collect();
    assert_eq!(copy.len(), retained.len());
    for (copy, retained) in copy.iter().zip(retained) {
        for key in ["event_id", "state_before", "state_after", "added", "removed"] {
            assert_eq!(copy[key], retained[key], "{}", retained["event_id"]);
        }
    }
    let states = ["store", "copy"].map(|store| scene.run_on(store, &["state", "--json", &room]).stdout);
    assert_eq!(states[0], states[1]);
    assert_eq!(scene.run_on("copy", &["verify"]).code, 0);
}

#[test]
fn what_cannot_be_collected_is_refused_with_the_cause() {
    let (scene, [room, other]) = scene();
    let foreign = scene.run(&["history", "--json", &other]).objects()[0]["event_id"].as_str().unwrap().to_owned();
    for (arguments, cause) in [
        (&["gc", "!nowhere:a.example"][..], "!nowhere:a.example"),
        (&["gc", &room, "--before", &foreign], &*foreign),
        (&["gc", &room, "--before", "nonsense"], "nonsense"),
        (&["gc", "--before", &foreign], "<ROOM>"),
    ] {
        let ran = scene.run(arguments);
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(cause), "{}", ran.stderr);
    }
}
