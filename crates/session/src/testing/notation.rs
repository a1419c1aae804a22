//! Packets in words: `PUBLISH q1 #5 a=x` is a PUBLISH at QoS 1 with identifier 5, topic and payload.

use std::{string::String, vec::Vec};

use mqttstack_codec::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, PacketId, Properties,
    ProtocolVersion, Publish, QoS, ReasonCode, ReasonCodes, Shared, SubAck, Subscribe,
    SubscribeFilters, Subscription, UnsubAck, Unsubscribe, UnsubscribeFilters, Will,
};

use crate::Message;

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("a packet identifier")
}

pub(crate) fn hex_code(token: &str) -> Option<ReasonCode> {
    let is_hex = token.len() == 2 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex
        .then(|| {
            u8::from_str_radix(token, 16)
                .ok()
                .and_then(ReasonCode::from_u8)
        })
        .flatten()
}

fn qos(token: &str) -> Option<QoS> {
    match token {
        "q0" => Some(QoS::AtMostOnce),
        "q1" => Some(QoS::AtLeastOnce),
        "q2" => Some(QoS::ExactlyOnce),
        _ => None,
    }
}

fn number<T: core::str::FromStr>(value: &str) -> T {
    value
        .parse()
        .unwrap_or_else(|_| panic!("{value} is not a number"))
}

/// Takes the properties out of the words, in their order.
pub(crate) fn properties(words: &str) -> Properties<Shared> {
    let mut builder = Properties::builder();
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        builder = match key {
            "reason" => builder.reason_string("because"),
            "user" => builder.user_property("key", "value"),
            "expiry" => builder.message_expiry_interval(number(value)),
            "alias" => builder.topic_alias(number(value)),
            "sid" => builder.subscription_identifier(number(value)),
            "session" => builder.session_expiry_interval(number(value)),
            "rmax" => builder.receive_maximum(number(value)),
            "psize" => builder.maximum_packet_size(number(value)),
            "amax" => builder.topic_alias_maximum(number(value)),
            "maxqos" => builder.maximum_qos(qos(value).expect("a QoS")),
            "noretain" => builder.retain_available(false),
            "nowildcards" => builder.wildcard_subscription_available(false),
            "noids" => builder.subscription_identifier_available(false),
            "noshared" => builder.shared_subscription_available(false),
            "serverka" => builder.server_keep_alive(number(value)),
            "method" => builder.authentication_method(value),
            "data" => builder.authentication_data(value.as_bytes()),
            "noproblem" => builder.request_problem_information(false),
            "inform" => builder.request_response_information(true),
            "information" => builder.response_information(value),
            "assigned" => builder.assigned_client_identifier(value),
            "reference" => builder.server_reference(value),
            _ => builder,
        };
    }
    builder.build().expect("valid properties")
}

/// Every key that names a property, or a field that is not a topic.
const KEYS: &[&str] = &[
    "expiry",
    "alias",
    "sid",
    "session",
    "rmax",
    "psize",
    "amax",
    "maxqos",
    "serverka",
    "method",
    "data",
    "information",
    "assigned",
    "reference",
    "id",
    "ka",
    "will",
];

#[derive(Default)]
struct Words<'a> {
    qos: Option<QoS>,
    id: Option<PacketId>,
    dup: bool,
    retain: bool,
    present: bool,
    codes: Vec<ReasonCode>,
    topic: Option<(&'a str, &'a str)>,
    filters: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn new(words: &'a str) -> Self {
        let mut this = Self::default();
        for word in words.split_whitespace() {
            if let Some(value) = word.strip_prefix('#') {
                this.id = Some(id(number(value)));
            } else if let Some(filter) = word.strip_prefix("f:") {
                this.filters.push(filter);
            } else if let Some(qos) = qos(word) {
                this.qos = Some(qos);
            } else if let Some(code) = hex_code(word) {
                this.codes.push(code);
            } else if let Some((key, value)) = word.split_once('=') {
                if !KEYS.contains(&key) {
                    this.topic = Some((key, value));
                }
            } else {
                this.dup |= word == "dup";
                this.retain |= word == "retain";
                this.present |= word == "present";
            }
        }
        this
    }

    fn code(&self) -> ReasonCode {
        self.codes.first().copied().unwrap_or_default()
    }
}

