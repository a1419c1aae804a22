//! Measures the subscription index beside those of other crates: the main load, in one run.
//!
//! Arguments: sizes; without any, all. What an index finds is held against what ours finds.

use std::{hint::black_box, ops::ControlFlow, str::FromStr, time::Duration};

use mqtt_topic_engine::{QoS, TopicPath, TopicPatternPath, TopicRouter};
use mqttstack_bench_topic::{
    load::Load,
    measure::{COUNTING, Counting, Memory, nanoseconds_each, time},
};
use mqttstack_topic::{Match, SubscriptionIndex, TopicFilter, TopicName};
use rmqtt::{topic::Topic, trie::TopicTree};

#[global_allocator]
static ALLOCATOR: Counting = COUNTING;

/// Passes over all names; the one in the middle counts.
const PASSES: usize = 5;

/// What a broker keeps of a subscription: 12 bytes.
type Options = [u32; 3];
const OPTIONS: Options = [1, 2, 3];

/// An index, as every crate has one. Texts are parsed each time, as they come from a peer.
trait Index {
    const TITLE: &'static str;
    fn new() -> Self;
    fn insert(&mut self, filter: &str, key: u64) -> Result<(), String>;
    fn lookup(&self, name: &str, visit: impl FnMut(u64, &Options)) -> Result<(), String>;
}

struct Ours(SubscriptionIndex<u64, Options>);

impl Index for Ours {
    const TITLE: &'static str = "mqttstack-topic";

    fn new() -> Self {
        Self(SubscriptionIndex::new(42))
    }

    fn insert(&mut self, filter: &str, key: u64) -> Result<(), String> {
        let filter = TopicFilter::new(filter).map_err(explain)?;
        self.0.insert(&filter, key, OPTIONS);
        Ok(())
    }

    fn lookup(&self, name: &str, mut visit: impl FnMut(u64, &Options)) -> Result<(), String> {
        let visit = |found: Match<'_, u64, Options>| {
            if let Match::Subscriber { key, value } = found {
                visit(key, value);
            }
            ControlFlow::Continue(())
        };
        let name = TopicName::new(name).map_err(explain)?;
        let _ = self.0.lookup(&name, visit);
        Ok(())
    }
}

struct Rmqtt(TopicTree<(u64, Options)>);

impl Index for Rmqtt {
    const TITLE: &'static str = "rmqtt `TopicTree`";

    fn new() -> Self {
        Self(TopicTree::default())
    }

    fn insert(&mut self, filter: &str, key: u64) -> Result<(), String> {
        let filter = Topic::from_str(filter).map_err(explain)?;
        self.0.insert(&filter, (key, OPTIONS));
        Ok(())
    }

    fn lookup(&self, name: &str, mut visit: impl FnMut(u64, &Options)) -> Result<(), String> {
        let name = Topic::from_str(name).map_err(explain)?;
        for (_, values) in self.0.matches(&name).iter() {
            for (key, options) in values {
                visit(*key, options);
            }
        }
        Ok(())
    }
}

struct Engine(TopicRouter<(u64, Options)>);

impl Index for Engine {
    const TITLE: &'static str = "mqtt-topic-engine `TopicRouter`";

    fn new() -> Self {
        Self(TopicRouter::new())
    }

    fn insert(&mut self, filter: &str, key: u64) -> Result<(), String> {
        let filter = TopicPatternPath::try_from(filter).map_err(explain)?;
        self.0
            .add_subscription(filter, QoS::AtMostOnce, (key, OPTIONS));
        Ok(())
    }

    fn lookup(&self, name: &str, mut visit: impl FnMut(u64, &Options)) -> Result<(), String> {
        let name = TopicPath::new(name).map_err(explain)?;
        for (_, _, (key, options)) in self.0.get_subscribers(&name) {
            visit(*key, options);
        }
        Ok(())
    }
}

fn explain(error: impl ToString) -> String {
    error.to_string()
}

/// How many matches each name had, and the sum of their keys: equal for equal answers.
type Answers = Vec<(u64, u64)>;

fn main() {
    let mut sizes: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|size| size.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    println!("| index | subscriptions | matches | lookup | allocations | insert | bytes |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for size in sizes {
        let load = Load::mixed(size, 10);
        let ours = report::<Ours>(&load);
        for (title, answers) in [
            (Rmqtt::TITLE, report::<Rmqtt>(&load)),
            (Engine::TITLE, report::<Engine>(&load)),
        ] {
            assert!(answers == ours, "{title} finds others than ours does");
        }
    }
}

/// Writes the line of an index, and returns what it answered.
fn report<I: Index>(load: &Load) -> Answers {
    let memory = Memory::start();
    let (index, build) = time(|| {
        let mut index = I::new();
        for (key, filter) in &load.subscriptions {
            let added = index.insert(filter, *key);
            assert!(added.is_ok(), "{}: {filter}: {added:?}", I::TITLE);
        }
        index
    });
    let bytes = memory.live_bytes();
    let answers: Answers = load.names.iter().map(|name| answer(&index, name)).collect();
    let lookups = Memory::start();
    let mut passes = [Duration::ZERO; PASSES];
    for pass in &mut passes {
        *pass = time(|| {
            for name in &load.names {
                black_box(answer(&index, name));
            }
        })
        .1;
    }
    let allocations = lookups.allocations() as f64 / (PASSES * load.names.len()) as f64;
    passes.sort();
    let matches: u64 = answers.iter().map(|(matches, _)| matches).sum();
    let subscriptions = load.subscriptions.len();
    println!(
        "| {} | {} | {:.1} | {:.0} | {:.1} | {:.0} | {:.0} |",
        I::TITLE,
        subscriptions,
        matches as f64 / load.names.len() as f64,
        nanoseconds_each(passes[PASSES / 2], load.names.len()),
        allocations,
        nanoseconds_each(build, subscriptions),
        bytes as f64 / subscriptions as f64,
    );
    answers
}

fn answer<I: Index>(index: &I, name: &str) -> (u64, u64) {
    let (mut matches, mut sum) = (0, 0_u64);
    let found = index.lookup(name, |key, options| {
        black_box(options);
        matches += 1;
        sum = sum.wrapping_add(key);
    });
    assert!(found.is_ok(), "{}: {name}: {found:?}", I::TITLE);
    (matches, sum)
}
