//! Listeners over loopback.

use super::*;
use crate::{
    Retry,
    test_loop::{Loop, listen},
};

fn connect(address: &PeerAddress) -> net::TcpStream {
    net::TcpStream::connect(address.socket_address().unwrap()).unwrap()
}

#[test]
fn nothing_to_accept_is_none() {
    let (mut listener, _) = listen();
    assert!(listener.accept().unwrap().is_none());
}

#[test]
fn an_accepted_stream_knows_its_peer_and_is_established() {
    let mut turns = Loop::new();
    let (mut listener, _) = listen();
    turns.watch(listener.source());
    let client = connect(listener.local_address());
    let stream = turns.accept(&mut listener);
    assert!(stream.is_established());
    assert_eq!(stream.peer().address, client.local_addr().unwrap().into());
    assert_eq!(
        format!("{stream:?}").split_once(" {").unwrap().0,
        "Stream",
        "a boxed stream can be logged"
    );
}

#[test]
fn an_address_in_use_is_named() {
    let (_listener, address) = listen();
    let error = TcpListener::bind(address, &ListenOptions::default()).unwrap_err();
    assert_eq!(
        error,
        TransportError::AddressInUse {
            address: address.into()
        }
    );
}

#[test]
fn an_address_of_another_machine_is_named() {
    let address: SocketAddr = "192.0.2.1:0".parse().unwrap(); // Reserved for documentation.
    let error = TcpListener::bind(address, &ListenOptions::default()).unwrap_err();
    assert_eq!(
        error,
        TransportError::AddressUnavailable {
            address: address.into()
        }
    );
}

#[test]
fn an_address_is_free_again_as_soon_as_its_listener_is_gone() {
    let mut turns = Loop::new();
    let (mut listener, address) = listen();
    turns.watch(listener.source());
    let client = connect(listener.local_address());
    let server = turns.accept(&mut listener);
    drop((server, listener)); // The server ends first, so the port stays in TIME_WAIT.
    drop(client);
    assert!(TcpListener::bind(address, &ListenOptions::default()).is_ok());
}

#[test]
#[cfg(target_os = "linux")]
fn listeners_share_a_port_when_they_all_agree() {
    let options = ListenOptions {
        reuse_port: true,
        ..ListenOptions::default()
    };
    let first = TcpListener::bind(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let address = first.local_address().socket_address().unwrap();
    assert!(TcpListener::bind(address, &options).is_ok());
    assert!(TcpListener::bind(address, &ListenOptions::default()).is_err());
}

#[test]
fn localhost_listens_on_each_of_its_addresses_on_one_port() {
    let endpoint: Endpoint = "localhost:0".parse().unwrap();
    let mut listeners = TcpListener::bind_all(&endpoint, &ListenOptions::default()).unwrap();
    let mut turns = Loop::new();
    let mut ports = Vec::new();
    for listener in &mut listeners {
        turns.watch(listener.source());
        let _client = connect(listener.local_address());
        assert!(turns.accept(listener).peer().address.is_local());
        ports.push(listener.local_address().socket_address().unwrap().port());
    }
    ports.dedup();
    assert_eq!(ports.len(), 1, "{listeners:?}");
}

#[test]
#[cfg(target_os = "linux")] // Where all of 127.0.0.0/8 is this machine.
fn the_port_chosen_for_the_first_address_serves_the_others() {
    let addresses = [1, 2, 3].map(|host| SocketAddr::from(([127, 0, 0, host], 0)));
    let listeners = bind_each(&addresses, &ListenOptions::default()).unwrap();
    let bound = Vec::from_iter(
        listeners
            .iter()
            .map(|l| l.address.socket_address().unwrap()),
    );
    let port = bound[0].port();
    assert_ne!(port, 0);
    assert_eq!(
        bound,
        addresses.map(|address| SocketAddr::new(address.ip(), port))
    );
}

#[test]
fn addresses_that_the_machine_lacks_are_left_out_unless_they_are_all() {
    let missing: SocketAddr = "192.0.2.1:0".parse().unwrap();
    let present: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let options = ListenOptions::default();
    assert_eq!(bind_each(&[missing, present], &options).unwrap().len(), 1);
    let error = bind_each(&[missing], &options).unwrap_err();
    let address = missing.into();
    assert_eq!(error, TransportError::AddressUnavailable { address });
}

#[test]
fn a_dual_stack_listener_shows_ipv4_peers_as_ipv4() {
    let any = SocketAddr::from(([0; 16], 0));
    let mut listener = match TcpListener::bind(any, &ListenOptions::default()) {
        // On a machine without IPv6 this is the answer to be had.
        Err(error) => {
            let address = any.into();
            return assert_eq!(error, TransportError::AddressUnavailable { address });
        }
        Ok(listener) => listener,
    };
    let port = listener.local_address().socket_address().unwrap().port();
    let mut turns = Loop::new();
    turns.watch(listener.source());
    let client = net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let stream = turns.accept(&mut listener);
    assert_eq!(stream.peer().address, client.local_addr().unwrap().into());
    assert!(stream.peer().address.ip().unwrap().is_ipv4());
}

#[test]
fn an_inherited_socket_is_a_listener_too() {
    let socket = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut listener = TcpListener::from_std(socket, TcpOptions::default()).unwrap();
    let mut turns = Loop::new();
    turns.watch(listener.source());
    let _client = connect(listener.local_address());
    assert!(turns.accept(&mut listener).peer().address.is_local());
}

/// Runs [`short_of_descriptors`] in a process that has few.
#[test]
#[cfg(target_os = "linux")]
fn a_process_without_descriptors_is_told_to_wait_and_then_accepts() {
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "tcp_listener::tests::short_of_descriptors",
        ])
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && report.contains("1 passed"),
        "{report}"
    );
}

