//! The driver against a server that plays a script, over loopback.

#[cfg(all(
    unix,
    feature = "tls",
    feature = "websocket",
    feature = "unix",
    feature = "tunnel"
))]
mod ways;

use core::time::Duration;
use std::{
    format,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    string::String,
    thread, vec,
    vec::Vec,
};

use mqttstack_codec::{
    Ack, ConnAck, Decoder, Delivery, Disconnect, Packet, PacketId, Properties, ProtocolVersion,
    Publish, QoS, ReasonCode, ReasonCodes, Sender, Shared as SharedStorage, SubAck, Subscription,
};
use mqttstack_session::Message;

use super::{shared::SUBMITTED_MESSAGES_MAX, *};
use crate::core::ReconnectPolicy;

/// Nothing here takes so long unless it is broken.
const LONG: Duration = Duration::from_secs(20);

struct Server(TcpListener);

/// The server's end of a connection.
struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Server {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn client(&self) -> Builder {
        Client::builder(&format!("mqtt://{}", self.0.local_addr().unwrap())).client_id("me")
    }

    /// Takes the next connection and accepts its CONNECT.
    fn accept(&self) -> Peer {
        let mut peer = self.accept_transport();
        assert!(matches!(peer.receive(), Some(Packet::Connect(_))));
        peer.send(Packet::ConnAck(ConnAck::new(false, ReasonCode::Success)));
        peer
    }

    fn accept_transport(&self) -> Peer {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Peer {
            stream,
            received: Vec::new(),
        }
    }

    /// Connects a client.
    fn connect(&self, builder: Builder) -> (Client, Inbox, Peer) {
        thread::scope(|scope| {
            let peer = scope.spawn(|| self.accept());
            let (client, inbox) = builder.connect().unwrap();
            (client, inbox, peer.join().unwrap())
        })
    }
}

impl Peer {
    /// Returns the next packet; `None` at the end of the stream.
    fn receive(&mut self) -> Option<Packet> {
        let decoder = Decoder::new().with_sender(Sender::Client);
        loop {
            if let Some((packet, len)) = decoder.decode_ref(&self.received).unwrap() {
                let packet = packet.to_shared();
                self.received.drain(..len);
                return Some(packet);
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).unwrap();
            if count == 0 {
                return None;
            }
            self.received.extend_from_slice(&buffer[..count]);
        }
    }

