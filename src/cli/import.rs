//! `import`: lines into the store.
//!
//! One thread reads and submits, another waits for the outcomes in the order of the lines. Between them lies a window of
//! lines under way, so that many outcomes share one sync.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use ruma_common::RoomVersionId;
use serde::Serialize;

use super::{
    Ending, Failure,
    follow::{Follower, Watch},
    lines::{LINE_BYTES_MAX, Lines, Unreadable},
    output::{Output, grouped},
    store::Place,
};
use crate::{
    error::{Error, ErrorKind},
    import_line,
    input::{Durability, Ticket},
    room::outcome::{Input, Kind},
    server::{Options, RoomServer},
};

/// Lines that may be under way.
const WINDOW: usize = 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// JSON lines, plain or compressed with gzip or zstd; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The room version, for events of unknown rooms whose line tells none
    #[arg(long, value_name = "V", value_parser = import_line::room_version)]
    room_version: Option<RoomVersionId>,
    /// Tell what came of each line, as soon as it is on stable storage
    #[arg(long)]
    each: bool,
    /// Stop at the first invalid line
    #[arg(long)]
    strict: bool,
}

/// What to import, and how.
pub(super) struct Plan<'a> {
    pub(super) files: &'a [PathBuf],
    pub(super) room_version: Option<&'a RoomVersionId>,
    pub(super) strict: bool,
    pub(super) watch: Watch<'a>,
}

/// What came of the lines: each is counted once, by its state when the import ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) duplicate: u64,
    pub(super) soft_failed: u64,
    pub(super) rejected: u64,
    pub(super) parked: u64,
    pub(super) outliers: u64,
    pub(super) invalid: u64,
    /// Files that could not be read to their end: not lines.
    pub(super) unreadable: u64,
}

/// A line under way.
pub(super) struct Sent {
    /// The file's name.
    pub(super) file: Arc<str>,
    /// The number of the line in it.
    pub(super) line: u64,
    pub(super) what: What,
}

/// What became of a line so far.
pub(super) enum What {
    /// It was taken.
    Taken { ticket: Ticket, kind: Kind, room_id: Option<Box<str>> },
    /// It is invalid.
    Invalid(String),
    /// The engine could not take it.
    Failed { error: Error, room_id: Option<Box<str>> },
    /// The file cannot be read from here on, and nothing of the line was.
    Unreadable(String),
}

/// How the two threads talk to each other.
pub(super) struct Control {
    /// Set by the follower to end the reading.
    pub(super) stop: AtomicBool,
    /// Bytes read of the files.
    pub(super) bytes_read: Arc<AtomicU64>,
}

#[derive(Serialize)]
struct Summary {
    lines: u64,
    accepted: u64,
    duplicate: u64,
    soft_failed: u64,
    rejected: u64,
    parked: u64,
    outliers: u64,
    invalid: u64,
    seconds: f64,
    events_per_second: f64,
}

pub(super) fn run(place: &Place, arguments: &Arguments, output: &mut Output) -> Result<Ending, Failure> {
    let mut options = Options::default();
    if !arguments.each {
        // Nobody is told of any line before the end: one sync is enough.
        options.durability = Durability::Buffered;
    }
    let is_there = |file: &PathBuf| file.as_os_str() == "-" || fs::metadata(file).is_ok_and(|file| !file.is_dir());
    if !arguments.files.iter().any(is_there) {
        // No store is made for nothing.
        let files: Vec<String> = arguments.files.iter().map(|file| file.display().to_string()).collect();
        return Err(Failure::Other(format!("nothing to read: there is no file {}", files.join(", "))));
    }
    let store = place.open_with(&options)?;
    let started = now();
    let tally = Plan {
        files: &arguments.files,
        room_version: arguments.room_version.as_ref(),
        strict: arguments.strict,
        watch: if arguments.each { Watch::Each(output) } else { Watch::Progress },
    }
    .carry_out(&store.server)?;
    let seconds = started.elapsed().as_secs_f64();
    store.keep()?;
    summarise(&tally, seconds, output)?;
    match tally {
        Tally { unreadable: 1.., .. } if tally.lines() == 0 => Err(Failure::Other("nothing could be read".to_owned())),
        Tally { invalid: 0, unreadable: 0, .. } => Ok(Ending::Right),
        _ => Ok(Ending::Wrong),
    }
}

fn summarise(tally: &Tally, seconds: f64, output: &mut Output) -> Result<(), Failure> {
    use std::io::Write;

    let Tally { accepted, duplicate, soft_failed, rejected, parked, outliers, invalid, .. } = *tally;
    let lines = tally.lines();
    let events_per_second = (lines.saturating_sub(invalid) as f64 / seconds.max(1e-9)).round();
    if output.json {
        let seconds = (seconds * 1e6).round() / 1e6;
        output.object(&Summary {
            lines,
            accepted,
            duplicate,
            soft_failed,
            rejected,
            parked,
            outliers,
            invalid,
            seconds,
            events_per_second,
        })?;
        return Ok(());
    }
    let sorts = [
        (accepted, "accepted"),
        (duplicate, "duplicate"),
        (soft_failed, "soft-failed"),
        (rejected, "rejected"),
        (parked, "parked"),
        (outliers, "outliers"),
        (invalid, "invalid"),
    ];
    let sorts: Vec<String> = (sorts.iter().filter(|(count, _)| *count > 0))
        .map(|(count, sort)| format!("{} {sort}", grouped(*count)))
        .collect();
    let sorts = if sorts.is_empty() { "nothing".to_owned() } else { sorts.join(", ") };
    writeln!(output, "{} lines: {sorts}; {seconds:.2} s, {events_per_second:.0} events a second", grouped(lines))?;
    Ok(())
}

