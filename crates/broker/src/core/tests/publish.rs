//! From a publisher to its subscribers.

use bytes::Bytes;
use mqttstack_codec::{Ack, Packet, Properties, ReasonCode};

use super::{
    super::{Access, Client},
    *,
};

#[test]
fn the_qos_of_a_delivery_is_the_lower_of_published_and_granted() {
    // v5 MQTT-3.8.4-8; v3.1.1 MQTT-3.8.4-6
    for version in [V31, V311, V5] {
        let mut net = Net::new();
        let publisher = net.join(clean(version, "p"));
        for granted in 0..=2 {
            let subscriber = net.join(clean(version, &format!("s{granted}")));
            net.subscribe(subscriber, "t", granted);
            for published in 0..=2 {
                net.say(publisher, "t", "x", published);
                let qos = granted.min(published);
                net.expect(subscriber, &[&format!("t=x q{qos}")]);
            }
            net.leave(subscriber);
        }
    }
}

#[test]
fn messages_of_all_kinds_in_one_turn_keep_their_order() {
    // v5 MQTT-4.6.0-6, v3.1.1 MQTT-4.6.0-6: what is encoded as it arrives overtakes nothing.
    for version in [V311, V5] {
        let mut net = Net::new();
        let (publisher, subscriber) = (net.join(clean(V311, "p")), net.join(clean(version, "s")));
        net.subscribe(subscriber, "#", 2);
        // PUBLISH to a at QoS 0 (1), QoS 1 (2), QoS 0 (3), QoS 2 (4), and twice QoS 0 (5, 6).
        net.send_hex(
            publisher,
            "3004000161 31 32060001610001 32 3004000161 33 34060001610002 34 3004000161 35 3004000161 36",
        );
        net.expect(
            subscriber,
            &["a=1 q0", "a=2 q1", "a=3 q0", "a=4 q2", "a=5 q0", "a=6 q0"],
        );
    }
}

#[test]
fn more_subscribers_than_there_are_places_for_early_output_get_the_same() {
    let mut net = Net::new();
    let publisher = net.join(clean(V311, "p"));
    let subscribers: Vec<Who> = (0..300)
        .map(|n| {
            let who = net.join(clean(V311, &format!("s{n}")));
            net.subscribe(who, "a", 0);
            who
        })
        .collect();
    for _ in 0..3 {
        net.send_hex(publisher, "3004000161 31 3004000161 32");
        for who in &subscribers {
            net.expect(*who, &["a=1 q0", "a=2 q0"]);
        }
    }
    // One that goes with something encoded for it leaves nothing to the next.
    net.cut(subscribers[0]);
    let next = net.join(clean(V311, "next"));
    net.subscribe(next, "b", 0);
    net.say(publisher, "b", "x", 0);
    net.expect(next, &["b=x q0"]);
}

#[test]
fn who_leaves_in_the_turn_of_a_message_does_not_get_it() {
    let mut net = Net::new();
    let client = net.join(clean(V311, "c"));
    net.subscribe(client, "a", 0);
    // PUBLISH to a at QoS 0, and DISCONNECT.
    net.send_hex(client, "3004000161 31 E000");
    net.expect(client, &[]);
}

#[test]
fn characters_that_are_discouraged_are_found_behind_plain_topics() {
    // v5 U-01; X311-1.5.3-a
    for topic in ["a\u{7}", "\u{7F}", "a/\u{85}", "\u{FDD0}"] {
        for version in [V311, V5] {
            let mut net = Net::new();
            let (publisher, subscriber) = (net.join(clean(version, "p")), net.join_v5("s"));
            net.subscribe(subscriber, "#", 0);
            for _ in 0..2 {
                net.say(publisher, "a", "x", 0);
                net.say(publisher, "caf\u{E9}", "x", 0);
            }
            net.expect(
                subscriber,
                &["a=x q0", "caf\u{E9}=x q0", "a=x q0", "caf\u{E9}=x q0"],
            );
            net.say(publisher, topic, "x", 0);
            net.expect(subscriber, &[]);
            assert!(net.is_closed(publisher), "{topic:?} {version:?}");
        }
    }
}

