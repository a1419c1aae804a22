//! Packets as JSON, there and back.

#[path = "properties/strategies.rs"]
mod strategies;

use mqttstack_codec::{Decoder, Packet};
use proptest::prelude::*;
use serde_json::json;
use strategies::{any_version, packet};

proptest! {
    #[test]
    fn packets_survive_the_way_there_and_back(
        packet in any_version().prop_flat_map(packet)
    ) {
        let text = serde_json::to_string(&packet).expect("packets are JSON");
        let again: Packet = serde_json::from_str(&text).expect("and JSON packets");
        prop_assert_eq!(&again, &packet);
        prop_assert_eq!(serde_json::to_string(&packet.as_ref()).expect("borrowed"), text);
    }
}

#[test]
fn form_is_as_documented() {
    let wire = b"\x32\x11\x00\x03a/b\x00\x0A\x07\x23\x00\x01\x0B\x80\x01\x2A\xFF\xFE";
    assert!(
        Decoder::new().decode_ref(wire).is_err(),
        "0x2A is not a property of PUBLISH"
    );
    let wire = b"\x32\x11\x00\x03a/b\x00\x0A\x08\x23\x00\x01\x0B\x80\x01\x01\x00\xFE";
    let (packet, _) = Decoder::new()
        .decode_ref(wire)
        .expect("legal")
        .expect("complete");
    let expected = json!({
        "type": "publish",
        "topic": "a/b",
        "qos": 1,
        "packet_id": 10,
        "properties": [
            {"topic_alias": 1},
            {"subscription_identifier": 128},
            {"payload_format_indicator": false},
        ],
        "payload": {"hex": "fe"},
    });
    assert_eq!(serde_json::to_value(&packet).expect("JSON"), expected);
    let again: Packet = serde_json::from_value(expected).expect("a packet");
    assert_eq!(again.as_ref(), packet);
}

#[test]
fn nonsense_is_refused() {
    let cases = [
        json!({"type": "publish", "topic": "t", "qos": 1, "payload": {"text": ""}}),
        json!({"type": "publish", "topic": "t", "qos": 3, "payload": {"text": ""}}),
        json!({"type": "publish", "topic": "t", "qos": 0, "payload": {"hex": "0"}}),
        json!({"type": "publish", "topic": "t", "qos": 0, "dup": true, "payload": {"text": ""}}),
        json!({"type": "puback", "packet_id": 0}),
        json!({"type": "puback", "packet_id": 1, "reason_code": 3}),
        json!({"type": "puback", "packet_id": 1, "colour": "red"}),
        json!({"type": "subscribe", "packet_id": 1, "filters": []}),
        json!({"type": "unsubscribe", "packet_id": 1, "filters": ["a/#/b"]}),
        json!({"type": "auth", "properties": [{"receive_maximum": 0}]}),
        json!({"type": "hello"}),
        json!({"type": "pingreq", "colour": "red"}),
    ];
    for case in cases {
        assert!(
            serde_json::from_value::<Packet>(case.clone()).is_err(),
            "{case}"
        );
    }
    let minimal: Packet = serde_json::from_value(json!({"type": "pingreq"})).expect("a packet");
    assert_eq!(minimal, Packet::PingReq);
}
