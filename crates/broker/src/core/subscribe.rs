//! SUBSCRIBE, UNSUBSCRIBE, and the retained messages that a new subscription gets.

use mqttstack_codec::{
    ProtocolVersion, QoS, ReasonCode, RetainHandling, Shared, Subscribe, Subscription, Unsubscribe,
};
use mqttstack_limits::Instant;
use mqttstack_session::{DeliveryOptions, Message};
use mqttstack_topic::{Cursor, TopicError, TopicFilter, TopicLimits};

use super::{
    Core,
    access::Client,
    directory::Granted,
    keys::{ConnectionId, SessionKey},
    session_table::OwedRetained,
};

/// How many retained messages are handed to a session at once; the rest follows when they are on
/// their way.
const RETAINED_SLICE: usize = 256;

impl Core {
    /// A client has asked for subscriptions.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.8.4-1, v5 MQTT-3.8.4-5, v5 MQTT-3.8.4-6; v3.1.1 MQTT-3.8.4-1,
    /// v3.1.1 MQTT-3.8.4-4; V31-suback.
    pub(super) fn on_subscribe(
        &mut self,
        id: ConnectionId,
        subscribe: &Subscribe<Shared>,
        now: Instant,
    ) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Some(key) = connection.key else { return };
        let version = connection.session.version();
        let filters = subscribe.filters.iter().map(|asked| asked.filter);
        if let Some(reason) = self.forbidden(id, version, filters) {
            return self.disconnect(id, reason);
        }
        let knows_refusal = version != Some(ProtocolVersion::V31);
        let subscription_id = subscribe.properties.subscription_identifiers().next();
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        for asked in subscribe.filters.iter() {
            codes.push(match self.subscribe_one(id, key, &asked, subscription_id) {
                Ok(granted) => granted,
                Err(reason) if knows_refusal => reason,
                // As if granted; nothing will come.
                Err(_) => granted_code(asked.options.qos),
            });
        }
        if let Some(connection) = self.connection_mut(id) {
            connection.session.suback(subscribe.packet_id, codes);
        }
        self.send_more_retained(id, now);
    }

    /// Returns why filters end the connection, if one of them does: it is ill-formed, or of a kind
    /// that CONNACK said is not available. A filter that is merely too deep does not.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2, v5 U-16, v5 U-18;
    /// v3.1.1 MQTT-4.7.1-2, v3.1.1 MQTT-4.7.1-3.
    fn forbidden<'a>(
        &self,
        id: ConnectionId,
        version: Option<ProtocolVersion>,
        filters: impl IntoIterator<Item = &'a str>,
    ) -> Option<ReasonCode> {
        let limits = &self.connection(id)?.limits;
        let topic_limits = self.topic_limits(id);
        let was_told = version == Some(ProtocolVersion::V5);
        filters
            .into_iter()
            .find_map(|text| match TopicFilter::with_limits(text, topic_limits) {
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
        let topic_limits = self.topic_limits(id);
        let limits = self
            .connection(id)
            .ok_or(ReasonCode::UnspecifiedError)?
            .limits
            .clone();
        let filter = parse_filter(asked.filter, topic_limits)?;
        let is_shared = filter.shared_group().is_some();
        if is_shared && !limits.shared_subscriptions {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if filter.has_wildcards() && !limits.wildcard_subscriptions {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        let entry = self.sessions.get(key).ok_or(ReasonCode::UnspecifiedError)?;
        let client = Client {
            client_id: &entry.client_id,
            identity: entry.identity.as_deref(),
        };
        if !self.access.may_subscribe(&client, filter.filter()) {
            return Err(ReasonCode::NotAuthorized);
        }
        let mut options = asked.options;
        if entry.is_bridge {
            // BRG-accept
            (options.no_local, options.retain_as_published) = (true, true);
        }
        let count = entry.subscription_count;
        let qos = options.qos.min(limits.maximum_qos);
        let granted = Granted::new(&options, qos, subscription_id);
        let mut index = self.directory.subscriptions.write();
        if count >= limits.subscriptions_max && index.get(&filter, &key).is_none() {
            return Err(ReasonCode::QuotaExceeded);
        }
        let is_new = index.insert(&filter, key, granted).is_none();
        drop(index);
        let Some(entry) = self.sessions.get_mut(key) else {
            return Err(ReasonCode::UnspecifiedError);
        };
        if is_new {
            entry.subscription_count = count.saturating_add(1);
            entry.shared_count = entry.shared_count.saturating_add(u32::from(is_shared));
        }
        // v5 MQTT-3.3.1-9, v5 MQTT-3.3.1-10, v5 MQTT-3.3.1-11
        let wants_retained = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        if wants_retained && !is_shared {
            // A filter that is asked for again begins again.
            let cursor = Cursor::START;
            let owed = OwedRetained { granted, cursor };
            entry.owed.insert(asked.filter.into(), owed);
        } else if let Some(owed) = entry.owed.get_mut(asked.filter) {
            owed.granted = granted;
        }
        Ok(granted_code(qos))
    }

    /// Returns whether subscriptions of a connection are owed retained messages.
    pub(super) fn owes_retained(&self, id: ConnectionId) -> bool {
        self.connection(id)
            .and_then(|connection| self.sessions.get(connection.key?))
            .is_some_and(|entry| !entry.owed.is_empty())
    }

    /// Hands a slice of the retained messages that are owed to the session of a connection, if its
    /// queue has room; returns whether it handed over any.
    pub(super) fn send_more_retained(&mut self, id: ConnectionId, now: Instant) -> bool {
        let mut sent_any = false;
        loop {
            let topic_limits = self.topic_limits(id);
            let Some(connection) = self.connection(id) else {
                return sent_any;
            };
            let waiting = connection.session.queue_status().queued_messages;
            let Some(key) = connection.key else {
                return sent_any;
            };
            let Some(first) = self
                .sessions
                .get_mut(key)
                .and_then(|entry| entry.owed.first_entry())
            else {
                return sent_any;
            };
            if waiting >= RETAINED_SLICE {
                return sent_any;
            }
            let OwedRetained { granted, cursor } = *first.get();
            let mut slice: Vec<Message> = Vec::new();
            let next = match parse_filter(first.key(), topic_limits) {
                Ok(filter) => {
                    let retained = self.directory.retained.read();
                    retained
                        .index
                        .matching(&filter, cursor, RETAINED_SLICE, |_, message| {
                            slice.push(message.clone());
                        })
                }
                Err(_) => None,
            };
            match next {
                Some(next) => first.into_mut().cursor = next,
                None => {
                    first.remove();
                }
            }
            let Some(connection) = self.connection_mut(id) else {
                return sent_any;
            };
            for message in slice {
                let options = DeliveryOptions {
                    qos: granted.qos.min(message.qos()),
                    // v5 MQTT-3.3.1-9, v3.1.1 MQTT-3.3.1-8
                    retain: true,
                    subscription_ids: granted.subscription_id().into_iter().collect(),
                };
                if message.expires_at(now) > now {
                    sent_any |= connection.session.publish(message, options, now).is_ok();
                }
            }
        }
    }

    /// A client has asked to end subscriptions.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.10.4-1, v5 MQTT-3.10.4-5, v5 MQTT-3.10.4-6; v3.1.1 MQTT-3.10.4-1,
    /// v3.1.1 MQTT-3.10.4-5.
    pub(super) fn on_unsubscribe(&mut self, id: ConnectionId, unsubscribe: &Unsubscribe<Shared>) {
        let limits = self.topic_limits(id);
        if let Some(reason) = self.forbidden(id, None, unsubscribe.filters.iter()) {
            return self.disconnect(id, reason);
        }
        let Some(key) = self.connection(id).and_then(|connection| connection.key) else {
            return;
        };
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        for text in unsubscribe.filters.iter() {
            codes.push(match parse_filter(text, limits) {
                Ok(filter) => match self.directory.subscriptions.write().remove(&filter, &key) {
                    Some(_) => {
                        let shared = u32::from(filter.shared_group().is_some());
                        entry.subscription_count = entry.subscription_count.saturating_sub(1);
                        entry.shared_count = entry.shared_count.saturating_sub(shared);
                        entry.owed.remove(text);
                        ReasonCode::Success
                    }
                    None => ReasonCode::NoSubscriptionExisted,
                },
                Err(reason) => reason,
            });
        }
        if let Some(connection) = self.connection_mut(id) {
            connection.session.unsuback(unsubscribe.packet_id, codes);
        }
    }
}

fn parse_filter(text: &str, limits: TopicLimits) -> Result<TopicFilter<'_>, ReasonCode> {
    TopicFilter::with_limits(text, limits).map_err(|_| ReasonCode::TopicFilterInvalid)
}

fn granted_code(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
