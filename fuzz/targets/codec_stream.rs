//! A stream, cut at random, against the same bytes decoded in one go.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqttstack_codec::{DecodeError, Decoder, Packet, StreamDecoder, StreamItem};

fuzz_target!(|input: (Vec<u8>, Vec<u8>, u16)| {
    let (input, cuts, limit) = input;
    let Some((decoder, bytes)) = mqttstack_fuzz::settings(&input) else {
        return;
    };
    let expected = in_one_go(decoder, bytes);
    // What is claimed may be more than is buffered unasked; one go has no such limit.
    let unlimited = || StreamDecoder::new(decoder).with_buffered_max(usize::MAX);
    let whole = in_pieces(unlimited(), bytes, &cuts, usize::MAX);
    assert_eq!(whole, expected);
    let limit = usize::from(limit);
    let stream = unlimited().with_whole_publish_max(limit);
    let (packets, error) = in_pieces(stream, bytes, &cuts, usize::MAX);
    // Of several faults, another one may be found; and one in a head before its payload is there.
    assert_eq!(packets, expected.0);
    assert!(error.is_some() || expected.1.is_none());
    let stream = StreamDecoder::new(decoder)
        .with_whole_publish_max(limit)
        .with_buffered_max(limit);
    // A length that is cut itself is not known yet: five bytes of fixed header and one of the topic's
    // length, or three of the properties' behind as many names as are taken.
    let (packets, _) = in_pieces(stream, bytes, &cuts, limit.saturating_add(6));
    assert!(expected.0.starts_with(&packets));
});

type Outcome = (Vec<Packet>, Option<DecodeError>);

fn in_one_go(mut decoder: Decoder, bytes: &[u8]) -> Outcome {
    let mut packets = Vec::new();
    let mut rest = bytes;
    loop {
        match decoder.decode_ref(rest) {
            Ok(Some((packet, used))) => {
                if let Packet::Connect(connect) = &packet {
                    decoder.version = connect.version;
                }
                packets.push(packet.to_shared());
                rest = &rest[used..];
            }
            Ok(None) => return (packets, None),
            Err(error) => return (packets, Some(error)),
        }
    }
}

fn in_pieces(mut stream: StreamDecoder, bytes: &[u8], cuts: &[u8], buffered_max: usize) -> Outcome {
    let mut packets = Vec::new();
    let mut partial = None;
    let mut rest = bytes;
    let mut cuts = cuts.iter();
    while !rest.is_empty() {
        let length = cuts
            .next()
            .map_or(rest.len(), |cut| usize::from(*cut).min(rest.len()));
        let (segment, after) = rest.split_at(length);
        rest = after;
        stream.handle_input(segment);
        loop {
            match stream.poll_item() {
                Ok(None) => {
                    assert!(stream.buffered() <= buffered_max);
                    break;
                }
                Err(error) => return (packets, Some(error)),
                Ok(Some(StreamItem::Packet(packet))) => packets.push(packet),
                Ok(Some(StreamItem::PublishHead(head))) => {
                    if head.payload_len == 0 {
                        packets.push(Packet::Publish(head.publish));
                    } else {
                        partial = Some((head.publish, Vec::new()));
                    }
                }
                Ok(Some(StreamItem::Payload { bytes, left })) => {
                    let (_, payload) = partial.as_mut().expect("a head first");
                    payload.extend_from_slice(&bytes);
                    if left == 0 {
                        let (mut publish, payload) = partial.take().expect("just seen");
                        publish.payload = payload.into();
                        packets.push(Packet::Publish(publish));
                    }
                }
            }
        }
    }
    (packets, None)
}
