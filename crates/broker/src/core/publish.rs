//! A message on its way: into the retained store, and to everyone who subscribes.

use std::time::Duration;

use mqttstack_codec::{PacketId, ProtocolVersion, QoS, ReasonCode};
use mqttstack_limits::Instant;
use mqttstack_session::{Message, journal::OperationSequence};
use mqttstack_topic::{TopicLimits, TopicName};

use super::{
    Core,
    access::{Authorization, PublishRequest},
    keys::{ConnectionId, SessionKey},
    memory::MemoryStage,
    questions::About,
    timers::Timer,
};

/// Topics that belong to the server: clients may not publish there.
const SERVER_TOPICS: &str = "$SYS";

/// How long a client that publishes is left alone when memory is short.
const SLOWED_FOR: Duration = Duration::from_millis(100);

impl Core {
    /// A client has published.
    pub(super) fn on_message(
        &mut self,
        id: ConnectionId,
        message: Message,
        packet_id: Option<PacketId>,
        now: Instant,
    ) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Some(key) = connection.key else { return };
        let limits = connection.topic_limits();
        self.counts.publishes_received.add(1);
        if self.memory.stage() == MemoryStage::Full {
            self.counts.messages_refused.add(1);
            return self.refuse_message(id, packet_id, now);
        }
        let packet_id = packet_id.map(|packet_id| (packet_id, message.qos()));
        match self.authorize_publish(key, id, &message) {
            Authorization::Allow => {
                let before = self.journal.recorded();
                let reason = self.publish(Some(key), message, limits, now);
                self.answer_publish(id, key, packet_id, reason, before, now);
            }
            Authorization::Deny(reason) => {
                let before = self.journal.recorded();
                self.answer_publish(id, key, packet_id, refusal(reason), before, now);
            }
            Authorization::Deferred => {
                let packet_id = packet_id.map(|(packet_id, _)| packet_id);
                let about = About::Publish { message, packet_id };
                self.await_answer(id, about, 1, now);
            }
        }
    }

    /// It is known whether a client may publish a message that had to wait for that.
    pub(super) fn on_publish_decided(
        &mut self,
        id: ConnectionId,
        message: Message,
        packet_id: Option<PacketId>,
        verdict: Result<(), ReasonCode>,
        now: Instant,
    ) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Some(key) = connection.key else { return };
        let limits = connection.topic_limits();
        let before = self.journal.recorded();
        let packet_id = packet_id.map(|packet_id| (packet_id, message.qos()));
        let reason = match verdict {
            Ok(()) => {
                self.note_published(key, &message);
                self.publish(Some(key), message, limits, now)
            }
            Err(reason) => refusal(reason),
        };
        self.answer_publish(id, key, packet_id, reason, before, now);
    }

    /// Tells a client what became of its message, if it waits to hear that.
    fn answer_publish(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        packet_id: Option<(PacketId, QoS)>,
        reason: ReasonCode,
        before: OperationSequence,
        now: Instant,
    ) {
        if let Some(packet_id) = packet_id {
            self.answer_publisher(id, key, packet_id, reason, before);
        }
        self.slow_down(id, now);
    }

    /// There is no room for a message. MQTT 3.x cannot say so: the client is to come again with it.
    fn refuse_message(&mut self, id: ConnectionId, packet_id: Option<PacketId>, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let Some(packet_id) = packet_id else { return };
        if connection.session.version() == Some(ProtocolVersion::V5) {
            connection
                .session
                .acknowledge(packet_id, ReasonCode::QuotaExceeded);
            if let Some(key) = connection.key {
                self.write_down(key);
            }
        } else {
            connection.session.disconnect(ReasonCode::QuotaExceeded);
            // At once: what comes for the session from now on waits for its client.
            self.handle_events(id, now);
        }
    }

    /// Memory is short: the client that has published is read from again a little later.
    fn slow_down(&mut self, id: ConnectionId, now: Instant) {
        if self.memory.stage() < MemoryStage::Slowing {
            return;
        }
        if let Some(connection) = self.connection_mut(id)
            && !std::mem::replace(&mut connection.is_slowed, true)
        {
            self.timers.schedule(Timer::Slowed(id), now + SLOWED_FOR);
        }
    }

    pub(super) fn on_slowed_due(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connection_mut(id) {
            connection.is_slowed = false;
            self.go_on(id, now);
            // The driver may read on.
            self.mark_dirty(id);
        }
    }

    /// Asks the program around the broker whether a client may publish a message, and tells it of one
    /// that goes on.
    fn authorize_publish(
        &mut self,
        key: SessionKey,
        id: ConnectionId,
        message: &Message,
    ) -> Authorization {
        let ticket = self.next_ticket(id);
        let entry = self.sessions.get(key);
        let Some(entry) = entry.filter(|_| !is_server_topic(message.topic_bytes())) else {
            return Authorization::Deny(ReasonCode::NotAuthorized);
        };
        let client = entry.client();
        let answer = self.access.authorize_publish(&PublishRequest {
            client,
            message,
            ticket,
        });
        if answer == Authorization::Allow {
            self.access.on_publish(&client, message);
        }
        answer
    }

    /// Tells the program around the broker what a client publishes.
    pub(super) fn note_published(&mut self, key: SessionKey, message: &Message) {
        if let Some(entry) = self.sessions.get(key) {
            self.access.on_publish(&entry.client(), message);
        }
    }

    /// Returns whether a client may publish to a topic.
    pub(super) fn may_publish(&mut self, key: SessionKey, topic: &str) -> bool {
        if is_server_topic(topic) {
            return false;
        }
        let Some(entry) = self.sessions.get(key) else {
            return false;
        };
        self.access.may_publish(&entry.client(), topic)
    }

    /// Publishes a message of the broker itself, its `$SYS` topics included.
    ///
    /// Returns what a client would be told.
    pub fn publish_own(&mut self, message: &Message, now: Instant) -> ReasonCode {
        let reason = self.publish(None, message.clone(), TopicLimits::DEFAULT, now);
        self.conclude(now);
        reason
    }

    /// Stores a retained message, and hands the message to all who subscribe.
    pub(super) fn publish(
        &mut self,
        publisher: Option<SessionKey>,
        message: Message,
        limits: TopicLimits,
        now: Instant,
    ) -> ReasonCode {
        let stored = if message.retain() {
            self.retain(&message, limits, now)
        } else {
            Ok(())
        };
        let mut hits = std::mem::take(&mut self.hits);
        let (found, steps) = match self.find_subscribers(&message, limits, publisher, &mut hits) {
            Ok(steps) => (Ok(()), steps),
            Err(reason) => (Err(reason), 0),
        };
        let is_nobody = hits.is_empty();
        self.work.count_lookup(hits.len(), steps);
        let went_elsewhere = self.fan_out(message, &mut hits, 0, now);
        if went_elsewhere && let Some(entry) = publisher.and_then(|key| self.sessions.get_mut(key))
        {
            entry.published_elsewhere = true;
        }
        hits.clear();
        self.hits = hits;
        // What cannot be retained reaches those who are here all the same.
        match found.and(stored) {
            Err(reason) => reason,
            Ok(()) if is_nobody => ReasonCode::NoMatchingSubscribers,
            Ok(()) => ReasonCode::Success,
        }
    }

    fn retain(
        &mut self,
        message: &Message,
        limits: TopicLimits,
        now: Instant,
    ) -> Result<(), ReasonCode> {
        let Ok(topic) = TopicName::with_limits(message.topic(), limits) else {
            return Err(ReasonCode::TopicNameInvalid);
        };
        self.work.count_levels(topic.level_count());
        let mut retained = self.directory.retained.write();
        let mut before = retained.counted_bytes();
        let stored = retained.store(&topic, message, &self.limits, now);
        let (after, next) = (retained.counted_bytes(), retained.next_deadline());
        let version = retained.last_write();
        drop(retained);
        self.memory.recount(&mut before, after);
        self.schedule_retained_expiry(next);
        stored?;
        self.write_retained(message, version, now);
        Ok(())
    }
}

/// Returns what a client is told whose message is refused.
fn refusal(reason: ReasonCode) -> ReasonCode {
    if reason.is_error() {
        return reason;
    }
    ReasonCode::NotAuthorized
}

pub(super) fn is_server_topic(topic: impl AsRef<[u8]>) -> bool {
    topic
        .as_ref()
        .strip_prefix(SERVER_TOPICS.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
