//! What the retained index holds in memory, and gives back, counted by the allocator.

use std::alloc::System;

use mqttstack_topic::{RetainedIndex, TopicName};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NAMES: u64 = 100_000;

fn name(number: u64) -> String {
    format!("site{}/dev{number}/temperature", number % 100)
}

/// Returns the bytes that were asked for since and not given back.
fn live(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

#[test]
fn memory_follows_what_is_retained() {
    let names: Vec<String> = (0..NAMES).map(name).collect();
    let names: Vec<TopicName<'_>> = names
        .iter()
        .map(|name| TopicName::new(name).expect("valid"))
        .collect();
    let region = Region::new(ALLOCATOR);
    let mut index: RetainedIndex<u64> = RetainedIndex::new(7);
    assert_eq!(live(&region), 0);
    // Of all that came a hundredth stays: what came together, and what is spread over all pages, so
    // that only the lists and tables shrink.
    for (step, of_hundred) in [(1, 4), (7, 12), (12_347, 55)] {
        for (name, number) in names.iter().zip(0..) {
            if number % 2 == 0 {
                index.insert(name, number);
            } else {
                index.insert_until(name, number, number);
            }
        }
        let full = live(&region);
        let each = full / names.len();
        assert!(each < 170, "{each} bytes for a name");
        let place = |number: usize| &names[(number * step) % names.len()];
        let stay = names.len() / 100;
        for number in stay..names.len() {
            index.remove(place(number));
        }
        assert_eq!(index.len(), stay);
        let left = live(&region);
        assert!(
            left < full / 100 * of_hundred,
            "{left} of {full} bytes are left after steps of {step}"
        );
        for number in 0..stay {
            index.remove(place(number));
        }
        assert_eq!(live(&region), 0, "step {step}");
    }
}
