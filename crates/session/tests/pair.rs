//! A client session and a server session, joined by lists of packets and cut apart at random:
//! whatever happens, QoS 1 arrives at least once and in order, QoS 2 exactly once, windows hold.
//!
//! All chance comes from a seed, which a failing test prints.

#[path = "pair/chance.rs"]
mod chance;
#[path = "pair/disk.rs"]
mod disk;
#[path = "pair/ledger.rs"]
mod ledger;
#[path = "pair/world.rs"]
mod world;

use mqttstack_session::codec::ProtocolVersion;
use world::{Rules, World};

const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V31,
    ProtocolVersion::V311,
    ProtocolVersion::V5,
];

/// Runs one world for each seed, in every version.
fn check(seeds: std::ops::Range<u64>, rules: Rules) {
    for seed in seeds {
        for version in VERSIONS {
            let name = format!("seed {seed}, {version:?}");
            let mut world = World::new(seed, version, rules, name);
            world.run(300);
            world.settle();
            world.check_outcomes();
        }
    }
}

#[test]
fn messages_survive_any_cut_of_the_connection() {
    // v5 MQTT-4.3.2-3, v5 MQTT-4.3.3-3, v5 MQTT-4.3.3-5, v5 MQTT-4.3.3-6, v5 MQTT-4.3.3-10,
    // v5 MQTT-4.4.0-1, v5 MQTT-4.4.0-2, v5 MQTT-4.6.0-1, v5 MQTT-4.9.0-2, v5 MQTT-2.2.1-3,
    // v5 MQTT-2.2.1-4, v3.1.1 MQTT-4.3.2-1, v3.1.1 MQTT-4.3.3-1, v3.1.1 MQTT-4.3.3-2,
    // v3.1.1 MQTT-4.4.0-1, v3.1.1 MQTT-4.6.0-1, V31-reconnect
    check(0..300, Rules::default());
}

#[test]
fn an_owner_that_acts_before_it_acknowledges_sees_qos_2_once() {
    // v5 MQTT-4.3.3-10, v3.1.1 MQTT-4.3.3-2
    check(
        1_000..1_150,
        Rules {
            is_eager: true,
            ..Rules::default()
        },
    );
}

#[test]
fn a_server_that_loses_the_session_loses_no_message_of_the_client() {
    // v5 MQTT-3.2.2-5; X311-3.2.2.2-a
    check(
        2_000..2_150,
        Rules {
            may_lose_session: true,
            ..Rules::default()
        },
    );
}

#[test]
fn refused_messages_end_their_exchange() {
    // v5 MQTT-4.3.3-4, v5 MQTT-4.3.3-9, v5 MQTT-4.9.0-2
    check(
        3_000..3_150,
        Rules {
            may_refuse: true,
            ..Rules::default()
        },
    );
}

#[test]
fn messages_survive_crashes_of_either_side() {
    // v5 MQTT-4.3.2-3, v5 MQTT-4.3.3-3, v5 MQTT-4.3.3-6, v5 MQTT-4.3.3-10, v5 MQTT-4.4.0-1,
    // v3.1.1 MQTT-4.3.2-1, v3.1.1 MQTT-4.3.3-1, v3.1.1 MQTT-4.3.3-2, v3.1.1 MQTT-4.4.0-1
    let rules = Rules {
        has_stores: true,
        ..Rules::default()
    };
    check(4_000..4_100, rules);
}

#[test]
fn refusals_and_lost_sessions_are_written_down() {
    check(
        5_000..5_040,
        Rules {
            has_stores: true,
            may_refuse: true,
            ..Rules::default()
        },
    );
}
