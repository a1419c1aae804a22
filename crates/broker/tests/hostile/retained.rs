//! R5: floods of retained messages, and who wants them all.

use std::io::{Read as _, Write as _};

use mqttstack_broker::limits::{BrokerLimits, Limits};

use super::stage::*;

#[test]
fn r5_a_subscription_to_a_large_store() {
    let stage = Stage::new();
    let mut client = stage.client(CONNECT_V311);
    let mut flood = Vec::new();
    for n in 0..20_000 {
        flood.extend([0x31, 8, 0, 5]);
        flood.extend(format!("{n:05}x").bytes());
    }
    client.write_all(&flood).expect("written");
    exchange(&mut client, "C0 00", "D0 00");
    exchange(&mut client, "82 06 00 01 00 01 23 00", "90 03 00 01 00");
    let mut stored = vec![0; flood.len()];
    client.read_exact(&mut stored).expect("all of them");
    stage.end(client);
}

#[test]
fn r5_a_store_that_is_larger_than_a_queue() {
    let limits = Limits {
        queue_bytes_max: 1024 * 1024,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    let mut client = stage.client(CONNECT_V311);
    // PUBLISH with RETAIN to a topic of two bytes, 262,148 bytes of Remaining Length.
    let mut stored = 0;
    for n in 0..100 {
        let mut packet = hex("31 84 80 10 00 02");
        packet.extend(format!("{n:02}").bytes());
        packet.extend([b'x'; 262_144]);
        client.write_all(&packet).expect("written");
        stored += packet.len();
    }
    exchange(&mut client, "C0 00", "D0 00");
    exchange(&mut client, "82 06 00 01 00 01 23 00", "90 03 00 01 00");
    let mut received = vec![0; stored];
    client.read_exact(&mut received).expect("all of them");
    stage.end(client);
}

#[test]
fn r5_many_searches_that_find_nothing() {
    let stage = Stage::new();
    let mut client = stage.client(CONNECT_V311);
    let mut flood = Vec::new();
    for n in 0..5_000 {
        flood.extend(hex("31 0A 00 07"));
        flood.extend(format!("a{n:04}/").bytes());
        flood.extend(b"xz");
    }
    client.write_all(&flood).expect("written");
    exchange(&mut client, "C0 00", "D0 00");
    // 200 filters, each of which has all names to go through.
    let mut subscribe = hex("82 C2 0C 00 01");
    for n in 0..200 {
        subscribe.extend(hex("00 05"));
        subscribe.extend(format!("+/{n:03}\0").bytes());
    }
    client.write_all(&subscribe).expect("written");
    exchange(
        &mut client,
        "C0 00",
        &format!("90 CA 01 00 01 {} D0 00", "00".repeat(200)),
    );
    stage.end(client);
}

#[test]
fn r5_more_than_may_be_retained() {
    let broker_limits = BrokerLimits {
        // The version of the broker is one of them.
        retained_messages_max: 4,
        retained_bytes_max: 2_000,
        ..BrokerLimits::default()
    };
    let stage = Stage::of(Limits::default(), broker_limits, 1);
    let mut watcher = stage.client(&named(CONNECT_V311, "sub"));
    exchange(&mut watcher, "82 06 00 01 00 01 23 00", "90 03 00 01 00");
    let mut client = stage.client(CONNECT_V5);
    let retain = |topic: u8, payload: &[u8]| packet(0x33, &[&[0, 1, topic, 0, 1, 0], payload]);
    for topic in *b"abc" {
        send_bytes(&mut client, &retain(topic, b"x"));
        expect(&mut client, "40 02 00 01");
        expect(&mut watcher, &format!("30 04 00 01 {topic:02X} 78"));
    }
    // One too many: it reaches those who are there, and is not kept.
    send_bytes(&mut client, &retain(b'd', b"x"));
    expect(&mut client, "40 03 00 01 97");
    expect(&mut watcher, "30 04 00 01 64 78");
    // In the place of another there is room, up to the sum of the bytes.
    send_bytes(&mut client, &retain(b'a', b"y"));
    expect(&mut client, "40 02 00 01");
    send_bytes(&mut client, &retain(b'a', &[b'z'; 2_000]));
    expect(&mut client, "40 03 00 01 97");
    // One that goes makes room.
    send_bytes(&mut client, &retain(b'b', b""));
    expect(&mut client, "40 02 00 01");
    send_bytes(&mut client, &retain(b'd', b"x"));
    expect(&mut client, "40 02 00 01");
    assert_eq!(stage.retained(), 3);
    stage.end((client, watcher));
}
