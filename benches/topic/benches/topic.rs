//! Lookups and subscriptions at three sizes, and matching alone, for regressions.

use std::{hint::black_box, ops::ControlFlow};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use mqttstack_bench_topic::load::Load;
use mqttstack_topic::{SubscriptionIndex, TopicFilter, TopicName};

type Index = SubscriptionIndex<u64, [u32; 3]>;

fn index_of(load: &Load) -> Index {
    let mut index = Index::new(42);
    for (key, filter) in &load.subscriptions {
        if let Ok(filter) = TopicFilter::new(filter) {
            index.insert(&filter, *key, [0; 3]);
        }
    }
    index
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    for size in [1_000, 100_000, 1_000_000] {
        let load = Load::mixed(size, 10);
        let index = index_of(&load);
        let mut names = load.names.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let Some(Ok(name)) = names.next().map(|name| TopicName::new(name)) else {
                    return;
                };
                let _ = index.lookup(&name, |found| {
                    black_box(found);
                    ControlFlow::Continue(())
                });
            });
        });
    }
}

fn subscribe(criterion: &mut Criterion) {
    let load = Load::mixed(100_000, 10);
    criterion.bench_function("subscribe 100 k", |bencher| {
        bencher.iter_batched(|| (), |()| index_of(&load), BatchSize::PerIteration);
    });
}

fn matches(criterion: &mut Criterion) {
    let filter = TopicFilter::new("org7/+/line3/+/dev21/#");
    let name = TopicName::new("org7/site12/line3/cell4/dev21/temp");
    let (Ok(filter), Ok(name)) = (filter, name) else {
        return;
    };
    criterion.bench_function("matches", |bencher| {
        bencher.iter(|| mqttstack_topic::matches(black_box(&filter), black_box(&name)));
    });
    criterion.bench_function("parse a name", |bencher| {
        bencher.iter(|| TopicName::new(black_box("org7/site12/line3/cell4/dev21/temp")).is_ok());
    });
    criterion.bench_function("parse a filter", |bencher| {
        bencher.iter(|| TopicFilter::new(black_box("org7/+/line3/+/dev21/#")).is_ok());
    });
}

criterion_group!(benches, lookup, subscribe, matches);
criterion_main!(benches);
