//! How many events a second go in: real rooms and made-up ones, by one writer and by two.
//!
//! ```text
//! cargo bench --features bench --bench ingest            # tables
//! cargo bench --features bench --bench ingest -- --json  # a JSON object a line
//! ```
//!
//! `-- --quick` takes a tenth of the made-up events; `-- --only messages` one workload, `-- --mode direct` one mode,
//! `-- --backend rocksdb` one backend. Without RocksDB:
//! `--no-default-features --features bench`. The real rooms are those of `../shared/data` or `examples/rooms`.
//!
//! Each run has a store of its own, durability is [`Durability::Buffered`], events are made and members have joined before
//! the clock starts. Figures are medians over rounds in which the workloads take turns:
//!
//! - *direct*: the room's writer is called, one thread does all; what one core can do.
//! - *one*: through the server, with one writer thread for one room. This thread parses and queues, another one tells
//!   outcomes.
//! - *two*: two rooms at once, with two writer threads.
//!
//! `per_second` is by the clock, `per_cpu_second` by the processor time that all threads of the process took, compactions
//! included, which other processes do not disturb much.
//!
//! To see where the time goes, record the writer alone and look at the functions with their callees:
//!
//! ```text
//! cargo bench --features bench --bench ingest --no-run --config profile.bench.package.roomserver.debug=1
//! perf record --call-graph dwarf target/release/deps/ingest-* --only messages --mode direct --backend rocksdb
//! perf report --children
//! ```

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a benchmark measures time, prints, and ends where something fails"
)]

#[path = "support/backend.rs"]
mod backend;
#[path = "support/report.rs"]
mod report;

use std::{
    collections::VecDeque,
    io::Read as _,
    path::Path,
    time::{Duration, Instant},
};

use roomserver::{
    Durability, ErrorKind, Input, Options, Outcome, Result, RoomServer, Ticket,
    generate::{Churn, Forks, Room, Spec, direct::Direct},
};

use self::{
    backend::{BACKENDS, Backend},
    report::{Arguments, Table, percentile},
};

const ROUNDS: usize = 3;
const MODES: [(Mode, &str); 3] = [(Mode::Direct, "direct"), (Mode::One, "one"), (Mode::Two, "two")];
/// The clock ticks of `/proc`, which Linux has shown as 100 a second on every platform for decades.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Direct,
    One,
    Two,
}

/// Events for one room.
struct Stream {
    room_id: String,
    version: ruma_common::RoomVersionId,
    /// What is there before the clock starts.
    start: Vec<Input>,
    events: Vec<Input>,
}

/// A room, and another one like it.
struct Workload {
    name: &'static str,
    streams: Vec<Stream>,
}

/// What a run took.
#[derive(Clone, Copy)]
struct Run {
    per_second: f64,
    per_cpu_second: f64,
    /// For each event.
    bytes_written: f64,
    /// Gets, keys of multi-gets, and scans, for each event.
    reads: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::read();
    let workloads = workloads(&arguments)?;
    for backend in BACKENDS.iter().filter(|name| arguments.wants("--backend", name)) {
        // Workload by workload in every round, so that a busy machine slows all alike.
        let mut runs: Vec<Vec<Vec<Run>>> =
            workloads.iter().map(|_| MODES.iter().map(|_| Vec::new()).collect()).collect();
        for _ in 0..ROUNDS {
            for (workload, runs) in workloads.iter().zip(&mut runs) {
                for ((mode, name), runs) in MODES.iter().zip(runs) {
                    if arguments.wants("--mode", name) && workload.streams.len() >= mode.rooms() {
                        runs.push(run(backend, workload, *mode)?);
                    }
                }
            }
        }
        let mut table = Table::new(format!("events in, {backend}"));
        for (workload, runs) in workloads.iter().zip(&runs) {
            for ((mode, name), runs) in MODES.iter().zip(runs).filter(|(_, runs)| !runs.is_empty()) {
                table.row(vec![
                    ("workload", workload.name.into()),
                    ("mode", (*name).into()),
                    ("events", workload.events(*mode).into()),
                    ("per_second", median(runs, |run| run.per_second).into()),
                    ("per_cpu_second", median(runs, |run| run.per_cpu_second).into()),
                    ("bytes_written_per_event", median(runs, |run| run.bytes_written).into()),
                    ("reads_per_100_events", median(runs, |run| run.reads * 100.0).into()),
                ]);
            }
        }
        table.print(&arguments);
    }
    Ok(())
}

impl Mode {
    fn rooms(self) -> usize {
        if self == Self::Two { 2 } else { 1 }
    }
}

impl Workload {
    fn streams(&self, mode: Mode) -> impl Iterator<Item = &Stream> {
        self.streams.iter().take(mode.rooms())
    }

    fn events(&self, mode: Mode) -> usize {
        self.streams(mode).map(|stream| stream.events.len()).sum()
    }
}

fn median(runs: &[Run], of: fn(&Run) -> f64) -> u64 {
    percentile(&mut runs.iter().map(|run| of(run).round() as u64).collect::<Vec<_>>(), 500)
}

