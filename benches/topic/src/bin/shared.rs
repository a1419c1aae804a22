//! Measures lookups by several threads at once, without and with a writer beside them.
//!
//! Argument: the number of subscriptions, 100,000 without.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use mqttstack_bench_topic::{
    load::Load,
    measure::{nanoseconds_each, time},
};
use mqttstack_topic::{Shared, SubscriptionIndex, TopicFilter, TopicName};

type Index = SubscriptionIndex<u64, [u32; 3]>;

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok());
    let load = Load::mixed(count.unwrap_or(100_000), 10);
    let mut index = Index::new(42);
    for (key, filter) in &load.subscriptions {
        if let Ok(filter) = TopicFilter::new(filter) {
            index.insert(&filter, *key, [0; 3]);
        }
    }
    let (_, alone) = time(|| lookups(&load, |name| visit(&index, name)));
    println!(
        "without a lock: {:.0} ns a lookup",
        nanoseconds_each(alone, load.names.len())
    );
    let shared = Shared::new(index);
    for threads in [1, 2, 4] {
        for with_writer in [false, true] {
            let is_over = AtomicBool::new(false);
            let nanoseconds: f64 = thread::scope(|scope| {
                if with_writer {
                    scope.spawn(|| churn(&shared, &is_over));
                }
                let readers = (0..threads).map(|_| {
                    scope.spawn(|| {
                        let read = |name: &TopicName<'_>| visit(&shared.read(), name);
                        time(|| lookups(&load, read)).1
                    })
                });
                let readers: Vec<_> = readers.collect();
                let times = readers.into_iter().filter_map(|reader| reader.join().ok());
                let sum = times
                    .map(|time| nanoseconds_each(time, load.names.len()))
                    .sum();
                is_over.store(true, Ordering::Relaxed);
                sum
            });
            let beside = if with_writer { " beside a writer" } else { "" };
            println!(
                "{threads} threads{beside}: {:.0} ns a lookup and thread",
                nanoseconds / f64::from(threads)
            );
        }
    }
}

fn lookups(load: &Load, mut lookup: impl FnMut(&TopicName<'_>) -> usize) -> usize {
    let names = load
        .names
        .iter()
        .filter_map(|name| TopicName::new(name).ok());
    names.map(|name| lookup(&name)).sum()
}

fn visit(index: &Index, name: &TopicName<'_>) -> usize {
    let mut matches = 0;
    let _ = index.lookup(name, |_| {
        matches += 1;
        ControlFlow::Continue(())
    });
    matches
}

/// Subscribes and unsubscribes without a pause.
fn churn(shared: &Shared<Index>, is_over: &AtomicBool) {
    let Ok(filter) = TopicFilter::new("churn/+/x") else {
        return;
    };
    for key in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        shared.write().insert(&filter, key, [0; 3]);
        shared.write().remove(&filter, &key);
    }
}
