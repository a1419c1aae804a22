//! How the client reacts to its session: connections that come and go, requests that are answered.

use alloc::boxed::Box;
use core::time::Duration;

use mqttstack_codec::{ConnAck, ProtocolVersion, QoS, ReasonCode, Shared};
use mqttstack_limits::Instant;
use mqttstack_session::{
    PublishToken,
    client::{self, EndCause},
};

use super::{
    ClientCore, Event, OperationId, Outcome, Phase, Reading, Receipt, Resubscribe,
    TransportRequest,
    event::{Kind, ReceiptScope},
    requests::{Body, Request},
};

impl ClientCore {
    pub(super) fn open(&mut self) {
        self.phase = Phase::Opening;
        self.transport.push_back(TransportRequest::Open);
    }

    /// Translates what the session tells.
    pub(super) fn drain_session(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            match event {
                client::Event::Connected(connack) => self.on_connected(connack, now),
                client::Event::MessageReceived {
                    message,
                    subscription_ids,
                    packet_id,
                } => {
                    let scope = match message.qos() {
                        QoS::ExactlyOnce => ReceiptScope::Session(self.session.sessions_begun()),
                        QoS::AtMostOnce | QoS::AtLeastOnce => {
                            ReceiptScope::Connection(self.connections)
                        }
                    };
                    if let Some(room) = &mut self.room {
                        room.messages = room.messages.saturating_sub(1);
                        room.bytes = room.bytes.saturating_sub(message.size());
                    }
                    let receipt = packet_id.map(|packet_id| Receipt { packet_id, scope });
                    let event = Event::MessageReceived {
                        message,
                        subscription_ids,
                        receipt,
                    };
                    self.events.push_back(event);
                }
                client::Event::Completed { token, outcome } => self.on_completed(token, outcome),
                client::Event::AuthReceived(auth) => {
                    self.events.push_back(Event::AuthReceived(auth));
                }
                client::Event::Ended(cause) => self.on_ended(cause, now),
                // The list of events is open to the session only.
                _ => {}
            }
        }
    }

    /// # Specification
    ///
    /// v5 MQTT-3.1.2-21, v5 MQTT-3.2.2-21: the server's Keep Alive replaces the one asked for.
    fn on_connected(&mut self, connack: Box<ConnAck<Shared>>, now: Instant) {
        let keep_alive = connack.properties.server_keep_alive();
        self.accepted = Some((now, keep_alive.unwrap_or(self.settings.keep_alive)));
        self.was_accepted = true;
        self.reading = Reading::Active;
        if let Some(client_id) = connack.properties.assigned_client_identifier() {
            self.settings.client_id = client_id.into();
        }
        let resubscribes = match self.settings.resubscribe {
            Resubscribe::Never => false,
            Resubscribe::IfSessionLost => !connack.session_present,
            Resubscribe::Always => true,
        };
        self.events.push_back(Event::Connected(connack));
        if resubscribes {
            self.resubscribe();
        }
        for request in self.requests.take_waiting() {
            let operation = request.operation;
            if let (Err(error), Some(operation)) = (self.send_request(request), operation) {
                self.complete(Kind::Request(operation), Outcome::Refused(error.into()));
            }
        }
    }

    fn resubscribe(&mut self) {
        // The filters were granted once, so they make up a request again.
        let requests = self.subscriptions.to_requests().unwrap_or_default();
        for (filters, properties) in requests {
            let body = Body::Subscribe(filters.clone(), properties);
            if self
                .send_request(Request {
                    operation: None,
                    body,
                })
                .is_ok()
            {
                continue;
            }
            for subscription in filters.iter() {
                self.subscriptions.forget(subscription.filter);
                let filter = subscription.filter.into();
                self.events.push_back(Event::SubscriptionLost {
                    filter,
                    reason_code: None,
                });
            }
        }
    }

    fn on_completed(&mut self, token: PublishToken, outcome: client::Outcome) {
        let publish = Kind::Publish(token);
        match outcome {
            client::Outcome::Sent => self.complete(publish, Outcome::Sent),
            client::Outcome::Acknowledged {
                reason_code,
                properties,
            } => {
                self.complete(
                    publish,
                    Outcome::Acknowledged {
                        reason_code,
                        properties,
                    },
                );
            }
            client::Outcome::Undelivered(why) => {
                self.complete(publish, Outcome::Undelivered(why));
            }
            client::Outcome::Subscribed {
                reason_codes,
                properties,
            } => {
                let Some(request) = self.requests.answered(token) else {
                    return;
                };
                let Body::Subscribe(filters, asked) = &request.body else {
                    return;
                };
                let refused = self
                    .subscriptions
                    .on_suback(filters, asked, reason_codes.iter());
                match request.operation {
                    Some(operation) => {
                        let outcome = Outcome::Subscribed {
                            reason_codes,
                            properties,
                        };
                        self.complete(Kind::Request(operation), outcome);
                    }
                    None => {
                        for (filter, code) in refused {
                            let reason_code = Some(code);
                            let event = Event::SubscriptionLost {
                                filter,
                                reason_code,
                            };
                            self.events.push_back(event);
                        }
                    }
                }
            }
            client::Outcome::Unsubscribed {
                reason_codes,
                properties,
            } => {
                let Some(request) = self.requests.answered(token) else {
                    return;
                };
                // A repeat after a reconnect: the subscription may have been made anew meanwhile.
                if let Body::Unsubscribe(filters, _) = &request.body {
                    self.subscriptions.on_unsubscribe(filters);
                }
                if let Some(operation) = request.operation {
                    let outcome = Outcome::Unsubscribed {
                        reason_codes,
                        properties,
                    };
                    self.complete(Kind::Request(operation), outcome);
                }
            }
            // It stays with the requests, and waits for the next connection.
            client::Outcome::Unanswered => {}
            // The list of outcomes is open to the session only.
            _ => {}
        }
    }

    fn on_ended(&mut self, cause: EndCause, now: Instant) {
        self.requests.connection_ended();
        self.reading = Reading::Active;
        let was_accepted_at = self.accepted.take().map(|(at, _)| at);
        if was_accepted_at.is_some_and(|at| now - at >= self.settings.reconnect.stable_after) {
            self.backoff.reset();
        }
        let retry_after = self.retry_after(&cause, was_accepted_at.is_some());
        self.events.push_back(Event::Ended { cause, retry_after });
        if retry_after.is_none() {
            self.cancel_requests();
        }
        self.phase = Phase::Closing {
            retry_at: retry_after.map(|delay| now + delay),
        };
        self.transport.push_back(TransportRequest::Close);
    }

    /// Decides whether and when to try again.
    ///
    /// # Specification
    ///
    /// BRG-fallback.
    fn retry_after(&mut self, cause: &EndCause, was_accepted: bool) -> Option<Duration> {
        let uses_bridge_bit = self.settings.bridge
            && !self.bridge_refused
            && self.settings.version != ProtocolVersion::V5;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "most causes, and those that may be added, are worth another attempt"
        )]
        match cause {
            EndCause::ClientDisconnected => return None,
            EndCause::Refused(connack) => {
                let unsupported = connack.reason_code == ReasonCode::UnsupportedProtocolVersion;
                if uses_bridge_bit && unsupported {
                    self.bridge_refused = true;
                    return Some(Duration::ZERO);
                }
                // A server that once took these credentials may take them again.
                if !self.was_accepted && is_permanent(connack.reason_code) {
                    return None;
                }
            }
            EndCause::TransportClosed if uses_bridge_bit && !was_accepted => {
                self.bridge_refused = true;
                return Some(Duration::ZERO);
            }
            // To come back would only take the session from the other client, and so on for ever.
            EndCause::ServerDisconnected {
                reason_code: ReasonCode::SessionTakenOver,
                ..
            } => {
                return None;
            }
            _ => {}
        }
        self.backoff.next(&self.settings.reconnect)
    }

    /// An attempt to open a transport has failed.
    pub(super) fn next_attempt(&mut self, now: Instant) -> Option<Duration> {
        let delay = self.backoff.next(&self.settings.reconnect);
        match delay {
            Some(delay) => self.phase = Phase::Waiting { until: now + delay },
            None => {
                self.phase = Phase::Stopped;
                self.cancel_requests();
            }
        }
        delay
    }

    pub(super) fn on_transport_closed(&mut self) {
        self.transport.clear();
        self.session.handle_closed();
        self.partial = super::Partial::None;
        if let Phase::Closing { retry_at } = self.phase {
            self.phase = match retry_at {
                Some(until) => Phase::Waiting { until },
                None => Phase::Stopped,
            };
        }
    }

    pub(super) fn cancel_requests(&mut self) {
        for operation in self.requests.cancel() {
            self.complete(Kind::Request(operation), Outcome::Cancelled);
        }
    }

    fn complete(&mut self, kind: Kind, outcome: Outcome) {
        self.events.push_back(Event::Completed {
            operation: OperationId(kind),
            outcome,
        });
    }

    /// Returns whether a silent server is to be given up on; sends pings of its own while nobody
    /// reads the answers.
    pub(super) fn may_time_out(&mut self, now: Instant) -> bool {
        if !self.session.is_connected() {
            return true;
        }
        match self.reading {
            Reading::Active => true,
            Reading::Paused { ping_at, .. } => {
                if ping_at <= now {
                    self.reading = Reading::Paused {
                        ping_at: self.next_ping(now),
                        ping_now: true,
                    };
                }
                false
            }
            Reading::Resumed { until } => {
                let is_over = until <= now;
                if is_over {
                    self.reading = Reading::Active;
                }
                is_over
            }
        }
    }

    pub(super) fn next_ping(&self, now: Instant) -> Instant {
        match self.accepted {
            Some((_, keep_alive)) if keep_alive > 0 => now + Duration::from_secs(keep_alive.into()),
            _ => Instant::NEVER,
        }
    }
}

/// Returns whether a refusal would only be repeated.
const fn is_permanent(reason_code: ReasonCode) -> bool {
    matches!(
        reason_code,
        ReasonCode::MalformedPacket
            | ReasonCode::ProtocolError
            | ReasonCode::UnsupportedProtocolVersion
            | ReasonCode::ClientIdentifierNotValid
            | ReasonCode::BadUserNameOrPassword
            | ReasonCode::NotAuthorized
            | ReasonCode::Banned
            | ReasonCode::BadAuthenticationMethod
            | ReasonCode::TopicNameInvalid
            | ReasonCode::PacketTooLarge
            | ReasonCode::PayloadFormatInvalid
            | ReasonCode::RetainNotSupported
            | ReasonCode::QoSNotSupported
    )
}
