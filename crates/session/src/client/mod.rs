//! The client's side of a connection and its session.

mod connected;
mod connecting;
mod event;
mod request;
mod settings;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, sync::Arc};

use mqttstack_codec::{
    Auth, DecodeError, Delivery, Disconnect, Packet, PacketId, PacketType, Properties,
    ProtocolVersion, ReasonCode, Sender, Shared, Storage,
};
use mqttstack_limits::Instant;

use self::{connected::Connected, connecting::Connecting};
pub use self::{
    event::{EndCause, Event, Outcome},
    request::RequestError,
    settings::{LostSession, ServerCapabilities, Settings},
};
use crate::{
    DeliveryOptions, Message, Outgoing, ProtocolError, PublishError, PublishToken, QueueStatus,
    SessionState, SubscriptionIds,
    flow::{Fit, permitted},
    journal::{Operation, OperationSequence},
    short_queue::ShortQueue,
};

/// A client's session, and the connection it is on at the moment.
///
/// The session outlives its connections: [`connect`](Self::connect) may be called again after
/// [`Event::Ended`]. Messages that are handed over while there is no connection wait (QoS 1 and 2).
/// After each `handle_*` and each verb, drain [`poll_event`](Self::poll_event) and
/// [`poll_packet`](Self::poll_packet) to `None`, then read [`poll_timeout`](Self::poll_timeout).
/// A QoS 0 message is reported as sent when it is handed out, so drain the events once more after
/// the packets. After an `Err`, drain once more: the DISCONNECT that carries the reason is waiting
/// there.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Settings,
    phase: Phase,
    events: ShortQueue<Event>,
    /// Whether a server has ever accepted this session.
    begun: bool,
    sessions_begun: u64,
}

#[derive(Clone, Debug)]
enum Phase {
    Offline(Box<SessionState>),
    /// CONNECT is to be sent or has been sent.
    Connecting(Box<Connecting>),
    Connected(Box<Connected>),
    /// Over, but for a last packet.
    Closing {
        last: Option<Box<Packet>>,
        state: Box<SessionState>,
    },
}

impl Phase {
    /// Stands in while a phase changes.
    fn nothing() -> Self {
        Self::Offline(Box::default())
    }
}

