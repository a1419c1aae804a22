//! Measures the subscription index: time, allocations and memory, one line per load and size.
//!
//! Arguments: sizes, and parts of the titles of loads; without any, all.

use std::{hint::black_box, ops::ControlFlow, time::Duration};

use mqttstack_bench_topic::{
    load::{Load, Subscription, laid_out},
    measure::{COUNTING, Counting, Memory, nanoseconds_each, time},
};
use mqttstack_topic::{Match, SubscriptionIndex, TopicFilter, TopicName};

#[global_allocator]
static ALLOCATOR: Counting = COUNTING;

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
    println!(
        "| load | subscriptions | matches | lookup | allocations | insert | by key | remove | bytes |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for size in sizes {
        for load in Load::ALL {
            let load = load(size);
            if titles.is_empty() || titles.iter().any(|title| load.title.contains(title)) {
                report(&load);
            }
        }
    }
}

/// Builds an index from the subscriptions in their order.
fn index_of(subscriptions: &[Subscription]) -> (SubscriptionIndex<u64, Options>, Duration) {
    let options = Options {
        _identifier: 1,
        _granted: 2,
        _flags: 3,
    };
    time(|| {
        let mut index = SubscriptionIndex::new(42);
        for (key, filter) in subscriptions {
            if let Ok(filter) = TopicFilter::new(filter) {
                index.insert(&filter, *key, options);
            }
        }
        index
    })
}

fn report(load: &Load) {
    let mut by_key: Vec<_> = load.subscriptions.iter().collect();
    by_key.sort();
    let by_key = laid_out(by_key);
    let (index, build_by_key) = index_of(&by_key);
    drop((index, by_key));
    let memory = Memory::start();
    let (mut index, build) = index_of(&load.subscriptions);
    let bytes = memory.live_bytes();
    let mut best = Duration::MAX;
    let mut matches = 0_u64;
    let lookups = Memory::start();
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
    let allocations = lookups.allocations();
    let ((), removal) = time(|| {
        for (key, filter) in &load.subscriptions {
            if let Ok(filter) = TopicFilter::new(filter) {
                index.remove(&filter, key);
            }
        }
    });
    assert_eq!(memory.live_bytes(), 0, "memory is back to where it was");
    let subscriptions = load.subscriptions.len();
    println!(
        "| {} | {} | {:.1} | {:.0} | {} | {:.0} | {:.0} | {:.0} | {:.0} |",
        load.title,
        subscriptions,
        matches as f64 / load.names.len() as f64,
        nanoseconds_each(best, load.names.len()),
        allocations,
        nanoseconds_each(build, subscriptions),
        nanoseconds_each(build_by_key, subscriptions),
        nanoseconds_each(removal, subscriptions),
        bytes as f64 / subscriptions as f64,
    );
}
