//! Packets out of a stream of bytes that comes in pieces of any size.

use core::fmt;

use bytes::{Bytes, BytesMut};

use crate::{DecodeError, Decoder, Packet, PacketType, PublishHead};

/// Cuts a stream of bytes into packets, however the bytes are segmented.
///
/// After each [`handle_input`](Self::handle_input), call [`poll_item`](Self::poll_item) until it
/// returns `None`. What is buffered is then less than one packet, or with
/// [`with_whole_publish_max`](Self::with_whole_publish_max) less than the head of one; only bytes
/// that have arrived take memory, whatever a fixed header claims. A packet over the limit of the
/// [`Decoder`] is refused as soon as its fixed header is there.
///
/// The first CONNECT sets the version in which the packets behind it are read.
///
/// # Examples
///
/// ```
/// use mqttstack_codec::{Decoder, Packet, StreamDecoder, StreamItem};
///
/// let mut stream = StreamDecoder::new(Decoder::new());
/// stream.handle_input(&[0xC0, 0x00, 0x30, 0x06]);
/// assert!(matches!(stream.poll_item()?, Some(StreamItem::Packet(Packet::PingReq))));
/// assert!(stream.poll_item()?.is_none());
///
/// stream.handle_input(&[0x00, 0x01, b't', 0x00, b'h', b'i']);
/// let Some(StreamItem::Packet(Packet::Publish(publish))) = stream.poll_item()? else { panic!() };
/// assert_eq!(&publish.payload[..], b"hi");
/// # Ok::<(), mqttstack_codec::DecodeError>(())
/// ```
pub struct StreamDecoder {
    decoder: Decoder,
    /// What has arrived and not been handed out.
    buffer: BytesMut,
    /// The largest PUBLISH that is handed out as one packet, in bytes.
    whole_publish_max: usize,
    /// How many bytes of a payload that is handed out in pieces are still to come.
    payload_left: usize,
    /// Why the stream is over.
    failure: Option<DecodeError>,
}

/// What a [`StreamDecoder`] found in its stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StreamItem {
    /// A whole packet.
    Packet(Packet),
    /// A PUBLISH whose payload follows in pieces.
    PublishHead(PublishHead),
    /// The next piece of the payload.
    Payload {
        /// The piece; never empty.
        bytes: Bytes,
        /// How many bytes of the payload follow it: 0 for the last piece.
        left: usize,
    },
}

impl StreamDecoder {
    /// Creates a decoder at the beginning of a stream. It hands out every PUBLISH as a whole.
    #[must_use]
    pub fn new(decoder: Decoder) -> Self {
        Self {
            decoder,
            buffer: BytesMut::new(),
            whole_publish_max: usize::MAX,
            payload_left: 0,
            failure: None,
        }
    }

    /// Returns the decoder with another limit, in bytes, above which a PUBLISH is handed out in
    /// pieces: its head as soon as that is there, then its payload as it arrives.
    #[must_use]
    pub fn with_whole_publish_max(self, whole_publish_max: usize) -> Self {
        Self {
            whole_publish_max,
            ..self
        }
    }

    /// Takes bytes that have arrived; none any more once the stream is over.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        if self.failure.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Takes a buffer that has arrived; without copying it, if nothing is waiting.
    pub fn handle_buffer(&mut self, buffer: BytesMut) {
        if self.buffer.is_empty() && self.failure.is_none() {
            self.buffer = buffer;
        } else {
            self.handle_input(&buffer);
        }
    }

    /// Sets the settings by which the bytes that have not been handed out are read.
    pub fn set_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }

    /// Returns what comes next in the stream, or `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the stream is over, and every later call returns the same.
    pub fn poll_item(&mut self) -> Result<Option<StreamItem>, DecodeError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let item = if self.payload_left > 0 {
            Ok(self.next_piece())
        } else {
            self.next_packet()
        };
        if let Err(error) = item {
            self.failure = Some(error);
            self.buffer = BytesMut::new();
        }
        item
    }

    /// Returns the settings by which bytes are read.
    #[must_use]
    pub const fn decoder(&self) -> Decoder {
        self.decoder
    }

    /// Returns how many bytes wait to be handed out.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn next_piece(&mut self) -> Option<StreamItem> {
        let length = self.buffer.len().min(self.payload_left);
        if length == 0 {
            return None;
        }
        self.payload_left = self.payload_left.saturating_sub(length);
        let bytes = self.buffer.split_to(length).freeze();
        Some(StreamItem::Payload {
            bytes,
            left: self.payload_left,
        })
    }

    fn next_packet(&mut self) -> Result<Option<StreamItem>, DecodeError> {
        let Some(header) = self.decoder.frame(&self.buffer)? else {
            return Ok(None);
        };
        let comes_in_pieces = header.packet_type() == PacketType::Publish
            && header.total_len() > self.whole_publish_max;
        if comes_in_pieces {
            return self.next_head();
        }
        let packet = self.decoder.decode(&mut self.buffer)?;
        if let Some(Packet::Connect(connect)) = &packet {
            self.decoder.version = connect.version;
        }
        Ok(packet.map(StreamItem::Packet))
    }

    fn next_head(&mut self) -> Result<Option<StreamItem>, DecodeError> {
        let head = self.decoder.decode_publish_head(&mut self.buffer)?;
        if let Some(head) = &head {
            self.payload_left = head.payload_len;
        }
        Ok(head.map(StreamItem::PublishHead))
    }
}

/// Without the bytes that wait: they may be a CONNECT with its password.
impl fmt::Debug for StreamDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamDecoder")
            .field("decoder", &self.decoder)
            .field("buffered", &self.buffered())
            .field("whole_publish_max", &self.whole_publish_max)
            .field("payload_left", &self.payload_left)
            .field("failure", &self.failure)
            .finish()
    }
}
