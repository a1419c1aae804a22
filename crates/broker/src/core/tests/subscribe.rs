//! SUBSCRIBE and UNSUBSCRIBE.

use super::{
    super::{Access, Client},
    *,
};

#[test]
fn suback_has_a_code_for_each_filter_in_order() {
    // v5 MQTT-3.8.4-5, v5 MQTT-3.8.4-7; v3.1.1 MQTT-3.8.4-6
    let mut net = Net::new();
    let client = net.join_v5("c");
    net.ask(
        client,
        &[("a", options(2)), ("b/#", options(0)), ("a", options(1))],
        None,
    );
    net.expect(
        client,
        &["SUBACK id=1 granted QoS 2 (0x02), granted QoS 0 (0x00), granted QoS 1 (0x01)"],
    );
    // The last word on a filter counts.
    net.say(client, "a", "x", 2);
    net.expect(client, &["a=x q1"]);
    assert_eq!(net.cores[0].directory().subscription_count(), 2);
}

#[test]
fn a_filter_that_is_asked_for_again_replaces_its_subscription() {
    // v5 MQTT-3.8.4-3, v5 MQTT-3.8.4-4; v3.1.1 MQTT-3.8.4-3
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let client = net.join_v5("c");
    net.publish(publisher, retained("a", "kept", 1));
    net.subscribe_with(client, "a", options(2), Some(1));
    net.expect(client, &["a=kept q1 retain {subscription identifier: 1}"]);
    net.say(publisher, "a", "1", 2);
    net.subscribe_with(client, "a", options(1), Some(2));
    net.say(publisher, "a", "2", 2);
    net.subscribe(client, "a", 0);
    net.say(publisher, "a", "3", 2);
    net.expect(
        client,
        &[
            "a=1 q2 {subscription identifier: 1}",
            "a=kept q1 retain {subscription identifier: 2}",
            "a=2 q1 {subscription identifier: 2}",
            "a=kept q0 retain",
            "a=3 q0",
        ],
    );
    assert_eq!(net.cores[0].directory().subscription_count(), 1);
}

#[test]
fn wildcards_match_by_the_rules() {
    // v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.7.2-1, v5 MQTT-4.7.3-1, v5 MQTT-4.7.3-4,
    // v5 MQTT-3.3.2-3; v3.1.1 MQTT-4.7.2-1; X311-4.7.3-a, X311-3.8.3-a
    for (filter, matching, other) in [
        (
            "sport/#",
            &["sport", "sport/", "sport/a/b"][..],
            &["sports", "Sport/a"][..],
        ),
        ("#", &["a", "/", "a/b"], &["$x", "$x/y"]),
        ("+", &["a"], &["/a", "$x"]),
        ("+/+", &["/finance", "a/b"], &["a", "a/b/c"]),
        ("/+", &["/finance"], &["finance"]),
        ("sport/+", &["sport/", "sport/a"], &["sport", "sport/a/b"]),
        ("$x/#", &["$x", "$x/y"], &["x"]),
        ("a b/c", &["a b/c"], &["a b/C"]),
    ] {
        let mut net = Net::new();
        let client = net.join_v5("c");
        net.subscribe(client, filter, 0);
        for topic in other {
            net.say(client, topic, "x", 0);
        }
        net.expect(client, &[]);
        for topic in matching {
            net.say(client, topic, "x", 0);
            assert_eq!(net.hear(client), [format!("{topic}=x q0")], "{filter}");
        }
    }
}

#[test]
fn unsubscribe_compares_character_by_character() {
    // v5 MQTT-3.10.4-1, v5 MQTT-3.10.4-2, v5 MQTT-3.10.4-6; v3.1.1 MQTT-3.10.4-1,
    // v3.1.1 MQTT-3.10.4-2
    let mut net = Net::new();
    let client = net.join_v5("c");
    net.subscribe(client, "a/b", 0);
    net.subscribe(client, "a/+", 0);
    net.unsubscribe(client, &["a/#", "A/b", "a/b", "a/b", "a/+"]);
    net.expect(
        client,
        &[
            "UNSUBACK id=3 no subscription existed (0x11), no subscription existed (0x11), \
          success (0x00), no subscription existed (0x11), success (0x00)",
        ],
    );
    net.say(client, "a/b", "x", 0);
    net.expect(client, &[]);
    assert_eq!(net.cores[0].directory().subscription_count(), 0);
    // 3.1.1: always an UNSUBACK, without codes.
    let old = net.join(clean(V311, "old"));
    net.unsubscribe(old, &["none"]);
    net.expect(old, &["UNSUBACK id=1"]);
}

