//! `cargo xtask test`: every check of the project, in steps that are announced and timed.

pub(crate) mod bare;
mod budget;
mod cargo;
mod features;
mod hardened;
mod install;
mod totals;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::clock::Stopwatch;
use crate::interop;
use crate::project::Project;
use crate::simulate;

pub(crate) use cargo::build_binary;
pub(crate) use install::require_peers;
pub(crate) use totals::Totals;

/// The steps, in the order in which they run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Step {
    /// Installs what later steps need, or says what is missing.
    Install,
    /// The formatting of every file is that of rustfmt.
    Fmt,
    /// No warning of rustc or clippy in any target with all features.
    Clippy,
    /// The documentation builds without a warning.
    Docs,
    /// The core crates build with every set of their features, the others with none and all.
    Features,
    /// The number and the licences of dependencies stay within their bounds.
    Budget,
    /// Unit, property and documentation tests.
    Tests,
    /// The examples that end by themselves do so, and well.
    Examples,
    /// Simulated worlds from a fixed number of seeds keep their promises.
    Simulate,
    /// The simulator finds each of the faults that a special build can switch on.
    Faults,
    /// Hostile bytes against optimised code that checks its arithmetic, through fuzz targets too.
    Hardened,
    /// The crates without std build for a microcontroller without an operating system.
    Bare,
    /// Other people's clients against the binary.
    Interop,
}

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Runs only these steps.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STEP,...")]
    only: Vec<Step>,
    /// Lists the steps and ends.
    #[arg(long)]
    list: bool,
    /// Installs nothing; what is missing is then a failure of the step that needs it.
    #[arg(long)]
    skip_install: bool,
}

/// Runs the steps; all of them run, also after one has failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        for step in Step::value_variants() {
            println!("{:10} {}", step.name(), step.about());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let project = Project::load()?;
    let steps: Vec<Step> = Step::value_variants()
        .iter()
        .copied()
        .filter(|step| options.only.is_empty() || options.only.contains(step))
        .filter(|step| !(options.skip_install && *step == Step::Install))
        .collect();
    if steps.is_empty() {
        bail!("no step is left to run");
    }
    let watch = Stopwatch::start();
    let mut totals = Totals::default();
    let mut summary = Vec::new();
    for step in steps {
        println!("\n=== {}: {}", step.name(), step.about());
        let step_watch = Stopwatch::start();
        let step_totals = step.run(&project).unwrap_or_else(|error| {
            println!("error: {error:#}");
            Totals::failed()
        });
        let seconds = step_watch.elapsed().as_secs_f32();
        let line = format!("{:10} {seconds:7.1} s   {step_totals}", step.name());
        println!("--- {line}");
        summary.push(line);
        totals += step_totals;
    }
    println!("\n=== summary, {:.1} s", watch.elapsed().as_secs_f32());
    for line in summary {
        println!("{line}");
    }
    // The last line alone: it is what continuous integration reads.
    println!("\n{totals}");
    Ok(totals.exit_code())
}

impl Step {
    fn run(self, project: &Project) -> Result<Totals> {
        match self {
            Self::Install => install::run(project),
            Self::Fmt => cargo::fmt(project),
            Self::Clippy => cargo::clippy(project),
            Self::Docs => cargo::docs(project),
            Self::Features => features::run(project),
            Self::Budget => budget::run(project),
            Self::Tests => cargo::tests(project),
            Self::Examples => cargo::examples(project),
            Self::Simulate => simulate::budget(project),
            Self::Faults => simulate::faults(project),
            Self::Hardened => hardened::run(project),
            Self::Bare => bare::run(project),
            Self::Interop => {
                install::require_peers(project, false)?;
                interop::run_all(project)
            }
        }
    }

    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn about(self) -> String {
        let value = self.to_possible_value();
        value
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }
}
