//! Encoding refuses what decoding would refuse, writes all or nothing, and knows its versions.

use bytes::{Bytes, BytesMut};
use mqttstack_codec::{
    Ack, Auth, ConnAck, Connect, DecodeError, Delivery, Disconnect, EncodeError, Packet, PacketId,
    PacketRef, PacketType, Properties, PropertyId, PropertyScope, ProtocolVersion, Publish,
    PublishParts, QoS, ReasonCode, ReasonCodes, SliceSink, SubAck, Subscribe, SubscribeFilters,
    Subscription, SubscriptionOptions, UnsubAck, Unsubscribe, UnsubscribeFilters, Will,
};

use super::hex::{hex, v5};

const V31: ProtocolVersion = ProtocolVersion::V31;
const V311: ProtocolVersion = ProtocolVersion::V311;
const V5: ProtocolVersion = ProtocolVersion::V5;

const ID: PacketId = PacketId::MIN;

fn refused(packet: Packet, version: ProtocolVersion, error: impl Into<EncodeError>) {
    let error = error.into();
    let mut out = vec![0xAA];
    assert_eq!(packet.encode(version, &mut out), Err(error), "{packet:?}");
    assert_eq!(packet.encoded_len(version), Err(error), "{packet:?}");
    assert_eq!(out, [0xAA], "something was written");
}

fn publish(topic: &'static str) -> Publish {
    Publish::new(topic, Bytes::new())
}

#[test]
fn text_that_no_receiver_accepts_is_refused() {
    // v5 MQTT-1.5.4-2, v5 MQTT-3.3.2-2, v5 MQTT-4.7.0-1, v5 MQTT-4.7.3-3; v3.1.1 MQTT-1.5.3-2,
    // v3.1.1 MQTT-3.3.2-2
    for version in [V31, V311, V5] {
        for (topic, error) in [
            ("a/+", DecodeError::WildcardInTopicName),
            ("#", DecodeError::WildcardInTopicName),
            ("a\0", DecodeError::NulInString),
        ] {
            refused(Packet::Publish(publish(topic)), version, error);
        }
        let connect = Connect::new(version, "a\0");
        refused(Packet::Connect(connect), version, DecodeError::NulInString);
        let username = Connect {
            username: Some("\0".into()),
            ..Connect::new(version, "a")
        };
        refused(Packet::Connect(username), version, DecodeError::NulInString);
        let long = Connect::new(version, "x".repeat(65_536));
        refused(
            Packet::Connect(long),
            version,
            EncodeError::FieldTooLong { length: 65_536 },
        );
        let will = Will {
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::empty(),
            topic: "a/#".into(),
            payload: Bytes::new(),
        };
        let with_will = Connect {
            will: Some(will.clone()),
            ..Connect::new(version, "a")
        };
        refused(
            Packet::Connect(with_will),
            version,
            DecodeError::WildcardInTopicName,
        );
        let long_will = Will {
            topic: "t".into(),
            payload: vec![0; 65_536].into(),
            ..will
        };
        let with_will = Connect {
            will: Some(long_will),
            ..Connect::new(version, "a")
        };
        refused(
            Packet::Connect(with_will),
            version,
            EncodeError::FieldTooLong { length: 65_536 },
        );
    }
    let topic = Publish::new("x".repeat(65_536), Bytes::new());
    refused(
        Packet::Publish(topic),
        V5,
        EncodeError::FieldTooLong { length: 65_536 },
    );
}

#[test]
fn empty_topic_needs_an_alias() {
    // v5 U-19
    refused(
        Packet::Publish(publish("")),
        V5,
        DecodeError::EmptyTopicWithoutAlias,
    );
    refused(
        Packet::Publish(publish("")),
        V311,
        DecodeError::EmptyTopicName,
    );
    let properties = Properties::builder().topic_alias(1).build().expect("legal");
    let by_alias = Packet::Publish(Publish {
        properties,
        ..publish("")
    });
    assert_eq!(by_alias.encoded_len(V5), Ok(8));
}

