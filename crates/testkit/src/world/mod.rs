//! Many clients, several workers, random work, random faults, and what has to hold nevertheless.

mod accounts;
mod action;
mod books;
mod comings;
mod operations;
mod promises;
mod recovery;
mod report;
mod settings;

use mqttstack_client::core::Settings;
use mqttstack_codec::{Properties, QoS, ReasonCode, SubscribeFilters, Subscription};
use mqttstack_limits::Instant;

use self::{accounts::Accounts, comings::Comings, operations::Operations, promises::Promises};
pub use self::{
    action::{Action, Body, Publish},
    report::{Report, Violation},
    settings::WorldSettings,
};
use crate::{Chance, Model, Network, NetworkConditions, Seed, Station};

/// How many things may happen after the work is done, before the world counts as restless.
const SETTLE_STEPS_MAX: usize = 100_000;

/// Clients, links and workers that a seed brings to life, and the books that are kept of them.
///
/// There are things that MQTT does not promise and the books therefore do not ask: the order of
/// what was published more than once, and what a client gets at QoS 0. After each step hold:
///
/// - the broker sends nothing that the [`Model`] does not owe, nothing twice unless it says so, and
///   nothing that has expired;
/// - QoS 2 arrives at most once, QoS 0 as often as it was sent, each topic of each publisher in
///   order;
/// - no identifier is used twice, no window exceeded, no queue longer than its limit;
/// - Session Present is 1 exactly when there is a session, and no client is connected twice;
/// - an operation ends once, and what was acknowledged was received;
/// - no connection ends without a reason, and no deadline lies in the past.
///
/// A broker with a store may stop without a word, and begins anew with what was stored. Then hold:
///
/// - what was acknowledged is there: messages, subscriptions, sessions, what is retained;
/// - of what was not, there is all that belongs together or nothing;
/// - QoS 2 arrives once nevertheless, and a session that is over does not come back.
///
/// In the end: QoS 1 at least once, QoS 2 exactly once, one owner for each session, and the
/// subscriptions and retained messages of the [`Model`].
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
    /// When that happened which is being looked at.
    at: Instant,
    model: Model,
    accounts: Accounts,
    comings: Comings,
    operations: Operations,
    promises: Promises,
    /// How much of what each client tells has been looked at.
    seen: Vec<Seen>,
    report: Report,
    trace: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    deliveries: usize,
    completed: usize,
}

impl World {
    /// Runs the world of a seed for so many steps, then heals it and looks at what is left.
    ///
    /// # Errors
    ///
    /// [`Violation`], with the trace of what happened.
    pub fn run(seed: Seed, steps: usize) -> Result<Report, Box<Violation>> {
        Self::run_with(&WorldSettings::draw(seed), seed, steps)
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
        let script = Self::script(settings, seed, steps);
        let run = |is_traced| Self::replay(settings, seed, &script, is_traced);
        // The trace is only written when there is something to show: the run repeats.
        run(false).or_else(|_| run(true))
    }

    /// Returns what a seed has clients do.
    #[must_use]
    pub fn script(settings: &WorldSettings, seed: Seed, steps: usize) -> Vec<Action> {
        action::draw(&mut Chance::new(Seed(seed.0 ^ 2)), settings, steps)
    }

    /// Runs a world through a script.
    ///
    /// # Errors
    ///
    /// [`Violation`], with the trace of what happened if it `is_traced`.
    pub fn replay(
        settings: &WorldSettings,
        seed: Seed,
        script: &[Action],
        is_traced: bool,
    ) -> Result<Report, Box<Violation>> {
        Self::new(settings.clone(), seed, is_traced).live(script)
    }

    fn new(settings: WorldSettings, seed: Seed, is_traced: bool) -> Self {
        let (limits, conditions) = (settings.limits.clone(), settings.conditions.clone());
        let mut network = Network::new(settings.workers, limits, conditions, Chance::new(seed));
        for station in settings.stations(seed) {
            network.add(station);
        }
        let is_tight = settings.is_tight();
        let mut accounts = Accounts::new(settings.clients, settings.is_ordered, is_tight);
        if settings.conditions.sync_delay.is_some() {
            accounts.expect_store();
        }
        Self {
            accounts,
            seen: vec![Seen::default(); network.stations().len()],
            settings,
            seed,
            at: network.now(),
            network,
            model: Model::default(),
            comings: Comings::default(),
            operations: Operations::default(),
            promises: Promises::default(),
            report: Report::default(),
            trace: is_traced.then(Vec::new),
        }
    }

