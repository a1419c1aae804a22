//! Measures the retained index: storing, memory, and the time of each match by filter.
//!
//! Argument: the number of names, a million without.

use std::hint::black_box;

use mqttstack_bench_topic::measure::{COUNTING, Counting, Memory, nanoseconds_each, time};
use mqttstack_topic::{Cursor, RetainedIndex, TopicFilter, TopicName};

#[global_allocator]
static ALLOCATOR: Counting = COUNTING;

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok());
    let count: u64 = count.unwrap_or(1_000_000);
    // A rare level `x` among `y`s, in 1,000 first levels.
    let names = (0..count).map(|number| {
        let last = if number % 10_000 == 77 { "x" } else { "y" };
        format!("site{}/dev{number}/{last}", number % 1_000)
    });
    let names: Vec<_> = names.collect();
    let memory = Memory::start();
    let mut index = RetainedIndex::new(42);
    let ((), build) = time(|| {
        for (name, value) in names.iter().zip(0_u64..) {
            if let Ok(name) = TopicName::new(name) {
                index.insert(&name, value);
            }
        }
    });
    let bytes = memory.live_bytes() as f64 / names.len() as f64;
    println!(
        "{count} names: {:.0} ns to store one, {bytes:.0} bytes each",
        nanoseconds_each(build, names.len())
    );
    let ((), again) = time(|| {
        for (name, value) in names.iter().zip(1_u64..) {
            if let Ok(name) = TopicName::new(name) {
                index.insert(&name, value);
            }
        }
    });
    println!(
        "{:.0} ns to replace one",
        nanoseconds_each(again, names.len())
    );
    println!("| filter | matches | us | ns a match | allocations |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for text in [
        "site7/dev7/y",
        "+/+/x",
        "site77/+/x",
        "+/dev77/#",
        "site7/#",
        "site7/+/y",
        "+/+/y",
        "#",
        "none/#",
        "+/+/none",
    ] {
        let Ok(filter) = TopicFilter::new(text) else {
            continue;
        };
        let mut matches = 0;
        let allocations = Memory::start();
        let ((), search) = time(|| {
            let mut cursor = Some(Cursor::START);
            while let Some(at) = cursor {
                cursor = index.matching(&filter, at, 100, |name, value| {
                    black_box((name, value));
                    matches += 1;
                });
            }
        });
        println!(
            "| `{text}` | {matches} | {:.1} | {:.0} | {} |",
            nanoseconds_each(search, 1_000),
            nanoseconds_each(search, matches),
            allocations.allocations(),
        );
    }
}
