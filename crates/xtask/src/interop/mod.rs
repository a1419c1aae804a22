//! Interoperability: other people's clients, and bytes by hand, against a real broker.
//!
//! Every scenario gets a broker process of its own on a loopback port, and ends by stopping it
//! with SIGTERM, which has to succeed. All waits are bounded, and every process is killed by its
//! handle when a scenario ends, however it ends.

mod broker;
mod certificates;
mod peer;
mod runner;
mod scenarios;
mod stage;
mod way;
mod wire;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::project::Project;
use crate::test::{Totals, build_binary, require_peers};

pub(crate) use broker::Settings;
pub(crate) use broker::mosquitto;
pub(crate) use peer::agent::rumqttc;
pub(crate) use stage::Stage;

/// How long a client may wait for one step of a scenario.
const WAIT: Duration = Duration::from_secs(20);

/// The same for steps that move a hundred mebibytes or a thousand connections.
const LARGE_WAIT: Duration = Duration::from_secs(120);

/// A protocol version, as a scenario is written for it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Version {
    V31,
    V311,
    V5,
}

impl Version {
    const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V5];

    /// What our own programs and mosquitto's call it.
    const fn name(self) -> &'static str {
        match self {
            Self::V31 => "mqttv31",
            Self::V311 => "mqttv311",
            Self::V5 => "mqttv5",
        }
    }

    /// The protocol level in CONNECT.
    const fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// Which broker to run the scenarios against.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    /// The project's own binary, built first.
    Mqttstack,
    /// The system's mosquitto: checks the scenarios, not the project.
    Mosquitto,
}

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Runs only scenarios whose name contains this text; may be given more than once.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// The broker to run against.
    #[arg(long, value_enum, default_value = "mqttstack")]
    against: Target,
    /// How many scenarios run at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Lists the scenarios and ends.
    #[arg(long)]
    list: bool,
    /// Takes the other clients as they are installed, and fails if one is missing.
    #[arg(long)]
    skip_install: bool,
}

/// `cargo xtask interop`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        for test in scenarios::all() {
            println!("{}", test.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let project = Project::load()?;
    require_peers(&project, !options.skip_install)?;
    let binary = build_binary(&project)?;
    let against = match options.against {
        Target::Mqttstack => broker::Against::Mqttstack(binary.clone()),
        Target::Mosquitto => broker::Against::Mosquitto,
    };
    let ground = runner::Ground {
        project: &project,
        binary: &binary,
    };
    let totals = runner::run(ground, &against, &options.filter, options.jobs)?;
    println!("{totals}");
    Ok(totals.exit_code())
}

/// Every scenario against the project's binary, as a step of `cargo xtask test`.
pub(crate) fn run_all(project: &Project) -> Result<Totals> {
    let binary = build_binary(project)?;
    let against = broker::Against::Mqttstack(binary.clone());
    let ground = runner::Ground {
        project,
        binary: &binary,
    };
    runner::run(ground, &against, &[], 4)
}
