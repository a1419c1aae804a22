//! Packets out of arbitrary bytes: mostly legal, sometimes not, which the encoder has to notice.

use arbitrary::{Arbitrary, Result, Unstructured};
use mqttstack_codec::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, PacketId, Properties, Property,
    PropertyId, ProtocolVersion, Publish, QoS, ReasonCode, ReasonCodes, RetainHandling, SubAck,
    Subscribe, SubscribeFilters, Subscription, SubscriptionOptions, UnsubAck, Unsubscribe,
    UnsubscribeFilters, Will,
};

/// A version and a packet to write in it.
#[derive(Debug)]
pub struct Versioned {
    pub version: ProtocolVersion,
    pub packet: Packet,
}

impl<'a> Arbitrary<'a> for Versioned {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let version = version(u)?;
        Ok(Self {
            version,
            packet: packet(u, version)?,
        })
    }
}

fn version(u: &mut Unstructured<'_>) -> Result<ProtocolVersion> {
    Ok(*u.choose(&[
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ])?)
}

fn qos(u: &mut Unstructured<'_>) -> Result<QoS> {
    Ok(*u.choose(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])?)
}

fn id(u: &mut Unstructured<'_>) -> Result<PacketId> {
    Ok(PacketId::new(u16::arbitrary(u)?).unwrap_or(PacketId::MIN))
}

fn code(u: &mut Unstructured<'_>) -> Result<ReasonCode> {
    Ok(ReasonCode::from_u8(u8::arbitrary(u)?).unwrap_or_default())
}

fn properties(u: &mut Unstructured<'_>, version: ProtocolVersion) -> Result<Properties> {
    if version != ProtocolVersion::V5 && !u.ratio(1, 16)? {
        return Ok(Properties::empty());
    }
    let mut builder = Properties::builder();
    for _ in 0..u.int_in_range(0..=6)? {
        let property = property(u)?;
        builder = builder.property(property);
    }
    Ok(builder.build().unwrap_or_default())
}

fn property<'a>(u: &mut Unstructured<'a>) -> Result<Property<'a>> {
    use Property as P;
    use PropertyId as Id;
    Ok(match *u.choose(&PropertyId::ALL)? {
        Id::PayloadFormatIndicator => P::PayloadFormatIndicator(u.arbitrary()?),
        Id::MessageExpiryInterval => P::MessageExpiryInterval(u.arbitrary()?),
        Id::ContentType => P::ContentType(u.arbitrary()?),
        Id::ResponseTopic => P::ResponseTopic(u.arbitrary()?),
        Id::CorrelationData => P::CorrelationData(u.arbitrary()?),
        Id::SubscriptionIdentifier => P::SubscriptionIdentifier(u.arbitrary()?),
        Id::SessionExpiryInterval => P::SessionExpiryInterval(u.arbitrary()?),
        Id::AssignedClientIdentifier => P::AssignedClientIdentifier(u.arbitrary()?),
        Id::ServerKeepAlive => P::ServerKeepAlive(u.arbitrary()?),
        Id::AuthenticationMethod => P::AuthenticationMethod(u.arbitrary()?),
        Id::AuthenticationData => P::AuthenticationData(u.arbitrary()?),
        Id::RequestProblemInformation => P::RequestProblemInformation(u.arbitrary()?),
        Id::WillDelayInterval => P::WillDelayInterval(u.arbitrary()?),
        Id::RequestResponseInformation => P::RequestResponseInformation(u.arbitrary()?),
        Id::ResponseInformation => P::ResponseInformation(u.arbitrary()?),
        Id::ServerReference => P::ServerReference(u.arbitrary()?),
        Id::ReasonString => P::ReasonString(u.arbitrary()?),
        Id::ReceiveMaximum => P::ReceiveMaximum(u.arbitrary()?),
        Id::TopicAliasMaximum => P::TopicAliasMaximum(u.arbitrary()?),
        Id::TopicAlias => P::TopicAlias(u.arbitrary()?),
        Id::MaximumQoS => P::MaximumQoS(qos(u)?),
        Id::RetainAvailable => P::RetainAvailable(u.arbitrary()?),
        Id::UserProperty => P::UserProperty(u.arbitrary()?, u.arbitrary()?),
        Id::MaximumPacketSize => P::MaximumPacketSize(u.arbitrary()?),
        Id::WildcardSubscriptionAvailable => P::WildcardSubscriptionAvailable(u.arbitrary()?),
        Id::SubscriptionIdentifierAvailable => P::SubscriptionIdentifierAvailable(u.arbitrary()?),
        Id::SharedSubscriptionAvailable => P::SharedSubscriptionAvailable(u.arbitrary()?),
    })
}

fn binary(u: &mut Unstructured<'_>) -> Result<bytes::Bytes> {
    Ok(Vec::arbitrary(u)?.into())
}

