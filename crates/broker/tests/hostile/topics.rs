//! T: texts that are none, topics that look special, characters that mean something elsewhere.

use super::stage::*;

#[test]
fn t1_text_that_is_not_utf8_reaches_nobody() {
    // v5 MQTT-1.5.4-1, v5 MQTT-1.5.4-2; v3.1.1 MQTT-1.5.3-1, v3.1.1 MQTT-1.5.3-2
    let mut stage = Stage::new();
    for text in ["C0 80", "ED A0", "61 00", "61 FF"] {
        stage.check_all(
            &format!("31 06 00 02 {text} 00 78"),
            &format!("31 05 00 02 {text} 78"),
            "81",
        );
    }
    assert_eq!(stage.retained(), 0);
    stage.stop();
}

#[test]
fn t2_topics_that_look_special() {
    // v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2, v5 MQTT-3.3.2-2; v3.1.1 MQTT-3.3.2-2
    let mut stage = Stage::new();
    for filter in [
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//t",
        "$share/+/t",
    ] {
        let bytes: String = filter.bytes().map(|byte| format!("{byte:02X}")).collect();
        let length = filter.len();
        stage.check(
            CONNECT_V5,
            &format!("82 {:02X} 00 01 00 00 {length:02X} {bytes} 00", length + 6),
            "E0 01 8F",
        );
        // To older clients it is an ordinary filter.
        let mut stream = stage.client(CONNECT_V311);
        exchange(
            &mut stream,
            &format!("82 {:02X} 00 01 00 {length:02X} {bytes} 00", length + 5),
            "90 03 00 01 00",
        );
    }
    // A wildcard in a topic name.
    stage.check_all("30 04 00 01 23 00", "30 03 00 01 2B", "90");
    // "$" alone, and "$SYS": well-formed; the second is the server's.
    let mut stream = stage.client(CONNECT_V5);
    exchange(&mut stream, "32 06 00 01 24 00 01 00", "40 03 00 01 10");
    exchange(
        &mut stream,
        "32 09 00 04 24 53 59 53 00 01 00",
        "40 03 00 01 87",
    );
    stage.end(stream);
}

#[test]
fn t1_text_that_is_not_utf8_in_any_field() {
    // v5 MQTT-1.5.4-1, v5 MQTT-1.5.7-1; v3.1.1 MQTT-1.5.3-1
    let mut stage = Stage::new();
    // An overlong NUL, a surrogate, a byte that begins nothing, one that is not there.
    for bad in [
        &b"\xC0\x80"[..],
        b"\xED\xA0\x80",
        b"\xFF",
        b"a\xE2\x82",
        b"a\0",
    ] {
        let bad = text(bad);
        let good = text("x");
        // Client Identifier, will topic, user name.
        for at in 0..3 {
            let field = |number| if number == at { &bad } else { &good };
            let (id, topic, user) = (field(0), field(1), field(2));
            for (level, properties, answer) in [(4, &[][..], ""), (5, &[0], "20 03 00 81 00")] {
                let head = [&text("MQTT")[..], &[level, 0x86, 0, 60], properties].concat();
                let parts = [&head[..], id, properties, topic, &good, user];
                let mut stream = stage.open();
                send_bytes(&mut stream, &packet(0x10, &parts));
                assert_eq!(read_to_end(&mut stream), hex(answer), "{bad:02X?} at {at}");
            }
        }
        // Response Topic, Content Type, User Property: name, value.
        for property in [
            [&[0x08], &bad[..]].concat(),
            [&[0x03], &bad[..]].concat(),
            [&[0x26], &bad[..], &good].concat(),
            [&[0x26], &good[..], &bad].concat(),
        ] {
            let publish = packet(0x31, &[&good, &integer(property.len()), &property, b"y"]);
            stage.check(CONNECT_V5, &shown(&publish), "E0 01 81");
        }
        let subscribe = packet(0x82, &[&[0, 1], &bad, &[0]]);
        stage.check(CONNECT_V311, &shown(&subscribe), "");
        let unsubscribe = packet(0xA2, &[&[0, 1], &bad]);
        stage.check(CONNECT_V311, &shown(&unsubscribe), "");
    }
    assert_eq!(stage.retained(), 0);
    stage.end(());
}

