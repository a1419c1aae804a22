//! What happens at the edges.

use bytes::Bytes;
use mqttstack_limits::Overflow;
use mqttstack_session::{ProtocolError, server::EndCause};

use super::*;

fn small_queue(overflow: Overflow) -> Plan {
    Plan {
        limits: Limits {
            queue_messages_max: 3,
            overflow,
            ..Limits::default()
        },
        ..Plan::default()
    }
}

#[test]
fn a_full_queue_does_what_the_policy_says() {
    // R3
    for (overflow, kept) in [
        (Overflow::DropOldest, Some(["2", "3", "4"])),
        (Overflow::DropNewest, Some(["0", "1", "2"])),
        (Overflow::EndSession, None),
    ] {
        let mut net = Net::planned(small_queue(overflow));
        let publisher = net.join_v5("p");
        let client = net.join(lasting(V5, "c", 100));
        net.subscribe(client, "t", 1);
        net.cut(client);
        for n in 0..5 {
            net.say(publisher, "t", &n.to_string(), 1);
        }
        net.expect(publisher, &[]);
        let client = net.dial(lasting(V5, "c", 100));
        let heard = net.hear(client);
        assert_eq!(heard[0].contains("session-present"), kept.is_some());
        let expected: Vec<_> = kept.iter().flatten().map(|n| format!("t={n} q1")).collect();
        assert_eq!(heard[1..], expected, "{overflow:?}");
    }
}

#[test]
fn a_connected_client_whose_session_overflows_is_told() {
    // R3
    let mut net = Net::planned(small_queue(Overflow::EndSession));
    let publisher = net.join_v5("p");
    let mut connect = lasting(V5, "c", 100);
    connect.properties = Properties::builder()
        .session_expiry_interval(100)
        .receive_maximum(1)
        .build()
        .expect("valid");
    let client = net.join(with_will(connect, 0));
    net.subscribe(client, "t", 1);
    net.stop_answering(client);
    net.subscribe(publisher, "will/#", 0);
    for n in 0..6 {
        net.say(publisher, "t", &n.to_string(), 1);
    }
    net.expect_end(client, &["t=0 q1 id=1", "DISCONNECT quota exceeded (0x97)"]);
    net.expect(publisher, &["will/c=gone q0"]);
    let dropped = |notice: &Notice| matches!(notice, Notice::SessionDropped { .. });
    assert_eq!(net.notices.iter().filter(|it| dropped(it)).count(), 1);
}

#[test]
fn an_unfinished_packet_has_a_deadline_of_its_own() {
    // With a Keep Alive of 0 nothing else would ever end it, nor free what it holds.
    let begun = "30 0A 00 01 74 78";
    for version in [V31, V311, V5] {
        let mut net = Net::planned(Plan {
            limits: Limits {
                packet_timeout: Duration::from_secs(60),
                ..Limits::default()
            },
            ..Plan::default()
        });
        let mut connect = clean(version, "c");
        connect.keep_alive = 0;
        let client = net.join(connect);
        net.pass(Duration::from_secs(3_600));
        net.send_hex(client, begun);
        net.pass(Duration::from_secs(59));
        // Bytes are no packet: they put nothing off.
        net.send_hex(client, "78");
        assert!(!net.is_closed(client));
        net.pass(Duration::from_secs(1));
        let told: &[_] = match version {
            V5 => &["DISCONNECT quota exceeded (0x97)"],
            V31 | V311 => &[],
        };
        net.expect_end(client, told);
        let Some(Notice::Ended { cause, .. }) = net.notices.last() else {
            panic!("{:?}", net.notices);
        };
        assert!(
            matches!(
                cause,
                EndCause::Protocol(ProtocolError::PacketTimeout { .. })
            ),
            "{cause:?}"
        );
    }
}

#[test]
fn a_finished_packet_starts_the_time_of_the_next() {
    let mut net = Net::planned(Plan {
        limits: Limits {
            packet_timeout: Duration::from_secs(60),
            ..Limits::default()
        },
        ..Plan::default()
    });
    let mut connect = clean(V311, "c");
    connect.keep_alive = 0;
    let client = net.join(connect);
    net.subscribe(client, "t", 0);
    net.send_hex(client, "30 05 00 01 74");
    for _ in 0..5 {
        net.pass(Duration::from_secs(50));
        // The end of one packet and the beginning of the next come together.
        net.send_hex(client, "78 78  30 05 00 01 74");
        net.expect(client, &["t=xx q0"]);
    }
}

