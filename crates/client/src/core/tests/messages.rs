//! Messages and requests in both directions.

use mqttstack_codec::{Ack, Delivery, Publish};
use mqttstack_session::Undelivered;

use super::*;

fn incoming(number: u16, qos: QoS) -> Packet {
    let mut publish = Publish::<Shared>::new("never/subscribed", "x");
    publish.delivery = Delivery::new(qos, (qos != QoS::AtMostOnce).then(|| id(number)))
        .unwrap_or(Delivery::AtMostOnce);
    Packet::Publish(publish)
}

#[test]
fn every_message_is_acknowledged_wanted_or_not() {
    // v5 MQTT-4.5.0-2, v3.1.1 MQTT-4.5.0-2
    for version in [
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ] {
        let mut rig = Rig::of_version(version);
        rig.open();
        rig.accept();
        for (qos, answer) in [
            (QoS::AtMostOnce, None),
            (QoS::AtLeastOnce, Some(Packet::PubAck(Ack::new(id(5))))),
            (QoS::ExactlyOnce, Some(Packet::PubRec(Ack::new(id(5))))),
        ] {
            rig.receive(incoming(5, qos));
            let events = rig.events();
            let [Event::MessageReceived { receipt, .. }] = &events[..] else {
                panic!("{events:?}")
            };
            if let Some(receipt) = receipt {
                rig.client.acknowledge(*receipt, ReasonCode::Success);
            }
            assert_eq!(rig.sent(), answer.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_receipt_is_good_for_its_connection_only() {
    let mut own = settings();
    own.clean_start = CleanStart::FirstOnly;
    let mut rig = Rig::connected(own);
    rig.receive(incoming(5, QoS::AtLeastOnce));
    let [
        Event::MessageReceived {
            receipt: Some(old), ..
        },
    ] = rig.events()[..]
    else {
        panic!()
    };
    rig.cut();
    rig.reopen();
    rig.accept_with(ConnAck::new(true, ReasonCode::Success));
    rig.receive(incoming(5, QoS::AtLeastOnce));
    rig.client.acknowledge(old, ReasonCode::Success);
    assert_eq!(rig.sent(), []);
    let events = rig.events();
    let Some(Event::MessageReceived {
        receipt: Some(new), ..
    }) = events.last()
    else {
        panic!()
    };
    rig.client.acknowledge(*new, ReasonCode::Success);
    assert_eq!(rig.sent(), [Packet::PubAck(Ack::new(id(5)))]);
}

#[test]
fn every_topic_alias_up_to_the_maximum_is_accepted() {
    // v5 MQTT-3.3.2-10
    let mut own = settings();
    alloc::sync::Arc::make_mut(&mut own.limits).topic_alias_maximum = 3;
    let mut rig = Rig::new(own);
    assert_eq!(rig.open().properties.topic_alias_maximum(), Some(3));
    rig.accept();
    for alias in 1..=3 {
        for topic in [alloc::format!("topic/{alias}"), "".into()] {
            let mut publish = Publish::<Shared>::new(&*topic, "x");
            publish.properties = Properties::builder().topic_alias(alias).build().unwrap();
            rig.receive(Packet::Publish(publish));
            let events = rig.events();
            let [Event::MessageReceived { message, .. }] = &events[..] else {
                panic!("{events:?}")
            };
            assert_eq!(message.topic(), alloc::format!("topic/{alias}"));
        }
    }
}

#[test]
fn a_message_that_is_passed_on_has_no_subscription_identifier() {
    // v5 MQTT-3.3.4-6
    let mut rig = Rig::connected(settings());
    let mut publish = Publish::<Shared>::new("t", "x");
    let properties = Properties::builder()
        .subscription_identifier(7)
        .content_type("text");
    publish.properties = properties.build().unwrap();
    rig.receive(Packet::Publish(publish));
    let events = rig.events();
    let [
        Event::MessageReceived {
            message,
            subscription_ids,
            ..
        },
    ] = &events[..]
    else {
        panic!()
    };
    assert_eq!(subscription_ids.as_slice(), [7]);
    rig.publish(message.clone());
    let sent = rig.sent();
    let [Packet::Publish(publish)] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(publish.properties.subscription_identifiers().count(), 0);
    assert_eq!(publish.properties.content_type(), Some("text"));
}

#[test]
fn each_operation_ends_in_exactly_one_outcome() {
    let mut rig = Rig::connected(settings());
    let at_most_once = rig.publish(message(QoS::AtMostOnce));
    let at_least_once = rig.publish(message(QoS::AtLeastOnce));
    let subscribe = rig.subscribe("a");
    let sent = rig.sent();
    assert_eq!(sent.len(), 3);
    let Some(Packet::Subscribe(request)) = sent
        .iter()
        .find(|packet| matches!(packet, Packet::Subscribe(_)))
    else {
        panic!()
    };
    let Some(publish_id) = sent.iter().find_map(|packet| match packet {
        Packet::Publish(publish) => publish.packet_id(),
        _ => None,
    }) else {
        panic!()
    };
    rig.receive(Packet::PubAck(Ack::with_reason(
        publish_id,
        ReasonCode::QuotaExceeded,
    )));
    rig.receive(Packet::PubAck(Ack::new(publish_id))); // A repeat has no effect.
    rig.receive(Packet::SubAck(SubAck {
        packet_id: request.packet_id,
        properties: Properties::empty(),
        reason_codes: ReasonCodes::new([ReasonCode::GrantedQoS1]),
    }));
    let outcomes: Vec<_> = rig
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Completed { operation, outcome } => Some((operation, outcome)),
            _ => None,
        })
        .collect();
    let [
        (first, Outcome::Sent),
        (second, refused),
        (third, Outcome::Subscribed { reason_codes, .. }),
    ] = &outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        [*first, *second, *third],
        [at_most_once, at_least_once, subscribe]
    );
    assert!(matches!(
        refused,
        Outcome::Acknowledged {
            reason_code: ReasonCode::QuotaExceeded,
            ..
        }
    ));
    assert_eq!(
        reason_codes.iter().collect::<Vec<_>>(),
        [ReasonCode::GrantedQoS1]
    );
}

#[test]
fn messages_wait_for_a_connection_but_for_qos_0() {
    let mut rig = Rig::new(settings());
    assert_eq!(
        rig.client.publish(message(QoS::AtMostOnce), rig.now),
        Err(PublishError::NotConnected)
    );
    rig.publish(message(QoS::AtLeastOnce));
    rig.publish(message(QoS::ExactlyOnce));
    rig.open();
    rig.accept();
    assert_eq!(rig.sent().len(), 2);
}

#[test]
fn a_full_offline_queue_tells_which_message_it_dropped() {
    let mut own = settings();
    alloc::sync::Arc::make_mut(&mut own.limits).queue_messages_max = 2;
    let mut rig = Rig::new(own);
    let first = rig.publish(message(QoS::AtLeastOnce));
    rig.publish(message(QoS::AtLeastOnce));
    rig.publish(message(QoS::AtLeastOnce));
    let outcome = Outcome::Undelivered(Undelivered::Dropped);
    assert_eq!(
        rig.events(),
        [Event::Completed {
            operation: first,
            outcome
        }]
    );
}

#[test]
fn a_message_that_no_packet_can_hold_is_refused() {
    let mut rig = Rig::new(settings());
    let payload = vec![0; 268_435_455];
    let message = Message::builder("a", payload)
        .qos(QoS::AtLeastOnce)
        .build()
        .unwrap();
    assert!(matches!(
        rig.client.publish(message, rig.now),
        Err(PublishError::PacketTooLarge { .. })
    ));
}

#[test]
fn the_number_of_requests_and_subscriptions_is_limited() {
    let mut own = settings();
    own.requests_max = 2;
    alloc::sync::Arc::make_mut(&mut own.limits).subscriptions_max = 3;
    let mut rig = Rig::connected(own);
    for filter in ["a", "b"] {
        rig.subscribe(filter);
        rig.grant(ReasonCode::GrantedQoS1);
    }
    rig.subscribe("c");
    assert_eq!(
        rig.client.subscribe(filters("d"), Properties::empty()),
        Err(RequestError::TooManySubscriptions { maximum: 3 })
    );
    let unsubscribe = |rig: &mut Rig, filter| {
        let filters = UnsubscribeFilters::new([filter]).unwrap();
        rig.client.unsubscribe(filters, Properties::empty())
    };
    assert!(unsubscribe(&mut rig, "a").is_ok());
    assert_eq!(
        unsubscribe(&mut rig, "b"),
        Err(RequestError::TooManyRequests { maximum: 2 })
    );
}

#[test]
fn no_more_is_taken_than_there_is_room_for() {
    let mut stream = Vec::new();
    for number in 1..=5 {
        incoming(number, QoS::AtLeastOnce)
            .encode(ProtocolVersion::V5, &mut stream)
            .unwrap();
    }
    let len = stream.len() / 5;
    let size = "never/subscribed".len() + "x".len();
    // Room for messages, for bytes; how many messages are taken.
    for (messages, bytes, taken) in [
        (5, usize::MAX, 5),
        (9, usize::MAX, 5),
        (3, usize::MAX, 3),
        (0, usize::MAX, 0),
        (9, 0, 0),
        (9, 1, 1),
        (9, size + 1, 2),
    ] {
        for step in [1, len - 1, len, stream.len()] {
            let mut rig = Rig::connected(settings());
            rig.client.set_room(messages, bytes);
            let mut at = 0;
            while at < stream.len() && rig.client.has_room() {
                let end = stream.len().min(at + step);
                at += rig.client.handle_input(&stream[at..end], rig.now);
            }
            assert_eq!(rig.events().len(), taken, "{messages} {bytes} {step}");
            assert_eq!(at, taken * len, "{messages} {bytes} {step}");
            // What was left is taken when there is room again.
            rig.client.set_room(9, usize::MAX);
            rig.client.handle_input(&stream[at..], rig.now);
            assert_eq!(rig.events().len(), 5 - taken, "{messages} {bytes} {step}");
        }
    }
}
