//! Both ends against each other through faults, and each against the reference implementation.

use std::{io, net::TcpListener, thread};

use proptest::prelude::*;
use tungstenite::{Message, client::IntoClientRequest as _};

use super::{stream::WebSocketStream, *};
use crate::{
    ConnectOptions, Handshake, Stream, TransportError, connect,
    memory::{Faults, MemoryStream, faulty_pair, pair},
    test_loop::Loop,
};

type Socket = WebSocketStream<MemoryStream>;

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

fn client() -> WebSocketClient {
    WebSocketClient::new(WebSocketClientOptions::new("broker.example")).unwrap()
}

/// Opens a WebSocket between two ends: the client's and the server's.
fn open(forth: Faults, back: Faults) -> (Socket, Socket) {
    let (near, far) = faulty_pair(forth, back);
    let mut near = client().connect(near);
    let mut far = WebSocketServer::default().accept(far);
    loop {
        let a = near.handshake().unwrap();
        let b = far.handshake().unwrap();
        if (a, b) == (Handshake::Complete, Handshake::Complete) {
            return (near, far);
        }
    }
}

/// Moves `bytes` across, flushing now and then.
fn carry(from: &mut Socket, to: &mut Socket, bytes: &[u8]) -> Vec<u8> {
    let (mut sent, mut received, mut buffer) = (0, Vec::new(), [0; 700]);
    while received.len() < bytes.len() {
        if sent < bytes.len() {
            let end = bytes.len().min(sent + 333);
            match from.write(&bytes[sent..end]) {
                Ok(count) => sent += count,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        if let Err(error) = from.flush() {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        match to.read(&mut buffer) {
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    received
}

#[test]
fn an_open_socket_knows_what_was_agreed_on() {
    // v5 MQTT-6.0.0-3, v5 MQTT-6.0.0-4
    let (near, far) = open(Faults::default(), Faults::default());
    let facts = far.peer().websocket.as_deref().unwrap();
    assert_eq!((&*facts.path, facts.subprotocol), ("/mqtt", "mqtt"));
    assert_eq!(
        near.peer().websocket.as_deref().unwrap().subprotocol,
        "mqtt"
    );
    assert!(!near.has_buffered_input() && !far.has_buffered_output());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn bytes_arrive_whole_through_any_faults(
        read_bytes_max in 1usize..50,
        write_bytes_max in 1usize..50,
        capacity_bytes in 1usize..300,
        would_block_one_in in 2u32..5,
        seed: u64,
        len in 0usize..2000,
    ) {
        let faults = Faults {
            read_bytes_max, write_bytes_max, capacity_bytes, would_block_one_in, seed,
            ..Faults::default()
        };
        let (mut near, mut far) = open(faults.clone(), faults);
        let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        prop_assert_eq!(&carry(&mut near, &mut far, &bytes), &bytes);
        prop_assert_eq!(&carry(&mut far, &mut near, &bytes), &bytes);
    }

    #[test]
    fn any_request_is_judged_without_a_panic(
        start in prop_oneof![Just("GET /mqtt HTTP/1.1\r\n"), Just("G"), Just("")],
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ends: bool,
    ) {
        let (mut near, far) = pair();
        let mut far = WebSocketServer::default().accept(far);
        near.write(start.as_bytes()).unwrap();
        near.write(&bytes).unwrap();
        if ends {
            near.write(b"\r\n\r\n").unwrap();
        }
        if let Ok(step) = far.handshake() {
            prop_assert_eq!(step, Handshake::Pending);
        }
    }
}

const REQUEST: &str = "GET /mqtt?x=1 HTTP/1.1\r\nHost: broker.example\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: https://page.example\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// Sends a request, and returns the server's answer and what became of the handshake.
fn ask(
    options: WebSocketServerOptions,
    request: &str,
) -> (String, Result<Handshake, TransportError>) {
    let (mut near, far) = pair();
    let mut far = WebSocketServer::new(options).accept(far);
    near.write(request.as_bytes()).unwrap();
    let result = far.handshake();
    let mut buffer = [0; 4096];
    let len = near.read(&mut buffer).unwrap_or(0);
    (String::from_utf8_lossy(&buffer[..len]).into(), result)
}

// v5 MQTT-6.0.0-4, v3.1.1 MQTT-6.0.0-4, V31-ws
#[test]
fn the_server_selects_mqtt_and_else_what_old_clients_offer() {
    for (offer, chosen) in [
        ("mqtt", "mqtt"),
        ("mqttv3.1", "mqttv3.1"),
        ("mqttv3.1, mqtt", "mqtt"),
        ("chat ,mqtt", "mqtt"),
        ("chat\r\nSec-WebSocket-Protocol: mqtt", "mqtt"),
    ] {
        let request = REQUEST.replace("Protocol: mqtt", &format!("Protocol: {offer}"));
        let (answer, result) = ask(WebSocketServerOptions::default(), &request);
        assert_eq!(result, Ok(Handshake::Complete), "{offer}");
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        let line = format!("sec-websocket-protocol: {chosen}\r\n");
        assert!(answer.to_lowercase().contains(&line), "{answer}");
    }
}

// X311-6-a
#[test]
fn the_path_means_nothing_unless_paths_are_listed() {
    for path in ["/", "/mqtt", "/a/b?token=1", "*"] {
        let request = REQUEST.replace("/mqtt?x=1", path);
        let (_, result) = ask(WebSocketServerOptions::default(), &request);
        assert_eq!(result, Ok(Handshake::Complete), "{path}");
    }
    let listed = || WebSocketServerOptions {
        paths: vec!["/mqtt".into()],
        ..WebSocketServerOptions::default()
    };
    assert_eq!(ask(listed(), REQUEST).1, Ok(Handshake::Complete));
    let (answer, result) = ask(listed(), &REQUEST.replace("/mqtt?", "/mqtt/?"));
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let path = "/mqtt/".into();
    assert_eq!(result, Err(WebSocketError::PathUnknown { path }.into()));
}

#[test]
fn pages_of_other_origins_are_kept_out_and_programs_are_not() {
    let options = || WebSocketServerOptions {
        origins: Some(vec!["https://page.example".into()]),
        ..WebSocketServerOptions::default()
    };
    assert_eq!(ask(options(), REQUEST).1, Ok(Handshake::Complete));
    let nowhere = REQUEST.replace("Origin: https://page.example\r\n", "");
    assert_eq!(ask(options(), &nowhere).1, Ok(Handshake::Complete));
    for origin in ["https://page.example.evil", "http://page.example", "null"] {
        let request = REQUEST.replace("https://page.example", origin);
        let (answer, result) = ask(options(), &request);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        let origin = origin.into();
        assert_eq!(
            result,
            Err(WebSocketError::OriginForbidden { origin }.into())
        );
    }
}

#[test]
fn requests_for_something_else_are_told_so() {
    let without = |line: &str| REQUEST.replace(line, "");
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000));
    let endless = "GET / HTTP/1.1\r\n".to_owned() + &"a: b\r\n".repeat(2000);
    use WebSocketError as E;
    let too_long = || E::OpeningTooLong { limit: 8192 };
    for (request, status, error) in [
        (
            without("Sec-WebSocket-Protocol: mqtt\r\n"),
            "400",
            E::SubprotocolMissing,
        ),
        (
            REQUEST.replace("l: mqtt", "l: chat"),
            "400",
            E::SubprotocolMissing,
        ),
        (without("Upgrade: WebSocket\r\n"), "400", E::NotAnUpgrade),
        (
            without("Connection: keep-alive, Upgrade\r\n"),
            "400",
            E::NotAnUpgrade,
        ),
        (REQUEST.replace("dGhlIHNh", ""), "400", E::NotAnUpgrade), // A key too short.
        (REQUEST.replace("GET", "POST"), "400", E::NotAnUpgrade),
        (
            REQUEST.replace("HTTP/1.1", "HTTP/1.0"),
            "400",
            E::NotAnUpgrade,
        ),
        (
            REQUEST.replace("Version: 13", "Version: 8"),
            "426",
            E::VersionUnsupported,
        ),
        (long, "431", too_long()),
        (endless, "431", too_long()),
        ("\u{16}\u{3}\u{1}".into(), "", E::PeerSpeaksTls),
        ("\u{10}\u{c}\0\u{4}MQTT".into(), "", E::NotHttp), // A CONNECT.
        ("GET \0 HTTP/1.1\r\n\r\n".into(), "", E::NotHttp),
    ] {
        let (answer, result) = ask(WebSocketServerOptions::default(), &request);
        let found = answer.strip_prefix("HTTP/1.1 ").unwrap_or(&answer);
        assert!(found.starts_with(status), "{request:.40}: {answer}");
        assert_eq!(result, Err(error.into()), "{request:.40}");
    }
}

#[test]
fn a_request_that_trickles_waits_and_one_that_ends_early_fails() {
    let (mut near, far) = pair();
    let mut far = WebSocketServer::default().accept(far);
    for byte in REQUEST.as_bytes() {
        assert_eq!(far.handshake(), Ok(Handshake::Pending));
        assert_eq!(kind(far.read(&mut [0; 8])), io::ErrorKind::WouldBlock);
        near.write(&[*byte]).unwrap();
    }
    assert_eq!(far.handshake(), Ok(Handshake::Complete));
    let (mut near, far) = pair();
    let mut far = WebSocketServer::default().accept(far);
    near.write(&REQUEST.as_bytes()[..40]).unwrap();
    drop(near);
    assert_eq!(far.handshake(), Err(TransportError::Closed));
}

#[test]
fn frames_that_come_along_with_the_request_are_not_lost() {
    let (mut near, far) = pair();
    let mut far = WebSocketServer::default().accept(far);
    let mut wire = REQUEST.as_bytes().to_vec();
    wire.extend_from_slice(b"\x82\x82\0\0\0\0\xC0\0");
    near.write(&wire).unwrap();
    assert_eq!(far.handshake(), Ok(Handshake::Complete));
    assert!(far.has_buffered_input(), "no event will tell of them");
    let mut buffer = [0; 8];
    assert_eq!(far.read(&mut buffer).unwrap(), 2);
    assert_eq!(buffer[..2], [0xC0, 0]);
    assert!(!far.has_buffered_input());
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    let answer = |accept: &str, rest: &str| {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{rest}\r\n"
        )
    };
    use WebSocketError as E;
    for (accept, rest, error) in [
        (None, "", E::SubprotocolMissing),
        (
            None,
            "Sec-WebSocket-Protocol: mqttv3.1\r\n",
            E::SubprotocolMissing,
        ),
        (
            None,
            "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Extensions: x\r\n",
            E::ResponseInvalid,
        ),
        (
            Some("x"),
            "Sec-WebSocket-Protocol: mqtt\r\n",
            E::ResponseInvalid,
        ),
    ] {
        let (near, mut far) = pair();
        let mut near = client().connect(near);
        assert_eq!(near.handshake(), Ok(Handshake::Pending));
        let mut buffer = [0; 1024];
        let len = far.read(&mut buffer).unwrap();
        let request = str::from_utf8(&buffer[..len]).unwrap();
        assert!(request.contains("Sec-WebSocket-Protocol: mqtt\r\n")); // v3.1.1 MQTT-6.0.0-3
        let key = request
            .split("Sec-WebSocket-Key: ")
            .nth(1)
            .unwrap()
            .split('\r')
            .next()
            .unwrap();
        let right = tungstenite::handshake::derive_accept_key(key.as_bytes());
        far.write(answer(accept.unwrap_or(&right), rest).as_bytes())
            .unwrap();
        assert_eq!(near.handshake(), Err(error.into()), "{rest}");
    }
    let (near, mut far) = pair();
    let mut near = client().connect(near);
    far.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    assert_eq!(near.handshake(), Err(E::Refused { status: 403 }.into()));
}

#[test]
fn options_that_make_no_request_are_refused() {
    let with = |path: &str, header: (&str, &str)| {
        let mut options = WebSocketClientOptions::new("broker.example");
        options.path = path.into();
        options.headers.push((header.0.into(), header.1.into()));
        WebSocketClient::new(options)
    };
    assert!(with("/a?b=c", ("x-token", "secret")).is_ok());
    for (path, header) in [
        ("mqtt", ("x", "y")),
        ("/a b", ("x", "y")),
        ("/", ("x y", "z")),
        ("/", ("x", "a\r\nHost: evil")),
        ("/", ("Host", "evil")),
        ("/", ("sec-websocket-key", "x")),
    ] {
        let error = with(path, header).unwrap_err();
        assert!(
            matches!(error, WebSocketError::RequestInvalid { .. }),
            "{error}"
        );
    }
}

/// Opens a WebSocket to the server, and returns the bare stream below the client's end.
fn bare() -> (MemoryStream, Socket) {
    let (mut near, far) = pair();
    let mut far = WebSocketServer::default().accept(far);
    near.write(REQUEST.as_bytes()).unwrap();
    assert_eq!(far.handshake(), Ok(Handshake::Complete));
    assert!(near.read(&mut [0; 1024]).unwrap() > 0);
    (near, far)
}

fn received(stream: &mut MemoryStream) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let len = stream.read(&mut buffer).unwrap_or(0);
    buffer[..len].to_vec()
}

#[test]
fn one_flush_is_one_frame_whatever_the_writes() {
    let (mut near, mut far) = bare();
    far.write(b"ab").unwrap();
    far.write_vectored(&[io::IoSlice::new(b"c"), io::IoSlice::new(b"d")])
        .unwrap();
    assert!(far.has_buffered_output());
    assert_eq!(received(&mut near), b"", "nothing goes before the flush");
    far.flush().unwrap();
    assert_eq!(received(&mut near), b"\x82\x04abcd");
    assert!(!far.has_buffered_output());
}

#[test]
fn a_socket_that_is_not_taken_from_refuses_at_its_bound() {
    let forth = Faults {
        capacity_bytes: 1000,
        ..Faults::default()
    };
    let (mut near, _far) = open(forth, Faults::default());
    let mut taken = 0;
    let blocked = loop {
        match near.write(&[7; 5000]) {
            Ok(count) => taken += count,
            Err(error) => break error,
        }
    };
    assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
    assert!(
        taken <= 2 * 64 * 1024 + 5000,
        "{taken} bytes are too many to hold"
    );
}

#[test]
fn a_ping_is_answered_by_the_read_that_meets_it() {
    let (mut near, mut far) = bare();
    near.write(b"\x89\x81\0\0\0\0x").unwrap();
    assert_eq!(kind(far.read(&mut [0; 64])), io::ErrorKind::WouldBlock);
    assert_eq!(received(&mut near), b"\x8A\x01x");
}

// v5 MQTT-6.0.0-1, v3.1.1 MQTT-6.0.0-1
#[test]
fn a_text_frame_closes_the_connection_and_says_why() {
    let (mut near, mut far) = bare();
    near.write(b"\x82\x81\0\0\0\0a\x81\x81\0\0\0\0b").unwrap();
    let mut buffer = [0; 64];
    assert_eq!(far.read(&mut buffer).unwrap(), 1);
    for _ in 0..2 {
        let error = far.read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(
            TransportError::from(error),
            WebSocketError::TextReceived.into()
        );
    }
    assert_eq!(received(&mut near), b"\x88\x02\x03\xEB"); // 1003
    assert_eq!(kind(far.write(b"x")), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_flood_of_control_frames_is_cut_off() {
    let (mut near, far) = faulty_pair(
        Faults {
            capacity_bytes: usize::MAX,
            ..Faults::default()
        },
        Faults {
            capacity_bytes: usize::MAX,
            ..Faults::default()
        },
    );
    let mut far = WebSocketServer::default().accept(far);
    near.write(REQUEST.as_bytes()).unwrap();
    assert_eq!(far.handshake(), Ok(Handshake::Complete));
    near.write(&b"\x82\x80\0\0\0\0".repeat(100_000)).unwrap();
    let error = far.read(&mut [0; 4096]).unwrap_err();
    assert_eq!(
        TransportError::from(error),
        WebSocketError::ControlFlood.into()
    );
}

#[test]
fn closing_waits_for_the_peers_word() {
    let (mut near, mut far) = open(Faults::default(), Faults::default());
    near.write(b"last").unwrap();
    near.shutdown().unwrap();
    near.shutdown().unwrap();
    assert_eq!(kind(near.read(&mut [0; 8])), io::ErrorKind::WouldBlock);
    let mut buffer = [0; 64];
    assert_eq!(far.read(&mut buffer).unwrap(), 4);
    assert_eq!(far.read(&mut buffer).unwrap(), 0);
    assert_eq!(far.read(&mut buffer).unwrap(), 0);
    assert_eq!(kind(far.write(b"x")), io::ErrorKind::BrokenPipe);
    far.shutdown().unwrap();
    assert_eq!(near.read(&mut buffer).unwrap(), 0, "the answer has come");
}

#[test]
fn a_peer_that_goes_without_a_word_is_missed() {
    let (near, mut far) = open(Faults::default(), Faults::default());
    drop(near);
    assert_eq!(kind(far.read(&mut [0; 8])), io::ErrorKind::UnexpectedEof);
}

#[test]
fn the_reference_client_talks_to_our_server() {
    let mut turns = Loop::new();
    let (mut listener, address) = crate::test_loop::listen();
    turns.watch(crate::Listener::source(&mut listener));
    let client = thread::spawn(move || {
        let mut request = format!("ws://{address}/mqtt")
            .into_client_request()
            .unwrap();
        let mqtt = tungstenite::http::HeaderValue::from_static("mqtt");
        request.headers_mut().insert("Sec-WebSocket-Protocol", mqtt);
        let socket = std::net::TcpStream::connect(address).unwrap();
        let (mut socket, _) = tungstenite::client(request, socket).unwrap();
        socket.send(Message::Ping(b"p"[..].into())).unwrap();
        socket
            .send(Message::Binary(vec![9; 200_000].into()))
            .unwrap();
        let mut echoed = 0;
        while echoed < 200_000 {
            match socket.read().unwrap() {
                Message::Binary(bytes) => echoed += bytes.len(),
                Message::Pong(bytes) => assert_eq!(bytes, b"p"[..]),
                other @ (Message::Text(_)
                | Message::Ping(_)
                | Message::Close(_)
                | Message::Frame(_)) => panic!("{other}"),
            }
        }
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    });
    let mut server = WebSocketServer::default().accept(turns.accept(&mut listener));
    turns.watch(server.source());
    turns.until(|| (server.handshake().unwrap() == Handshake::Complete).then_some(()));
    let received = turns.read(&mut server, 200_000);
    assert_eq!(received, vec![9; 200_000]);
    let mut queue = crate::OutputQueue::new();
    queue.push(&received);
    turns.until(|| (!queue.write_to(&mut server).unwrap().is_blocked).then_some(()));
    assert_eq!(
        turns.read(&mut server, 1),
        b"",
        "the close frame is the end"
    );
    let _ = server.shutdown();
    drop(server);
    client.join().unwrap();
}

#[test]
fn our_client_talks_to_the_reference_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let choose = |_: &_, mut response: tungstenite::handshake::server::Response| {
            let mqtt = tungstenite::http::HeaderValue::from_static("mqtt");
            let headers = response.headers_mut();
            headers.insert("Sec-WebSocket-Protocol", mqtt);
            Ok(response)
        };
        let mut socket = tungstenite::accept_hdr(socket, choose).unwrap();
        loop {
            match socket.read() {
                Ok(message @ Message::Binary(_)) => socket.send(message).unwrap(),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    let stream = connect(&address.into(), &ConnectOptions::default()).unwrap();
    let mut stream = client().connect(stream);
    let mut turns = Loop::new();
    turns.watch(stream.source());
    turns.until(|| (stream.handshake().unwrap() == Handshake::Complete).then_some(()));
    stream.write(&[5; 50_000]).unwrap();
    stream.flush().unwrap();
    assert_eq!(turns.read(&mut stream, 50_000), vec![5; 50_000]);
    stream.shutdown().unwrap();
    assert_eq!(turns.read(&mut stream, 1), b"");
    drop(stream);
    server.join().unwrap();
}
