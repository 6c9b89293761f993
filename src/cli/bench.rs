//! `bench`.

mod codec;

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::{Subcommand, builder::RangedU64ValueParser};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    ending::{Ending, Failure},
    output::{Output, Style},
    scratch::Scratch,
    table::{Column, Table},
};
use crate::reuse::{Counts, LayoutKind, Measured, Settings, Workload, measure, report};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// What keeping every state takes, here and in the layouts of other servers
    ///
    /// Each workload is replayed into each layout, on stores in the directory for temporary files ($TMPDIR). Every
    /// answer is held against the truth.
    Reuse(ReuseArguments),
    /// What an event takes on disk, here and in other forms, and what writing and reading it takes
    ///
    /// A made-up corpus goes through the engine, on stores in the directory for temporary files ($TMPDIR). Every event is
    /// read back and held against the bytes that came.
    Codec(codec::Arguments),
}

#[derive(Debug, clap::Args)]
struct ReuseArguments {
    /// Workloads: A and C large rooms without and with forks, B small rooms, D and Dlong a room joined late, E few state
    /// events, F long forks [default: all but F]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    workload: Vec<Workload>,
    /// Layouts [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    layout: Vec<LayoutKind>,
    /// Members of the room, for workload B the number of rooms; changes follow in proportion [default: a tenth of the
    /// full size, E: the full size]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(20..=1_000_000))]
    members: Option<u32>,
    /// Run at full size: 50,000 members, 10,000 rooms, 200,000 members. Takes six minutes or more
    #[arg(long, conflicts_with = "members")]
    full: bool,
    /// What the rooms and the questions follow from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Also write tables, charts and all figures into this directory; what is there of other workloads and layouts stays
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<Ending, Failure> {
    match &arguments.bench {
        Bench::Reuse(arguments) => reuse(arguments, output),
        Bench::Codec(arguments) => codec::run(arguments, output),
    }
}

fn reuse(arguments: &ReuseArguments, output: &mut Output) -> Result<Ending, Failure> {
    let workloads = chosen(&arguments.workload, &Workload::ALL.map(|all| (all, all != Workload::F)));
    let layouts = chosen(&arguments.layout, &LayoutKind::ALL.map(|all| (all, true)));
    let scratch = Scratch::new("bench")?;
    let mut all = Vec::new();
    for workload in workloads {
        let size = match arguments.members {
            Some(members) => members,
            None if arguments.full => workload.full_size(),
            None => workload.reduced_size(),
        };
        let questions = Counts::default();
        let settings = Settings { workload, size, seed: arguments.seed, questions, scratch: scratch.path() };
        let first = all.len();
        for layout in &layouts {
            let measured = measured(&settings, *layout)?;
            if output.json {
                output.object(&report::Line::of(&measured))?;
                output.flush()?;
            }
            all.push(measured);
            if let Some(directory) = &arguments.write {
                write(directory, all.get(first..).unwrap_or_default())?;
            }
        }
        if !output.json {
            show(all.get(first..).unwrap_or_default(), output)?;
            output.flush()?;
        }
    }
    Ok(Ending::Right)
}

/// What was asked for, or else the default; each once, in the order of all.
fn chosen<T: Copy + PartialEq, const N: usize>(asked: &[T], all: &[(T, bool); N]) -> Vec<T> {
    let is_chosen = |(one, default): &&(T, bool)| if asked.is_empty() { *default } else { asked.contains(one) };
    all.iter().filter(is_chosen).map(|(one, _)| *one).collect()
}

fn measured(settings: &Settings<'_>, layout: LayoutKind) -> Result<Measured, Failure> {
    let bar = progress_bar(format!("{} {}", settings.workload, layout.name()));
    let measured = measure(settings, layout, &mut |done, total| {
        if let Some(bar) = &bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(measured?)
}

fn progress_bar(what: String) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let style = ProgressStyle::with_template("{msg:24} {bar:40} {pos}/{len} changes")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    Some(ProgressBar::no_length().with_style(style).with_message(what))
}

fn show(all: &[Measured], output: &mut Output) -> Result<(), Failure> {
    let Some(first) = all.first() else { return Ok(()) };
    let ours = all.iter().find(|measured| measured.layout == LayoutKind::Roomserver);
    writeln!(output, "{}\n", output.styled(Style::Heading, &report::heading(first)))?;
    let mut table = Table::new(&columns(report::STORAGE));
    for measured in all {
        table.row(report::storage(measured, ours).map(Into::into));
    }
    table.write(output)?;
    writeln!(output)?;
    let mut table = Table::new(&columns(report::READS));
    for measured in all {
        table.row(report::reads(measured, ours).map(Into::into));
    }
    table.write(output)?;
    for note in report::notes(all) {
        writeln!(output, "{note}")?;
    }
    for line in ours.map(report::aims).unwrap_or_default() {
        writeln!(output, "{line}")?;
    }
    writeln!(output)?;
    Ok(())
}

fn columns<const N: usize>(headings: [&'static str; N]) -> [Column; N] {
    headings.map(|heading| if heading == "layout" { Column::Left(heading) } else { Column::Right(heading) })
}

/// Puts figures among those that a directory has, and writes its page and charts anew.
fn write(directory: &Path, new: &[Measured]) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| Failure::Other(format!("{} cannot be used: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(unusable)?;
    let figures = directory.join("reuse.jsonl");
    let known = match std::fs::read_to_string(&figures) {
        Ok(known) => known,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unusable(error)),
    };
    let mut all = BTreeMap::new();
    for line in known.lines() {
        let measured: Measured = serde_json::from_str(line).map_err(|error| unusable(error.into()))?;
        all.insert((measured.workload, measured.layout), measured);
    }
    all.extend(new.iter().map(|measured| ((measured.workload, measured.layout), measured.clone())));
    let all: Vec<Measured> = all.into_values().collect();
    let mut lines = Vec::new();
    for measured in &all {
        serde_json::to_writer(&mut lines, measured).map_err(|error| unusable(error.into()))?;
        lines.push(b'\n');
    }
    std::fs::write(figures, lines).map_err(unusable)?;
    for (name, text) in report::files(&all) {
        std::fs::write(directory.join(name), text).map_err(unusable)?;
    }
    Ok(())
}
