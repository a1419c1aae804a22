//! What clients do, and what is done to them: a script that a seed writes.

use std::time::Duration;

use mqttstack_client::core::OperationId;
use mqttstack_codec::{
    Properties, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscribeFilters, Subscription,
    SubscriptionOptions, UnsubscribeFilters,
};
use mqttstack_session::Message;

use super::settings::{LARGE_PAYLOAD, WorldSettings};
use crate::{Chance, Direction, Network};

/// Few topics and many filters, so that they meet.
const TOPICS: [&str; 8] = ["a", "a/b", "a/c", "b", "b/c/d", "$a/b", "$s/1", "$s/2"];
const FILTERS: [&str; 8] = ["#", "+", "a/+", "a/b", "a/#", "+/+/d", "b", "$a/#"];
/// No ordinary filter matches the topics of these.
const SHARED_FILTERS: [&str; 3] = ["$share/g/$s/#", "$share/h/$s/#", "$share/g/$s/1"];
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// How many messages are published at most: what a session is owed has to fit its queue, unless
/// that is made to overflow.
const PUBLICATIONS_MAX: u32 = 400;

/// One line of a script. Numbers of clients that do not exist wrap around.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// The next thing happens.
    Step,
    /// So much time passes, with what happens in it.
    Pass(Duration),
    /// A client publishes.
    Publish(usize, Publish),
    /// A client subscribes; the last is the Subscription Identifier, which 3.x does not have.
    Subscribe(usize, &'static str, SubscriptionOptions, Option<u32>),
    /// A client unsubscribes.
    Unsubscribe(usize, &'static str),
    /// A client connects.
    Connect(usize),
    /// A client disconnects; in 5.0 it may have its will published nevertheless.
    Disconnect(usize, ReasonCode),
    /// An application acknowledges one of the messages that it has not acknowledged yet.
    Acknowledge(usize, usize, ReasonCode),
    /// A link is cut.
    Cut(usize),
    /// A link will be cut once so many more bytes have arrived.
    CutAfter(usize, Direction, u64),
    /// A link is cut, and only one end hears of it.
    CutHalf(usize, Direction),
    /// A link is cut, and nobody hears of it.
    Hang(usize),
    /// Nothing arrives in a direction for so long.
    Stall(usize, Direction, Duration),
    /// The broker stops without a word, and is back after so long.
    Crash(Duration),
}

/// What a client publishes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Publish {
    /// A number that no other message has.
    pub number: u32,
    /// The topic.
    pub topic: &'static str,
    /// The QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// What the payload is like.
    pub body: Body,
    /// The Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
}

/// What a payload is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// None: what is retained is removed.
    Empty,
    /// A few bytes.
    Small,
    /// More than some clients take.
    Large,
}

/// Draws a script.
pub(super) fn draw(chance: &mut Chance, settings: &WorldSettings, steps: usize) -> Vec<Action> {
    let mut published = 0;
    let count = settings.clients + settings.thieves;
    let draw = |_| {
        if settings.crashes && chance.percent(1) {
            return Action::Crash(Duration::from_millis(chance.below(3_000)));
        }
        draw_one(chance, settings.clients, count, &mut published)
    };
    (0..steps).map(draw).collect()
}

fn draw_one(chance: &mut Chance, clients: usize, all: usize, published: &mut u32) -> Action {
    let client = chance.index(clients);
    let anyone = chance.index(all);
    match chance.below(100) {
        0..52 => Action::Step,
        52..70 if *published < PUBLICATIONS_MAX => {
            *published += 1;
            Action::Publish(client, draw_publish(chance, *published))
        }
        70..77 => draw_subscribe(chance, client),
        77..79 => {
            let filter = match chance.percent(30) {
                true => *chance.pick(&SHARED_FILTERS),
                false => *chance.pick(&FILTERS),
            };
            Action::Unsubscribe(client, filter)
        }
        79..85 => {
            // Some refuse what they get, as 5.0 allows.
            let is_refused = chance.percent(15);
            let reason = match is_refused {
                true => ReasonCode::QuotaExceeded,
                false => ReasonCode::Success,
            };
            Action::Acknowledge(client, chance.index(64), reason)
        }
        85..90 => Action::Connect(anyone),
        90..92 => {
            let reason = match chance.percent(30) {
                true => ReasonCode::DisconnectWithWillMessage,
                false => ReasonCode::Success,
            };
            Action::Disconnect(anyone, reason)
        }
        92 => Action::Pass(Duration::from_millis(chance.below(4_000))),
        _ => draw_harm(chance, anyone),
    }
}

fn draw_publish(chance: &mut Chance, number: u32) -> Publish {
    let topic = *chance.pick(&TOPICS);
    let retain = !topic.starts_with(super::accounts::SHARED_TOPICS) && chance.percent(20);
    let qos = *chance.pick(&QOS);
    let body = match chance.below(100) {
        // A repeat of QoS 2 could not be told from another removal.
        0..30 if retain && qos != QoS::ExactlyOnce => Body::Empty,
        30..38 => Body::Large,
        _ => Body::Small,
    };
    let lasts = body != Body::Empty && chance.percent(15);
    let expiry = lasts.then(|| *chance.pick(&[1, 2, 5, 3_600, 1_000_000_000]));
    Publish {
        number,
        topic,
        qos,
        retain,
        body,
        expiry,
    }
}

