//! What differs between 3.1, 3.1.1 and 5.0, and that they understand one another.

use super::*;

#[test]
fn clients_of_all_versions_exchange_messages() {
    // v3.1.1 MQTT-7.0.0-2; X311-3.1.4-c
    let mut net = Net::new();
    let clients = [V31, V311, V5].map(|version| {
        let client = net.join(clean(version, &version.to_string()));
        net.subscribe(client, "t/#", 2);
        client
    });
    for from in clients {
        for qos in 0..=2 {
            net.say(from, "t/a", "x", qos);
            for to in clients {
                net.expect(to, &[&format!("t/a=x q{qos}")]);
            }
        }
    }
    // Properties stay with those who know them.
    let mut publish = message("t/a", "x", 0);
    publish.properties = Properties::builder()
        .content_type("text/plain")
        .build()
        .expect("valid");
    net.publish(clients[2], publish);
    net.expect(clients[0], &["t/a=x q0"]);
    net.expect(clients[1], &["t/a=x q0"]);
    net.expect(clients[2], &["t/a=x q0 {content type: \"text/plain\"}"]);
}

#[test]
fn a_session_may_go_on_in_another_version() {
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let client = net.join(lasting(V311, "c", 0));
    net.subscribe(client, "t", 2);
    net.cut(client);
    net.say(publisher, "t", "x", 2);
    let client = net.dial(lasting(V5, "c", 100));
    let heard = net.hear(client);
    assert!(heard[0].contains("session-present"), "{heard:?}");
    assert_eq!(heard[1..], ["t=x q2"]);
}

#[test]
fn connack_of_3_1_says_nothing_of_the_session() {
    // V31-connack, V31-clean
    let mut net = Net::new();
    let client = net.join(lasting(V31, "c", 0));
    net.subscribe(client, "t", 1);
    net.cut(client);
    let client = net.dial(lasting(V31, "c", 0));
    net.expect(client, &["CONNACK success (0x00)"]);
    net.say(client, "t", "x", 0);
    net.expect(client, &["t=x q0"]);
    net.leave(client);
    let client = net.dial(clean(V31, "c"));
    net.say(client, "t", "x", 0);
    net.expect(client, &["CONNACK success (0x00)"]);
}

#[test]
fn repeats_of_a_3_1_client_are_survived() {
    // V31-dup, V31-retry, V31-reserved
    let mut net = Net::new();
    let client = net.join(clean(V31, "c"));
    net.stop_answering(client);
    net.send_hex(client, "8A 06 00 01 00 01 74 01");
    net.expect(client, &["SUBACK id=1 granted QoS 1 (0x01)"]);
    net.send_hex(client, "34 06 00 01 74 00 02 78  3C 06 00 01 74 00 02 78");
    net.send_hex(client, "62 02 00 02  6A 02 00 02");
    net.expect(
        client,
        &[
            "PUBREC id=2 success (0x00)",
            "PUBREC id=2 success (0x00)",
            "t=x q1 id=1",
            "PUBCOMP id=2 success (0x00)",
            "PUBCOMP id=2 success (0x00)",
        ],
    );
}

#[test]
fn a_bridge_is_one_only_where_bridges_are_accepted() {
    // BRG-accept, BRG-bit
    for version in [V31, V311] {
        let mut connect = clean(version, "bridge");
        connect.bridge = true;
        let mut net = Net::new();
        let client = net.dial(connect.clone());
        net.expect_end(client, &["CONNACK unsupported protocol version (0x84)"]);
        let mut net = Net::planned(Plan {
            accept_bridges: true,
            ..Plan::default()
        });
        let bridge = net.join(connect);
        let publisher = net.join_v5("p");
        net.subscribe(bridge, "#", 0);
        net.say(bridge, "t", "own", 0);
        net.publish(publisher, retained("t", "kept", 0));
        net.say(publisher, "t", "live", 0);
        net.expect(bridge, &["t=kept q0 retain", "t=live q0"]);
    }
}

#[test]
fn versions_that_do_not_exist_are_answered_in_a_form_their_client_can_read() {
    // BRG-5, V31-mismatch, V31-badconnect; v3.1.1 MQTT-3.1.2-2; v5 MQTT-3.1.2-2
    for (name, level, answer) in [
        ("MQTT", 0x85, "20 03 00 84 00"),
        ("MQTT", 6, "20 03 00 84 00"),
        ("MQTT", 3, "20 02 00 01"),
        ("MQIsdp", 4, "20 02 00 01"),
        ("HTTP", 4, ""),
    ] {
        let mut net = Net::new();
        let client = net.open(0);
        let mut body = vec![0, u8::try_from(name.len()).expect("short")];
        body.extend(name.as_bytes());
        body.extend([level, 2, 0, 0, 0, 1, b'c']);
        let mut bytes = vec![0x10, u8::try_from(body.len()).expect("short")];
        bytes.extend(body);
        net.stop_reading(client);
        net.send_bytes(client, &bytes);
        let got = &net.peers[client].incoming.bytes[..];
        assert_eq!(got, from_hex(answer), "{name} {level:#x}");
        assert!(net.is_closed(client));
    }
}
