//! What a thread does in a room: it decides inputs, drives what was parked, and does what the engine wants done there.

use std::time::Duration;

use super::{
    event::{ReadInput, named_version},
    guarded::{guarded, harmless},
    lane::{Desk, InRoom, Job, Lane, Means, QueuedEvent, Turn, Work},
    ticket::Promise,
};
use crate::{
    encoding::json::Json,
    error::{Error, ErrorKind, Result},
    ids::RoomNid,
    room::{
        outcome::Input,
        writer::{Landed, RoomWriter},
    },
    tables::rooms::Room,
};

/// After so many refusals in a row the room's parked inputs are left until its next input, or until somebody settles. The
/// pauses between are two seconds in all; what the store itself waits in each attempt comes on top.
const REFUSALS_MAX: u32 = 64;
/// After so many of them those are told whose inputs made parked ones ready: they have waited long enough for these.
const REFUSALS_TOLD: u32 = 8;

/// What came of one unit of a turn.
pub(super) enum Unit {
    /// There was nothing to do.
    Nothing,
    /// It was done. An event that landed may be waited for in other rooms.
    Done(Option<Landed>),
    /// The store refused to write what is to be driven; nothing is lost. Nothing else is to happen in the room's queue
    /// until this long has passed.
    Refused(Duration),
    /// The store refused too often, or cannot be used. What is to be driven stays at the desk until the next job of the room.
    GivenUp,
}

/// Wraps a closure as `Work`, and gives its result to whoever waits for it.
pub(super) struct Task<T, F> {
    work: Option<F>,
    result: Option<Result<T>>,
    promise: Promise<T>,
}

impl<T, F> Task<T, F> {
    pub(super) fn new(work: F, promise: Promise<T>) -> Self {
        Self { work: Some(work), result: None, promise }
    }
}

impl<T: Send, F: FnOnce(InRoom<'_>) -> Result<T> + Send> Work for Task<T, F> {
    fn run(&mut self, room: InRoom<'_>) -> Result<()> {
        let Some(work) = self.work.take() else { return Err(Error::internal("work that was done twice")) };
        let result = work(room);
        let error = result.as_ref().err().map(Error::duplicate);
        self.result = Some(result);
        error.map_or(Ok(()), Err)
    }

    fn tell(self: Box<Self>, error: Option<Error>) {
        let Self { result, promise, .. } = *self;
        let result = result.unwrap_or_else(|| Err(error.unwrap_or_else(|| Error::internal("work that was not done"))));
        promise.keep(result);
    }
}

impl Turn {
    /// Does the next thing that is to do in the room.
    pub(super) fn unit(&mut self, means: &Means) -> Unit {
        let job = self.lane.queue().next(&mut self.desk);
        match job {
            None => Unit::Nothing,
            Some(Job::Work(work)) => {
                self.work(work, means);
                Unit::Done(None)
            }
            Some(Job::Drive) => self.drive(means),
            Some(Job::Event(event)) => Unit::Done(self.decide(event, means)),
        }
    }

    /// Puts the room into quarantine: something panicked in it.
    pub(super) fn quarantine(&mut self, panic: &str, means: &Means) {
        quarantine(&self.lane, &mut self.desk, means, panic);
    }

    /// Has those told whose inputs made nothing ready that is not decided yet.
    pub(super) fn tell_settled(&mut self) {
        if self.desk.driving.is_empty() {
            self.desk.replies.clear();
        }
    }

    /// Asks for a sync of what was decided about parked inputs in this turn. After an open or a release no
    /// ticket asks for it, and it would stay unsynced until the room's next input.
    pub(super) fn sync_driven(&mut self, means: &Means) {
        let driven = std::mem::take(&mut self.desk.driven);
        if driven > 0 {
            means.completion.make_durable(driven);
        }
    }

    fn work(&mut self, mut work: Box<dyn Work>, means: &Means) {
        let lane = &*self.lane;
        let done = step(lane, &mut self.desk, means, |desk| work.run(InRoom { lane, desk, means }));
        work.tell(done.err());
    }

