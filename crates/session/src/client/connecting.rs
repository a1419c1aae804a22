//! From CONNECT to CONNACK.

use alloc::{boxed::Box, collections::VecDeque, sync::Arc};

use mqttstack_codec::{
    Auth, ConnAck, Connect, Packet, Properties, PropertyId, ProtocolVersion, ReasonCode, Sender,
    Shared, Storage,
};
use mqttstack_limits::{Instant, Limits, PROTOCOL_PACKET_SIZE_MAX};

use super::{
    Connected, EndCause, Event, LostSession, Outcome, Phase, ServerCapabilities, Session,
    connected::Terms,
};
use crate::{
    ProtocolError, SessionState,
    authentication::Authentication,
    check::{check_properties, unexpected},
    flow::{Flow, PeerLimits},
};

/// A connection whose CONNECT waits for the CONNACK.
#[derive(Clone, Debug)]
pub(super) struct Connecting {
    pub(super) state: SessionState,
    pub(super) version: ProtocolVersion,
    clean_start: bool,
    keep_alive: u16,
    pub(super) terms: Terms,
    authentication: Authentication,
    /// CONNECT, then steps of authentication.
    outgoing: VecDeque<Packet>,
    /// When something was handed out last: CONNECT, once it has a value.
    pub(super) last_sent: Option<Instant>,
    /// When the CONNACK has to be there.
    pub(super) deadline: Instant,
}

impl Connecting {
    pub(super) fn authenticate(&mut self, auth: Auth<Shared>) {
        if let Some(step) = self.authentication.client_step(auth) {
            self.outgoing.push_back(Packet::Auth(step));
        }
    }

    pub(super) fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        let packet = self.outgoing.pop_front()?;
        self.last_sent = Some(now);
        Some(packet)
    }

    pub(super) fn has_packet(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Returns whether the server resumes the session that this side has.
    fn is_resumed(&self, connack: &ConnAck<Shared>, begun: bool) -> bool {
        match self.version {
            // A 3.1 server does not say: whoever did not ask for a clean session goes on with it
            // (V31-connack, V31-reconnect).
            ProtocolVersion::V31 => begun && !self.clean_start,
            ProtocolVersion::V311 | ProtocolVersion::V5 => {
                connack.session_present && !self.clean_start
            }
        }
    }
}

impl Session {
    /// Queues CONNECT on a transport that has just been opened.
    ///
    /// What the limits say replaces Receive Maximum, Maximum Packet Size and Topic Alias Maximum in
    /// the properties. In 3.x there are no properties, and in 3.1.1 an empty Client Identifier
    /// implies a clean session. Does nothing while there is a connection.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.0-1; v3.1.1 MQTT-3.1.0-1, v3.1.1 MQTT-3.1.3-7; BRG-bit.
    pub fn connect(&mut self, mut connect: Connect<Shared>, now: Instant) {
        let state = match core::mem::replace(&mut self.phase, Phase::nothing()) {
            Phase::Offline(state) => *state,
            Phase::Closing { state, .. } => *state,
            phase @ (Phase::Connecting(_) | Phase::Connected(_)) => {
                self.phase = phase;
                return;
            }
        };
        match connect.version {
            ProtocolVersion::V5 => {
                connect.properties = announce(&connect.properties, &self.settings.limits);
            }
            ProtocolVersion::V311 => {
                connect.properties = Properties::empty();
                connect.clean_start |= connect.client_id.as_bytes().is_empty();
            }
            ProtocolVersion::V31 => connect.properties = Properties::empty(),
        }
        self.phase = Phase::Connecting(Box::new(Connecting {
            state,
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            terms: Terms::new(&connect.properties),
            authentication: Authentication::at_client(&connect.properties),
            outgoing: [Packet::Connect(connect)].into(),
            last_sent: None,
            deadline: now + self.settings.limits.connect_timeout,
        }));
    }

