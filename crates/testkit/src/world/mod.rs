//! Many clients, several workers, random work, random faults, and what has to hold nevertheless.

mod accounts;
mod workload;

use std::{fmt, sync::Arc, time::Duration};

use mqttstack_broker::core::Notice;
use mqttstack_broker::session::{ProtocolError, server};
use mqttstack_client::core::{CleanStart, ReconnectPolicy, Settings};
use mqttstack_client::session::client::{self, LostSession};
use mqttstack_codec::{
    Packet, Properties, ProtocolVersion, QoS, ReasonCode, SubscribeFilters, Subscription,
    Utf8Bytes, Will,
};
use mqttstack_limits::Limits;

use self::{accounts::Accounts, workload::Workload};
use crate::{
    Chance, Copy, Delivery, Model, Network, NetworkConditions, Observation, Seed, Station, station,
};

/// How many things may happen after the work is done, before the world counts as restless.
const SETTLE_STEPS_MAX: usize = 100_000;

/// How many lines of trace a violation shows of all that it has.
const TRACE_LINES: usize = 120;

/// What a world is made of; the rest comes from the seed.
#[derive(Clone, Debug)]
pub struct WorldSettings {
    /// How many workers the broker has.
    pub workers: u8,
    /// How many clients there are.
    pub clients: usize,
    /// What lies between them.
    pub conditions: NetworkConditions,
    /// Whether order is looked at.
    pub is_ordered: bool,
}

impl Default for WorldSettings {
    /// One worker, five clients, a rough world.
    fn default() -> Self {
        Self {
            workers: 1,
            clients: 5,
            conditions: NetworkConditions::ROUGH,
            is_ordered: true,
        }
    }
}

/// What a run came to. The same seed gives the same report.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Things that happened: arrivals, letters, deadlines.
    pub events: u64,
    /// Messages that the broker took over, repeats included.
    pub published: u64,
    /// Messages that applications got, repeats included.
    pub delivered: u64,
    /// Connections that the broker accepted.
    pub connections: u64,
    /// Connections that went on with a stored session.
    pub resumed: u64,
    /// A number that stands for the run: what was delivered to whom, and when.
    pub fingerprint: u64,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The seed of the run.
    pub seed: Seed,
    /// The settings of the run.
    pub settings: WorldSettings,
    /// In which step of the work it showed; the number of steps if it showed at the end.
    pub step: usize,
    /// What is wrong.
    pub what: String,
    /// Everything that happened.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.trace.len().saturating_sub(TRACE_LINES);
        for line in self.trace.iter().skip(skipped) {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "violation in step {}: {}", self.step, self.what)?;
        let WorldSettings {
            workers,
            clients,
            ref conditions,
            is_ordered,
        } = self.settings;
        let mail = conditions.mail_delay.end.as_micros();
        let order = u8::from(is_ordered);
        write!(
            f,
            "replay: TESTKIT_SEED={} TESTKIT_WORKERS={workers} TESTKIT_CLIENTS={clients} \
             TESTKIT_MAIL_MICROS={mail} TESTKIT_ORDER={order} cargo test -p mqttstack-testkit --test simulation -- --ignored --nocapture replay",
            self.seed
        )
    }
}

/// A client of the world, apart from its [`Station`].
#[derive(Clone, Debug)]
struct Inhabitant {
    is_persistent: bool,
    /// Whether its last CONNECT asked for a new session.
    asked_clean: bool,
    /// How many of its deliveries have been looked at.
    deliveries_seen: usize,
}

