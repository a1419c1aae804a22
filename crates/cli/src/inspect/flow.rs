//! Packets out of bytes that come in pieces, each with the place it stood at.

use mqttstack_codec::{DecodeError, Decoder, Packet, PacketRef, ProtocolVersion, ReasonCode};

/// How much is shown of bytes that do not even say how long their packet is.
const UNFRAMED_BYTES_MAX: usize = 64;

/// Bytes that one side has sent, being cut into packets.
///
/// After each [`push`](Self::push), call [`poll`](Self::poll) until it returns `None`; what is
/// buffered is then less than one packet.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    buffer: Vec<u8>,
    /// Where in the buffer the first packet begins that has not been handed out.
    start: usize,
    /// How many bytes from there the packet takes that has been handed out last.
    taken: usize,
    /// Where in the stream the buffer's first byte stood.
    offset: u64,
    has_failed: bool,
}

/// What was found at one place of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Item<'a> {
    /// How many bytes of the stream precede it.
    pub(crate) offset: u64,
    /// The packet; or what there is of it.
    pub(crate) bytes: &'a [u8],
    /// The version by which it was read.
    pub(crate) version: ProtocolVersion,
    pub(crate) outcome: Result<PacketRef<'a>, Fault>,
}

/// Why there is no packet. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    #[error("incomplete packet: {available} of {expected} bytes")]
    Incomplete { available: usize, expected: usize },
    #[error("incomplete fixed header")]
    IncompleteHeader,
    #[error("{count} bytes are missing from the capture")]
    Missing { count: u64 },
    #[error("more than {limit} bytes wait for the rest of their packets")]
    BufferFull { limit: usize },
}

impl Fault {
    /// Returns the code that answers a peer's bytes; `None` if they are not to blame.
    pub(crate) const fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            Self::Malformed(error) => Some(error.reason_code()),
            Self::Incomplete { .. } | Self::IncompleteHeader => Some(ReasonCode::MalformedPacket),
            Self::Missing { .. } | Self::BufferFull { .. } => None,
        }
    }

    /// Returns whether more bytes might have made a packet of it.
    pub(crate) const fn is_incomplete(&self) -> bool {
        matches!(self, Self::Incomplete { .. } | Self::IncompleteHeader)
    }
}

impl Flow {
    /// Takes bytes that follow those before.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.release();
        if !self.has_failed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Returns the next packet, or why there is none; `None` if more bytes are needed, or the
    /// stream is over.
    pub(crate) fn poll(&mut self, decoder: Decoder) -> Option<Item<'_>> {
        if self.has_failed {
            self.release();
            return None;
        }
        self.start += std::mem::take(&mut self.taken);
        let bytes = self.buffer.get(self.start..).unwrap_or_default();
        let offset = self.offset + self.start as u64;
        match decoder.decode_ref(bytes) {
            Ok(None) => None,
            Ok(Some((packet, length))) => {
                self.taken = length;
                let version = if let Packet::Connect(connect) = &packet {
                    connect.version
                } else {
                    decoder.version
                };
                Some(Item {
                    offset,
                    bytes: bytes.get(..length).unwrap_or(bytes),
                    version,
                    outcome: Ok(packet),
                })
            }
            Err(error) => {
                self.has_failed = true;
                let length = match decoder.frame(bytes) {
                    Ok(Some(header)) => header.total_len(),
                    Ok(None) | Err(_) => UNFRAMED_BYTES_MAX,
                };
                let bytes = bytes.get(..length).unwrap_or(bytes);
                Some(Item {
                    offset,
                    bytes,
                    version: Decoder::connect_version(bytes).unwrap_or(decoder.version),
                    outcome: Err(error.into()),
                })
            }
        }
    }

    /// Ends the stream; returns what is left of it, if that is something.
    pub(crate) fn finish(&mut self, decoder: Decoder) -> Option<Item<'_>> {
        self.release();
        if self.buffer.is_empty() || self.has_failed {
            return None;
        }
        let fault = match decoder.frame(&self.buffer) {
            Ok(Some(header)) => Fault::Incomplete {
                available: self.buffer.len(),
                expected: header.total_len(),
            },
            Ok(None) | Err(_) => Fault::IncompleteHeader,
        };
        Some(self.fail(decoder, fault))
    }

    /// Ends the stream for a reason that does not lie in its bytes.
    pub(crate) fn fail(&mut self, decoder: Decoder, fault: Fault) -> Item<'_> {
        self.release();
        self.has_failed = true;
        Item {
            offset: self.offset,
            bytes: &self.buffer,
            version: Decoder::connect_version(&self.buffer).unwrap_or(decoder.version),
            outcome: Err(fault),
        }
    }

    /// Returns how many bytes are buffered.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len().saturating_sub(self.start + self.taken)
    }

    /// Returns whether nothing more can be read.
    pub(crate) const fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Lets go of the packets that have been handed out, and of the memory if nothing else is in
    /// it. Moves what is left at most once for each push, and that is less than one packet.
    fn release(&mut self) {
        let done = self.start + std::mem::take(&mut self.taken);
        self.start = 0;
        self.offset += done as u64;
        if done >= self.buffer.len() || self.has_failed {
            self.buffer = Vec::new();
        } else {
            self.buffer.drain(..done);
        }
    }
}

