//! The core against a server that plays a script.

mod connection;
mod messages;
mod reconnect;

use alloc::{vec, vec::Vec};
use core::time::Duration;

use mqttstack_codec::{
    ConnAck, Decoder, Packet, PacketId, Properties, ProtocolVersion, QoS, ReasonCode, ReasonCodes,
    Sender, Shared, SubAck, SubscribeFilters, Subscription, UnsubAck,
};
use mqttstack_limits::Instant;
use mqttstack_session::{Message, client::EndCause};

use super::*;

/// A client, the transport it asks for, and the time.
struct Rig {
    client: ClientCore,
    now: Instant,
    version: ProtocolVersion,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let version = settings.version;
        let mut client = ClientCore::new(settings, 1).unwrap();
        let now = Instant::from_micros(1_000_000);
        client.connect(now);
        Self {
            client,
            now,
            version,
        }
    }

    fn of_version(version: ProtocolVersion) -> Self {
        let mut settings = Settings::new("me");
        settings.version = version;
        Self::new(settings)
    }

    /// A client that is connected, with a new session and nothing special.
    fn connected(settings: Settings) -> Self {
        let mut rig = Self::new(settings);
        rig.open();
        rig.accept();
        rig
    }

    /// Opens the transport, and returns the CONNECT.
    fn open(&mut self) -> Connect<Shared> {
        assert_eq!(self.client.poll_transport(), Some(TransportRequest::Open));
        self.client.handle_connected(self.now);
        match self.sent().as_slice() {
            [Packet::Connect(connect)] => connect.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn accept(&mut self) {
        self.accept_with(ConnAck::new(false, ReasonCode::Success));
        assert!(matches!(self.events().as_slice(), [Event::Connected(_)]));
    }

    fn accept_with(&mut self, connack: ConnAck<Shared>) {
        self.receive(Packet::ConnAck(connack));
    }

    /// Hands a packet of the server over.
    fn receive(&mut self, packet: Packet) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        self.client.handle_input(&bytes, self.now);
    }

    /// Returns what the client sends.
    fn sent(&mut self) -> Vec<Packet> {
        let mut bytes = Vec::new();
        while let Some(output) = self.client.poll_output(self.now) {
            bytes.extend_from_slice(output.bytes);
            bytes.extend_from_slice(&output.payload.unwrap_or_default());
        }
        let decoder = Decoder::new()
            .with_version(self.version)
            .with_sender(Sender::Client);
        let mut rest = &*bytes;
        let mut packets = vec![];
        while !rest.is_empty() {
            let (packet, len) = decoder.decode_ref(rest).unwrap().unwrap();
            packets.push(packet.to_shared());
            rest = &rest[len..];
        }
        packets
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// Lets time pass, with a call at each deadline on the way.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.client.handle_timeout(self.now);
            if self.client.poll_timeout() == Some(at) {
                break;
            }
        }
        self.now = end;
    }

    /// The transport breaks.
    fn cut(&mut self) {
        self.client.handle_closed(self.now);
    }

    /// Waits for the next attempt, opens the transport, and returns the CONNECT.
    fn reopen(&mut self) -> Connect<Shared> {
        self.pass(60);
        self.open()
    }

    /// Asserts that the client ends the connection, and returns why and what it says.
    fn ended(&mut self) -> (EndCause, Vec<Packet>) {
        let sent = self.sent();
        assert_eq!(self.client.poll_transport(), Some(TransportRequest::Close));
        let cause = self.events().into_iter().find_map(|event| match event {
            Event::Ended { cause, .. } => Some(cause),
            _ => None,
        });
        (cause.unwrap(), sent)
    }

    fn publish(&mut self, message: Message) -> OperationId {
        self.client.publish(message, self.now).unwrap()
    }

    fn subscribe(&mut self, filter: &str) -> OperationId {
        self.client
            .subscribe(filters(filter), Properties::empty())
            .unwrap()
    }

    /// Answers the one SUBSCRIBE among what the client sends.
    fn grant(&mut self, reason_code: ReasonCode) -> Vec<alloc::string::String> {
        let sent = self.sent();
        let [Packet::Subscribe(subscribe)] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        let asked: Vec<_> = subscribe
            .filters
            .iter()
            .map(|entry| entry.filter.into())
            .collect();
        self.receive(Packet::SubAck(SubAck {
            packet_id: subscribe.packet_id,
            properties: Properties::empty(),
            reason_codes: ReasonCodes::new(asked.iter().map(|_| reason_code)),
        }));
        asked
    }

    /// Answers the one UNSUBSCRIBE among what the client sends.
    fn release(&mut self) {
        let sent = self.sent();
        let [Packet::Unsubscribe(unsubscribe)] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        self.receive(Packet::UnsubAck(UnsubAck {
            packet_id: unsubscribe.packet_id,
            properties: Properties::empty(),
            reason_codes: ReasonCodes::new([ReasonCode::Success]),
        }));
    }
}

fn filters(filter: &str) -> SubscribeFilters<Shared> {
    SubscribeFilters::new([Subscription::new(filter, QoS::AtLeastOnce)]).unwrap()
}

fn message(qos: QoS) -> Message {
    Message::builder("a/b", "x").qos(qos).build().unwrap()
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn settings() -> Settings {
    Settings::new("me")
}
