//! What holds for all packets and for all bytes.

#[path = "properties/strategies.rs"]
mod strategies;

use bytes::BytesMut;
use mqttstack_codec::{
    DecodeError, Decoder, Packet, PacketRef, PacketType, ProtocolVersion, PublishParts, Sender,
    SliceSink,
};
use proptest::{collection::vec, prelude::*};
use strategies::{any_version, packet};

fn encoded(packet: &Packet, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = packet
        .encode(version, &mut bytes)
        .expect("strategies make legal packets");
    assert_eq!(written, bytes.len());
    bytes
}

/// Bytes that are a packet but for a few changes, or anything at all.
fn mutated_wire() -> impl Strategy<Value = Vec<u8>> {
    let wire = any_version().prop_flat_map(|version| {
        packet(version).prop_map(move |packet| {
            let mut bytes = Vec::new();
            packet
                .encode(version, &mut bytes)
                .expect("strategies make legal packets");
            bytes
        })
    });
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    let almost = (wire, vec(change, 0..4)).prop_map(|(mut bytes, changes)| {
        for (index, value, kind) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value & 7),
                2 => bytes.insert(at, value),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    });
    prop_oneof![4 => almost, 1 => vec(any::<u8>(), 0..64)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// A packet comes back as it was, from both faces, and its length is known beforehand.
    #[test]
    fn packets_survive_the_way_there_and_back(
        (version, packet) in any_version().prop_flat_map(|v| (Just(v), packet(v)))
    ) {
        let bytes = encoded(&packet, version);
        prop_assert_eq!(packet.encoded_len(version), Ok(bytes.len()));
        let decoder = Decoder::new().with_version(version);

        let mut buffer = BytesMut::from(&bytes[..]);
        prop_assert_eq!(decoder.decode(&mut buffer), Ok(Some(packet.clone())));
        prop_assert!(buffer.is_empty());
        let mut frozen = bytes::Bytes::from(bytes.clone());
        prop_assert_eq!(decoder.decode_bytes(&mut frozen), Ok(Some(packet.clone())));

        let borrowed = decoder.decode_ref(&bytes).expect("legal").expect("complete");
        prop_assert_eq!(&borrowed, &(packet.as_ref(), bytes.len()));
        prop_assert_eq!(&borrowed.0.to_shared(), &packet);

        let mut slice = vec![0; bytes.len()];
        let mut out = SliceSink::new(&mut slice);
        prop_assert_eq!(borrowed.0.encode(version, &mut out), Ok(bytes.len()));
        prop_assert_eq!(out.written(), &bytes[..]);

        if let Some(alone) = encoded_alone(&packet, version) {
            prop_assert_eq!(alone, bytes);
        }
    }

    /// A packet that is not all there is neither an error nor a packet.
    #[test]
    fn every_cut_asks_for_more(
        (version, packet) in any_version().prop_flat_map(|v| (Just(v), packet(v)))
    ) {
        let bytes = encoded(&packet, version);
        let decoder = Decoder::new().with_version(version);
        for cut in 0..bytes.len() {
            prop_assert_eq!(decoder.decode_ref(&bytes[..cut]), Ok(None));
        }
    }

    /// The head of a PUBLISH with its payload is the PUBLISH, however its properties are cut.
    #[test]
    fn parts_make_the_whole(
        (version, packet) in any_version().prop_flat_map(|v| (Just(v), packet(v))),
    ) {
        let Packet::Publish(publish) = &packet else { return Ok(()) };
        let parts = PublishParts {
            delivery: publish.delivery,
            retain: publish.retain,
            topic: publish.topic.as_slice(),
            properties: [publish.properties.as_ref(), mqttstack_codec::Properties::empty()],
            payload_len: publish.payload.len(),
        };
        let mut bytes = Vec::new();
        parts.encode_head(version, &mut bytes).expect("legal");
        bytes.extend_from_slice(&publish.payload);
        prop_assert_eq!(parts.encoded_len(version), Ok(bytes.len()));
        prop_assert_eq!(bytes, encoded(&packet, version));
    }

    /// Both faces judge any bytes alike; what they accept can be written and read again.
    #[test]
    fn any_bytes_are_judged_alike_by_both_faces(
        version in any_version(),
        sender in prop_oneof![Just(Sender::Any), Just(Sender::Client), Just(Sender::Server)],
        bytes in mutated_wire(),
    ) {
        let decoder = Decoder::new().with_version(version).with_sender(sender);
        let borrowed = decoder.decode_ref(&bytes);
        check_frame(decoder, &bytes, &borrowed)?;
        let mut buffer = BytesMut::from(&bytes[..]);
        let owned = decoder.decode(&mut buffer);
        match (borrowed, owned) {
            (Ok(None), Ok(None)) => {}
            (Err(borrowed), Err(owned)) => {
                prop_assert_eq!(borrowed, owned);
                prop_assert!(borrowed.reason_code().is_error());
            }
            (Ok(Some((borrowed, used))), Ok(Some(owned))) => {
                prop_assert_eq!(borrowed.to_shared(), owned.clone());
                prop_assert_eq!(buffer.len(), bytes.len() - used);
                check_written_again(version, &borrowed, &bytes[..used])?;
            }
            (borrowed, owned) => prop_assert!(false, "{borrowed:?} and {owned:?}"),
        }
    }

    /// A payload in pieces changes nothing about what is judged.
    #[test]
    fn heads_are_judged_as_whole_packets(version in any_version(), bytes in mutated_wire()) {
        let decoder = Decoder::new().with_version(version);
        let whole = decoder.decode_ref(&bytes);
        let head = decoder.decode_publish_head_ref(&bytes);
        match (whole, head) {
            (Ok(Some((Packet::Publish(publish), used))), Ok(Some((head, head_len)))) => {
                prop_assert_eq!(head_len + head.payload_len, used);
                prop_assert_eq!(publish.topic, head.publish.topic);
                prop_assert_eq!(publish.properties, head.publish.properties);
                prop_assert_eq!(publish.payload, &bytes[head_len..used]);
            }
            (Ok(Some((packet, _))), head) => {
                prop_assert_ne!(packet.packet_type(), PacketType::Publish);
                prop_assert_eq!(head, Ok(None));
            }
            // Of several faults in one packet, each may find another one first.
            (Err(_), Err(_)) => {}
            // Of a PUBLISH that is not all there, the head may be or be wrong; no other packet is
            // read, so that only its fixed header can be wrong, which both see.
            (Ok(None), Ok(None)) => {}
            (Ok(None), Ok(Some(_)) | Err(_)) => prop_assert!(is_publish(&bytes)),
            (Err(_), Ok(None)) => prop_assert!(!is_publish(&bytes)),
            (Err(error), Ok(Some(head))) => prop_assert!(false, "{error} and {head:?}"),
        }
    }
}

