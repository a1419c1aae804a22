use mqttstack_codec::ProtocolVersion;

use super::{super::report::Verdict, link::tests::ipv4_packet, *};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const RST: u8 = 0x04;

const TO_SERVER: (u16, u16) = (50_000, 1883);
const TO_CLIENT: (u16, u16) = (1883, 50_000);

const CONNECT_V311: &[u8] = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01a";
const CONNACK_V311: &[u8] = b"\x20\x02\x00\x00";
const PUBLISH_V311: &[u8] = b"\x30\x07\x00\x03a/bhi";

/// A capture of IP packets, a second apart.
fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = vec![0xA1, 0xB2, 0xC3, 0xD4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([0, 0, 0xFF, 0xFF, 0, 0, 0, 101]);
    for (packet, seconds) in packets.iter().zip(0_u32..) {
        let length = u32::try_from(packet.len()).unwrap();
        file.extend([seconds, 0, length, length].map(u32::to_be_bytes).concat());
        file.extend(packet);
    }
    file
}

/// What of an object is compared: connection, side, offset, type or error.
type Line = (u64, String, u64, String);

fn line(connection: u64, from: &str, offset: u64, what: &str) -> Line {
    (connection, from.to_owned(), offset, what.to_owned())
}

fn inspect_as(file: &[u8], from: Sender, ports: &[u16]) -> (Verdict, Vec<Line>) {
    let mut out = Vec::new();
    let mut report = Report::in_json(&mut out);
    let selection = Selection {
        ports: ports.to_vec(),
        from,
    };
    run(
        BufReader::new(file),
        "capture",
        selection,
        Decoder::new(),
        &mut report,
    )
    .unwrap();
    let verdict = report.verdict();
    let lines = serde_json::Deserializer::from_slice(&out).into_iter();
    let lines = lines.map(|object| {
        let object: serde_json::Value = object.unwrap();
        let what = object.get("type").unwrap_or(&object["error"]);
        line(
            object["connection"].as_u64().unwrap(),
            object["from"].as_str().unwrap(),
            object["offset"].as_u64().unwrap(),
            what.as_str().unwrap(),
        )
    });
    (verdict, lines.collect())
}

fn inspect(packets: &[Vec<u8>]) -> (Verdict, Vec<Line>) {
    inspect_as(&pcap(packets), Sender::Any, &[1883])
}

/// A connection of 3.1.1, from its first SYN to its last message.
fn conversation() -> Vec<Vec<u8>> {
    vec![
        ipv4_packet(TO_SERVER, 99, SYN, b""),
        ipv4_packet(TO_CLIENT, 499, SYN | ACK, b""),
        ipv4_packet(TO_SERVER, 100, ACK, CONNECT_V311),
        ipv4_packet(TO_CLIENT, 500, ACK, CONNACK_V311),
        ipv4_packet(TO_SERVER, 115, ACK, &PUBLISH_V311[..4]),
        ipv4_packet(TO_CLIENT, 504, ACK, PUBLISH_V311),
        ipv4_packet(
            TO_SERVER,
            119,
            ACK,
            &[&PUBLISH_V311[4..], b"\xC0\x00"].concat(),
        ),
    ]
}

fn conversation_lines() -> Vec<Line> {
    vec![
        line(1, "client", 0, "connect"),
        line(1, "server", 0, "connack"),
        line(1, "server", 4, "publish"),
        line(1, "client", 15, "publish"),
        line(1, "client", 24, "pingreq"),
    ]
}

#[test]
fn both_sides_are_read_in_the_version_of_the_connect() {
    assert_eq!(
        inspect(&conversation()),
        (Verdict::Good, conversation_lines())
    );
}

#[test]
fn segments_may_be_repeated_or_swapped() {
    let mut packets = conversation();
    packets.swap(4, 6);
    let repeated: Vec<_> = packets
        .iter()
        .flat_map(|packet| [packet.clone(), packet.clone()])
        .collect();
    assert_eq!(inspect(&repeated), (Verdict::Good, conversation_lines()));
}

#[test]
fn one_side_may_be_asked_for() {
    let file = pcap(&conversation());
    for (from, side) in [(Sender::Client, "client"), (Sender::Server, "server")] {
        let lines: Vec<_> = conversation_lines()
            .into_iter()
            .filter(|line| line.1 == side)
            .collect();
        assert_eq!(inspect_as(&file, from, &[1883]), (Verdict::Good, lines));
    }
}

#[test]
fn other_ports_are_left_alone_unless_they_are_asked_for() {
    let file = pcap(&conversation());
    assert_eq!(
        inspect_as(&file, Sender::Any, &[8883]),
        (Verdict::Good, vec![])
    );
    let (verdict, lines) = inspect_as(&file, Sender::Any, &[8883, 1883]);
    assert_eq!((verdict, lines), (Verdict::Good, conversation_lines()));
}

#[test]
fn a_packet_of_the_wrong_side_is_malformed() {
    let packets = [ipv4_packet(TO_CLIENT, 1, ACK, b"\xC0\x00")];
    let lines = vec![line(1, "server", 0, "PINGREQ is not sent by a server")];
    assert_eq!(inspect(&packets), (Verdict::Malformed, lines));
}

