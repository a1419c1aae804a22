//! Connections that never come to be: something else before CONNECT, and CONNECTs to refuse.

use anyhow::{Result, ensure};

use super::Test;
use crate::interop::wire::{Wire, to_hex};
use crate::interop::{Stage, Version, WAIT};

/// The CONNACKs that may come before the close; an empty list demands a bare close.
type Answers = &'static [&'static str];

const V3_BAD_VERSION: &str = "20 02 00 01";
const V3_BAD_CLIENT_ID: &str = "20 02 00 02";

/// 5.0 lets the server choose between a CONNACK with a code and a bare close.
enum Expected {
    /// A close without a byte.
    Close,
    /// Exactly one of these, then a close.
    Answer(Answers),
    /// A CONNACK of 5.0 with one of these codes, or nothing; then a close.
    CloseOrCode(&'static [u8]),
}

struct Case {
    what: &'static str,
    bytes: &'static str,
    expected: Expected,
}

const fn case(what: &'static str, bytes: &'static str, expected: Expected) -> Case {
    Case {
        what,
        bytes,
        expected,
    }
}

const CASES: &[Case] = &[
    // v5 MQTT-3.1.0-1, v3.1.1 MQTT-3.1.0-1.
    case(
        "PUBLISH before CONNECT",
        "30 04 00 01 61 78",
        Expected::Close,
    ),
    case(
        "SUBSCRIBE before CONNECT",
        "82 06 00 01 00 01 61 00",
        Expected::Close,
    ),
    case("PUBACK before CONNECT", "40 02 00 01", Expected::Close),
    case("PINGREQ before CONNECT", "C0 00", Expected::Close),
    case("DISCONNECT before CONNECT", "E0 00", Expected::Close),
    case("AUTH before CONNECT", "F0 00", Expected::Close),
    case(
        "HTTP instead of CONNECT",
        "47 45 54 20 2F 20 48 54 54 50 2F 31 2E 31 0D 0A 0D 0A",
        Expected::Close,
    ),
    case(
        "TLS instead of CONNECT",
        "16 03 01 00 05 01 00 00 01 00",
        Expected::Close,
    ),
    // An oversize claim is refused by its header, before anything is set aside for it.
    case(
        "CONNECT that claims 256 MiB",
        "10 FF FF FF 7F 00 04 4D 51 54 54 04 02",
        Expected::Close,
    ),
    case(
        "PUBLISH that claims 256 MiB before CONNECT",
        "30 FF FF FF 7F",
        Expected::Close,
    ),
    case(
        "CONNECT with a length of five bytes",
        "10 FF FF FF FF 01",
        Expected::Close,
    ),
    case(
        "CONNECT with flags",
        "11 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 61",
        Expected::Close,
    ),
    // Protocol name and version: v5 MQTT-3.1.2-1, v5 MQTT-3.1.2-2,
    // v3.1.1 MQTT-3.1.2-1, v3.1.1 MQTT-3.1.2-2, V31-mismatch.
    case(
        "unknown protocol name",
        "10 0D 00 04 4D 51 54 58 04 02 00 3C 00 01 61",
        Expected::Close,
    ),
    case(
        "protocol version 6",
        "10 0D 00 04 4D 51 54 54 06 02 00 3C 00 01 61",
        Expected::Answer(&[V3_BAD_VERSION, "20 03 00 84 00"]),
    ),
    case(
        "protocol version 3 by the newer name",
        "10 0D 00 04 4D 51 54 54 03 02 00 3C 00 01 61",
        Expected::Answer(&[V3_BAD_VERSION]),
    ),
    case(
        "protocol version 4 by the older name",
        "10 0F 00 06 4D 51 49 73 64 70 04 02 00 3C 00 01 61",
        Expected::Answer(&[V3_BAD_VERSION]),
    ),
    // A malformed CONNECT is closed without CONNACK: v3.1.1 MQTT-3.1.4-1, v3.1.1 MQTT-3.1.2-3,
    // v3.1.1 MQTT-3.1.2-13, v3.1.1 MQTT-3.1.2-14, v3.1.1 MQTT-3.1.2-15, v3.1.1 MQTT-3.1.2-22.
    case(
        "3.1.1: reserved connect flag",
        "10 0D 00 04 4D 51 54 54 04 03 00 3C 00 01 61",
        Expected::Close,
    ),
    case(
        "3.1.1: will QoS without a will",
        "10 0D 00 04 4D 51 54 54 04 0A 00 3C 00 01 61",
        Expected::Close,
    ),
    case(
        "3.1.1: will QoS 3",
        "10 13 00 04 4D 51 54 54 04 1E 00 3C 00 01 61 00 01 77 00 01 78",
        Expected::Close,
    ),
    case(
        "3.1.1: will retain without a will",
        "10 0D 00 04 4D 51 54 54 04 22 00 3C 00 01 61",
        Expected::Close,
    ),
    case(
        "3.1.1: password without a user name",
        "10 10 00 04 4D 51 54 54 04 42 00 3C 00 01 61 00 01 70",
        Expected::Close,
    ),
    case(
        "3.1.1: user name flag without the field",
        "10 0D 00 04 4D 51 54 54 04 82 00 3C 00 01 61",
        Expected::Close,
    ),
    case(
        "3.1.1: bytes behind the last field",
        "10 0E 00 04 4D 51 54 54 04 02 00 3C 00 01 61 00",
        Expected::Close,
    ),
    case(
        "3.1.1: client id past the end",
        "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 05 61",
        Expected::Close,
    ),
    case(
        "3.1.1: client id with NUL",
        "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 00",
        Expected::Close,
    ),
    case(
        "3.1.1: will topic with a wildcard",
        "10 13 00 04 4D 51 54 54 04 06 00 3C 00 01 61 00 01 23 00 01 78",
        Expected::Close,
    ),
    // v3.1.1 MQTT-3.1.3-8, V31-clientid-empty.
    case(
        "3.1.1: no client id, session to keep",
        "10 0C 00 04 4D 51 54 54 04 00 00 3C 00 00",
        Expected::Answer(&[V3_BAD_CLIENT_ID]),
    ),
    case(
        "3.1: no client id",
        "10 0E 00 06 4D 51 49 73 64 70 03 02 00 3C 00 00",
        Expected::Answer(&[V3_BAD_CLIENT_ID]),
    ),
    // v5 MQTT-3.1.2-3, v5 MQTT-3.1.4-1, v5 MQTT-4.12.0-1, v5 U-02, v5 U-03.
    case(
        "5.0: reserved connect flag",
        "10 0E 00 04 4D 51 54 54 05 03 00 3C 00 00 01 61",
        Expected::CloseOrCode(&[0x81]),
    ),
    case(
        "5.0: will QoS 3",
        "10 15 00 04 4D 51 54 54 05 1E 00 3C 00 00 01 61 00 00 01 77 00 01 78",
        Expected::CloseOrCode(&[0x81]),
    ),
    case(
        "5.0: property twice",
        "10 18 00 04 4D 51 54 54 05 02 00 3C 0A 11 00 00 00 01 11 00 00 00 01 00 01 61",
        Expected::CloseOrCode(&[0x82]),
    ),
    case(
        "5.0: Receive Maximum 0",
        "10 11 00 04 4D 51 54 54 05 02 00 3C 03 21 00 00 00 01 61",
        Expected::CloseOrCode(&[0x82]),
    ),
    case(
        "5.0: Maximum Packet Size 0",
        "10 13 00 04 4D 51 54 54 05 02 00 3C 05 27 00 00 00 00 00 01 61",
        Expected::CloseOrCode(&[0x82]),
    ),
    case(
        "5.0: property of another packet",
        "10 10 00 04 4D 51 54 54 05 02 00 3C 02 01 01 00 01 61",
        Expected::CloseOrCode(&[0x81]),
    ),
    case(
        "5.0: authentication data without a method",
        "10 12 00 04 4D 51 54 54 05 02 00 3C 04 16 00 01 78 00 01 61",
        Expected::CloseOrCode(&[0x82]),
    ),
    case(
        "5.0: authentication method nobody knows",
        "10 12 00 04 4D 51 54 54 05 02 00 3C 04 15 00 01 58 00 01 61",
        Expected::CloseOrCode(&[0x8C]),
    ),
    case(
        "5.0: bytes behind the last field",
        "10 0F 00 04 4D 51 54 54 05 02 00 3C 00 00 01 61 00",
        Expected::CloseOrCode(&[0x81]),
    ),
    case(
        "5.0: will topic with a wildcard",
        "10 15 00 04 4D 51 54 54 05 06 00 3C 00 00 01 61 00 00 01 23 00 01 78",
        Expected::CloseOrCode(&[0x90, 0x81, 0x82]),
    ),
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "5.0: an empty client id gets one assigned",
            assigned_client_id,
        ),
        Test::new("packets pipelined behind CONNECT are handled", pipelined),
    ];
    for case in CASES {
        let test = Test::new(format!("refused: {}", case.what), |stage| {
            refused(stage, case)
        });
        tests.push(match tolerated_by_mosquitto(case.what) {
            Some(why) => test.unlike_mosquitto(why),
            None => test,
        });
    }
    tests
}

