//! Answers that come later, from any thread, on their way to the worker that asked.

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
};

use mqttstack_limits::Instant;
use mqttstack_transport::Waker;

use crate::core::{Answer, Core, Ticket};

/// How many answers a worker takes in a turn.
const ANSWERS_PER_TURN: usize = 1_024;

/// Gives the answers that an [`Access`](crate::core::Access) has deferred; may be cloned and sent to
/// other threads.
///
/// See [`BrokerBuilder::access_with`](crate::BrokerBuilder::access_with).
#[derive(Clone)]
pub struct Resolver {
    workers: Arc<[Way]>,
}

/// The way to one worker.
pub(super) struct Way {
    answers: Sender<(Ticket, Answer)>,
    waker: Waker,
}

/// Where a worker finds its answers.
pub(super) struct Answers {
    answers: Receiver<(Ticket, Answer)>,
    waker: Waker,
}

impl Resolver {
    pub(super) fn new(workers: Vec<Way>) -> Self {
        Self {
            workers: workers.into(),
        }
    }

    /// Answers the question that the ticket names. Returns at once; nothing happens if nobody waits for
    /// the answer any more.
    ///
    /// As many answers wait for a worker as there are, so give one for each question.
    pub fn resolve(&self, ticket: Ticket, answer: impl Into<Answer>) {
        let worker = usize::from(ticket.worker().index());
        if let Some(way) = self.workers.get(worker)
            // It fails once the worker is gone, and the client with it.
            && way.answers.send((ticket, answer.into())).is_ok()
        {
            let _ = way.waker.wake();
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}

/// Opens the way to a worker.
pub(super) fn way(waker: Waker) -> (Way, Answers) {
    let (sender, receiver) = channel();
    let way = Way {
        answers: sender,
        waker: waker.clone(),
    };
    let answers = Answers {
        answers: receiver,
        waker,
    };
    (way, answers)
}

impl Answers {
    /// Hands a turn's worth of answers to the core.
    pub(super) fn deliver(&self, core: &mut Core, now: Instant) {
        for _ in 0..ANSWERS_PER_TURN {
            match self.answers.try_recv() {
                Ok((ticket, answer)) => core.resolve(ticket, answer, now),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
        // There may be more: the others have their turn first.
        let _ = self.waker.wake();
    }
}
