//! Properties: which belong where, how often, with which values; and the builder.

use mqttstack_codec::{
    DecodeError, Packet, Properties, Property, PropertyError, PropertyId, PropertyScope, QoS,
    Sender,
};

use super::hex::{check_exact, check_refused, decode, hex, v5};

/// A legal property of each identifier.
const SAMPLES: [(u8, &str); 27] = [
    (0x01, "01 01"),
    (0x02, "02 0000003C"),
    (0x03, "03 0001 63"),
    (0x08, "08 0001 72"),
    (0x09, "09 0002 00FF"),
    (0x0B, "0B 80 01"),
    (0x11, "11 FFFFFFFF"),
    (0x12, "12 0001 69"),
    (0x13, "13 0000"),
    (0x15, "15 0001 58"),
    (0x16, "16 0001 01"),
    (0x17, "17 00"),
    (0x18, "18 00000005"),
    (0x19, "19 01"),
    (0x1A, "1A 0001 72"),
    (0x1C, "1C 0001 73"),
    (0x1F, "1F 0000"),
    (0x21, "21 FFFF"),
    (0x22, "22 0000"),
    (0x23, "23 0001"),
    (0x24, "24 01"),
    (0x25, "25 01"),
    (0x26, "26 0000 0000"),
    (0x27, "27 00000001"),
    (0x28, "28 00"),
    (0x29, "29 01"),
    (0x2A, "2A 00"),
];

/// The places that have properties, with what belongs there by the standard's table.
const PLACES: [(PropertyScope, &[u8]); 14] = [
    (
        PropertyScope::Connect,
        &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27],
    ),
    (
        PropertyScope::Will,
        &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26],
    ),
    (
        PropertyScope::ConnAck,
        &[
            0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27,
            0x28, 0x29, 0x2A,
        ],
    ),
    (
        PropertyScope::Publish,
        &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26],
    ),
    (PropertyScope::PubAck, &[0x1F, 0x26]),
    (PropertyScope::PubRec, &[0x1F, 0x26]),
    (PropertyScope::PubRel, &[0x1F, 0x26]),
    (PropertyScope::PubComp, &[0x1F, 0x26]),
    (PropertyScope::Subscribe, &[0x0B, 0x26]),
    (PropertyScope::SubAck, &[0x1F, 0x26]),
    (PropertyScope::Unsubscribe, &[0x26]),
    (PropertyScope::UnsubAck, &[0x1F, 0x26]),
    (PropertyScope::Disconnect, &[0x11, 0x1C, 0x1F, 0x26]),
    (PropertyScope::Auth, &[0x15, 0x16, 0x1F, 0x26]),
];

/// Returns a packet with the properties in the place.
fn packet(scope: PropertyScope, properties: &str) -> String {
    let length = hex(properties).len();
    assert!(length < 128);
    let block = format!("{length:02X} {properties}");
    match scope {
        PropertyScope::Connect => format!("10 | 0004 4D515454 05 02 003C {block} 0001 61"),
        PropertyScope::Will => {
            format!("10 | 0004 4D515454 05 06 003C 00 0001 61 {block} 0001 74 0000")
        }
        PropertyScope::ConnAck => format!("20 | 00 00 {block}"),
        PropertyScope::Publish => format!("30 | 0001 61 {block} 70"),
        PropertyScope::PubAck => format!("40 | 0001 00 {block}"),
        PropertyScope::PubRec => format!("50 | 0001 00 {block}"),
        PropertyScope::PubRel => format!("62 | 0001 00 {block}"),
        PropertyScope::PubComp => format!("70 | 0001 00 {block}"),
        PropertyScope::Subscribe => format!("82 | 0001 {block} 0001 61 00"),
        PropertyScope::SubAck => format!("90 | 0001 {block} 00"),
        PropertyScope::Unsubscribe => format!("A2 | 0001 {block} 0001 61"),
        PropertyScope::UnsubAck => format!("B0 | 0001 {block} 00"),
        PropertyScope::Disconnect => format!("E0 | 00 {block}"),
        PropertyScope::Auth => format!("F0 | 18 {block}"),
    }
}

/// Returns what else the standard asks for beside the property.
fn company(scope: PropertyScope, id: u8) -> &'static str {
    match (scope, id) {
        (PropertyScope::Connect, 0x16) => "15 0001 58",
        (PropertyScope::Auth, id) if id != 0x15 => "15 0001 58",
        (_, _) => "",
    }
}

