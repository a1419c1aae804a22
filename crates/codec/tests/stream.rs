//! Streams cut anywhere, read whole or in pieces.

#[path = "properties/strategies.rs"]
mod strategies;

use bytes::{Bytes, BytesMut};
use mqttstack_codec::{
    Connect, DecodeError, Decoder, Packet, ProtocolVersion, Publish, StreamDecoder, StreamItem,
};
use proptest::{collection::vec, prelude::*};
use strategies::{any_version, packet};

const V311: ProtocolVersion = ProtocolVersion::V311;

fn wire(packets: &[Packet], version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        packet.encode(version, &mut bytes).expect("legal");
    }
    bytes
}

/// Feeds a stream in segments and puts pieces of payloads together again.
fn read(
    mut stream: StreamDecoder,
    segments: &[&[u8]],
) -> Result<(Vec<Packet>, usize), DecodeError> {
    let mut packets = Vec::new();
    let mut most_buffered = 0;
    let mut partial: Option<(Publish, Vec<u8>, usize)> = None;
    for segment in segments {
        stream.handle_input(segment);
        while let Some(item) = stream.poll_item()? {
            match item {
                StreamItem::Packet(packet) => {
                    assert!(partial.is_none(), "a packet inside of a payload");
                    packets.push(packet);
                }
                StreamItem::PublishHead(head) => {
                    assert!(partial.is_none(), "a head inside of a payload");
                    partial = Some((head.publish, Vec::new(), head.payload_len));
                }
                StreamItem::Payload { bytes, left } => {
                    assert!(!bytes.is_empty(), "an empty piece");
                    let (_, payload, payload_len) = partial.as_mut().expect("a head first");
                    payload.extend_from_slice(&bytes);
                    assert_eq!(payload.len() + left, *payload_len);
                }
            }
            // A head without payload is a packet, too.
            if partial
                .as_ref()
                .is_some_and(|(_, payload, length)| payload.len() == *length)
            {
                let (mut publish, payload, _) = partial.take().expect("just seen");
                publish.payload = payload.into();
                packets.push(Packet::Publish(publish));
            }
        }
        most_buffered = most_buffered.max(stream.buffered());
    }
    assert_eq!(stream.buffered(), 0);
    Ok((packets, most_buffered))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Where the stream is cut makes no difference, nor does how payloads are handed out.
    #[test]
    fn cuts_are_invisible(
        (version, packets) in any_version().prop_flat_map(|v| (Just(v), vec(packet(v), 1..6))),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        whole_publish_max in prop_oneof![Just(0), 0..200_usize, Just(usize::MAX)],
    ) {
        let bytes = wire(&packets, version);
        let mut at = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect::<Vec<_>>();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let segments = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect::<Vec<_>>();
        let stream = StreamDecoder::new(Decoder::new().with_version(version))
            .with_whole_publish_max(whole_publish_max);
        let (read, _) = read(stream, &segments).expect("legal packets");
        prop_assert_eq!(read, packets);
    }

    /// Byte by byte is the hardest cut.
    #[test]
    fn single_bytes_are_enough(
        (version, packets) in any_version().prop_flat_map(|v| (Just(v), vec(packet(v), 1..4))),
        in_pieces in any::<bool>(),
    ) {
        let bytes = wire(&packets, version);
        let segments = bytes.chunks(1).collect::<Vec<_>>();
        let stream = StreamDecoder::new(Decoder::new().with_version(version))
            .with_whole_publish_max(if in_pieces { 0 } else { usize::MAX });
        let (read, _) = read(stream, &segments).expect("legal packets");
        prop_assert_eq!(read, packets);
    }
}

#[test]
fn large_payload_in_pieces_takes_no_memory_for_the_whole() {
    let payload = vec![7; 1 << 20];
    let packet = Packet::Publish(Publish::new("t", payload));
    let bytes = wire(std::slice::from_ref(&packet), V311);
    let segments = bytes.chunks(1000).collect::<Vec<_>>();
    let decoder = Decoder::new().with_version(V311);
    let stream = StreamDecoder::new(decoder).with_whole_publish_max(4096);
    let (packets, most_buffered) = read(stream, &segments).expect("legal");
    assert_eq!(packets, [packet]);
    assert_eq!(most_buffered, 0, "pieces wait for nothing");
}

#[test]
fn claimed_size_is_not_believed() {
    let mut stream = StreamDecoder::new(Decoder::new().with_version(V311));
    stream.handle_input(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0x00, 0x01, b't']);
    assert_eq!(stream.poll_item(), Ok(None));
    assert_eq!(stream.buffered(), 8);
}

