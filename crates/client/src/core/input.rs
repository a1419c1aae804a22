//! From bytes as they arrive to whole packets.

use alloc::vec::Vec;

use bytes::Bytes;
use mqttstack_codec::{DecodeError, Decoder};

/// Packets of this many bytes and more are collected in a buffer of exactly their size, which their
/// payload then shares; smaller ones are decoded where they are and copied if they are kept.
const LARGE_PACKET_MIN: usize = 8 * 1024;

/// What the buffer of a large packet starts with, in bytes; from there it doubles. So a peer makes
/// this side provide about twice what it has sent, whatever length it claims.
const LARGE_BUFFER_START: usize = 64 * 1024;

/// The part of a packet whose rest has not arrived yet.
#[derive(Clone, Debug, Default)]
pub(super) enum Partial {
    /// Nothing.
    #[default]
    None,
    /// Less than a fixed header, or a small packet.
    Small(Vec<u8>),
    /// A large packet, in a buffer that grows to exactly its size.
    Large {
        /// What is there, and room for more: never none while something is missing.
        buffer: Vec<u8>,
        /// How many bytes are there.
        filled: usize,
        /// How many bytes the packet has.
        total: usize,
    },
}

/// What [`Partial::add`] made of the bytes.
#[derive(Debug)]
pub(super) enum Progress {
    /// A small packet is complete, and may be decoded where it is.
    Small(Vec<u8>),
    /// A large packet is complete.
    Large(Bytes),
    /// The packet is still not complete; all bytes were taken.
    Pending,
}

impl Partial {
    /// Returns whether a part of a packet is held.
    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Begins with bytes that are less than a packet.
    pub(super) fn begin(&mut self, bytes: &[u8], decoder: Decoder) -> Result<(), DecodeError> {
        *self = if bytes.is_empty() {
            Self::None
        } else {
            Self::hold(
                bytes.to_vec(),
                decoder.frame(bytes)?.map(|header| header.total_len()),
            )
        };
        Ok(())
    }

    fn hold(bytes: Vec<u8>, total: Option<usize>) -> Self {
        match total {
            Some(total) if total >= LARGE_PACKET_MIN => {
                let (filled, mut buffer) = (bytes.len(), bytes);
                grow(&mut buffer, total);
                Self::Large {
                    buffer,
                    filled,
                    total,
                }
            }
            _ => Self::Small(bytes),
        }
    }

    /// Takes from the front of `bytes` what completes the packet.
    pub(super) fn add(
        &mut self,
        bytes: &mut &[u8],
        decoder: Decoder,
    ) -> Result<Progress, DecodeError> {
        loop {
            match self {
                Self::None => return Ok(Progress::Pending),
                Self::Small(part) => {
                    let header = decoder.frame(part)?;
                    let missing = match header {
                        Some(header) => header.total_len().saturating_sub(part.len()),
                        // The fixed header grows byte by byte.
                        None => 1,
                    };
                    if missing == 0 {
                        let packet = core::mem::take(part);
                        *self = Self::None;
                        return Ok(Progress::Small(packet));
                    }
                    if bytes.is_empty() {
                        return Ok(Progress::Pending);
                    }
                    let taken = take(bytes, missing);
                    part.reserve_exact(taken.len());
                    part.extend_from_slice(taken);
                    let part = core::mem::take(part);
                    let total = decoder.frame(&part)?.map(|header| header.total_len());
                    *self = Self::hold(part, total);
                }
                Self::Large { buffer, filled, .. } => {
                    let room = buffer.get_mut(*filled..).unwrap_or_default();
                    let taken = take(bytes, room.len());
                    for (to, from) in room.iter_mut().zip(taken) {
                        *to = *from;
                    }
                    let progress = self.filled(taken.len());
                    if bytes.is_empty() || !matches!(progress, Progress::Pending) {
                        return Ok(progress);
                    }
                }
            }
        }
    }

    /// Returns where more of a large packet belongs.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Large { buffer, filled, .. } => buffer.get_mut(*filled..),
            Self::None | Self::Small(_) => None,
        }
    }

    /// So many bytes of the room have been filled.
    pub(super) fn filled(&mut self, count: usize) -> Progress {
        let Self::Large {
            buffer,
            filled,
            total,
        } = self
        else {
            return Progress::Pending;
        };
        *filled = filled.saturating_add(count).min(buffer.len());
        if *filled < *total {
            if *filled == buffer.len() {
                grow(buffer, *total);
            }
            return Progress::Pending;
        }
        let packet = core::mem::take(buffer);
        *self = Self::None;
        Progress::Large(packet.into())
    }
}

/// Doubles a buffer, at most to `total`.
fn grow(buffer: &mut Vec<u8>, total: usize) {
    let doubled = buffer.len().saturating_mul(2).max(LARGE_BUFFER_START);
    let len = doubled.min(total);
    buffer.reserve_exact(len.saturating_sub(buffer.len()));
    buffer.resize(len, 0);
}

