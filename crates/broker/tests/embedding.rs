//! A broker as a part of another program: answers from other threads, clients without sockets.

mod common;

use std::{
    io::{Read, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use mqttstack_broker::{
    Broker, BrokerBuilder, Resolver,
    codec::ReasonCode,
    core::{
        Access, Answer, AuthRequest, Authentication, Authorization, Client, ConnectRequest,
        PublishRequest, SubscribeRequest, Ticket,
    },
};

use common::{CONNACK_V311, CONNECT_V311, address, exchange, expect, hex, open, read_to_end};

/// Asks a thread about everything.
struct Elsewhere(mpsc::Sender<(Ticket, Answer)>);

impl Elsewhere {
    fn start(resolver: &Resolver) -> Self {
        let (sender, questions) = mpsc::channel::<(Ticket, Answer)>();
        let resolver = resolver.clone();
        thread::spawn(move || {
            for (ticket, answer) in questions {
                resolver.resolve(ticket, answer);
            }
        });
        Self(sender)
    }

    fn ask(&self, ticket: Ticket, answer: impl Into<Answer>) {
        self.0
            .send((ticket, answer.into()))
            .expect("the thread lives");
    }
}

impl Access for Elsewhere {
    fn authenticate(&mut self, request: &ConnectRequest<'_>) -> Authentication {
        let answer = match &*request.connect.client_id {
            "bad" => Authentication::Accept { identity: None },
            _ => Authentication::Refuse(ReasonCode::NotAuthorized),
        };
        self.ask(request.ticket, answer);
        Authentication::Deferred
    }

    fn authorize_publish(&mut self, request: &PublishRequest<'_>) -> Authorization {
        self.ask(
            request.ticket,
            Authorization::of(request.message.topic() == "t"),
        );
        Authorization::Deferred
    }

    fn authorize_subscribe(&mut self, request: &SubscribeRequest<'_>) -> Authorization {
        self.ask(request.ticket, Authorization::of(request.filter == "t"));
        Authorization::Deferred
    }
}

/// Asks for the answer to a number, twice; who answers is known by the second answer.
struct Riddles;

impl Riddles {
    /// What the client is asked first, and what it has to answer.
    const FIRST: (&[u8], &[u8]) = (b"6x7", b"42");
    const SECOND: &[u8] = b"who";
}

impl Access for Riddles {
    fn authenticate(&mut self, request: &ConnectRequest<'_>) -> Authentication {
        match request.connect.properties.authentication_method() {
            Some("riddle") => Authentication::Continue {
                data: Self::FIRST.0.into(),
                note: b"first"[..].into(),
            },
            Some(_) => Authentication::Refuse(ReasonCode::BadAuthenticationMethod),
            None => Authentication::Accept { identity: None },
        }
    }

    fn authenticate_step(&mut self, request: &AuthRequest<'_>) -> Authentication {
        let said = request.auth.properties.authentication_data();
        let begins_again = request.auth.reason_code == ReasonCode::ReAuthenticate;
        assert_eq!(begins_again, request.note.is_empty());
        assert_eq!(request.is_connected, request.identity.is_some());
        match (request.note, said) {
            (b"", _) => Authentication::Continue {
                data: Self::FIRST.0.into(),
                note: b"first"[..].into(),
            },
            (b"first", Some(said)) if said == Self::FIRST.1 => Authentication::Continue {
                data: Self::SECOND.into(),
                note: b"second"[..].into(),
            },
            (b"second", Some(name)) => Authentication::AcceptWith {
                identity: Some(String::from_utf8_lossy(name).into()),
                data: b"welcome"[..].into(),
            },
            _ => Authentication::Refuse(ReasonCode::NotAuthorized),
        }
    }
}

/// Lets nobody near the topic "u".
struct KeepOut;

impl Access for KeepOut {
    fn may_publish(&mut self, _client: &Client<'_>, topic: &str) -> bool {
        topic != "u"
    }

    fn may_subscribe(&mut self, _client: &Client<'_>, filter: &str) -> bool {
        filter != "u"
    }
}

fn stop(broker: Broker) {
    broker.stop();
    broker.wait().expect("a clean stop");
}

fn builder() -> BrokerBuilder {
    Broker::builder().listen("127.0.0.1:0".parse().expect("valid"))
}

#[test]
fn answers_from_another_thread_reach_the_client_that_waits() {
    // v5 MQTT-3.1.4-2
    let broker = builder()
        .workers(3)
        .access_with(|resolver| Box::new(Elsewhere::start(resolver)))
        .start()
        .expect("starts");
    // Whichever worker takes the connection.
    for _ in 0..20 {
        let mut client = open(address(&broker));
        // All at once: CONNECT, SUBSCRIBE to "t" and "u", QoS 0 to "t" and "u", QoS 1 to "t".
        let everything = format!(
            "{CONNECT_V311} 82 0A 00 01 00 01 74 00 00 01 75 00 \
             30 04 00 01 74 61 30 04 00 01 75 62 32 06 00 01 74 00 02 63"
        );
        let answers = format!("{CONNACK_V311} 90 04 00 01 00 80");
        exchange(&mut client, &everything, &answers);
        let mut rest = vec![0; 16];
        client.read_exact(&mut rest).expect("answers");
        // The acknowledgement may come before, between or behind the messages.
        let puback = hex("40 02 00 02");
        let at = rest.windows(4).position(|bytes| bytes == puback);
        let at = at.expect("PUBACK");
        rest.drain(at..at + 4);
        assert_eq!(rest, hex("30 04 00 01 74 61 30 04 00 01 74 63"));
    }
    let mut refused = open(address(&broker));
    exchange(
        &mut refused,
        "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 78",
        "20 02 00 05",
    );
    assert!(read_to_end(&mut refused).is_empty());
    stop(broker);
}

#[test]
fn a_client_in_the_program_is_a_client_like_any_other() {
    let broker = builder().workers(2).start().expect("starts");
    let mut there = open(address(&broker));
    exchange(&mut there, CONNECT_V311, CONNACK_V311);
    exchange(&mut there, "82 06 00 01 00 01 74 00", "90 03 00 01 00");
    let mut here = broker.connect_local().expect("reached");
    exchange(
        &mut here,
        "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 78",
        CONNACK_V311,
    );
    exchange(&mut here, "82 06 00 01 00 01 75 00", "90 03 00 01 00");
    here.write_all(&hex("30 05 00 01 74 68 69"))
        .expect("written");
    expect(&mut there, "30 05 00 01 74 68 69");
    there
        .write_all(&hex("30 05 00 01 75 68 6F"))
        .expect("written");
    expect(&mut here, "30 05 00 01 75 68 6F");
    // A large message, in both directions, through pipes that hold less.
    let payload = vec![7; 1_000_000];
    let mut publish = hex("30 C3 84 3D 00 01 75");
    publish.extend(&payload);
    let mut sender = here.clone();
    let expected = publish.clone();
    let sending = thread::spawn(move || sender.write_all(&publish).expect("written"));
    let mut got = vec![0; expected.len()];
    here.read_exact(&mut got).expect("it comes");
    assert!(got == expected);
    sending.join().expect("sent");
    drop(here);
    stop(broker);
}

#[test]
fn packets_of_all_sizes_come_through_a_socket_unchanged_and_in_order() {
    let broker = builder().workers(1).start().expect("starts");
    let mut sender = open(address(&broker));
    exchange(&mut sender, CONNECT_V311, CONNACK_V311);
    let mut receiver = open(address(&broker));
    let connect = "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 78";
    exchange(&mut receiver, connect, CONNACK_V311);
    exchange(&mut receiver, "82 06 00 01 00 01 75 00", "90 03 00 01 00");
    // QoS 0 to "u"; the lengths take one to four bytes.
    let sizes = [
        20, 70_000, 70_000, 300, 16_384, 400_000, 1, 66_000, 2_200_000, 5,
    ];
    let mut packets = Vec::new();
    for (number, size) in (0_u8..).zip(sizes.iter().cycle().take(40)) {
        packets.push(0x30);
        let mut rest: usize = size + 3;
        while rest > 0x7F {
            packets.push((rest % 0x80 + 0x80).to_le_bytes()[0]);
            rest /= 0x80;
        }
        packets.push(rest.to_le_bytes()[0]);
        packets.extend([0, 1, b'u']);
        packets.extend((0..*size).map(|index: usize| number ^ (index % 251).to_le_bytes()[0]));
    }
    let expected = packets.clone();
    let sending = thread::spawn(move || sender.write_all(&packets).expect("written"));
    let mut got = vec![0; expected.len()];
    receiver.read_exact(&mut got).expect("it comes");
    assert!(got == expected);
    sending.join().expect("sent");
    stop(broker);
}

#[test]
fn a_broker_for_this_program_alone_needs_no_listener_and_ends_in_good_order() {
    let broker = Broker::builder().local_only().start().expect("starts");
    assert!(broker.local_addresses().is_empty());
    let mut client = broker.connect_local().expect("reached");
    // MQTT 5.0: CONNACK, then DISCONNECT 0x8B when the broker stops.
    client
        .write_all(&hex("10 0E 00 04 4D 51 54 54 05 02 00 3C 00 00 01 78"))
        .expect("written");
    client.set_read_timeout(Some(Duration::from_secs(60)));
    let mut first = [0; 1];
    client.read_exact(&mut first).expect("CONNACK");
    assert_eq!(first, [0x20]);
    let stopper = broker.stopper();
    stopper.stop();
    let rest = read_to_end(&mut client);
    assert!(
        rest.ends_with(&hex("E0 01 8B")) || rest.ends_with(&hex("E0 02 8B 00")),
        "{rest:02X?}"
    );
    broker.wait().expect("a clean stop");
}

#[test]
fn many_threads_use_a_broker_at_once() {
    let broker = Broker::builder()
        .local_only()
        .workers(2)
        .start()
        .expect("starts");
    thread::scope(|scope| {
        for index in 0..20_u8 {
            let mut client = broker.connect_local().expect("reached");
            scope.spawn(move || {
                let connect = hex("10 0D 00 04 4D 51 54 54 04 02 00 00 00 01");
                client.write_all(&connect).expect("written");
                client.write_all(&[b'A' + index]).expect("written");
                expect(&mut client, CONNACK_V311);
                let topic = b'A' + index;
                let mut subscribe = hex("82 06 00 01 00 01");
                subscribe.extend([topic, 0]);
                client.write_all(&subscribe).expect("written");
                expect(&mut client, "90 03 00 01 00");
                for round in 0..100 {
                    let publish = [0x30, 4, 0, 1, topic, round];
                    client.write_all(&publish).expect("written");
                    let mut got = [0; 6];
                    client.read_exact(&mut got).expect("it comes");
                    assert_eq!(got, publish);
                }
            });
        }
    });
    stop(broker);
}

/// AUTH with the method "riddle", and some data.
fn auth(reason: u8, data: &str) -> String {
    let mut properties = hex("15 00 06 72 69 64 64 6C 65");
    if !data.is_empty() {
        properties.extend([0x16, 0, u8::try_from(data.len()).expect("short")]);
        properties.extend(data.bytes());
    }
    let len = u8::try_from(properties.len()).expect("short");
    let bytes = [&[0xF0, len + 2, reason, len][..], &properties].concat();
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn a_client_proves_itself_in_several_steps_and_again_when_it_is_connected() {
    // v5 MQTT-4.12.0-1, v5 MQTT-4.12.0-2, v5 MQTT-4.12.0-3, v5 MQTT-4.12.0-4, v5 MQTT-4.12.0-5
    // v5 MQTT-4.12.1-1, v5 MQTT-4.12.1-2
    let broker = builder()
        .access(|| Box::new(Riddles))
        .start()
        .expect("starts");
    // CONNECT with the method.
    let connect = "10 17 00 04 4D 51 54 54 05 02 00 3C 09 15 00 06 72 69 64 64 6C 65 00 01 78";
    let connack = "20 1C 00 00 19 21 04 00 22 00 20 15 00 06 72 69 64 64 6C 65 \
                   16 00 07 77 65 6C 63 6F 6D 65";
    let connected = |name: &str| {
        let mut client = open(address(&broker));
        exchange(&mut client, connect, &auth(0x18, "6x7"));
        exchange(&mut client, &auth(0x18, "42"), &auth(0x18, "who"));
        exchange(&mut client, &auth(0x18, name), connack);
        client
    };
    let mut client = connected("ann");
    // Once more, while messages flow.
    exchange(&mut client, &auth(0x19, ""), &auth(0x18, "6x7"));
    exchange(&mut client, "C0 00", "D0 00");
    exchange(&mut client, &auth(0x18, "42"), &auth(0x18, "who"));
    exchange(&mut client, &auth(0x18, "ann"), &auth(0x00, "welcome"));
    exchange(&mut client, "C0 00", "D0 00");
    // It cannot become somebody else.
    exchange(&mut client, &auth(0x19, ""), &auth(0x18, "6x7"));
    exchange(&mut client, &auth(0x18, "42"), &auth(0x18, "who"));
    exchange(&mut client, &auth(0x18, "bob"), "E0 01 87");
    assert!(read_to_end(&mut client).is_empty());
    // A wrong answer, before CONNACK and after it.
    let mut client = open(address(&broker));
    exchange(&mut client, connect, &auth(0x18, "6x7"));
    exchange(&mut client, &auth(0x18, "41"), "20 03 00 87 00");
    assert!(read_to_end(&mut client).is_empty());
    let mut client = connected("ann");
    exchange(&mut client, &auth(0x19, ""), &auth(0x18, "6x7"));
    exchange(&mut client, &auth(0x18, "41"), "E0 01 87");
    assert!(read_to_end(&mut client).is_empty());
    // Out of turn: an answer that nobody asked for, something else in between, another method.
    for (steps, told) in [
        (vec![auth(0x18, "42"), auth(0x19, "")], "20 03 00 82 00"),
        (vec!["C0 00".to_owned()], "20 03 00 82 00"),
    ] {
        let mut client = open(address(&broker));
        exchange(&mut client, connect, &auth(0x18, "6x7"));
        for step in steps {
            client.write_all(&hex(&step)).expect("written");
        }
        let rest = read_to_end(&mut client);
        assert!(rest.ends_with(&hex(told)), "{rest:02X?}");
    }
    // A client without a method cannot begin.
    let mut client = open(address(&broker));
    exchange(
        &mut client,
        "10 0E 00 04 4D 51 54 54 05 02 00 3C 00 00 01 79",
        "20 09 00 00 06 21 04 00 22 00 20",
    );
    exchange(&mut client, &auth(0x19, ""), "E0 01 82");
    assert!(read_to_end(&mut client).is_empty());
    stop(broker);
}

#[test]
fn who_is_not_allowed_something_is_told_what_the_version_has_words_for() {
    // v3.1.1 MQTT-3.3.5-2; V31-suback, V31-puback-deny; X311-4.7.3-b
    let broker = builder()
        .access(|| Box::new(KeepOut))
        .start()
        .expect("starts");
    let v5 = "10 0E 00 04 4D 51 54 54 05 02 00 3C 00 00 01 79";
    let v31 = "10 0F 00 06 4D 51 49 73 64 70 03 02 00 3C 00 01 7A";
    for (connect, connack, ask, granted, say, answer) in [
        (
            v5,
            "20 09 00 00 06 21 04 00 22 00 20",
            "82 07 00 01 00 00 01 75 01",
            "90 04 00 01 00 87",
            "32 07 00 01 75 00 02 00 78",
            "40 03 00 02 87",
        ),
        (
            CONNECT_V311,
            CONNACK_V311,
            "82 06 00 01 00 01 75 01",
            "90 03 00 01 80",
            "32 06 00 01 75 00 02 78",
            "40 02 00 02",
        ),
        (
            v31,
            CONNACK_V311,
            "82 06 00 01 00 01 75 01",
            "90 03 00 01 01",
            "32 06 00 01 75 00 02 78",
            "40 02 00 02",
        ),
    ] {
        let mut client = open(address(&broker));
        exchange(&mut client, connect, connack);
        exchange(&mut client, ask, granted);
        exchange(&mut client, say, answer);
        // Whatever it was told, nothing came of it.
        exchange(&mut client, "C0 00", "D0 00");
        assert_eq!(broker.directory().subscription_count(), 0);
    }
    stop(broker);
}
