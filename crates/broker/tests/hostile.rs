//! Bad input over real sockets: the answer that the standard names, or a close; and all others carry
//! on. Tests are named after the class of bug they are about.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use mqttstack_broker::{Broker, limits::Limits};

const CONNECT_V31: &str = "10 11 00 06 4D 51 49 73 64 70 03 02 00 3C 00 03 62 61 64";
const CONNECT_V311: &str = "10 0F 00 04 4D 51 54 54 04 02 00 3C 00 03 62 61 64";
const CONNECT_V5: &str = "10 10 00 04 4D 51 54 54 05 02 00 3C 00 00 03 62 61 64";
const CONNACK_V3: &str = "20 02 00 00";
/// CONNACK 0x00 with Receive Maximum 1,024 and Topic Alias Maximum 32.
const CONNACK_V5: &str = "20 09 00 00 06 21 04 00 22 00 20";

/// A broker with a client that must not notice anything.
struct Stage {
    broker: Broker,
    address: SocketAddr,
    bystander: TcpStream,
}

impl Stage {
    fn new() -> Self {
        Self::with(Limits::default(), 1)
    }

    fn with(limits: Limits, workers: u8) -> Self {
        let broker = Broker::builder()
            .listen("127.0.0.1:0".parse().expect("an endpoint"))
            .limits(limits)
            .workers(workers)
            // What is retained is what clients retain, and the version.
            .status_interval(Duration::ZERO)
            .start()
            .expect("starts");
        let address = broker.local_addresses()[0]
            .socket_address()
            .expect("a socket");
        let mut bystander = open(address);
        // Client "by", SUBSCRIBE "by".
        exchange(
            &mut bystander,
            "10 0E 00 04 4D 51 54 54 04 02 00 00 00 02 62 79  82 07 00 01 00 02 62 79 00",
            "20 02 00 00  90 03 00 01 00",
        );
        Self {
            broker,
            address,
            bystander,
        }
    }

    fn open(&self) -> TcpStream {
        open(self.address)
    }

    /// The bystander still gets what it publishes to itself.
    fn check_bystander(&mut self) {
        exchange(
            &mut self.bystander,
            "30 05 00 02 62 79 78",
            "30 05 00 02 62 79 78",
        );
    }

    /// Sends `bad` behind the CONNECT of a version; `answer` and a close have to follow.
    #[track_caller]
    fn check(&mut self, connect: &str, bad: &str, answer: &str) {
        let mut stream = self.open();
        let connack = if connect == CONNECT_V5 {
            CONNACK_V5
        } else {
            CONNACK_V3
        };
        exchange(&mut stream, connect, connack);
        send(&mut stream, bad);
        assert_eq!(read_to_end(&mut stream), hex(answer), "{bad}");
        self.check_bystander();
    }

    /// In 5.0 the reason comes in a DISCONNECT; in 3.x there is only the close.
    #[track_caller]
    fn check_all(&mut self, in_v5: &str, in_v3: &str, reason: &str) {
        self.check(CONNECT_V5, in_v5, &format!("E0 01 {reason}"));
        self.check(CONNECT_V311, in_v3, "");
        self.check(CONNECT_V31, in_v3, "");
    }

    /// Clients that are still there would be waited for.
    fn stop(self) {
        drop(self.bystander);
        self.broker.stop();
        self.broker.wait().expect("no worker failed");
    }
}

fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    // Long enough for a busy machine; only a failing test waits for it.
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("settable");
    stream.set_nodelay(true).expect("settable");
    stream
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex"))
        .collect()
}

fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(&hex(text)).expect("written");
}

#[track_caller]
fn exchange(stream: &mut TcpStream, question: &str, answer: &str) {
    send(stream, question);
    let answer = hex(answer);
    let mut got = vec![0; answer.len()];
    stream.read_exact(&mut got).expect("an answer");
    assert_eq!(got, answer, "{question}");
}

/// Reads until the broker closes, which it has to.
#[track_caller]
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Ok(_) => got,
        // It closed with bytes of ours unread.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => got,
        Err(error) => panic!("not closed: {error}, after {got:02X?}"),
    }
}