impl Session {
    /// Returns a session that has not begun: an MQTT 5.0 server that claims to have one is left.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.2.2-4.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with_state(settings, SessionState::new(), false)
    }

    /// Returns a session that goes on with the state of an earlier one.
    ///
    /// With an empty state this takes up whatever the server has kept for this Client Identifier, be
    /// it from a connection whose CONNACK never arrived.
    #[must_use]
    pub fn resume(settings: Settings, mut state: SessionState) -> Self {
        state.forget_undecided();
        Self::with_state(settings, state, true)
    }

    fn with_state(settings: Settings, mut state: SessionState, begun: bool) -> Self {
        state.outbound.track();
        Self {
            settings,
            phase: Phase::Offline(Box::new(state)),
            events: ShortQueue::new(),
            begun,
            sessions_begun: 0,
        }
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
    ///
    /// # Specification
    ///
    /// v5 U-05, v5 U-07; v3.1.1 MQTT-3.1.2-23.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let result = match &mut self.phase {
            Phase::Connecting(connecting) if connecting.deadline <= now => {
                Err(ProtocolError::ConnectTimeout {
                    awaited: PacketType::ConnAck,
                })
            }
            Phase::Connected(connected) => {
                connected.handle_timeout(now, self.settings.ping_timeout)
            }
            Phase::Connecting(_) | Phase::Offline(_) | Phase::Closing { .. } => Ok(()),
        };
        result.inspect_err(|error| self.fail(error))
    }

    /// Bytes have come from the server, be it only a part of a packet, or have gone to it: the time
    /// that the answer to a ping may take begins anew.
    ///
    /// The answer is behind what the server has sent before, and the ping itself behind what this
    /// side has: on a slow network both may take much longer than [`Settings::ping_timeout`]. Without
    /// these calls that time counts from when PINGREQ is queued.
    ///
    /// # Specification
    ///
    /// v5 U-07: what a reasonable time is, is for the client to say.
    pub fn handle_progress(&mut self, now: Instant) {
        if let Phase::Connected(connected) = &mut self.phase {
            connected.handle_progress(now, self.settings.ping_timeout);
        }
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
            group: None,
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

    /// Acknowledges a received QoS 1 or 2 message; acknowledgements leave in the order of the
    /// messages, whatever the order of the calls.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.6.0-2, v5 MQTT-4.6.0-3; v3.1.1 MQTT-4.6.0-2, v3.1.1 MQTT-4.6.0-3.
    pub fn acknowledge(&mut self, packet_id: PacketId, reason: ReasonCode) {
        self.acknowledge_with(packet_id, reason, Properties::empty());
    }

    /// Acknowledges a received message as [`acknowledge`](Self::acknowledge) does, and explains the
    /// decision with a Reason String or User Properties.
    pub fn acknowledge_with(
        &mut self,
        packet_id: PacketId,
        reason: ReasonCode,
        properties: Properties<Shared>,
    ) {
        match &mut self.phase {
            Phase::Connected(connected) => {
                connected.flow.acknowledge(packet_id, reason, properties);
            }
            Phase::Offline(_) | Phase::Connecting(_) | Phase::Closing { .. } => {
                self.state_mut().acknowledge(packet_id, reason);
            }
        }
    }

    /// Returns how many sessions have begun: it counts up when the server has none to resume.
    #[must_use]
    pub const fn sessions_begun(&self) -> u64 {
        self.sessions_begun
    }

    /// Sends a step of an authentication exchange, or starts a new one (Re-authenticate).
    ///
    /// The code and the Authentication Method are those of the step. Does nothing if CONNECT named
    /// no method, or if it is the server's turn.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.12.0-3, v5 MQTT-4.12.0-5, v5 MQTT-4.12.0-7, v5 MQTT-4.12.1-1.
    pub fn authenticate(&mut self, auth: Auth<Shared>) {
        match &mut self.phase {
            Phase::Connecting(connecting) => connecting.authenticate(auth),
            Phase::Connected(connected) => connected.authenticate(auth),
            Phase::Offline(_) | Phase::Closing { .. } => {}
        }
    }

    /// Ends the connection in good order. What waits in the queue stays there.
    ///
    /// What the server would refuse is left out: a Session Expiry Interval where CONNECT had none,
    /// properties and codes in 3.x, explanations beyond the server's Maximum Packet Size. If CONNECT
    /// has not been sent, nothing is.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.14.4-1, v5 U-06; v3.1.1 MQTT-3.14.4-2; V31-wait.
    pub fn disconnect(&mut self, disconnect: Disconnect<Shared>) {
        let last = self.farewell(disconnect);
        self.end(EndCause::ClientDisconnected, last);
    }

    /// Returns the next packet to send.
    #[must_use]
    pub fn poll_packet(&mut self, now: Instant) -> Option<Outgoing> {
        match &mut self.phase {
            Phase::Connecting(connecting) => connecting.poll_packet(now).map(Outgoing::Packet),
            Phase::Connected(connected) => {
                let packet = connected.flow.poll_packet(now);
                if let Some(packet) = &packet {
                    connected.last_sent = now;
                    connected.ping_waits &= !is_ping(packet);
                }
                if let Some(Outgoing::Publish(publish)) = &packet
                    && publish.delivery() == Delivery::AtMostOnce
                {
                    let token = publish.token();
                    self.events.push_back(Event::Completed {
                        token,
                        outcome: Outcome::Sent,
                    });
                }
                self.collect_undelivered();
                packet
            }
            Phase::Closing { last, .. } => last.take().map(|packet| Outgoing::Packet(*packet)),
            Phase::Offline(_) => None,
        }
    }

    /// Returns whether [`poll_packet`](Self::poll_packet) may have something.
    #[must_use]
    pub fn has_packet(&self) -> bool {
        match &self.phase {
            Phase::Connecting(connecting) => connecting.has_packet(),
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

    /// Returns how many received messages wait for their acknowledgement.
    #[must_use]
    pub fn owed_acknowledgements(&self) -> usize {
        match &self.phase {
            Phase::Connected(connected) => connected.flow.owed_acknowledgements(),
            Phase::Offline(_) | Phase::Connecting(_) | Phase::Closing { .. } => 0,
        }
    }

    /// Takes the state of the session out, to store it or to resume it elsewhere; the connection,
    /// if there is one, ends without a word.
    #[must_use]
    pub fn detach(mut self) -> SessionState {
        self.end(EndCause::TransportClosed, None);
        let mut state = core::mem::take(self.state_mut());
        state.outbound.untrack();
        state
    }

    /// The store has made everything up to `sequence` durable: what waited for it may be sent.
    pub fn handle_stored(&mut self, sequence: OperationSequence) {
        match &mut self.phase {
            Phase::Connected(connected) => connected.flow.handle_stored(sequence),
            Phase::Offline(_) | Phase::Connecting(_) | Phase::Closing { .. } => {
                self.state_mut().handle_stored(sequence);
            }
        }
    }

    /// Returns the next change of the session for the store, with its place; none unless the session
    /// was [resumed](Self::resume) with a state that keeps a [journal](crate::journal). Drain this
    /// also after `poll_packet`, which moves messages into flight.
    #[must_use]
    pub fn poll_operation(&mut self) -> Option<(OperationSequence, Operation)> {
        self.state_mut().poll_operation()
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

    /// Turns what the queue gave up into events.
    fn collect_undelivered(&mut self) {
        while let Some((token, why)) = self.state_mut().outbound.poll_undelivered() {
            self.events.push_back(Event::Completed {
                token,
                outcome: Outcome::Undelivered(why),
            });
        }
    }

    /// Only MQTT 5.0 tells the server what it did wrong.
    fn fail(&mut self, error: &ProtocolError) {
        let version = match &self.phase {
            Phase::Connecting(connecting) => Some(connecting.version),
            Phase::Connected(connected) => Some(connected.flow.version()),
            Phase::Offline(_) | Phase::Closing { .. } => None,
        };
        let last = (version == Some(ProtocolVersion::V5))
            .then(|| self.farewell(Disconnect::new(error.reason_code())))
            .flatten();
        self.end(EndCause::Protocol(error.clone()), last);
    }

    /// Makes the last packet of the connection, if one may be sent.
    fn farewell(&self, disconnect: Disconnect<Shared>) -> Option<Box<Packet>> {
        let (fit, disconnect) = match &self.phase {
            // A 3.1 client says nothing between CONNECT and CONNACK.
            Phase::Connecting(connecting)
                if connecting.last_sent.is_some() && connecting.version != ProtocolVersion::V31 =>
            {
                let fit = Fit {
                    version: connecting.version,
                    sender: Sender::Client,
                    packet_size_max: u32::MAX,
                    problem_information: true,
                };
                (fit, connecting.terms.apply(disconnect))
            }
            Phase::Connected(connected) => {
                (connected.flow.fit(), connected.terms.apply(disconnect))
            }
            Phase::Connecting(_) | Phase::Offline(_) | Phase::Closing { .. } => return None,
        };
        let reason = match fit.version {
            ProtocolVersion::V5 => disconnect.reason_code,
            ProtocolVersion::V31 | ProtocolVersion::V311 => ReasonCode::Success,
        };
        let disconnect = Packet::Disconnect(Disconnect {
            reason_code: permitted(reason, PacketType::Disconnect, Sender::Client),
            properties: disconnect.properties,
        });
        fit.apply(disconnect).map(Box::new)
    }

    /// Ends the connection once.
    fn end(&mut self, cause: EndCause, last: Option<Box<Packet>>) {
        let phase = core::mem::replace(&mut self.phase, Phase::nothing());
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
        self.phase = Phase::Closing {
            last,
            state: Box::new(state),
        };
        self.collect_undelivered();
        self.events.push_back(Event::Ended(cause));
    }
}

const fn is_ping(outgoing: &Outgoing) -> bool {
    matches!(outgoing, Outgoing::Packet(Packet::PingReq))
}
