//! R1, R2, R4: what clients may make the broker hold, and for how long.

use std::{io::Write as _, time::Duration};

use mqttstack_broker::limits::{BrokerLimits, Limits};

use super::stage::*;

#[test]
fn r1_a_topic_of_very_many_levels() {
    let stage = Stage::new();
    let slashes = [b'/'; 65_000];
    let length = 65_000_u16.to_be_bytes();
    let mut stream = stage.client(CONNECT_V311);
    let packet = |first: &[u8], before: &[u8], after: &[u8]| {
        let size = before.len() + 2 + slashes.len() + after.len();
        let digits = [size & 0x7F | 0x80, (size >> 7) & 0x7F | 0x80, size >> 14];
        let digits = digits.map(|digit| u8::try_from(digit).expect("< 256"));
        [first, &digits, before, &length, &slashes, after].concat()
    };
    stream
        .write_all(&packet(&[0x82], &[0, 1], &[0]))
        .expect("written");
    exchange(&mut stream, "", "90 03 00 01 80");
    stream
        .write_all(&packet(&[0x33], &[], &[0, 2, b'x']))
        .expect("written");
    exchange(&mut stream, "", "40 02 00 02");
    stream
        .write_all(&packet(&[0xA2], &[0, 3], &[]))
        .expect("written");
    exchange(&mut stream, "", "B0 02 00 03");
    assert_eq!(stage.retained(), 0);
    assert_eq!(stage.subscriptions(), 0);
    stage.end(stream);
}

