//! Runs scenarios, a few at a time, and reports each in one line.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, anyhow, ensure};

use super::Stage;
use super::broker::{Against, Settings};
use super::scenarios;
use crate::clock::Stopwatch;
use crate::project::Project;
use crate::test::Totals;

/// What all scenarios have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) project: &'a Project,
    /// The project's binary, which has clients in it as well.
    pub(crate) binary: &'a Path,
}

type Body = Box<dyn Fn(&mut Stage<'_>) -> Result<()> + Send + Sync>;

/// One scenario.
pub(crate) struct Test {
    name: String,
    body: Body,
    settings: Settings,
    mosquitto_differs: Option<&'static str>,
    needs_mosquitto: bool,
}

impl Test {
    pub(crate) fn new(
        name: impl fmt::Display,
        body: impl Fn(&mut Stage<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_string(),
            body: Box::new(body),
            settings: Settings::default(),
            mosquitto_differs: None,
            needs_mosquitto: false,
        }
    }

    /// Runs against mosquitto, whatever broker the others run against: a test of our client.
    pub(crate) fn against_mosquitto(self) -> Self {
        Self {
            needs_mosquitto: true,
            ..self
        }
    }

    /// Asks for a broker that differs from the defaults.
    pub(crate) fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Says why mosquitto cannot pass; against it the scenario is then not run.
    pub(crate) fn unlike_mosquitto(self, why: &'static str) -> Self {
        Self {
            mosquitto_differs: Some(why),
            ..self
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Runs every scenario whose name contains one of `filters`, all without a filter.
pub(super) fn run(
    ground: Ground<'_>,
    against: &Against,
    filters: &[String],
    jobs: u8,
) -> Result<Totals> {
    let is_wanted = |test: &Test| {
        filters.is_empty() || filters.iter().any(|text| test.name.contains(text.as_str()))
    };
    let mut tests: VecDeque<Test> = scenarios::all().into_iter().filter(is_wanted).collect();
    ensure!(
        !tests.is_empty(),
        "no scenario has a name with {}",
        filters.join(" or ")
    );
    if matches!(against, Against::Mosquitto) {
        tests.retain(|test| {
            if let Some(why) = test.mosquitto_differs {
                println!("not run: {}: mosquitto {why}", test.name);
            }
            test.mosquitto_differs.is_none()
        });
    }
    let queue = Mutex::new(tests.into_iter().enumerate().collect::<VecDeque<_>>());
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some((number, test)) = next else { return };
                    let is_passed = perform(ground, against, number, &test);
                    totals
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .count(is_passed);
                }
            });
        }
    });
    Ok(totals.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Runs one scenario from an empty stage to an empty stage and prints its line.
fn perform(ground: Ground<'_>, against: &Against, number: usize, test: &Test) -> bool {
    let watch = Stopwatch::start();
    let against = if test.needs_mosquitto {
        &Against::Mosquitto
    } else {
        against
    };
    let (result, log) = match Stage::set(ground, against, test.settings, &number.to_string()) {
        Ok(mut stage) => {
            let result = catch_unwind(AssertUnwindSafe(|| (test.body)(&mut stage)))
                .unwrap_or_else(|_| Err(anyhow!("the scenario panicked")));
            let log = stage.log_tail();
            (result.and_then(|()| stage.strike()), log)
        }
        Err(error) => (Err(error), String::new()),
    };
    let seconds = watch.elapsed().as_secs_f32();
    match result {
        Ok(()) => {
            println!("ok      {} ({seconds:.1} s)", test.name);
            true
        }
        Err(error) => {
            println!("FAILED  {} ({seconds:.1} s)\n        {error:#}", test.name);
            for line in log.lines() {
                println!("        | {line}");
            }
            false
        }
    }
}