impl Tally {
    /// The lines: all that were not empty.
    pub(super) fn lines(&self) -> u64 {
        let Self { accepted, duplicate, soft_failed, rejected, parked, outliers, invalid, .. } = self;
        accepted + duplicate + soft_failed + rejected + parked + outliers + invalid
    }
}

impl Plan<'_> {
    /// Imports the files; ends when all of it is decided as far as it can be, and on stable storage.
    pub(super) fn carry_out(mut self, server: &RoomServer) -> Result<Tally, Failure> {
        let (sender, sent) = bounded(WINDOW);
        // A token for each line that is done; one that nobody has taken yet says all that a second one would.
        let (done, tokens) = bounded(1);
        let control = Control { stop: AtomicBool::new(false), bytes_read: Arc::default() };
        let watch = std::mem::replace(&mut self.watch, Watch::Nothing);
        let mut follower = Follower::new(server, &control, self.strict, watch, self.files.len() > 1, self.size());
        let followed = std::thread::scope(|scope| {
            let follower = &mut follower;
            // Both ends go with the follower: if it panics, the reader finds out.
            let following = scope.spawn(move || follower.follow(&sent, &done));
            self.read(server, &control, &sender, &tokens);
            drop(sender);
            following.join().unwrap_or_else(|_| Err(Failure::Other("the follower of the import panicked".to_owned())))
        });
        followed?;
        server.settle()?;
        follower.tally()
    }

    /// Bytes of all files; `None` if standard input is among them.
    fn size(&self) -> Option<u64> {
        self.files.iter().map(|file| fs::metadata(file).ok().filter(fs::Metadata::is_file).map(|file| file.len())).sum()
    }

    /// Reads all lines and submits them. What becomes of them is the follower's business.
    fn read(&self, server: &RoomServer, control: &Control, sender: &Sender<Sent>, tokens: &Receiver<()>) {
        for path in self.files {
            let file: Arc<str> =
                if path.as_os_str() == "-" { "stdin".into() } else { path.display().to_string().into() };
            let send = |line, what| {
                // The follower is gone only if it panicked.
                let is_gone = sender.send(Sent { file: file.clone(), line, what }).is_err();
                if self.strict && !is_gone {
                    // No line must follow an invalid one: wait for this one's outcome.
                    let _gone = tokens.recv();
                }
                is_gone || control.stop.load(Ordering::Acquire)
            };
            let mut lines = match Lines::open(path, control.bytes_read.clone()) {
                Ok(lines) => lines,
                Err(error) => {
                    if send(0, What::Unreadable(format!("cannot be read: {error}"))) {
                        return;
                    }
                    continue;
                }
            };
            while let Some(what) = self.next(server, control, &mut lines, tokens) {
                let is_end = matches!(what, Step::End(_));
                let (Step::End(what) | Step::Line(what)) = what;
                if send(lines.number(), what) {
                    return;
                }
                if is_end {
                    break;
                }
            }
        }
    }

    /// Reads the next line that is not empty, and submits it.
    fn next(&self, server: &RoomServer, control: &Control, lines: &mut Lines, tokens: &Receiver<()>) -> Option<Step> {
        loop {
            let line = match lines.next()? {
                Ok(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
                Ok(line) => line,
                Err(Unreadable::TooLong) => {
                    return Some(Step::Line(What::Invalid(format!("the line has more than {LINE_BYTES_MAX} bytes"))));
                }
                Err(Unreadable::Failed { error, is_torn }) => {
                    let why = format!("cannot be read on: {error}");
                    return Some(Step::End(if is_torn { What::Invalid(why) } else { What::Unreadable(why) }));
                }
            };
            return Some(Step::Line(match import_line::parse(line, self.room_version) {
                Ok(import_line::Line { input, room_id }) => submit(server, control, &input, room_id, tokens),
                Err(why) => What::Invalid(why),
            }));
        }
    }
}

/// What was read of a file.
enum Step {
    Line(What),
    /// It cannot be read on.
    End(What),
}

fn submit(
    server: &RoomServer,
    control: &Control,
    input: &Input,
    room_id: Option<Box<str>>,
    tokens: &Receiver<()>,
) -> What {
    let kind = input.kind;
    loop {
        match server.submit(input.clone()) {
            Ok(ticket) => return What::Taken { ticket, kind, room_id },
            Err(error) if error.kind() == ErrorKind::Busy && !control.stop.load(Ordering::Acquire) => {
                // The queue holds lines of this import, and a token comes when one of them is done.
                let _gone = tokens.recv();
            }
            Err(error) => return What::Failed { error, room_id },
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the time decides nothing: it is told to whoever asked for the import")]
pub(super) fn now() -> Instant {
    Instant::now()
}
