//! The end of a connection, and what it leaves behind.

use alloc::boxed::Box;

use mqttstack_codec::{
    ConnAck, Disconnect, Packet, PacketType, Properties, ProtocolVersion, ReasonCode, Sender,
    Shared,
};

use super::{Connected, Deciding, EndCause, Ended, Event, Phase, Session};
use crate::{
    SessionState,
    flow::{Responses, permitted},
};

/// What is left of a connection that is over.
#[derive(Clone, Debug)]
pub(super) struct Remains {
    /// The answers to what came before the end: CONNACK goes ahead of DISCONNECT, however soon the
    /// end has come (v5 MQTT-3.2.0-1, v5 MQTT-3.14.0-1).
    responses: Option<Responses>,
    /// The last packet, if one is still to be sent.
    last: Option<Packet>,
    pub(super) version: ProtocolVersion,
    pub(super) state: Option<SessionState>,
}

/// What the client is told when its connection ends.
pub(super) struct Farewell {
    pub(super) reason: ReasonCode,
    pub(super) properties: Properties<Shared>,
}

impl From<ReasonCode> for Farewell {
    fn from(reason: ReasonCode) -> Self {
        Self {
            reason,
            properties: Properties::empty(),
        }
    }
}

impl Session {
    /// Ends the connection once; `farewell` is what the client is told if it can be told.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.14.0-1: DISCONNECT goes to accepted clients only; others get a CONNACK.
    pub(super) fn end(&mut self, cause: EndCause, farewell: Option<Farewell>) {
        let over = Phase::Ended(Box::new(Remains::nothing()));
        let mut dropped = 0;
        let (remains, will, session_expiry_interval) =
            match core::mem::replace(&mut self.phase, over) {
                ended @ Phase::Ended(_) => {
                    self.phase = ended;
                    return;
                }
                Phase::AwaitConnect { .. } => (Remains::nothing(), None, 0),
                // The will of a CONNECT that was not accepted is never published.
                Phase::Deciding(deciding) => (Remains::of_deciding(&deciding, farewell), None, 0),
                Phase::Connected(mut connected) => {
                    let will = connected.will.take().map(|will| *will);
                    let expiry = connected.session_expiry;
                    dropped = connected.flow.state.queue_status().dropped;
                    (Remains::of_connected(connected, farewell), will, expiry)
                }
            };
        self.phase = Phase::Ended(Box::new(remains));
        self.events.push_back(Event::Ended(Box::new(Ended {
            cause,
            will,
            session_expiry_interval,
            dropped,
        })));
    }
}

impl Remains {
    const fn nothing() -> Self {
        Self {
            responses: None,
            last: None,
            version: ProtocolVersion::V5,
            state: None,
        }
    }

    fn of_deciding(deciding: &Deciding, farewell: Option<Farewell>) -> Self {
        let last = farewell.and_then(|Farewell { reason, properties }| {
            deciding.refusal(ConnAck {
                session_present: false,
                reason_code: permitted(reason, PacketType::ConnAck, Sender::Server),
                properties,
            })
        });
        Self {
            responses: None,
            last,
            version: deciding.connect.version,
            state: None,
        }
    }

    fn of_connected(connected: Connected, farewell: Option<Farewell>) -> Self {
        let fit = connected.flow.fit();
        let last = farewell
            .filter(|_| fit.version == ProtocolVersion::V5)
            .and_then(|Farewell { reason, properties }| {
                fit.apply(Packet::Disconnect(Disconnect {
                    reason_code: fit.code(reason, PacketType::Disconnect),
                    properties,
                }))
            });
        let (state, responses) = connected.flow.into_parts();
        Self {
            responses: Some(responses),
            last,
            version: fit.version,
            state: Some(state),
        }
    }

    /// Answers a CONNECT that could not be read, in a form that its sender can read.
    pub(super) fn answer_with(&mut self, version: ProtocolVersion, packet: Packet) {
        self.version = version;
        self.last = Some(packet);
    }

    pub(super) fn poll_packet(&mut self) -> Option<Packet> {
        let response = self.responses.as_mut().and_then(Responses::pop);
        response.or_else(|| self.last.take())
    }

    pub(super) fn has_packet(&self) -> bool {
        self.last.is_some()
            || (self.responses.as_ref()).is_some_and(|responses| !responses.is_empty())
    }

    /// There is nobody left to send anything to.
    pub(super) fn send_nothing(&mut self) {
        self.responses = None;
        self.last = None;
    }
}
