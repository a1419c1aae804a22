//! A client core with a simple application: it notes down what comes, and acknowledges it.

use std::collections::BTreeMap;

use mqttstack_client::core::{
    CleanStart, ClientCore, Event, OperationId, Outcome, Receipt, Settings, SettingsError,
};
use mqttstack_client::session::client::EndCause;
use mqttstack_codec::{ProtocolVersion, QoS, ReasonCode};

use mqttstack_session::{Message, SubscriptionIds};

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
    /// The RETAIN flag.
    pub retain: bool,
    /// The Subscription Identifiers, in ascending order.
    pub subscription_ids: Vec<u32>,
}

/// When an application acknowledges what it gets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Patience {
    /// At once.
    #[default]
    None,
    /// When [`Station::acknowledge`] is called, in any order.
    Asked,
}

/// A client core, its application, and its place in a [`Network`](crate::Network).
#[derive(Debug)]
pub struct Station {
    /// The client.
    pub core: ClientCore,
    pub(crate) link: Option<LinkId>,
    /// When messages are acknowledged.
    pub patience: Patience,
    deliveries: Vec<Delivery>,
    /// Of messages that wait for the application; those that are void the client ignores.
    unacknowledged: Vec<(Receipt, Delivery)>,
    /// Messages of QoS 2 that were refused: until that has reached the broker they come again.
    refused: Vec<Delivery>,
    outcomes: BTreeMap<OperationId, Outcome>,
    /// Operations that have ended, in order.
    completed: Vec<OperationId>,
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
            patience: Patience::None,
            deliveries: Vec::new(),
            unacknowledged: Vec::new(),
            refused: Vec::new(),
            outcomes: BTreeMap::new(),
            completed: Vec::new(),
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
                    message,
                    subscription_ids,
                    receipt,
                } => self.on_message(&message, &subscription_ids, receipt),
                Event::Completed { operation, outcome } => {
                    self.completed.push(operation);
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

    fn on_message(&mut self, message: &Message, ids: &SubscriptionIds, receipt: Option<Receipt>) {
        let mut subscription_ids = ids.as_slice().to_vec();
        subscription_ids.sort_unstable();
        let delivery = Delivery {
            topic: message.topic().into(),
            payload: String::from_utf8_lossy(message.payload()).into(),
            qos: message.qos(),
            retain: message.retain(),
            subscription_ids,
        };
        self.deliveries.push(delivery.clone());
        match (receipt, self.patience) {
            (Some(receipt), Patience::None) => self.core.acknowledge(receipt, ReasonCode::Success),
            (Some(receipt), Patience::Asked) => self.unacknowledged.push((receipt, delivery)),
            (None, _) => {}
        }
    }

    /// Acknowledges one of the messages that wait for it, by any number.
    pub fn acknowledge(&mut self, number: usize, reason_code: ReasonCode) {
        if let Some(index) = number.checked_rem(self.unacknowledged.len()) {
            let (receipt, delivery) = self.unacknowledged.swap_remove(index);
            if reason_code.is_error() && delivery.qos == QoS::ExactlyOnce {
                self.refused.push(delivery);
            }
            self.core.acknowledge(receipt, reason_code);
        }
    }

    /// Acknowledges from now on at once, and all that waits for it.
    pub fn acknowledge_all(&mut self) {
        self.patience = Patience::None;
        for (receipt, _) in std::mem::take(&mut self.unacknowledged) {
            self.core.acknowledge(receipt, ReasonCode::Success);
        }
    }

    /// Takes the messages of QoS 2 that were refused.
    pub(crate) fn take_refused(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.refused)
    }

    /// Returns the operations that have ended, in order.
    #[must_use]
    pub fn completed(&self) -> &[OperationId] {
        &self.completed
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