fn is_publish(bytes: &[u8]) -> bool {
    bytes.first().map(|first_byte| first_byte >> 4) == Some(PacketType::Publish.as_u8())
}

/// Writes a packet as those do who know its type; none where there is no such way.
fn encoded_alone(packet: &Packet, version: ProtocolVersion) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let written = match packet {
        Packet::Connect(connect) => connect.encode(&mut bytes),
        Packet::Publish(publish) => publish.encode(version, &mut bytes),
        Packet::PubAck(ack) => ack.encode_puback(version, &mut bytes),
        Packet::PubRec(ack) => ack.encode_pubrec(version, &mut bytes),
        Packet::PubRel(ack) => ack.encode_pubrel(version, &mut bytes),
        Packet::PubComp(ack) => ack.encode_pubcomp(version, &mut bytes),
        Packet::Subscribe(subscribe) => subscribe.encode(version, &mut bytes),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.encode(version, &mut bytes),
        Packet::Disconnect(disconnect) => disconnect.encode(version, &mut bytes),
        Packet::Auth(auth) => auth.encode(&mut bytes),
        Packet::ConnAck(_)
        | Packet::SubAck(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp => return None,
    };
    assert_eq!(written, Ok(bytes.len()));
    Some(bytes)
}

/// A frame is read by the method of its type, to what `decode_ref` says, and by no other.
fn check_frame<'a>(
    decoder: Decoder,
    bytes: &'a [u8],
    expected: &Result<Option<(PacketRef<'a>, usize)>, DecodeError>,
) -> Result<(), TestCaseError> {
    let frame = match (decoder.split_ref(bytes), expected) {
        (Ok(Some(frame)), Ok(Some((packet, used)))) => {
            prop_assert_eq!(frame.packet_type(), packet.packet_type());
            prop_assert_eq!(frame.total_len(), *used);
            frame
        }
        (Ok(Some(frame)), Err(_)) => frame,
        (Ok(None), Ok(None)) => return Ok(()),
        (Err(error), expected) => {
            prop_assert_eq!(&Err(error), expected);
            return Ok(());
        }
        (frame, expected) => {
            prop_assert!(false, "{frame:?} and {expected:?}");
            return Ok(());
        }
    };
    let ways = [
        (
            PacketType::ConnAck,
            frame.connack().map(|it| it.map(Packet::ConnAck)),
        ),
        (
            PacketType::Publish,
            frame.publish().map(|it| it.map(Packet::Publish)),
        ),
        (
            PacketType::PubAck,
            frame.puback().map(|it| it.map(Packet::PubAck)),
        ),
        (
            PacketType::PubRec,
            frame.pubrec().map(|it| it.map(Packet::PubRec)),
        ),
        (
            PacketType::PubRel,
            frame.pubrel().map(|it| it.map(Packet::PubRel)),
        ),
        (
            PacketType::PubComp,
            frame.pubcomp().map(|it| it.map(Packet::PubComp)),
        ),
        (
            PacketType::SubAck,
            frame.suback().map(|it| it.map(Packet::SubAck)),
        ),
        (
            PacketType::UnsubAck,
            frame.unsuback().map(|it| it.map(Packet::UnsubAck)),
        ),
        (
            PacketType::Disconnect,
            frame.disconnect().map(|it| it.map(Packet::Disconnect)),
        ),
        (
            PacketType::Auth,
            frame.auth().map(|it| it.map(Packet::Auth)),
        ),
    ];
    for (packet_type, read) in ways {
        if packet_type == frame.packet_type() {
            let whole = expected.clone().map(|it| it.map(|(packet, _)| packet));
            prop_assert_eq!(read, whole);
        } else {
            prop_assert_eq!(
                read,
                Ok(None),
                "{} read as {}",
                frame.packet_type(),
                packet_type
            );
        }
    }
    Ok(())
}

