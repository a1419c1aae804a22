//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.

use mqttstack_codec::{
    DecodeError, Packet, PacketType, PropertyId, QoS, ReasonCode, RetainHandling, Subscription,
    SubscriptionOptions,
};

use super::hex::{check_exact, check_refused, decode, hex, v5, v31, v311};

#[test]
pub(crate) fn all_subscription_options_are_judged() {
    // v5 MQTT-3.8.3-5, v5 U-25; v3.1.1 MQTT-3.8.3-4
    for options in 0..=u8::MAX {
        let text = format!("82 | 0001 00 0001 61 {options:02X}");
        if options & 0xC0 != 0 {
            let error = DecodeError::ReservedSubscriptionOptions { options };
            check_refused(v5(), &text, error);
            assert_eq!(error.reason_code().as_u8(), 0x81);
        } else if options & 0x03 == 0x03 || options & 0x30 == 0x30 {
            let error = DecodeError::InvalidSubscriptionOptions { options };
            check_refused(v5(), &text, error);
            assert_eq!(error.reason_code().as_u8(), 0x82);
        } else {
            let Packet::Subscribe(subscribe) = check_exact(v5(), &text) else {
                panic!("{text}")
            };
            let entry = subscribe.filters.iter().next().expect("one entry");
            assert_eq!(entry.options.as_u8(), options);
        }
        for decoder in [v311(), v31()] {
            let text = format!("82 | 0001 0001 61 {options:02X}");
            assert_eq!(
                decode(decoder, &hex(&text)).is_ok(),
                options <= 2,
                "{options}"
            );
        }
    }
}

#[test]
pub(crate) fn options_are_read() {
    let Packet::Subscribe(subscribe) = check_exact(v5(), "82 | 0001 00 0001 61 2E 0001 62 11")
    else {
        panic!("not a SUBSCRIBE")
    };
    let entries = subscribe.filters.iter().collect::<Vec<_>>();
    let expected = [
        Subscription {
            filter: "a",
            options: SubscriptionOptions {
                qos: QoS::ExactlyOnce,
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::DoNotSend,
            },
        },
        Subscription {
            filter: "b",
            options: SubscriptionOptions {
                qos: QoS::AtLeastOnce,
                retain_handling: RetainHandling::SendIfNew,
                ..SubscriptionOptions::default()
            },
        },
    ];
    assert_eq!(entries, expected);
    assert_eq!(subscribe.filters.len(), 2);
}

#[test]
pub(crate) fn no_local_is_not_for_shared_subscriptions() {
    // v5 MQTT-3.8.3-4
    let shared = "000A 24 73 68 61 72 65 2F 67 2F 61";
    let error = DecodeError::NoLocalOnShared;
    check_refused(v5(), &format!("82 | 0001 00 {shared} 04"), error);
    assert_eq!(error.reason_code().as_u8(), 0x82);
    check_exact(v5(), &format!("82 | 0001 00 {shared} 08"));
    check_exact(v5(), "82 | 0001 00 0001 61 04");
}

#[test]
pub(crate) fn lists_are_not_empty() {
    // v5 MQTT-3.8.3-2, v5 MQTT-3.10.3-2, v5 U-26; v3.1.1 MQTT-3.8.3-3, v3.1.1 MQTT-3.10.3-2;
    // V31-sub-empty
    let cases = [
        (v5(), "82 | 0001 00", PacketType::Subscribe),
        (v5(), "90 | 0001 00", PacketType::SubAck),
        (v5(), "A2 | 0001 00", PacketType::Unsubscribe),
        (v5(), "B0 | 0001 00", PacketType::UnsubAck),
        (v311(), "82 | 0001", PacketType::Subscribe),
        (v311(), "90 | 0001", PacketType::SubAck),
        (v311(), "A2 | 0001", PacketType::Unsubscribe),
        (v31(), "82 | 0001", PacketType::Subscribe),
        (v31(), "A2 | 0001", PacketType::Unsubscribe),
    ];
    for (decoder, text, packet_type) in cases {
        let error = DecodeError::EmptyList { packet_type };
        check_refused(decoder, text, error);
        assert_eq!(error.reason_code().as_u8(), 0x82);
    }
}

