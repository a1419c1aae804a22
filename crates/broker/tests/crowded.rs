//! Peers that connect and say nothing more: those that have waited longest give way, so that
//! whoever comes to speak is heard.

mod common;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use mqttstack_broker::{
    Broker, BrokerBuilder, ListenerSettings,
    core::{Access, Authorization, PublishRequest},
    limits::BrokerLimits,
    transport::{
        IpNet, ProxyOptions, ProxyServer, TlsServer, TlsServerOptions, WebSocketServer,
        WebSocketServerOptions,
    },
};

use common::{
    Authority, CONNACK_V311, address, exchange, expect, frame, hex, open, read_head, read_to_end,
    stop, tls_over, upgrade,
};

/// CONNECT of a client that leaves its name to the broker.
const CONNECT: &str = "10 0C 00 04 4D 51 54 54 04 02 00 3C 00 00";
/// How many may wait.
const PLACES: u32 = 8;

fn loopback() -> ListenerSettings {
    ListenerSettings::tcp("127.0.0.1:0".parse().expect("an endpoint"))
}

fn few_places() -> BrokerLimits {
    BrokerLimits {
        pending_connections_max: PLACES,
        ..BrokerLimits::default()
    }
}

/// Opens connections that begin and do not go on, until they hold all places.
fn fill(broker: &Broker, doors: &[(SocketAddr, Vec<u8>)], peers: &mut Vec<TcpStream>) {
    let before = broker.directory().metrics().connections_opened;
    for (address, beginning) in doors.iter().cycle().take(2 * doors.len()) {
        for _ in 0..PLACES {
            let mut peer = TcpStream::connect(address).expect("connects");
            // The broker may have closed it already.
            let _ = peer.write_all(beginning);
            peers.push(peer);
        }
    }
    let opened = u64::from(PLACES) * 2 * u64::try_from(doors.len()).expect("few");
    let has_all = || broker.directory().metrics().connections_opened >= before + opened;
    // Long enough for a busy machine; only a failing test waits for it.
    let seen = (0..20_000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        has_all()
    });
    assert!(seen, "somebody was kept out");
    assert!(broker.directory().pending_count() >= PLACES);
}

/// Says hello, and hears the answer.
fn greet(stream: &mut (impl Read + Write)) {
    exchange(stream, CONNECT, CONNACK_V311);
    exchange(stream, "C0 00", "D0 00");
}

#[test]
fn clients_get_in_while_others_hold_all_places() {
    let authority = Authority::new();
    for workers in [1, 3] {
        let tls = TlsServer::load(TlsServerOptions::new(authority.sign("server"))).expect("valid");
        let mut proxies = ProxyOptions::default();
        proxies.trusted = vec!["127.0.0.0/8".parse::<IpNet>().expect("a network")];
        let broker = Broker::builder()
            .listener(loopback())
            .listener(loopback().layer(tls))
            .listener(loopback().layer(WebSocketServer::new(WebSocketServerOptions::default())))
            .listener(loopback().proxy(ProxyServer::new(proxies)))
            .broker_limits(few_places())
            .workers(workers)
            .start()
            .expect("starts");
        let doors: Vec<(SocketAddr, Vec<u8>)> = broker
            .local_addresses()
            .iter()
            .map(|it| it.socket_address().expect("a socket"))
            .zip([
                hex("10 64 00 04 4D 51 54 54"),
                hex("16 03 01 01 40 01 00 01 3C 03 03"),
                b"GET /mqtt HTTP/1.1\r\nHost: a\r\n".to_vec(),
                hex("0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A 21 11 00 C8"),
            ])
            .collect();
        let mut peers = Vec::new();

        fill(&broker, &doors, &mut peers);
        let mut bare = open(doors[0].0);
        greet(&mut bare);

        fill(&broker, &doors, &mut peers);
        let mut secure = tls_over(open(doors[1].0), &authority.client(&[], None));
        greet(&mut secure);

        fill(&broker, &doors, &mut peers);
        let mut web = open(doors[2].0);
        web.write_all(upgrade("/mqtt", "").as_bytes())
            .expect("written");
        assert!(read_head(&mut web).starts_with("HTTP/1.1 101 "));
        web.write_all(&frame(&hex(CONNECT))).expect("written");
        expect(&mut web, &format!("82 04 {CONNACK_V311}"));

        fill(&broker, &doors, &mut peers);
        let mut behind = open(doors[3].0);
        let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 1024 1883\r\n";
        behind.write_all(header).expect("written");
        greet(&mut behind);

        // Whoever is in stays in.
        fill(&broker, &doors, &mut peers);
        for client in [&mut bare, &mut behind] {
            exchange(client, "C0 00", "D0 00");
        }
        exchange(&mut secure, "C0 00", "D0 00");
        web.write_all(&frame(&hex("C0 00"))).expect("written");
        expect(&mut web, "82 02 D0 00");
        let metrics = broker.directory().metrics();
        // All but those who wait, and the share that each worker may have besides.
        let displaced = u64::try_from(peers.len()).expect("few") - u64::from(2 * PLACES + 2);
        assert!(metrics.connections_displaced >= displaced, "{metrics:?}");
        assert_eq!(metrics.clients_connected, 4);
        drop((bare, secure, web, behind, peers));
        stop(broker);
    }
}

