//! Both faces judge any bytes alike, and so does the head of a PUBLISH.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use mqttstack_codec::Packet;

fuzz_target!(|input: &[u8]| {
    let Some((decoder, bytes)) = mqttstack_fuzz::settings(input) else {
        return;
    };
    let borrowed = decoder.decode_ref(bytes);
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
    if let (Ok(Some((Packet::Publish(publish), used))), Ok(Some((head, head_len)))) =
        (&borrowed, decoder.decode_publish_head_ref(bytes))
    {
        assert_eq!(head.publish.topic, publish.topic);
        assert_eq!(head.publish.properties, publish.properties);
        assert_eq!(
            &bytes[head_len..head_len + head.payload_len],
            publish.payload
        );
        assert_eq!(head_len + head.payload_len, *used);
    }
});
