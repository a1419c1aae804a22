//! Received messages, on their way to the application.

use core::{fmt, time::Duration};
use std::{sync::Arc, time};

use bytes::Bytes;
use mqttstack_codec::{PacketId, ReasonCode};
use mqttstack_limits::Instant;
use mqttstack_session::{Message, MessageBuilder, SubscriptionIds};

use super::{clock::Clock, error::ReceiveError, shared::Shared};
use crate::core::Receipt;

/// The messages that the client receives, in the order in which they arrive.
///
/// It is bounded: when it is full, the client stops reading from its connection until the
/// application has emptied half of it; nothing is dropped. Unless acknowledgement is manual, a QoS 1 or 2
/// message is acknowledged when the application takes it out.
///
/// When the inbox is dropped, messages are acknowledged and dropped as they arrive; when the last
/// [`Client`](super::Client) is dropped as well, the client disconnects.
pub struct Inbox {
    pub(super) shared: Arc<Shared>,
}

/// A message that was received.
pub struct Received {
    message: Message,
    subscription_ids: SubscriptionIds,
    packet_id: Option<PacketId>,
    expires_in: Option<Duration>,
    /// With manual acknowledgement: what is still to be acknowledged, and through whom.
    owed: Option<(Receipt, Arc<Shared>)>,
}

impl Inbox {
    /// Waits for the next message; `None` when the client has ended and every message was received.
    #[must_use]
    pub fn receive(&self) -> Option<Received> {
        self.receive_until(None).ok()
    }

    /// Waits for the next message, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`].
    pub fn receive_timeout(&self, timeout: Duration) -> Result<Received, ReceiveError> {
        match Clock::deadline(timeout) {
            Some(deadline) => self.receive_until(Some(deadline)),
            None => self.receive_until(None),
        }
    }

    /// Returns the next message if it is there.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`].
    pub fn try_receive(&self) -> Result<Received, ReceiveError> {
        self.receive_timeout(Duration::ZERO)
    }

    /// Returns the messages one after the other, waiting for each, until the client has ended.
    pub fn iter(&self) -> impl Iterator<Item = Received> + '_ {
        core::iter::from_fn(|| self.receive())
    }

    fn receive_until(&self, deadline: Option<time::Instant>) -> Result<Received, ReceiveError> {
        let mut state = self.shared.lock();
        let arrived = loop {
            if let Some(arrived) = state.inbox.pop_front() {
                break arrived;
            }
            if state.has_ended {
                return Err(ReceiveError::Ended);
            }
            // The thread that drives the client would wait for itself.
            if self.shared.is_driver_thread() {
                return Err(ReceiveError::TimedOut);
            }
            state = Shared::wait(&self.shared.arrived, state, deadline)
                .ok_or(ReceiveError::TimedOut)?;
        };
        state.inbox_bytes = state.inbox_bytes.saturating_sub(arrived.message.size());
        let mut owed = arrived.receipt;
        if self.shared.acknowledges
            && let Some(receipt) = owed.take()
        {
            state.acknowledgements.push((receipt, ReasonCode::Success));
        }
        let has_news = !state.acknowledgements.is_empty()
            || (state.waits_for_inbox && state.is_inbox_half_empty(&self.shared.inbox_limits));
        drop(state);
        if has_news {
            self.shared.wake();
        }
        let expires_at = arrived.message.expires_at(Instant::EPOCH);
        let expires = expires_at != Instant::NEVER;
        Ok(Received {
            packet_id: arrived.receipt.map(Receipt::packet_id),
            expires_in: expires.then(|| expires_at - self.shared.clock.now()),
            message: arrived.message,
            subscription_ids: arrived.subscription_ids,
            owed: owed.map(|receipt| (receipt, Arc::clone(&self.shared))),
        })
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.inbox_closed = true;
        state.inbox_bytes = 0;
        while let Some(arrived) = state.inbox.pop_front() {
            if let Some(receipt) = arrived.receipt {
                state.acknowledgements.push((receipt, ReasonCode::Success));
            }
        }
        drop(state);
        self.shared.wake();
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Received {
    /// Returns the message.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.message.topic()
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.message.payload()
    }

    /// Returns the Subscription Identifiers of the subscriptions that the message matched.
    #[must_use]
    pub fn subscription_ids(&self) -> &[u32] {
        self.subscription_ids.as_slice()
    }

    /// Returns the Packet Identifier under which the message came; `None` at QoS 0.
    #[must_use]
    pub const fn packet_id(&self) -> Option<PacketId> {
        self.packet_id
    }

    /// Returns how long the message was still of use when it was taken out of the inbox; `None` if
    /// it does not expire.
    #[must_use]
    pub const fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    /// Acknowledges the message; once. Does nothing if that has been done, if the message needs
    /// none, or if its connection is gone: then it comes again.
    pub fn acknowledge(&mut self) {
        self.acknowledge_with(ReasonCode::Success);
    }

    /// Acknowledges the message with a reason code; an error tells the server that it was not
    /// taken (5.0 only: 3.x cannot say so, and the server takes the message for delivered).
    pub fn acknowledge_with(&mut self, reason_code: ReasonCode) {
        if let Some((receipt, shared)) = self.owed.take() {
            shared.lock().acknowledgements.push((receipt, reason_code));
            shared.wake();
        }
    }

    /// Begins the response to a request: a message to its Response Topic, with its Correlation
    /// Data. `None` if the message is not a request.
    #[must_use]
    pub fn reply(&self, payload: impl Into<Bytes>) -> Option<MessageBuilder> {
        let properties = self.message.properties();
        let builder = Message::builder(properties.response_topic()?, payload);
        Some(match properties.correlation_data() {
            Some(data) => builder.correlation_data(data),
            None => builder,
        })
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("message", &self.message)
            .field("subscription_ids", &self.subscription_ids)
            .finish_non_exhaustive()
    }
}
