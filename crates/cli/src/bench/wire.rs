//! Packets that are encoded once and sent often.

use mqttstack_codec::{
    Connect, Delivery, EncodeError, Packet, PacketId, Properties, PropertyError, ProtocolVersion,
    Publish, QoS, Shared, Subscribe, SubscribeFilters, Subscription,
};

use super::payload::Stamp;

/// How many filters go into one SUBSCRIBE.
const FILTERS_PER_PACKET: usize = 50;
/// Keep Alive, in seconds; see [`PING_INTERVAL`](super::engine::PING_INTERVAL).
const KEEP_ALIVE: u16 = 60;

/// Why a packet cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// A PUBLISH with a Packet Identifier has one.
    #[error("a packet without an identifier")]
    NoIdentifier,
}

/// How a client introduces itself.
#[derive(Clone, Debug)]
pub(super) struct Introduction {
    pub(super) client_id: String,
    /// Whether the session outlives the connection.
    pub(super) is_durable: bool,
    /// Whether an earlier session is dropped.
    pub(super) clean_start: bool,
    /// The Receive Maximum that is announced, in 5.0.
    pub(super) receive_maximum: Option<u16>,
    /// User name and password.
    pub(super) credentials: Option<(String, String)>,
}

/// Encodes CONNECT.
pub(super) fn connect(
    version: ProtocolVersion,
    introduction: &Introduction,
) -> Result<Vec<u8>, WireError> {
    let mut connect = Connect::<Shared>::new(version, introduction.client_id.as_str());
    connect.keep_alive = KEEP_ALIVE;
    connect.clean_start = introduction.clean_start;
    if let Some((user, password)) = &introduction.credentials {
        connect.username = Some(user.as_str().into());
        connect.password = Some(password.clone().into_bytes().into());
    }
    if version.has_properties() {
        let mut properties = Properties::builder();
        if introduction.is_durable {
            properties = properties.session_expiry_interval(3600);
        }
        if let Some(receive_maximum) = introduction.receive_maximum {
            properties = properties.receive_maximum(receive_maximum);
        }
        connect.properties = properties.build()?;
    }
    encoded(&Packet::Connect(connect), version)
}

/// Encodes the SUBSCRIBE packets for some filters, and returns how many there are.
pub(super) fn subscribe(
    version: ProtocolVersion,
    filters: &[String],
    qos: QoS,
) -> Result<(Vec<u8>, u16), WireError> {
    let mut bytes = Vec::new();
    let mut packets = 0_u16;
    for chunk in filters.chunks(FILTERS_PER_PACKET) {
        packets = packets.saturating_add(1);
        let entries = chunk.iter().map(|filter| Subscription::new(filter, qos));
        let packet = Packet::Subscribe(Subscribe::<Shared> {
            packet_id: packet_id(packets)?,
            properties: Properties::empty(),
            filters: SubscribeFilters::new(entries)?,
        });
        packet.encode(version, &mut bytes)?;
    }
    Ok((bytes, packets))
}

/// Encodes DISCONNECT, which says the same in all versions.
pub(super) const DISCONNECT: [u8; 2] = [0xE0, 0];
/// Encodes PINGREQ.
pub(super) const PINGREQ: [u8; 2] = [0xC0, 0];

/// The first bytes of acknowledgements of four bytes.
#[expect(clippy::enum_variant_names, reason = "the names of the standard")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum AckType {
    PubAck = 0x40,
    PubRec = 0x50,
    PubRel = 0x62,
    PubComp = 0x70,
}

/// Appends an acknowledgement; the form without a reason code is good for every version.
pub(super) fn ack(out: &mut Vec<u8>, ack: AckType, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[ack as u8, 2, high, low]);
}

/// A PUBLISH in which only the Packet Identifier and the stamp change.
#[derive(Clone, Debug)]
pub(super) struct Template {
    bytes: Box<[u8]>,
    packet_id_at: Option<usize>,
    payload_at: usize,
}

