//! Clients, links and workers under one clock that jumps from deadline to deadline.

mod crash;
mod traffic;

use std::{collections::BTreeMap, ops::Range, time::Duration};

use mqttstack_broker::core::{ConnectionId, Durability, Notice};
use mqttstack_codec::Packet;
use mqttstack_limits::{Instant, Limits};
use mqttstack_session::QueueStatus;

pub use self::crash::{Contents, Restored};
use crate::{Chance, Delivery, Direction, Hub, Link, LinkConditions, SendLedger, Station, Store};

/// How often a network may turn without the clock moving before it counts as endless.
const TURNS_MAX: u32 = 10_000;

/// Names a link; a later link of the same client has another name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkId(u64);

impl LinkId {
    /// Returns the link that a worker knows by the name of its peer, as notices tell it.
    #[must_use]
    pub fn of_peer(peer: &str) -> Option<Self> {
        peer.parse().ok().map(Self)
    }
}

/// What the world between clients and broker is like.
#[derive(Clone, Debug)]
pub struct NetworkConditions {
    /// How links treat their bytes.
    pub links: LinkConditions,
    /// How long a letter of one worker to another is under way.
    pub mail_delay: Range<Duration>,
    /// How often, in percent, a connection cannot be opened.
    pub refuse_percent: u8,
    /// How long the store of the broker takes to make something durable; without one, nothing
    /// outlives the broker.
    pub sync_delay: Option<Range<Duration>>,
}

impl NetworkConditions {
    /// Every connection opens, nothing is split, everything takes its even time.
    pub const SMOOTH: Self = Self {
        links: LinkConditions::SMOOTH,
        mail_delay: Duration::from_micros(50)..Duration::from_micros(50),
        refuse_percent: 0,
        sync_delay: None,
    };

    /// Uneven links, and connections that fail to open.
    pub const ROUGH: Self = Self {
        links: LinkConditions::ROUGH,
        mail_delay: Duration::from_micros(10)..Duration::from_micros(200),
        refuse_percent: 10,
        sync_delay: None,
    };
}

/// What was seen to happen, in its order.
#[derive(Clone, Debug)]
pub enum Observation {
    /// A worker is about to handle a packet of a client.
    Handled {
        /// The number of the client.
        station: usize,
        /// The link on which it came.
        link: LinkId,
        /// The packet.
        packet: Box<Packet>,
    },
    /// A worker has sent a packet to a client.
    Sent {
        /// The number of the client.
        station: usize,
        /// The link on which it goes.
        link: LinkId,
        /// Whether it is a message that was not sent before.
        is_first: bool,
        /// The packet.
        packet: Box<Packet>,
    },
    /// A packet has arrived at a client.
    Arrived {
        /// The number of the client.
        station: usize,
        /// The packet.
        packet: Box<Packet>,
    },
    /// A worker has something for the log.
    Noticed(Notice),
    /// A deadline of a worker is about to ring.
    Rings,
    /// The broker has stopped without a word, and begun anew with what was stored.
    Crashed(Box<Restored>),
}

/// Clients, links and the workers of one broker, in virtual time.
///
/// One [`step`](Self::step) lets one thing happen: bytes arrive, a letter is opened, a deadline
/// passes. What a step shows to be wrong is kept in [`faults`](Self::faults): identifiers used
/// twice, windows exceeded, deadlines in the past, loops without end.
#[derive(Debug)]
pub struct Network {
    now: Instant,
    chance: Chance,
    conditions: NetworkConditions,
    stations: Vec<Station>,
    /// What each client sends; the broker's side is kept by Client Identifier.
    client_ledgers: Vec<SendLedger>,
    server_ledgers: BTreeMap<String, SendLedger>,
    /// By Client Identifier: the link on which the broker last let the client in, and whether it
    /// resumed a session then.
    let_in: BTreeMap<String, (LinkId, bool)>,
    hub: Hub,
    store: Option<Store>,
    /// Nobody is let in before then: the broker begins anew.
    down_until: Instant,
    links: BTreeMap<LinkId, Wiring>,
    links_made: u64,
    observations: Vec<(Instant, Observation)>,
    faults: Vec<String>,
    turns: u32,
    events: u64,
}

