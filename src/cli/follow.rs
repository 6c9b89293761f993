//! The other half of `import`: what came of each line, in the order of the lines.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    sync::{Arc, atomic::Ordering},
};

use crossbeam_channel::{Receiver, Sender};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{
    ending::{Failure, complain},
    lacks::ShownLack,
    output::{Output, grouped},
    refused::{Identity, Refused},
    source::{LineSet, Source},
    tally::Tally,
    under_way::{Control, Sent, Submitted, What},
};
use crate::{
    error::{Error, ErrorKind},
    query::{Role, Standing},
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
    bar: Option<Bar>,
    tally: Tally,
    undecided: BTreeMap<Box<str>, Undecided>,
    lines: u64,
    refused: Refused,
    /// The lines of each file, by its place, that wait to be read again; none if this is the last time.
    unversioned: Option<BTreeMap<usize, LineSet>>,
    /// How many of the lines that are to be read again are left.
    left: u64,
}

/// Events of one room whose lines are counted when the import ends: their IDs, each with a line feed after it.
#[derive(Default)]
struct Undecided {
    parked: String,
    outliers: String,
}

/// What is told of a line.
#[derive(Default, Serialize)]
struct EachLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    line: u64,
    event_id: Option<&'a str>,
    outcome: &'a str,
    position: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lacks: Option<Vec<ShownLack<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// How much of what an event lacks is told to a person.
