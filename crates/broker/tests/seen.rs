//! What a peer sees of the broker's rules: each over real sockets, packet for packet. The rules
//! themselves are tested at the core, in all their cases.

mod common;
#[path = "hostile/stage.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod stage;

use std::{io::Read as _, net::TcpStream, thread, time::Duration};

use mqttstack_broker::limits::Limits;

use stage::*;

/// A client, with what it says and hears in short.
struct Peer {
    stream: TcpStream,
    is_v5: bool,
}

/// What a client says when it connects, beside its name.
#[derive(Clone, Copy, Default)]
struct Greeting {
    is_v5: bool,
    /// Whether the session outlives the connection: 100 seconds, or for ever.
    lasts: bool,
    /// The flags, properties, topic and payload of its will.
    will: Option<(u8, &'static str, &'static str, &'static str)>,
}

const V311: Greeting = Greeting {
    is_v5: false,
    lasts: false,
    will: None,
};
const V5: Greeting = Greeting {
    is_v5: true,
    ..V311
};
const LASTING: Greeting = Greeting { lasts: true, ..V5 };

impl Greeting {
    fn packet(&self, name: &str) -> Vec<u8> {
        let clean = u8::from(!self.lasts) << 1;
        let flags = self.will.map_or(0, |(flags, ..)| flags | 4);
        let level = if self.is_v5 { 5 } else { 4 };
        let properties = match (self.is_v5, self.lasts) {
            (false, _) => hex(""),
            (true, false) => hex("00"),
            (true, true) => hex("05 11 00 00 00 64"),
        };
        let will = self
            .will
            .map_or_else(Vec::new, |(_, properties, topic, payload)| {
                let properties = if self.is_v5 {
                    hex(properties)
                } else {
                    Vec::new()
                };
                [properties, text(topic), text(payload)].concat()
            });
        let head = [&text("MQTT")[..], &[level, clean | flags, 0, 60]].concat();
        packet(0x10, &[&head, &properties, &text(name), &will])
    }
}

impl Peer {
    fn join(stage: &Stage, greeting: Greeting, name: &str) -> Self {
        let is_v5 = greeting.is_v5;
        let mut stream = stage.open();
        send_bytes(&mut stream, &greeting.packet(name));
        expect(&mut stream, if is_v5 { CONNACK_V5 } else { CONNACK_V311 });
        Self { stream, is_v5 }
    }

    /// Connects to the session that it has.
    fn rejoin(stage: &Stage, greeting: Greeting, name: &str) -> Self {
        let is_v5 = greeting.is_v5;
        let mut stream = stage.open();
        send_bytes(&mut stream, &greeting.packet(name));
        expect(&mut stream, if is_v5 { RESUMED_V5 } else { "20 02 01 00" });
        Self { stream, is_v5 }
    }

    fn properties(&self, properties: &str) -> Vec<u8> {
        match (self.is_v5, hex(properties)) {
            (false, _) => Vec::new(),
            (true, properties) => [integer(properties.len()), properties].concat(),
        }
    }

    #[track_caller]
    fn asks(&mut self, filters: &[(&str, u8)], properties: &str, codes: &str) {
        let list: Vec<u8> = filters
            .iter()
            .flat_map(|(filter, options)| [text(filter), vec![*options]].concat())
            .collect();
        let properties = self.properties(properties);
        send_bytes(
            &mut self.stream,
            &packet(0x82, &[&[0, 9], &properties, &list]),
        );
        let none: &[u8] = if self.is_v5 { &[0] } else { &[] };
        self.hears_bytes(&packet(0x90, &[&[0, 9], none, &hex(codes)]));
    }

    #[track_caller]
    fn subscribes(&mut self, filter: &str, options: u8) {
        let granted = shown(&[options & 3]);
        self.asks(&[(filter, options)], "", &granted);
    }

    #[track_caller]
    fn unsubscribes(&mut self, filters: &[&str], codes: &str) {
        let list: Vec<u8> = filters.iter().flat_map(text).collect();
        let properties = self.properties("");
        send_bytes(
            &mut self.stream,
            &packet(0xA2, &[&[0, 8], &properties, &list]),
        );
        let codes = if self.is_v5 {
            hex(&format!("00 {codes}"))
        } else {
            Vec::new()
        };
        self.hears_bytes(&packet(0xB0, &[&[0, 8], &codes]));
    }

    fn publish(
        &self,
        flags: u8,
        id: Option<u16>,
        topic: &str,
        properties: &str,
        payload: &str,
    ) -> Vec<u8> {
        let id = id.map_or_else(Vec::new, |id| id.to_be_bytes().to_vec());
        let properties = self.properties(properties);
        let parts = [&text(topic)[..], &id, &properties, payload.as_bytes()];
        packet(0x30 | flags, &parts)
    }

