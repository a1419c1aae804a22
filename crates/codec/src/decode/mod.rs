//! Bytes to packets.

mod connect;
mod control;
mod frame;
mod header;
pub(crate) mod primitive;
mod publish;
mod source;
#[cfg(feature = "alloc")]
mod stream;

pub use frame::Frame;
pub use header::FrameHeader;
pub use publish::PublishHead;
pub(crate) use source::{Borrow, Source};
#[cfg(feature = "alloc")]
pub use stream::{StreamDecoder, StreamItem};

use primitive::{Fault, complete};

use crate::{
    Borrowed, DecodeError, Packet, PacketRef, PacketType, Properties, PropertyScope,
    ProtocolVersion, Sender, text,
};

/// How bytes are read: the version, who sent them, and the largest packet that is taken.
///
/// A small value that is copied around; what changes between packets is only the version, which
/// the CONNECT of the connection tells.
///
/// # Examples
///
/// ```
/// use mqttstack_codec::{Decoder, Packet, ProtocolVersion, Sender};
///
/// let decoder = Decoder::new().with_version(ProtocolVersion::V311).with_sender(Sender::Client);
/// let bytes = [0x30, 0x07, 0x00, 0x03, b'a', b'/', b'b', b'h', b'i'];
/// let Some((Packet::Publish(publish), 9)) = decoder.decode_ref(&bytes)? else { panic!() };
/// assert_eq!(publish.topic, "a/b");
/// assert_eq!(publish.payload, b"hi");
///
/// // A part of a packet is no error.
/// assert_eq!(decoder.decode_ref(&bytes[..5])?, None);
/// # Ok::<(), mqttstack_codec::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Decoder {
    /// The version of the connection. A CONNECT is read by the version that it names itself, but for
    /// its first byte, which comes before.
    pub version: ProtocolVersion,
    /// The largest packet that is taken: bytes, fixed header included. A larger one is refused as
    /// soon as its fixed header is there. Default: 268,435,460, which is all that the protocol
    /// can say.
    pub packet_size_max: u32,
    /// Who sent the bytes. Default: not known, either side may have.
    pub sender: Sender,
    /// Whether control characters and non-characters are refused in Topic Names and Topic Filters
    /// (v5 U-01; X311-1.5.3-a). Default: no.
    pub refuse_discouraged: bool,
}

