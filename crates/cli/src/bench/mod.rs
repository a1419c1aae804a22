//! `mqttstack bench`: puts load on a broker, checks every delivery, and says what it cost.

mod client;
mod clock;
mod engine;
mod html;
mod ledger;
mod measure;
mod options;
mod payload;
mod plot;
mod process;
mod progress;
mod receiver;
mod report;
mod sampler;
mod scenario;
mod sender;
mod wire;

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    net::{SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

pub(crate) use self::options::Args;
use self::{
    engine::Engine,
    ledger::Ledger,
    options::Parameters,
    process::Process,
    progress::Progress,
    report::Report,
    sampler::Sampler,
    scenario::{Run, ScenarioError},
};
use crate::failure::Failure;

/// The exit code of a run whose checks failed.
const FAILED: u8 = 1;

/// Runs a scenario and reports.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let parameters = Parameters::new(args)?;
    let broker = address(args)?;
    let process = match args.broker_pid.map(Process::new) {
        Some(process) if !process.is_there() => {
            return Err(Failure::usage("--broker-pid: there is no such process"));
        }
        process => process,
    };
    // What it cannot raise shows when connections fail.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let progress = if args.quiet {
        Progress::silent()
    } else {
        Progress::on_terminal()
    };
    // Any number will do, if no other run has it.
    let number = u32::try_from(RandomState::new().hash_one("run") >> 32).unwrap_or(0);
    let filler = payload::filler(parameters.payload_size as usize);
    let histogram =
        ledger::histogram().map_err(|error| Failure::system(error.to_string(), None))?;
    let engine = Engine::new(
        args.protocol_version,
        broker,
        Ledger::new(number, filler.clone(), histogram),
        Sampler::new(process, progress),
        Duration::from_secs(args.timeout),
    )
    .map_err(|error| Failure::system(error.to_string(), None))?;
    let credentials = args
        .username
        .clone()
        .map(|name| (name, args.password.clone().unwrap_or_default()));
    let mut run = Run {
        engine,
        parameters: &parameters,
        version: args.protocol_version,
        number,
        filler: &filler,
        credentials,
    };
    let result = run.run();
    let Run { mut engine, .. } = run;
    engine.sampler.end();
    let (phases, error) = match result {
        Ok(phases) => (phases, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        broker: broker.to_string(),
        parameters: &parameters,
        passed: error.is_none() && engine.ledger.checks.is_good(),
        error: error.as_ref().map(ToString::to_string),
        phases,
        checks: engine.ledger.checks,
        samples: engine.sampler.samples,
    };
    write(&report, args)?;
    match error {
        _ if report.passed => Ok(()),
        Some(ScenarioError::Run(error @ engine::RunError::Connect { .. })) => Err(Failure::system(
            error.to_string(),
            Some("is the broker running? -h and -p say where it listens"),
        )),
        Some(_) | None => {
            eprintln!("mqttstack bench: {}", report.verdict());
            Err(Failure::verdict(FAILED))
        }
    }
}

fn write(report: &Report<'_>, args: &Args) -> Result<(), Failure> {
    if args.json {
        let json =
            serde_json::to_string_pretty(report).map_err(|error| Failure::output(error.into()))?;
        println!("{json}");
    } else {
        println!("{report}");
    }
    if let Some(path) = &args.html {
        fs::write(path, html::page(report)).map_err(Failure::output)?;
    }
    Ok(())
}

/// Finds the broker, and refuses to put load on what is not this machine unless told to.
fn address(args: &Args) -> Result<SocketAddr, Failure> {
    let found = (args.host.as_str(), args.port)
        .to_socket_addrs()
        .map_err(|error| Failure::system(format!("{}: {error}", args.host), None))?
        .next()
        .ok_or_else(|| Failure::system(format!("{} has no address", args.host), None))?;
    if !args.allow_remote && !options::is_loopback(found.ip()) {
        return Err(Failure::usage(format!(
            "{found} is not on this machine: --allow-remote puts load on it all the same"
        )));
    }
    Ok(found)
}
