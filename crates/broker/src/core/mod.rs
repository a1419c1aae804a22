//! The broker without threads, sockets, files or clocks: one worker's share of the clients.

mod access;
mod connection;
mod directory;
mod end;
mod handover;
mod journal;
mod keys;
mod locations;
mod match_cache;
mod memory;
mod message;
mod metrics;
mod moves;
mod notice;
mod peer;
mod publish;
mod questions;
mod restore;
mod session_table;
mod subscribe;
mod takeover;
#[cfg(test)]
mod tests;
mod timers;
mod work;

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use mqttstack_codec::{EncodeError, ReasonCode};
use mqttstack_limits::{BrokerLimits, Instant, Limits};
use mqttstack_session::{Outgoing, QueueStatus, server::Event};
use mqttstack_topic::{CharacterPolicy, TopicLimits};
use slab::Slab;

pub use self::{
    access::{
        Access, AllowAll, Answer, Authentication, Authorization, Client, ConnectRequest,
        PublishRequest, SubscribeRequest, Ticket, WillRequest,
    },
    directory::Directory,
    journal::Durability,
    keys::{ConnectionId, SessionKey, WorkerId},
    memory::MemoryStage,
    message::{HandOver, TakeOver, Target, WorkerMessage},
    metrics::Metrics,
    notice::Notice,
    peer::{Peer, PeerCertificate, PeerTls, PeerWebSocket},
};
use self::{
    connection::{Connection, Step},
    journal::Journal,
    match_cache::MatchCache,
    memory::Memory,
    metrics::{Counts, Status},
    moves::Moves,
    session_table::{Presence, SessionTable},
    timers::{Timer, Timers},
    work::Work,
};

/// What a core is made of.
#[non_exhaustive]
pub struct Settings {
    /// Which of the workers it is.
    pub worker: WorkerId,
    /// What all clients together may use.
    pub limits: BrokerLimits,
    /// What the workers share.
    pub directory: Directory,
    /// Who may do what.
    pub access: Box<dyn Access>,
    /// Gives a number that nobody can guess, for each Client Identifier that the broker chooses.
    pub unguessable: Box<dyn FnMut() -> u128 + Send>,
    /// How often the first worker publishes the state of the broker below `$SYS`, once
    /// [`Core::start_status`] was called; zero is never.
    pub status_interval: Duration,
    /// Whether 3.x clients may say that they are bridges (bit 0x80 of the protocol level), and get
    /// No Local and Retain As Published for it. A claim that anyone can make.
    pub accept_bridges: bool,
    /// When a message counts as safe.
    pub durability: Durability,
}

