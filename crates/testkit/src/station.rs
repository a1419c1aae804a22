//! A client core with the simplest of applications: it acknowledges what comes, and notes it down.

use std::collections::BTreeMap;

use mqttstack_client::core::{
    CleanStart, ClientCore, Event, OperationId, Outcome, Settings, SettingsError,
};
use mqttstack_client::session::client::EndCause;
use mqttstack_codec::{ProtocolVersion, QoS, ReasonCode};

use crate::{LinkId, Seed};

/// Returns the setting with which every session of a client outlives its connections.
///
/// In 3.x, a session that begins clean ends with its first connection: there, none may.
#[must_use]
pub(crate) const fn persistent(version: ProtocolVersion) -> CleanStart {
    match version {
        ProtocolVersion::V5 => CleanStart::FirstOnly,
        ProtocolVersion::V31 | ProtocolVersion::V311 => CleanStart::Never,
    }
}

/// A message as an application got it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// The topic.
    pub topic: String,
    /// The payload, which in simulations is text.
    pub payload: String,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// Whether it came out of the retained store.
    pub retain: bool,
    /// Whether the connection was over before the application could acknowledge the message: then
    /// it comes again, at QoS 2 as well.
    pub is_unacknowledged: bool,
}

/// A client core, its application, and its place in a [`Network`](crate::Network).
#[derive(Debug)]
pub struct Station {
    /// The client.
    pub core: ClientCore,
    pub(crate) link: Option<LinkId>,
    deliveries: Vec<Delivery>,
    outcomes: BTreeMap<OperationId, Outcome>,
    lost_subscriptions: Vec<String>,
    last_end: Option<EndCause>,
}

impl Station {
    /// Creates a client that is not connected.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: there is no CONNECT for these settings.
    pub fn new(settings: Settings, seed: Seed) -> Result<Self, SettingsError> {
        Ok(Self {
            core: ClientCore::new(settings, seed.0)?,
            link: None,
            deliveries: Vec::new(),
            outcomes: BTreeMap::new(),
            lost_subscriptions: Vec::new(),
            last_end: None,
        })
    }

    /// Takes what the client tells; returns whether it told anything.
    pub(crate) fn take_events(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.core.poll_event() {
            any = true;
            match event {
                Event::MessageReceived {
                    message, receipt, ..
                } => {
                    self.deliveries.push(Delivery {
                        topic: message.topic().into(),
                        payload: String::from_utf8_lossy(message.payload()).into(),
                        qos: message.qos(),
                        retain: message.retain(),
                        is_unacknowledged: receipt.is_some() && !self.core.is_connected(),
                    });
                    if let Some(receipt) = receipt {
                        self.core.acknowledge(receipt, ReasonCode::Success);
                    }
                }
                Event::Completed { operation, outcome } => {
                    self.outcomes.insert(operation, outcome);
                }
                Event::SubscriptionLost { filter, .. } => self.lost_subscriptions.push(filter),
                Event::Ended { cause, .. } => self.last_end = Some(cause),
                Event::Connected(_) | Event::AuthReceived(_) | Event::OpenFailed { .. } => {}
                // The list of events is open to the client only.
                _ => {}
            }
        }
        any
    }

    /// Returns every message that was delivered, in order.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Returns the payloads of all messages that were delivered, in order.
    #[must_use]
    pub fn payloads(&self) -> Vec<&str> {
        let deliveries = self.deliveries.iter();
        deliveries.map(|delivery| &*delivery.payload).collect()
    }

    /// Returns how an operation ended, if it has.
    #[must_use]
    pub fn outcome(&self, operation: OperationId) -> Option<&Outcome> {
        self.outcomes.get(&operation)
    }

    /// Returns why the last connection that is over ended.
    #[must_use]
    pub const fn last_end(&self) -> Option<&EndCause> {
        self.last_end.as_ref()
    }

    /// Returns the filters that could not be subscribed to again after a session was lost.
    #[must_use]
    pub fn lost_subscriptions(&self) -> &[String] {
        &self.lost_subscriptions
    }

    /// Returns whether the client is connected, and waits for nothing.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let status = self.core.queue_status();
        self.core.is_connected()
            && status.inflight == 0
            && status.inflight_bytes == 0
            && status.queued_messages == 0
            && self.core.unfinished_requests() == 0
    }
}
