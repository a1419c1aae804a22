//! What becomes of a message between two hops.

use core::time::Duration;
use std::string::String;

use mqttstack_codec::{Delivery, PacketId, Publish, Utf8Bytes};

use super::*;

const NOW: Instant = Instant::from_micros(1_000_000);

fn publish(properties: Properties<Shared>, payload: &'static [u8]) -> Publish<Shared> {
    Publish {
        delivery: Delivery::ExactlyOnce {
            packet_id: PacketId::MIN,
            dup: true,
        },
        retain: true,
        topic: Utf8Bytes::from_static("a"),
        properties,
        payload: Bytes::from_static(payload),
    }
}

#[test]
fn what_travels_end_to_end_is_kept_and_what_belongs_to_the_hop_is_not() {
    // v5 MQTT-3.3.1-3, v5 MQTT-3.3.2-4, v5 MQTT-3.3.2-15, v5 MQTT-3.3.2-16, v5 MQTT-3.3.2-17,
    // v5 MQTT-3.3.2-18, v5 MQTT-3.3.2-20
    let properties = Properties::builder()
        .user_property("b", "1")
        .topic_alias(7)
        .payload_format_indicator(true)
        .message_expiry_interval(30)
        .response_topic("answers")
        .correlation_data(b"id")
        .content_type("text")
        .user_property("a", "2")
        .build()
        .expect("valid");
    let message = Message::from_publish(&publish(properties, b"hello"), "resolved", NOW);
    assert_eq!(message.topic(), "resolved");
    assert_eq!(message.payload(), b"hello");
    assert_eq!((message.qos(), message.retain()), (QoS::ExactlyOnce, true));
    let kept = message.properties();
    assert!(PER_HOP.iter().all(|property| !kept.contains(*property)));
    assert_eq!(kept.payload_format_indicator(), Some(true));
    assert_eq!(kept.response_topic(), Some("answers"));
    assert_eq!(kept.correlation_data(), Some(&b"id"[..]));
    assert_eq!(kept.content_type(), Some("text"));
    assert!(kept.user_properties().eq([("b", "1"), ("a", "2")]));
}

#[test]
fn expiry_counts_from_the_arrival_or_from_the_handover() {
    // v5 MQTT-3.3.2-5, v5 MQTT-3.3.2-6
    let later = NOW + Duration::from_secs(9);
    let interval = Properties::builder().message_expiry_interval(30);
    let interval = interval.build().expect("valid");
    let received = Message::from_publish(&publish(interval, b""), "a", NOW);
    assert_eq!(received.expires_at(later), NOW + Duration::from_secs(30));
    let built = Message::builder("a", "").expiry_interval(30).build();
    let built = built.expect("valid");
    assert_eq!(built.expires_at(later), later + Duration::from_secs(30));
    let lasting = Message::from_publish(&publish(Properties::empty(), b""), "a", NOW);
    assert_eq!(lasting.expires_at(later), Instant::NEVER);
}

#[test]
fn a_large_payload_is_shared_and_a_small_one_copied() {
    static LARGE: [u8; SHARED_PAYLOAD_MIN] = [7; SHARED_PAYLOAD_MIN];
    let large = Message::from_publish(&publish(Properties::empty(), &LARGE), "a", NOW);
    assert_eq!(
        large.shared_payload().map(|bytes| bytes.as_ptr()),
        Some(LARGE.as_ptr())
    );
    assert_eq!(large.payload_bytes().as_ptr(), LARGE.as_ptr());
    assert_eq!(large.size(), 1 + SHARED_PAYLOAD_MIN);
    let small = Message::from_publish(&publish(Properties::empty(), b"hi"), "a", NOW);
    assert_eq!(small.shared_payload(), None);
    assert_eq!(small.payload_bytes(), "hi");
    assert_eq!(small.size(), 3);
}

#[test]
fn a_will_becomes_a_message_when_it_is_due() {
    // v5 MQTT-3.1.2-14, v5 MQTT-3.1.2-15, v5 MQTT-3.1.3-10
    let properties = Properties::builder()
        .will_delay_interval(5)
        .message_expiry_interval(30)
        .user_property("b", "1")
        .user_property("a", "2")
        .build()
        .expect("valid");
    let will: Will<Shared> = Will {
        qos: QoS::AtLeastOnce,
        retain: true,
        properties,
        topic: "gone".into(),
        payload: Bytes::from_static(b"bye"),
    };
    let message = Message::from_will(&will, NOW);
    assert_eq!((message.topic(), message.payload()), ("gone", &b"bye"[..]));
    assert_eq!((message.qos(), message.retain()), (QoS::AtLeastOnce, true));
    assert_eq!(message.expires_at(NOW), NOW + Duration::from_secs(30));
    assert!(
        message
            .properties()
            .user_properties()
            .eq([("b", "1"), ("a", "2")])
    );
    assert_eq!(message.properties().iter().count(), 2);
}

#[test]
fn a_message_that_cannot_be_published_is_not_built() {
    for topic in ["", "a/+", "a/#", "a\0"] {
        let result = Message::builder(topic, "").build();
        assert!(matches!(result, Err(MessageError::Topic(_))), "{topic:?}");
    }
    assert!(Message::builder("x".repeat(65_536), "").build().is_err());
    let result = Message::builder("a", "").response_topic("a/#").build();
    assert!(matches!(result, Err(MessageError::Property(_))));
    let name = String::from("x").repeat(65_536);
    let result = Message::builder("a", "").user_property(&name, "").build();
    assert!(matches!(result, Err(MessageError::Property(_))));
}

#[test]
fn a_clone_is_the_same_message() {
    let message = Message::builder("a", "x").build().expect("valid");
    let clone = message.clone();
    assert!(core::ptr::eq(message.topic(), clone.topic()));
    assert_eq!(message, clone);
    assert_eq!(size_of::<Message>(), size_of::<usize>());
}

#[test]
fn a_message_that_nobody_holds_any_longer_lends_its_memory_to_the_next() {
    let mut pool = MessagePool::new(2);
    let take = |pool: &mut MessagePool, payload: &'static [u8]| {
        let publish = publish(Properties::empty(), payload);
        Message::from_publish_in(pool, &publish, Utf8Slice::from("a"), NOW)
    };
    let first = take(&mut pool, b"a longer one");
    let place = Arc::as_ptr(&first.0);
    let another = first.clone();
    pool.put(first);
    assert_eq!(pool.spare(), 0, "somebody holds it");
    pool.put(another);
    assert_eq!(pool.spare(), 1);
    let second = take(&mut pool, b"short");
    assert_eq!(Arc::as_ptr(&second.0), place);
    assert_eq!((second.topic(), second.payload()), ("a", &b"short"[..]));
    assert_eq!(second, take(&mut MessagePool::default(), b"short"));
    // What has more than one piece is freed, and so is what there is no room for.
    pool.put(take(&mut MessagePool::default(), &[b'x'; 500]));
    assert_eq!(pool.spare(), 0);
    for _ in 0..3 {
        pool.put(take(&mut MessagePool::default(), b"x"));
    }
    assert_eq!(pool.spare(), 2);
}
