//! Retained messages: kept, replaced, removed, given to new subscriptions.

use mqttstack_codec::RetainHandling;
use mqttstack_limits::Overflow;

use super::*;

#[test]
fn what_a_publish_does_to_the_retained_message_of_its_topic() {
    // v5 MQTT-3.3.1-5, v5 MQTT-3.3.1-6, v5 MQTT-3.3.1-7, v5 MQTT-3.3.1-8; v3.1.1 MQTT-3.3.1-5,
    // v3.1.1 MQTT-3.3.1-7, v3.1.1 MQTT-3.3.1-10, v3.1.1 MQTT-3.3.1-11, v3.1.1 MQTT-3.3.1-12;
    // V31-retain, X311-4.1-a
    for version in [V31, V311, V5] {
        let mut net = Net::new();
        let publisher = net.join(clean(version, "p"));
        let watcher = net.join(clean(version, "w"));
        net.subscribe(watcher, "t", 2);
        let steps: [(Publish<Shared>, &str, &[&str]); 7] = [
            (message("t", "live", 1), "t=live q1", &[]),
            (retained("t", "one", 1), "t=one q1", &["t=one q1 retain"]),
            (message("t", "live", 1), "t=live q1", &["t=one q1 retain"]),
            (message("t", "", 1), "t= q1", &["t=one q1 retain"]),
            (retained("t", "two", 0), "t=two q0", &["t=two q0 retain"]),
            (
                retained("t", "three", 2),
                "t=three q2",
                &["t=three q2 retain"],
            ),
            (retained("t", "", 0), "t= q0", &[]),
        ];
        for (publish, live, kept) in steps {
            net.publish(publisher, publish);
            assert_eq!(net.hear(watcher), [live], "{version}");
            let reader = net.join(clean(version, "r"));
            net.subscribe(reader, "t", 2);
            assert_eq!(net.hear(reader), kept, "{version}");
            net.leave(reader);
        }
    }
}

#[test]
fn a_subscription_gets_each_matching_retained_message_at_its_qos() {
    // v3.1.1 MQTT-3.3.1-6, v3.1.1 MQTT-3.3.1-8; v5 MQTT-3.3.1-9
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    for (topic, qos) in [("a", 0), ("a/b", 1), ("a/c", 2), ("$x", 1), ("b", 2)] {
        net.publish(publisher, retained(topic, "x", qos));
    }
    let reader = net.join_v5("r");
    for (filter, qos, expected) in [
        ("a", 2, &["a=x q0 retain"][..]),
        (
            "a/#",
            1,
            &["a/b=x q1 retain", "a/c=x q1 retain", "a=x q0 retain"],
        ),
        ("+/c", 2, &["a/c=x q2 retain"]),
        ("$x", 0, &["$x=x q0 retain"]),
        ("+", 0, &["a=x q0 retain", "b=x q0 retain"]),
    ] {
        net.subscribe(reader, filter, qos);
        let mut heard = net.hear(reader);
        heard.sort();
        assert_eq!(heard, expected, "{filter}");
    }
}

#[test]
fn retain_handling_decides_what_a_subscription_gets() {
    // v5 MQTT-3.3.1-9, v5 MQTT-3.3.1-10, v5 MQTT-3.3.1-11, v5 MQTT-3.8.4-4
    for (handling, new, repeated) in [
        (RetainHandling::Send, true, true),
        (RetainHandling::SendIfNew, true, false),
        (RetainHandling::DoNotSend, false, false),
    ] {
        let mut net = Net::new();
        let publisher = net.join_v5("p");
        net.publish(publisher, retained("t", "x", 1));
        let reader = net.join(lasting(V5, "r", 100));
        let mut options = options(1);
        options.retain_handling = handling;
        // RETAIN is 1 whatever Retain As Published says.
        let expected = |is_sent| match is_sent {
            true => &["t=x q1 retain {subscription identifier: 5}"][..],
            false => &[],
        };
        net.subscribe_with(reader, "t", options, Some(5));
        assert_eq!(net.hear(reader), expected(new), "{handling:?}");
        net.subscribe_with(reader, "t", options, Some(5));
        assert_eq!(net.hear(reader), expected(repeated), "{handling:?}");
        // A subscription that the session has is not new to a later connection.
        net.cut(reader);
        let reader = net.join(lasting(V5, "r", 100));
        net.subscribe_with(reader, "t", options, Some(5));
        assert_eq!(net.hear(reader), expected(repeated), "{handling:?}");
        net.unsubscribe(reader, &["t"]);
        net.hear(reader);
        net.subscribe_with(reader, "t", options, Some(5));
        assert_eq!(net.hear(reader), expected(new), "{handling:?}");
    }
}

