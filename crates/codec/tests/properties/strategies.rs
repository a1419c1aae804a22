//! Legal packets of each version, and bytes that are almost packets.

use bytes::Bytes;
use mqttstack_codec::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, PacketId, PacketType, Properties,
    Property, PropertyId, PropertyScope, ProtocolVersion, Publish, QoS, ReasonCode, ReasonCodes,
    RetainHandling, Sender, SubAck, Subscribe, SubscribeFilters, Subscription, SubscriptionOptions,
    UnsubAck, Unsubscribe, UnsubscribeFilters, Will,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

pub(crate) fn any_version() -> impl Strategy<Value = ProtocolVersion> {
    select(vec![
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ])
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z0-9/ ]{0,24}",
        1 => "[^\0]{0,12}",
    ]
}

fn topic() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9]{1,8}(/[a-z0-9]{0,8}){0,4}",
        1 => "[^\0+#]{1,24}",
    ]
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![4 => "[a-z0-9]{0,6}", 1 => Just("+".to_owned())];
    (option::of("[a-z]{1,4}"), vec(level, 1..5), any::<bool>()).prop_map(
        |(share, mut levels, ends_in_all)| {
            if ends_in_all {
                levels.push("#".to_owned());
            }
            let filter = levels.join("/");
            match share {
                _ if filter.is_empty() => "/".to_owned(),
                Some(name) => format!("$share/{name}/{filter}"),
                None => filter,
            }
        },
    )
}

fn binary() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_filter_map("not 0", PacketId::new)
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

/// The raw material of a property of any type.
#[derive(Clone, Debug)]
struct Material {
    number: u32,
    text: String,
    topic: String,
    binary: Bytes,
}

fn material() -> impl Strategy<Value = Material> {
    (any::<u32>(), text(), topic(), binary()).prop_map(|(number, text, topic, binary)| Material {
        number,
        text,
        topic,
        binary,
    })
}

impl Material {
    fn property(&self, id: PropertyId) -> Property<'_> {
        use Property as P;
        use PropertyId as Id;
        let (flag, short) = (self.number & 1 == 1, self.number as u16);
        match id {
            Id::PayloadFormatIndicator => P::PayloadFormatIndicator(flag),
            Id::MessageExpiryInterval => P::MessageExpiryInterval(self.number),
            Id::ContentType => P::ContentType(&self.text),
            Id::ResponseTopic => P::ResponseTopic(&self.topic),
            Id::CorrelationData => P::CorrelationData(&self.binary),
            Id::SubscriptionIdentifier => P::SubscriptionIdentifier(self.number >> 4 | 1),
            Id::SessionExpiryInterval => P::SessionExpiryInterval(self.number),
            Id::AssignedClientIdentifier => P::AssignedClientIdentifier(&self.text),
            Id::ServerKeepAlive => P::ServerKeepAlive(short),
            Id::AuthenticationMethod => P::AuthenticationMethod(&self.text),
            Id::AuthenticationData => P::AuthenticationData(&self.binary),
            Id::RequestProblemInformation => P::RequestProblemInformation(flag),
            Id::WillDelayInterval => P::WillDelayInterval(self.number),
            Id::RequestResponseInformation => P::RequestResponseInformation(flag),
            Id::ResponseInformation => P::ResponseInformation(&self.text),
            Id::ServerReference => P::ServerReference(&self.text),
            Id::ReasonString => P::ReasonString(&self.text),
            Id::ReceiveMaximum => P::ReceiveMaximum(short | 1),
            Id::TopicAliasMaximum => P::TopicAliasMaximum(short),
            Id::TopicAlias => P::TopicAlias(short | 1),
            Id::MaximumQoS => P::MaximumQoS(if flag {
                QoS::AtLeastOnce
            } else {
                QoS::AtMostOnce
            }),
            Id::RetainAvailable => P::RetainAvailable(flag),
            Id::UserProperty => P::UserProperty(&self.topic, &self.text),
            Id::MaximumPacketSize => P::MaximumPacketSize(self.number | 1),
            Id::WildcardSubscriptionAvailable => P::WildcardSubscriptionAvailable(flag),
            Id::SubscriptionIdentifierAvailable => P::SubscriptionIdentifierAvailable(flag),
            Id::SharedSubscriptionAvailable => P::SharedSubscriptionAvailable(flag),
        }
    }
}

