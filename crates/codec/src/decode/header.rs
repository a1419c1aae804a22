//! The fixed header: packet type, flags and Remaining Length.

use super::Decoder;
use super::primitive::{Variable, read_variable};
use crate::{DecodeError, PacketType, ProtocolVersion, Sender};

/// A fixed header: what a packet is and how long, before its body is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameHeader {
    packet_type: PacketType,
    flags: u8,
    header_len: u8,
    remaining_length: u32,
}

const QOS: u8 = 0b0110;
const DUP: u8 = 0b1000;

impl FrameHeader {
    /// Returns the type of the packet.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        self.packet_type
    }

    /// Returns the lower half of the first byte.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Returns how many bytes the fixed header takes: 2 to 5.
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.header_len)
    }

    /// Returns the Remaining Length: how many bytes follow the fixed header.
    #[must_use]
    pub fn remaining_length(&self) -> usize {
        usize::try_from(self.remaining_length).unwrap_or(usize::MAX)
    }

    /// Returns how many bytes the packet takes, fixed header included.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.remaining_length().saturating_add(self.header_len())
    }

    /// See [`Decoder::frame`].
    #[inline(always)]
    pub(super) fn read(decoder: Decoder, bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let [first_byte, rest @ ..] = bytes else {
            return Ok(None);
        };
        let packet_type = check_first_byte(decoder, *first_byte)?;
        let (remaining_length, length_len) = match rest {
            // Most packets are short.
            [length, ..] if *length < 0x80 => (u32::from(*length), 1),
            _ => match read_variable(rest) {
                Variable::Value {
                    value,
                    rest: body,
                    is_minimal: true,
                } => (value, rest.len().saturating_sub(body.len())),
                Variable::Value {
                    is_minimal: false, ..
                } => {
                    return Err(DecodeError::RemainingLengthNotMinimal);
                }
                Variable::TooLong => return Err(DecodeError::RemainingLengthTooLong),
                Variable::Incomplete => return Ok(None),
            },
        };
        let header_len = u8::try_from(length_len.saturating_add(1)).unwrap_or(u8::MAX);
        let size = remaining_length.saturating_add(u32::from(header_len));
        if size > decoder.packet_size_max {
            return Err(DecodeError::PacketTooLarge {
                size,
                limit: decoder.packet_size_max,
            });
        }
        if packet_type != PacketType::Publish
            && !is_possible(packet_type, remaining_length, decoder.version)
        {
            return Err(DecodeError::InvalidRemainingLength {
                packet_type,
                length: remaining_length,
            });
        }
        Ok(Some(Self {
            packet_type,
            flags: first_byte & 0x0F,
            header_len,
            remaining_length,
        }))
    }
}

/// Checks the first byte of a packet.
#[inline(always)]
fn check_first_byte(decoder: Decoder, first_byte: u8) -> Result<PacketType, DecodeError> {
    let flags = first_byte & 0x0F;
    let Some(packet_type) = PacketType::from_u8(first_byte >> 4) else {
        return Err(DecodeError::ReservedPacketType { first_byte });
    };
    if packet_type == PacketType::Publish {
        check_publish_flags(flags)?;
    } else {
        check_fixed_flags(decoder, packet_type, flags)?;
    }
    Ok(packet_type)
}

#[inline(always)]
fn check_publish_flags(flags: u8) -> Result<(), DecodeError> {
    match flags & (QOS | DUP) {
        DUP => Err(DecodeError::DupWithoutQoS),
        both if both & QOS == QOS => Err(DecodeError::InvalidPublishQoS),
        _ => Ok(()),
    }
}

/// Checks the first byte of any packet but PUBLISH.
#[inline(always)]
fn check_fixed_flags(
    decoder: Decoder,
    packet_type: PacketType,
    flags: u8,
) -> Result<(), DecodeError> {
    let version = decoder.version;
    if packet_type == PacketType::Auth && !version.has_properties() {
        let first_byte = packet_type.as_u8() << 4 | flags;
        return Err(DecodeError::ReservedPacketType { first_byte });
    }
    let fixed = packet_type.fixed_flags();
    if flags != fixed {
        // MQTT 3.1 has DUP in the packets whose QoS bits are 1, and leaves the flags of the
        // others unused without saying that they are checked.
        let is_tolerated = version == ProtocolVersion::V31 && (fixed == 0 || flags == fixed | DUP);
        if !is_tolerated {
            return Err(DecodeError::InvalidFlags { packet_type, flags });
        }
    }
    let sender = decoder.sender;
    if sender != Sender::Any && !sender.may_send(packet_type, version.has_properties()) {
        return Err(DecodeError::WrongDirection {
            packet_type,
            sender,
        });
    }
    Ok(())
}

/// Returns whether a packet of the type can have this Remaining Length. Types whose length varies
/// are left to their parsers.
///
/// # Specification
///
/// X311-2.2.3-b.
fn is_possible(packet_type: PacketType, remaining_length: u32, version: ProtocolVersion) -> bool {
    match packet_type {
        PacketType::PingReq | PacketType::PingResp => remaining_length == 0,
        PacketType::Disconnect => version.has_properties() || remaining_length == 0,
        PacketType::ConnAck
        | PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubRel
        | PacketType::PubComp
        | PacketType::UnsubAck => version.has_properties() || remaining_length == 2,
        PacketType::Connect
        | PacketType::Publish
        | PacketType::Subscribe
        | PacketType::SubAck
        | PacketType::Unsubscribe
        | PacketType::Auth => true,
    }
}
