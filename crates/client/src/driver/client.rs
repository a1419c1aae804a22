//! The handle by which the application asks for things.

use core::{fmt, time::Duration};
use std::{collections::btree_map::Entry, format, string::String, sync::Arc, vec::Vec};

use mqttstack_codec::{
    Properties, QoS, ReasonCode, Shared as SharedStorage, SubscribeFilters, Subscription,
    UnsubscribeFilters,
};
use mqttstack_session::{Message, MessageBuilder};

use super::{
    builder::Builder,
    clock::Clock,
    error::{ConnectError, OperationError, RequestFailure, SubmitError, TryPublishError},
    pending::{Pending, Published, ShutdownReport, Slot, Subscribed, Unsubscribed},
    shared::{Control, Shared, State},
};

/// How many requests may wait for their response.
const RESPONSES_AWAITED_MAX: usize = 1_000;

/// Submits messages and requests; a clone submits to the same connection.
///
/// What is handed over returns a [`Pending`] with its outcome. When the last clone and the
/// [`Inbox`](super::Inbox) are dropped, the client disconnects in good order.
///
/// Order: messages keep theirs, and so do subscribe and unsubscribe requests; a request may
/// overtake messages that were submitted before it.
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// Starts a client of the server at `url`, such as `mqtt://[user[:password]@]host[:port]`; see
    /// [`ServerUrl`](super::ServerUrl) for the others.
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.lock().clients += 1;
        Self { shared }
    }

    /// Hands a message over; waits while there is no room for it.
    ///
    /// While the client is connected, messages wait here and the caller with them; while it is not,
    /// QoS 1 and 2 messages are queued within the limits and QoS 0 messages fail.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Ended`], and [`SubmitError::WouldDeadlock`] when there is no room and the
    /// calling thread drives the client.
    pub fn publish(&self, message: Message) -> Result<Pending<Published>, SubmitError> {
        let mut state = self.shared.lock();
        while !state.is_ending && !state.has_room(&message) {
            if self.shared.is_driver_thread() {
                return Err(SubmitError::WouldDeadlock);
            }
            state = Shared::wait(&self.shared.changed, state, None).ok_or(SubmitError::Ended)?;
        }
        if state.is_ending {
            return Err(SubmitError::Ended);
        }
        let slot = Slot::new();
        state.submit(message, Arc::clone(&slot));
        drop(state);
        Ok(self.submitted(slot))
    }

    /// Hands a message over if there is room for it, and gives it back otherwise.
    ///
    /// # Errors
    ///
    /// [`TryPublishError`] with the message.
    pub fn try_publish(&self, message: Message) -> Result<Pending<Published>, TryPublishError> {
        let mut state = self.shared.lock();
        if state.is_ending {
            return Err(TryPublishError::Ended(message));
        }
        if !state.has_room(&message) {
            return Err(TryPublishError::Full(message));
        }
        let slot = Slot::new();
        state.submit(message, Arc::clone(&slot));
        drop(state);
        Ok(self.submitted(slot))
    }

    /// Asks for subscriptions; the outcome has a reason code for each.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn subscribe<'a>(
        &self,
        subscriptions: impl IntoIterator<Item = Subscription<'a>>,
    ) -> Result<Pending<Subscribed>, SubmitError> {
        self.subscribe_with(subscriptions, Properties::empty())
    }

    /// Asks for subscriptions, with properties such as a Subscription Identifier (5.0).
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn subscribe_with<'a>(
        &self,
        subscriptions: impl IntoIterator<Item = Subscription<'a>>,
        properties: Properties<SharedStorage>,
    ) -> Result<Pending<Subscribed>, SubmitError> {
        let filters = SubscribeFilters::new(subscriptions)?;
        let slot = Slot::new();
        self.control(Control::Subscribe(filters, properties, Arc::clone(&slot)))?;
        Ok(self.submitted(slot))
    }

    /// Ends subscriptions.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn unsubscribe<'a>(
        &self,
        filters: impl IntoIterator<Item = &'a str>,
    ) -> Result<Pending<Unsubscribed>, SubmitError> {
        self.unsubscribe_with(filters, Properties::empty())
    }

    /// Ends subscriptions, with User Properties (5.0).
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn unsubscribe_with<'a>(
        &self,
        filters: impl IntoIterator<Item = &'a str>,
        properties: Properties<SharedStorage>,
    ) -> Result<Pending<Unsubscribed>, SubmitError> {
        let filters = UnsubscribeFilters::new(filters)?;
        let slot = Slot::new();
        self.control(Control::Unsubscribe(filters, properties, Arc::clone(&slot)))?;
        Ok(self.submitted(slot))
    }

    /// Publishes a request and waits for its response, at most for `timeout` in all (5.0 only).
    ///
    /// Response Topic and Correlation Data are set here; the subscription to the response topic is
    /// made with the first request. The response does not appear in the inbox.
    ///
    /// # Errors
    ///
    /// [`RequestFailure`].
    pub fn request(
        &self,
        request: MessageBuilder,
        timeout: Duration,
    ) -> Result<Message, RequestFailure> {
        if !self.shared.has_responses {
            return Err(RequestFailure::NotSupported);
        }
        if self.shared.is_driver_thread() {
            return Err(OperationError::WouldDeadlock.into());
        }
        let deadline = Clock::deadline(timeout);
        let left = || match deadline.map(Clock::until) {
            None => Duration::MAX,
            Some(left) => left.unwrap_or_default(),
        };
        let topic = self.response_topic(left())?;
        let slot = Slot::new();
        let correlation = self.shared.lock().await_response(&slot)?;
        let result = request
            .response_topic(&topic)
            .correlation_data(&correlation.to_be_bytes())
            .build()
            .map_err(RequestFailure::from)
            .and_then(|message| {
                let pending = self.publish(message).map_err(OperationError::from)?;
                match pending.wait(left()) {
                    // The response is what counts; it may even come first.
                    Ok(_) | Err(OperationError::TimedOut) => Ok(()),
                    Err(error) => Err(RequestFailure::Operation(error)),
                }
            })
            .and_then(|()| match slot.wait(left()) {
                Ok(response) => Ok(response),
                Err(OperationError::TimedOut) => Err(RequestFailure::TimedOut),
                Err(error) => Err(error.into()),
            });
        self.shared.lock().awaited.remove(&correlation);
        result
    }

    /// Returns whether the server has accepted the connection and it is not over.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.lock().status.is_connected
    }

    /// Returns the Client Identifier; the one that the server has assigned, if it has.
    #[must_use]
    pub fn client_id(&self) -> String {
        self.shared.lock().status.client_id.clone()
    }

    /// Returns whether the server resumed a session for the last connection.
    #[must_use]
    pub fn session_present(&self) -> bool {
        self.shared.lock().status.session_present
    }

    /// Returns the properties of the last CONNACK.
    #[must_use]
    pub fn server_properties(&self) -> Properties<SharedStorage> {
        self.shared.lock().status.properties.clone()
    }

    /// Returns why the last attempt failed or the last connection ended; `None` if none did.
    #[must_use]
    pub fn last_error(&self) -> Option<ConnectError> {
        self.shared.lock().status.last_error.clone()
    }

    /// Waits for a connection through any number of attempts, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// [`ConnectError::WaitTimedOut`]; or what made the client give up.
    pub fn wait_connected(&self, timeout: Duration) -> Result<(), ConnectError> {
        self.wait_for_connection(timeout, false)
    }

    /// Waits for the outcome of the first attempt.
    pub(super) fn wait_first_attempt(&self, timeout: Duration) -> Result<(), ConnectError> {
        self.wait_for_connection(timeout, true)
    }

    fn wait_for_connection(
        &self,
        timeout: Duration,
        first_failure_counts: bool,
    ) -> Result<(), ConnectError> {
        let deadline = Clock::deadline(timeout);
        let mut state = self.shared.lock();
        loop {
            if state.status.is_connected {
                return Ok(());
            }
            let failed = first_failure_counts && state.status.failures > 0;
            if state.has_ended || failed || self.shared.is_driver_thread() {
                return Err(state
                    .status
                    .last_error
                    .clone()
                    .unwrap_or(ConnectError::Ended));
            }
            state = Shared::wait(&self.shared.changed, state, deadline)
                .ok_or(ConnectError::WaitTimedOut(timeout))?;
        }
    }

    /// Disconnects at once. Messages that wait are lost with the client; to deliver them first, use
    /// [`shutdown`](Self::shutdown).
    ///
    /// In 5.0, [`ReasonCode::DisconnectWithWillMessage`] has the will published.
    pub fn disconnect(&self, reason_code: ReasonCode) {
        let mut state = self.shared.lock();
        if state.has_ended {
            return;
        }
        state.is_ending = true;
        // Not bounded by the room for requests: it comes once, and has to get through.
        state.controls.push_back(Control::Disconnect(reason_code));
        drop(state);
        self.shared.changed.notify_all();
        self.shared.wake();
    }

    /// Delivers what was handed over, for at most `deadline`; then disconnects in good order and
    /// reports what was left. Nothing more can be submitted from the call on.
    ///
    /// # Errors
    ///
    /// [`OperationError::Cancelled`] if the client had ended before,
    /// [`OperationError::WouldDeadlock`] on the thread that drives the client: the shutdown takes
    /// place, and the report is not waited for.
    pub fn shutdown(&self, deadline: Duration) -> Result<ShutdownReport, OperationError> {
        /// What the disconnect itself may take beyond the deadline.
        const GRACE: Duration = Duration::from_secs(5);
        let slot = Slot::new();
        let mut state = self.shared.lock();
        if state.has_ended {
            return Err(OperationError::Cancelled);
        }
        state.is_ending = true;
        state
            .controls
            .push_back(Control::Shutdown(deadline, Arc::clone(&slot)));
        drop(state);
        self.shared.changed.notify_all();
        self.submitted(slot).wait(deadline.saturating_add(GRACE))
    }

    fn control(&self, control: Control) -> Result<(), SubmitError> {
        let mut state = self.shared.lock();
        if state.is_ending {
            return Err(SubmitError::Ended);
        }
        if !state.has_room_for_control() {
            return Err(SubmitError::TooManyRequests);
        }
        state.controls.push_back(control);
        Ok(())
    }

    fn submitted<T>(&self, slot: Arc<Slot<T>>) -> Pending<T> {
        self.shared.wake();
        Pending {
            slot,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Returns the topic that responses come on, subscribed to.
    fn response_topic(&self, timeout: Duration) -> Result<String, RequestFailure> {
        let state = self.shared.lock();
        if let Some(topic) = &state.response_topic {
            return Ok(topic.clone());
        }
        if !state.status.is_connected {
            return Err(RequestFailure::NotConnected);
        }
        let prefix = state.status.properties.response_information();
        let prefix = prefix
            .unwrap_or(&self.shared.response_prefix)
            .trim_end_matches('/');
        let topic = format!("{prefix}/{}", state.status.client_id);
        drop(state);
        let subscription = Subscription::new(&topic, QoS::AtLeastOnce);
        let pending = self
            .subscribe([subscription])
            .map_err(OperationError::from)?;
        if let Some(reason_code) = pending.wait(timeout)?.first_error() {
            return Err(RequestFailure::ResponseTopic(reason_code));
        }
        self.shared.lock().response_topic = Some(topic.clone());
        Ok(topic)
    }
}

impl State {
    /// Makes room for a response and returns its correlation number.
    fn await_response(&mut self, slot: &Arc<Slot<Message>>) -> Result<u64, RequestFailure> {
        if self.awaited.len() >= RESPONSES_AWAITED_MAX {
            return Err(OperationError::from(SubmitError::TooManyRequests).into());
        }
        loop {
            self.last_correlation = self.last_correlation.wrapping_add(1);
            if let Entry::Vacant(entry) = self.awaited.entry(self.last_correlation) {
                entry.insert(Arc::clone(slot));
                return Ok(self.last_correlation);
            }
        }
    }

    /// Takes what waits for this message, if it is a response.
    pub(super) fn take_awaited(&mut self, message: &Message) -> Option<Arc<Slot<Message>>> {
        if self.response_topic.as_deref() != Some(message.topic()) {
            return None;
        }
        let properties = message.properties();
        let correlation: Vec<u8> = properties.correlation_data()?.into();
        self.awaited
            .remove(&u64::from_be_bytes(correlation.try_into().ok()?))
    }

    /// Nothing will come any more.
    pub(super) fn cancel_awaited(&mut self) {
        while let Some((_, slot)) = self.awaited.pop_first() {
            slot.complete(Err(OperationError::Cancelled));
        }
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.lock().clients -= 1;
        self.shared.wake();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("client_id", &self.client_id())
            .finish_non_exhaustive()
    }
}
