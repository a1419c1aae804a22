//! The packets that nothing holds back: everything but PUBLISH.

use alloc::boxed::Box;

use mqttstack_codec::{Ack, Borrowed, EncodeError, Packet, PacketId, ReasonCode, Sink};

use super::fit::Fit;
use crate::short_queue::ShortQueue;

/// The packets other than PUBLISH that wait to be sent, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Responses {
    queue: ShortQueue<Response>,
    /// The bytes of the packets in boxes.
    boxed_bytes: usize,
    fit: Fit,
}

/// A packet that waits; the frequent ones take no memory of their own.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Response {
    Ack(AckKind, PacketId, ReasonCode),
    PingReq,
    PingResp,
    Packet(Box<Packet>),
}

/// Which acknowledgement.
#[expect(
    clippy::enum_variant_names,
    reason = "these are the names of the packets"
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AckKind {
    PubAck,
    PubRec,
    PubRel,
    PubComp,
}

impl AckKind {
    pub(crate) const fn packet(self, ack: Ack) -> Packet {
        match self {
            Self::PubAck => Packet::PubAck(ack),
            Self::PubRec => Packet::PubRec(ack),
            Self::PubRel => Packet::PubRel(ack),
            Self::PubComp => Packet::PubComp(ack),
        }
    }
}

impl Responses {
    /// Every acknowledgement fits into this many bytes.
    const ACK_BYTES: u32 = 5;

    pub(crate) const fn new(fit: Fit) -> Self {
        Self {
            queue: ShortQueue::new(),
            boxed_bytes: 0,
            fit,
        }
    }

    /// Returns how packets to this peer have to look.
    pub(crate) const fn fit(&self) -> Fit {
        self.fit
    }

    /// Queues an acknowledgement without properties.
    pub(crate) fn ack(&mut self, kind: AckKind, packet_id: PacketId, reason: ReasonCode) {
        if self.fit.packet_size_max < Self::ACK_BYTES {
            // The peer takes hardly anything; perhaps it takes this.
            self.push(kind.packet(Ack::with_reason(packet_id, reason)));
            return;
        }
        self.queue.push_back(Response::Ack(kind, packet_id, reason));
    }

    pub(crate) fn ping(&mut self) {
        self.queue.push_back(Response::PingReq);
    }

    pub(crate) fn pong(&mut self) {
        self.queue.push_back(Response::PingResp);
    }

    /// Queues a packet, without what the peer does not want to hear. Returns false, and drops it, if
    /// it is larger than the peer takes.
    pub(crate) fn push(&mut self, packet: Packet) -> bool {
        let Some(packet) = self.fit.apply(packet) else {
            return false;
        };
        self.boxed_bytes = self.boxed_bytes.saturating_add(self.bytes_of(&packet));
        self.queue.push_back(Response::Packet(Box::new(packet)));
        true
    }

    /// Encodes the next packet.
    pub(crate) fn encode_next(&mut self, out: &mut impl Sink) -> Option<Result<(), EncodeError>> {
        let version = self.fit.version;
        let written = match self.queue.pop_front()? {
            Response::Ack(kind, packet_id, reason) => {
                let ack = Ack::<Borrowed<'_>>::with_reason(packet_id, reason);
                match kind {
                    AckKind::PubAck => ack.encode_puback(version, out),
                    AckKind::PubRec => ack.encode_pubrec(version, out),
                    AckKind::PubRel => ack.encode_pubrel(version, out),
                    AckKind::PubComp => ack.encode_pubcomp(version, out),
                }
            }
            other @ (Response::PingReq | Response::PingResp | Response::Packet(_)) => {
                self.open(other).encode(version, out)
            }
        };
        Some(written.map(|_| ()))
    }

    pub(crate) fn pop(&mut self) -> Option<Packet> {
        let response = self.queue.pop_front()?;
        Some(self.open(response))
    }

    /// Returns the packet that has waited.
    fn open(&mut self, response: Response) -> Packet {
        match response {
            Response::Ack(kind, packet_id, reason) => {
                kind.packet(Ack::with_reason(packet_id, reason))
            }
            Response::PingReq => Packet::PingReq,
            Response::PingResp => Packet::PingResp,
            Response::Packet(packet) => {
                self.boxed_bytes = self.boxed_bytes.saturating_sub(self.bytes_of(&packet));
                *packet
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Lets go of the memory that nothing needs now.
    pub(crate) fn rest(&mut self) {
        self.queue.rest();
    }

    /// Returns how many bytes of memory the packets take.
    pub(crate) fn bytes(&self) -> usize {
        let slots = self.queue.len().saturating_mul(size_of::<Response>());
        slots.saturating_add(self.boxed_bytes)
    }

    fn bytes_of(&self, packet: &Packet) -> usize {
        let encoded = packet.encoded_len(self.fit.version).unwrap_or_default();
        encoded.saturating_add(size_of::<Packet>())
    }
}

#[cfg(test)]
mod tests {
    use mqttstack_codec::{Disconnect, ProtocolVersion, Sender};

    use super::*;

    #[test]
    fn what_waits_is_counted_in_and_out() {
        let mut responses = Responses::new(Fit {
            version: ProtocolVersion::V5,
            sender: Sender::Server,
            packet_size_max: u32::MAX,
            problem_information: true,
        });
        responses.pong();
        responses.ack(AckKind::PubAck, PacketId::MIN, ReasonCode::Success);
        assert!(responses.push(Packet::Disconnect(Disconnect::new(ReasonCode::Success))));
        assert!(responses.bytes() > size_of::<Packet>());
        assert_eq!(responses.pop(), Some(Packet::PingResp));
        assert_eq!(
            responses.pop(),
            Some(Packet::PubAck(Ack::new(PacketId::MIN)))
        );
        assert!(matches!(responses.pop(), Some(Packet::Disconnect(_))));
        assert_eq!(responses.bytes(), 0);
        assert_eq!(responses.pop(), None);
        assert!(size_of::<Response>() <= 16);
    }
}