#[test]
fn what_travels_end_to_end_arrives_unaltered_and_in_order() {
    // X311-3.3.2.1-a (topics are not changed either); v5 MQTT-3.3.2-4, v5 MQTT-3.3.2-15, v5 MQTT-3.3.2-16, v5 MQTT-3.3.2-17, v5 MQTT-3.3.2-18,
    // v5 MQTT-3.3.2-20
    let mut net = Net::new();
    let (publisher, subscriber) = (net.join_v5("p"), net.join_v5("s"));
    net.subscribe(subscriber, "#", 0);
    let mut publish = message("a/b", "x", 0);
    publish.properties = Properties::builder()
        .payload_format_indicator(true)
        .topic_alias(3)
        .content_type("text/plain")
        .response_topic("answer/here")
        .correlation_data(&[0, 255])
        .user_property("b", "1")
        .user_property("a", "2")
        .user_property("b", "1")
        .build()
        .expect("valid");
    let expected = {
        let mut forwarded = publish.clone();
        forwarded.properties = Properties::builder()
            .payload_format_indicator(true)
            .content_type("text/plain")
            .response_topic("answer/here")
            .correlation_data(&[0, 255])
            .user_property("b", "1")
            .user_property("a", "2")
            .user_property("b", "1")
            .build()
            .expect("valid");
        describe(&Packet::Publish(forwarded), true)
    };
    net.publish(publisher, publish);
    net.expect(subscriber, &[&expected]);
}

#[test]
fn dup_of_an_arriving_message_is_not_passed_on() {
    // v3.1.1 MQTT-3.3.1-3
    let mut net = Net::new();
    let (publisher, subscriber) = (net.join(clean(V311, "p")), net.join(clean(V311, "s")));
    net.subscribe(subscriber, "#", 1);
    let mut publish = message("a", "x", 1);
    publish.delivery = publish.delivery.with_dup(true);
    net.publish(publisher, publish);
    net.expect(subscriber, &["a=x q1"]);
}

#[test]
fn the_messages_of_a_publisher_arrive_in_their_order() {
    // v5 MQTT-4.6.0-5, v5 MQTT-4.6.0-6; v3.1.1 MQTT-4.6.0-5, v3.1.1 MQTT-4.6.0-6
    let mut net = Net::workers(2);
    let publisher = net.join_v5("p");
    let here = net.join_v5("here");
    let there = net.join_at(1, clean(V5, "there"));
    for subscriber in [here, there] {
        net.subscribe(subscriber, "t/#", 2);
    }
    for qos in 0..=2 {
        let lines: Vec<String> = (0..100).map(|n| format!("t/a={n} q{qos}")).collect();
        for n in 0..100 {
            net.say(publisher, "t/a", &n.to_string(), qos);
        }
        assert_eq!(net.hear(here), lines);
        assert_eq!(net.hear(there), lines);
    }
}

#[test]
fn overlapping_subscriptions_give_one_copy_at_the_highest_qos_with_all_identifiers() {
    // v5 MQTT-3.3.4-2, v5 MQTT-3.3.4-3, v5 MQTT-3.3.4-4, v5 MQTT-3.3.4-5 (there is one copy);
    // v3.1.1 MQTT-3.3.5-1; v5 U-23
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let subscriber = net.join_v5("s");
    let other = net.join_v5("o");
    net.subscribe_with(subscriber, "a/#", options(1), Some(7));
    net.subscribe_with(subscriber, "a/+", options(2), Some(8));
    net.subscribe_with(subscriber, "a/b", options(0), None);
    net.subscribe_with(subscriber, "#", options(0), Some(7));
    net.subscribe_with(other, "a/b", options(1), Some(99));
    net.say(publisher, "a/b", "x", 2);
    let [line] = &net.hear(subscriber)[..] else {
        panic!("not one copy");
    };
    assert!(line.starts_with("a/b=x q2 {"), "{line}");
    assert_eq!(line.matches("identifier: 7").count(), 2, "{line}");
    assert_eq!(line.matches("identifier: 8").count(), 1, "{line}");
    assert!(!line.contains("99"), "{line}");
    net.expect(other, &["a/b=x q1 {subscription identifier: 99}"]);
}

