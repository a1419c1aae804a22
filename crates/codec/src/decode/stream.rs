//! Packets out of a stream of bytes that comes in pieces of any size.

use core::fmt;

use bytes::{Bytes, BytesMut};

use super::publish::check_size;
use crate::{DecodeError, Decoder, FrameHeader, Packet, PacketType, PublishHead};

/// Cuts a stream of bytes into packets, however the bytes are segmented.
///
/// After each [`handle_input`](Self::handle_input), call [`poll_item`](Self::poll_item) until it
/// returns `None`. What is buffered is then less than one packet, or less than the head of one that
/// comes in pieces. Whatever a fixed header claims, only bytes that have arrived take memory, with
/// some room for the next ones. Three limits, each judged as soon as a packet says how long it is:
///
/// - the [`Decoder`] has one for packets of any kind;
/// - [`with_whole_publish_max`](Self::with_whole_publish_max) is for what is buffered of a PUBLISH
///   that is handed out whole, and makes a larger one come in pieces;
/// - [`with_buffered_max`](Self::with_buffered_max) is for everything else that has to be there at
///   once: any other packet, and the head of a PUBLISH that comes in pieces.
///
/// What is handed out shares the memory of the buffer and keeps it: a PUBLISH allocates nothing of
/// its own, but as long as packets are kept, a new buffer is allocated for each 4 KiB that arrive.
///
/// Every CONNECT sets the version in which the packets behind it are read; that a client sends one
/// only is for the session to see to.
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
    /// The largest packet that is not a PUBLISH, or head of one that comes in pieces, in bytes.
    buffered_max: usize,
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

/// What [`StreamDecoder::with_buffered_max`] is when nothing is said: a CONNECT with everything in
/// it at its longest takes less, but for user properties.
const BUFFERED_MAX: usize = 1 << 20;

/// How much room is made for bytes that arrive, at the least. Less would be an allocation for each
/// packet of those that are kept, more is memory that a packet of a few bytes keeps from the rest.
const ROOM_MIN: usize = 4096;

impl StreamDecoder {
    /// Creates a decoder at the beginning of a stream. It hands out every PUBLISH as a whole.
    #[must_use]
    pub fn new(decoder: Decoder) -> Self {
        Self {
            decoder,
            buffer: BytesMut::new(),
            whole_publish_max: usize::MAX,
            buffered_max: BUFFERED_MAX,
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

    /// Returns the decoder with another limit, in bytes, on what has to be there at once and is not
    /// a whole PUBLISH: packets of other types, and the head of a PUBLISH that is handed out in
    /// pieces. What is larger is refused with [`DecodeError::PacketTooLarge`]. Default: 1 MiB.
    #[must_use]
    pub fn with_buffered_max(self, buffered_max: usize) -> Self {
        Self {
            buffered_max,
            ..self
        }
    }

    /// Takes bytes that have arrived; none any more once the stream is over.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        let room = self.buffer.capacity().saturating_sub(self.buffer.len());
        if room < bytes.len() {
            self.buffer.reserve(bytes.len().max(ROOM_MIN));
        }
        self.buffer.extend_from_slice(bytes);
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
        if header.packet_type() != PacketType::Publish {
            check_size(header.total_len(), self.buffered_max)?;
        } else if header.total_len() > self.whole_publish_max {
            return self.next_head(header);
        }
        let packet = self.decoder.decode(&mut self.buffer)?;
        if let Some(Packet::Connect(connect)) = &packet {
            self.decoder.version = connect.version;
        }
        Ok(packet.map(StreamItem::Packet))
    }

    fn next_head(&mut self, header: FrameHeader) -> Result<Option<StreamItem>, DecodeError> {
        let head = self
            .decoder
            .take_publish_head(header, &mut self.buffer, self.buffered_max)?;
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
            .field("buffered_max", &self.buffered_max)
            .field("payload_left", &self.payload_left)
            .field("failure", &self.failure)
            .finish()
    }
}
