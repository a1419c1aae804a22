//! Packets as JSON objects with a `type`; what is ordinary is left out.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::bytes::BytesForm;
use super::property::PropertiesForm;
use crate::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, PacketId, ProtocolVersion, Publish,
    QoS, ReasonCode, ReasonCodes, RetainHandling, Storage, SubAck, Subscribe, SubscribeFilters,
    Subscription, SubscriptionOptions, UnsubAck, Unsubscribe, UnsubscribeFilters, Will,
};

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum PacketForm {
    Connect(ConnectForm),
    ConnAck(ConnAckForm),
    Publish(PublishForm),
    PubAck(AckForm),
    PubRec(AckForm),
    PubRel(AckForm),
    PubComp(AckForm),
    Subscribe(SubscribeForm),
    SubAck(CodesForm),
    Unsubscribe(UnsubscribeForm),
    UnsubAck(CodesForm),
    PingReq(NoFields),
    PingResp(NoFields),
    Disconnect(ReasonForm),
    Auth(ReasonForm),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFields {}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectForm {
    version: String,
    #[serde(default, skip_serializing_if = "is_false")]
    bridge: bool,
    clean_start: bool,
    keep_alive: u16,
    client_id: String,
    #[serde(default, skip_serializing_if = "PropertiesForm::is_empty")]
    properties: PropertiesForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    will: Option<WillForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<BytesForm>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WillForm {
    topic: String,
    qos: u8,
    #[serde(default, skip_serializing_if = "is_false")]
    retain: bool,
    #[serde(default, skip_serializing_if = "PropertiesForm::is_empty")]
    properties: PropertiesForm,
    payload: BytesForm,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnAckForm {
    session_present: bool,
    reason_code: u8,
    #[serde(default, skip_serializing_if = "PropertiesForm::is_empty")]
    properties: PropertiesForm,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishForm {
    topic: String,
    qos: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packet_id: Option<u16>,
    #[serde(default, skip_serializing_if = "is_false")]
    dup: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    retain: bool,
    #[serde(default, skip_serializing_if = "PropertiesForm::is_empty")]
    properties: PropertiesForm,
    payload: BytesForm,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AckForm {
    packet_id: u16,
    #[serde(default)]
    reason_code: u8,
    #[serde(default, skip_serializing_if = "PropertiesForm::is_empty")]
    properties: PropertiesForm,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubscribeForm {
    packet_id: u16,
    #[serde(default, skip_serializing_if = "PropertiesForm::is_empty")]
    properties: PropertiesForm,
    filters: Vec<SubscriptionForm>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SubscriptionForm {
    filter: String,
    qos: u8,
    #[serde(default, skip_serializing_if = "is_false")]
    no_local: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    retain_as_published: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    retain_handling: u8,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnsubscribeForm {
    packet_id: u16,
    #[serde(default, skip_serializing_if = "PropertiesForm::is_empty")]
    properties: PropertiesForm,
    filters: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodesForm {
    packet_id: u16,
    #[serde(default, skip_serializing_if = "PropertiesForm::is_empty")]
    properties: PropertiesForm,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reason_codes: Vec<u8>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonForm {
    #[serde(default)]
    reason_code: u8,
    #[serde(default, skip_serializing_if = "PropertiesForm::is_empty")]
    properties: PropertiesForm,
}

impl PacketForm {
    /// Puts a packet into its form.
    pub(super) fn of<S: Storage>(packet: &Packet<S>) -> Self {
        match packet {
            Packet::Connect(connect) => Self::Connect(ConnectForm::of(connect)),
            Packet::ConnAck(connack) => Self::ConnAck(ConnAckForm {
                session_present: connack.session_present,
                reason_code: connack.reason_code.as_u8(),
                properties: PropertiesForm::of(&connack.properties),
            }),
            Packet::Publish(publish) => Self::Publish(PublishForm {
                topic: publish.topic.as_ref().into(),
                qos: publish.qos().as_u8(),
                packet_id: publish.packet_id().map(PacketId::get),
                dup: publish.dup(),
                retain: publish.retain,
                properties: PropertiesForm::of(&publish.properties),
                payload: BytesForm::of(publish.payload.as_ref()),
            }),
            Packet::PubAck(ack) => Self::PubAck(AckForm::of(ack)),
            Packet::PubRec(ack) => Self::PubRec(AckForm::of(ack)),
            Packet::PubRel(ack) => Self::PubRel(AckForm::of(ack)),
            Packet::PubComp(ack) => Self::PubComp(AckForm::of(ack)),
            Packet::Subscribe(subscribe) => Self::Subscribe(SubscribeForm {
                packet_id: subscribe.packet_id.get(),
                properties: PropertiesForm::of(&subscribe.properties),
                filters: subscribe.filters.iter().map(SubscriptionForm::of).collect(),
            }),
            Packet::SubAck(suback) => Self::SubAck(CodesForm {
                packet_id: suback.packet_id.get(),
                properties: PropertiesForm::of(&suback.properties),
                reason_codes: suback.reason_codes.as_bytes().into(),
            }),
            Packet::Unsubscribe(unsubscribe) => Self::Unsubscribe(UnsubscribeForm {
                packet_id: unsubscribe.packet_id.get(),
                properties: PropertiesForm::of(&unsubscribe.properties),
                filters: unsubscribe.filters.iter().map(Into::into).collect(),
            }),
            Packet::UnsubAck(unsuback) => Self::UnsubAck(CodesForm {
                packet_id: unsuback.packet_id.get(),
                properties: PropertiesForm::of(&unsuback.properties),
                reason_codes: unsuback.reason_codes.as_bytes().into(),
            }),
            Packet::PingReq => Self::PingReq(NoFields {}),
            Packet::PingResp => Self::PingResp(NoFields {}),
            Packet::Disconnect(disconnect) => Self::Disconnect(ReasonForm {
                reason_code: disconnect.reason_code.as_u8(),
                properties: PropertiesForm::of(&disconnect.properties),
            }),
            Packet::Auth(auth) => Self::Auth(ReasonForm {
                reason_code: auth.reason_code.as_u8(),
                properties: PropertiesForm::of(&auth.properties),
            }),
        }
    }

    /// Makes the packet that the form describes.
    pub(super) fn packet(self) -> Result<Packet, String> {
        Ok(match self {
            Self::Connect(form) => Packet::Connect(form.connect()?),
            Self::ConnAck(form) => Packet::ConnAck(ConnAck {
                session_present: form.session_present,
                reason_code: reason_code(form.reason_code)?,
                properties: form.properties.properties()?,
            }),
            Self::Publish(form) => Packet::Publish(form.publish()?),
            Self::PubAck(form) => Packet::PubAck(form.ack()?),
            Self::PubRec(form) => Packet::PubRec(form.ack()?),
            Self::PubRel(form) => Packet::PubRel(form.ack()?),
            Self::PubComp(form) => Packet::PubComp(form.ack()?),
            Self::Subscribe(form) => Packet::Subscribe(form.subscribe()?),
            Self::SubAck(form) => Packet::SubAck(SubAck {
                packet_id: packet_id(form.packet_id)?,
                properties: form.properties.properties()?,
                reason_codes: reason_codes(&form.reason_codes)?,
            }),
            Self::Unsubscribe(form) => Packet::Unsubscribe(Unsubscribe {
                packet_id: packet_id(form.packet_id)?,
                properties: form.properties.properties()?,
                filters: UnsubscribeFilters::new(form.filters.iter().map(String::as_str))
                    .map_err(|error| error.to_string())?,
            }),
            Self::UnsubAck(form) => Packet::UnsubAck(UnsubAck {
                packet_id: packet_id(form.packet_id)?,
                properties: form.properties.properties()?,
                reason_codes: reason_codes(&form.reason_codes)?,
            }),
            Self::PingReq(NoFields {}) => Packet::PingReq,
            Self::PingResp(NoFields {}) => Packet::PingResp,
            Self::Disconnect(form) => Packet::Disconnect(Disconnect {
                reason_code: reason_code(form.reason_code)?,
                properties: form.properties.properties()?,
            }),
            Self::Auth(form) => Packet::Auth(Auth {
                reason_code: reason_code(form.reason_code)?,
                properties: form.properties.properties()?,
            }),
        })
    }
}

impl ConnectForm {
    fn of<S: Storage>(connect: &Connect<S>) -> Self {
        Self {
            version: connect.version.to_string(),
            bridge: connect.bridge,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            client_id: connect.client_id.as_ref().into(),
            properties: PropertiesForm::of(&connect.properties),
            will: connect.will.as_ref().map(|will| WillForm {
                topic: will.topic.as_ref().into(),
                qos: will.qos.as_u8(),
                retain: will.retain,
                properties: PropertiesForm::of(&will.properties),
                payload: BytesForm::of(will.payload.as_ref()),
            }),
            username: connect.username.as_ref().map(|name| name.as_ref().into()),
            password: connect
                .password
                .as_ref()
                .map(|word| BytesForm::of(word.as_ref())),
        }
    }

    fn connect(self) -> Result<Connect, String> {
        let version = match self.version.as_str() {
            "3.1" => ProtocolVersion::V31,
            "3.1.1" => ProtocolVersion::V311,
            "5" | "5.0" => ProtocolVersion::V5,
            _ => return Err("a version is 3.1, 3.1.1 or 5.0".into()),
        };
        Ok(Connect {
            version,
            bridge: self.bridge,
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            properties: self.properties.properties()?,
            client_id: self.client_id.into(),
            will: self.will.map(WillForm::will).transpose()?,
            username: self.username.map(Into::into),
            password: self
                .password
                .map(BytesForm::bytes)
                .transpose()?
                .map(Into::into),
        })
    }
}

impl WillForm {
    fn will(self) -> Result<Will, String> {
        Ok(Will {
            qos: qos(self.qos)?,
            retain: self.retain,
            properties: self.properties.properties()?,
            topic: self.topic.into(),
            payload: self.payload.bytes()?.into(),
        })
    }
}

impl PublishForm {
    fn publish(self) -> Result<Publish, String> {
        let packet_id = self.packet_id.map(packet_id).transpose()?;
        let delivery = Delivery::new(qos(self.qos)?, packet_id)
            .ok_or("QoS 1 and 2 have a packet_id, QoS 0 has none")?;
        if self.dup && delivery == Delivery::AtMostOnce {
            return Err("QoS 0 has no dup".into());
        }
        Ok(Publish {
            delivery: delivery.with_dup(self.dup),
            retain: self.retain,
            topic: self.topic.into(),
            properties: self.properties.properties()?,
            payload: self.payload.bytes()?.into(),
        })
    }
}

impl AckForm {
    fn of<S: Storage>(ack: &Ack<S>) -> Self {
        Self {
            packet_id: ack.packet_id.get(),
            reason_code: ack.reason_code.as_u8(),
            properties: PropertiesForm::of(&ack.properties),
        }
    }

    fn ack(self) -> Result<Ack, String> {
        Ok(Ack {
            packet_id: packet_id(self.packet_id)?,
            reason_code: reason_code(self.reason_code)?,
            properties: self.properties.properties()?,
        })
    }
}

impl SubscribeForm {
    fn subscribe(self) -> Result<Subscribe, String> {
        let entries = self
            .filters
            .iter()
            .map(SubscriptionForm::subscription)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Subscribe {
            packet_id: packet_id(self.packet_id)?,
            properties: self.properties.properties()?,
            filters: SubscribeFilters::new(entries).map_err(|error| error.to_string())?,
        })
    }
}

impl SubscriptionForm {
    fn of(entry: Subscription<'_>) -> Self {
        Self {
            filter: entry.filter.into(),
            qos: entry.options.qos.as_u8(),
            no_local: entry.options.no_local,
            retain_as_published: entry.options.retain_as_published,
            retain_handling: entry.options.retain_handling.as_u8(),
        }
    }

    fn subscription(&self) -> Result<Subscription<'_>, String> {
        let options = SubscriptionOptions {
            qos: qos(self.qos)?,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: RetainHandling::from_u8(self.retain_handling)
                .ok_or("a retain_handling is 0, 1 or 2")?,
        };
        Ok(Subscription {
            filter: &self.filter,
            options,
        })
    }
}

fn qos(value: u8) -> Result<QoS, &'static str> {
    QoS::from_u8(value).ok_or("a qos is 0, 1 or 2")
}

fn packet_id(value: u16) -> Result<PacketId, &'static str> {
    PacketId::new(value).ok_or("a packet_id is not 0")
}

fn reason_code(value: u8) -> Result<ReasonCode, &'static str> {
    ReasonCode::from_u8(value).ok_or("not a reason_code of the standard")
}

fn reason_codes(values: &[u8]) -> Result<ReasonCodes, &'static str> {
    values.iter().map(|value| reason_code(*value)).collect()
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u8) -> bool {
    *value == 0
}
