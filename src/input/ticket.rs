//! The promise of an outcome.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::{Condvar, Mutex};

use crate::{error::Result, room::outcome::Outcome};

/// The promise of an input's outcome: waited for by a thread, or awaited on any runtime.
///
/// The outcome comes once its batch is durable. A ticket that is dropped changes nothing: the input is processed all the
/// same.
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    result: Option<Result<Outcome>>,
    waker: Option<Waker>,
}

/// The other end of a ticket.
#[derive(Debug)]
pub(super) struct Promise {
    shared: Arc<Shared>,
}

/// A ticket and its other end.
pub(super) fn ticket() -> (Ticket, Promise) {
    let shared = Arc::new(Shared::default());
    (Ticket { shared: shared.clone() }, Promise { shared })
}

impl Promise {
    /// Tells the outcome.
    pub(super) fn keep(self, result: Result<Outcome>) {
        let mut state = self.shared.state.lock();
        state.result = Some(result);
        let waker = state.waker.take();
        drop(state);
        self.shared.done.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Ticket {
    /// Blocks until the outcome is known.
    ///
    /// # Errors
    ///
    /// `Invalid` for an input that is malformed, which leaves nothing behind; `NotFound` if its room is not known and
    /// nobody told its version; `Unavailable` if the store was closed or fails, or the room is in quarantine; `Corrupt`
    /// if what is stored is damaged.
    pub fn wait(self) -> Result<Outcome> {
        let mut state = self.shared.state.lock();
        loop {
            if let Some(result) = state.result.take() {
                return result;
            }
            self.shared.done.wait(&mut state);
        }
    }
}

impl Future for Ticket {
    type Output = Result<Outcome>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.state.lock();
        match state.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
