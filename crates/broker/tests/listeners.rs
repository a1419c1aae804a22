//! Listeners of every kind over real sockets: what gets through, what is known of the client then,
//! and what keeps others out.

mod common;

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    sync::mpsc,
    time::Duration,
};

use mqttstack_broker::{
    Broker, ListenerSettings, StartError,
    core::{Access, Authentication, ConnectRequest, Peer},
    limits::{BrokerLimits, Limits},
    transport::{
        AcceptError, AlpnServer, ClientAuthentication, IpNet, Listener, PeerAddress, ProxyOptions,
        ProxyServer, Source, Stream, TcpListener, TlsServer, TlsServerOptions, TransportError,
        UnixListenOptions, WebSocketServer, WebSocketServerOptions,
    },
};

use common::{
    Authority, CONNACK_V311, CONNECT_V311, Directory, address, exchange, expect, frame, hex, open,
    read_head, read_to_end, stop, tls_over, upgrade,
};

/// What was known of a client, and the identity that this gave it.
type Known = (Peer, Option<Box<str>>);

/// Lets everybody in, and tells what was known of them.
struct Witness(mpsc::Sender<Known>);

impl Access for Witness {
    fn authenticate(&mut self, request: &ConnectRequest<'_>) -> Authentication {
        let identity: Option<Box<str>> = request.peer.certified_name().map(Into::into);
        let _ = self.0.send((request.peer.clone(), identity.clone()));
        Authentication::Accept { identity }
    }
}

/// A broker with one listener, and what it knew of each client that it let in.
fn witnessed(listener: ListenerSettings) -> (Broker, mpsc::Receiver<Known>) {
    let (sender, receiver) = mpsc::channel();
    let broker = Broker::builder()
        .listener(listener)
        .access(move || Box::new(Witness(sender.clone())))
        .start()
        .expect("starts");
    (broker, receiver)
}

fn loopback() -> ListenerSettings {
    ListenerSettings::tcp("127.0.0.1:0".parse().expect("an endpoint"))
}

fn tls(authority: &Authority, change: impl FnOnce(&mut TlsServerOptions)) -> TlsServer {
    let mut options = TlsServerOptions::new(authority.sign("server"));
    change(&mut options);
    TlsServer::load(options).expect("a configuration")
}

fn proxies(networks: &[&str]) -> ProxyServer {
    let mut options = ProxyOptions::default();
    options.trusted = networks
        .iter()
        .map(|network| network.parse::<IpNet>().expect("a network"))
        .collect();
    ProxyServer::new(options)
}

#[test]
fn what_tls_tells_of_a_client_reaches_the_access_hook() {
    let authority = Authority::new();
    let server = tls(&authority, |options| {
        options.client_authentication = ClientAuthentication::Required;
        options.client_authorities = Some(authority.ca());
        options.protocols = vec!["mqtt".into()];
    });
    let (broker, known) = witnessed(loopback().named("front").layer(server));
    let certificate = authority.sign("meter-7");
    let config = authority.client(&["mqtt"], Some(&certificate));
    let mut client = tls_over(open(address(&broker)), &config);
    exchange(&mut client, CONNECT_V311, CONNACK_V311);
    let (peer, identity) = known.recv().expect("a request");
    let tls = peer.tls.expect("TLS");
    assert_eq!(tls.version.as_deref(), Some("TLSv1.3"));
    assert_eq!(tls.protocol.as_deref(), Some("mqtt"));
    assert_eq!(tls.server_name.as_deref(), Some("localhost"));
    let shown = tls.certificate.expect("a certificate");
    assert_eq!(shown.common_name.as_deref(), Some("meter-7"));
    assert_eq!(identity.as_deref(), Some("meter-7"));
    assert_eq!(peer.listener.as_deref(), Some("front"));
    let local = client.sock.local_addr().expect("an address");
    assert_eq!(*peer.address, *local.to_string());
    assert_eq!(peer.ip, Some(local.ip()));

    // Whoever shows none is not heard.
    let mut nobody = tls_over(open(address(&broker)), &authority.client(&["mqtt"], None));
    let refused = nobody
        .write_all(&hex(CONNECT_V311))
        .and_then(|()| nobody.read_exact(&mut [0; 4]));
    assert!(refused.is_err());
    drop((client, nobody));
    stop(broker);
}

