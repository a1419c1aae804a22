//! Whoever is refused costs nobody else a place: not while others are asked to give way, not while its
//! transport ends, and not for longer than an end may take.

mod common;

use std::{
    io::{self, IoSlice, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use mqttstack_broker::{
    Broker, ListenerSettings,
    core::MemoryStage,
    limits::BrokerLimits,
    transport::{
        AcceptError, Handshake, ListenOptions, Listener, Peer, PeerAddress, Source, Stream,
        TcpListener, TcpOptions, TlsServer, TlsServerOptions, TransportError, WebSocketServer,
        WebSocketServerOptions,
    },
};

use common::{
    Authority, CONNACK_V311, address, exchange, expect, frame, hex, open, read_head, stop, upgrade,
};

/// CONNECT of a client that leaves its name to the broker.
const CONNECT: &str = "10 0C 00 04 4D 51 54 54 04 02 00 3C 00 00";
/// A packet of type 15, which MQTT 3.1.1 does not have.
const MALFORMED: &str = "F0 00";

/// Waits for something that happens soon; only a failing test waits for long.
fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    (0..20_000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        is_so()
    })
}

/// A listener on loopback whose peers come from other addresses, and that knows how many of them
/// the broker holds.
struct Far {
    inner: TcpListener,
    /// The last octet of the address that the next peer comes from.
    from: Arc<AtomicU8>,
    held: Arc<()>,
}

struct FarStream {
    inner: Box<dyn Stream>,
    peer: Peer,
    _held: Arc<()>,
}

impl Far {
    fn bind() -> Self {
        let loopback = "127.0.0.1:0".parse().expect("an address");
        Self {
            inner: TcpListener::bind(loopback, &ListenOptions::default()).expect("listens"),
            from: Arc::new(AtomicU8::new(1)),
            held: Arc::new(()),
        }
    }

    /// Returns where it listens, what says from where the next peer comes, and what is shared by
    /// those who are held.
    fn parts(&self) -> (SocketAddr, Arc<AtomicU8>, Arc<()>) {
        let address = Listener::local_address(&self.inner).socket_address();
        let (from, held) = (Arc::clone(&self.from), Arc::clone(&self.held));
        (address.expect("a socket"), from, held)
    }
}

impl Listener for Far {
    fn accept(&mut self) -> Result<Option<Box<dyn Stream>>, AcceptError> {
        let Some(inner) = self.inner.accept()? else {
            return Ok(None);
        };
        let address: SocketAddr = ([192, 0, 2, self.from.load(Ordering::SeqCst)], 7).into();
        Ok(Some(Box::new(FarStream {
            inner: Box::new(inner),
            peer: Peer::new(address.into()),
            _held: Arc::clone(&self.held),
        })))
    }

    fn source(&mut self) -> &mut dyn Source {
        self.inner.source()
    }

    fn local_address(&self) -> &PeerAddress {
        Listener::local_address(&self.inner)
    }
}

impl Stream for FarStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.write_vectored(slices)
    }

    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        self.inner.handshake()
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.inner.shutdown()
    }

    fn source(&mut self) -> &mut dyn Source {
        self.inner.source()
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }
}

#[test]
fn who_is_refused_for_its_address_displaces_nobody() {
    let far = Far::bind();
    let (address, from, _) = far.parts();
    let broker = Broker::builder()
        .listener(ListenerSettings::opened(Box::new(far)))
        .broker_limits(BrokerLimits {
            pending_connections_max: 4,
            pending_connections_per_address_max: 3,
            ..BrokerLimits::default()
        })
        .workers(1)
        .start()
        .expect("starts");
    let has = |count| wait_until(|| broker.directory().pending_count() == count);
    from.store(9, Ordering::SeqCst);
    let mut honest = open(address);
    assert!(has(1));
    from.store(1, Ordering::SeqCst);
    let hostile = [(); 3].map(|()| open(address));
    assert!(has(4));
    assert_eq!(open(address).read(&mut [0]).expect("closed"), 0, "enough");
    assert_eq!(broker.metrics().connections_displaced, 0);
    exchange(&mut honest, CONNECT, CONNACK_V311);
    drop((honest, hostile));
    stop(broker);
}

#[test]
fn who_is_refused_because_memory_is_used_up_displaces_nobody() {
    let loopback = ListenerSettings::tcp("127.0.0.1:0".parse().expect("an endpoint"));
    let broker = Broker::builder()
        .listener(loopback.connections_max(2))
        .broker_limits(BrokerLimits {
            memory_bytes_max: 256 * 1024,
            ..BrokerLimits::default()
        })
        .workers(1)
        .start()
        .expect("starts");
    let mut silent = open(address(&broker));
    assert!(wait_until(|| broker.directory().pending_count() == 1));
    let mut publisher = open(address(&broker));
    exchange(&mut publisher, CONNECT, CONNACK_V311);
    // Retained messages of 20 KiB, to topics of one letter.
    for letter in b'a'..=b't' {
        let mut publish = hex("31 83 A0 01 00 01");
        publish.push(letter);
        publish.resize(publish.len() + 0x5000, 0);
        publisher.write_all(&publish).expect("written");
    }
    let is_full = || broker.directory().memory_stage() == MemoryStage::Full;
    assert!(wait_until(is_full));
    assert_eq!(open(address(&broker)).read(&mut [0]).expect("closed"), 0);
    assert_eq!(broker.metrics().connections_displaced, 0);
    exchange(&mut silent, CONNECT, "20 02 00 03");
    drop((silent, publisher));
    stop(broker);
}