#[test]
fn properties_stay_where_they_belong() {
    // v5 U-02, v5 U-22
    let alias = || Properties::builder().topic_alias(1).build().expect("legal");
    let not_allowed = |scope| DecodeError::PropertyNotAllowed {
        property: PropertyId::TopicAlias,
        scope,
    };
    let ack = || Ack {
        properties: alias(),
        ..Ack::new(ID)
    };
    refused(
        Packet::PubAck(ack()),
        V5,
        not_allowed(PropertyScope::PubAck),
    );
    refused(
        Packet::PubRec(ack()),
        V5,
        not_allowed(PropertyScope::PubRec),
    );
    refused(
        Packet::PubRel(ack()),
        V5,
        not_allowed(PropertyScope::PubRel),
    );
    refused(
        Packet::PubComp(ack()),
        V5,
        not_allowed(PropertyScope::PubComp),
    );
    let disconnect = Disconnect {
        properties: alias(),
        ..Disconnect::new(ReasonCode::Success)
    };
    refused(
        Packet::Disconnect(disconnect),
        V5,
        not_allowed(PropertyScope::Disconnect),
    );
    let connack = ConnAck {
        properties: alias(),
        ..ConnAck::new(false, ReasonCode::Success)
    };
    refused(
        Packet::ConnAck(connack),
        V5,
        not_allowed(PropertyScope::ConnAck),
    );
    let connect = Connect {
        properties: alias(),
        ..Connect::new(V5, "a")
    };
    refused(
        Packet::Connect(connect),
        V5,
        not_allowed(PropertyScope::Connect),
    );
    let filters = || {
        SubscribeFilters::new([Subscription::new("a", QoS::AtMostOnce)]).expect("a legal filter")
    };
    let subscribe = Subscribe {
        packet_id: ID,
        properties: alias(),
        filters: filters(),
    };
    refused(
        Packet::Subscribe(subscribe),
        V5,
        not_allowed(PropertyScope::Subscribe),
    );
    let two = Properties::builder()
        .subscription_identifier(1)
        .subscription_identifier(2)
        .build();
    let subscribe = Subscribe {
        packet_id: ID,
        properties: two.expect("legal"),
        filters: filters(),
    };
    let duplicate = DecodeError::DuplicateProperty {
        property: PropertyId::SubscriptionIdentifier,
    };
    refused(Packet::Subscribe(subscribe), V5, duplicate);
    let data = Properties::builder()
        .authentication_data(&[1])
        .build()
        .expect("legal");
    let connect = Connect {
        properties: data,
        ..Connect::new(V5, "a")
    };
    refused(
        Packet::Connect(connect),
        V5,
        DecodeError::AuthenticationDataWithoutMethod,
    );
    let auth = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        properties: Properties::empty(),
    };
    refused(Packet::Auth(auth), V5, DecodeError::AuthWithoutMethod);
}

#[test]
fn reason_codes_stay_where_they_belong() {
    // v5 MQTT-3.2.2-6, v5 MQTT-3.2.2-8, v5 MQTT-3.4.2-1, v5 MQTT-3.5.2-1, v5 MQTT-3.6.2-1,
    // v5 MQTT-3.7.2-1, v5 MQTT-3.9.3-2, v5 MQTT-3.11.3-2, v5 MQTT-3.14.2-1, v5 MQTT-3.15.2-1
    let wrong = |packet_type| DecodeError::InvalidReasonCode {
        packet_type,
        code: ReasonCode::KeepAliveTimeout.as_u8(),
    };
    let code = ReasonCode::KeepAliveTimeout;
    let ack = || Ack::with_reason(ID, code);
    let properties = Properties::empty;
    let codes = || ReasonCodes::new([ReasonCode::Success, code]);
    let cases: [Packet; 8] = [
        Packet::ConnAck(ConnAck::new(false, code)),
        Packet::PubAck(ack()),
        Packet::PubRec(ack()),
        Packet::PubRel(ack()),
        Packet::PubComp(ack()),
        Packet::SubAck(SubAck {
            packet_id: ID,
            properties: properties(),
            reason_codes: codes(),
        }),
        Packet::UnsubAck(UnsubAck {
            packet_id: ID,
            properties: properties(),
            reason_codes: codes(),
        }),
        Packet::Auth(Auth {
            reason_code: code,
            properties: properties(),
        }),
    ];
    for packet in cases {
        let packet_type = packet.packet_type();
        refused(packet, V5, wrong(packet_type));
    }
    let disconnect = Packet::Disconnect(Disconnect::new(ReasonCode::GrantedQoS1));
    let error = DecodeError::InvalidReasonCode {
        packet_type: PacketType::Disconnect,
        code: 1,
    };
    refused(disconnect, V5, error);
    let connack = || Packet::ConnAck(ConnAck::new(true, ReasonCode::NotAuthorized));
    refused(connack(), V5, DecodeError::SessionPresentWithError);
    refused(connack(), V311, DecodeError::SessionPresentWithError);
    for (packet_type, version) in [(PacketType::SubAck, V5), (PacketType::SubAck, V311)] {
        let (reason_codes, properties) = (ReasonCodes::new([]), properties());
        let suback = SubAck {
            packet_id: ID,
            properties,
            reason_codes,
        };
        refused(
            Packet::SubAck(suback),
            version,
            DecodeError::EmptyList { packet_type },
        );
    }
}

