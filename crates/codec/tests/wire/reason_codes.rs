//! Every reason code in every packet, from either side, against the table of the standard.

use mqttstack_codec::{DecodeError, PacketType, ReasonCode, Sender};

use super::hex::{decode, hex, v5};

const CONNACK: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];
const PUBACK_CLIENT: &[u8] = &[0x00, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const PUBACK_SERVER: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const PUBREL: &[u8] = &[0x00, 0x92];
const SUBACK: &[u8] = &[
    0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
];
const UNSUBACK: &[u8] = &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
// 0x9B in both and 0x8C from the server: the standard contradicts itself, and they are accepted.
const DISCONNECT_CLIENT: &[u8] = &[
    0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9B,
];
const DISCONNECT_SERVER: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95,
    0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];
const AUTH_CLIENT: &[u8] = &[0x18, 0x19];
const AUTH_SERVER: &[u8] = &[0x00, 0x18];

/// A packet type, the bytes before and behind its code, and what each side may send.
type Case<'c> = (PacketType, &'c str, &'c str, &'c [u8], &'c [u8]);

#[test]
pub(crate) fn each_packet_has_its_codes() {
    // v5 MQTT-3.2.2-8, v5 MQTT-3.4.2-1, v5 MQTT-3.5.2-1, v5 MQTT-3.6.2-1, v5 MQTT-3.7.2-1,
    // v5 MQTT-3.9.3-2, v5 MQTT-3.11.3-2, v5 MQTT-3.14.2-1, v5 MQTT-3.15.2-1
    let method = "04 15 0001 58";
    let cases: [Case<'_>; 9] = [
        (PacketType::ConnAck, "20 | 00", "00", &[], CONNACK),
        (
            PacketType::PubAck,
            "40 | 0001",
            "",
            PUBACK_CLIENT,
            PUBACK_SERVER,
        ),
        (
            PacketType::PubRec,
            "50 | 0001",
            "",
            PUBACK_CLIENT,
            PUBACK_SERVER,
        ),
        (PacketType::PubRel, "62 | 0001", "", PUBREL, PUBREL),
        (PacketType::PubComp, "70 | 0001", "", PUBREL, PUBREL),
        (PacketType::SubAck, "90 | 0001 00", "", &[], SUBACK),
        (PacketType::UnsubAck, "B0 | 0001 00", "", &[], UNSUBACK),
        (
            PacketType::Disconnect,
            "E0 | ",
            "",
            DISCONNECT_CLIENT,
            DISCONNECT_SERVER,
        ),
        (PacketType::Auth, "F0 | ", method, AUTH_CLIENT, AUTH_SERVER),
    ];
    for (packet_type, before, after, client, server) in cases {
        for code in 0..=u8::MAX {
            let bytes = hex(&format!("{before} {code:02X} {after}"));
            for sender in [Sender::Any, Sender::Client, Sender::Server] {
                let is_from_client = client.contains(&code) && sender != Sender::Server;
                let is_from_server = server.contains(&code) && sender != Sender::Client;
                let result = decode(v5().with_sender(sender), &bytes);
                assert_eq!(
                    result.is_ok(),
                    is_from_client || is_from_server,
                    "{packet_type} 0x{code:02X} from {sender}: {result:?}"
                );
                if let Err(error) = result {
                    assert_eq!(error.reason_code(), ReasonCode::ProtocolError);
                    let expected = DecodeError::InvalidReasonCode { packet_type, code };
                    let direction = DecodeError::WrongDirection {
                        packet_type,
                        sender,
                    };
                    assert!(error == expected || error == direction, "{error}");
                }
            }
        }
    }
}

#[test]
fn bytes_and_codes_are_the_same() {
    let mut defined = 0;
    for byte in 0..=u8::MAX {
        if let Some(code) = ReasonCode::from_u8(byte) {
            assert_eq!(code.as_u8(), byte);
            assert_eq!(code.is_error(), byte >= 0x80);
            assert!(!code.name().is_empty());
            defined += 1;
        }
    }
    assert_eq!(defined, 43);
}

#[test]
fn v3_return_codes_go_there_and_back() {
    // v3.1.1 MQTT-3.2.2-6
    for value in 0..=5 {
        let code = ReasonCode::from_connect_return_code(value).expect("defined");
        assert_eq!(code.to_connect_return_code(), Some(value));
    }
    assert_eq!(ReasonCode::from_connect_return_code(6), None);
    assert_eq!(ReasonCode::SessionTakenOver.to_connect_return_code(), None);
}