fn draw_subscribe(chance: &mut Chance, client: usize) -> Action {
    let mut options = SubscriptionOptions::new(*chance.pick(&QOS));
    let id = u32::try_from(chance.below(4)).ok().filter(|id| *id > 0);
    options.retain_as_published = chance.percent(20);
    if chance.percent(25) {
        // No Local is not for shared subscriptions (v5 MQTT-3.8.3-4).
        let filter = *chance.pick::<&'static str>(&SHARED_FILTERS);
        return Action::Subscribe(client, filter, options, id);
    }
    options.no_local = chance.percent(20);
    options.retain_handling = *chance.pick(&[
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    let filter = *chance.pick::<&'static str>(&FILTERS);
    Action::Subscribe(client, filter, options, id)
}

fn draw_harm(chance: &mut Chance, client: usize) -> Action {
    let direction = *chance.pick(&Direction::BOTH);
    match chance.below(6) {
        0 => Action::Cut(client),
        1 | 2 => Action::CutAfter(client, direction, chance.below(80)),
        3 => Action::CutHalf(client, direction),
        4 => Action::Hang(client),
        _ => {
            let pause = Duration::from_millis(chance.below(2_000));
            Action::Stall(client, direction, pause)
        }
    }
}

impl Publish {
    /// Returns the payload: who publishes, the number, the QoS, and what fills it up.
    pub(super) fn payload(&self, client: usize) -> String {
        let text = || format!("{client}:{}:{}", self.number, self.qos.as_u8());
        match self.body {
            Body::Empty => String::new(),
            Body::Small => text(),
            Body::Large => format!("{}:{}", text(), "x".repeat(LARGE_PAYLOAD)),
        }
    }

    fn message(&self, client: usize) -> Option<Message> {
        let builder = Message::builder(self.topic, self.payload(client));
        let mut builder = builder.qos(self.qos).retain(self.retain);
        if let Some(seconds) = self.expiry {
            builder = builder.expiry_interval(seconds);
        }
        builder.build().ok()
    }
}

impl Action {
    /// Has it happen; returns the operation that a client has begun, if it has, and its number.
    pub(super) fn perform(
        &self,
        network: &mut Network,
        clients: usize,
    ) -> Option<(usize, OperationId)> {
        let now = network.now();
        let count = network.stations().len();
        let client = |number: &usize| number.checked_rem(clients).unwrap_or_default();
        let anyone = |number: &usize| number.checked_rem(count).unwrap_or_default();
        match self {
            Self::Step => {
                // A world at rest has to be woken.
                if !network.step() {
                    network.drive(0, |station, now| station.core.connect(now));
                }
            }
            Self::Pass(duration) => network.advance(*duration),
            Self::Publish(number, publish) => {
                let index = client(number);
                let message = publish.message(index)?;
                // QoS 0 is not taken without a connection, nothing by a full queue.
                let taken = network.drive(index, |it, now| it.core.publish(message, now));
                return Some((index, taken.ok()?));
            }
            Self::Subscribe(number, filter, options, id) => {
                let index = client(number);
                return Some((index, subscribe(network, index, filter, *options, *id)?));
            }
            Self::Unsubscribe(number, filter) => {
                let index = client(number);
                let filters = UnsubscribeFilters::new([*filter]).ok()?;
                let asked = network.drive(index, |station, _| {
                    station.core.unsubscribe(filters, Properties::empty())
                });
                return Some((index, asked.ok()?));
            }
            Self::Connect(number) => {
                network.drive(anyone(number), |station, now| station.core.connect(now));
            }
            Self::Disconnect(number, reason) => {
                network.drive(anyone(number), |station, now| {
                    station.core.disconnect(*reason, now);
                });
            }
            Self::Acknowledge(number, which, reason) => {
                network.drive(client(number), |it, _| it.acknowledge(*which, *reason));
            }
            Self::Cut(number) => network.link_mut(anyone(number))?.cut(now),
            Self::CutAfter(number, direction, count) => {
                let link = network.link_mut(anyone(number))?;
                if !link.is_dead() {
                    link.cut_after(*direction, *count);
                }
            }
            Self::CutHalf(number, direction) => {
                network.link_mut(anyone(number))?.cut_half(*direction, now);
            }
            Self::Hang(number) => network.link_mut(anyone(number))?.hang(),
            Self::Stall(number, direction, pause) => {
                let link = network.link_mut(anyone(number))?;
                link.stall(*direction, now + *pause);
            }
            Self::Crash(down) => network.crash(*down),
        }
        None
    }
}

fn subscribe(
    network: &mut Network,
    index: usize,
    filter: &str,
    mut options: SubscriptionOptions,
    id: Option<u32>,
) -> Option<OperationId> {
    let mut properties = Properties::empty();
    if network.stations()[index].core.settings().version == ProtocolVersion::V5 {
        if let Some(id) = id {
            let builder = Properties::builder().subscription_identifier(id);
            properties = builder.build().ok()?;
        }
    } else {
        options = SubscriptionOptions::new(options.qos);
    }
    let filters = SubscribeFilters::new([Subscription { filter, options }]).ok()?;
    let asked = network.drive(index, |station, _| {
        station.core.subscribe(filters, properties)
    });
    asked.ok()
}