    fn receive_publish(&mut self) -> Publish<SharedStorage> {
        match self.receive() {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, packet: Packet) {
        let mut bytes = Vec::new();
        packet.encode(ProtocolVersion::V5, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    fn publish(&mut self, topic: &str, payload: &str, packet_id: Option<u16>) {
        let mut publish = Publish::<SharedStorage>::new(topic, String::from(payload));
        if let Some(packet_id) = packet_id.and_then(PacketId::new) {
            publish.delivery = Delivery::AtLeastOnce {
                packet_id,
                dup: false,
            };
        }
        self.send(Packet::Publish(publish));
    }

    /// Answers a SUBSCRIBE, and returns its filters.
    fn grant(&mut self) -> Vec<String> {
        let Some(Packet::Subscribe(subscribe)) = self.receive() else {
            panic!()
        };
        let filters: Vec<_> = subscribe
            .filters
            .iter()
            .map(|entry| entry.filter.into())
            .collect();
        self.send(Packet::SubAck(SubAck {
            packet_id: subscribe.packet_id,
            properties: Properties::empty(),
            reason_codes: ReasonCodes::new(filters.iter().map(|_| ReasonCode::GrantedQoS1)),
        }));
        filters
    }

    fn acknowledge(&mut self, publish: &Publish<SharedStorage>) {
        self.send(Packet::PubAck(Ack::new(publish.packet_id().unwrap())));
    }
}

fn message(payload: &str) -> Message {
    Message::builder("a", String::from(payload))
        .qos(QoS::AtLeastOnce)
        .build()
        .unwrap()
}

fn subscribe(client: &Client, filter: &str) -> Pending<Subscribed> {
    client
        .subscribe([Subscription::new(filter, QoS::AtLeastOnce)])
        .unwrap()
}

fn quick() -> ReconnectPolicy {
    ReconnectPolicy {
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(10),
        ..ReconnectPolicy::default()
    }
}

#[test]
fn a_message_is_published_and_the_shutdown_is_clean() {
    let server = Server::start();
    let (client, _inbox, mut peer) = server.connect(server.client());
    let pending = client.publish(message("x")).unwrap();
    assert_eq!(pending.outcome(), None);
    let publish = peer.receive_publish();
    peer.acknowledge(&publish);
    assert!(matches!(
        pending.wait(LONG),
        Ok(Published::Acknowledged { .. })
    ));
    let end = thread::spawn(move || (peer.receive(), peer.receive()));
    assert!(client.shutdown(LONG).unwrap().is_complete());
    let disconnect = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
    assert_eq!(end.join().unwrap(), (Some(disconnect), None));
    assert_eq!(
        client.publish(message("late")).err(),
        Some(SubmitError::Ended)
    );
}

#[test]
fn a_message_that_the_server_refuses_says_so() {
    let server = Server::start();
    let (client, _inbox, mut peer) = server.connect(server.client());
    let pending = client.publish(message("x")).unwrap();
    let packet_id = peer.receive_publish().packet_id().unwrap();
    peer.send(Packet::PubAck(Ack::with_reason(
        packet_id,
        ReasonCode::NotAuthorized,
    )));
    assert!(matches!(
        pending.wait(LONG),
        Err(OperationError::Rejected {
            reason_code: ReasonCode::NotAuthorized,
            ..
        })
    ));
    assert!(
        client.is_connected(),
        "a reason code does not end the connection"
    );
}

#[test]
fn a_client_that_cannot_connect_says_why() {
    let server = Server::start();
    let address = server.0.local_addr().unwrap();
    let peer = thread::spawn(move || {
        let mut peer = server.accept_transport();
        peer.receive();
        peer.send(Packet::ConnAck(ConnAck::new(
            false,
            ReasonCode::NotAuthorized,
        )));
        // The listener is gone from here on.
    });
    let url = format!("mqtt://{address}");
    let refused = Client::builder(&url).connect().unwrap_err();
    assert!(matches!(
        refused,
        BuilderError::Connect(ConnectError::Refused {
            reason_code: ReasonCode::NotAuthorized,
            ..
        })
    ));
    peer.join().unwrap();
    let closed = Client::builder(&url).connect().unwrap_err();
    assert!(
        matches!(closed, BuilderError::Connect(ConnectError::Transport(_))),
        "{closed:?}"
    );
}

#[test]
fn a_lost_connection_comes_back_with_its_subscriptions() {
    let server = Server::start();
    let (client, inbox, mut peer) = server.connect(server.client().reconnect(quick()));
    let pending = subscribe(&client, "a/#");
    assert_eq!(peer.grant(), ["a/#"]);
    assert_eq!(
        pending.wait(LONG).unwrap().reason_codes,
        [ReasonCode::GrantedQoS1]
    );
    drop(peer);
    let mut peer = server.accept();
    assert_eq!(peer.grant(), ["a/#"]);
    peer.publish("a/b", "x", None);
    assert_eq!(inbox.receive_timeout(LONG).unwrap().payload(), b"x");
    assert_eq!(client.last_error(), Some(ConnectError::Closed));
}

#[test]
fn a_message_is_acknowledged_when_it_is_taken_out() {
    let server = Server::start();
    let (client, inbox, mut peer) = server.connect(server.client());
    peer.publish("a", "x", Some(7));
    // The next packet after this would be the PUBACK, if it were sent too early.
    let _ = client.publish(message("y")).unwrap();
    while inbox.shared.lock().inbox.is_empty() {
        thread::yield_now();
    }
    peer.receive_publish();
    assert_eq!(
        inbox.receive_timeout(LONG).unwrap().packet_id(),
        PacketId::new(7)
    );
    assert_eq!(
        peer.receive(),
        Some(Packet::PubAck(Ack::new(PacketId::new(7).unwrap())))
    );
}

#[test]
fn manual_acknowledgements_leave_in_order_and_can_refuse() {
    let server = Server::start();
    let builder = server.client().acknowledgement(Acknowledgement::Manual);
    let (_client, inbox, mut peer) = server.connect(builder);
    peer.publish("a", "x", Some(1));
    peer.publish("a", "y", Some(2));
    let mut first = inbox.receive_timeout(LONG).unwrap();
    let mut second = inbox.receive_timeout(LONG).unwrap();
    second.acknowledge_with(ReasonCode::QuotaExceeded);
    first.acknowledge();
    let expected = [(1, ReasonCode::Success), (2, ReasonCode::QuotaExceeded)];
    for (packet_id, reason_code) in expected {
        let packet_id = PacketId::new(packet_id).unwrap();
        assert_eq!(
            peer.receive(),
            Some(Packet::PubAck(Ack::with_reason(packet_id, reason_code)))
        );
    }
}

#[test]
fn a_full_inbox_stops_reading_and_loses_nothing() {
    const COUNT: usize = 200_000;
    let server = Server::start();
    let limits = InboxLimits {
        messages_max: 10,
        ..InboxLimits::default()
    };
    let (client, inbox, peer) = server.connect(server.client().inbox(limits));
    let mut writer = Peer {
        stream: peer.stream.try_clone().unwrap(),
        received: vec![],
    };
    let mut reader = peer;
    let flood = thread::spawn(move || {
        for number in 0..COUNT {
            writer.publish("flood", &format!("{number:060}"), None);
        }
    });
    while !inbox.shared.lock().waits_for_inbox {
        thread::yield_now();
    }
    assert_eq!(inbox.shared.lock().inbox.len(), 10);
    // What is submitted goes out all the same.
    let _ = client.publish(message("y")).unwrap();
    reader.receive_publish();
    for number in 0..COUNT {
        let received = inbox.receive_timeout(LONG).unwrap();
        assert_eq!(received.payload(), format!("{number:060}").as_bytes());
        assert!(inbox.shared.lock().inbox.len() <= 10);
    }
    flood.join().unwrap();
}

#[test]
fn a_request_gets_its_response_and_the_inbox_does_not() {
    let server = Server::start();
    let (client, inbox, mut peer) = server.connect(server.client());
    let responder = thread::spawn(move || {
        assert_eq!(peer.grant(), ["responses/me"]);
        let request = peer.receive_publish();
        let correlation = request.properties.correlation_data().unwrap();
        let topic = request.properties.response_topic().unwrap();
        peer.acknowledge(&request);
        for (data, payload) in [(&b"stranger"[..], "not mine"), (correlation, "pong")] {
            let mut response = Publish::<SharedStorage>::new(topic, payload);
            let properties = Properties::builder().correlation_data(data).build();
            response.properties = properties.unwrap();
            peer.send(Packet::Publish(response));
        }
        peer
    });
    let request = Message::builder("ping", "").qos(QoS::AtLeastOnce);
    assert_eq!(client.request(request, LONG).unwrap().payload(), b"pong");
    let _peer = responder.join().unwrap();
    assert_eq!(inbox.receive_timeout(LONG).unwrap().payload(), b"not mine");
    assert!(matches!(inbox.try_receive(), Err(ReceiveError::TimedOut)));
}

#[test]
fn a_request_without_a_response_times_out() {
    let server = Server::start();
    let (client, _inbox, mut peer) = server.connect(server.client());
    let responder = thread::spawn(move || {
        peer.grant();
        peer
    });
    let result = client.request(Message::builder("ping", ""), Duration::from_millis(200));
    assert_eq!(result, Err(RequestFailure::TimedOut));
    assert!(client.is_connected());
    responder.join().unwrap();
}

#[test]
fn the_thread_that_drives_is_refused_to_wait_for_itself() {
    let server = Server::start();
    let (client, inbox, mut driver) = server.client().build().unwrap();
    assert_eq!(driver.step(Some(Duration::ZERO)), Step::Running);
    let pending = client.publish(message("x")).unwrap();
    assert_eq!(pending.wait(LONG), Err(OperationError::WouldDeadlock));
    assert!(matches!(
        inbox.receive_timeout(LONG),
        Err(ReceiveError::TimedOut)
    ));
    assert_eq!(
        client.request(Message::builder("ping", ""), LONG),
        Err(RequestFailure::Operation(OperationError::WouldDeadlock))
    );
    assert!(matches!(
        client.wait_connected(LONG),
        Err(ConnectError::Ended)
    ));
    drop(driver);
    assert_eq!(pending.wait(LONG), Err(OperationError::Cancelled));
}

#[test]
fn a_client_can_be_driven_step_by_step() {
    let server = Server::start();
    let (client, inbox, mut driver) = server.client().build().unwrap();
    let peer = thread::spawn(move || {
        let mut peer = server.accept();
        peer.publish("a", "x", None);
        while peer.receive().is_some() {}
    });
    while inbox.try_receive().is_err() {
        assert_eq!(driver.step(Some(Duration::from_millis(50))), Step::Running);
    }
    client.disconnect(ReasonCode::Success);
    while driver.step(Some(Duration::from_millis(50))) == Step::Running {}
    assert!(inbox.receive().is_none());
    peer.join().unwrap();
}

#[test]
fn a_client_that_nobody_holds_disconnects() {
    // v5 MQTT-3.14.4-2
    let server = Server::start();
    let (client, inbox, mut peer) = server.connect(server.client());
    let clone = client.clone();
    drop((client, inbox));
    drop(clone);
    assert!(matches!(peer.receive(), Some(Packet::Disconnect(_))));
    assert_eq!(peer.receive(), None);
}

#[test]
fn messages_are_acknowledged_although_the_inbox_is_gone() {
    // v5 MQTT-4.5.0-2
    let server = Server::start();
    let (_client, inbox, mut peer) = server.connect(server.client());
    peer.publish("a", "x", Some(1));
    while inbox.shared.lock().inbox.is_empty() {
        thread::yield_now();
    }
    drop(inbox);
    peer.publish("a", "y", Some(2));
    for packet_id in [1, 2] {
        let ack = Ack::new(PacketId::new(packet_id).unwrap());
        assert_eq!(peer.receive(), Some(Packet::PubAck(ack)));
    }
}

#[test]
fn a_shutdown_reports_what_was_left() {
    let server = Server::start();
    let (client, _inbox, mut peer) = server.connect(server.client());
    let acknowledged = client.publish(message("x")).unwrap();
    let publish = peer.receive_publish();
    peer.acknowledge(&publish);
    acknowledged.wait(LONG).unwrap();
    let left = client.publish(message("y")).unwrap();
    let peer = thread::spawn(move || while peer.receive().is_some() {});
    let report = client.shutdown(Duration::from_millis(100)).unwrap();
    assert_eq!(
        (report.unsent, report.unacknowledged, report.unanswered),
        (0, 1, 0)
    );
    assert_eq!(left.wait(LONG), Err(OperationError::Cancelled));
    peer.join().unwrap();
}

#[test]
fn a_message_for_which_there_is_no_room_comes_back() {
    let server = Server::start();
    let (client, _inbox, driver) = server.client().build().unwrap();
    for _ in 0..SUBMITTED_MESSAGES_MAX {
        let _ = client.try_publish(message("x")).unwrap();
    }
    let error = client.try_publish(message("back")).unwrap_err();
    assert_eq!(error, TryPublishError::Full(message("back")));
    drop(driver);
    let error = client.try_publish(message("back")).unwrap_err();
    assert_eq!(error, TryPublishError::Ended(message("back")));
}

#[test]
fn publishers_wait_for_a_slow_server_and_nothing_is_lost() {
    const COUNT: usize = 5_000;
    let server = Server::start();
    let (client, _inbox, mut peer) = server.connect(server.client());
    let publisher = thread::spawn(move || {
        let mut last = None;
        for number in 0..COUNT {
            last = Some(client.publish(message(&format!("{number}"))).unwrap());
        }
        last.map(|last| last.wait(LONG)).unwrap().unwrap();
    });
    for number in 0..COUNT {
        let publish = peer.receive_publish();
        assert_eq!(publish.payload, format!("{number}"));
        peer.acknowledge(&publish);
    }
    publisher.join().unwrap();
}

#[test]
fn connections_that_come_and_go_are_told() {
    let (sender, told) = std::sync::mpsc::channel();
    let server = Server::start();
    let builder = server.client().reconnect(quick());
    let builder = builder.on_event(move |event| sender.send(event.clone()).unwrap());
    let (_client, _inbox, peer) = server.connect(builder);
    drop(peer);
    let _peer = server.accept();
    let is_expected = [
        |event: &ConnectionEvent| matches!(event, ConnectionEvent::Connected { .. }),
        |event: &ConnectionEvent| {
            matches!(
                event,
                ConnectionEvent::Disconnected {
                    was_connected: true,
                    ..
                }
            )
        },
        |event: &ConnectionEvent| matches!(event, ConnectionEvent::Connected { .. }),
    ];
    for is_expected in is_expected {
        let event = told.recv_timeout(LONG).unwrap();
        assert!(is_expected(&event), "{event:?}");
    }
}

/// A client that pings soon, and gives a silent server two seconds.
fn pinging(server: &Server) -> Builder {
    let builder = server.client().reconnect(ReconnectPolicy::NEVER);
    builder.keep_alive(1).ping_timeout(Duration::from_secs(2))
}

#[test]
fn a_message_that_comes_in_slowly_does_not_end_the_connection() {
    // v5 U-07
    let server = Server::start();
    let (_client, inbox, mut peer) = server.connect(pinging(&server));
    let slow = thread::spawn(move || {
        let mut bytes = Vec::new();
        let publish = Publish::<SharedStorage>::new("a", vec![b'x'; 50_000]);
        let publish = Packet::Publish(publish);
        publish.encode(ProtocolVersion::V5, &mut bytes).unwrap();
        assert_eq!(peer.receive(), Some(Packet::PingReq));
        for piece in bytes.chunks(1_000) {
            peer.stream.write_all(piece).unwrap();
            thread::sleep(Duration::from_millis(80));
        }
        peer.send(Packet::PingResp);
        peer
    });
    let received = inbox.receive_timeout(LONG).unwrap();
    assert_eq!(received.payload().len(), 50_000);
    drop(slow.join().unwrap());
}

#[test]
fn a_message_that_goes_out_slowly_does_not_end_the_connection() {
    // v5 U-07
    const PAYLOAD: usize = 32 * 1024 * 1024;
    let server = Server::start();
    let (client, _inbox, mut peer) = server.connect(pinging(&server));
    let slow = thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        let mut arrived = 0;
        // The ping is behind the message, so nothing answers it before all has arrived.
        while arrived < PAYLOAD {
            let count = peer.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "ended after {arrived}");
            arrived += count;
            thread::sleep(Duration::from_millis(8));
        }
        peer
    });
    let large = Message::builder("a", vec![b'x'; PAYLOAD]).build().unwrap();
    client.publish(large).unwrap().wait(LONG).unwrap();
    let peer = slow.join().unwrap();
    assert!(client.is_connected());
    drop(peer);
}
