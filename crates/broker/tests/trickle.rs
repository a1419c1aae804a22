//! Ten thousand peers that have begun and do not finish: what they cost, and that nobody else waits
//! for them.

mod common;

use std::{
    alloc::System,
    io::Write as _,
    net::{SocketAddr, TcpStream},
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
    Authority, CONNACK_V311, exchange, expect, frame, hex, open, read_head, stop, tls_over, upgrade,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many peers there are, if the system lets one process have both ends of all of them.
const PEERS: usize = 10_000;
/// How often each of them sends another byte.
const ROUNDS: usize = 3;
/// What each may cost the broker, in bytes of memory: most of it is what TLS keeps of a handshake.
const BYTES_EACH_MAX: usize = 16 * 1024;

/// A door of the broker, what a peer begins with there, and how it goes on for ever.
struct Door {
    speaks: &'static str,
    address: SocketAddr,
    beginning: Vec<u8>,
}

/// Opens a listener of each kind: bare, TLS, WebSocket, PROXY protocol.
fn broker(authority: &Authority) -> (Broker, Vec<Door>) {
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
            pending_connections_max: 2 * 10_000,
            ..BrokerLimits::default()
        })
        .workers(1)
        .start()
        .expect("starts");
    let beginnings = [
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
    ];
    let doors = broker.local_addresses().iter().zip(beginnings);
    let doors = doors.map(|(address, (speaks, beginning))| Door {
        speaks,
        address: address.socket_address().expect("a socket"),
        beginning,
    });
    let doors = doors.collect();
    (broker, doors)
}

/// Waits until the broker has taken in what was sent to it; nobody who waits for it was cut.
fn settle(broker: &Broker, peers: usize, talk: &mut impl FnMut()) {
    let peers = u32::try_from(peers).expect("few enough");
    loop {
        // One thread reads in turn: with the answer, what was sent before has been read.
        talk();
        match broker.directory().pending_count() {
            pending if pending == peers => return talk(),
            pending => assert!(pending < peers, "{pending} of {peers}"),
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
fn ten_thousand_that_trickle_cost_little_and_keep_nobody_waiting() {
    let authority = Authority::new();
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let room = usize::try_from(files)
        .unwrap_or(usize::MAX)
        .saturating_sub(256)
        / 2;
    let peers_count = PEERS.min(room);
    let (broker, doors) = broker(&authority);

    let connect = "10 0C 00 04 4D 51 54 54 04 02 00 3C 00 00";
    let mut bare = open(doors[0].address);
    exchange(&mut bare, connect, CONNACK_V311);
    exchange(&mut bare, "82 06 00 01 00 01 74 00", "90 03 00 01 00");
    let mut secure = tls_over(open(doors[1].address), &authority.client(&[], None));
    exchange(&mut secure, connect, CONNACK_V311);
    let mut web = open(doors[2].address);
    web.write_all(upgrade("/mqtt", "").as_bytes())
        .expect("written");
    assert!(read_head(&mut web).starts_with("HTTP/1.1 101 "));
    web.write_all(&frame(&hex(connect))).expect("written");
    expect(&mut web, &format!("82 04 {CONNACK_V311}"));
    // Each says something, which the first one gets.
    let mut talk = || {
        let publish = "30 04 00 01 74 78";
        exchange(&mut bare, publish, publish);
        exchange(&mut secure, &format!("{publish} C0 00"), "D0 00");
        expect(&mut bare, publish);
        web.write_all(&frame(&hex(publish))).expect("written");
        expect(&mut bare, publish);
    };
    talk();

    let mut peers: Vec<TcpStream> = Vec::with_capacity(peers_count);
    let all = Region::new(ALLOCATOR);
    for door in &doors {
        let of_door = Region::new(ALLOCATOR);
        for _ in 0..peers_count / doors.len() {
            let mut peer = TcpStream::connect(door.address).expect("connects");
            peer.write_all(&door.beginning).expect("written");
            peers.push(peer);
            if peers.len().is_multiple_of(1_000) {
                talk();
            }
        }
        settle(&broker, peers.len(), &mut talk);
        let each = live(&of_door) / (peers_count / doors.len());
        println!("{}: {each} bytes each", door.speaks);
        assert!(each <= BYTES_EACH_MAX, "{}: {each} bytes", door.speaks);
    }
    for _ in 0..ROUNDS {
        for (index, peer) in peers.iter_mut().enumerate() {
            peer.write_all(b"x").expect("it is still open");
            if index.is_multiple_of(1_000) {
                talk();
            }
        }
    }
    settle(&broker, peers.len(), &mut talk);
    let each = live(&all) / peers.len();
    println!("{} peers that trickle: {each} bytes each", peers.len());
    assert!(each <= BYTES_EACH_MAX, "{each} bytes each");
    drop(peers);
    drop((bare, secure, web));
    stop(broker);
}
