//! The thread that syncs, and tells outcomes: one sync for all that wait for it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::{
    gauge::Counted,
    guarded::{guarded, harmless},
    threads::Threads,
    ticket::Promise,
};
use crate::{
    error::{Error, ErrorKind, Result},
    room::{engine::Engine, outcome::Outcome},
};

/// Whether outcomes wait until they are on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// An outcome is told, and its event shown by views, only after its batch is on stable storage.
    #[default]
    Synced,
    /// An outcome is told when its batch is applied, and views show what is applied: a power loss can take it back. For
    /// imports that can be repeated.
    Buffered,
}

/// Whoever waits for an input's outcome. Dropped without one, it is told an error.
///
/// Fields are dropped in order: first the count falls, then the ticket is answered. Whoever has an outcome must not see
/// its input still counted.
pub(super) struct Waiter {
    counted: Counted,
    promise: Promise<Outcome>,
}

/// What was done up to some batch, and whom to tell of it once that batch is durable.
struct Done {
    sequence: u64,
    tell: Option<(Waiter, Result<Outcome>)>,
}

/// An outcome that is told once all that its input made ready is decided, and durable with it.
///
/// Each room that still has something of that to decide holds it; the last one that drops it has it told. So it is told with
/// less decided if a room lets go of its parked inputs: since the store refuses, or the room is in quarantine or was purged,
/// or the engine closes.
pub(super) struct Reply {
    told: Option<(Waiter, Outcome)>,
    /// The last batch that must be durable before.
    sequence: AtomicU64,
    messages: Sender<Message>,
}

/// Replies, each once, by a number of its own: a room may get one from several others, and again.
pub(super) type Replies = BTreeMap<u64, Arc<Reply>>;

impl Reply {
    /// It is told only after the batch of this number is durable, too.
    pub(super) fn depends_on(&self, sequence: u64) {
        self.sequence.fetch_max(sequence, Ordering::AcqRel);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let tell = self.told.take().map(|(waiter, outcome)| (waiter, Ok(outcome)));
        send(&self.messages, Message::Done(Done { sequence: self.sequence.load(Ordering::Acquire), tell }));
    }
}

enum Message {
    Done(Done),
    Stop,
}

/// The thread, and the way to it.
pub(super) struct Completion {
    // What lies in the channel is bounded: by the gauge, which counts an input until its outcome is told, and by the
    // slices in which parked inputs are decided, each of which sends one message.
    messages: Sender<Message>,
    /// How many replies there were.
    replies: AtomicU64,
    threads: Threads,
}

impl Waiter {
    pub(super) fn new(counted: Counted, promise: Promise<Outcome>) -> Self {
        Self { counted, promise }
    }

    fn tell(self, result: Result<Outcome>) {
        let Self { counted, promise } = self;
        drop(counted);
        promise.keep(result);
    }
}

impl Completion {
    /// Starts the thread.
    pub(super) fn start(engine: Arc<Engine>, durability: Durability) -> Result<Self> {
        let (messages, received) = unbounded();
        let completion = Self { messages, replies: AtomicU64::new(0), threads: Threads::default() };
        completion.threads.spawn("roomserver-sync", move || run(&engine, durability, &received))?;
        Ok(completion)
    }

    /// Tells that an input was not taken.
    pub(super) fn refuse(&self, waiter: Waiter, error: Error) {
        send(&self.messages, Message::Done(Done { sequence: 0, tell: Some((waiter, Err(error))) }));
    }

    /// An outcome that is told once what this returns is dropped everywhere, and the batch of this number is durable; with
    /// its number among all replies.
    pub(super) fn reply(&self, waiter: Waiter, outcome: Outcome, sequence: u64) -> (u64, Arc<Reply>) {
        let number = self.replies.fetch_add(1, Ordering::Relaxed);
        let (told, messages) = (Some((waiter, outcome)), self.messages.clone());
        (number, Arc::new(Reply { told, sequence: AtomicU64::new(sequence), messages }))
    }

    /// Makes everything durable up to the batch of this number, though nobody waits for it.
    pub(super) fn make_durable(&self, sequence: u64) {
        send(&self.messages, Message::Done(Done { sequence, tell: None }));
    }

    /// Ends the thread once it has told all that was done.
    pub(super) fn close(&self) {
        send(&self.messages, Message::Stop);
        self.threads.join();
    }
}

fn send(messages: &Sender<Message>, message: Message) {
    // Once the thread has ended, a message that comes back is dropped: its waiter is told so.
    let _gone = messages.send(message);
}

/// How far the store is durable.
#[derive(Default)]
struct Synced {
    /// All batches up to this one are.
    durable: u64,
    /// The last batch that was to be made durable, and that the store refused to sync; 0 if there is none. Nobody may ask
    /// for it again, and until it is durable no reader sees it.
    owed: u64,
}

/// After so long a sync is tried again that the store refused.
const AGAIN: Duration = Duration::from_millis(50);

/// Syncs and tells outcomes, round after round, until told to stop.
fn run(engine: &Engine, durability: Durability, messages: &Receiver<Message>) {
    let mut synced = Synced::default();
    let mut stopping = false;
    while !stopping {
        let first = match synced.owed {
            0 => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            _ => messages.recv_timeout(AGAIN),
        };
        if let Err(RecvTimeoutError::Disconnected) = first {
            return;
        }
        let mut round = Vec::new();
        for message in first.into_iter().chain(messages.try_iter()) {
            match message {
                Message::Done(done) => round.push(done),
                Message::Stop => stopping = true,
            }
        }
        // Without this, a panic would end the thread, and all later tickets would wait for ever. Those of this round that
        // have no outcome yet are dropped by it, and told so.
        if let Err(panic) = guarded(|| finish(engine, durability, &mut synced, round)) {
            harmless(|| tracing::error!(panic, "the thread that tells outcomes panicked and goes on"));
        }
    }
}

fn finish(engine: &Engine, durability: Durability, synced: &mut Synced, round: Vec<Done>) {
    let wanted = round.iter().map(|done| done.sequence).max().unwrap_or(0).max(synced.owed);
    let mut failure = None;
    if durability == Durability::Synced && wanted > synced.durable {
        synced.owed = 0;
        match guarded(|| engine.sync()) {
            Ok(Ok(sequence)) => synced.durable = sequence,
            Ok(Err(error)) if error.kind() == ErrorKind::Busy => {
                synced.owed = wanted;
                failure = Some(error);
            }
            Ok(Err(error)) => failure = Some(error),
            Err(panic) => failure = Some(Error::internal(format!("the store panicked while it synced: {panic}"))),
        }
    }
    for Done { sequence, tell } in round {
        let Some((waiter, result)) = tell else { continue };
        waiter.tell(match &failure {
            Some(error) if sequence > synced.durable => Err(error.duplicate()),
            _ => result,
        });
    }
}
