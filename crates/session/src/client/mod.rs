//! The client's side of a connection and its session.

mod event;

use alloc::{boxed::Box, collections::VecDeque, sync::Arc};
use core::time::Duration;

use mqttstack_codec::{
    Auth, ConnAck, Connect, DecodeError, Delivery, Disconnect, EncodeError, Packet, PacketId,
    PacketType, Properties, PropertyId, ProtocolVersion, QoS, ReasonCode, Shared, Storage,
    Subscribe, SubscribeFilters, Unsubscribe, UnsubscribeFilters, Utf8Bytes,
};
use mqttstack_limits::{Instant, Limits};

pub use self::event::{EndCause, Event, Outcome};
use crate::{
    DeliveryOptions, Message, Outgoing, ProtocolError, PublishError, PublishToken, QueueStatus,
    SessionState, SubscriptionIds,
    flow::{self, Completion, Exchange, Flow, PeerLimits},
};

/// What happens to unfinished messages when the server has lost the session.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum LostSession {
    /// Messages that were not acknowledged are sent again as new ones: nothing is lost, and a
    /// message may arrive twice, even at QoS 2.
    #[default]
    Resend,
    /// They are reported as undelivered.
    GiveUp,
}

/// The settings of a client session that hold for all its connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the server may send, and how much may wait.
    pub limits: Arc<Limits>,
    /// How long a PINGRESP may take; then the connection is over.
    pub ping_timeout: Duration,
    /// What becomes of unfinished messages when the server has lost the session.
    pub lost_session: LostSession,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Arc::default(),
            ping_timeout: Duration::from_secs(10),
            lost_session: LostSession::default(),
        }
    }
}

/// A client's session, and the connection it is on at the moment.
///
/// The session outlives its connections: [`connect`](Self::connect) may be called again after
/// [`Event::Ended`]. Messages that are handed over while there is no connection wait (QoS 1 and 2).
/// After each `handle_*` and each verb, drain [`poll_event`](Self::poll_event) and
/// [`poll_packet`](Self::poll_packet) to `None`, then read [`poll_timeout`](Self::poll_timeout).
/// After an `Err`, drain once more: the DISCONNECT that carries the reason is waiting there.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Settings,
    phase: Phase,
    events: VecDeque<Event>,
    /// Whether a server has ever accepted this session.
    begun: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    Offline(SessionState),
    /// CONNECT is to be sent or has been sent.
    Connecting(Box<Connecting>),
    Connected(Box<Connected>),
    /// Over, but for a last packet.
    Closing {
        last: Option<Packet>,
        state: SessionState,
    },
}

#[derive(Clone, Debug)]
struct Connecting {
    state: SessionState,
    connect: Connect<Shared>,
    outgoing: VecDeque<Packet>,
    deadline: Instant,
}

#[derive(Clone, Debug)]
struct Connected {
    flow: Flow,
    /// In seconds; 0 is off.
    keep_alive: u16,
    last_sent: Instant,
    /// When the PINGRESP that is awaited has to be there.
    ping_deadline: Option<Instant>,
    authentication_method: Option<Utf8Bytes>,
    server: ServerCapabilities,
}

/// What the server said in CONNACK that it can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerCapabilities {
    /// The highest QoS it takes.
    pub maximum_qos: QoS,
    /// Whether it keeps retained messages.
    pub retain_available: bool,
    /// The largest packet it takes, in bytes; `u32::MAX` if it named none.
    pub packet_size_max: u32,
    /// How many unacknowledged QoS 1 and 2 messages it takes.
    pub receive_maximum: u16,
    /// How many topic aliases it takes.
    pub topic_alias_maximum: u16,
    /// Whether it takes filters with wildcards.
    pub wildcard_subscriptions: bool,
    /// Whether it takes Subscription Identifiers.
    pub subscription_identifiers: bool,
    /// Whether it takes shared subscriptions.
    pub shared_subscriptions: bool,
}

