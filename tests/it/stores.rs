//! Kept stores: a build that misreads one of an earlier format answers wrongly, or destroys it.
//!
//! That of the format of today is made again by one command, as long as that format is not released:
//! `cargo test --release --test it -- --ignored keep_a_store`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use roomserver::{ErrorKind, Input, Kind, Options, Outcome, RoomServer};
use serde_json::Value;

use crate::support::server;

/// The format of today.
const FORMAT: u32 = 4;

/// Where the store of a format is kept.
fn folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/stores/v{version}"))
}

/// A copy of a kept store, since opening one writes to it.
fn kept(version: u32) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for file in fs::read_dir(folder(version)).expect("a kept store") {
        let file = file.expect("readable").path();
        fs::copy(&file, copy.path().join(file.file_name().expect("a name"))).expect("copied");
    }
    copy
}

#[test]
fn stores_of_formats_1_to_3_are_refused_by_their_versions() {
    for version in 1..FORMAT {
        let store = kept(version);
        let before = files(store.path());
        let Err(error) = RoomServer::open(store.path(), &Options::default()) else { panic!("it opened") };
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(&format!("format version {version}")), "{error}");
        let mut after = files(store.path());
        after.remove("roomserver.lock");
        assert!(after == before, "{:?}", after.keys());
    }
}

/// The files of a store, by name.
fn files(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(store).expect("a directory").map(|entry| entry.expect("readable"));
    entries
        .map(|entry| (entry.file_name().into_string().expect("UTF-8"), fs::read(entry.path()).expect("readable")))
        .collect()
}

/// What the store of today's format was made from: an example, and the first events of two real rooms.
fn inputs() -> Vec<Input> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut inputs = Vec::new();
    for (name, count) in [("first.jsonl", 4), ("rooms/forks-v1.jsonl.gz", 200), ("rooms/forks-v12.jsonl.gz", 200)] {
        let file = File::open(examples.join(name)).expect("an example");
        let source: Box<dyn Read> =
            if name.ends_with("gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        for line in BufReader::new(source).lines().take(count) {
            let line: Value = serde_json::from_str(&line.expect("readable")).expect("JSON");
            let mut input = Input::new(serde_json::to_vec(line.get("pdu").unwrap_or(&line)).expect("JSON"));
            let version = line["room_version"].as_str();
            input.room_version = version.map(|version| version.try_into().expect("a version"));
            input.kind = match line["kind"].as_str() {
                None | Some("new") => Kind::New,
                Some("old") => Kind::Old,
                Some(_) => Kind::Outlier,
            };
            assert!(line["state"].is_null(), "no supplied states among them");
            inputs.push(input);
        }
    }
    inputs
}

/// All that a store says of its rooms.
fn told(server: &RoomServer) -> Vec<String> {
    let mut told = Vec::new();
    let view = server.view();
    for room in view.rooms().expect("readable") {
        told.push(format!("{} {} {:?}", room.id(), room.version(), room.current_summary()));
        room.records(&mut |record| {
            told.push(format!("{record:?}"));
            Ok(true)
        })
        .expect("readable");
        room.history(&mut |entry| {
            told.push(format!("{entry:?}"));
            Ok(true)
        })
        .expect("readable");
    }
    told
}

fn feed(server: &RoomServer) -> Vec<Outcome> {
    let outcomes = inputs().into_iter().map(|input| server.submit(input).expect("taken").wait().expect("decided"));
    outcomes.collect()
}

/// Makes the kept store of today's format. A released format keeps the store that it has.
#[test]
#[ignore = "writes into the checkout"]
fn keep_a_store() {
    let made = tempfile::tempdir().expect("a directory");
    let server = RoomServer::open(made.path(), &Options::default()).expect("it opens");
    feed(&server);
    server.settle().expect("settles");
    // Everything is written out of the log.
    server.stats(true).expect("readable");
    server.close().expect("closes");
    drop(server);
    let folder = folder(FORMAT);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("removed");
    }
    fs::create_dir(&folder).expect("made");
    for (name, bytes) in files(made.path()) {
        let is_own =
            !name.to_ascii_lowercase().ends_with("lock") && !name.starts_with("LOG") && !name.starts_with("OPTIONS");
        if is_own {
            fs::write(folder.join(name), bytes).expect("written");
        }
    }
}

#[test]
fn a_store_that_was_kept_says_what_one_that_is_made_now_does() {
    let store = kept(FORMAT);
    let old = RoomServer::open(store.path(), &Options::default()).expect("it opens");
    let (new, _) = server();
    feed(&new);
    let told_by_new = told(&new);
    assert!(told_by_new.len() > 700, "{}", told_by_new.len());
    assert_eq!(told(&old), told_by_new);
    let report = old.verify(&mut |problem| panic!("{problem}")).expect("readable");
    assert_eq!((report.rooms, report.problems), (3, 0));
    for outcome in feed(&old) {
        assert!(matches!(outcome, Outcome::Duplicate { .. }), "{outcome:?}");
    }
    assert_eq!(told(&old), told_by_new);
}
