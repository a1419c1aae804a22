//! Memory is flat: what peers make the broker hold is bounded while they are there, and given back
//! when they are gone, however often they come. Each attack has the class of bug in its name, as the
//! tests in `hostile` do.

mod common;
#[path = "hostile/stage.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod stage;

use std::{
    alloc::System,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use mqttstack_broker::limits::Limits;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use stage::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often each attack is made.
const ROUNDS: usize = 8;
/// What one more round may leave behind: for a few seconds, the deadlines of connections that were
/// told to end. Each round makes many times as much of everything.
const BYTES_PER_ROUND_MAX: isize = 4 * 1024;

struct Attack {
    name: &'static str,
    /// Makes one round and returns who is still connected.
    make: fn(&Stage) -> Vec<TcpStream>,
    /// What the broker may hold at its end, while they are connected.
    held_max: isize,
}

const ATTACKS: [Attack; 9] = [
    Attack {
        name: "f1_claims_of_256_megabytes",
        make: f1_claims,
        held_max: 100 * 16 * 1024,
    },
    Attack {
        name: "f2_packets_that_lie",
        make: f2_lies,
        held_max: 256 * 1024,
    },
    Attack {
        name: "p2_exchanges_that_nobody_ends",
        make: p2_unfinished,
        held_max: 50 * 64 * 1024,
    },
    Attack {
        name: "r1_names_and_filters_of_many_levels",
        make: r1_deep,
        held_max: 1024 * 1024,
    },
    Attack {
        name: "r2_properties_by_the_thousand",
        make: r2_properties,
        held_max: 256 * 1024,
    },
    Attack {
        name: "r2_filters_by_the_thousand",
        make: r2_filters,
        held_max: 256 * 1024,
    },
    Attack {
        name: "r3_a_reader_that_does_not_read",
        make: r3_deaf,
        held_max: 3 * 1024 * 1024,
    },
    Attack {
        name: "r4_peers_that_say_nothing",
        make: r4_silent,
        held_max: 200 * 8 * 1024,
    },
    Attack {
        name: "r5_retained_messages_by_the_thousand",
        make: r5_retained,
        // What the names match is kept for a while, too.
        held_max: 4 * 1024 * 1024,
    },
];

#[test]
fn memory_is_bounded_during_each_attack_and_given_back_after_it() {
    let limits = Limits {
        queue_bytes_max: 1024 * 1024,
        inflight_bytes_max: 1024 * 1024,
        ..Limits::default()
    };
    let mut stage = Stage::with(limits, 1);
    for attack in ATTACKS {
        let region = Region::new(ALLOCATOR);
        // What is left after each round.
        let mut left = Vec::new();
        for round in 0..ROUNDS {
            let clients = (attack.make)(&stage);
            let held = live(&region);
            let (name, max) = (attack.name, attack.held_max);
            assert!(held <= max, "{name}, round {round}: {held} bytes are held");
            drop(clients);
            stage.alone();
            left.push(live(&region));
        }
        println!("{}: {left:?} bytes are left", attack.name);
        // A table doubles once in a while; a leak adds to every round.
        let mut grown: Vec<isize> = left.windows(2).map(|pair| pair[1] - pair[0]).collect();
        grown.sort_unstable();
        let usual = grown[grown.len() / 2];
        assert!(
            usual <= BYTES_PER_ROUND_MAX,
            "{}: {left:?} bytes are left",
            attack.name
        );
    }
    assert_eq!((stage.subscriptions(), stage.retained()), (0, 0));
    stage.end(());
}

/// Returns how much more is allocated than at the beginning of the region.
fn live(region: &Region<'_, System>) -> isize {
    let change = region.change();
    let [more, less] = [change.bytes_allocated, change.bytes_deallocated]
        .map(|bytes| isize::try_from(bytes).expect("fits"));
    more - less
}

/// Opens clients with names of their own.
fn clients(stage: &Stage, count: usize, connect: &str) -> Vec<TcpStream> {
    (0..count)
        .map(|number| stage.client(&named(connect, &format!("{number:03}"))))
        .collect()
}

fn f1_claims(stage: &Stage) -> Vec<TcpStream> {
    let mut clients = clients(stage, 100, CONNECT_V311);
    for client in &mut clients {
        send(client, "30 FF FF FF 7F 00 01 74");
    }
    clients
}

fn f2_lies(stage: &Stage) -> Vec<TcpStream> {
    for bad in [
        "30 04 00 09 61 62",
        "82 07 00 01 00 FF FF 61 00",
        "30 05 00 01 61 7F 00",
    ] {
        for mut client in clients(stage, 20, CONNECT_V5) {
            send(&mut client, bad);
            read_to_end(&mut client);
        }
    }
    Vec::new()
}

/// Each goes with ten QoS 2 messages half done.
fn p2_unfinished(stage: &Stage) -> Vec<TcpStream> {
    let mut clients = clients(stage, 50, CONNECT_V311);
    for client in &mut clients {
        exchange(client, "82 06 00 01 00 01 74 02", "90 03 00 01 02");
        for id in 1..=10 {
            let publish = format!("34 06 00 01 75 00 {id:02X} 78");
            exchange(client, &publish, &format!("50 02 00 {id:02X}"));
        }
    }
    clients
}

fn r1_deep(stage: &Stage) -> Vec<TcpStream> {
    let mut client = stage.client(CONNECT_V311);
    for number in 0..200 {
        // 128 levels, of which none is another's.
        let name = text(vec![number.to_string(); 128].join("/"));
        let retain = |payload: &[u8]| packet(0x33, &[&name, &[0, 1], payload]);
        for bytes in [
            packet(0x82, &[&[0, 2], &name, &[0]]),
            retain(b""),
            retain(b"x"),
            retain(b""),
            packet(0xA2, &[&[0, 3], &name]),
        ] {
            send_bytes(&mut client, &bytes);
        }
    }
    finish(&mut client);
    vec![client]
}

fn r2_properties(stage: &Stage) -> Vec<TcpStream> {
    let mut client = stage.client(CONNECT_V5);
    let properties = hex("26 00 01 6B 00 01 76").repeat(1_000);
    let len = integer(properties.len());
    for _ in 0..50 {
        let publish = packet(0x30, &[&text("t"), &len, &properties, b"x"]);
        send_bytes(&mut client, &publish);
        let subscribe = packet(0x82, &[&[0, 1], &len, &properties, &text("s"), &[0]]);
        send_bytes(&mut client, &subscribe);
        let unsubscribe = packet(0xA2, &[&[0, 1], &len, &properties, &text("s")]);
        send_bytes(&mut client, &unsubscribe);
    }
    finish(&mut client);
    vec![client]
}

fn r2_filters(stage: &Stage) -> Vec<TcpStream> {
    let mut client = stage.client(CONNECT_V311);
    for number in 0..2_000 {
        let filter = text(format!("a/{number}/+"));
        send_bytes(&mut client, &packet(0x82, &[&[0, 1], &filter, &[1]]));
        send_bytes(&mut client, &packet(0xA2, &[&[0, 2], &filter]));
    }
    finish(&mut client);
    vec![client]
}

/// 32 megabytes for a client that takes none of it.
fn r3_deaf(stage: &Stage) -> Vec<TcpStream> {
    let mut deaf = stage.client(CONNECT_V311);
    exchange(&mut deaf, "82 06 00 01 00 01 74 01", "90 03 00 01 01");
    let mut publisher = stage.client(&named(CONNECT_V311, "pub"));
    let publish = packet(0x32, &[&text("t"), &[0, 1], &vec![b'x'; 65_536]]);
    for _ in 0..500 {
        send_bytes(&mut publisher, &publish);
        expect(&mut publisher, "40 02 00 01");
    }
    drop(publish);
    vec![deaf, publisher]
}

fn r4_silent(stage: &Stage) -> Vec<TcpStream> {
    let beginnings = ["", "10", "10 0F 00 04 4D", "10 FF FF 07 00 04 4D 51"];
    beginnings
        .iter()
        .cycle()
        .take(200)
        .map(|beginning| {
            let mut peer = stage.open();
            // The last is too large for a CONNECT, and refused.
            peer.write_all(&hex(beginning)).expect("written");
            peer
        })
        .collect()
}

fn r5_retained(stage: &Stage) -> Vec<TcpStream> {
    let mut client = stage.client(CONNECT_V311);
    for payload in [&b"xyz"[..], b""] {
        for number in 0..2_000 {
            let topic = text(format!("r/{number}/s"));
            send_bytes(&mut client, &packet(0x31, &[&topic, payload]));
        }
    }
    finish(&mut client);
    vec![client]
}

/// Waits until the broker has done all that a client asked for.
fn finish(client: &mut TcpStream) {
    send(client, "C0 00");
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !got.windows(2).any(|bytes| bytes == [0xD0, 0]) {
        let count = client.read(&mut buffer).expect("an answer");
        assert!(count > 0, "closed");
        got.extend_from_slice(&buffer[..count]);
    }
}
