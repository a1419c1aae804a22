//! Outcomes to those who wait, messages to the inbox, connections that come and go to who asked.

use core::{mem, time::Duration};

use mqttstack_codec::ReasonCode;
use mqttstack_limits::Instant;
use mqttstack_session::{Message, SubscriptionIds, client::EndCause};

use super::{ConnectionEvent, Driver, Shutdown, Waiter};
use crate::core::{Event, OperationId, Outcome, Receipt};
use crate::driver::{
    error::{ConnectError, OperationError},
    pending::{Published, ShutdownReport, Subscribed, Unsubscribed},
    shared::{Arrived, Control},
};

impl Driver {
    pub(super) fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected(connack) => {
                let mut state = self.shared.lock();
                state.status.is_connected = true;
                state.status.session_present = connack.session_present;
                state.status.properties = connack.properties.clone();
                state.status.client_id = self.parts.core.client_id().into();
                drop(state);
                self.shared.changed.notify_all();
                self.tell(ConnectionEvent::Connected {
                    session_present: connack.session_present,
                    properties: connack.properties,
                });
            }
            Event::MessageReceived {
                message,
                subscription_ids,
                receipt,
            } => {
                self.on_message(message, subscription_ids, receipt);
            }
            Event::Completed { operation, outcome } => self.on_completed(operation, outcome),
            Event::SubscriptionLost {
                filter,
                reason_code,
            } => {
                let mut state = self.shared.lock();
                if state.response_topic.as_deref() == Some(&*filter) {
                    state.response_topic = None;
                }
                drop(state);
                self.tell(ConnectionEvent::SubscriptionLost {
                    filter,
                    reason_code,
                });
            }
            Event::AuthReceived(auth) => {
                let answer = self.parts.on_auth.as_mut().and_then(|answer| answer(&auth));
                // Success, the end of a re-authentication, needs no answer.
                let is_done = auth.reason_code == ReasonCode::Success;
                let answered = match answer {
                    Some(answer) => self.parts.core.authenticate(answer).is_ok(),
                    None => is_done,
                };
                if !answered {
                    self.parts.core.disconnect(ReasonCode::NotAuthorized, now);
                }
            }
            Event::OpenFailed { retry_after } => {
                let error = self.parts.open_error.take();
                let error = error.unwrap_or(ConnectError::Closed);
                self.on_disconnected(error, retry_after);
            }
            Event::Ended { cause, retry_after } => {
                // What the server said comes before how the transport ended.
                let error = match (cause, self.parts.open_error.take()) {
                    (EndCause::TransportClosed, Some(error)) => error,
                    (cause, _) => cause.into(),
                };
                self.on_disconnected(error, retry_after);
            }
        }
    }

    fn on_disconnected(&mut self, error: ConnectError, retry_after: Option<Duration>) {
        let mut state = self.shared.lock();
        let was_connected = mem::take(&mut state.status.is_connected);
        state.status.failures += 1;
        state.status.last_error = Some(error.clone());
        drop(state);
        self.shared.changed.notify_all();
        self.tell(ConnectionEvent::Disconnected {
            error,
            was_connected,
            retry_after,
        });
    }

    fn on_message(
        &mut self,
        message: Message,
        subscription_ids: SubscriptionIds,
        receipt: Option<Receipt>,
    ) {
        let mut state = self.shared.lock();
        let awaited = state.take_awaited(&message);
        if awaited.is_none() && !state.inbox_closed {
            state.inbox_bytes = state.inbox_bytes.saturating_add(message.size());
            state.inbox.push_back(Arrived {
                message,
                subscription_ids,
                receipt,
            });
            drop(state);
            self.shared.arrived.notify_one();
            return;
        }
        drop(state);
        if let Some(receipt) = receipt {
            self.parts.core.acknowledge(receipt, ReasonCode::Success);
        }
        if let Some(slot) = awaited {
            slot.complete(Ok(message));
        }
    }

    fn on_completed(&mut self, operation: OperationId, outcome: Outcome) {
        match (self.parts.waiters.remove(&operation), outcome) {
            (Some(Waiter::Publish(slot)), outcome) => slot.complete(publish_outcome(outcome)),
            (
                Some(Waiter::Subscribe(slot)),
                Outcome::Subscribed {
                    reason_codes,
                    properties,
                },
            ) => {
                let reason_codes = reason_codes.iter().collect();
                slot.complete(Ok(Subscribed {
                    reason_codes,
                    properties,
                }));
            }
            (
                Some(Waiter::Unsubscribe(slot)),
                Outcome::Unsubscribed {
                    reason_codes,
                    properties,
                },
            ) => {
                let reason_codes = reason_codes.iter().collect();
                slot.complete(Ok(Unsubscribed {
                    reason_codes,
                    properties,
                }));
            }
            (Some(Waiter::Subscribe(slot)), outcome) => slot.complete(Err(failure(outcome))),
            (Some(Waiter::Unsubscribe(slot)), outcome) => slot.complete(Err(failure(outcome))),
            (None, _) => {}
        }
    }

    fn tell(&mut self, event: ConnectionEvent) {
        if let Some(handler) = &mut self.parts.on_event {
            handler(&event);
        }
    }

    /// Tells everybody that the client has ended.
    pub(super) fn finish(&mut self) {
        let parts = &mut self.parts;
        parts.link = None;
        let status = parts.core.queue_status();
        let unanswered = parts.core.unfinished_requests();
        for (_, waiter) in mem::take(&mut parts.waiters) {
            waiter.cancel();
        }
        let mut state = self.shared.lock();
        if state.has_ended {
            return;
        }
        let left = ShutdownReport {
            unsent: status.queued_messages + state.publishes.len(),
            unacknowledged: status.inflight.saturating_sub(unanswered),
            unanswered,
        };
        state.is_ending = true;
        state.has_ended = true;
        state.status.is_connected = false;
        while let Some((_, slot)) = state.take_submitted() {
            slot.complete(Err(OperationError::Cancelled));
        }
        for control in mem::take(&mut state.controls) {
            control.cancel();
        }
        state.cancel_awaited();
        drop(state);
        if let Some(Shutdown {
            slot: Some(slot),
            report,
            ..
        }) = parts.shutdown.take()
        {
            slot.complete(Ok(report.unwrap_or(left)));
        }
        self.shared.changed.notify_all();
        self.shared.arrived.notify_all();
    }
}