/// Returns whether the standard leaves one form to write a packet in: 3.1 tolerates what it does not
/// use, and 5.0 lets a reason code and properties be left out.
fn has_one_form(packet: &PacketRef<'_>, read: ProtocolVersion, written: ProtocolVersion) -> bool {
    let is_short_in_v5 = matches!(
        packet.packet_type(),
        PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::Disconnect
            | PacketType::Auth
    );
    read != ProtocolVersion::V31
        && written != ProtocolVersion::V31
        && !(is_short_in_v5 && written == ProtocolVersion::V5)
}

/// What has been decoded is encoded to a packet that decodes to the same.
fn check_written_again(
    decoder_version: ProtocolVersion,
    packet: &PacketRef<'_>,
    wire: &[u8],
) -> Result<(), TestCaseError> {
    let version = if let Packet::Connect(connect) = packet {
        connect.version
    } else {
        decoder_version
    };
    let mut bytes = Vec::new();
    let written = packet.encode(version, &mut bytes);
    prop_assert!(written.is_ok(), "{packet:?}: {written:?}");
    if has_one_form(packet, decoder_version, version) {
        prop_assert_eq!(&bytes, wire);
    }
    prop_assert!(
        bytes.len() <= wire.len(),
        "the canonical form is the shortest"
    );
    let decoder = Decoder::new().with_version(version);
    let (again, used) = decoder
        .decode_ref(&bytes)
        .expect("legal")
        .expect("complete");
    prop_assert_eq!(used, bytes.len());
    prop_assert_eq!(again.to_shared(), packet.to_shared());
    Ok(())
}
