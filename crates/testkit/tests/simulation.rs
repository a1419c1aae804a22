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

#[test]
fn worlds_of_any_kind_keep_their_promises_under_faults() {
    for seed in 0..80 {
        if let Err(violation) = World::run(Seed(seed), STEPS) {
            panic!("{violation}\nreplay: cargo xtask simulate --seed {seed} --steps {STEPS}");
        }
    }
}

#[test]
fn seeds_that_failed_once_do_not_fail_again() {
    for line in include_str!("regressions.txt").lines() {
        if line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace().map(str::parse);
        let (Some(Ok(seed)), Some(Ok(steps))) = (words.next(), words.next()) else {
            panic!("not a seed and a number of steps: {line}");
        };
        let steps = usize::try_from(steps).unwrap();
        if let Err(violation) = World::run(Seed(seed), steps) {
            panic!("{violation}\nin the line {line:?}");
        }
    }
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
fn what_was_acknowledged_survives_crashes_of_the_broker_and_qos_2_comes_once() {
    // v5 MQTT-4.1.0-1, v5 MQTT-4.3.3-8, v5 MQTT-4.3.3-10, v3.1.1 MQTT-4.3.3-2; workers, longest sync
    for (workers, sync) in [(1, 1), (1, 100), (3, 20)] {
        let settings = WorldSettings {
            workers,
            conditions: NetworkConditions {
                sync_delay: Some(Duration::from_micros(10)..Duration::from_millis(sync)),
                ..NetworkConditions::ROUGH
            },
            crashes: true,
            ..WorldSettings::default()
        };
        check(&settings, 0..60);
    }
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