/// Sends what it gets in one segment with the last bytes of the handshake.
fn finish_with(client: &mut common::TlsStream, bytes: &[u8]) {
    let common::TlsStream { conn, sock } = client;
    while conn.is_handshaking() {
        while conn.wants_write() {
            conn.write_tls(sock).expect("written");
        }
        assert_ne!(conn.read_tls(sock).expect("read"), 0, "closed");
        // With the server's flight the handshake is over for this side; its own last flight waits.
        conn.process_new_packets().expect("valid");
    }
    conn.writer().write_all(bytes).expect("taken");
    let mut last = Vec::new();
    while conn.wants_write() {
        conn.write_tls(&mut last).expect("written");
    }
    sock.write_all(&last).expect("written");
}

#[test]
fn what_comes_along_with_the_end_of_an_opening_is_heard() {
    let authority = Authority::new();
    let connect = hex(CONNECT_V311);

    let (broker, _known) = witnessed(loopback().layer(tls(&authority, |_| {})));
    let mut client = tls_over(open(address(&broker)), &authority.client(&[], None));
    finish_with(&mut client, &connect);
    expect(&mut client, CONNACK_V311);
    drop(client);
    stop(broker);

    let websocket = || WebSocketServer::new(WebSocketServerOptions::default());
    let (broker, _known) = witnessed(loopback().layer(websocket()));
    let mut client = open(address(&broker));
    let both = [upgrade("/mqtt", "").into_bytes(), frame(&connect)].concat();
    client.write_all(&both).expect("written");
    assert!(read_head(&mut client).starts_with("HTTP/1.1 101 "));
    expect(&mut client, &format!("82 04 {CONNACK_V311}"));
    drop(client);
    stop(broker);

    let secure = loopback().layer(tls(&authority, |_| {})).layer(websocket());
    let (broker, _known) = witnessed(secure);
    let mut client = tls_over(open(address(&broker)), &authority.client(&[], None));
    finish_with(&mut client, &both);
    assert!(read_head(&mut client).starts_with("HTTP/1.1 101 "));
    expect(&mut client, &format!("82 04 {CONNACK_V311}"));
    drop(client);
    stop(broker);

    let (broker, _known) = witnessed(loopback().proxy(proxies(&["127.0.0.0/8"])));
    let mut client = open(address(&broker));
    let mut all = b"PROXY TCP4 192.0.2.7 192.0.2.1 1024 1883\r\n".to_vec();
    all.extend_from_slice(&connect);
    client.write_all(&all).expect("written");
    expect(&mut client, CONNACK_V311);
    drop(client);
    stop(broker);
}