#[test]
fn f1_a_claimed_length_is_not_believed() {
    let mut stage = Stage::new();
    let waiting: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = stage.open();
            exchange(
                &mut stream,
                &CONNECT_V311.replace("62 61 64", "61 61 61"),
                CONNACK_V3,
            );
            send(&mut stream, "30 FF FF FF 7F 00 01 74");
            stream
        })
        .collect();
    // Before CONNECT: too large for one.
    let mut early = stage.open();
    send(&mut early, "10 FF FF FF 7F");
    assert_eq!(read_to_end(&mut early), []);
    stage.check_bystander();
    drop(waiting);
    stage.stop();
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
    let mut stage = Stage::new();
    let mut stream = stage.open();
    for byte in hex(CONNECT_V5) {
        stream.write_all(&[byte]).expect("written");
    }
    exchange(&mut stream, "", CONNACK_V5);
    for byte in hex("32 07 00 01 61 00 01 00 78") {
        stream.write_all(&[byte]).expect("written");
    }
    exchange(&mut stream, "", "40 03 00 01 10");
    stage.check_bystander();
    drop(stream);
    stage.stop();
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
    let mut stream = stage.open();
    exchange(&mut stream, CONNECT_V311, CONNACK_V3);
    exchange(&mut stream, "32 05 00 01 61 00 01", "40 02 00 01");
    stage.check_bystander();
    drop(stream);
    stage.stop();
}

#[test]
fn m1_two_clients_of_one_name_that_take_no_connack() {
    // v5 MQTT-3.1.2-24
    let mut stage = Stage::with(Limits::default(), 2);
    // Session Expiry Interval 60, Maximum Packet Size 5: the CONNACK of success has 11 bytes.
    let connect =
        "10 1A 00 04 4D 51 54 54 05 00 00 3C 0A 11 00 00 00 3C 27 00 00 00 05 00 03 62 61 64";
    for _ in 0..8 {
        let mut stream = stage.open();
        send(&mut stream, connect);
        assert_eq!(read_to_end(&mut stream), hex("20 03 00 95 00"));
    }
    stage.check_bystander();
    stage.stop();
}

#[test]
fn p1_any_packet_before_connect() {
    // v5 MQTT-3.1.0-1; v3.1.1 MQTT-3.1.0-1; v5 MQTT-3.14.0-1
    let mut stage = Stage::new();
    for first in (0..=15_u8).filter(|kind| *kind != 1) {
        let mut stream = stage.open();
        stream.write_all(&[first << 4, 2, 0, 1]).expect("written");
        assert_eq!(read_to_end(&mut stream), [], "type {first}");
    }
    stage.check_bystander();
    stage.stop();
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
    let mut stream = stage.open();
    exchange(&mut stream, CONNECT_V5, CONNACK_V5);
    exchange(
        &mut stream,
        "40 02 00 07  70 02 00 07  50 02 00 07  62 02 00 07  C0 00",
        "62 03 00 07 92  70 03 00 07 92  D0 00",
    );
    stage.check_bystander();
    drop(stream);
    stage.stop();
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
    let mut stage = Stage::new();
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
    stage.check_bystander();
    stage.stop();
}

#[test]
fn r1_a_topic_of_very_many_levels() {
    let mut stage = Stage::new();
    let slashes = [b'/'; 65_000];
    let length = 65_000_u16.to_be_bytes();
    let mut stream = stage.open();
    exchange(&mut stream, CONNECT_V311, CONNACK_V3);
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
    assert_eq!(
        stage.broker.directory().retained_count().0,
        1,
        "the version"
    );
    assert_eq!(stage.broker.directory().subscription_count(), 1);
    stage.check_bystander();
    drop(stream);
    stage.stop();
}

