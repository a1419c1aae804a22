//! `cargo xtask simulate`: the simulator of `crates/testkit`, built with its own profile.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::process::describe;
use crate::project::{Project, cargo};
use crate::test::Totals;

/// How many seeds continuous integration runs: some 20 seconds of one core.
const SEEDS: &str = "6000";

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What the simulator is told; `--help` shows what it understands.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    arguments: Vec<OsString>,
}

/// Runs the simulator with what the user asked for.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::load()?;
    let mut command = simulator(&project);
    command.args(&options.arguments);
    Ok(match succeeds(&mut command)? {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Runs the seeds of continuous integration.
pub(crate) fn budget(project: &Project) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut command = simulator(project);
    command.args(["--seeds", SEEDS]);
    totals.count(succeeds(&mut command)?);
    Ok(totals)
}

/// Builds with deliberate faults inside, and checks that the simulator finds each of them.
pub(crate) fn faults(project: &Project) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut command = Command::new(cargo());
    command
        .current_dir(project.root())
        .env("RUSTFLAGS", "--cfg mqttstack_faults")
        .env("CARGO_TARGET_DIR", project.target().join("faults"))
        .args(["test", "--quiet", "--profile=simulate"])
        .args(["--package=mqttstack-testkit", "--test=faults"])
        .args(["--", "--nocapture"]);
    totals.count(succeeds(&mut command)?);
    Ok(totals)
}

fn simulator(project: &Project) -> Command {
    let mut command = Command::new(cargo());
    command.current_dir(project.root()).args([
        "run",
        "--quiet",
        "--profile=simulate",
        "--package=mqttstack-testkit",
        "--bin=simulate",
        "--",
    ]);
    command
}

fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", describe(command)))?;
    Ok(status.success())
}
