//! What an event takes on disk, in this engine's form and in others, and what writing and reading it takes.
//!
//! The same as `roomserver bench codec` on the rooms of `examples/rooms`, without the tool.
//!
//!     cargo bench --features bench --bench codec -- [--quick] [--json] [--only forms|tuning|times]

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints, and ends where something fails")]

use std::io::{BufRead as _, BufReader};

use roomserver::{
    Error, ErrorKind, Result,
    codec::{Events, Settings, forms, report, times, tunings},
};
const EVENTS: u32 = 50_000;

fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().collect();
    let has = |flag: &str| given.iter().any(|argument| argument == flag);
    let value = |flag: &str| given.iter().skip_while(|argument| *argument != flag).nth(1);
    let wants = |part: &str| value("--only").is_none_or(|only| only == part);
    let scratch = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))?;
    let events = if has("--quick") { EVENTS / 10 } else { EVENTS };
    let settings = Settings { events, seed: 1, rounds: if has("--quick") { 21 } else { 201 }, scratch: scratch.path() };
    let corpus = Events::generated(settings.seed, settings.events)?;
    let mut all = Vec::new();
    if wants("forms") {
        all.extend(forms(&settings, &corpus, &[room("busy")?, room("big")?])?);
    }
    if wants("tuning") {
        all.push(tunings(&settings, &corpus)?);
    }
    if wants("times") {
        all.push(times(&settings, &corpus)?);
    }
    for figures in &all {
        match has("--json") {
            true => report::lines(figures).iter().for_each(|line| println!("{line}")),
            false => println!("{}", report::text(figures)),
        }
    }
    Ok(())
}

/// A real room of the examples.
fn room(name: &str) -> Result<Events> {
    let path = format!("{}/examples/rooms/{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(path).expect("an example");
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).split(b'\n');
    Events::of_room(name, lines.map(|line| line.expect("lines")))
}