    /// Decides an input; gives the event that landed.
    fn decide(&mut self, event: QueuedEvent, means: &Means) -> Option<Landed> {
        let QueuedEvent { read: ReadInput { input, json, .. }, waiter } = event;
        let lane = &*self.lane;
        let processed = step(lane, &mut self.desk, means, |desk| {
            let writer = open(lane, &mut desk.writer, means, Some((&input, &json)))?;
            writer.process(&input, json)
        });
        match processed {
            Ok(processed) => {
                let (number, reply) = means.completion.reply(waiter, processed.outcome, processed.sequence);
                if let Some(landed) = &processed.landed {
                    self.desk.driving.landed(landed.key);
                    self.desk.replies.insert(number, reply);
                }
                processed.landed
            }
            Err(error) => {
                let kind = error.kind();
                let text = error.to_string();
                means.completion.refuse(waiter, error);
                // Whoever submitted the input hears of it: only faults of this side are logged.
                if !matches!(kind, ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Busy) {
                    harmless(|| tracing::warn!(room = %lane.room_id, error = text, "an input failed"));
                }
                None
            }
        }
    }

    /// Looks at the next parked input.
    fn drive(&mut self, means: &Means) -> Unit {
        let lane = &*self.lane;
        let opened = step(lane, &mut self.desk, means, |desk| open(lane, &mut desk.writer, means, None).map(|_| ()));
        if let Err(error) = opened {
            return match error.kind() {
                ErrorKind::Busy => self.refused(&error, means),
                ErrorKind::Unavailable => self.give_up(&error, means),
                kind => {
                    // The room is gone or damaged: without its writer nothing can be driven. What was to be follows from
                    // what is stored, and is found again when the store is opened.
                    self.desk.driving = Default::default();
                    if kind != ErrorKind::NotFound {
                        harmless(|| tracing::warn!(room = %lane.room_id, %error, "parked inputs cannot be looked at"));
                    }
                    Unit::Done(None)
                }
            };
        }
        let driven = step(lane, &mut self.desk, means, |desk| {
            let Desk { writer, driving, .. } = desk;
            writer.as_mut().ok_or_else(|| Error::internal("a writer that is not there"))?.drive(driving)
        });
        match driven {
            Ok(driven) => {
                self.desk.refusals = 0;
                self.desk.driven = self.desk.driven.max(driven.sequence);
                self.desk.replies.values().for_each(|reply| reply.depends_on(driven.sequence));
                if let Some(landed) = &driven.landed {
                    self.desk.driving.landed(landed.key);
                }
                Unit::Done(driven.landed)
            }
            Err(error) => match error.kind() {
                ErrorKind::Busy => self.refused(&error, means),
                ErrorKind::Unavailable => self.give_up(&error, means),
                _ => {
                    harmless(|| tracing::warn!(room = %lane.room_id, %error, "a parked input could not be decided"));
                    Unit::Done(None)
                }
            },
        }
    }

    fn refused(&mut self, error: &Error, means: &Means) -> Unit {
        let refusals = self.desk.refusals.saturating_add(1);
        if refusals < REFUSALS_MAX {
            if refusals == REFUSALS_TOLD {
                self.desk.replies.clear();
            }
            self.desk.refusals = refusals;
            return Unit::Refused(Duration::from_millis(1 << refusals.saturating_sub(1).min(5)));
        }
        self.give_up(error, means)
    }

    /// Leaves what is to be driven at the desk until the room's next input, or until somebody settles.
    fn give_up(&mut self, error: &Error, means: &Means) -> Unit {
        self.desk.refusals = 0;
        // Nobody knows when the rest will be decided: what is done is told.
        self.desk.replies.clear();
        // An input must not be decided before the parked inputs that were woken before it. These cannot be decided now, so
        // whoever waits is told so.
        let waiting = self.lane.queue().take_events();
        for event in waiting {
            let answer = error.duplicate().context("inputs that were parked before this one come first");
            means.completion.refuse(event.waiter, answer);
        }
        let room = &self.lane.room_id;
        harmless(|| tracing::warn!(%room, %error, "parked inputs wait for a store that can be used"));
        Unit::GivenUp
    }
}

