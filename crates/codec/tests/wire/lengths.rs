//! Lengths around the places where a Variable Byte Integer takes a byte more.

use mqttstack_codec::{Decoder, Packet, Properties, ProtocolVersion, Publish};

/// Lengths around the places where a Variable Byte Integer takes a byte more.
const LENGTHS: [usize; 8] = [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152];

#[test]
fn publishes_of_all_lengths_are_written_as_they_are_read() {
    // v5 MQTT-1.5.5-1; X311-2.2.3-a
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        for length in LENGTHS {
            for slack in 0..12 {
                let payload = vec![b'x'; length.saturating_sub(slack)];
                let properties = Properties::empty();
                check_publish(
                    version,
                    Publish {
                        properties,
                        ..Publish::new("a/b", payload)
                    },
                );
            }
        }
    }
}

#[test]
fn property_blocks_of_all_lengths_are_written_as_they_are_read() {
    // v5 MQTT-2.2.2-1
    for length in LENGTHS.into_iter().filter(|length| *length < 20_000) {
        for slack in 0..12 {
            let value = "x".repeat(length.saturating_sub(slack));
            let properties = Properties::builder().user_property("n", &value).build();
            let properties = properties.expect("legal properties");
            check_publish(
                ProtocolVersion::V5,
                Publish {
                    properties,
                    ..Publish::new("a/b", "p")
                },
            );
        }
    }
}

fn check_publish(version: ProtocolVersion, publish: Publish) {
    let length = publish.encoded_len(version).expect("a legal packet");
    let mut bytes = Vec::new();
    assert_eq!(publish.encode(version, &mut bytes), Ok(length));
    assert_eq!(bytes.len(), length);
    let decoder = Decoder::new().with_version(version);
    let (packet, used) = decoder
        .decode_ref(&bytes)
        .expect("legal")
        .expect("complete");
    assert_eq!(used, length);
    assert_eq!(packet.to_shared(), Packet::Publish(publish));
}