    /// Publishes at QoS 0; when it returns, the message has gone to all who get it.
    #[track_caller]
    fn says(&mut self, flags: u8, topic: &str, properties: &str, payload: &str) {
        let publish = self.publish(flags, None, topic, properties, payload);
        send_bytes(&mut self.stream, &publish);
        self.hears_no_more();
    }

    /// Publishes at QoS 1, as message 1; `reason` is what MQTT 5.0 adds to the acknowledgement.
    #[track_caller]
    fn says_for_sure(&mut self, flags: u8, topic: &str, payload: &str, reason: &str) {
        let publish = self.publish(flags | 2, Some(1), topic, "", payload);
        send_bytes(&mut self.stream, &publish);
        self.hears_bytes(&packet(0x40, &[&[0, 1], &hex(reason)]));
    }

    #[track_caller]
    fn hears_bytes(&mut self, bytes: &[u8]) {
        expect(&mut self.stream, &shown(bytes));
    }

    #[track_caller]
    fn hears(&mut self, flags: u8, topic: &str, properties: &str, payload: &str) {
        let publish = self.publish(flags, None, topic, properties, payload);
        self.hears_bytes(&publish);
    }

    /// Hears a message at QoS 1 or 2 under this identifier.
    #[track_caller]
    fn hears_for_sure(&mut self, flags: u8, id: u16, topic: &str, payload: &str) {
        let publish = self.publish(flags, Some(id), topic, "", payload);
        self.hears_bytes(&publish);
    }

    /// There is nothing before the answer to a PINGREQ.
    #[track_caller]
    fn hears_no_more(&mut self) {
        exchange(&mut self.stream, "C0 00", "D0 00");
    }

