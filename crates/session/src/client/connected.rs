//! A connection that the server has accepted.

use alloc::boxed::Box;
use core::time::Duration;

use mqttstack_codec::{
    Auth, Disconnect, Packet, PacketType, Properties, PropertyId, ProtocolVersion, Shared, Storage,
};
use mqttstack_limits::Instant;

use super::{EndCause, Event, Outcome, Phase, ServerCapabilities, Session};
use crate::{
    DeliveryOptions, Message, MessagePool, ProtocolError, PublishError,
    authentication::Authentication,
    check::{check_properties, unexpected},
    flow::{Completion, Flow},
};

#[derive(Clone, Debug)]
pub(super) struct Connected {
    pub(super) flow: Flow,
    /// In seconds; 0 is off.
    pub(super) keep_alive: u16,
    pub(super) last_sent: Instant,
    /// When the PINGRESP that is awaited has to be there, if nothing moves until then.
    pub(super) ping_deadline: Option<Instant>,
    /// A PINGREQ has not been handed out yet.
    pub(super) ping_waits: bool,
    pub(super) authentication: Authentication,
    pub(super) terms: Terms,
    pub(super) server: ServerCapabilities,
}

/// What this client said in CONNECT that binds it or the server later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Whether the Session Expiry Interval was 0, which DISCONNECT may not change.
    ends_with_connection: bool,
    /// Whether the server may explain itself in any packet.
    problem_information: bool,
}

impl Terms {
    pub(super) fn new(connect: &Properties<Shared>) -> Self {
        Self {
            ends_with_connection: connect.session_expiry_interval().unwrap_or(0) == 0,
            problem_information: connect.request_problem_information().unwrap_or(true),
        }
    }

    /// Checks that the server explains itself only where this client wants it.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-29; v5 U-28.
    pub(super) fn check_silence<S: Storage>(
        self,
        properties: &Properties<S>,
        packet_type: PacketType,
    ) -> Result<(), ProtocolError> {
        let explains = [PropertyId::ReasonString, PropertyId::UserProperty]
            .iter()
            .any(|property| properties.contains(*property));
        if explains && !self.problem_information {
            return Err(ProtocolError::ProblemInformationNotRequested { packet_type });
        }
        Ok(())
    }

    /// Leaves out of a DISCONNECT what this client may not say in it.
    ///
    /// # Specification
    ///
    /// v5 U-06.
    pub(super) fn apply(self, disconnect: Disconnect<Shared>) -> Disconnect<Shared> {
        let expiry = disconnect.properties.session_expiry_interval();
        if self.ends_with_connection && expiry.is_some_and(|expiry| expiry > 0) {
            let raised = [PropertyId::SessionExpiryInterval];
            return Disconnect {
                properties: disconnect.properties.without(&raised),
                ..disconnect
            };
        }
        disconnect
    }
}

impl Connected {
    pub(super) fn authenticate(&mut self, auth: Auth<Shared>) {
        if let Some(step) = self.authentication.client_step(auth) {
            self.flow.respond(Packet::Auth(step));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let ping_due = (self.keep_alive > 0)
            .then(|| self.last_sent + Duration::from_secs(self.keep_alive.into()));
        match (self.ping_deadline, ping_due) {
            (Some(deadline), Some(due)) => Some(deadline.min(due)),
            (deadline, due) => deadline.or(due),
        }
    }

    /// Pings when nothing else has been sent for the Keep Alive, also while an answer is awaited;
    /// not while an earlier ping still waits for the transport.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-20, v5 U-07; v3.1.1 MQTT-3.1.2-23: what counts is what this side sends.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        ping_timeout: Duration,
    ) -> Result<(), ProtocolError> {
        if self.ping_deadline.is_some_and(|deadline| deadline <= now) {
            let keep_alive = self.keep_alive;
            return Err(ProtocolError::KeepAliveTimeout { keep_alive });
        }
        if self.poll_timeout().is_some_and(|due| due <= now) {
            if !core::mem::replace(&mut self.ping_waits, true) {
                self.flow.ping();
            }
            self.last_sent = now;
            self.ping_deadline.get_or_insert(now + ping_timeout);
        }
        Ok(())
    }

    /// A server to or from which bytes move is not silent, although PINGREQ or PINGRESP may be
    /// behind many of them.
    pub(super) fn handle_progress(&mut self, now: Instant, ping_timeout: Duration) {
        if let Some(deadline) = &mut self.ping_deadline {
            *deadline = now + ping_timeout;
        }
    }

