//! CONNECT, CONNACK, and how sessions begin and end.

use super::{
    super::{Authentication, ConnectRequest},
    *,
};

#[test]
fn every_client_id_that_must_be_taken_is_taken() {
    // v5 MQTT-3.1.3-5; v3.1.1 MQTT-3.1.3-5; X311-3.1.3.1-a, V31-clientid (longer ones are too)
    for version in [V31, V311, V5] {
        let mut net = Net::new();
        for id in [
            "0",
            "0123456789abcdefghijklm",
            "nopqrstuvwxyzABCDEFGHIJ",
            "KLMNOPQRSTUVWXYZ",
            "longer than twenty-three bytes/with+#characters",
            "ключ",
        ] {
            net.join(clean(version, id));
        }
    }
}

#[test]
fn a_client_without_an_id_is_given_one_that_nobody_else_has() {
    // v5 MQTT-3.1.3-6, v5 MQTT-3.1.3-7, v5 MQTT-3.2.2-16; v3.1.1 MQTT-3.1.3-6
    let mut net = Net::new();
    for connect in [clean(V5, ""), lasting(V5, "", 100)] {
        let client = net.dial(connect);
        let connack = net.hear(client).remove(0);
        let id = connack
            .split("assigned client identifier: \"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("an id")
            .to_owned();
        assert!(net.cores[0].directory().find(&id).is_some(), "{connack}");
    }
    let third = net.dial(clean(V311, ""));
    net.expect(third, &["CONNACK success (0x00)"]);
    assert_eq!(net.cores[0].session_count(), 3);
}

#[test]
fn an_assigned_id_names_a_session_like_any_other() {
    // v5 MQTT-3.1.3-7
    let mut net = Net::new();
    let client = net.dial(lasting(V5, "", 100));
    let connack = net.hear(client).remove(0);
    let id = connack.split('"').nth(1).expect("an id").to_owned();
    net.subscribe(client, "t", 1);
    net.cut(client);
    let client = net.dial(lasting(V5, &id, 100));
    let connack = net.hear(client).remove(0);
    assert!(connack.contains("session-present"), "{connack}");
    assert!(!connack.contains("assigned"), "{connack}");
}

#[test]
fn a_client_id_that_is_refused_closes_the_connection() {
    // v5 MQTT-3.1.3-8; v3.1.1 MQTT-3.1.3-8, v3.1.1 MQTT-3.1.3-9; V31-clientid-empty
    let plan = Plan {
        limits: Limits {
            client_id_bytes_max: 30,
            ..Limits::default()
        },
        ..Plan::default()
    };
    let mut net = Net::planned(plan);
    let long = "x".repeat(31);
    for connect in [
        clean(V5, &long),
        clean(V311, &long),
        lasting(V311, "", 0),
        clean(V31, ""),
    ] {
        let client = net.dial(connect);
        net.expect_end(client, &["CONNACK client identifier not valid (0x85)"]);
    }
    assert_eq!(net.cores[0].session_count(), 0);
}

#[test]
fn a_will_that_the_server_cannot_keep_is_refused() {
    // v5 MQTT-3.2.2-12, v5 MQTT-3.2.2-13
    let mut net = Net::planned(Plan {
        limits: Limits {
            maximum_qos: QoS::AtMostOnce,
            retain_available: false,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let client = net.dial(with_will(clean(V5, "c"), 0));
    net.expect_end(client, &["CONNACK QoS not supported (0x9B)"]);
    let mut connect = with_will(clean(V5, "c"), 0);
    if let Some(will) = &mut connect.will {
        will.qos = QoS::AtMostOnce;
        will.retain = true;
    }
    let client = net.dial(connect);
    net.expect_end(client, &["CONNACK retain not supported (0x9A)"]);
}

#[test]
fn connack_announces_what_differs_from_the_defaults() {
    let mut net = Net::planned(Plan {
        limits: Limits {
            session_expiry_max: 60,
            keep_alive_max: 30,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let client = net.dial(lasting(V5, "c", 100));
    let connack = net.hear(client).remove(0);
    for property in [
        "session expiry interval: 60",
        "server keep alive: 30",
        "receive maximum: 1024",
        "topic alias maximum: 32",
    ] {
        assert!(connack.contains(property), "{property} in {connack}");
    }
    assert!(!connack.contains("available"), "{connack}");
    assert!(!connack.contains("maximum QoS"), "{connack}");
}

#[test]
fn a_session_ends_when_its_expiry_has_passed() {
    // v5 MQTT-4.1.0-2, v5 MQTT-3.1.2-23, v5 MQTT-3.2.2-3, v5 MQTT-3.2.2-2; v3.1.1 MQTT-3.1.2-6
    for (connect, after, is_present) in [
        (lasting(V5, "c", 10), 9, true),
        (lasting(V5, "c", 10), 10, false),
        (lasting(V5, "c", u32::MAX), 10_000_000, true),
        (lasting(V5, "c", 0), 0, false),
        (clean(V5, "c"), 0, false),
        (clean(V311, "c"), 0, false),
        (lasting(V311, "c", 0), 10_000_000, true),
    ] {
        let mut net = Net::new();
        let version = connect.version;
        let client = net.join(connect);
        net.subscribe(client, "t", 1);
        net.cut(client);
        net.pass(seconds(after));
        let directory = net.cores[0].directory();
        assert_eq!(directory.subscription_count(), usize::from(is_present));
        assert_eq!(directory.session_count(), usize::from(is_present));
        let client = net.dial(lasting(version, "c", 10));
        let connack = net.hear(client).remove(0);
        assert_eq!(connack.contains("session-present"), is_present, "{connack}");
    }
}

#[test]
fn disconnect_changes_the_expiry_but_not_from_nothing() {
    // v5 U-06, v5 MQTT-3.1.2-23
    let disconnect = |expiry| {
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        disconnect.properties = Properties::builder()
            .session_expiry_interval(expiry)
            .build()
            .expect("valid");
        Packet::Disconnect(disconnect)
    };
    let mut net = Net::new();
    let client = net.join(lasting(V5, "c", 100));
    net.send(client, disconnect(0));
    assert!(net.is_closed(client));
    assert_eq!(net.cores[0].session_count(), 0);
    let client = net.join(lasting(V5, "c", 1));
    net.send(client, disconnect(100));
    net.pass(seconds(99));
    assert_eq!(net.cores[0].session_count(), 1);
    let watcher = net.join_v5("w");
    net.subscribe(watcher, "will/#", 0);
    let client = net.join(with_will(clean(V5, "d"), 0));
    net.send(client, disconnect(100));
    net.expect_end(client, &["DISCONNECT protocol error (0x82)"]);
    net.expect(watcher, &["will/d=gone q0"]);
}

#[test]
fn clean_start_begins_anew() {
    // v5 MQTT-3.1.2-4, v5 MQTT-3.1.2-5, v5 MQTT-3.1.2-6, v5 MQTT-3.1.4-4, v5 MQTT-3.1.3-2;
    // v3.1.1 MQTT-3.1.2-6
    for version in [V311, V5] {
        let mut net = Net::new();
        let publisher = net.join_v5("p");
        let client = net.join(lasting(version, "c", 100));
        net.subscribe(client, "t", 1);
        net.cut(client);
        net.say(publisher, "t", "x", 1);
        let client = net.dial(clean(version, "c"));
        let heard = net.hear(client);
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(!heard[0].contains("session-present"), "{heard:?}");
        net.say(publisher, "t", "y", 1);
        net.expect(client, &[]);
        assert_eq!(net.cores[0].directory().subscription_count(), 0);
    }
}

#[test]
fn a_session_is_found_by_its_client_identifier() {
    // v5 MQTT-3.1.3-2; v3.1.1 MQTT-3.1.3-2
    for version in [V311, V5] {
        let mut net = Net::new();
        let client = net.join(lasting(version, "c", 100));
        net.subscribe(client, "t", 1);
        net.cut(client);
        for (client_id, is_known) in [("d", false), ("C", false), ("c", true)] {
            let client = net.dial(lasting(version, client_id, 100));
            let heard = net.hear(client);
            assert_eq!(heard.len(), 1, "{heard:?}");
            assert_eq!(heard[0].contains("session-present"), is_known, "{heard:?}");
        }
    }
}

struct Judge;

impl Access for Judge {
    fn authenticate(&mut self, request: &ConnectRequest<'_>) -> Authentication {
        match request.connect.username.as_deref() {
            Some("later") => {
                access::note(request.ticket);
                Authentication::Deferred
            }
            Some("odd") => Authentication::Refuse(ReasonCode::KeepAliveTimeout),
            Some("banned") => Authentication::Refuse(ReasonCode::Banned),
            Some(name) => Authentication::Accept {
                identity: Some(name.into()),
            },
            None => Authentication::Refuse(ReasonCode::BadUserNameOrPassword),
        }
    }
}

pub(super) fn judged() -> Plan {
    Plan {
        access: || Box::new(Judge),
        workers: 2,
        ..Plan::default()
    }
}

pub(super) fn named(mut connect: Connect<Shared>, name: &str) -> Connect<Shared> {
    connect.username = Some(name.into());
    connect
}

#[test]
fn a_client_that_fails_authentication_is_told_and_closed() {
    // v5 MQTT-3.1.4-2; v3.1.1 MQTT-3.1.4-1; X311-3.1.4-b, X311-3.2.2.3-a; P3
    let mut net = Net::planned(judged());
    for (connect, told) in [
        (
            clean(V5, "c"),
            &["CONNACK bad user name or password (0x86)"][..],
        ),
        (
            clean(V311, "c"),
            &["CONNACK bad user name or password (0x86)"],
        ),
        (named(clean(V5, "c"), "banned"), &["CONNACK banned (0x8A)"]),
        (
            named(clean(V311, "c"), "banned"),
            &["CONNACK not authorized (0x87)"],
        ),
        // A code that CONNACK cannot carry.
        (
            named(clean(V5, "c"), "odd"),
            &["CONNACK unspecified error (0x80)"],
        ),
        (named(clean(V311, "c"), "odd"), &[]),
    ] {
        let client = net.dial(connect);
        net.expect_end(client, told);
    }
    assert_eq!(net.cores[0].directory().pending_count(), 0);
    assert_eq!(net.cores[0].directory().connection_count(), 0);
}

#[test]
fn an_authentication_method_that_nobody_knows_is_refused() {
    // v5 MQTT-4.12.0-1
    let mut net = Net::new();
    let mut connect = clean(V5, "c");
    connect.properties = Properties::builder()
        .authentication_method("X")
        .build()
        .expect("valid");
    let client = net.dial(connect);
    net.expect_end(client, &["CONNACK bad authentication method (0x8C)"]);
}

#[test]
fn what_follows_connect_waits_for_the_answer() {
    // v5 MQTT-3.1.4-6; X311-3.1.4-d; V31-wait; P2
    for (answer, expected) in [
        (
            Authentication::Accept { identity: None },
            &["CONNACK success", "SUBACK id=1", "PINGRESP", "t=x q0"][..],
        ),
        (
            Authentication::Refuse(ReasonCode::NotAuthorized),
            &["CONNACK not authorized (0x87)"],
        ),
    ] {
        let mut net = Net::planned(judged());
        let client = net.dial(named(clean(V5, "c"), "later"));
        net.ask(client, &[("t", options(0))], None);
        net.say(client, "t", "x", 0);
        net.send(client, Packet::PingReq);
        net.expect(client, &[]);
        assert!(net.is_paused(client));
        let ticket = access::take_ticket();
        net.answer(ticket, answer);
        let heard = net.hear(client);
        assert_eq!(heard.len(), expected.len(), "{heard:?}");
        for (line, start) in heard.iter().zip(expected) {
            assert!(line.starts_with(start), "{heard:?}");
        }
        // A second answer changes nothing.
        let again = Authentication::Refuse(ReasonCode::Banned);
        net.answer(ticket, again);
        net.expect(client, &[]);
    }
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_only_so_long() {
    // R4; X311-3.1.4-a
    let mut net = Net::planned(judged());
    let client = net.dial(named(clean(V5, "c"), "later"));
    net.pass(seconds(10));
    assert!(net.is_closed(client));
    net.answer(
        access::take_ticket(),
        Authentication::Accept { identity: None },
    );
    assert_eq!(net.cores[0].session_count(), 0);
}

#[test]
fn a_connection_without_connect_is_closed_in_time() {
    // v5 U-04; X311-3.1.4-a; R4: also if bytes trickle in
    let mut net = Net::new();
    let silent = net.open(0);
    let trickling = net.open(0);
    for byte in [0x10, 0x20, 0, 4, b'M', b'Q', b'T', b'T', 4] {
        net.send_bytes(trickling, &[byte]);
        net.pass(seconds(1));
    }
    assert!(!net.is_closed(silent) && !net.is_closed(trickling));
    net.pass(seconds(1));
    net.expect_end(silent, &[]);
    net.expect_end(trickling, &[]);
    assert_eq!(net.cores[0].connection_count(), 0);
    assert_eq!(net.cores[0].poll_timeout(), None);
}

#[test]
fn keep_alive_is_one_and_a_half_times_what_the_client_said() {
    // v5 MQTT-3.1.2-22; v3.1.1 MQTT-3.1.2-24; V31-keepalive; X311-3.1.2.10-b; R4
    for (version, told) in [
        (V5, &["DISCONNECT keep alive timeout (0x8D)"][..]),
        (V311, &[]),
        (V31, &[]),
    ] {
        let mut net = Net::new();
        let mut connect = clean(version, "c");
        connect.keep_alive = 10;
        let client = net.join(connect);
        net.pass(seconds(14));
        net.send(client, Packet::PingReq);
        net.expect(client, &["PINGRESP"]);
        net.pass(seconds(14));
        // Part of a packet is no packet.
        net.send_bytes(client, &[0x30]);
        net.pass(Duration::from_millis(999));
        assert!(!net.is_closed(client));
        net.pass(Duration::from_millis(1));
        net.expect_end(client, told);
    }
}

#[test]
fn timers_go_with_their_connection() {
    // R2: long keep alives and many connections
    let mut net = Net::new();
    for _ in 0..100 {
        let mut connect = clean(V5, "c");
        connect.keep_alive = u16::MAX;
        let client = net.join(connect);
        net.cut(client);
    }
    assert_eq!(net.cores[0].poll_timeout(), None);
}

#[test]
fn what_follows_disconnect_is_ignored() {
    // P2; v3.1.1 MQTT-3.14.4-2; X311-3.14.4-a; v5 U-29
    let mut net = Net::new();
    let watcher = net.join_v5("w");
    net.subscribe(watcher, "#", 0);
    let client = net.join_v5("c");
    net.send_hex(client, "E0 00  30 04 00 01 74 00  C0 00");
    net.expect_end(client, &[]);
    net.expect(watcher, &[]);
}

#[test]
fn each_connection_has_one_end_in_the_log() {
    let mut net = Net::new();
    let client = net.join_v5("c");
    net.send_hex(client, "00 00");
    net.cut(client);
    let silent = net.open(0);
    net.cut(silent);
    let ends: Vec<_> = net
        .notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Ended { .. }))
        .map(Notice::is_trouble)
        .collect();
    assert_eq!(ends, [true, true]);
}

#[test]
fn shutting_down_answers_those_who_wait_for_admission() {
    let mut net = Net::planned(judged());
    let waiting = net.dial(named(clean(V5, "c"), "later"));
    let silent = net.open(0);
    net.cores[0].shut_down(net.now);
    net.pump();
    net.expect_end(waiting, &["CONNACK server unavailable (0x88)"]);
    net.expect_end(silent, &[]);
}
