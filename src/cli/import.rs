//! `import`: lines into the store.
//!
//! One thread reads and submits, another waits for the outcomes in the order of the lines. Between them lies a window of
//! lines under way, so that many outcomes share one sync.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use ruma_common::RoomVersionId;
use serde::Serialize;

use super::{
    ending::{Ending, Failure},
    follow::{Follower, Watch},
    lines::{LINE_BYTES_MAX, Lines, Unreadable},
    output::{Output, grouped},
    refused::Identity,
    source::{LineSet, Source},
    store::Place,
    tally::Tally,
    under_way::{Control, Sent, Submitted, What},
};
use crate::{
    error::ErrorKind,
    import_line,
    input::Durability,
    room::outcome::Input,
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

impl Plan<'_> {
    /// Imports the files; ends when all of it is decided as far as it can be, and on stable storage.
    ///
    /// A line of a room whose version nobody has told yet is left until all files were read: by then the create event may
    /// have come. Then the files with such lines are read once more, and of them only these lines.
    pub(super) fn carry_out(mut self, server: &RoomServer) -> Result<Tally, Failure> {
        let control = Control { stop: AtomicBool::new(false), bytes_read: Arc::default() };
        let watch = std::mem::replace(&mut self.watch, Watch::Nothing);
        let sources: Vec<Arc<Source>> =
            self.files.iter().zip(0..).map(|(path, place)| Arc::new(Source::new(path, place))).collect();
        let size = sources.iter().map(|source| source.size).sum();
        let with_identities = matches!(watch, Watch::Each(_));
        let mut follower = Follower::new(server, &control, self.strict, watch, self.files.len() > 1, size);
        let reader = Reader { plan: &self, server, control: &control, with_identities };
        reader.read_and_follow(sources.iter().map(|source| (source, None)), &mut follower)?;
        let again = follower.take_unversioned();
        let again = sources.iter().filter_map(|source| Some((source, Some(again.get(&source.place)?))));
        reader.read_and_follow(again, &mut follower)?;
        server.settle()?;
        follower.tally()
    }
}

/// Reads and submits lines.
struct Reader<'a> {
    plan: &'a Plan<'a>,
    server: &'a RoomServer,
    control: &'a Control,
    /// Whether somebody wants to know which events the invalid lines had.
    with_identities: bool,
}

impl Reader<'_> {
    /// Reads files, or only some lines of each, and follows what comes of them.
    fn read_and_follow<'s>(
        &self,
        sources: impl Iterator<Item = (&'s Arc<Source>, Option<&'s LineSet>)>,
        follower: &mut Follower<'_>,
    ) -> Result<(), Failure> {
        let (sender, sent) = bounded(WINDOW);
        // A token for each line that is done; one that nobody has taken yet says all that a second one would.
        let (done, tokens) = bounded(1);
        std::thread::scope(|scope| {
            // Both ends go with the follower: if it panics, the reader finds out.
            let following = scope.spawn(move || follower.follow(&sent, &done));
            for (source, only) in sources {
                if !self.read(source, only, &sender, &tokens) {
                    break;
                }
            }
            drop(sender);
            following.join().unwrap_or_else(|_| Err(Failure::Other("the follower of the import panicked".to_owned())))
        })
    }

    /// Reads the lines of a file and submits them; `false` if nothing more is to be read. What becomes of them is the
    /// follower's business.
    fn read(&self, source: &Arc<Source>, only: Option<&LineSet>, sender: &Sender<Sent>, tokens: &Receiver<()>) -> bool {
        let send = |line, what| {
            // The follower is gone only if it panicked.
            let is_gone = sender.send(Sent { source: source.clone(), line, what }).is_err();
            if self.plan.strict && !is_gone {
                // No line must follow an invalid one: wait for this one's outcome.
                let _gone = tokens.recv();
            }
            !is_gone && !self.control.stop.load(Ordering::Acquire)
        };
        let mut lines = match Lines::open(&source.path, self.control.bytes_read.clone()) {
            Ok(lines) => lines,
            Err(error) => return send(0, What::Unreadable(format!("cannot be read: {error}"))),
        };
        while let Some(step) = self.next(&mut lines, only, tokens) {
            let is_end = matches!(step, Step::End(_));
            let (Step::End(what) | Step::Line(what)) = step;
            if !send(lines.number(), what) {
                return false;
            }
            if is_end {
                break;
            }
        }
        true
    }

    /// Reads the next line that is not empty and is wanted, and submits it.
    fn next(&self, lines: &mut Lines, only: Option<&LineSet>, tokens: &Receiver<()>) -> Option<Step> {
        let version = self.plan.room_version;
        loop {
            if only.is_some_and(|only| only.last().is_none_or(|last| lines.number() >= last)) {
                return None;
            }
            let number = lines.number().saturating_add(1);
            let line = match lines.next()? {
                Ok(_) if only.is_some_and(|only| !only.contains(number)) => continue,
                Ok(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
                Ok(line) => line,
                Err(Unreadable::TooLong) if only.is_some() => continue,
                Err(Unreadable::TooLong) => {
                    let why = format!("the line has more than {LINE_BYTES_MAX} bytes");
                    return Some(Step::Line(What::Invalid { why, identity: None }));
                }
                Err(Unreadable::Failed { error, is_torn }) => {
                    let why = format!("cannot be read on: {error}");
                    let is_line = is_torn && only.is_none();
                    return Some(Step::End(match is_line {
                        true => What::Invalid { why, identity: None },
                        false => What::Unreadable(why),
                    }));
                }
            };
            return Some(Step::Line(match import_line::parse(line, version) {
                Ok(line) => What::Submitted(self.submit(line, tokens)),
                Err(why) => {
                    let identity = if self.with_identities { Identity::of_line(line, version) } else { None };
                    What::Invalid { why, identity }
                }
            }));
        }
    }

    fn submit(&self, line: import_line::Line, tokens: &Receiver<()>) -> Submitted {
        let import_line::Line { input, room_id } = line;
        let ticket = loop {
            match self.server.submit(input.clone()) {
                Err(error) if error.kind() == ErrorKind::Busy && !self.control.stop.load(Ordering::Acquire) => {
                    // The queue holds lines of this import, and a token comes when one of them is done.
                    let _gone = tokens.recv();
                }
                done => break done,
            }
        };
        let Input { kind, event_id, pdu, room_version, .. } = input;
        let has_version = room_version.is_some();
        let identity = self.with_identities.then(|| Identity::new(event_id, pdu, room_version));
        Submitted { ticket, kind, room_id, has_version, identity }
    }
}

/// What was read of a file.
enum Step {
    Line(What),
    /// It cannot be read on.
    End(What),
}

#[expect(clippy::disallowed_methods, reason = "the time decides nothing: it is told to whoever asked for the import")]
pub(super) fn now() -> Instant {
    Instant::now()
}