/// The size of the largest packet that a fixed header can describe.
pub(crate) const PACKET_SIZE_MAX: u32 = 268_435_460;

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Returns a decoder for MQTT 5.0 with the defaults of the fields.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            version: ProtocolVersion::V5,
            packet_size_max: PACKET_SIZE_MAX,
            sender: Sender::Any,
            refuse_discouraged: false,
        }
    }

    /// Returns the decoder with another version.
    #[must_use]
    pub const fn with_version(self, version: ProtocolVersion) -> Self {
        Self { version, ..self }
    }

    /// Returns the decoder with another limit on the size of packets.
    #[must_use]
    pub const fn with_packet_size_max(self, packet_size_max: u32) -> Self {
        Self {
            packet_size_max,
            ..self
        }
    }

    /// Returns the decoder for bytes of the sender.
    #[must_use]
    pub const fn with_sender(self, sender: Sender) -> Self {
        Self { sender, ..self }
    }

    /// Returns the decoder with another policy for control characters and non-characters in
    /// topics.
    #[must_use]
    pub const fn with_refuse_discouraged(self, refuse_discouraged: bool) -> Self {
        Self {
            refuse_discouraged,
            ..self
        }
    }

    /// Reads a fixed header, or returns `None` if it is not all there.
    ///
    /// What can be told from the bytes at hand is told at once: a wrong first byte does not wait
    /// for the length, and a packet over the limit does not wait for its body.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: a packet type or flags that cannot be, a direction that is not the
    /// sender's, a length that is ill-formed, cannot be, or is over the limit.
    ///
    /// # Specification
    ///
    /// v5 MQTT-2.1.3-1, v5 MQTT-3.3.1-2, v5 MQTT-3.3.1-4, v5 U-13; v3.1.1 MQTT-2.2.2-2;
    /// X311-2.2.1-a, X311-2.2.3-a; V31-dup, V31-reserved.
    #[inline(always)]
    pub fn frame(&self, bytes: &[u8]) -> Result<Option<FrameHeader>, DecodeError> {
        FrameHeader::read(*self, bytes)
    }

    /// Decodes the first packet, or returns `None` if it is not all there; also returns how many
    /// bytes it takes.
    ///
    /// The packet borrows from the bytes; nothing is copied or allocated.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], which says what answers it.
    #[inline]
    pub fn decode_ref<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<Option<(PacketRef<'a>, usize)>, DecodeError> {
        let Some((header, body)) = self.split(bytes)? else {
            return Ok(None);
        };
        let parser = Parser {
            decoder: *self,
            source: source::Borrow,
        };
        // Two ways that do not meet: a packet that is put together here is not copied again.
        if header.packet_type() == PacketType::Publish {
            return match parser.publish(header.flags(), body) {
                Ok(publish) => Ok(Some((Packet::Publish(publish), header.total_len()))),
                Err(error) => Err(error),
            };
        }
        match parser.packet(header, body) {
            Ok(packet) => Ok(Some((packet, header.total_len()))),
            Err(error) => Err(error),
        }
    }

    /// Finds the first packet, or returns `None` if it is not all there, and reads it no further: as
    /// [`decode_ref`](Self::decode_ref), for those who expect few types of packets and link only
    /// their parsers.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`frame`](Self::frame).
    ///
    /// # Examples
    ///
    /// ```
    /// use mqttstack_codec::{Decoder, Sender};
    ///
    /// let decoder = Decoder::new().with_sender(Sender::Server);
    /// let bytes = [0x40, 0x02, 0x00, 0x07, 0xD0];
    /// let frame = decoder.split_ref(&bytes)?.expect("a whole packet is there");
    /// assert_eq!(frame.total_len(), 4);
    /// assert_eq!(frame.connack()?, None);
    /// assert_eq!(frame.puback()?.map(|ack| ack.packet_id.get()), Some(7));
    /// # Ok::<(), mqttstack_codec::DecodeError>(())
    /// ```
    #[inline]
    pub fn split_ref<'a>(&self, bytes: &'a [u8]) -> Result<Option<Frame<'a>>, DecodeError> {
        let frame = self.split(bytes)?;
        Ok(frame.map(|(header, body)| Frame::new(*self, header, body)))
    }

    /// Returns the version that a CONNECT names, if its first bytes say one, whatever else is
    /// wrong with it: for a server that wants to answer in a form that the client can read.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqttstack_codec::{Decoder, ProtocolVersion};
    ///
    /// let cut_short = [0x10, 0x7F, 0x00, 0x04, b'M', b'Q', b'T', b'T', 0x05];
    /// assert_eq!(Decoder::connect_version(&cut_short), Some(ProtocolVersion::V5));
    /// ```
    #[must_use]
    pub fn connect_version(bytes: &[u8]) -> Option<ProtocolVersion> {
        let (first, after) = bytes.split_first()?;
        if first >> 4 != PacketType::Connect.as_u8() {
            return None;
        }
        let length_len = after.iter().take(4).position(|byte| byte & 0x80 == 0)?;
        let body = after.get(length_len.checked_add(1)?..)?;
        let (_, (version, _)) = connect::version(body).ok()?;
        Some(version)
    }

    /// Decodes the head of a PUBLISH, which is all but its payload, or returns `None` if that is
    /// not all there or the bytes begin with another packet; also returns how many bytes it takes.
    ///
    /// The payload need not be there. This reads messages that are larger than the memory there
    /// is for them.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], which says what answers it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqttstack_codec::{Decoder, ProtocolVersion};
    ///
    /// let decoder = Decoder::new().with_version(ProtocolVersion::V311);
    /// let arrived = [0x30, 0xFF, 0xFF, 0x7F, 0x00, 0x01, b't', 0x2A, 0x2A];
    /// let (head, length) = decoder.decode_publish_head_ref(&arrived)?.expect("it is all there");
    /// assert_eq!(head.publish.topic, "t");
    /// assert_eq!((head.payload_len, length), (2_097_148, 7));
    /// # Ok::<(), mqttstack_codec::DecodeError>(())
    /// ```
    pub fn decode_publish_head_ref<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<Option<(PublishHead<Borrowed<'a>>, usize)>, DecodeError> {
        let Some(header) = self.publish_frame(bytes)? else {
            return Ok(None);
        };
        let Some(head_len) = self.publish_head_len(header, bytes, usize::MAX)? else {
            return Ok(None);
        };
        let parser = Parser {
            decoder: *self,
            source: source::Borrow,
        };
        let head = bytes.get(..head_len).unwrap_or_default();
        Ok(Some((parser.publish_head(header, head)?, head_len)))
    }

    /// Returns the fixed header and body of the first packet, or `None` if it is not all there.
    #[inline(always)]
    fn split<'a>(&self, bytes: &'a [u8]) -> Result<Option<(FrameHeader, &'a [u8])>, DecodeError> {
        let Some(header) = self.frame(bytes)? else {
            return Ok(None);
        };
        let body = bytes.get(header.header_len()..header.total_len());
        Ok(body.map(|body| (header, body)))
    }
}

