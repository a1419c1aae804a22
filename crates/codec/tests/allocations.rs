//! What packets cost in allocations: a PUBLISH nothing, on either face, read or written.

#[path = "properties/strategies.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod strategies;

use std::{alloc::System, collections::BTreeMap, hint::black_box};

use bytes::BytesMut;
use mqttstack_codec::{
    Decoder, Packet, PacketType, ProtocolVersion, Publish, SliceSink, StreamDecoder, StreamItem,
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many packets of each version are measured.
const PACKETS: usize = 500;
/// How often each is: the first time warms the buffers, and what another thread allocates by chance
/// does not come in all of them.
const ROUNDS: usize = 4;

/// Returns how many allocations the work takes once it is warm.
fn allocations<T>(mut work: impl FnMut() -> T) -> usize {
    (0..ROUNDS)
        .map(|_| {
            let region = Region::new(ALLOCATOR);
            black_box(work());
            let change = region.change();
            change.allocations + change.reallocations
        })
        .min()
        .expect("some rounds")
}

/// One test, so that no other one allocates meanwhile.
#[test]
fn packets_cost_no_allocations() {
    for version in [
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ] {
        let mut counts = BTreeMap::<u8, usize>::new();
        let mut runner = TestRunner::deterministic();
        let packets = strategies::packet(version);
        for _ in 0..PACKETS {
            let packet = packets.new_tree(&mut runner).expect("a packet").current();
            check_packet(&packet, version);
            *counts.entry(packet.packet_type().as_u8()).or_default() += 1;
        }
        let types = if version == ProtocolVersion::V5 {
            15
        } else {
            14
        };
        assert_eq!(counts.len(), types, "all types: {counts:?}");
    }
    check_kept();
}

fn check_packet(packet: &Packet, version: ProtocolVersion) {
    let packet_type = packet.packet_type();
    let allowed = usize::from(packet_type != PacketType::Publish);
    let check = |way: &str, count: usize| {
        assert!(count <= allowed, "{way} {packet_type}: {count} allocations");
    };
    let mut wire = Vec::new();
    packet.encode(version, &mut wire).expect("legal");
    let decoder = Decoder::new().with_version(version);

    let decode_ref = allocations(|| decoder.decode_ref(&wire).is_ok_and(|it| it.is_some()));
    check("decoding a borrowed", decode_ref);

    let mut buffer = BytesMut::new();
    let decode = allocations(|| {
        buffer.extend_from_slice(&wire);
        decoder.decode(&mut buffer).is_ok_and(|it| it.is_some())
    });
    check("decoding a shared", decode);

    let mut stream = StreamDecoder::new(decoder);
    let poll_item = allocations(|| {
        stream.handle_input(&wire);
        stream.poll_item().is_ok_and(|it| it.is_some())
    });
    check("reading a stream of", poll_item);

    let mut slice = vec![0; wire.len()];
    let borrowed = packet.as_ref();
    let into_slice = allocations(|| borrowed.encode(version, &mut SliceSink::new(&mut slice)));
    check("writing a borrowed", into_slice);

    let mut out = BytesMut::new();
    let into_buffer = allocations(|| {
        out.clear();
        packet.encode(version, &mut out)
    });
    check("writing a shared", into_buffer);
}

/// Packets that are kept cost their share of a read buffer: two allocations each 4 KiB.
fn check_kept() {
    let version = ProtocolVersion::V311;
    let packet: Packet = Packet::Publish(Publish::new("a/b", &b"0123456789"[..]));
    let mut wire = Vec::new();
    packet.encode(version, &mut wire).expect("legal");
    let kept = 1000;
    let buffers = (kept * wire.len()).div_ceil(4096 - wire.len());
    let count = allocations(|| {
        let mut stream = StreamDecoder::new(Decoder::new().with_version(version));
        let mut packets = Vec::with_capacity(kept);
        for _ in 0..kept {
            stream.handle_input(&wire);
            let Ok(Some(StreamItem::Packet(packet))) = stream.poll_item() else {
                panic!("a packet")
            };
            packets.push(packet);
        }
        packets
    });
    let with_list = 2 * buffers + 1;
    assert!(
        count <= with_list,
        "{count} allocations for {buffers} buffers"
    );
}
