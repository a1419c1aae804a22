//! When a will is published, and when it is not.

use super::{
    super::{Access, Client},
    *,
};

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Cut,
    Disconnect(ReasonCode),
    KeepAlive,
    Malformed,
}

fn end(net: &mut Net, who: Who, how: End) {
    match how {
        End::Cut => net.cut(who),
        End::Disconnect(reason) => net.send(who, Packet::Disconnect(Disconnect::new(reason))),
        End::KeepAlive => net.pass(seconds(16)),
        End::Malformed => net.send_hex(who, "00 00"),
    }
    assert!(net.is_closed(who), "{how:?}");
}

#[test]
fn a_will_is_published_once_unless_the_client_took_it_back() {
    // v5 MQTT-3.1.2-7, v5 MQTT-3.1.2-8, v5 MQTT-3.1.2-10, v5 MQTT-3.14.4-3, v5 MQTT-3.1.2-14;
    // v5 U-33; v3.1.1 MQTT-3.1.2-8, v3.1.1 MQTT-3.1.2-10, v3.1.1 MQTT-3.14.4-3,
    // v3.1.1 MQTT-3.1.2-16; X311-3.1.2.5-a; V31-keepalive
    let cases = [
        (End::Cut, true),
        (End::KeepAlive, true),
        (End::Malformed, true),
        (End::Disconnect(ReasonCode::Success), false),
        (End::Disconnect(ReasonCode::DisconnectWithWillMessage), true),
        (End::Disconnect(ReasonCode::UnspecifiedError), true),
    ];
    for version in [V31, V311, V5] {
        for (how, is_published) in cases {
            if version != V5 && matches!(how, End::Disconnect(code) if code != ReasonCode::Success)
            {
                continue;
            }
            let mut net = Net::new();
            let watcher = net.join_v5("w");
            net.subscribe(watcher, "will/#", 2);
            let mut connect = with_will(clean(version, "c"), 0);
            connect.keep_alive = 10;
            let client = net.join(connect);
            end(&mut net, client, how);
            let expected: &[&str] = if is_published {
                &["will/c=gone q1"]
            } else {
                &[]
            };
            assert_eq!(net.hear(watcher), expected, "{version} {how:?}");
            net.pass(seconds(1_000));
            net.expect(watcher, &[]);
        }
    }
}

#[test]
fn a_client_without_a_will_leaves_none_and_forgets_an_earlier_one() {
    // v3.1.1 MQTT-3.1.2-12
    let mut net = Net::new();
    let watcher = net.join_v5("w");
    net.subscribe(watcher, "will/#", 2);
    let client = net.join(with_will(lasting(V311, "c", 0), 0));
    net.leave(client);
    let client = net.join(lasting(V311, "c", 0));
    net.cut(client);
    net.expect(watcher, &[]);
}

#[test]
fn a_retained_will_replaces_what_was_retained_and_an_empty_one_removes_it() {
    // v5 MQTT-3.1.2-15, v5 MQTT-3.1.2-14; v3.1.1 MQTT-3.1.2-17, v3.1.1 MQTT-3.1.2-16
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    net.publish(publisher, retained("will/c", "before", 0));
    for (retain, payload, left) in [
        (false, "passing", Some("will/c=before q0 retain")),
        (true, "kept", Some("will/c=kept q0 retain")),
        (true, "", None),
    ] {
        let mut connect = with_will(clean(V311, "c"), 0);
        if let Some(will) = &mut connect.will {
            will.retain = retain;
            will.payload = payload.into();
        }
        let client = net.join(connect);
        net.cut(client);
        let reader = net.join_v5("r");
        net.subscribe(reader, "will/c", 0);
        net.expect(reader, &Vec::from_iter(left));
        net.leave(reader);
    }
}

#[test]
fn a_will_waits_for_its_delay_or_the_end_of_its_session() {
    // v5 MQTT-3.1.2-8: (delay, session expiry) and when it is published
    for (delay, expiry, due) in [
        (0, 100, 0),
        (10, 0, 0),
        (10, 100, 10),
        (100, 10, 10),
        (10, 10, 10),
        (10, u32::MAX, 10),
    ] {
        let mut net = Net::new();
        let watcher = net.join_v5("w");
        net.subscribe(watcher, "will/#", 2);
        let mut connect = lasting(V5, "c", expiry);
        connect.clean_start = true;
        let client = net.join(with_will(connect, delay));
        net.cut(client);
        if due > 0 {
            net.pass(Duration::from_millis(due * 1_000 - 1));
            net.expect(watcher, &[]);
            net.pass(Duration::from_millis(1));
        }
        assert_eq!(net.hear(watcher), ["will/c=gone q1"], "{delay} {expiry}");
        net.pass(seconds(1_000));
        net.expect(watcher, &[]);
    }
}

