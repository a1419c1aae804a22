//! What clients do, and what is done to them.

use std::time::Duration;

use mqttstack_codec::{
    Properties, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscribeFilters, Subscription,
    SubscriptionOptions, UnsubscribeFilters,
};
use mqttstack_session::Message;

use crate::{Chance, Direction, Network};

/// Few topics and many filters, so that they meet.
const TOPICS: [&str; 6] = ["a", "a/b", "a/c", "b", "b/c/d", "$a/b"];
const FILTERS: [&str; 8] = ["#", "+", "a/+", "a/b", "a/#", "+/+/d", "b", "$a/#"];
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// How many messages are published at most: what a session is owed has to fit its queue.
const PUBLICATIONS_MAX: u64 = 400;

/// Draws what happens next.
#[derive(Debug)]
pub(super) struct Workload {
    chance: Chance,
    published: u64,
}

impl Workload {
    pub(super) const fn new(chance: Chance) -> Self {
        Self {
            chance,
            published: 0,
        }
    }

    /// Does one thing, or lets one thing happen; returns what, if it is worth a line.
    pub(super) fn act(&mut self, network: &mut Network) -> Option<String> {
        let index = self.chance.index(network.stations().len());
        match self.chance.below(100) {
            0..60 => {
                if !network.step() {
                    network.drive(index, |station, now| station.core.connect(now));
                }
                None
            }
            60..78 => self.publish(network, index),
            78..85 => self.subscribe(network, index),
            85..87 => self.unsubscribe(network, index),
            87..92 => {
                network.drive(index, |station, now| station.core.connect(now));
                Some(format!("client {index} connects"))
            }
            92 => {
                network.drive(index, |station, now| {
                    station.core.disconnect(ReasonCode::Success, now);
                });
                Some(format!("client {index} disconnects"))
            }
            93 => {
                let duration = Duration::from_millis(self.chance.below(3_000));
                network.advance(duration);
                Some(format!("{duration:?} pass"))
            }
            _ => self.harm(network, index),
        }
    }

    fn publish(&mut self, network: &mut Network, index: usize) -> Option<String> {
        if self.published >= PUBLICATIONS_MAX {
            return None;
        }
        self.published += 1;
        let topic = *self.chance.pick(&TOPICS);
        let qos = *self.chance.pick(&QOS);
        let retain = self.chance.percent(20);
        let is_removal = retain && qos != QoS::ExactlyOnce && self.chance.percent(30);
        let payload = if is_removal {
            String::new()
        } else {
            format!("{index}:{}:{}", self.published, qos.as_u8())
        };
        let line = format!("client {index} publishes {topic} {payload:?} {qos:?} {retain}");
        let message = Message::builder(topic, payload).qos(qos).retain(retain);
        let message = message.build().ok()?;
        // QoS 0 is not taken without a connection.
        let _ = network.drive(index, |station, now| station.core.publish(message, now));
        Some(line)
    }

    fn subscribe(&mut self, network: &mut Network, index: usize) -> Option<String> {
        let filter = *self.chance.pick(&FILTERS);
        let mut options = SubscriptionOptions::new(*self.chance.pick(&QOS));
        let settings = network.stations()[index].core.settings();
        if settings.version == ProtocolVersion::V5 {
            options.no_local = self.chance.percent(20);
            options.retain_as_published = self.chance.percent(20);
            options.retain_handling = *self.chance.pick(&[
                RetainHandling::Send,
                RetainHandling::SendIfNew,
                RetainHandling::DoNotSend,
            ]);
        }
        let filters = SubscribeFilters::new([Subscription { filter, options }]).ok()?;
        let subscribe = network.drive(index, |station, _| {
            station.core.subscribe(filters, Properties::empty())
        });
        subscribe.ok()?;
        Some(format!("client {index} subscribes {filter} {options:?}"))
    }

    fn unsubscribe(&mut self, network: &mut Network, index: usize) -> Option<String> {
        let filter = *self.chance.pick(&FILTERS);
        let filters = UnsubscribeFilters::new([filter]).ok()?;
        let unsubscribe = network.drive(index, |station, _| {
            station.core.unsubscribe(filters, Properties::empty())
        });
        unsubscribe.ok()?;
        Some(format!("client {index} unsubscribes {filter}"))
    }

    fn harm(&mut self, network: &mut Network, index: usize) -> Option<String> {
        let now = network.now();
        let direction = *self.chance.pick(&Direction::BOTH);
        let link = network.link_mut(index).filter(|link| !link.is_dead())?;
        Some(match self.chance.below(6) {
            0 => {
                link.cut(now);
                format!("the link of client {index} is cut")
            }
            1 | 2 => {
                let count = self.chance.below(80);
                link.cut_after(direction, count);
                format!("the link of client {index} will be cut after {count} {direction:?}")
            }
            3 => {
                link.cut_half(direction, now);
                format!("the link of client {index} is half open, {direction:?} ends")
            }
            4 => {
                link.hang();
                format!("the link of client {index} hangs")
            }
            _ => {
                let pause = Duration::from_millis(self.chance.below(2_000));
                link.stall(direction, now + pause);
                format!("the link of client {index} stalls {pause:?} {direction:?}")
            }
        })
    }
}
