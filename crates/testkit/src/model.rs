//! The broker's routing, as naive as the standard tells it.
//!
//! Maps and loops, no index, no queue, no worker: small enough to be compared with the standard by
//! reading, and slow enough to be nothing else than a reference.

use std::collections::BTreeMap;

use mqttstack_codec::{QoS, RetainHandling, SubscriptionOptions};
use mqttstack_limits::Instant;

/// A message that is published.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// The Client Identifier of its publisher.
    pub publisher: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a str,
    /// The QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// When it expires.
    pub expires_at: Instant,
}

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
    /// The identifiers of the subscriptions it is due to, in ascending order.
    pub subscription_ids: Vec<u32>,
}

/// Who gets a message.
#[derive(Clone, Debug, Default)]
pub struct Routed {
    /// A copy for each session that is subscribed.
    pub copies: Vec<(String, Copy)>,
    /// Of each of these, one gets a copy: the members of a shared group.
    pub groups: Vec<Vec<(String, Copy)>>,
}

/// What was agreed about a filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Granted {
    /// The options.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier.
    pub id: Option<u32>,
}

impl Granted {
    /// Returns the copy of a message that a subscription of this kind is good for.
    fn copy(&self, publication: &Publication<'_>, retain: bool) -> Copy {
        Copy {
            topic: publication.topic.into(),
            payload: publication.payload.into(),
            qos: publication.qos.min(self.options.qos),
            retain,
            subscription_ids: self.id.into_iter().collect(),
        }
    }

    /// Returns the copy of a message that it is good for as a subscription to `shared`, if that is
    /// a shared filter that matches.
    #[must_use]
    pub fn shared_copy(&self, shared: &str, publication: &Publication<'_>) -> Option<Copy> {
        let filter = group_filter(shared)?;
        let retain = publication.retain && self.options.retain_as_published;
        matches(filter, publication.topic).then(|| self.copy(publication, retain))
    }
}

/// What a client has subscribed to.
type Filters = BTreeMap<String, Granted>;