#[test]
fn one_port_serves_what_the_client_names() {
    let authority = Authority::new();
    let server = tls(&authority, |options| {
        options.protocols = AlpnServer::PROTOCOLS.map(Into::into).into();
    });
    let mut options = WebSocketServerOptions::default();
    options.paths = vec!["/mqtt".into()];
    options.origins = Some(vec!["https://example.com".into()]);
    let layer = AlpnServer::new(server, WebSocketServer::new(options));
    let (broker, known) = witnessed(loopback().layer(layer));
    for protocols in [&["mqtt"][..], &["x-amzn-mqtt-ca"], &[]] {
        let config = authority.client(protocols, None);
        let mut client = tls_over(open(address(&broker)), &config);
        exchange(&mut client, CONNECT_V311, CONNACK_V311);
        let (peer, _) = known.recv().expect("a request");
        let named = peer.tls.expect("TLS").protocol;
        assert_eq!(named.as_deref(), protocols.first().copied());
        assert_eq!(peer.websocket, None);
    }
    let page = || {
        tls_over(
            open(address(&broker)),
            &authority.client(&["http/1.1"], None),
        )
    };
    for (path, origin, status) in [
        ("/mqtt", "https://example.com", "101"),
        ("/mqtt", "https://example.org", "403"),
        ("/other", "https://example.com", "404"),
    ] {
        let mut client = page();
        let request = upgrade(path, &format!("Origin: {origin}\r\n"));
        client.write_all(request.as_bytes()).expect("written");
        let head = read_head(&mut client);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        if status == "101" {
            client
                .write_all(&frame(&hex(CONNECT_V311)))
                .expect("written");
            expect(&mut client, &format!("82 04 {CONNACK_V311}"));
            let (peer, _) = known.recv().expect("a request");
            let asked = peer.websocket.expect("a WebSocket");
            assert_eq!(
                (&*asked.path, asked.origin.as_deref()),
                (path, Some(origin))
            );
        }
    }
    stop(broker);
}

#[test]
fn a_unix_socket_serves_all_workers_and_has_its_mode() {
    let directory = Directory::new();
    let path = directory.0.join("mqtt.sock");
    let mut options = UnixListenOptions::default();
    options.mode = 0o660;
    let broker = Broker::builder()
        .listener(ListenerSettings::unix(&path, options))
        .workers(3)
        .start()
        .expect("starts");
    let mode = fs::metadata(&path)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = UnixStream::connect(&path).expect("connects");
        let patience = Some(Duration::from_secs(60));
        client.set_read_timeout(patience).expect("settable");
        // No Client Identifier: each gets one of its own.
        let connect = "10 0C 00 04 4D 51 54 54 04 02 00 3C 00 00";
        exchange(&mut client, connect, CONNACK_V311);
        clients.push(client);
    }
    drop(clients);
    stop(broker);
    assert!(!path.exists(), "the file goes with the broker");
}

#[test]
fn only_a_trusted_proxy_speaks_for_others() {
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 1024 1883\r\n";
    for (trusted, shown) in [
        ("127.0.0.0/8", Some("192.0.2.7:1024")),
        ("192.0.2.0/24", None),
    ] {
        let (broker, known) = witnessed(loopback().proxy(proxies(&[trusted])));
        let mut client = open(address(&broker));
        client.write_all(header).expect("written");
        match shown {
            Some(shown) => {
                exchange(&mut client, CONNECT_V311, CONNACK_V311);
                let (peer, _) = known.recv().expect("a request");
                let proxy = client.local_addr().expect("an address").to_string();
                assert_eq!(*peer.address, *shown);
                assert_eq!(peer.ip, Some("192.0.2.7".parse().expect("an address")));
                assert_eq!(peer.proxy.as_deref(), Some(&*proxy));
            }
            // The header is not even looked for: it is no CONNECT.
            None => assert_eq!(read_to_end(&mut client), []),
        }
        drop(client);
        stop(broker);
    }
}

#[test]
fn each_address_has_a_share_of_those_who_have_not_been_accepted() {
    let websocket = WebSocketServer::new(WebSocketServerOptions::default());
    let broker = Broker::builder()
        .listener(loopback().proxy(proxies(&["127.0.0.0/8"])).layer(websocket))
        .broker_limits(BrokerLimits {
            pending_connections_per_address_max: 2,
            ..BrokerLimits::default()
        })
        // Another worker could count the third client between the second one's answer and its count.
        .workers(1)
        .start()
        .expect("starts");
    let from = |client: &str| {
        let mut stream = open(address(&broker));
        let header = format!("PROXY TCP4 {client} 192.0.2.1 1024 1883\r\n");
        let opening = header + &upgrade("/mqtt", "");
        stream.write_all(opening.as_bytes()).expect("written");
        // The answer says that the client has been counted.
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
        stream
    };
    let connect = |stream: &mut TcpStream| {
        let packet = frame(&hex(CONNECT_V311));
        stream.write_all(&packet).expect("written");
        expect(stream, &format!("82 04 {CONNACK_V311}"));
    };
    let mut waiting = [from("192.0.2.7"), from("192.0.2.7")];
    assert_eq!(read_to_end(&mut from("192.0.2.7")), []);
    connect(&mut from("192.0.2.8"));
    // Whoever has been let in makes room.
    connect(&mut waiting[0]);
    connect(&mut from("192.0.2.7"));
    drop(waiting);
    stop(broker);
}