fn will(u: &mut Unstructured<'_>, version: ProtocolVersion) -> Result<Option<Will>> {
    if !bool::arbitrary(u)? {
        return Ok(None);
    }
    Ok(Some(Will {
        qos: qos(u)?,
        retain: u.arbitrary()?,
        properties: properties(u, version)?,
        topic: String::arbitrary(u)?.into(),
        payload: binary(u)?,
    }))
}

fn connect(u: &mut Unstructured<'_>, version: ProtocolVersion) -> Result<Connect> {
    Ok(Connect {
        version,
        bridge: u.arbitrary()?,
        clean_start: u.arbitrary()?,
        keep_alive: u.arbitrary()?,
        properties: properties(u, version)?,
        client_id: String::arbitrary(u)?.into(),
        will: will(u, version)?,
        username: Option::<String>::arbitrary(u)?.map(Into::into),
        password: Option::<Vec<u8>>::arbitrary(u)?.map(Into::into),
    })
}

fn publish(u: &mut Unstructured<'_>, version: ProtocolVersion) -> Result<Publish> {
    let qos = qos(u)?;
    let id = if qos == QoS::AtMostOnce {
        None
    } else {
        Some(id(u)?)
    };
    let delivery = Delivery::new(qos, id).unwrap_or(Delivery::AtMostOnce);
    Ok(Publish {
        delivery: delivery.with_dup(u.arbitrary()?),
        retain: u.arbitrary()?,
        properties: properties(u, version)?,
        topic: String::arbitrary(u)?.into(),
        payload: binary(u)?,
    })
}

fn ack(u: &mut Unstructured<'_>, version: ProtocolVersion) -> Result<Ack> {
    Ok(Ack {
        packet_id: id(u)?,
        reason_code: code(u)?,
        properties: properties(u, version)?,
    })
}

fn codes(u: &mut Unstructured<'_>) -> Result<ReasonCodes> {
    (0..u.int_in_range(0..=5)?).map(|_| code(u)).collect()
}

fn entries(u: &mut Unstructured<'_>) -> Result<Vec<(String, SubscriptionOptions)>> {
    let mut entries = Vec::new();
    for _ in 0..u.int_in_range(0..=5)? {
        let handling = u8::arbitrary(u)? % 3;
        let options = SubscriptionOptions {
            qos: qos(u)?,
            no_local: u.arbitrary()?,
            retain_as_published: u.arbitrary()?,
            retain_handling: RetainHandling::from_u8(handling).unwrap_or_default(),
        };
        entries.push((u.arbitrary()?, options));
    }
    Ok(entries)
}

fn subscribe(u: &mut Unstructured<'_>, version: ProtocolVersion) -> Result<Packet> {
    let (packet_id, properties, entries) = (id(u)?, properties(u, version)?, entries(u)?);
    let filters = SubscribeFilters::new(entries.iter().map(|(filter, options)| Subscription {
        filter,
        options: *options,
    }));
    let filters = filters.map_err(|_| arbitrary::Error::IncorrectFormat)?;
    Ok(Packet::Subscribe(Subscribe {
        packet_id,
        properties,
        filters,
    }))
}

fn unsubscribe(u: &mut Unstructured<'_>, version: ProtocolVersion) -> Result<Packet> {
    let (packet_id, properties, entries) = (id(u)?, properties(u, version)?, entries(u)?);
    let filters = UnsubscribeFilters::new(entries.iter().map(|(filter, _)| filter.as_str()));
    let filters = filters.map_err(|_| arbitrary::Error::IncorrectFormat)?;
    Ok(Packet::Unsubscribe(Unsubscribe {
        packet_id,
        properties,
        filters,
    }))
}

fn packet(u: &mut Unstructured<'_>, version: ProtocolVersion) -> Result<Packet> {
    Ok(match u.int_in_range(1..=15)? {
        1 => Packet::Connect(connect(u, version)?),
        2 => Packet::ConnAck(ConnAck {
            session_present: u.arbitrary()?,
            reason_code: code(u)?,
            properties: properties(u, version)?,
        }),
        3 => Packet::Publish(publish(u, version)?),
        4 => Packet::PubAck(ack(u, version)?),
        5 => Packet::PubRec(ack(u, version)?),
        6 => Packet::PubRel(ack(u, version)?),
        7 => Packet::PubComp(ack(u, version)?),
        8 => subscribe(u, version)?,
        9 => Packet::SubAck(SubAck {
            packet_id: id(u)?,
            properties: properties(u, version)?,
            reason_codes: codes(u)?,
        }),
        10 => unsubscribe(u, version)?,
        11 => Packet::UnsubAck(UnsubAck {
            packet_id: id(u)?,
            properties: properties(u, version)?,
            reason_codes: codes(u)?,
        }),
        12 => Packet::PingReq,
        13 => Packet::PingResp,
        14 => Packet::Disconnect(Disconnect {
            reason_code: code(u)?,
            properties: properties(u, version)?,
        }),
        _ => Packet::Auth(Auth {
            reason_code: code(u)?,
            properties: properties(u, version)?,
        }),
    })
}
