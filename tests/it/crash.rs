//! Kills the tool with SIGKILL in the middle of an import, again and again, and looks for everything that it had reported.
//!
//! `import --each` reports a line once it is durable. A report that the store then denies is the fault that this guards
//! against, in whatever layer; a store that does not open after a kill, or ends otherwise than one that was never killed, is
//! the other. A kill leaves what the kernel had taken: power cuts are the business of the torn and unsynced writes that the
//! unit tests make.
//!
//! `ROOMSERVER_CRASH_CYCLES` kills are made (5), at places that follow from `ROOMSERVER_CRASH_SEED` (1).

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    str::FromStr,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// The rooms that are imported, in turn; all three have forks, soft failures and redactions.
const ROOMS: &[&str] = &["forks-v10", "forks-v1", "forks-v12"];

/// The most lines that an import may report before it is killed; the files have about 450.
const LINES_MAX: u64 = 150;

/// The longest that a kill comes after the line it waits for, in microseconds: a few synced batches.
const DELAY_MAX: u64 = 20_000;

/// An import that reports nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn what_was_reported_before_a_kill_is_there_after_it() {
    let cycles: u64 = from_env("ROOMSERVER_CRASH_CYCLES", 5);
    let mut random = Random(from_env("ROOMSERVER_CRASH_SEED", 1));
    let mut rooms = ROOMS.iter().cycle();
    let mut victim = Victim::new(rooms.next().unwrap());
    for cycle in 1..=cycles {
        // A kill before the first line meets the store while it opens or recovers.
        let lines = if random.below(4) == 0 { 0 } else { random.below(LINES_MAX) };
        let delay = Duration::from_micros(random.below(DELAY_MAX));
        let known = victim.reported.len();
        let finished = victim.import_until(lines, delay);
        println!(
            "cycle {cycle}: {}, {} lines reported before, {} since",
            victim.room,
            known,
            victim.reported.len() - known
        );
        victim.check();
        if finished {
            victim.compare_with_an_import_without_kills();
            victim = Victim::new(rooms.next().unwrap());
        }
    }
    assert!(victim.import_until(u64::MAX, Duration::ZERO), "nothing should have killed this import");
    victim.check();
    victim.compare_with_an_import_without_kills();
}

/// A store that is killed, and what its imports have reported.
struct Victim {
    room: &'static str,
    folder: TempDir,
    /// Event ID -> what was first said of it.
    reported: BTreeMap<String, Report>,
}

/// A line of `import --each --json`.
struct Report {
    outcome: String,
    position: Option<u64>,
}

impl Victim {
    fn new(room: &'static str) -> Self {
        Self { room, folder: tempfile::tempdir().unwrap(), reported: BTreeMap::new() }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Imports the room until `lines` events have been reported that were not known before, and kills the import `delay`
    /// later. Tells whether the import came to its end instead.
    fn import_until(&mut self, lines: u64, delay: Duration) -> bool {
        let mut import = tool(&self.store(), &["import", "--each", "--json", &file(self.room)]);
        let mut child = import.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = read_lines(child.stdout.take().unwrap());
        let mut summary = false;
        let mut fresh = 0;
        while fresh < lines {
            match output.recv_timeout(PATIENCE) {
                Ok(line) => self.note(&line, &mut fresh, &mut summary),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    kill(&mut child);
                    panic!("the import of {} hangs after {fresh} new lines", self.room);
                }
            }
        }
        thread::sleep(delay);
        kill(&mut child);
        // What was written before the kill counts as reported, whenever it is read.
        for line in output {
            self.note(&line, &mut fresh, &mut summary);
        }
        let status = child.wait().unwrap();
        assert!(status.code().is_none_or(|code| code == 0), "the import of {} ended with {status}", self.room);
        assert!(summary || status.code().is_none(), "the import of {} ended without a summary", self.room);
        summary
    }

    fn note(&mut self, line: &str, fresh: &mut u64, summary: &mut bool) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        if line.get("line").is_none() {
            assert!(line.get("lines").is_some(), "neither a line's report nor the summary: {line}");
            *summary = true;
            return;
        }
        let outcome = line["outcome"].as_str().unwrap();
        let event_id = line["event_id"].as_str().unwrap_or_else(|| panic!("no line of this file is invalid: {line}"));
        if outcome != "duplicate" {
            *fresh += 1;
            let report = Report { outcome: outcome.to_owned(), position: line["position"].as_u64() };
            let before = self.reported.insert(event_id.to_owned(), report);
            assert!(before.is_none(), "what was reported came in a second time: {line}");
        }
    }

    /// Holds the store against what was reported.
    fn check(&self) {
        if self.reported.is_empty() {
            // Perhaps there is no store yet; the next import tells whether it can be opened.
            return;
        }
        self.ask(&["verify"]);
        let history = self.history();
        let places: BTreeMap<&str, (usize, &Value)> = history
            .iter()
            .enumerate()
            .map(|(place, event)| (event["event_id"].as_str().unwrap(), (place, event)))
            .collect();
        let mut in_order = Vec::new();
        for (event_id, report) in &self.reported {
            if !["accepted", "soft_failed", "rejected"].contains(&report.outcome.as_str()) {
                self.ask(&["event", event_id, "--json"]);
                continue;
            }
            let (place, event) = places.get(event_id.as_str()).unwrap_or_else(|| {
                panic!("{event_id} was reported as {} before the kill and is not there after it", report.outcome)
            });
            assert_eq!(event["verdict"], *report.outcome, "{event_id}");
            in_order.push((report.position.unwrap_or_else(|| panic!("{event_id} has no position")), *place));
        }
        in_order.sort_unstable();
        assert!(in_order.is_sorted_by_key(|(_, place)| *place), "the history has another order than was reported");
    }

    fn compare_with_an_import_without_kills(&self) {
        let calm = Self::new(self.room);
        calm.ask(&["import", "--json", &file(self.room)]);
        let (killed, calm) = (self.history(), calm.history());
        for (killed, calm) in killed.iter().zip(&calm) {
            assert_eq!(killed, calm, "{} came out otherwise than without kills", self.room);
        }
        assert_eq!(killed.len(), calm.len());
    }

    /// The events of every room of the store, in processing order.
    fn history(&self) -> Vec<Value> {
        let rooms = self.ask(&["rooms", "--json"]);
        rooms.iter().flat_map(|room| self.ask(&["history", room["room_id"].as_str().unwrap(), "--json"])).collect()
    }

    /// Runs a command that must succeed, and reads the JSON lines that it prints.
    fn ask(&self, arguments: &[&str]) -> Vec<Value> {
        let Output { status, stdout, stderr } = tool(&self.store(), arguments).stdin(Stdio::null()).output().unwrap();
        let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{arguments:?} on {} ended with {status}:\n{stdout}{stderr}", self.room);
        let is_json = arguments.contains(&"--json");
        stdout.lines().filter(|_| is_json).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn tool(store: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomserver"));
    let (name, rest) = arguments.split_first().unwrap();
    command.arg(name).arg("--store").arg(store).args(rest);
    command
}

fn file(room: &str) -> String {
    format!("{}/examples/rooms/{room}.jsonl.gz", env!("CARGO_MANIFEST_DIR"))
}

/// Whole lines, as they come; a line that the kill cut was not reported.
fn read_lines(stdout: ChildStdout) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
            if send.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    receive
}

fn kill(child: &mut Child) {
    // Fails if it has ended by itself, which is no fault.
    let _ = child.kill();
}

fn from_env<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Numbers that follow from the seed: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