#[test]
fn what_was_begun_before_unsubscribe_is_finished() {
    // v5 MQTT-3.10.4-3; X311-3.10.4-a
    let mut net = Net::new();
    let publisher = net.join_v5("p");
    let client = net.join_v5("c");
    net.subscribe(client, "a", 2);
    net.stop_answering(client);
    net.say(publisher, "a", "x", 2);
    net.unsubscribe(client, &["a"]);
    net.say(publisher, "a", "y", 2);
    net.send(client, Packet::PubRec(Ack::new(packet_id(1))));
    net.expect(
        client,
        &[
            "a=x q2 id=1",
            "UNSUBACK id=2 success (0x00)",
            "PUBREL id=1 success (0x00)",
        ],
    );
}

#[test]
fn an_ill_formed_filter_ends_the_connection() {
    // v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2, v5 MQTT-4.7.3-1; T2
    let ill = [
        "sport#",
        "sport/#/x",
        "sport+",
        "a/+b",
        "",
        "$share/g",
        "$share//x",
        "$share/g/",
        "$share/g+/x",
        "$share/",
        "$share",
    ];
    for filter in ill {
        // "$share" alone is an ordinary filter.
        if filter == "$share" {
            continue;
        }
        // To older clients these are ordinary filters.
        let shares_nothing = ["$share/g", "$share//x", "$share/g/", "$share/"].contains(&filter);
        for version in [V5, V311] {
            if version == V311 && shares_nothing {
                continue;
            }
            let mut net = Net::new();
            let client = net.join(clean(version, "c"));
            let mut body = vec![0, 1];
            if version == V5 {
                body.push(0);
            }
            body.extend(u16::try_from(filter.len()).expect("short").to_be_bytes());
            body.extend(filter.as_bytes());
            body.push(0);
            let mut bytes = vec![0x82, u8::try_from(body.len()).expect("short")];
            bytes.extend(&body);
            net.send_bytes(client, &bytes);
            let told: &[&str] = match version {
                V5 => &["DISCONNECT topic filter invalid (0x8F)"],
                V31 | V311 => &[],
            };
            assert_eq!(net.hear(client), told, "{filter} {version}");
            assert!(net.is_closed(client), "{filter} {version}");
            assert_eq!(net.cores[0].directory().subscription_count(), 0);
        }
    }
}

#[test]
fn what_is_not_available_ends_the_connection_of_those_who_were_told() {
    // v5 U-16, v5 U-17, v5 U-18
    let plan = || Plan {
        limits: Limits {
            wildcard_subscriptions: false,
            shared_subscriptions: false,
            subscription_identifiers: false,
            ..Limits::default()
        },
        ..Plan::default()
    };
    for (filter, id, reason) in [
        (
            "a/#",
            None,
            "DISCONNECT wildcard subscriptions not supported (0xA2)",
        ),
        (
            "$share/g/a",
            None,
            "DISCONNECT shared subscriptions not supported (0x9E)",
        ),
        (
            "a",
            Some(1),
            "DISCONNECT subscription identifiers not supported (0xA1)",
        ),
    ] {
        let mut net = Net::planned(plan());
        let client = net.join_v5("c");
        net.ask(client, &[("ok", options(0)), (filter, options(0))], id);
        net.expect_end(client, &[reason]);
    }
    let mut net = Net::planned(plan());
    let old = net.join(clean(V311, "old"));
    net.ask(old, &[("a/#", options(0)), ("a", options(1))], None);
    net.expect(
        old,
        &["SUBACK id=1 unspecified error (0x80), granted QoS 1 (0x01)"],
    );
}

