//! What a session hands out to be encoded.

use alloc::vec::Vec;

use bytes::Bytes;
use mqttstack_codec::{
    Borrowed, Delivery, EncodeError, Packet, PacketType, Properties, PropertyError,
    ProtocolVersion, Publish, PublishParts, Shared, Sink, Utf8Bytes, Utf8Slice,
};
use mqttstack_limits::Instant;

use super::{
    alias::AliasUse,
    outbound::{DeliveryOptions, PublishToken, Queued},
};
use crate::{Message, MessagePool};

/// The next packet to send.
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived: it is encoded at once, and a CONNECT is sent once"
)]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outgoing {
    /// Any packet but a PUBLISH of an application message.
    Packet(Packet),
    /// A PUBLISH, in parts that are shared with other subscribers.
    Publish(OutgoingPublish),
}

impl Outgoing {
    /// Returns the type of the packet.
    #[must_use]
    pub fn packet_type(&self) -> PacketType {
        match self {
            Self::Packet(packet) => packet.packet_type(),
            Self::Publish(_) => PacketType::Publish,
        }
    }

    /// Appends the packet to `out`, but for a payload that is better sent by reference than copied;
    /// that payload is returned, to be sent right behind. `scratch` is overwritten.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the packet cannot be expressed in `version`; `out` is as it was.
    pub fn encode(
        &self,
        version: ProtocolVersion,
        scratch: &mut Vec<u8>,
        out: &mut impl Sink,
    ) -> Result<Option<&Bytes>, EncodeError> {
        match self {
            Self::Packet(packet) => packet.encode(version, out).map(|_| None),
            Self::Publish(publish) => {
                publish.parts(version, scratch)?.encode_head(version, out)?;
                append_payload(&publish.message, out)
            }
        }
    }

    /// Turns this into a packet of the codec; copies what is shared in parts.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the properties do not fit into a packet.
    pub fn into_packet(self, version: ProtocolVersion) -> Result<Packet, EncodeError> {
        match self {
            Self::Packet(packet) => Ok(packet),
            Self::Publish(publish) => publish.into_packet(version).map(Packet::Publish),
        }
    }
}

/// What [`server::Session::encode_next`](crate::server::Session::encode_next) has encoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Encoded {
    /// Any packet but a PUBLISH of an application message.
    Packet,
    /// A PUBLISH, but for the payload where there is one here: it is to be sent right behind.
    Publish(Option<Bytes>),
}

impl Encoded {
    /// Encodes a packet, and gives the memory of its message back.
    pub(crate) fn of(
        packet: Outgoing,
        version: ProtocolVersion,
        pool: &mut MessagePool,
        scratch: &mut Vec<u8>,
        out: &mut impl Sink,
    ) -> Result<Self, EncodeError> {
        let payload = packet.encode(version, scratch, out)?.cloned();
        Ok(match packet {
            Outgoing::Packet(_) => Self::Packet,
            Outgoing::Publish(publish) => {
                pool.put(publish.into_message());
                Self::Publish(payload)
            }
        })
    }
}

/// A PUBLISH of a shared [`Message`], with what belongs to this delivery alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutgoingPublish {
    token: PublishToken,
    message: Message,
    options: DeliveryOptions,
    delivery: Delivery,
    /// The Message Expiry Interval to send, in seconds.
    expiry_interval: Option<u32>,
    alias: Option<AliasUse>,
}

impl OutgoingPublish {
    pub(crate) fn new(queued: Queued, delivery: Delivery, now: Instant) -> Self {
        let Queued {
            token,
            message,
            options,
            expires_at,
        } = queued;
        Self {
            token,
            message,
            options,
            delivery,
            expiry_interval: expiry_interval(expires_at, now),
            alias: None,
        }
    }

    pub(crate) fn set_alias(&mut self, alias: Option<AliasUse>) {
        self.alias = alias;
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Returns the message, and drops what belongs to this delivery.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.message
    }

    /// Returns the name of the message within its session.
    #[must_use]
    pub fn token(&self) -> PublishToken {
        self.token
    }

    /// Returns QoS, Packet Identifier and DUP.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Returns the RETAIN flag.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.options.retain
    }

    /// Returns the size of the packet in bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if it is larger than the protocol can express.
    pub fn encoded_len(
        &self,
        version: ProtocolVersion,
        scratch: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        self.parts(version, scratch)?.encoded_len(version)
    }

    /// Returns the packet in parts, its per-hop properties in `scratch`, which is overwritten.
    fn parts<'a>(
        &'a self,
        version: ProtocolVersion,
        scratch: &'a mut Vec<u8>,
    ) -> Result<PublishParts<'a>, EncodeError> {
        let hop = Hop {
            delivery: self.delivery,
            options: &self.options,
            expiry_interval: self.expiry_interval,
            alias: self.alias,
        };
        hop.parts(&self.message, version, scratch)
    }

    fn into_packet(self, version: ProtocolVersion) -> Result<Publish<Shared>, EncodeError> {
        let topic_known = self.alias.is_some_and(|alias| alias.known);
        let properties = if version.has_properties() {
            let mut builder = Properties::builder();
            if let Some(seconds) = self.expiry_interval {
                builder = builder.message_expiry_interval(seconds);
            }
            if let Some(alias) = self.alias {
                builder = builder.topic_alias(alias.alias);
            }
            for id in self.options.subscription_ids.as_slice() {
                builder = builder.subscription_identifier(*id);
            }
            for property in self.message.properties().iter() {
                builder = builder.property(property);
            }
            builder.build().map_err(property_error)?
        } else {
            Properties::empty()
        };
        Ok(Publish {
            delivery: self.delivery,
            retain: self.options.retain,
            topic: Utf8Bytes::from(if topic_known {
                ""
            } else {
                self.message.topic()
            }),
            properties,
            payload: self.message.payload_bytes(),
        })
    }
}

