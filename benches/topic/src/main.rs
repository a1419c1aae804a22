//! Measures the subscription index: time, allocations and memory, one line per load and size.

use std::{alloc::System, hint::black_box, ops::ControlFlow, time::Duration};

use cpu_time::ThreadTime;
use mqttstack_bench_topic::load::Load;
use mqttstack_topic::{Match, SubscriptionIndex, TopicFilter, TopicName};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a broker keeps of a subscription: 12 bytes.
#[derive(Clone, Copy)]
struct Options {
    _identifier: u32,
    _granted: u32,
    _flags: u32,
}

/// Passes over all names; the fastest counts.
const PASSES: usize = 7;

fn main() {
    let (sizes, titles): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.parse::<u64>().is_ok());
    let mut sizes: Vec<u64> = sizes.iter().filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    println!("| load | subscriptions | matches | lookup | allocations | insert | remove | bytes |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for size in sizes {
        for load in Load::ALL {
            let load = load(size);
            if titles.is_empty() || titles.iter().any(|title| load.title.contains(title)) {
                report(&load);
            }
        }
    }
}

/// Processor time of this thread: other work on the machine counts as little as it can.
fn time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = ThreadTime::now();
    let result = work();
    (result, start.elapsed())
}

fn report(load: &Load) {
    let memory = Region::new(ALLOCATOR);
    let mut index = SubscriptionIndex::new(42);
    let options = Options {
        _identifier: 1,
        _granted: 2,
        _flags: 3,
    };
    let ((), build) = time(|| {
        for (key, filter) in &load.subscriptions {
            if let Ok(filter) = TopicFilter::new(filter) {
                index.insert(&filter, *key, options);
            }
        }
    });
    let change = memory.change();
    let bytes = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
    let mut best = Duration::MAX;
    let mut matches = 0_u64;
    let lookups = Region::new(ALLOCATOR);
    for _ in 0..PASSES {
        matches = 0;
        let ((), pass) = time(|| {
            for name in &load.names {
                let Ok(name) = TopicName::new(name) else {
                    continue;
                };
                let _ = index.lookup(&name, |found| {
                    if let Match::Subscriber { key, value } = found {
                        black_box((key, value));
                        matches += 1;
                    }
                    ControlFlow::Continue(())
                });
            }
        });
        best = best.min(pass);
    }
    let allocations = lookups.change().allocations;
    let ((), removal) = time(|| {
        for (key, filter) in &load.subscriptions {
            if let Ok(filter) = TopicFilter::new(filter) {
                index.remove(&filter, key);
            }
        }
    });
    let change = memory.change();
    let left = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
    assert_eq!(left, 0, "memory is back to where it was");
    let (names, subscriptions) = (load.names.len() as f64, load.subscriptions.len() as f64);
    println!(
        "| {} | {} | {:.1} | {:.0} | {} | {:.0} | {:.0} | {:.0} |",
        load.title,
        load.subscriptions.len(),
        matches as f64 / names,
        best.as_nanos() as f64 / names,
        allocations,
        build.as_nanos() as f64 / subscriptions,
        removal.as_nanos() as f64 / subscriptions,
        bytes as f64 / subscriptions,
    );
}
