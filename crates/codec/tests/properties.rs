//! What holds for all packets and for all bytes.

#[path = "properties/strategies.rs"]
mod strategies;

use bytes::BytesMut;
use mqttstack_codec::{
    Decoder, Packet, PacketRef, ProtocolVersion, PublishParts, Sender, SliceSink,
};
use proptest::prelude::*;
use strategies::{any_version, mutated_wire, packet};

fn encoded(packet: &Packet, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = packet
        .encode(version, &mut bytes)
        .expect("strategies make legal packets");
    assert_eq!(written, bytes.len());
    bytes
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
            topic: &publish.topic,
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
}

/// What has been decoded is encoded to a packet that decodes to the same.
fn check_written_again(
    version: ProtocolVersion,
    packet: &PacketRef<'_>,
    wire: &[u8],
) -> Result<(), TestCaseError> {
    let version = if let Packet::Connect(connect) = packet {
        connect.version
    } else {
        version
    };
    let mut bytes = Vec::new();
    let written = packet.encode(version, &mut bytes);
    prop_assert!(written.is_ok(), "{packet:?}: {written:?}");
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