#[test]
fn each_listener_has_limits_of_its_own() {
    let sized = |bytes| Limits {
        packet_size_max: bytes,
        ..Limits::default()
    };
    let broker = Broker::builder()
        .listener(loopback().limits(sized(1_000)))
        .listener(loopback())
        .limits(sized(2_000))
        .start()
        .expect("starts");
    let connect = "10 10 00 04 4D 51 54 54 05 02 00 3C 00 00 03 62 61 64";
    for (listening, announced) in broker.local_addresses().iter().zip(["03E8", "07D0"]) {
        let mut client = open(listening.socket_address().expect("a socket"));
        // Receive Maximum, Maximum Packet Size, Topic Alias Maximum.
        let connack = format!("20 0E 00 00 0B 21 0400 27 0000{announced} 22 0020");
        exchange(&mut client, connect, &connack);
    }
    stop(broker);
}

#[test]
fn a_connection_counts_until_its_end_is_over() {
    for of_listener in [false, true] {
        let (all, some) = if of_listener { (100, 1) } else { (1, 100) };
        let broker = Broker::builder()
            .listener(loopback().connections_max(some))
            .broker_limits(BrokerLimits {
                connections_max: all,
                ..BrokerLimits::default()
            })
            .start()
            .expect("starts");
        let mut first = open(address(&broker));
        // No CONNECT: the broker is done with it, and waits for its end.
        first.write_all(&hex("C0 00")).expect("written");
        assert_eq!(read_to_end(&mut first), []);
        assert_eq!(read_to_end(&mut open(address(&broker))), []);
        drop(first);
        let connected = || {
            let mut stream = open(address(&broker));
            stream.write_all(&hex(CONNECT_V311))?;
            stream.read_exact(&mut [0; 4])
        };
        while connected().is_err() {}
        stop(broker);
    }
}

/// A listener that breaks as soon as somebody connects.
struct Fragile(TcpListener);

impl Listener for Fragile {
    fn accept(&mut self) -> Result<Option<Box<dyn Stream>>, AcceptError> {
        match self.0.accept()? {
            Some(_) => Err(AcceptError::Failed {
                kind: ErrorKind::InvalidInput,
                code: None,
            }),
            None => Ok(None),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        self.0.source()
    }

    fn local_address(&self) -> &PeerAddress {
        self.0.local_address()
    }
}

#[test]
fn a_listener_that_breaks_ends_the_broker_with_its_name() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let listener = TcpListener::from_std(socket, Default::default()).expect("a listener");
    let broker = Broker::builder()
        .listen("127.0.0.1:0".parse().expect("an endpoint"))
        .listener(ListenerSettings::opened(Box::new(Fragile(listener))).named("fragile"))
        .workers(2)
        .start()
        .expect("starts");
    assert_eq!(broker.listener_names().nth(1), Some("fragile"));
    let fragile = broker.local_addresses()[1].socket_address();
    let _client = TcpStream::connect(fragile.expect("a socket")).expect("connects");
    let error = broker.wait().expect_err("ended");
    assert!(error.to_string().contains("fragile"), "{error}");
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let taken = holder.local_addr().expect("an address");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let free_address = free.local_addr().expect("an address");
    drop(free);
    let error = Broker::builder()
        .listen(free_address.into())
        .listen(taken.into())
        .start()
        .expect_err("in use");
    let StartError::Listen { address, source } = &error else {
        panic!("{error}");
    };
    assert_eq!(**address, *taken.to_string());
    assert!(matches!(source, TransportError::AddressInUse { .. }));
    std::net::TcpListener::bind(free_address).expect("free again");
}

