//! From CONNECT to CONNACK: authentication, the session of the client, acceptance.

use mqttstack_codec::{Connect, ReasonCode, Shared, Utf8Bytes};
use mqttstack_limits::Instant;
use mqttstack_session::{
    SessionState,
    fault::{self, Fault},
    server::{Acceptance, NotAccepted},
};
use mqttstack_topic::{TopicLimits, TopicName};

use super::{
    Core,
    access::{Authentication, Authorization, Client, ConnectRequest, WillRequest},
    connection::{Admission, find, find_mut},
    directory::Lookup,
    exchange::with_data,
    keys::{ConnectionId, SessionKey},
    memory::MemoryStage,
    message::TakeOver,
    notice::Notice,
    questions::About,
    session_table::{Absent, Entry, Presence},
};

impl Core {
    /// A client wants to be let in.
    pub(super) fn on_connect(
        &mut self,
        id: ConnectionId,
        connect: Box<Connect<Shared>>,
        now: Instant,
    ) {
        if connect.bridge && !self.accept_bridges {
            return self.refuse(id, ReasonCode::UnsupportedProtocolVersion, now);
        }
        let Some(peer) = self.peer(id) else { return };
        let request = ConnectRequest {
            connect: &connect,
            peer: &peer,
            ticket: self.next_ticket(id),
        };
        let answer = self.access.authenticate(&request);
        let client_id = connect.client_id.as_str().into();
        if let Some(connection) = self.connection_mut(id) {
            connection.admission = Some(Box::new(Admission {
                connect,
                identity: None,
                client_id,
                is_assigned: false,
                authentication_data: None,
            }));
        }
        if answer == Authentication::Deferred {
            return self.await_answer(id, About::Connect, 1, now);
        }
        self.on_authentication(id, answer, now);
    }

    /// It is known who the client is, or that it is not let in.
    pub(super) fn on_authentication(
        &mut self,
        id: ConnectionId,
        answer: Authentication,
        now: Instant,
    ) {
        let (identity, data) = match answer {
            Authentication::Accept { identity } => (identity, None),
            Authentication::AcceptWith { identity, data } => (identity, Some(data)),
            Authentication::Continue { data, note } => {
                return self.ask_client(id, &data, note, now);
            }
            Authentication::Refuse(reason) => return self.refuse(id, reason, now),
            Authentication::Deferred => return,
        };
        let topic_limits = self.topic_limits(id);
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let Some(admission) = &mut connection.admission else {
            return;
        };
        admission.identity = identity;
        admission.authentication_data = data;
        if admission.client_id.is_empty() {
            let number = (self.unguessable)();
            let Some(connection) = self.connection_mut(id) else {
                return;
            };
            let Some(admission) = &mut connection.admission else {
                return;
            };
            admission.client_id = format!("auto-{number:032x}").into();
            admission.is_assigned = true;
        }
        match self.authorize_will(id, topic_limits) {
            Authorization::Allow => self.find_session(id, now),
            Authorization::Deny(reason) => self.refuse(id, reason, now),
            Authorization::Deferred => self.await_answer(id, About::Will, 1, now),
        }
    }

    /// A will has to be publishable by the one who leaves it.
    fn authorize_will(&mut self, id: ConnectionId, limits: TopicLimits) -> Authorization {
        let ticket = self.next_ticket(id);
        let Some(connection) = find(&self.connections, id) else {
            return Authorization::Allow;
        };
        let Some(admission) = connection.admission.as_deref() else {
            return Authorization::Allow;
        };
        let Some(will) = &admission.connect.will else {
            return Authorization::Allow;
        };
        if TopicName::with_limits(&will.topic, limits).is_err() {
            return Authorization::Deny(ReasonCode::TopicNameInvalid);
        }
        if super::publish::is_server_topic(&*will.topic) {
            return Authorization::Deny(ReasonCode::NotAuthorized);
        }
        let client = Client {
            client_id: &admission.client_id,
            identity: admission.identity.as_deref(),
        };
        self.access.authorize_will(&WillRequest {
            client,
            will,
            ticket,
        })
    }

    /// Finds the session of the client, or begins one.
    pub(super) fn find_session(&mut self, id: ConnectionId, now: Instant) {
        // A session that ends with its older connection is gone at the second look.
        if !self.look_for_session(id, now) && !self.look_for_session(id, now) {
            self.refuse(id, ReasonCode::ServerBusy, now);
        }
    }

    /// Looks for the session of the client: here, with another worker, or nowhere. Returns whether
    /// that settled it.
    fn look_for_session(&mut self, id: ConnectionId, now: Instant) -> bool {
        let Some(admission) = self.connection(id).and_then(|it| it.admission.as_deref()) else {
            return true;
        };
        let client_id = admission.client_id.clone();
        let identity = admission.identity.clone();
        let clean_start = admission.connect.clean_start;
        // A client that has a session is let in: it frees what waits for it.
        let sessions_max = match self.memory.stage() {
            MemoryStage::Refusing | MemoryStage::Full => 0,
            MemoryStage::Calm | MemoryStage::Shedding | MemoryStage::Slowing => {
                self.limits.sessions_max
            }
        };
        // What is under way from here stays ahead of what is sent from here.
        self.give_up_name(&client_id, None);
        let found = self
            .directory
            .find_or_enter(&client_id, sessions_max, self.worker);
        match found {
            Lookup::Full => self.refuse(id, ReasonCode::QuotaExceeded, now),
            Lookup::Entered(key) => {
                let presence = Presence::Connected(id);
                let name = self.directory.name_of(&client_id);
                self.sessions
                    .insert(Entry::new(key, name, identity, presence));
                self.count_session(key);
                self.begin(id, key, now);
            }
            Lookup::Found(key, worker)
                if worker == self.worker && self.sessions.get(key).is_some() =>
            {
                return self.take_up(id, key, identity.as_deref(), clean_start, now);
            }
            Lookup::Found(key, worker) => {
                let request = TakeOver {
                    from: self.worker,
                    connection: id,
                    session: key,
                    client_id,
                    identity,
                    clean_start,
                };
                self.ask_for_session(worker, request, now);
            }
        }
        true
    }