/// What mosquitto 2.0.11 lets pass.
fn tolerated_by_mosquitto(what: &str) -> Option<&'static str> {
    match what {
        "5.0: authentication data without a method" => Some("2.0.11 lets it pass"),
        "CONNECT that claims 256 MiB" => Some("2.0.11 waits for all of them"),
        _ => None,
    }
}

fn refused(stage: &Stage<'_>, case: &Case) -> Result<()> {
    let mut witness = stage.wire(Version::V5, "witness")?;
    let mut wire = Wire::open(stage.address())?;
    let peer = wire.local_address()?;
    wire.send_hex(case.bytes)?;
    let answer = wire.packet()?;
    let shown = answer
        .as_deref()
        .map_or_else(|| "a close".to_owned(), to_hex);
    let is_expected = match (&case.expected, answer.as_deref()) {
        (Expected::Close | Expected::CloseOrCode(_), None) => true,
        (Expected::Close, Some(_)) | (Expected::Answer(_), None) => false,
        (Expected::Answer(answers), Some(_)) => answers.contains(&&*shown),
        (Expected::CloseOrCode(codes), Some([0x20, _, 0, code, ..])) => codes.contains(code),
        (Expected::CloseOrCode(_), Some(_)) => false,
    };
    ensure!(is_expected, "got {shown}");
    if answer.is_some() {
        wire.expect_close(WAIT)?;
    }
    stage.check_logged(peer)?;
    witness.ping()
}

