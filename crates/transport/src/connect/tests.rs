//! Connecting over loopback.

use super::*;
use crate::test_loop::listen;

fn endpoint(host: &str, address: SocketAddr) -> Endpoint {
    Endpoint::new(host, address.port()).unwrap()
}

#[test]
fn a_name_is_tried_on_each_of_its_addresses() {
    // Where `localhost` is `::1` first, nothing listens there: the second address has to do.
    let (_listener, address) = listen();
    let stream = connect(&endpoint("localhost", address), &ConnectOptions::default()).unwrap();
    assert!(stream.is_established());
    assert_eq!(stream.peer().address, address.into());
}

#[test]
fn the_stream_does_not_block() {
    let (_listener, address) = listen();
    let mut stream = connect(&address.into(), &ConnectOptions::default()).unwrap();
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

/// Returns a socket that holds a port without listening, so that nobody else can either.
fn closed_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any_port.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn a_port_without_a_listener_refuses() {
    let (_socket, address) = closed_port();
    let error = connect(&address.into(), &ConnectOptions::default()).unwrap_err();
    let refused = TransportError::Refused {
        address: address.into(),
    };
    assert_eq!(error, refused);
    assert_eq!(
        error.to_string(),
        format!("{address} refused the connection")
    );
}

#[test]
fn an_address_that_fails_leaves_its_turn_to_the_next() {
    let (_socket, closed) = closed_port();
    let (_listener, open) = listen();
    let options = ConnectOptions::default();
    let deadline = Deadline::after(options.timeout);
    let stream = connect_to_any(&[closed, open], &closed.into(), &options, &deadline).unwrap();
    assert_eq!(stream.peer().address, open.into());
}

#[test]
fn an_unknown_host_is_named() {
    let endpoint = Endpoint::new("no..such..host", 1883).unwrap();
    let error = connect(&endpoint, &ConnectOptions::default()).unwrap_err();
    assert!(
        matches!(&error, TransportError::HostUnknown { host, .. } if **host == *endpoint.host()),
        "{error}"
    );
}

/// Returns a listener that answers no connection, because its backlog is full, and what fills it.
#[cfg(target_os = "linux")]
fn silent_port(options: &ConnectOptions) -> (Socket, SocketAddr, Vec<TcpStream>) {
    let (socket, address) = closed_port();
    socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = connect(&address.into(), options) {
        waiting.push(stream);
        assert!(waiting.len() < 16, "a backlog of none takes them all");
    }
    (socket, address, waiting)
}

#[test]
#[cfg(target_os = "linux")]
fn silence_is_a_timeout_and_tells_less_than_an_answer() {
    let options = ConnectOptions {
        timeout: Duration::from_millis(100),
        ..ConnectOptions::default()
    };
    let (_socket, silent, _waiting) = silent_port(&options);
    let endpoint = Endpoint::from(silent);
    let error = connect(&endpoint, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{silent} did not answer within 100ms")
    );
    let timeout = options.timeout;
    let timed_out = TransportError::TimedOut {
        endpoint: endpoint.clone(),
        timeout,
    };
    assert_eq!(error, timed_out);

    let (_socket, closed) = closed_port();
    for addresses in [[closed, silent], [silent, closed]] {
        // Time for the second address to be tried, even on a busy machine.
        let deadline = Deadline::after(Duration::from_secs(2));
        let error = connect_to_any(&addresses, &endpoint, &options, &deadline).unwrap_err();
        let address = closed.into();
        assert_eq!(error, TransportError::Refused { address });
    }
}

#[test]
#[cfg(target_os = "linux")] // Where all of 127.0.0.0/8 is this machine.
fn the_local_address_can_be_chosen() {
    let (_listener, address) = listen();
    let ip = IpAddr::from([127, 0, 0, 9]);
    let options = ConnectOptions {
        local_ip: Some(ip),
        ..ConnectOptions::default()
    };
    let stream = connect(&address.into(), &options).unwrap();
    assert_eq!(stream.local_address().unwrap().ip(), Some(ip));
}

#[test]
fn an_answer_tells_more_than_silence_and_silence_more_than_no_way() {
    let address = || SocketAddr::from(([127, 0, 0, 1], 1)).into();
    let causes = [
        TransportError::AddressUnavailable { address: address() },
        TransportError::Unreachable { address: address() },
        TransportError::TimedOut {
            endpoint: Endpoint::new("localhost", 1).unwrap(),
            timeout: Duration::ZERO,
        },
        TransportError::Refused { address: address() },
    ];
    assert!(causes.is_sorted_by(|a, b| telling(a) < telling(b)));
}

#[test]
fn both_families_take_turns_and_the_resolvers_choice_begins() {
    let addresses = |list: &[&str]| -> Vec<SocketAddr> {
        let parse = |text: &&str| format!("{text}:1").parse().unwrap();
        list.iter().map(parse).collect()
    };
    for (given, turns) in [
        (&[][..], &[][..]),
        (&["1.1.1.1"], &["1.1.1.1"]),
        (
            &["[::1]", "[::2]", "[::3]", "1.1.1.1"],
            &["[::1]", "1.1.1.1", "[::2]", "[::3]"],
        ),
        (
            &["1.1.1.1", "[::1]", "[::2]", "2.2.2.2"],
            &["1.1.1.1", "[::1]", "2.2.2.2", "[::2]"],
        ),
    ] {
        assert_eq!(in_turn(&addresses(given)), addresses(turns));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_silent_address_does_not_use_up_the_time_of_the_next() {
    let impatient = ConnectOptions {
        timeout: Duration::from_millis(100),
        ..ConnectOptions::default()
    };
    let (_socket, silent, _waiting) = silent_port(&impatient);
    let (_listener, open) = listen();
    // No share of an hour would ever end in this test.
    let options = ConnectOptions {
        timeout: Duration::from_secs(3600),
        ..ConnectOptions::default()
    };
    let deadline = Deadline::after(options.timeout);
    let stream = connect_to_any(&[silent, open], &silent.into(), &options, &deadline).unwrap();
    assert_eq!(stream.peer().address, open.into());
}

#[test]
fn no_time_and_no_address_are_a_timeout() {
    let endpoint = Endpoint::new("localhost", 1).unwrap();
    let options = ConnectOptions::default();
    let deadline = Deadline::after(options.timeout);
    let error = connect_to_any(&[], &endpoint, &options, &deadline).unwrap_err();
    assert!(matches!(error, TransportError::TimedOut { .. }), "{error}");
}