    /// The session is here: ends its present connection, then goes on with it. Returns `false` if
    /// there is nothing to go on with: the session ended with its connection, or is not wanted.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.4-3, v5 MQTT-3.1.2-4, v5 MQTT-3.1.2-5, v5 MQTT-3.1.3-9;
    /// v3.1.1 MQTT-3.1.4-2, v3.1.1 MQTT-3.1.2-4, v3.1.1 MQTT-3.1.2-6.
    fn take_up(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        identity: Option<&str>,
        clean_start: bool,
        now: Instant,
    ) -> bool {
        if !self.may_take_over(key, identity) {
            self.refuse(id, ReasonCode::NotAuthorized, now);
            return true;
        }
        if fault::is_on(Fault::TwoOwners) && self.absent_mut(key).is_none() {
            self.begin(id, key, now);
            return true;
        }
        self.end_taken_over(key, now);
        if clean_start && !fault::is_on(Fault::ResumeCleanStart) {
            self.end_absent(key, now);
        }
        self.resume(id, key, now)
    }

    /// Nobody of another identity takes a session over.
    pub(super) fn may_take_over(&self, key: SessionKey, identity: Option<&str>) -> bool {
        self.sessions
            .get(key)
            .is_none_or(|entry| entry.identity.as_deref() == identity)
    }

    /// Lets a client in on a session that has just been entered for it.
    fn begin(&mut self, id: ConnectionId, key: SessionKey, now: Instant) {
        if self
            .accept(id, key, SessionState::new(), false, now)
            .is_err()
        {
            self.remove_session(key, now);
        }
    }

    /// Lets a client in on its session, and cancels the will and expiry of that; a client that does
    /// not take the answer changes nothing. Returns whether there is such a session without a client.
    pub(super) fn resume(&mut self, id: ConnectionId, key: SessionKey, now: Instant) -> bool {
        let Some(state) = self.absent_mut(key).map(|it| std::mem::take(&mut it.state)) else {
            return false;
        };
        match self.accept(id, key, state, true, now) {
            Ok(()) => self.note_present(key, id, now),
            Err(NotAccepted { state }) => {
                if let Some(absent) = self.absent_mut(key) {
                    absent.state = *state;
                }
            }
        }
        true
    }

    fn absent_mut(&mut self, key: SessionKey) -> Option<&mut Absent> {
        match &mut self.sessions.get_mut(key)?.presence {
            Presence::Absent(absent) => Some(absent),
            Presence::Connected(_) => None,
        }
    }

    /// The client of a session is back: nothing that was planned for its absence happens.
    fn note_present(&mut self, key: SessionKey, id: ConnectionId, now: Instant) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let before = std::mem::replace(&mut entry.presence, Presence::Connected(id));
        if entry.filters.shared_count > 0 {
            self.directory.set_member_absent(key, false);
        }
        if let Presence::Absent(absent) = before {
            self.cancel_timers(key, &absent);
            if fault::is_on(Fault::WillAfterReturn)
                && let Some((will, _)) = absent.will
            {
                let message = self.will_message(key, &will, now);
                self.publish_will(key, message, now);
            }
        }
        self.write_down(key);
        self.overlook_drops(key);
        self.count_session(key);
    }

    /// Answers a CONNECT that is let in.
    fn accept(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        mut state: SessionState,
        session_present: bool,
        now: Instant,
    ) -> Result<(), NotAccepted> {
        let is_arriving = self.moves.is_arriving(key);
        let is_durable = self.journal.is_kept();
        let Some(connection) = find_mut(&mut self.connections, id) else {
            return Err(NotAccepted::from(state));
        };
        let lasts = is_durable && connection.session.session_expiry_interval() > 0;
        if lasts {
            state.keep_journal();
        }
        let Some(admission) = connection.admission.take() else {
            return Err(NotAccepted::from(state));
        };
        let acceptance = Acceptance {
            state,
            session_present,
            assigned_client_id: admission
                .is_assigned
                .then(|| Utf8Bytes::from(&*admission.client_id)),
            properties: with_data(admission.authentication_data.as_deref()),
        };
        connection.session.accept(acceptance, now)?;
        if !lasts {
            connection.session.drop_journal();
        }
        connection.key = Some(key);
        connection.is_moving |= is_arriving;
        let peer = connection.peer(&self.listeners);
        connection.pack_peer(&mut self.listeners);
        if let Some(entry) = self.sessions.get_mut(key) {
            entry.is_bridge = admission.connect.bridge;
        }
        if let Some(entry) = self.sessions.get(key) {
            self.access
                .on_connect(&entry.client(), &peer, session_present);
        }
        self.write_connected(id, key, lasts);
        self.note_decided();
        self.counts.connects_accepted.add(1);
        self.overlook_drops(key);
        self.notices.push_back(Notice::Connected {
            peer,
            client_id: admission.client_id,
            version: admission.connect.version,
            session_present,
        });
        self.settle(id);
        Ok(())
    }
}