#[test]
fn suback_comes_before_retained_and_retained_before_live() {
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    net.publish(publisher, retained("t", "kept", 1));
    let reader = net.join_v5("r");
    net.ask(reader, &[("t", options(1))], None);
    net.say(publisher, "t", "live", 1);
    net.expect(
        reader,
        &[
            "SUBACK id=1 granted QoS 1 (0x01)",
            "t=kept q1 retain",
            "t=live q1",
        ],
    );
}

#[test]
fn retained_messages_expire_where_they_are_kept() {
    // v5 MQTT-3.3.2-5, v5 MQTT-3.3.2-6
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    for (topic, expiry) in [("a", 5), ("b", 20)] {
        let mut publish = retained(topic, "x", 0);
        publish.properties = Properties::builder()
            .message_expiry_interval(expiry)
            .build()
            .expect("valid");
        net.publish(publisher, publish);
    }
    net.pass(seconds(6));
    assert_eq!(net.cores[0].directory().retained_count().0, 1);
    let reader = net.join_v5("r");
    net.subscribe(reader, "#", 0);
    net.expect(reader, &["b=x q0 retain {message expiry interval: 14s}"]);
    net.pass(seconds(20));
    assert_eq!(net.cores[0].directory().retained_count(), (0, 0));
}

#[test]
fn retained_messages_outlive_the_session_that_left_them() {
    // v3.1.1 MQTT-3.1.2-7
    let mut net = Net::new();
    let publisher = net.join(clean(V311, "p"));
    net.publish(publisher, retained("t", "x", 1));
    net.leave(publisher);
    let publisher = net.join(clean(V311, "p"));
    net.cut(publisher);
    let reader = net.join_v5("r");
    net.subscribe(reader, "t", 0);
    net.expect(reader, &["t=x q0 retain"]);
}

#[test]
fn many_retained_messages_come_in_slices_and_all_of_them() {
    // R5
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    for n in 0..2_000 {
        let qos = [0, 1, 2][n % 3];
        net.publish(publisher, retained(&format!("t/{n}"), "x", qos));
    }
    let reader = net.join_v5("r");
    net.subscribe(reader, "#", 2);
    let mut heard = net.hear(reader);
    assert_eq!(heard.len(), 2_000);
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), 2_000);
}

#[test]
fn a_reader_that_does_not_acknowledge_is_not_handed_the_whole_store() {
    // R5
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    for n in 0..2_000 {
        net.publish(publisher, retained(&format!("t/{n}"), "x", 1));
    }
    let reader = net.join(lasting(V5, "r", 100));
    net.stop_answering(reader);
    for _ in 0..50 {
        net.ask(reader, &[("#", options(1))], None);
    }
    let key = net.cores[0].directory().find("r").expect("connected");
    let entry = net.cores[0].sessions.get(key).expect("here");
    assert_eq!(entry.owed.len(), 1, "one entry for each filter");
    let connection = net.cores[0].connection(net.id_of(reader)).expect("open");
    assert!(connection.session.queue_status().queued_messages < 1_000);
    // What is owed is owed to the session: it comes on the next connection.
    net.cut(reader);
    let reader = net.join(lasting(V5, "r", 100));
    let mut topics: Vec<String> = net
        .hear(reader)
        .into_iter()
        .map(|line| line.split('=').next().unwrap_or_default().to_owned())
        .collect();
    topics.sort();
    topics.dedup();
    assert_eq!(topics.len(), 2_000);
}