    fn live(mut self, script: &[Action]) -> Result<Report, Box<Violation>> {
        for (step, action) in script.iter().enumerate() {
            if *action != Action::Step {
                self.note(|| format!("{action:?}"));
            }
            let begun = action.perform(&mut self.network, self.settings.clients);
            if let Some((index, operation)) = begun {
                self.operations.on_begun(index, operation, action);
            }
            self.check_at(step)?;
        }
        let step = script.len();
        self.heal(step)?;
        self.audit().map_err(|what| self.violation(step, what))?;
        self.report.events = self.network.events();
        Ok(self.report)
    }

    fn check_at(&mut self, step: usize) -> Result<(), Box<Violation>> {
        self.check().map_err(|what| self.violation(step, what))
    }

    /// Lets every client come back, and everything that is under way arrive.
    fn heal(&mut self, step: usize) -> Result<(), Box<Violation>> {
        self.network.set_conditions(NetworkConditions {
            refuse_percent: 0,
            ..self.settings.conditions.clone()
        });
        let now = self.network.now();
        for index in 0..self.network.stations().len() {
            if let Some(link) = self.network.link_mut(index).filter(|it| it.is_dead()) {
                // Without a Keep Alive nobody would ever find out.
                link.cut(now);
            }
            let is_thief = index >= self.settings.clients;
            self.network.drive(index, |station, now| {
                station.acknowledge_all();
                if is_thief {
                    station.core.disconnect(ReasonCode::Success, now);
                }
            });
        }
        for _ in 0..SETTLE_STEPS_MAX {
            self.check_at(step)?;
            if self.network.is_quiet() && self.everybody_is_here() {
                return self
                    .check_complete()
                    .map_err(|what| self.violation(step, what));
            }
            for index in 0..self.settings.clients {
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
        let stations = self.network.stations();
        let (clients, thieves) = stations.split_at(self.settings.clients);
        clients.iter().all(|it| it.core.is_connected())
            && thieves.iter().all(|it| it.core.is_stopped())
    }

    fn check_complete(&self) -> Result<(), String> {
        self.operations.check_complete()?;
        let is_tight = self.settings.is_tight();
        let now = self.network.now();
        self.accounts.check_complete(now, |index| {
            let status = self.network.queue_status(&settings::client_id(index));
            status.filter(|_| is_tight).map_or(0, |it| it.lost)
        })
    }

    /// Compares what the broker has in the end with the model.
    fn audit(&mut self) -> Result<(), String> {
        let hub = self.network.hub();
        let owned: usize = hub.cores().iter().map(|core| core.session_count()).sum();
        let open: usize = hub.cores().iter().map(|core| core.connection_count()).sum();
        let expected = self.model.session_count();
        let entered = hub.directory().session_count();
        let subscribed = hub.directory().subscription_count();
        let filters = self.model.subscription_count();
        let (retained, _) = hub.directory().retained_count();
        let stored = self.model.retained(self.network.now()).count();
        for (what, found, expected) in [
            ("sessions that workers own", owned, expected),
            ("sessions in the directory", entered, expected),
            ("open connections", open, self.settings.clients),
            ("subscriptions", subscribed, filters),
            ("retained messages", retained, stored),
        ] {
            if found != expected {
                return Err(format!("{found} {what}, not {expected}"));
            }
        }
        // What is left to be found out needs room for all of it.
        if self.settings.is_tight() {
            return Ok(());
        }
        self.audit_retained()
    }

    /// A client that comes last gets the retained messages of the model.
    fn audit_retained(&mut self) -> Result<(), String> {
        let auditor = Station::new(Settings::new("auditor"), Seed(0));
        let filters = SubscribeFilters::new([Subscription::new("#", QoS::ExactlyOnce)]);
        let (Ok(auditor), Ok(filters)) = (auditor, filters) else {
            return Err("there is no auditor".into());
        };
        let index = self.network.add(auditor);
        self.network
            .drive(index, |station, now| {
                station.core.connect(now);
                station.core.subscribe(filters, Properties::empty())
            })
            .map_err(|error| error.to_string())?;
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
            .retained(self.network.now())
            .filter(|(topic, _)| !topic.starts_with('$'))
            .collect();
        // Some may have expired while the auditor was looking.
        if expected.iter().all(|it| found.contains(it)) && found.len() <= expected.len() + 1 {
            return Ok(());
        }
        Err(format!("retained messages {found:?}, not {expected:?}"))
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", self.at, line()));
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
