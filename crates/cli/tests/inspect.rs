//! `mqttstack inspect` as people and programs run it.

#[path = "inspect/vectors.rs"]
mod vectors;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use serde_json::Value;
use vectors::{BAD_V5, BAD_V311, NOT_CANONICAL, V5, V311};

/// What came of a run.
struct Outcome {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Outcome {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("text")
    }

    fn objects(&self) -> Vec<Value> {
        let lines = self.text().lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a JSON object"))
            .collect()
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqttstack"));
    command.arg("inspect").args(arguments);
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

fn run(command: &mut Command, input: &[u8]) -> Outcome {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    thread::scope(|scope| {
        scope.spawn(move || {
            // It may stop reading at the first fault.
            let _ = stdin.write_all(input);
        });
        let output = child.wait_with_output().expect("it ends");
        Outcome {
            code: output.status.code().expect("an exit code"),
            out: output.stdout,
            err: String::from_utf8(output.stderr).expect("text"),
        }
    })
}

fn inspect(arguments: &[&str], input: &[u8]) -> Outcome {
    run(&mut command(arguments), input)
}

/// A line of hex as `--encode` writes it.
fn compact(digits: &str) -> String {
    digits.split_whitespace().collect::<String>().to_lowercase()
}

fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).expect("it can be written");
    path
}

const PUBLISH: &[u8] = b"\x30\x07\x00\x03a/bhi";
const PUBLISH_JSON: &str = "{\"offset\":0,\"length\":9,\"protocol\":\"3.1.1\",\"type\":\"publish\",\
                            \"topic\":\"a/b\",\"qos\":0,\"payload\":{\"text\":\"hi\"}}\n";

#[test]
fn the_vectors_of_the_wire_documents_survive_the_way_there_and_back() {
    for (protocol, wires) in [("5", &V5[..]), ("3.1.1", &V311[..])] {
        let json = inspect(
            &["--lines", "--json", "--protocol", protocol],
            wires.join("\n").as_bytes(),
        );
        assert_eq!((json.code, json.err.as_str()), (0, ""), "{}", json.text());
        assert_eq!(
            json.objects().len() + 1,
            wires.len(),
            "the last line is empty and has no end"
        );

        let back = inspect(&["--encode"], &json.out);
        assert_eq!((back.code, back.err.as_str()), (0, ""));
        let expected: Vec<_> = wires.iter().map(|wire| compact(wire)).collect();
        assert_eq!(
            back.text().trim_end_matches('\n'),
            expected.join("\n").trim_end_matches('\n')
        );

        // The same as one array, and to raw bytes that are read once more.
        let array = format!("[{}]", json.text().trim_end().replace('\n', ","));
        let raw = inspect(&["--encode", "--output", "raw"], array.as_bytes());
        let bytes = expected.concat();
        let hex: String = raw.out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, bytes);
    }
    for (wire, protocol, canonical) in NOT_CANONICAL {
        let json = inspect(&["--json", "--protocol", protocol, wire], b"");
        assert_eq!(json.code, 0, "{wire}");
        let back = inspect(&["--encode"], &json.out);
        assert_eq!(back.text().trim_end(), compact(canonical));
    }
}

#[test]
fn what_the_standards_forbid_is_malformed() {
    let lines: Vec<_> = BAD_V5.iter().map(|(wire, _)| *wire).collect();
    let outcome = inspect(&["--lines", "--json"], lines.join("\n").as_bytes());
    assert_eq!(outcome.code, 1);
    let objects = outcome.objects();
    assert_eq!(objects.len(), BAD_V5.len());
    for ((wire, code), object) in BAD_V5.iter().zip(objects) {
        assert_eq!(object["packets"], Value::Array(vec![]), "{wire}");
        assert_eq!(object["offset"], 0, "{wire}");
        assert_eq!(object["reason_code"], *code, "{wire}");
        assert!(object["error"].is_string(), "{wire}");
        // The same by itself.
        let alone = inspect(&["--json", wire], b"");
        assert_eq!(alone.code, 1, "{wire}");
        let alone = alone.objects();
        assert_eq!(alone.len(), 1, "{wire}");
        for member in ["offset", "error", "reason_code", "incomplete"] {
            assert_eq!(alone[0][member], object[member], "{wire}");
        }
        assert_eq!(inspect(&[wire], b"").code, 1, "{wire}");
    }
    for wire in BAD_V311 {
        let outcome = inspect(&["--json", "--protocol", "3.1.1", wire], b"");
        assert_eq!(outcome.code, 1, "{wire}");
        assert!(outcome.objects()[0]["error"].is_string(), "{wire}");
    }
}

