//! The event loop: many clients in one thread.

use std::{collections::VecDeque, fmt::Display, io, net::SocketAddr, time::Duration};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use mqttstack_codec::{
    Ack, Borrowed, ConnAck, Decoder, Delivery, Packet, PacketRef, ProtocolVersion, Sender as From,
};

use super::{
    client::{Client, Phase, Written},
    clock::Clock,
    ledger::{Fault, Ledger},
    receiver::Acknowledged,
    sampler::Sampler,
    wire::{self, AckType},
};

/// How long a client is silent before it says that it is still there, in nanoseconds.
pub(super) const PING_INTERVAL: u64 = 30_000_000_000;
/// How often it is looked at who is silent.
const PING_LOOK: u64 = 1_000_000_000;
/// How many clients connect at the same time.
const CONNECTING_MAX: usize = 200;
const READ_BYTES: usize = 256 * 1024;
/// How often one client reads before the others have their turn.
const READS_PER_TURN: usize = 8;
const EVENTS_PER_TURN: usize = 1024;
/// How long the loop sleeps at most.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// Sleeping is not exact: what is due this soon is waited for awake.
const AWAKE: u64 = 1_500_000;
/// A run in which nothing moves for so long has come to its end.
const STALLED: u64 = 10_000_000_000;

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("cannot connect to {broker}: {error}")]
    Connect {
        broker: SocketAddr,
        error: io::Error,
    },
    #[error("{broker} refuses clients: {reason}")]
    Refused { broker: SocketAddr, reason: String },
    #[error("cannot wait for sockets: {0}")]
    Poll(io::Error),
    #[error("time is up: {doing} did not end ({progress}); --timeout allows more")]
    TimedOut {
        doing: &'static str,
        progress: String,
    },
    #[error("{doing} stopped making progress ({progress})")]
    Stalled {
        doing: &'static str,
        progress: String,
    },
}

/// How waiting ended, if not by an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub(super) enum Waited {
    /// With what was waited for.
    Done,
    /// Nothing moved any more.
    Stalled,
}

/// All clients and what they share.
pub(super) struct Engine {
    pub(super) clock: Clock,
    pub(super) ledger: Ledger,
    pub(super) clients: Vec<Client>,
    pub(super) sampler: Sampler,
    /// Clients that have become ready since somebody looked.
    pub(super) ready: Vec<usize>,
    /// Clients whose connection has ended since somebody looked.
    pub(super) gone: Vec<usize>,
    /// How many are ready.
    pub(super) ready_count: usize,
    /// Answers to messages.
    acknowledged: u64,
    version: ProtocolVersion,
    broker: SocketAddr,
    poll: Poll,
    waiting: VecDeque<usize>,
    connecting: usize,
    dirty: Vec<usize>,
    /// Senders that may have room.
    pumps: Vec<usize>,
    /// Clients with more to read than one turn allows.
    unread: Vec<usize>,
    buffer: Box<[u8]>,
    deadline: u64,
    pinged_at: u64,
    /// Whether senders with a schedule send.
    is_scheduled: bool,
    /// Why the broker turned a client away.
    refusal: Option<String>,
}

impl Engine {
    pub(super) fn new(
        version: ProtocolVersion,
        broker: SocketAddr,
        ledger: Ledger,
        sampler: Sampler,
        timeout: Duration,
    ) -> Result<Self, RunError> {
        let clock = Clock::start();
        Ok(Self {
            clock,
            ledger,
            clients: Vec::new(),
            sampler,
            ready: Vec::new(),
            gone: Vec::new(),
            ready_count: 0,
            acknowledged: 0,
            version,
            broker,
            poll: Poll::new().map_err(RunError::Poll)?,
            waiting: VecDeque::new(),
            connecting: 0,
            dirty: Vec::new(),
            pumps: Vec::new(),
            unread: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
            deadline: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
            pinged_at: 0,
            is_scheduled: false,
            refusal: None,
        })
    }

    /// Adds a client that is not connected yet.
    pub(super) fn add(&mut self, client: Client) -> usize {
        self.clients.push(client);
        self.clients.len() - 1
    }

    /// Has a client connect when it is its turn.
    pub(super) fn connect(&mut self, id: usize) {
        self.waiting.push_back(id);
    }

