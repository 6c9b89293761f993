//! What one event costs in rooms of 10, 1,000 and 50,000 members: the room's size must not matter.
//!
//! ```text
//! cargo bench --features bench --bench cost            # tables
//! cargo bench --features bench --bench cost -- --json  # a JSON object a line
//! ```
//!
//! `-- --quick` takes a tenth of the samples, `-- --backend memory` one backend, `-- --only operations` or `seals` one part.
//! With `-- --yields-cpu` RocksDB's own threads have the lowest priority: else, on few cores, the slowest changes are those
//! that a flush took the core from. Without RocksDB: `--no-default-features --features bench`.
//!
//! All rooms are in one store, memory and caches warm, and are taken in turns, so that a busy machine slows all alike.
//! Times are from the bytes of an event to its applied batch, in the room's writer: no queue, no other thread, no sync.
//! Counts are what the engine asked of the store. Every figure is the median over the samples.
//!
//! - *message*: a text message of a member.
//! - *join*: of a user whom the server does not know yet.
//! - *merge*: the event that makes two lines of the room differ at two keys (a topic; before it, a member's name), and the
//!   message that cites both lines.
//! - *power merge*: the same, where the two keys are the power levels and a member's name.
//!
//! The last table lets members change their names until lists were sealed, beside the writer, in a room of 200,000 members
//! too: *longest* is the slowest change, whatever made it slow; *most* bytes are written while a list is, *its* time is that
//! of the change at the same moment. The bytes for each change are all that was written, lists included.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark measures time, prints, and ends where something fails"
)]

#[path = "support/backend.rs"]
mod backend;
#[path = "support/report.rs"]
mod report;

use std::time::Instant;

use roomserver::{
    Input, Options, Outcome, Result,
    generate::{
        Generated, Room, Spec, TRUNK, User,
        direct::{Direct, DirectWriter},
    },
    kv::{Store as _, counting::Counts},
};
use serde_json::Value;

use self::{
    backend::{BACKENDS, Backend},
    report::{Arguments, Table, percentile},
};

const SIZES: [u32; 3] = [10, 1_000, 50_000];
/// Members of one more room, in which only lists are measured.
const LARGEST: u32 = 200_000;
const ROUNDS: usize = 100;
/// Samples of each operation in a room in each round.
const SAMPLES: usize = 4;
/// Users that no two rooms have in common; with [`FIRST_USER`], their numbers have equally many digits.
const USERS_APART: u32 = 1_000_000;
const FIRST_USER: u32 = 100_000_000;
/// Merges that a room has had when it is measured: its head names the newest ones.
const MERGES: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Message,
    Join,
    Merge,
    PowerMerge,
}

const OPERATIONS: [(Operation, &str); 4] = [
    (Operation::Message, "message"),
    (Operation::Join, "join"),
    (Operation::Merge, "merge"),
    (Operation::PowerMerge, "power merge"),
];

/// What an operation took.
struct Sample {
    nanoseconds: u64,
    counts: Counts,
}

/// A room and its writer.
struct Site<'b> {
    backend: &'b Backend,
    members: u32,
    room: Room,
    writer: DirectWriter,
    /// Acts so far, of which it follows who acts next.
    acts: u32,
}

fn main() -> Result<()> {
    let arguments = Arguments::read();
    for name in BACKENDS.iter().copied().filter(|name| arguments.wants("--backend", name)) {
        let backend = Backend::open(name, arguments.has("--yields-cpu"))?;
        let engine = Direct::open(backend.store.clone(), Options::default().memory)?;
        let mut sites = Vec::new();
        for (number, members) in (0..).zip(SIZES) {
            sites.push(Site::new(&backend, &engine, members, number)?);
        }
        backend.store.flush(true)?;
        if arguments.wants("--only", "operations") {
            operations(&backend, &engine, &mut sites, &arguments)?;
        }
        if arguments.wants("--only", "seals") {
            if !arguments.quick {
                sites.push(Site::new(&backend, &engine, LARGEST, SIZES.len() as u32)?);
            }
            seals(&backend, &engine, &mut sites, &arguments)?;
        }
    }
    Ok(())
}