    pub(super) fn on_connecting_packet<S: Storage>(
        &mut self,
        packet: Packet<S>,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let Phase::Connecting(connecting) = &mut self.phase else {
            return Ok(());
        };
        let limits = &self.settings.limits;
        if let Packet::ConnAck(connack) = packet {
            check_properties(&connack.properties, limits)?;
            return self.on_connack(connack.to_shared(), now);
        }
        if let Packet::Auth(auth) = &packet {
            check_properties(&auth.properties, limits)?;
            connecting
                .terms
                .check_silence(&auth.properties, packet.packet_type())?;
            connecting.authentication.on_server_step(auth)?;
            let auth = Box::new(auth.to_shared());
            self.events.push_back(Event::AuthReceived(auth));
            return Ok(());
        }
        Err(unexpected(&packet))
    }

    /// # Specification
    ///
    /// v5 MQTT-3.2.2-4, v5 MQTT-3.2.2-5, v5 MQTT-3.2.2-21, v5 MQTT-4.13.2-1; X311-3.2.2.2-a.
    fn on_connack(&mut self, connack: ConnAck<Shared>, now: Instant) -> Result<(), ProtocolError> {
        let Phase::Connecting(connecting) = &mut self.phase else {
            return Ok(());
        };
        if connack.reason_code != ReasonCode::Success {
            self.end(EndCause::Refused(Box::new(connack)), None);
            return Ok(());
        }
        connecting
            .authentication
            .check_connack(&connack.properties)?;
        let expected = self.begun && !connecting.clean_start;
        // A 3.x client may go on with a session that it has forgotten.
        let is_v5 = connecting.version == ProtocolVersion::V5;
        if is_v5 && connack.session_present && !expected {
            return Err(ProtocolError::SessionPresentWithoutState);
        }
        if !connecting.is_resumed(&connack, self.begun) {
            self.sessions_begun = self.sessions_begun.saturating_add(1);
            let resend = self.settings.lost_session == LostSession::Resend;
            for token in connecting.state.session_lost(resend) {
                // The server had taken these over.
                let outcome = Outcome::Acknowledged {
                    reason_code: ReasonCode::Success,
                    properties: Properties::empty(),
                };
                self.events.push_back(Event::Completed { token, outcome });
            }
        }
        // A clean session of 3.1 ends with its connection, and nobody says so later.
        self.begun = connecting.version != ProtocolVersion::V31 || !connecting.clean_start;
        connecting.authentication.on_connected();
        let server = ServerCapabilities::from_connack(&connack);
        let state = core::mem::take(&mut connecting.state);
        let connected = Connected {
            flow: Flow::new(
                state,
                connecting.version,
                Sender::Client,
                Arc::clone(&self.settings.limits),
                peer_limits(&server),
                None,
            ),
            keep_alive: connack
                .properties
                .server_keep_alive()
                .unwrap_or(connecting.keep_alive),
            last_sent: connecting.last_sent.unwrap_or(now),
            ping_deadline: None,
            ping_waits: false,
            authentication: connecting.authentication.clone(),
            terms: connecting.terms,
            server,
        };
        self.phase = Phase::Connected(Box::new(connected));
        self.collect_undelivered();
        self.events.push_back(Event::Connected(Box::new(connack)));
        Ok(())
    }
}

/// Puts what the limits say into the properties of CONNECT.
fn announce(properties: &Properties<Shared>, limits: &Limits) -> Properties<Shared> {
    let others = properties.without(&[
        PropertyId::ReceiveMaximum,
        PropertyId::MaximumPacketSize,
        PropertyId::TopicAliasMaximum,
    ]);
    let mut builder = Properties::builder();
    if limits.receive_maximum != u16::MAX {
        builder = builder.receive_maximum(limits.receive_maximum.max(1));
    }
    if limits.packet_size_max < PROTOCOL_PACKET_SIZE_MAX {
        builder = builder.maximum_packet_size(limits.packet_size_max.max(1));
    }
    if limits.topic_alias_maximum > 0 {
        builder = builder.topic_alias_maximum(limits.topic_alias_maximum);
    }
    // Both parts are valid and do not overlap.
    builder
        .properties(others.iter())
        .build()
        .unwrap_or_default()
}

fn peer_limits(server: &ServerCapabilities) -> PeerLimits {
    PeerLimits {
        receive_maximum: server.receive_maximum,
        packet_size_max: server.packet_size_max,
        topic_alias_maximum: server.topic_alias_maximum,
        maximum_qos: server.maximum_qos,
        retain_available: server.retain_available,
        // A server is free to be told.
        problem_information: true,
    }
}
