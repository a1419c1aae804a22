use mqttstack_codec::{Decoder, ProtocolVersion};

use super::{
    super::{flow::Flow, text::Hex},
    *,
};

/// Dumps the one item that the bytes are, in a stream in which others precede it.
fn dumped(version: ProtocolVersion, digits: &str, style: Style) -> (bool, String) {
    let mut bytes = Vec::new();
    Hex::default()
        .decode(digits.as_bytes(), &mut bytes)
        .unwrap();
    let mut flow = Flow::default();
    flow.push(&bytes);
    let decoder = Decoder::new().with_version(version);
    let item = flow.poll(decoder).expect("an item");
    let mut out = Vec::new();
    dump(&mut out, &item, style).unwrap();
    (item.outcome.is_ok(), String::from_utf8(out).unwrap())
}

type Case = (&'static str, ProtocolVersion, &'static str, &'static str);

fn check(cases: &[Case], is_packet: bool) {
    let style = Style { is_coloured: false };
    for (name, version, digits, expected) in cases {
        let (is_ok, text) = dumped(*version, digits, style);
        assert_eq!(text, expected.trim_start_matches('\n'), "{name}");
        assert_eq!(is_ok, is_packet, "{name}");
    }
}

#[test]
fn every_packet_is_shown_field_by_field() {
    check(
        &[
            (
                "a CONNECT with all fields",
                ProtocolVersion::V5,
                "10 2B 00 04 4D 51 54 54 05 EE 00 1E 05 11 FF FF FF FF 00 02 63 31 05 18 00 00 00 05 00 03 77 2F 74 00 03 62 79 65 00 01 75 00 02 01 02",
                r#"
      0..1  10                       packet type                 CONNECT
      1..2  2B                       remaining length            43
      2..8  00 04 4D 51 54 54        protocol name               "MQTT"
      8..9  05                       protocol level              MQTT 5.0
     9..10  EE                       connect flags               user name, password, will retain, will QoS 1, will, clean start
    10..12  00 1E                    keep alive                  30 s
    12..13  05                       property length             5
    13..18  11 FF FF FF FF             session expiry interval   never
    18..22  00 02 63 31              client identifier           "c1"
    22..23  05                       will property length        5
    23..28  18 00 00 00 05             will delay interval       5 s
    28..33  00 03 77 2F 74           will topic                  "w/t"
    33..38  00 03 62 79 65           will payload                "bye"
    38..41  00 01 75                 user name                   "u"
    41..45  not shown                password                    2 bytes
"#,
            ),
            (
                "a CONNECT of 3.1 from a bridge, without the fields it announces",
                ProtocolVersion::V5,
                "10 12 00 06 4D 51 49 73 64 70 83 C2 00 00 00 01 61 00 01 75",
                r#"
      0..1  10                       packet type                 CONNECT
      1..2  12                       remaining length            18
     2..10  00 06 4D 51 49 73 64 70  protocol name               "MQIsdp"
    10..11  83                       protocol level              MQTT 3.1, bridge
    11..12  C2                       connect flags               user name, password, clean start
    12..14  00 00                    keep alive                  off
    14..17  00 01 61                 client identifier           "a"
    17..20  00 01 75                 user name                   "u"
"#,
            ),
            (
                "a CONNACK that refuses",
                ProtocolVersion::V5,
                "20 1D 00 87 1A 11 00 00 00 0A 24 01 25 00 12 00 01 63 13 00 0A 27 00 00 01 00 1F 00 02 6E 6F",
                r#"
      0..1  20                       packet type                 CONNACK
      1..2  1D                       remaining length            29
      2..3  00                       acknowledge flags           none
      3..4  87                       reason code                 not authorized (0x87)
      4..5  1A                       property length             26
     5..10  11 00 00 00 0A             session expiry interval   10 s
    10..12  24 01                      maximum QoS               QoS 1
    12..14  25 00                      retain available          no
    14..18  12 00 01 63                assigned client identifier  "c"
    18..21  13 00 0A                   server keep alive         10 s
    21..26  27 00 00 01 00             maximum packet size       256 bytes
    26..31  1F 00 02 6E 6F             reason string             "no"
"#,
            ),
            (
                "a CONNACK of 3.1.1",
                ProtocolVersion::V311,
                "20 02 00 05",
                r#"
      0..1  20                       packet type                 CONNACK
      1..2  02                       remaining length            2
      2..3  00                       acknowledge flags           none
      3..4  05                       return code                 not authorized (0x05)
"#,
            ),
            (
                "a PUBLISH",
                ProtocolVersion::V5,
                "3D 1B 00 01 74 00 0A 14 01 01 02 00 00 00 3C 26 00 01 6B 00 01 76 0B 80 01 23 00 05 68",
                r#"
      0..1  3D                       packet type                 PUBLISH, QoS 2, DUP, RETAIN
      1..2  1B                       remaining length            27
      2..5  00 01 74                 topic name                  "t"
      5..7  00 0A                    packet identifier           10
      7..8  14                       property length             20
     8..10  01 01                      payload format indicator  text
    10..15  02 00 00 00 3C             message expiry interval   60 s
    15..22  26 00 01 6B 00 01 76       user property             "k" = "v"
    22..25  0B 80 01                   subscription identifier   128
    25..28  23 00 05                   topic alias               5
    28..29  68                       payload                     "h"
"#,
            ),
            (
                "a PUBLISH of 3.1.1 with a long payload that is no text",
                ProtocolVersion::V311,
                "30 0F 00 03 61 1B 62 FF 00 01 02 03 04 05 06 07 08",
                r#"
      0..1  30                       packet type                 PUBLISH, QoS 0
      1..2  0F                       remaining length            15
      2..7  00 03 61 1B 62           topic name                  "a\u{1b}b"
     7..17  FF 00 01 02 03 04 05 ..  payload                     0xff000102030405060708
"#,
            ),
            (
                "a PUBACK",
                ProtocolVersion::V5,
                "40 09 00 0A 87 05 1F 00 02 6E 6F",
                r#"
      0..1  40                       packet type                 PUBACK
      1..2  09                       remaining length            9
      2..4  00 0A                    packet identifier           10
      4..5  87                       reason code                 not authorized (0x87)
      5..6  05                       property length             5
     6..11  1F 00 02 6E 6F             reason string             "no"
"#,
            ),
            (
                "a PUBREC",
                ProtocolVersion::V5,
                "50 02 00 0A",
                r#"
      0..1  50                       packet type                 PUBREC
      1..2  02                       remaining length            2
      2..4  00 0A                    packet identifier           10
"#,
            ),
            (
                "a PUBREL",
                ProtocolVersion::V5,
                "62 03 00 0A 92",
                r#"
      0..1  62                       packet type                 PUBREL
      1..2  03                       remaining length            3
      2..4  00 0A                    packet identifier           10
      4..5  92                       reason code                 packet identifier not found (0x92)
"#,
            ),
            (
                "a PUBCOMP of 3.1.1",
                ProtocolVersion::V311,
                "70 02 00 0A",
                r#"
      0..1  70                       packet type                 PUBCOMP
      1..2  02                       remaining length            2
      2..4  00 0A                    packet identifier           10
"#,
            ),
            (
                "a SUBSCRIBE",
                ProtocolVersion::V5,
                "82 13 00 01 03 0B 80 01 00 0A 24 73 68 61 72 65 2F 67 2F 61 29",
                r#"
      0..1  82                       packet type                 SUBSCRIBE
      1..2  13                       remaining length            19
      2..4  00 01                    packet identifier           1
      4..5  03                       property length             3
      5..8  0B 80 01                   subscription identifier   128
     8..20  00 0A 24 73 68 61 72 ..  topic filter                "$share/g/a"
    20..21  29                       options                     QoS 1, retain as published, no retained
"#,
            ),
            (
                "a SUBSCRIBE of 3.1.1",
                ProtocolVersion::V311,
                "82 0E 00 0A 00 03 61 2F 62 01 00 03 63 2F 64 02",
                r#"
      0..1  82                       packet type                 SUBSCRIBE
      1..2  0E                       remaining length            14
      2..4  00 0A                    packet identifier           10
      4..9  00 03 61 2F 62           topic filter                "a/b"
     9..10  01                       options                     QoS 1
    10..15  00 03 63 2F 64           topic filter                "c/d"
    15..16  02                       options                     QoS 2
"#,
            ),
            (
                "a SUBACK",
                ProtocolVersion::V5,
                "90 05 00 0A 00 00 87",
                r#"
      0..1  90                       packet type                 SUBACK
      1..2  05                       remaining length            5
      2..4  00 0A                    packet identifier           10
      4..5  00                       property length             0
      5..6  00                       reason code                 granted QoS 0 (0x00)
      6..7  87                       reason code                 not authorized (0x87)
"#,
            ),
            (
                "a SUBACK of 3.1.1",
                ProtocolVersion::V311,
                "90 04 00 0A 01 80",
                r#"
      0..1  90                       packet type                 SUBACK
      1..2  04                       remaining length            4
      2..4  00 0A                    packet identifier           10
      4..5  01                       return code                 granted QoS 1 (0x01)
      5..6  80                       return code                 failure (0x80)
"#,
            ),
            (
                "an UNSUBSCRIBE",
                ProtocolVersion::V5,
                "A2 0D 00 0A 00 00 03 61 2F 62 00 03 63 2F 64",
                r#"
      0..1  A2                       packet type                 UNSUBSCRIBE
      1..2  0D                       remaining length            13
      2..4  00 0A                    packet identifier           10
      4..5  00                       property length             0
     5..10  00 03 61 2F 62           topic filter                "a/b"
    10..15  00 03 63 2F 64           topic filter                "c/d"
"#,
            ),
            (
                "an UNSUBACK",
                ProtocolVersion::V5,
                "B0 05 00 0A 00 00 11",
                r#"
      0..1  B0                       packet type                 UNSUBACK
      1..2  05                       remaining length            5
      2..4  00 0A                    packet identifier           10
      4..5  00                       property length             0
      5..6  00                       reason code                 success (0x00)
      6..7  11                       reason code                 no subscription existed (0x11)
"#,
            ),
            (
                "an UNSUBACK of 3.1.1",
                ProtocolVersion::V311,
                "B0 02 00 0A",
                r#"
      0..1  B0                       packet type                 UNSUBACK
      1..2  02                       remaining length            2
      2..4  00 0A                    packet identifier           10
"#,
            ),
            (
                "a PINGREQ",
                ProtocolVersion::V5,
                "C0 00",
                r#"
      0..1  C0                       packet type                 PINGREQ
      1..2  00                       remaining length            0
"#,
            ),
            (
                "a PINGRESP",
                ProtocolVersion::V5,
                "D0 00",
                r#"
      0..1  D0                       packet type                 PINGRESP
      1..2  00                       remaining length            0
"#,
            ),
            (
                "a DISCONNECT",
                ProtocolVersion::V5,
                "E0 07 00 05 11 00 00 00 00",
                r#"
      0..1  E0                       packet type                 DISCONNECT
      1..2  07                       remaining length            7
      2..3  00                       reason code                 normal disconnection (0x00)
      3..4  05                       property length             5
      4..9  11 00 00 00 00             session expiry interval   0 s
"#,
            ),
            (
                "an AUTH",
                ProtocolVersion::V5,
                "F0 0B 18 09 15 00 01 58 16 00 02 01 02",
                r#"
      0..1  F0                       packet type                 AUTH
      1..2  0B                       remaining length            11
      2..3  18                       reason code                 continue authentication (0x18)
      3..4  09                       property length             9
      4..8  15 00 01 58                authentication method     "X"
     8..13  not shown                  authentication data       2 bytes
"#,
            ),
        ],
        true,
    );
}

#[test]
fn what_is_malformed_is_shown_as_far_as_it_goes() {
    check(
        &[
            (
                "a field that is cut short",
                ProtocolVersion::V5,
                "10 10 00 04 4D 51 54 54 05 00 00 00 00 00 09 61 62 63",
                r#"
      0..1  10                       packet type                 CONNECT
      1..2  10                       remaining length            16
      2..8  00 04 4D 51 54 54        protocol name               "MQTT"
      8..9  05                       protocol level              MQTT 5.0
     9..10  00                       connect flags               none
    10..12  00 00                    keep alive                  off
    12..13  00                       property length             0
    13..18  00 09 61 62 63           client identifier           cut short: 5 of 11 bytes
"#,
            ),
            (
                "a password that is cut short",
                ProtocolVersion::V5,
                "10 12 00 04 4D 51 54 54 05 40 00 00 00 00 00 00 09 01 02 03",
                r#"
      0..1  10                       packet type                 CONNECT
      1..2  12                       remaining length            18
      2..8  00 04 4D 51 54 54        protocol name               "MQTT"
      8..9  05                       protocol level              MQTT 5.0
     9..10  40                       connect flags               password
    10..12  00 00                    keep alive                  off
    12..13  00                       property length             0
    13..15  00 00                    client identifier           ""
    15..20  not shown                password                    cut short: 5 of 11 bytes
"#,
            ),
            (
                "a property that is cut short",
                ProtocolVersion::V5,
                "30 0A 00 01 74 05 26 00 01 61 00 68",
                r#"
      0..1  30                       packet type                 PUBLISH, QoS 0
      1..2  0A                       remaining length            10
      2..5  00 01 74                 topic name                  "t"
      5..6  05                       property length             5
     6..11  26 00 01 61 00             user property             cut short: 5 of 6 bytes
    11..12  68                       left over                   1 bytes
"#,
            ),
            (
                "an unknown property",
                ProtocolVersion::V5,
                "30 09 00 01 74 05 7F 00 01 61 68",
                r#"
      0..1  30                       packet type                 PUBLISH, QoS 0
      1..2  09                       remaining length            9
      2..5  00 01 74                 topic name                  "t"
      5..6  05                       property length             5
     6..11  7F 00 01 61 68             unknown property          0x7F
"#,
            ),
            (
                "an integer that does not end",
                ProtocolVersion::V5,
                "30 08 00 01 74 05 0B FF FF FF",
                r#"
      0..1  30                       packet type                 PUBLISH, QoS 0
      1..2  08                       remaining length            8
      2..5  00 01 74                 topic name                  "t"
      5..6  05                       property length             5
     6..10  0B FF FF FF                subscription identifier   cut short: 4 of 5 bytes
"#,
            ),
            (
                "an integer that does not end, with more behind it",
                ProtocolVersion::V5,
                "30 0A 00 01 74 05 0B FF FF FF FF 01",
                r#"
      0..1  30                       packet type                 PUBLISH, QoS 0
      1..2  0A                       remaining length            10
      2..5  00 01 74                 topic name                  "t"
      5..6  05                       property length             5
     6..11  0B FF FF FF FF             subscription identifier   continues past its fourth byte
    11..12  01                       left over                   1 bytes
"#,
            ),
            (
                "an options byte that means nothing",
                ProtocolVersion::V5,
                "82 09 00 0A 00 00 03 61 2F 62 F3",
                r#"
      0..1  82                       packet type                 SUBSCRIBE
      1..2  09                       remaining length            9
      2..4  00 0A                    packet identifier           10
      4..5  00                       property length             0
     5..10  00 03 61 2F 62           topic filter                "a/b"
    10..11  F3                       options                     QoS 3, retain handling 3, reserved bits
"#,
            ),
            (
                "flags that are not those of the type",
                ProtocolVersion::V5,
                "81 02 00 0A",
                r#"
      0..1  81                       packet type                 SUBSCRIBE, flags 0x1
      1..2  02                       remaining length            2
      2..4  00 0A                    packet identifier           10
      4..4                           property length             cut short: 0 of 1 bytes
"#,
            ),
            (
                "a length that does not end",
                ProtocolVersion::V5,
                "10 FF FF FF FF 01",
                r#"
      0..1  10                       packet type                 CONNECT
      1..5  FF FF FF FF              remaining length            continues past its fourth byte
      5..6  not shown                left over                   1 bytes
"#,
            ),
            (
                "a password behind a fault",
                ProtocolVersion::V311,
                "10 12 00 04 4D 51 54 54 04 02 00 3C 00 00 00 04 73 65 63 72",
                r#"
      0..1  10                       packet type                 CONNECT
      1..2  12                       remaining length            18
      2..8  00 04 4D 51 54 54        protocol name               "MQTT"
      8..9  04                       protocol level              MQTT 3.1.1
     9..10  02                       connect flags               clean start
    10..12  00 3C                    keep alive                  60 s
    12..14  00 00                    client identifier           ""
    14..20  not shown                left over                   6 bytes
"#,
            ),
            (
                "a type that is reserved",
                ProtocolVersion::V5,
                "00 01 02",
                r#"
      0..1  00                       packet type                 reserved
      1..3  01 02                    left over                   2 bytes
"#,
            ),
            (
                "bytes behind the last field",
                ProtocolVersion::V5,
                "C0 02 01 02",
                r#"
      0..1  C0                       packet type                 PINGREQ
      1..2  02                       remaining length            2
      2..4  01 02                    left over                   2 bytes
"#,
            ),
            (
                "a code that is unknown",
                ProtocolVersion::V5,
                "40 03 00 0A 03",
                r#"
      0..1  40                       packet type                 PUBACK
      1..2  03                       remaining length            3
      2..4  00 0A                    packet identifier           10
      4..5  03                       reason code                 unknown (0x03)
"#,
            ),
        ],
        false,
    );
}

#[test]
fn places_are_those_of_the_stream() {
    let mut flow = Flow::default();
    flow.push(&[0xC0, 0x00].repeat(60_000));
    let mut last = String::new();
    while let Some(item) = flow.poll(Decoder::new()) {
        let mut out = Vec::new();
        dump(&mut out, &item, Style { is_coloured: false }).unwrap();
        last = String::from_utf8(out).unwrap();
    }
    let places: Vec<_> = last.lines().map(|line| line.split(' ').next()).collect();
    assert_eq!(places, [Some("119998..119999"), Some("119999..120000")]);
}

#[test]
fn colour_changes_nothing_but_the_colour() {
    let (_, plain) = dumped(ProtocolVersion::V5, "00", Style { is_coloured: false });
    let (_, coloured) = dumped(ProtocolVersion::V5, "00", Style { is_coloured: true });
    assert_ne!(plain, coloured);
    assert_eq!(
        coloured.replace("\x1b[2m", "").replace("\x1b[0m", ""),
        plain
    );
}