#[test]
fn a_server_of_low_qos_grants_no_more() {
    // v5 MQTT-3.2.2-10
    let mut net = Net::planned(Plan {
        limits: Limits {
            maximum_qos: QoS::AtLeastOnce,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let client = net.join_v5("c");
    net.ask(
        client,
        &[("a", options(0)), ("b", options(1)), ("c", options(2))],
        None,
    );
    net.expect(
        client,
        &["SUBACK id=1 granted QoS 0 (0x00), granted QoS 1 (0x01), granted QoS 1 (0x01)"],
    );
}

struct NoSecrets;

impl Access for NoSecrets {
    fn may_subscribe(&mut self, _: &Client<'_>, filter: &str) -> bool {
        !filter.starts_with("secret")
    }
}

#[test]
fn a_filter_that_is_not_allowed_is_refused_and_nothing_comes() {
    // V31-suback; A3
    for (version, suback) in [
        (
            V5,
            "SUBACK id=1 granted QoS 1 (0x01), not authorized (0x87), not authorized (0x87)",
        ),
        (
            V311,
            "SUBACK id=1 granted QoS 1 (0x01), unspecified error (0x80), unspecified error (0x80)",
        ),
        (
            V31,
            "SUBACK id=1 granted QoS 1 (0x01), granted QoS 2 (0x02), granted QoS 0 (0x00)",
        ),
    ] {
        let mut net = Net::planned(Plan {
            access: || Box::new(NoSecrets),
            ..Plan::default()
        });
        let client = net.join(clean(version, "c"));
        net.publish(client, retained("secret/a", "kept", 0));
        net.ask(
            client,
            &[
                ("ok", options(1)),
                ("secret/#", options(2)),
                ("$share/g/secret/a", options(0)),
            ],
            None,
        );
        assert_eq!(net.hear(client), [suback]);
        net.say(client, "secret/a", "x", 0);
        net.say(client, "ok", "x", 0);
        net.expect(client, &["ok=x q0"]);
    }
}

#[test]
fn a_session_has_so_many_subscriptions_and_so_deep() {
    let mut net = Net::planned(Plan {
        limits: Limits {
            subscriptions_max: 2,
            topic_levels_max: 3,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let client = net.join_v5("c");
    net.ask(client, &[("a/b/c/d", options(0))], None);
    net.expect(client, &["SUBACK id=1 topic filter invalid (0x8F)"]);
    net.ask(
        client,
        &[
            ("a", options(0)),
            ("b", options(0)),
            ("c", options(0)),
            ("a", options(1)),
        ],
        None,
    );
    net.expect(
        client,
        &[
            "SUBACK id=2 granted QoS 0 (0x00), granted QoS 0 (0x00), quota exceeded (0x97), \
           granted QoS 1 (0x01)",
        ],
    );
    net.unsubscribe(client, &["b"]);
    net.hear(client);
    net.ask(client, &[("c", options(0)), ("d", options(0))], None);
    net.expect(
        client,
        &["SUBACK id=4 granted QoS 0 (0x00), quota exceeded (0x97)"],
    );
    net.stop_answering(client);
    net.send(client, Packet::Publish(message("a/b/c/d", "x", 1)));
    net.expect(client, &["PUBACK id=1 topic name invalid (0x90)"]);
}

#[test]
fn a_session_shares_so_many_subscriptions() {
    let mut net = Net::planned(Plan {
        limits: Limits {
            shared_subscriptions_max: 1,
            ..Limits::default()
        },
        ..Plan::default()
    });
    let client = net.join_v5("c");
    for (filter, answer) in [
        ("$share/g/a", "granted QoS 0 (0x00)"),
        ("$share/h/a", "quota exceeded (0x97)"),
        ("$share/g/a", "granted QoS 0 (0x00)"),
        ("a", "granted QoS 0 (0x00)"),
    ] {
        net.ask(client, &[(filter, options(0))], None);
        let heard = net.hear(client);
        assert!(
            heard.iter().any(|line| line.ends_with(answer)),
            "{filter}: {heard:?}"
        );
    }
}

#[test]
fn share_alone_is_a_level_like_any_other_to_older_clients() {
    // v3.1.1 MQTT-4.7.1-2, v3.1.1 MQTT-4.7.1-3
    for version in [V31, V311] {
        let mut net = Net::new();
        let publisher = net.join_v5("p");
        let client = net.join(clean(version, "c"));
        for filter in ["$share/x", "$share/+/y/#"] {
            net.subscribe(client, filter, 0);
        }
        net.say(publisher, "$share/x", "1", 0);
        net.say(publisher, "$share/z/y", "2", 0);
        net.say(publisher, "x", "3", 0);
        net.expect(client, &["$share/x=1 q0", "$share/z/y=2 q0"]);
        net.unsubscribe(client, &["$share/x"]);
        net.hear(client);
        net.say(publisher, "$share/x", "4", 0);
        net.expect(client, &[]);
        // A filter that is whole shares, as it does for everybody.
        net.subscribe(client, "$share/g/t", 0);
        net.say(publisher, "t", "5", 0);
        net.expect(client, &["t=5 q0"]);
    }
}

#[test]
fn what_changes_nothing_leaves_the_answers_of_others_in_force() {
    let mut net = Net::new();
    let client = net.join_v5("c");
    net.subscribe(client, "t", 1);
    let version = |net: &Net| net.cores[0].directory().subscriptions.version();
    let before = version(&net);
    net.subscribe(client, "t", 1);
    net.unsubscribe(client, &["other", "$share/g/t"]);
    net.hear(client);
    assert_eq!(version(&net), before);
    net.subscribe(client, "t", 0);
    assert!(version(&net) > before);
}