const LACKS_SHOWN: usize = 4;

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
        let bar = matches!(watch, Watch::Progress).then(|| Bar::new(size)).flatten();
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
            refused: Refused::default(),
            unversioned: (!strict).then(BTreeMap::new),
            left: 0,
        }
    }

    /// Reports every line that is sent, until all are done. After a failure the rest is waited for and not reported.
    pub(super) fn follow(&mut self, sent: &Receiver<Sent>, done: &Sender<()>) -> Result<(), Failure> {
        let mut ending = Ok(());
        for Sent { source, line, what } in sent {
            if ending.is_ok() {
                ending = self.line(&source, line, what);
                if ending.is_err() {
                    self.control.stop.store(true, Ordering::Release);
                }
            } else if let What::Submitted(Submitted { ticket: Ok(ticket), .. }) = what {
                // It was taken, and is decided whether or not somebody asks.
                let _unreported = ticket.wait();
            }
            // A full channel holds a token already.
            let _full = done.try_send(());
            self.lines = self.lines.saturating_add(1);
            if let Some(Bar(bar)) = self.bar.as_ref().filter(|_| self.lines.is_multiple_of(64)) {
                bar.set_position(self.control.bytes_read.load(Ordering::Relaxed));
                bar.set_message(grouped(self.lines));
            }
        }
        ending
    }

    /// The lines of each file, by its place, whose room version nobody had told when they came. From here on such lines
    /// are reported.
    pub(super) fn take_unversioned(&mut self) -> BTreeMap<usize, LineSet> {
        let again = self.unversioned.take().unwrap_or_default();
        self.left = again.values().map(LineSet::len).sum();
        again
    }

    fn line(&mut self, source: &Arc<Source>, line: u64, what: What) -> Result<(), Failure> {
        if !matches!(what, What::Unreadable(_)) {
            self.left = self.left.saturating_sub(1);
        }
        match what {
            What::Submitted(Submitted { ticket, kind, room_id, has_version, identity }) => {
                match ticket.and_then(crate::input::Ticket::wait) {
                    Ok(outcome) => self.outcome(source, line, &outcome, kind, room_id),
                    Err(error) if error.kind() == ErrorKind::NotFound && !has_version => {
                        self.unversioned(source, line, &error, identity.as_ref())
                    }
                    Err(error) => self.failed(source, line, error, room_id.as_deref(), identity.as_ref()),
                }
            }
            What::Invalid { why, identity } => self.invalid(source, line, &why, identity.as_ref()),
            What::Unreadable(why) => {
                self.tally.unreadable += 1;
                let place = if line == 0 { source.name.clone() } else { format!("{}:{line}", source.name) };
                self.complain(format_args!("{place}: {why}"));
                self.stop_if_strict();
                Ok(())
            }
        }
    }

    fn outcome(
        &mut self,
        source: &Arc<Source>,
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
        let Watch::Each(output) = &mut self.watch else { return Ok(()) };
        let reason = match outcome {
            Outcome::SoftFailed { reason, .. } | Outcome::Rejected { reason, .. } => Some(&**reason),
            _ => None,
        };
        let several_files = self.several_files;
        let each = EachLine {
            file: Some(&source.name),
            line,
            event_id: Some(event_id),
            outcome: word,
            position: outcome.position().map(Position::number),
            reason,
            lacks: lacks(outcome, &self.refused, several_files),
            error: None,
        };
        tell(each, several_files, output)
    }

    /// A line of an unknown room whose version nobody told: its create event may come later. It is read again then, if that
    /// is possible.
    fn unversioned(
        &mut self,
        source: &Arc<Source>,
        line: u64,
        error: &Error,
        identity: Option<&Identity>,
    ) -> Result<(), Failure> {
        if let Some(lines) = self.unversioned.as_mut().filter(|_| source.size.is_some()) {
            lines.entry(source.place).or_default().push(line);
            return Ok(());
        }
        self.invalid(source, line, &format!("{error}; tell it with --room-version"), identity)
    }

    /// A line of which the engine made nothing: it is invalid, or its room is out of order, or the whole store is.
    fn failed(
        &mut self,
        source: &Arc<Source>,
        line: u64,
        error: Error,
        room_id: Option<&str>,
        identity: Option<&Identity>,
    ) -> Result<(), Failure> {
        if error.kind() == ErrorKind::Unavailable {
            let rooms = self.server.quarantined();
            if !rooms.iter().any(|(room, _)| room_id.is_none_or(|room_id| room == room_id)) {
                return Err(error.context(format!("{}:{line}", source.name)).into());
            }
        }
        self.invalid(source, line, &error.to_string(), identity)
    }

    fn invalid(
        &mut self,
        source: &Arc<Source>,
        line: u64,
        why: &str,
        identity: Option<&Identity>,
    ) -> Result<(), Failure> {
        self.tally.invalid += 1;
        self.complain(format_args!("{}:{line}: {why}", source.name));
        self.stop_if_strict();
        if let Some(identity) = identity {
            self.refused.add(identity, &self.server.view(), source, line);
        }
        let Watch::Each(output) = &mut self.watch else { return Ok(()) };
        let file = Some(&*source.name);
        let each = EachLine { file, line, outcome: "invalid", error: Some(why), ..EachLine::default() };
        tell(each, self.several_files, output)
    }

    fn stop_if_strict(&self) {
        if self.strict {
            self.control.stop.store(true, Ordering::Release);
        }
    }

    fn complain(&self, what: std::fmt::Arguments<'_>) {
        match &self.bar {
            Some(Bar(bar)) => bar.suspend(|| complain(what)),
            None => complain(what),
        }
    }

    /// Looks up what the end of the import left undecided, and gives the counts.
    pub(super) fn tally(self) -> Result<Tally, Failure> {
        let mut tally = self.tally;
        // Lines that were read once and could not be read again.
        tally.invalid += self.left;
        let view = self.server.view();
        for (room_id, undecided) in &self.undecided {
            let gone = || Error::internal(format!("what was imported into room {room_id} is not in the store"));
            let Some(room) = view.room(room_id)? else {
                // It has not begun: nothing but parked inputs can be here.
                let parked = undecided.parked.lines().count() as u64;
                if !undecided.outliers.is_empty() || parked > view.parked(Some(room_id))?.len() as u64 {
                    return Err(gone().into());
                }
                tally.parked = tally.parked.saturating_add(parked);
                continue;
            };
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

/// What a parked event lacks, in the order in which it names that, with the invalid lines that had it.
fn lacks<'a>(outcome: &'a Outcome, refused: &'a Refused, several_files: bool) -> Option<Vec<ShownLack<'a>>> {
    let Outcome::Parked(parked) = outcome else { return None };
    let sorts =
        [(&parked.missing_auth, Role::Auth), (&parked.missing_state, Role::State), (&parked.missing_prev, Role::Prev)];
    let lacks = sorts.into_iter().flat_map(|(ids, role)| ids.iter().map(move |id| ShownLack::new(id, role)));
    let with_line = |mut lack: ShownLack<'a>| {
        if let Some((source, line)) = refused.line_of(lack.event_id) {
            lack.invalid_line = Some(line);
            lack.invalid_file = several_files.then_some(&*source.name);
        }
        lack
    };
    Some(lacks.map(with_line).collect())
}

fn tell(mut each: EachLine<'_>, several_files: bool, output: &mut Output) -> Result<(), Failure> {
    if output.json {
        each.file = each.file.filter(|_| several_files);
        output.object(&each)?;
    } else {
        let EachLine { file, line, event_id, outcome, reason, lacks, error, .. } = each;
        let (file, about) = (file.unwrap_or_default(), event_id.or(error).unwrap_or_default());
        write!(output, "{file}:{line}: {} {about}", outcome.replace('_', "-"))?;
        if let Some(reason) = reason {
            write!(output, ": {reason}")?;
        }
        let lacks = lacks.unwrap_or_default();
        for (place, lack) in lacks.iter().take(LACKS_SHOWN).enumerate() {
            let ShownLack { event_id, invalid_line, invalid_file, .. } = lack;
            write!(output, "{} {} {event_id}", if place == 0 { ": lacks" } else { "," }, lack.role_text())?;
            match (invalid_line, invalid_file) {
                (Some(line), Some(file)) => write!(output, " (invalid: {file}:{line})")?,
                (Some(line), None) => write!(output, " (invalid: line {line})")?,
                (None, _) => {}
            }
        }
        if lacks.len() > LACKS_SHOWN {
            write!(output, " and {} more", grouped(lacks.len().saturating_sub(LACKS_SHOWN) as u64))?;
        }
        writeln!(output)?;
    }
    output.flush()?;
    Ok(())
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// A bar on stderr, which goes when it is dropped.
struct Bar(ProgressBar);

impl Bar {
    /// A bar, if stderr is a terminal.
    fn new(size: Option<u64>) -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let (bar, template) = match size {
            Some(size) => (ProgressBar::new(size), "{bar:40} {percent:>3} %  {msg} lines  {elapsed}, {eta} left"),
            None => (ProgressBar::no_length(), "{spinner} {bytes}  {msg} lines  {elapsed}"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Some(Self(bar.with_style(style)))
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
