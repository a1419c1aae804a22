//! Shared subscriptions over real sockets.

mod common;

use std::io::Write;

use mqttstack_broker::Broker;

use common::{address, exchange, expect, hex, open, stop};

/// CONNACK of 5.0, up to its properties.
const CONNACK: &str = "20";

/// Joins as a client of 5.0 whose identifier is one letter, with a session of so many seconds.
fn join(broker: &Broker, client_id: &str, expiry: u8) -> std::net::TcpStream {
    let mut stream = open(address(broker));
    let connect = format!(
        "10 13 00 04 4D 51 54 54 05 02 00 00  05 11 00 00 00 {expiry:02X}  00 01 {:02X}",
        client_id.as_bytes()[0]
    );
    stream.write_all(&hex(&connect)).expect("sent");
    expect(&mut stream, CONNACK);
    let mut len = [0];
    std::io::Read::read_exact(&mut stream, &mut len).expect("a length");
    let mut rest = vec![0; len[0].into()];
    std::io::Read::read_exact(&mut stream, &mut rest).expect("the rest");
    assert_eq!(rest[1], 0, "accepted");
    stream
}

/// SUBSCRIBE to `$share/g/t` at QoS 1, and its answer.
const SUBSCRIBE: &str = "82 10  00 01  00  00 0A 24 73 68 61 72 65 2F 67 2F 74  01";
const SUBACK: &str = "90 04  00 01  00  01";

#[test]
fn what_a_lost_member_has_not_acknowledged_goes_to_another() {
    // v5 U-32
    for expiry in [0, 1] {
        let broker = Broker::builder()
            .listen("127.0.0.1:0".parse().expect("valid"))
            .workers(2)
            .start()
            .expect("starts");
        let mut lost = join(&broker, "l", expiry);
        exchange(&mut lost, SUBSCRIBE, SUBACK);
        // "t" with "x" at QoS 1, which it gets and does not acknowledge.
        let mut publisher = join(&broker, "p", 0);
        exchange(
            &mut publisher,
            "32 07  00 01 74  00 05  00  78",
            "40 02  00 05",
        );
        expect(&mut lost, "32 07  00 01 74  00 01  00  78");
        // The next connection is with another worker.
        let mut heir = join(&broker, "h", 0);
        exchange(&mut heir, SUBSCRIBE, SUBACK);
        drop(lost);
        expect(&mut heir, "32 07  00 01 74  00 01  00  78");
        stop(broker);
    }
}
