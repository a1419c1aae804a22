//! Who gets a message: the subscriptions that match it, one delivery for each session.

use std::ops::ControlFlow;

use mqttstack_codec::{QoS, ReasonCode};
use mqttstack_limits::Instant;
use mqttstack_session::{
    Message, SubscriptionIds,
    fault::{self, Fault},
};
use mqttstack_topic::{GroupId, GroupTag, Match, TopicLimits, TopicName};

use super::{
    Core,
    directory::Granted,
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
        let mut cache = std::mem::take(&mut self.match_cache);
        // Before the lookup: what is found later may be newer, never older.
        let version = self.directory.subscriptions.version();
        let found = match cache.get(version, topic, limits) {
            Some(matches) => {
                self.collect(matches, publisher, hits);
                Ok(0)
            }
            None => match TopicName::with_limits(message.topic(), limits) {
                Ok(name) => {
                    let mut matches = std::mem::take(&mut self.matches);
                    let steps = self.look_up(&name, &mut matches);
                    self.collect(&matches, publisher, hits);
                    cache.insert(version, topic, limits, &matches);
                    matches.clear();
                    self.matches = matches;
                    Ok(steps)
                }
                Err(_) => Err(ReasonCode::TopicNameInvalid),
            },
        };
        self.match_cache = cache;
        found
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

    /// Finds out who gets a message that matches all this.
    fn collect(&self, matches: &[Matched], publisher: Option<SessionKey>, hits: &mut Vec<Hit>) {
        for matched in matches {
            let hit = match *matched {
                Matched::Subscriber(session, granted) => Some(Hit {
                    session,
                    granted,
                    group: None,
                }),
                Matched::Group(group) => {
                    let index = self.directory.subscriptions.read();
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

    /// Delivers to each session once, whatever the number of its subscriptions that match. Returns
    /// whether some of them are with other workers.
    pub(super) fn fan_out(
        &mut self,
        message: &Message,
        hits: &mut [Hit],
        handed_on: u8,
        now: Instant,
    ) -> bool {
        let is_sorted = hits.is_sorted_by(|a, b| a.session < b.session);
        if !is_sorted {
            hits.sort_unstable_by_key(|hit| (hit.session, hit.group, hit.granted.subscription_id));
        }
        let mut others = std::mem::take(&mut self.others);
        let mut went_elsewhere = false;
        // What a session gets as the member of a group is a copy of its own.
        let overlap = |a: &Hit, b: &Hit| a.session == b.session && a.group == b.group;
        for overlapping in hits.chunk_by(overlap) {
            let Some(mut target) = merge(message, overlapping) else {
                continue;
            };
            target.handed_on = handed_on;
            match self.directory.locations.of(target.session) {
                Some(Location { worker, .. }) if worker != self.worker => {
                    let index = usize::from(worker.index());
                    if others.len() <= index {
                        others.resize_with(index.saturating_add(1), Vec::new);
                    }
                    if let Some(targets) = others.get_mut(index) {
                        if targets.capacity() == 0 {
                            *targets = self.spare_targets.pop().unwrap_or_default();
                        }
                        targets.push(target);
                    }
                    went_elsewhere = true;
                }
                _ => self.deliver(message, target, self.worker, now),
            }
        }
        for (index, targets) in (0..).zip(&mut others) {
            if !targets.is_empty() {
                let targets = std::mem::take(targets);
                self.send_batch(WorkerId::new(index), message.clone(), targets);
            }
        }
        self.others = others;
        went_elsewhere
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
    let first = hits.first()?;
    let granted = hits
        .iter()
        .map(|hit| hit.granted.qos)
        .max()
        .unwrap_or(QoS::AtMostOnce);
    let keeps_retain = hits.iter().any(|hit| hit.granted.retain_as_published);
    Some(Target {
        session: first.session,
        group: first.group.map(|(_, tag)| tag),
        lasts: hits.iter().any(|hit| hit.granted.lasts),
        held_as: None,
        handed_on: 0,
        qos: match fault::is_on(Fault::RaiseQos) {
            true => granted,
            false => granted.min(message.qos()),
        },
        retain: message.retain() && (keeps_retain || fault::is_on(Fault::PassRetainOn)),
        subscription_ids: match hits {
            [only] if only.granted.subscription_id == 0 => SubscriptionIds::None,
            _ => hits
                .iter()
                .filter_map(|hit| hit.granted.subscription_id())
                .collect(),
        },
    })
}