#[cfg(feature = "alloc")]
mod shared {
    //! The owned face: packets that share the buffer they came in.

    use bytes::{Buf, Bytes, BytesMut};

    use super::{
        Decoder, FrameHeader, Parser, PublishHead, Source as _, cause, publish, source::Share,
    };
    use crate::{DecodeError, Packet, PacketType, Publish};

    impl Decoder {
        /// Takes the first packet off the buffer, or returns `None` if it is not all there.
        ///
        /// The packet shares the memory of the buffer, but for texts of up to 38 bytes, which are
        /// copied into it; a PUBLISH allocates nothing. On an error what is left in the buffer is not specified: the connection is
        /// over.
        ///
        /// # Errors
        ///
        /// [`DecodeError`], which says what answers it.
        pub fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
            let Some(header) = self.frame(buffer)? else {
                return Ok(None);
            };
            if buffer.len() < header.total_len() {
                return Ok(None);
            }
            self.decode_frame(header, buffer.split_to(header.total_len()).freeze())
        }

        /// Takes the first packet off the bytes, or returns `None` if it is not all there.
        ///
        /// As [`decode`](Self::decode), for bytes that do not change any more.
        ///
        /// # Errors
        ///
        /// [`DecodeError`], which says what answers it.
        pub fn decode_bytes(&self, bytes: &mut Bytes) -> Result<Option<Packet>, DecodeError> {
            let Some(header) = self.frame(bytes)? else {
                return Ok(None);
            };
            if bytes.len() < header.total_len() {
                return Ok(None);
            }
            self.decode_frame(header, bytes.split_to(header.total_len()))
        }

        /// Takes the head of a PUBLISH, which is all but its payload, off the buffer, or returns
        /// `None` if it is not all there or the buffer begins with another packet.
        ///
        /// As [`decode_publish_head_ref`](Self::decode_publish_head_ref); the payload is what the
        /// buffer begins with afterwards, as far as it is there.
        ///
        /// # Errors
        ///
        /// [`DecodeError`], which says what answers it.
        pub fn decode_publish_head(
            &self,
            buffer: &mut BytesMut,
        ) -> Result<Option<PublishHead>, DecodeError> {
            match self.publish_frame(buffer)? {
                Some(header) => self.take_publish_head(header, buffer, usize::MAX),
                None => Ok(None),
            }
        }

        /// Takes the head of the PUBLISH that the buffer begins with off it, unless the head is
        /// larger than `head_max`.
        pub(super) fn take_publish_head(
            &self,
            header: FrameHeader,
            buffer: &mut BytesMut,
            head_max: usize,
        ) -> Result<Option<PublishHead>, DecodeError> {
            let Some(head_len) = self.publish_head_len(header, buffer, head_max)? else {
                return Ok(None);
            };
            let head = buffer.split_to(head_len).freeze();
            let parser = Parser {
                decoder: *self,
                source: Share(&head),
            };
            parser.publish_head(header, &head).map(Some)
        }

        #[inline]
        fn decode_frame(
            &self,
            header: FrameHeader,
            mut frame: Bytes,
        ) -> Result<Option<Packet>, DecodeError> {
            let parser = Parser {
                decoder: *self,
                source: Share(&frame),
            };
            let body = frame.get(header.header_len()..).unwrap_or_default();
            if header.packet_type() != PacketType::Publish {
                return parser.packet(header, body).map(Some);
            }
            let (payload, fields) = parser.fields(header.flags(), body).map_err(cause)?;
            let payload_at = frame.len().saturating_sub(payload.len());
            let (delivery, properties) = (fields.delivery, fields.properties);
            let topic = parser.source.text(fields.topic);
            // The frame itself becomes the payload, which saves counting a reference.
            frame.advance(payload_at);
            Ok(Some(Packet::Publish(Publish {
                delivery,
                retain: publish::is_retained(header.flags()),
                topic,
                properties,
                payload: frame,
            })))
        }
    }
}

