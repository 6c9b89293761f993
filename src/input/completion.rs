//! The thread that syncs, and tells outcomes: one sync for all that wait for it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{
    gauge::Counted,
    guarded::{guarded, harmless},
    threads::Threads,
    ticket::Promise,
};
use crate::{
    error::{Error, Result},
    room::{engine::Engine, outcome::Outcome},
};

/// Whether outcomes wait until they are on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// An outcome is told only after its batch is on stable storage.
    #[default]
    Synced,
    /// An outcome is told when its batch is applied: a power loss can take it back. For imports that can be repeated.
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
/// Whoever still has something of that to decide holds it; the last one that drops it has it told.
pub(super) struct Reply {
    tell: Option<(Waiter, Result<Outcome>)>,
    /// The last batch that must be durable before.
    sequence: AtomicU64,
    messages: Sender<Message>,
}

impl Reply {
    /// It is told only after the batch of this number is durable, too.
    pub(super) fn depends_on(&self, sequence: u64) {
        self.sequence.fetch_max(sequence, Ordering::AcqRel);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let done = Done { sequence: self.sequence.load(Ordering::Acquire), tell: self.tell.take() };
        // Once the thread that tells has ended, the message comes back and is dropped: its waiter is told so.
        let _gone = self.messages.send(Message::Done(done));
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
        let completion = Self { messages, threads: Threads::default() };
        completion.threads.spawn("roomserver-sync", move || run(&engine, durability, &received))?;
        Ok(completion)
    }

    /// Tells an outcome once the batch of this number is durable.
    pub(super) fn tell(&self, waiter: Waiter, result: Result<Outcome>, sequence: u64) {
        self.send(Message::Done(Done { sequence, tell: Some((waiter, result)) }));
    }

    /// An outcome that is told once the answer is dropped everywhere, and the batch of this number is durable.
    pub(super) fn reply(&self, waiter: Waiter, outcome: Outcome, sequence: u64) -> Arc<Reply> {
        let (tell, messages) = (Some((waiter, Ok(outcome))), self.messages.clone());
        Arc::new(Reply { tell, sequence: AtomicU64::new(sequence), messages })
    }

    /// Makes everything durable up to the batch of this number, though nobody waits for it.
    pub(super) fn make_durable(&self, sequence: u64) {
        self.send(Message::Done(Done { sequence, tell: None }));
    }

    /// Ends the thread once it has told all that was done.
    pub(super) fn close(&self) {
        self.send(Message::Stop);
        self.threads.join();
    }

    fn send(&self, message: Message) {
        // Once the thread has ended, a message that comes back is dropped: its waiter is told so.
        let _gone = self.messages.send(message);
    }
}

/// Syncs and tells outcomes, round after round, until told to stop.
fn run(engine: &Engine, durability: Durability, messages: &Receiver<Message>) {
    let mut durable = 0;
    let mut stopping = false;
    while !stopping && let Ok(first) = messages.recv() {
        let mut round = Vec::new();
        for message in std::iter::once(first).chain(messages.try_iter()) {
            match message {
                Message::Done(done) => round.push(done),
                Message::Stop => stopping = true,
            }
        }
        // Without this, a panic would end the thread, and all later tickets would wait for ever. Those of this round that
        // have no outcome yet are dropped by it, and told so.
        if let Err(panic) = guarded(|| finish(engine, durability, &mut durable, round)) {
            harmless(|| tracing::error!(panic, "the thread that tells outcomes panicked and goes on"));
        }
    }
}

fn finish(engine: &Engine, durability: Durability, durable: &mut u64, round: Vec<Done>) {
    let wanted = round.iter().map(|done| done.sequence).max().unwrap_or(0);
    let mut failure = None;
    if durability == Durability::Synced && wanted > *durable {
        match guarded(|| engine.sync()) {
            Ok(Ok(sequence)) => *durable = sequence,
            Ok(Err(error)) => failure = Some(error),
            Err(panic) => failure = Some(Error::internal(format!("the store panicked while it synced: {panic}"))),
        }
    }
    for Done { sequence, tell } in round {
        let Some((waiter, result)) = tell else { continue };
        waiter.tell(match &failure {
            Some(error) if sequence > *durable => Err(error.duplicate()),
            _ => result,
        });
    }
}
