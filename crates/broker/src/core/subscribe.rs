//! SUBSCRIBE, UNSUBSCRIBE, and the retained messages that a new subscription gets.

use mqttstack_codec::{
    ProtocolVersion, QoS, ReasonCode, RetainHandling, Shared, Subscribe, Subscription, Unsubscribe,
};
use mqttstack_limits::{Instant, Limits};
use mqttstack_session::{
    DeliveryOptions, Message, PublishError, QueueStatus,
    journal::{Change, RecordedSubscription},
};
use mqttstack_topic::{TopicError, TopicFilter, TopicLimits};

use super::{
    Core,
    access::{Authorization, SubscribeRequest},
    directory::Granted,
    keys::{ConnectionId, SessionKey},
    memory::MemoryStage,
    questions::About,
    session_table::OwedRetained,
};

/// How many retained messages one search looks for. It reads some eight times as many entries of
/// the index at most, also where few of them match.
const RETAINED_SLICE: usize = 32;

/// How many messages may wait in a queue that gets further retained ones; the rest follows when
/// they are on their way.
const RETAINED_WAITING_MAX: usize = 256;

/// The room that a queue has for retained messages: half of it at most, so that what is published
/// in the meantime finds its place and pushes none of them out.
struct Room {
    is_empty: bool,
    messages: usize,
    bytes: u64,
}

impl Room {
    fn of(status: &QueueStatus, limits: &Limits) -> Self {
        let messages_max = usize::try_from(limits.queue_messages_max / 2).unwrap_or(usize::MAX);
        Self {
            is_empty: status.queued_messages == 0,
            messages: RETAINED_WAITING_MAX
                .min(messages_max)
                .saturating_sub(status.queued_messages),
            bytes: (limits.queue_bytes_max / 2).saturating_sub(status.queued_bytes),
        }
    }

    fn is_full(&self) -> bool {
        self.messages == 0 && !self.is_empty
    }

    /// Takes the room of a message of some size, if there is as much. An empty queue takes any.
    fn take(&mut self, size: usize) -> bool {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let fits = self.is_empty || (self.messages > 0 && size <= self.bytes);
        if fits {
            self.is_empty = false;
            self.messages = self.messages.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(size);
        }
        fits
    }
}

/// How the filters of a client are read.
#[derive(Clone, Copy)]
struct Grammar {
    limits: TopicLimits,
    version: Option<ProtocolVersion>,
}

impl Grammar {
    /// # Specification
    ///
    /// v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2; v3.1.1 MQTT-4.7.1-2, v3.1.1 MQTT-4.7.1-3: older clients may
    /// have filters that begin with `$share/` and share nothing.
    fn parse(self, text: &str) -> Result<TopicFilter<'_>, TopicError> {
        match self.version {
            Some(ProtocolVersion::V31 | ProtocolVersion::V311) => {
                TopicFilter::before_v5(text, self.limits)
            }
            Some(ProtocolVersion::V5) | None => TopicFilter::with_limits(text, self.limits),
        }
    }
}

impl Core {
    fn grammar(&self, id: ConnectionId) -> Grammar {
        let connection = self.connection(id);
        Grammar {
            limits: self.topic_limits(id),
            version: connection.and_then(|connection| connection.session.version()),
        }
    }

