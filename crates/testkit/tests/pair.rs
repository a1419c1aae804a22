//! One client, one broker: what a user of the stack relies on, told as stories.

use std::time::Duration;

use mqttstack_testkit::{
    Direction, NetworkConditions, Pair, PairSettings, Seed, Side,
    client::session::client::EndCause,
    codec::{PacketType, ProtocolVersion, QoS},
    limits::Limits,
    message,
};

#[test]
fn qos2_is_delivered_once_when_cut_after_pubrec() {
    // v5 MQTT-4.3.3-6, v5 MQTT-4.4.0-1
    let mut pair = Pair::connected(Seed(7));
    pair.publish(message("a/b", "x", QoS::ExactlyOnce));
    pair.run_until(|pair| pair.carried(PacketType::PubRec));
    pair.cut_and_resume();
    pair.run_until_idle();
    assert_eq!(pair.delivered(), ["x"]);
}

#[test]
fn a_message_that_was_handed_over_without_a_connection_waits_for_one() {
    let mut pair = Pair::connected(Seed(8));
    pair.cut();
    pair.run_until(|pair| !pair.client().core.is_connected());
    pair.publish(message("a", "x", QoS::AtLeastOnce));
    assert_eq!(pair.delivered(), [""; 0]);
    pair.run_until_idle();
    assert_eq!(pair.delivered(), ["x"]);
}

#[test]
fn what_is_published_while_a_subscriber_is_away_waits_for_it() {
    // v5 MQTT-4.5.0-1; v3.1.1 MQTT-3.1.2-5, v3.1.1 MQTT-4.5.0-1
    for version in [
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ] {
        let settings = PairSettings {
            version,
            ..PairSettings::default()
        };
        let mut pair = Pair::connected_with(Seed(9), &settings);
        pair.cut_side(Side::Observer);
        pair.run_until(|pair| !pair.station(Side::Observer).core.is_connected());
        for text in ["1", "2"] {
            pair.publish(message("a", text, QoS::AtLeastOnce));
        }
        pair.run_until_idle();
        assert_eq!(pair.delivered(), ["1", "2"], "{version}");
    }
}

#[test]
fn windows_of_one_let_everything_through_one_by_one() {
    // v5 MQTT-3.3.4-7, v5 MQTT-3.3.4-9: the network reads the wire and finds a second message.
    let one = Limits {
        receive_maximum: 1,
        ..Limits::default()
    };
    let settings = PairSettings {
        client_limits: one.clone(),
        broker_limits: one,
        ..PairSettings::default()
    };
    let mut pair = Pair::connected_with(Seed(10), &settings);
    let texts: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    for (number, text) in texts.iter().enumerate() {
        let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][number % 2];
        pair.publish(message("a", text, qos));
        if number == 10 {
            pair.cut_and_resume();
        }
    }
    pair.run_until_idle();
    assert_eq!(pair.delivered(), texts);
}

#[test]
fn a_rough_link_changes_nothing_but_the_time() {
    let settings = PairSettings {
        conditions: NetworkConditions::ROUGH,
        ..PairSettings::default()
    };
    for seed in 0..20 {
        let mut pair = Pair::connected_with(Seed(seed), &settings);
        let texts: Vec<String> = (0..30).map(|number| number.to_string()).collect();
        for text in &texts {
            pair.publish(message("a/b/c", text, QoS::ExactlyOnce));
        }
        pair.run_until_idle();
        assert_eq!(pair.delivered(), texts, "Seed({seed})");
    }
}

#[test]
fn a_link_that_hangs_is_found_out_by_both_sides() {
    // v5 MQTT-3.1.2-22, v5 U-07; v3.1.1 MQTT-3.1.2-24
    let settings = PairSettings {
        keep_alive: 20,
        ..PairSettings::default()
    };
    let mut pair = Pair::connected_with(Seed(11), &settings);
    pair.link_mut(Side::Client).hang();
    pair.publish(message("a", "x", QoS::ExactlyOnce));
    pair.advance(Duration::from_secs(19));
    assert!(pair.client().core.is_connected(), "too early to tell");
    pair.advance(Duration::from_secs(60));
    assert!(matches!(
        pair.client().last_end(),
        Some(EndCause::Protocol(_))
    ));
    pair.run_until_idle();
    assert_eq!(pair.delivered(), ["x"]);
}

#[test]
fn a_half_open_connection_gives_way_to_the_next_one() {
    // v5 MQTT-3.1.4-3; v3.1.1 MQTT-3.1.4-2
    let mut pair = Pair::connected(Seed(12));
    pair.publish(message("a", "x", QoS::ExactlyOnce));
    pair.run_until(|pair| pair.carried(PacketType::PubRec));
    let now = pair.network().now();
    pair.link_mut(Side::Client)
        .cut_half(Direction::ToClient, now);
    pair.run_until(|pair| !pair.client().core.is_connected());
    assert_eq!(pair.network().hub().cores()[0].connection_count(), 2);
    pair.run_until(|pair| pair.client().core.is_connected());
    pair.run_until_idle();
    assert_eq!(pair.network().hub().cores()[0].connection_count(), 2);
    assert_eq!(pair.network().hub().directory().session_count(), 2);
    assert_eq!(pair.delivered(), ["x"]);
}

#[test]
fn a_subscriber_that_stalls_gets_everything_when_it_goes_on() {
    let settings = PairSettings {
        broker_limits: Limits {
            output_bytes_max: 200,
            ..Limits::default()
        },
        ..PairSettings::default()
    };
    let mut pair = Pair::connected_with(Seed(13), &settings);
    let until = pair.network().now() + Duration::from_secs(30);
    pair.link_mut(Side::Observer)
        .stall(Direction::ToClient, until);
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for text in &texts {
        pair.publish(message("a", text, QoS::AtLeastOnce));
    }
    pair.advance(Duration::from_secs(20));
    assert_eq!(pair.delivered(), [""; 0]);
    let waiting = pair.link(Side::Observer).in_flight(Direction::ToClient);
    assert!((200..300).contains(&waiting), "{waiting} bytes wait");
    pair.run_until_idle();
    assert_eq!(pair.delivered(), texts);
}