#[test]
fn no_local_is_about_the_client_id() {
    // v5 MQTT-3.8.3-3
    let mut net = Net::new();
    let both = net.join(lasting(V5, "both", 100));
    let other = net.join_v5("other");
    let mut no_local = options(1);
    no_local.no_local = true;
    net.subscribe_with(both, "t", no_local, None);
    net.say(both, "t", "own", 1);
    net.say(other, "t", "other", 1);
    net.expect(both, &["t=other q1"]);
    // Another subscription that matches is none of its business.
    net.subscribe(both, "+", 0);
    net.say(both, "t", "own", 1);
    net.expect(both, &["t=own q0"]);
    net.unsubscribe(both, &["+"]);
    // It is the same client after a reconnect.
    net.cut(both);
    let both = net.join(lasting(V5, "both", 100));
    net.say(both, "t", "own", 1);
    net.say(other, "t", "again", 1);
    net.expect(both, &["t=again q1"]);
}

#[test]
fn retain_goes_on_only_where_it_was_asked_for() {
    // v5 MQTT-3.3.1-12, v5 MQTT-3.3.1-13; v3.1.1 MQTT-3.3.1-9
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let plain = net.join_v5("plain");
    let as_published = net.join_v5("as-published");
    let old = net.join(clean(V311, "old"));
    net.subscribe(plain, "t", 0);
    net.subscribe(old, "t", 0);
    let mut options = options(0);
    options.retain_as_published = true;
    net.subscribe_with(as_published, "t", options, None);
    net.publish(publisher, retained("t", "kept", 0));
    net.publish(publisher, message("t", "live", 0));
    net.expect(plain, &["t=kept q0", "t=live q0"]);
    net.expect(old, &["t=kept q0", "t=live q0"]);
    net.expect(as_published, &["t=kept q0 retain", "t=live q0"]);
}

#[test]
fn expiry_counts_down_and_ends_a_waiting_message() {
    // v5 MQTT-3.3.2-5, v5 MQTT-3.3.2-6
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let subscriber = net.join(lasting(V5, "s", u32::MAX));
    net.subscribe(subscriber, "t", 1);
    net.cut(subscriber);
    for expiry in [0, 4, 10, u32::MAX] {
        let mut publish = message("t", &expiry.to_string(), 1);
        publish.properties = Properties::builder()
            .message_expiry_interval(expiry)
            .build()
            .expect("valid");
        net.publish(publisher, publish);
    }
    net.say(publisher, "t", "never", 1);
    net.pass(Duration::from_millis(4_500));
    let subscriber = net.join(lasting(V5, "s", u32::MAX));
    let heard = net.hear(subscriber);
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(
        heard[0].starts_with("t=10 q1 {message expiry interval: 6"),
        "{heard:?}"
    );
    assert!(
        heard[1].starts_with(&format!("t={} q1 {{message", u32::MAX)),
        "{heard:?}"
    );
    assert_eq!(heard[2], "t=never q1");
}

#[test]
fn messages_are_kept_for_clients_that_are_away() {
    // v5 MQTT-4.5.0-1, v5 MQTT-3.1.2-5; v3.1.1 MQTT-4.5.0-1, v3.1.1 MQTT-3.1.2-5; V31-clean;
    // X311-3.1.2.4-a (QoS 0 is not kept)
    for version in [V31, V311, V5] {
        let mut net = Net::new();
        let publisher = net.join_v5("p");
        let subscriber = net.join(lasting(version, "s", u32::MAX));
        net.subscribe(subscriber, "t/+", 2);
        net.cut(subscriber);
        for qos in 0..=2 {
            net.say(publisher, "t/a", &qos.to_string(), qos);
        }
        let subscriber = net.join(lasting(version, "s", u32::MAX));
        net.expect(subscriber, &["t/a=1 q1", "t/a=2 q2"]);
    }
}

#[test]
fn a_publisher_learns_that_nobody_subscribes() {
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    net.stop_answering(publisher);
    net.send(publisher, Packet::Publish(message("t", "x", 1)));
    net.send(publisher, Packet::Publish(message("t", "x", 2)));
    net.expect(
        publisher,
        &[
            "PUBACK id=1 no matching subscribers (0x10)",
            "PUBREC id=1 no matching subscribers (0x10)",
        ],
    );
}

struct NoSecrets;

impl Access for NoSecrets {
    fn may_publish(&mut self, client: &Client<'_>, topic: &str) -> bool {
        client.client_id == "boss" || !topic.starts_with("secret")
    }
}

