//! The server's side of a connection and its session.

mod connack;
mod connected;
mod connecting;
mod ending;
mod event;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::time::Duration;

use mqttstack_codec::{
    Auth, DecodeError, EncodeError, Packet, PacketId, PacketType, Properties, PropertyId,
    ProtocolVersion, ReasonCode, Shared, Sink, Storage, Will,
};
use mqttstack_limits::{Instant, Limits};

pub use self::event::{Acceptance, EndCause, Ended, Event, NotAccepted};
use self::{
    connected::Connected,
    connecting::Deciding,
    ending::{Farewell, Remains},
};
pub use crate::flow::Arrival;
use crate::{
    DeliveryOptions, Encoded, Message, MessagePool, Outgoing, ProtocolError, PublishError,
    PublishToken, QueueStatus, SessionState,
    check::unexpected,
    journal::{Operation, OperationSequence},
    short_queue::ShortQueue,
};

/// One connection at a server and, once it is accepted, the session on it.
///
/// Packets go in through [`handle_packet`](Self::handle_packet), time through
/// [`handle_timeout`](Self::handle_timeout); the answers of the server to what a client asks are
/// verbs ([`accept`](Self::accept), [`acknowledge`](Self::acknowledge), [`suback`](Self::suback)).
/// After each of these, drain [`poll_event`](Self::poll_event) and
/// [`poll_packet`](Self::poll_packet) to `None`, then read [`poll_timeout`](Self::poll_timeout).
/// An early or repeated `handle_timeout` is harmless. After an `Err`, drain once more: the CONNACK
/// or DISCONNECT that carries the reason is waiting there, and [`Event::Ended`] is the last event.
///
/// What goes out is made to fit the client: a reason code that a packet does not know becomes the
/// nearest that it does, Reason Strings and User Properties are left out where the client did not
/// ask for them or where they would exceed its Maximum Packet Size, and a message that exceeds it
/// counts as delivered.
#[derive(Clone, Debug)]
pub struct Session {
    limits: Arc<Limits>,
    phase: Phase,
    events: ShortQueue<Event>,
    /// When the last packet arrived, or the connection was opened.
    last_received: Instant,
}

/// Connections are kept for long in this one of their phases, so that lies in place.
#[derive(Clone, Debug)]
enum Phase {
    /// Nothing has arrived.
    AwaitConnect { deadline: Instant },
    /// CONNECT has arrived, the owner has not answered.
    Deciding(Box<Deciding>),
    /// The owner has accepted.
    Connected(Connected),
    /// Over.
    Ended(Box<Remains>),
}

impl Session {
    /// Begins with a transport that has just been opened.
    #[must_use]
    pub fn new(limits: Arc<Limits>, now: Instant) -> Self {
        let deadline = now + limits.connect_timeout;
        Self {
            limits,
            phase: Phase::AwaitConnect { deadline },
            events: ShortQueue::new(),
            last_received: now,
        }
    }

    /// Handles a packet from the client.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`]: the connection is over.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.0-1, v5 MQTT-3.1.0-2, v5 MQTT-4.13.1-1; v3.1.1 MQTT-4.8.0-1.
    pub fn handle_packet<S: Storage>(
        &mut self,
        packet: Packet<S>,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let arrival = self.handle_packet_in(packet, &mut MessagePool::default(), now)?;
        if let Some(Arrival { message, packet_id }) = arrival {
            self.events
                .push_back(Event::MessageReceived { message, packet_id });
        }
        Ok(())
    }

    /// Handles a packet as [`handle_packet`](Self::handle_packet) does, but returns a message that it
    /// carries, which is no event then. The message takes memory from `pool`, and one that the packet
    /// acknowledges gives its memory back.
    ///
    /// # Errors
    ///
    /// Those of [`handle_packet`](Self::handle_packet).
    pub fn handle_packet_in<S: Storage>(
        &mut self,
        packet: Packet<S>,
        pool: &mut MessagePool,
        now: Instant,
    ) -> Result<Option<Arrival>, ProtocolError> {
        let result = match &self.phase {
            Phase::AwaitConnect { deadline } => {
                let deadline = *deadline;
                if let Packet::Connect(connect) = packet {
                    self.on_connect(connect, deadline, now).map(|()| None)
                } else {
                    Err(unexpected(&packet))
                }
            }
            Phase::Deciding(_) => self.on_deciding_packet(&packet).map(|()| None),
            Phase::Connected(_) => {
                self.last_received = now;
                self.on_connected_packet(packet, pool, now)
            }
            // Whatever follows the end is ignored.
            Phase::Ended(_) => Ok(None),
        };
        result.inspect_err(|error| self.fail(error))
    }

