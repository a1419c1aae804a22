//! The turns of an authentication exchange, which both roles take with AUTH.

use mqttstack_codec::{
    Auth, PacketType, Properties, PropertyId, ReasonCode, Shared, Storage, Utf8Bytes,
};

use crate::ProtocolError;

/// Enhanced authentication on one connection: its method, and whose turn it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Authentication {
    /// The Authentication Method of CONNECT; without one there is no AUTH at all.
    method: Option<Utf8Bytes>,
    turn: Turn,
    /// Whether CONNACK has been exchanged.
    is_connected: bool,
}

/// Who has to say something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// No exchange is going on.
    Nobody,
    /// This side.
    Local,
    /// The peer.
    Peer,
}

impl Authentication {
    /// Begins at a server that has received CONNECT: it is its turn.
    pub(crate) fn at_server(connect: &Properties<Shared>) -> Self {
        Self::new(connect, Turn::Local)
    }

    /// Begins at a client that sends CONNECT: it is the server's turn.
    pub(crate) fn at_client(connect: &Properties<Shared>) -> Self {
        Self::new(connect, Turn::Peer)
    }

    fn new(connect: &Properties<Shared>, turn: Turn) -> Self {
        Self {
            method: connect.authentication_method().map(Utf8Bytes::from),
            turn,
            is_connected: false,
        }
    }

    /// CONNACK ends the exchange that CONNECT began.
    pub(crate) fn on_connected(&mut self) {
        self.turn = Turn::Nobody;
        self.is_connected = true;
    }

    /// Returns whether AUTH may be exchanged at all.
    pub(crate) const fn is_agreed(&self) -> bool {
        self.method.is_some()
    }

    /// Returns whether this side waits for the peer.
    pub(crate) fn is_peers_turn(&self) -> bool {
        self.turn == Turn::Peer
    }

    /// Checks the method that a CONNACK of success names.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.12.0-5, v5 MQTT-4.12.0-6.
    pub(crate) fn check_connack<S: Storage>(
        &self,
        connack: &Properties<S>,
    ) -> Result<(), ProtocolError> {
        if connack.authentication_method() == self.method.as_deref() {
            return Ok(());
        }
        Err(ProtocolError::AuthenticationMethodChanged)
    }

    /// Takes a step of the client, at a server: it answers, or starts over once it is connected.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.12.0-3, v5 MQTT-4.12.0-7, v5 MQTT-4.12.1-1; v5 U-27.
    pub(crate) fn on_client_step<S: Storage>(
        &mut self,
        auth: &Auth<S>,
    ) -> Result<(), ProtocolError> {
        self.check_method(auth)?;
        self.turn = match (self.turn, auth.reason_code) {
            (Turn::Peer, ReasonCode::ContinueAuthentication)
            | (Turn::Nobody, ReasonCode::ReAuthenticate) => Turn::Local,
            _ => return Err(ProtocolError::AuthenticationOutOfOrder),
        };
        Ok(())
    }

    /// Takes a step of the server, at a client: it asks for more, or ends a re-authentication.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.12.0-2, v5 MQTT-4.12.0-5; v5 U-27.
    pub(crate) fn on_server_step<S: Storage>(
        &mut self,
        auth: &Auth<S>,
    ) -> Result<(), ProtocolError> {
        self.check_method(auth)?;
        self.turn = match (self.turn, auth.reason_code) {
            (Turn::Peer, ReasonCode::ContinueAuthentication) => Turn::Local,
            (Turn::Peer, ReasonCode::Success) if self.is_connected => Turn::Nobody,
            _ => return Err(ProtocolError::AuthenticationOutOfOrder),
        };
        Ok(())
    }

    /// Makes the server's next step of `auth`; `None` if it is not its turn.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.12.0-2, v5 MQTT-4.12.0-6.
    pub(crate) fn server_step(&mut self, auth: Auth<Shared>) -> Option<Auth<Shared>> {
        let reason_code = match (self.turn, auth.reason_code) {
            (Turn::Local, ReasonCode::Success) if self.is_connected => {
                self.turn = Turn::Nobody;
                ReasonCode::Success
            }
            (Turn::Local, _) => {
                self.turn = Turn::Peer;
                ReasonCode::ContinueAuthentication
            }
            (Turn::Nobody | Turn::Peer, _) => return None,
        };
        self.named(reason_code, auth)
    }

    /// Makes the client's next step of `auth`; `None` if it is not its turn.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.12.0-3, v5 MQTT-4.12.0-7, v5 MQTT-4.12.1-1.
    pub(crate) fn client_step(&mut self, auth: Auth<Shared>) -> Option<Auth<Shared>> {
        let reason_code = match self.turn {
            Turn::Local => ReasonCode::ContinueAuthentication,
            Turn::Nobody => ReasonCode::ReAuthenticate,
            Turn::Peer => return None,
        };
        let auth = self.named(reason_code, auth)?;
        self.turn = Turn::Peer;
        Some(auth)
    }

    /// Gives the step its code, and the method of the connection.
    fn named(&self, reason_code: ReasonCode, auth: Auth<Shared>) -> Option<Auth<Shared>> {
        let method = self.method.as_deref()?;
        if auth.properties.authentication_method() == Some(method) {
            return Some(Auth {
                reason_code,
                ..auth
            });
        }
        let others = auth.properties.without(&[PropertyId::AuthenticationMethod]);
        let properties = Properties::builder()
            .authentication_method(method)
            .properties(others.iter())
            .build()
            .ok()?;
        Some(Auth {
            reason_code,
            properties,
        })
    }

    fn check_method<S: Storage>(&self, auth: &Auth<S>) -> Result<(), ProtocolError> {
        match (
            self.method.as_deref(),
            auth.properties.authentication_method(),
        ) {
            (None, _) => Err(ProtocolError::UnexpectedPacket {
                packet_type: PacketType::Auth,
            }),
            // The short form of Success names no method.
            (Some(_), None) if auth.reason_code == ReasonCode::Success => Ok(()),
            (Some(agreed), Some(named)) if agreed == named => Ok(()),
            (Some(_), _) => Err(ProtocolError::AuthenticationMethodChanged),
        }
    }
}
