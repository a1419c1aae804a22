//! What the broker counts, and what it tells of itself below `$SYS`.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use mqttstack_limits::Instant;
use mqttstack_session::Message;

use super::{Core, Directory, MemoryStage, WorkerId, timers::Timer};

/// What one worker has counted.
///
/// Only that worker writes, and it has the memory around its counters to itself: counting is an
/// addition, not a conversation between processors.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counts {
    pub(super) connections_opened: Counter,
    pub(super) connections_displaced: Counter,
    pub(super) connects_accepted: Counter,
    pub(super) connects_refused: Counter,
    pub(super) packets_received: Counter,
    pub(super) packets_sent: Counter,
    pub(super) bytes_received: Counter,
    pub(super) bytes_sent: Counter,
    pub(super) publishes_received: Counter,
    pub(super) publishes_sent: Counter,
    pub(super) messages_dropped: Counter,
    pub(super) messages_shed: Counter,
    pub(super) messages_refused: Counter,
    pub(super) sessions_dropped: Counter,
}

/// A number that one thread raises and others read.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Raises it; for the one thread that may.
    pub(super) fn add(&self, count: u64) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(count), Ordering::Relaxed);
    }

    pub(super) fn add_len(&self, len: usize) {
        self.add(u64::try_from(len).unwrap_or(u64::MAX));
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a broker does: sums over its workers. Counters begin with the broker, and only grow.
///
/// [`iter`](Self::iter) names each as a monitoring system would.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections that are open, accepted or not.
    pub connections_open: u64,
    /// Connections that were opened.
    pub connections_opened: u64,
    /// Connections that gave way to newer ones before they were accepted; see
    /// [`BrokerLimits::pending_connections_max`](mqttstack_limits::BrokerLimits::pending_connections_max).
    pub connections_displaced: u64,
    /// Clients that are connected.
    pub clients_connected: u64,
    /// Clients that were let in.
    pub connects_accepted: u64,
    /// CONNECTs that were refused.
    pub connects_refused: u64,
    /// Sessions, connected or not.
    pub sessions: u64,
    /// Sessions that ended because they could not take what they were owed.
    pub sessions_dropped: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Packets from clients.
    pub packets_received: u64,
    /// Packets to clients.
    pub packets_sent: u64,
    /// Bytes of packets from clients.
    pub bytes_received: u64,
    /// Bytes of packets to clients.
    pub bytes_sent: u64,
    /// Messages from clients.
    pub publishes_received: u64,
    /// Messages to clients, repeats included.
    pub publishes_sent: u64,
    /// Messages that a queue had no room for, or that were larger than their client takes.
    pub messages_dropped: u64,
    /// QoS 0 messages for slow clients that were dropped because memory was short.
    pub messages_shed: u64,
    /// Messages from clients that were refused because there was no memory for them.
    pub messages_refused: u64,
    /// Retained messages.
    pub retained_messages: u64,
    /// Their bytes: topics, properties and payloads.
    pub retained_bytes: u64,
    /// What clients make the broker hold, at most, in bytes.
    pub memory_bytes: u64,
    /// How near the limit that is.
    pub memory_stage: MemoryStage,
    /// How often memory became short enough for [`MemoryStage::Shedding`].
    pub memory_shedding_entered: u64,
    /// The same for [`MemoryStage::Slowing`].
    pub memory_slowing_entered: u64,
    /// The same for [`MemoryStage::Refusing`].
    pub memory_refusing_entered: u64,
    /// The same for [`MemoryStage::Full`].
    pub memory_full_entered: u64,
}