#[test]
fn wills_that_overflow_one_session_after_another_do_not_pile_up() {
    // R2: each session's will is what ends the next
    const SESSIONS: usize = 5_000;
    let mut net = Net::planned(Plan {
        limits: Limits {
            queue_messages_max: 1,
            overflow: Overflow::EndSession,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let publisher = net.join_v5("p");
    for n in 0..SESSIONS {
        let client_id = n.to_string();
        let mut connect = with_will(lasting(V5, &client_id, u32::MAX), u32::MAX);
        if let Some(will) = &mut connect.will {
            will.topic = format!("next/{}", n + 1).into();
        }
        let client = net.join(connect);
        net.subscribe(client, &format!("next/{n}"), 1);
        net.cut(client);
        net.say(publisher, &format!("next/{n}"), "fills the queue", 1);
    }
    net.say(publisher, "next/0", "one too many", 1);
    assert_eq!(net.cores[0].directory().session_count(), 1);
}

#[test]
fn only_so_many_sessions_connections_and_retained_messages() {
    // R5, R4
    let mut net = Net::planned(Plan {
        broker_limits: BrokerLimits {
            connections_max: 4,
            pending_connections_max: 1,
            sessions_max: 2,
            retained_messages_max: 2,
            retained_bytes_max: 40 + 2 * 128,
            ..BrokerLimits::default()
        },
        ..Plan::default()
    });
    let first = net.join(lasting(V5, "1", 100));
    let second = net.join(lasting(V311, "2", 0));
    for (version, told) in [
        (V5, "CONNACK quota exceeded (0x97)"),
        (V311, "CONNACK server unavailable (0x88)"),
    ] {
        let third = net.dial(clean(version, "3"));
        net.expect_end(third, &[told]);
    }
    // Those who have a session are let in.
    net.cut(second);
    net.join(lasting(V311, "2", 0));
    let pending = net.open(0);
    assert!(net.cores[0].is_crowded());
    assert_eq!(net.try_open(0), None, "one may wait for its CONNECT");
    net.cut(pending);
    assert!(!net.cores[0].is_crowded());
    assert!(net.try_open(0).is_some());

    net.stop_answering(first);
    let success = "PUBACK id=1 no matching subscribers (0x10)";
    let refused = "PUBACK id=1 quota exceeded (0x97)";
    for (topic, payload, answer) in [
        ("a", "x", success),
        ("b", "x", success),
        ("c", "x", refused),
        ("a", "replaced", success),
        ("b", "0123456789012345678901234567890", refused),
        ("a", "", success),
        ("c", "x", success),
    ] {
        net.send(first, Packet::Publish(retained(topic, payload, 1)));
        net.expect(first, &[answer]);
    }
    assert_eq!(net.cores[0].directory().retained_count(), (2, 4));
}

#[test]
fn r3_a_client_that_does_not_read_costs_so_much_and_no_more() {
    // R3
    let mut net = Net::planned(Plan {
        limits: Limits {
            output_bytes_max: 10_000,
            queue_messages_max: 50,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let publisher = net.join_v5("p");
    let slow = net.join_v5("slow");
    let quick = net.join_v5("quick");
    net.subscribe(slow, "t", 0);
    net.subscribe(quick, "t", 0);
    net.stop_reading(slow);
    for _ in 0..1_000 {
        net.say(publisher, "t", &"x".repeat(1_000), 0);
    }
    assert_eq!(net.hear(quick).len(), 1_000);
    assert!(net.peers[slow].incoming.bytes.len() < 12_000);
    // It is heard while it does not listen, so that its keep alive counts.
    net.send(slow, Packet::PingReq);
    assert!(!net.is_paused(slow));
    net.read_again(slow);
    let heard = net.hear(slow);
    assert!(heard.contains(&"PINGRESP".to_owned()));
    assert!((50..70).contains(&heard.len()), "{}", heard.len());
    net.say(publisher, "t", "y", 0);
    net.expect(slow, &["t=y q0"]);
}

#[test]
fn r3_a_client_that_asks_and_does_not_read_is_not_heard_out() {
    // R3
    let mut net = Net::planned(Plan {
        limits: Limits {
            output_bytes_max: 1,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let client = net.join_v5("c");
    net.stop_reading(client);
    let pings = 10_000;
    for _ in 0..pings {
        net.send(client, Packet::PingReq);
    }
    assert!(net.is_paused(client));
    net.read_again(client);
    assert_eq!(net.hear(client).len(), pings);
}

#[test]
fn f1_a_claimed_size_reserves_nothing() {
    // F1
    let mut net = Net::new();
    let client = net.join_v5("c");
    net.send_hex(client, "30 FF FF FF 7F 00 01 74 00");
    let connection = net.cores[0].connection(net.id_of(client)).expect("open");
    assert!(connection.unread_capacity() < 1_000);
    // Before CONNECT was accepted, the claim alone is too much.
    let early = net.open(0);
    net.send_hex(early, "10 FF FF FF 7F");
    net.expect_end(early, &[]);
    let early = net.open(0);
    net.send_hex(early, "30");
    net.expect_end(early, &[]);
}

#[test]
fn f4_a_packet_that_comes_byte_by_byte_is_looked_at_once() {
    // F4: with a look at all of it for each byte this would take hours
    let mut net = Net::new();
    let subscriber = net.join_v5("s");
    net.subscribe(subscriber, "t", 0);
    let publisher = net.join_v5("p");
    let mut publish = message("t", "", 0);
    publish.payload = Bytes::from(vec![b'x'; 1_000_000]);
    let mut bytes = BytesMut::new();
    Packet::Publish(publish)
        .encode(V5, &mut bytes)
        .expect("encodes");
    for byte in &bytes {
        net.send_bytes(publisher, &[*byte]);
    }
    assert_eq!(net.hear(subscriber).len(), 1);
}

#[test]
fn packets_larger_than_announced_end_the_connection() {
    // v5 U-13, v5 MQTT-3.2.2-15
    let mut net = Net::planned(Plan {
        limits: Limits {
            packet_size_max: 100,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let client = net.join_v5("c");
    net.send_hex(client, "30 62");
    assert!(!net.is_closed(client), "exactly as large as announced");
    let client = net.join_v5("d");
    net.send_hex(client, "30 63");
    net.expect_end(client, &["DISCONNECT packet too large (0x95)"]);
}

#[test]
fn n1_limits_at_their_extremes_do_not_break_anything() {
    // N1
    for value in [0, 1, u32::MAX] {
        let small = u16::try_from(value).unwrap_or(u16::MAX);
        let mut net = Net::planned(Plan {
            limits: Limits {
                connect_timeout: Duration::from_secs(u64::from(value)),
                user_properties_max: value,
                client_id_bytes_max: small,
                topic_levels_max: u8::try_from(value).unwrap_or(u8::MAX).max(2),
                keep_alive_min: small,
                keep_alive_max: small,
                session_expiry_max: value,
                receive_maximum: small,
                inflight_max: small,
                inflight_bytes_max: u64::from(value),
                topic_alias_maximum: small,
                topic_aliases_used_max: small,
                queue_messages_max: value,
                queue_bytes_max: u64::from(value),
                output_bytes_max: value,
                subscriptions_max: value,
                ..Limits::default()
            },
            ..Plan::default()
        });
        let mut connect = with_will(lasting(V5, "c", u32::MAX), u32::MAX);
        connect.keep_alive = u16::MAX;
        let client = net.join(connect);
        net.ask(client, &[("#", options(2))], None);
        for qos in 0..=2 {
            net.publish(client, retained("t", "x", qos));
        }
        net.pass(seconds(10_000_000));
        let again = net.dial(lasting(V5, "c", u32::MAX));
        net.cut(again);
        net.pass(seconds(10_000_000_000));
    }
}

#[test]
fn r2_legal_packets_over_and_over_leave_nothing_behind() {
    // R2
    let mut net = Net::new();
    let client = net.join_v5("c");
    for round in 0..500 {
        net.subscribe(client, &format!("a/{round}/#"), 1);
        net.unsubscribe(client, &[&format!("a/{round}/#")]);
        net.publish(client, retained(&format!("r/{round}"), "x", 0));
        net.publish(client, retained(&format!("r/{round}"), "", 0));
    }
    net.hear(client);
    let directory = net.cores[0].directory();
    assert_eq!(directory.subscription_count(), 0);
    assert_eq!(directory.retained_count(), (0, 0));
    // QoS 2 that is never released is bounded by the identifiers there are, and one at a time.
    net.stop_answering(client);
    for _ in 0..2_000 {
        net.send(client, Packet::Publish(message("t", "x", 2)));
    }
    assert!(!net.is_closed(client));
    let key = net.cores[0].directory().find("c").expect("connected");
    net.cut(client);
    assert!(net.cores[0].sessions.get(key).is_none());
}

#[test]
fn r1_topics_of_any_depth_are_survived() {
    // R1
    let slashes = "/".repeat(65_535);
    let mut net = Net::new();
    let client = net.join_v5("c");
    net.stop_answering(client);
    net.ask(client, &[(&slashes, options(0))], None);
    net.expect(client, &["SUBACK id=1 topic filter invalid (0x8F)"]);
    net.send(client, Packet::Publish(retained(&slashes, "x", 1)));
    net.expect(client, &["PUBACK id=1 topic name invalid (0x90)"]);
    net.unsubscribe(client, &[&slashes]);
    net.expect(client, &["UNSUBACK id=2 topic filter invalid (0x8F)"]);
    let mut connect = with_will(clean(V5, "w"), 0);
    if let Some(will) = &mut connect.will {
        will.topic = slashes.as_str().into();
    }
    let refused = net.dial(connect);
    net.expect_end(refused, &["CONNACK topic name invalid (0x90)"]);
}

#[test]
fn a_few_bytes_that_mean_much_work_are_handled_in_shares() {
    // R3: each message below is for a hundred subscribers, and they come in one go
    let mut net = Net::new();
    let listeners: Vec<Who> = (0..100)
        .map(|number| {
            let who = net.join_v5(&format!("s{number}"));
            net.subscribe(who, "t", 0);
            who
        })
        .collect();
    let publisher = net.join_v5("p");
    let mut bytes = Vec::new();
    let packet = Packet::Publish(message("t", "x", 0));
    for _ in 0..1_250 {
        packet.encode(V5, &mut bytes).expect("encodes");
    }
    net.send_bytes(publisher, &bytes);
    assert!(net.is_paused(publisher), "it has had its share");
    let first = net.hear(listeners[0]).len();
    assert!((250..1_250).contains(&first), "{first}");
    // Others have their turn meanwhile.
    let other = net.join_v5("other");
    net.send(other, Packet::PingReq);
    net.expect(other, &["PINGRESP"]);
    let mut heard = first;
    for _ in 0..5 {
        net.pass(Duration::ZERO);
        heard += net.hear(listeners[0]).len();
    }
    assert_eq!(heard, 1_250);
    assert!(!net.is_paused(publisher));
}

#[test]
fn a_topic_that_takes_long_to_look_up_is_charged_for_it() {
    // Each prefix of each of these filters matches the topic, and no filter does.
    let mut net = Net::new();
    let hostile = net.join_v5("hostile");
    for bits in 0..1_u32 << 10 {
        let levels = (0..10).map(|bit| if bits >> bit & 1 == 0 { "a/" } else { "+/" });
        net.subscribe(hostile, &format!("{}z", levels.collect::<String>()), 0);
    }
    let level = "a/a/a/a/a/a/a/a/a/a";
    let listener = net.join_v5("listener");
    net.subscribe(listener, &format!("{level}/#"), 0);
    let publisher = net.join_v5("p");
    let mut bytes = Vec::new();
    for number in 0..250 {
        // A topic that comes again is not looked up again.
        let topic = format!("{level}/{number}");
        let packet = Packet::Publish(message(&topic, "x", 0));
        packet.encode(V5, &mut bytes).expect("encodes");
    }
    net.send_bytes(publisher, &bytes);
    assert!(net.is_paused(publisher), "it has had its share");
    let mut heard = net.hear(listener).len();
    assert!((50..150).contains(&heard), "{heard}");
    for _ in 0..5 {
        net.pass(Duration::ZERO);
        heard += net.hear(listener).len();
    }
    assert_eq!(heard, 250);
    net.expect(hostile, &[]);
}

#[test]
fn those_who_wait_with_one_worker_leave_another_its_share() {
    let mut net = Net::planned(Plan {
        workers: 2,
        broker_limits: BrokerLimits {
            pending_connections_max: 3,
            ..BrokerLimits::default()
        },
        ..Plan::default()
    });
    for _ in 0..3 {
        net.open(0);
    }
    let crowded = |net: &Net| [0, 1].map(|core| net.cores[core].is_crowded());
    assert_eq!(crowded(&net), [true, false]);
    assert_eq!(net.try_open(0), None);
    // A half, rounded up, is there for it whatever the others do.
    let waiting = [net.open(1), net.open(1)];
    assert_eq!(crowded(&net), [true, true]);
    assert_eq!(net.try_open(1), None);
    assert_eq!(net.cores[0].directory().pending_count(), 5);
    for connection in waiting {
        net.cut(connection);
    }
    assert_eq!(crowded(&net), [true, false]);
    assert_eq!(net.cores[0].directory().pending_count(), 3);
}

/// A SUBSCRIBE or an UNSUBSCRIBE with filters as deep as they may be, and a PINGREQ behind it.
fn many_deep_filters(subscribe: bool) -> Vec<u8> {
    let level = "+/".repeat(125);
    let filters: Vec<String> = (0..300).map(|number| format!("{level}{number}")).collect();
    let packet = if subscribe {
        let subscriptions = filters
            .iter()
            .map(|filter| Subscription::new(filter, QoS::AtMostOnce));
        Packet::Subscribe(Subscribe {
            packet_id: packet_id(1),
            properties: Properties::empty(),
            filters: SubscribeFilters::new(subscriptions).expect("valid"),
        })
    } else {
        Packet::Unsubscribe(Unsubscribe {
            packet_id: packet_id(2),
            properties: Properties::empty(),
            filters: UnsubscribeFilters::new(filters.iter().map(|it| &**it)).expect("valid"),
        })
    };
    let mut bytes = Vec::new();
    packet.encode(V5, &mut bytes).expect("encodes");
    Packet::<Shared>::PingReq
        .encode(V5, &mut bytes)
        .expect("encodes");
    bytes
}

#[test]
fn deep_filters_are_charged_by_their_levels() {
    // 300 filters of 126 levels are more than one share, although they are one packet.
    let mut net = Net::new();
    let client = net.join_v5("c");
    for (subscribe, answer) in [(true, "SUBACK"), (false, "UNSUBACK")] {
        net.send_bytes(client, &many_deep_filters(subscribe));
        assert!(net.is_paused(client), "{answer}: it has had its share");
        let heard = net.hear(client);
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(heard[0].starts_with(answer), "{heard:?}");
        net.pass(Duration::ZERO);
        net.expect(client, &["PINGRESP"]);
    }
    // So is what is retained under deep names.
    let mut bytes = Vec::new();
    let level = "a/".repeat(125);
    for number in 0..300 {
        let publish = retained(&format!("{level}{number}"), "x", 0);
        Packet::Publish(publish)
            .encode(V5, &mut bytes)
            .expect("encodes");
    }
    net.send_bytes(client, &bytes);
    assert!(net.is_paused(client));
    assert!(net.cores[0].directory().retained_count().0 < 300);
    for _ in 0..3 {
        net.pass(Duration::ZERO);
    }
    assert_eq!(net.cores[0].directory().retained_count().0, 300);
}

#[test]
fn the_filters_of_a_session_have_so_many_bytes() {
    for (version, refusal) in [
        (V5, "quota exceeded (0x97)"),
        (V311, "unspecified error (0x80)"),
    ] {
        let mut net = Net::planned(Plan {
            limits: Limits {
                filter_bytes_max: 10,
                ..Limits::default()
            },
            ..Plan::default()
        });
        let client = net.join(lasting(version, "c", 100));
        let ask = |net: &mut Net, filter: &str, answer: &str| {
            net.ask(client, &[(filter, options(0))], None);
            let heard = net.hear(client);
            assert!(heard[0].ends_with(answer), "{filter}: {heard:?}");
        };
        let granted = "granted QoS 0 (0x00)";
        ask(&mut net, "12345/+", granted);
        ask(&mut net, "1234", refusal);
        ask(&mut net, "123", granted);
        ask(&mut net, "x", refusal);
        // What is there already takes nothing, and what goes leaves its room to others.
        ask(&mut net, "12345/+", granted);
        net.unsubscribe(client, &["123", "123"]);
        net.hear(client);
        ask(&mut net, "xyz", granted);
        ask(&mut net, "x", refusal);
    }
}

#[test]
fn deep_names_take_their_place_of_what_is_retained() {
    let mut net = Net::planned(Plan {
        broker_limits: BrokerLimits {
            retained_bytes_max: 10_000,
            ..BrokerLimits::default()
        },
        ..Plan::default()
    });
    let client = net.join_v5("c");
    net.stop_answering(client);
    let deep = "a/".repeat(99);
    for (topic, is_kept) in [("flat", true), (&*format!("{deep}1"), true)] {
        net.publish(client, retained(topic, "x", 1));
        let heard = net.hear(client);
        assert_eq!(heard[0].contains("quota"), !is_kept, "{topic}: {heard:?}");
    }
    // The bytes of a second would fit, its levels do not.
    net.publish(client, retained(&format!("{deep}2"), "x", 1));
    let heard = net.hear(client);
    assert!(heard[0].contains("quota exceeded"), "{heard:?}");
    let (count, bytes) = net.cores[0].directory().retained_count();
    assert_eq!(count, 2);
    assert!(bytes < 1_000, "{bytes}");
    // Another value for the same name takes no other place.
    net.publish(client, retained(&format!("{deep}1"), "yy", 1));
    let heard = net.hear(client);
    assert!(!heard[0].contains("quota"), "{heard:?}");
}

#[test]
fn the_end_of_a_session_with_deep_filters_is_done_in_shares() {
    let mut net = Net::new();
    let idle = net.cores[0].directory().memory_bytes();
    let clients = ["a", "b"].map(|name| {
        let client = net.join(lasting(V5, name, 10));
        net.send_bytes(client, &many_deep_filters(true));
        net.pass(Duration::ZERO);
        client
    });
    let left = |net: &Net| net.cores[0].directory().subscription_count();
    assert_eq!(left(&net), 600);
    for client in clients {
        net.cut(client);
    }
    net.now = net.now + seconds(10);
    let mut calls = 0;
    let (mut before, now) = (left(&net), net.now);
    while net.cores[0].poll_timeout().is_some_and(|due| due <= now) {
        net.cores[0].handle_timeout(now);
        // 126 steps each, in a share of 50,000 units: about 200 of them.
        assert!(before - left(&net) < 250, "{} of {before}", left(&net));
        before = left(&net);
        calls += 1;
        if calls == 1 {
            // What nobody holds any more is counted as long as it is there.
            assert_eq!(net.cores[0].session_count(), 1);
            assert!(net.cores[0].directory().memory_bytes() > idle + 1_000_000);
            // Who comes again meanwhile has none of it.
            let again = net.join_v5("a");
            net.say(again, &"x/".repeat(125), "x", 0);
            net.expect(again, &[]);
            net.leave(again);
        }
    }
    assert!(calls >= 3, "{calls}");
    assert_eq!(left(&net), 0);
    assert!(net.cores[0].directory().memory_bytes() <= idle + 64 * 1024);
}

#[test]
fn what_is_due_at_the_same_time_is_done_in_shares() {
    // v5 U-32: each of these leaves a thousand messages to another.
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let names: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    for name in &names {
        let member = net.join(lasting(V5, name, 10));
        net.subscribe(member, &format!("$share/{name}/{name}"), 1);
        net.cut(member);
    }
    let packets = |topic: &str| {
        let mut bytes = Vec::new();
        for number in 1..=1_000 {
            let mut publish = message(topic, "x", 1);
            publish.delivery = Delivery::new(QoS::AtLeastOnce, Some(packet_id(number))).unwrap();
            Packet::Publish(publish)
                .encode(V5, &mut bytes)
                .expect("encodes");
        }
        bytes
    };
    for name in &names {
        net.send_bytes(publisher, &packets(name));
        net.pass(Duration::ZERO);
    }
    net.now = net.now + seconds(10);
    let now = net.now;
    let mut calls = 0;
    while net.cores[0].poll_timeout().is_some_and(|due| due <= now) {
        let before = net.cores[0].session_count();
        net.cores[0].handle_timeout(now);
        let ended = before - net.cores[0].session_count();
        assert!(ended <= 13, "{ended}");
        calls += 1;
    }
    assert_eq!((calls, net.cores[0].session_count()), (2, 1));
}
