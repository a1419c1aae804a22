//! The bytes that every codec reads, and the packets that make them.

use mqttstack_codec::{
    Ack, Connect, Delivery, Packet, PacketId, Properties, ProtocolVersion, Publish, QoS,
    ReasonCode, ReasonCodes, SubAck, Subscribe, SubscribeFilters, Subscription, Will,
};

use ProtocolVersion::{V5, V311};

/// Packets of one kind, one behind the other.
pub(crate) struct Wire {
    pub(crate) name: &'static str,
    pub(crate) version: ProtocolVersion,
    pub(crate) packets: Vec<Packet>,
    pub(crate) bytes: Vec<u8>,
}

/// 31 bytes, as a sensor's topic is.
const TOPIC: &str = "factory/line-07/press/temp/in-1";
const COPIES: usize = 256;

/// Returns the rows of the table.
pub(crate) fn all() -> Vec<Wire> {
    vec![
        copies(
            "v3.1.1 publish qos0 64B",
            V311,
            &publish(QoS::AtMostOnce, Properties::empty()),
        ),
        copies(
            "v3.1.1 publish qos1 64B",
            V311,
            &publish(QoS::AtLeastOnce, Properties::empty()),
        ),
        copies("v3.1.1 connect", V311, &connect(V311)),
        copies("v3.1.1 subscribe 10", V311, &subscribe()),
        wire("v3.1.1 mixed", V311, mixed(V311)),
        copies(
            "v5 publish qos0 64B",
            V5,
            &publish(QoS::AtMostOnce, Properties::empty()),
        ),
        copies(
            "v5 publish qos1 5 properties",
            V5,
            &publish(QoS::AtLeastOnce, five_properties()),
        ),
        copies("v5 connect full", V5, &connect(V5)),
        copies("v5 subscribe 10", V5, &subscribe()),
        wire("v5 mixed", V5, mixed(V5)),
    ]
}

fn copies(name: &'static str, version: ProtocolVersion, packet: &Packet) -> Wire {
    wire(name, version, vec![packet.clone(); COPIES])
}

fn wire(name: &'static str, version: ProtocolVersion, packets: Vec<Packet>) -> Wire {
    let mut bytes = Vec::new();
    for packet in &packets {
        packet.encode(version, &mut bytes).expect("a legal packet");
    }
    Wire {
        name,
        version,
        packets,
        bytes,
    }
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap_or(PacketId::MIN)
}

fn publish(qos: QoS, properties: Properties) -> Packet {
    let packet_id = (qos != QoS::AtMostOnce).then_some(id(10));
    let delivery = Delivery::new(qos, packet_id).expect("an identifier where there is one");
    Packet::Publish(Publish {
        delivery,
        properties,
        ..Publish::new(TOPIC, vec![b'x'; 64])
    })
}

fn five_properties() -> Properties {
    Properties::builder()
        .message_expiry_interval(60)
        .content_type("application/json")
        .response_topic("factory/replies/7")
        .correlation_data(b"0123456789abcdef")
        .user_property("site", "hamburg")
        .build()
        .expect("legal properties")
}

/// Seventeen properties in 5.0, will and login in both.
fn connect(version: ProtocolVersion) -> Packet {
    let is_v5 = version == V5;
    let properties = Properties::builder()
        .session_expiry_interval(3600)
        .receive_maximum(100)
        .maximum_packet_size(1 << 20)
        .topic_alias_maximum(16)
        .request_response_information(true)
        .request_problem_information(true)
        .user_property("site", "hamburg")
        .user_property("line", "7")
        .authentication_method("SCRAM-SHA-256")
        .authentication_data(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL")
        .build()
        .expect("legal properties");
    let will = Properties::builder()
        .will_delay_interval(5)
        .payload_format_indicator(true)
        .message_expiry_interval(60)
        .content_type("text/plain")
        .response_topic("factory/replies/7")
        .correlation_data(b"0123456789abcdef")
        .user_property("site", "hamburg")
        .build()
        .expect("legal properties");
    Packet::Connect(Connect {
        properties: if is_v5 {
            properties
        } else {
            Properties::empty()
        },
        will: Some(Will {
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: if is_v5 { will } else { Properties::empty() },
            topic: "factory/line-07/press/status".into(),
            payload: "offline".into(),
        }),
        username: Some("press-07".into()),
        password: Some("correct horse battery".into()),
        ..Connect::new(version, "factory-line-07-press")
    })
}

fn subscribe() -> Packet {
    let filters = (0..10)
        .map(|n| format!("factory/line-0{n}/+/temp/#"))
        .collect::<Vec<_>>();
    let entries = filters
        .iter()
        .map(|filter| Subscription::new(filter, QoS::AtLeastOnce));
    Packet::Subscribe(Subscribe {
        packet_id: id(10),
        properties: Properties::empty(),
        filters: SubscribeFilters::new(entries).expect("legal filters"),
    })
}

/// A thousand packets as a broker sees them; in 5.0 half of the publishes have properties.
fn mixed(version: ProtocolVersion) -> Vec<Packet> {
    (0..1000_u16)
        .map(|n| {
            let properties = if version == V5 && n % 2 == 0 {
                five_properties()
            } else {
                Properties::empty()
            };
            let ack = || Ack::new(id(n.max(1)));
            match n * 7 % 100 {
                0..40 => publish(QoS::AtMostOnce, properties),
                40..61 => publish(QoS::AtLeastOnce, properties),
                61..67 => publish(QoS::ExactlyOnce, properties),
                67..87 => Packet::PubAck(ack()),
                87..90 => Packet::PubRec(ack()),
                90..93 => Packet::PubRel(ack()),
                93..96 => Packet::PubComp(ack()),
                96 => Packet::PingReq,
                97 => Packet::PingResp,
                98 => subscribe(),
                _ => Packet::SubAck(SubAck {
                    packet_id: id(10),
                    properties: Properties::empty(),
                    reason_codes: ReasonCodes::new([ReasonCode::GrantedQoS1; 10]),
                }),
            }
        })
        .collect()
}
