//! `demo`: rooms of a real homeserver, imported here, and how the answers compare.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    ending::{Ending, Failure},
    follow::Watch,
    import::{Plan, now},
    output::{Output, Style, grouped},
    scratch::Scratch,
    store::Place,
    table::{Cell, Column, Table},
    tally::Tally,
};
use crate::{
    input::Durability,
    query::{Counts, Room},
    server::Options,
    stats::Stats,
};

/// What the homeserver made of a room; lies beside the room's events as `NAME.expected.json`.
#[derive(Debug, Deserialize)]
struct Expected {
    room_id: String,
    state: String,
    extremities: Vec<String>,
}

/// What came of one file.
struct Played {
    name: String,
    version: String,
    counts: Counts,
    tally: Tally,
    stats: Stats,
    duration: Duration,
    /// Whether state and extremities are the homeserver's, if these are known.
    agrees: Option<bool>,
}

#[derive(Serialize)]
struct ShownRoom<'a> {
    room: &'a str,
    version: &'a str,
    events: u32,
    soft_failed: u32,
    rejected: u32,
    parked: u32,
    state_changes: u64,
    snapshots: u64,
    blocks_shared: u64,
    bytes_per_event: Option<f64>,
    bytes_per_state_change: Option<f64>,
    agrees: Option<bool>,
    seconds: f64,
}

const ENDINGS: [&str; 3] = [".jsonl", ".jsonl.gz", ".jsonl.zst"];

pub(super) fn run(directory: &Path, output: &mut Output) -> Result<Ending, Failure> {
    let files = files(directory)?;
    if files.is_empty() {
        return Err(Failure::Other(format!("{} has no file {}", directory.display(), ENDINGS.join(", "))));
    }
    let scratch = Scratch::new("demo")?;
    let mut played = Vec::new();
    for (name, file) in &files {
        played.push(play(name, file, &scratch)?);
    }
    if output.json {
        for room in &played {
            room.show_json(output)?;
        }
    } else {
        show(&played, output)?;
    }
    let is_right = |room: &Played| room.agrees != Some(false) && room.tally.invalid == 0 && room.tally.unreadable == 0;
    Ok(if played.iter().all(is_right) { Ending::Right } else { Ending::Wrong })
}

/// The files of rooms by name, with their names.
fn files(directory: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let unreadable = |error: io::Error| Failure::Other(format!("{} cannot be read: {error}", directory.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(name) = ENDINGS.into_iter().find_map(|ending| name.strip_suffix(ending)) {
            files.push((name.to_owned(), path.clone()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Imports a file into a store of its own, so that the room's bytes on disk can be told.
fn play(name: &str, file: &Path, scratch: &Scratch) -> Result<Played, Failure> {
    let place = Place::new(scratch.path().join(name));
    let store = place.open_with(&Options { durability: Durability::Buffered, ..Options::default() })?;
    let started = now();
    let files = [file.to_owned()];
    let plan = Plan { files: &files, room_version: None, strict: false, watch: Watch::Progress };
    let tally = plan.carry_out(&store.server)?;
    let duration = started.elapsed();
    let stats = store.server.stats(true)?;
    let expected = expected(&file.with_file_name(format!("{name}.expected.json")))?;
    let view = store.server.view();
    let room = match &expected {
        Some(expected) => view.room(&expected.room_id)?,
        None => view.rooms()?.into_iter().next(),
    };
    let agrees = match (&expected, &room) {
        (Some(expected), Some(room)) => Some(expected.agrees(room)?),
        (Some(_), None) => Some(false),
        (None, _) => None,
    };
    let version = room.as_ref().map_or("-", |room| room.version().as_str()).to_owned();
    let counts = room.as_ref().map(Room::counts).unwrap_or_default();
    Ok(Played { name: name.to_owned(), version, counts, tally, stats, duration, agrees })
}

fn expected(path: &Path) -> Result<Option<Expected>, Failure> {
    let wrong = |what: String| Failure::Other(format!("{}: {what}", path.display()));
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(format!("cannot be read: {error}"))),
    }
}

impl Expected {
    fn agrees(&self, room: &Room) -> Result<bool, Failure> {
        let mut ours: Vec<String> = room.extremities()?.iter().map(ToString::to_string).collect();
        let mut theirs = self.extremities.clone();
        ours.sort_unstable();
        theirs.sort_unstable();
        Ok(room.current_summary().0.to_string() == self.state && ours == theirs)
    }
}

impl Played {
    fn show_json(&self, output: &mut Output) -> io::Result<()> {
        let Self { name, version, counts, stats, duration, agrees, .. } = self;
        output.object(&ShownRoom {
            room: name,
            version,
            events: counts.events,
            soft_failed: counts.soft_failed,
            rejected: counts.rejected,
            parked: counts.parked,
            state_changes: stats.state_changes,
            snapshots: stats.snapshots,
            blocks_shared: stats.blocks_shared,
            bytes_per_event: stats.bytes_per_event(),
            bytes_per_state_change: stats.bytes_per_state_change(),
            agrees: *agrees,
            seconds: duration.as_secs_f64(),
        })
    }

    fn row(&self) -> [Cell; 12] {
        let Self { name, version, counts, stats, agrees, .. } = self;
        let per = |bytes: Option<f64>| bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.1}"));
        let refused = counts.rejected.saturating_add(counts.soft_failed);
        [
            name.into(),
            version.into(),
            grouped(counts.events.into()).into(),
            grouped(counts.events.saturating_sub(refused).into()).into(),
            grouped(counts.soft_failed.into()).into(),
            grouped(counts.rejected.into()).into(),
            grouped(stats.state_changes).into(),
            grouped(stats.snapshots).into(),
            grouped(stats.blocks_shared).into(),
            per(stats.bytes_per_event()).into(),
            per(stats.bytes_per_state_change()).into(),
            match agrees {
                Some(true) => Cell::new("the same", Style::Good),
                Some(false) => Cell::new("ANOTHER", Style::Bad),
                None => "not known".into(),
            },
        ]
    }
}

fn show(played: &[Played], output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(&[
        Column::Left("room"),
        Column::Right("version"),
        Column::Right("events"),
        Column::Right("accepted"),
        Column::Right("soft-\nfailed"),
        Column::Right("rejected"),
        Column::Right("state\nchanges"),
        Column::Right("snapshots"),
        Column::Right("blocks\nshared"),
        Column::Right("bytes an\nevent"),
        Column::Right("bytes a\nchange"),
        Column::Left("final state at\nthe homeserver"),
    ]);
    for room in played {
        table.row(room.row());
    }
    table.write(output)?;
    let lines = played.iter().map(|room| room.tally.lines()).sum::<u64>();
    let duration: Duration = played.iter().map(|room| room.duration).sum();
    let seconds = duration.as_secs_f64();
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let rate = lines.saturating_mul(1_000_000) / micros.max(1);
    writeln!(output, "\n{} events in {seconds:.2} s, {} a second.", grouped(lines), grouped(rate))?;
    let known: Vec<bool> = played.iter().filter_map(|room| room.agrees).collect();
    let same = known.iter().filter(|agrees| **agrees).count();
    match known.len() {
        0 => writeln!(output, "No homeserver's answers lie beside these rooms, so nothing was compared.")?,
        all if all == same => {
            writeln!(
                output,
                "In each of the {all} rooms, state and extremities are those that a real homeserver found."
            )?;
        }
        all => writeln!(output, "In {} of {all} rooms the homeserver found another state.", all.saturating_sub(same))?,
    }
    Ok(())
}
