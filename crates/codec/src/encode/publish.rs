//! Writes PUBLISH, whole or up to its payload.

use super::{
    Body, Measure, Sink, Use, VARIABLE_MAX, Write, Writer, header, properties_len, remaining_len,
    topic_len,
};
use crate::{
    Borrowed, DecodeError, Delivery, EncodeError, PacketType, Properties, PropertyId,
    PropertyScope, ProtocolVersion, Publish, Storage, Utf8Slice,
};

/// A PUBLISH whose payload is sent from where it is, and whose properties come from two places.
///
/// A broker that forwards a message puts the properties that belong to the hop (Message Expiry
/// Interval, Topic Alias, Subscription Identifiers) before those that it keeps encoded with the
/// message. Nothing is copied to put them together, and nothing allocated.
///
/// # Examples
///
/// ```
/// use mqttstack_codec::{Delivery, Properties, ProtocolVersion, PublishParts, SliceSink};
///
/// let kept = Properties::builder().content_type("text/plain").build()?;
/// let mut hop = [0; 8];
/// let hop = Properties::builder_in(&mut hop).message_expiry_interval(30).build()?;
/// let payload = b"hello";
///
/// let parts = PublishParts {
///     delivery: Delivery::AtMostOnce,
///     retain: false,
///     topic: "a/b".into(),
///     properties: [hop, kept.as_ref()],
///     payload_len: payload.len(),
/// };
/// let mut head = [0; 64];
/// let mut out = SliceSink::new(&mut head);
/// parts.encode_head(ProtocolVersion::V5, &mut out)?;
/// assert_eq!(out.written().len() + payload.len(), parts.encoded_len(ProtocolVersion::V5)?);
/// // Now write `out.written()` and then `payload`.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublishParts<'a> {
    /// The QoS, Packet Identifier and DUP flag.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// The Topic Name; empty only in 5.0 beside a Topic Alias.
    pub topic: Utf8Slice<'a>,
    /// The properties: those of the second block follow those of the first.
    pub properties: [Properties<Borrowed<'a>>; 2],
    /// The length of the payload in bytes.
    pub payload_len: usize,
}

impl PublishParts<'_> {
    /// Returns how many bytes the packet takes, payload included.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`encode_head`](Self::encode_head).
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        Measure.run(self, version)
    }

    /// Writes all of the packet that precedes the payload, and returns how many bytes that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: the packet is one that a decoder would refuse, it cannot be said in this
    /// version, or the head does not fit into the sink. Nothing has been written.
    pub fn encode_head(
        &self,
        version: ProtocolVersion,
        out: &mut impl Sink,
    ) -> Result<usize, EncodeError> {
        Write(out).run(self, version)
    }
}

impl<S: Storage> Publish<S> {
    /// Returns how many bytes the packet takes when it is encoded.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`encode`](Self::encode).
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        let (header_len, remaining) = header(self.measure(version)?)?;
        Ok(remaining_len(remaining).saturating_add(header_len))
    }

    /// Writes the packet, all of it or nothing, and returns how many bytes that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: the packet is one that a decoder would refuse, it cannot be said in this
    /// version, or it does not fit into the sink.
    #[inline]
    pub fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl Sink,
    ) -> Result<usize, EncodeError> {
        let (header_len, remaining) = header(self.measure(version)?)?;
        let written = remaining_len(remaining).saturating_add(header_len);
        out.reserve(written)?;
        self.append_to(version, remaining, out);
        Ok(written)
    }

    /// Checks everything that could be wrong, and returns the Remaining Length.
    #[inline]
    fn measure(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        let properties = properties_len(
            &self.properties,
            PropertyScope::Publish,
            PacketType::Publish,
            version,
        )?;
        let has_alias = self.properties.contains(PropertyId::TopicAlias);
        let topic = S::text(&self.topic).as_bytes();
        let head = head_len(self.delivery, topic, has_alias, version)?;
        Ok(head
            .saturating_add(properties)
            .saturating_add(self.payload.as_ref().len()))
    }

    /// Appends the packet in as few pieces as it has: what is many times the most frequent packet
    /// is worth a way of its own.
    #[inline(always)]
    fn append_to(&self, version: ProtocolVersion, remaining: u32, out: &mut impl Sink) {
        let first = first_byte(self.delivery, self.retain);
        let topic = S::text(&self.topic).as_bytes();
        // The length has been checked.
        let [high, low] = u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes();
        match variable(remaining) {
            Variable::One([a]) => out.append(&[first, a, high, low]),
            Variable::Two([a, b]) => out.append(&[first, a, b, high, low]),
            Variable::Three([a, b, c]) => out.append(&[first, a, b, c, high, low]),
            Variable::Four([a, b, c, d]) => out.append(&[first, a, b, c, d, high, low]),
        }
        out.append(topic);
        if let Some(packet_id) = self.delivery.packet_id() {
            out.append(&packet_id.get().to_be_bytes());
        }
        if version.has_properties() {
            let block = self.properties.as_bytes();
            match variable(u32::try_from(block.len()).unwrap_or(VARIABLE_MAX)) {
                Variable::One(length) => out.append(&length),
                Variable::Two(length) => out.append(&length),
                Variable::Three(length) => out.append(&length),
                Variable::Four(length) => out.append(&length),
            }
            if !block.is_empty() {
                out.append(block);
            }
        }
        out.append(self.payload.as_ref());
    }
}