    /// Handles the first byte of a packet that has not arrived in full.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::UnexpectedPacket`]: a client that has not connected begins with anything
    /// but CONNECT, and need not be heard out. The connection is over.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.0-1; v3.1.1 MQTT-3.1.0-1.
    pub fn handle_packet_type(&mut self, packet_type: PacketType) -> Result<(), ProtocolError> {
        let awaits_connect = matches!(self.phase, Phase::AwaitConnect { .. });
        if !awaits_connect || packet_type == PacketType::Connect {
            return Ok(());
        }
        let error = ProtocolError::UnexpectedPacket { packet_type };
        self.fail(&error);
        Err(error)
    }

    /// Ends the connection because the client's bytes are not a packet.
    ///
    /// `version` is what a CONNECT that cannot be read otherwise says of itself; an MQTT 5.0
    /// client is then told why.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.4-1, v5 MQTT-4.13.1-1; v3.1.1 MQTT-3.1.2-2, v3.1.1 MQTT-3.1.4-1; V31-badconnect.
    pub fn handle_decode_error(&mut self, error: DecodeError, version: Option<ProtocolVersion>) {
        let error = ProtocolError::Decode(error);
        if matches!(self.phase, Phase::AwaitConnect { .. }) {
            let answer = connack::unreadable(&error, version);
            self.end(EndCause::Protocol(error), None);
            if let (Some((version, packet)), Phase::Ended(remains)) = (answer, &mut self.phase) {
                remains.answer_with(version, packet);
            }
            return;
        }
        self.fail(&error);
    }

