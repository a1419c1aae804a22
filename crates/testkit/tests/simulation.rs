//! Whole worlds from seeds.

use std::time::Duration;

use mqttstack_testkit::{NetworkConditions, Seed, World, WorldSettings};

/// How many steps of work each seed gets.
const STEPS: usize = 400;

fn check(settings: &WorldSettings, seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        if let Err(violation) = World::run_with(settings, Seed(seed), STEPS) {
            panic!("{violation}");
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn one_worker_keeps_its_promises_under_faults() {
    check(&WorldSettings::default(), 0..80);
}

#[test]
fn several_workers_keep_their_promises_under_faults() {
    let settings = WorldSettings {
        workers: 3,
        ..WorldSettings::default()
    };
    check(&settings, 0..80);
}

/// Letters between workers that take longer than a client needs to come back.
fn slow_mail(is_ordered: bool) -> WorldSettings {
    WorldSettings {
        workers: 3,
        conditions: NetworkConditions {
            mail_delay: Duration::from_micros(10)..Duration::from_millis(50),
            ..NetworkConditions::ROUGH
        },
        is_ordered,
        ..WorldSettings::default()
    }
}

#[test]
fn nothing_is_lost_or_repeated_while_sessions_move_between_slow_workers() {
    check(&slow_mail(false), 0..50);
}

#[test]
fn order_is_kept_while_sessions_move_between_slow_workers() {
    // v5 MQTT-4.6.0-5, v5 MQTT-4.6.0-6; v3.1.1 MQTT-4.6.0-6
    check(&slow_mail(true), 0..150);
}

#[test]
fn a_seed_replays_to_the_same_deliveries_at_the_same_moments() {
    for seed in [1, 2, 3] {
        let run = || World::run(Seed(seed), STEPS).unwrap_or_else(|it| panic!("{it}"));
        let report = run();
        assert!(report.delivered > 0 && report.connections > 0);
        assert_eq!(report, run());
    }
}

#[test]
#[ignore = "runs what TESTKIT_SEED and the other variables of a violation ask for"]
fn replay() {
    let first = number("TESTKIT_SEED").unwrap_or(0);
    let count = number("TESTKIT_SEEDS").unwrap_or(1);
    let settings = WorldSettings {
        workers: number("TESTKIT_WORKERS").map_or(1, |it| u8::try_from(it).unwrap()),
        clients: number("TESTKIT_CLIENTS").map_or(5, |it| usize::try_from(it).unwrap()),
        conditions: NetworkConditions {
            mail_delay: Duration::from_micros(10)
                ..Duration::from_micros(number("TESTKIT_MAIL_MICROS").unwrap_or(200)),
            ..NetworkConditions::ROUGH
        },
        is_ordered: number("TESTKIT_ORDER") != Some(0),
    };
    let steps = number("TESTKIT_STEPS").map_or(STEPS, |it| usize::try_from(it).unwrap());
    let mut bad = Vec::new();
    for seed in first..first + count {
        match World::run_with(&settings, Seed(seed), steps) {
            Ok(report) if count == 1 => println!("{report:?}"),
            Ok(_) => {}
            Err(violation) if count == 1 => {
                println!("{}", violation.trace.join("\n"));
                panic!("{violation}")
            }
            Err(violation) => {
                println!("{seed}: {}", violation.what);
                bad.push(seed);
            }
        }
    }
    assert!(bad.is_empty(), "{} of {count} seeds: {bad:?}", bad.len());
}