#[test]
pub(crate) fn each_property_is_accepted_where_it_belongs_and_refused_elsewhere() {
    // v5 U-02
    for (scope, allowed) in PLACES {
        for (id, sample) in SAMPLES {
            let property = PropertyId::from_u8(id).expect("defined");
            assert_eq!(
                scope.allows(property),
                allowed.contains(&id),
                "{property} in {scope}"
            );
            let text = packet(scope, &format!("{sample} {}", company(scope, id)));
            if allowed.contains(&id) {
                check_exact(v5(), &text);
            } else {
                let error = DecodeError::PropertyNotAllowed { property, scope };
                check_refused(v5(), &text, error);
                assert_eq!(error.reason_code().as_u8(), 0x81);
            }
        }
    }
}

#[test]
pub(crate) fn undefined_identifiers_are_malformed() {
    // v5 U-02
    for id in 0..=u8::MAX {
        if PropertyId::from_u8(id).is_none() {
            let error = DecodeError::UnknownProperty { id };
            check_refused(
                v5(),
                &packet(PropertyScope::Publish, &format!("{id:02X} 01 00")),
                error,
            );
            assert_eq!(error.reason_code().as_u8(), 0x81);
        }
    }
    // An identifier is a Variable Byte Integer: a padded one is none of the standard's.
    check_refused(
        v5(),
        &packet(PropertyScope::Publish, "81 00 01"),
        DecodeError::UnknownProperty { id: 0x81 },
    );
    assert_eq!(PropertyId::ALL.len(), SAMPLES.len());
}

#[test]
pub(crate) fn only_user_properties_and_published_identifiers_repeat() {
    // v5 U-03, v5 U-22
    for (scope, allowed) in PLACES {
        for (id, sample) in SAMPLES.iter().filter(|(id, _)| allowed.contains(id)) {
            let property = PropertyId::from_u8(*id).expect("defined");
            let text = packet(scope, &format!("{} {sample} {sample}", company(scope, *id)));
            let repeats = *id == 0x26 || (*id == 0x0B && scope == PropertyScope::Publish);
            if repeats {
                check_exact(v5(), &text);
            } else {
                let error = DecodeError::DuplicateProperty { property };
                check_refused(v5(), &text, error);
                assert_eq!(error.reason_code().as_u8(), 0x82);
            }
        }
    }
}

#[test]
pub(crate) fn values_out_of_range_are_protocol_errors() {
    // v5 U-08, v5 U-09
    use PropertyScope as S;
    let flags = [
        (S::Publish, 0x01),
        (S::Connect, 0x17),
        (S::Connect, 0x19),
        (S::ConnAck, 0x24),
        (S::ConnAck, 0x25),
        (S::ConnAck, 0x28),
        (S::ConnAck, 0x29),
        (S::ConnAck, 0x2A),
    ];
    for (scope, id) in flags {
        let property = PropertyId::from_u8(id).expect("defined");
        for value in 0..=u8::MAX {
            let text = packet(scope, &format!("{id:02X} {value:02X}"));
            if value <= 1 {
                check_exact(v5(), &text);
                continue;
            }
            let error = DecodeError::InvalidPropertyValue {
                property,
                value: u32::from(value),
            };
            check_refused(v5(), &text, error);
            assert_eq!(error.reason_code().as_u8(), 0x82);
        }
    }
    for (scope, id, zero) in [
        (S::Connect, 0x21, "21 0000"),
        (S::ConnAck, 0x21, "21 0000"),
        (S::Connect, 0x27, "27 00000000"),
        (S::ConnAck, 0x27, "27 00000000"),
    ] {
        let property = PropertyId::from_u8(id).expect("defined");
        let error = DecodeError::InvalidPropertyValue { property, value: 0 };
        check_refused(v5(), &packet(scope, zero), error);
    }
}

#[test]
pub(crate) fn values_that_run_past_the_block_are_malformed() {
    // v5 U-02
    for (scope, allowed) in PLACES {
        for (id, sample) in SAMPLES.iter().filter(|(id, _)| allowed.contains(id)) {
            let block = hex(sample);
            for cut in 1..block.len() {
                let digits = block[..cut]
                    .iter()
                    .map(|byte| format!("{byte:02X}"))
                    .collect::<String>();
                let error = decode(v5(), &hex(&packet(scope, &digits))).expect_err("cut short");
                assert!(
                    matches!(error, DecodeError::FieldTruncated { .. }),
                    "{id:02X}: {error}"
                );
            }
        }
    }
}

