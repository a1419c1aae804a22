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
fn what_has_to_be_there_at_once_has_a_limit() {
    let too_large = |size| DecodeError::PacketTooLarge { size, limit: 100 };
    let cases: [(&str, &[u8], Option<DecodeError>); 9] = [
        ("CONNECT at the limit", &[0x10, 98], None),
        ("CONNECT over it", &[0x10, 99], Some(too_large(101))),
        (
            "AUTH",
            &[0xF0, 0x80, 0x80, 0x80, 0x01],
            Some(too_large(2_097_157)),
        ),
        (
            "payload of any size",
            &[0x30, 0x80, 0x80, 0x01, 0, 3, b'a', b'/', b'b', 0],
            None,
        ),
        ("topic at the limit", &[0x30, 0x80, 0x80, 0x01, 0, 94], None),
        (
            "topic over it",
            &[0x30, 0x80, 0x80, 0x01, 0, 95],
            Some(too_large(101)),
        ),
        (
            "identifier over it",
            &[0x32, 0x80, 0x80, 0x01, 0, 93],
            Some(too_large(101)),
        ),
        (
            "properties at the limit",
            &[0x30, 0x80, 0x80, 0x01, 0, 1, b't', 92],
            None,
        ),
        (
            "properties over it",
            &[0x30, 0x80, 0x80, 0x01, 0, 1, b't', 93],
            Some(too_large(101)),
        ),
    ];
    for (name, bytes, error) in cases {
        for step in [1, bytes.len()] {
            let mut stream = StreamDecoder::new(Decoder::new())
                .with_whole_publish_max(0)
                .with_buffered_max(100);
            let mut outcome = Ok(None);
            for piece in bytes.chunks(step) {
                assert_eq!(outcome.as_ref().err(), None, "{name}: before all is known");
                stream.handle_input(piece);
                outcome = stream.poll_item();
            }
            assert_eq!(outcome.err(), error, "{name}, by {step}");
        }
    }
}

#[test]
fn a_whole_publish_has_a_limit_of_its_own() {
    let packet = Packet::Publish(Publish::new("t", vec![7; 1000]));
    let bytes = wire(std::slice::from_ref(&packet), V311);
    let stream = StreamDecoder::new(Decoder::new().with_version(V311)).with_buffered_max(4);
    let (packets, _) = read(stream, &[&bytes]).expect("legal");
    assert_eq!(packets, [packet]);
}

#[test]
fn without_a_word_a_megabyte_is_buffered() {
    // A CONNECT and a property block of 256 MB that a peer begins and does not end.
    let connect = [0x10, 0xF7, 0xFF, 0xFF, 0x7F];
    let publish = [
        0x30, 0xF7, 0xFF, 0xFF, 0x7F, 0, 1, b't', 0xEF, 0xFF, 0xFF, 0x7F,
    ];
    for bytes in [&connect[..], &publish] {
        let mut stream = StreamDecoder::new(Decoder::new()).with_whole_publish_max(0);
        stream.handle_input(bytes);
        let error = stream.poll_item().expect_err("too large");
        assert!(
            matches!(
                error,
                DecodeError::PacketTooLarge {
                    limit: 0x10_0000,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn kept_packets_share_buffers() {
    let packet = Packet::Publish(Publish::new("t", &b"0123456789"[..]));
    let bytes = wire(std::slice::from_ref(&packet), V311);
    let mut stream = StreamDecoder::new(Decoder::new().with_version(V311));
    let mut payloads = Vec::new();
    for _ in 0..100 {
        stream.handle_input(&bytes);
        let Ok(Some(StreamItem::Packet(Packet::Publish(publish)))) = stream.poll_item() else {
            panic!("a PUBLISH")
        };
        payloads.push(publish.payload);
    }
    // Of one buffer, each payload lies a packet behind the one before.
    let addresses = payloads.iter().map(|payload| payload.as_ptr().addr());
    let addresses = addresses.collect::<Vec<_>>();
    assert!(
        addresses
            .windows(2)
            .all(|pair| pair[1] == pair[0] + bytes.len())
    );
}

#[test]
fn debug_is_without_what_waits() {
    let mut stream = StreamDecoder::new(Decoder::new());
    stream.handle_input(&[0x10, 0x40, b's', b'e', b'c', b'r', b'e', b't']);
    let text = format!("{stream:?}");
    assert!(text.contains("buffered: 8"), "{text}");
    assert!(!text.contains("secret") && !text.contains("115"), "{text}");
}

#[test]
fn debug_of_what_was_found_is_without_secrets() {
    let method_and_data = [
        0x15, 0, 1, b'X', 0x16, 0, 6, b's', b'e', b'c', b'r', b'e', b't',
    ];
    let mut bytes = vec![0xF0, 15, 0x18, 13];
    bytes.extend(method_and_data);
    let frame = Decoder::new()
        .split_ref(&bytes)
        .expect("legal")
        .expect("whole");
    let auth = frame.auth().expect("legal").expect("an AUTH");
    assert_eq!(auth.properties.authentication_data(), Some(&b"secret"[..]));
    for text in [
        format!("{frame:?}"),
        format!("{auth:?}"),
        format!("{:?}", auth.properties),
        format!("{:?}", auth.properties.iter()),
        format!("{:?}", auth.properties.iter().nth(1)),
    ] {
        assert!(
            !text.contains("secret") && !text.contains("115, 101"),
            "{text}"
        );
    }
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
