//! Reads PUBLISH.

use super::primitive::{Parsed, Variable, complete, field, packet_id, read_variable};
use super::{Decoder, FrameHeader, Parser, Source, cause};
use crate::{
    DecodeError, DefaultStorage, Delivery, PacketType, Properties, PropertyId, PropertyScope,
    Publish, Storage, text,
};

/// A PUBLISH whose payload has not been read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublishHead<S: Storage = DefaultStorage> {
    /// The message; its payload is empty.
    pub publish: Publish<S>,
    /// How many bytes of payload follow.
    pub payload_len: usize,
}

const RETAIN: u8 = 0b0001;
const QOS: u8 = 0b0110;
const DUP: u8 = 0b1000;

/// What a PUBLISH is made of: checked, and not put together yet.
pub(super) struct Fields<'a, S: Storage> {
    pub(super) topic: &'a [u8],
    pub(super) delivery: Delivery,
    pub(super) properties: Properties<S>,
}

/// Returns the RETAIN flag.
pub(super) const fn is_retained(flags: u8) -> bool {
    flags & RETAIN != 0
}

impl<'a, I: Source<'a>> Parser<I> {
    /// Reads a PUBLISH.
    #[inline(always)]
    pub(super) fn publish(
        self,
        flags: u8,
        body: &'a [u8],
    ) -> Result<Publish<I::Storage>, DecodeError> {
        let (payload, fields) = self.fields(flags, body).map_err(cause)?;
        Ok(self.assemble(flags, fields, self.source.bytes(payload)))
    }

    /// Reads a head that is all there, fixed header included.
    pub(super) fn publish_head(
        self,
        header: FrameHeader,
        head: &'a [u8],
    ) -> Result<PublishHead<I::Storage>, DecodeError> {
        let flags = header.flags();
        let body = head.get(header.header_len()..).unwrap_or_default();
        let fields = complete(|body| self.fields(flags, body), body)?;
        Ok(PublishHead {
            publish: self.assemble(flags, fields, I::Storage::NO_BYTES),
            payload_len: header.total_len().saturating_sub(head.len()),
        })
    }

    /// Reads what precedes the payload, and returns the payload beside it.
    #[inline(always)]
    pub(super) fn fields(self, flags: u8, body: &'a [u8]) -> Parsed<'a, Fields<'a, I::Storage>> {
        let (body, topic) = field(body)?;
        let (body, delivery) = delivery(flags, body)?;
        let (body, properties) = self.properties(PropertyScope::Publish, body)?;
        self.check_publish_topic(topic, &properties)?;
        Ok((
            body,
            Fields {
                topic,
                delivery,
                properties,
            },
        ))
    }

    #[inline(always)]
    fn assemble(
        self,
        flags: u8,
        fields: Fields<'a, I::Storage>,
        payload: <I::Storage as Storage>::Bytes,
    ) -> Publish<I::Storage> {
        let Fields {
            topic,
            delivery,
            properties,
        } = fields;
        let topic = self.source.text(topic);
        Publish {
            delivery,
            retain: is_retained(flags),
            topic,
            properties,
            payload,
        }
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

impl Decoder {
    /// Reads the fixed header of a PUBLISH, or returns `None` if it is not all there or that of
    /// another packet.
    pub(super) fn publish_frame(&self, bytes: &[u8]) -> Result<Option<FrameHeader>, DecodeError> {
        let header = self.frame(bytes)?;
        Ok(header.filter(|header| header.packet_type() == PacketType::Publish))
    }

    /// Returns the length of the head of a PUBLISH, fixed header included, or `None` if it is not
    /// all there; refuses one that is larger than `head_max`.
    pub(super) fn publish_head_len(
        &self,
        header: FrameHeader,
        bytes: &[u8],
        head_max: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let there = bytes.get(header.header_len()..).unwrap_or_default();
        let body = there.get(..header.remaining_length()).unwrap_or(there);
        let head_len = self.body_head_len(header, body, head_max)?;
        Ok(head_len
            .filter(|head_len| *head_len <= body.len())
            .map(|head_len| header.header_len().saturating_add(head_len)))
    }

    /// Returns how much of the body of a PUBLISH precedes its payload, or `None` if what is there
    /// of it does not tell.
    fn body_head_len(
        &self,
        header: FrameHeader,
        body: &[u8],
        head_max: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let whole = header.remaining_length();
        let fits = |length: usize| {
            if length > whole {
                Err(truncated(length, whole))
            } else {
                Ok(length)
            }
        };
        let Some((topic_len, _)) = body.split_first_chunk() else {
            return fits(2).map(|_| None);
        };
        let packet_id_len = if header.flags() & QOS == 0 { 0 } else { 2 };
        let names = fits(usize::from(u16::from_be_bytes(*topic_len)).saturating_add(2))?;
        let names = fits(names.saturating_add(packet_id_len))?;
        check_size(header.header_len().saturating_add(names), head_max)?;
        if !self.version.has_properties() {
            return Ok(Some(names));
        }
        let after_names = body.get(names..).unwrap_or_default();
        match read_variable(after_names) {
            Variable::Value { value, rest, .. } => {
                let length_len = after_names.len().saturating_sub(rest.len());
                let block = usize::try_from(value).unwrap_or(usize::MAX);
                let head_len = fits(names.saturating_add(length_len).saturating_add(block))?;
                check_size(header.header_len().saturating_add(head_len), head_max)?;
                Ok(Some(head_len))
            }
            // What is there is wrong: the parser says so.
            Variable::TooLong => Ok(Some(body.len())),
            Variable::Incomplete => {
                fits(names.saturating_add(after_names.len()).saturating_add(1)).map(|_| None)
            }
        }
    }
}

/// Checks that a packet, or its head, is not larger than what may be buffered of it.
pub(super) fn check_size(size: usize, limit: usize) -> Result<(), DecodeError> {
    if size > limit {
        return Err(DecodeError::PacketTooLarge {
            size: u32::try_from(size).unwrap_or(u32::MAX),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        });
    }
    Ok(())
}

/// Says that fields of a length do not fit into a body.
fn truncated(needed: usize, available: usize) -> DecodeError {
    DecodeError::FieldTruncated {
        needed: u32::try_from(needed).unwrap_or(u32::MAX),
        available: u32::try_from(available).unwrap_or(u32::MAX),
    }
}