impl ServerCapabilities {
    fn from_connack(connack: &ConnAck<Shared>) -> Self {
        let properties = &connack.properties;
        Self {
            maximum_qos: properties.maximum_qos().unwrap_or(QoS::ExactlyOnce),
            retain_available: properties.retain_available().unwrap_or(true),
            packet_size_max: properties
                .maximum_packet_size()
                .map_or(u32::MAX, Into::into),
            receive_maximum: properties.receive_maximum().map_or(u16::MAX, Into::into),
            topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            wildcard_subscriptions: properties.wildcard_subscription_available().unwrap_or(true),
            subscription_identifiers: properties
                .subscription_identifier_available()
                .unwrap_or(true),
            shared_subscriptions: properties.shared_subscription_available().unwrap_or(true),
        }
    }
}

/// Why a SUBSCRIBE or UNSUBSCRIBE was not sent; nothing has changed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// There is no connection.
    #[error("not connected")]
    NotConnected,
    /// Every Packet Identifier is in use.
    #[error("all 65,535 packet identifiers are in use")]
    NoPacketId,
    /// The request cannot be expressed, or the server would refuse it.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The packet would exceed the server's Maximum Packet Size.
    #[error("packet of {size} bytes exceeds the server's maximum of {maximum}")]
    PacketTooLarge {
        /// The size of the packet.
        size: u64,
        /// The server's Maximum Packet Size.
        maximum: u32,
    },
}

