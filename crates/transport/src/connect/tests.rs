//! Connecting over loopback.

use super::*;
use crate::{Stream as _, test_loop::listen};

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

#[test]
fn a_port_without_a_listener_refuses() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any_port.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let error = connect(&address.into(), &ConnectOptions::default()).unwrap_err();
    assert_eq!(
        error,
        TransportError::Refused {
            address: address.into()
        }
    );
    assert_eq!(
        error.to_string(),
        format!("{address} refused the connection")
    );
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

#[test]
#[cfg(target_os = "linux")]
fn silence_is_a_timeout() {
    // A listener whose backlog is full answers no further connection.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any_port.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let options = ConnectOptions {
        timeout: Duration::from_millis(50),
        ..ConnectOptions::default()
    };
    let mut waiting = Vec::new();
    let error = loop {
        match connect(&address.into(), &options) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 16, "a backlog of none takes them all");
    };
    assert_eq!(
        error,
        TransportError::TimedOut {
            endpoint: address.into(),
            timeout: options.timeout
        }
    );
    assert_eq!(
        error.to_string(),
        format!("{address} did not answer within 50ms")
    );
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