/// Every workload that is wanted.
fn workloads(arguments: &Arguments) -> Result<Vec<Workload>> {
    let events = if arguments.quick { 2_000 } else { 20_000 };
    let newcomers = Churn { profile: 0, leave: 0, rejoin: 0, newcomer: 1, topic: 0 };
    let forks = Some(Forks { every: 20, length: 10, lines: 3 });
    let specs = [
        ("messages", Spec { members: 1_000, state_per_mille: 0, ..Spec::default() }),
        ("joins", Spec { members: 1, state_per_mille: 1_000, churn: newcomers, ..Spec::default() }),
        ("mixed", Spec { members: 1_000, ..Spec::default() }),
        ("forks", Spec { members: 200, state_per_mille: 200, forks, ..Spec::default() }),
    ];
    let mut workloads = Vec::new();
    for (name, spec) in specs.into_iter().filter(|(name, _)| arguments.wants("--only", name)) {
        let other = Spec { seed: spec.seed + 1, first_user: 1_000_000, ..spec.clone() };
        workloads.push(Workload { name, streams: vec![made_up(spec, events)?, made_up(other, events)?] });
    }
    for name in ["busy.a", "big.a"].into_iter().filter(|name| arguments.wants("--only", name)) {
        match fixture(name) {
            Some(stream) => workloads.push(Workload { name, streams: vec![stream] }),
            None => eprintln!("{name} is not there and left out"),
        }
    }
    Ok(workloads)
}

fn made_up(spec: Spec, events: usize) -> Result<Stream> {
    let version = spec.version.clone();
    let mut room = Room::new(spec)?;
    let start = room.starting_state().into_iter().map(|event| Input::new(event.pdu)).collect();
    let room_id = room.id().to_owned();
    Ok(Stream { room_id, version, start, events: room.take(events).map(|event| Input::new(event.pdu)).collect() })
}

/// A real room.
fn fixture(name: &str) -> Option<Stream> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (room, _) = name.split_once('.')?;
    let places = [format!("../shared/data/{name}.events.jsonl.gz"), format!("examples/rooms/{room}.jsonl.gz")];
    let packed = places.iter().find_map(|place| std::fs::File::open(here.join(place)).ok())?;
    let mut lines = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut lines).ok()?;
    let lines: Vec<serde_json::Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let first = lines.first()?;
    let version = first.get("room_version")?.as_str()?.try_into().ok()?;
    let room_id = first.get("pdu")?.get("room_id")?.as_str()?.to_owned();
    let events = lines.iter().filter_map(|line| Some(Input::new(line.get("pdu")?.to_string()))).collect();
    Some(Stream { room_id, version, start: Vec::new(), events })
}

fn run(backend: &'static str, workload: &Workload, mode: Mode) -> Result<Run> {
    let backend = Backend::open(backend, false)?;
    let streams: Vec<&Stream> = workload.streams(mode).collect();
    let (elapsed, ticks) = match (mode, streams.as_slice()) {
        (Mode::Direct, [only]) => direct(&backend, only)?,
        _ => served(&backend, &streams)?,
    };
    let counts = backend.store.take();
    let events = workload.events(mode) as f64;
    Ok(Run {
        per_second: events / elapsed.as_secs_f64(),
        per_cpu_second: events / (ticks.max(1) as f64 / TICKS_PER_SECOND),
        bytes_written: counts.bytes_written as f64 / events,
        reads: (counts.gets + counts.multi_get_keys + counts.scans) as f64 / events,
    })
}

fn direct(backend: &Backend, stream: &Stream) -> Result<(Duration, u64)> {
    let engine = Direct::open(backend.store.clone(), Options::default().memory)?;
    let mut writer = engine.begin(&stream.room_id, &stream.version)?;
    for input in &stream.start {
        accepted(&writer.process(input)?);
    }
    backend.store.take();
    let (start, ticks) = (Instant::now(), ticks());
    for input in &stream.events {
        decided(&writer.process(input)?);
    }
    Ok((start.elapsed(), self::ticks().saturating_sub(ticks)))
}

fn served(backend: &Backend, streams: &[&Stream]) -> Result<(Duration, u64)> {
    let mut options = Options::default();
    options.writers = streams.len();
    options.durability = Durability::Buffered;
    let server = RoomServer::open_on(backend.store.clone(), &options)?;
    for stream in streams {
        submit_all(&server, stream.start.clone(), accepted)?;
    }
    server.settle()?;
    // The rooms' events in turns, as they would come.
    let longest = streams.iter().map(|stream| stream.events.len()).max().unwrap_or(0);
    let inputs: Vec<Input> = (0..longest)
        .flat_map(|place| streams.iter().filter_map(move |stream| stream.events.get(place).cloned()))
        .collect();
    backend.store.take();
    let (start, ticks) = (Instant::now(), ticks());
    submit_all(&server, inputs, decided)?;
    Ok((start.elapsed(), self::ticks().saturating_sub(ticks)))
}

/// Submits inputs as fast as they are taken, and waits for all outcomes.
fn submit_all(server: &RoomServer, inputs: Vec<Input>, check: fn(&Outcome)) -> Result<()> {
    let mut tickets: VecDeque<Ticket> = VecDeque::new();
    for input in inputs {
        // A full queue is drained to its half: waiting for each place in it would be a switch of threads for each.
        let ticket = loop {
            match server.submit(input.clone()) {
                Err(error) if error.kind() == ErrorKind::Busy => {
                    for ticket in tickets.drain(..tickets.len().div_ceil(2)) {
                        check(&ticket.wait()?);
                    }
                }
                taken => break taken?,
            }
        };
        tickets.push_back(ticket);
    }
    tickets.into_iter().try_for_each(|ticket| ticket.wait().map(|outcome| check(&outcome)))
}

fn accepted(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

/// Real rooms have events that are refused, but none that lack anything.
fn decided(outcome: &Outcome) {
    assert!(!matches!(outcome, Outcome::Parked(_) | Outcome::Duplicate { .. }), "{outcome:?}");
}

/// Processor time of this process, all its threads together, in clock ticks; 0 where there is no `/proc`.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the name, in parentheses; the 14th and 15th are user and system time.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
