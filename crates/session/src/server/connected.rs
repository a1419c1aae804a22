//! A connection that has been accepted.

use alloc::boxed::Box;

use mqttstack_codec::{
    Auth, Disconnect, Packet, PacketId, PacketType, Properties, PropertyId, ProtocolVersion,
    Publish, ReasonCode, ReasonCodes, Shared, Storage, SubAck, UnsubAck, Will,
};
use mqttstack_limits::{Instant, Limits};

use super::{EndCause, Event, Phase, Session};
use crate::{
    MessagePool, ProtocolError,
    authentication::Authentication,
    check::{check_properties, unexpected},
    fault::{self, Fault},
    flow::{Arrival, Flow},
};

#[derive(Clone, Debug)]
pub(super) struct Connected {
    pub(super) flow: Flow,
    /// In seconds; 0 is off.
    pub(super) keep_alive: u16,
    /// In seconds, as CONNECT asked for it: what DISCONNECT may not raise from 0.
    pub(super) requested_expiry: u32,
    /// In seconds, in force.
    pub(super) session_expiry: u32,
    pub(super) will: Option<Box<Will<Shared>>>,
    pub(super) authentication: Authentication,
}

impl Connected {
    pub(super) fn authenticate(&mut self, auth: Auth<Shared>) {
        if let Some(step) = self.authentication.server_step(auth) {
            self.flow.respond(Packet::Auth(step));
        }
    }

    pub(super) fn suback(
        &mut self,
        packet_id: PacketId,
        codes: impl IntoIterator<Item = ReasonCode>,
        properties: Properties<Shared>,
    ) -> Result<(), ProtocolError> {
        let packet_type = PacketType::SubAck;
        let fit = self.flow.fit();
        let known = codes.into_iter().map(|code| fit.code(code, packet_type));
        let codes = known.map(|code| match fit.version {
            ProtocolVersion::V311 if code.is_error() => ReasonCode::UnspecifiedError,
            ProtocolVersion::V31 if code.is_error() => ReasonCode::Success,
            ProtocolVersion::V31 | ProtocolVersion::V311 | ProtocolVersion::V5 => code,
        });
        let packet = Packet::SubAck(SubAck {
            packet_id,
            properties,
            reason_codes: ReasonCodes::new(codes),
        });
        self.answer(packet)
    }

    pub(super) fn unsuback(
        &mut self,
        packet_id: PacketId,
        codes: impl IntoIterator<Item = ReasonCode>,
        properties: Properties<Shared>,
    ) -> Result<(), ProtocolError> {
        let fit = self.flow.fit();
        let codes = codes.into_iter();
        let packet = Packet::UnsubAck(UnsubAck {
            packet_id,
            properties,
            reason_codes: match fit.version {
                ProtocolVersion::V5 => {
                    ReasonCodes::new(codes.map(|code| fit.code(code, PacketType::UnsubAck)))
                }
                ProtocolVersion::V31 | ProtocolVersion::V311 => ReasonCodes::default(),
            },
        });
        self.answer(packet)
    }

    /// Sends what the client waits for; a client that cannot take it could only wait for ever.
    fn answer(&mut self, packet: Packet) -> Result<(), ProtocolError> {
        let packet_type = packet.packet_type();
        if self.flow.respond(packet) {
            return Ok(());
        }
        Err(ProtocolError::ResponseTooLarge { packet_type })
    }
}