impl<'a> InRoom<'a> {
    /// The writer of the room with this number. `NotFound` if it is not here, or another one of its ID; `Unavailable` in
    /// quarantine.
    pub(super) fn writer(self, nid: RoomNid) -> Result<&'a mut RoomWriter> {
        let Self { lane, desk, means } = self;
        lane.refuse_quarantined()?;
        let writer = open(lane, &mut desk.writer, means, None)?;
        if writer.room().nid != nid {
            return Err(Error::not_found(format!("room {} was purged and has begun anew", lane.room_id)));
        }
        Ok(writer)
    }

    /// Hides the room for ever, answers the inputs that wait for it, and forgets what was to be driven in it; gives what it
    /// was. `NotFound` if it is not here.
    pub(super) fn hide(self) -> Result<Room> {
        let Self { lane, desk, means } = self;
        let unknown = || Error::not_found(format!("room {} is not in the store", lane.room_id));
        let room = means.engine.room(&lane.room_id)?.ok_or_else(unknown)?;
        desk.writer = None;
        means.engine.hide(&room)?;
        desk.driving = Default::default();
        desk.replies.clear();
        let waiting = {
            let mut queue = lane.queue();
            queue.release();
            queue.forget_wakes();
            queue.take_events()
        };
        for event in waiting {
            let purged = Error::not_found(format!("room {} was purged before this input's turn", lane.room_id));
            means.completion.refuse(event.waiter, purged);
        }
        Ok((*room).clone())
    }
}

/// Runs one step in a room. After an error the writer is dropped, since its memory may be ahead of the store; after a
/// panic the room goes into quarantine. No other code drops a writer for these reasons.
fn step<T>(lane: &Lane, desk: &mut Desk, means: &Means, step: impl FnOnce(&mut Desk) -> Result<T>) -> Result<T> {
    match guarded(|| step(desk)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let is_as_stored = |writer: &mut RoomWriter| error.kind() == ErrorKind::Invalid && writer.is_registered();
            if !desk.writer.as_mut().is_some_and(is_as_stored) {
                desk.writer = None;
            }
            Err(error)
        }
        Err(panic) => {
            quarantine(lane, desk, means, &panic);
            Err(Error::internal(format!("the writer panicked: {panic}")))
        }
    }
}

fn quarantine(lane: &Lane, desk: &mut Desk, means: &Means, panic: &str) {
    let mut writer = std::mem::take(desk).writer;
    // The event at hand may be stored: then other rooms wait for it, and whoever sends it again is told that it is here.
    desk.landing = writer.as_mut().and_then(RoomWriter::take_landing);
    // With it, what was driven before.
    means.completion.make_durable(u64::MAX);
    let reason = format!("its writer panicked: {panic}");
    let waiting = lane.quarantine(reason.clone());
    for event in waiting {
        let refused = Error::unavailable(format!("room {} is in quarantine: {reason}", lane.room_id));
        means.completion.refuse(event.waiter, refused);
    }
    // After a panic nobody knows whether the batch was stored, so all cached rows of the room are dropped and read
    // anew.
    if let Some(writer) = writer {
        harmless(|| means.engine.forget_rows(writer.room().nid));
    }
    harmless(|| tracing::error!(room = %lane.room_id, panic, "a writer panicked; its room is in quarantine"));
}

/// The room's writer: the one at hand, one for the room as it is stored, or one for a room that begins with the event.
fn open<'w>(
    lane: &Lane,
    writer: &'w mut Option<RoomWriter>,
    means: &Means,
    first: Option<(&Input, &Json)>,
) -> Result<&'w mut RoomWriter> {
    let engine = &means.engine;
    let room = match writer.as_ref() {
        Some(_) => None,
        None => engine.room(&lane.room_id)?,
    };
    let known = writer.as_ref().map(RoomWriter::room).or(room.as_ref()).map(|room| &room.version);
    let named = match first {
        Some((input, json)) => named_version(json, known.or(input.room_version.as_ref()))?,
        None => None,
    };
    if writer.is_none() {
        let opened = match room {
            Some(room) => RoomWriter::open(engine.clone(), room)?,
            None => {
                let told = named.clone().or_else(|| first.and_then(|(input, _)| input.room_version.clone()));
                let told = told.ok_or_else(|| {
                    Error::not_found(format!(
                        "room {} is not known: its create event has not come, and its version was not told",
                        lane.room_id
                    ))
                })?;
                RoomWriter::begin(engine.clone(), engine.new_room(&lane.room_id, &told)?)
            }
        };
        *writer = Some(opened);
    }
    let writer = writer.as_mut().ok_or_else(|| Error::internal("a writer that is not there"))?;
    match named {
        Some(version) if version != writer.room().version => Err(Error::invalid(format!(
            "the create event names room version {version}, room {} is of version {}",
            lane.room_id,
            writer.room().version
        ))),
        _ => Ok(writer),
    }
}