impl Settings {
    /// Creates the settings of a worker that lets everybody do everything, within the limits that
    /// are the defaults.
    #[must_use]
    pub fn new(
        worker: WorkerId,
        directory: Directory,
        unguessable: impl FnMut() -> u128 + Send + 'static,
    ) -> Self {
        Self {
            worker,
            limits: BrokerLimits::default(),
            directory,
            access: Box::new(AllowAll),
            unguessable: Box::new(unguessable),
            status_interval: Duration::ZERO,
            accept_bridges: false,
            durability: Durability::Memory,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("worker", &self.worker)
            .field("limits", &self.limits)
            .field("accept_bridges", &self.accept_bridges)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

/// Where the core puts encoded packets.
pub trait Outlet {
    /// Returns how many bytes wait there already.
    fn waiting(&self) -> usize;
    /// Returns the buffer to append packets to.
    fn buffer(&mut self) -> &mut BytesMut;
    /// Appends a payload that is shared with others.
    fn append_shared(&mut self, payload: Bytes);
}

/// What [`Core::drain`] came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Drained {
    /// Everything there was is in the outlet.
    Empty,
    /// The outlet is full: call [`Core::handle_writable`] when it has been written.
    Full,
    /// There is more, but the connection has had its turn: call [`Core::drain`] again when the
    /// others have had theirs.
    More,
    /// The connection is over: close the transport when the outlet has been written, and call
    /// [`Core::handle_closed`].
    Close,
}

/// One worker of a broker: its connections, its sessions, and its share of the routing.
///
/// Inputs are the `handle_*` calls. After any of them, drain [`poll_dirty`](Self::poll_dirty)
/// (and [`drain`](Self::drain) each connection it names),
/// [`poll_store_operation`](Self::poll_store_operation) (if it is durable),
/// [`poll_worker_message`](Self::poll_worker_message) and [`poll_notice`](Self::poll_notice), then
/// read [`poll_timeout`](Self::poll_timeout). A driver that collects a turn's worth of inputs first
/// sends everything that a connection gets with one write.
pub struct Core {
    worker: WorkerId,
    limits: BrokerLimits,
    directory: Directory,
    access: Box<dyn Access>,
    unguessable: Box<dyn FnMut() -> u128 + Send>,
    accept_bridges: bool,
    connections: Slab<Connection>,
    connections_made: u32,
    sessions: SessionTable,
    /// Sessions on their way between workers.
    moves: Moves,
    journal: Journal,
    /// Sessions that must end because they cannot take what they are owed.
    overflowed: VecDeque<SessionKey>,
    memory: Memory,
    counts: Arc<Counts>,
    status: Status,
    timers: Timers,
    retained_timer: Instant,
    dirty: VecDeque<ConnectionId>,
    worker_messages: VecDeque<(WorkerId, WorkerMessage)>,
    notices: VecDeque<Notice>,
    is_shutting_down: bool,
    /// Numbers the questions to the program around the broker.
    questions_asked: u32,
    work: Work,
    /// What the busiest topics match.
    match_cache: MatchCache,
    /// Used again for each message.
    hits: Vec<publish::Hit>,
    /// Used again for each message whose topic is not in the cache.
    matches: Vec<match_cache::Matched>,
    /// Used again for each packet.
    scratch: Vec<u8>,
}

impl Core {
    /// Creates a worker without connections.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        settings.directory.add_worker(settings.worker);
        let locations = Arc::clone(&settings.directory.locations);
        let memory = Arc::clone(&settings.directory.memory);
        let memory_max = settings.limits.memory_bytes_max;
        let counts = settings.directory.new_counts();
        Self {
            worker: settings.worker,
            limits: settings.limits,
            directory: settings.directory,
            access: settings.access,
            unguessable: settings.unguessable,
            accept_bridges: settings.accept_bridges,
            connections: Slab::new(),
            connections_made: 0,
            sessions: SessionTable::new(settings.worker, locations),
            moves: Moves::default(),
            journal: Journal::new(settings.durability),
            overflowed: VecDeque::new(),
            memory: Memory::new(memory, memory_max),
            counts,
            status: Status::new(settings.status_interval),
            timers: Timers::default(),
            retained_timer: Instant::NEVER,
            dirty: VecDeque::new(),
            worker_messages: VecDeque::new(),
            notices: VecDeque::new(),
            is_shutting_down: false,
            questions_asked: 0,
            work: Work::default(),
            match_cache: MatchCache::default(),
            hits: Vec::new(),
            matches: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// A transport has been opened.
    ///
    /// `handle` is what the driver wants to hear from [`poll_dirty`](Self::poll_dirty); `peer` is
    /// what is known of the client; `limits` are those of the listener. `None` means that there is
    /// no room: close the transport.
    pub fn handle_opened(
        &mut self,
        handle: u64,
        peer: Arc<Peer>,
        limits: Arc<Limits>,
        now: Instant,
    ) -> Option<ConnectionId> {
        let slot = u32::try_from(self.connections.vacant_key()).ok()?;
        let is_full = self.memory.stage() == MemoryStage::Full;
        if self.is_shutting_down || is_full || !self.directory.admit(&self.limits) {
            return None;
        }
        self.connections_made = self.connections_made.wrapping_add(1);
        let generation = self.connections_made;
        self.connections
            .insert(Connection::new(generation, handle, peer, limits, now));
        let id = ConnectionId { slot, generation };
        self.counts.connections_opened.add(1);
        self.settle(id);
        Some(id)
    }

    /// More has become known of the client, before it has sent anything of MQTT: who it is behind a
    /// proxy, what it showed when it opened TLS or a WebSocket.
    pub fn handle_peer(&mut self, id: ConnectionId, peer: Arc<Peer>) {
        if let Some(connection) = self.connection_mut(id) {
            connection.peer = peer;
        }
    }

    /// Bytes have arrived.
    ///
    /// A driver stops reading while [`is_paused`](Self::is_paused).
    pub fn handle_input(&mut self, id: ConnectionId, input: &[u8], now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        // What follows the end is ignored.
        if connection.session.is_ended() {
            return;
        }
        self.work.begin();
        self.counts.bytes_received.add_len(input.len());
        let mut rest = input;
        while !rest.is_empty() {
            let Some(connection) = self.connection_mut(id) else {
                return;
            };
            if !connection.has_unread() && !connection.is_paused() {
                self.handle_fresh(id, rest, now);
                break;
            }
            // Only what completes the packet, so that it has its buffer to itself.
            let missing = connection.missing().min(rest.len());
            let (first, after) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
            connection.keep(first);
            rest = after;
            self.handle_unread(id, now);
        }
        self.end_hoarding(id, now);
        self.settle(id);
        self.drop_overflowed(now);
    }

    /// The transport is gone, or the driver has closed it as it was told to.
    pub fn handle_closed(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.session.handle_closed();
        self.handle_events(id, now);
        if let Some(connection) = self.connection(id) {
            // A keep alive may be long: its timer must not outlive the connection.
            self.timers
                .cancel(Timer::Connection(id), connection.timer_at);
            self.uncount_connection(id);
            let slot = usize::try_from(id.slot).unwrap_or(usize::MAX);
            self.connections.try_remove(slot);
            self.directory.note_closed();
        }
        self.drop_overflowed(now);
    }

    /// The driver has written what made the outlet full.
    pub fn handle_writable(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.is_blocked = false;
        self.mark_dirty(id);
        self.handle_unread(id, now);
        self.settle(id);
        self.drop_overflowed(now);
    }

    /// Deadlines may have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.resume_waiting(now);
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Connection(id) => self.on_connection_due(id, now),
                Timer::Decision(id) => self.on_decision_due(id, now),
                Timer::Slowed(id) => self.on_slowed_due(id, now),
                Timer::Status => self.on_status_due(now),
                Timer::Will(key) => self.on_will_due(key, now),
                Timer::SessionExpiry(key) => self.on_session_expired(key, now),
                Timer::RetainedExpiry => self.on_retained_expired(now),
            }
            self.drop_overflowed(now);
        }
    }

