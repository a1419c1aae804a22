//! Reads PUBLISH.

use super::primitive::{Parsed, field, packet_id, rest};
use super::{Parser, Source, cause};
use crate::{DecodeError, Delivery, Properties, PropertyId, PropertyScope, Publish, Storage, text};

const RETAIN: u8 = 0b0001;
const QOS: u8 = 0b0110;
const DUP: u8 = 0b1000;

impl<'a, I: Source<'a>> Parser<I> {
    /// Reads a PUBLISH.
    #[inline]
    pub(super) fn publish(
        self,
        flags: u8,
        body: &'a [u8],
    ) -> Result<Publish<I::Storage>, DecodeError> {
        let (mut publish, payload) = self.publish_head(flags, body)?;
        publish.payload = self.source.bytes(payload);
        Ok(publish)
    }

    /// Reads a PUBLISH up to its payload, which is left empty and returned beside it.
    #[inline]
    pub(super) fn publish_head(
        self,
        flags: u8,
        body: &'a [u8],
    ) -> Result<(Publish<I::Storage>, &'a [u8]), DecodeError> {
        let (payload, publish) = self.head(flags, body).map_err(cause)?;
        let (_, payload) = rest(payload).map_err(cause)?;
        Ok((publish, payload))
    }

    #[inline]
    fn head(self, flags: u8, body: &'a [u8]) -> Parsed<'a, Publish<I::Storage>> {
        let (body, topic) = field(body)?;
        let (body, delivery) = delivery(flags, body)?;
        let (body, properties) = self.properties(PropertyScope::Publish, body)?;
        self.check_publish_topic(topic, &properties)?;
        let publish = Publish {
            delivery,
            retain: flags & RETAIN != 0,
            topic: self.source.text(topic),
            properties,
            payload: I::Storage::NO_BYTES,
        };
        Ok((body, publish))
    }

    /// Checks the Topic Name of a PUBLISH, which only a Topic Alias can replace.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.3.2-1, v5 MQTT-3.3.2-2, v5 U-19; v3.1.1 MQTT-3.3.2-1.
    #[inline]
    fn check_publish_topic(
        self,
        topic: &[u8],
        properties: &Properties<I::Storage>,
    ) -> Result<(), DecodeError> {
        if topic.is_empty() && self.decoder.version.has_properties() {
            return if properties.contains(PropertyId::TopicAlias) {
                Ok(())
            } else {
                Err(DecodeError::EmptyTopicWithoutAlias)
            };
        }
        text::check_topic_name(topic)?;
        self.check_policy(topic)
    }
}

/// Reads the Packet Identifier that QoS 1 and 2 have. The flags have been checked with the fixed
/// header.
#[inline]
fn delivery(flags: u8, input: &[u8]) -> Parsed<'_, Delivery> {
    if flags & QOS == 0 {
        return Ok((input, Delivery::AtMostOnce));
    }
    let (input, packet_id) = packet_id(input)?;
    let dup = flags & DUP != 0;
    let delivery = if flags & QOS == 0b0010 {
        Delivery::AtLeastOnce { packet_id, dup }
    } else {
        Delivery::ExactlyOnce { packet_id, dup }
    };
    Ok((input, delivery))
}