/// A handshake message that is nearly as long as it may be, and then what breaks the rules.
fn greedy_and_bad() -> Vec<u8> {
    let message = [&hex("01 00 FD E8 03 03")[..], &[0; 64_900]].concat();
    let mut bytes = Vec::new();
    for record in message.chunks(16 * 1024) {
        bytes.extend(hex("16 03 01"));
        bytes.extend(u16::try_from(record.len()).expect("fits").to_be_bytes());
        bytes.extend(record);
    }
    bytes.extend(hex("FF 03 01 00 01 00"));
    bytes
}

#[test]
fn those_whose_handshake_failed_count_until_they_are_gone() {
    const PLACES: usize = 8;
    let authority = Authority::new();
    let tls = TlsServer::load(TlsServerOptions::new(authority.sign("server"))).expect("valid");
    for workers in [1, 2] {
        let far = Far::bind();
        let (address, _, held) = far.parts();
        // What this test holds of it, and the listener.
        let before = Arc::strong_count(&held);
        let broker = Broker::builder()
            .listener(ListenerSettings::opened(Box::new(far)).layer(tls.clone()))
            .broker_limits(BrokerLimits {
                pending_connections_max: u32::try_from(PLACES).expect("few"),
                ..BrokerLimits::default()
            })
            .workers(workers)
            .start()
            .expect("starts");
        let bytes = greedy_and_bad();
        let peers: Vec<TcpStream> = (0..64)
            .map(|_| {
                let mut peer = open(address);
                // The broker may have closed it already.
                let _ = peer.write_all(&bytes);
                peer
            })
            .collect();
        let opened = u64::try_from(peers.len()).expect("few");
        assert!(wait_until(|| {
            let metrics = broker.metrics();
            metrics.connections_opened == opened && broker.directory().pending_count() == 0
        }));
        let held = Arc::strong_count(&held) - before;
        assert!(held <= PLACES, "{held} are held");
        drop(peers);
        stop(broker);
    }
}

/// Returns whether a newcomer finds the only place free, at last: its first bytes are answered.
fn is_freed(broker: &Broker, hello: &[u8]) -> bool {
    let is_in = || {
        let mut stream = open(address(broker));
        // Where there is no room it is closed at once.
        let is_written = stream.write_all(hello).is_ok();
        is_written && matches!(stream.read(&mut [0; 4]), Ok(1..))
    };
    (0..300).any(|_| {
        thread::sleep(Duration::from_millis(100));
        is_in()
    })
}

#[test]
fn a_breach_while_the_end_is_awaited_gives_no_more_time() {
    let web = WebSocketServer::new(WebSocketServerOptions::default());
    let loopback = ListenerSettings::tcp("127.0.0.1:0".parse().expect("an endpoint"));
    let broker = Broker::builder()
        .listener(loopback.layer(web).connections_max(1))
        .workers(1)
        .start()
        .expect("starts");
    let mut stream = open(address(&broker));
    stream
        .write_all(upgrade("/mqtt", "").as_bytes())
        .expect("written");
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    stream.write_all(&frame(&hex(CONNECT))).expect("written");
    expect(&mut stream, &format!("82 04 {CONNACK_V311}"));
    stream.write_all(&frame(&hex(MALFORMED))).expect("written");
    expect(&mut stream, "88 02");
    // The broker has said all it has to say, and waits for the end; what comes is a frame without a
    // mask.
    thread::sleep(Duration::from_millis(50));
    stream.write_all(&hex("82 02 C0 00")).expect("written");
    let hello = upgrade("/mqtt", "");
    assert!(is_freed(&broker, hello.as_bytes()), "held for ever");
    drop(stream);
    stop(broker);
}

#[test]
fn a_peer_that_reads_late_gets_no_more_time() {
    let mut options = ListenOptions::default();
    options.tcp = TcpOptions::default();
    options.tcp.send_buffer_bytes = Some(8192);
    let loopback = "127.0.0.1:0".parse().expect("an endpoint");
    let broker = Broker::builder()
        .listener(ListenerSettings::tcp_with(loopback, options).connections_max(1))
        .workers(1)
        .start()
        .expect("starts");
    let mut stream = open(address(&broker));
    exchange(&mut stream, CONNECT, CONNACK_V311);
    exchange(&mut stream, "82 06 00 01 00 01 74 00", "90 03 00 01 00");
    // To itself, which is more than fits into the sockets; then what it must not send.
    let mut publish = hex("30 83 80 40 00 01 74");
    publish.resize(publish.len() + 0x10_0000, 0);
    for _ in 0..9 {
        stream.write_all(&publish).expect("written");
    }
    stream.write_all(&hex(MALFORMED)).expect("written");
    assert!(wait_until(|| broker.directory().connection_count() == 0));
    thread::sleep(Duration::from_millis(50));
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("all of it");
    assert!(is_freed(&broker, &hex(CONNECT)), "held for ever");
    drop(stream);
    stop(broker);
}