#[test]
fn r3_a_reader_that_does_not_read() {
    let limits = Limits {
        queue_messages_max: 100,
        ..Limits::default()
    };
    let mut stage = Stage::with(limits, 1);
    let mut slow = stage.open();
    exchange(&mut slow, CONNECT_V311, CONNACK_V3);
    exchange(&mut slow, "82 06 00 01 00 01 74 00", "90 03 00 01 00");
    // 64 MB towards a client that takes none of it.
    let mut publisher = stage.open();
    let id = CONNECT_V311.replace("62 61 64", "70 75 62");
    exchange(&mut publisher, &id, CONNACK_V3);
    let mut packet = hex("30 83 80 04 00 01 74");
    packet.extend([b'x'; 65_536]);
    for _ in 0..1_000 {
        publisher.write_all(&packet).expect("written");
    }
    exchange(&mut publisher, "C0 00", "D0 00");
    stage.check_bystander();
    drop((slow, publisher));
    stage.stop();
}

#[test]
fn r3_a_message_larger_than_the_queue_of_an_absent_subscriber() {
    let limits = Limits {
        queue_bytes_max: 100,
        ..Limits::default()
    };
    let mut stage = Stage::with(limits, 1);
    let mut client = stage.open();
    let connect = "10 15 00 04 4D 51 54 54 05 00 00 00 05 11 00 00 00 64 00 03 62 61 64";
    exchange(&mut client, connect, CONNACK_V5);
    exchange(
        &mut client,
        "82 07 00 01 00 00 01 74 01",
        "90 04 00 01 00 01",
    );
    send(&mut client, "E0 00");
    assert_eq!(read_to_end(&mut client), []);
    let mut publisher = stage.open();
    let id = CONNECT_V311.replace("62 61 64", "70 75 62");
    exchange(&mut publisher, &id, CONNACK_V3);
    exchange(&mut publisher, "32 06 00 01 74 00 01 31", "40 02 00 01");
    let large = format!("32 E9 07 00 01 74 00 02 {}", "78 ".repeat(996));
    exchange(&mut publisher, &large, "40 02 00 02");
    exchange(&mut publisher, "32 06 00 01 74 00 03 32", "40 02 00 03");
    let mut client = stage.open();
    exchange(
        &mut client,
        connect,
        &format!(
            "{} 32 07 00 01 74 00 01 00 31 32 07 00 01 74 00 02 00 32",
            CONNACK_V5.replace("09 00", "09 01")
        ),
    );
    stage.check_bystander();
    drop((client, publisher));
    stage.stop();
}

#[test]
fn r3_a_client_that_reads_but_does_not_acknowledge() {
    let limits = Limits {
        inflight_bytes_max: 2_500,
        ..Limits::default()
    };
    let mut stage = Stage::with(limits, 1);
    let mut client = stage.open();
    exchange(&mut client, CONNECT_V311, CONNACK_V3);
    exchange(&mut client, "82 06 00 01 00 01 74 01", "90 03 00 01 01");
    let mut publisher = stage.open();
    let id = CONNECT_V311.replace("62 61 64", "70 75 62");
    exchange(&mut publisher, &id, CONNACK_V3);
    // Messages of a thousand bytes: two are in flight, whatever the client reads.
    let message = |id: u8| format!("32 EC 07 00 01 74 00 {id:02X} {}", "78 ".repeat(999));
    for n in 1..=5 {
        exchange(&mut publisher, &message(n), &format!("40 02 00 {n:02X}"));
    }
    let (one, two, three) = (message(1), message(2), message(3));
    exchange(&mut client, "C0 00", &format!("{one} {two} D0 00"));
    exchange(&mut client, "40 02 00 01 C0 00", &format!("D0 00 {three}"));
    exchange(&mut client, "C0 00", "D0 00");
    stage.check_bystander();
    drop((client, publisher));
    stage.stop();
}