    fn leaves(mut self) {
        send(&mut self.stream, "E0 00");
        assert_eq!(read_to_end(&mut self.stream), []);
    }
}

#[test]
fn a_will_is_published_once_and_not_after_a_disconnect() {
    // v5 MQTT-3.1.2-7, v5 MQTT-3.1.2-10, v5 MQTT-3.1.2-14, v5 U-33; X311-3.1.2.5-a
    // v3.1.1 MQTT-3.1.2-10, v3.1.1 MQTT-3.1.2-12, v3.1.1 MQTT-3.1.2-16
    let stage = Stage::new();
    let mut watcher = Peer::join(&stage, V311, "w");
    watcher.subscribes("will", 0);
    for greeting in [V311, V5] {
        let with_will = Greeting {
            will: Some((0, "00", "will", "gone")),
            ..greeting
        };
        drop(Peer::join(&stage, with_will, "c"));
        watcher.hears(0, "will", "", "gone");
        // Not again by a client without one, nor by one that says good-bye.
        let without = Peer::join(&stage, greeting, "c");
        drop(without);
        Peer::join(&stage, with_will, "c").leaves();
        watcher.hears_no_more();
    }
    assert_eq!(stage.retained(), 0);
    stage.end(watcher.stream);
}

#[test]
fn a_retained_will_is_there_for_those_who_come_later() {
    // v5 MQTT-3.1.2-15, v5 MQTT-3.1.3-10; v3.1.1 MQTT-3.1.2-17
    let stage = Stage::new();
    let mut watcher = Peer::join(&stage, V5, "w");
    watcher.subscribes("will", 0);
    // Will Retain, and two User Properties whose order counts.
    let pairs = "26 00 01 62 00 01 31 26 00 01 61 00 01 32";
    let with_will = Greeting {
        will: Some((
            0x20,
            "0E 26 00 01 62 00 01 31 26 00 01 61 00 01 32",
            "will",
            "gone",
        )),
        ..V5
    };
    drop(Peer::join(&stage, with_will, "c"));
    watcher.hears(0, "will", pairs, "gone");
    let mut late = Peer::join(&stage, V5, "l");
    late.subscribes("will", 0);
    late.hears(1, "will", pairs, "gone");
    stage.end((watcher.stream, late.stream));
}

#[test]
fn a_will_that_waits_is_taken_back_by_a_client_that_returns() {
    // v5 MQTT-3.1.3-9
    let stage = Stage::new();
    let mut watcher = Peer::join(&stage, V5, "w");
    watcher.subscribes("will", 0);
    let delayed = Greeting {
        // Will Delay Interval 1.
        will: Some((0, "05 18 00 00 00 01", "will", "gone")),
        ..LASTING
    };
    drop(Peer::join(&stage, delayed, "c"));
    let back = Peer::rejoin(&stage, LASTING, "c");
    thread::sleep(Duration::from_millis(1_200));
    watcher.hears_no_more();
    stage.end((watcher.stream, back.stream));
}

#[test]
fn what_a_server_cannot_keep_of_a_will_it_refuses() {
    // v5 MQTT-3.2.2-10, v5 MQTT-3.2.2-12, v5 MQTT-3.2.2-13
    let limits = Limits {
        maximum_qos: mqttstack_broker::codec::QoS::AtLeastOnce,
        retain_available: false,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    for (flags, code) in [(0x10, "9B"), (0x20, "9A")] {
        let greeting = Greeting {
            will: Some((flags, "00", "will", "x")),
            ..V5
        };
        let mut stream = stage.open();
        send_bytes(&mut stream, &greeting.packet("c"));
        assert_eq!(
            read_to_end(&mut stream),
            hex(&format!("20 03 00 {code} 00"))
        );
    }
    // A subscription of QoS 2 is granted 1.
    let mut stream = stage.open();
    send_bytes(&mut stream, &V5.packet("c"));
    expect(&mut stream, "20 0D 00 00 0A 21 04 00 24 01 25 00 22 00 20");
    let mut peer = Peer {
        stream,
        is_v5: true,
    };
    peer.asks(&[("a", 0), ("b", 1), ("c", 2)], "", "00 01 01");
    stage.end(peer.stream);
}

#[test]
fn names_of_clients_that_have_to_be_taken_are_and_others_may_be_refused() {
    // v5 MQTT-3.1.3-5, v5 MQTT-3.1.3-8
    let limits = Limits {
        client_id_bytes_max: 23,
        ..Limits::default()
    };
    let stage = Stage::with(limits, 1);
    let peers = [
        "0123456789abcdefghijklm",
        "nopqrstuvwxyzABCDEFGHIJ",
        "KLMNOPQRSTUVWXYZ",
    ]
    .map(|name| Peer::join(&stage, V5, name).stream);
    let mut stream = stage.open();
    send_bytes(&mut stream, &V5.packet("0123456789abcdefghijklmn"));
    assert_eq!(read_to_end(&mut stream), hex("20 03 00 85 00"));
    stage.end(peers);
}

#[test]
fn retained_messages_are_replaced_removed_and_left_alone() {
    // v5 MQTT-3.3.1-8; v3.1.1 MQTT-3.3.1-7, v3.1.1 MQTT-3.3.1-12, v3.1.1 MQTT-3.1.2-7; X311-4.1-a
    let stage = Stage::new();
    for greeting in [V311, V5] {
        let mut writer = Peer::join(&stage, greeting, "w");
        writer.says(1, "t", "", "old");
        writer.says(1, "t", "", "new");
        // Without RETAIN nothing changes, with a payload or without.
        writer.says(0, "t", "", "other");
        writer.says(0, "t", "", "");
        // Its session ends; the message stays.
        writer.leaves();
        let mut reader = Peer::join(&stage, greeting, "r");
        reader.subscribes("t", 0);
        reader.hears(1, "t", "", "new");
        reader.hears_no_more();
        reader.says_and_hears_removal();
        let mut late = Peer::join(&stage, greeting, "l");
        late.subscribes("t", 0);
        late.hears_no_more();
    }
    assert_eq!(stage.retained(), 0);
    stage.end(());
}

impl Peer {
    /// Removes what is retained of "t", and hears of it as a subscriber.
    fn says_and_hears_removal(&mut self) {
        let publish = self.publish(1, None, "t", "", "");
        send_bytes(&mut self.stream, &publish);
        self.hears(0, "t", "", "");
    }
}

#[test]
fn retain_handling_and_retain_as_published() {
    // v5 MQTT-3.3.1-10, v5 MQTT-3.3.1-11, v5 MQTT-3.3.1-13, v5 MQTT-3.8.4-3, v5 MQTT-3.8.4-4
    let stage = Stage::new();
    let mut writer = Peer::join(&stage, V5, "w");
    writer.says(1, "t", "", "kept");
    let mut reader = Peer::join(&stage, V5, "r");
    // Retain Handling 2, 1 (the subscription is there), 0 (it is replaced).
    reader.subscribes("t", 0x20);
    reader.hears_no_more();
    reader.subscribes("t", 0x10);
    reader.hears_no_more();
    reader.subscribes("t", 0x00);
    reader.hears(1, "t", "", "kept");
    assert_eq!(stage.subscriptions(), 1);
    // Retain Handling 1 of a new one, and Retain As Published.
    reader.unsubscribes(&["t"], "00");
    reader.subscribes("t", 0x18);
    reader.hears(1, "t", "", "kept");
    writer.says(1, "t", "", "again");
    reader.hears(1, "t", "", "again");
    writer.says(0, "t", "", "plain");
    reader.hears(0, "t", "", "plain");
    stage.end((writer.stream, reader.stream));
}

#[test]
fn overlapping_subscriptions_give_one_copy_at_the_highest_qos() {
    // v5 MQTT-3.3.4-2, v5 MQTT-3.3.4-3, v5 MQTT-3.3.4-4, v5 MQTT-3.3.4-5; v3.1.1 MQTT-3.3.5-1
    let stage = Stage::new();
    let mut writer = Peer::join(&stage, V5, "w");
    let mut new = Peer::join(&stage, V5, "n");
    new.asks(&[("t/+", 0)], "0B 01", "00");
    new.asks(&[("t/#", 1)], "0B 02", "01");
    new.asks(&[("+/a", 0)], "", "00");
    let mut old = Peer::join(&stage, V311, "o");
    old.asks(&[("t/+", 0), ("t/#", 1)], "", "00 01");
    writer.says_for_sure(0, "t/a", "x", "");
    let publish = new.publish(2, Some(1), "t/a", "0B 01 0B 02", "x");
    let swapped = new.publish(2, Some(1), "t/a", "0B 02 0B 01", "x");
    let mut got = vec![0; publish.len()];
    new.stream.read_exact(&mut got).expect("a message");
    // In any order.
    assert!(got == publish || got == swapped, "{got:02X?}");
    new.hears_no_more();
    old.hears_for_sure(2, 1, "t/a", "x");
    old.hears_no_more();
    stage.end((writer.stream, new.stream, old.stream));
}

#[test]
fn no_local_spares_the_client_its_own_messages() {
    // v5 MQTT-3.8.3-3
    let stage = Stage::new();
    let mut one = Peer::join(&stage, V5, "1");
    let mut two = Peer::join(&stage, V5, "2");
    one.subscribes("t", 0x04);
    two.subscribes("t", 0x04);
    one.says(0, "t", "", "x");
    two.hears(0, "t", "", "x");
    two.says(0, "t", "", "y");
    one.hears(0, "t", "", "y");
    stage.end((one.stream, two.stream));
}

#[test]
fn each_filter_is_answered_replaced_and_removed_by_itself() {
    // v5 MQTT-3.8.4-5, v5 MQTT-3.8.4-7, v5 MQTT-3.10.4-1, v5 MQTT-3.10.4-2, v5 MQTT-3.10.4-6
    // v3.1.1 MQTT-3.8.4-3, v3.1.1 MQTT-3.10.4-1, v3.1.1 MQTT-3.10.4-2
    let stage = Stage::new();
    for greeting in [V311, V5] {
        let mut peer = Peer::join(&stage, greeting, "c");
        // The last of two that are the same is in force.
        peer.asks(&[("a/+", 2), ("b", 1), ("a/+", 0)], "", "02 01 00");
        assert_eq!(stage.subscriptions(), 2);
        let publish = peer.publish(2, Some(1), "a/b", "", "x");
        send_bytes(&mut peer.stream, &publish);
        // At QoS 0, and the acknowledgement, in whatever order.
        let delivery = peer.publish(0, None, "a/b", "", "x");
        let mut got = vec![0; delivery.len() + 4];
        peer.stream.read_exact(&mut got).expect("both");
        assert!(
            got.windows(delivery.len()).any(|it| it == delivery),
            "{got:02X?}"
        );
        // A filter is removed by its characters: "a/b" is not "a/+", and "#" is none of these.
        peer.unsubscribes(&["a/b", "#", "a/+"], "11 11 00");
        assert_eq!(stage.subscriptions(), 1);
        peer.says(0, "a/b", "", "y");
        peer.leaves();
    }
    stage.end(());
}

#[test]
fn messages_wait_in_their_order_for_a_client_that_is_away() {
    // v5 MQTT-4.5.0-1, v5 MQTT-4.6.0-5, v5 MQTT-4.6.0-6; v3.1.1 MQTT-4.5.0-1
    // v3.1.1 MQTT-4.6.0-5, v3.1.1 MQTT-4.6.0-6, v3.1.1 MQTT-3.3.1-3; X311-3.1.2.4-a
    let stage = Stage::new();
    for version in [V311, V5] {
        let lasting = Greeting {
            lasts: true,
            ..version
        };
        let name = if version.is_v5 { "5" } else { "3" };
        let mut away = Peer::join(&stage, lasting, name);
        away.subscribes("t", 1);
        away.leaves();
        let mut writer = Peer::join(&stage, version, "w");
        // DUP of what arrives is nobody else's.
        for payload in ["1", "2", "3"] {
            writer.says_for_sure(8, "t", payload, "");
        }
        // QoS 0 does not wait.
        writer.says(0, "t", "", "0");
        let mut back = Peer::rejoin(&stage, lasting, name);
        for (id, payload) in [(1, "1"), (2, "2"), (3, "3")] {
            back.hears_for_sure(2, id, "t", payload);
        }
        back.hears_no_more();
        send(&mut back.stream, "40 02 00 01 40 02 00 02 40 02 00 03");
        back.unsubscribes(&["t"], "00");
        stage_ends(&stage, back, lasting, name);
    }
    stage.end(());
}

/// Ends a session that outlives its connections, by a clean start.
fn stage_ends(stage: &Stage, peer: Peer, greeting: Greeting, name: &str) {
    peer.leaves();
    let clean = Greeting {
        lasts: false,
        ..greeting
    };
    Peer::join(stage, clean, name).leaves();
}

#[test]
fn what_waits_tells_how_long_it_has_left_and_a_session_ends_in_its_time() {
    // v5 MQTT-3.3.2-6, v5 MQTT-4.1.0-2
    let stage = Stage::new();
    let short = |seconds: &str| {
        let head = format!("00 04 4D 51 54 54 05 00 00 3C 05 11 00 00 00 {seconds} 00 01 73");
        packet(0x10, &[&hex(&head)])
    };
    let mut stream = stage.open();
    send_bytes(&mut stream, &short("64"));
    expect(&mut stream, CONNACK_V5);
    let mut away = Peer {
        stream,
        is_v5: true,
    };
    away.subscribes("t", 1);
    away.leaves();
    let mut writer = Peer::join(&stage, V5, "w");
    // Message Expiry Interval 100.
    let publish = writer.publish(2, Some(1), "t", "02 00 00 00 64", "x");
    send_bytes(&mut writer.stream, &publish);
    writer.hears_bytes(&hex("40 02 00 01"));
    thread::sleep(Duration::from_millis(1_100));
    let mut stream = stage.open();
    // From now on the session lasts for a second.
    send_bytes(&mut stream, &short("01"));
    expect(&mut stream, RESUMED_V5);
    let mut head = [0; 13];
    stream.read_exact(&mut head).expect("a message");
    let (rest, left) = (&head[..12], head[12]);
    assert_eq!(rest, hex("32 0C 00 01 74 00 01 05 02 00 00 00"));
    assert!((1..=99).contains(&left), "{left}");
    drop(stream);
    thread::sleep(Duration::from_millis(1_300));
    let mut stream = stage.open();
    send_bytes(&mut stream, &short("00"));
    expect(&mut stream, CONNACK_V5);
    stage.end((writer.stream, stream));
}

#[test]
fn qos_2_of_a_shared_subscription_stays_with_the_member_that_has_it() {
    // v5 MQTT-4.8.2-4, v5 MQTT-4.8.2-5, v5 MQTT-4.8.2-6
    let stage = Stage::new();
    let mut writer = Peer::join(&stage, V5, "w");
    let mut one = Peer::join(&stage, LASTING, "1");
    one.subscribes("$share/g/t", 2);
    let publish = writer.publish(4, Some(1), "t", "", "x");
    send_bytes(&mut writer.stream, &publish);
    writer.hears_bytes(&hex("50 02 00 01"));
    send(&mut writer.stream, "62 02 00 01");
    writer.hears_bytes(&hex("70 02 00 01"));
    one.hears_for_sure(4, 1, "t", "x");
    // It is cut off before it has answered; another member comes.
    drop(one);
    let mut two = Peer::join(&stage, V5, "2");
    two.subscribes("$share/g/t", 2);
    let mut one = Peer::rejoin(&stage, LASTING, "1");
    one.hears_for_sure(0xC, 1, "t", "x");
    two.hears_no_more();
    // What it refuses is nobody else's either.
    send(&mut one.stream, "50 03 00 01 80");
    one.hears_no_more();
    two.hears_no_more();
    // Nor is what its session ends with.
    two.unsubscribes(&["$share/g/t"], "00");
    let publish = writer.publish(4, Some(2), "t", "", "y");
    send_bytes(&mut writer.stream, &publish);
    writer.hears_bytes(&hex("50 02 00 02"));
    one.hears_for_sure(4, 2, "t", "y");
    two.subscribes("$share/g/t", 2);
    drop(one);
    Peer::join(&stage, V5, "1").leaves();
    two.hears_no_more();
    stage.end((writer.stream, two.stream));
}