    /// Has a client say good-bye.
    pub(super) fn leave(&mut self, id: usize) {
        let client = &mut self.clients[id];
        if client.phase == Phase::Closed {
            return;
        }
        if client.phase == Phase::Ready {
            self.ready_count -= 1;
        }
        client.phase = Phase::Leaving;
        client.output.extend_from_slice(&wire::DISCONNECT);
        self.mark_dirty(id);
    }

    /// Has all senders begin.
    pub(super) fn start_senders(&mut self) {
        self.is_scheduled = true;
        let now = self.clock.nanos();
        for id in 0..self.clients.len() {
            if let Some(sender) = &mut self.clients[id].sender {
                sender.start(now);
                self.queue_pump(id);
            }
        }
    }

    /// Has all senders finish what they have begun, and nothing more.
    pub(super) fn stop_senders(&mut self) {
        for client in &mut self.clients {
            if let Some(sender) = &mut client.sender {
                sender.left = 0;
            }
        }
    }

    /// Returns how many messages have been sent.
    pub(super) fn sent(&self) -> u64 {
        self.senders().map(|sender| sender.sent).sum()
    }

    /// Returns how many deliveries are to come.
    pub(super) fn outstanding(&self) -> u64 {
        self.senders().map(|sender| sender.outstanding).sum()
    }