/// Reads packet bodies: the one parser of both faces.
#[derive(Clone, Copy)]
pub(crate) struct Parser<I> {
    pub(crate) decoder: Decoder,
    pub(crate) source: I,
}

impl<'a, I: Source<'a>> Parser<I> {
    /// Reads the body of a packet of any type but PUBLISH, which the callers know already.
    #[inline(never)]
    fn packet(
        self,
        header: FrameHeader,
        body: &'a [u8],
    ) -> Result<Packet<I::Storage>, DecodeError> {
        let packet_type = header.packet_type();
        match packet_type {
            PacketType::Connect => self.connect(body).map(Packet::Connect),
            PacketType::ConnAck => complete(|body| self.connack(body), body).map(Packet::ConnAck),
            PacketType::Publish => self.publish(header.flags(), body).map(Packet::Publish),
            PacketType::PubAck => self
                .ack(packet_type, PropertyScope::PubAck, body)
                .map(Packet::PubAck),
            PacketType::PubRec => self
                .ack(packet_type, PropertyScope::PubRec, body)
                .map(Packet::PubRec),
            PacketType::PubRel => self
                .ack(packet_type, PropertyScope::PubRel, body)
                .map(Packet::PubRel),
            PacketType::PubComp => self
                .ack(packet_type, PropertyScope::PubComp, body)
                .map(Packet::PubComp),
            PacketType::Subscribe => {
                complete(|body| self.subscribe(body), body).map(Packet::Subscribe)
            }
            PacketType::SubAck => complete(|body| self.suback(body), body).map(Packet::SubAck),
            PacketType::Unsubscribe => {
                complete(|body| self.unsubscribe(body), body).map(Packet::Unsubscribe)
            }
            PacketType::UnsubAck => {
                complete(|body| self.unsuback(body), body).map(Packet::UnsubAck)
            }
            PacketType::PingReq => complete(primitive::nothing, body).map(|()| Packet::PingReq),
            PacketType::PingResp => complete(primitive::nothing, body).map(|()| Packet::PingResp),
            PacketType::Disconnect => {
                complete(|body| self.disconnect(body), body).map(Packet::Disconnect)
            }
            PacketType::Auth => complete(|body| self.auth(body), body).map(Packet::Auth),
        }
    }

    /// Reads a property block with its length; MQTT 3.x has none.
    ///
    /// # Specification
    ///
    /// v5 MQTT-2.2.2-1.
    #[inline(always)]
    fn properties(
        self,
        scope: PropertyScope,
        input: &'a [u8],
    ) -> primitive::Parsed<'a, Properties<I::Storage>> {
        if !self.decoder.version.has_properties() {
            return Ok((input, Properties::empty()));
        }
        // Most packets have none.
        match input {
            [0, rest @ ..] => Ok((rest, Properties::empty())),
            _ => self.property_block(scope, input),
        }
    }

    fn property_block(
        self,
        scope: PropertyScope,
        input: &'a [u8],
    ) -> primitive::Parsed<'a, Properties<I::Storage>> {
        let (input, length) = primitive::variable(input)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (input, block) = primitive::take(length, input)?;
        let properties = Properties::decode(self.source, scope, self.decoder.sender, block)?;
        Ok((input, properties))
    }

    /// Applies the policy for control characters and non-characters to a topic that has passed
    /// all other checks.
    #[inline]
    pub(crate) fn check_policy(self, topic: &[u8]) -> Result<(), DecodeError> {
        if !self.decoder.refuse_discouraged {
            return Ok(());
        }
        text::check_discouraged(core::str::from_utf8(topic).unwrap_or_default())
    }
}

/// Takes the cause of a failure out of nom's wrapping.
pub(crate) fn cause(error: nom::Err<Fault>) -> DecodeError {
    match error {
        nom::Err::Error(Fault(error)) | nom::Err::Failure(Fault(error)) => error,
        // No parser here asks for more: a frame is complete before it is parsed.
        nom::Err::Incomplete(_) => DecodeError::FieldTruncated {
            needed: 1,
            available: 0,
        },
    }
}