#[test]
#[ignore = "needs a process with few descriptors; another test starts one"]
fn short_of_descriptors() {
    let mut turns = Loop::new();
    let (mut listener, _) = listen();
    turns.watch(listener.source());
    let address = listener.local_address().clone();
    let mut clients = Vec::new();
    let mut streams = Vec::new();
    // Takes descriptors two by two until one is left over for the client alone, or none.
    let error = loop {
        match net::TcpStream::connect(address.socket_address().unwrap()) {
            Ok(client) => clients.push(client),
            Err(_) => {
                // Trades an accepted stream for a client that waits in the backlog.
                streams.pop().unwrap();
                clients.push(connect(&address));
            }
        }
        match listener.accept() {
            Ok(Some(stream)) => streams.push(stream),
            Ok(None) => panic!("a finished connect is there to be accepted"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, AcceptError::OutOfResources { code: Some(24), .. }),
        "{error}"
    );
    assert_eq!(error.retry(), Retry::After(AcceptError::BACK_OFF));
    assert_eq!(listener.accept().unwrap_err(), error, "it would spin");
    streams.pop().unwrap();
    assert!(listener.accept().unwrap().is_some(), "no event was needed");
}

#[test]
#[cfg(target_os = "linux")]
fn a_device_that_cannot_be_had_is_named() {
    let options = ListenOptions {
        device: Some("nosuchdevice".into()),
        ..ListenOptions::default()
    };
    let error = TcpListener::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap_err();
    let message = error.to_string();
    let TransportError::DeviceUnavailable { device, code, .. } = error else {
        panic!("{error:?}");
    };
    // ENODEV; or EPERM where the system does not let this process choose.
    assert!(matches!(code, Some(19 | 1)), "{code:?}");
    assert_eq!(&*device, "nosuchdevice");
    assert!(message.starts_with("cannot bind to the network device `nosuchdevice`: "));
}

#[test]
#[cfg(target_os = "linux")]
fn a_listener_on_the_loopback_device_accepts() {
    let options = ListenOptions {
        device: Some("lo".into()),
        ..ListenOptions::default()
    };
    let mut listener = match TcpListener::bind("127.0.0.1:0".parse().unwrap(), &options) {
        // A kernel before 5.7 asks for a capability.
        Err(TransportError::DeviceUnavailable {
            kind: io::ErrorKind::PermissionDenied,
            ..
        }) => {
            return;
        }
        result => result.unwrap(),
    };
    let _near = connect(listener.local_address());
    assert!(listener.accept().unwrap().is_some());
}

#[cfg(target_os = "linux")]
#[test]
fn a_listener_has_the_options_that_its_connections_inherit() {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    for no_delay in [true, false] {
        let mut options = ListenOptions::default();
        options.tcp.no_delay = no_delay;
        let listener = TcpListener::bind(address, &options).unwrap();
        let socket = SockRef::from(&listener.socket);
        assert_eq!(socket.tcp_nodelay().unwrap(), no_delay);
    }
}
