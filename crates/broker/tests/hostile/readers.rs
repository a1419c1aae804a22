//! R3: readers that are slow, silent or absent.

use std::{io::Write as _, time::Duration};

use mqttstack_broker::limits::Limits;

use super::stage::*;

#[test]
fn r3_a_reader_that_does_not_read() {
    let limits = Limits {
        queue_messages_max: 100,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    let mut slow = stage.client(CONNECT_V311);
    exchange(&mut slow, "82 06 00 01 00 01 74 00", "90 03 00 01 00");
    // 64 MB towards a client that takes none of it.
    let mut publisher = stage.client(&named(CONNECT_V311, "pub"));
    let mut packet = hex("30 83 80 04 00 01 74");
    packet.extend([b'x'; 65_536]);
    for _ in 0..1_000 {
        publisher.write_all(&packet).expect("written");
    }
    exchange(&mut publisher, "C0 00", "D0 00");
    stage.end((slow, publisher));
}

#[test]
fn r3_a_message_larger_than_the_queue_of_an_absent_subscriber() {
    let limits = Limits {
        queue_bytes_max: 100,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    let mut client = stage.client(LASTING_V5);
    exchange(
        &mut client,
        "82 07 00 01 00 00 01 74 01",
        "90 04 00 01 00 01",
    );
    send(&mut client, "E0 00");
    assert_eq!(read_to_end(&mut client), []);
    let mut publisher = stage.client(&named(CONNECT_V311, "pub"));
    exchange(&mut publisher, "32 06 00 01 74 00 01 31", "40 02 00 01");
    let large = format!("32 E9 07 00 01 74 00 02 {}", "78 ".repeat(996));
    exchange(&mut publisher, &large, "40 02 00 02");
    exchange(&mut publisher, "32 06 00 01 74 00 03 32", "40 02 00 03");
    let mut client = stage.open();
    exchange(
        &mut client,
        LASTING_V5,
        &format!(
            "{} 32 07 00 01 74 00 01 00 31 32 07 00 01 74 00 02 00 32",
            RESUMED_V5
        ),
    );
    stage.end((client, publisher));
}

#[test]
fn r3_a_client_that_reads_but_does_not_acknowledge() {
    let limits = Limits {
        inflight_bytes_max: 2_500,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    let mut client = stage.client(CONNECT_V311);
    exchange(&mut client, "82 06 00 01 00 01 74 01", "90 03 00 01 01");
    let mut publisher = stage.client(&named(CONNECT_V311, "pub"));
    // Messages of a thousand bytes: two are in flight, whatever the client reads.
    let message = |id: u8| format!("32 EC 07 00 01 74 00 {id:02X} {}", "78 ".repeat(999));
    for n in 1..=5 {
        exchange(&mut publisher, &message(n), &format!("40 02 00 {n:02X}"));
    }
    let (one, two, three) = (message(1), message(2), message(3));
    exchange(&mut client, "C0 00", &format!("{one} {two} D0 00"));
    exchange(&mut client, "40 02 00 01 C0 00", &format!("D0 00 {three}"));
    exchange(&mut client, "C0 00", "D0 00");
    stage.end((client, publisher));
}

#[test]
fn r3_expired_messages_of_an_absent_subscriber() {
    // v5 MQTT-3.3.2-5
    let limits = Limits {
        queue_messages_max: 3,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    let mut client = stage.client(LASTING_V5);
    exchange(
        &mut client,
        "82 07 00 01 00 00 01 74 01",
        "90 04 00 01 00 01",
    );
    send(&mut client, "E0 00");
    assert_eq!(read_to_end(&mut client), []);
    let mut publisher = stage.client(&named(CONNECT_V5, "pub"));
    exchange(&mut publisher, "32 07 00 01 74 00 01 00 31", "40 02 00 01");
    // Two with a Message Expiry Interval of a second.
    for _ in 0..2 {
        let publish = "32 0C 00 01 74 00 02 05 02 00 00 00 01 78";
        exchange(&mut publisher, publish, "40 02 00 02");
    }
    std::thread::sleep(Duration::from_millis(1_100));
    exchange(&mut publisher, "32 07 00 01 74 00 03 00 32", "40 02 00 03");
    let mut client = stage.open();
    exchange(
        &mut client,
        LASTING_V5,
        &format!(
            "{} 32 07 00 01 74 00 01 00 31 32 07 00 01 74 00 02 00 32",
            RESUMED_V5
        ),
    );
    stage.end((client, publisher));
}

#[test]
fn r3_a_qos_2_message_that_the_client_no_longer_takes() {
    // v5 MQTT-3.1.2-25, v5 MQTT-4.3.3-6
    let stage = Stage::new();
    let mut client = stage.client(LASTING_V5);
    exchange(
        &mut client,
        "82 07 00 01 00 00 01 74 02",
        "90 04 00 01 00 02",
    );
    let publish = "34 12 00 01 74 00 01 00 78 78 78 78 78 78 78 78 78 78 78 78";
    exchange(&mut client, publish, &format!("50 02 00 01 {publish}"));
    drop(client);
    // The same client with a Maximum Packet Size of 16: the exchange ends without the message.
    let mut client = stage.open();
    exchange(
        &mut client,
        "10 1A 00 04 4D 51 54 54 05 00 00 00 0A 11 00 00 00 64 27 00 00 00 10 00 03 62 61 64",
        &format!("{} 62 02 00 01", RESUMED_V5),
    );
    exchange(&mut client, "70 02 00 01 C0 00", "D0 00");
    stage.end(client);
}
