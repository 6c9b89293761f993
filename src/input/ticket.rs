//! The promise of an answer: of an input's outcome, or of what work in a room gave.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::{Condvar, Mutex};

use super::guarded::{guarded, harmless};
use crate::{
    error::{Error, Result},
    room::outcome::Outcome,
};

/// The promise of an input's outcome: waited for by a thread, or awaited on any runtime.
///
/// The outcome comes once its batch is durable, and those of the parked inputs that it made ready. A ticket that is dropped changes nothing: the input is processed all the
/// same.
#[derive(Debug)]
pub struct Ticket {
    answer: Answer<Outcome>,
}

/// The end of a promise at which the answer is waited for.
#[derive(Debug)]
pub(super) struct Answer<T> {
    slot: Arc<Slot<T>>,
}

/// The end of a promise at which the answer is given. One that is dropped without an answer gives an error: nobody waits
/// for ever, whatever became of the work.
#[derive(Debug)]
pub(super) struct Promise<T> {
    slot: Arc<Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    told: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Open(Option<Waker>),
    Told(Result<T>),
    Taken,
}

/// A promise: the end for whoever does the work, and the one for whoever waits.
pub(super) fn promise<T>() -> (Promise<T>, Answer<T>) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Open(None)), told: Condvar::new() });
    (Promise { slot: slot.clone() }, Answer { slot })
}

impl<T> Promise<T> {
    /// Gives the answer.
    pub(super) fn keep(self, result: Result<T>) {
        self.slot.tell(result);
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if !matches!(*self.slot.state.lock(), State::Open(_)) {
            return;
        }
        self.slot.tell(Err(if std::thread::panicking() {
            Error::internal("the thread that had this in its hands panicked")
        } else {
            Error::unavailable("the store was closed before this one's turn")
        }));
    }
}

impl<T> Slot<T> {
    /// Gives the answer, unless there is one already.
    fn tell(&self, result: Result<T>) {
        let mut state = self.state.lock();
        let State::Open(waker) = &mut *state else { return };
        let waker = waker.take();
        *state = State::Told(result);
        drop(state);
        self.told.notify_all();
        // The waker is the host's, and the thread here serves all rooms.
        if let Some(waker) = waker
            && let Err(panic) = guarded(|| waker.wake())
        {
            harmless(|| tracing::error!(panic, "the waker of a ticket panicked"));
        }
    }
}

impl<T> Answer<T> {
    /// Blocks until the answer is given.
    pub(super) fn wait(self) -> Result<T> {
        let mut state = self.slot.state.lock();
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Told(result) => return result,
                open => *state = open,
            }
            self.slot.told.wait(&mut state);
        }
    }
}

impl Ticket {
    pub(super) fn new(answer: Answer<Outcome>) -> Self {
        Self { answer }
    }

    /// Blocks until the outcome is known.
    ///
    /// # Errors
    ///
    /// `Invalid` for an input that is malformed, which leaves nothing behind; `NotFound` if its room is not known and
    /// nobody told its version; `Busy` if the store refuses to write now: submit it again later; `Unavailable` if the store
    /// was closed or fails, or the room is in quarantine; `Corrupt` if what is stored is damaged; `Internal` if something
    /// panicked.
    pub fn wait(self) -> Result<Outcome> {
        self.answer.wait()
    }
}

impl Future for Ticket {
    type Output = Result<Outcome>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Wakers are the host's: they are cloned and dropped while nothing is locked.
        let waker = context.waker().clone();
        let mut state = self.answer.slot.state.lock();
        let replaced = match std::mem::replace(&mut *state, State::Taken) {
            State::Told(result) => return Poll::Ready(result),
            State::Open(replaced) => {
                *state = State::Open(Some(waker));
                replaced
            }
            State::Taken => None,
        };
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}