    /// # Specification
    ///
    /// v5 MQTT-3.2.2-11, v5 MQTT-3.2.2-14, v5 MQTT-3.2.2-15.
    pub(super) fn check(
        &self,
        message: &Message,
        options: &DeliveryOptions,
        now: Instant,
    ) -> Result<(), PublishError> {
        let server = &self.server;
        if message.qos() > server.maximum_qos {
            return Err(PublishError::QosNotSupported {
                maximum: server.maximum_qos,
            });
        }
        if message.retain() && !server.retain_available {
            return Err(PublishError::RetainNotSupported);
        }
        let maximum = server.packet_size_max;
        match self.flow.packet_size(message, options, now) {
            size if size > u64::from(maximum) => {
                Err(PublishError::PacketTooLarge { size, maximum })
            }
            _ => Ok(()),
        }
    }
}

impl Session {
    pub(super) fn on_connected_packet<S: Storage>(
        &mut self,
        packet: Packet<S>,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let packet_type = packet.packet_type();
        let Phase::Connected(connected) = &mut self.phase else {
            return Ok(());
        };
        let (flow, terms) = (&mut connected.flow, connected.terms);
        let limits = &self.settings.limits;
        // What arrives is the application's: none of it comes back.
        let pool = &mut MessagePool::default();
        let check = |properties: &Properties<S>| {
            terms.check_silence(properties, packet_type)?;
            check_properties(properties, limits)
        };
        let completion = match packet {
            Packet::Publish(publish) => {
                check_properties(&publish.properties, limits)?;
                let subscription_ids = publish.properties.subscription_identifiers().collect();
                if let Some(arrival) = flow.on_publish(&publish, pool, now)? {
                    self.events.push_back(Event::MessageReceived {
                        message: arrival.message,
                        subscription_ids,
                        packet_id: arrival.packet_id,
                    });
                }
                None
            }
            Packet::PubAck(ack) => {
                check(&ack.properties)?;
                flow.on_puback(ack, pool)?
            }
            Packet::PubRec(ack) => {
                check(&ack.properties)?;
                flow.on_pubrec(ack, pool)?
            }
            Packet::PubRel(ack) => {
                check(&ack.properties)?;
                flow.on_pubrel(&ack)?;
                None
            }
            Packet::PubComp(ack) => {
                check(&ack.properties)?;
                flow.on_pubcomp(ack)?
            }
            Packet::SubAck(suback) => {
                check(&suback.properties)?;
                let token = flow.on_suback(suback.packet_id, suback.reason_codes.len())?;
                let outcome = Outcome::Subscribed {
                    reason_codes: suback.reason_codes.to_shared(),
                    properties: suback.properties.to_shared(),
                };
                self.events.push_back(Event::Completed { token, outcome });
                None
            }
            Packet::UnsubAck(unsuback) => {
                check(&unsuback.properties)?;
                let token = flow.on_unsuback(unsuback.packet_id, unsuback.reason_codes.len())?;
                let outcome = Outcome::Unsubscribed {
                    reason_codes: unsuback.reason_codes.to_shared(),
                    properties: unsuback.properties.to_shared(),
                };
                self.events.push_back(Event::Completed { token, outcome });
                None
            }
            Packet::PingResp => {
                connected.ping_deadline = None;
                None
            }
            Packet::Disconnect(disconnect) => {
                check_properties(&disconnect.properties, limits)?;
                return self.on_disconnect(&disconnect);
            }
            Packet::Auth(auth) => {
                check(&auth.properties)?;
                connected.authentication.on_server_step(&auth)?;
                self.events
                    .push_back(Event::AuthReceived(Box::new(auth.to_shared())));
                None
            }
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => return Err(unexpected(&packet)),
        };
        if let Some(Completion { token, ack }) = completion {
            let outcome = Outcome::Acknowledged {
                reason_code: ack.reason_code,
                properties: ack.properties.to_shared(),
            };
            self.events.push_back(Event::Completed { token, outcome });
        }
        connected.flow.check_backlog()
    }

    /// # Specification
    ///
    /// v5 MQTT-3.14.2-2, v5 U-29; X311-2.2.1-b: a 3.x server has no DISCONNECT.
    fn on_disconnect<S: Storage>(
        &mut self,
        disconnect: &Disconnect<S>,
    ) -> Result<(), ProtocolError> {
        let Phase::Connected(connected) = &self.phase else {
            return Ok(());
        };
        let forbidden = PropertyId::SessionExpiryInterval;
        let is_v5 = connected.flow.version() == ProtocolVersion::V5;
        if !is_v5 || disconnect.properties.contains(forbidden) {
            let packet_type = PacketType::Disconnect;
            return Err(ProtocolError::UnexpectedPacket { packet_type });
        }
        let cause = EndCause::ServerDisconnected {
            reason_code: disconnect.reason_code,
            properties: disconnect.properties.to_shared(),
        };
        self.end(cause, None);
        Ok(())
    }
}