/// Measures every operation in every room, room by room in turns.
fn operations<'b>(backend: &'b Backend, engine: &Direct, sites: &mut [Site<'b>], arguments: &Arguments) -> Result<()> {
    let rounds = if arguments.quick { ROUNDS / 10 } else { ROUNDS };
    let mut samples: Vec<Vec<Vec<Sample>>> =
        SIZES.iter().map(|_| OPERATIONS.iter().map(|_| Vec::new()).collect()).collect();
    let mut rooms = 10;
    for round in 0..rounds {
        for turn in 0..sites.len() {
            let place = if round % 2 == 0 { turn } else { sites.len() - 1 - turn };
            if SIZES[place] == SIZES[0] {
                // Joins would make a small room another one in no time.
                rooms += 1;
                sites[place] = Site::new(backend, engine, SIZES[place], rooms)?;
            }
            let site = &mut sites[place];
            site.warm(round)?;
            for (samples, (operation, _)) in samples[place].iter_mut().zip(OPERATIONS) {
                for _ in 0..SAMPLES {
                    samples.push(site.sample(operation)?);
                }
            }
        }
    }
    for (place, (_, operation)) in OPERATIONS.iter().enumerate() {
        let mut table = Table::new(format!("{operation}, {backend}"));
        let rows: Vec<[u64; 8]> = samples.iter().map(|by_operation| medians(&by_operation[place])).collect();
        for (members, row) in SIZES.iter().zip(&rows) {
            table.row(figures(members.to_string(), row.map(Value::from)));
        }
        let ratio = |(most, least): (u64, u64)| Value::from(most as f64 / least.max(1) as f64);
        let [least, .., most] = rows.as_slice() else { continue };
        let ratios = std::array::from_fn(|column| ratio((most[column], least[column])));
        table.row(figures(format!("{} : {}", SIZES[SIZES.len() - 1], SIZES[0]), ratios));
        table.print(arguments);
    }
    Ok(())
}

fn figures(
    members: String,
    [time, gets, keys, scans, rows, read, ops, written]: [Value; 8],
) -> Vec<(&'static str, Value)> {
    vec![
        ("members", members.into()),
        ("ns", time),
        ("gets", gets),
        ("multi_get_keys", keys),
        ("scans", scans),
        ("rows_scanned", rows),
        ("bytes_read", read),
        ("changes", ops),
        ("bytes_written", written),
    ]
}

fn medians(samples: &[Sample]) -> [u64; 8] {
    let median = |of: fn(&Sample) -> u64| percentile(&mut samples.iter().map(of).collect::<Vec<_>>(), 500);
    [
        median(|sample| sample.nanoseconds),
        median(|sample| sample.counts.gets),
        median(|sample| sample.counts.multi_get_keys),
        median(|sample| sample.counts.scans),
        median(|sample| sample.counts.rows_scanned),
        median(|sample| sample.counts.bytes_read),
        median(|sample| sample.counts.ops),
        median(|sample| sample.counts.bytes_written),
    ]
}