#[test]
pub(crate) fn unsubscribe_has_no_options() {
    // v5 MQTT-3.10.3-1; v3.1.1 MQTT-3.10.3-1
    let Packet::Unsubscribe(unsubscribe) = check_exact(v311(), "A2 | 000A 0003 612F62 0003 632F64")
    else {
        panic!("not an UNSUBSCRIBE")
    };
    assert_eq!(
        unsubscribe.filters.iter().collect::<Vec<_>>(),
        ["a/b", "c/d"]
    );
    assert!(decode(v311(), &hex("A2 | 000A 0001 61 00")).is_err());
}

#[test]
pub(crate) fn subscription_identifier_stands_once_and_is_not_zero() {
    // v5 U-22
    let property = PropertyId::SubscriptionIdentifier;
    check_refused(
        v5(),
        "82 | 0001 02 0B 00 0001 61 00",
        DecodeError::InvalidPropertyValue { property, value: 0 },
    );
    check_refused(
        v5(),
        "82 | 0001 04 0B 01 0B 02 0001 61 00",
        DecodeError::DuplicateProperty { property },
    );
    let largest = "82 | 0001 05 0B FF FF FF 7F 0001 61 00";
    let Packet::Subscribe(subscribe) = check_exact(v5(), largest) else {
        panic!("{largest}")
    };
    assert_eq!(
        subscribe
            .properties
            .subscription_identifiers()
            .collect::<Vec<_>>(),
        [268_435_455]
    );
    check_refused(
        v5(),
        "82 | 0001 06 0B FF FF FF FF 01 0001 61 00",
        DecodeError::VariableByteIntegerTooLong,
    );
    check_refused(
        v5(),
        "82 | 0001 03 0B 81 00 0001 61 00",
        DecodeError::VariableByteIntegerNotMinimal,
    );
}

#[test]
pub(crate) fn codes_stand_in_the_order_of_the_filters() {
    // v5 MQTT-3.9.3-2, v5 MQTT-3.11.3-2; v3.1.1 MQTT-3.8.4-5, v3.1.1 MQTT-3.9.3-1,
    // v3.1.1 MQTT-3.9.3-2; V31-suback
    let Packet::SubAck(suback) = check_exact(v311(), "90 | 000A 02 80 00 01") else {
        panic!("not a SUBACK")
    };
    let expected = [
        ReasonCode::GrantedQoS2,
        ReasonCode::UnspecifiedError,
        ReasonCode::Success,
        ReasonCode::GrantedQoS1,
    ];
    assert!(suback.reason_codes.iter().eq(expected));
    for code in 0..=u8::MAX {
        let text = format!("90 | 000A 00 {code:02X}");
        assert_eq!(
            decode(v311(), &hex(&text)).is_ok(),
            matches!(code, 0..=2 | 0x80),
            "{code}"
        );
        assert_eq!(decode(v31(), &hex(&text)).is_ok(), code <= 2, "{code}");
    }
    let Packet::UnsubAck(unsuback) = check_exact(v5(), "B0 | 000A 00 00 11 87") else {
        panic!("not an UNSUBACK")
    };
    assert_eq!(unsuback.reason_codes.as_bytes(), [0x00, 0x11, 0x87]);
}

#[test]
pub(crate) fn unsuback_of_v3_has_no_codes() {
    let Packet::UnsubAck(unsuback) = check_exact(v311(), "B0 02 00 0A") else {
        panic!("UNSUBACK")
    };
    assert!(unsuback.reason_codes.is_empty());
    assert!(decode(v311(), &hex("B0 | 000A 00")).is_err());
}