/// What belongs to one delivery of a message.
struct Hop<'a> {
    delivery: Delivery,
    options: &'a DeliveryOptions,
    /// In seconds.
    expiry_interval: Option<u32>,
    alias: Option<AliasUse>,
}

impl Hop<'_> {
    /// Appends the packet; a payload that is better sent by reference is returned instead.
    fn encode<'a>(
        &self,
        message: &'a Message,
        version: ProtocolVersion,
        scratch: &mut Vec<u8>,
        out: &mut impl Sink,
    ) -> Result<Option<&'a Bytes>, EncodeError> {
        self.parts(message, version, scratch)?
            .encode_head(version, out)?;
        append_payload(message, out)
    }

    /// Returns the packet in parts, its per-hop properties in `scratch`, which is overwritten.
    fn parts<'a>(
        &self,
        message: &'a Message,
        version: ProtocolVersion,
        scratch: &'a mut Vec<u8>,
    ) -> Result<PublishParts<'a>, EncodeError> {
        let topic_known = self.alias.is_some_and(|alias| alias.known);
        let properties = if version.has_properties() {
            [self.properties(scratch)?, message.properties()]
        } else {
            [Properties::empty(), Properties::empty()]
        };
        Ok(PublishParts {
            delivery: self.delivery,
            retain: self.options.retain,
            topic: if topic_known {
                Utf8Slice::default()
            } else {
                message.topic_slice()
            },
            properties,
            payload_len: message.payload().len(),
        })
    }

    fn properties<'a>(
        &self,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Properties<Borrowed<'a>>, EncodeError> {
        let ids = self.options.subscription_ids.as_slice();
        if self.expiry_interval.is_none() && self.alias.is_none() && ids.is_empty() {
            return Ok(Properties::empty());
        }
        // Expiry takes 5 bytes, the alias 3, a Subscription Identifier at most 5.
        let size = ids.len().saturating_mul(5).saturating_add(8);
        scratch.clear();
        scratch.resize(size, 0);
        let mut builder = Properties::builder_in(scratch);
        if let Some(seconds) = self.expiry_interval {
            builder = builder.message_expiry_interval(seconds);
        }
        if let Some(alias) = self.alias {
            builder = builder.topic_alias(alias.alias);
        }
        for id in ids {
            builder = builder.subscription_identifier(*id);
        }
        builder.build().map_err(property_error)
    }
}

/// Appends a message that is sent as it waits, without an alias for its topic; returns a payload that
/// is better sent by reference.
pub(super) fn encode_queued(
    queued: &Queued,
    delivery: Delivery,
    version: ProtocolVersion,
    scratch: &mut Vec<u8>,
    out: &mut impl Sink,
    now: Instant,
) -> Result<Option<Bytes>, EncodeError> {
    let hop = Hop {
        delivery,
        options: &queued.options,
        expiry_interval: expiry_interval(queued.expires_at, now),
        alias: None,
    };
    let payload = hop.encode(&queued.message, version, scratch, out)?;
    Ok(payload.cloned())
}

/// Appends a small message that does not expire, at QoS 0 and without an alias for its topic.
pub(super) fn encode_fleeting(
    message: &Message,
    options: &DeliveryOptions,
    version: ProtocolVersion,
    scratch: &mut Vec<u8>,
    out: &mut impl Sink,
) -> Result<(), EncodeError> {
    let hop = Hop {
        delivery: Delivery::AtMostOnce,
        options,
        expiry_interval: None,
        alias: None,
    };
    hop.encode(message, version, scratch, out).map(|_| ())
}

/// Appends a payload, unless it is better sent by reference: then it is returned.
fn append_payload<'a>(
    message: &'a Message,
    out: &mut impl Sink,
) -> Result<Option<&'a Bytes>, EncodeError> {
    let shared = message.shared_payload();
    if shared.is_none() {
        let payload = message.payload();
        out.reserve(payload.len())?;
        out.append(payload);
    }
    Ok(shared)
}

/// Per-hop properties are valid one by one; together they may be too long, or too many.
fn property_error(error: PropertyError) -> EncodeError {
    match error {
        PropertyError::Invalid(error) => EncodeError::WouldBeRefused(error),
        PropertyError::ValueTooLong { length, .. } => EncodeError::FieldTooLong { length },
        PropertyError::BufferTooSmall { needed, available } => {
            EncodeError::BufferTooSmall { needed, available }
        }
        PropertyError::BlockTooLong { length } => EncodeError::PacketTooLong { length },
        _ => EncodeError::PacketTooLong { length: usize::MAX },
    }
}

/// Returns the whole seconds until a message expires, rounded up; `None` if it does not.
fn expiry_interval(expires_at: Instant, now: Instant) -> Option<u32> {
    if expires_at == Instant::NEVER {
        return None;
    }
    let left = expires_at - now;
    let seconds = left
        .as_secs()
        .saturating_add(u64::from(left.subsec_nanos() > 0));
    Some(u32::try_from(seconds).unwrap_or(u32::MAX))
}