#[test]
fn a_publish_that_is_not_allowed_is_refused_where_it_can_be() {
    // v3.1.1 MQTT-3.3.5-2; V31-puback-deny, X311-4.7.3-b
    let refused: [(_, [&str; 2]); 3] = [
        (
            V5,
            [
                "PUBACK id=1 not authorized (0x87)",
                "PUBREC id=1 not authorized (0x87)",
            ],
        ),
        (
            V311,
            ["PUBACK id=1 success (0x00)", "PUBREC id=1 success (0x00)"],
        ),
        (
            V31,
            ["PUBACK id=1 success (0x00)", "PUBREC id=1 success (0x00)"],
        ),
    ];
    for (version, answers) in refused {
        let mut net = Net::planned(Plan {
            access: || Box::new(NoSecrets),
            ..Plan::default()
        });
        let subscriber = net.join_v5("s");
        net.subscribe(subscriber, "#", 2);
        let publisher = net.join(clean(version, "p"));
        net.stop_answering(publisher);
        net.send(publisher, Packet::Publish(retained("secret/a", "x", 1)));
        net.send(publisher, Packet::Publish(message("secret/a", "x", 2)));
        net.send(publisher, Packet::Publish(message("secret/a", "x", 0)));
        assert_eq!(net.hear(publisher), answers, "{version}");
        net.expect(subscriber, &[]);
        assert_eq!(net.cores[0].directory().retained_count(), (0, 0));
    }
}

#[test]
fn topics_of_the_server_belong_to_the_server() {
    // X311-4.7.2-a; T2
    let mut net = Net::new();
    let client = net.join_v5("c");
    net.stop_answering(client);
    net.subscribe(client, "$SYS/#", 0);
    net.subscribe(client, "#", 0);
    for topic in ["$SYS", "$SYS/broker/version"] {
        net.send(client, Packet::Publish(message(topic, "x", 1)));
        net.expect(client, &["PUBACK id=1 not authorized (0x87)"]);
    }
    let own = mqttstack_session::Message::builder("$SYS/broker/load", "1")
        .build()
        .expect("valid");
    let reason = net.cores[0].publish_own(&own, net.now);
    assert_eq!(reason, ReasonCode::Success);
    net.pump();
    net.expect(client, &["$SYS/broker/load=1 q0"]);
}

#[test]
fn a_large_payload_is_delivered_whole() {
    let mut net = Net::new();
    let (publisher, subscriber) = (net.join_v5("p"), net.join_v5("s"));
    net.subscribe(subscriber, "t", 1);
    for length in [8_191, 8_192, 100_000, 3_000_000] {
        let mut publish = message("t", "", 1);
        publish.payload = Bytes::from(vec![b'x'; length]);
        net.publish(publisher, publish);
        let heard = net.hear(subscriber);
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].len(), "t= q1".len() + length);
    }
}

#[test]
fn cutting_the_input_anywhere_changes_nothing() {
    // F4
    let mut bytes = BytesMut::new();
    let mut big = message("t", "", 1);
    big.payload = Bytes::from(vec![b'y'; 9_000]);
    for packet in [
        Packet::Connect(clean(V5, "p")),
        Packet::Publish(message("t", "x", 1)),
        Packet::Publish(big),
        Packet::PingReq,
        Packet::Publish(message("t", "z", 0)),
    ] {
        packet.encode(V5, &mut bytes).expect("encodes");
    }
    for segment in [1, 2, 3, 7, 100, 5_000] {
        let mut net = Net::new();
        let subscriber = net.join_v5("s");
        net.subscribe(subscriber, "t", 0);
        let publisher = net.open(0);
        for part in bytes.chunks(segment) {
            net.send_bytes(publisher, part);
        }
        let heard = net.hear(subscriber);
        assert_eq!(heard.len(), 3);
        assert_eq!((&*heard[0], &*heard[2]), ("t=x q0", "t=z q0"));
        assert_eq!(heard[1].len(), "t= q0".len() + 9_000);
        let heard = net.hear(publisher);
        assert_eq!(heard.last().map(String::as_str), Some("PINGRESP"));
    }
}

#[test]
fn an_error_in_an_acknowledgement_ends_the_exchange() {
    let mut net = Net::new();
    let (publisher, subscriber) = (net.join_v5("p"), net.join_v5("s"));
    net.subscribe(subscriber, "t", 1);
    net.stop_answering(subscriber);
    net.say(publisher, "t", "x", 1);
    net.expect(subscriber, &["t=x q1 id=1"]);
    let refusal = Ack::with_reason(packet_id(1), ReasonCode::QuotaExceeded);
    net.send(subscriber, Packet::PubAck(refusal));
    net.expect(subscriber, &[]);
}