/// Legal properties of the place; `always` are there in any case.
fn properties(
    version: ProtocolVersion,
    scope: PropertyScope,
    always: &'static [PropertyId],
) -> BoxedStrategy<Properties> {
    if version != ProtocolVersion::V5 {
        return Just(Properties::empty()).boxed();
    }
    let allowed = PropertyId::ALL
        .into_iter()
        .filter(|id| scope.allows(*id))
        .collect::<Vec<_>>();
    vec((select(allowed), material()), 0..8)
        .prop_map(move |chosen| {
            let mut seen = always.to_vec();
            let extra = always.iter().map(|id| (*id, None));
            let mut list = Vec::new();
            for (id, material) in chosen {
                let repeats = id == PropertyId::UserProperty
                    || (id == PropertyId::SubscriptionIdentifier
                        && scope == PropertyScope::Publish);
                if repeats || !seen.contains(&id) {
                    seen.push(id);
                    list.push((id, Some(material)));
                }
            }
            list.extend(extra);
            let fallback = Material {
                number: 1,
                text: "m".to_owned(),
                topic: "t".to_owned(),
                binary: Bytes::new(),
            };
            let mut builder = Properties::builder();
            for (id, material) in &list {
                builder = builder.property(material.as_ref().unwrap_or(&fallback).property(*id));
            }
            builder.build().expect("legal properties")
        })
        .boxed()
}

fn reason(packet_type: PacketType) -> impl Strategy<Value = ReasonCode> {
    let codes = (0..=u8::MAX)
        .filter_map(ReasonCode::from_u8)
        .filter(|code| code.is_allowed(packet_type, Sender::Any))
        .collect::<Vec<_>>();
    select(codes)
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let will = (
        qos(),
        any::<bool>(),
        properties(version, PropertyScope::Will, &[]),
        topic(),
        binary(),
    )
        .prop_map(|(qos, retain, properties, topic, payload)| Will {
            qos,
            retain,
            properties,
            topic: topic.into(),
            payload,
        });
    (
        (any::<bool>(), any::<bool>(), any::<u16>()),
        properties(
            version,
            PropertyScope::Connect,
            &[PropertyId::AuthenticationMethod],
        ),
        text(),
        option::of(will),
        option::of(text()),
        option::of(binary()),
    )
        .prop_map(
            move |(head, properties, client_id, will, username, password)| {
                let (clean_start, bridge, keep_alive) = head;
                let needs_username = version != ProtocolVersion::V5;
                Packet::Connect(Connect {
                    version,
                    bridge: bridge && needs_username,
                    clean_start,
                    keep_alive,
                    properties,
                    client_id: client_id.into(),
                    will,
                    password: password.filter(|_| username.is_some() || !needs_username),
                    username: username.map(Into::into),
                })
            },
        )
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let reason: BoxedStrategy<ReasonCode> = if version == ProtocolVersion::V5 {
        reason(PacketType::ConnAck).boxed()
    } else {
        (0..=5_u8)
            .prop_filter_map("defined", ReasonCode::from_connect_return_code)
            .boxed()
    };
    (
        any::<bool>(),
        reason,
        properties(version, PropertyScope::ConnAck, &[]),
    )
        .prop_map(move |(session_present, reason_code, properties)| {
            let session_present = session_present
                && reason_code == ReasonCode::Success
                && version != ProtocolVersion::V31;
            Packet::ConnAck(ConnAck {
                session_present,
                reason_code,
                properties,
            })
        })
}

fn publish(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let delivery = (qos(), packet_id(), any::<bool>()).prop_map(|(qos, id, dup)| {
        let id = (qos != QoS::AtMostOnce).then_some(id);
        Delivery::new(qos, id)
            .expect("an identifier where there is one")
            .with_dup(dup)
    });
    let payload = vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    (
        delivery,
        any::<(bool, bool)>(),
        topic(),
        properties(version, PropertyScope::Publish, &[]),
        payload,
    )
        .prop_map(
            |(delivery, (retain, by_alias), topic, properties, payload)| {
                let by_alias = by_alias && properties.contains(PropertyId::TopicAlias);
                let topic = if by_alias { String::new() } else { topic };
                Packet::Publish(Publish {
                    delivery,
                    retain,
                    topic: topic.into(),
                    properties,
                    payload,
                })
            },
        )
}

fn ack(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    type Make = fn(Ack) -> Packet;
    let kinds: [(PacketType, PropertyScope, Make); 4] = [
        (PacketType::PubAck, PropertyScope::PubAck, Packet::PubAck),
        (PacketType::PubRec, PropertyScope::PubRec, Packet::PubRec),
        (PacketType::PubRel, PropertyScope::PubRel, Packet::PubRel),
        (PacketType::PubComp, PropertyScope::PubComp, Packet::PubComp),
    ];
    select(kinds.to_vec()).prop_flat_map(move |(packet_type, scope, make)| {
        (
            packet_id(),
            reason(packet_type),
            properties(version, scope, &[]),
        )
            .prop_map(move |(packet_id, reason_code, properties)| {
                let reason_code = if version == ProtocolVersion::V5 {
                    reason_code
                } else {
                    ReasonCode::Success
                };
                make(Ack {
                    packet_id,
                    reason_code,
                    properties,
                })
            })
    })
}

fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let handling = select(vec![
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    let options = (qos(), any::<(bool, bool)>(), handling).prop_map(
        move |(qos, (no_local, retain_as_published), retain_handling)| {
            if version == ProtocolVersion::V5 {
                SubscriptionOptions {
                    qos,
                    no_local,
                    retain_as_published,
                    retain_handling,
                }
            } else {
                SubscriptionOptions::new(qos)
            }
        },
    );
    let entry = (filter(), options).prop_map(|(filter, mut options)| {
        options.no_local &= !filter.starts_with("$share/");
        (filter, options)
    });
    (
        packet_id(),
        properties(version, PropertyScope::Subscribe, &[]),
        vec(entry, 1..12),
    )
        .prop_map(|(packet_id, properties, entries)| {
            let entries = entries.iter().map(|(filter, options)| Subscription {
                filter,
                options: *options,
            });
            let filters = SubscribeFilters::new(entries).expect("legal filters");
            Packet::Subscribe(Subscribe {
                packet_id,
                properties,
                filters,
            })
        })
}

fn suback(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let code = reason(PacketType::SubAck).prop_map(move |code| match version {
        ProtocolVersion::V5 => code,
        ProtocolVersion::V311 if code.is_error() => ReasonCode::UnspecifiedError,
        ProtocolVersion::V31 if code.is_error() => ReasonCode::GrantedQoS1,
        ProtocolVersion::V311 | ProtocolVersion::V31 => code,
    });
    (
        packet_id(),
        properties(version, PropertyScope::SubAck, &[]),
        vec(code, 1..12),
    )
        .prop_map(|(packet_id, properties, codes)| {
            let reason_codes = ReasonCodes::new(codes);
            Packet::SubAck(SubAck {
                packet_id,
                properties,
                reason_codes,
            })
        })
}

fn unsubscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    (
        packet_id(),
        properties(version, PropertyScope::Unsubscribe, &[]),
        vec(filter(), 1..12),
    )
        .prop_map(|(packet_id, properties, filters)| {
            let filters = filters.iter().map(String::as_str);
            let filters = UnsubscribeFilters::new(filters).expect("legal filters");
            Packet::Unsubscribe(Unsubscribe {
                packet_id,
                properties,
                filters,
            })
        })
}

fn unsuback(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let codes = if version == ProtocolVersion::V5 {
        1..12
    } else {
        0..1
    };
    (
        packet_id(),
        properties(version, PropertyScope::UnsubAck, &[]),
        vec(reason(PacketType::UnsubAck), codes),
    )
        .prop_map(|(packet_id, properties, codes)| {
            let reason_codes = ReasonCodes::new(codes);
            Packet::UnsubAck(UnsubAck {
                packet_id,
                properties,
                reason_codes,
            })
        })
}

fn disconnect(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    (
        reason(PacketType::Disconnect),
        properties(version, PropertyScope::Disconnect, &[]),
    )
        .prop_map(move |(reason_code, properties)| {
            let reason_code = if version == ProtocolVersion::V5 {
                reason_code
            } else {
                ReasonCode::Success
            };
            Packet::Disconnect(Disconnect {
                reason_code,
                properties,
            })
        })
}

fn auth() -> impl Strategy<Value = Packet> {
    let properties = properties(
        ProtocolVersion::V5,
        PropertyScope::Auth,
        &[PropertyId::AuthenticationMethod],
    );
    (reason(PacketType::Auth), properties).prop_map(|(reason_code, properties)| {
        Packet::Auth(Auth {
            reason_code,
            properties,
        })
    })
}

/// Any legal packet of the version.
pub(crate) fn packet(version: ProtocolVersion) -> BoxedStrategy<Packet> {
    let of_v5 = if version == ProtocolVersion::V5 {
        auth().boxed()
    } else {
        Just(Packet::PingReq).boxed()
    };
    prop_oneof![
        2 => connect(version),
        1 => connack(version),
        4 => publish(version),
        2 => ack(version),
        2 => subscribe(version),
        1 => suback(version),
        1 => unsubscribe(version),
        1 => unsuback(version),
        1 => disconnect(version),
        1 => of_v5,
        1 => select(vec![Packet::PingReq, Packet::PingResp]),
    ]
    .boxed()
}
