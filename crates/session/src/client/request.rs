//! SUBSCRIBE and UNSUBSCRIBE: what the application asks of the server.

use mqttstack_codec::{
    EncodeError, Packet, PacketId, Properties, PropertyId, Shared, Subscribe, SubscribeFilters,
    Unsubscribe, UnsubscribeFilters,
};

use super::{Phase, ServerCapabilities, Session};
use crate::{PublishToken, flow::Awaited};

/// Why a SUBSCRIBE or UNSUBSCRIBE was not sent; nothing has changed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// There is no connection.
    #[error("not connected")]
    NotConnected,
    /// Every Packet Identifier is in use.
    #[error("all 65,535 packet identifiers are in use")]
    NoPacketId,
    /// The request cannot be expressed, or the server would refuse it.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The server announced that it takes no filters with wildcards.
    #[error("the server takes no filters with wildcards")]
    WildcardsNotSupported,
    /// The server announced that it takes no shared subscriptions.
    #[error("the server takes no shared subscriptions")]
    SharedSubscriptionsNotSupported,
    /// The server announced that it takes no Subscription Identifiers.
    #[error("the server takes no subscription identifiers")]
    SubscriptionIdentifiersNotSupported,
    /// The packet would exceed the server's Maximum Packet Size.
    #[error("packet of {size} bytes exceeds the server's maximum of {maximum}")]
    PacketTooLarge {
        /// The size of the packet.
        size: u64,
        /// The server's Maximum Packet Size.
        maximum: u32,
    },
}

impl Session {
    /// Asks for subscriptions.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: nothing was sent.
    ///
    /// # Specification
    ///
    /// v5 MQTT-2.2.1-3, v5 MQTT-3.2.2-15, v5 MQTT-3.3.4-8; v3.1.1 MQTT-2.3.1-2.
    pub fn subscribe(
        &mut self,
        filters: SubscribeFilters<Shared>,
        properties: Properties<Shared>,
    ) -> Result<PublishToken, RequestError> {
        if let Some(server) = self.server() {
            check(&server, &filters, &properties)?;
        }
        let count = filters.len();
        self.request(
            |token| Awaited::SubAck {
                token,
                filters: count,
            },
            |packet_id| {
                Packet::Subscribe(Subscribe {
                    packet_id,
                    properties,
                    filters,
                })
            },
        )
    }

    /// Ends subscriptions.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: nothing was sent.
    ///
    /// # Specification
    ///
    /// v5 MQTT-2.2.1-3, v5 MQTT-3.2.2-15, v5 MQTT-3.3.4-8; v3.1.1 MQTT-2.3.1-2.
    pub fn unsubscribe(
        &mut self,
        filters: UnsubscribeFilters<Shared>,
        properties: Properties<Shared>,
    ) -> Result<PublishToken, RequestError> {
        let count = filters.len();
        self.request(
            |token| Awaited::UnsubAck {
                token,
                filters: count,
            },
            |packet_id| {
                Packet::Unsubscribe(Unsubscribe {
                    packet_id,
                    properties,
                    filters,
                })
            },
        )
    }

    fn request(
        &mut self,
        exchange: impl FnOnce(PublishToken) -> Awaited,
        packet: impl FnOnce(PacketId) -> Packet,
    ) -> Result<PublishToken, RequestError> {
        let Phase::Connected(connected) = &mut self.phase else {
            return Err(RequestError::NotConnected);
        };
        let flow = &mut connected.flow;
        let token = flow.state.outbound.next_token();
        let packet_id = flow
            .begin_request(exchange(token))
            .ok_or(RequestError::NoPacketId)?;
        let packet = packet(packet_id);
        let maximum = connected.server.packet_size_max;
        let refused = match packet.encoded_len(flow.version()) {
            Err(error) => Some(RequestError::Encode(error)),
            Ok(size) => {
                let size = u64::try_from(size).unwrap_or(u64::MAX);
                (size > u64::from(maximum))
                    .then_some(RequestError::PacketTooLarge { size, maximum })
            }
        };
        if let Some(error) = refused {
            flow.cancel_request(packet_id);
            return Err(error);
        }
        flow.respond(packet);
        Ok(token)
    }
}

/// Checks what the server would answer with an error.
fn check(
    server: &ServerCapabilities,
    filters: &SubscribeFilters<Shared>,
    properties: &Properties<Shared>,
) -> Result<(), RequestError> {
    let identified = properties.contains(PropertyId::SubscriptionIdentifier);
    if identified && !server.subscription_identifiers {
        return Err(RequestError::SubscriptionIdentifiersNotSupported);
    }
    for subscription in filters.iter() {
        if !server.wildcard_subscriptions && subscription.filter.contains(['+', '#']) {
            return Err(RequestError::WildcardsNotSupported);
        }
        if !server.shared_subscriptions && subscription.filter.starts_with("$share/") {
            return Err(RequestError::SharedSubscriptionsNotSupported);
        }
    }
    Ok(())
}
