//! Connections cut at every byte of every exchange, and sessions that go on all the same.

use std::collections::BTreeSet;

use mqttstack_testkit::{
    Direction, Pair, PairSettings, Seed, Side,
    client::core::Outcome,
    codec::{PacketType, ProtocolVersion, QoS, ReasonCode},
    message,
};

const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V31,
    ProtocolVersion::V311,
    ProtocolVersion::V5,
];
const MESSAGES: [&str; 3] = ["1", "2", "3"];

fn pair(version: ProtocolVersion, is_persistent: bool) -> Pair {
    let settings = PairSettings {
        version,
        is_persistent,
        ..PairSettings::default()
    };
    Pair::connected_with(Seed(1), &settings)
}

/// Publishes three messages over a link that is cut after so many bytes, waits until all is quiet,
/// and checks that each has come to an end; returns what the observer got.
fn publish_over_cut(
    pair: &mut Pair,
    qos: QoS,
    side: Side,
    direction: Direction,
    count: u64,
) -> Vec<String> {
    pair.cut_after(side, direction, count);
    let operations = MESSAGES.map(|text| pair.publish(message("t", text, qos)));
    pair.run_until_idle();
    for operation in operations {
        match pair.outcome(operation) {
            // A PUBREL that is sent again finds the exchange done (v5 §4.3.3, 0x92 in PUBCOMP).
            Some(Outcome::Acknowledged { reason_code, .. }) => assert!(
                !reason_code.is_error()
                    || (qos == QoS::ExactlyOnce
                        && *reason_code == ReasonCode::PacketIdentifierNotFound),
                "{reason_code:?}"
            ),
            Some(Outcome::Sent) => assert_eq!(qos, QoS::AtMostOnce),
            Some(Outcome::Undelivered(_)) if qos == QoS::AtMostOnce => {}
            other => panic!("{other:?}"),
        }
    }
    pair.delivered().into_iter().map(str::to_owned).collect()
}

/// Returns how many bytes the exchange takes in a direction of a link, and after which of them a
/// packet ends.
fn boundaries(
    version: ProtocolVersion,
    is_persistent: bool,
    qos: QoS,
    side: Side,
    direction: Direction,
) -> (u64, Vec<(PacketType, u64)>) {
    let mut pair = pair(version, is_persistent);
    let before = pair.link(side).carried_bytes(direction);
    for text in MESSAGES {
        pair.publish(message("t", text, qos));
    }
    pair.run_until_idle();
    let link = pair.link(side);
    let ends = link.carried_packets(direction).iter();
    let ends = ends.filter(|(_, end)| *end > before);
    (
        link.carried_bytes(direction) - before,
        ends.map(|(packet_type, end)| (*packet_type, end - before))
            .collect(),
    )
}

/// Calls `check` with the deliveries after a cut at each byte, and with what is cut; returns the
/// kinds of packet after which a cut fell.
fn cut_everywhere(
    is_persistent: bool,
    qos: QoS,
    sides: &[Side],
    check: impl Fn(&[String], &str),
) -> BTreeSet<(Direction, &'static str)> {
    let mut cut = BTreeSet::new();
    for version in VERSIONS {
        for &side in sides {
            for direction in Direction::BOTH {
                let (len, ends) = boundaries(version, is_persistent, qos, side, direction);
                cut.extend(ends.iter().map(|(it, _)| (direction, it.name())));
                for count in 0..=len {
                    let what = format!("{version} {qos:?} {side:?} {direction:?} byte {count}");
                    let mut pair = pair(version, is_persistent);
                    let delivered = publish_over_cut(&mut pair, qos, side, direction, count);
                    check(&delivered, &what);
                }
            }
        }
    }
    cut
}

/// Returns the messages without repeats, in the order in which they came first.
fn firsts(delivered: &[String]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let all = delivered.iter().map(|it| &**it);
    all.filter(|it| seen.insert(*it)).collect()
}

const BOTH_SIDES: [Side; 2] = [Side::Client, Side::Observer];

