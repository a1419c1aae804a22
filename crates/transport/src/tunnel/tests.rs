//! Conversations with proxies, told line by line.

use super::*;
use crate::memory::{MemoryStream, pair};
use TunnelError as E;
use TunnelProtocol::{HttpConnect, Socks5};

/// Plays the proxy: expects and answers in turn; returns the client's end and its last word.
fn talk(
    client: &TunnelClient,
    target: &str,
    lines: &[(&[u8], &[u8])],
) -> (
    MemoryStream,
    TunnelStream<MemoryStream>,
    Result<Handshake, TransportError>,
) {
    let (near, mut far) = pair();
    let mut near = client.connect(near, &target.parse().unwrap());
    for (expected, answer) in lines {
        assert_eq!(near.handshake(), Ok(Handshake::Pending));
        let mut buffer = [0; 1024];
        let len = far.read(&mut buffer).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&buffer[..len]),
            String::from_utf8_lossy(expected)
        );
        for byte in *answer {
            assert!(!near.is_established());
            assert!(near.read(&mut [0; 8]).is_err() && near.write(b"x").is_err());
            far.write(&[*byte]).unwrap();
            if byte != answer.last().unwrap() {
                let _ = near.handshake();
            }
        }
    }
    let result = near.handshake();
    (far, near, result)
}

#[test]
fn http_opens_a_tunnel_and_keeps_what_follows() {
    let client = TunnelClient::new(HttpConnect);
    let request = b"CONNECT broker.example:8883 HTTP/1.1\r\nHost: broker.example:8883\r\n\r\n";
    let (near, mut far) = pair();
    let mut near = client.connect(near, &"broker.example:8883".parse().unwrap());
    assert_eq!(near.handshake(), Ok(Handshake::Pending));
    let mut buffer = [0; 1024];
    let len = far.read(&mut buffer).unwrap();
    assert_eq!(buffer[..len], request[..]);
    far.write(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n\x20\x02")
        .unwrap();
    assert_eq!(near.handshake(), Ok(Handshake::Complete));
    assert!(near.has_buffered_input());
    assert_eq!(near.read(&mut buffer).unwrap(), 2);
    assert_eq!(buffer[..2], *b"\x20\x02");
    near.write(b"up").unwrap();
    assert_eq!(far.read(&mut buffer).unwrap(), 2);
}

#[test]
fn http_sends_the_password_and_names_each_refusal() {
    let client = TunnelClient::with_credentials(HttpConnect, "user", "pass").unwrap();
    let request = b"CONNECT [::1]:1883 HTTP/1.1\r\nHost: [::1]:1883\r\n\
        Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n";
    for (answer, error) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
            E::CredentialsRefused,
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", E::Forbidden),
        (
            b"HTTP/1.0 502 Bad Gateway\r\n\r\n",
            E::Status { status: 502 },
        ),
        (b"HTTP/1.1 2x0 Odd\r\n\r\n", E::NotAProxy),
        (b"SSH-2.0", E::NotAProxy),
    ] {
        let (_far, _near, result) = talk(&client, "[::1]:1883", &[(request, answer)]);
        assert_eq!(result, Err(error.into()));
    }
    let mut endless = b"HTTP/1.1 200 OK\r\n".to_vec();
    endless.resize(9000, b'x');
    let (near, mut far) = pair();
    let mut near = client.connect(near, &"[::1]:1883".parse().unwrap());
    far.write(&endless).unwrap();
    let limit = Step::ANSWER_BYTES_MAX;
    assert_eq!(near.handshake(), Err(E::AnswerTooLong { limit }.into()));
}

#[test]
fn socks_opens_a_tunnel_to_names_and_addresses() {
    let client = TunnelClient::new(Socks5);
    for (target, request) in [
        (
            "192.0.2.7:1883",
            &b"\x05\x01\x00\x01\xc0\x00\x02\x07\x07\x5b"[..],
        ),
        ("broker:1883", b"\x05\x01\x00\x03\x06broker\x07\x5b"),
        (
            "[::1]:1883",
            b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x07\x5b",
        ),
    ] {
        for reply in [
            &b"\x05\x00\x00\x01\0\0\0\0\0\0"[..],
            b"\x05\x00\x00\x03\x01x\0\0",
            b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            let lines = [(&b"\x05\x01\x00"[..], &b"\x05\x00"[..]), (request, reply)];
            let (mut far, mut near, result) = talk(&client, target, &lines);
            assert_eq!(result, Ok(Handshake::Complete), "{target}");
            far.write(b"down").unwrap();
            assert_eq!(near.read(&mut [0; 8]).unwrap(), 4);
        }
    }
}

#[test]
fn socks_sends_the_password_and_names_each_refusal() {
    let client = TunnelClient::with_credentials(Socks5, "user", "pass").unwrap();
    let offer = &b"\x05\x02\x00\x02"[..];
    let password = &b"\x01\x04user\x04pass"[..];
    let request = &b"\x05\x01\x00\x03\x01b\x00\x01"[..];
    type Lines<'a> = &'a [(&'a [u8], &'a [u8])];
    let cases: [(Lines<'_>, TunnelError); 6] = [
        (&[(offer, b"\x05\xff")], E::CredentialsRefused),
        (
            &[(offer, b"\x05\x02"), (password, b"\x01\x01")],
            E::CredentialsRefused,
        ),
        (
            &[(offer, b"\x05\x00"), (request, b"\x05\x02")],
            E::Forbidden,
        ),
        (
            &[(offer, b"\x05\x00"), (request, b"\x05\x05")],
            E::Unreachable { reply: 5 },
        ),
        (&[(offer, b"\x05\x01")], E::NotAProxy),
        (&[(offer, b"\x04")], E::NotAProxy),
    ];
    for (lines, error) in cases {
        assert_eq!(
            talk(&client, "b:1", lines).2,
            Err(error.into()),
            "{lines:?}"
        );
    }
    // A proxy that wants a password from a client without one.
    let lines: Lines<'_> = &[(b"\x05\x01\x00", b"\x05\x02")];
    let (_, _, result) = talk(&TunnelClient::new(Socks5), "b:1", lines);
    assert_eq!(result, Err(E::NotAProxy.into()));
}

#[test]
fn credentials_that_cannot_be_sent_are_refused_and_none_is_shown() {
    let long = "x".repeat(256);
    for (protocol, user, password) in [
        (Socks5, "", "p"),
        (Socks5, "u", ""),
        (Socks5, &*long, "p"),
        (HttpConnect, "a:b", "p"),
        (HttpConnect, "a\nb", "p"),
    ] {
        let result = TunnelClient::with_credentials(protocol, user, password);
        assert_eq!(result, Err(E::CredentialsInvalid));
    }
    let client = TunnelClient::with_credentials(Socks5, "user", "secret").unwrap();
    assert!(!format!("{client:?}").contains("secret"));
}

#[test]
fn a_proxy_that_goes_before_its_answer_is_missed() {
    let (near, far) = pair();
    let mut near = TunnelClient::new(Socks5).connect(near, &"b:1".parse().unwrap());
    assert_eq!(near.handshake(), Ok(Handshake::Pending));
    drop(far);
    assert_eq!(near.handshake(), Err(TransportError::Closed));
}
