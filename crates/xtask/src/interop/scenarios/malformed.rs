//! Packets of a connected client that the specification forbids, one by one.
//!
//! Each is sent by a client that has a will, under the eyes of a witness. A 5.0 client gets a
//! DISCONNECT with the code that the specification names, the older ones just a close; the will
//! is published, and the witness goes on.

use anyhow::{Context, Result, ensure};

use super::ending::expect_disconnect;
use super::{MEBIBYTE, Test};
use crate::interop::broker::Settings;
use crate::interop::wire::{Hello, Publish, connack_u16, connack_u32, packet};
use crate::interop::{Stage, Version, WAIT};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const FILTER_INVALID: u8 = 0x8F;
const NAME_INVALID: u8 = 0x90;
const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
const ALIAS_INVALID: u8 = 0x94;
const TOO_LARGE: u8 = 0x95;

/// Where the specification forbids something without naming the class of the error.
const EITHER: &[u8] = &[MALFORMED, PROTOCOL_ERROR];

const PACKET_SIZE_MAX: usize = MEBIBYTE;
const SMALL: Settings = Settings {
    packet_size_max: Some(PACKET_SIZE_MAX),
    listens_in_all_ways: false,
};

/// A forbidden packet: its bytes before 5.0 and in 5.0, and the codes that answer the latter.
struct Case {
    what: &'static str,
    /// Also forbidden in 3.1, whose text leaves several bits unchecked.
    in_v31: bool,
    v3: Option<&'static str>,
    v5: Option<(&'static str, &'static [u8])>,
}

const fn all(what: &'static str, v3: &'static str, v5: &'static str, codes: &'static [u8]) -> Case {
    Case {
        what,
        in_v31: true,
        v3: Some(v3),
        v5: Some((v5, codes)),
    }
}

const fn since_v311(
    what: &'static str,
    v3: &'static str,
    v5: &'static str,
    codes: &'static [u8],
) -> Case {
    Case {
        what,
        in_v31: false,
        v3: Some(v3),
        v5: Some((v5, codes)),
    }
}

const fn only_v5(what: &'static str, v5: &'static str, codes: &'static [u8]) -> Case {
    Case {
        what,
        in_v31: false,
        v3: None,
        v5: Some((v5, codes)),
    }
}

