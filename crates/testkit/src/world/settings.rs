//! What a world is made of, drawn from its seed.

use std::{ops::Range, sync::Arc, time::Duration};

use mqttstack_client::core::{CleanStart, ReconnectPolicy, Settings};
use mqttstack_client::session::client::LostSession;
use mqttstack_codec::{Properties, ProtocolVersion, QoS, Utf8Bytes, Will};
use mqttstack_limits::{Limits, Overflow};

use crate::{Chance, NetworkConditions, Patience, Seed, Station};

/// How many bytes fill up a payload that some clients do not take.
pub(super) const LARGE_PAYLOAD: usize = 300;

/// What clients that do not take it say is their Maximum Packet Size, in bytes: what is not large
/// fits.
const SMALL_PACKETS: u32 = 150;

/// What a world is made of; what happens in it comes from the seed.
#[derive(Clone, Debug)]
pub struct WorldSettings {
    /// How many workers the broker has.
    pub workers: u8,
    /// How many clients there are.
    pub clients: usize,
    /// How many of them have a second client with their Client Identifier, which begins a new
    /// session whenever it connects.
    pub thieves: usize,
    /// What lies between clients and broker.
    pub conditions: NetworkConditions,
    /// What the broker takes from each client.
    pub limits: Limits,
    /// Whether order is looked at.
    pub is_ordered: bool,
    /// Whether the broker stops without a word now and then; it needs a store.
    pub crashes: bool,
}

impl Default for WorldSettings {
    /// One worker, five clients, a rough world, queues that are never full.
    fn default() -> Self {
        Self {
            workers: 1,
            clients: 5,
            thieves: 1,
            conditions: NetworkConditions::ROUGH,
            limits: Limits {
                receive_maximum: 4,
                inflight_max: 5,
                topic_alias_maximum: 3,
                topic_aliases_used_max: 3,
                ..Limits::default()
            },
            is_ordered: true,
            crashes: false,
        }
    }
}

impl WorldSettings {
    /// Draws the settings of a seed: few or many workers and clients; one time in four queues so
    /// small that they overflow; one time in two a store, with which the broker crashes mostly.
    #[must_use]
    pub fn draw(seed: Seed) -> Self {
        let mut chance = Chance::new(seed).fork();
        let workers = *chance.pick(&[1, 1, 2, 3]);
        let mail_delay: Range<Duration> = match chance.percent(70) {
            true => Duration::from_micros(10)..Duration::from_micros(200),
            false => Duration::from_micros(10)..Duration::from_millis(50),
        };
        let mut limits = Limits {
            receive_maximum: *chance.pick(&[1, 2, 4, 50]),
            inflight_max: *chance.pick(&[1, 3, 5, 50]),
            inflight_bytes_max: *chance.pick(&[1, 40, 1 << 20]),
            topic_alias_maximum: *chance.pick(&[0, 1, 3]),
            topic_aliases_used_max: *chance.pick(&[0, 1, 3]),
            ..Limits::default()
        };
        if chance.percent(25) {
            limits.queue_messages_max = *chance.pick(&[2, 5, 20, 100]);
            limits.queue_bytes_max = *chance.pick(&[60, 300, 1 << 20]);
            limits.overflow = *chance.pick(&[
                Overflow::DropOldest,
                Overflow::DropNewest,
                Overflow::EndSession,
            ]);
        }
        let (clients, thieves) = (3 + chance.index(5), chance.index(3));
        let is_durable = chance.percent(50);
        let sync_delay = match chance.percent(50) {
            true => Duration::from_micros(10)..Duration::from_millis(1),
            false => Duration::from_micros(10)..Duration::from_millis(100),
        };
        Self {
            workers,
            clients,
            thieves,
            conditions: NetworkConditions {
                mail_delay,
                sync_delay: is_durable.then_some(sync_delay),
                ..NetworkConditions::ROUGH
            },
            limits,
            is_ordered: true,
            crashes: is_durable && chance.percent(80),
        }
    }