/// Who is subscribed to what, and what is retained.
///
/// ```
/// use mqttstack_testkit::{Granted, Model, Publication};
/// use mqttstack_testkit::codec::{QoS, SubscriptionOptions};
/// use mqttstack_testkit::limits::Instant;
///
/// let mut model = Model::default();
/// let granted = |qos| Granted { options: SubscriptionOptions::new(qos), id: None };
/// model.begin_session("reader", false);
/// model.subscribe("reader", "a/+", granted(QoS::AtLeastOnce), Instant::EPOCH);
/// model.subscribe("reader", "#", granted(QoS::AtMostOnce), Instant::EPOCH);
/// let routed = model.publish(&Publication {
///     publisher: "writer",
///     topic: "a/b",
///     payload: "x",
///     qos: QoS::ExactlyOnce,
///     retain: false,
///     expires_at: Instant::NEVER,
/// });
/// assert_eq!(routed.copies.len(), 1, "one copy, whatever the number of filters that match");
/// assert_eq!(routed.copies[0].1.qos, QoS::AtLeastOnce);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Model {
    sessions: BTreeMap<String, Filters>,
    retained: BTreeMap<String, (String, QoS, Instant)>,
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

    /// A broker that begins anew has this session, with these subscriptions.
    pub fn set_session(&mut self, client_id: &str, filters: BTreeMap<String, Granted>) {
        self.sessions.insert(client_id.into(), filters);
    }

    /// A broker that begins anew has these retained messages, by topic: payload, QoS and deadline.
    pub fn set_retained(&mut self, retained: BTreeMap<String, (String, QoS, Instant)>) {
        self.retained = retained;
    }

    /// A client subscribes; returns the retained messages that it gets for it. A shared subscription
    /// gets none.
    pub fn subscribe(
        &mut self,
        client_id: &str,
        filter: &str,
        granted: Granted,
        now: Instant,
    ) -> Vec<Copy> {
        let filters = self.sessions.entry(client_id.into()).or_default();
        let is_new = filters.insert(filter.into(), granted).is_none();
        let wants_retained = match granted.options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        if !wants_retained || group_filter(filter).is_some() {
            return Vec::new();
        }
        let matching = self.stored(now).filter(|it| matches(filter, it.topic));
        let copies = matching.map(|it| granted.copy(&it, true));
        copies.collect()
    }

    /// A client unsubscribes.
    pub fn unsubscribe(&mut self, client_id: &str, filter: &str) {
        if let Some(filters) = self.sessions.get_mut(client_id) {
            filters.remove(filter);
        }
    }

    /// A client publishes; returns who gets it.
    pub fn publish(&mut self, publication: &Publication<'_>) -> Routed {
        let topic = publication.topic;
        if publication.retain && publication.payload.is_empty() {
            self.retained.remove(topic);
        } else if publication.retain {
            let Publication { payload, qos, .. } = *publication;
            let stored = (payload.into(), qos, publication.expires_at);
            self.retained.insert(topic.into(), stored);
        }
        let copies = self.sessions.iter().filter_map(|(client_id, filters)| {
            let copy = Self::copy_for(client_id, filters, publication)?;
            Some((client_id.clone(), copy))
        });
        Routed {
            copies: copies.collect(),
            groups: self.groups_for(publication),
        }
    }

    /// Returns what a client would get of a message now, apart from shared subscriptions.
    #[must_use]
    pub fn copy_of(&self, client_id: &str, publication: &Publication<'_>) -> Option<Copy> {
        Self::copy_for(client_id, self.sessions.get(client_id)?, publication)
    }

    /// One copy for each session, at the highest QoS of its subscriptions that match and want it.
    fn copy_for(client_id: &str, filters: &Filters, publication: &Publication<'_>) -> Option<Copy> {
        let is_echo = publication.publisher == client_id;
        let matching = filters.iter();
        let matching = matching.filter(|(filter, _)| matches(filter, publication.topic));
        let matching: Vec<&Granted> = matching
            .map(|(_, granted)| granted)
            .filter(|granted| !(granted.options.no_local && is_echo))
            .collect();
        let best = matching.iter().max_by_key(|granted| granted.options.qos)?;
        let keeps_retain = matching.iter().any(|it| it.options.retain_as_published);
        let mut copy = best.copy(publication, publication.retain && keeps_retain);
        copy.subscription_ids = matching.iter().filter_map(|granted| granted.id).collect();
        copy.subscription_ids.sort_unstable();
        Some(copy)
    }

    /// The members of each shared group whose filter matches.
    fn groups_for(&self, publication: &Publication<'_>) -> Vec<Vec<(String, Copy)>> {
        let mut groups: BTreeMap<&str, Vec<(String, Copy)>> = BTreeMap::new();
        for (client_id, filters) in &self.sessions {
            for (shared, granted) in filters {
                if let Some(copy) = granted.shared_copy(shared, publication) {
                    let members = groups.entry(shared).or_default();
                    members.push((client_id.clone(), copy));
                }
            }
        }
        groups.into_values().collect()
    }

    /// Returns whether each shared group that a client is in, and whose filter matches, has another
    /// member.
    #[must_use]
    pub fn has_heirs(&self, client_id: &str, topic: &str) -> bool {
        let own = self.sessions.get(client_id);
        let mut shared = own
            .into_iter()
            .flat_map(BTreeMap::keys)
            .filter(|filter| group_filter(filter).is_some_and(|filter| matches(filter, topic)));
        shared.all(|filter| {
            let mut members = self.sessions.iter();
            members.any(|(other, filters)| other != client_id && filters.contains_key(filter))
        })
    }

    fn stored(&self, now: Instant) -> impl Iterator<Item = Publication<'_>> {
        let stored = self.retained.iter();
        let stored = stored.map(|(topic, (payload, qos, expires_at))| Publication {
            publisher: "",
            topic,
            payload,
            qos: *qos,
            retain: true,
            expires_at: *expires_at,
        });
        stored.filter(move |it| it.expires_at > now)
    }

    /// Returns the retained messages that have not expired: topic and payload.
    pub fn retained(&self, now: Instant) -> impl Iterator<Item = (&str, &str)> {
        self.stored(now).map(|it| (it.topic, it.payload))
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

/// Returns the filter of `$share/{group}/{filter}`.
fn group_filter(text: &str) -> Option<&str> {
    let (_, filter) = text.strip_prefix("$share/")?.split_once('/')?;
    Some(filter)
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
            model.publish(&Publication {
                payload,
                retain: true,
                ..PUBLICATION
            });
            let mut retained = model.retained(Instant::EPOCH);
            assert_eq!(retained.next().map(|(_, it)| it), expected);
        }
    }

    #[test]
    fn a_shared_group_is_told_apart_from_its_members() {
        // v5 §4.8.2
        let mut model = Model::default();
        let granted = Granted {
            options: SubscriptionOptions::new(QoS::AtLeastOnce),
            id: None,
        };
        for (client_id, filter) in [("1", "$share/g/t"), ("2", "$share/g/t"), ("3", "t")] {
            model.subscribe(client_id, filter, granted, Instant::EPOCH);
        }
        let routed = model.publish(&PUBLICATION);
        let names = |copies: &[(String, Copy)]| -> Vec<_> {
            copies.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&routed.copies), ["3"]);
        assert_eq!(routed.groups.len(), 1);
        assert_eq!(names(&routed.groups[0]), ["1", "2"]);
        assert!(model.has_heirs("1", "t") && model.has_heirs("3", "t"));
        assert!(model.has_heirs("1", "elsewhere"));
        model.end_session("2");
        assert!(!model.has_heirs("1", "t"));
    }

    const PUBLICATION: Publication<'static> = Publication {
        publisher: "writer",
        topic: "t",
        payload: "x",
        qos: QoS::AtMostOnce,
        retain: false,
        expires_at: Instant::NEVER,
    };
}