#[test]
pub(crate) fn property_length_is_always_there() {
    // v5 MQTT-2.2.2-1
    for (scope, _) in PLACES {
        let text = packet(scope, "");
        if scope == PropertyScope::Auth {
            check_refused(v5(), &text, DecodeError::AuthWithoutMethod);
        } else {
            assert!(decode(v5(), &hex(&text)).is_ok(), "{scope}");
        }
    }
    for text in [
        "20 | 00 00",
        "30 | 0001 61",
        "82 | 0001",
        "90 | 0001",
        "A2 | 0001",
        "B0 | 0001",
    ] {
        check_refused(
            v5(),
            text,
            DecodeError::FieldTruncated {
                needed: 1,
                available: 0,
            },
        );
    }
}

#[test]
pub(crate) fn property_length_is_a_minimal_integer() {
    // v5 MQTT-1.5.5-1
    check_refused(
        v5(),
        "30 | 0001 61 80 00",
        DecodeError::VariableByteIntegerNotMinimal,
    );
    check_refused(
        v5(),
        "30 | 0001 61 80 80 80 80 01",
        DecodeError::VariableByteIntegerTooLong,
    );
}

#[test]
fn ten_thousand_user_properties_take_linear_work() {
    let mut block = Vec::new();
    for _ in 0..10_000 {
        block.extend(hex("26 0001 6B 0001 76"));
    }
    let mut body = hex("0001 61");
    let length = block.len();
    body.extend([
        length as u8 | 0x80,
        (length >> 7) as u8 | 0x80,
        (length >> 14) as u8,
    ]);
    body.extend(block);
    let mut bytes = vec![0x30];
    let length = body.len();
    bytes.extend([
        length as u8 | 0x80,
        (length >> 7) as u8 | 0x80,
        (length >> 14) as u8,
    ]);
    bytes.extend(body);
    let (packet, _) = v5().decode_ref(&bytes).expect("legal").expect("complete");
    let Packet::Publish(publish) = packet else {
        panic!("not a PUBLISH")
    };
    assert_eq!(publish.properties.user_properties().count(), 10_000);
    assert_eq!(publish.properties.topic_alias(), None);
}

#[test]
fn builder_writes_what_was_said_in_order() {
    let built = Properties::builder()
        .payload_format_indicator(true)
        .message_expiry_interval(60)
        .content_type("c")
        .response_topic("r")
        .correlation_data(&[0, 0xFF])
        .subscription_identifier(128)
        .subscription_identifier(1)
        .session_expiry_interval(u32::MAX)
        .assigned_client_identifier("i")
        .server_keep_alive(0)
        .authentication_method("X")
        .authentication_data(&[1])
        .request_problem_information(false)
        .will_delay_interval(5)
        .request_response_information(true)
        .response_information("r")
        .server_reference("s")
        .reason_string("")
        .receive_maximum(65_535)
        .topic_alias_maximum(0)
        .topic_alias(1)
        .maximum_qos(QoS::AtLeastOnce)
        .retain_available(true)
        .user_property("", "")
        .user_property("k", "v")
        .maximum_packet_size(1)
        .wildcard_subscription_available(false)
        .subscription_identifier_available(true)
        .shared_subscription_available(false)
        .build()
        .expect("legal values");
    let expected = "01 01 02 0000003C 03 0001 63 08 0001 72 09 0002 00FF 0B 80 01 0B 01 \
                    11 FFFFFFFF 12 0001 69 13 0000 15 0001 58 16 0001 01 17 00 18 00000005 19 01 \
                    1A 0001 72 1C 0001 73 1F 0000 21 FFFF 22 0000 23 0001 24 01 25 01 \
                    26 0000 0000 26 0001 6B 0001 76 27 00000001 28 00 29 01 2A 00";
    assert_eq!(built.as_bytes(), hex(expected));
    // Built again from its own values, in a buffer.
    let mut buffer = [0; 256];
    let again = Properties::builder_in(&mut buffer)
        .properties(&built)
        .build()
        .expect("legal");
    assert_eq!(again, built.as_ref());
    assert_eq!(again.to_shared(), built);
    for property in PropertyId::ALL {
        assert!(built.contains(property), "{property}");
    }
    assert_eq!(built.correlation_data(), Some(&[0, 0xFF][..]));
    assert_eq!(
        built.subscription_identifiers().collect::<Vec<_>>(),
        [128, 1]
    );
    assert_eq!(
        built.user_properties().collect::<Vec<_>>(),
        [("", ""), ("k", "v")]
    );
    assert_eq!(built.payload_format_indicator(), Some(true));
    assert_eq!(built.message_expiry_interval(), Some(60));
    assert_eq!(built.content_type(), Some("c"));
    assert_eq!(built.response_topic(), Some("r"));
    assert_eq!(built.will_delay_interval(), Some(5));
    assert_eq!(built.request_problem_information(), Some(false));
    assert_eq!(built.request_response_information(), Some(true));
}

