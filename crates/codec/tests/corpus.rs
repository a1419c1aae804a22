//! The seeds of the fuzz targets, without a fuzzer: each is a byte of settings and a packet, or
//! almost one.

use std::{fs, path::Path};

use bytes::BytesMut;
use mqttstack_codec::{Decoder, Packet, ProtocolVersion, Sender};

#[test]
fn both_faces_judge_every_seed_alike() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/bytes");
    let mut packets = 0;
    let mut refused = 0;
    for entry in fs::read_dir(folder).expect("the seeds are in the repository") {
        let seed = fs::read(entry.expect("a seed").path()).expect("a seed");
        let Some((settings, bytes)) = seed.split_first() else {
            continue;
        };
        let version = match settings & 3 {
            0 => ProtocolVersion::V31,
            1 => ProtocolVersion::V311,
            _ => ProtocolVersion::V5,
        };
        for sender in [Sender::Any, Sender::Client, Sender::Server] {
            let decoder = Decoder::new().with_version(version).with_sender(sender);
            let mut buffer = BytesMut::from(bytes);
            let shared = decoder.decode(&mut buffer);
            match decoder.decode_ref(bytes) {
                Ok(None) => assert_eq!(shared, Ok(None)),
                Err(error) => {
                    refused += 1;
                    assert_eq!(shared, Err(error));
                }
                Ok(Some((packet, _))) => {
                    packets += 1;
                    assert_eq!(shared, Ok(Some(packet.to_shared())));
                    let version = if let Packet::Connect(connect) = &packet {
                        connect.version
                    } else {
                        version
                    };
                    let mut encoded = Vec::new();
                    packet
                        .encode(version, &mut encoded)
                        .expect("what is decoded is encoded");
                    let decoder = decoder.with_version(version);
                    let again = decoder.decode(&mut BytesMut::from(&encoded[..]));
                    assert_eq!(again, Ok(Some(packet.to_shared())));
                }
            }
        }
    }
    assert!(
        packets > 50 && refused > 50,
        "{packets} packets, {refused} refused"
    );
}
