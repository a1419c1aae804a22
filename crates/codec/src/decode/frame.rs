//! A packet that has been found in the bytes, and is read by who knows its type: firmware links only
//! the parsers of what it expects.

use core::fmt;

use super::primitive::complete;
use super::{Decoder, FrameHeader, Parser, source::Borrow};
use crate::{
    Ack, Auth, Borrowed, ConnAck, DecodeError, Disconnect, PacketType, PropertyScope, Publish,
    SubAck, UnsubAck,
};

/// A whole packet whose fixed header alone has been read, by [`Decoder::split_ref`].
///
/// For each type of packet that a client receives there is a method that reads it, and returns
/// `None` for a packet of another type. [`Decoder::decode_ref`] reads any packet, those that only
/// servers receive among them.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Frame<'a> {
    decoder: Decoder,
    header: FrameHeader,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    #[inline]
    pub(super) const fn new(decoder: Decoder, header: FrameHeader, body: &'a [u8]) -> Self {
        Self {
            decoder,
            header,
            body,
        }
    }

    /// Returns the type of the packet. A PINGREQ and a PINGRESP are all read with it.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        self.header.packet_type()
    }

    /// Returns how many bytes the packet takes, fixed header included.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.header.total_len()
    }

    /// Reads a CONNACK.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Decoder::decode_ref`].
    pub fn connack(&self) -> Result<Option<ConnAck<Borrowed<'a>>>, DecodeError> {
        self.read(PacketType::ConnAck, |parser, body| {
            complete(|body| parser.connack(body), body)
        })
    }

    /// Reads a PUBLISH.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Decoder::decode_ref`].
    pub fn publish(&self) -> Result<Option<Publish<Borrowed<'a>>>, DecodeError> {
        let flags = self.header.flags();
        self.read(PacketType::Publish, |parser, body| {
            parser.publish(flags, body)
        })
    }

    /// Reads a PUBACK.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Decoder::decode_ref`].
    pub fn puback(&self) -> Result<Option<Ack<Borrowed<'a>>>, DecodeError> {
        self.ack(PacketType::PubAck, PropertyScope::PubAck)
    }

    /// Reads a PUBREC.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Decoder::decode_ref`].
    pub fn pubrec(&self) -> Result<Option<Ack<Borrowed<'a>>>, DecodeError> {
        self.ack(PacketType::PubRec, PropertyScope::PubRec)
    }

    /// Reads a PUBREL.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Decoder::decode_ref`].
    pub fn pubrel(&self) -> Result<Option<Ack<Borrowed<'a>>>, DecodeError> {
        self.ack(PacketType::PubRel, PropertyScope::PubRel)
    }

    /// Reads a PUBCOMP.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Decoder::decode_ref`].
    pub fn pubcomp(&self) -> Result<Option<Ack<Borrowed<'a>>>, DecodeError> {
        self.ack(PacketType::PubComp, PropertyScope::PubComp)
    }

    /// Reads a SUBACK.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Decoder::decode_ref`].
    pub fn suback(&self) -> Result<Option<SubAck<Borrowed<'a>>>, DecodeError> {
        self.read(PacketType::SubAck, |parser, body| {
            complete(|body| parser.suback(body), body)
        })
    }

    /// Reads an UNSUBACK.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Decoder::decode_ref`].
    pub fn unsuback(&self) -> Result<Option<UnsubAck<Borrowed<'a>>>, DecodeError> {
        self.read(PacketType::UnsubAck, |parser, body| {
            complete(|body| parser.unsuback(body), body)
        })
    }

    /// Reads a DISCONNECT.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Decoder::decode_ref`].
    pub fn disconnect(&self) -> Result<Option<Disconnect<Borrowed<'a>>>, DecodeError> {
        self.read(PacketType::Disconnect, |parser, body| {
            complete(|body| parser.disconnect(body), body)
        })
    }

    /// Reads an AUTH.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as [`Decoder::decode_ref`].
    pub fn auth(&self) -> Result<Option<Auth<Borrowed<'a>>>, DecodeError> {
        self.read(PacketType::Auth, |parser, body| {
            complete(|body| parser.auth(body), body)
        })
    }

    #[inline(always)]
    fn ack(
        &self,
        packet_type: PacketType,
        scope: PropertyScope,
    ) -> Result<Option<Ack<Borrowed<'a>>>, DecodeError> {
        self.read(packet_type, |parser, body| {
            parser.ack(packet_type, scope, body)
        })
    }

    /// Reads the packet if it is of the type.
    #[inline(always)]
    fn read<T>(
        &self,
        packet_type: PacketType,
        parse: impl FnOnce(Parser<Borrow>, &'a [u8]) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.packet_type() != packet_type {
            return Ok(None);
        }
        let parser = Parser {
            decoder: self.decoder,
            source: Borrow,
        };
        parse(parser, self.body).map(Some)
    }
}

/// Without the body, which may hold authentication data.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("decoder", &self.decoder)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