/// Clients, links and workers that a seed brings to life, and the books that are kept of them.
///
/// There is one thing that MQTT does not promise and the books therefore do not ask: the order of
/// what was published more than once. After each step hold: QoS 2 at most once, QoS 0 at most once for each arrival, nothing that
/// nobody subscribed to, order for each publisher, topic and QoS, no identifier used twice, no
/// window exceeded, Session Present exactly when there is a session, no end of a connection that
/// nobody wanted, no deadline in the past. In the end: QoS 1 at least once, QoS 2 exactly once,
/// one owner for each session, and the subscriptions and retained messages of the [`Model`].
///
/// ```
/// use mqttstack_testkit::{Seed, World};
///
/// let report = World::run(Seed(1), 200).unwrap_or_else(|violation| panic!("{violation}"));
/// assert!(report.delivered > 0);
/// ```
#[derive(Debug)]
pub struct World {
    settings: WorldSettings,
    seed: Seed,
    network: Network,
    workload: Workload,
    model: Model,
    accounts: Accounts,
    inhabitants: Vec<Inhabitant>,
    report: Report,
    trace: Option<Vec<String>>,
}

impl World {
    /// Runs the default world for so many steps, then heals it and looks at what is left.
    ///
    /// # Errors
    ///
    /// [`Violation`], with the trace of what happened.
    pub fn run(seed: Seed, steps: usize) -> Result<Report, Box<Violation>> {
        Self::run_with(&WorldSettings::default(), seed, steps)
    }

    /// Runs a world for so many steps, then heals it and looks at what is left.
    ///
    /// # Errors
    ///
    /// [`Violation`], with the trace of what happened.
    pub fn run_with(
        settings: &WorldSettings,
        seed: Seed,
        steps: usize,
    ) -> Result<Report, Box<Violation>> {
        let run = |is_traced| Self::new(settings.clone(), seed, is_traced).live(steps);
        // The trace is only written when there is something to show: the run repeats.
        run(false).or_else(|_| run(true))
    }

    fn new(settings: WorldSettings, seed: Seed, is_traced: bool) -> Self {
        let mut chance = Chance::new(seed);
        let broker_limits = Limits {
            receive_maximum: 4,
            inflight_max: 5,
            topic_alias_maximum: 3,
            topic_aliases_used_max: 3,
            ..Limits::default()
        };
        let conditions = settings.conditions.clone();
        let mut network = Network::new(settings.workers, broker_limits, conditions, chance.fork());
        let mut inhabitants = Vec::new();
        for index in 0..settings.clients {
            let is_persistent = chance.percent(60);
            let client = client_settings(index, is_persistent, &mut chance);
            if let Ok(station) = Station::new(client, Seed(chance.next())) {
                network.add(station);
                inhabitants.push(Inhabitant {
                    is_persistent,
                    asked_clean: true,
                    deliveries_seen: 0,
                });
            }
        }
        Self {
            workload: Workload::new(chance.fork()),
            accounts: Accounts::new(inhabitants.len(), settings.is_ordered),
            settings,
            seed,
            network,
            model: Model::default(),
            inhabitants,
            report: Report::default(),
            trace: is_traced.then(Vec::new),
        }
    }

    fn live(mut self, steps: usize) -> Result<Report, Box<Violation>> {
        for step in 0..steps {
            let line = self.workload.act(&mut self.network);
            if let Some(line) = line {
                self.note(|| line);
            }
            self.check(step)?;
        }
        self.heal(steps)?;
        self.audit(steps)?;
        self.report.events = self.network.events();
        Ok(self.report)
    }

    /// Lets every client come back, and everything that is under way arrive.
    fn heal(&mut self, step: usize) -> Result<(), Box<Violation>> {
        let healed = NetworkConditions {
            refuse_percent: 0,
            ..self.settings.conditions.clone()
        };
        self.network.set_conditions(healed);
        for index in 0..self.inhabitants.len() {
            self.network
                .drive(index, |station, now| station.core.connect(now));
        }
        for _ in 0..SETTLE_STEPS_MAX {
            self.check(step)?;
            if self.network.is_quiet() && self.everybody_is_here() {
                return self
                    .accounts
                    .check_complete()
                    .map_err(|what| self.violation(step, what));
            }
            for index in 0..self.inhabitants.len() {
                if self.network.stations()[index].core.is_stopped() {
                    self.network
                        .drive(index, |station, now| station.core.connect(now));
                }
            }
            if !self.network.step() {
                return Err(self.violation(step, "nothing more to come, and not at rest".into()));
            }
        }
        Err(self.violation(step, "the world does not come to rest".into()))
    }

