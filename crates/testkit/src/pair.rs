//! One client, one broker, and somebody who watches what the broker delivers.

use std::{sync::Arc, time::Duration};

use mqttstack_client::core::{CleanStart, OperationId, Outcome, ReconnectPolicy, Settings};
use mqttstack_codec::{
    PacketType, Properties, ProtocolVersion, QoS, SubscribeFilters, Subscription,
};
use mqttstack_limits::Limits;
use mqttstack_session::Message;

use crate::{Chance, Direction, Link, Network, NetworkConditions, Seed, Station, station};

/// How many things may happen before a [`Pair`] counts as restless.
const STEPS_MAX: usize = 20_000;

/// One of the two clients of a [`Pair`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The client that publishes.
    Client,
    /// The client that is subscribed to `#`.
    Observer,
}

impl Side {
    const fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Observer => 1,
        }
    }
}

/// What a [`Pair`] is made of.
#[derive(Clone, Debug)]
pub struct PairSettings {
    /// The version of both clients.
    pub version: ProtocolVersion,
    /// Whether sessions outlive their connections.
    pub is_persistent: bool,
    /// The QoS that the observer asks for.
    pub observer_qos: QoS,
    /// The Keep Alive of both clients, in seconds.
    pub keep_alive: u16,
    /// What the clients take.
    pub client_limits: Limits,
    /// What the broker takes.
    pub broker_limits: Limits,
    /// The world in between.
    pub conditions: NetworkConditions,
}

impl Default for PairSettings {
    /// MQTT 5.0, sessions that stay, everything at QoS 2, no Keep Alive, a smooth world.
    fn default() -> Self {
        Self {
            version: ProtocolVersion::V5,
            is_persistent: true,
            observer_qos: QoS::ExactlyOnce,
            keep_alive: 0,
            client_limits: Limits::default(),
            broker_limits: Limits::default(),
            conditions: NetworkConditions::SMOOTH,
        }
    }
}

/// One client core and one broker core, joined by a [`Link`] in virtual time, and an observer that
/// is subscribed to everything.
///
/// ```
/// use mqttstack_testkit::{Pair, Seed, codec::{PacketType, QoS}, message};
///
/// let mut pair = Pair::connected(Seed(7));
/// pair.publish(message("a/b", "x", QoS::ExactlyOnce));
/// pair.run_until(|pair| pair.carried(PacketType::PubRec));
/// pair.cut_and_resume();
/// pair.run_until_idle();
/// assert_eq!(pair.delivered(), ["x"]);
/// ```
#[derive(Debug)]
pub struct Pair {
    network: Network,
    seed: Seed,
}

/// Returns a message.
///
/// # Panics
///
/// The topic is not a topic.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "the callers are tests, and know their topics"
)]
pub fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    let message = Message::builder(topic, payload.to_owned()).qos(qos);
    message.build().expect("a topic name")
}

impl Pair {
    /// Returns a pair with the default settings, connected and subscribed.
    #[must_use]
    pub fn connected(seed: Seed) -> Self {
        Self::connected_with(seed, &PairSettings::default())
    }