    /// Handles the passing of time.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::ConnectTimeout`] or [`ProtocolError::KeepAliveTimeout`]: the connection is
    /// over.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-22, v5 U-04; v3.1.1 MQTT-3.1.2-24; V31-keepalive.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let error = match &self.phase {
            Phase::AwaitConnect { .. } => ProtocolError::ConnectTimeout {
                awaited: PacketType::Connect,
            },
            Phase::Deciding(deciding) => ProtocolError::ConnectTimeout {
                awaited: deciding.awaited(),
            },
            Phase::Connected(connected) => ProtocolError::KeepAliveTimeout {
                keep_alive: connected.keep_alive,
            },
            Phase::Ended(_) => return Ok(()),
        };
        self.fail(&error);
        Err(error)
    }

    /// Ends the connection of a client that did not finish a packet within
    /// [`Limits::packet_timeout`]: the owner, who sees the bytes, tells. Does nothing before the
    /// client is accepted, when CONNECT has a deadline of its own.
    pub fn handle_packet_timeout(&mut self) {
        if let Phase::Connected(_) = self.phase {
            let timeout = self.limits.packet_timeout;
            self.fail(&ProtocolError::PacketTimeout { timeout });
        }
    }

    /// The transport is gone.
    pub fn handle_closed(&mut self) {
        self.end(EndCause::TransportClosed, None);
        if let Phase::Ended(remains) = &mut self.phase {
            remains.send_nothing();
        }
    }

    /// Sends a step of an authentication exchange, before or after the CONNACK.
    ///
    /// Before the CONNACK, and after it to ask for more, the code is Continue; Success ends a
    /// re-authentication. The Authentication Method is added. Does nothing unless the client waits
    /// for a step: only the client starts an exchange.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.12.0-2, v5 MQTT-4.12.0-5, v5 MQTT-4.12.0-6.
    pub fn authenticate(&mut self, auth: Auth<Shared>) {
        match &mut self.phase {
            Phase::Deciding(deciding) => deciding.authenticate(auth),
            Phase::Connected(connected) => connected.authenticate(auth),
            Phase::AwaitConnect { .. } | Phase::Ended(_) => {}
        }
    }

    /// Hands a message over for delivery to the client.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: the queue is full, or nobody is connected.
    pub fn publish(
        &mut self,
        message: Message,
        options: DeliveryOptions,
        now: Instant,
    ) -> Result<PublishToken, PublishError> {
        match &mut self.phase {
            Phase::Connected(connected) => connected.flow.publish(message, options, now),
            Phase::AwaitConnect { .. } | Phase::Deciding(_) | Phase::Ended(_) => {
                Err(PublishError::NotConnected)
            }
        }
    }

    /// Decides about a received QoS 1 or 2 message: it is safe, or it is refused.
    ///
    /// Acknowledgements leave in the order of the messages. A refusal reaches MQTT 5.0 clients
    /// only; others see a success, for lack of anything else.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.3.2-4, v5 MQTT-4.3.3-8; v3.1.1 MQTT-3.3.5-2; V31-puback-deny.
    pub fn acknowledge(&mut self, packet_id: PacketId, reason: ReasonCode) {
        self.acknowledge_with(packet_id, reason, Properties::empty());
    }

    /// Decides about a received message as [`acknowledge`](Self::acknowledge) does, and explains
    /// the decision with a Reason String or User Properties.
    pub fn acknowledge_with(
        &mut self,
        packet_id: PacketId,
        reason: ReasonCode,
        properties: Properties<Shared>,
    ) {
        if let Phase::Connected(connected) = &mut self.phase {
            connected.flow.acknowledge(packet_id, reason, properties);
        }
    }

    /// Answers a SUBSCRIBE, one code for each filter in its order.
    ///
    /// In 3.1.1 every error becomes 0x80. A 3.1 client, which knows no refusal, should be given the
    /// QoS it asked for (V31-suback); an error becomes a granted QoS 0.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.8.4-1, v5 MQTT-3.8.4-2, v5 MQTT-3.9.3-1.
    pub fn suback(&mut self, packet_id: PacketId, codes: impl IntoIterator<Item = ReasonCode>) {
        self.suback_with(packet_id, codes, Properties::empty());
    }

    /// Answers a SUBSCRIBE as [`suback`](Self::suback) does, with a Reason String or User
    /// Properties.
    pub fn suback_with(
        &mut self,
        packet_id: PacketId,
        codes: impl IntoIterator<Item = ReasonCode>,
        properties: Properties<Shared>,
    ) {
        if let Phase::Connected(connected) = &mut self.phase {
            let result = connected.suback(packet_id, codes, properties);
            self.fail_if(result);
        }
    }

    /// Answers an UNSUBSCRIBE, one code for each filter in its order; 3.x sends none of them.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.10.4-4, v5 MQTT-3.10.4-5, v5 MQTT-3.11.3-1.
    pub fn unsuback(&mut self, packet_id: PacketId, codes: impl IntoIterator<Item = ReasonCode>) {
        self.unsuback_with(packet_id, codes, Properties::empty());
    }

    /// Answers an UNSUBSCRIBE as [`unsuback`](Self::unsuback) does, with a Reason String or User
    /// Properties.
    pub fn unsuback_with(
        &mut self,
        packet_id: PacketId,
        codes: impl IntoIterator<Item = ReasonCode>,
        properties: Properties<Shared>,
    ) {
        if let Phase::Connected(connected) = &mut self.phase {
            let result = connected.unsuback(packet_id, codes, properties);
            self.fail_if(result);
        }
    }

    /// Ends the connection: an accepted MQTT 5.0 client is told why, others see a close.
    pub fn disconnect(&mut self, reason: ReasonCode) {
        self.disconnect_with(reason, Properties::empty());
    }

    /// Ends the connection as [`disconnect`](Self::disconnect) does, with a Reason String, User
    /// Properties, or the Server Reference of another server to use.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.14.0-1, v5 MQTT-3.14.2-2, v5 MQTT-3.14.4-1.
    pub fn disconnect_with(&mut self, reason: ReasonCode, properties: Properties<Shared>) {
        let properties = properties.without(&[PropertyId::SessionExpiryInterval]);
        let farewell = Farewell { reason, properties };
        self.end(EndCause::ServerDisconnected(reason), Some(farewell));
    }

    /// The store has made everything up to `sequence` durable: what waited for it may be sent.
    pub fn handle_stored(&mut self, sequence: OperationSequence) {
        match &mut self.phase {
            Phase::Connected(connected) => connected.flow.handle_stored(sequence),
            Phase::Ended(remains) => {
                if let Some(state) = &mut remains.state {
                    state.handle_stored(sequence);
                }
            }
            Phase::AwaitConnect { .. } | Phase::Deciding(_) => {}
        }
    }

    /// Returns the next change of the session for the store, with its place; none unless the state
    /// that was [accepted](Self::accept) keeps a [journal](crate::journal). Drain this also after
    /// `poll_packet`, which moves messages into flight.
    #[must_use]
    pub fn poll_operation(&mut self) -> Option<(OperationSequence, Operation)> {
        match &mut self.phase {
            Phase::Connected(connected) => connected.flow.state.poll_operation(),
            Phase::Ended(remains) => remains.state.as_mut()?.poll_operation(),
            Phase::AwaitConnect { .. } | Phase::Deciding(_) => None,
        }
    }

    /// Returns the next packet to send.
    #[must_use]
    pub fn poll_packet(&mut self, now: Instant) -> Option<Outgoing> {
        match &mut self.phase {
            Phase::Connected(connected) => connected.flow.poll_packet(now),
            Phase::Ended(remains) => remains.poll_packet().map(Outgoing::Packet),
            Phase::Deciding(deciding) => deciding.poll_packet().map(Outgoing::Packet),
            Phase::AwaitConnect { .. } => None,
        }
    }

    /// Appends a QoS 0 message to `out` as a packet, instead of queueing it: if nothing waits ahead of
    /// it, and it would leave as it is. Returns false, and does nothing, if that is not so: then it
    /// is to be handed over with [`publish`](Self::publish). What is appended goes out before
    /// everything that [`encode_next`](Self::encode_next) gives after that.
    #[must_use]
    pub fn encode_at_once(
        &self,
        message: &Message,
        options: &DeliveryOptions,
        scratch: &mut Vec<u8>,
        out: &mut impl Sink,
    ) -> bool {
        match &self.phase {
            Phase::Connected(connected) => {
                let flow = &connected.flow;
                flow.encode_at_once(message, options, scratch, out)
            }
            Phase::AwaitConnect { .. } | Phase::Deciding(_) | Phase::Ended(_) => false,
        }
    }

    /// Appends the next packet to send to `out`, as [`poll_packet`](Self::poll_packet) and
    /// [`Outgoing::encode`] do together, and without taking it out of where it waits. `scratch` is
    /// overwritten. The memory of a message that is over goes to `pool`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: the packet cannot be expressed in the version of the session. The beginning of it
    /// may be in `out`, and a message of QoS 1 or 2 stays in flight: nothing more can be sent on this
    /// connection.
    pub fn encode_next(
        &mut self,
        pool: &mut MessagePool,
        scratch: &mut Vec<u8>,
        out: &mut impl Sink,
        now: Instant,
    ) -> Option<Result<Encoded, EncodeError>> {
        if let Phase::Connected(connected) = &mut self.phase {
            return connected.flow.encode_next(pool, scratch, out, now);
        }
        let version = self.version().unwrap_or(ProtocolVersion::V5);
        let packet = self.poll_packet(now)?;
        Some(Encoded::of(packet, version, pool, scratch, out))
    }

    /// Returns whether [`poll_packet`](Self::poll_packet) may have something.
    #[must_use]
    pub fn has_packet(&self) -> bool {
        match &self.phase {
            Phase::Connected(connected) => connected.flow.has_packet(),
            Phase::Ended(remains) => remains.has_packet(),
            Phase::Deciding(deciding) => deciding.has_packet(),
            Phase::AwaitConnect { .. } => false,
        }
    }

    /// Returns what has happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::AwaitConnect { deadline } => Some(*deadline),
            Phase::Deciding(deciding) => Some(deciding.deadline),
            Phase::Connected(connected) if connected.keep_alive > 0 => {
                // Half as much again as the Keep Alive (v5 MQTT-3.1.2-22, v3.1.1 MQTT-3.1.2-24).
                let millis = u64::from(connected.keep_alive).saturating_mul(1_500);
                Some(self.last_received + Duration::from_millis(millis))
            }
            Phase::Connected(_) | Phase::Ended(_) => None,
        }
    }

    /// Returns the limits that the session was opened with.
    #[must_use]
    pub const fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Returns the protocol version, once CONNECT has said it.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        match &self.phase {
            Phase::AwaitConnect { .. } => None,
            Phase::Deciding(deciding) => Some(deciding.connect.version),
            Phase::Connected(connected) => Some(connected.flow.version()),
            Phase::Ended(remains) => Some(remains.version),
        }
    }

    /// Returns the Session Expiry Interval that is in force, or will be if the CONNECT is accepted, in
    /// seconds: 0 ends the session with the connection, `u32::MAX` is never. A 3.x client that asks
    /// for a session that lasts has `u32::MAX`; the limits may lower either.
    #[must_use]
    pub fn session_expiry_interval(&self) -> u32 {
        match &self.phase {
            Phase::Deciding(deciding) => {
                connack::Terms::new(&deciding.connect, &self.limits).session_expiry
            }
            Phase::Connected(connected) => connected.session_expiry,
            Phase::AwaitConnect { .. } | Phase::Ended(_) => 0,
        }
    }

    /// Returns the Will Message of the connection, if it still has one.
    #[must_use]
    pub fn will(&self) -> Option<&Will<Shared>> {
        match &self.phase {
            Phase::Deciding(deciding) => deciding.connect.will.as_ref(),
            Phase::Connected(connected) => connected.will.as_deref(),
            Phase::AwaitConnect { .. } | Phase::Ended(_) => None,
        }
    }

    /// From now on no changes are recorded, and nothing waits for the store: what waited may go.
    pub fn drop_journal(&mut self) {
        if let Phase::Connected(connected) = &mut self.phase {
            connected.flow.drop_journal();
        }
    }

    /// Returns the size of the largest packet that may be read now, in bytes.
    #[must_use]
    pub fn packet_size_max(&self) -> u32 {
        match &self.phase {
            Phase::AwaitConnect { .. } | Phase::Deciding(_) => self
                .limits
                .connect_packet_size_max
                .min(self.limits.packet_size_max),
            Phase::Connected(_) | Phase::Ended(_) => self.limits.packet_size_max,
        }
    }

    /// Returns whether a CONNECT waits for its answer and packets behind it must not be handed in.
    ///
    /// A client with enhanced authentication may send nothing but AUTH and DISCONNECT before the
    /// CONNACK, so its packets are to be handed in: anything else is its fault.
    #[must_use]
    pub fn is_deciding(&self) -> bool {
        match &self.phase {
            Phase::Deciding(deciding) => !deciding.authentication.is_agreed(),
            Phase::AwaitConnect { .. } | Phase::Connected(_) | Phase::Ended(_) => false,
        }
    }

    /// Returns whether the client has been accepted and the connection is not over.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected(_))
    }

    /// Returns whether the connection is over: close the transport once the last packet is out.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Returns how much waits and how much is in flight.
    #[must_use]
    pub fn queue_status(&self) -> QueueStatus {
        match &self.phase {
            Phase::Connected(connected) => connected.flow.state.queue_status(),
            Phase::Ended(remains) => remains
                .state
                .as_ref()
                .map(SessionState::queue_status)
                .unwrap_or_default(),
            Phase::AwaitConnect { .. } | Phase::Deciding(_) => QueueStatus::default(),
        }
    }

    /// Returns how many received messages wait for their acknowledgement.
    #[must_use]
    pub fn owed_acknowledgements(&self) -> usize {
        match &self.phase {
            Phase::Connected(connected) => connected.flow.owed_acknowledgements(),
            Phase::AwaitConnect { .. } | Phase::Deciding(_) | Phase::Ended(_) => 0,
        }
    }

    /// Returns how many bytes of memory the answers take that wait to be sent or decided: an owner
    /// that reads no further while there are many never meets their limit.
    #[must_use]
    pub fn response_bytes(&self) -> usize {
        match &self.phase {
            Phase::Connected(connected) => connected.flow.response_bytes(),
            Phase::AwaitConnect { .. } | Phase::Deciding(_) | Phase::Ended(_) => 0,
        }
    }

    /// Returns how many bytes of memory the topics take that have an alias, in both directions.
    #[must_use]
    pub fn alias_bytes(&self) -> usize {
        match &self.phase {
            Phase::Connected(connected) => connected.flow.alias_bytes(),
            Phase::AwaitConnect { .. } | Phase::Deciding(_) | Phase::Ended(_) => 0,
        }
    }

    /// Lets go of the memory that nothing needs now, such as the room of queues that are empty: for a
    /// connection that may be quiet for a while.
    pub fn rest(&mut self) {
        self.events.rest();
        match &mut self.phase {
            Phase::Connected(connected) => connected.flow.rest(),
            Phase::AwaitConnect { .. } | Phase::Deciding(_) | Phase::Ended(_) => {}
        }
    }

    /// Takes the state of the session out of a connection that is over; `None` if there was no
    /// session, or it has been taken.
    #[must_use]
    pub fn detach(&mut self) -> Option<SessionState> {
        match &mut self.phase {
            Phase::Ended(remains) => remains.state.take(),
            Phase::AwaitConnect { .. } | Phase::Deciding(_) | Phase::Connected(_) => None,
        }
    }

    fn fail(&mut self, error: &ProtocolError) {
        let farewell = Farewell::from(error.reason_code());
        self.end(EndCause::Protocol(error.clone()), Some(farewell));
    }

    fn fail_if(&mut self, result: Result<(), ProtocolError>) {
        if let Err(error) = result {
            self.fail(&error);
        }
    }
}