#[test]
fn r4_silence_before_connect() {
    // v5 U-04; X311-3.1.4-a
    let limits = Limits {
        connect_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    let mut silent = stage.open();
    let mut half = stage.open();
    send(&mut half, "10 0F 00 04");
    assert_eq!(read_to_end(&mut silent), []);
    assert_eq!(read_to_end(&mut half), []);
    stage.end(());
}

#[test]
fn r4_silence_after_connect() {
    // v5 MQTT-3.1.2-22; v3.1.1 MQTT-3.1.2-24
    let stage = Stage::new();
    for (connect, connack, told) in [
        (CONNECT_V5, CONNACK_V5, "E0 01 8D"),
        (CONNECT_V311, CONNACK_V311, ""),
    ] {
        let mut stream = stage.open();
        exchange(&mut stream, &connect.replace("00 3C", "00 01"), connack);
        assert_eq!(read_to_end(&mut stream), hex(told));
    }
    stage.end(());
}

#[test]
fn r1_a_will_of_very_many_levels() {
    let stage = Stage::new();
    let slashes = text([b'/'; 65_000]);
    for (level, properties, answer) in [(4, "", ""), (5, "00", "20 03 00 90 00")] {
        let properties = hex(properties);
        let head = [&text("MQTT")[..], &[level, 6, 0, 60], &properties].concat();
        let will = [&properties[..], &slashes, &text("x")].concat();
        let mut stream = stage.open();
        send_bytes(&mut stream, &packet(0x10, &[&head, &text("bad"), &will]));
        assert_eq!(read_to_end(&mut stream), hex(answer));
    }
    stage.end(());
}

#[test]
fn r2_qos_2_messages_that_are_never_released() {
    // v5 MQTT-3.3.4-7, v5 U-24
    let limits = Limits {
        receive_maximum: 10,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    let connack = "20 09 00 00 06 21 00 0A 22 00 20";
    let mut stream = stage.open();
    exchange(&mut stream, CONNECT_V5, connack);
    let publish = |id: u8| format!("34 07 00 01 74 00 {id:02X} 00 78");
    for id in 1..=10 {
        exchange(&mut stream, &publish(id), &format!("50 03 00 {id:02X} 10"));
    }
    // One of them once more is none more; one more is.
    exchange(&mut stream, &publish(3).replace("34", "3C"), "50 02 00 03");
    send(&mut stream, &publish(11));
    assert_eq!(read_to_end(&mut stream), hex("E0 01 93"));
    stage.end(());
}

#[test]
fn r2_the_same_identifier_over_and_over() {
    // v5 MQTT-4.3.3-10; v3.1.1 MQTT-4.3.3-2
    let stage = Stage::new();
    let mut watcher = stage.client(&named(CONNECT_V311, "sub"));
    exchange(&mut watcher, "82 06 00 01 00 01 74 00", "90 03 00 01 00");
    let mut stream = stage.client(CONNECT_V311);
    for _ in 0..1_000 {
        exchange(&mut stream, "3C 06 00 01 74 00 01 78", "50 02 00 01");
    }
    // It came once.
    exchange(&mut stream, "62 02 00 01", "70 02 00 01");
    exchange(&mut watcher, "C0 00", "30 04 00 01 74 78 D0 00");
    stage.end((stream, watcher));
}

#[test]
fn r2_user_properties_without_end() {
    let stage = Stage::new();
    let pair = hex("26 00 00 00 00");
    let publish = |count: usize| {
        let properties = pair.repeat(count);
        packet(
            0x32,
            &[&text("t"), &[0, 1], &integer(properties.len()), &properties],
        )
    };
    let mut stream = stage.client(CONNECT_V5);
    send_bytes(&mut stream, &publish(1_000));
    expect(&mut stream, "40 03 00 01 10");
    send_bytes(&mut stream, &publish(1_001));
    assert_eq!(read_to_end(&mut stream), hex("E0 01 97"));
    // In CONNECT, and in its will.
    let properties = pair.repeat(1_001);
    let many = [&integer(properties.len())[..], &properties].concat();
    for (own, wills) in [(&many[..], &[0][..]), (&[0], &many)] {
        let connect = packet(
            0x10,
            &[
                &text("MQTT"),
                &[5, 6, 0, 60],
                own,
                &text("bad"),
                wills,
                &text("w"),
                &text("x"),
            ],
        );
        let mut stream = stage.open();
        send_bytes(&mut stream, &connect);
        assert_eq!(read_to_end(&mut stream), hex("20 03 00 97 00"));
    }
    stage.end(());
}

#[test]
fn r2_more_subscriptions_than_a_session_may_have() {
    let limits = Limits {
        subscriptions_max: 3,
        shared_subscriptions_max: 1,
        filters_per_packet_max: 5,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    let mut old = stage.client(&named(CONNECT_V311, "old"));
    let mut new = stage.client(CONNECT_V5);
    // "a", "b", "a" again, "c", "d".
    let filters = "00 01 61 00 00 01 62 00 00 01 61 01 00 01 63 00 00 01 64 00";
    exchange(
        &mut old,
        &format!("82 16 00 01 {filters}"),
        "90 07 00 01 00 00 01 00 80",
    );
    exchange(
        &mut new,
        &format!("82 17 00 01 00 {filters}"),
        "90 08 00 01 00 00 00 01 00 97",
    );
    assert_eq!(stage.subscriptions(), 6);
    // One goes; of two that are shared the second is one too many.
    exchange(&mut new, "A2 06 00 02 00 00 01 61", "B0 04 00 02 00 00");
    exchange(&mut new, "A2 06 00 02 00 00 01 62", "B0 04 00 02 00 00");
    let shared = |group: char| [text(format!("$share/{group}/t")), vec![0]].concat();
    let subscribe = packet(0x82, &[&[0, 3, 0], &shared('g'), &shared('h')]);
    send_bytes(&mut new, &subscribe);
    expect(&mut new, "90 05 00 03 00 00 97");
    // Six filters in a packet.
    let subscribe = packet(0x82, &[&[0, 4, 0], &hex("00 01 7A 00").repeat(6)]);
    send_bytes(&mut new, &subscribe);
    assert_eq!(read_to_end(&mut new), hex("E0 01 97"));
    stage.end(old);
}

#[test]
fn r2_comings_and_goings_leave_nothing_behind() {
    let mut stage = Stage::with(Limits::default(), 2);
    let memory = stage.metrics().memory_bytes;
    for round in 0..300 {
        let connect = if round % 2 == 0 {
            CONNECT_V5
        } else {
            LASTING_V5
        };
        let mut stream = stage.client(connect);
        exchange(
            &mut stream,
            "82 07 00 01 00 00 01 74 02",
            "90 04 00 01 00 02",
        );
        // QoS 2 to itself, left unfinished; another that is retained, and removed again.
        send(
            &mut stream,
            "34 07 00 01 74 00 01 00 78 31 05 00 01 72 00 79 31 04 00 01 72 00",
        );
        exchange(&mut stream, "A2 06 00 02 00 00 01 74 C0 00", "50 02 00 01");
        // DISCONNECT with Session Expiry Interval 0, where there is one.
        let farewell = if round % 2 == 0 {
            "E0 00"
        } else {
            "E0 07 00 05 11 00 00 00 00"
        };
        send(&mut stream, farewell);
        read_to_end(&mut stream);
    }
    stage.alone();
    assert_eq!((stage.subscriptions(), stage.retained()), (0, 0));
    assert_eq!(stage.metrics().sessions, 1);
    // What a worker has not told the others yet.
    let steps = 2 * 64 * 1024;
    assert!(stage.metrics().memory_bytes <= memory + steps);
    stage.end(());
}

#[test]
fn r4_bytes_that_trickle() {
    // v5 U-04
    let limits = Limits {
        connect_timeout: Duration::from_millis(300),
        packet_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    // CONNECT of 200 bytes, and a message of 200, a byte at a time.
    for (begin, told) in [(None, ""), (Some(CONNECT_V5), "E0 01 97")] {
        let (mut stream, head) = match begin {
            None => (stage.open(), "10 C6 01 00 04 4D 51 54 54"),
            Some(connect) => (stage.client(connect), "30 C6 01 00 01 74 00"),
        };
        send(&mut stream, head);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(30));
            if stream.write_all(b"x").is_err() {
                break;
            }
        }
        // A byte that was on its way may have cost the answer.
        let got = read_to_end(&mut stream);
        assert!(got.is_empty() || got == hex(told), "{got:02X?}");
    }
    stage.end(());
}

#[test]
fn r4_a_keep_alive_of_hours_or_none() {
    // v5 MQTT-3.1.2-21, v5 MQTT-3.2.2-21
    let limits = Limits {
        keep_alive_max: 1,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    for keep_alive in ["00 00", "FF FF"] {
        let mut new = stage.open();
        exchange(
            &mut new,
            &CONNECT_V5.replace("00 3C", keep_alive),
            "20 0C 00 00 09 21 04 00 22 00 20 13 00 01",
        );
        let mut old = stage.client(&named(&CONNECT_V311.replace("00 3C", keep_alive), "old"));
        assert_eq!(read_to_end(&mut new), hex("E0 01 8D"));
        assert_eq!(read_to_end(&mut old), []);
    }
    stage.end(());
}

#[test]
fn r4_more_peers_that_say_nothing_than_there_is_room_for() {
    let broker_limits = BrokerLimits {
        pending_connections_max: 3,
        ..BrokerLimits::default()
    };
    let mut stage = Stage::of(Limits::default(), broker_limits, 1);
    // Those who have been accepted do not count.
    let accepted: Vec<_> = ["aaa", "bbb", "ccc", "ddd"]
        .map(|name| stage.client(&named(CONNECT_V311, name)))
        .into();
    let silent = [stage.open(), stage.open(), stage.open()];
    while stage.broker.directory().pending_count() < 3 {
        stage.check_bystander();
    }
    // One more, who speaks: the one that has waited longest gives way.
    let next = stage.client(CONNECT_V311);
    let [mut first, second, third] = silent;
    assert_eq!(read_to_end(&mut first), []);
    assert_eq!(stage.metrics().connections_displaced, 1);
    // The others are heard when they speak after all.
    for (mut peer, name) in [(second, "eee"), (third, "fff")] {
        exchange(&mut peer, &named(CONNECT_V311, name), CONNACK_V311);
    }
    stage.end((accepted, next));
}