    fn everybody_is_here(&self) -> bool {
        let mut stations = self.network.stations().iter();
        stations.all(|station| station.core.is_connected())
    }

    /// Compares what the broker has in the end with the model.
    fn audit(&mut self, step: usize) -> Result<(), Box<Violation>> {
        let hub = self.network.hub();
        let owned: usize = hub.cores().iter().map(|core| core.session_count()).sum();
        let open: usize = hub.cores().iter().map(|core| core.connection_count()).sum();
        let expected = self.model.session_count();
        let entered = hub.directory().session_count();
        let subscribed = hub.directory().subscription_count();
        let filters = self.model.subscription_count();
        let (retained, _) = hub.directory().retained_count();
        for (what, found, expected) in [
            ("sessions that workers own", owned, expected),
            ("sessions in the directory", entered, expected),
            ("open connections", open, self.inhabitants.len()),
            ("subscriptions", subscribed, filters),
            ("retained messages", retained, self.model.retained().count()),
        ] {
            if found != expected {
                return Err(self.violation(step, format!("{found} {what}, not {expected}")));
            }
        }
        self.audit_retained(step)
    }

    /// A client that comes last gets the retained messages of the model.
    fn audit_retained(&mut self, step: usize) -> Result<(), Box<Violation>> {
        let Ok(auditor) = Station::new(Settings::new("auditor"), Seed(0)) else {
            return Ok(());
        };
        let Ok(filters) = SubscribeFilters::new([Subscription::new("#", QoS::ExactlyOnce)]) else {
            return Ok(());
        };
        let index = self.network.add(auditor);
        let subscribed = self.network.drive(index, |station, now| {
            station.core.connect(now);
            station.core.subscribe(filters, Properties::empty())
        });
        if let Err(error) = subscribed {
            return Err(self.violation(step, error.to_string()));
        }
        for _ in 0..SETTLE_STEPS_MAX {
            if self.network.is_quiet() {
                break;
            }
            self.network.step();
        }
        let deliveries = self.network.stations()[index].deliveries();
        let mut found: Vec<(&str, &str)> = deliveries
            .iter()
            .map(|it| (&*it.topic, &*it.payload))
            .collect();
        found.sort_unstable();
        // The filter leaves topics that begin with `$` alone.
        let expected: Vec<_> = self
            .model
            .retained()
            .filter(|(topic, _)| !topic.starts_with('$'))
            .collect();
        if found == expected {
            return Ok(());
        }
        let what = format!("retained messages {found:?}, not {expected:?}");
        Err(self.violation(step, what))
    }

    /// Enters what the step has shown into the books.
    fn check(&mut self, step: usize) -> Result<(), Box<Violation>> {
        for observation in self.network.take_observations() {
            let entered = match observation {
                Observation::Handled { station, packet } => self.on_handled(station, &packet),
                Observation::Arrived { station, packet } => {
                    self.note(|| format!("client {station} handles {}", brief(&packet)));
                    Ok(())
                }
                Observation::Noticed(notice) => self.on_notice(&notice),
            };
            entered.map_err(|what| self.violation(step, what))?;
        }
        for index in 0..self.inhabitants.len() {
            self.check_client(index)
                .map_err(|what| self.violation(step, what))?;
        }
        match self.network.faults().first() {
            Some(fault) => Err(self.violation(step, fault.clone())),
            None => Ok(()),
        }
    }

    fn check_client(&mut self, index: usize) -> Result<(), String> {
        let station = &self.network.stations()[index];
        if let Some(client::EndCause::Protocol(error)) = station.last_end()
            && !is_silence(error)
        {
            return Err(format!(
                "client {index} was told what it must not be: {error}"
            ));
        }
        let seen = self.inhabitants[index].deliveries_seen;
        let new: Vec<Delivery> = station
            .deliveries()
            .get(seen..)
            .unwrap_or_default()
            .to_vec();
        self.inhabitants[index].deliveries_seen += new.len();
        for delivery in new {
            self.note(|| format!("client {index} gets {delivery:?}"));
            self.report.delivered += 1;
            self.stamp(index, &delivery);
            self.accounts.on_delivered(index, &delivery)?;
        }
        Ok(())
    }

