use super::*;

fn encode(json: &str, version: ProtocolVersion, format: OutputFormat) -> (Verdict, Vec<u8>) {
    let input = Input::open(&[json.to_owned()], None, " ", |_| true).unwrap();
    let mut out = Vec::new();
    let verdict = run(input, version, format, &mut out).unwrap();
    (verdict, out)
}

fn check(json: &str, verdict: Verdict, expected: &str) {
    let (found, out) = encode(json, ProtocolVersion::V5, OutputFormat::Hex);
    let out = String::from_utf8(out).unwrap();
    assert_eq!((found, out.as_str()), (verdict, expected), "{json}");
}

#[test]
fn objects_come_one_after_the_other_or_in_an_array() {
    let (ping, pong) = (r#"{"type":"pingreq"}"#, r#"{"type":"pingresp"}"#);
    for json in [
        format!("{ping}\n{pong}\n"),
        format!("{ping}{pong}"),
        format!(" [{ping}, {pong}]\n"),
        format!("\n\t [\n{ping},\n{pong}\n]"),
    ] {
        check(&json, Verdict::Good, "c000\nd000\n");
    }
    check(
        &format!(r#"{{"packets":[{ping},{pong}]}}"#),
        Verdict::Good,
        "c000d000\n",
    );
    check("", Verdict::Good, "");
    check("[]", Verdict::Good, "");
    check(r#"{"packets":[]}"#, Verdict::Good, "\n");
}

#[test]
fn the_version_is_what_the_object_or_the_connect_says() {
    let publish = r#""type":"publish","topic":"a/b","qos":0,"payload":{"text":"hi"}"#;
    let (v5, v311) = ("30080003612f62006869\n", "30070003612f626869\n");
    check(&format!("{{{publish}}}"), Verdict::Good, v5);
    check(
        &format!(r#"{{"protocol":"3.1.1",{publish}}}"#),
        Verdict::Good,
        v311,
    );
    let connect = r#"{"type":"connect","version":"3.1.1","clean_start":true,"keep_alive":60,
                      "client_id":"a"}"#;
    check(
        &format!("{connect}{{{publish}}}"),
        Verdict::Good,
        &format!("100d00044d5154540402003c000161\n{v311}"),
    );
    let (_, bytes) = encode(
        &format!("{{{publish}}}"),
        ProtocolVersion::V31,
        OutputFormat::Raw,
    );
    assert_eq!(bytes, b"\x30\x07\x00\x03a/bhi");
}

#[test]
fn what_only_says_where_a_packet_was_is_left_aside() {
    let json = r#"{"offset":7,"length":2,"protocol":"5.0","connection":1,"from":"client",
        "source":"10.0.0.1:50000","destination":"10.0.0.2:1883",
        "time":"2026-11-21T11:00:00Z","type":"pingreq"}"#;
    check(json, Verdict::Good, "c000\n");
}

#[test]
fn bytes_are_written_in_three_forms() {
    let json = r#"{"type":"pingreq"}{"type":"pingresp"}"#;
    for (format, expected) in [
        (OutputFormat::Hex, &b"c000\nd000\n"[..]),
        (OutputFormat::Base64, b"wAA=\n0AA=\n"),
        (OutputFormat::Raw, b"\xC0\x00\xD0\x00"),
    ] {
        let (_, out) = encode(json, ProtocolVersion::V5, format);
        assert_eq!(out, expected, "{format:?}");
    }
}

#[test]
fn the_first_object_that_is_no_packet_ends_it() {
    for json in [
        r#"{"type":"hello"}"#,
        r#"{"type":"puback","packet_id":1,"colour":"red"}"#,
        r#"{"type":"publish","topic":"a/#","qos":0,"payload":{"text":""}}"#,
        r#"{"type":"auth","protocol":"3.1.1"}"#,
        r#"{"type":"pingreq","protocol":"6"}"#,
        r#"{"type":"pingreq","protocol":5}"#,
        r#"{"offset":0,"error":"PUBLISH with QoS 3","reason_code":129}"#,
        r#"{"packets":[],"offset":0,"error":"PUBLISH with QoS 3","reason_code":129}"#,
        r#"{"packets":{}}"#,
        r#"{"packets":[1]}"#,
        "{}",
        "1",
        "{",
        "]",
        "nonsense",
    ] {
        let (ping, pong) = (r#"{"type":"pingreq"}"#, r#"{"type":"pingresp"}"#);
        check(
            &format!("{ping}\n{json}\n{pong}"),
            Verdict::Malformed,
            "c000\n",
        );
        check(
            &format!("[{ping},{json},{pong}]"),
            Verdict::Malformed,
            "c000\n",
        );
    }
    check("[", Verdict::Malformed, "");
    check("[] 1", Verdict::Malformed, "");
}

#[test]
fn nesting_is_bounded() {
    for nest in ["[", "{\"a\":"] {
        check(&nest.repeat(100_000), Verdict::Malformed, "");
        check(
            &format!("{{\"type\":{}", nest.repeat(100_000)),
            Verdict::Malformed,
            "",
        );
    }
}