impl Session {
    /// Returns a session that has not begun.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut state = SessionState::new();
        state.outbound.track();
        Self {
            settings,
            phase: Phase::Offline(state),
            events: VecDeque::new(),
            begun: false,
        }
    }

    /// Returns a session that goes on with the state of an earlier one.
    #[must_use]
    pub fn resume(settings: Settings, mut state: SessionState) -> Self {
        state.outbound.track();
        Self {
            settings,
            phase: Phase::Offline(state),
            events: VecDeque::new(),
            begun: true,
        }
    }

    /// Queues CONNECT on a transport that has just been opened.
    ///
    /// What the limits say replaces Receive Maximum, Maximum Packet Size and Topic Alias Maximum in
    /// the properties. Does nothing while there is a connection.
    pub fn connect(&mut self, mut connect: Connect<Shared>, now: Instant) {
        let state = match core::mem::replace(&mut self.phase, Phase::Offline(SessionState::new())) {
            Phase::Offline(state) | Phase::Closing { state, .. } => state,
            phase @ (Phase::Connecting(_) | Phase::Connected(_)) => {
                self.phase = phase;
                return;
            }
        };
        if connect.version == ProtocolVersion::V5 {
            connect.properties = announce(&connect.properties, &self.settings.limits);
        }
        self.phase = Phase::Connecting(Box::new(Connecting {
            state,
            outgoing: [Packet::Connect(connect.clone())].into(),
            connect,
            deadline: now + self.settings.limits.connect_timeout,
        }));
    }

    /// Handles a packet from the server.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`]: the connection is over.
    pub fn handle_packet<S: Storage>(
        &mut self,
        packet: Packet<S>,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let result = match &mut self.phase {
            Phase::Connecting(_) => self.on_connecting_packet(packet, now),
            Phase::Connected(_) => self.on_connected_packet(packet, now),
            Phase::Offline(_) | Phase::Closing { .. } => Ok(()),
        };
        self.collect_undelivered();
        result.inspect_err(|error| self.fail(error))
    }

    /// Ends the connection because the server's bytes are not a packet.
    pub fn handle_decode_error(&mut self, error: DecodeError) {
        self.fail(&ProtocolError::Decode(error));
    }

    /// Handles the passing of time: pings, and gives up on a server that does not answer.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::ConnectTimeout`] or [`ProtocolError::KeepAliveTimeout`]: the connection is
    /// over.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let error = match &mut self.phase {
            Phase::Connecting(connecting) if connecting.deadline <= now => {
                ProtocolError::ConnectTimeout {
                    awaited: PacketType::ConnAck,
                }
            }
            Phase::Connected(connected) => {
                if connected
                    .ping_deadline
                    .is_some_and(|deadline| deadline <= now)
                {
                    ProtocolError::KeepAliveTimeout {
                        keep_alive: connected.keep_alive,
                    }
                } else {
                    connected.ping_if_due(now, self.settings.ping_timeout);
                    return Ok(());
                }
            }
            Phase::Connecting(_) | Phase::Offline(_) | Phase::Closing { .. } => return Ok(()),
        };
        self.fail(&error);
        Err(error)
    }

    /// The transport is gone.
    pub fn handle_closed(&mut self) {
        self.end(EndCause::TransportClosed, None);
        if let Phase::Closing { last, .. } = &mut self.phase {
            *last = None;
        }
    }

    /// Hands a message over for delivery to the server; without a connection it waits for the next
    /// one. Its outcome comes as [`Event::Completed`].
    ///
    /// # Errors
    ///
    /// [`PublishError`]: the message was not taken.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.2.2-11, v5 MQTT-3.2.2-14, v5 MQTT-3.2.2-15.
    pub fn publish(
        &mut self,
        message: Message,
        now: Instant,
    ) -> Result<PublishToken, PublishError> {
        let options = DeliveryOptions {
            qos: message.qos(),
            retain: message.retain(),
            subscription_ids: SubscriptionIds::None,
        };
        let limits = Arc::clone(&self.settings.limits);
        let result = match &mut self.phase {
            Phase::Connected(connected) => {
                connected.check(&message, &options, now)?;
                connected.flow.publish(message, options, now)
            }
            Phase::Offline(state) | Phase::Closing { state, .. } => {
                state.enqueue(message, options, &limits, now)
            }
            Phase::Connecting(connecting) => {
                connecting.state.enqueue(message, options, &limits, now)
            }
        };
        self.collect_undelivered();
        result
    }

    /// Asks for subscriptions.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: nothing was sent.
    pub fn subscribe(
        &mut self,
        filters: SubscribeFilters<Shared>,
        properties: Properties<Shared>,
    ) -> Result<PublishToken, RequestError> {
        let count = filters.len();
        self.request(
            |token| Exchange::AwaitSubAck {
                token,
                filters: count,
            },
            |packet_id| {
                Packet::Subscribe(Subscribe {
                    packet_id,
                    properties,
                    filters,
                })
            },
        )
    }

    /// Ends subscriptions.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: nothing was sent.
    pub fn unsubscribe(
        &mut self,
        filters: UnsubscribeFilters<Shared>,
        properties: Properties<Shared>,
    ) -> Result<PublishToken, RequestError> {
        let count = filters.len();
        self.request(
            |token| Exchange::AwaitUnsubAck {
                token,
                filters: count,
            },
            |packet_id| {
                Packet::Unsubscribe(Unsubscribe {
                    packet_id,
                    properties,
                    filters,
                })
            },
        )
    }

    fn request(
        &mut self,
        exchange: impl FnOnce(PublishToken) -> Exchange,
        packet: impl FnOnce(PacketId) -> Packet,
    ) -> Result<PublishToken, RequestError> {
        let Phase::Connected(connected) = &mut self.phase else {
            return Err(RequestError::NotConnected);
        };
        let flow = &mut connected.flow;
        let token = flow.state.outbound.next_token();
        let packet_id = flow
            .begin_request(exchange(token))
            .ok_or(RequestError::NoPacketId)?;
        let packet = packet(packet_id);
        let maximum = connected.server.packet_size_max;
        let refused = match packet.encoded_len(flow.version()) {
            Err(error) => Some(RequestError::Encode(error)),
            Ok(size) => {
                let size = u64::try_from(size).unwrap_or(u64::MAX);
                (size > u64::from(maximum))
                    .then_some(RequestError::PacketTooLarge { size, maximum })
            }
        };
        if let Some(error) = refused {
            flow.state.outbound.window.remove(packet_id);
            return Err(error);
        }
        flow.respond(packet);
        Ok(token)
    }

    /// Acknowledges a received QoS 1 or 2 message; acknowledgements leave in the order of the
    /// messages, whatever the order of the calls.
    pub fn acknowledge(&mut self, packet_id: PacketId, reason: ReasonCode) {
        if let Phase::Connected(connected) = &mut self.phase {
            connected.flow.acknowledge(packet_id, reason);
        }
    }

    /// Sends a step of an authentication exchange, or starts a new one (Re-authenticate).
    pub fn authenticate(&mut self, auth: Auth<Shared>) {
        match &mut self.phase {
            Phase::Connecting(connecting) => connecting.outgoing.push_back(Packet::Auth(auth)),
            Phase::Connected(connected) => connected.flow.respond(Packet::Auth(auth)),
            Phase::Offline(_) | Phase::Closing { .. } => {}
        }
    }

    /// Ends the connection in good order. What waits in the queue stays there.
    pub fn disconnect(&mut self, disconnect: Disconnect<Shared>) {
        let packet = Packet::Disconnect(disconnect);
        self.end(EndCause::ClientDisconnected, Some(packet));
    }

    /// Returns the next packet to send.
    #[must_use]
    pub fn poll_packet(&mut self, now: Instant) -> Option<Outgoing> {
        match &mut self.phase {
            Phase::Connecting(connecting) => connecting.outgoing.pop_front().map(Outgoing::Packet),
            Phase::Connected(connected) => {
                let packet = connected.flow.poll_packet(now);
                if packet.is_some() {
                    connected.last_sent = now;
                }
                if let Some(Outgoing::Publish(publish)) = &packet {
                    if publish.delivery() == Delivery::AtMostOnce {
                        let token = publish.token();
                        self.events.push_back(Event::Completed {
                            token,
                            outcome: Outcome::Sent,
                        });
                    }
                }
                self.collect_undelivered();
                packet
            }
            Phase::Closing { last, .. } => last.take().map(Outgoing::Packet),
            Phase::Offline(_) => None,
        }
    }

    /// Returns whether [`poll_packet`](Self::poll_packet) may have something.
    #[must_use]
    pub fn has_packet(&self) -> bool {
        match &self.phase {
            Phase::Connecting(connecting) => !connecting.outgoing.is_empty(),
            Phase::Connected(connected) => connected.flow.has_packet(),
            Phase::Closing { last, .. } => last.is_some(),
            Phase::Offline(_) => false,
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
            Phase::Connecting(connecting) => Some(connecting.deadline),
            Phase::Connected(connected) => connected.poll_timeout(),
            Phase::Offline(_) | Phase::Closing { .. } => None,
        }
    }

    /// Returns whether the server has accepted the connection and it is not over.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected(_))
    }

    /// Returns whether there is no connection: the transport has to be closed once the last packet
    /// is out, and [`connect`](Self::connect) may be called.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Offline(_) | Phase::Closing { .. })
    }

    /// Returns what the server said it can do, while connected.
    #[must_use]
    pub fn server(&self) -> Option<ServerCapabilities> {
        match &self.phase {
            Phase::Connected(connected) => Some(connected.server),
            Phase::Offline(_) | Phase::Connecting(_) | Phase::Closing { .. } => None,
        }
    }

    /// Returns the size of the largest packet that may be read, in bytes.
    #[must_use]
    pub fn packet_size_max(&self) -> u32 {
        self.settings.limits.packet_size_max
    }

    /// Returns how much waits and how much is in flight.
    #[must_use]
    pub fn queue_status(&self) -> QueueStatus {
        self.state().queue_status()
    }

    /// Takes the state of the session out, to store it or to resume it elsewhere; the connection,
    /// if there is one, ends without a word.
    #[must_use]
    pub fn detach(mut self) -> SessionState {
        self.end(EndCause::TransportClosed, None);
        match self.phase {
            Phase::Offline(state) | Phase::Closing { state, .. } => state,
            Phase::Connecting(connecting) => connecting.state,
            Phase::Connected(connected) => connected.flow.into_state(),
        }
    }

    fn state(&self) -> &SessionState {
        match &self.phase {
            Phase::Offline(state) | Phase::Closing { state, .. } => state,
            Phase::Connecting(connecting) => &connecting.state,
            Phase::Connected(connected) => &connected.flow.state,
        }
    }

    fn state_mut(&mut self) -> &mut SessionState {
        match &mut self.phase {
            Phase::Offline(state) | Phase::Closing { state, .. } => state,
            Phase::Connecting(connecting) => &mut connecting.state,
            Phase::Connected(connected) => &mut connected.flow.state,
        }
    }

    fn on_connecting_packet<S: Storage>(
        &mut self,
        packet: Packet<S>,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let Phase::Connecting(connecting) = &mut self.phase else {
            return Ok(());
        };
        let method = connecting.connect.properties.authentication_method();
        match packet {
            Packet::ConnAck(connack) => {
                flow::check_properties(&connack.properties, &self.settings.limits)?;
                if connack.reason_code == ReasonCode::Success
                    && connack.properties.authentication_method() != method
                {
                    return Err(ProtocolError::AuthenticationMethodChanged);
                }
                self.on_connack(connack.to_shared(), now)
            }
            Packet::Auth(auth) => {
                check_auth(&auth, method)?;
                self.events
                    .push_back(Event::AuthReceived(Box::new(auth.to_shared())));
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    fn on_connack(&mut self, connack: ConnAck<Shared>, now: Instant) -> Result<(), ProtocolError> {
        if connack.reason_code != ReasonCode::Success {
            self.end(EndCause::Refused(Box::new(connack)), None);
            return Ok(());
        }
        if let Phase::Connecting(connecting) = &self.phase {
            let expected = self.begun && !connecting.connect.clean_start;
            // A 3.x client may go on with a session that it has forgotten (X311-3.2.2.2-a).
            if connack.session_present && !expected && !is_3x(&connecting.connect) {
                return Err(ProtocolError::SessionPresentWithoutState);
            }
        }
        let phase = core::mem::replace(&mut self.phase, Phase::Offline(SessionState::new()));
        let Phase::Connecting(connecting) = phase else {
            self.phase = phase;
            return Ok(());
        };
        let Connecting {
            mut state, connect, ..
        } = *connecting;
        if !connack.session_present {
            for token in state.session_lost(self.settings.lost_session == LostSession::Resend) {
                // The server had taken these over.
                let outcome = Outcome::Acknowledged {
                    reason_code: ReasonCode::Success,
                    properties: Properties::empty(),
                };
                self.events.push_back(Event::Completed { token, outcome });
            }
        }
        self.begun = true;
        let server = ServerCapabilities::from_connack(&connack);
        let peer = PeerLimits {
            receive_maximum: server.receive_maximum,
            packet_size_max: server.packet_size_max,
            topic_alias_maximum: server.topic_alias_maximum,
        };
        let limits = Arc::clone(&self.settings.limits);
        let keep_alive = connack
            .properties
            .server_keep_alive()
            .unwrap_or(connect.keep_alive);
        self.phase = Phase::Connected(Box::new(Connected {
            flow: Flow::new(state, connect.version, limits, peer, None),
            keep_alive,
            last_sent: now,
            ping_deadline: None,
            authentication_method: connect
                .properties
                .authentication_method()
                .map(Utf8Bytes::from),
            server,
        }));
        self.events.push_back(Event::Connected(Box::new(connack)));
        Ok(())
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
        let limits = &self.settings.limits;
        let completion = match packet {
            Packet::Publish(publish) => {
                flow::check_properties(&publish.properties, limits)?;
                let subscription_ids = publish.properties.subscription_identifiers().collect();
                if let Some(arrival) = flow.on_publish(&publish, now)? {
                    self.events.push_back(Event::MessageReceived {
                        message: arrival.message,
                        subscription_ids,
                        packet_id: arrival.packet_id,
                    });
                }
                None
            }
            Packet::PubAck(ack) => {
                flow::check_properties(&ack.properties, limits)?;
                flow.on_puback(ack)?
            }
            Packet::PubRec(ack) => {
                flow::check_properties(&ack.properties, limits)?;
                flow.on_pubrec(ack)?
            }
            Packet::PubRel(ack) => {
                flow::check_properties(&ack.properties, limits)?;
                flow.on_pubrel(&ack)?;
                None
            }
            Packet::PubComp(ack) => {
                flow::check_properties(&ack.properties, limits)?;
                flow.on_pubcomp(ack)?
            }
            Packet::SubAck(suback) => {
                flow::check_properties(&suback.properties, limits)?;
                let actual = suback.reason_codes.len();
                let (token, filters) = flow.take_subscribe(suback.packet_id)?;
                check_count(filters, actual)?;
                let outcome = Outcome::Subscribed {
                    reason_codes: suback.reason_codes.to_shared(),
                    properties: suback.properties.to_shared(),
                };
                self.events.push_back(Event::Completed { token, outcome });
                None
            }
            Packet::UnsubAck(unsuback) => {
                flow::check_properties(&unsuback.properties, limits)?;
                let actual = unsuback.reason_codes.len();
                let v5 = flow.version() == ProtocolVersion::V5;
                let (token, filters) = flow.take_unsubscribe(unsuback.packet_id)?;
                if v5 {
                    check_count(filters, actual)?;
                }
                let outcome = Outcome::Unsubscribed {
                    reason_codes: unsuback.reason_codes.to_shared(),
                    properties: unsuback.properties.to_shared(),
                };
                self.events.push_back(Event::Completed { token, outcome });
                None
            }
            Packet::PingResp => {
                connected.ping_deadline = None;
                None
            }
            Packet::Disconnect(disconnect) => {
                flow::check_properties(&disconnect.properties, limits)?;
                let v5 = flow.version() == ProtocolVersion::V5;
                if !v5
                    || disconnect
                        .properties
                        .contains(PropertyId::SessionExpiryInterval)
                {
                    let packet_type = PacketType::Disconnect;
                    return Err(ProtocolError::UnexpectedPacket { packet_type });
                }
                let cause = EndCause::ServerDisconnected {
                    reason_code: disconnect.reason_code,
                    properties: disconnect.properties.to_shared(),
                };
                self.end(cause, None);
                None
            }
            Packet::Auth(auth) => {
                flow::check_properties(&auth.properties, limits)?;
                check_auth(&auth, connected.authentication_method.as_deref())?;
                self.events
                    .push_back(Event::AuthReceived(Box::new(auth.to_shared())));
                None
            }
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => return Err(unexpected(&packet)),
        };
        if let Some(Completion { token, ack }) = completion {
            let outcome = Outcome::Acknowledged {
                reason_code: ack.reason_code,
                properties: ack.properties.to_shared(),
            };
            self.events.push_back(Event::Completed { token, outcome });
        }
        Ok(())
    }

    /// Turns what the queue gave up into events.
    fn collect_undelivered(&mut self) {
        while let Some((token, why)) = self.state_mut().outbound.poll_undelivered() {
            self.events.push_back(Event::Completed {
                token,
                outcome: Outcome::Undelivered(why),
            });
        }
    }

    fn fail(&mut self, error: &ProtocolError) {
        let packet = Packet::Disconnect(Disconnect::new(error.reason_code()));
        let told = match &self.phase {
            Phase::Connected(connected) => connected.flow.version() == ProtocolVersion::V5,
            Phase::Connecting(_) | Phase::Offline(_) | Phase::Closing { .. } => false,
        };
        self.end(EndCause::Protocol(error.clone()), told.then_some(packet));
    }

    /// Ends the connection once.
    fn end(&mut self, cause: EndCause, last: Option<Packet>) {
        let phase = core::mem::replace(&mut self.phase, Phase::Offline(SessionState::new()));
        let mut state = match phase {
            Phase::Offline(_) | Phase::Closing { .. } => {
                self.phase = phase;
                return;
            }
            Phase::Connecting(connecting) => connecting.state,
            Phase::Connected(connected) => connected.flow.into_state(),
        };
        for token in state.outbound.drop_requests() {
            self.events.push_back(Event::Completed {
                token,
                outcome: Outcome::Unanswered,
            });
        }
        self.phase = Phase::Closing { last, state };
        self.collect_undelivered();
        self.events.push_back(Event::Ended(cause));
    }
}

impl Connected {
    fn poll_timeout(&self) -> Option<Instant> {
        if self.ping_deadline.is_some() {
            return self.ping_deadline;
        }
        (self.keep_alive > 0).then(|| self.last_sent + Duration::from_secs(self.keep_alive.into()))
    }

    /// v5 MQTT-3.1.2-20, v3.1.1 MQTT-3.1.2-23: what counts is what this side sends.
    fn ping_if_due(&mut self, now: Instant, ping_timeout: Duration) {
        if self.ping_deadline.is_none() && self.poll_timeout().is_some_and(|due| due <= now) {
            self.flow.respond(Packet::PingReq);
            self.last_sent = now;
            self.ping_deadline = Some(now + ping_timeout);
        }
    }

    fn check(
        &self,
        message: &Message,
        options: &DeliveryOptions,
        now: Instant,
    ) -> Result<(), PublishError> {
        let server = &self.server;
        if message.qos() > server.maximum_qos {
            return Err(PublishError::QosNotSupported {
                maximum: server.maximum_qos,
            });
        }
        if message.retain() && !server.retain_available {
            return Err(PublishError::RetainNotSupported);
        }
        let maximum = server.packet_size_max;
        match self.flow.packet_size(message, options, now) {
            size if size > u64::from(maximum) => {
                Err(PublishError::PacketTooLarge { size, maximum })
            }
            _ => Ok(()),
        }
    }
}

/// Puts what the limits say into the properties of CONNECT.
fn announce(properties: &Properties<Shared>, limits: &Limits) -> Properties<Shared> {
    let ours = [
        PropertyId::ReceiveMaximum,
        PropertyId::MaximumPacketSize,
        PropertyId::TopicAliasMaximum,
    ];
    let mut builder = Properties::builder();
    if limits.receive_maximum != u16::MAX {
        builder = builder.receive_maximum(limits.receive_maximum.max(1));
    }
    if limits.packet_size_max < mqttstack_limits::PROTOCOL_PACKET_SIZE_MAX {
        builder = builder.maximum_packet_size(limits.packet_size_max);
    }
    if limits.topic_alias_maximum > 0 {
        builder = builder.topic_alias_maximum(limits.topic_alias_maximum);
    }
    for property in properties
        .iter()
        .filter(|property| !ours.contains(&property.id()))
    {
        builder = builder.property(property);
    }
    // Both parts are valid and do not overlap.
    builder.build().unwrap_or_default()
}

fn check_auth<S: Storage>(auth: &Auth<S>, method: Option<&str>) -> Result<(), ProtocolError> {
    let named = auth.properties.authentication_method();
    match (method, named) {
        (None, _) => Err(ProtocolError::UnexpectedPacket {
            packet_type: PacketType::Auth,
        }),
        // The short form of Success names no method.
        (Some(_), None) if auth.reason_code == ReasonCode::Success => Ok(()),
        (Some(agreed), Some(named)) if agreed == named => Ok(()),
        (Some(_), _) => Err(ProtocolError::AuthenticationMethodChanged),
    }
}

fn check_count(expected: usize, actual: usize) -> Result<(), ProtocolError> {
    if expected == actual {
        return Ok(());
    }
    Err(ProtocolError::ReasonCodeCount { expected, actual })
}

fn is_3x(connect: &Connect<Shared>) -> bool {
    connect.version != ProtocolVersion::V5
}

fn unexpected<S: Storage>(packet: &Packet<S>) -> ProtocolError {
    ProtocolError::UnexpectedPacket {
        packet_type: packet.packet_type(),
    }
}