    fn on_handled(&mut self, index: usize, packet: &Packet) -> Result<(), String> {
        self.note(|| format!("broker handles of client {index} {}", brief(packet)));
        let client_id = client_id(index);
        match packet {
            Packet::Connect(connect) => self.inhabitants[index].asked_clean = connect.clean_start,
            Packet::Publish(publish) => {
                let payload = String::from_utf8_lossy(&publish.payload);
                let topic = self.accounts.resolve_alias(index, publish);
                let is_first = self.accounts.is_first(&payload);
                // A repeat of QoS 2 is no publication.
                if publish.qos() != QoS::ExactlyOnce || is_first {
                    self.report.published += 1;
                    let (qos, retain) = (publish.qos(), publish.retain);
                    let copies = self
                        .model
                        .publish(&client_id, &topic, &payload, qos, retain);
                    self.owe(copies, is_first);
                }
            }
            Packet::Subscribe(subscribe) => {
                for asked in subscribe.filters.iter() {
                    let copies = self
                        .model
                        .subscribe(&client_id, asked.filter, asked.options);
                    for copy in copies {
                        self.accounts.owe(index, copy, false);
                    }
                }
            }
            Packet::Unsubscribe(unsubscribe) => {
                for filter in unsubscribe.filters.iter() {
                    self.model.unsubscribe(&client_id, filter);
                }
            }
            Packet::ConnAck(_)
            | Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => {}
        }
        Ok(())
    }

    fn on_notice(&mut self, notice: &Notice) -> Result<(), String> {
        self.note(|| format!("broker notes {notice:?}"));
        match notice {
            Notice::Connected {
                client_id,
                session_present,
                ..
            } => {
                let Some(index) = index_of(client_id) else {
                    return Ok(());
                };
                let asked_clean = self.inhabitants[index].asked_clean;
                let is_resumed = self.model.has_session(client_id) && !asked_clean;
                if *session_present != is_resumed {
                    return Err(format!("{client_id}: Session Present is {session_present}"));
                }
                if !is_resumed {
                    self.accounts.forgive(index);
                }
                self.accounts.on_connected(index);
                self.model.begin_session(client_id, is_resumed);
                self.report.connections += 1;
                self.report.resumed += u64::from(is_resumed);
                Ok(())
            }
            Notice::Ended {
                client_id, cause, ..
            } => {
                if !is_expected_end(cause) {
                    return Err(format!("the connection of {client_id:?} ended: {cause:?}"));
                }
                let client_id = client_id.as_deref();
                if let Some((id, index)) = client_id.and_then(|id| Some((id, index_of(id)?)))
                    && !self.inhabitants[index].is_persistent
                {
                    self.model.end_session(id);
                    self.accounts.forgive(index);
                }
                let leaves_will = !matches!(cause, server::EndCause::ClientDisconnected(_));
                if let Some((id, will)) = client_id.zip(self.will_of(client_id))
                    && leaves_will
                {
                    let (topic, payload) = (&will.topic, String::from_utf8_lossy(&will.payload));
                    let copies = self
                        .model
                        .publish(id, topic, &payload, will.qos, will.retain);
                    self.owe(copies, false);
                }
                Ok(())
            }
            Notice::SessionDropped { .. } => Err(format!("nobody wanted {notice:?}")),
            // What may be added later is not known to be expected.
            _ => Err(format!("unknown {notice:?}")),
        }
    }

    fn owe(&mut self, copies: Vec<(String, Copy)>, is_first: bool) {
        for (reader, copy) in copies {
            if let Some(reader) = index_of(&reader) {
                self.accounts.owe(reader, copy, is_first);
            }
        }
    }

    fn will_of(&self, client_id: Option<&str>) -> Option<Will> {
        let station = self.network.stations().get(index_of(client_id?)?)?;
        station.core.settings().will.clone()
    }