#[test]
fn a_new_connection_from_the_same_port_is_another() {
    let mut packets = conversation();
    packets.push(ipv4_packet(TO_SERVER, 7_000, SYN, b""));
    packets.push(ipv4_packet(TO_SERVER, 7_001, ACK, b"\xC0\x00"));
    // Behind a reset, too.
    packets.push(ipv4_packet(TO_CLIENT, 1, RST, b""));
    packets.push(ipv4_packet(TO_SERVER, 8_000, ACK, b"\xC0\x00"));
    let mut lines = conversation_lines();
    lines.push(line(2, "client", 0, "pingreq"));
    lines.push(line(3, "client", 0, "pingreq"));
    assert_eq!(inspect(&packets), (Verdict::Good, lines));
}

#[test]
fn what_is_missing_or_unfinished_is_reported() {
    let mut packets = conversation();
    packets.remove(4);
    packets.push(ipv4_packet(TO_CLIENT, 513, ACK, b"\x30\x07\x00"));
    let lines = vec![
        line(1, "client", 0, "connect"),
        line(1, "server", 0, "connack"),
        line(1, "server", 4, "publish"),
        line(1, "client", 15, "4 bytes are missing from the capture"),
        line(1, "server", 13, "incomplete packet: 3 of 9 bytes"),
    ];
    assert_eq!(inspect(&packets), (Verdict::Malformed, lines));
}

#[test]
fn nothing_is_read_behind_what_is_malformed() {
    let packets = [
        ipv4_packet(TO_SERVER, 1, ACK, b"\xC0\x00\x36\x00"),
        ipv4_packet(TO_SERVER, 5, ACK, b"\xC0\x00"),
        ipv4_packet(TO_SERVER, 9, ACK, b"\xC0\x00"),
        ipv4_packet(TO_CLIENT, 1, ACK, b"\xD0\x00"),
    ];
    let lines = vec![
        line(1, "client", 0, "pingreq"),
        line(1, "client", 2, "PUBLISH with QoS 3"),
        line(1, "server", 0, "pingresp"),
    ];
    assert_eq!(inspect(&packets), (Verdict::Malformed, lines));
}

#[test]
fn a_capture_that_breaks_off_shows_what_it_has() {
    let file = pcap(&conversation());
    let mut out = Vec::new();
    let mut report = Report::in_json(&mut out);
    let selection = Selection {
        ports: vec![1883],
        from: Sender::Any,
    };
    let decoder = Decoder::new().with_version(ProtocolVersion::V311);
    let failure = run(
        BufReader::new(&file[..file.len() - 1]),
        "x.pcap",
        selection,
        decoder,
        &mut report,
    );
    assert!(format!("{failure:?}").contains("x.pcap: ends in the middle of a frame"));
    assert_eq!(report.verdict(), Verdict::Malformed, "half a PUBLISH");
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 4);
}

#[test]
fn connections_are_bounded() {
    let packets: Vec<_> = (0..=CONNECTIONS_MAX)
        .map(|number| {
            let mut packet = ipv4_packet(TO_SERVER, 1, ACK, b"\xC0");
            let number = u32::try_from(number).unwrap();
            packet[12..16].copy_from_slice(&number.to_be_bytes());
            packet
        })
        .collect();
    let (verdict, lines) = inspect(&packets);
    assert_eq!(verdict, Verdict::Malformed);
    assert_eq!(lines.len(), packets.len());
    assert_eq!(lines[0], line(1, "client", 0, "incomplete fixed header"));
}

#[test]
fn an_item_says_where_it_comes_from() {
    let mut out = Vec::new();
    let mut report = Report::in_json(&mut out);
    let selection = Selection {
        ports: vec![1883],
        from: Sender::Any,
    };
    let file = pcap(&[ipv4_packet(TO_SERVER, 1, ACK, b"\xC0\x00")]);
    run(
        BufReader::new(&file[..]),
        "capture",
        selection,
        Decoder::new(),
        &mut report,
    )
    .unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"offset\":0,\"length\":2,\"protocol\":\"5.0\",\"connection\":1,\"from\":\"client\",\
         \"source\":\"10.0.0.1:50000\",\"destination\":\"10.0.0.2:1883\",\
         \"time\":\"1970-01-01T00:00:00Z\",\"type\":\"pingreq\"}\n"
    );
}

#[test]
fn a_capture_may_be_anything() {
    let whole = pcap(&conversation());
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..5_000 {
        let mut file = whole.clone();
        for _ in 0..=random(8) {
            let place = random(file.len());
            file[place] = u8::try_from(random(256)).unwrap();
        }
        let mut report = Report::in_json(std::io::sink());
        let selection = Selection {
            ports: vec![1883],
            from: Sender::Any,
        };
        // What comes of it differs; that it ends is what counts.
        let _ = run(
            BufReader::new(&file[..]),
            "capture",
            selection,
            Decoder::new(),
            &mut report,
        );
    }
}
