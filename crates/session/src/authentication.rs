//! The turns of an authentication exchange, which both roles take with AUTH.

use alloc::boxed::Box;

use mqttstack_codec::{
    Auth, PacketType, Properties, PropertyId, ReasonCode, Shared, Storage, Utf8Bytes,
};

use crate::ProtocolError;

/// Enhanced authentication on one connection: without an Authentication Method in CONNECT there is
/// none, and no AUTH at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Authentication(Option<Box<Agreed>>);

/// The method that CONNECT named, and whose turn it is.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Agreed {
    method: Utf8Bytes,
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
        let agreed = connect.authentication_method().map(|method| Agreed {
            method: Utf8Bytes::from(method),
            turn,
            is_connected: false,
        });
        Self(agreed.map(Box::new))
    }

    /// CONNACK ends the exchange that CONNECT began.
    pub(crate) fn on_connected(&mut self) {
        if let Some(agreed) = &mut self.0 {
            agreed.turn = Turn::Nobody;
            agreed.is_connected = true;
        }
    }

    /// Returns whether AUTH may be exchanged at all.
    pub(crate) const fn is_agreed(&self) -> bool {
        self.0.is_some()
    }

    /// Returns whether this side waits for the peer.
    pub(crate) fn is_peers_turn(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|agreed| agreed.turn == Turn::Peer)
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
        let agreed = self.0.as_ref().map(|agreed| &*agreed.method);
        if connack.authentication_method() == agreed {
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
        let agreed = self.check_method(auth)?;
        agreed.turn = match (agreed.turn, auth.reason_code) {
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
        let agreed = self.check_method(auth)?;
        agreed.turn = match (agreed.turn, auth.reason_code) {
            (Turn::Peer, ReasonCode::ContinueAuthentication) => Turn::Local,
            (Turn::Peer, ReasonCode::Success) if agreed.is_connected => Turn::Nobody,
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
        let agreed = self.0.as_mut()?;
        let reason_code = match (agreed.turn, auth.reason_code) {
            (Turn::Local, ReasonCode::Success) if agreed.is_connected => {
                agreed.turn = Turn::Nobody;
                ReasonCode::Success
            }
            (Turn::Local, _) => {
                agreed.turn = Turn::Peer;
                ReasonCode::ContinueAuthentication
            }
            (Turn::Nobody | Turn::Peer, _) => return None,
        };
        agreed.named(reason_code, auth)
    }

    /// Makes the client's next step of `auth`; `None` if it is not its turn.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.12.0-3, v5 MQTT-4.12.0-7, v5 MQTT-4.12.1-1.
    pub(crate) fn client_step(&mut self, auth: Auth<Shared>) -> Option<Auth<Shared>> {
        let agreed = self.0.as_mut()?;
        let reason_code = match agreed.turn {
            Turn::Local => ReasonCode::ContinueAuthentication,
            Turn::Nobody => ReasonCode::ReAuthenticate,
            Turn::Peer => return None,
        };
        let auth = agreed.named(reason_code, auth)?;
        agreed.turn = Turn::Peer;
        Some(auth)
    }

    fn check_method<S: Storage>(&mut self, auth: &Auth<S>) -> Result<&mut Agreed, ProtocolError> {
        let Some(agreed) = self.0.as_deref_mut() else {
            return Err(ProtocolError::UnexpectedPacket {
                packet_type: PacketType::Auth,
            });
        };
        match auth.properties.authentication_method() {
            // The short form of Success names no method.
            None if auth.reason_code == ReasonCode::Success => Ok(agreed),
            Some(named) if *named == *agreed.method => Ok(agreed),
            None | Some(_) => Err(ProtocolError::AuthenticationMethodChanged),
        }
    }
}

impl Agreed {
    /// Gives the step its code, and the method of the connection.
    fn named(&self, reason_code: ReasonCode, auth: Auth<Shared>) -> Option<Auth<Shared>> {
        let method = &*self.method;
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
}