#[test]
fn r3_expired_messages_of_an_absent_subscriber() {
    // v5 MQTT-3.3.2-5
    let limits = Limits {
        queue_messages_max: 3,
        ..Limits::default()
    };
    let mut stage = Stage::with(limits, 1);
    let mut client = stage.open();
    let connect = "10 15 00 04 4D 51 54 54 05 00 00 00 05 11 00 00 00 64 00 03 62 61 64";
    exchange(&mut client, connect, CONNACK_V5);
    exchange(
        &mut client,
        "82 07 00 01 00 00 01 74 01",
        "90 04 00 01 00 01",
    );
    send(&mut client, "E0 00");
    assert_eq!(read_to_end(&mut client), []);
    let mut publisher = stage.open();
    let id = CONNECT_V5.replace("62 61 64", "70 75 62");
    exchange(&mut publisher, &id, CONNACK_V5);
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
        connect,
        &format!(
            "{} 32 07 00 01 74 00 01 00 31 32 07 00 01 74 00 02 00 32",
            CONNACK_V5.replace("09 00", "09 01")
        ),
    );
    stage.check_bystander();
    drop((client, publisher));
    stage.stop();
}

#[test]
fn r3_a_qos_2_message_that_the_client_no_longer_takes() {
    // v5 MQTT-3.1.2-25, v5 MQTT-4.3.3-6
    let mut stage = Stage::new();
    let mut client = stage.open();
    let connect = "10 15 00 04 4D 51 54 54 05 00 00 00 05 11 00 00 00 64 00 03 62 61 64";
    exchange(&mut client, connect, CONNACK_V5);
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
        &format!("{} 62 02 00 01", CONNACK_V5.replace("09 00", "09 01")),
    );
    exchange(&mut client, "70 02 00 01 C0 00", "D0 00");
    stage.check_bystander();
    drop(client);
    stage.stop();
}

#[test]
fn r4_silence_before_connect() {
    // v5 U-04; X311-3.1.4-a
    let limits = Limits {
        connect_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut stage = Stage::with(limits, 1);
    let mut silent = stage.open();
    let mut half = stage.open();
    send(&mut half, "10 0F 00 04");
    assert_eq!(read_to_end(&mut silent), []);
    assert_eq!(read_to_end(&mut half), []);
    stage.check_bystander();
    stage.stop();
}

#[test]
fn r4_silence_after_connect() {
    // v5 MQTT-3.1.2-22; v3.1.1 MQTT-3.1.2-24
    let mut stage = Stage::new();
    for (connect, connack, told) in [
        (CONNECT_V5, CONNACK_V5, "E0 01 8D"),
        (CONNECT_V311, CONNACK_V3, ""),
    ] {
        let mut stream = stage.open();
        exchange(&mut stream, &connect.replace("00 3C", "00 01"), connack);
        assert_eq!(read_to_end(&mut stream), hex(told));
    }
    stage.check_bystander();
    stage.stop();
}

#[test]
fn r5_a_subscription_to_a_large_store() {
    let mut stage = Stage::new();
    let mut client = stage.open();
    exchange(&mut client, CONNECT_V311, CONNACK_V3);
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
    stage.check_bystander();
    drop(client);
    stage.stop();
}

#[test]
fn r5_a_store_that_is_larger_than_a_queue() {
    let limits = Limits {
        queue_bytes_max: 1024 * 1024,
        ..Limits::default()
    };
    let mut stage = Stage::with(limits, 1);
    let mut client = stage.open();
    exchange(&mut client, CONNECT_V311, CONNACK_V3);
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
    stage.check_bystander();
    drop(client);
    stage.stop();
}

#[test]
fn r5_many_searches_that_find_nothing() {
    let mut stage = Stage::new();
    let mut client = stage.open();
    exchange(&mut client, CONNECT_V311, CONNACK_V3);
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
    stage.check_bystander();
    drop(client);
    stage.stop();
}

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
    assert_eq!(
        stage.broker.directory().retained_count().0,
        1,
        "the version"
    );
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
        stage.check_all(
            &format!("82 {:02X} 00 01 00 00 {length:02X} {bytes} 00", length + 6),
            &format!("82 {:02X} 00 01 00 {length:02X} {bytes} 00", length + 5),
            "8F",
        );
    }
    // A wildcard in a topic name.
    stage.check_all("30 04 00 01 23 00", "30 03 00 01 2B", "90");
    // "$" alone, and "$SYS": well-formed; the second is the server's.
    let mut stream = stage.open();
    exchange(&mut stream, CONNECT_V5, CONNACK_V5);
    exchange(&mut stream, "32 06 00 01 24 00 01 00", "40 03 00 01 10");
    exchange(
        &mut stream,
        "32 09 00 04 24 53 59 53 00 01 00",
        "40 03 00 01 87",
    );
    stage.check_bystander();
    drop(stream);
    stage.stop();
}

