//! The other half of `import`: what came of each line, in the order of the lines.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    sync::atomic::Ordering,
};

use crossbeam_channel::{Receiver, Sender};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{
    Failure, complain,
    import::{Control, Sent, Tally, What},
    output::{Output, grouped},
};
use crate::{
    encoding::event_row::Verdict,
    error::{Error, ErrorKind},
    query::Standing,
    room::outcome::{Kind, Outcome, Position},
    server::RoomServer,
};

/// What is told of an import while it runs, besides its invalid lines.
pub(super) enum Watch<'a> {
    /// Nothing.
    Nothing,
    /// How far it is, if a person looks on.
    Progress,
    /// What came of each line.
    Each(&'a mut Output),
}

/// Waits for outcomes, reports and counts them.
pub(super) struct Follower<'a> {
    server: &'a RoomServer,
    control: &'a Control,
    strict: bool,
    watch: Watch<'a>,
    /// Whether a line must name its file.
    several_files: bool,
    bar: Option<ProgressBar>,
    tally: Tally,
    undecided: BTreeMap<Box<str>, Undecided>,
    lines: u64,
}

/// Events of one room whose lines are counted when the import ends: their IDs, each with a line feed after it.
#[derive(Default)]
struct Undecided {
    parked: String,
    outliers: String,
}

