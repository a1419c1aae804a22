//! The server's side of a connection and its session.

mod connack;
mod event;

use alloc::{boxed::Box, collections::VecDeque, sync::Arc};
use core::time::Duration;

use mqttstack_codec::{
    Auth, Connect, DecodeError, Disconnect, Packet, PacketId, PacketType, Properties, PropertyId,
    ProtocolVersion, Publish, ReasonCode, ReasonCodes, Shared, Storage, SubAck, UnsubAck,
    Utf8Bytes, Will,
};
use mqttstack_limits::{Instant, Limits};

pub use self::event::{Acceptance, EndCause, Ended, Event};
use crate::{
    DeliveryOptions, Message, Outgoing, ProtocolError, PublishError, PublishToken, QueueStatus,
    SessionState,
    flow::{self, Flow, PeerLimits},
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
#[derive(Clone, Debug)]
pub struct Session {
    limits: Arc<Limits>,
    phase: Phase,
    events: VecDeque<Event>,
    /// When the last packet arrived, or the connection was opened.
    last_received: Instant,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Nothing has arrived.
    AwaitConnect { deadline: Instant },
    /// CONNECT has arrived, the owner has not answered.
    Deciding {
        connect: Box<Connect<Shared>>,
        deadline: Instant,
        step: Option<Auth<Shared>>,
    },
    /// The owner has accepted.
    Connected(Box<Connected>),
    /// Over: the last packet, if one is still to be sent, and the state for whom it may concern.
    Ended {
        last: Option<Packet>,
        version: ProtocolVersion,
        state: Option<SessionState>,
    },
}

#[derive(Clone, Debug)]
struct Connected {
    flow: Flow,
    /// In seconds; 0 is off.
    keep_alive: u16,
    /// In seconds, as CONNECT asked for it: what DISCONNECT may not raise from 0.
    requested_expiry: u32,
    /// In seconds, in force.
    session_expiry: u32,
    will: Option<Box<Will<Shared>>>,
    /// Request Problem Information: whether acknowledgements may explain themselves.
    problem_information: bool,
    authentication_method: Option<Utf8Bytes>,
}

impl Session {
    /// Begins with a transport that has just been opened.
    #[must_use]
    pub fn new(limits: Arc<Limits>, now: Instant) -> Self {
        let deadline = now + limits.connect_timeout;
        Self {
            limits,
            phase: Phase::AwaitConnect { deadline },
            events: VecDeque::new(),
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
        let result = match &mut self.phase {
            Phase::AwaitConnect { deadline } => {
                let deadline = *deadline;
                match packet {
                    Packet::Connect(connect) => self.on_connect(connect, deadline, now),
                    other => Err(unexpected(&other)),
                }
            }
            Phase::Deciding { connect, .. } => match packet {
                Packet::Auth(auth)
                    if connect
                        .properties
                        .contains(PropertyId::AuthenticationMethod) =>
                {
                    check_auth(&auth, connect.properties.authentication_method()).map(|()| {
                        self.events
                            .push_back(Event::AuthReceived(Box::new(auth.to_shared())))
                    })
                }
                other => Err(unexpected(&other)),
            },
            Phase::Connected(_) => {
                self.last_received = now;
                self.on_connected_packet(packet, now)
            }
            // Whatever follows the end is ignored.
            Phase::Ended { .. } => Ok(()),
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
    pub fn handle_decode_error(&mut self, error: DecodeError, version: Option<ProtocolVersion>) {
        let error = ProtocolError::Decode(error);
        if matches!(self.phase, Phase::AwaitConnect { .. }) {
            let answer = connack::unreadable(&error, version);
            self.end(EndCause::Protocol(error), None);
            if let (Some((version_of_answer, packet)), Phase::Ended { last, version, .. }) =
                (answer, &mut self.phase)
            {
                *version = version_of_answer;
                *last = Some(packet);
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
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let error = match &self.phase {
            Phase::AwaitConnect { .. } | Phase::Deciding { .. } => ProtocolError::ConnectTimeout {
                awaited: PacketType::Connect,
            },
            Phase::Connected(connected) => ProtocolError::KeepAliveTimeout {
                keep_alive: connected.keep_alive,
            },
            Phase::Ended { .. } => return Ok(()),
        };
        self.fail(&error);
        Err(error)
    }

    /// The transport is gone.
    pub fn handle_closed(&mut self) {
        self.end(EndCause::TransportClosed, None);
        if let Phase::Ended { last, .. } = &mut self.phase {
            *last = None;
        }
    }

    fn on_connect<S: Storage>(
        &mut self,
        connect: Connect<S>,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        self.last_received = now;
        let connect = Box::new(connect.to_shared());
        // From here on the answer can be a CONNACK.
        self.phase = Phase::Deciding {
            connect: connect.clone(),
            deadline,
            step: None,
        };
        flow::check_properties(&connect.properties, &self.limits)?;
        if let Some(will) = &connect.will {
            flow::check_properties(&will.properties, &self.limits)?;
        }
        match self.refusal(&connect) {
            Some(reason) => self.refuse(reason),
            None => self.events.push_back(Event::ConnectRequested(connect)),
        }
        Ok(())
    }

    /// Returns why this CONNECT cannot be accepted whoever sent it.
    fn refusal(&self, connect: &Connect<Shared>) -> Option<ReasonCode> {
        let limits = &self.limits;
        let id = &connect.client_id;
        let must_name_itself = match connect.version {
            ProtocolVersion::V31 => true,
            ProtocolVersion::V311 => !connect.clean_start,
            ProtocolVersion::V5 => false,
        };
        // 23 bytes are everybody's right (v5 MQTT-3.1.3-5).
        let id_bytes_max = usize::from(limits.client_id_bytes_max.max(23));
        if (id.is_empty() && must_name_itself) || id.len() > id_bytes_max {
            return Some(ReasonCode::ClientIdentifierNotValid);
        }
        let will = connect.will.as_ref()?;
        if will.qos > limits.maximum_qos {
            return Some(ReasonCode::QoSNotSupported);
        }
        if will.retain && !limits.retain_available {
            return Some(ReasonCode::RetainNotSupported);
        }
        let payload = u32::try_from(will.payload.len()).unwrap_or(u32::MAX);
        (payload > limits.payload_size_max).then_some(ReasonCode::PacketTooLarge)
    }

    /// Accepts the CONNECT: queues CONNACK, and behind it what the session has to send.
    ///
    /// Does nothing unless a CONNECT waits for its answer.
    pub fn accept(&mut self, acceptance: Acceptance, now: Instant) {
        let Phase::Deciding { connect, .. } = &self.phase else {
            return;
        };
        let connect = connect.clone();
        let terms = connack::Terms::new(&connect, &self.limits);
        let connack = connack::success(&connect, &acceptance, &terms, &self.limits);
        let properties = &connect.properties;
        let peer = PeerLimits {
            receive_maximum: properties.receive_maximum().map_or(u16::MAX, Into::into),
            packet_size_max: properties
                .maximum_packet_size()
                .map_or(u32::MAX, Into::into),
            topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
        };
        let flow = Flow::new(
            acceptance.state,
            connect.version,
            Arc::clone(&self.limits),
            peer,
            Some(Packet::ConnAck(connack)),
        );
        self.last_received = now;
        self.phase = Phase::Connected(Box::new(Connected {
            flow,
            keep_alive: terms.keep_alive,
            requested_expiry: terms.requested_expiry,
            session_expiry: terms.session_expiry,
            authentication_method: properties.authentication_method().map(Utf8Bytes::from),
            problem_information: properties.request_problem_information().unwrap_or(true),
            will: connect.will.map(Box::new),
        }));
    }

    /// Refuses the CONNECT: queues the CONNACK that says so, if the version has one that fits.
    ///
    /// Does nothing unless a CONNECT waits for its answer.
    pub fn refuse(&mut self, reason: ReasonCode) {
        if matches!(self.phase, Phase::Deciding { .. }) {
            self.end(EndCause::Refused(reason), Some(reason));
        }
    }

    /// Sends a step of an authentication exchange, before or after the CONNACK.
    pub fn authenticate(&mut self, auth: Auth<Shared>) {
        match &mut self.phase {
            Phase::Deciding { step, .. } => *step = Some(auth),
            Phase::Connected(connected) => connected.flow.respond(Packet::Auth(auth)),
            Phase::AwaitConnect { .. } | Phase::Ended { .. } => {}
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
            Phase::AwaitConnect { .. } | Phase::Deciding { .. } | Phase::Ended { .. } => {
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
        if let Phase::Connected(connected) = &mut self.phase {
            connected.flow.acknowledge(packet_id, reason);
        }
    }

    /// Answers a SUBSCRIBE, one code for each filter in its order.
    ///
    /// In 3.1.1 every error becomes 0x80. A 3.1 client, which knows no refusal, has to be given the
    /// QoS it asked for (V31-suback).
    pub fn suback(&mut self, packet_id: PacketId, codes: impl IntoIterator<Item = ReasonCode>) {
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let v5 = connected.flow.version() == ProtocolVersion::V5;
        let codes = codes.into_iter().map(|code| match code.is_error() && !v5 {
            true => ReasonCode::UnspecifiedError,
            false => code,
        });
        let reason_codes = ReasonCodes::new(codes);
        let properties = Properties::empty();
        connected.flow.respond(Packet::SubAck(SubAck {
            packet_id,
            properties,
            reason_codes,
        }));
    }

    /// Answers an UNSUBSCRIBE, one code for each filter in its order; 3.x sends none of them.
    pub fn unsuback(&mut self, packet_id: PacketId, codes: impl IntoIterator<Item = ReasonCode>) {
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let reason_codes = match connected.flow.version() {
            ProtocolVersion::V5 => ReasonCodes::new(codes),
            ProtocolVersion::V31 | ProtocolVersion::V311 => ReasonCodes::default(),
        };
        let properties = Properties::empty();
        connected.flow.respond(Packet::UnsubAck(UnsubAck {
            packet_id,
            properties,
            reason_codes,
        }));
    }

    /// Ends the connection: an accepted MQTT 5.0 client is told why, others see a close.
    pub fn disconnect(&mut self, reason: ReasonCode) {
        self.end(EndCause::ServerDisconnected(reason), Some(reason));
    }

    /// Returns the next packet to send.
    #[must_use]
    pub fn poll_packet(&mut self, now: Instant) -> Option<Outgoing> {
        match &mut self.phase {
            Phase::Connected(connected) => connected.flow.poll_packet(now),
            Phase::Ended { last, .. } => last.take().map(Outgoing::Packet),
            Phase::Deciding { step, .. } => {
                step.take().map(|auth| Outgoing::Packet(Packet::Auth(auth)))
            }
            Phase::AwaitConnect { .. } => None,
        }
    }

    /// Returns whether [`poll_packet`](Self::poll_packet) may have something.
    #[must_use]
    pub fn has_packet(&self) -> bool {
        match &self.phase {
            Phase::Connected(connected) => connected.flow.has_packet(),
            Phase::Ended { last, .. } => last.is_some(),
            Phase::Deciding { step, .. } => step.is_some(),
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
            Phase::AwaitConnect { deadline } | Phase::Deciding { deadline, .. } => Some(*deadline),
            Phase::Connected(connected) if connected.keep_alive > 0 => {
                // Half as much again as the Keep Alive (v5 MQTT-3.1.2-22, v3.1.1 MQTT-3.1.2-24).
                let millis = u64::from(connected.keep_alive).saturating_mul(1_500);
                Some(self.last_received + Duration::from_millis(millis))
            }
            Phase::Connected(_) | Phase::Ended { .. } => None,
        }
    }

    /// Returns the protocol version, once CONNECT has said it.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        match &self.phase {
            Phase::AwaitConnect { .. } => None,
            Phase::Deciding { connect, .. } => Some(connect.version),
            Phase::Connected(connected) => Some(connected.flow.version()),
            Phase::Ended { version, .. } => Some(*version),
        }
    }

    /// Returns the size of the largest packet that may be read now, in bytes.
    #[must_use]
    pub fn packet_size_max(&self) -> u32 {
        match &self.phase {
            Phase::AwaitConnect { .. } | Phase::Deciding { .. } => self
                .limits
                .connect_packet_size_max
                .min(self.limits.packet_size_max),
            Phase::Connected(_) | Phase::Ended { .. } => self.limits.packet_size_max,
        }
    }

    /// Returns whether a CONNECT waits for its answer: packets behind it must not be handed in.
    #[must_use]
    pub fn is_deciding(&self) -> bool {
        matches!(self.phase, Phase::Deciding { .. })
    }

    /// Returns whether the client has been accepted and the connection is not over.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected(_))
    }

    /// Returns whether the connection is over: close the transport once the last packet is out.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Returns how much waits and how much is in flight.
    #[must_use]
    pub fn queue_status(&self) -> QueueStatus {
        match &self.phase {
            Phase::Connected(connected) => connected.flow.state.queue_status(),
            Phase::Ended { state, .. } => state
                .as_ref()
                .map(SessionState::queue_status)
                .unwrap_or_default(),
            Phase::AwaitConnect { .. } | Phase::Deciding { .. } => QueueStatus::default(),
        }
    }

    /// Returns how many received messages wait for their acknowledgement.
    #[must_use]
    pub fn owed_acknowledgements(&self) -> usize {
        match &self.phase {
            Phase::Connected(connected) => connected.flow.owed_acknowledgements(),
            Phase::AwaitConnect { .. } | Phase::Deciding { .. } | Phase::Ended { .. } => 0,
        }
    }

    /// Takes the state of the session out of a connection that is over; `None` if there was no
    /// session, or it has been taken.
    #[must_use]
    pub fn detach(&mut self) -> Option<SessionState> {
        match &mut self.phase {
            Phase::Ended { state, .. } => state.take(),
            Phase::AwaitConnect { .. } | Phase::Deciding { .. } | Phase::Connected(_) => None,
        }
    }

    fn on_connected_packet<S: Storage>(
        &mut self,
        packet: Packet<S>,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let Phase::Connected(connected) = &mut self.phase else {
            return Ok(());
        };
        let flow = &mut connected.flow;
        let limits = &self.limits;
        match packet {
            Packet::Publish(publish) => {
                check_publish(&publish, limits)?;
                if let Some(arrival) = flow.on_publish(&publish, now)? {
                    self.events.push_back(Event::MessageReceived {
                        message: arrival.message,
                        packet_id: arrival.packet_id,
                    });
                }
            }
            Packet::PubAck(ack) => {
                flow::check_properties(&ack.properties, limits)?;
                flow.on_puback(ack)?;
            }
            Packet::PubRec(ack) => {
                flow::check_properties(&ack.properties, limits)?;
                flow.on_pubrec(ack)?;
            }
            Packet::PubRel(ack) => {
                flow::check_properties(&ack.properties, limits)?;
                flow.on_pubrel(&ack)?;
            }
            Packet::PubComp(ack) => {
                flow::check_properties(&ack.properties, limits)?;
                flow.on_pubcomp(ack)?;
            }
            Packet::Subscribe(subscribe) => {
                flow::check_properties(&subscribe.properties, limits)?;
                if subscribe
                    .properties
                    .contains(PropertyId::SubscriptionIdentifier)
                    && !limits.subscription_identifiers
                {
                    return Err(ProtocolError::SubscriptionIdentifiersNotSupported);
                }
                let subscribe = Box::new(subscribe.to_shared());
                self.events.push_back(Event::SubscribeRequested(subscribe));
            }
            Packet::Unsubscribe(unsubscribe) => {
                flow::check_properties(&unsubscribe.properties, limits)?;
                let unsubscribe = Box::new(unsubscribe.to_shared());
                self.events
                    .push_back(Event::UnsubscribeRequested(unsubscribe));
            }
            Packet::PingReq => flow.respond(Packet::PingResp),
            Packet::Disconnect(disconnect) => {
                flow::check_properties(&disconnect.properties, limits)?;
                return self.on_disconnect(&disconnect);
            }
            Packet::Auth(auth) => {
                flow::check_properties(&auth.properties, limits)?;
                check_auth(&auth, connected.authentication_method.as_deref())?;
                self.events
                    .push_back(Event::AuthReceived(Box::new(auth.to_shared())));
            }
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => return Err(unexpected(&packet)),
        }
        Ok(())
    }

    fn on_disconnect<S: Storage>(
        &mut self,
        disconnect: &Disconnect<S>,
    ) -> Result<(), ProtocolError> {
        let Phase::Connected(connected) = &mut self.phase else {
            return Ok(());
        };
        if let Some(expiry) = disconnect.properties.session_expiry_interval() {
            if connected.requested_expiry == 0 && expiry > 0 {
                return Err(ProtocolError::SessionExpiryRaised);
            }
            connected.session_expiry = expiry.min(self.limits.session_expiry_max);
        }
        if disconnect.reason_code == ReasonCode::Success {
            connected.will = None;
        }
        self.end(EndCause::ClientDisconnected(disconnect.reason_code), None);
        Ok(())
    }

    fn fail(&mut self, error: &ProtocolError) {
        self.end(EndCause::Protocol(error.clone()), Some(error.reason_code()));
    }

    /// Ends the connection once; `reason` is what the client is told if it can be told.
    fn end(&mut self, cause: EndCause, reason: Option<ReasonCode>) {
        let ended = match &mut self.phase {
            Phase::Ended { .. } => return,
            Phase::AwaitConnect { .. } => {
                let version = ProtocolVersion::V5;
                self.phase = Phase::Ended {
                    last: None,
                    version,
                    state: None,
                };
                Ended {
                    cause,
                    will: None,
                    session_expiry_interval: 0,
                }
            }
            Phase::Deciding { connect, .. } => {
                let version = connect.version;
                let last = reason.and_then(|reason| connack::refusal(connect, reason));
                self.phase = Phase::Ended {
                    last,
                    version,
                    state: None,
                };
                // The will of a CONNECT that was not accepted is never published.
                Ended {
                    cause,
                    will: None,
                    session_expiry_interval: 0,
                }
            }
            Phase::Connected(connected) => {
                let version = connected.flow.version();
                let will = connected.will.take().map(|will| *will);
                let session_expiry_interval = connected.session_expiry;
                let last = reason
                    .filter(|_| version == ProtocolVersion::V5)
                    .map(|reason| Packet::Disconnect(Disconnect::new(reason)));
                let phase = Phase::Ended {
                    last,
                    version,
                    state: None,
                };
                if let Phase::Connected(connected) = core::mem::replace(&mut self.phase, phase) {
                    let detached = connected.flow.into_state();
                    if let Phase::Ended { state, .. } = &mut self.phase {
                        *state = Some(detached);
                    }
                }
                Ended {
                    cause,
                    will,
                    session_expiry_interval,
                }
            }
        };
        self.events.push_back(Event::Ended(Box::new(ended)));
    }
}

/// Checks what a server demands of a PUBLISH beyond its form.
fn check_publish<S: Storage>(publish: &Publish<S>, limits: &Limits) -> Result<(), ProtocolError> {
    flow::check_properties(&publish.properties, limits)?;
    let qos = publish.delivery.qos();
    if qos > limits.maximum_qos {
        return Err(ProtocolError::QosNotSupported {
            qos,
            maximum: limits.maximum_qos,
        });
    }
    if publish.retain && !limits.retain_available {
        return Err(ProtocolError::RetainNotSupported);
    }
    if publish
        .properties
        .contains(PropertyId::SubscriptionIdentifier)
    {
        // v5 MQTT-3.3.4-6
        return Err(ProtocolError::UnexpectedPacket {
            packet_type: PacketType::Publish,
        });
    }
    Ok(())
}

fn check_auth<S: Storage>(auth: &Auth<S>, method: Option<&str>) -> Result<(), ProtocolError> {
    match (method, auth.properties.authentication_method()) {
        (None, _) => Err(ProtocolError::UnexpectedPacket {
            packet_type: PacketType::Auth,
        }),
        (Some(agreed), Some(named)) if agreed == named => Ok(()),
        (Some(_), _) => Err(ProtocolError::AuthenticationMethodChanged),
    }
}

fn unexpected<S: Storage>(packet: &Packet<S>) -> ProtocolError {
    ProtocolError::UnexpectedPacket {
        packet_type: packet.packet_type(),
    }
}