#[test]
fn unsubscribing_ends_what_is_still_owed() {
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    for n in 0..1_000 {
        net.publish(publisher, retained(&format!("t/{n}"), "x", 1));
    }
    let reader = net.join_v5("r");
    net.stop_answering(reader);
    net.ask(reader, &[("#", options(1))], None);
    net.unsubscribe(reader, &["#"]);
    let heard = net.hear(reader);
    assert!(heard.last().expect("something").starts_with("UNSUBACK"));
    assert!(!net.cores[0].owes_retained(net.id_of(reader)));
}

/// Publishes so many retained messages of a size.
fn store(net: &mut Net, count: usize, bytes: usize, qos: u8) {
    let publisher = net.join_v5("store");
    let payload = "x".repeat(bytes);
    for n in 0..count {
        net.publish(publisher, retained(&format!("t/{n}"), &payload, qos));
    }
    net.leave(publisher);
}

#[test]
fn retained_messages_that_the_queue_has_no_room_for_wait_in_the_store() {
    for (queue_messages_max, queue_bytes_max, overflow) in [
        (100_000, 64 * 1024 * 1024, Overflow::DropOldest),
        (100_000, 100, Overflow::DropOldest),
        (100_000, 100, Overflow::DropNewest),
        (100, u64::MAX, Overflow::EndSession),
        (2, u64::MAX, Overflow::DropOldest),
        (1, u64::MAX, Overflow::EndSession),
        (0, 0, Overflow::DropNewest),
    ] {
        for qos in [0, 1, 2] {
            let limits = Limits {
                queue_messages_max,
                queue_bytes_max,
                overflow,
                inflight_max: 3,
                ..Limits::default()
            };
            let mut net = Net::planned(Plan {
                limits,
                ..Plan::default()
            });
            store(&mut net, 300, 40, qos);
            let reader = net.join_v5("r");
            net.subscribe(reader, "#", qos);
            let mut heard = net.hear(reader);
            heard.sort();
            heard.dedup();
            assert_eq!(heard.len(), 300, "{queue_messages_max} {overflow:?} {qos}");
            let id = net.id_of(reader);
            let session = &net.cores[0].connection(id).expect("open").session;
            assert_eq!(session.queue_status().dropped, 0);
        }
    }
}

#[test]
fn a_store_of_large_messages_reaches_a_subscriber_at_the_defaults() {
    for qos in [0, 1] {
        let mut net = Net::new();
        store(&mut net, 120, 1 << 20, qos);
        let reader = net.join_v5("r");
        net.subscribe(reader, "#", qos);
        let heard = net.hear(reader);
        assert_eq!(heard.len(), 120);
        assert!(heard.iter().all(|line| line.len() > 1 << 20));
    }
}

#[test]
fn a_search_through_a_large_store_takes_turns_with_other_connections() {
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    // Lists that alternate: long to search, and nothing to be found.
    for n in 0..10_000 {
        net.publish(publisher, retained(&format!("a/{n}/x"), "x", 0));
        net.publish(publisher, retained(&format!("b/{n}/y"), "x", 0));
    }
    // The second of the filters matches all of `a`: 256 messages a turn.
    for (filter, turns_min) in [("a/+/y", 1), ("a/#", 36)] {
        let reader = net.join_v5("r");
        let (core, id) = (&mut net.cores[0], net.peers[reader].id);
        let mut packet = from_hex("82 0A 00 01 00 00 04");
        packet[1] = u8::try_from(filter.len() + 6).expect("short");
        packet[6] = u8::try_from(filter.len()).expect("short");
        packet.extend_from_slice(filter.as_bytes());
        packet.push(0);
        core.handle_input(id, &packet, net.now);
        let mut turns = 0;
        loop {
            let mut out = Outgoing::default();
            let drained = core.drain(id, net.now, &mut out);
            assert!(out.bytes.len() < 2 * 256 * 20, "more than a turn's worth");
            if drained == Drained::Empty {
                break;
            }
            assert_eq!(drained, Drained::More);
            turns += 1;
        }
        assert!(turns >= turns_min, "{filter}: {turns}");
        net.leave(reader);
    }
}