const CASES: &[Case] = &[
    // Fixed header: v5 MQTT-2.1.3-1, v3.1.1 MQTT-2.2.2-2, v3.1.1 MQTT-4.8.0-1, X311-2.2.1-a,
    // X311-2.2.3-a, X311-2.2.3-b.
    all("packet type 0", "00 00", "00 00", &[MALFORMED]),
    since_v311("flags on PINGREQ", "C1 00", "C1 00", &[MALFORMED]),
    since_v311(
        "flags on PUBACK",
        "41 02 00 01",
        "41 02 00 01",
        &[MALFORMED],
    ),
    all(
        "Remaining Length of five bytes",
        "30 80 80 80 80 01",
        "30 80 80 80 80 01",
        &[MALFORMED],
    ),
    only_v5(
        "Remaining Length longer than needed",
        "C0 80 00",
        &[MALFORMED],
    ),
    all("body behind PINGREQ", "C0 01 00", "C0 01 00", &[MALFORMED]),
    Case {
        what: "packet type 15",
        in_v31: true,
        v3: Some("F0 00"),
        v5: None,
    },
    // Packets that only a server sends: X311-2.2.1-b.
    all(
        "CONNACK from a client",
        "20 02 00 00",
        "20 03 00 00 00",
        &[PROTOCOL_ERROR],
    ),
    all(
        "SUBACK from a client",
        "90 03 00 01 00",
        "90 04 00 01 00 00",
        &[PROTOCOL_ERROR],
    ),
    all(
        "UNSUBACK from a client",
        "B0 02 00 01",
        "B0 04 00 01 00 00",
        &[PROTOCOL_ERROR],
    ),
    all(
        "PINGRESP from a client",
        "D0 00",
        "D0 00",
        &[PROTOCOL_ERROR],
    ),
    // v5 MQTT-3.1.0-2, v3.1.1 MQTT-3.1.0-2.
    all(
        "second CONNECT",
        "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 61",
        "10 0E 00 04 4D 51 54 54 05 02 00 3C 00 00 01 61",
        &[PROTOCOL_ERROR],
    ),
    // v5 MQTT-3.3.1-2, v5 MQTT-3.3.1-4, v3.1.1 MQTT-3.3.1-2, v3.1.1 MQTT-3.3.1-4, V31-msgid.
    all(
        "QoS 3",
        "36 06 00 01 61 00 01 78",
        "36 07 00 01 61 00 01 00 78",
        &[MALFORMED],
    ),
    since_v311(
        "DUP with QoS 0",
        "38 04 00 01 61 78",
        "38 05 00 01 61 00 78",
        EITHER,
    ),
    all(
        "packet id 0",
        "32 06 00 01 61 00 00 78",
        "32 07 00 01 61 00 00 00 78",
        EITHER,
    ),
    all("PUBLISH that is empty", "30 00", "30 00", &[MALFORMED]),
    all(
        "no topic",
        "30 02 00 00",
        "30 03 00 00 00",
        &[PROTOCOL_ERROR],
    ),
    all(
        "topic past the end of the packet",
        "30 07 FF FF 41 42 43 44 45",
        "30 07 FF FF 41 42 43 44 45",
        &[MALFORMED],
    ),
    all(
        "QoS 1 without room for its id",
        "32 03 00 01 61",
        "32 03 00 01 61",
        &[MALFORMED],
    ),
    // v5 MQTT-3.3.2-2, v3.1.1 MQTT-3.3.2-2.
    all(
        "wildcard in a topic name",
        "30 05 00 03 61 2F 23",
        "30 06 00 03 61 2F 23 00",
        &[NAME_INVALID],
    ),
    // v5 MQTT-1.5.4-1, v5 MQTT-1.5.4-2, v3.1.1 MQTT-1.5.3-1, v3.1.1 MQTT-1.5.3-2, V31-utf8.
    all(
        "NUL in a topic",
        "30 03 00 01 00",
        "30 04 00 01 00 00",
        &[MALFORMED],
    ),
    all(
        "overlong UTF-8",
        "30 04 00 02 C0 80",
        "30 05 00 02 C0 80 00",
        &[MALFORMED],
    ),
    all(
        "a surrogate",
        "30 05 00 03 ED A0 80",
        "30 06 00 03 ED A0 80 00",
        &[MALFORMED],
    ),
    all(
        "truncated UTF-8",
        "30 03 00 01 C3",
        "30 04 00 01 C3 00",
        &[MALFORMED],
    ),
    // v5 MQTT-3.8.1-1, v5 MQTT-3.8.3-2, v5 MQTT-3.8.3-5, v3.1.1 MQTT-3.8.1-1,
    // v3.1.1 MQTT-3.8.3-3, v3.1.1 MQTT-3.8.3-4, V31-sub-empty.
    since_v311(
        "flags on SUBSCRIBE",
        "80 06 00 01 00 01 61 00",
        "80 07 00 01 00 00 01 61 00",
        &[MALFORMED],
    ),
    all(
        "SUBSCRIBE without entries",
        "82 02 00 01",
        "82 03 00 01 00",
        &[PROTOCOL_ERROR],
    ),
    all(
        "SUBSCRIBE without options",
        "82 05 00 01 00 01 61",
        "82 06 00 01 00 00 01 61",
        &[MALFORMED],
    ),
    all(
        "SUBSCRIBE for QoS 3",
        "82 06 00 01 00 01 61 03",
        "82 07 00 01 00 00 01 61 03",
        EITHER,
    ),
    since_v311(
        "reserved bits of SUBSCRIBE",
        "82 06 00 01 00 01 61 80",
        "82 07 00 01 00 00 01 61 80",
        &[MALFORMED],
    ),
    all(
        "SUBSCRIBE with packet id 0",
        "82 06 00 00 00 01 61 00",
        "82 07 00 00 00 00 01 61 00",
        EITHER,
    ),
    // v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.7.3-1, v3.1.1 MQTT-4.7.1-2,
    // v3.1.1 MQTT-4.7.1-3, v3.1.1 MQTT-4.7.3-1.
    all(
        "# before the end of a filter",
        "82 0A 00 01 00 05 61 2F 23 2F 62 00",
        "82 0B 00 01 00 00 05 61 2F 23 2F 62 00",
        &[FILTER_INVALID],
    ),
    all(
        "+ beside other characters",
        "82 07 00 01 00 02 61 2B 00",
        "82 08 00 01 00 00 02 61 2B 00",
        &[FILTER_INVALID],
    ),
    all(
        "empty filter",
        "82 05 00 01 00 00 00",
        "82 06 00 01 00 00 00 00",
        &[MALFORMED, PROTOCOL_ERROR, FILTER_INVALID],
    ),
    only_v5("retain handling 3", "82 07 00 01 00 00 01 61 30", EITHER),
    // v5 MQTT-3.8.3-4: $share/g/a with No Local.
    only_v5(
        "No Local on a shared subscription",
        "82 10 00 01 00 00 0A 24 73 68 61 72 65 2F 67 2F 61 04",
        &[PROTOCOL_ERROR],
    ),
    // v5 MQTT-4.8.2-2.
    only_v5(
        "share name with a wildcard",
        "82 10 00 01 00 00 0A 24 73 68 61 72 65 2F 2B 2F 61 00",
        &[FILTER_INVALID, PROTOCOL_ERROR, MALFORMED],
    ),
    // v5 MQTT-3.10.1-1, v5 MQTT-3.10.3-2, v3.1.1 MQTT-3.10.1-1, v3.1.1 MQTT-3.10.3-2.
    all(
        "UNSUBSCRIBE without entries",
        "A2 02 00 01",
        "A2 03 00 01 00",
        &[PROTOCOL_ERROR],
    ),
    since_v311(
        "flags on UNSUBSCRIBE",
        "A0 05 00 01 00 01 61",
        "A0 06 00 01 00 00 01 61",
        &[MALFORMED],
    ),
    // v5 MQTT-3.6.1-1, v3.1.1 MQTT-3.6.1-1.
    since_v311(
        "flags on PUBREL",
        "60 02 00 01",
        "60 02 00 01",
        &[MALFORMED],
    ),
    all("PUBACK of one byte", "40 01 00", "40 01 00", &[MALFORMED]),
    all("PUBACK for id 0", "40 02 00 00", "40 02 00 00", EITHER),
    // Properties: v5 U-02, U-03.
    only_v5(
        "unknown property",
        "30 07 00 01 61 02 7E 00 78",
        &[MALFORMED],
    ),
    only_v5(
        "property of another packet",
        "30 07 00 01 61 02 24 01 78",
        &[MALFORMED],
    ),
    only_v5(
        "property twice",
        "30 09 00 01 61 04 01 00 01 00 78",
        &[PROTOCOL_ERROR],
    ),
    only_v5(
        "property past its section",
        "30 07 00 01 61 02 02 00 78",
        &[MALFORMED],
    ),
    only_v5(
        "section past the packet",
        "30 05 00 01 61 7F 78",
        &[MALFORMED],
    ),
    only_v5(
        "wildcard in the response topic",
        "30 09 00 01 61 04 08 00 01 23 78",
        &[PROTOCOL_ERROR, NAME_INVALID],
    ),
    // v5 MQTT-3.3.4-6.
    only_v5(
        "subscription id from a client",
        "30 07 00 01 61 02 0B 01 78",
        &[PROTOCOL_ERROR],
    ),
    // v5 MQTT-3.3.2-8, v5 MQTT-3.3.2-9.
    only_v5("alias 0", "30 08 00 01 61 03 23 00 00 78", &[ALIAS_INVALID]),
    only_v5(
        "alias 65535",
        "30 08 00 01 61 03 23 FF FF 78",
        &[ALIAS_INVALID],
    ),
    only_v5(
        "alias that was never set",
        "30 07 00 00 03 23 00 01 78",
        &[PROTOCOL_ERROR, ALIAS_INVALID],
    ),
    // AUTH on a connection without an authentication method.
    only_v5(
        "AUTH out of place",
        "F0 06 18 04 15 00 01 58",
        &[PROTOCOL_ERROR, 0x8C],
    ),
    // v5 MQTT-3.14.1-1, v3.1.1 MQTT-3.14.1-1.
    since_v311("flags on DISCONNECT", "E1 00", "E1 00", &[MALFORMED]),
    only_v5("server code in a DISCONNECT", "E0 01 8B", EITHER),
    // v5 U-06: a session expiry that CONNECT left at 0 cannot be raised.
    only_v5(
        "raised session expiry",
        "E0 07 00 05 11 00 00 00 0A",
        &[PROTOCOL_ERROR],
    ),
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new("more than Receive Maximum in flight", receive_maximum)
            .unlike_mosquitto("answers without disconnecting"),
        Test::new(
            "5.0: a PUBLISH as large as announced, and one larger",
            larger_than_announced,
        )
        .with(SMALL)
        .unlike_mosquitto("2.0.11 compares the Remaining Length instead of the whole packet"),
        Test::new(
            "3.1.1: a PUBLISH larger than the limit",
            larger_than_the_limit,
        )
        .with(SMALL),
    ];
    for case in CASES {
        for version in Version::ALL {
            let (bytes, codes) = match version {
                Version::V31 if !case.in_v31 => continue,
                Version::V31 | Version::V311 => (case.v3, None),
                Version::V5 => (case.v5.map(|v5| v5.0), case.v5.map(|v5| v5.1)),
            };
            let Some(bytes) = bytes else { continue };
            let name = format!("forbidden in {version}: {}", case.what);
            let test = Test::new(name, move |stage| forbidden(stage, version, bytes, codes));
            tests.push(match tolerated_by_mosquitto(case.what, version) {
                Some(why) => test.unlike_mosquitto(why),
                None => test,
            });
        }
    }
    tests
}

