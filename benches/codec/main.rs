//! The codec: time and allocations per packet, decoding and encoding.
//!
//! The codecs of other crates run on the same bytes in the same process.

mod cpu_time;
mod ours;
mod peers;
mod wires;

use std::{alloc::System, hint::black_box, time::Duration};

use cpu_time::ThreadCpuTime;
use criterion::{Criterion, Throughput};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use wires::Wire;

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One way to decode or to encode a wire: runs over all of its packets once.
struct Case<'w> {
    name: String,
    run: Box<dyn FnMut() -> usize + 'w>,
}

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(ThreadCpuTime)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(30)
        .configure_from_args();
    for wire in &wires::all() {
        bench(&mut criterion, wire);
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion<ThreadCpuTime>, wire: &Wire) {
    let mut cases = ours::cases(wire);
    cases.extend(peers::cases(wire));
    let mut group = criterion.benchmark_group(wire.name);
    group.throughput(Throughput::Elements(wire.packets.len() as u64));
    for case in &mut cases {
        // Once to grow the buffers that are used again.
        black_box((case.run)());
        let region = Region::new(GLOBAL);
        black_box((case.run)());
        let allocations = region.change().allocations;
        let per_packet = allocations as f64 / wire.packets.len() as f64;
        println!(
            "{} | {}: {per_packet:.3} allocations a packet",
            wire.name, case.name
        );
        group.bench_function(&case.name, |bencher| bencher.iter(|| (case.run)()));
    }
    group.finish();
}