#[test]
fn packet_over_the_limit_is_refused_before_its_body() {
    // v5 U-13
    let decoder = Decoder::new().with_packet_size_max(100);
    let mut stream = StreamDecoder::new(decoder).with_whole_publish_max(10);
    stream.handle_input(&[0x30, 0x80]);
    assert_eq!(stream.poll_item(), Ok(None));
    stream.handle_input(&[0x01]);
    let error = DecodeError::PacketTooLarge {
        size: 131,
        limit: 100,
    };
    assert_eq!(stream.poll_item(), Err(error));
}

#[test]
fn failure_stays() {
    let mut stream = StreamDecoder::new(Decoder::new());
    stream.handle_input(&[0x00]);
    let error = DecodeError::ReservedPacketType { first_byte: 0 };
    assert_eq!(stream.poll_item(), Err(error));
    stream.handle_input(&[0xC0, 0x00]);
    assert_eq!(stream.poll_item(), Err(error));
    assert_eq!(stream.buffered(), 0);
}

#[test]
fn connect_sets_the_version() {
    let connect = Packet::Connect(Connect::new(V311, "a"));
    let publish = Packet::Publish(Publish::new("t", &b"\x00payload"[..]));
    let mut bytes = wire(&[connect.clone(), publish.clone()], V311);
    bytes.extend(wire(&[Packet::PingReq], V311));
    let mut stream = StreamDecoder::new(Decoder::new());
    stream.handle_buffer(BytesMut::from(&bytes[..20]));
    stream.handle_buffer(BytesMut::from(&bytes[20..]));
    for expected in [connect, publish, Packet::PingReq] {
        assert_eq!(stream.poll_item(), Ok(Some(StreamItem::Packet(expected))));
    }
    assert_eq!(stream.decoder().version, V311);
}

#[test]
fn head_is_read_as_soon_as_it_is_there() {
    let properties = [0x04, 0x0B, 0x01, 0x0B, 0x02];
    let mut bytes = vec![0x32, 0x90, 0x4E, 0x00, 0x03, b'a', b'/', b'b', 0x00, 0x0A];
    bytes.extend(properties);
    let decoder = Decoder::new();
    for cut in 0..bytes.len() {
        assert_eq!(
            decoder.decode_publish_head_ref(&bytes[..cut]),
            Ok(None),
            "cut at {cut}"
        );
    }
    let head_len = bytes.len();
    bytes.extend([1, 2, 3]);
    let (head, used) = decoder
        .decode_publish_head_ref(&bytes)
        .expect("legal")
        .expect("complete");
    assert_eq!((used, head.payload_len), (head_len, 10_000 - head_len + 3));
    assert_eq!(
        head.publish.properties.subscription_identifiers().count(),
        2
    );
    assert_eq!(
        decoder.decode_publish_head_ref(&[0xC0, 0x00]),
        Ok(None),
        "another packet"
    );
}

#[test]
fn head_that_cannot_fit_is_refused_at_once() {
    let truncated = |needed, available| DecodeError::FieldTruncated { needed, available };
    let cases: [(&[u8], DecodeError); 6] = [
        (&[0x30, 0x01], truncated(2, 1)),
        (&[0x30, 0x05, 0xFF, 0xFF], truncated(65_537, 5)),
        (&[0x32, 0x03, 0x00, 0x01], truncated(5, 3)),
        (&[0x30, 0x03, 0x00, 0x01, b'a'], truncated(4, 3)),
        (
            &[0x30, 0x05, 0x00, 0x01, b'a', 0x80, 0x01],
            truncated(133, 5),
        ),
        (
            &[0x30, 0x7F, 0x00, 0x01, b'a', 0x80, 0x80, 0x80, 0x80],
            DecodeError::VariableByteIntegerTooLong,
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(
            Decoder::new().decode_publish_head_ref(bytes),
            Err(error),
            "{bytes:02X?}"
        );
        let mut stream = StreamDecoder::new(Decoder::new()).with_whole_publish_max(0);
        stream.handle_input(bytes);
        assert_eq!(stream.poll_item(), Err(error), "{bytes:02X?}");
    }
}

#[test]
fn pieces_share_the_buffer() {
    let packet = Packet::Publish(Publish::new("t", Bytes::from_static(b"0123456789")));
    let buffer = BytesMut::from(&wire(&[packet], V311)[..]);
    let range = buffer.as_ptr_range();
    let mut stream =
        StreamDecoder::new(Decoder::new().with_version(V311)).with_whole_publish_max(0);
    stream.handle_buffer(buffer);
    assert!(matches!(
        stream.poll_item(),
        Ok(Some(StreamItem::PublishHead(_)))
    ));
    let Ok(Some(StreamItem::Payload { bytes, left: 0 })) = stream.poll_item() else {
        panic!("a payload")
    };
    assert!(range.contains(&bytes.as_ptr()), "the piece was copied");
}