#[test]
fn qos_2_arrives_exactly_once_and_in_order_wherever_a_link_is_cut() {
    // v5 MQTT-4.3.3-1, v5 MQTT-4.3.3-6, v5 MQTT-4.3.3-10, v5 MQTT-4.4.0-1, v5 MQTT-4.6.0-3,
    // v5 MQTT-4.6.0-4; v3.1.1 MQTT-4.3.3-1, v3.1.1 MQTT-4.3.3-2, v3.1.1 MQTT-4.4.0-1
    let cut = cut_everywhere(true, QoS::ExactlyOnce, &BOTH_SIDES, |delivered, what| {
        assert_eq!(delivered, MESSAGES, "{what}");
    });
    for name in ["PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"] {
        for direction in Direction::BOTH {
            assert!(cut.contains(&(direction, name)), "{name} {direction:?}");
        }
    }
}

#[test]
fn qos_1_arrives_at_least_once_and_in_order_wherever_a_link_is_cut() {
    // v5 MQTT-4.3.2-1, v5 MQTT-4.4.0-1, v5 MQTT-4.6.0-1, v5 MQTT-4.6.0-6;
    // v3.1.1 MQTT-4.3.2-1, v3.1.1 MQTT-4.4.0-1, v3.1.1 MQTT-4.6.0-1
    let cut = cut_everywhere(true, QoS::AtLeastOnce, &BOTH_SIDES, |delivered, what| {
        assert_eq!(firsts(delivered), MESSAGES, "{what}: {delivered:?}");
        // What is sent again is sent once more, in the same order.
        assert!(
            delivered.len() <= 2 * MESSAGES.len(),
            "{what}: {delivered:?}"
        );
        let repeats = delivered.windows(2).filter(|pair| pair[1] <= pair[0]);
        assert!(repeats.count() <= 1, "{what}: {delivered:?}");
    });
    for name in ["PUBLISH", "PUBACK"] {
        for direction in Direction::BOTH {
            assert!(cut.contains(&(direction, name)), "{name} {direction:?}");
        }
    }
}

#[test]
fn qos_0_arrives_at_most_once_and_in_order_wherever_a_link_is_cut() {
    // v5 MQTT-4.3.1-1; v3.1.1 MQTT-4.3.1-1
    cut_everywhere(true, QoS::AtMostOnce, &BOTH_SIDES, |delivered, what| {
        assert!(
            delivered.is_sorted_by(|a, b| a < b),
            "{what}: {delivered:?}"
        );
    });
}

#[test]
fn a_publisher_without_a_session_loses_nothing_and_may_repeat() {
    // The client keeps its side, and sends as new what the server has forgotten.
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        cut_everywhere(false, qos, &[Side::Client], |delivered, what| {
            assert_eq!(firsts(delivered), MESSAGES, "{what}: {delivered:?}");
        });
    }
}

#[test]
fn an_observer_without_a_session_subscribes_again_and_gets_what_is_new() {
    // v5 MQTT-3.1.2-4; v3.1.1 MQTT-3.1.2-6
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let (len, _) = boundaries(version, false, qos, Side::Observer, Direction::ToClient);
            for count in 0..=len {
                let mut pair = pair(version, false);
                let direction = Direction::ToClient;
                let delivered = publish_over_cut(&mut pair, qos, Side::Observer, direction, count);
                let what = format!("{version} {qos:?} byte {count}: {delivered:?}");
                // A new session owes nothing of the old one: no repeats.
                assert!(delivered.is_sorted_by(|a, b| a < b), "{what}");
                pair.publish(message("t", "new", qos));
                pair.run_until_idle();
                assert_eq!(pair.delivered().last(), Some(&"new"), "{what}");
            }
        }
    }
}

#[test]
fn a_large_message_survives_a_cut_in_its_middle() {
    // v5 MQTT-4.4.0-1; v3.1.1 MQTT-4.4.0-1
    let payload = "0123456789".repeat(20_000);
    for side in BOTH_SIDES {
        for count in [1, 4, 100, 8_192, 65_536, 199_999] {
            let direction = match side {
                Side::Client => Direction::ToServer,
                Side::Observer => Direction::ToClient,
            };
            let mut pair = pair(ProtocolVersion::V5, true);
            pair.cut_after(side, direction, count);
            pair.publish(message("t", &payload, QoS::ExactlyOnce));
            pair.run_until_idle();
            assert!(pair.delivered() == [&payload], "{side:?} {count}");
        }
    }
}
