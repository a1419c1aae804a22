//! The simulator finds what is wrong: each deliberate fault, within a few seeds.
//!
//! Only a build with `--cfg mqttstack_faults` has the faults: `cargo xtask test --only faults`.
#![cfg(mqttstack_faults)]

use std::panic;

use mqttstack_testkit::{
    Seed, World,
    session::fault::{self, Fault},
};

/// How many seeds may be run until a fault is found; continuous integration runs 6,000.
const SEEDS: u64 = 1_000;
const STEPS: usize = 400;

/// Returns the first seed that shows something, and what.
fn first_violation() -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| {
        let settings = mqttstack_testkit::WorldSettings::draw(Seed(seed));
        let script = World::script(&settings, Seed(seed), STEPS);
        let run = || World::replay(&settings, Seed(seed), &script, false);
        // An assertion of the stack itself finds a fault as well.
        let what = match panic::catch_unwind(run) {
            Ok(Ok(_)) => return None,
            Ok(Err(violation)) => violation.what,
            Err(_) => "an assertion".into(),
        };
        Some((seed, what))
    })
}

/// One test, as a fault is switched on for the whole process.
#[test]
fn each_fault_is_found_and_nothing_is_without_one() {
    panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        fault::inject(Some(fault));
        match first_violation() {
            Some((seed, what)) => {
                let what: String = what.chars().take(100).collect();
                println!("{fault:?}: seed {seed}: {what}");
            }
            None => missed.push(fault),
        }
    }
    fault::inject(None);
    let _ = panic::take_hook();
    assert_eq!(missed, [], "not found in {SEEDS} seeds");
    assert_eq!(first_violation(), None, "found without a fault");
}