    /// Another worker has something to say.
    pub fn handle_worker_message(&mut self, message: WorkerMessage, now: Instant) {
        match message {
            WorkerMessage::Deliver {
                from,
                message,
                targets,
                parcel,
            } => {
                for target in targets {
                    self.deliver(&message, target, from, now);
                }
                self.write_taken(parcel);
            }
            WorkerMessage::TakeOver(request) => self.on_take_over(*request, now),
            WorkerMessage::HandOver(answer) => self.on_hand_over(*answer, now),
            WorkerMessage::Moved { session, from } => self.on_moved(session, from),
            WorkerMessage::Passed { session, worker } => self.on_passed(session, worker, now),
        }
        self.drop_overflowed(now);
    }

    /// Ends all connections: MQTT 5.0 clients are told that the server is shutting down. Wills are
    /// not published: nobody would be left to get them.
    pub fn shut_down(&mut self, now: Instant) {
        self.is_shutting_down = true;
        for id in self.connection_ids() {
            if let Some(connection) = self.connection_mut(id) {
                let session = &mut connection.session;
                if session.is_deciding() {
                    // CONNACK knows no 0x8B.
                    session.refuse(ReasonCode::ServerUnavailable);
                } else {
                    session.disconnect(ReasonCode::ServerShuttingDown);
                }
                self.handle_events(id, now);
                self.settle(id);
            }
        }
    }

    /// Returns the handle of a connection that may have something to send, with its name.
    #[must_use]
    pub fn poll_dirty(&mut self) -> Option<(ConnectionId, u64)> {
        loop {
            let id = self.dirty.pop_front()?;
            if let Some(connection) = self.connection_mut(id) {
                connection.is_dirty = false;
                return Some((id, connection.handle));
            }
        }
    }

