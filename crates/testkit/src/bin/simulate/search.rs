//! Many seeds on all cores.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use mqttstack_testkit::{Report, Seed, Violation, World, WorldSettings};

use crate::clock::Stopwatch;

/// How much is searched.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) first: u64,
    pub(crate) seeds: u64,
    pub(crate) minutes: Option<f64>,
    pub(crate) steps: usize,
    pub(crate) keeps_going: bool,
    pub(crate) jobs: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How many seeds were run.
    pub(crate) seeds: u64,
    /// What those came to that did not fail.
    pub(crate) report: Report,
    /// The seeds that failed, and how.
    pub(crate) failed: BTreeMap<Seed, String>,
}

impl Found {
    fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.report += other.report;
        self.failed.extend(other.failed);
    }

    fn add(&mut self, seed: Seed, result: Result<Report, Box<Violation>>) {
        self.seeds += 1;
        match result {
            Ok(report) => self.report += report,
            Err(violation) => {
                self.failed.insert(seed, violation.what);
            }
        }
    }

    /// Returns a line on what was done so far.
    #[expect(
        clippy::cast_precision_loss,
        reason = "rates for people need no more digits than these"
    )]
    pub(crate) fn progress(&self, seconds: f64) -> String {
        let rate = |count: u64| count as f64 / seconds.max(0.001);
        let Self { seeds, report, .. } = self;
        format!(
            "{seconds:6.1} s: {seeds} seeds ({:.0}/s), {} events ({:.0}/s), {} sessions \
             ({:.0}/s), {} messages delivered, {} wills, {} crashes",
            rate(*seeds),
            report.events,
            rate(report.events),
            report.sessions,
            rate(report.sessions),
            report.delivered,
            report.wills,
            report.crashes,
        )
    }
}

/// Runs one seed.
pub(crate) fn one(seed: Seed, steps: usize) -> Found {
    let mut found = Found::default();
    let settings = WorldSettings::draw(seed);
    let script = World::script(&settings, seed, steps);
    found.add(seed, World::replay(&settings, seed, &script, false));
    found
}

/// Runs seeds until one fails or the budget is spent.
pub(crate) fn search(budget: &Budget, shows_progress: bool) -> Found {
    let watch = Stopwatch::start();
    let next = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let found = Mutex::new(Found::default());
    let is_late = || {
        budget
            .minutes
            .is_some_and(|it| watch.seconds() >= 60.0 * it)
    };
    let work = || {
        while !is_over.load(Ordering::Relaxed) && !is_late() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= budget.seeds {
                return;
            }
            let seed = Seed(budget.first.wrapping_add(number));
            let result = one(seed, budget.steps);
            let has_failed = !result.failed.is_empty();
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.merge(result);
            if has_failed && !budget.keeps_going {
                is_over.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..budget.jobs).map(|_| scope.spawn(work)).collect();
        let mut shown = 0.0;
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(20));
            if shows_progress && watch.seconds() >= shown + 5.0 {
                shown = watch.seconds();
                let found = found.lock().unwrap_or_else(PoisonError::into_inner);
                println!("{}", found.progress(shown));
            }
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}
