//! Exchanges of several steps that prove who a client is: enhanced authentication, when it connects and
//! whenever it likes afterwards.

use std::collections::BTreeMap;

use bytes::Bytes;
use mqttstack_codec::{Auth, Properties, ReasonCode, Shared};
use mqttstack_limits::Instant;

use super::{
    Core,
    access::{AuthRequest, Authentication},
    connection::find,
    keys::ConnectionId,
    questions::About,
};

/// What is to be known at the next step, by connection: few are in the middle of an exchange, so the
/// others have no room for it.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    notes: BTreeMap<ConnectionId, Bytes>,
}

impl Exchanges {
    /// Returns how many bytes are to be known of a connection.
    pub(super) fn note_bytes(&self, id: ConnectionId) -> usize {
        self.notes.get(&id).map_or(0, Bytes::len)
    }

    /// A connection has ended.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        if !self.notes.is_empty() {
            self.notes.remove(&id);
        }
    }
}

impl Core {
    /// A client has taken a step. Whether it was its turn, and the method is that of its CONNECT, the
    /// session has checked.
    pub(super) fn on_auth(&mut self, id: ConnectionId, auth: &Auth<Shared>, now: Instant) {
        let note = self.exchanges.notes.remove(&id).unwrap_or_default();
        let ticket = self.next_ticket(id);
        let Some(connection) = find(&self.connections, id) else {
            return;
        };
        let peer = connection.peer(&self.listeners);
        let entry = connection.key.and_then(|key| self.sessions.get(key));
        let admission = connection.admission.as_deref();
        let client_id = match (entry, admission) {
            (Some(entry), _) => &*entry.client_id,
            (None, Some(admission)) => &*admission.client_id,
            (None, None) => return,
        };
        let is_connected = entry.is_some();
        let answer = self.access.authenticate_step(&AuthRequest {
            auth,
            client_id,
            identity: entry.and_then(|entry| entry.identity.as_deref()),
            is_connected,
            note: &note,
            peer: &peer,
            ticket,
        });
        match (answer, is_connected) {
            (Authentication::Deferred, true) => self.await_answer(id, About::AuthAgain, 1, now),
            (Authentication::Deferred, false) => self.await_answer(id, About::Connect, 1, now),
            (answer, true) => self.on_authenticated_again(id, answer),
            (answer, false) => self.on_authentication(id, answer, now),
        }
    }

    /// Asks a client that is not connected yet for another step.
    pub(super) fn ask_client(&mut self, id: ConnectionId, data: &[u8], note: Bytes, now: Instant) {
        let connection = self.connection(id);
        let admission = connection.and_then(|connection| connection.admission.as_deref());
        let properties = admission.map(|admission| &admission.connect.properties);
        if properties.is_some_and(|it| it.authentication_method().is_some()) {
            self.exchanges.notes.insert(id, note);
            self.send_step(id, ReasonCode::ContinueAuthentication, Some(data));
        } else {
            // It has no method by which it could answer.
            self.refuse(id, ReasonCode::NotAuthorized, now);
        }
    }

    /// It is known what came of a step of a connected client.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.12.1-1, v5 MQTT-4.12.1-2.
    pub(super) fn on_authenticated_again(&mut self, id: ConnectionId, answer: Authentication) {
        let (identity, data) = match answer {
            Authentication::Accept { identity } => (identity, None),
            Authentication::AcceptWith { identity, data } => (identity, Some(data)),
            Authentication::Continue { data, note } => {
                self.exchanges.notes.insert(id, note);
                self.send_step(id, ReasonCode::ContinueAuthentication, Some(&data));
                return;
            }
            Authentication::Refuse(reason) => return self.dismiss(id, reason),
            Authentication::Deferred => return,
        };
        let key = self.connection(id).and_then(|connection| connection.key);
        let entry = key.and_then(|key| self.sessions.get(key));
        // Its session is bound to who it was.
        if entry.is_some_and(|entry| entry.identity == identity) {
            self.send_step(id, ReasonCode::Success, data.as_deref());
        } else {
            self.dismiss(id, ReasonCode::NotAuthorized);
        }
    }

    fn send_step(&mut self, id: ConnectionId, reason_code: ReasonCode, data: Option<&[u8]>) {
        if let Some(connection) = self.connection_mut(id) {
            connection.session.authenticate(Auth {
                reason_code,
                properties: with_data(data),
            });
        }
        self.settle(id);
    }

    fn dismiss(&mut self, id: ConnectionId, reason: ReasonCode) {
        if let Some(connection) = self.connection_mut(id) {
            connection.session.disconnect(reason);
        }
        self.settle(id);
    }
}

/// Returns the properties that carry Authentication Data. What is longer than such a field can be
/// is left out: the client finds that it was told too little.
pub(super) fn with_data(data: Option<&[u8]>) -> Properties<Shared> {
    let Some(data) = data else {
        return Properties::empty();
    };
    let built = Properties::builder().authentication_data(data).build();
    built.unwrap_or_default()
}
