//! Keep alive, and the ends that a connection may have.

use mqttstack_codec::DecodeError;

use super::*;

#[test]
fn bytes_that_are_no_packet_end_an_accepted_connection() {
    // v5 MQTT-4.13.1-1, v3.1.1 MQTT-4.8.0-1; v5 U-13
    for (error, code) in [
        (DecodeError::InvalidPublishQoS, "81"),
        (DecodeError::PacketTooLarge { size: 9, limit: 8 }, "95"),
    ] {
        let mut session = Session::new(Arc::new(quiet()), at(0.0));
        let connect = Packet::Connect(testing::connect("id=c"));
        session.handle_packet(connect, at(0.0)).expect("accepted");
        session
            .accept(Acceptance::default(), at(0.0))
            .expect("fits");
        session
            .handle_packet(testing::packet("PINGREQ"), at(0.0))
            .expect("legal");
        session.handle_decode_error(error, None);
        // What was answered before goes first, CONNACK above all (v5 MQTT-3.2.0-1).
        let mut sent = Vec::new();
        while let Some(packet) = session.poll_packet(at(0.0)) {
            sent.push(packet.into_packet(ProtocolVersion::V5).expect("a packet"));
        }
        let disconnect = format!("DISCONNECT {code}");
        let expected = ["CONNACK", "PINGRESP", &disconnect].map(testing::packet);
        assert_eq!(sent, expected);
        assert!(!session.has_packet());
    }
}

#[test]
fn silence_for_one_and_a_half_keep_alives_ends_the_connection() {
    // v5 MQTT-3.1.2-22, v3.1.1 MQTT-3.1.2-24; V31-keepalive
    check_connected(
        quiet(),
        "clean id=c ka=10 will=w",
        "@ 14.9
         > PINGREQ
         < PINGRESP
         @ 29.8
         @ 29.9
         < DISCONNECT 8D
         * ended KeepAliveTimeout will",
    );
    for version in ["v311", "v31"] {
        check_connected(
            quiet(),
            &format!("{version} clean id=c ka=65535 will=w"),
            "@ 98302\n@ 98302.5\n* ended KeepAliveTimeout will",
        );
    }
    // 0 is off; X311-3.1.2.10-b
    check_connected(
        quiet(),
        "clean id=c ka=0",
        "@ 1000000\n> PINGREQ\n< PINGRESP",
    );
}

#[test]
fn pings_are_answered() {
    // v5 MQTT-3.12.4-1, v3.1.1 MQTT-3.12.4-1
    for version in ["v5", "v311", "v31"] {
        check_connected(quiet(), &format!("{version} id=c"), "> PINGREQ\n< PINGRESP");
    }
}

#[test]
fn disconnect_deletes_the_will_if_it_is_a_normal_one() {
    // v5 MQTT-3.14.4-3, v5 MQTT-3.14.4-1
    for (disconnect, ended) in [
        ("DISCONNECT", "ClientDisconnected(Success)"),
        (
            "DISCONNECT 04",
            "ClientDisconnected(DisconnectWithWillMessage) will",
        ),
        ("DISCONNECT 81", "ClientDisconnected(MalformedPacket) will"),
    ] {
        let script = format!("> {disconnect}\n* ended {ended}\n> PINGREQ\n> DISCONNECT");
        check_connected(quiet(), "id=c will=w", &script);
    }
    check_connected(
        quiet(),
        "v311 clean id=c will=w",
        "> DISCONNECT\n* ended ClientDisconnected(Success)",
    );
    check_connected(
        quiet(),
        "id=c will=w",
        "! close\n* ended TransportClosed will",
    );
}

#[test]
fn disconnect_may_change_the_session_expiry_but_not_raise_it_from_0() {
    // v5 U-06
    check_connected(
        quiet(),
        "id=c will=w",
        "> DISCONNECT session=1
         < DISCONNECT 82
         * ended SessionExpiryRaised will",
    );
    check_connected(
        Limits {
            session_expiry_max: 50,
            ..quiet()
        },
        "id=c session=10",
        "> DISCONNECT session=100\n* ended ClientDisconnected(Success) session=50",
    );
    check_connected(
        quiet(),
        "id=c session=10",
        "> DISCONNECT session=0\n* ended ClientDisconnected(Success)",
    );
    check_connected(
        quiet(),
        "id=c",
        "> DISCONNECT session=0\n* ended ClientDisconnected(Success)",
    );
}

#[test]
fn the_session_expiry_in_force_is_reported() {
    // v5 MQTT-3.1.2-23, v3.1.1 MQTT-3.1.2-4, v3.1.1 MQTT-3.1.2-6
    for (connect, expiry) in [
        ("id=c", ""),
        ("id=c session=5", " session=5"),
        ("id=c session=4294967295", " session=4294967295"),
        ("v311 id=c", " session=4294967295"),
        ("v311 clean id=c", ""),
        ("v31 id=c", " session=4294967295"),
    ] {
        check_connected(
            quiet(),
            connect,
            &format!("! close\n* ended TransportClosed{expiry}"),
        );
    }
}

#[test]
fn a_server_that_ends_the_connection_tells_5_0_clients_why() {
    // v5 MQTT-3.14.2-2, v5 MQTT-3.14.2-3, v5 MQTT-3.14.2-4, v5 MQTT-3.14.4-1, v5 MQTT-4.13.2-1
    check_connected(
        quiet(),
        "id=c noproblem will=w",
        "! disconnect 9D reference=other session=9 reason user
         < DISCONNECT 9D reference=other reason user
         * ended ServerDisconnected(ServerMoved) will
         > PUBLISH a=x
         ! disconnect 8B",
    );
    check_connected(
        quiet(),
        "id=c psize=12",
        "! disconnect 8E reason
         < DISCONNECT 8E
         * ended ServerDisconnected(SessionTakenOver)",
    );
    check_connected(
        quiet(),
        "v311 id=c will=w",
        "! disconnect 8E
         * ended ServerDisconnected(SessionTakenOver) will session=4294967295",
    );
    // v5 MQTT-3.14.0-1: before CONNACK there is no DISCONNECT.
    check(
        quiet(),
        "> CONNECT id=c
         * connect
         ! disconnect 8B
         < CONNACK 88
         * ended ServerDisconnected(ServerShuttingDown)",
    );
    check(
        quiet(),
        "! disconnect 8B\n* ended ServerDisconnected(ServerShuttingDown)",
    );
}