/// What mosquitto 2.0.11 does not answer with a close and the will.
fn tolerated_by_mosquitto(what: &str, version: Version) -> Option<&'static str> {
    use Version::{V5, V31, V311};
    const LETS_PASS: &str = "2.0.11 lets it pass";
    const NO_WILL: &str = "2.0.11 closes, but forgets the will";
    let (versions, why): (&[Version], _) = match what {
        "flags on PINGREQ" | "flags on PUBACK" | "DUP with QoS 0" => (&[V311, V5], LETS_PASS),
        "body behind PINGREQ"
        | "SUBACK from a client"
        | "UNSUBACK from a client"
        | "PINGRESP from a client" => (&Version::ALL, LETS_PASS),
        "SUBSCRIBE without entries" | "UNSUBSCRIBE without entries" => (&[V31], LETS_PASS),
        "Remaining Length longer than needed"
        | "No Local on a shared subscription"
        | "share name with a wildcard"
        | "wildcard in the response topic"
        | "subscription id from a client" => (&[V5], LETS_PASS),
        "second CONNECT" | "server code in a DISCONNECT" => (&Version::ALL, NO_WILL),
        _ => return None,
    };
    versions.contains(&version).then_some(why)
}

fn forbidden(stage: &Stage<'_>, version: Version, bytes: &str, codes: Option<&[u8]>) -> Result<()> {
    let mut witness = stage.wire(Version::V5, "witness")?;
    witness.subscribe(Version::V5, "will", 0)?;
    let will = Some(("will", &b"thrown out"[..]));
    let (mut offender, _) = stage.hello(&Hello {
        will,
        ..Hello::new(version, "offender")
    })?;
    let peer = offender.local_address()?;
    offender.send_hex(bytes)?;
    match codes {
        Some(codes) => expect_disconnect(stage, &mut offender, codes)?,
        None => offender.expect_close(WAIT)?,
    }
    let got = witness.publish(Version::V5)?;
    ensure!(got.payload == b"thrown out", "instead of the will: {got:?}");
    stage.check_logged(peer)?;
    witness.ping()
}