#[test]
fn t2_wills_to_topics_that_are_the_servers() {
    // X311-4.7.2-a
    let stage = Stage::new();
    let mut watcher = stage.client(&named(CONNECT_V311, "sub"));
    // "#", which matches nothing that begins with "$", and "$CONTROL/#".
    let filters = [text("#"), vec![0], text("$CONTROL/#"), vec![0]].concat();
    send_bytes(&mut watcher, &packet(0x82, &[&[0, 1], &filters]));
    expect(&mut watcher, "90 04 00 01 00 00");
    let with_will = |topic: &str| {
        let head = [&text("MQTT")[..], &[5, 0x26, 0, 60, 0], &text("bad"), &[0]].concat();
        packet(0x10, &[&head, &text(topic), &text("x")])
    };
    for topic in ["$SYS", "$SYS/broker/version"] {
        let mut stream = stage.open();
        send_bytes(&mut stream, &with_will(topic));
        assert_eq!(read_to_end(&mut stream), hex("20 03 00 87 00"), "{topic}");
    }
    for topic in ["a/+", "#", "a#", ""] {
        let mut stream = stage.open();
        send_bytes(&mut stream, &with_will(topic));
        let answer = read_to_end(&mut stream);
        assert_eq!(answer.get(..3), Some(&[0x20, 3, 0][..]), "{topic}");
        assert!(answer.get(3).is_some_and(|code| *code >= 0x80), "{topic}");
    }
    // "$CONTROL" means nothing here: it is a topic like any other that begins with "$".
    let mut stream = stage.open();
    send_bytes(&mut stream, &with_will("$CONTROL/x"));
    expect(&mut stream, CONNACK_V5);
    drop(stream);
    expect(
        &mut watcher,
        &shown(&packet(0x30, &[&text("$CONTROL/x"), b"x"])),
    );
    stage.end(watcher);
}

#[test]
fn t3_characters_that_mean_something_elsewhere() {
    let stage = Stage::new();
    // Each is itself in a filter; as a pattern the last would run for ever.
    let topics = [
        "a.c", "a*", "(a)", "[a-z]", "^a$", "a|b", "a\\d", "%c", "%u/x", "a?", "{a,b}", "'; --",
        "(a*)*b",
    ];
    let mut stream = stage.client(CONNECT_V311);
    for topic in topics {
        let subscribe = packet(0x82, &[&[0, 1], &text(topic), &[0]]);
        send_bytes(&mut stream, &subscribe);
        expect(&mut stream, "90 03 00 01 00");
    }
    // What they would match if they were patterns.
    for topic in [
        "abc",
        "aaa",
        "a",
        "b",
        "a1",
        "bad",
        "x",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
    ] {
        send_bytes(&mut stream, &packet(0x30, &[&text(topic), b"no"]));
    }
    for topic in topics {
        let publish = packet(0x30, &[&text(topic), b"yes"]);
        send_bytes(&mut stream, &publish);
        expect(&mut stream, &shown(&publish));
    }
    // Client Identifiers that look like filters, paths or patterns name one session each.
    for id in ["#", "+", "a/#", "../x", ".*", "%c", "$SYS", "[[[["] {
        let connect = |id: &str| packet(0x10, &[&text("MQTT"), &[4, 0, 0, 60], &text(id)]);
        let mut other = stage.open();
        send_bytes(&mut other, &connect(id));
        expect(&mut other, CONNACK_V311);
        send(&mut other, "E0 00");
        read_to_end(&mut other);
        let mut again = stage.open();
        send_bytes(&mut again, &connect(id));
        expect(&mut again, "20 02 01 00");
    }
    exchange(&mut stream, "C0 00", "D0 00");
    stage.end(stream);
}

#[test]
fn t1_payloads_that_claim_to_be_text_are_passed_on_as_they_are() {
    // v5 U-11, v5 U-12: whether they are is left to those who read them.
    let stage = Stage::new();
    let mut reader = stage.client(&named(CONNECT_V5, "sub"));
    exchange(
        &mut reader,
        "82 07 00 01 00 00 01 74 00",
        "90 04 00 01 00 00",
    );
    // Payload Format Indicator 1, and a payload that is not UTF-8.
    let publish = "30 07 00 01 74 02 01 01 FF";
    let mut stream = stage.client(CONNECT_V5);
    send(&mut stream, publish);
    expect(&mut reader, publish);
    let head = hex("00 04 4D 51 54 54 05 06 00 3C 00 00 03 65 6E 64");
    let will = hex("02 01 01 00 01 74 00 01 FF");
    let mut last = stage.open();
    send_bytes(&mut last, &packet(0x10, &[&head, &will]));
    expect(&mut last, CONNACK_V5);
    drop(last);
    expect(&mut reader, publish);
    stage.end((reader, stream));
}