#[test]
fn v3_has_no_properties_codes_options_and_auth() {
    let text = || {
        Properties::builder()
            .user_property("k", "v")
            .build()
            .expect("legal")
    };
    for version in [V31, V311] {
        let not_in = |packet_type, reason_code| EncodeError::ReasonCodeNotInVersion {
            packet_type,
            reason_code,
            version,
        };
        let no_properties = |packet_type| EncodeError::PropertiesNotInVersion { packet_type };
        refused(
            Packet::Publish(Publish {
                properties: text(),
                ..publish("a")
            }),
            version,
            no_properties(PacketType::Publish),
        );
        refused(
            Packet::PubAck(Ack {
                properties: text(),
                ..Ack::new(ID)
            }),
            version,
            no_properties(PacketType::PubAck),
        );
        refused(
            Packet::PubAck(Ack::with_reason(ID, ReasonCode::NotAuthorized)),
            version,
            not_in(PacketType::PubAck, ReasonCode::NotAuthorized),
        );
        refused(
            Packet::Disconnect(Disconnect::new(ReasonCode::ServerShuttingDown)),
            version,
            not_in(PacketType::Disconnect, ReasonCode::ServerShuttingDown),
        );
        refused(
            Packet::ConnAck(ConnAck::new(false, ReasonCode::PacketTooLarge)),
            version,
            not_in(PacketType::ConnAck, ReasonCode::PacketTooLarge),
        );
        refused(
            Packet::Auth(Auth {
                reason_code: ReasonCode::Success,
                properties: Properties::empty(),
            }),
            version,
            EncodeError::PacketTypeNotInVersion {
                packet_type: PacketType::Auth,
                version,
            },
        );
        let options = SubscriptionOptions {
            no_local: true,
            ..SubscriptionOptions::new(QoS::AtLeastOnce)
        };
        let filters = SubscribeFilters::new([Subscription {
            filter: "a",
            options,
        }])
        .expect("legal");
        refused(
            Packet::Subscribe(Subscribe {
                packet_id: ID,
                properties: Properties::empty(),
                filters,
            }),
            version,
            EncodeError::SubscriptionOptionsNotInVersion,
        );
        let unsuback = UnsubAck {
            packet_id: ID,
            properties: Properties::empty(),
            reason_codes: ReasonCodes::new([ReasonCode::Success]),
        };
        refused(
            Packet::UnsubAck(unsuback),
            version,
            not_in(PacketType::UnsubAck, ReasonCode::Success),
        );
        let connect = Connect {
            password: Some(Bytes::new()),
            ..Connect::new(version, "a")
        };
        refused(
            Packet::Connect(connect),
            version,
            DecodeError::PasswordWithoutUserName,
        );
    }
}

#[test]
fn suback_failure_is_for_v311_and_later() {
    // v3.1.1 MQTT-3.9.3-2; V31-suback
    let suback = |code| {
        let reason_codes = ReasonCodes::new([ReasonCode::GrantedQoS2, code]);
        Packet::SubAck(SubAck {
            packet_id: ID,
            properties: Properties::empty(),
            reason_codes,
        })
    };
    let failure = ReasonCode::UnspecifiedError;
    assert!(suback(failure).encoded_len(V311).is_ok());
    let error = |reason_code, version| EncodeError::ReasonCodeNotInVersion {
        packet_type: PacketType::SubAck,
        reason_code,
        version,
    };
    refused(suback(failure), V31, error(failure, V31));
    let quota = ReasonCode::QuotaExceeded;
    refused(suback(quota), V311, error(quota, V311));
    assert!(suback(quota).encoded_len(V5).is_ok());
}

#[test]
fn connect_is_written_in_its_own_version() {
    let connect = Connect::new(V311, "a");
    let error = EncodeError::VersionMismatch {
        connect: V311,
        version: V5,
    };
    refused(Packet::Connect(connect), V5, error);
    let bridge = Connect {
        bridge: true,
        ..Connect::new(V5, "a")
    };
    refused(Packet::Connect(bridge), V5, EncodeError::BridgeNotInVersion);
}

