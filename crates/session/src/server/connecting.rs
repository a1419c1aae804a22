//! From CONNECT to its answer.

use alloc::{boxed::Box, sync::Arc};

use mqttstack_codec::{
    Auth, ConnAck, Connect, Packet, PacketType, Properties, ProtocolVersion, QoS, ReasonCode,
    Sender, Shared, Storage,
};
use mqttstack_limits::{Instant, Limits};

use super::{
    Acceptance, Connected, EndCause, Event, Farewell, NotAccepted, Phase, Session, connack,
};
use crate::{
    ProtocolError,
    authentication::Authentication,
    check::{check_properties, unexpected},
    flow::{Fit, Flow, PeerLimits},
};

/// A CONNECT that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Deciding {
    pub(super) connect: Box<Connect<Shared>>,
    /// When the answer has to be there.
    pub(super) deadline: Instant,
    pub(super) authentication: Authentication,
    /// The AUTH that is to be sent.
    step: Option<Auth<Shared>>,
}

impl Deciding {
    pub(super) fn authenticate(&mut self, auth: Auth<Shared>) {
        if let Some(step) = self.authentication.server_step(auth) {
            self.step = Some(step);
        }
    }

    pub(super) fn poll_packet(&mut self) -> Option<Packet> {
        let step = self.step.take()?;
        self.fit().apply(Packet::Auth(step))
    }

    pub(super) fn has_packet(&self) -> bool {
        self.step.is_some()
    }

    /// Returns what the connection waits for.
    pub(super) fn awaited(&self) -> PacketType {
        if self.authentication.is_peers_turn() {
            PacketType::Auth
        } else {
            PacketType::ConnAck
        }
    }

    /// Returns the CONNACK that refuses, if the version has one that fits.
    ///
    /// # Specification
    ///
    /// v3.1.1 MQTT-3.2.2-6; X311-3.2.2.3-a, X311-3.1.4-b.
    pub(super) fn refusal(&self, connack: ConnAck<Shared>) -> Option<Packet> {
        let expressible = match self.connect.version {
            ProtocolVersion::V5 => true,
            ProtocolVersion::V31 | ProtocolVersion::V311 => {
                connack.reason_code.to_connect_return_code().is_some()
            }
        };
        let connack = expressible.then_some(Packet::ConnAck(connack))?;
        self.fit().apply(connack)
    }

    fn fit(&self) -> Fit {
        connack::fit(&self.connect)
    }
}

impl Session {
    pub(super) fn on_connect<S: Storage>(
        &mut self,
        connect: Connect<S>,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        self.last_received = now;
        let connect = Box::new(connect.to_shared());
        // From here on the answer can be a CONNACK.
        self.phase = Phase::Deciding(Box::new(Deciding {
            authentication: Authentication::at_server(&connect.properties),
            connect: connect.clone(),
            deadline,
            step: None,
        }));
        check_properties(&connect.properties, &self.limits)?;
        if let Some(will) = &connect.will {
            check_properties(&will.properties, &self.limits)?;
        }
        match refusal(&connect, &self.limits) {
            Some(reason) => self.refuse(reason),
            // Before anything is done for it: its session would pay for what cannot be.
            None if !takes_connack(&connect, &self.limits) => {
                let packet_type = PacketType::ConnAck;
                return Err(ProtocolError::ResponseTooLarge { packet_type });
            }
            None => self.events.push_back(Event::ConnectRequested(connect)),
        }
        Ok(())
    }

    /// Only a client that authenticates itself step by step may send something, and only AUTH or
    /// DISCONNECT (v5 MQTT-3.1.2-30).
    pub(super) fn on_deciding_packet<S: Storage>(
        &mut self,
        packet: &Packet<S>,
    ) -> Result<(), ProtocolError> {
        let Phase::Deciding(deciding) = &mut self.phase else {
            return Ok(());
        };
        if let Packet::Auth(auth) = packet {
            check_properties(&auth.properties, &self.limits)?;
            deciding.authentication.on_client_step(auth)?;
            let auth = Box::new(auth.to_shared());
            self.events.push_back(Event::AuthReceived(auth));
            return Ok(());
        }
        if let Packet::Disconnect(disconnect) = packet
            && deciding.authentication.is_agreed()
        {
            self.end(EndCause::ClientDisconnected(disconnect.reason_code), None);
            return Ok(());
        }
        Err(unexpected(packet))
    }

