//! What was measured, for programs and for people.

use serde::Serialize;

use super::{
    chart::{Group, Scale, bars, short},
    kind::LayoutKind,
    measure::{Measured, Reads},
    simulated,
    workload::Workload,
};

/// A line of JSON.
#[derive(Debug, Serialize)]
pub struct Line {
    workload: &'static str,
    layout: &'static str,
    changes: u64,
    bytes_per_change: f64,
    written_per_change: f64,
    blocks: u64,
    blocks_shared: u64,
    point: ReadsLine,
    full: ReadsLine,
    neighbour_diff: ReadsLine,
    fork_diff: Option<ReadsLine>,
}

#[derive(Debug, Serialize)]
struct ReadsLine {
    blocks_read: Option<f64>,
    p99: Option<u64>,
    bytes: f64,
    us: f64,
}

impl Line {
    /// What is told of a layout.
    pub fn of(measured: &Measured) -> Self {
        Self {
            workload: measured.workload.name(),
            layout: measured.layout.name(),
            changes: measured.changes,
            bytes_per_change: rounded(measured.bytes_per_change),
            written_per_change: rounded(measured.written_per_change),
            blocks: measured.blocks.all,
            blocks_shared: measured.blocks.shared,
            point: ReadsLine::of(&measured.point),
            full: ReadsLine::of(&measured.full),
            neighbour_diff: ReadsLine::of(&measured.neighbour_diff),
            fork_diff: measured.fork_diff.as_ref().map(ReadsLine::of),
        }
    }
}

