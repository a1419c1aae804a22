//! The broker without threads, sockets, files or clocks: one worker's share of the clients.

mod access;
mod connection;
mod deadlines;
mod delivery;
mod directory;
mod drops;
mod early;
mod echoes;
mod end;
mod endings;
mod exchange;
mod filters;
mod groups;
mod handover;
mod input;
mod intake;
mod journal;
mod keys;
mod known_peer;
mod leavings;
mod letters;
mod locations;
mod match_cache;
mod memory;
mod message;
mod metrics;
mod moves;
mod names;
mod notice;
mod output;
mod peer;
mod publish;
mod questions;
mod rest;
mod restore;
mod routing;
mod session_table;
mod settings;
mod slots;
mod subscribe;
mod takeover;
#[cfg(test)]
mod tests;
mod timers;
mod unread;
mod work;

use std::{collections::VecDeque, fmt, sync::Arc};

use mqttstack_codec::ReasonCode;
use mqttstack_limits::{BrokerLimits, Instant, Limits};
use mqttstack_session::{MessagePool, QueueStatus};
use mqttstack_topic::TopicLimits;

pub use self::{
    access::{
        Access, AllowAll, Answer, AuthRequest, Authentication, Authorization, Client,
        ConnectRequest, PublishRequest, SubscribeRequest, Ticket, WillRequest,
    },
    directory::Directory,
    journal::Durability,
    keys::{ConnectionId, SessionKey, WorkerId},
    letters::Letter,
    memory::MemoryStage,
    message::{HandOver, TakeOver, Target, WorkerMessage},
    metrics::Metrics,
    notice::Notice,
    output::{Drained, Outlet},
    peer::{Peer, PeerCertificate, PeerTls, PeerWebSocket},
    settings::Settings,
};
use self::{
    connection::Connection,
    early::EarlyOutputs,
    echoes::Echoes,
    exchange::Exchanges,
    intake::SpareBuffers,
    journal::Journal,
    known_peer::ListenerNames,
    leavings::Leavings,
    letters::Letters,
    match_cache::MatchCache,
    memory::Memory,
    metrics::{Counts, Status},
    moves::Moves,
    session_table::{Presence, SessionTable},
    slots::Slots,
    timers::Timers,
    work::Work,
};