impl Session {
    pub(super) fn on_connected_packet<S: Storage>(
        &mut self,
        packet: Packet<S>,
        pool: &mut MessagePool,
        now: Instant,
    ) -> Result<Option<Arrival>, ProtocolError> {
        let Phase::Connected(connected) = &mut self.phase else {
            return Ok(None);
        };
        let flow = &mut connected.flow;
        let limits = &self.limits;
        match packet {
            Packet::Publish(publish) => {
                check_publish(&publish, limits)?;
                let arrival = flow.on_publish(&publish, pool, now)?;
                if publish.delivery.packet_id().is_some() {
                    flow.check_backlog()?;
                }
                return Ok(arrival);
            }
            Packet::PubAck(ack) => {
                check_properties(&ack.properties, limits)?;
                flow.on_puback(ack, pool)?;
                // It asks for no answer.
                return Ok(None);
            }
            Packet::PubRec(ack) => {
                check_properties(&ack.properties, limits)?;
                flow.on_pubrec(ack, pool)?;
            }
            Packet::PubRel(ack) => {
                check_properties(&ack.properties, limits)?;
                flow.on_pubrel(&ack)?;
            }
            Packet::PubComp(ack) => {
                check_properties(&ack.properties, limits)?;
                flow.on_pubcomp(ack)?;
            }
            Packet::Subscribe(subscribe) => {
                check_properties(&subscribe.properties, limits)?;
                let names_itself = PropertyId::SubscriptionIdentifier;
                if subscribe.properties.contains(names_itself) && !limits.subscription_identifiers {
                    return Err(ProtocolError::SubscriptionIdentifiersNotSupported);
                }
                check_filters(subscribe.filters.len(), limits)?;
                let subscribe = Box::new(subscribe.to_shared());
                self.events.push_back(Event::SubscribeRequested(subscribe));
            }
            Packet::Unsubscribe(unsubscribe) => {
                check_properties(&unsubscribe.properties, limits)?;
                check_filters(unsubscribe.filters.len(), limits)?;
                let unsubscribe = Box::new(unsubscribe.to_shared());
                self.events
                    .push_back(Event::UnsubscribeRequested(unsubscribe));
            }
            Packet::PingReq => flow.pong(),
            Packet::Disconnect(disconnect) => {
                check_properties(&disconnect.properties, limits)?;
                self.on_disconnect(&disconnect)?;
                return Ok(None);
            }
            Packet::Auth(auth) => {
                check_properties(&auth.properties, limits)?;
                connected.authentication.on_client_step(&auth)?;
                self.events
                    .push_back(Event::AuthReceived(Box::new(auth.to_shared())));
            }
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => return Err(unexpected(&packet)),
        }
        connected.flow.check_backlog()?;
        Ok(None)
    }

    /// # Specification
    ///
    /// v5 MQTT-3.14.4-3; v5 U-06: an interval that may not be raised makes no valid DISCONNECT, so
    /// the will is published.
    fn on_disconnect<S: Storage>(
        &mut self,
        disconnect: &Disconnect<S>,
    ) -> Result<(), ProtocolError> {
        let Phase::Connected(connected) = &mut self.phase else {
            return Ok(());
        };
        if let Some(expiry) = disconnect.properties.session_expiry_interval() {
            if connected.requested_expiry == 0 && expiry > 0 {
                return Err(ProtocolError::SessionExpiryRaised);
            }
            connected.session_expiry = expiry.min(self.limits.session_expiry_max);
        }
        let is_goodbye = disconnect.reason_code == ReasonCode::Success;
        if is_goodbye && !fault::is_on(Fault::WillAfterGoodbye) {
            connected.will = None;
        }
        self.end(EndCause::ClientDisconnected(disconnect.reason_code), None);
        Ok(())
    }
}

/// A packet of many filters is much work in one go.
fn check_filters(filters: usize, limits: &Limits) -> Result<(), ProtocolError> {
    let maximum = limits.filters_per_packet_max;
    if u32::try_from(filters).is_ok_and(|filters| filters <= maximum) {
        return Ok(());
    }
    Err(ProtocolError::TooManyFilters { filters, maximum })
}

/// Checks what a server demands of a PUBLISH beyond its form.
///
/// # Specification
///
/// v5 MQTT-3.3.4-6; v5 U-14, v5 U-15.
fn check_publish<S: Storage>(publish: &Publish<S>, limits: &Limits) -> Result<(), ProtocolError> {
    check_properties(&publish.properties, limits)?;
    let qos = publish.delivery.qos();
    if qos > limits.maximum_qos {
        return Err(ProtocolError::QosNotSupported {
            qos,
            maximum: limits.maximum_qos,
        });
    }
    if publish.retain && !limits.retain_available {
        return Err(ProtocolError::RetainNotSupported);
    }
    let forwarded = PropertyId::SubscriptionIdentifier;
    if publish.properties.contains(forwarded) {
        return Err(ProtocolError::UnexpectedPacket {
            packet_type: PacketType::Publish,
        });
    }
    Ok(())
}