#[cfg(test)]
mod tests {
    use mqttstack_codec::PacketType;

    use super::*;

    type Found = (u64, usize, Result<PacketType, Fault>);

    /// Reads a stream that comes in pieces of a size.
    fn read(bytes: &[u8], size: usize) -> Vec<Found> {
        let mut flow = Flow::default();
        let mut found = Vec::new();
        let mut decoder = Decoder::new();
        let note = |item: &Item<'_>| {
            let outcome = item.outcome.as_ref().map(Packet::packet_type);
            (
                item.offset,
                item.bytes.len(),
                outcome.map_err(|fault| *fault),
            )
        };
        for piece in bytes.chunks(size) {
            flow.push(piece);
            while let Some(item) = flow.poll(decoder) {
                found.push(note(&item));
                decoder.version = item.version;
            }
        }
        assert!(flow.buffered() <= bytes.len());
        found.extend(flow.finish(decoder).as_ref().map(note));
        found
    }

    #[test]
    fn packets_have_their_places_however_the_bytes_come() {
        let connect = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01a";
        let cases: [(&[&[u8]], Vec<Found>); 5] = [
            (&[], vec![]),
            (
                &[connect, b"\x30\x07\x00\x03a/bhi", b"\xC0\x00"],
                vec![
                    (0, 15, Ok(PacketType::Connect)),
                    (15, 9, Ok(PacketType::Publish)),
                    (24, 2, Ok(PacketType::PingReq)),
                ],
            ),
            (
                &[b"\xC0\x00", b"\x40\x03\x00\x0A\x03", b"\xC0\x00"],
                vec![
                    (0, 2, Ok(PacketType::PingReq)),
                    (
                        2,
                        5,
                        Err(Fault::Malformed(DecodeError::InvalidReasonCode {
                            packet_type: PacketType::PubAck,
                            code: 3,
                        })),
                    ),
                ],
            ),
            (
                &[b"\xC0\x00", b"\x30\x07\x00"],
                vec![
                    (0, 2, Ok(PacketType::PingReq)),
                    (
                        2,
                        3,
                        Err(Fault::Incomplete {
                            available: 3,
                            expected: 9,
                        }),
                    ),
                ],
            ),
            (&[b"\x30\x80"], vec![(0, 2, Err(Fault::IncompleteHeader))]),
        ];
        for (parts, expected) in cases {
            let bytes = parts.concat();
            for size in 1..=bytes.len().max(1) {
                assert_eq!(read(&bytes, size), expected, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn nothing_is_kept_of_a_stream_that_is_over() {
        let mut flow = Flow::default();
        flow.push(&[0x00; 100]);
        assert_eq!(
            flow.poll(Decoder::new()).map(|item| item.bytes.len()),
            Some(64)
        );
        flow.push(&[0x00; 1000]);
        assert!(flow.poll(Decoder::new()).is_none());
        assert!(flow.finish(Decoder::new()).is_none());
        assert_eq!(flow.buffered(), 0);
    }
}