    /// Returns a pair, connected and subscribed.
    ///
    /// # Panics
    ///
    /// The settings do not allow for a connection.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the callers are tests, and know their settings"
    )]
    pub fn connected_with(seed: Seed, settings: &PairSettings) -> Self {
        let mut chance = Chance::new(seed);
        let conditions = settings.conditions.clone();
        let limits = settings.broker_limits.clone();
        let mut network = Network::new(1, limits, conditions, chance.fork());
        for name in ["client", "observer"] {
            let mut client = Settings::new(name);
            client.version = settings.version;
            client.keep_alive = settings.keep_alive;
            client.limits = Arc::new(settings.client_limits.clone());
            client.clean_start = if settings.is_persistent {
                station::persistent(settings.version)
            } else {
                CleanStart::Always
            };
            client.reconnect = ReconnectPolicy::default();
            let station = Station::new(client, Seed(chance.next()));
            network.add(station.expect("settings that allow for a connection"));
        }
        let mut pair = Self { network, seed };
        pair.drive(Side::Client, |station, now| station.core.connect(now));
        pair.drive(Side::Observer, |station, now| station.core.connect(now));
        pair.subscribe(Side::Observer, "#", settings.observer_qos);
        pair.run_until_idle();
        pair
    }

    /// Publishes for the client.
    ///
    /// # Panics
    ///
    /// The client does not take the message.
    #[expect(
        clippy::expect_used,
        reason = "the callers are tests, and publish little"
    )]
    pub fn publish(&mut self, message: Message) -> OperationId {
        let publish = |station: &mut Station, now| station.core.publish(message, now);
        self.drive(Side::Client, publish)
            .expect("room for the message")
    }

    /// Subscribes for one of the two.
    ///
    /// # Panics
    ///
    /// The filter is not a filter, or the client takes no request.
    #[expect(
        clippy::expect_used,
        reason = "the callers are tests, and know their filters"
    )]
    pub fn subscribe(&mut self, side: Side, filter: &str, qos: QoS) -> OperationId {
        let filters = SubscribeFilters::new([Subscription::new(filter, qos)]).expect("a filter");
        let subscribe =
            |station: &mut Station, _| station.core.subscribe(filters, Properties::empty());
        self.drive(side, subscribe).expect("room for the request")
    }

    /// Has one of the two do something.
    ///
    /// # Panics
    ///
    /// An invariant of the [`Network`] does not hold.
    pub fn drive<R>(
        &mut self,
        side: Side,
        verb: impl FnOnce(&mut Station, mqttstack_limits::Instant) -> R,
    ) -> R {
        let result = self.network.drive(side.index(), verb);
        self.check();
        result
    }

    /// Lets things happen until `is_reached`.
    ///
    /// # Panics
    ///
    /// It never is, or an invariant does not hold.
    pub fn run_until(&mut self, mut is_reached: impl FnMut(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            if is_reached(self) {
                return;
            }
            let goes_on = self.network.step();
            self.check();
            assert!(
                goes_on || is_reached(self),
                "nothing more to come; {}",
                self.seed()
            );
        }
        panic!("not reached in {STEPS_MAX} steps; {}", self.seed());
    }

    /// Lets things happen until nothing is under way and nobody waits for anything.
    ///
    /// # Panics
    ///
    /// There is no end of it, or an invariant does not hold.
    pub fn run_until_idle(&mut self) {
        self.run_until(|pair| pair.network.is_quiet());
    }

    /// Lets time pass, and what happens in it.
    ///
    /// # Panics
    ///
    /// An invariant does not hold.
    pub fn advance(&mut self, duration: Duration) {
        self.network.advance(duration);
        self.check();
    }

    /// Cuts the link of the client: what is under way is lost. The client comes back when its
    /// reconnect policy says so.
    ///
    /// # Panics
    ///
    /// The client has no link, or an invariant does not hold.
    pub fn cut(&mut self) {
        self.cut_side(Side::Client);
    }

    /// Cuts the link of one of the two.
    ///
    /// # Panics
    ///
    /// It has none, or an invariant does not hold.
    pub fn cut_side(&mut self, side: Side) {
        let now = self.network.now();
        self.link_mut(side).cut(now);
    }

    /// Cuts the link of the client, and waits until it is back.
    ///
    /// # Panics
    ///
    /// It does not come back, or an invariant does not hold.
    pub fn cut_and_resume(&mut self) {
        self.cut();
        self.run_until(|pair| pair.network.link(0).is_none());
        self.run_until(|pair| pair.client().core.is_connected());
    }

    /// Cuts the link of one of the two after so many more bytes have arrived in a direction.
    ///
    /// # Panics
    ///
    /// It has no link.
    pub fn cut_after(&mut self, side: Side, direction: Direction, count: u64) {
        self.link_mut(side).cut_after(direction, count);
    }

    /// Returns whether the present link of the client has carried a packet of this type whole.
    #[must_use]
    pub fn carried(&self, packet_type: PacketType) -> bool {
        let link = self.network.link(Side::Client.index());
        link.is_some_and(|link| link.carried(packet_type))
    }

    /// Returns the payloads that the observer got, in order.
    #[must_use]
    pub fn delivered(&self) -> Vec<&str> {
        self.station(Side::Observer).payloads()
    }

    /// Returns how an operation of the client ended, if it has.
    #[must_use]
    pub fn outcome(&self, operation: OperationId) -> Option<&Outcome> {
        self.client().outcome(operation)
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &Station {
        self.station(Side::Client)
    }

    /// Returns one of the two.
    #[must_use]
    pub fn station(&self, side: Side) -> &Station {
        &self.network.stations()[side.index()]
    }

    /// Returns the link of one of the two.
    ///
    /// # Panics
    ///
    /// It has none.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the callers are tests, and see the cause"
    )]
    pub fn link(&self, side: Side) -> &Link {
        self.network.link(side.index()).expect("a link")
    }

    /// Returns the link of one of the two, to do it harm.
    ///
    /// # Panics
    ///
    /// It has none.
    #[expect(
        clippy::expect_used,
        reason = "the callers are tests, and see the cause"
    )]
    pub fn link_mut(&mut self, side: Side) -> &mut Link {
        self.network.link_mut(side.index()).expect("a link")
    }

    /// Returns everything.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    fn check(&self) {
        let faults = self.network.faults();
        assert!(faults.is_empty(), "{faults:#?}; {}", self.seed());
    }

    fn seed(&self) -> String {
        format!("at {} with Seed({})", self.network.now(), self.seed)
    }
}
