//! Ten thousand peers that have begun and do not finish: what they cost, that nobody else waits for
//! them, and that they keep nobody out.

mod common;

use std::{
    alloc::System,
    env,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use mqttstack_broker::{
    Broker, ListenerSettings,
    limits::{BrokerLimits, Limits},
    transport::{
        IpNet, ProxyOptions, ProxyServer, TlsServer, TlsServerOptions, WebSocketServer,
        WebSocketServerOptions,
    },
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use common::{
    Authority, CONNACK_V311, TlsStream, exchange, expect, frame, hex, open, read_head, stop,
    tls_over, upgrade,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// As many as may wait, and as there are, if the system lets a process have so many sockets.
const PEERS: usize = 10_000;
/// How often each of them sends another byte.
const ROUNDS: usize = 3;
/// What each may cost the broker, in bytes of memory: most of it is what TLS keeps of a handshake.
const BYTES_EACH_MAX: usize = 16 * 1024;
/// How many of those there are that send all of a TLS message that they may, but for its end.
const GREEDY: usize = 200;
/// What each of these may cost.
const BYTES_EACH_GREEDY_MAX: usize = 72 * 1024;
/// How many peers are opened before the clients talk again.
const STRIDE: usize = 500;

/// Where the process that has the peers asks what to do, and where its peers go.
const ORDERS: &str = "MQTTSTACK_TEST_TRICKLE_ORDERS";
const DOORS: &str = "MQTTSTACK_TEST_TRICKLE_DOORS";

/// CONNECT of a client that leaves its name to the broker.
const CONNECT: &str = "10 0C 00 04 4D 51 54 54 04 02 00 3C 00 00";
const PUBLISH: &str = "30 04 00 01 74 78";

/// What is spoken at each door of the broker, and what a peer begins with there.
fn beginnings() -> [(&'static str, Vec<u8>); 5] {
    // A message of 65,000 bytes that ends too early, in records of 16 KiB.
    let mut greedy = Vec::new();
    let message = [&hex("01 00 FD E8 03 03")[..], &[0; 64_900]].concat();
    for record in message.chunks(16 * 1024) {
        greedy.extend(hex("16 03 01"));
        greedy.extend(u16::try_from(record.len()).expect("fits").to_be_bytes());
        greedy.extend(record);
    }
    [
        // CONNECT of 100 bytes.
        ("MQTT", hex("10 64 00 04 4D 51 54 54 04 02")),
        // A handshake record of 320 bytes, with a ClientHello of 316.
        ("TLS", hex("16 03 01 01 40 01 00 01 3C 03 03")),
        (
            "HTTP",
            b"GET /mqtt HTTP/1.1\r\nHost: a\r\nX-More: ".to_vec(),
        ),
        // Version 2, with 200 bytes of addresses and extensions.
        (
            "PROXY protocol",
            hex("0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A 21 11 00 C8 01 02"),
        ),
        ("TLS, as much as possible", greedy),
    ]
}

/// Opens a listener of each kind: bare, TLS, WebSocket, PROXY protocol.
fn broker(authority: &Authority, peers: usize) -> (Broker, Vec<SocketAddr>) {
    let loopback = || ListenerSettings::tcp("127.0.0.1:0".parse().expect("an endpoint"));
    let tls = TlsServer::load(TlsServerOptions::new(authority.sign("server"))).expect("valid");
    let mut proxies = ProxyOptions::default();
    proxies.trusted = vec!["127.0.0.0/8".parse::<IpNet>().expect("a network")];
    let broker = Broker::builder()
        .listener(loopback())
        .listener(loopback().layer(tls))
        .listener(loopback().layer(WebSocketServer::new(WebSocketServerOptions::default())))
        .listener(loopback().proxy(ProxyServer::new(proxies)))
        .limits(Limits {
            // They are to be there until the end; that they are cut is tested elsewhere.
            connect_timeout: std::time::Duration::from_secs(3_600),
            ..Limits::default()
        })
        .broker_limits(BrokerLimits {
            pending_connections_max: u32::try_from(peers).expect("few enough"),
            ..BrokerLimits::default()
        })
        .workers(1)
        .start()
        .expect("starts");
    let addresses = broker.local_addresses().iter();
    let doors = addresses.map(|it| it.socket_address().expect("a socket"));
    let doors = doors.collect();
    (broker, doors)
}

/// The peers, in a process of their own: so both this one and that may have ten thousand sockets.
struct Peers {
    process: Child,
    orders: BufReader<TcpStream>,
}

impl Peers {
    fn start(doors: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let doors: Vec<String> = doors.iter().map(ToString::to_string).collect();
        let process = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "peers_that_trickle", "--nocapture"])
            .env(ORDERS, address.to_string())
            .env(DOORS, doors.join(","))
            .stdout(Stdio::null())
            .spawn()
            .expect("starts");
        let (orders, _) = listener.accept().expect("asks");
        let orders = BufReader::new(orders);
        Self { process, orders }
    }

    /// Gives an order, and waits until it is carried out; returns how many peers are left.
    fn order(&mut self, order: &str) -> usize {
        writeln!(self.orders.get_mut(), "{order}").expect("listens");
        let mut answer = String::new();
        self.orders.read_line(&mut answer).expect("answers");
        answer.trim().parse().expect("a number")
    }

    fn end(mut self) {
        assert_eq!(self.order("close"), 0);
        drop(self.orders);
        assert!(self.process.wait().expect("ends").success());
    }
}

/// What the process does that has the peers; nothing as a test by itself.
#[test]
fn peers_that_trickle() {
    let Ok(address) = env::var(ORDERS) else {
        return;
    };
    rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let doors = env::var(DOORS).expect("named");
    let doors: Vec<SocketAddr> = doors
        .split(',')
        .map(|it| it.parse().expect("one"))
        .collect();
    let beginnings = beginnings();
    let orders = TcpStream::connect(address).expect("connects");
    let mut answers = orders.try_clone().expect("a clone");
    let mut peers: Vec<TcpStream> = Vec::new();
    for order in BufReader::new(orders).lines() {
        let order = order.expect("text");
        match order.split(' ').collect::<Vec<_>>()[..] {
            ["open", beginning, door, count] => {
                let number = |text: &str| text.parse::<usize>().expect("a number");
                let (_, bytes) = &beginnings[number(beginning)];
                for _ in 0..number(count) {
                    let peer = TcpStream::connect(doors[number(door)]);
                    let mut peer = peer.expect("connects");
                    peer.write_all(bytes).expect("written");
                    peers.push(peer);
                }
            }
            ["trickle"] => {
                for peer in &mut peers {
                    peer.write_all(b"x").expect("it is still open");
                }
            }
            ["close"] => peers.clear(),
            _ => panic!("{order}"),
        }
        writeln!(answers, "{}", peers.len()).expect("awaited");
    }
}

/// Clients at three of the doors: each says something, which the first one gets.
struct Clients {
    bare: TcpStream,
    secure: TlsStream,
    web: TcpStream,
}

impl Clients {
    fn connect(authority: &Authority, doors: &[SocketAddr]) -> Self {
        let mut bare = open(doors[0]);
        exchange(&mut bare, CONNECT, CONNACK_V311);
        exchange(&mut bare, "82 06 00 01 00 01 74 00", "90 03 00 01 00");
        let mut secure = tls_over(open(doors[1]), &authority.client(&[], None));
        exchange(&mut secure, CONNECT, CONNACK_V311);
        let mut web = open(doors[2]);
        web.write_all(upgrade("/mqtt", "").as_bytes())
            .expect("written");
        assert!(read_head(&mut web).starts_with("HTTP/1.1 101 "));
        web.write_all(&frame(&hex(CONNECT))).expect("written");
        expect(&mut web, &format!("82 04 {CONNACK_V311}"));
        Self { bare, secure, web }
    }

    fn talk(&mut self) {
        let Self { bare, secure, web } = self;
        exchange(bare, PUBLISH, PUBLISH);
        exchange(secure, &format!("{PUBLISH} C0 00"), "D0 00");
        expect(bare, PUBLISH);
        web.write_all(&frame(&hex(PUBLISH))).expect("written");
        expect(bare, PUBLISH);
    }

    /// Waits until the broker has taken in what was sent to it; nobody who waits for it was cut.
    fn settle(&mut self, broker: &Broker, peers: usize) {
        let peers = u32::try_from(peers).expect("few enough");
        loop {
            // One thread reads in turn: with the answer, what was sent before has been read.
            self.talk();
            if broker.directory().pending_count() == peers {
                return self.talk();
            }
        }
    }
}

fn live(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

#[test]
fn ten_thousand_that_trickle_cost_little_and_keep_nobody_waiting_or_out() {
    let authority = Authority::new();
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let room = usize::try_from(files).unwrap_or(usize::MAX);
    let peers_count = PEERS.min(room.saturating_sub(256)) / 4 * 4;
    let (broker, doors) = broker(&authority, peers_count);
    let mut peers = Peers::start(&doors);
    let mut clients = Clients::connect(&authority, &doors);
    clients.talk();

    let greedy = Region::new(ALLOCATOR);
    assert_eq!(peers.order(&format!("open 4 1 {GREEDY}")), GREEDY);
    clients.settle(&broker, GREEDY);
    let each = live(&greedy) / GREEDY;
    println!("{}: {each} bytes each", beginnings()[4].0);
    assert!(each <= BYTES_EACH_GREEDY_MAX, "{each} bytes");
    peers.order("close");
    clients.settle(&broker, 0);

    let all = Region::new(ALLOCATOR);
    let mut opened = 0;
    for (door, (speaks, _)) in beginnings()[..4].iter().enumerate() {
        let of_door = Region::new(ALLOCATOR);
        let until = opened + peers_count / 4;
        while opened < until {
            let stride = STRIDE.min(until - opened);
            opened = peers.order(&format!("open {door} {door} {stride}"));
            clients.talk();
        }
        clients.settle(&broker, opened);
        let each = live(&of_door) / (peers_count / 4);
        println!("{speaks}: {each} bytes each");
        assert!(each <= BYTES_EACH_MAX, "{speaks}: {each} bytes");
    }
    for _ in 0..ROUNDS {
        peers.order("trickle");
        clients.settle(&broker, peers_count);
    }
    let each = live(&all) / peers_count;
    println!("{peers_count} peers that trickle: {each} bytes each");
    assert!(each <= BYTES_EACH_MAX, "{each} bytes each");
    assert_eq!(broker.directory().metrics().connections_displaced, 0);

    // They hold every place, and others get in nevertheless, at each door; more of them follow.
    for (door, displaced) in (0..doors.len()).zip(1..) {
        match door {
            0 => exchange(&mut open(doors[0]), CONNECT, CONNACK_V311),
            1 => {
                let config = authority.client(&[], None);
                exchange(
                    &mut tls_over(open(doors[1]), &config),
                    CONNECT,
                    CONNACK_V311,
                );
            }
            2 => {
                let mut web = open(doors[2]);
                let opening = upgrade("/mqtt", "");
                web.write_all(opening.as_bytes()).expect("written");
                assert!(read_head(&mut web).starts_with("HTTP/1.1 101 "));
                web.write_all(&frame(&hex(CONNECT))).expect("written");
                expect(&mut web, &format!("82 04 {CONNACK_V311}"));
            }
            _ => {
                let mut behind = open(doors[3]);
                let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 1024 1883\r\n";
                behind.write_all(header).expect("written");
                exchange(&mut behind, CONNECT, CONNACK_V311);
            }
        }
        assert_eq!(
            broker.directory().metrics().connections_displaced,
            displaced
        );
        peers.order("open 0 0 1");
        clients.settle(&broker, peers_count);
    }
    peers.end();
    drop(clients);
    stop(broker);
}