/// Lets members change their names until at least two lists of the room were sealed.
fn seals(backend: &Backend, engine: &Direct, sites: &mut [Site<'_>], arguments: &Arguments) -> Result<()> {
    let mut table = Table::new(format!("name changes with seals, {backend}"));
    for site in sites {
        engine.settle();
        let changes = match site.members {
            _ if arguments.quick => 600,
            LARGEST => 40_000,
            _ => 4_500,
        };
        let mut samples = Vec::new();
        for _ in 0..changes {
            let user = site.next_user();
            let change = site.room.profile(TRUNK, user);
            samples.push(site.timed(vec![change])?);
        }
        let mut times: Vec<u64> = samples.iter().map(|sample| sample.nanoseconds).collect();
        let written: u64 = samples.iter().map(|sample| sample.counts.bytes_written).sum();
        let largest = samples.iter().max_by_key(|sample| sample.counts.bytes_written);
        table.row(vec![
            ("members", site.members.into()),
            ("changes", changes.into()),
            ("median_ns", percentile(&mut times, 500).into()),
            ("p99_ns", percentile(&mut times, 990).into()),
            ("p999_ns", percentile(&mut times, 999).into()),
            ("longest_ns", percentile(&mut times, 1000).into()),
            ("most_bytes_written", largest.map(|sample| sample.counts.bytes_written).into()),
            ("its_ns", largest.map(|sample| sample.nanoseconds).into()),
            ("bytes_written_per_change", (written / changes).into()),
        ]);
    }
    table.print(arguments);
    Ok(())
}

impl<'b> Site<'b> {
    fn new(backend: &'b Backend, engine: &Direct, members: u32, number: u32) -> Result<Self> {
        let seed = u64::from(number) + 1;
        let room = Room::new(Spec { members, seed, first_user: FIRST_USER + number * USERS_APART, ..Spec::default() })?;
        let writer = engine.begin(room.id(), room.version())?;
        let mut site = Self { backend, members, room, writer, acts: 0 };
        for event in site.room.starting_state() {
            site.process(event)?;
        }
        for _ in 0..MERGES {
            site.sample(Operation::Merge)?;
        }
        Ok(site)
    }

    /// Some acts of each sort, so that what is measured is no first time. How many name changes there are differs from
    /// round to round, and with it how full the newest pack of the log is.
    fn warm(&mut self, round: usize) -> Result<()> {
        for _ in 0..8 + round * 7 % 32 {
            let user = self.next_user();
            let events = [self.room.profile(TRUNK, user), self.room.message(TRUNK, user)];
            events.into_iter().try_for_each(|event| self.process(event))?;
        }
        Ok(())
    }

    fn sample(&mut self, operation: Operation) -> Result<Sample> {
        let user = self.next_user();
        let events = match operation {
            Operation::Message => vec![self.room.message(TRUNK, user)],
            Operation::Join => {
                let newcomer = self.room.new_user();
                vec![self.room.join(TRUNK, newcomer)]
            }
            Operation::Merge | Operation::PowerMerge => {
                self.room.fork(2);
                for line in [0, 1] {
                    let name = self.room.profile(line, user);
                    self.process(name)?;
                    if line == 0 {
                        let other = self.other_key(operation, line);
                        self.process(other)?;
                    }
                }
                vec![self.other_key(operation, 1), self.room.merge(user)]
            }
        };
        self.timed(events)
    }

    /// A change of the second key at which two lines differ.
    fn other_key(&mut self, operation: Operation, line: usize) -> Generated {
        match operation {
            Operation::PowerMerge => {
                let level = i64::from(self.acts % 50);
                let user = self.room.member(if line == 0 { 1 } else { 2 });
                self.room.power_level(line, user, level)
            }
            _ => self.room.topic(line),
        }
    }

    /// A member other than the creator, each in turn.
    fn next_user(&mut self) -> User {
        self.acts += 1;
        self.room.member(1 + self.acts.wrapping_mul(7919) % (self.members - 1))
    }

    fn timed(&mut self, events: Vec<Generated>) -> Result<Sample> {
        let inputs: Vec<Input> = events.into_iter().map(|event| Input::new(event.pdu)).collect();
        self.backend.store.take();
        let start = Instant::now();
        for input in &inputs {
            accepted(&self.writer.process(input)?);
        }
        let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok(Sample { nanoseconds, counts: self.backend.store.take() })
    }

    fn process(&mut self, event: Generated) -> Result<()> {
        accepted(&self.writer.process(&Input::new(event.pdu))?);
        Ok(())
    }
}

fn accepted(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}