/// A Variable Byte Integer in its shortest form.
enum Variable {
    One([u8; 1]),
    Two([u8; 2]),
    Three([u8; 3]),
    Four([u8; 4]),
}

#[inline(always)]
fn variable(value: u32) -> Variable {
    let digit = |shift: u32| (value >> shift & 0x7F).to_le_bytes()[0];
    match value {
        0..=0x7F => Variable::One([digit(0)]),
        0x80..=0x3FFF => Variable::Two([digit(0) | 0x80, digit(7)]),
        0x4000..=0x1F_FFFF => Variable::Three([digit(0) | 0x80, digit(7) | 0x80, digit(14)]),
        _ => Variable::Four([
            digit(0) | 0x80,
            digit(7) | 0x80,
            digit(14) | 0x80,
            digit(21),
        ]),
    }
}

impl Body for PublishParts<'_> {
    fn measure(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        let [first, second] = &self.properties;
        let mut properties = 0_usize;
        for block in [first, second] {
            // Each with a length of its own, which is corrected below.
            properties_len(block, PropertyScope::Publish, PacketType::Publish, version)?;
            properties = properties.saturating_add(block.as_bytes().len());
        }
        if version.has_properties() {
            first.check_together(second)?;
            let (with_length, _) = header(properties)?;
            properties = properties.saturating_add(with_length).saturating_sub(1);
        }
        let has_alias =
            first.contains(PropertyId::TopicAlias) || second.contains(PropertyId::TopicAlias);
        let head = head_len(self.delivery, self.topic.as_bytes(), has_alias, version)?;
        Ok(head
            .saturating_add(properties)
            .saturating_add(self.payload_len))
    }

    fn first_byte(&self) -> u8 {
        first_byte(self.delivery, self.retain)
    }

    fn write(&self, version: ProtocolVersion, out: &mut Writer<'_>) {
        write_head(self.delivery, self.topic.as_bytes(), out);
        if version.has_properties() {
            let blocks = self.properties.each_ref().map(Properties::as_bytes);
            let length = blocks.iter().map(|block| block.len()).sum::<usize>();
            out.variable(u32::try_from(length).unwrap_or(VARIABLE_MAX));
            for block in blocks {
                out.bytes(block);
            }
        }
    }

    fn payload_elsewhere(&self) -> usize {
        self.payload_len
    }
}

/// Checks topic and delivery, and returns how many bytes they take.
///
/// # Specification
///
/// v5 MQTT-2.2.1-2, v5 MQTT-3.3.2-2, v5 U-19; v3.1.1 MQTT-2.3.1-5, v3.1.1 MQTT-3.3.2-2.
#[inline]
fn head_len(
    delivery: Delivery,
    topic: &[u8],
    has_alias: bool,
    version: ProtocolVersion,
) -> Result<usize, EncodeError> {
    let topic = if !topic.is_empty() || !version.has_properties() {
        topic_len(topic)?
    } else if has_alias {
        2
    } else {
        return Err(DecodeError::EmptyTopicWithoutAlias.into());
    };
    let packet_id = match delivery {
        Delivery::AtMostOnce => 0,
        Delivery::AtLeastOnce { .. } | Delivery::ExactlyOnce { .. } => 2,
    };
    Ok(topic.saturating_add(packet_id))
}

#[inline]
fn write_head(delivery: Delivery, topic: &[u8], out: &mut Writer<'_>) {
    out.field(topic);
    match delivery {
        Delivery::AtMostOnce => {}
        Delivery::AtLeastOnce { packet_id, .. } | Delivery::ExactlyOnce { packet_id, .. } => {
            out.two_bytes(packet_id.get());
        }
    }
}

#[inline]
fn first_byte(delivery: Delivery, retain: bool) -> u8 {
    PacketType::Publish.first_byte()
        | delivery.qos().as_u8() << 1
        | u8::from(delivery.dup()) << 3
        | u8::from(retain)
}
