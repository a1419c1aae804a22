//! Outcomes that are still to come.

use core::{fmt, time::Duration};
use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    vec::Vec,
};

use mqttstack_codec::{Properties, ReasonCode, Shared as SharedStorage};

use super::{clock::Clock, error::OperationError, shared::Shared};

/// A message was published.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Published {
    /// A QoS 0 message was handed to the transport, which is all there is to know.
    Sent,
    /// The server has taken the message over.
    Acknowledged {
        /// Success, or that nobody subscribes.
        reason_code: ReasonCode,
        /// What the server says of it.
        properties: Properties<SharedStorage>,
    },
}

/// A SUBSCRIBE was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Subscribed {
    /// The granted QoS or the error of each filter, in order.
    pub reason_codes: Vec<ReasonCode>,
    /// What the server says of it.
    pub properties: Properties<SharedStorage>,
}

impl Subscribed {
    /// Returns the first error among the reason codes.
    #[must_use]
    pub fn first_error(&self) -> Option<ReasonCode> {
        self.reason_codes
            .iter()
            .copied()
            .find(|code| code.is_error())
    }
}

/// An UNSUBSCRIBE was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Unsubscribed {
    /// Success or the error of each filter, in order; empty in 3.x.
    pub reason_codes: Vec<ReasonCode>,
    /// What the server says of it.
    pub properties: Properties<SharedStorage>,
}

/// What was left when a client was shut down.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Messages that were never sent.
    pub unsent: usize,
    /// Messages that were sent and not acknowledged.
    pub unacknowledged: usize,
    /// SUBSCRIBE and UNSUBSCRIBE requests without an answer.
    pub unanswered: usize,
}

impl ShutdownReport {
    /// Returns whether nothing was left.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.unsent == 0 && self.unacknowledged == 0 && self.unanswered == 0
    }
}

/// The place of one outcome.
#[derive(Debug)]
pub(super) struct Slot<T> {
    outcome: Mutex<Option<Result<T, OperationError>>>,
    changed: Condvar,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            outcome: Mutex::new(None),
            changed: Condvar::new(),
        })
    }

    pub(super) fn complete(&self, outcome: Result<T, OperationError>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.changed.notify_all();
    }

    pub(super) fn wait(&self, timeout: Duration) -> Result<T, OperationError>
    where
        T: Clone,
    {
        let deadline = Clock::deadline(timeout);
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            let left = match deadline.map(Clock::until) {
                None => Duration::MAX,
                Some(Some(left)) => left,
                Some(None) => return Err(OperationError::TimedOut),
            };
            let (guard, _) = self
                .changed
                .wait_timeout(outcome, left)
                .unwrap_or_else(PoisonError::into_inner);
            outcome = guard;
        }
    }
}

/// An operation that was handed over; its outcome is still to come.
///
/// Dropping it does not undo the operation.
#[must_use = "the operation may still fail"]
pub struct Pending<T> {
    pub(super) slot: Arc<Slot<T>>,
    pub(super) shared: Arc<Shared>,
}

impl<T: Clone> Pending<T> {
    /// Waits for the outcome, at most for `timeout`. The outcome stays: it may be asked for again.
    ///
    /// # Errors
    ///
    /// [`OperationError`]: the operation failed, or, with [`OperationError::TimedOut`], has no
    /// outcome yet.
    pub fn wait(&self, timeout: Duration) -> Result<T, OperationError> {
        if self.shared.is_driver_thread() && !timeout.is_zero() {
            // What is known is told; only waiting is refused.
            return match self.slot.wait(Duration::ZERO) {
                Err(OperationError::TimedOut) => Err(OperationError::WouldDeadlock),
                known => known,
            };
        }
        self.slot.wait(timeout)
    }

    /// Returns the outcome if it is known.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<T, OperationError>> {
        match self.slot.wait(Duration::ZERO) {
            Err(OperationError::TimedOut) => None,
            known => Some(known),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("outcome", &self.slot.outcome)
            .finish_non_exhaustive()
    }
}