    /// A client has asked for subscriptions.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.8.4-1, v5 MQTT-3.8.4-5, v5 MQTT-3.8.4-6; v3.1.1 MQTT-3.8.4-1,
    /// v3.1.1 MQTT-3.8.4-4; V31-suback.
    pub(super) fn on_subscribe(
        &mut self,
        id: ConnectionId,
        subscribe: Box<Subscribe<Shared>>,
        now: Instant,
    ) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Some(key) = connection.key else { return };
        let was_told = connection.session.version() == Some(ProtocolVersion::V5);
        let filters = subscribe.filters.iter().map(|asked| asked.filter);
        if let Some(reason) = self.forbidden(id, was_told, filters) {
            return self.disconnect(id, reason);
        }
        let answers = self.authorize_subscribe(id, key, &subscribe);
        let missing = answers
            .iter()
            .filter(|answer| **answer == Authorization::Deferred)
            .count();
        if missing == 0 {
            return self.on_subscribe_decided(id, &subscribe, &answers, now);
        }
        let count = answers.len();
        let about = About::Subscribe {
            subscribe,
            answers,
            missing,
        };
        self.await_answer(id, about, count, now);
    }

    /// Asks whether a client may have the subscriptions that it asks for.
    fn authorize_subscribe(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        subscribe: &Subscribe<Shared>,
    ) -> Vec<Authorization> {
        let grammar = self.grammar(id);
        let mut ticket = self.next_ticket(id);
        let mut answers = Vec::with_capacity(subscribe.filters.len());
        for asked in subscribe.filters.iter() {
            let filter = grammar.parse(asked.filter);
            answers.push(match (filter, self.sessions.get(key)) {
                (Ok(filter), Some(entry)) => self.access.authorize_subscribe(&SubscribeRequest {
                    client: entry.client(),
                    filter: filter.filter(),
                    shared_group: filter.shared_group(),
                    qos: asked.options.qos,
                    ticket,
                }),
                (Err(_), _) => Authorization::Deny(ReasonCode::TopicFilterInvalid),
                (Ok(_), None) => Authorization::Deny(ReasonCode::UnspecifiedError),
            });
            ticket.number = ticket.number.wrapping_add(1);
        }
        answers
    }

    /// It is known which of the subscriptions a client may have.
    pub(super) fn on_subscribe_decided(
        &mut self,
        id: ConnectionId,
        subscribe: &Subscribe<Shared>,
        answers: &[Authorization],
        now: Instant,
    ) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Some(key) = connection.key else { return };
        let knows_refusal = connection.session.version() != Some(ProtocolVersion::V31);
        let subscription_id = subscribe.properties.subscription_identifiers().next();
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let before = self.journal.recorded();
        for (asked, answer) in subscribe.filters.iter().zip(answers) {
            let granted = match answer {
                Authorization::Allow => self.subscribe_one(id, key, &asked, subscription_id),
                Authorization::Deny(reason) if reason.is_error() => Err(*reason),
                Authorization::Deny(_) | Authorization::Deferred => Err(ReasonCode::NotAuthorized),
            };
            codes.push(match granted {
                Ok(granted) => granted,
                Err(reason) if knows_refusal => reason,
                // As if granted; nothing will come.
                Err(_) => granted_code(asked.options.qos),
            });
        }
        self.count_session(key);
        if let Some(connection) = self.connection_mut(id) {
            connection.session.suback(subscribe.packet_id, codes);
            // What it gets is what is retained now, not what is retained when it has its next turn:
            // that would be what this input goes on to publish. The work is counted.
            connection.begin_turn();
        }
        if self.journal.recorded() > before {
            self.hold_output(id);
        }
        self.send_more_retained(id, now);
    }

    /// Returns why filters end the connection, if one of them does: it is ill-formed, or of a kind
    /// that the client `was_told` is not available. A filter that is merely too deep does not.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2, v5 U-16, v5 U-18;
    /// v3.1.1 MQTT-4.7.1-2, v3.1.1 MQTT-4.7.1-3.
    fn forbidden<'a>(
        &self,
        id: ConnectionId,
        was_told: bool,
        filters: impl IntoIterator<Item = &'a str>,
    ) -> Option<ReasonCode> {
        let limits = self.connection(id)?.limits();
        let grammar = self.grammar(id);
        filters
            .into_iter()
            .find_map(|text| match grammar.parse(text) {
                Ok(filter) if filter.shared_group().is_some() => (was_told
                    && !limits.shared_subscriptions)
                    .then_some(ReasonCode::SharedSubscriptionsNotSupported),
                Ok(filter) => {
                    (was_told && filter.has_wildcards() && !limits.wildcard_subscriptions)
                        .then_some(ReasonCode::WildcardSubscriptionsNotSupported)
                }
                Err(TopicError::TooManyLevels { .. }) => None,
                Err(_) => Some(ReasonCode::TopicFilterInvalid),
            })
    }

    fn disconnect(&mut self, id: ConnectionId, reason: ReasonCode) {
        if let Some(connection) = self.connection_mut(id) {
            // Its end is the next event.
            connection.session.disconnect(reason);
        }
    }

    /// Enters one subscription, and plans its retained messages.
    fn subscribe_one(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        asked: &Subscription<'_>,
        subscription_id: Option<u32>,
    ) -> Result<ReasonCode, ReasonCode> {
        let grammar = self.grammar(id);
        let limits = self
            .connection(id)
            .ok_or(ReasonCode::UnspecifiedError)?
            .limits()
            .clone();
        let filter = parse_filter(asked.filter, grammar)?;
        self.work.count_levels(filter.level_count());
        let is_shared = filter.shared_group().is_some();
        if is_shared && !limits.shared_subscriptions {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if filter.has_wildcards() && !limits.wildcard_subscriptions {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        let entry = self.sessions.get(key).ok_or(ReasonCode::UnspecifiedError)?;
        let mut options = asked.options;
        if entry.is_bridge {
            // BRG-accept
            (options.no_local, options.retain_as_published) = (true, true);
        }
        let qos = options.qos.min(limits.maximum_qos);
        if self.memory.stage() == MemoryStage::Full {
            return Err(ReasonCode::QuotaExceeded);
        }
        let mut granted = Granted::new(&options, qos, subscription_id);
        granted.lasts = entry.number.is_some();
        let filters = &entry.filters;
        let has_no_room = filters.count >= limits.subscriptions_max
            || (is_shared && filters.shared_count >= limits.shared_subscriptions_max)
            || filters.bytes_with(&filter) > limits.filter_bytes_max;
        let index = self.directory.subscriptions.read();
        let held = index.get(&filter, &key).copied();
        drop(index);
        let is_new = held.is_none();
        if has_no_room && is_new {
            return Err(ReasonCode::QuotaExceeded);
        }
        // What is granted as it was changes nothing, and does not make others look up anew.
        if held != Some(granted) {
            let mut index = self.directory.subscriptions.write();
            index.insert(&filter, key, granted);
        }
        let Some(entry) = self.sessions.get_mut(key) else {
            return Err(ReasonCode::UnspecifiedError);
        };
        if is_new {
            entry.filters.add(&filter);
        }
        // v5 MQTT-3.3.1-9, v5 MQTT-3.3.1-10, v5 MQTT-3.3.1-11
        let wants_retained = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        if wants_retained && !is_shared {
            // A filter that is asked for again begins again.
            entry.owed.begin(asked.filter, granted);
        } else {
            entry.owed.grant(asked.filter, granted);
        }
        options.qos = qos;
        let subscription = RecordedSubscription {
            options,
            subscription_id,
        };
        self.write_subscribed(key, asked.filter, subscription);
        Ok(granted_code(qos))
    }

    /// Returns whether subscriptions of a connection are owed retained messages.
    pub(super) fn owes_retained(&self, id: ConnectionId) -> bool {
        self.connection(id)
            .and_then(|connection| self.sessions.get(connection.key?))
            .is_some_and(|entry| !entry.owed.is_empty())
    }

    /// Hands retained messages that are owed to the session of a connection, as far as its queue has
    /// room and its turn goes; returns whether it handed over any.
    pub(super) fn send_more_retained(&mut self, id: ConnectionId, now: Instant) -> bool {
        let mut sent_any = false;
        while let Some((granted, slice)) = self.next_owed(id, now) {
            for message in slice {
                let options = DeliveryOptions {
                    qos: granted.qos.min(message.qos()),
                    // v5 MQTT-3.3.1-9, v3.1.1 MQTT-3.3.1-8
                    retain: true,
                    subscription_ids: granted.subscription_id().into_iter().collect(),
                    group: None,
                };
                let Some(connection) = self.connection_mut(id) else {
                    return sent_any;
                };
                match connection.session.publish(message, options, now) {
                    Ok(_) => sent_any = true,
                    Err(error) => {
                        debug_assert!(false, "there was room: {error}");
                        let key = connection.key;
                        if let (Some(key), PublishError::SessionMustEnd) = (key, error) {
                            self.note_overflow(key);
                        }
                        return sent_any;
                    }
                }
            }
        }
        sent_any
    }

    /// Searches for retained messages that are owed to the session of a connection; `None` if it is
    /// owed none, has no room for the next, or has had its turn. What is returned counts as handed
    /// over, and fits.
    fn next_owed(&mut self, id: ConnectionId, now: Instant) -> Option<(Granted, Vec<Message>)> {
        let grammar = self.grammar(id);
        if !self.owes_retained(id) {
            return None;
        }
        let connection = self.connection_mut(id)?;
        let mut room = Room::of(&connection.session.queue_status(), connection.limits());
        // What is owed to a session that goes on without this connection comes on the next one.
        let is_open = connection.session.is_connected();
        if !is_open || room.is_full() || !connection.take_search() {
            return None;
        }
        let key = connection.key?;
        self.work.count(RETAINED_SLICE);
        let messages = &mut self.messages;
        let owed = &mut self.sessions.get_mut(key)?.owed;
        let (filter, OwedRetained { granted, cursor }) = owed.first()?;
        let mut slice: Vec<Message> = Vec::new();
        let mut is_full = false;
        let next = match parse_filter(filter, grammar) {
            Ok(filter) => {
                let retained = self.directory.retained.read();
                let index = &retained.index;
                index.matching_while(&filter, cursor, RETAINED_SLICE, |topic, body| {
                    if body.expires_at(now) <= now {
                        return true;
                    }
                    let topic = topic.as_str();
                    is_full = !room.take(topic.len().saturating_add(body.size()));
                    if !is_full {
                        slice.push(body.to_message_in(messages, topic));
                    }
                    !is_full
                })
            }
            Err(_) => None,
        };
        owed.go_on(next);
        (!is_full || !slice.is_empty()).then_some((granted, slice))
    }

    /// A client has asked to end subscriptions.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.10.4-1, v5 MQTT-3.10.4-5, v5 MQTT-3.10.4-6; v3.1.1 MQTT-3.10.4-1,
    /// v3.1.1 MQTT-3.10.4-5.
    pub(super) fn on_unsubscribe(&mut self, id: ConnectionId, unsubscribe: &Unsubscribe<Shared>) {
        let grammar = self.grammar(id);
        if let Some(reason) = self.forbidden(id, false, unsubscribe.filters.iter()) {
            return self.disconnect(id, reason);
        }
        let Some(key) = self.connection(id).and_then(|connection| connection.key) else {
            return;
        };
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        let mut ended: Vec<&str> = Vec::new();
        for text in unsubscribe.filters.iter() {
            let filter = parse_filter(text, grammar);
            if let Ok(filter) = &filter {
                self.work.count_levels(filter.level_count());
            }
            codes.push(match filter {
                Ok(filter) => match self.directory.subscriptions.write().remove(&filter, &key) {
                    Some(_) => {
                        entry.filters.remove(&filter);
                        entry.owed.remove(text);
                        ended.push(text);
                        ReasonCode::Success
                    }
                    None => ReasonCode::NoSubscriptionExisted,
                },
                Err(reason) => reason,
            });
        }
        self.count_session(key);
        if let Some(connection) = self.connection_mut(id) {
            connection.session.unsuback(unsubscribe.packet_id, codes);
        }
        let before = self.journal.recorded();
        for filter in ended {
            self.write_change(key, || Change::Unsubscribed {
                filter: filter.into(),
            });
        }
        if self.journal.recorded() > before {
            self.hold_output(id);
        }
    }
}

fn parse_filter(text: &str, grammar: Grammar) -> Result<TopicFilter<'_>, ReasonCode> {
    grammar
        .parse(text)
        .map_err(|_| ReasonCode::TopicFilterInvalid)
}

fn granted_code(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
