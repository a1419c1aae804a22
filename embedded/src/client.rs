//! A client of QoS 0 and 1: CONNECT, SUBSCRIBE, PUBLISH both ways, PUBACK both ways, PINGREQ,
//! DISCONNECT.

use mqttstack_codec::{
    Ack, Connect, Decoder, Delivery, Disconnect, EncodeError, PacketId, PacketRef, Properties,
    ProtocolVersion, Publish, QoS, ReasonCode, Sender, SliceSink, Subscribe, SubscribeFilters,
    Subscription,
};

use crate::Wire;

/// The largest packet that comes or goes, in bytes.
const BUFFER: usize = 256;

/// A connection, from CONNECT to DISCONNECT.
#[derive(Debug)]
pub struct Client {
    version: ProtocolVersion,
    decoder: Decoder,
    wire: Wire,
    received: [u8; BUFFER],
    received_len: usize,
    next_id: PacketId,
    /// The message of QoS 1 that waits for its PUBACK.
    in_flight: Option<PacketId>,
}

/// What a step of the client came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing to tell.
    Idle,
    /// The server has accepted the connection.
    Connected,
    /// The server has answered the subscription.
    Subscribed,
    /// A message has arrived, of as many bytes.
    Message(usize),
    /// The server has the message.
    Delivered,
    /// The connection is over.
    Closed,
}

impl Client {
    /// Creates a client that has not sent anything.
    #[inline(always)]
    pub const fn new(version: ProtocolVersion, wire: Wire) -> Self {
        Self {
            version,
            decoder: Decoder::new()
                .with_version(version)
                .with_sender(Sender::Server)
                .with_packet_size_max(BUFFER as u32),
            wire,
            received: [0; BUFFER],
            received_len: 0,
            next_id: PacketId::MIN,
            in_flight: None,
        }
    }

    /// Sends CONNECT.
    pub fn connect(&mut self, client_id: &str) -> Result<(), EncodeError> {
        let connect = Connect {
            keep_alive: 60,
            clean_start: true,
            ..Connect::new(self.version, client_id)
        };
        self.send(&PacketRef::Connect(connect))
    }

    /// Sends SUBSCRIBE for one filter.
    pub fn subscribe(&mut self, filter: &str) -> Result<(), EncodeError> {
        let packet_id = self.take_id();
        let mut list = [0; 64];
        let entries = [Subscription::new(filter, QoS::AtLeastOnce)];
        self.send(&PacketRef::Subscribe(Subscribe {
            packet_id,
            properties: Properties::empty(),
            filters: SubscribeFilters::new_in(&mut list, entries)?,
        }))
    }

    /// Sends PUBLISH.
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS) -> Result<(), EncodeError> {
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                let packet_id = self.take_id();
                self.in_flight = Some(packet_id);
                Delivery::AtLeastOnce {
                    packet_id,
                    dup: false,
                }
            }
        };
        self.send(&PacketRef::Publish(Publish {
            delivery,
            ..Publish::new(topic, payload)
        }))
    }

    /// Sends DISCONNECT.
    pub fn disconnect(&mut self) -> Result<(), EncodeError> {
        self.send(&PacketRef::Disconnect(Disconnect::new(ReasonCode::Success)))
    }

    /// Reads what has arrived, answers it, and keeps the connection alive.
    pub fn step(&mut self) -> Result<Step, EncodeError> {
        if self.wire.is_ping_due() {
            self.send(&PacketRef::PingReq)?;
        }
        let free = self.received.get_mut(self.received_len..);
        let arrived = self.wire.read(free.unwrap_or_default());
        self.received_len = BUFFER.min(self.received_len + arrived);
        let bytes = self.received.get(..self.received_len).unwrap_or_default();
        let (step, answer, used) = match self.decoder.decode_ref(bytes) {
            Ok(None) => return Ok(Step::Idle),
            Err(_) => return Ok(Step::Closed),
            Ok(Some((packet, used))) => {
                let (step, answer) = on_packet(&packet, &mut self.in_flight);
                (step, answer, used)
            }
        };
        self.received.copy_within(used.min(BUFFER).., 0);
        self.received_len = self.received_len.saturating_sub(used);
        if let Some(packet_id) = answer {
            self.send(&PacketRef::PubAck(Ack::new(packet_id)))?;
        }
        Ok(step)
    }

    fn send(&mut self, packet: &PacketRef<'_>) -> Result<(), EncodeError> {
        let mut buffer = [0; BUFFER];
        let mut out = SliceSink::new(&mut buffer);
        packet.encode(self.version, &mut out)?;
        self.wire.write(out.written());
        Ok(())
    }

    fn take_id(&mut self) -> PacketId {
        let id = self.next_id;
        self.next_id = id.next();
        id
    }
}

/// Returns what a packet means, and the Packet Identifier of the PUBACK that answers it.
fn on_packet(packet: &PacketRef<'_>, in_flight: &mut Option<PacketId>) -> (Step, Option<PacketId>) {
    match packet {
        PacketRef::ConnAck(connack) if connack.reason_code == ReasonCode::Success => {
            (Step::Connected, None)
        }
        PacketRef::SubAck(_) => (Step::Subscribed, None),
        PacketRef::Publish(publish) => (Step::Message(publish.payload.len()), publish.packet_id()),
        PacketRef::PubAck(ack) if *in_flight == Some(ack.packet_id) => {
            *in_flight = None;
            (Step::Delivered, None)
        }
        PacketRef::PubAck(_) | PacketRef::PingResp => (Step::Idle, None),
        _ => (Step::Closed, None),
    }
}
