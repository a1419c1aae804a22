//! Packets to bytes.

mod connect;
mod control;
mod publish;
mod single;
mod sink;
mod writer;

pub use publish::PublishParts;
pub use sink::{Sink, SliceSink};
pub(crate) use writer::{VARIABLE_MAX, Writer, variable_len};

use writer::{Variable, variable};

use crate::{
    EncodeError, Packet, PacketType, Properties, PropertyScope, ProtocolVersion, Storage, text,
};

impl<S: Storage> Packet<S> {
    /// Returns how many bytes the packet takes when it is encoded.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`encode`](Self::encode).
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.with_body(version, Measure)
    }

    /// Writes the packet, all of it or nothing, and returns how many bytes that took.
    ///
    /// Acknowledgements, DISCONNECT and AUTH take their shortest form. Apart from these, from
    /// fields that MQTT 3.1 leaves out, and from the reserved bits of MQTT 3.1, a packet that has
    /// been decoded is written as it came.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: the packet is one that a decoder would refuse, it cannot be said in this
    /// version, or it does not fit into the sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqttstack_codec::{PacketRef, ProtocolVersion, Publish, SliceSink};
    ///
    /// let packet = PacketRef::Publish(Publish::new("a/b", &b"hi"[..]));
    /// let mut buffer = [0; 16];
    /// let mut out = SliceSink::new(&mut buffer);
    /// packet.encode(ProtocolVersion::V311, &mut out)?;
    /// assert_eq!(out.written(), [0x30, 7, 0, 3, b'a', b'/', b'b', b'h', b'i']);
    /// # Ok::<(), mqttstack_codec::EncodeError>(())
    /// ```
    pub fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl Sink,
    ) -> Result<usize, EncodeError> {
        // The way that most packets take is the shortest.
        if let Self::Publish(publish) = self {
            return publish.encode(version, out);
        }
        self.with_body(version, Write(out))
    }

    fn with_body<U: Use>(&self, version: ProtocolVersion, user: U) -> Result<usize, EncodeError> {
        let packet_type = self.packet_type();
        match self {
            Self::Connect(connect) => user.run(connect, version),
            Self::ConnAck(connack) => user.run(connack, version),
            Self::Publish(publish) => user.run(publish, version),
            Self::PubAck(ack) => user.run(&ack.body(packet_type, PropertyScope::PubAck), version),
            Self::PubRec(ack) => user.run(&ack.body(packet_type, PropertyScope::PubRec), version),
            Self::PubRel(ack) => user.run(&ack.body(packet_type, PropertyScope::PubRel), version),
            Self::PubComp(ack) => user.run(&ack.body(packet_type, PropertyScope::PubComp), version),
            Self::Subscribe(subscribe) => user.run(&subscribe.body(version)?, version),
            Self::SubAck(suback) => user.run(&suback.body(version)?, version),
            Self::Unsubscribe(unsubscribe) => user.run(&unsubscribe.body(version)?, version),
            Self::UnsubAck(unsuback) => user.run(&unsuback.body(version)?, version),
            Self::PingReq | Self::PingResp => user.run(&control::Ping(packet_type), version),
            Self::Disconnect(disconnect) => user.run(&disconnect.body(), version),
            Self::Auth(auth) => user.run(&auth.body(), version),
        }
    }
}

/// What can be encoded.
trait Body {
    /// Checks everything that could be wrong, and returns the Remaining Length.
    fn measure(&self, version: ProtocolVersion) -> Result<usize, EncodeError>;

    /// Appends the packet in as few pieces as it has, to a sink that has room for it.
    fn append_to(&self, version: ProtocolVersion, remaining: u32, out: &mut impl Sink);

    /// Returns how much of the Remaining Length belongs to a payload that this packet does not hold.
    fn payload_elsewhere(&self) -> usize {
        0
    }
}

/// What is done with a body.
trait Use {
    fn run(self, body: &impl Body, version: ProtocolVersion) -> Result<usize, EncodeError>;
}

struct Measure;

impl Use for Measure {
    fn run(self, body: &impl Body, version: ProtocolVersion) -> Result<usize, EncodeError> {
        let (header_len, remaining) = header(body.measure(version)?)?;
        Ok(remaining_len(remaining).saturating_add(header_len))
    }
}

struct Write<'o, K>(&'o mut K);

