//! An application that acknowledges after the connection of a message is gone.

use mqttstack_testkit::{
    client::core::{CleanStart, ClientCore, Event, Receipt, Settings, TransportRequest},
    codec::{ConnAck, Delivery, Packet, PacketId, ProtocolVersion, Publish, ReasonCode},
    limits::Instant,
};

const NOW: Instant = Instant::from_micros(1_000_000);

#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
fn hand(client: &mut ClientCore, packet: &Packet) {
    let mut bytes = Vec::new();
    packet.encode(ProtocolVersion::V311, &mut bytes).unwrap();
    client.handle_input(&bytes, NOW);
}

/// Opens the next connection, and resumes the session on it.
fn connect(client: &mut ClientCore) {
    client.connect(NOW);
    while client.poll_transport() != Some(TransportRequest::Open) {}
    client.handle_connected(NOW);
    while client.poll_output(NOW).is_some() {}
    let connack = ConnAck::new(true, ReasonCode::Success);
    hand(client, &Packet::ConnAck(connack));
}

fn receipts(client: &mut ClientCore) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    while let Some(event) = client.poll_event() {
        if let Event::MessageReceived { receipt, .. } = event {
            receipts.extend(receipt);
        }
    }
    receipts
}

#[test]

fn qos_2_is_delivered_once_though_acknowledged_after_the_connection() {
    // v5 MQTT-4.3.3-10; v3.1.1 MQTT-4.3.3-2
    let mut settings = Settings::new("reader");
    settings.version = ProtocolVersion::V311;
    settings.clean_start = CleanStart::Never;
    let mut client = ClientCore::new(settings, 1).unwrap();
    let publish = |dup| {
        let packet_id = PacketId::MIN;
        Packet::Publish(Publish {
            delivery: Delivery::ExactlyOnce { packet_id, dup },
            ..Publish::new("a", "x")
        })
    };
    connect(&mut client);
    hand(&mut client, &publish(false));
    client.handle_closed(NOW);
    let first = receipts(&mut client);
    assert_eq!(first.len(), 1);
    for receipt in first {
        client.acknowledge(receipt, ReasonCode::Success);
    }
    connect(&mut client);
    hand(&mut client, &publish(true));
    assert_eq!(receipts(&mut client), [], "delivered a second time");
}
