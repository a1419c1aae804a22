//! P: packets out of place, and refusals.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::Shutdown,
};

use super::stage::*;

#[test]
fn p1_any_packet_before_connect() {
    // v5 MQTT-3.1.0-1; v3.1.1 MQTT-3.1.0-1; v5 MQTT-3.14.0-1
    let stage = Stage::new();
    for first in (0..=15_u8).filter(|kind| *kind != 1) {
        let mut stream = stage.open();
        stream.write_all(&[first << 4, 2, 0, 1]).expect("written");
        assert_eq!(read_to_end(&mut stream), [], "type {first}");
    }
    stage.end(());
}

#[test]
fn p1_packets_of_the_other_direction() {
    // X311-2.2.1-b, X311-2.2.1-a
    let mut stage = Stage::new();
    stage.check_all("20 03 00 00 00", "20 02 00 00", "82");
    stage.check_all("90 04 00 01 00 00", "90 03 00 01 00", "82");
    stage.check_all("B0 04 00 01 00 00", "B0 02 00 01", "82");
    stage.check_all("D0 00", "D0 00", "82");
    stage.check_all("00 00", "00 00", "81");
    stage.check(CONNECT_V5, "F0 00", "E0 01 82");
    stage.check(CONNECT_V311, "F0 00", "");
    stage.stop();
}

#[test]
fn p2_a_second_connect_and_acknowledgements_of_nothing() {
    // v5 MQTT-3.1.0-2; v3.1.1 MQTT-3.1.0-2
    let mut stage = Stage::new();
    stage.check(CONNECT_V5, CONNECT_V5, "E0 01 82");
    stage.check(CONNECT_V311, CONNECT_V311, "");
    stage.check(CONNECT_V31, CONNECT_V31, "");
    let mut stream = stage.client(CONNECT_V5);
    exchange(
        &mut stream,
        "40 02 00 07  70 02 00 07  50 02 00 07  62 02 00 07  C0 00",
        "62 03 00 07 92  70 03 00 07 92  D0 00",
    );
    stage.end(stream);
}

#[test]
fn p2_packets_behind_a_rejected_connect_and_behind_disconnect() {
    // v5 MQTT-3.1.4-6; v3.1.1 MQTT-3.1.4-5
    let mut stage = Stage::new();
    // An empty client id without clean session; then a PUBLISH to the bystander.
    let mut stream = stage.open();
    send(
        &mut stream,
        "10 0C 00 04 4D 51 54 54 04 00 00 3C 00 00  30 05 00 02 62 79 7A",
    );
    assert_eq!(read_to_end(&mut stream), hex("20 02 00 02"));
    stage.check_bystander();
    stage.check(CONNECT_V311, "E0 00 30 05 00 02 62 79 7A", "");
    stage.check(CONNECT_V5, "E0 00 30 06 00 02 62 79 00 7A", "");
    drop(stream);
    stage.stop();
}

#[test]
fn p3_every_refusal_closes() {
    // v5 MQTT-3.1.4-1, v5 MQTT-3.2.2-7; v3.1.1 MQTT-3.2.2-5, v3.1.1 MQTT-3.1.2-2
    let stage = Stage::new();
    for (connect, answer) in [
        // 3.1.1: empty id without clean session; unknown level; reserved flag.
        ("10 0C 00 04 4D 51 54 54 04 00 00 3C 00 00", "20 02 00 02"),
        (
            "10 0D 00 04 4D 51 54 54 03 02 00 3C 00 01 61",
            "20 02 00 01",
        ),
        ("10 0D 00 04 4D 51 54 54 04 03 00 3C 00 01 61", ""),
        // 5.0: unknown level; reserved flag; Receive Maximum 0; unknown method.
        (
            "10 0E 00 04 4D 51 54 54 06 02 00 3C 00 00 01 61",
            "20 03 00 84 00",
        ),
        (
            "10 0E 00 04 4D 51 54 54 05 03 00 3C 00 00 01 61",
            "20 03 00 81 00",
        ),
        (
            "10 11 00 04 4D 51 54 54 05 02 00 3C 03 21 00 00 00 01 61",
            "20 03 00 82 00",
        ),
        (
            "10 12 00 04 4D 51 54 54 05 02 00 3C 04 15 00 01 58 00 01 61",
            "20 03 00 8C 00",
        ),
        // Another protocol altogether.
        ("47 45 54 20 2F 20 48 54 54 50 2F 31 2E 31 0D 0A 0D 0A", ""),
    ] {
        let mut stream = stage.open();
        send(&mut stream, connect);
        assert_eq!(read_to_end(&mut stream), hex(answer), "{connect}");
    }
    stage.end(());
}

#[test]
fn p2_everything_at_once_behind_connect() {
    let stage = Stage::new();
    let mut stream = stage.open();
    // CONNECT, SUBSCRIBE, PUBLISH at QoS 0 and 1, PINGREQ, in one segment.
    let all = format!(
        "{CONNECT_V311} 82 06 00 01 00 01 74 00 30 04 00 01 74 61 32 06 00 01 75 00 02 62 C0 00"
    );
    send(&mut stream, &all);
    expect(&mut stream, CONNACK_V311);
    let mut rest = vec![0; 5 + 6 + 4 + 2];
    stream.read_exact(&mut rest).expect("answers");
    // The message may come before or behind the acknowledgements.
    for part in [
        "90 03 00 01 00",
        "30 04 00 01 74 61",
        "40 02 00 02",
        "D0 00",
    ] {
        let part = hex(part);
        let found = rest.windows(part.len()).any(|bytes| bytes == part);
        assert!(found, "{part:02X?} in {rest:02X?}");
    }
    stage.end(stream);
}

#[test]
fn p2_any_packets_in_any_order() {
    /// What a client may send, with few enough identifiers that they meet.
    const PACKETS: [&str; 16] = [
        "30 04 00 01 74 78",
        "32 06 00 01 74 00 01 78",
        "34 06 00 01 74 00 01 78",
        "3C 06 00 01 74 00 01 78",
        "34 06 00 01 74 00 02 78",
        "40 02 00 01",
        "50 02 00 01",
        "50 02 00 02",
        "62 02 00 01",
        "62 02 00 02",
        "70 02 00 01",
        "82 06 00 01 00 01 74 02",
        "82 06 00 01 00 01 23 01",
        "A2 05 00 02 00 01 74",
        "C0 00",
        "E0 00",
    ];
    let mut stage = Stage::new();
    // Not random enough for anything else; the same each time.
    let mut state: usize = 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % PACKETS.len()
    };
    for round in 0..300 {
        let mut stream = stage.client(CONNECT_V311);
        let many: String = (0..20).map(|_| PACKETS[next()]).collect();
        send(&mut stream, &many);
        stream.shutdown(Shutdown::Write).expect("open");
        // It ends, one way or the other.
        let mut got = Vec::new();
        match stream.read_to_end(&mut got) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("round {round}: {error}, after {many}"),
        }
        if round % 10 == 0 {
            stage.check_bystander();
        }
    }
    stage.alone();
    assert_eq!(stage.subscriptions(), 0);
    assert_eq!(stage.metrics().sessions, 1);
    stage.end(());
}
