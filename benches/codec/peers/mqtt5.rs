//! mqtt5-protocol: reads a body from anything that is a `Buf`; 5.0.

use bytes::BytesMut;
use mqtt5_protocol::packet::{FixedHeader, MqttPacket as _, Packet, PacketType};

pub(super) fn decode(buffer: &mut BytesMut) -> Option<Packet> {
    let header = FixedHeader::decode(buffer).ok()?;
    let mut body = buffer.split_to(header.remaining_length as usize);
    Packet::decode_from_body_with_version(header.packet_type, &header, &mut body, 5).ok()
}

pub(super) fn encode(packet: &Packet, out: &mut BytesMut) -> bool {
    let result = match packet {
        Packet::Connect(packet) => packet.encode(out),
        Packet::ConnAck(packet) => packet.encode(out),
        Packet::Publish(packet) => packet.encode(out),
        Packet::PubAck(packet) => packet.encode(out),
        Packet::PubRec(packet) => packet.encode(out),
        Packet::PubRel(packet) => packet.encode(out),
        Packet::PubComp(packet) => packet.encode(out),
        Packet::Subscribe(packet) => packet.encode(out),
        Packet::SubAck(packet) => packet.encode(out),
        Packet::Unsubscribe(packet) => packet.encode(out),
        Packet::UnsubAck(packet) => packet.encode(out),
        Packet::PingReq => FixedHeader::new(PacketType::PingReq, 0, 0).encode(out),
        Packet::PingResp => FixedHeader::new(PacketType::PingResp, 0, 0).encode(out),
        Packet::Disconnect(packet) => packet.encode(out),
        Packet::Auth(packet) => packet.encode(out),
    };
    result.is_ok()
}
