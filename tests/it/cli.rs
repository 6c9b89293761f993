//! The command line, run as a script runs it. Guards what scripts rely on: the JSON, the exit codes, where errors point.

mod bench;
mod import;
mod invalid;
mod parked;
mod read;
mod second_pass;
mod upkeep;

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use flate2::read::GzDecoder;
use serde_json::Value;
use tempfile::TempDir;

/// A directory with a store and input files.
struct Scene {
    directory: TempDir,
}

/// What a run of the tool gave.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Scene {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes an input file.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, store: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomserver"));
        command.args(arguments).arg("--store").arg(self.path(store));
        command.env_remove("RUST_LOG").env_remove("ROOMSERVER_STORE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the tool on a store of this scene.
    fn run_on(&self, store: &str, arguments: &[&str]) -> Ran {
        self.command(store, arguments).output().unwrap().into()
    }

    /// Runs the tool on the scene's own store.
    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_on("store", arguments)
    }

    /// Runs the tool with something on standard input.
    fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command("store", arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Imports a file and gives the summary.
    fn import(&self, store: &str, file: &str) -> Value {
        let ran = self.run_on(store, &["import", "--json", file]);
        assert_eq!(ran.stderr, "");
        ran.objects().pop().unwrap()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// The lines of standard output, as JSON.
    fn objects(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The directory of the rooms that come with the project.
fn rooms() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rooms")
}

/// The path of a room that comes with the project.
fn room_file(name: &str) -> String {
    rooms().join(format!("{name}.jsonl.gz")).to_str().unwrap().to_owned()
}

/// The lines of a room that comes with the project.
fn room_lines(name: &str) -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(room_file(name)).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the homeserver made of a room that comes with the project.
fn expected(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(rooms().join(format!("{name}.expected.json"))).unwrap()).unwrap()
}

/// Lines as a file.
fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Checks that each line was counted once, and gives the counts that are not zero.
fn counts(summary: &Value) -> Vec<(&'static str, u64)> {
    let sorts = ["accepted", "duplicate", "soft_failed", "rejected", "parked", "outliers", "invalid"];
    let counts: Vec<_> = sorts.into_iter().map(|sort| (sort, summary[sort].as_u64().unwrap())).collect();
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), summary["lines"].as_u64().unwrap(), "{summary}");
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}
