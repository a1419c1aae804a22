//! R4 and R6 behind TLS and WebSocket: openings that never end, keys without end, compression.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use mqttstack_broker::{
    ListenerSettings,
    limits::Limits,
    transport::{TlsServer, TlsServerOptions, WebSocketServer, WebSocketServerOptions},
};

use super::{
    common::{Authority, frame, read_head, tls_over, upgrade},
    stage::*,
};

fn loopback() -> ListenerSettings {
    ListenerSettings::tcp("127.0.0.1:0".parse().expect("an endpoint"))
}

fn tls(authority: &Authority) -> TlsServer {
    TlsServer::load(TlsServerOptions::new(authority.sign("server"))).expect("valid")
}

fn websocket() -> WebSocketServer {
    WebSocketServer::new(WebSocketServerOptions::default())
}

#[test]
fn r4_openings_that_never_end() {
    let authority = Authority::new();
    let limits = Limits {
        connect_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    for (listener, beginning) in [
        (
            loopback().layer(tls(&authority)),
            hex("16 03 01 01 40 01 00 01 3C 03 03"),
        ),
        (
            loopback().layer(websocket()),
            b"GET /mqtt HTTP/1.1\r\nHost: a\r\nX-More: ".to_vec(),
        ),
    ] {
        let stage = Stage::behind(listener.limits(limits.clone()));
        let mut silent = stage.open();
        let mut slow = stage.open();
        send_bytes(&mut slow, &beginning);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(30));
            if slow.write_all(b"x").is_err() {
                break;
            }
        }
        // A word of farewell is allowed, a stay is not.
        read_to_end(&mut slow);
        read_to_end(&mut silent);
        stage.end(());
    }
}

#[test]
fn r6_keys_that_are_renewed_without_end() {
    let authority = Authority::new();
    let mut stage = Stage::behind(loopback().layer(tls(&authority)));
    let mut client = tls_over(stage.open(), &authority.client(&[], None));
    exchange(&mut client, CONNECT_V311, CONNACK_V311);
    // A few are nothing special.
    for _ in 0..3 {
        client.conn.refresh_traffic_keys().expect("TLS 1.3");
        exchange(&mut client, "C0 00", "D0 00");
    }
    // Ten thousand, each of which may ask for another in return, are.
    let is_cut = (0..10_000).any(|_| {
        client.conn.refresh_traffic_keys().is_err()
            || client.flush().is_err()
            || client.sock.set_nonblocking(true).is_err()
            || matches!(client.sock.peek(&mut [0]), Ok(0))
            || client.sock.set_nonblocking(false).is_err()
    });
    if !is_cut {
        // What was sent last may still be on its way.
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
    }
    stage.alone();
    stage.end(());
}

#[test]
fn r6_compression_is_not_agreed_on() {
    let stage = Stage::behind(loopback().layer(websocket()));
    let mut stream = stage.open();
    let request = upgrade(
        "/mqtt",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    );
    stream.write_all(request.as_bytes()).expect("written");
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(!head.to_lowercase().contains("extensions"), "{head}");
    // A frame that says it is compressed all the same: closed, with 1002.
    let mut compressed = frame(&hex(CONNECT_V311));
    compressed[0] |= 0x40;
    send_bytes(&mut stream, &compressed);
    let farewell = read_to_end(&mut stream);
    assert_eq!(
        farewell.get(2..4),
        Some(&[0x03, 0xEA][..]),
        "{farewell:02X?}"
    );
    stage.end(());
}
