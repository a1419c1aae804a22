//! The end of a connection, and what it leaves behind.

use alloc::boxed::Box;

use mqttstack_codec::{
    ConnAck, Disconnect, Packet, PacketType, Properties, ProtocolVersion, ReasonCode, Sender,
    Shared,
};

use super::{Connected, Deciding, EndCause, Ended, Event, Phase, Session};
use crate::{SessionState, flow::permitted};

/// What is left of a connection that is over.
#[derive(Clone, Debug)]
pub(super) struct Remains {
    /// The last packet, if one is still to be sent.
    pub(super) last: Option<Packet>,
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
                    (Remains::of_connected(*connected, farewell), will, expiry)
                }
            };
        self.phase = Phase::Ended(Box::new(remains));
        self.events.push_back(Event::Ended(Box::new(Ended {
            cause,
            will,
            session_expiry_interval,
        })));
    }
}

impl Remains {
    const fn nothing() -> Self {
        Self {
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
        Self {
            last,
            version: fit.version,
            state: Some(connected.flow.into_state()),
        }
    }
}