#[test]
fn those_who_wait_give_way_wherever_places_are_short_and_those_who_are_in_do_not() {
    let of_all = |maximum| BrokerLimits {
        connections_max: maximum,
        ..BrokerLimits::default()
    };
    let cases: [fn(BrokerBuilder, BrokerLimits) -> BrokerBuilder; 2] = [
        |builder, limits| builder.listener(loopback()).broker_limits(limits),
        |builder, limits| builder.listener(loopback().connections_max(limits.connections_max)),
    ];
    for build in cases {
        let builder = build(Broker::builder(), of_all(2));
        let broker = builder.workers(1).start().expect("starts");
        let mut silent = [open(address(&broker)), open(address(&broker))];
        let mut first = open(address(&broker));
        greet(&mut first);
        assert_eq!(read_to_end(&mut silent[0]), [], "it came first");
        let mut second = open(address(&broker));
        greet(&mut second);
        assert_eq!(read_to_end(&mut silent[1]), []);
        assert_eq!(read_to_end(&mut open(address(&broker))), [], "nobody waits");
        exchange(&mut first, "C0 00", "D0 00");
        exchange(&mut second, "C0 00", "D0 00");
        assert_eq!(broker.directory().metrics().connections_displaced, 2);
        drop((first, second, silent));
        stop(broker);
    }
}

/// Holds the worker while it decides about a message.
struct Hold {
    is_held: mpsc::Sender<()>,
    go_on: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Access for Hold {
    fn authorize_publish(&mut self, _: &PublishRequest<'_>) -> Authorization {
        self.is_held.send(()).expect("the test waits");
        let go_on = self.go_on.lock().expect("one at a time");
        go_on.recv().expect("the test goes on");
        Authorization::of(true)
    }
}

#[test]
fn who_is_accepted_in_the_turn_in_which_places_run_out_stays() {
    let ((is_held, held), (release, go_on)) = (mpsc::channel(), mpsc::channel());
    let go_on = Arc::new(Mutex::new(go_on));
    let broker = Broker::builder()
        .listener(loopback())
        .broker_limits(BrokerLimits {
            pending_connections_max: 2,
            ..BrokerLimits::default()
        })
        .access(move || {
            let (is_held, go_on) = (is_held.clone(), Arc::clone(&go_on));
            Box::new(Hold { is_held, go_on })
        })
        .workers(1)
        .start()
        .expect("starts");
    let mut holder = open(address(&broker));
    greet(&mut holder);
    let mut first = open(address(&broker));
    let mut silent = open(address(&broker));
    while broker.directory().pending_count() < 2 {
        thread::yield_now();
    }
    // While the worker is held, one of those who wait speaks, and then two more come.
    holder.write_all(&hex("30 03 00 01 74")).expect("written");
    held.recv().expect("held");
    first.write_all(&hex(CONNECT)).expect("written");
    let mut others = [open(address(&broker)), open(address(&broker))];
    release.send(()).expect("held");
    expect(&mut first, CONNACK_V311);
    exchange(&mut first, "C0 00", "D0 00");
    assert_eq!(read_to_end(&mut silent), []);
    for other in &mut others {
        greet(other);
    }
    drop((holder, first, silent, others));
    stop(broker);
}
