//! From bytes as they arrive to whole packets.

use alloc::{vec, vec::Vec};

use bytes::Bytes;
use mqttstack_codec::{DecodeError, Decoder};

/// Packets of this many bytes and more are collected in a buffer of exactly their size, which their
/// payload then shares; smaller ones are decoded where they are and copied if they are kept.
const LARGE_PACKET_MIN: usize = 8 * 1024;

/// The part of a packet whose rest has not arrived yet.
#[derive(Clone, Debug, Default)]
pub(super) enum Partial {
    /// Nothing.
    #[default]
    None,
    /// Less than a fixed header, or a small packet.
    Small(Vec<u8>),
    /// A large packet, in a buffer of its size of which so many bytes are there.
    Large {
        /// The memory of the whole packet; the system provides it as it is filled.
        buffer: Vec<u8>,
        /// How many bytes are there.
        filled: usize,
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
                let filled = bytes.len();
                let mut buffer = vec![0; total];
                for (to, from) in buffer.iter_mut().zip(bytes) {
                    *to = from;
                }
                Self::Large { buffer, filled }
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
                Self::Large { buffer, filled } => {
                    let room = buffer.get_mut(*filled..).unwrap_or_default();
                    let taken = take(bytes, room.len());
                    for (to, from) in room.iter_mut().zip(taken) {
                        *to = *from;
                    }
                    let count = taken.len();
                    return Ok(self.filled(count));
                }
            }
        }
    }

    /// Returns where the rest of a large packet belongs.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Large { buffer, filled } => buffer.get_mut(*filled..),
            Self::None | Self::Small(_) => None,
        }
    }

    /// So many bytes of the room have been filled.
    pub(super) fn filled(&mut self, count: usize) -> Progress {
        let Self::Large { buffer, filled } = self else {
            return Progress::Pending;
        };
        *filled = filled.saturating_add(count).min(buffer.len());
        if *filled < buffer.len() {
            return Progress::Pending;
        }
        let packet = core::mem::take(buffer);
        *self = Self::None;
        Progress::Large(packet.into())
    }
}

/// Splits at most `count` bytes off the front.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (front, rest) = bytes.split_at(count.min(bytes.len()));
    *bytes = rest;
    front
}

#[cfg(test)]
mod tests {
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
    fn a_large_packet_has_a_buffer_of_its_size_that_can_be_read_into() {
        let bytes = publish(100_000);
        let mut partial = Partial::default();
        partial.begin(&bytes[..10], Decoder::new()).unwrap();
        let room = partial.room().unwrap();
        assert_eq!(room.len(), bytes.len() - 10);
        room.copy_from_slice(&bytes[10..]);
        assert!(matches!(partial.filled(1), Progress::Pending));
        let Progress::Large(packet) = partial.filled(bytes.len() - 11) else {
            panic!()
        };
        assert_eq!(packet, bytes);
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
