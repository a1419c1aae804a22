//! Who gets a message: the subscriptions that match it, one delivery for each session.

use std::ops::ControlFlow;

use mqttstack_codec::ReasonCode;
use mqttstack_limits::Instant;
use mqttstack_session::{
    Message, SubscriptionIds,
    fault::{self, Fault},
};
use mqttstack_topic::{GroupId, GroupTag, Match, TopicLimits, TopicName};

use super::{
    Core,
    directory::{Directory, Granted},
    groups::choose_member,
    keys::{SessionKey, WorkerId},
    locations::Location,
    match_cache::Matched,
    message::Target,
};

/// A subscription that matches a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) session: SessionKey,
    pub(super) granted: Granted,
    /// The shared group that it was chosen from.
    pub(super) group: Option<(GroupId, GroupTag)>,
}

impl Core {
    /// Collects the subscriptions that match, one member of each shared group; returns the steps
    /// that it took to find them.
    pub(super) fn find_subscribers(
        &mut self,
        message: &Message,
        limits: TopicLimits,
        publisher: Option<SessionKey>,
        hits: &mut Vec<Hit>,
    ) -> Result<usize, ReasonCode> {
        let topic = message.topic_bytes();
        // Before the lookup: what is found later may be newer, never older.
        let version = self.directory.subscriptions.version();
        if let Some(matches) = self.match_cache.get(version, topic, limits) {
            collect(&self.directory, matches, publisher, hits);
            return Ok(0);
        }
        let Ok(name) = TopicName::with_limits(message.topic(), limits) else {
            return Err(ReasonCode::TopicNameInvalid);
        };
        let mut matches = std::mem::take(&mut self.matches);
        let steps = self.look_up(&name, &mut matches);
        collect(&self.directory, &matches, publisher, hits);
        self.match_cache.insert(version, topic, limits, &matches);
        matches.clear();
        self.matches = matches;
        Ok(steps)
    }

    /// Asks the index what a topic matches; returns the steps that it took.
    fn look_up(&self, topic: &TopicName<'_>, matches: &mut Vec<Matched>) -> usize {
        let index = self.directory.subscriptions.read();
        let mut steps = 0;
        let _ = index.lookup_counting(topic, &mut steps, |found| {
            matches.push(match found {
                Match::Subscriber { key, value } => Matched::Subscriber(key, *value),
                Match::Group(group) => Matched::Group(group.id()),
            });
            ControlFlow::Continue(())
        });
        steps
    }

    /// Delivers to each session once, whatever the number of its subscriptions that match. Returns
    /// whether some of them are with other workers.
    pub(super) fn fan_out(
        &mut self,
        message: Message,
        hits: &mut [Hit],
        handed_on: u8,
        now: Instant,
    ) -> bool {
        if let [only] = hits {
            let mut target = only.target(&message);
            target.handed_on = handed_on;
            return self.send_to_one(message, target, now);
        }
        let is_sorted = hits.is_sorted_by(|a, b| a.session < b.session);
        if !is_sorted {
            hits.sort_unstable_by_key(|hit| (hit.session, hit.group, hit.granted.subscription_id));
        }
        let mut others = std::mem::take(&mut self.others);
        let mut went_elsewhere = false;
        // What a session gets as the member of a group is a copy of its own.
        let overlap = |a: &Hit, b: &Hit| a.session == b.session && a.group == b.group;
        for overlapping in hits.chunk_by(overlap) {
            let Some(mut target) = merge(&message, overlapping) else {
                continue;
            };
            target.handed_on = handed_on;
            let location = self.directory.locations.of(target.session);
            match location {
                Some(Location { worker, .. }) if worker != self.worker => {
                    let index = usize::from(worker.index());
                    if others.len() <= index {
                        others.resize_with(index.saturating_add(1), Vec::new);
                    }
                    if let Some(targets) = others.get_mut(index) {
                        targets.push(target);
                    }
                    went_elsewhere = true;
                }
                _ => self.deliver_at(location, message.clone(), target, self.worker, now),
            }
        }
        for (index, targets) in (0..).zip(&mut others) {
            if !targets.is_empty() {
                let parcel = self.write_parcel(&message, targets);
                let to = WorkerId::new(index);
                self.send_message(to, message.clone(), targets.drain(..), parcel);
            }
        }
        self.others = others;
        self.messages.put(message);
        went_elsewhere
    }