impl Waiter {
    fn cancel(self) {
        match self {
            Self::Publish(slot) => slot.complete(Err(OperationError::Cancelled)),
            Self::Subscribe(slot) => slot.complete(Err(OperationError::Cancelled)),
            Self::Unsubscribe(slot) => slot.complete(Err(OperationError::Cancelled)),
        }
    }
}

impl Control {
    fn cancel(self) {
        match self {
            Self::Subscribe(_, _, slot) => slot.complete(Err(OperationError::Cancelled)),
            Self::Unsubscribe(_, _, slot) => slot.complete(Err(OperationError::Cancelled)),
            Self::Shutdown(_, slot) => slot.complete(Err(OperationError::Cancelled)),
            Self::Disconnect(_) => {}
        }
    }
}

fn publish_outcome(outcome: Outcome) -> Result<Published, OperationError> {
    match outcome {
        Outcome::Sent => Ok(Published::Sent),
        Outcome::Acknowledged {
            reason_code,
            properties,
        } if reason_code.is_error() => Err(OperationError::Rejected {
            reason_code,
            properties,
        }),
        Outcome::Acknowledged {
            reason_code,
            properties,
        } => Ok(Published::Acknowledged {
            reason_code,
            properties,
        }),
        other @ (Outcome::Subscribed { .. }
        | Outcome::Unsubscribed { .. }
        | Outcome::Undelivered(_)
        | Outcome::Refused(_)
        | Outcome::Cancelled) => Err(failure(other)),
    }
}

fn failure(outcome: Outcome) -> OperationError {
    match outcome {
        Outcome::Undelivered(why) => OperationError::Undelivered(why),
        Outcome::Refused(error) => error.into(),
        Outcome::Sent
        | Outcome::Acknowledged { .. }
        | Outcome::Subscribed { .. }
        | Outcome::Unsubscribed { .. }
        | Outcome::Cancelled => OperationError::Cancelled,
    }
}
