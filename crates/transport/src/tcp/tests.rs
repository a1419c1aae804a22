//! TCP over loopback.

use bytes::Bytes;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::{
    KeepAlive, Listener as _, OutputQueue,
    test_loop::{Loop, connected, listen, unless_blocked},
};

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn a_connection_carries_bytes_both_ways_and_names_both_ends() {
    let mut turns = Loop::new();
    let (mut client, mut server) = connected(&mut turns);
    assert_eq!(client.write(b"ping").unwrap(), 4);
    assert_eq!(turns.read(&mut *server, 4), b"ping");
    let slices = [IoSlice::new(b"po"), IoSlice::new(b""), IoSlice::new(b"ng")];
    assert_eq!(server.write_vectored(&slices).unwrap(), 4);
    assert_eq!(turns.read(&mut client, 4), b"pong");
    server.write(b"scatter").unwrap();
    let (mut first, mut second) = ([0; 3], [0; 8]);
    let count = turns.until(|| {
        let mut slices = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        unless_blocked(client.read_vectored(&mut slices))
    });
    assert_eq!((count, &first, &second[..4]), (7, b"sca", &b"tter"[..]));

    assert_eq!(kind(client.read(&mut [0; 8])), io::ErrorKind::WouldBlock);
    assert_eq!(server.peer().address, client.local_address().unwrap());
    assert!(client.peer().address.is_local());
}

#[test]
fn a_new_connection_moves_no_bytes_before_its_handshake() {
    let mut turns = Loop::new();
    let (mut listener, address) = listen();
    turns.watch(listener.source());
    let mut client = TcpStream::start_connect(address, &TcpOptions::default()).unwrap();
    let mut server = turns.accept(&mut listener);
    server.write(b"early").unwrap();
    // Connected as far as the system is concerned, but nobody has looked yet.
    assert!(!client.is_established());
    assert_eq!(kind(client.read(&mut [0; 8])), io::ErrorKind::WouldBlock);
    assert_eq!(kind(client.write(b"x")), io::ErrorKind::WouldBlock);
    turns.watch(client.source());
    turns.until(|| (client.handshake().unwrap() == Handshake::Complete).then_some(()));
    assert!(client.is_established());
    assert_eq!(turns.read(&mut client, 5), b"early");
}

#[test]
fn a_refused_connection_fails_its_handshake_with_the_address() {
    // Bound but not listening, so that nobody else can listen there either.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any_port.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();

    let refused = TransportError::Refused {
        address: address.into(),
    };
    let mut turns = Loop::new();
    let mut client = match TcpStream::start_connect(address, &TcpOptions::default()) {
        Ok(client) => client,
        Err(error) => return assert_eq!(error, refused), // Some systems know at once.
    };
    turns.watch(client.source());
    let error = turns.until(|| match client.handshake() {
        Ok(Handshake::Pending) => None,
        result => Some(result.unwrap_err()),
    });
    assert_eq!(error, refused);
}

#[test]
fn a_half_closed_connection_still_carries_the_other_way() {
    let mut turns = Loop::new();
    let (mut client, mut server) = connected(&mut turns);
    client.write(b"last words").unwrap();
    client.shutdown().unwrap();
    client.shutdown().unwrap();
    assert_eq!(turns.read(&mut *server, usize::MAX), b"last words");
    assert_eq!(
        server.read(&mut [0; 8]).unwrap(),
        0,
        "the end stays the end"
    );
    server.write(b"answer").unwrap();
    drop(server);
    assert_eq!(turns.read(&mut client, usize::MAX), b"answer");
    client.shutdown().unwrap(); // Both sides are through; still harmless.
}

#[test]
fn a_reset_is_an_error_and_no_end() {
    let mut turns = Loop::new();
    let (client, mut server) = connected(&mut turns);
    let linger = Some(core::time::Duration::ZERO);
    SockRef::from(&client.socket).set_linger(linger).unwrap();
    drop(client);
    let error = turns.until(|| match server.read(&mut [0; 8]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result.unwrap_err()),
    });
    assert_eq!(TransportError::from(error), TransportError::Reset);
}

#[test]
fn a_queue_larger_than_the_systems_buffers_drains_by_edges() {
    const LEN: usize = 32 * 1024 * 1024; // Loopback takes a few MiB before it refuses.
    let mut turns = Loop::new();
    let (mut client, mut server) = connected(&mut turns);
    let payload = Bytes::from_iter((0..LEN).map(|index| (index % 251).to_le_bytes()[0]));
    let mut queue = OutputQueue::new();
    queue.push_shared(payload.clone());

    let mut received = Vec::with_capacity(LEN);
    let mut buffer = vec![0; 64 * 1024];
    let mut was_blocked = false;
    turns.until(|| {
        // Both ends do all they can, then wait: were an edge missing, this would wait for ever.
        was_blocked |= queue.write_to(&mut client).unwrap().is_blocked;
        while let Some(count) = unless_blocked(server.read(&mut buffer)) {
            received.extend_from_slice(&buffer[..count]);
        }
        (received.len() == LEN).then_some(())
    });
    assert!(was_blocked);
    assert!(queue.is_empty());
    assert!(received == payload);
}

#[test]
fn options_reach_both_ends() {
    let keep_alive = KeepAlive {
        idle: core::time::Duration::from_secs(77),
        interval: core::time::Duration::from_secs(7),
    };
    let options = TcpOptions {
        no_delay: true,
        keep_alive: Some(keep_alive),
        ..TcpOptions::default()
    };
    let mut turns = Loop::new();
    let mut listener = mio::net::TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    options.apply_to_listener(SockRef::from(&listener)).unwrap();
    turns.watch(&mut listener);
    let address = listener.local_addr().unwrap();
    let client = TcpStream::start_connect(address, &options).unwrap();
    let (socket, from) = turns.until(|| unless_blocked(listener.accept()));
    let server = TcpStream::accepted(socket, from, &options);
    for stream in [&client, &server] {
        let socket = SockRef::from(&stream.socket);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_keepalive_time().unwrap(), keep_alive.idle);
    }
}

#[test]
fn a_standard_socket_that_is_not_connected_is_refused() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let error = TcpStream::from_std(socket.into()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
}
