//! F: lengths that lie, bytes that come one by one, fields that are not there.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
};

use mqttstack_broker::limits::Limits;

use super::stage::*;

#[test]
fn f1_a_claimed_length_is_not_believed() {
    let stage = Stage::new();
    let waiting: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = stage.open();
            exchange(
                &mut stream,
                &CONNECT_V311.replace("62 61 64", "61 61 61"),
                CONNACK_V311,
            );
            send(&mut stream, "30 FF FF FF 7F 00 01 74");
            stream
        })
        .collect();
    // Before CONNECT: too large for one.
    let mut early = stage.open();
    send(&mut early, "10 FF FF FF 7F");
    assert_eq!(read_to_end(&mut early), []);
    stage.end(waiting);
}

#[test]
fn f2_lengths_that_run_over_their_packet() {
    // v5 MQTT-4.13.1-1; v3.1.1 MQTT-4.8.0-1; X311-4.8-a
    let mut stage = Stage::new();
    // PUBLISH whose topic is longer than the packet.
    stage.check_all("30 04 00 09 61 62", "30 04 00 09 61 62", "81");
    // SUBSCRIBE whose filter is, and one without its options.
    stage.check_all(
        "82 07 00 01 00 FF FF 61 00",
        "82 06 00 01 FF FF 61 00",
        "81",
    );
    stage.check_all("82 06 00 01 00 00 01 61", "82 05 00 01 00 01 61", "81");
    // UNSUBSCRIBE, PUBACK and DISCONNECT that are cut short or too long.
    stage.check_all("A2 05 00 01 00 00 05", "A2 04 00 01 00 05", "81");
    stage.check_all("40 01 00", "40 01 00", "81");
    stage.check_all("E0 03 00 00 00", "E0 01 00", "81");
    // A property block longer than the packet.
    stage.check(CONNECT_V5, "30 05 00 01 61 7F 00", "E0 01 81");
    stage.stop();
}

#[test]
fn f3_variable_byte_integers_of_five_bytes() {
    let mut stage = Stage::new();
    stage.check_all("30 80 80 80 80 01", "30 80 80 80 80 01", "81");
    stage.check_all("30 FF FF FF FF 7F", "30 FF FF FF FF 7F", "81");
    // Longer than it need be: 5.0 forbids it.
    stage.check(CONNECT_V5, "C0 80 00", "E0 01 81");
    stage.stop();
}

#[test]
fn f4_one_byte_a_segment() {
    let stage = Stage::new();
    let mut stream = stage.open();
    for byte in hex(CONNECT_V5) {
        stream.write_all(&[byte]).expect("written");
    }
    exchange(&mut stream, "", CONNACK_V5);
    for byte in hex("32 07 00 01 61 00 01 00 78") {
        stream.write_all(&[byte]).expect("written");
    }
    exchange(&mut stream, "", "40 03 00 01 10");
    stage.end(stream);
}

#[test]
fn f5_fields_that_are_empty_missing_or_twice() {
    // v5 U-19, v5 U-22, v5 U-26, v5 U-03; v3.1.1 MQTT-2.3.1-1
    let mut stage = Stage::new();
    // An empty topic.
    stage.check(CONNECT_V5, "30 03 00 00 00", "E0 01 82");
    stage.check(CONNECT_V311, "30 02 00 00", "");
    // SUBSCRIBE and UNSUBSCRIBE without filters.
    stage.check_all("82 03 00 01 00", "82 02 00 01", "82");
    stage.check_all("A2 03 00 01 00", "A2 02 00 01", "82");
    // Subscription Identifier 0, and two of them.
    stage.check(CONNECT_V5, "82 09 00 01 02 0B 00 00 01 61 00", "E0 01 82");
    stage.check(
        CONNECT_V5,
        "82 0B 00 01 04 0B 01 0B 02 00 01 61 00",
        "E0 01 82",
    );
    // An empty payload is a message like any other.
    let mut stream = stage.client(CONNECT_V311);
    exchange(&mut stream, "32 05 00 01 61 00 01", "40 02 00 01");
    stage.end(stream);
}