impl<K: Sink> Use for Write<'_, K> {
    #[inline]
    fn run(self, body: &impl Body, version: ProtocolVersion) -> Result<usize, EncodeError> {
        let Self(out) = self;
        let (header_len, remaining) = header(body.measure(version)?)?;
        let total = remaining_len(remaining).saturating_add(header_len);
        let written = total.saturating_sub(body.payload_elsewhere());
        out.reserve(written)?;
        body.append_to(version, remaining, out);
        Ok(written)
    }
}

/// Returns the length of the fixed header and the Remaining Length.
#[inline]
fn header(remaining: usize) -> Result<(usize, u32), EncodeError> {
    match u32::try_from(remaining) {
        Ok(length) if length <= VARIABLE_MAX => {
            Ok((variable_len(length).saturating_add(1), length))
        }
        _ => Err(EncodeError::PacketTooLong { length: remaining }),
    }
}

#[inline]
fn remaining_len(remaining: u32) -> usize {
    usize::try_from(remaining).unwrap_or(usize::MAX)
}

/// Checks the properties of a packet and returns how many bytes they take with their length; none
/// in 3.x, which must not have any.
#[inline(always)]
fn properties_len<S: Storage>(
    properties: &Properties<S>,
    scope: PropertyScope,
    packet_type: PacketType,
    version: ProtocolVersion,
) -> Result<usize, EncodeError> {
    if !version.has_properties() {
        return if properties.is_empty() {
            Ok(0)
        } else {
            Err(EncodeError::PropertiesNotInVersion { packet_type })
        };
    }
    properties.check_scope(scope)?;
    let length = properties.as_bytes().len();
    let (with_length, _) = header(length)?;
    // A fixed header is a byte longer than the length field alone.
    Ok(length.saturating_add(with_length).saturating_sub(1))
}

/// Appends the fixed header, and the two bytes that follow it in most packets: a length or a Packet
/// Identifier.
#[inline(always)]
fn append_header(first: u8, remaining: u32, next: u16, out: &mut impl Sink) {
    let [high, low] = next.to_be_bytes();
    match variable(remaining) {
        Variable::One([a]) => out.append(&[first, a, high, low]),
        Variable::Two([a, b]) => out.append(&[first, a, b, high, low]),
        Variable::Three([a, b, c]) => out.append(&[first, a, b, c, high, low]),
        Variable::Four([a, b, c, d]) => out.append(&[first, a, b, c, d, high, low]),
    }
}

/// Appends the properties of a packet with their length; nothing in 3.x.
#[inline(always)]
fn append_properties<S: Storage>(
    properties: &Properties<S>,
    version: ProtocolVersion,
    out: &mut impl Sink,
) {
    if version.has_properties() {
        let block = properties.as_bytes();
        append_variable(block.len(), out);
        if !block.is_empty() {
            out.append(block);
        }
    }
}

/// Appends a length that has been checked, as a Variable Byte Integer.
#[inline(always)]
fn append_variable(length: usize, out: &mut impl Sink) {
    match variable(u32::try_from(length).unwrap_or(VARIABLE_MAX)) {
        Variable::One(bytes) => out.append(&bytes),
        Variable::Two(bytes) => out.append(&bytes),
        Variable::Three(bytes) => out.append(&bytes),
        Variable::Four(bytes) => out.append(&bytes),
    }
}

/// Appends a field with its length, which has been checked.
#[inline(always)]
fn append_field(field: &[u8], out: &mut impl Sink) {
    out.append(&two_byte_len(field).to_be_bytes());
    out.append(field);
}

/// Returns the length of a field, which has been checked.
#[inline(always)]
fn two_byte_len(field: &[u8]) -> u16 {
    u16::try_from(field.len()).unwrap_or(u16::MAX)
}

/// Returns how many bytes a binary field takes.
#[inline(always)]
fn field_len(field: &[u8]) -> Result<usize, EncodeError> {
    if field.len() > usize::from(u16::MAX) {
        return Err(EncodeError::FieldTooLong {
            length: field.len(),
        });
    }
    Ok(field.len().saturating_add(2))
}

/// Checks a text field and returns how many bytes it takes.
#[inline(always)]
fn text_len(field: &[u8]) -> Result<usize, EncodeError> {
    text::check_text(field)?;
    field_len(field)
}

/// Checks a Topic Name and returns how many bytes it takes.
#[inline(always)]
fn topic_len(topic: &[u8]) -> Result<usize, EncodeError> {
    text::check_topic_name(topic)?;
    field_len(topic)
}