    /// Encodes what a connection has to send, as far as there is room. The search for retained
    /// messages is the only work here that its output does not bound: of that, a call does a turn's
    /// worth.
    pub fn drain(&mut self, id: ConnectionId, now: Instant, outlet: &mut impl Outlet) -> Drained {
        if let Some(connection) = self.connection_mut(id) {
            connection.begin_turn();
        }
        let before = outlet.waiting();
        let drained = self.drain_some(id, now, outlet);
        let sent = outlet.waiting().saturating_sub(before);
        self.counts.bytes_sent.add_len(sent);
        self.count_connection(id);
        if let Some(connection) = self.connection(id)
            && let Some(key) = connection.key
        {
            let dropped = connection.session.queue_status().dropped;
            self.note_drops(key, dropped, now);
        }
        drained
    }

    fn drain_some(&mut self, id: ConnectionId, now: Instant, outlet: &mut impl Outlet) -> Drained {
        if self.holds_output(id) {
            return Drained::Empty;
        }
        loop {
            match self.encode_packets(id, now, outlet) {
                Drained::Empty => {}
                ended @ (Drained::Full | Drained::More | Drained::Close) => return ended,
            }
            if self.send_more_retained(id, now) || self.read_on(id, now) {
                continue;
            }
            let had_its_turn = self.connection(id).is_some_and(Connection::had_its_turn);
            return if had_its_turn && self.owes_retained(id) {
                Drained::More
            } else {
                Drained::Empty
            };
        }
    }

    /// Handles what had to wait until the answers were out; returns whether there are more answers.
    fn read_on(&mut self, id: ConnectionId, now: Instant) -> bool {
        self.work.begin();
        self.handle_unread(id, now);
        self.connection(id)
            .is_some_and(|connection| connection.session.has_packet())
    }

    /// Returns something for another worker.
    #[must_use]
    pub fn poll_worker_message(&mut self) -> Option<(WorkerId, WorkerMessage)> {
        self.worker_messages.pop_front()
    }