/// How many messages that are over are kept for new ones: more are seldom under way in one turn. About
/// three quarters of a megabyte.
const MESSAGES_KEPT_MAX: usize = 4_096;

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
    connections: Slots<Connection>,
    connections_made: u32,
    /// How many of its connections have not been accepted.
    pending_connections: u32,
    listeners: ListenerNames,
    sessions: SessionTable,
    /// Sessions on their way between workers.
    moves: Moves,
    /// Sessions that have ended, and are still to be heard of elsewhere.
    echoes: Echoes,
    journal: Journal,
    /// Sessions that must end because they cannot take what they are owed.
    overflowed: VecDeque<SessionKey>,
    leavings: Leavings,
    memory: Memory,
    counts: Arc<Counts>,
    status: Status,
    timers: Timers,
    retained_timer: Instant,
    dirty: VecDeque<ConnectionId>,
    /// What has been encoded before the turn ends.
    early: EarlyOutputs,
    worker_messages: VecDeque<(WorkerId, WorkerMessage)>,
    notices: VecDeque<Notice>,
    is_shutting_down: bool,
    /// Who is being asked to prove who it is, and what is to be known of that.
    exchanges: Exchanges,
    /// Numbers the questions to the program around the broker.
    questions_asked: u32,
    work: Work,
    /// What the busiest topics match.
    match_cache: MatchCache,
    /// Used again for each message.
    hits: Vec<routing::Hit>,
    /// Who gets a message with each of the other workers; used again for each message.
    others: Vec<Vec<Target>>,
    /// What the other workers are sent when the turn is over.
    letters: Letters,
    /// Used again for each message whose topic is not in the cache.
    matches: Vec<match_cache::Matched>,
    /// Used again for each packet.
    scratch: Vec<u8>,
    /// Messages that are over, used again for new ones.
    messages: MessagePool,
    /// Used again for large packets.
    spare_buffers: Arc<SpareBuffers>,
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
            connections: Slots::default(),
            connections_made: 0,
            pending_connections: 0,
            listeners: ListenerNames::default(),
            sessions: SessionTable::new(settings.worker, locations),
            moves: Moves::default(),
            echoes: Echoes::default(),
            journal: Journal::new(settings.durability),
            overflowed: VecDeque::new(),
            leavings: Leavings::default(),
            memory: Memory::new(memory, memory_max),
            counts,
            status: Status::new(settings.status_interval),
            timers: Timers::default(),
            retained_timer: Instant::NEVER,
            dirty: VecDeque::new(),
            early: EarlyOutputs::default(),
            worker_messages: VecDeque::new(),
            notices: VecDeque::new(),
            is_shutting_down: false,
            exchanges: Exchanges::default(),
            questions_asked: 0,
            work: Work::default(),
            match_cache: MatchCache::default(),
            hits: Vec::new(),
            others: Vec::new(),
            letters: Letters::default(),
            matches: Vec::new(),
            scratch: Vec::new(),
            messages: MessagePool::new(MESSAGES_KEPT_MAX),
            spare_buffers: Arc::default(),
        }
    }

    /// A transport has been opened.
    ///
    /// `handle` is what the driver wants to hear from [`poll_dirty`](Self::poll_dirty); `peer` is
    /// what is known of the client; `limits` are those of the listener. `None` means that there is
    /// no room: close the transport. Before that, a driver looks whether it
    /// [`is_crowded`](Self::is_crowded).
    pub fn handle_opened(
        &mut self,
        handle: u64,
        peer: Arc<Peer>,
        limits: Arc<Limits>,
        now: Instant,
    ) -> Option<ConnectionId> {
        let slot = u32::try_from(self.connections.vacant_key()).ok()?;
        let own = self.pending_connections;
        if self.is_shut() || !self.directory.admit(own, &self.limits) {
            return None;
        }
        self.pending_connections = own.saturating_add(1);
        self.connections_made = self.connections_made.wrapping_add(1);
        let generation = self.connections_made;
        self.connections
            .insert(Connection::new(generation, handle, peer, limits, now));
        let id = ConnectionId { slot, generation };
        self.counts.connections_opened.add(1);
        self.settle(id);
        Some(id)
    }

    /// Returns whether [`handle_opened`](Self::handle_opened) has no room whoever gives way: the
    /// memory is used up, or the broker shuts down.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.is_shutting_down || self.memory.stage() == MemoryStage::Full
    }

    /// Returns whether [`handle_opened`](Self::handle_opened) has no room because as many connections
    /// as allowed have not been accepted.
    ///
    /// Whoever opens connections and says nothing must not keep others out: a driver lets the one
    /// that has waited longest give way, with [`handle_displaced`](Self::handle_displaced).
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        let own = self.pending_connections;
        !self.is_shut() && self.directory.is_crowded(own, &self.limits)
    }

    /// The driver has closed the transport of a connection that had not been accepted, to make room
    /// for a newer one.
    pub fn handle_displaced(&mut self, id: ConnectionId, now: Instant) {
        if self.connection(id).is_some() {
            self.counts.connections_displaced.add(1);
        }
        self.handle_closed(id, now);
    }

    /// A connection has been accepted, or has ended before it was.
    fn note_decided(&mut self) {
        self.pending_connections = self.pending_connections.saturating_sub(1);
        self.directory.note_decided();
    }

    /// More has become known of the client, before it has sent anything of MQTT: who it is behind a
    /// proxy, what it showed when it opened TLS or a WebSocket.
    pub fn handle_peer(&mut self, id: ConnectionId, peer: Arc<Peer>) {
        if let Some(connection) = self.connection_mut(id) {
            connection.set_peer(peer);
        }
    }

    /// The transport is gone, or the driver has closed it as it was told to.
    pub fn handle_closed(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.session.handle_closed();
        self.handle_events(id, now);
        if self.connection(id).is_some() {
            // A keep alive may be long: timers must not pile up behind connections.
            self.move_deadline(id, Instant::NEVER);
            self.uncount_connection(id);
            let slot = usize::try_from(id.slot).unwrap_or(usize::MAX);
            let gone = self.connections.remove(slot);
            if let Some(number) = gone.and_then(|connection| connection.early) {
                self.early.take(number, |_| ());
            }
            self.directory.note_closed();
        }
        self.conclude(now);
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
        self.conclude(now);
    }

    /// Another worker has something to say.
    pub fn handle_worker_message(&mut self, message: WorkerMessage, now: Instant) {
        match message {
            WorkerMessage::Deliver(letter) => self.read_letter(letter, now),
            WorkerMessage::TakeOver(request) => self.on_take_over(*request, now),
            WorkerMessage::HandOver(answer) => self.on_hand_over(*answer, now),
            WorkerMessage::Moved { session, from } => self.on_moved(session, from),
            WorkerMessage::Passed { session, worker } => self.on_passed(session, worker, now),
            WorkerMessage::Fence { from } => self.send_letter(from, WorkerMessage::Reached),
            WorkerMessage::Reached => self.on_fence_reached(),
        }
        self.conclude(now);
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
        self.conclude(now);
    }

    /// Returns something for another worker.
    #[must_use]
    pub fn poll_worker_message(&mut self) -> Option<(WorkerId, WorkerMessage)> {
        if self.worker_messages.is_empty() {
            self.finish_letters();
            self.fence_echoes();
        }
        self.worker_messages.pop_front()
    }

    /// Returns something for the log.
    #[must_use]
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
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

    /// Returns what is known of the client of a connection beside what it says.
    #[must_use]
    pub fn peer(&self, id: ConnectionId) -> Option<Arc<Peer>> {
        let connection = self.connection(id)?;
        Some(connection.peer(&self.listeners))
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
            self.move_deadline(id, at);
        }
        if has_work {
            self.mark_dirty(id);
        }
        self.count_connection(id);
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

    /// Returns what the limits of a connection say about topics.
    fn topic_limits(&self, id: ConnectionId) -> TopicLimits {
        self.connection(id)
            .map_or(TopicLimits::DEFAULT, Connection::topic_limits)
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