impl ReadsLine {
    fn of(reads: &Reads) -> Self {
        Self {
            blocks_read: reads.blocks_read.map(rounded),
            p99: reads.p99,
            bytes: rounded(reads.bytes),
            us: rounded(reads.us),
        }
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The headings of a row of storage.
pub const STORAGE: [&str; 7] =
    ["layout", "bytes a change", "times ours", "written a change", "blocks", "shared", "simulated"];

/// The headings of a row of reads.
pub const READS: [&str; 18] = [
    "layout",
    "point: rows",
    "bytes",
    "blocks",
    "p99",
    "time",
    "full: rows",
    "bytes",
    "blocks",
    "time",
    "parent: rows",
    "bytes",
    "blocks",
    "time",
    "fork: rows",
    "bytes",
    "blocks",
    "time",
];

/// What a layout takes; `ours` is this engine's, on the same workload.
pub fn storage(measured: &Measured, ours: Option<&Measured>) -> [String; 7] {
    let times = ours.map_or(f64::NAN, |ours| measured.bytes_per_change / ours.bytes_per_change);
    let is_full_size = measured.size == measured.workload.full_size();
    let simulated = simulated::bytes_per_change(measured.workload, measured.layout).filter(|_| is_full_size);
    [
        name(measured),
        short(measured.bytes_per_change),
        if ours.is_some() { short(times) } else { String::new() },
        short(measured.written_per_change),
        measured.blocks.all.to_string(),
        measured.blocks.shared.to_string(),
        simulated.map_or_else(String::new, short),
    ]
}

/// What a layout reads; `ours` is this engine's, on the same workload.
pub fn reads(measured: &Measured, ours: Option<&Measured>) -> [String; 18] {
    let is_ours = measured.layout == LayoutKind::Roomserver;
    let time = |reads: &Reads, ours: Option<&Reads>| match ours {
        Some(ours) if !is_ours => format!("x {}", short(reads.us / ours.us)),
        _ => format!("{} us", short(reads.us)),
    };
    let blocks = |reads: &Reads| reads.blocks_read.map_or_else(String::new, short);
    let four = |reads: Option<&Reads>, ours: Option<&Reads>| match reads {
        Some(reads) => [short(reads.rows), short(reads.bytes), blocks(reads), time(reads, ours)],
        None => [const { String::new() }; 4],
    };
    let [rows, bytes, read, taken] = four(Some(&measured.point), ours.map(|ours| &ours.point));
    let p99 = measured.point.p99.map_or_else(String::new, |blocks| blocks.to_string());
    let [full_rows, full_bytes, full_read, full_taken] = four(Some(&measured.full), ours.map(|ours| &ours.full));
    let [next_rows, next_bytes, next_read, next_taken] =
        four(Some(&measured.neighbour_diff), ours.map(|ours| &ours.neighbour_diff));
    let ours_fork = ours.and_then(|ours| ours.fork_diff.as_ref());
    let [fork_rows, fork_bytes, fork_read, fork_taken] = four(measured.fork_diff.as_ref(), ours_fork);
    [
        name(measured),
        rows,
        bytes,
        read,
        p99,
        taken,
        full_rows,
        full_bytes,
        full_read,
        full_taken,
        next_rows,
        next_bytes,
        next_read,
        next_taken,
        fork_rows,
        fork_bytes,
        fork_read,
        fork_taken,
    ]
}

/// The layout's name, marked if it was scaled from a sample.
fn name(measured: &Measured) -> String {
    let mark = if measured.written < measured.changes { "*" } else { "" };
    format!("{}{mark}", measured.layout.name())
}

/// What the mark means, where it stands.
pub fn notes(all: &[Measured]) -> Vec<String> {
    let scaled = all.iter().filter(|measured| measured.written < measured.changes);
    let note = |measured: &Measured| {
        let Measured { workload, layout, written, changes, .. } = measured;
        format!(
            "* {workload}: {} wrote {written} of {changes} snapshots, spread evenly; figures are scaled.",
            layout.name()
        )
    };
    scaled.map(note).collect()
}

/// The heading of a workload's tables.
pub fn heading(measured: &Measured) -> String {
    let Measured { workload, size, changes, .. } = measured;
    let of = if *workload == Workload::B { "rooms" } else { "members" };
    format!("{workload}: {}; {size} {of}, {changes} snapshots", workload.description())
}

/// The page of all tables, and the charts: name and content of each file.
pub fn files(all: &[Measured]) -> Vec<(String, String)> {
    let mut files = vec![("reuse.md".to_owned(), page(all))];
    for (name, title, value) in CHARTS.into_iter().filter(|chart| has_bars(chart, all)) {
        let groups: Vec<Group> = by_workload(all)
            .into_iter()
            .map(|group| Group {
                heading: group.first().map(heading).unwrap_or_default(),
                bars: group
                    .iter()
                    .filter_map(|measured| Some((measured.layout.name().to_owned(), value(measured)?)))
                    .collect(),
            })
            .filter(|group: &Group| !group.bars.is_empty())
            .collect();
        files.push((format!("{name}.svg"), bars(title, &groups, LayoutKind::Roomserver.name(), Scale::Logarithmic)));
    }
    files
}

/// A chart: its file, its title, the value of a bar.
type Chart = (&'static str, &'static str, fn(&Measured) -> Option<f64>);

const CHARTS: [Chart; 4] = [
    ("reuse-bytes", "Bytes on disk for each state change", |measured| Some(measured.bytes_per_change)),
    ("reuse-point", "Bytes read to find one key in a random old state", |measured| Some(measured.point.bytes)),
    ("reuse-full", "Blocks read to load a random old state", |measured| measured.full.blocks_read),
    ("reuse-fork", "Bytes read to compare the two sides of a fork", |measured| Some(measured.fork_diff?.bytes)),
];

/// Whether anything that the chart shows was measured.
fn has_bars((_, _, value): &Chart, all: &[Measured]) -> bool {
    all.iter().any(|measured| value(measured).is_some())
}

fn by_workload(all: &[Measured]) -> Vec<&[Measured]> {
    all.chunk_by(|one, next| one.workload == next.workload).collect()
}

const HEAD: &str = "\
# Snapshot reuse

What it costs to keep every state of a room: this engine's layout beside those of other servers. Each was implemented anew
from its source, on the same RocksDB with the same settings, with keys that begin with the room. Every answer that was
timed was also held against the truth.

- *bytes a change*: live bytes of the tables that hold states, after flush and full compaction: keys, values, hash
  indexes, RocksDB's own blocks of every sort. *written*: keys and values in the batches, before RocksDB writes them again.
- *blocks*: pieces that a layout stores (ours: blocks; full copies, deltas, differences, blocks, tree nodes), and those
  that stand in two snapshots or more (ours: in two lists or more; the log is not counted).
- *rows*, *bytes*, *blocks*: what one question reads if nothing is in any cache, on average; *blocks* are RocksDB's blocks
  of rows, without those of indexes, filters and dictionaries: 16 KiB before compression, but never less than a row,
  however large. *time*: with all in the caches,
  in microseconds, those of others as a multiple of ours. Ours keeps decoded rows in as much memory as the engine gives it;
  the others decode from RocksDB's cache.
- *a change*: from the call of the layout to the batch that is applied, without sync. What the engine does beside the
  writer, building lists, is not in it; its bytes are.
- *point*: one key in a random old state, one in ten absent. *full*: a whole random old state. *parent*: where a state
  differs from its parent. *fork*: where the two sides of a fork differ when they meet.
- *simulated*: bytes a change in an earlier simulation of the same layouts without a storage engine.

";

/// The tables of all workloads.
fn page(all: &[Measured]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let machine = format!(
        "{} {}, {cores} cores; times, and the slowest change most of all, depend on what else it does",
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let mut page = format!(
        "{HEAD}Machine: {machine}. Settings: `roomserver bench reuse --full --write DIR`, or `--members`, see the headings.\n"
    );
    page.push_str("\n![bytes](reuse-bytes.svg)\n");
    for group in by_workload(all) {
        let Some(first) = group.first() else { continue };
        let ours = group.iter().find(|measured| measured.layout == LayoutKind::Roomserver);
        page.push_str(&format!("\n## {}\n\n", heading(first)));
        put_row(&mut page, &STORAGE.map(str::to_owned));
        put_row(&mut page, &STORAGE.map(|_| "---".to_owned()));
        for measured in group {
            put_row(&mut page, &storage(measured, ours));
        }
        page.push('\n');
        put_row(&mut page, &READS.map(str::to_owned));
        put_row(&mut page, &READS.map(|_| "---".to_owned()));
        for measured in group {
            put_row(&mut page, &reads(measured, ours));
        }
        for note in notes(group) {
            page.push_str(&format!("\n\\{note}\n"));
        }
        for line in ours.map(aims).unwrap_or_default() {
            page.push_str(&format!("\n{line}\n"));
        }
    }
    page.push_str("\n## Charts\n");
    for (name, title, _) in CHARTS.iter().skip(1).filter(|chart| has_bars(chart, all)) {
        page.push_str(&format!("\n![{title}]({name}.svg)\n"));
    }
    page
}

/// How this engine stands to what it is to reach.
pub fn aims(ours: &Measured) -> Vec<String> {
    let mut lines = Vec::new();
    let full = format!(
        "a whole state of {:.0} entries {:.0} kB and {:.2} ms",
        ours.full_entries,
        ours.full.bytes / 1e3,
        ours.full.us / 1e3
    );
    let (mean, longest) = (ours.append_us, ours.append_longest_us / 1e3);
    let append = format!("a change {mean:.1} us on average, {longest:.1} ms the slowest");
    lines.push(format!("Ours: {full}; {append}."));
    if let Some(reads) = &ours.fork_divergence {
        let Reads { rows, bytes, us, .. } = reads;
        let blocks = reads.blocks_read.map_or_else(String::new, |blocks| format!(", {} blocks", short(blocks)));
        lines.push(format!(
            "Ours: what the two sides of a fork set, without what was there before: {} rows, {} bytes{blocks}, {} us.",
            short(*rows),
            short(*bytes),
            short(*us)
        ));
    }
    let is_full_size = ours.size == ours.workload.full_size();
    if let Some((target, stretch)) = simulated::target(ours.workload).filter(|_| is_full_size) {
        let bytes = short(ours.bytes_per_change);
        lines.push(format!("Aim: {target} bytes a change, better {stretch}; measured {bytes}."));
    }
    lines
}

fn put_row(page: &mut String, cells: &[String]) {
    page.push_str(&format!("| {} |\n", cells.join(" | ")));
}
