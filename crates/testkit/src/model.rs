//! The broker's routing, as naive as the standard tells it.
//!
//! Maps and loops, no index, no queue, no worker: small enough to be compared with the standard by
//! reading, and slow enough to be nothing else than a reference.

use std::collections::BTreeMap;

use mqttstack_codec::{QoS, RetainHandling, SubscriptionOptions};

/// One copy of a message that a client is to get.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Copy {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: String,
    /// The QoS: the lower of the publisher's and the subscription's.
    pub qos: QoS,
    /// Whether it comes out of the retained store, or was published to it and the subscription
    /// wants to know.
    pub retain: bool,
}

/// What a client has subscribed to.
type Filters = BTreeMap<String, SubscriptionOptions>;

/// Who is subscribed to what, and what is retained.
///
/// ```
/// use mqttstack_testkit::Model;
/// use mqttstack_testkit::codec::{QoS, SubscriptionOptions};
///
/// let mut model = Model::default();
/// model.begin_session("reader", false);
/// model.subscribe("reader", "a/+", SubscriptionOptions::new(QoS::AtLeastOnce));
/// model.subscribe("reader", "#", SubscriptionOptions::new(QoS::AtMostOnce));
/// let copies = model.publish("writer", "a/b", "x", QoS::ExactlyOnce, false);
/// assert_eq!(copies.len(), 1, "one copy, whatever the number of filters that match");
/// assert_eq!(copies[0].1.qos, QoS::AtLeastOnce);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Model {
    sessions: BTreeMap<String, Filters>,
    retained: BTreeMap<String, (String, QoS)>,
}

impl Model {
    /// Returns whether a client has a session.
    #[must_use]
    pub fn has_session(&self, client_id: &str) -> bool {
        self.sessions.contains_key(client_id)
    }

    /// A client has connected: with a session that is resumed, or a new one.
    pub fn begin_session(&mut self, client_id: &str, is_resumed: bool) {
        let filters = self.sessions.entry(client_id.into()).or_default();
        if !is_resumed {
            filters.clear();
        }
    }

    /// The session of a client is over.
    pub fn end_session(&mut self, client_id: &str) {
        self.sessions.remove(client_id);
    }

    /// A client subscribes; returns the retained messages that it gets for it.
    pub fn subscribe(
        &mut self,
        client_id: &str,
        filter: &str,
        options: SubscriptionOptions,
    ) -> Vec<Copy> {
        let filters = self.sessions.entry(client_id.into()).or_default();
        let is_new = filters.insert(filter.into(), options).is_none();
        let wants_retained = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        let retained = self.retained.iter().filter(|_| wants_retained);
        let matching = retained.filter(|(topic, _)| matches(filter, topic));
        let copies = matching.map(|(topic, (payload, qos))| Copy {
            topic: topic.clone(),
            payload: payload.clone(),
            qos: (*qos).min(options.qos),
            retain: true,
        });
        copies.collect()
    }

    /// A client unsubscribes.
    pub fn unsubscribe(&mut self, client_id: &str, filter: &str) {
        if let Some(filters) = self.sessions.get_mut(client_id) {
            filters.remove(filter);
        }
    }

    /// A client publishes; returns who gets a copy: one for each session, at the highest QoS of
    /// its subscriptions that match and want it.
    pub fn publish(
        &mut self,
        publisher: &str,
        topic: &str,
        payload: &str,
        qos: QoS,
        retain: bool,
    ) -> Vec<(String, Copy)> {
        if retain && payload.is_empty() {
            self.retained.remove(topic);
        } else if retain {
            self.retained.insert(topic.into(), (payload.into(), qos));
        }
        let mut copies = Vec::new();
        for (client_id, filters) in &self.sessions {
            let matching: Vec<&SubscriptionOptions> = filters
                .iter()
                .filter(|(filter, _)| matches(filter, topic))
                .map(|(_, options)| options)
                .filter(|options| !(options.no_local && publisher == client_id))
                .collect();
            if let Some(granted) = matching.iter().map(|options| options.qos).max() {
                let keeps_retain = matching.iter().any(|options| options.retain_as_published);
                let copy = Copy {
                    topic: topic.into(),
                    payload: payload.into(),
                    qos: qos.min(granted),
                    retain: retain && keeps_retain,
                };
                copies.push((client_id.clone(), copy));
            }
        }
        copies
    }

    /// Returns the retained messages: topic and payload.
    pub fn retained(&self) -> impl Iterator<Item = (&str, &str)> {
        let retained = self.retained.iter();
        retained.map(|(topic, (payload, _))| (&**topic, &**payload))
    }

    /// Returns how many subscriptions there are.
    #[must_use]
    pub fn subscription_count(&self) -> usize {
        self.sessions.values().map(BTreeMap::len).sum()
    }

    /// Returns how many sessions there are.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }
}

/// Does the filter match the topic? v5 §4.7, level by level.
fn matches(filter: &str, topic: &str) -> bool {
    fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels_match(filter, topic),
            ([a, filter @ ..], [b, topic @ ..]) => a == b && levels_match(filter, topic),
            ([], _) | (_, []) => false,
        }
    }
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let split = |text| str::split(text, '/').collect::<Vec<_>>();
    levels_match(&split(filter), &split(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_examples_of_the_standard_say() {
        // v5 MQTT-4.7.1-1, v5 MQTT-4.7.2-1; v3.1.1 MQTT-4.7.2-1
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/wimbledon",
                true,
            ),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/a", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/a", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn retained_messages_are_replaced_and_removed() {
        // v5 MQTT-3.3.1-5, v5 MQTT-3.3.1-6
        let mut model = Model::default();
        for (payload, expected) in [("x", Some("x")), ("y", Some("y")), ("", None)] {
            model.publish("writer", "t", payload, QoS::AtMostOnce, true);
            assert_eq!(model.retained().next().map(|(_, it)| it), expected);
        }
    }
}