    /// Returns whether queues are so small that messages may be lost.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        let ample = Limits::default();
        self.limits.queue_messages_max < ample.queue_messages_max
            || self.limits.queue_bytes_max < ample.queue_bytes_max
    }

    /// Makes the clients. Each has a chance of its own, so that there may be more or fewer of them
    /// and the others stay as they are.
    pub(super) fn stations(&self, seed: Seed) -> impl Iterator<Item = Station> {
        let clients = (0..self.clients).map(move |index| {
            let may_lose = index < self.thieves || self.limits.overflow == Overflow::EndSession;
            // Wills that a crash publishes have no order: one client may have one that is retained.
            let retains = !self.crashes || index == 0;
            client(index, may_lose, retains, chance_of(seed, index))
        });
        let thieves = (0..self.thieves.min(self.clients)).map(move |index| {
            let mut settings = Settings::new(client_id(index));
            settings.reconnect = ReconnectPolicy::NEVER;
            Station::new(settings, Seed(seed.0 ^ 1)).ok()
        });
        clients.chain(thieves).flatten()
    }
}

fn chance_of(seed: Seed, index: usize) -> Chance {
    let index = u64::try_from(index).unwrap_or_default();
    Chance::new(Seed(seed.0.rotate_left(32) ^ index)).fork()
}

/// `may_lose` is whether its session may be lost while its client is away, `retains` whether its
/// will may be retained.
fn client(index: usize, may_lose: bool, retains: bool, mut chance: Chance) -> Option<Station> {
    let mut settings = Settings::new(client_id(index));
    settings.version = *chance.pick(&[
        ProtocolVersion::V5,
        ProtocolVersion::V5,
        ProtocolVersion::V311,
        ProtocolVersion::V31,
    ]);
    settings.clean_start = match chance.below(10) {
        // A 3.1 client is not told, and would take new messages for old ones.
        _ if may_lose && settings.version == ProtocolVersion::V31 => CleanStart::Always,
        0..4 => CleanStart::Always,
        // In 3.x, a session that begins clean ends with its connection.
        4..7 if settings.version == ProtocolVersion::V5 => CleanStart::FirstOnly,
        _ => CleanStart::Never,
    };
    settings.session_expiry = *chance.pick(&[None, None, Some(2), Some(6)]);
    // What a lost session makes of a message at QoS 2 is a matter of taste; at most once is not.
    settings.lost_session = LostSession::GiveUp;
    settings.keep_alive = *chance.pick(&[0, 10, 10]);
    settings.will = chance
        .percent(50)
        .then(|| will(index, settings.version, retains, &mut chance))
        .flatten();
    let is_small = settings.version == ProtocolVersion::V5 && chance.percent(20);
    settings.limits = Arc::new(Limits {
        receive_maximum: *chance.pick(&[1, 2, 5, 100]),
        inflight_max: *chance.pick(&[1, 3, 50]),
        topic_alias_maximum: *chance.pick(&[0, 2, 10]),
        topic_aliases_used_max: *chance.pick(&[0, 2, 10]),
        queue_messages_max: *chance.pick(&[3, 100_000, 100_000]),
        overflow: *chance.pick(&[Overflow::DropOldest, Overflow::DropNewest]),
        packet_size_max: if is_small {
            SMALL_PACKETS
        } else {
            Limits::default().packet_size_max
        },
        ..Limits::default()
    });
    settings.reconnect = ReconnectPolicy {
        delay_min: Duration::from_millis(100),
        delay_max: Duration::from_secs(5),
        ..ReconnectPolicy::default()
    };
    let mut station = Station::new(settings, Seed(chance.next())).ok()?;
    if chance.percent(40) {
        station.patience = Patience::Asked;
    }
    Some(station)
}

/// A will that is delayed is not retained: when it is published depends on letters between workers.
fn will(
    index: usize,
    version: ProtocolVersion,
    retains: bool,
    chance: &mut Chance,
) -> Option<Will> {
    let delay =
        (version == ProtocolVersion::V5 && chance.percent(50)).then(|| *chance.pick(&[1, 3]));
    let mut properties = Properties::builder();
    if let Some(seconds) = delay {
        properties = properties.will_delay_interval(seconds);
    }
    Some(Will {
        qos: *chance.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
        retain: delay.is_none() && chance.percent(30) && retains,
        properties: properties.build().ok()?,
        topic: Utf8Bytes::from("a/c"),
        payload: format!("the will of {index}").into(),
    })
}

pub(super) fn client_id(index: usize) -> String {
    format!("c{index}")
}

pub(super) fn index_of(client_id: &str) -> Option<usize> {
    client_id.strip_prefix('c')?.parse().ok()
}