/// v5 MQTT-3.1.3-6, v5 MQTT-3.1.3-7, v5 MQTT-3.2.2-16: the CONNACK holds property 0x12.
fn assigned_client_id(stage: &mut Stage<'_>) -> Result<()> {
    for clean in ["02", "00"] {
        let mut wire = Wire::open(stage.address())?;
        wire.send_hex(&format!(
            "10 0D 00 04 4D 51 54 54 05 {clean} 00 3C 00 00 00"
        ))?;
        let connack = wire.packet()?.unwrap_or_default();
        ensure!(connack.get(3) == Some(&0), "refused: {}", to_hex(&connack));
        let assigned = crate::interop::wire::connack_property(&connack, 0x12)?;
        ensure!(
            assigned.is_some_and(|id| !id.is_empty()),
            "no id in {}",
            to_hex(&connack)
        );
        wire.ping()?;
    }
    Ok(())
}

/// X311-3.1.4-d: a client need not wait for the CONNACK.
fn pipelined(stage: &mut Stage<'_>) -> Result<()> {
    let mut wire = Wire::open(stage.address())?;
    wire.send_hex(
        "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 61 \
         82 06 00 01 00 01 61 00 \
         30 04 00 01 61 78 \
         C0 00",
    )?;
    wire.expect_hex("20 02 00 00")?;
    wire.expect_hex("90 03 00 01 00")?;
    // Nothing orders the message and the answer to the ping.
    let mut last =
        [wire.packet()?, wire.packet()?].map(|packet| to_hex(&packet.unwrap_or_default()));
    last.sort();
    ensure!(last == ["30 04 00 01 61 78", "D0 00"], "got {last:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::wire::hex;

    /// A wrong length would make the broker wait for more bytes instead of refusing.
    #[test]
    fn every_case_is_one_whole_packet_or_says_otherwise() {
        for case in CASES {
            let is_other = ["claims", "five bytes", "HTTP", "TLS"];
            if is_other.iter().any(|mark| case.what.contains(mark)) {
                continue;
            }
            let bytes = hex(case.bytes).unwrap();
            assert_eq!(usize::from(bytes[1]), bytes.len() - 2, "{}", case.what);
        }
    }
}
