//! Connections and brokers that end, and workers that hand over what they have.

use std::net::{Shutdown, TcpStream};

use mqttstack_broker::limits::Limits;

use super::stage::*;

#[test]
fn half_open_connections_get_what_is_ready() {
    let stage = Stage::new();
    let mut stream = stage.open();
    send(&mut stream, CONNECT_V311);
    send(&mut stream, "C0 00");
    stream.shutdown(Shutdown::Write).expect("open");
    assert_eq!(read_to_end(&mut stream), hex("20 02 00 00 D0 00"));
    stage.end(stream);
}

#[test]
fn a_broker_that_stops_says_so() {
    let mut stage = Stage::with(Limits::default(), 2);
    let mut new = stage.client(CONNECT_V5);
    let mut old = stage.client(&named(CONNECT_V311, "old"));
    stage.check_bystander();
    stage.broker.stop();
    assert_eq!(read_to_end(&mut new), hex("E0 01 8B"));
    assert_eq!(read_to_end(&mut old), []);
    let address = stage.address;
    stage.broker.wait().expect("no worker failed");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn two_workers_exchange_messages_and_sessions() {
    // v5 MQTT-3.1.4-3
    let stage = Stage::with(Limits::default(), 2);
    // So many that both workers have some.
    let mut clients: Vec<TcpStream> = (0..32)
        .map(|n| {
            let mut stream = stage.client(&named(CONNECT_V311, &format!("c{n:02}")));
            exchange(&mut stream, "82 06 00 01 00 01 74 00", "90 03 00 01 00");
            stream
        })
        .collect();
    send(&mut clients[0], "30 04 00 01 74 78");
    for client in &mut clients {
        exchange(client, "", "30 04 00 01 74 78");
    }
    // A lasting session, taken over again and again, wherever the new connection lands.
    let mut last = stage.client(LASTING_V5);
    exchange(&mut last, "82 07 00 01 00 00 01 75 01", "90 04 00 01 00 01");
    for _ in 0..32 {
        let mut next = stage.open();
        exchange(&mut next, LASTING_V5, RESUMED_V5);
        assert_eq!(read_to_end(&mut last), hex("E0 01 8E"));
        send(&mut clients[0], "30 04 00 01 75 79");
        exchange(&mut next, "", "30 05 00 01 75 00 79");
        last = next;
    }
    assert_eq!(stage.subscriptions(), 33);
    stage.end((clients, last));
}