pub(crate) fn connect(words: &str) -> Connect<Shared> {
    let has = |wanted: &str| words.split_whitespace().any(|word| word == wanted);
    let field = |wanted: &str| {
        words
            .split_whitespace()
            .find_map(|word| word.split_once('=').filter(|(key, _)| *key == wanted))
            .map(|(_, value)| value)
    };
    let version = if has("v31") {
        ProtocolVersion::V31
    } else if has("v311") {
        ProtocolVersion::V311
    } else {
        ProtocolVersion::V5
    };
    Connect {
        bridge: has("bridge"),
        clean_start: has("clean"),
        keep_alive: field("ka").map_or(0, number),
        properties: properties(words),
        will: field("will").map(|topic| Will {
            qos: Words::new(words).qos.unwrap_or_default(),
            retain: has("retain"),
            properties: Properties::empty(),
            topic: topic.into(),
            payload: "gone".into(),
        }),
        ..Connect::new(version, field("id").unwrap_or_default())
    }
}

pub(crate) fn message(words: &str) -> Message {
    let parts = Words::new(words);
    let (topic, payload) = parts.topic.expect("topic=payload");
    let mut builder = Message::builder(topic, String::from(payload))
        .qos(parts.qos.unwrap_or_default())
        .retain(parts.retain);
    if let Some(seconds) = properties(words).message_expiry_interval() {
        builder = builder.expiry_interval(seconds);
    }
    builder.build().expect("a message")
}

/// Makes a packet of its words.
pub(crate) fn packet(words: &str) -> Packet {
    let (name, rest) = words.split_once(' ').unwrap_or((words, ""));
    let parts = Words::new(rest);
    let reason_code = parts.code();
    let ack = || Ack {
        packet_id: parts.id.expect("an identifier"),
        reason_code,
        properties: properties(rest),
    };
    match name {
        "CONNECT" => Packet::Connect(connect(rest)),
        "CONNACK" => Packet::ConnAck(ConnAck {
            session_present: parts.present,
            reason_code,
            properties: properties(rest),
        }),
        "PUBLISH" => {
            let (topic, payload) = parts.topic.expect("topic=payload");
            let delivery = Delivery::new(parts.qos.unwrap_or_default(), parts.id);
            Packet::Publish(Publish {
                delivery: delivery.expect("identifier by QoS").with_dup(parts.dup),
                retain: parts.retain,
                topic: topic.into(),
                properties: properties(rest),
                payload: String::from(payload).into(),
            })
        }
        "PUBACK" => Packet::PubAck(ack()),
        "PUBREC" => Packet::PubRec(ack()),
        "PUBREL" => Packet::PubRel(ack()),
        "PUBCOMP" => Packet::PubComp(ack()),
        "SUBSCRIBE" => Packet::Subscribe(Subscribe {
            packet_id: parts.id.expect("an identifier"),
            properties: properties(rest),
            filters: SubscribeFilters::new(
                parts
                    .filters
                    .iter()
                    .map(|filter| Subscription::new(filter, parts.qos.unwrap_or_default())),
            )
            .expect("filters"),
        }),
        "UNSUBSCRIBE" => Packet::Unsubscribe(Unsubscribe {
            packet_id: parts.id.expect("an identifier"),
            properties: properties(rest),
            filters: UnsubscribeFilters::new(parts.filters.iter().copied()).expect("filters"),
        }),
        "SUBACK" => Packet::SubAck(SubAck {
            packet_id: parts.id.expect("an identifier"),
            properties: properties(rest),
            reason_codes: ReasonCodes::new(parts.codes.iter().copied()),
        }),
        "UNSUBACK" => Packet::UnsubAck(UnsubAck {
            packet_id: parts.id.expect("an identifier"),
            properties: properties(rest),
            reason_codes: ReasonCodes::new(parts.codes.iter().copied()),
        }),
        "PINGREQ" => Packet::PingReq,
        "PINGRESP" => Packet::PingResp,
        "DISCONNECT" => Packet::Disconnect(Disconnect {
            reason_code,
            properties: properties(rest),
        }),
        "AUTH" => Packet::Auth(Auth {
            reason_code,
            properties: properties(rest),
        }),
        _ => panic!("{words}: no such packet"),
    }
}