    /// Returns how many messages have been sent, but not acknowledged to the end.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.senders().map(super::sender::Sender::in_flight).sum()
    }

    /// Whether every message has been sent, acknowledged and delivered.
    pub(super) fn is_delivered(&self) -> bool {
        self.senders()
            .all(|sender| sender.is_done() && sender.outstanding == 0)
    }

    pub(super) fn take_latencies(&mut self) -> Histogram<u64> {
        let taken = self.ledger.latencies.clone();
        self.ledger.latencies.reset();
        taken
    }

    fn senders(&self) -> impl Iterator<Item = &super::sender::Sender> {
        self.clients
            .iter()
            .filter_map(|client| client.sender.as_deref())
    }

    /// Runs until the condition holds, which is looked at after each turn.
    pub(super) fn run_until(
        &mut self,
        doing: &'static str,
        mut is_done: impl FnMut(&mut Self) -> bool,
    ) -> Result<Waited, RunError> {
        let mut progress = (0, self.clock.nanos());
        loop {
            if is_done(self) {
                return Ok(Waited::Done);
            }
            self.turn()?;
            if let Some(reason) = self.refusal.take() {
                let broker = self.broker;
                return Err(RunError::Refused { broker, reason });
            }
            let now = self.clock.nanos();
            let moved = self.moved();
            if moved != progress.0 {
                progress = (moved, now);
            }
            if now > self.deadline {
                return Err(RunError::TimedOut {
                    doing,
                    progress: self.progress(),
                });
            }
            if now > progress.1 + STALLED {
                return Ok(Waited::Stalled);
            }
        }
    }

    /// As [`run_until`](Self::run_until), where standing still is a failure.
    pub(super) fn require(
        &mut self,
        doing: &'static str,
        is_done: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), RunError> {
        match self.run_until(doing, is_done)? {
            Waited::Done => Ok(()),
            Waited::Stalled => Err(self.stalled(doing)),
        }
    }

    pub(super) fn stalled(&self, doing: &'static str) -> RunError {
        RunError::Stalled {
            doing,
            progress: self.progress(),
        }
    }

    /// Connects clients and waits until all are ready.
    pub(super) fn connect_all(
        &mut self,
        ids: impl IntoIterator<Item = usize>,
    ) -> Result<(), RunError> {
        self.ready.clear();
        let before = self.waiting.len();
        self.waiting.extend(ids);
        let count = self.waiting.len() - before;
        self.require("connecting", |engine| engine.ready.len() >= count)?;
        self.ready.clear();
        Ok(())
    }

    /// Disconnects clients and waits until all are gone.
    pub(super) fn leave_all(
        &mut self,
        ids: impl IntoIterator<Item = usize>,
    ) -> Result<(), RunError> {
        self.gone.clear();
        let mut count = 0;
        for id in ids {
            if self.clients[id].phase != Phase::Closed {
                count += 1;
                self.leave(id);
            }
        }
        self.require("disconnecting", |engine| engine.gone.len() >= count)?;
        self.gone.clear();
        Ok(())
    }

    fn moved(&self) -> u64 {
        // Which of them moves does not matter.
        self.ledger.delivered
            + self.acknowledged
            + self.sent()
            + self.ready.len() as u64
            + self.gone.len() as u64
    }

    fn progress(&self) -> String {
        format!(
            "{} clients ready, {} messages sent, {} deliveries, {} to come",
            self.ready_count,
            self.sent(),
            self.ledger.delivered,
            self.outstanding()
        )
    }

    /// Waits for sockets, handles what there is, and sends what came of it.
    pub(super) fn turn(&mut self) -> Result<(), RunError> {
        self.connect_some()?;
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        match self.poll.poll(&mut events, Some(self.time_to_sleep())) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(RunError::Poll(error));
            }
            Ok(()) | Err(_) => {}
        }
        let unread = std::mem::take(&mut self.unread);
        for id in unread {
            self.read(id);
        }
        for event in &events {
            let Token(id) = event.token();
            if self.clients[id].phase == Phase::Connecting {
                self.on_connected(id)?;
            }
            if event.is_writable() {
                self.mark_dirty(id);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.read(id);
            }
        }
        let now = self.clock.nanos();
        if self.is_scheduled {
            self.queue_due(now);
        }
        self.pump(now);
        self.flush(now);
        self.ping(now);
        let delivered = self.ledger.delivered;
        if self.sampler.is_due(now) {
            let sent = self.sent();
            self.sampler.sample(now, sent, delivered, self.ready_count);
        }
        Ok(())
    }

    fn time_to_sleep(&self) -> Duration {
        if !self.unread.is_empty() || !self.pumps.is_empty() || !self.dirty.is_empty() {
            return Duration::ZERO;
        }
        if !self.is_scheduled {
            return SLEEP_MAX;
        }
        let due = self.senders().filter_map(super::sender::Sender::due).min();
        match due {
            Some(due) => {
                let left = due.saturating_sub(self.clock.nanos());
                Duration::from_nanos(left.saturating_sub(AWAKE)).min(SLEEP_MAX)
            }
            None => SLEEP_MAX,
        }
    }

    fn connect_some(&mut self) -> Result<(), RunError> {
        while self.connecting < CONNECTING_MAX {
            let Some(id) = self.waiting.pop_front() else {
                return Ok(());
            };
            let broker = self.broker;
            let failed = |error| RunError::Connect { broker, error };
            let socket = self.clients[id].connect(broker).map_err(failed)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(socket, Token(id), interest)
                .map_err(RunError::Poll)?;
            self.connecting += 1;
        }
        Ok(())
    }

    fn on_connected(&mut self, id: usize) -> Result<(), RunError> {
        let client = &mut self.clients[id];
        match client.is_connected() {
            Ok(true) => {
                client.phase = Phase::Greeting;
                client.output.extend_from_slice(&client.greeting);
                self.mark_dirty(id);
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => Err(RunError::Connect {
                broker: self.broker,
                error,
            }),
        }
    }

    fn mark_dirty(&mut self, id: usize) {
        let client = &mut self.clients[id];
        if !client.output.is_empty() && !std::mem::replace(&mut client.is_dirty, true) {
            self.dirty.push(id);
        }
    }

    fn queue_pump(&mut self, id: usize) {
        if let Some(sender) = &mut self.clients[id].sender
            && !std::mem::replace(&mut sender.is_queued, true)
        {
            self.pumps.push(id);
        }
    }

    fn queue_due(&mut self, now: u64) {
        for id in 0..self.clients.len() {
            let due = self.clients[id].sender.as_ref().and_then(|it| it.due());
            if due.is_some_and(|due| due <= now) {
                self.queue_pump(id);
            }
        }
    }

    fn pump(&mut self, now: u64) {
        let pumps = std::mem::take(&mut self.pumps);
        for id in pumps {
            let client = &mut self.clients[id];
            let Some(sender) = &mut client.sender else {
                continue;
            };
            sender.is_queued = false;
            if client.phase == Phase::Ready {
                sender.pump(&mut client.output, &self.ledger, now);
                self.mark_dirty(id);
            }
        }
    }

    fn flush(&mut self, now: u64) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let client = &mut self.clients[id];
            client.is_dirty = false;
            match client.write(now) {
                Ok(Written::All) => self.release(id),
                Ok(Written::Part) => {}
                Err(error) => self.on_end(id, &error),
            }
        }
        // Nobody becomes dirty by writing.
        self.dirty = dirty;
    }

    /// A sender that stopped because the socket was behind goes on.
    fn release(&mut self, id: usize) {
        let sender = self.clients[id].sender.as_ref();
        if sender.is_some_and(|sender| sender.is_held) {
            self.queue_pump(id);
        }
    }

    fn ping(&mut self, now: u64) {
        if now < self.pinged_at + PING_LOOK {
            return;
        }
        self.pinged_at = now;
        for id in 0..self.clients.len() {
            let client = &mut self.clients[id];
            if client.phase == Phase::Ready && now > client.written_at + PING_INTERVAL {
                client.output.extend_from_slice(&wire::PINGREQ);
                client.written_at = now;
                self.mark_dirty(id);
            }
        }
    }

    fn read(&mut self, id: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for turn in 1.. {
            match self.clients[id].read(&mut buffer) {
                Ok(None) => break,
                Ok(Some(0)) => {
                    self.on_end(id, &"the broker closed the connection");
                    break;
                }
                Ok(Some(count)) => {
                    let now = self.clock.nanos();
                    self.take(id, &buffer[..count], now);
                    // Fewer bytes than there is room for were all there were; an end is an event.
                    if count < buffer.len() && self.clients[id].phase != Phase::Leaving {
                        break;
                    }
                    if turn == READS_PER_TURN {
                        self.unread.push(id);
                        break;
                    }
                }
                Err(error) => {
                    self.on_end(id, &error);
                    break;
                }
            }
        }
        self.buffer = buffer;
        while let Some(sender_id) = self.ledger.credits.pop() {
            if let Some(sender) = &mut self.clients[sender_id].sender {
                sender.outstanding = sender.outstanding.saturating_sub(1);
                if !std::mem::replace(&mut sender.is_queued, true) {
                    self.pumps.push(sender_id);
                }
            }
        }
    }

    /// Takes bytes: whole packets are handled, the beginning of another is kept.
    fn take(&mut self, id: usize, bytes: &[u8], now: u64) {
        let mut partial = std::mem::take(&mut self.clients[id].partial);
        if partial.is_empty() {
            let used = self.take_packets(id, bytes, now);
            partial.extend_from_slice(&bytes[used..]);
        } else {
            partial.extend_from_slice(bytes);
            if partial.len() >= self.clients[id].wanted {
                let used = self.take_packets(id, &partial, now);
                partial.drain(..used);
            }
        }
        if partial.is_empty() && partial.capacity() > READ_BYTES {
            partial = Vec::new();
        }
        self.clients[id].partial = partial;
        self.mark_dirty(id);
    }

    /// Handles whole packets and returns how many bytes they were.
    fn take_packets(&mut self, id: usize, bytes: &[u8], now: u64) -> usize {
        let decoder = Decoder::new()
            .with_version(self.version)
            .with_sender(From::Server);
        let mut used = 0;
        loop {
            match decoder.decode_ref(&bytes[used..]) {
                Ok(Some((packet, len))) => {
                    used += len;
                    self.on_packet(id, &packet, now);
                }
                Ok(None) => {
                    let header = decoder.frame(&bytes[used..]).ok().flatten();
                    self.clients[id].wanted = header.map_or(0, |header| header.total_len());
                    return used;
                }
                Err(error) => {
                    let what = || format!("the broker sends what is no packet: {error}");
                    self.ledger.checks.note(Fault::ProtocolError, what);
                    return bytes.len();
                }
            }
        }
    }

    fn on_packet(&mut self, id: usize, packet: &PacketRef<'_>, now: u64) {
        match packet {
            Packet::Publish(publish) => {
                let client = &mut self.clients[id];
                let Some(receiver) = &mut client.receiver else {
                    let what = || format!("{} at a client without subscriptions", publish.topic);
                    return self.ledger.checks.note(Fault::Unexpected, what);
                };
                let delivery = match publish.delivery {
                    Delivery::AtMostOnce => None,
                    Delivery::AtLeastOnce { packet_id, .. } => {
                        Some(Acknowledged::Once(packet_id.get()))
                    }
                    Delivery::ExactlyOnce { packet_id, .. } => {
                        Some(Acknowledged::Exactly(packet_id.get()))
                    }
                };
                let is_new = delivery.is_none_or(|delivery| {
                    receiver.on_publish(delivery, &mut client.output, &mut self.ledger.checks)
                });
                if is_new {
                    receiver.take(
                        &mut self.ledger,
                        publish.topic.as_str(),
                        publish.payload,
                        now,
                    );
                }
            }
            Packet::PubAck(ack) => self.on_ack(id, AckType::PubAck, ack),
            Packet::PubRec(ack) => self.on_ack(id, AckType::PubRec, ack),
            Packet::PubComp(ack) => self.on_ack(id, AckType::PubComp, ack),
            Packet::PubRel(ack) => {
                let client = &mut self.clients[id];
                if let Some(receiver) = &mut client.receiver {
                    let packet_id = ack.packet_id.get();
                    receiver.on_pubrel(packet_id, &mut client.output, &mut self.ledger.checks);
                }
            }
            Packet::ConnAck(connack) => self.on_connack(id, connack),
            Packet::SubAck(suback) => {
                if let Some(code) = suback.reason_codes.iter().find(|code| code.is_error()) {
                    let what = || format!("SUBACK: {code}");
                    self.ledger.checks.note(Fault::Refused, what);
                }
                if let Phase::Subscribing(left) = self.clients[id].phase {
                    self.await_subacks(id, left.saturating_sub(1));
                }
            }
            Packet::PingResp => {}
            Packet::Disconnect(disconnect) => {
                let what = || format!("DISCONNECT: {}", disconnect.reason_code);
                self.ledger.checks.note(Fault::Disconnected, what);
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::Auth(_) => {
                let what = || format!("a {:?} that was not asked for", packet.packet_type());
                self.ledger.checks.note(Fault::ProtocolError, what);
            }
        }
    }

    fn on_ack(&mut self, id: usize, ack_type: AckType, ack: &Ack<Borrowed<'_>>) {
        self.acknowledged += 1;
        let client = &mut self.clients[id];
        let Some(sender) = &mut client.sender else {
            let what = || format!("{ack_type:?} at a client that does not publish");
            return self.ledger.checks.note(Fault::ProtocolError, what);
        };
        sender.on_ack(
            ack_type,
            ack.packet_id.get(),
            ack.reason_code.is_error(),
            &mut client.output,
            &mut self.ledger.checks,
        );
        self.queue_pump(id);
    }

    fn on_connack(&mut self, id: usize, connack: &ConnAck<Borrowed<'_>>) {
        let client = &mut self.clients[id];
        if connack.reason_code.is_error() {
            self.refusal = Some(connack.reason_code.to_string());
            return;
        }
        client.session_present = connack.session_present;
        if let Some(sender) = &mut client.sender {
            let receive_maximum = connack.properties.receive_maximum();
            sender.set_window(receive_maximum.map_or(u16::MAX, |maximum| maximum.get()));
        }
        client.output.extend_from_slice(&client.subscribe.0);
        let packets = client.subscribe.1;
        self.await_subacks(id, packets);
    }

    fn await_subacks(&mut self, id: usize, count: u16) {
        if count > 0 {
            self.clients[id].phase = Phase::Subscribing(count);
            return;
        }
        self.clients[id].phase = Phase::Ready;
        self.connecting -= 1;
        self.ready_count += 1;
        self.ready.push(id);
    }

    /// A connection has ended.
    fn on_end(&mut self, id: usize, why: &dyn Display) {
        let client = &mut self.clients[id];
        let phase = client.phase;
        if phase == Phase::Closed {
            return;
        }
        if let Some(mut socket) = client.socket.take() {
            // Closing it would do as well.
            let _ = self.poll.registry().deregister(&mut socket);
        }
        client.close();
        match phase {
            Phase::Leaving => {}
            Phase::Closed
            | Phase::Ready
            | Phase::Connecting
            | Phase::Greeting
            | Phase::Subscribing(_) => {
                if phase == Phase::Ready {
                    self.ready_count -= 1;
                } else {
                    self.connecting -= 1;
                }
                let what = || format!("a connection ended in phase {phase:?}: {why}");
                self.ledger.checks.note(Fault::Disconnected, what);
            }
        }
        self.gone.push(id);
    }
}
