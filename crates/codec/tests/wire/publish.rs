//! PUBLISH.

use mqttstack_codec::{DecodeError, Delivery, Packet, PacketId, PropertyId, PropertyScope, Sender};

use super::hex::{check_exact, check_refused, v5, v31, v311};

#[test]
pub(crate) fn packet_id_is_there_above_qos_0_only() {
    // v5 MQTT-2.2.1-2; v3.1.1 MQTT-2.3.1-1, v3.1.1 MQTT-2.3.1-5
    let packet_id = PacketId::new(10).expect("not 0");
    let cases = [
        ("30 | 0001 61 000A", Delivery::AtMostOnce, &[0, 10][..]),
        (
            "32 | 0001 61 000A",
            Delivery::AtLeastOnce {
                packet_id,
                dup: false,
            },
            &[],
        ),
        (
            "3A | 0001 61 000A",
            Delivery::AtLeastOnce {
                packet_id,
                dup: true,
            },
            &[],
        ),
        (
            "34 | 0001 61 000A FF",
            Delivery::ExactlyOnce {
                packet_id,
                dup: false,
            },
            &[0xFF],
        ),
        (
            "3C | 0001 61 000A FF",
            Delivery::ExactlyOnce {
                packet_id,
                dup: true,
            },
            &[0xFF],
        ),
    ];
    for (text, delivery, payload) in cases {
        for decoder in [v311(), v31()] {
            let Packet::Publish(publish) = check_exact(decoder, text) else {
                panic!("{text}")
            };
            assert_eq!(
                (publish.delivery, &publish.payload[..]),
                (delivery, payload),
                "{text}"
            );
            assert_eq!(publish.packet_id(), delivery.packet_id());
            assert_eq!(publish.dup(), delivery.dup());
            assert!(!publish.retain);
        }
    }
}

#[test]
pub(crate) fn packet_id_zero_is_refused() {
    // v5 MQTT-2.2.1-3, v5 MQTT-2.2.1-4; v3.1.1 MQTT-2.3.1-1; V31-msgid
    let v3 = [
        "32 | 0001 61 0000",
        "34 | 0001 61 0000",
        "40 | 0000",
        "50 | 0000",
        "62 | 0000",
        "70 | 0000",
        "82 | 0000 0001 61 00",
        "90 | 0000 00",
        "A2 | 0000 0001 61",
        "B0 | 0000",
    ];
    for text in v3 {
        check_refused(v311(), text, DecodeError::PacketIdZero);
        check_refused(v31(), text, DecodeError::PacketIdZero);
    }
    let v5_packets = [
        "32 | 0001 61 0000 00",
        "40 | 0000",
        "82 | 0000 00 0001 61 00",
        "90 | 0000 00 00",
        "A2 | 0000 00 0001 61",
        "B0 | 0000 00 00",
    ];
    for text in v5_packets {
        check_refused(v5(), text, DecodeError::PacketIdZero);
    }
    assert_eq!(DecodeError::PacketIdZero.reason_code().as_u8(), 0x82);
}

#[test]
pub(crate) fn empty_payload_is_legal_at_every_qos() {
    // X311-3.3.3-a
    for text in [
        "30 | 0001 61",
        "31 | 0001 61",
        "33 | 0001 61 0001",
        "35 | 0001 61 0001",
    ] {
        let Packet::Publish(publish) = check_exact(v311(), text) else {
            panic!("{text}")
        };
        assert!(publish.payload.is_empty());
    }
    check_exact(v5(), "30 | 0001 61 00");
}

#[test]
pub(crate) fn topic_is_the_first_field_and_not_empty() {
    // v5 MQTT-3.3.2-1, v5 MQTT-4.7.3-1, v5 U-19; v3.1.1 MQTT-3.3.2-1, v3.1.1 MQTT-4.7.3-1
    check_refused(v5(), "30 | 0000 00", DecodeError::EmptyTopicWithoutAlias);
    check_refused(
        v5(),
        "30 | 0000 02 01 00",
        DecodeError::EmptyTopicWithoutAlias,
    );
    assert_eq!(
        DecodeError::EmptyTopicWithoutAlias.reason_code().as_u8(),
        0x82
    );
    check_refused(v311(), "30 | 0000", DecodeError::EmptyTopicName);
    check_refused(v31(), "30 | 0000 61", DecodeError::EmptyTopicName);
    check_exact(v5(), "30 | 0000 03 23 0001");
}

#[test]
pub(crate) fn topic_alias_is_not_zero() {
    // v5 MQTT-3.3.2-8, v5 U-20
    check_refused(v5(), "30 | 0001 61 03 23 0000", DecodeError::TopicAliasZero);
    check_refused(v5(), "30 | 0000 03 23 0000", DecodeError::TopicAliasZero);
    assert_eq!(DecodeError::TopicAliasZero.reason_code().as_u8(), 0x94);
    let Packet::Publish(publish) = check_exact(v5(), "30 | 0001 61 03 23 FFFF") else {
        panic!("not a PUBLISH")
    };
    assert_eq!(publish.properties.topic_alias(), Some(65_535));
}

#[test]
pub(crate) fn subscription_identifiers_come_from_servers_only() {
    // v5 MQTT-3.3.4-6, v5 U-22
    let text = "30 | 0001 61 04 0B 01 0B 02";
    let Packet::Publish(publish) = check_exact(v5().with_sender(Sender::Server), text) else {
        panic!("not a PUBLISH")
    };
    assert_eq!(
        publish
            .properties
            .subscription_identifiers()
            .collect::<Vec<_>>(),
        [1, 2]
    );
    let error = DecodeError::PropertyOfOtherSide {
        property: PropertyId::SubscriptionIdentifier,
        scope: PropertyScope::Publish,
    };
    check_refused(v5().with_sender(Sender::Client), text, error);
    assert_eq!(error.reason_code().as_u8(), 0x82);
    // The same identifier may come from two subscriptions.
    check_exact(v5(), "30 | 0001 61 04 0B 07 0B 07");
    let zero = DecodeError::InvalidPropertyValue {
        property: PropertyId::SubscriptionIdentifier,
        value: 0,
    };
    check_refused(v5(), "30 | 0001 61 02 0B 00", zero);
    assert_eq!(zero.reason_code().as_u8(), 0x82);
}

#[test]
pub(crate) fn fields_that_run_over_the_end_are_malformed() {
    // X311-2.2.3-b; v5 §2
    let truncated = |needed, available| DecodeError::FieldTruncated { needed, available };
    let cases = [
        (v5(), "30 | ", truncated(2, 0)),
        (v5(), "30 | 00", truncated(2, 1)),
        (v5(), "30 | 0002 61", truncated(2, 1)),
        (v5(), "30 | 0001 61", truncated(1, 0)),
        (v5(), "32 | 0001 61 00", truncated(2, 1)),
        (v5(), "30 | 0001 61 02 01", truncated(2, 1)),
        (v5(), "30 | 0001 61 FF 7F 01 00", truncated(16_383, 2)),
        (v5(), "30 | 0001 61 80", truncated(2, 1)),
        (v5(), "30 | 0001 61 01 02 00 00 00", truncated(4, 0)),
        (v311(), "32 | 0001 61", truncated(2, 0)),
    ];
    for (decoder, text, error) in cases {
        check_refused(decoder, text, error);
        assert_eq!(error.reason_code().as_u8(), 0x81);
    }
}