#[test]
fn n1_extreme_values_in_packets() {
    let mut stage = Stage::new();
    // Keep Alive 65,535, Session Expiry and Will Delay for ever, Receive Maximum 1.
    let mut stream = stage.open();
    exchange(
        &mut stream,
        "10 22 00 04 4D 51 54 54 05 06 FF FF  08 11 FF FF FF FF 21 00 01  00 01 65 \
         05 18 FF FF FF FF  00 01 77  00 01 78",
        CONNACK_V5,
    );
    // A message that expires in 136 years, and one that has.
    exchange(
        &mut stream,
        "32 0B 00 01 61 00 01 05 02 FF FF FF FF  32 0B 00 01 61 00 02 05 02 00 00 00 00",
        "40 03 00 01 10  40 03 00 02 10",
    );
    drop(stream);
    stage.check_bystander();
    stage.stop();
}

#[test]
fn half_open_connections_get_what_is_ready() {
    let mut stage = Stage::new();
    let mut stream = stage.open();
    send(&mut stream, CONNECT_V311);
    send(&mut stream, "C0 00");
    stream.shutdown(std::net::Shutdown::Write).expect("open");
    assert_eq!(read_to_end(&mut stream), hex("20 02 00 00 D0 00"));
    stage.check_bystander();
    drop(stream);
    stage.stop();
}

#[test]
fn a_broker_that_stops_says_so() {
    let mut stage = Stage::with(Limits::default(), 2);
    let mut new = stage.open();
    exchange(&mut new, CONNECT_V5, CONNACK_V5);
    let mut old = stage.open();
    let id = CONNECT_V311.replace("62 61 64", "6F 6C 64");
    exchange(&mut old, &id, CONNACK_V3);
    stage.check_bystander();
    stage.broker.stop();
    assert_eq!(read_to_end(&mut new), hex("E0 01 8B"));
    assert_eq!(read_to_end(&mut old), []);
    let address = stage.address;
    stage.broker.wait().expect("no worker failed");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn two_workers_exchange_messages_and_sessions() {
    // v5 MQTT-3.1.4-3
    let stage = Stage::with(Limits::default(), 2);
    // So many that both workers have some.
    let mut clients: Vec<TcpStream> = (0..32)
        .map(|n| {
            let mut stream = stage.open();
            let id = CONNECT_V311.replace("62 61 64", &format!("63 63 {:02X}", 0x41 + n));
            exchange(&mut stream, &id, CONNACK_V3);
            exchange(&mut stream, "82 06 00 01 00 01 74 00", "90 03 00 01 00");
            stream
        })
        .collect();
    send(&mut clients[0], "30 04 00 01 74 78");
    for client in &mut clients {
        exchange(client, "", "30 04 00 01 74 78");
    }
    // A lasting session, taken over again and again, wherever the new connection lands.
    let connect = "10 15 00 04 4D 51 54 54 05 00 00 00 05 11 00 00 00 64 00 03 62 61 64";
    let mut last = stage.open();
    exchange(&mut last, connect, CONNACK_V5);
    exchange(&mut last, "82 07 00 01 00 00 01 75 01", "90 04 00 01 00 01");
    for _ in 0..32 {
        let mut next = stage.open();
        exchange(&mut next, connect, &CONNACK_V5.replace("09 00", "09 01"));
        assert_eq!(read_to_end(&mut last), hex("E0 01 8E"));
        send(&mut clients[0], "30 04 00 01 75 79");
        exchange(&mut next, "", "30 05 00 01 75 00 79");
        last = next;
    }
    assert_eq!(stage.broker.directory().subscription_count(), 34);
    drop((clients, last));
    stage.stop();
}