/// Sends bytes one after the other until the broker closes, which it has to.
fn trickle(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes.iter().cycle() {
        stream.write_all(&[*byte])?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn one_deadline_counts_from_acceptance_through_all_layers() {
    let authority = Authority::new();
    let limits = || Limits {
        connect_timeout: Duration::from_millis(500),
        ..Limits::default()
    };
    let websocket = || WebSocketServer::new(WebSocketServerOptions::default());
    // Each sends what the layer would go on to take for ever.
    let hello = [&hex("16 03 01 40 00 01 00 3F FC")[..], &[0; 10_000]].concat();
    let request = b"GET /mqtt HTTP/1.1\r\nX: ".repeat(300);
    let connect = [
        &hex("10 80 80 04")[..],
        &hex("00 04 4D 51 54 54 04 02"),
        &[0; 10_000],
    ]
    .concat();
    let header = [
        &hex("0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A 21 11 0F A0")[..],
        &[0; 3_000],
    ]
    .concat();
    for (listener, bytes) in [
        (loopback().layer(tls(&authority, |_| {})), &hello),
        (loopback().layer(websocket()), &request),
        (loopback(), &connect),
        (loopback().proxy(proxies(&["127.0.0.0/8"])), &header),
    ] {
        let broker = Broker::builder()
            .listener(listener)
            .limits(limits())
            .start()
            .expect("starts");
        let mut stream = open(address(&broker));
        let error = trickle(&mut stream, bytes).expect_err("cut");
        let is_cut = matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        );
        assert!(is_cut, "{error}");
        stop(broker);
    }
}

#[test]
fn an_opening_that_drags_on_takes_of_the_time_for_connect() {
    // Each layer by itself is quick enough; together they are not.
    let (broker, known) = witnessed(loopback().proxy(proxies(&["127.0.0.0/8"])).limits(Limits {
        connect_timeout: Duration::from_millis(600),
        ..Limits::default()
    }));
    let mut stream = open(address(&broker));
    std::thread::sleep(Duration::from_millis(400));
    let sent = stream
        .write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 1024 1883\r\n")
        .and_then(|()| {
            std::thread::sleep(Duration::from_millis(400));
            stream.write_all(&hex(CONNECT_V311))
        });
    drop(sent);
    assert_eq!(read_to_end(&mut stream), []);
    assert!(known.try_recv().is_err(), "nobody was asked about it");
    stop(broker);
}

#[test]
fn new_files_are_in_force_for_new_connections_and_leave_the_others_alone() {
    let authority = Authority::new();
    let server = tls(&authority, |_| {});
    let (broker, _known) = witnessed(loopback().layer(server.clone()));
    let config = authority.client(&[], None);
    let shown = |client: &common::TlsStream| {
        let chain = client.conn.peer_certificates().expect("a certificate");
        chain[0].as_ref().to_vec()
    };
    let connected = || {
        let mut client = tls_over(open(address(&broker)), &config);
        let connect = "10 0C 00 04 4D 51 54 54 04 02 00 3C 00 00";
        exchange(&mut client, connect, CONNACK_V311);
        client
    };
    let mut before = connected();
    let files = authority.sign("server");
    server.reload().expect("valid");
    let mut after = connected();
    assert_ne!(shown(&before), shown(&after));
    fs::write(&files.key, "no key").expect("written");
    server.reload().expect_err("broken");
    let mut still = connected();
    assert_eq!(shown(&after), shown(&still));
    for client in [&mut before, &mut after, &mut still] {
        exchange(client, "C0 00", "D0 00");
    }
    stop(broker);
}