/// Splits at most `count` bytes off the front.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (front, rest) = bytes.split_at(count.min(bytes.len()));
    *bytes = rest;
    front
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use mqttstack_codec::{
        Delivery, Packet, PacketRef, Properties, ProtocolVersion, Publish, Shared, Utf8Bytes,
    };

    use super::*;

    fn publish(payload_len: usize) -> Vec<u8> {
        let packet: Packet<Shared> = Packet::Publish(Publish {
            delivery: Delivery::AtMostOnce,
            retain: false,
            topic: Utf8Bytes::from("t"),
            properties: Properties::empty(),
            payload: vec![b'x'; payload_len].into(),
        });
        let mut bytes = Vec::new();
        packet.encode(ProtocolVersion::V5, &mut bytes).unwrap();
        bytes
    }

    fn payload_len(packet: &[u8]) -> usize {
        match Decoder::new().decode_ref(packet) {
            Ok(Some((PacketRef::Publish(publish), len))) if len == packet.len() => {
                publish.payload.len()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_packet_is_completed_whatever_the_pieces() {
        for size in [0, 1, 100, LARGE_PACKET_MIN - 6, LARGE_PACKET_MIN, 70_000] {
            let mut bytes = publish(size);
            let len = bytes.len();
            bytes.extend_from_slice(b"next");
            for cut in [1, 2, 3, 4, len / 2, len - 1] {
                if cut == 0 || cut >= len {
                    continue;
                }
                for step in [1, 7, 4096, len] {
                    let mut partial = Partial::default();
                    partial.begin(&bytes[..cut], Decoder::new()).unwrap();
                    let mut at = cut;
                    let packet = loop {
                        let end = (at + step).min(bytes.len());
                        let mut piece = &bytes[at..end];
                        let progress = partial.add(&mut piece, Decoder::new()).unwrap();
                        at = end - piece.len();
                        match progress {
                            Progress::Small(packet) => break packet,
                            Progress::Large(packet) => break packet.to_vec(),
                            Progress::Pending => assert!(piece.is_empty()),
                        }
                    };
                    assert_eq!((payload_len(&packet), at), (size, len), "{cut} {step}");
                    assert!(partial.is_none());
                }
            }
        }
    }

    #[test]
    fn a_large_packet_is_read_to_where_it_belongs() {
        for payload in [50_000, 100_000, 1_000_000] {
            let bytes = publish(payload);
            let mut partial = Partial::default();
            partial.begin(&bytes[..10], Decoder::new()).unwrap();
            let mut at = 10;
            let packet = loop {
                let room = partial.room().unwrap();
                let count = room.len().min(30_000);
                assert!(count > 0);
                room[..count].copy_from_slice(&bytes[at..at + count]);
                at += count;
                match partial.filled(count) {
                    Progress::Pending => {}
                    Progress::Large(packet) => break packet,
                    progress @ Progress::Small(_) => panic!("{progress:?}"),
                }
            };
            assert_eq!(packet, bytes);
        }
    }

    #[test]
    fn the_buffer_grows_with_what_arrives_not_with_what_is_claimed() {
        // A PUBLISH that claims the 268,435,455 bytes of the longest Remaining Length.
        let mut partial = Partial::default();
        let header = [0x30, 0xff, 0xff, 0xff, 0x7f];
        partial.begin(&header, Decoder::new()).unwrap();
        let mut arrived = header.len();
        for piece in [1, 100, 60_000, 200_000, 1_000_000, 3_000_000] {
            let bytes = vec![0; piece];
            let progress = partial.add(&mut &*bytes, Decoder::new()).unwrap();
            assert!(matches!(progress, Progress::Pending));
            arrived += piece;
            let Partial::Large { buffer, filled, .. } = &partial else {
                panic!()
            };
            assert_eq!(*filled, arrived);
            let most = LARGE_BUFFER_START.max(2 * arrived);
            assert!(buffer.capacity() <= most, "{} {most}", buffer.capacity());
        }
    }

    #[test]
    fn a_small_part_holds_no_more_than_its_bytes() {
        let bytes = publish(100);
        let mut partial = Partial::default();
        partial.begin(&bytes[..50], Decoder::new()).unwrap();
        let Partial::Small(part) = &partial else {
            panic!()
        };
        assert_eq!(part.capacity(), 50);
    }

    #[test]
    fn a_packet_over_the_limit_is_refused_from_its_header() {
        let bytes = publish(2_000);
        let decoder = Decoder::new().with_packet_size_max(1_000);
        assert!(matches!(
            Partial::default().begin(&bytes[..5], decoder),
            Err(DecodeError::PacketTooLarge { .. })
        ));
    }
}