/// A link and its two ends.
#[derive(Debug)]
struct Wiring {
    link: Link,
    station: usize,
    has_client: bool,
    worker: usize,
    connection: Option<ConnectionId>,
    /// The worker waits for room.
    is_blocked: bool,
    /// What the client said in CONNECT.
    receive_maximum: u16,
    /// Whether the client goes on with what it has, if CONNACK (of 3.1) does not say.
    resumes: bool,
}

/// Something that is due.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Due {
    Arrival(LinkId, Direction),
    Mail,
    Sync(usize),
    Station(usize),
    Worker(usize),
}

impl Network {
    /// Creates a broker of so many workers and no clients.
    #[must_use]
    pub fn new(
        workers: u8,
        limits: Limits,
        conditions: NetworkConditions,
        mut chance: Chance,
    ) -> Self {
        let durability = match conditions.sync_delay {
            Some(_) => Durability::Stored,
            None => Durability::Memory,
        };
        let hub = Hub::new(
            workers,
            limits,
            durability,
            conditions.mail_delay.clone(),
            chance.fork(),
        );
        let store = conditions
            .sync_delay
            .clone()
            .map(|delay| Store::new(workers.into(), delay, chance.fork()));
        Self {
            // Not the epoch: what is computed backwards from now must not hide behind its edge.
            now: Instant::from_micros(3_600_000_000),
            chance,
            conditions,
            stations: Vec::new(),
            client_ledgers: Vec::new(),
            server_ledgers: BTreeMap::new(),
            let_in: BTreeMap::new(),
            hub,
            store,
            down_until: Instant::EPOCH,
            links: BTreeMap::new(),
            links_made: 0,
            observations: Vec::new(),
            faults: Vec::new(),
            turns: 0,
            events: 0,
        }
    }

    /// Adds a client; returns its number.
    pub fn add(&mut self, station: Station) -> usize {
        self.stations.push(station);
        self.client_ledgers.push(SendLedger::default());
        self.stations.len() - 1
    }

    /// Returns the present moment.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Returns the clients.
    #[must_use]
    pub fn stations(&self) -> &[Station] {
        &self.stations
    }

    /// Returns the workers.
    #[must_use]
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Returns how much waits for a client at the broker, if it has a session there.
    #[must_use]
    pub fn queue_status(&self, client_id: &str) -> Option<QueueStatus> {
        let mut cores = self.hub.cores.iter();
        cores.find_map(|core| core.queue_status(client_id))
    }

    /// Takes the messages of QoS 2 that a client has refused, and may get again.
    pub(crate) fn take_refused(&mut self, station: usize) -> Vec<Delivery> {
        self.stations[station].take_refused()
    }

    /// Returns how many things have happened.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Returns what was found to be wrong.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Takes what was seen to happen since the last call, and when.
    pub fn take_observations(&mut self) -> Vec<(Instant, Observation)> {
        std::mem::take(&mut self.observations)
    }

    /// Returns the link of a client, if it has one.
    #[must_use]
    pub fn link(&self, station: usize) -> Option<&Link> {
        let id = self.stations.get(station)?.link?;
        self.links.get(&id).map(|wiring| &wiring.link)
    }

    /// Returns the link of a client, to do it harm.
    pub fn link_mut(&mut self, station: usize) -> Option<&mut Link> {
        let id = self.stations.get(station)?.link?;
        self.links.get_mut(&id).map(|wiring| &mut wiring.link)
    }

    /// Has a client do something, and moves what it says into its link.
    pub fn drive<R>(&mut self, station: usize, verb: impl FnOnce(&mut Station, Instant) -> R) -> R {
        let result = verb(&mut self.stations[station], self.now);
        self.settle();
        result
    }