/// What a client may send, with as many lengths in it as there can be: the first byte and the rest.
fn samples(is_v5: bool) -> Vec<(u8, Vec<u8>)> {
    let both = [
        // PUBLISH at QoS 1, to "ab", "xy".
        (
            0x32,
            "00 02 61 62 00 01",
            "0C 01 01 26 00 01 6B 00 01 76 23 00 01",
            "78 79",
        ),
        // SUBSCRIBE to "ab" and "c".
        (
            0x82,
            "00 02",
            "09 0B 05 26 00 01 6B 00 01 76",
            "00 02 61 62 00 00 01 63 01",
        ),
        (
            0xA2,
            "00 03",
            "07 26 00 01 6B 00 01 76",
            "00 02 61 62 00 01 63",
        ),
        (0x40, "00 04", "00 07 26 00 01 6B 00 01 76", ""),
        (0x50, "00 05", "80 04 1F 00 01 72", ""),
        (0x62, "00 06", "92 04 1F 00 01 72", ""),
        (0x70, "00 07", "92 04 1F 00 01 72", ""),
        (0xC0, "", "", ""),
    ];
    let mut samples: Vec<_> = both
        .iter()
        .map(|&(first, before, properties, after)| {
            let properties = if is_v5 { properties } else { "" };
            (first, hex(&format!("{before} {properties} {after}")))
        })
        .collect();
    if is_v5 {
        // SUBSCRIBE's properties have an identifier of one byte; DISCONNECT, and AUTH without a method.
        samples.push((0xE0, hex("04 09 1F 00 01 72 11 00 00 00 05")));
        samples.push((0xF0, hex("18 0A 15 00 01 58 16 00 01 59 1F 00")));
    } else {
        samples.push((0xE0, Vec::new()));
    }
    samples
}

/// CONNECT with everything that it can have.
fn full_connect(is_v5: bool) -> Vec<u8> {
    let [level, properties, will_properties] = if is_v5 {
        [
            "05",
            "1B 11 00 00 00 05 21 00 0A 27 00 00 FF FF 22 00 05 19 01 17 01 26 00 01 6B 00 01 76",
            "18 18 00 00 00 01 01 01 02 00 00 00 09 03 00 01 63 08 00 01 72 09 00 01 64",
        ]
    } else {
        ["04", "", ""]
    };
    hex(&format!(
        "00 04 4D 51 54 54 {level} EE 00 3C {properties} 00 03 62 61 64 {will_properties} \
         00 01 77 00 01 6D 00 01 75 00 01 70"
    ))
}

/// The bytes cut at each place, and with each of them changed so that it lies as a length might.
fn spoilt(body: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..body.len()).map(|at| body[..at].to_vec()).collect();
    for at in 0..body.len() {
        let mut longer = body.to_vec();
        longer[at] = longer[at].wrapping_add(1);
        all.push(longer);
        for value in [0x00, 0xFF] {
            let mut changed = body.to_vec();
            changed[at] = value;
            if let Some(next) = changed.get_mut(at + 1) {
                *next = value;
            }
            all.push(changed);
        }
    }
    all
}

/// Reads until the answer to a PINGREQ, or the end; returns whether the connection goes on.
fn goes_on(stream: &mut TcpStream) -> bool {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
            Err(error) => panic!("neither answered nor closed: {error}, after {got:02X?}"),
        }
        if got.ends_with(&[0xD0, 0]) {
            return true;
        }
    }
}

#[test]
fn f2_every_cut_and_every_lie_in_every_packet() {
    let mut stage = Stage::new();
    for connect in [CONNECT_V311, CONNECT_V5] {
        let is_v5 = connect == CONNECT_V5;
        let mut stream = stage.client(connect);
        for (first, body) in samples(is_v5) {
            // Whole, it is understood, but for AUTH, for which there is no method.
            send_bytes(&mut stream, &packet(first, &[&body]));
            // A PINGREQ has its answer already: a second one could stay unread, and be taken for
            // the answer to what follows.
            if first != 0xC0 {
                send(&mut stream, "C0 00");
            }
            let is_end = matches!(first >> 4, 0xE | 0xF);
            assert_eq!(goes_on(&mut stream), !is_end, "{first:02X} {body:02X?}");
            if is_end {
                stream = stage.client(connect);
            }
            for spoilt in spoilt(&body) {
                send_bytes(&mut stream, &packet(first, &[&spoilt]));
                // The broker may have closed already.
                let _ = stream.write_all(&[0xC0, 0]);
                if !goes_on(&mut stream) {
                    stream = stage.client(connect);
                }
            }
        }
        stage.check_bystander();
        let body = full_connect(is_v5);
        let mut stream = stage.open();
        send_bytes(&mut stream, &packet(0x10, &[&body]));
        send(&mut stream, "C0 00");
        assert!(goes_on(&mut stream), "the whole CONNECT");
        for spoilt in spoilt(&body) {
            let mut stream = stage.open();
            send_bytes(&mut stream, &packet(0x10, &[&spoilt]));
            let _ = stream.write_all(&[0xC0, 0]);
            goes_on(&mut stream);
        }
        stage.check_bystander();
    }
    stage.end(());
}

