//! What the broker counts, and what it says of itself.

use super::*;

#[test]
fn what_happens_is_counted() {
    let mut net = Net::planned(Plan {
        workers: 2,
        ..Plan::default()
    });
    let reader = net.join_at(1, lasting(V5, "r", 100));
    net.subscribe(reader, "t", 1);
    let publisher = net.join_v5("p");
    net.publish(publisher, retained("t", "x", 1));
    net.say(publisher, "u", "y", 0);
    net.cut(reader);
    let refused = net.dial(with_will(clean(V5, "x"), 0));
    net.leave(refused);
    let metrics = net.cores[0].directory().metrics();
    let values: std::collections::BTreeMap<_, _> = metrics.iter().collect();
    for (name, expected) in [
        ("mqttstack_connections_open", 1),
        ("mqttstack_connections_opened_total", 3),
        ("mqttstack_clients_connected", 1),
        ("mqttstack_connects_accepted_total", 3),
        ("mqttstack_connects_refused_total", 0),
        ("mqttstack_sessions", 2),
        ("mqttstack_subscriptions", 1),
        // CONNECT 3, SUBSCRIBE, PUBLISH 2, PUBACK, DISCONNECT
        ("mqttstack_received_packets_total", 8),
        // CONNACK 3, SUBACK, PUBACK, PUBLISH
        ("mqttstack_sent_packets_total", 6),
        ("mqttstack_received_messages_total", 2),
        ("mqttstack_sent_messages_total", 1),
        ("mqttstack_retained_messages", 1),
        ("mqttstack_retained_bytes", 2),
        ("mqttstack_memory_stage", 0),
    ] {
        assert_eq!(values[name], expected, "{name}");
    }
    assert!(values["mqttstack_received_bytes_total"] > values["mqttstack_sent_bytes_total"]);
}

#[test]
fn the_broker_says_below_sys_what_has_changed() {
    let mut net = Net::planned(Plan {
        status_interval: seconds(10),
        workers: 2,
        ..Plan::default()
    });
    let reader = net.join_at(1, clean(V5, "r"));
    net.subscribe(reader, "$SYS/broker/clients/#", 0);
    net.subscribe(reader, "$SYS/broker/uptime", 0);
    net.hear(reader);
    for core in &mut net.cores {
        core.start_status(net.now);
    }
    net.pump();
    let mut heard = net.hear(reader);
    heard.sort_unstable();
    assert_eq!(
        heard,
        [
            "$SYS/broker/clients/connected=1 q0",
            "$SYS/broker/clients/disconnected=0 q0",
            "$SYS/broker/clients/total=1 q0",
            "$SYS/broker/uptime=0 seconds q0",
        ]
    );
    net.join_v5("p");
    net.pass(seconds(10));
    let mut heard = net.hear(reader);
    heard.sort_unstable();
    assert_eq!(
        heard,
        [
            "$SYS/broker/clients/connected=2 q0",
            "$SYS/broker/clients/total=2 q0",
            "$SYS/broker/uptime=10 seconds q0",
        ]
    );
    // Who comes later finds it; `#` does not. v5 MQTT-4.7.2-1
    let late = net.join_v5("late");
    net.subscribe(late, "#", 0);
    net.expect(late, &[]);
    net.subscribe(late, "$SYS/broker/clients/total", 0);
    net.expect(late, &["$SYS/broker/clients/total=2 q0 retain"]);
}

#[test]
fn what_a_client_never_takes_is_counted_and_told_once() {
    // v5 MQTT-3.1.2-25: what is larger than the client takes is dropped.
    let mut net = Net::new();
    let small = net.join(taking(clean(V5, "small"), 100));
    net.subscribe(small, "t", 1);
    let publisher = net.join_v5("p");
    for _ in 0..3 {
        net.say(publisher, "t", &"x".repeat(200), 1);
    }
    net.say(publisher, "t", "x", 1);
    net.expect(small, &["t=x q1"]);
    assert_eq!(net.cores[0].directory().metrics().messages_dropped, 3);
    let told = |notice: &&Notice| matches!(notice, Notice::MessagesDropped { .. });
    assert_eq!(net.notices.iter().filter(told).count(), 1);
    // QoS 0 for a client that is away is nobody's loss.
    let away = net.join(lasting(V5, "away", 100));
    net.subscribe(away, "u", 0);
    net.cut(away);
    net.say(publisher, "u", "x", 0);
    net.join(lasting(V5, "away", 100));
    assert_eq!(net.cores[0].directory().metrics().messages_dropped, 3);
}

#[test]
fn what_is_dropped_just_before_the_end_is_counted() {
    let mut net = Net::planned(Plan {
        limits: Limits {
            queue_messages_max: 2,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let client = net.join(clean(V311, "c"));
    net.subscribe(client, "t", 1);
    // Five messages to itself and a packet that there is not, without a turn between them.
    let messages: String = (1..=5)
        .map(|id| format!("32 06 00 01 74 00 0{id} 78"))
        .collect();
    net.send_hex(client, &format!("{messages} F0 00"));
    assert_eq!(net.cores[0].directory().metrics().messages_dropped, 3);
}

#[test]
fn what_is_lost_while_a_session_moves_is_counted_and_told() {
    let mut net = Net::workers(2);
    let away = net.join_at(0, lasting(V5, "s", 100));
    net.subscribe(away, "t", 1);
    net.cut(away);
    let publisher = net.join_at(1, clean(V5, "p"));
    net.holds_worker_messages = true;
    let back = net.dial_at(1, lasting(V5, "s", 100));
    // The session is on its way, and 64 MiB wait for it.
    net.pass_to(&[0]);
    let payload = "x".repeat(1024 * 1024);
    for _ in 0..66 {
        net.say(publisher, "t", &payload, 1);
    }
    net.holds_worker_messages = false;
    net.pump();
    let received = net
        .hear(back)
        .iter()
        .filter(|it| it.starts_with("t="))
        .count();
    assert_eq!(received, 63);
    assert_eq!(net.cores[0].directory().metrics().messages_dropped, 3);
    let told = net.notices.iter().filter_map(|notice| {
        if let Notice::MessagesDropped { client_id, count } = notice {
            return Some((&**client_id, *count));
        }
        None
    });
    assert_eq!(told.collect::<Vec<_>>(), [("s", 3)]);
}