#[test]
fn a_new_connection_decides_about_a_will_by_the_table() {
    // v5 MQTT-3.1.3-9, v5 MQTT-3.1.2-8: the old connection is up or not, (delay, expiry) of the
    // old one, Clean Start of the new one, and whether the will is published.
    let table = [
        (true, 0, 100, false, true),
        (true, 0, 100, true, true),
        (true, 10, 100, false, false),
        (true, 10, 0, false, true),
        (true, 10, 0, true, true),
        (true, 10, 100, true, true),
        (false, 10, 100, false, false),
        (false, 10, 100, true, true),
    ];
    for workers in [1, 2] {
        for (is_connected, delay, expiry, clean_start, is_published) in table {
            let mut net = Net::workers(workers);
            let watcher = net.join_v5("w");
            net.subscribe(watcher, "will/#", 2);
            let old = net.join(with_will(lasting(V5, "c", expiry), delay));
            if !is_connected {
                net.cut(old);
                net.expect(watcher, &[]);
            }
            let mut connect = lasting(V5, "c", 100);
            connect.clean_start = clean_start;
            let new = net.join_at(usize::from(workers - 1), connect);
            net.pass(seconds(99));
            let expected: &[&str] = if is_published {
                &["will/c=gone q1"]
            } else {
                &[]
            };
            assert_eq!(
                net.hear(watcher),
                expected,
                "{workers} {is_connected} {delay} {expiry} {clean_start}"
            );
            assert!(!net.is_closed(new));
        }
    }
}

#[test]
fn a_takeover_publishes_the_will_of_a_3_1_1_client() {
    // v3.1.1 MQTT-3.1.2-8, v3.1.1 MQTT-3.1.4-2
    let mut net = Net::new();
    let watcher = net.join_v5("w");
    net.subscribe(watcher, "will/#", 2);
    net.join(with_will(lasting(V311, "c", 0), 0));
    net.join(with_will(lasting(V311, "c", 0), 0));
    net.expect(watcher, &["will/c=gone q1"]);
}

#[test]
fn the_will_of_a_refused_connect_is_not_published() {
    struct Nobody;
    impl Access for Nobody {
        fn authenticate(
            &mut self,
            request: &super::super::ConnectRequest<'_>,
        ) -> super::super::Authentication {
            if &*request.connect.client_id == "w" {
                return super::super::Authentication::Accept { identity: None };
            }
            super::super::Authentication::Refuse(ReasonCode::BadUserNameOrPassword)
        }
    }
    let mut net = Net::planned(Plan {
        access: || Box::new(Nobody),
        ..Plan::default()
    });
    let watcher = net.join_v5("w");
    net.subscribe(watcher, "will/#", 2);
    let client = net.dial(with_will(clean(V5, "c"), 0));
    net.expect_end(client, &["CONNACK bad user name or password (0x86)"]);
    net.expect(watcher, &[]);
}

#[test]
fn properties_of_a_will_arrive_in_order_and_its_expiry_counts_from_publication() {
    // v5 MQTT-3.1.3-10
    let mut net = Net::new();
    let watcher = net.join_v5("w");
    net.subscribe(watcher, "will/#", 2);
    let mut connect = with_will(lasting(V5, "c", 100), 0);
    if let Some(will) = &mut connect.will {
        will.properties = Properties::builder()
            .will_delay_interval(50)
            .message_expiry_interval(30)
            .content_type("t")
            .user_property("b", "1")
            .user_property("a", "2")
            .user_property("b", "1")
            .build()
            .expect("valid");
    }
    let client = net.join(connect);
    net.cut(client);
    net.pass(seconds(50));
    let heard = net.hear(watcher).join("\n");
    assert!(heard.contains("message expiry interval: 30"), "{heard}");
    assert!(!heard.contains("delay"), "{heard}");
    let places: Vec<_> = ["\"b\"", "\"a\"", "\"2\""]
        .map(|text| heard.find(text).expect("there"))
        .into();
    assert!(places.is_sorted(), "{heard}");
    assert_eq!(heard.matches("\"b\"").count(), 2, "{heard}");
}

struct NoForbidden;

impl Access for NoForbidden {
    fn may_publish(&mut self, _: &Client<'_>, topic: &str) -> bool {
        !topic.starts_with("forbidden")
    }
}

#[test]
fn a_will_that_may_not_be_published_is_refused_with_its_connect() {
    // v5 MQTT-3.1.4-2; A1, T2; X311-3.1.4-b
    let refused = [
        ("forbidden/x", V5, "CONNACK not authorized (0x87)"),
        ("$SYS/x", V5, "CONNACK not authorized (0x87)"),
        ("forbidden/x", V311, "CONNACK not authorized (0x87)"),
    ];
    for (topic, version, connack) in refused {
        let mut net = Net::planned(Plan {
            access: || Box::new(NoForbidden),
            ..Plan::default()
        });
        let mut connect = with_will(clean(version, "c"), 0);
        if let Some(will) = &mut connect.will {
            will.topic = topic.into();
        }
        let client = net.dial(connect);
        net.expect_end(client, &[connack]);
        assert_eq!(net.cores[0].session_count(), 0);
    }
}

#[test]
fn nobody_is_left_to_get_the_wills_of_a_broker_that_stops() {
    let mut net = Net::new();
    let watcher = net.join_v5("w");
    net.subscribe(watcher, "will/#", 2);
    let client = net.join(with_will(clean(V5, "c"), 0));
    net.cores[0].shut_down(net.now);
    net.pump();
    net.expect_end(client, &["DISCONNECT server shutting down (0x8B)"]);
    net.expect_end(watcher, &["DISCONNECT server shutting down (0x8B)"]);
    assert!(net.try_open(0).is_none());
}