    fn stamp(&mut self, index: usize, delivery: &Delivery) {
        let now = self.network.now().as_micros().to_be_bytes();
        let text = delivery.payload.bytes().chain(delivery.topic.bytes());
        for byte in text
            .chain(now)
            .chain([u8::try_from(index).unwrap_or(u8::MAX)])
        {
            // FNV-1a.
            self.report.fingerprint =
                (self.report.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", self.network.now(), line()));
        }
    }

    fn violation(&self, step: usize, what: String) -> Box<Violation> {
        Box::new(Violation {
            seed: self.seed,
            settings: self.settings.clone(),
            step,
            what,
            trace: self.trace.iter().flatten().cloned().collect(),
        })
    }
}

fn client_settings(index: usize, is_persistent: bool, chance: &mut Chance) -> Settings {
    let mut settings = Settings::new(client_id(index));
    settings.version = *chance.pick(&[
        ProtocolVersion::V5,
        ProtocolVersion::V5,
        ProtocolVersion::V311,
        ProtocolVersion::V31,
    ]);
    settings.clean_start = if is_persistent {
        station::persistent(settings.version)
    } else {
        CleanStart::Always
    };
    // What a lost session makes of a message at QoS 2 is a matter of taste; at most once is not.
    if !is_persistent {
        settings.lost_session = LostSession::GiveUp;
    }
    settings.keep_alive = 10;
    settings.will = chance.percent(50).then(|| Will {
        qos: *chance.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
        retain: chance.percent(30),
        properties: Properties::empty(),
        topic: Utf8Bytes::from("a/c"),
        payload: format!("the will of {index}").into(),
    });
    settings.limits = Arc::new(Limits {
        receive_maximum: *chance.pick(&[1, 2, 5, 100]),
        inflight_max: *chance.pick(&[1, 3, 50]),
        topic_alias_maximum: *chance.pick(&[0, 2, 10]),
        ..Limits::default()
    });
    settings.reconnect = ReconnectPolicy {
        delay_min: Duration::from_millis(100),
        delay_max: Duration::from_secs(5),
        ..ReconnectPolicy::default()
    };
    settings
}

fn client_id(index: usize) -> String {
    format!("c{index}")
}

fn index_of(client_id: &str) -> Option<usize> {
    client_id.strip_prefix('c')?.parse().ok()
}

/// Returns whether somebody only waited too long, which in a rough world is nobody's fault.
fn is_silence(error: &ProtocolError) -> bool {
    matches!(
        error,
        ProtocolError::KeepAliveTimeout { .. } | ProtocolError::ConnectTimeout { .. }
    )
}

fn is_expected_end(cause: &server::EndCause) -> bool {
    match cause {
        server::EndCause::ClientDisconnected(_) | server::EndCause::TransportClosed => true,
        server::EndCause::Protocol(error) => is_silence(error),
        server::EndCause::Refused(reason) => *reason == ReasonCode::ServerBusy,
        server::EndCause::ServerDisconnected(reason) => *reason == ReasonCode::SessionTakenOver,
        _ => false,
    }
}

/// Returns what matters of a packet, in one line.
fn brief(packet: &Packet) -> String {
    let name = packet.packet_type().name();
    match packet {
        Packet::Connect(connect) => {
            format!("{name} {} clean {}", connect.version, connect.clean_start)
        }
        Packet::Publish(publish) => {
            let (delivery, payload) = (publish.delivery, String::from_utf8_lossy(&publish.payload));
            format!("{name} {delivery:?} {} {payload:?}", &*publish.topic)
        }
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe.filters.iter().collect();
            format!("{name} {filters:?}")
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().collect();
            format!("{name} {filters:?}")
        }
        Packet::Disconnect(disconnect) => format!("{name} {:?}", disconnect.reason_code),
        Packet::ConnAck(_)
        | Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::SubAck(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Auth(_) => match packet.packet_id() {
            Some(id) => format!("{name} {id}"),
            None => name.into(),
        },
    }
}
