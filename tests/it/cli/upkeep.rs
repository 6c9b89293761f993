//! Giving bytes back: the JSON of `purge`, and what is left after it.

use serde_json::json;

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