    /// From now on, the world is like this; links that are open stay as they are.
    pub fn set_conditions(&mut self, conditions: NetworkConditions) {
        self.conditions = conditions;
    }

    /// Lets the next thing happen; returns false if nothing is to come.
    pub fn step(&mut self) -> bool {
        self.step_until(Instant::NEVER)
    }

    /// Lets everything happen that is due within `duration`.
    pub fn advance(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.faults.is_empty() && self.step_until(until) {}
        self.now = self.now.max(until);
    }

    /// Returns whether nothing is under way, and every client either has what it wants or wants
    /// nothing.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let client_is_quiet = |station: &Station| station.core.is_stopped() || station.is_settled();
        let server_owes = |wiring: &Wiring| {
            let client_id = self.stations[wiring.station].core.client_id();
            let ledger = self.server_ledgers.get(client_id);
            wiring.connection.is_some() && ledger.is_some_and(|ledger| !ledger.is_empty())
        };
        self.hub.is_idle()
            && self.store.as_ref().is_none_or(Store::is_idle)
            && self.stations.iter().all(client_is_quiet)
            && self.links.values().all(|it| it.link.is_idle() && !server_owes(it))
            // A connection that only one side knows is to end.
            && self.links.values().all(|it| it.has_client && it.connection.is_some())
    }

    fn step_until(&mut self, until: Instant) -> bool {
        let Some((at, due)) = self.next_due() else {
            return false;
        };
        if at > until {
            return false;
        }
        // Bytes may have waited because a worker did not read.
        if at < self.now && matches!(due, Due::Station(_) | Due::Worker(_)) {
            self.fault(format!("{due:?} was due at {at}, it is {}", self.now));
        }
        if at > self.now {
            self.now = at;
            self.turns = 0;
        }
        self.turns += 1;
        if self.turns > TURNS_MAX {
            self.fault(format!("no end of {due:?} at {}", self.now));
        }
        self.events += 1;
        match due {
            Due::Arrival(id, Direction::ToServer) => self.arrive_at_server(id),
            Due::Arrival(id, Direction::ToClient) => self.arrive_at_client(id),
            Due::Mail => self.hub.deliver_mail(self.now),
            Due::Sync(worker) => self.sync(worker),
            Due::Station(index) => {
                let core = &mut self.stations[index].core;
                core.handle_timeout(self.now);
                if core.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.fault(format!("client {index} is due again at once"));
                }
            }
            Due::Worker(index) => {
                self.observe(Observation::Rings);
                let core = &mut self.hub.cores[index];
                core.handle_timeout(self.now);
                if core.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.fault(format!("worker {index} is due again at once"));
                }
            }
        }
        self.settle();
        true
    }

    fn next_due(&self) -> Option<(Instant, Due)> {
        let arrivals = self.links.iter().flat_map(|(id, wiring)| {
            let is_paused = wiring
                .connection
                .is_some_and(|connection| self.hub.cores[wiring.worker].is_paused(connection));
            let ways = Direction::BOTH.into_iter();
            let ways = ways.filter(move |way| *way == Direction::ToClient || !is_paused);
            ways.filter_map(|way| Some((wiring.link.poll_timeout(way)?, Due::Arrival(*id, way))))
        });
        let stations = self.stations.iter().enumerate();
        let stations =
            stations.filter_map(|(index, it)| Some((it.core.poll_timeout()?, Due::Station(index))));
        let workers = self.hub.cores.iter().enumerate();
        let workers =
            workers.filter_map(|(index, core)| Some((core.poll_timeout()?, Due::Worker(index))));
        let mail = self.hub.next_arrival().map(|at| (at, Due::Mail));
        let sync = self.store.as_ref().and_then(Store::next_sync);
        let sync = sync.map(|(at, worker)| (at, Due::Sync(worker)));
        arrivals
            .chain(mail)
            .chain(sync)
            .chain(stations)
            .chain(workers)
            .min()
    }

    fn observe(&mut self, observation: Observation) {
        self.observations.push((self.now, observation));
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }
}