#[test]
fn ill_formed_lists_cannot_be_made() {
    // v5 MQTT-3.8.3-2, v5 MQTT-3.8.3-4, v5 MQTT-3.10.3-2; v3.1.1 MQTT-3.8.3-3
    let entry = |filter| Subscription::new(filter, QoS::AtMostOnce);
    let cases: [(&str, DecodeError); 4] = [
        ("", DecodeError::EmptyTopicFilter),
        ("a/#/b", DecodeError::MisplacedWildcard),
        ("a+", DecodeError::MisplacedWildcard),
        ("a\0", DecodeError::NulInString),
    ];
    for (filter, error) in cases {
        assert_eq!(
            SubscribeFilters::new([entry("ok"), entry(filter)]),
            Err(error.into())
        );
        assert_eq!(UnsubscribeFilters::new(["ok", filter]), Err(error.into()));
        let mut buffer = [0; 64];
        assert_eq!(
            UnsubscribeFilters::new_in(&mut buffer, [filter]),
            Err(error.into())
        );
    }
    let empty = |packet_type| EncodeError::from(DecodeError::EmptyList { packet_type });
    assert_eq!(SubscribeFilters::new([]), Err(empty(PacketType::Subscribe)));
    assert_eq!(
        UnsubscribeFilters::new([]),
        Err(empty(PacketType::Unsubscribe))
    );
    let options = SubscriptionOptions {
        no_local: true,
        ..SubscriptionOptions::default()
    };
    let shared = SubscribeFilters::new([Subscription {
        filter: "$share/g/a",
        options,
    }]);
    assert_eq!(shared, Err(DecodeError::NoLocalOnShared.into()));
    let long = "x".repeat(65_536);
    let error = EncodeError::FieldTooLong { length: 65_536 };
    assert_eq!(UnsubscribeFilters::new([long.as_str()]), Err(error));
    let mut buffer = [0; 8];
    assert_eq!(
        SubscribeFilters::new_in(&mut buffer, [entry("a/b"), entry("c/d")]),
        Err(EncodeError::BufferTooSmall {
            needed: 6,
            available: 2
        })
    );
}

#[test]
fn ill_formed_share_is_an_ordinary_filter_before_v5() {
    // v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2
    let filters = SubscribeFilters::new([Subscription::new("$share/g", QoS::AtMostOnce)])
        .expect("legal before 5.0");
    let subscribe = Subscribe {
        packet_id: ID,
        properties: Properties::empty(),
        filters,
    };
    assert!(
        Packet::Subscribe(subscribe.clone())
            .encoded_len(V311)
            .is_ok()
    );
    refused(
        Packet::Subscribe(subscribe),
        V5,
        DecodeError::InvalidSharedFilter,
    );
    let filters = UnsubscribeFilters::new(["$share/g"]).expect("legal before 5.0");
    let unsubscribe = Unsubscribe {
        packet_id: ID,
        properties: Properties::empty(),
        filters,
    };
    assert!(
        Packet::Unsubscribe(unsubscribe.clone())
            .encoded_len(V311)
            .is_ok()
    );
    refused(
        Packet::Unsubscribe(unsubscribe),
        V5,
        DecodeError::InvalidSharedFilter,
    );
}

#[test]
fn nothing_is_written_unless_everything_fits() {
    let packet = PacketRef::Publish(Publish::new("a/b", &b"payload"[..]));
    let needed = packet.encoded_len(V5).expect("legal");
    for available in 0..needed {
        let mut buffer = vec![0xAA; available];
        let mut out = SliceSink::new(&mut buffer);
        let error = EncodeError::BufferTooSmall { needed, available };
        assert_eq!(packet.encode(V5, &mut out), Err(error));
        assert!(out.written().is_empty());
        assert!(
            buffer.iter().all(|byte| *byte == 0xAA),
            "something was written"
        );
    }
    let mut buffer = vec![0; needed];
    let mut out = SliceSink::new(&mut buffer);
    assert_eq!(packet.encode(V5, &mut out), Ok(needed));
    assert_eq!(out.remaining(), 0);
}

#[test]
fn packets_follow_one_another_in_a_sink() {
    let mut buffer = [0; 64];
    let mut out = SliceSink::new(&mut buffer);
    let mut vec = Vec::new();
    let mut bytes = BytesMut::new();
    for packet in [
        PacketRef::PingReq,
        PacketRef::PubAck(Ack::new(ID)),
        PacketRef::PingResp,
    ] {
        packet.encode(V311, &mut out).expect("fits");
        packet.encode(V311, &mut vec).expect("fits");
        packet.encode(V311, &mut bytes).expect("fits");
    }
    assert_eq!(out.written(), hex("C0 00 40 02 00 01 D0 00"));
    assert_eq!(out.written(), vec);
    assert_eq!(out.into_written(), bytes);
}

