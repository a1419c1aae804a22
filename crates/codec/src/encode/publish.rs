//! Writes PUBLISH, whole or up to its payload.

use super::{
    Body, Measure, Sink, Use, Write, append_header, append_properties, append_variable, header,
    properties_len, topic_len, two_byte_len,
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
        Measure.run(self, version)
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
        Write(out).run(self, version)
    }
}

impl<S: Storage> Body for Publish<S> {
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

    #[inline(always)]
    fn append_to(&self, version: ProtocolVersion, remaining: u32, out: &mut impl Sink) {
        let topic = S::text(&self.topic).as_bytes();
        append_names(self.delivery, self.retain, topic, remaining, out);
        append_properties(&self.properties, version, out);
        out.append(self.payload.as_ref());
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

    fn append_to(&self, version: ProtocolVersion, remaining: u32, out: &mut impl Sink) {
        let topic = self.topic.as_bytes();
        append_names(self.delivery, self.retain, topic, remaining, out);
        if version.has_properties() {
            let blocks = self.properties.each_ref().map(Properties::as_bytes);
            append_variable(blocks.iter().map(|block| block.len()).sum(), out);
            for block in blocks {
                out.append(block);
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

/// Appends what precedes the properties.
#[inline(always)]
fn append_names(
    delivery: Delivery,
    retain: bool,
    topic: &[u8],
    remaining: u32,
    out: &mut impl Sink,
) {
    let first = first_byte(delivery, retain);
    append_header(first, remaining, two_byte_len(topic), out);
    out.append(topic);
    if let Some(packet_id) = delivery.packet_id() {
        out.append(&packet_id.get().to_be_bytes());
    }
}

#[inline]
fn first_byte(delivery: Delivery, retain: bool) -> u8 {
    PacketType::Publish.first_byte()
        | delivery.qos().as_u8() << 1
        | u8::from(delivery.dup()) << 3
        | u8::from(retain)
}