    /// Returns something for the log.
    #[must_use]
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = self.timers.next();
        self.work
            .due()
            .map_or(next, |due| Some(next.map_or(due, |next| next.min(due))))
    }

    /// Returns whether a connection wants no input now: it waits for the answer to its CONNECT, or
    /// for too many other answers.
    #[must_use]
    pub fn is_paused(&self, id: ConnectionId) -> bool {
        self.connection(id).is_none_or(Connection::is_paused)
    }

    /// Returns whether a client has been let in.
    #[must_use]
    pub fn is_accepted(&self, id: ConnectionId) -> bool {
        self.connection(id)
            .is_some_and(|connection| connection.key.is_some())
    }

    /// Returns whether a connection is over: it is to be closed once its last packet is out.
    #[must_use]
    pub fn is_over(&self, id: ConnectionId) -> bool {
        self.connection(id)
            .is_none_or(|connection| connection.session.is_ended())
    }

    /// Returns whether a connection is over because its client said so: once its last packet is out
    /// it may be closed at once, without waiting for the client's end.
    #[must_use]
    pub fn has_left(&self, id: ConnectionId) -> bool {
        self.connection(id)
            .is_some_and(|connection| connection.has_left)
    }

    /// Returns how many connections are open.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Returns how many sessions this worker owns, connected or not.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Returns how much waits for a client, and how much is in flight to it; `None` if this worker
    /// owns no session of that name.
    #[must_use]
    pub fn queue_status(&self, client_id: &str) -> Option<QueueStatus> {
        let entry = self.sessions.get(self.directory.find(client_id)?)?;
        match &entry.presence {
            Presence::Connected(id) => Some(self.connection(*id)?.session.queue_status()),
            Presence::Absent(absent) => Some(absent.state.queue_status()),
        }
    }

    /// Returns what the workers share.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Handles bytes straight from the driver's buffer.
    fn handle_fresh(&mut self, id: ConnectionId, input: &[u8], now: Instant) {
        let mut rest = input;
        while !rest.is_empty() {
            let Some(connection) = self.connection_mut(id) else {
                return;
            };
            if connection.session.is_ended() {
                return;
            }
            if connection.is_paused() {
                connection.keep(rest);
                return;
            }
            self.work.count(1);
            if self.ends_share(id, now) {
                continue;
            }
            let Some(connection) = self.connection_mut(id) else {
                return;
            };
            match connection.step(rest, now) {
                Step::Handled(len) => {
                    self.counts.packets_received.add(1);
                    rest = rest.get(len..).unwrap_or_default();
                }
                Step::Wanted(wanted) => {
                    connection.keep(rest);
                    connection.want(wanted, now);
                    return;
                }
                Step::Failed => rest = &[],
            }
            self.handle_events(id, now);
        }
    }

    /// Handles bytes that were kept.
    fn handle_unread(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        if connection.is_paused() {
            return;
        }
        let Some(mut rest) = connection.take_unread() else {
            return;
        };
        while !rest.is_empty() {
            let Some(connection) = self.connection_mut(id) else {
                return;
            };
            if connection.session.is_ended() {
                return;
            }
            if connection.is_paused() {
                connection.keep(&rest);
                return;
            }
            self.work.count(1);
            if self.ends_share(id, now) {
                continue;
            }
            let Some(connection) = self.connection_mut(id) else {
                return;
            };
            match connection.step_shared(&rest, now) {
                Step::Handled(len) => {
                    self.counts.packets_received.add(1);
                    rest = rest.slice(len.min(rest.len())..);
                }
                Step::Wanted(wanted) => {
                    connection.keep(&rest);
                    connection.want(wanted, now);
                    return;
                }
                Step::Failed => return self.handle_events(id, now),
            }
            self.handle_events(id, now);
        }
    }

    /// Reacts to what the session of a connection reports.
    fn handle_events(&mut self, id: ConnectionId, now: Instant) {
        while let Some(connection) = self.connection_mut(id) {
            let Some(event) = connection.session.poll_event() else {
                return;
            };
            match event {
                Event::MessageReceived { message, packet_id } => {
                    self.on_message(id, message, packet_id, now);
                }
                Event::SubscribeRequested(subscribe) => self.on_subscribe(id, subscribe, now),
                Event::UnsubscribeRequested(unsubscribe) => self.on_unsubscribe(id, &unsubscribe),
                Event::ConnectRequested(connect) => self.on_connect(id, connect, now),
                Event::Ended(ended) => self.on_ended(id, *ended, now),
                // No exchange of several steps is supported, neither at CONNECT nor afterwards.
                Event::AuthReceived(_) => {
                    let session = &mut connection.session;
                    if session.is_deciding() {
                        session.refuse(ReasonCode::BadAuthenticationMethod);
                    } else {
                        session.disconnect(ReasonCode::NotAuthorized);
                    }
                }
                // The list of events is open; what is not known here asks for nothing.
                _ => {}
            }
        }
    }

    /// After a change: puts the connection among those with something to send, and its deadline
    /// among the timers.
    fn settle(&mut self, id: ConnectionId) {
        if self.journal.is_kept()
            && let Some(key) = self.connection(id).and_then(|connection| connection.key)
        {
            self.write_down(key);
        }
        let owes_retained = self.owes_retained(id);
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let has_work =
            connection.session.has_packet() || connection.session.is_ended() || owes_retained;
        let at = connection.session.poll_timeout().unwrap_or(Instant::NEVER);
        let at = at.min(connection.packet_deadline());
        // A deadline that has moved back rings early and is put off then.
        if at < connection.timer_at {
            let before = std::mem::replace(&mut connection.timer_at, at);
            self.timers.cancel(Timer::Connection(id), before);
            self.timers.schedule(Timer::Connection(id), at);
        }
        if has_work {
            self.mark_dirty(id);
        }
        self.count_connection(id);
    }

    fn on_connection_due(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.timer_at = Instant::NEVER;
        // The session reports the end as an event.
        let _ = connection.session.handle_timeout(now);
        if connection.packet_deadline() <= now {
            connection.session.handle_packet_timeout();
        }
        self.handle_events(id, now);
        self.settle(id);
    }

    fn on_retained_expired(&mut self, now: Instant) {
        /// How many messages are removed at once.
        const SLICE: usize = 1_000;
        let mut retained = self.directory.retained.write();
        let mut before = retained.counted_bytes();
        retained.expire(now, SLICE);
        let (after, next) = (retained.counted_bytes(), retained.next_deadline());
        drop(retained);
        self.memory.recount(&mut before, after);
        self.retained_timer = Instant::NEVER;
        self.schedule_retained_expiry(next);
    }

    fn schedule_retained_expiry(&mut self, at: Option<Instant>) {
        let Some(at) = at.filter(|at| *at < self.retained_timer) else {
            return;
        };
        self.timers
            .cancel(Timer::RetainedExpiry, self.retained_timer);
        self.timers.schedule(Timer::RetainedExpiry, at);
        self.retained_timer = at;
    }

    fn encode_packets(
        &mut self,
        id: ConnectionId,
        now: Instant,
        outlet: &mut impl Outlet,
    ) -> Drained {
        let mut scratch = std::mem::take(&mut self.scratch);
        let Some(connection) = self.connection_mut(id) else {
            self.scratch = scratch;
            return Drained::Empty;
        };
        let version = connection
            .session
            .version()
            .unwrap_or(mqttstack_codec::ProtocolVersion::V5);
        // An outlet that is always full would never take anything.
        let full = usize::try_from(connection.limits.output_bytes_max.max(1)).unwrap_or(usize::MAX);
        let mut failed: Option<EncodeError> = None;
        let (mut packets, mut publishes): (u64, u64) = (0, 0);
        while outlet.waiting() < full || connection.session.is_ended() {
            let Some(packet) = connection.session.poll_packet(now) else {
                break;
            };
            packets = packets.saturating_add(1);
            let is_publish = matches!(packet, Outgoing::Publish(_));
            publishes = publishes.saturating_add(u64::from(is_publish));
            match packet.encode(version, &mut scratch, outlet.buffer()) {
                Ok(Some(payload)) => outlet.append_shared(payload.clone()),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        let is_ended = connection.session.is_ended();
        let key = connection.key;
        // A connection that is over is not blocked: nothing more is read from it.
        let is_full = !is_ended && outlet.waiting() >= full;
        connection.is_blocked = is_full;
        self.scratch = scratch;
        if let Some(key) = key {
            self.write_down(key);
        }
        self.counts.packets_sent.add(packets);
        self.counts.publishes_sent.add(publishes);
        debug_assert!(
            failed.is_none(),
            "a packet of ours does not encode: {failed:?}"
        );
        match (is_ended, is_full) {
            (true, _) => Drained::Close,
            (false, true) => Drained::Full,
            (false, false) => Drained::Empty,
        }
    }

    fn mark_dirty(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        // Where the output is full there is nothing to do until it has been written.
        let is_stuck = connection.is_blocked && !connection.session.is_ended();
        if !connection.is_dirty && !is_stuck {
            connection.is_dirty = true;
            self.dirty.push_back(id);
        }
    }

    fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        connection::find(&self.connections, id)
    }

    fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let slot = usize::try_from(id.slot).ok()?;
        self.connections
            .get_mut(slot)
            .filter(|connection| connection.generation == id.generation)
    }

    fn connection_ids(&self) -> Vec<ConnectionId> {
        let name = |(slot, connection): (usize, &Connection)| ConnectionId {
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            generation: connection.generation,
        };
        self.connections.iter().map(name).collect()
    }

    /// Returns the connection of a session whose client is here.
    fn connection_of(&self, key: SessionKey) -> Option<ConnectionId> {
        match self.sessions.get(key)?.presence {
            Presence::Connected(id) => Some(id),
            Presence::Absent(_) => None,
        }
    }

    /// Returns what the limits say about topics.
    fn topic_limits(&self, id: ConnectionId) -> TopicLimits {
        let limits = self.connection(id).map(|connection| &connection.limits);
        TopicLimits {
            levels_max: limits.map_or(TopicLimits::DEFAULT.levels_max, |it| it.topic_levels_max),
            bytes_max: u16::MAX,
            // The codec has seen to it.
            characters: CharacterPolicy::Accept,
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("worker", &self.worker)
            .field("connections", &self.connections.len())
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}
