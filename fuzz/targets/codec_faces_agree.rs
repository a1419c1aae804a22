//! Both faces judge any bytes alike, and so do the head of a PUBLISH and a frame whose type is known.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use mqttstack_codec::{DecodeError, Decoder, Packet, PacketRef, PacketType};

fuzz_target!(|input: &[u8]| {
    let Some((decoder, bytes)) = mqttstack_fuzz::settings(input) else {
        return;
    };
    let borrowed = decoder.decode_ref(bytes);
    check_head(decoder, bytes, &borrowed);
    check_frame(decoder, bytes, &borrowed);
    let mut buffer = BytesMut::from(bytes);
    let mut frozen = Bytes::copy_from_slice(bytes);
    let shared = decoder.decode(&mut buffer);
    assert_eq!(decoder.decode_bytes(&mut frozen), shared);
    match (&borrowed, &shared) {
        (Ok(None), Ok(None)) => {}
        (Err(borrowed), Err(shared)) => assert_eq!(borrowed, shared),
        (Ok(Some((borrowed, used))), Ok(Some(shared))) => {
            assert_eq!(&borrowed.to_shared(), shared);
            assert_eq!(buffer.len(), bytes.len() - used);
        }
        (borrowed, shared) => panic!("{borrowed:?} and {shared:?}"),
    }
});

type Outcome<'a> = Result<Option<(PacketRef<'a>, usize)>, DecodeError>;

/// A PUBLISH is judged by its head as it is as a whole.
fn check_head<'a>(decoder: Decoder, bytes: &'a [u8], expected: &Outcome<'a>) {
    let is_publish = bytes.first().map(|first_byte| first_byte >> 4) == Some(0x3);
    match (expected, decoder.decode_publish_head_ref(bytes)) {
        (Ok(Some((Packet::Publish(publish), used))), Ok(Some((head, head_len)))) => {
            assert_eq!(head.publish.delivery, publish.delivery);
            assert_eq!(head.publish.retain, publish.retain);
            assert_eq!(head.publish.topic, publish.topic);
            assert_eq!(head.publish.properties, publish.properties);
            assert_eq!(&bytes[head_len..*used], publish.payload);
            assert_eq!(head_len + head.payload_len, *used);
        }
        // Of several faults, another one may be found.
        (Err(_), Err(_)) | (Ok(None), Ok(None)) => {}
        // The head of a packet that is not all there.
        (Ok(None), Ok(Some(_)) | Err(_)) => assert!(is_publish),
        (Ok(Some(_)) | Err(_), Ok(None)) => assert!(!is_publish),
        (expected, head) => panic!("{expected:?} and {head:?}"),
    }
}

/// A frame is read by the method of its type, to what `decode_ref` says, and by no other.
fn check_frame<'a>(decoder: Decoder, bytes: &'a [u8], expected: &Outcome<'a>) {
    let frame = match decoder.split_ref(bytes) {
        Ok(Some(frame)) => frame,
        Ok(None) => return assert_eq!(expected, &Ok(None)),
        Err(error) => return assert_eq!(expected, &Err(error)),
    };
    assert_ne!(expected, &Ok(None));
    if let Ok(Some((packet, used))) = expected {
        assert_eq!(frame.packet_type(), packet.packet_type());
        assert_eq!(frame.total_len(), *used);
    }
    let by_type = [
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
    for (packet_type, read) in by_type {
        if packet_type == frame.packet_type() {
            let whole = expected.clone().map(|it| it.map(|(packet, _)| packet));
            assert_eq!(read, whole);
        } else {
            assert_eq!(read, Ok(None));
        }
    }
}