#[test]
fn f3_a_length_in_too_many_bytes_never_moves_the_next_packet() {
    let mut stage = Stage::new();
    // 3.x does not forbid it, and leaves it to the receiver: it is refused there, too.
    stage.check_all("C0 80 80 80 00 C0 00", "C0 80 80 80 00 C0 00", "81");
    // Whatever arrives when: a PUBLISH in the bytes behind the fourth would be one to the bystander.
    for connect in [CONNECT_V311, CONNECT_V5] {
        let bad = "30 80 80 80 80 30 05 00 02 62 79 7A";
        let mut slowly = stage.client(connect);
        for byte in hex(bad) {
            // The broker may have closed already.
            let _ = slowly.write_all(&[byte]);
        }
        let told = if connect == CONNECT_V5 {
            "E0 01 81"
        } else {
            ""
        };
        let got = read_to_end(&mut slowly);
        assert!(got == hex(told) || got.is_empty(), "{got:02X?}");
    }
    stage.end(());
}

#[test]
fn f4_large_parts_in_many_segments() {
    let stage = Stage::new();
    let mut stream = stage.open();
    // CONNECT with a password of 60,000 bytes.
    let password = text([b'p'; 60_000]);
    let head = hex("00 04 4D 51 54 54 04 C2 00 3C 00 03 62 61 64 00 01 75");
    for segment in packet(0x10, &[&head, &password]).chunks(100) {
        send_bytes(&mut stream, segment);
    }
    expect(&mut stream, CONNACK_V311);
    // PUBLISH with 900 User Properties.
    let mut stream = stage.client(&named(CONNECT_V5, "abc"));
    let property = [hex("26"), text([b'k'; 30]), text([b'v'; 30])].concat();
    let properties = property.repeat(900);
    let len = integer(properties.len());
    let publish = packet(0x32, &[&text("a"), &[0, 1], &len, &properties, b"x"]);
    for segment in publish.chunks(97) {
        send_bytes(&mut stream, segment);
    }
    expect(&mut stream, "40 03 00 01 10");
    stage.end(stream);
}

#[test]
fn f4_the_limit_is_that_of_a_packet_and_is_known_from_its_header() {
    // v5 MQTT-3.1.2-24, v5 U-13
    let limits = Limits {
        packet_size_max: 100,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    let mut stream = stage.open();
    let connack = "20 0E 00 00 0B 21 04 00 27 00 00 00 64 22 00 20";
    exchange(&mut stream, CONNECT_V5, connack);
    // Many in one segment, each as large as it may be.
    let publish = packet(0x32, &[&text("a"), &[0, 1, 0], &[b'x'; 92]]);
    assert_eq!(publish.len(), 100);
    send_bytes(&mut stream, &publish.repeat(50));
    expect(&mut stream, &"40 03 00 01 10 ".repeat(50));
    // One byte more: the header is enough.
    send(&mut stream, "32 63");
    assert_eq!(read_to_end(&mut stream), hex("E0 01 95"));
    stage.end(());
}

#[test]
fn f5_flags_that_promise_a_field_and_wills_of_nothing() {
    // v5 MQTT-3.1.2-9, v5 MQTT-3.1.2-16, v5 MQTT-3.1.2-18
    let stage = Stage::new();
    // User name, password, will: promised, not there.
    for flags in ["82", "C2", "06", "C6"] {
        let connect = format!("10 0F 00 04 4D 51 54 54 04 {flags} 00 3C 00 03 62 61 64");
        let mut stream = stage.open();
        send(&mut stream, &connect);
        assert_eq!(read_to_end(&mut stream), [], "{flags}");
        let connect = format!("10 10 00 04 4D 51 54 54 05 {flags} 00 3C 00 00 03 62 61 64");
        let mut stream = stage.open();
        send(&mut stream, &connect);
        assert_eq!(read_to_end(&mut stream), hex("20 03 00 81 00"), "{flags}");
    }
    // A will to "w" with no payload is published like any other.
    let mut watcher = stage.client(CONNECT_V311);
    exchange(&mut watcher, "82 06 00 01 00 01 77 00", "90 03 00 01 00");
    let with_will = "10 12 00 04 4D 51 54 54 04 06 00 3C 00 01 7A 00 01 77 00 00";
    drop(stage.client(with_will));
    expect(&mut watcher, "30 03 00 01 77");
    stage.end(watcher);
}

#[test]
fn f5_two_hundred_filters_get_two_hundred_answers() {
    // v5 MQTT-3.8.4-5; v3.1.1 MQTT-3.8.4-4
    let stage = Stage::new();
    let mut stream = stage.client(CONNECT_V311);
    let filters: Vec<u8> = (0..200)
        .flat_map(|n| [text(format!("{n:03}")), vec![0]].concat())
        .collect();
    send_bytes(&mut stream, &packet(0x82, &[&[0, 1], &filters]));
    expect(&mut stream, &format!("90 CA 01 00 01 {}", "00".repeat(200)));
    stage.end(stream);
}