    /// Delivers to the only session that gets a message; returns whether it is with another worker.
    fn send_to_one(&mut self, message: Message, target: Target, now: Instant) -> bool {
        let location = self.directory.locations.of(target.session);
        match location {
            Some(Location { worker, .. }) if worker != self.worker => {
                let parcel = self.write_parcel(&message, std::slice::from_ref(&target));
                self.send_message(worker, message, std::iter::once(target), parcel);
                true
            }
            _ => {
                self.deliver_at(location, message, target, self.worker, now);
                false
            }
        }
    }
}

impl Hit {
    /// Returns the delivery that it comes to alone.
    fn target(&self, message: &Message) -> Target {
        let Granted {
            qos,
            retain_as_published: keeps_retain,
            lasts,
            ..
        } = self.granted;
        Target {
            session: self.session,
            group: self.group.map(|(_, tag)| tag),
            lasts,
            held_as: None,
            handed_on: 0,
            qos: match fault::is_on(Fault::RaiseQos) {
                true => qos,
                false => qos.min(message.qos()),
            },
            retain: message.retain() && (keeps_retain || fault::is_on(Fault::PassRetainOn)),
            subscription_ids: match self.granted.subscription_id() {
                None => SubscriptionIds::None,
                Some(id) => SubscriptionIds::One(id),
            },
        }
    }
}

/// Finds out who gets a message that matches all this.
fn collect(
    directory: &Directory,
    matches: &[Matched],
    publisher: Option<SessionKey>,
    hits: &mut Vec<Hit>,
) {
    for matched in matches {
        let hit = match *matched {
            Matched::Subscriber(session, granted) => Some(Hit {
                session,
                granted,
                group: None,
            }),
            Matched::Group(group) => {
                let index = directory.subscriptions.read();
                let chosen = index
                    .group(group)
                    .and_then(|group| choose_member(group, None));
                if fault::is_on(Fault::ShareTwice) {
                    let but = chosen.map(|hit| hit.session);
                    let group = index.group(group);
                    hits.extend(group.and_then(|group| choose_member(group, but)));
                }
                chosen
            }
        };
        // v5 MQTT-3.8.3-3
        let is_echo = |hit: &Hit| {
            let is_local = hit.granted.no_local && publisher == Some(hit.session);
            is_local && !fault::is_on(Fault::IgnoreNoLocal)
        };
        hits.extend(hit.filter(|hit| !is_echo(hit)));
    }
}

/// One delivery for all subscriptions of a session that match: at the highest QoS granted, with
/// all Subscription Identifiers.
///
/// # Specification
///
/// v5 MQTT-3.3.4-2, v5 MQTT-3.3.4-3, v5 MQTT-3.3.4-4, v5 MQTT-3.3.1-12, v5 MQTT-3.3.1-13;
/// v3.1.1 MQTT-3.3.5-1, v3.1.1 MQTT-3.3.1-9.
fn merge(message: &Message, hits: &[Hit]) -> Option<Target> {
    let (first, rest) = hits.split_first()?;
    if rest.is_empty() {
        return Some(first.target(message));
    }
    let granted = hits.iter().map(|hit| hit.granted);
    let mut merged = *first;
    for other in granted.clone() {
        merged.granted.qos = merged.granted.qos.max(other.qos);
        merged.granted.retain_as_published |= other.retain_as_published;
        merged.granted.lasts |= other.lasts;
    }
    Some(Target {
        subscription_ids: granted.filter_map(|it| it.subscription_id()).collect(),
        ..merged.target(message)
    })
}