    /// Accepts the CONNECT: queues CONNACK, and behind it what the session has to send.
    ///
    /// A session is resumed only if the acceptance says that it is present and the client did not
    /// ask for a clean start; else it begins empty. A journal that the state keeps goes on.
    ///
    /// # Errors
    ///
    /// [`NotAccepted`] with the state as it was: the client takes only packets smaller than the
    /// CONNACK, and is refused, or no CONNECT waits for its answer, and nothing has changed.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-4, v5 MQTT-3.1.2-5, v5 MQTT-3.1.2-6, v5 MQTT-3.1.4-5, v5 MQTT-3.2.0-1,
    /// v5 MQTT-3.2.2-2, v5 MQTT-3.2.2-3; v3.1.1 MQTT-3.2.2-1.
    pub fn accept(&mut self, mut acceptance: Acceptance, now: Instant) -> Result<(), NotAccepted> {
        let Phase::Deciding(deciding) = &mut self.phase else {
            return Err(NotAccepted::from(acceptance.state));
        };
        let connect = &deciding.connect;
        acceptance.session_present &= !connect.clean_start;
        let terms = connack::Terms::new(connect, &self.limits);
        let Some(connack) = connack::success(connect, &acceptance, &terms, &self.limits) else {
            let packet_type = PacketType::ConnAck;
            self.fail(&ProtocolError::ResponseTooLarge { packet_type });
            return Err(NotAccepted::from(acceptance.state));
        };
        let mut state = acceptance.state;
        if acceptance.session_present {
            state.forget_undecided();
        } else {
            state.clear();
        }
        let flow = Flow::new(
            state,
            connect.version,
            Sender::Server,
            Arc::clone(&self.limits),
            peer_limits(&connect.properties),
            Some(connack),
        );
        deciding.authentication.on_connected();
        self.last_received = now;
        self.phase = Phase::Connected(Connected {
            flow,
            keep_alive: terms.keep_alive,
            requested_expiry: terms.requested_expiry,
            session_expiry: terms.session_expiry,
            authentication: deciding.authentication.clone(),
            // A copy: a slice would keep all of CONNECT for as long as the session lasts.
            will: (deciding.connect.will.take()).map(|will| Box::new(will.as_ref().to_shared())),
        });
        Ok(())
    }

    /// Refuses the CONNECT: queues the CONNACK that says so, if the version has one that fits.
    ///
    /// Does nothing unless a CONNECT waits for its answer.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.2.2-7, v5 MQTT-4.12.0-4, v5 MQTT-4.13.2-1; v3.1.1 MQTT-3.2.2-5.
    pub fn refuse(&mut self, reason: ReasonCode) {
        self.refuse_with(reason, Properties::empty());
    }

    /// Refuses the CONNECT as [`refuse`](Self::refuse) does, with a Reason String, User Properties,
    /// or the Server Reference of another server to use.
    pub fn refuse_with(&mut self, reason: ReasonCode, properties: Properties<Shared>) {
        if matches!(self.phase, Phase::Deciding(_)) {
            let farewell = Farewell { reason, properties };
            self.end(EndCause::Refused(reason), Some(farewell));
        }
    }
}

/// Returns why this CONNECT cannot be accepted whoever sent it.
///
/// # Specification
///
/// v5 MQTT-3.2.2-12, v5 MQTT-3.2.2-13; v3.1.1 MQTT-3.1.3-8, v3.1.1 MQTT-3.1.3-9;
/// V31-clientid-empty.
fn refusal(connect: &Connect<Shared>, limits: &Limits) -> Option<ReasonCode> {
    let id = &connect.client_id;
    let must_name_itself = match connect.version {
        ProtocolVersion::V31 => true,
        ProtocolVersion::V311 => !connect.clean_start,
        ProtocolVersion::V5 => false,
    };
    // 23 bytes are everybody's right (v5 MQTT-3.1.3-5).
    let id_bytes_max = usize::from(limits.client_id_bytes_max.max(23));
    if (id.as_bytes().is_empty() && must_name_itself) || id.as_bytes().len() > id_bytes_max {
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

/// Returns whether the client takes the least CONNACK that can accept it.
fn takes_connack(connect: &Connect<Shared>, limits: &Limits) -> bool {
    let terms = connack::Terms::new(connect, limits);
    connack::success(connect, &Acceptance::default(), &terms, limits).is_some()
}

fn peer_limits(connect: &Properties<Shared>) -> PeerLimits {
    PeerLimits {
        receive_maximum: connect.receive_maximum().map_or(u16::MAX, Into::into),
        packet_size_max: connect.maximum_packet_size().map_or(u32::MAX, Into::into),
        topic_alias_maximum: connect.topic_alias_maximum().unwrap_or(0),
        maximum_qos: QoS::ExactlyOnce,
        retain_available: true,
        problem_information: connect.request_problem_information().unwrap_or(true),
    }
}