impl Metrics {
    /// Returns each value under its name: `mqttstack_<noun>_<unit>`, and `_total` for counters.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("mqttstack_connections_open", self.connections_open),
            (
                "mqttstack_connections_opened_total",
                self.connections_opened,
            ),
            (
                "mqttstack_connections_displaced_total",
                self.connections_displaced,
            ),
            ("mqttstack_clients_connected", self.clients_connected),
            ("mqttstack_connects_accepted_total", self.connects_accepted),
            ("mqttstack_connects_refused_total", self.connects_refused),
            ("mqttstack_sessions", self.sessions),
            ("mqttstack_sessions_dropped_total", self.sessions_dropped),
            ("mqttstack_subscriptions", self.subscriptions),
            ("mqttstack_received_packets_total", self.packets_received),
            ("mqttstack_sent_packets_total", self.packets_sent),
            ("mqttstack_received_bytes_total", self.bytes_received),
            ("mqttstack_sent_bytes_total", self.bytes_sent),
            ("mqttstack_received_messages_total", self.publishes_received),
            ("mqttstack_sent_messages_total", self.publishes_sent),
            ("mqttstack_dropped_messages_total", self.messages_dropped),
            ("mqttstack_shed_messages_total", self.messages_shed),
            ("mqttstack_refused_messages_total", self.messages_refused),
            ("mqttstack_retained_messages", self.retained_messages),
            ("mqttstack_retained_bytes", self.retained_bytes),
            ("mqttstack_memory_bytes", self.memory_bytes),
            ("mqttstack_memory_stage", self.memory_stage as u64),
            (
                "mqttstack_memory_shedding_total",
                self.memory_shedding_entered,
            ),
            (
                "mqttstack_memory_slowing_total",
                self.memory_slowing_entered,
            ),
            (
                "mqttstack_memory_refusing_total",
                self.memory_refusing_entered,
            ),
            ("mqttstack_memory_full_total", self.memory_full_entered),
        ]
        .into_iter()
    }

    /// Adds what a worker has counted.
    fn add(&mut self, counts: &Counts) {
        for (sum, counter) in [
            (&mut self.connections_opened, &counts.connections_opened),
            (
                &mut self.connections_displaced,
                &counts.connections_displaced,
            ),
            (&mut self.connects_accepted, &counts.connects_accepted),
            (&mut self.connects_refused, &counts.connects_refused),
            (&mut self.sessions_dropped, &counts.sessions_dropped),
            (&mut self.packets_received, &counts.packets_received),
            (&mut self.packets_sent, &counts.packets_sent),
            (&mut self.bytes_received, &counts.bytes_received),
            (&mut self.bytes_sent, &counts.bytes_sent),
            (&mut self.publishes_received, &counts.publishes_received),
            (&mut self.publishes_sent, &counts.publishes_sent),
            (&mut self.messages_dropped, &counts.messages_dropped),
            (&mut self.messages_shed, &counts.messages_shed),
            (&mut self.messages_refused, &counts.messages_refused),
        ] {
            *sum = sum.wrapping_add(counter.get());
        }
    }

    /// The values below `$SYS/broker`, by the names that other brokers made common.
    fn topics(&self, uptime: Duration) -> [(&'static str, String); 21] {
        let away = self.sessions.saturating_sub(self.clients_connected);
        let number = |value: u64| value.to_string();
        [
            ("uptime", format!("{} seconds", uptime.as_secs())),
            ("clients/connected", number(self.clients_connected)),
            ("clients/disconnected", number(away)),
            ("clients/total", number(self.sessions)),
            ("messages/received", number(self.packets_received)),
            ("messages/sent", number(self.packets_sent)),
            ("bytes/received", number(self.bytes_received)),
            ("bytes/sent", number(self.bytes_sent)),
            ("publish/messages/received", number(self.publishes_received)),
            ("publish/messages/sent", number(self.publishes_sent)),
            (
                "publish/messages/dropped",
                number(self.messages_dropped.saturating_add(self.messages_shed)),
            ),
            ("retained messages/count", number(self.retained_messages)),
            ("retained messages/bytes", number(self.retained_bytes)),
            ("subscriptions/count", number(self.subscriptions)),
            ("sockets/opened", number(self.connections_opened)),
            ("connections/open", number(self.connections_open)),
            ("connections/displaced", number(self.connections_displaced)),
            ("connections/refused", number(self.connects_refused)),
            ("messages/refused", number(self.messages_refused)),
            ("memory/bytes", number(self.memory_bytes)),
            (
                "memory/stage",
                match self.memory_stage {
                    MemoryStage::Calm => "calm",
                    MemoryStage::Shedding => "shedding",
                    MemoryStage::Slowing => "slowing",
                    MemoryStage::Refusing => "refusing",
                    MemoryStage::Full => "full",
                }
                .into(),
            ),
        ]
    }
}

impl Directory {
    /// Returns how the broker does.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let (retained_messages, retained_bytes) = self.retained_count();
        let open = self.connection_count();
        let mut metrics = Metrics {
            connections_open: open.into(),
            clients_connected: open.saturating_sub(self.pending_count()).into(),
            sessions: wide(self.session_count()),
            subscriptions: wide(self.subscription_count()),
            retained_messages: wide(retained_messages),
            retained_bytes,
            memory_bytes: self.memory_bytes(),
            memory_stage: self.memory_stage(),
            memory_shedding_entered: self.memory.entered(MemoryStage::Shedding),
            memory_slowing_entered: self.memory.entered(MemoryStage::Slowing),
            memory_refusing_entered: self.memory.entered(MemoryStage::Refusing),
            memory_full_entered: self.memory.entered(MemoryStage::Full),
            ..Metrics::default()
        };
        self.each_counts(|counts| metrics.add(counts));
        metrics
    }
}

/// What a worker publishes of the broker, and when.
#[derive(Debug)]
pub(super) struct Status {
    interval: Duration,
    /// When the broker started, once that is known.
    started: Option<Instant>,
    /// What was published last: what has not changed is not published again.
    last: BTreeMap<&'static str, String>,
}

impl Status {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            started: None,
            last: BTreeMap::new(),
        }
    }
}

impl Core {
    /// Begins to publish the state of the broker below `$SYS`, every
    /// [`status_interval`](super::Settings::status_interval), and at once. Does nothing if that is
    /// zero, or if this is not the first worker.
    pub fn start_status(&mut self, now: Instant) {
        let is_first = self.worker == WorkerId::new(0);
        if is_first && !self.status.interval.is_zero() && self.status.started.is_none() {
            self.status.started = Some(now);
            self.on_status_due(now);
        }
    }

    pub(super) fn on_status_due(&mut self, now: Instant) {
        let Some(started) = self.status.started else {
            return;
        };
        self.memory.publish();
        for (name, value) in self.directory.metrics().topics(now - started) {
            if self.status.last.get(name) != Some(&value) {
                self.publish_status(name, value.clone(), now);
                self.status.last.insert(name, value);
            }
        }
        let interval = self.status.interval;
        self.timers.schedule(Timer::Status, now + interval);
    }

    fn publish_status(&mut self, name: &str, value: String, now: Instant) {
        let topic = format!("$SYS/broker/{name}");
        let message = Message::builder(topic, value).retain(true).build();
        debug_assert!(message.is_ok(), "the message is well-formed");
        if let Ok(message) = message {
            self.publish_own(&message, now);
        }
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
