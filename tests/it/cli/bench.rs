//! `bench`: figures that scripts and people compare releases by.

use serde_json::Value;

use super::Scene;

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn reuse_tells_what_each_layout_takes() {
    let scene = Scene::new();
    let ran = scene.run(&["bench", "reuse", "--json", "--workload", "c,B", "--members", "20"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let lines = ran.objects();
    let layouts = ["roomserver", "full-copy", "synapse", "compress-state", "conduit", "dendrite", "prolly"];
    let expected = ["B", "C"].into_iter().flat_map(|workload| layouts.map(|layout| (workload, layout)));
    let named: Vec<_> =
        lines.iter().map(|line| (line["workload"].as_str().unwrap(), line["layout"].as_str().unwrap())).collect();
    assert_eq!(named, expected.collect::<Vec<_>>());
    for line in &lines {
        let mut expected = [
            "workload",
            "layout",
            "changes",
            "bytes_per_change",
            "written_per_change",
            "blocks",
            "blocks_shared",
            "point",
            "full",
            "neighbour_diff",
            "fork_diff",
        ];
        expected.sort_unstable();
        assert_eq!(keys(line), expected);
        for reads in ["point", "full", "neighbour_diff"] {
            assert_eq!(keys(&line[reads]), ["blocks_read", "bytes", "p99", "us"]);
            assert!(line[reads]["bytes"].as_f64().unwrap() > 0.0, "{line}");
        }
        assert_eq!(line["fork_diff"].is_object(), line["workload"] == "C");
        assert!(line["bytes_per_change"].as_f64().unwrap() > 0.0 && line["changes"].as_u64().unwrap() >= 80, "{line}");
    }
    assert!(!scene.path("store").exists());
}

#[test]
fn reuse_writes_a_page_and_its_charts() {
    let scene = Scene::new();
    let page = scene.path("page");
    let arguments = ["bench", "reuse", "--workload", "A,C", "--layout", "roomserver,conduit", "--members", "20"];
    let ran = scene.run(&[&arguments[..], &["--write", page.to_str().unwrap()]].concat());
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    assert!(ran.stdout.contains("roomserver") && ran.stdout.contains("conduit"), "{}", ran.stdout);
    let text = std::fs::read_to_string(page.join("reuse.md")).unwrap();
    for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
        let chart = rest.split(')').next().unwrap();
        let chart = std::fs::read_to_string(page.join(chart)).unwrap();
        assert!(chart.starts_with("<svg ") && chart.ends_with("</svg>\n"));
    }
    let figures = || std::fs::read_to_string(page.join("reuse.jsonl")).unwrap();
    let before: Vec<Value> = figures().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(before.len(), 4);

    let arguments = ["bench", "reuse", "--workload", "A", "--layout", "conduit,prolly", "--members", "30"];
    assert_eq!(scene.run(&[&arguments[..], &["--write", page.to_str().unwrap()]].concat()).code, 0);
    let after: Vec<Value> = figures().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sizes: Vec<_> =
        after.iter().map(|line| (line["layout"].as_str().unwrap(), line["size"].as_u64().unwrap())).collect();
    let expected = [("roomserver", 20), ("conduit", 30), ("prolly", 30), ("roomserver", 20), ("conduit", 20)];
    assert_eq!(sizes, expected);
    assert_eq!(after[0], before[0], "what was measured before stays as it was");
}

#[test]
fn reuse_says_what_it_does_not_know() {
    let scene = Scene::new();
    for (flag, value) in [("--workload", "Q"), ("--layout", "best"), ("--members", "3")] {
        let ran = scene.run(&["bench", "reuse", flag, value]);
        assert_eq!((ran.code, &*ran.stdout), (2, ""));
        assert!(ran.stderr.contains(value), "{}", ran.stderr);
    }
    let ran = scene.run(&["bench", "reuse", "--workload", "E", "--members", "20", "--write", "/dev/null/x"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("/dev/null/x"), "{}", ran.stderr);
}

#[test]
fn codec_tells_what_an_event_takes_and_writes_a_page() {
    let scene = Scene::new();
    let page = scene.path("page");
    let room = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rooms/big.jsonl.gz");
    let arguments = ["bench", "codec", "--json", "--events", "1500", "--write", page.to_str().unwrap(), room];
    let ran = scene.run(&arguments);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let lines = ran.objects();
    let figure = |row: &str, column: &str| {
        let line = lines.iter().find(|line| line["row"] == row).unwrap();
        let found = line.as_object().unwrap().iter().find(|(key, _)| key.starts_with(column));
        found.unwrap().1.as_f64().unwrap()
    };
    for rooms in ["corpus", "big"] {
        assert!(figure("ours: rows and bodies", rooms) < figure("JSON", rooms) / 3.0, "{rooms}");
    }
    assert!(figure("head: the row", "median") > 0.0);
    let text = std::fs::read_to_string(page.join("codec.md")).unwrap();
    assert!(text.contains("| ours, with IDs |") && text.contains("](codec.svg)"), "{text}");
    assert!(std::fs::read_to_string(page.join("codec.svg")).unwrap().ends_with("</svg>\n"));
    assert_eq!(std::fs::read_to_string(page.join("codec.jsonl")).unwrap(), ran.stdout);
}