#[test]
fn builder_refuses_what_decoding_refuses() {
    use DecodeError as E;
    let long = "x".repeat(65_536);
    let out_of_range = |property, value| E::InvalidPropertyValue { property, value }.into();
    let cases: [(Property<'_>, PropertyError); 11] = [
        (
            Property::ReceiveMaximum(0),
            out_of_range(PropertyId::ReceiveMaximum, 0),
        ),
        (
            Property::MaximumPacketSize(0),
            out_of_range(PropertyId::MaximumPacketSize, 0),
        ),
        (
            Property::SubscriptionIdentifier(0),
            out_of_range(PropertyId::SubscriptionIdentifier, 0),
        ),
        (
            Property::SubscriptionIdentifier(268_435_456),
            out_of_range(PropertyId::SubscriptionIdentifier, 268_435_456),
        ),
        (
            Property::MaximumQoS(QoS::ExactlyOnce),
            out_of_range(PropertyId::MaximumQoS, 2),
        ),
        (Property::TopicAlias(0), E::TopicAliasZero.into()),
        (Property::ContentType("a\0"), E::NulInString.into()),
        (Property::UserProperty("k", "\0"), E::NulInString.into()),
        (
            Property::ResponseTopic("a/+"),
            E::WildcardInTopicName.into(),
        ),
        (Property::ResponseTopic(""), E::EmptyTopicName.into()),
        (
            Property::ReasonString(&long),
            PropertyError::ValueTooLong {
                property: PropertyId::ReasonString,
                length: 65_536,
            },
        ),
    ];
    for (property, error) in cases {
        assert_eq!(Properties::builder().property(property).build(), Err(error));
        let mut buffer = [0; 128];
        let in_buffer = Properties::builder_in(&mut buffer)
            .property(property)
            .build();
        assert_eq!(in_buffer, Err(error));
    }
    let twice = Properties::builder()
        .topic_alias(1)
        .user_property("k", "v")
        .topic_alias(2)
        .build();
    let error = E::DuplicateProperty {
        property: PropertyId::TopicAlias,
    };
    assert_eq!(twice, Err(error.into()));
    // The longest string there can be.
    let longest = &long[..65_535];
    let built = Properties::builder()
        .reason_string(longest)
        .build()
        .expect("legal");
    assert_eq!(built.reason_string(), Some(longest));
}

#[test]
fn builder_says_when_its_buffer_is_full() {
    let mut buffer = [0; 5];
    let built = Properties::builder_in(&mut buffer)
        .topic_alias(1)
        .topic_alias_maximum(1)
        .build();
    assert_eq!(
        built,
        Err(PropertyError::BufferTooSmall {
            needed: 3,
            available: 2
        })
    );
    let built = Properties::builder_in(&mut buffer)
        .will_delay_interval(1)
        .build();
    assert_eq!(built.expect("fits exactly").as_bytes(), hex("18 00000001"));
}

#[test]
pub(crate) fn without_leaves_out_and_keeps_the_rest_as_it_was() {
    let text = "30 | 0001 61 15 26 0001 61 0000 23 0001 0B 01 26 0001 62 0000 0B 02 01 01";
    let Ok(Packet::Publish(publish)) = decode(v5().with_sender(Sender::Server), &hex(text)) else {
        panic!("not a PUBLISH")
    };
    let properties = publish.properties;
    let kept = properties.without(&[PropertyId::TopicAlias, PropertyId::SubscriptionIdentifier]);
    assert_eq!(
        kept.as_bytes(),
        hex("26 0001 61 0000 26 0001 62 0000 01 01")
    );
    assert_eq!(kept.topic_alias(), None);
    assert_eq!(kept.subscription_identifiers().count(), 0);
    assert_eq!(kept.user_properties().count(), 2);
    assert_eq!(properties.without(&[]), properties);
    assert_eq!(properties.without(&[PropertyId::ReasonString]), properties);
    assert_eq!(properties.without(&PropertyId::ALL), Properties::empty());
    // What was left out can stand there again.
    let rebuilt = Properties::builder()
        .properties(&kept)
        .topic_alias(2)
        .build()
        .expect("legal");
    assert_eq!(rebuilt.topic_alias(), Some(2));
}