impl Template {
    pub(super) fn new(
        version: ProtocolVersion,
        topic: &str,
        qos: QoS,
        retain: bool,
        payload_size: usize,
        filler: &[u8],
    ) -> Result<Self, WireError> {
        let id = (qos != QoS::AtMostOnce).then(|| packet_id(1)).transpose()?;
        let mut payload = vec![0; payload_size];
        let filled_from = payload_size.saturating_sub(filler.len());
        payload[filled_from..].copy_from_slice(filler);
        let publish = Publish::<Shared> {
            delivery: Delivery::new(qos, id).ok_or(WireError::NoIdentifier)?,
            retain,
            ..Publish::new(topic, payload)
        };
        let mut bytes = Vec::new();
        publish.encode(version, &mut bytes)?;
        let payload_at = bytes.len() - payload_size;
        // The identifier follows the topic; in 5.0 a byte for the length of no properties is last.
        let properties_len = usize::from(version.has_properties());
        let packet_id_at = id.map(|_| payload_at - properties_len - 2);
        Ok(Self {
            bytes: bytes.into(),
            packet_id_at,
            payload_at,
        })
    }

    /// Appends the packet.
    pub(super) fn write(&self, out: &mut Vec<u8>, packet_id: Option<u16>, stamp: Stamp) {
        let begin = out.len();
        out.extend_from_slice(&self.bytes);
        let packet = &mut out[begin..];
        if let (Some(at), Some(id)) = (self.packet_id_at, packet_id) {
            packet[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        let payload = &mut packet[self.payload_at..];
        // An empty payload removes a retained message.
        if payload.len() >= Stamp::LEN {
            stamp.write(payload);
        }
    }
}

fn packet_id(number: u16) -> Result<PacketId, WireError> {
    PacketId::new(number).ok_or(WireError::NoIdentifier)
}

fn encoded(packet: &Packet<Shared>, version: ProtocolVersion) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use mqttstack_codec::{Decoder, Sender};

    use super::*;
    use crate::bench::payload::filler;

    #[test]
    fn a_template_changes_the_identifier_and_the_stamp_alone() {
        let filler = filler(64);
        for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let template = Template::new(version, "a/b", qos, false, 64, &filler).unwrap();
                let stamp = Stamp {
                    run: 1,
                    stream: 2,
                    sequence: 3,
                    due: 4,
                };
                let mut out = b"before".to_vec();
                let id = (qos != QoS::AtMostOnce).then_some(0x1234);
                template.write(&mut out, id, stamp);
                let decoder = Decoder::new()
                    .with_version(version)
                    .with_sender(Sender::Client);
                let (packet, len) = decoder.decode_ref(&out[6..]).unwrap().unwrap();
                let Packet::Publish(publish) = packet else {
                    panic!("{packet:?}");
                };
                assert_eq!(len, out.len() - 6);
                assert_eq!((publish.topic.as_str(), publish.qos()), ("a/b", qos));
                assert_eq!(publish.packet_id().map(PacketId::get), id);
                assert_eq!(Stamp::read(publish.payload), Some((stamp, &filler[..])));
            }
        }
    }

    #[test]
    fn many_filters_take_several_packets() {
        let filters: Vec<_> = (0..120).map(|number| format!("f/{number}/+")).collect();
        let (bytes, packets) =
            subscribe(ProtocolVersion::V311, &filters, QoS::AtLeastOnce).unwrap();
        assert_eq!(packets, 3);
        let decoder = Decoder::new().with_version(ProtocolVersion::V311);
        let mut rest = &bytes[..];
        let mut filters = 0;
        while let Some((packet, len)) = decoder.decode_ref(rest).unwrap() {
            let Packet::Subscribe(subscribe) = packet else {
                panic!("{packet:?}");
            };
            filters += subscribe.filters.len();
            rest = &rest[len..];
        }
        assert_eq!((filters, rest.len()), (120, 0));
    }
}