#[test]
fn the_input_may_be_written_in_any_form_and_come_from_anywhere() {
    let hex = b"30 07 00 03 61 2f 62 68 69\n";
    let base64 = b"MAcAA2EvYmhp\n";
    let (hex_file, raw_file) = (file("publish.hex", hex), file("publish.raw", PUBLISH));
    let (hex_file, raw_file) = (hex_file.to_str().unwrap(), raw_file.to_str().unwrap());
    let cases: [(&[&str], &[u8]); 16] = [
        (&["300700", "03612f626869"], b""),
        (&["30:07:00:03:61:2f:62:68:69"], b""),
        (
            &["0x30, 0x07, 0x00, 0x03, 0x61, 0x2F, 0x62, 0x68, 0x69"],
            b"",
        ),
        (&["--input", "hex", "30 07 00 03 61 2f 62 68 69"], b""),
        (&["--input", "base64", "MAcAA2EvYmhp"], b""),
        (&[], hex),
        (&["-"], hex),
        (&["--input", "hex"], hex),
        (&[], base64),
        (&["-", "--input", "base64"], base64),
        (&[], PUBLISH),
        (&["--input", "raw", "-"], PUBLISH),
        (&[hex_file], b""),
        (&["--file", hex_file], b""),
        (&["-f", raw_file], b""),
        (&["--input", "raw", raw_file], b""),
    ];
    for (arguments, input) in cases {
        let outcome = inspect(
            &[arguments, &["--json", "--protocol", "3.1.1"]].concat(),
            input,
        );
        assert_eq!(
            outcome.text(),
            PUBLISH_JSON,
            "{arguments:?} {input:?} {}",
            outcome.err
        );
        assert_eq!(
            (outcome.code, outcome.err.as_str()),
            (0, ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_connect_tells_the_version_of_what_follows() {
    let connect = "100D00044D5154540402003C000161";
    let publish = "30070003612f626869";
    let outcome = inspect(&["--json", connect, publish], b"");
    let objects = outcome.objects();
    assert_eq!(outcome.code, 0);
    assert_eq!(
        (&objects[0]["protocol"], &objects[0]["version"]),
        (&"3.1.1".into(), &"3.1.1".into())
    );
    assert_eq!(
        (&objects[1]["protocol"], &objects[1]["offset"]),
        (&"3.1.1".into(), &15.into())
    );
    assert_eq!(inspect(&[publish], b"").code, 1, "no properties for 5.0");
}

#[test]
fn the_side_that_sends_is_checked_if_it_is_known() {
    for (from, code) in [("client", 0), ("any", 0), ("server", 1)] {
        assert_eq!(inspect(&["--from", from, "c000"], b"").code, code, "{from}");
    }
    let outcome = inspect(&["--from", "server", "--json", "c000"], b"");
    assert_eq!(
        outcome.text(),
        "{\"offset\":0,\"error\":\"PINGREQ is not sent by a server\",\"reason_code\":130}\n"
    );
}

#[test]
fn packets_are_limited_in_size_if_asked_for() {
    assert_eq!(
        inspect(
            &[
                "--packet-size-max",
                "9",
                "--input",
                "raw",
                "--protocol",
                "3.1.1"
            ],
            PUBLISH
        )
        .code,
        0
    );
    let outcome = inspect(&["--packet-size-max", "8", "--json", "30 07"], b"");
    assert_eq!(
        outcome.text(),
        "{\"offset\":0,\"error\":\"packet of 9 bytes exceeds the limit of 8\",\"reason_code\":149}\n"
    );
}

#[test]
fn people_see_what_is_wrong_behind_what_is_right() {
    let outcome = inspect(&["c000", "400300 0a03", "c000"], b"");
    assert_eq!(
        outcome.text(),
        "PINGREQ (MQTT 5.0)
      0..1  C0                       packet type                 PINGREQ
      1..2  00                       remaining length            0

error at 2: PUBACK cannot carry code 0x03: protocol error (0x82)
      2..3  40                       packet type                 PUBACK
      3..4  03                       remaining length            3
      4..6  00 0A                    packet identifier           10
      6..7  03                       reason code                 unknown (0x03)
"
    );
    assert_eq!(outcome.code, 1);
}

#[test]
fn a_packet_cannot_command_the_terminal() {
    let outcome = inspect(
        &["--protocol", "3.1.1", "30 0a 00 03 61 1b 62 1b 5b 32 4a 07"],
        b"",
    );
    assert_eq!(outcome.code, 0, "{}", outcome.text());
    assert!(!outcome.out.contains(&0x1B), "{}", outcome.text());
    assert!(
        outcome.text().contains(r#""\u{1b}[2J\u{7}""#),
        "{}",
        outcome.text()
    );
    let lines = inspect(
        &[
            "--lines",
            "--protocol",
            "3.1.1",
            "30 0a 00 03 61 1b 62 1b 5b 32 4a 07",
        ],
        b"",
    );
    assert!(!lines.out.contains(&0x1B), "{}", lines.text());
}

#[test]
fn colours_are_for_those_who_want_them() {
    let is_coloured = |variables: &[(&str, &str)]| {
        let mut command = command(&["c000"]);
        command.envs(variables.iter().copied());
        run(&mut command, b"").out.contains(&0x1B)
    };
    assert!(!is_coloured(&[]), "a pipe is no terminal");
    assert!(is_coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!is_coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

/// A pcap file of one PINGREQ, over Ethernet, IPv4 and TCP, to port 1883.
fn capture() -> Vec<u8> {
    let digits = "d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000
                  01000000 20a10700 38000000 38000000
                  000000000000 000000000000 0800
                  4500 002a 0000 4000 4006 0000 7f000001 7f000001
                  c350 075b 00000001 00000000 5018 0000 0000 0000
                  c000";
    let digits: String = digits.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex");
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[test]
fn captures_are_known_by_their_beginning() {
    let path = file("ping.pcap", &capture());
    let path = path.to_str().unwrap();
    let runs = [
        inspect(&[path], b""),
        inspect(&[], &capture()),
        inspect(&["--input", "pcap", "--port", "1883"], &capture()),
    ];
    for outcome in runs {
        assert_eq!(
            outcome.text(),
            "connection 1, client 127.0.0.1:50000 to 127.0.0.1:1883, 1970-01-01T00:00:01.5Z
PINGREQ (MQTT 5.0)
      0..1  C0                       packet type                 PINGREQ
      1..2  00                       remaining length            0
"
        );
        assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    }
    let outcome = inspect(&["--json"], &capture());
    let back = inspect(&["--encode"], &outcome.out);
    assert_eq!(back.text(), "c000\n");
    let elsewhere = inspect(&["--port", "1884"], &capture());
    assert_eq!((elsewhere.code, elsewhere.text()), (0, ""));
    assert_eq!(
        elsewhere.err,
        "mqttstack inspect: standard input: no connection to port 1884 in this capture; \
         there is TCP with port 1883: choose one with --port\n"
    );
    let cut = inspect(&["--input", "pcap"], &capture()[..90]);
    assert_eq!(cut.code, 2);
    assert!(
        cut.err
            .contains("standard input: ends in the middle of a frame"),
        "{}",
        cut.err
    );
}

#[test]
fn packets_are_shown_while_more_may_come() {
    for input in [&capture()[..], b"\xC0\x00"] {
        let mut command = command(&["--json"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input).expect("it reads");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut line).expect("it writes");
        assert!(line.contains("pingreq"), "{line}");
        drop(stdin);
        assert!(child.wait().expect("it ends").success());
    }
}

#[test]
fn exit_codes_tell_malformed_from_unreadable() {
    let cases: [(&[&str], &[u8], i32); 23] = [
        (&["c000"], b"", 0),
        (&["--help"], b"", 0),
        (&[], b"", 0),
        (&["c0"], b"", 1),
        (&["3600"], b"", 1),
        (&["--lines"], b"c000\n3600\nc000\n", 1),
        (&["--encode"], b"{}", 1),
        (&["--encode"], b"{\"type\":\"pingreq\"}", 0),
        (&["--encode"], b"", 0),
        (&["c00"], b"", 2),
        (&["--input", "hex"], b"no hex", 2),
        (&["--input", "base64"], b"!", 2),
        (&["--input", "pcap"], b"c000", 2),
        (&["--lines"], b"c000\nno hex\nc000\n", 2),
        (&["--lines", "--input", "base64"], b"", 2),
        (&["--colour"], b"", 2),
        (&["--protocol", "6"], b"", 2),
        (&["--from", "nobody"], b"", 2),
        (&["--encode", "--json"], b"", 2),
        (&["--output", "raw"], b"", 2),
        (&["no-such-file.pcap"], b"", 2),
        (&["--file", "no-such-file.pcap"], b"", 2),
        (&["no-such-file.pcap", "c000"], b"", 2),
    ];
    for (arguments, input, code) in cases {
        let outcome = inspect(arguments, input);
        assert_eq!(
            outcome.code,
            code,
            "{arguments:?}: {}{}",
            outcome.text(),
            outcome.err
        );
        // What cannot be said in the output is said beside it.
        let is_said_beside = match code {
            2 => arguments != ["--lines"],
            1 => arguments == ["--encode"],
            _ => false,
        };
        assert_eq!(!outcome.err.is_empty(), is_said_beside, "{arguments:?}");
    }
}

#[test]
fn each_line_gives_one_line_whatever_is_on_it() {
    // The vectors, with one bit of each turned at every place; and lines that are no hex.
    let mut lines = Vec::new();
    for wire in V5.iter().chain(&V311) {
        let wire = compact(wire);
        for place in 0..wire.len() {
            let mut changed = wire.clone().into_bytes();
            changed[place] = match changed[place] {
                b'0' => b'f',
                b'9' => b'a',
                digit => digit - 1,
            };
            lines.push(String::from_utf8(changed).unwrap());
        }
    }
    lines.push("not hex".to_owned());
    let input = lines.join("\n");
    for arguments in [&["--lines", "--json"][..], &["--lines"]] {
        let outcome = inspect(arguments, input.as_bytes());
        assert_eq!(outcome.code, 2, "{}", outcome.err);
        assert_eq!(outcome.text().lines().count(), lines.len());
    }
    let outcome = inspect(&["--lines", "--json"], input.as_bytes());
    for object in outcome.objects() {
        assert!(object["packets"].is_array(), "{object}");
    }
}

#[test]
fn a_stream_is_read_to_its_end_however_long_it_is() {
    let packets = 300_000;
    let input = PUBLISH.repeat(packets);
    let outcome = inspect(&["--json", "--protocol", "3.1.1"], &input);
    assert_eq!(outcome.code, 0);
    assert_eq!(outcome.text().lines().count(), packets);
    let last = outcome.text().lines().next_back().unwrap();
    assert!(last.starts_with("{\"offset\":2699991,"), "{last}");
}

#[test]
fn match_leaves_1_for_its_answer_as_well() {
    let code = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqttstack"));
        run(command.args(arguments), b"").code
    };
    for (arguments, expected) in [
        (&["match", "a/+", "a/b"][..], 0),
        (&["match", "a/+", "b"], 1),
        (&["match", "a/#/b", "a"], 2),
        (&["match"], 2),
        (&["match", "--colour"], 2),
        (&["pub", "--colour"], 1),
    ] {
        assert_eq!(code(arguments), expected, "{arguments:?}");
    }
}