/// v5 MQTT-3.3.4-7: nothing to exceed where the maximum is that of the packet ids.
fn receive_maximum(stage: &mut Stage<'_>) -> Result<()> {
    let (mut offender, connack) = stage.hello(&Hello::new(Version::V5, "offender"))?;
    let maximum = connack_u16(&connack, 0x21)?.unwrap_or(u16::MAX);
    let Some(last) = maximum.checked_add(1) else {
        return Ok(());
    };
    let mut witness = stage.wire(Version::V5, "witness")?;
    let publish = |id| {
        let publish = Publish {
            topic: "a".into(),
            qos: 2,
            id: Some(id),
            ..Publish::default()
        };
        publish.encode(Version::V5)
    };
    for id in 1..=maximum {
        offender.send(&publish(id))?;
        let answer = offender.packet()?.context("closed within the maximum")?;
        ensure!(
            answer.first() == Some(&0x50),
            "expected a PUBREC, got {answer:02X?}"
        );
    }
    offender.send(&publish(last))?;
    expect_disconnect(stage, &mut offender, &[RECEIVE_MAXIMUM_EXCEEDED])?;
    witness.ping()
}

/// v5 MQTT-3.2.2-15: the size is refused by the header, before the body is sent.
fn larger_than_announced(stage: &mut Stage<'_>) -> Result<()> {
    let mut witness = stage.wire(Version::V5, "witness")?;
    witness.subscribe(Version::V5, "a", 0)?;
    let (mut offender, connack) = stage.hello(&Hello::new(Version::V5, "offender"))?;
    let announced = connack_u32(&connack, 0x27)?
        .map(usize::try_from)
        .transpose()?;
    ensure!(
        announced == Some(PACKET_SIZE_MAX),
        "announced {announced:?}"
    );
    // Fixed header of 4 bytes, topic of 3, property length of 1.
    let publish = |size: usize| {
        let payload = vec![b'x'; size - 8];
        Publish {
            topic: "a".into(),
            payload,
            ..Publish::default()
        }
    };
    let largest = publish(PACKET_SIZE_MAX);
    let bytes = largest.encode(Version::V5);
    ensure!(
        bytes.len() == PACKET_SIZE_MAX,
        "the packet has {} bytes",
        bytes.len()
    );
    offender.send(&bytes)?;
    ensure!(
        witness.publish(Version::V5)? == largest,
        "the largest packet arrived changed"
    );
    let mut too_large = publish(PACKET_SIZE_MAX + 1).encode(Version::V5);
    too_large.truncate(4);
    offender.send(&too_large)?;
    expect_disconnect(stage, &mut offender, &[TOO_LARGE])?;
    witness.ping()
}

/// A 3.1.1 client learns of the limit only when it is closed.
fn larger_than_the_limit(stage: &mut Stage<'_>) -> Result<()> {
    let mut witness = stage.wire(Version::V311, "witness")?;
    let mut offender = stage.wire(Version::V311, "offender")?;
    let peer = offender.local_address()?;
    let mut too_large = packet(0x30, &vec![0; PACKET_SIZE_MAX]);
    too_large.truncate(4);
    offender.send(&too_large)?;
    offender.expect_close(WAIT)?;
    stage.check_logged(peer)?;
    witness.ping()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::wire::hex;

    /// A wrong length would make a case wait for more bytes instead of testing anything.
    #[test]
    fn every_case_is_one_whole_packet() {
        const BAD_LENGTH: [&str; 1] = ["30 80 80 80 80 01"];
        for case in CASES {
            for text in [case.v3, case.v5.map(|v5| v5.0)].into_iter().flatten() {
                let bytes = hex(text).unwrap();
                let over_long = bytes[1] == 0x80;
                if BAD_LENGTH.contains(&text) || over_long {
                    continue;
                }
                assert_eq!(
                    usize::from(bytes[1]),
                    bytes.len() - 2,
                    "{}: {text}",
                    case.what
                );
            }
        }
    }
}