/// What is told of a line.
#[derive(Serialize)]
struct EachLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    line: u64,
    event_id: Option<&'a str>,
    outcome: &'a str,
    position: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Follower<'a> {
    /// Follows an import; `size` is that of its files, if it is known.
    pub(super) fn new(
        server: &'a RoomServer,
        control: &'a Control,
        strict: bool,
        watch: Watch<'a>,
        several_files: bool,
        size: Option<u64>,
    ) -> Self {
        let bar = matches!(watch, Watch::Progress).then(|| progress_bar(size)).flatten();
        Self {
            server,
            control,
            strict,
            watch,
            several_files,
            bar,
            tally: Tally::default(),
            undecided: BTreeMap::new(),
            lines: 0,
        }
    }

    /// Reports every line that is sent, until all are done. After a failure the rest is waited for and not reported.
    pub(super) fn follow(&mut self, sent: &Receiver<Sent>, done: &Sender<()>) -> Result<(), Failure> {
        let mut ending = Ok(());
        for Sent { file, line, what } in sent {
            if ending.is_ok() {
                ending = self.line(&file, line, what);
                if ending.is_err() {
                    self.control.stop.store(true, Ordering::Release);
                }
            } else if let What::Taken { ticket, .. } = what {
                // It was taken, and is decided whether or not somebody asks.
                let _unreported = ticket.wait();
            }
            // A full channel holds a token already.
            let _full = done.try_send(());
            self.lines = self.lines.saturating_add(1);
            if let Some(bar) = self.bar.as_ref().filter(|_| self.lines.is_multiple_of(64)) {
                bar.set_position(self.control.bytes_read.load(Ordering::Relaxed));
                bar.set_message(grouped(self.lines));
            }
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        ending
    }

    fn line(&mut self, file: &str, line: u64, what: What) -> Result<(), Failure> {
        match what {
            What::Taken { ticket, kind, room_id } => match ticket.wait() {
                Ok(outcome) => self.outcome(file, line, &outcome, kind, room_id),
                Err(error) => self.failed(file, line, error, room_id.as_deref()),
            },
            What::Failed { error, room_id } => self.failed(file, line, error, room_id.as_deref()),
            What::Invalid(why) => self.invalid(file, line, &why),
            What::Unreadable(why) => {
                self.tally.unreadable += 1;
                let place = if line == 0 { file.to_owned() } else { format!("{file}:{line}") };
                self.complain(format_args!("{place}: {why}"));
                self.stop_if_strict();
                Ok(())
            }
        }
    }

    fn outcome(
        &mut self,
        file: &str,
        line: u64,
        outcome: &Outcome,
        kind: Kind,
        room_id: Option<Box<str>>,
    ) -> Result<(), Failure> {
        let event_id = outcome.event_id().as_str();
        let is_outlier = kind == Kind::Outlier
            && match outcome {
                Outcome::Accepted(accepted) => accepted.state_before.is_none(),
                Outcome::Rejected { .. } => true,
                _ => false,
            };
        let word = match outcome {
            _ if is_outlier => "outlier",
            Outcome::Accepted(_) => "accepted",
            Outcome::Duplicate { .. } => "duplicate",
            Outcome::SoftFailed { .. } => "soft_failed",
            Outcome::Rejected { .. } => "rejected",
            Outcome::Parked(_) => "parked",
        };
        // Without `room_id` it is a create event, whose hash is the room's ID.
        let room_id = || room_id.unwrap_or_else(|| event_id.replacen('$', "!", 1).into());
        match outcome {
            _ if is_outlier => push_line(&mut self.undecided.entry(room_id()).or_default().outliers, event_id),
            Outcome::Accepted(_) => self.tally.accepted += 1,
            Outcome::Duplicate { .. } => self.tally.duplicate += 1,
            Outcome::SoftFailed { .. } => self.tally.soft_failed += 1,
            Outcome::Rejected { .. } => self.tally.rejected += 1,
            Outcome::Parked(_) => push_line(&mut self.undecided.entry(room_id()).or_default().parked, event_id),
        }
        let position = outcome.position().map(Position::number);
        self.each(EachLine { file: Some(file), line, event_id: Some(event_id), outcome: word, position, error: None })
    }

    /// A line of which the engine made nothing: it is invalid, or its room is out of order, or the whole store is.
    fn failed(&mut self, file: &str, line: u64, error: Error, room_id: Option<&str>) -> Result<(), Failure> {
        if error.kind() == ErrorKind::Unavailable {
            let rooms = self.server.quarantined();
            if !rooms.iter().any(|(room, _)| room_id.is_none_or(|room_id| room == room_id)) {
                return Err(error.context(format!("{file}:{line}")).into());
            }
        }
        self.invalid(file, line, &error.to_string())
    }

    fn invalid(&mut self, file: &str, line: u64, why: &str) -> Result<(), Failure> {
        self.tally.invalid += 1;
        self.complain(format_args!("{file}:{line}: {why}"));
        self.stop_if_strict();
        let each =
            EachLine { file: Some(file), line, event_id: None, outcome: "invalid", position: None, error: Some(why) };
        self.each(each)
    }

    fn stop_if_strict(&self) {
        if self.strict {
            self.control.stop.store(true, Ordering::Release);
        }
    }

    fn complain(&self, what: std::fmt::Arguments<'_>) {
        match &self.bar {
            Some(bar) => bar.suspend(|| complain(what)),
            None => complain(what),
        }
    }

    fn each(&mut self, mut each: EachLine<'_>) -> Result<(), Failure> {
        let Watch::Each(output) = &mut self.watch else { return Ok(()) };
        if output.json {
            each.file = each.file.filter(|_| self.several_files);
            output.object(&each)?;
        } else {
            let (file, about) = (each.file.unwrap_or_default(), each.event_id.or(each.error).unwrap_or_default());
            writeln!(output, "{file}:{}: {} {about}", each.line, each.outcome.replace('_', "-"))?;
        }
        output.flush()?;
        Ok(())
    }

    /// Looks up what the end of the import left undecided, and gives the counts.
    pub(super) fn tally(self) -> Result<Tally, Failure> {
        let mut tally = self.tally;
        let view = self.server.view();
        for (room_id, undecided) in &self.undecided {
            let gone = || Error::internal(format!("what was imported into room {room_id} is not there"));
            let room = view.room(room_id)?.ok_or_else(gone)?;
            for event_id in undecided.parked.lines() {
                let Standing { stored, parked } = room.standing(event_id)?;
                let stored = if parked { None } else { Some(stored.ok_or_else(gone)?) };
                tally.count(stored.as_ref());
            }
            for event_id in undecided.outliers.lines() {
                tally.count(Some(&room.standing(event_id)?.stored.ok_or_else(gone)?));
            }
        }
        Ok(tally)
    }
}

impl Tally {
    /// Counts a line by its event as it is stored; `None` if it is parked.
    fn count(&mut self, stored: Option<&(Kind, Verdict)>) {
        let count = match stored {
            None => &mut self.parked,
            Some((Kind::Outlier, _)) => &mut self.outliers,
            Some((_, Verdict::Accepted)) => &mut self.accepted,
            Some((_, Verdict::SoftFailed(_))) => &mut self.soft_failed,
            Some((_, Verdict::Rejected(_))) => &mut self.rejected,
        };
        *count = count.saturating_add(1);
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// A bar on stderr, if it is a terminal.
fn progress_bar(size: Option<u64>) -> Option<ProgressBar> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:40} {percent:>3} %  {msg} lines  {elapsed}, {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {msg} lines  {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    Some(bar.with_style(style))
}