#[test]
fn packet_of_more_than_the_protocol_can_say_is_refused() {
    let parts = PublishParts {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: "t".into(),
        properties: [Properties::empty(); 2],
        payload_len: 268_435_451,
    };
    assert_eq!(parts.encoded_len(V5), Ok(268_435_460));
    let longer = PublishParts {
        payload_len: 268_435_452,
        ..parts
    };
    assert_eq!(
        longer.encoded_len(V5),
        Err(EncodeError::PacketTooLong {
            length: 268_435_456
        })
    );
    assert_eq!(
        PublishParts {
            payload_len: usize::MAX,
            ..parts
        }
        .encoded_len(V5),
        Err(EncodeError::PacketTooLong { length: usize::MAX })
    );
}

#[test]
fn parts_are_the_packet_without_its_payload() {
    let mut hop = [0; 32];
    let hop = Properties::builder_in(&mut hop)
        .message_expiry_interval(9)
        .subscription_identifier(1)
        .subscription_identifier(2)
        .build()
        .expect("legal");
    let kept = Properties::builder()
        .content_type("c")
        .user_property("k", "v")
        .build();
    let kept = kept.expect("legal");
    let together = Properties::builder()
        .properties(&hop)
        .properties(&kept)
        .build()
        .expect("legal");
    let delivery = Delivery::ExactlyOnce {
        packet_id: ID,
        dup: true,
    };
    for (version, properties, whole) in [
        (V5, [hop, kept.as_ref()], together),
        (V5, [kept.as_ref(), Properties::empty()], kept.clone()),
        (V5, [Properties::empty(), hop], hop.to_shared()),
        (V5, [Properties::empty(); 2], Properties::empty()),
        (V311, [Properties::empty(); 2], Properties::empty()),
        (V31, [Properties::empty(); 2], Properties::empty()),
    ] {
        let payload = Bytes::from_static(b"payload");
        let parts = PublishParts {
            delivery,
            retain: true,
            topic: "a/b".into(),
            properties,
            payload_len: payload.len(),
        };
        let mut bytes = Vec::new();
        let head = parts.encode_head(version, &mut bytes).expect("legal");
        assert_eq!(head, bytes.len());
        bytes.extend_from_slice(&payload);
        assert_eq!(parts.encoded_len(version), Ok(bytes.len()));
        let publish = Publish {
            delivery,
            retain: true,
            topic: "a/b".into(),
            properties: whole,
            payload,
        };
        let mut expected = Vec::new();
        publish.encode(version, &mut expected).expect("legal");
        assert_eq!(bytes, expected);
    }
    let twice = PublishParts {
        delivery,
        retain: false,
        topic: "a/b".into(),
        properties: [hop, hop],
        payload_len: 0,
    };
    let error = DecodeError::DuplicateProperty {
        property: PropertyId::MessageExpiryInterval,
    };
    assert_eq!(twice.encoded_len(V5), Err(error.into()));
    let alias = Properties::builder().topic_alias(3).build().expect("legal");
    let by_alias = PublishParts {
        topic: "".into(),
        properties: [Properties::empty(), alias.as_ref()],
        ..twice
    };
    assert_eq!(by_alias.encoded_len(V5), Ok(10));
    assert!(by_alias.encoded_len(V311).is_err());
}

#[test]
fn session_present_is_not_said_to_v31() {
    // V31-connack
    let connack: Packet = Packet::ConnAck(ConnAck::new(true, ReasonCode::Success));
    for (version, expected) in [
        (V31, "20 02 00 00"),
        (V311, "20 02 01 00"),
        (V5, "20 03 01 00 00"),
    ] {
        let mut out = Vec::new();
        connack.encode(version, &mut out).expect("legal");
        assert_eq!(out, hex(expected));
    }
}

#[test]
fn packets_tell_their_identifiers() {
    let ack: Packet = Packet::PubRel(Ack::new(ID));
    assert_eq!(
        (ack.packet_type(), ack.packet_id()),
        (PacketType::PubRel, Some(ID))
    );
    let delivery = Delivery::new(QoS::AtLeastOnce, Some(ID)).expect("has an identifier");
    let publish = Publish {
        delivery,
        ..publish("a")
    };
    assert_eq!((publish.qos(), publish.dup()), (QoS::AtLeastOnce, false));
    assert!(publish.delivery.with_dup(true).dup());
    assert_eq!(Packet::Publish(publish).packet_id(), Some(ID));
    assert_eq!(Delivery::new(QoS::AtMostOnce, Some(ID)), None);
    assert_eq!(Delivery::new(QoS::ExactlyOnce, None), None);
    let (packet, _) = v5()
        .decode_ref(&[0xE0, 0])
        .expect("legal")
        .expect("complete");
    assert_eq!(
        (packet.packet_type(), packet.packet_id()),
        (PacketType::Disconnect, None)
    );
}
