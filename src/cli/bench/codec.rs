//! `bench codec`.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::builder::RangedU64ValueParser;

use super::super::{
    ending::{Ending, Failure},
    lines::{Lines, Unreadable},
    output::Output,
    scratch::Scratch,
};
use crate::codec::{Events, Figures, Settings, forms, report, times, tunings};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also real rooms: a file for each, with lines of JSON as `export` writes them
    #[arg(value_name = "FILE")]
    rooms: Vec<PathBuf>,
    /// Events of the corpus
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = RangedU64ValueParser::<u32>::new().range(1_000..=1_000_000))]
    events: u32,
    /// What the corpus follows from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Also compare settings of the tables, which takes some minutes
    #[arg(long)]
    tuning: bool,
    /// Also write a page, a chart and all figures into this directory
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<Ending, Failure> {
    let scratch = Scratch::new("bench")?;
    let settings = Settings { events: arguments.events, seed: arguments.seed, rounds: 201, scratch: scratch.path() };
    let corpus = Events::generated(settings.seed, settings.events)?;
    let mut rooms = Vec::new();
    for path in &arguments.rooms {
        rooms.push(room(path)?);
    }
    let mut all = forms(&settings, &corpus, &rooms)?;
    all.push(times(&settings, &corpus)?);
    if arguments.tuning {
        all.push(tunings(&settings, &corpus)?);
    }
    for figures in &all {
        show(figures, output)?;
    }
    if let Some(directory) = &arguments.write {
        let unusable =
            |error: std::io::Error| Failure::Other(format!("{} cannot be used: {error}", directory.display()));
        std::fs::create_dir_all(directory).map_err(unusable)?;
        for (name, text) in report::files(&all) {
            std::fs::write(directory.join(name), text).map_err(unusable)?;
        }
    }
    Ok(Ending::Right)
}

fn show(figures: &Figures, output: &mut Output) -> Result<(), Failure> {
    if output.json {
        for line in report::lines(figures) {
            writeln!(output, "{line}")?;
        }
    } else {
        writeln!(output, "{}", report::text(figures))?;
    }
    Ok(())
}

/// A room, called as its file.
fn room(path: &Path) -> Result<Events, Failure> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let unreadable = |error: std::io::Error| Failure::Other(format!("{} cannot be read: {error}", path.display()));
    let mut file = Lines::open(path, Arc::default()).map_err(unreadable)?;
    let mut lines = Vec::new();
    while let Some(line) = file.next() {
        match line {
            Ok(line) => lines.push(line.to_vec()),
            Err(Unreadable::TooLong) => return Err(Failure::Other(format!("a line of {name} is too long"))),
            Err(Unreadable::Failed { error, .. }) => return Err(unreadable(error)),
        }
    }
    let name = name.split('.').next().unwrap_or_default().to_owned();
    Ok(Events::of_room(&name, lines.into_iter().filter(|line| !line.is_empty()))?)
}
