//! M: what happens at the same time, and what is kept when a connection is lost in between.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use mqttstack_broker::limits::Limits;

use super::{common, stage::*};

#[test]
fn m1_two_clients_of_one_name_that_take_no_connack() {
    // v5 MQTT-3.1.2-24
    let stage = Stage::with(Limits::default(), 2);
    // Session Expiry Interval 60, Maximum Packet Size 5: the CONNACK of success has 11 bytes.
    let connect =
        "10 1A 00 04 4D 51 54 54 05 00 00 3C 0A 11 00 00 00 3C 27 00 00 00 05 00 03 62 61 64";
    for _ in 0..8 {
        let mut stream = stage.open();
        send(&mut stream, connect);
        assert_eq!(read_to_end(&mut stream), hex("20 03 00 95 00"));
    }
    stage.end(());
}

/// PUBLISH at QoS 0 to "t", so often.
fn flood(count: usize) -> Vec<u8> {
    hex("30 04 00 01 74 78").repeat(count)
}

#[test]
fn m1_many_clients_of_one_name_at_once() {
    let mut stage = Stage::with(Limits::default(), 3);
    let address = stage.address;
    let pushers: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                for round in 0..60 {
                    let mut stream = common::open(address);
                    // Each is thrown out by the next, at any point of what it does.
                    let _ = stream.write_all(&hex(LASTING_V5));
                    let _ = stream.write_all(&hex("82 07 00 01 00 00 01 74 02"));
                    let _ = stream.write_all(&flood(round));
                    let _ = stream
                        .write_all(&hex("A2 06 00 02 00 00 01 74 34 07 00 01 74 00 09 00 78"));
                    if round % 3 > 0 {
                        let _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
                        let _ = stream.read(&mut [0; 1_000]);
                    }
                }
            })
        })
        .collect();
    for pusher in pushers {
        while !pusher.is_finished() {
            stage.check_bystander();
        }
        pusher.join().expect("no assertion");
    }
    // One session is left, and it works.
    let mut last = stage.open();
    exchange(&mut last, LASTING_V5, RESUMED_V5);
    stage.check_bystander();
    assert_eq!(stage.metrics().sessions, 2);
    exchange(&mut last, "A2 06 00 01 00 00 01 74", "");
    stage.end(last);
}

#[test]
fn m1_churn_and_floods_until_the_broker_stops() {
    for _ in 0..3 {
        let stage = Stage::with(Limits::default(), 3);
        let address = stage.address;
        let pushers: Vec<_> = (0..6)
            .map(|number| {
                let connect = hex(&named(CONNECT_V311, &format!("c{:02}", number % 4)));
                thread::spawn(move || {
                    // Until nobody answers any more.
                    while let Ok(mut stream) = TcpStream::connect(address) {
                        let _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
                        let _ = stream.write_all(&connect);
                        for _ in 0..20 {
                            let churn = hex("82 06 00 01 00 01 74 01 A2 05 00 02 00 01 74");
                            if stream.write_all(&churn).is_err() {
                                break;
                            }
                            let _ = stream.write_all(&flood(50));
                            let _ = stream.read(&mut [0; 10_000]);
                        }
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        stage.stop();
        for pusher in pushers {
            pusher.join().expect("no assertion");
        }
    }
}

#[test]
fn m1_a_will_whose_delay_outlives_its_session() {
    // v5 MQTT-3.1.3-9
    let stage = Stage::new();
    let mut watcher = stage.client(&named(CONNECT_V311, "sub"));
    exchange(&mut watcher, "82 06 00 01 00 01 77 00", "90 03 00 01 00");
    // Session Expiry Interval 1, Will Delay Interval 3,600.
    let head = "00 04 4D 51 54 54 05 06 00 3C 05 11 00 00 00 01 00 03 62 61 64";
    let will = "05 18 00 00 0E 10 00 01 77 00 01 78";
    let connect = packet(0x10, &[&hex(head), &hex(will)]);
    for _ in 0..2 {
        let mut stream = stage.open();
        send_bytes(&mut stream, &connect);
        expect(&mut stream, CONNACK_V5);
        drop(stream);
        expect(&mut watcher, "30 04 00 01 77 78");
    }
    assert_eq!(stage.metrics().sessions, 2);
    stage.end(watcher);
}

#[test]
fn m2_a_qos_2_message_whose_connection_is_lost_before_the_answer() {
    // v5 MQTT-4.3.3-10, v5 MQTT-4.4.0-1; v3.1.1 MQTT-4.3.3-2
    let stage = Stage::with(Limits::default(), 3);
    let mut watcher = stage.client(&named(CONNECT_V311, "sub"));
    exchange(&mut watcher, "82 06 00 01 00 01 74 00", "90 03 00 01 00");
    let mut stream = stage.client(LASTING_V5);
    for round in 0..30 {
        let publish = format!("34 07 00 01 74 00 01 00 {round:02X}");
        send(&mut stream, &publish);
        // With the answer unread, half the time before the message can have been read.
        if round % 2 == 0 {
            expect(&mut watcher, &format!("30 04 00 01 74 {round:02X}"));
        }
        drop(stream);
        stream = stage.open();
        exchange(&mut stream, LASTING_V5, RESUMED_V5);
        exchange(&mut stream, &publish.replacen("34", "3C", 1), "50 02 00 01");
        if round % 2 == 1 {
            expect(&mut watcher, &format!("30 04 00 01 74 {round:02X}"));
        }
        exchange(&mut stream, "62 02 00 01", "70 02 00 01");
        // It came once, and not again.
        exchange(&mut watcher, "C0 00", "D0 00");
    }
    stage.end((stream, watcher));
}
