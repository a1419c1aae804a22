//! A client of QoS 0 and 1: CONNECT, SUBSCRIBE, PUBLISH both ways, PUBACK both ways, PINGREQ,
//! DISCONNECT.

use mqttstack_codec::{
    Ack, Borrowed, Connect, DecodeError, Decoder, Delivery, Disconnect, EncodeError, Frame,
    PacketId, PacketType, Properties, ProtocolVersion, Publish, QoS, ReasonCode, Sender, SliceSink,
    Subscribe, SubscribeFilters, Subscription,
};

use crate::Wire;

/// The largest packet that comes or goes, in bytes.
const BUFFER: usize = 256;

/// A connection, from CONNECT to DISCONNECT, in MQTT 5.0 or in 3.1.1.
///
/// The version is known to the compiler, which leaves out what belongs to the other.
#[derive(Debug)]
pub struct Client<const IS_V5: bool> {
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

impl<const IS_V5: bool> Client<IS_V5> {
    const VERSION: ProtocolVersion = if IS_V5 {
        ProtocolVersion::V5
    } else {
        ProtocolVersion::V311
    };
    const DECODER: Decoder = Decoder::new()
        .with_version(Self::VERSION)
        .with_sender(Sender::Server)
        .with_packet_size_max(BUFFER as u32);

    /// Creates a client that has not sent anything.
    pub const fn new(wire: Wire) -> Self {
        Self {
            wire,
            received: [0; BUFFER],
            received_len: 0,
            next_id: PacketId::MIN,
            in_flight: None,
        }
    }

    /// Sends CONNECT.
    pub fn connect(&mut self, client_id: &str) -> Result<(), EncodeError> {
        let connect = Connect::<Borrowed<'_>> {
            keep_alive: 60,
            clean_start: true,
            ..Connect::new(Self::VERSION, client_id)
        };
        self.send(|out| connect.encode(out))
    }

    /// Sends SUBSCRIBE for one filter.
    pub fn subscribe(&mut self, filter: &str) -> Result<(), EncodeError> {
        let packet_id = self.take_id();
        let mut list = [0; 64];
        let entries = [Subscription::new(filter, QoS::AtLeastOnce)];
        let subscribe = Subscribe::<Borrowed<'_>> {
            packet_id,
            properties: Properties::empty(),
            filters: SubscribeFilters::new_in(&mut list, entries)?,
        };
        self.send(|out| subscribe.encode(Self::VERSION, out))
    }

    /// Sends PUBLISH, of QoS 1 if it is to be acknowledged and of QoS 0 if not: there is no way to ask
    /// for QoS 2.
    pub fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        acknowledged: bool,
    ) -> Result<(), EncodeError> {
        let delivery = if acknowledged {
            let packet_id = self.take_id();
            self.in_flight = Some(packet_id);
            Delivery::AtLeastOnce {
                packet_id,
                dup: false,
            }
        } else {
            Delivery::AtMostOnce
        };
        let publish = Publish::<Borrowed<'_>> {
            delivery,
            ..Publish::new(topic, payload)
        };
        self.send(|out| publish.encode(Self::VERSION, out))
    }

    /// Sends DISCONNECT.
    pub fn disconnect(&mut self) -> Result<(), EncodeError> {
        let disconnect = Disconnect::<Borrowed<'_>>::new(ReasonCode::Success);
        self.send(|out| disconnect.encode(Self::VERSION, out))
    }

    /// Reads what has arrived, answers it, and keeps the connection alive.
    pub fn step(&mut self) -> Result<Step, EncodeError> {
        if self.wire.is_ping_due() {
            self.wire.write(&PINGREQ);
        }
        let free = self.received.get_mut(self.received_len..);
        let arrived = self.wire.read(free.unwrap_or_default());
        self.received_len = BUFFER.min(self.received_len + arrived);
        let bytes = self.received.get(..self.received_len).unwrap_or_default();
        let frame = match Self::DECODER.split_ref(bytes) {
            Ok(None) => return Ok(Step::Idle),
            Err(_) => return Ok(Step::Closed),
            Ok(Some(frame)) => frame,
        };
        let used = frame.total_len();
        let Ok((step, answer)) = on_packet(&frame, &mut self.in_flight) else {
            return Ok(Step::Closed);
        };
        self.received.copy_within(used.min(BUFFER).., 0);
        self.received_len = self.received_len.saturating_sub(used);
        if let Some(packet_id) = answer {
            let ack = Ack::<Borrowed<'_>>::new(packet_id);
            self.send(|out| ack.encode_puback(Self::VERSION, out))?;
        }
        Ok(step)
    }

    fn send(
        &mut self,
        encode: impl FnOnce(&mut SliceSink<'_>) -> Result<usize, EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut buffer = [0; BUFFER];
        let mut out = SliceSink::new(&mut buffer);
        encode(&mut out)?;
        self.wire.write(out.written());
        Ok(())
    }

    fn take_id(&mut self) -> PacketId {
        let id = self.next_id;
        self.next_id = id.next();
        id
    }
}

/// PINGREQ is the same two bytes always.
const PINGREQ: [u8; 2] = [PacketType::PingReq.as_u8() << 4, 0];

/// Returns what a packet means, and the Packet Identifier of the PUBACK that answers it.
#[inline(always)]
fn on_packet(
    frame: &Frame<'_>,
    in_flight: &mut Option<PacketId>,
) -> Result<(Step, Option<PacketId>), DecodeError> {
    if let Some(publish) = frame.publish()? {
        let answer = match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { packet_id, .. } => Some(packet_id),
            // More than was subscribed to: no server may send it.
            Delivery::ExactlyOnce { .. } => return Ok((Step::Closed, None)),
        };
        return Ok((Step::Message(publish.payload.len()), answer));
    }
    if let Some(ack) = frame.puback()? {
        if *in_flight != Some(ack.packet_id) {
            return Ok((Step::Idle, None));
        }
        *in_flight = None;
        return Ok((Step::Delivered, None));
    }
    if let Some(connack) = frame.connack()? {
        let step = match connack.reason_code {
            ReasonCode::Success => Step::Connected,
            _ => Step::Closed,
        };
        return Ok((step, None));
    }
    if frame.suback()?.is_some() {
        return Ok((Step::Subscribed, None));
    }
    match frame.packet_type() {
        PacketType::PingResp => Ok((Step::Idle, None)),
        _ => Ok((Step::Closed, None)),
    }
}
