//! `mqttstack broker`: runs a broker until it is told to stop.

mod config;
mod units;

use std::{
    io::IsTerminal,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use mqttstack_broker::{
    Broker, StartError, Stopper,
    transport::{Endpoint, TransportError},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use self::config::{Config, Level, Listener};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  mqttstack broker
      for this machine alone, on 127.0.0.1:1883
  mqttstack broker --listen 0.0.0.0:1883 --allow-anonymous --allow-plaintext
      for everyone who reaches this machine: no passwords, no encryption
  mqttstack broker --config /etc/mqttstack.toml
      as the file says
  MQTTSTACK_LOG__LEVEL=debug mqttstack broker
      any setting but listeners, from the environment: MQTTSTACK_SECTION__KEY

Exit codes: 0 stopped by SIGINT or SIGTERM, 1 usage or configuration, 2 network or system.";

/// How many lines of the log wait to be written; further ones are lost.
const LOG_LINES_MAX: usize = 16_384;

/// How long after the first signal a further one is taken for the same.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

const CONFIG_HINT: &str = "see docs/configuration.md of the project for every setting";

/// Runs a broker.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The configuration file (TOML); unknown keys are errors.
    #[arg(short, long, value_name = "FILE", env = "MQTTSTACK_CONFIG")]
    config: Option<PathBuf>,
    /// An address to listen on, instead of those in the configuration; may be repeated. Port 0
    /// lets the system choose.
    #[arg(short, long, value_name = "HOST:PORT")]
    listen: Vec<Endpoint>,
    /// Let clients in without credentials on addresses that other machines reach.
    #[arg(long)]
    allow_anonymous: bool,
    /// Accept connections without encryption on addresses that other machines reach.
    #[arg(long)]
    allow_plaintext: bool,
}

/// Runs the broker until SIGINT or SIGTERM.
pub(crate) fn run(arguments: &Args) -> Result<(), Failure> {
    let config = config(arguments)?;
    // Written by a thread of its own until the end of this function.
    let _log = start_log(config.log.level);
    for name in &config.overlooked {
        tracing::warn!("{name} is not a setting: two underscores follow the section");
    }
    raise_file_limit();
    let mut builder = Broker::builder()
        .limits(config.limits.to_limits())
        .broker_limits(config.broker.to_limits())
        .accept_bridges(config.broker.accept_bridges);
    if let Some(workers) = &config.broker.workers {
        builder = builder.workers(workers.0);
    }
    for listener in &config.listener {
        builder = builder.listen(listener.address.clone());
    }
    // Before it listens: whoever sees that it does may signal at once.
    let signals = Signals::new([SIGINT, SIGTERM]).map_err(cannot_wait)?;
    let broker = builder.start().map_err(explain)?;
    stop_on_signals(signals, broker.stopper())?;
    for address in broker.local_addresses() {
        tracing::info!("listening on {address}");
    }
    broker
        .wait()
        .map_err(|error| Failure::system(format!("the broker failed: {error}"), None))?;
    tracing::info!("stopped");
    Ok(())
}

/// All variables; what is no text in them becomes text that no setting takes.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    })
}

fn config(arguments: &Args) -> Result<Config, Failure> {
    let mut config = Config::load(arguments.config.as_deref(), environment())
        .map_err(|error| Failure::configuration(error.to_string(), CONFIG_HINT))?;
    if !arguments.listen.is_empty() {
        config.listener = arguments
            .listen
            .iter()
            .cloned()
            .map(Listener::new)
            .collect();
    }
    for listener in &mut config.listener {
        listener.allow_anonymous |= arguments.allow_anonymous;
        listener.allow_plaintext |= arguments.allow_plaintext;
        check(listener)?;
    }
    Ok(config)
}

/// An address that other machines reach needs two explicit words.
fn check(listener: &Listener) -> Result<(), Failure> {
    if is_loopback(&listener.address) {
        return Ok(());
    }
    for (is_allowed, missing, flag, key) in [
        (
            listener.allow_anonymous,
            "credentials, so anyone could use it",
            "--allow-anonymous",
            "allow_anonymous = true",
        ),
        (
            listener.allow_plaintext,
            "encryption, so anyone on the way could read it",
            "--allow-plaintext",
            "allow_plaintext = true",
        ),
    ] {
        if !is_allowed {
            let address = &listener.address;
            let message = format!("{address} is reached from other machines and has no {missing}");
            let hint =
                format!("to listen there all the same, say {flag}, or `{key}` in its [[listener]]");
            return Err(Failure::configuration(message, &hint));
        }
    }
    Ok(())
}

fn is_loopback(endpoint: &Endpoint) -> bool {
    match endpoint.ip() {
        Some(ip) => IpAddr::is_loopback(&ip),
        None => endpoint.host().eq_ignore_ascii_case("localhost"),
    }
}

/// Starts the log. It is written by a thread of its own: when nobody takes it, lines are lost, but
/// no client waits.
fn start_log(level: Level) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LOG_LINES_MAX)
        .lossy(true)
        .finish(std::io::stderr());
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer)
        .with_ansi(is_terminal && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .init();
    guard
}

/// Every connection is an open file.
fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit on open files, and so on connections");
    }
}

/// The first signal stops the broker in good order, a later one at once. One that follows on its
/// heels is the same: a terminal and a supervisor may both pass on what was meant once.
#[expect(
    clippy::disallowed_methods,
    reason = "signals come by the clock of people"
)]
fn stop_on_signals(mut signals: Signals, stopper: Stopper) -> Result<(), Failure> {
    let wait = move || {
        let mut stopping_since: Option<Instant> = None;
        for signal in signals.forever() {
            if let Some(first) = stopping_since {
                if first.elapsed() >= SAME_SIGNAL {
                    std::process::exit(128 + signal);
                }
                continue;
            }
            stopping_since = Some(Instant::now());
            tracing::info!(
                "stopping on {}",
                if signal == SIGINT {
                    "SIGINT"
                } else {
                    "SIGTERM"
                }
            );
            stopper.stop();
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(wait).map(drop).map_err(cannot_wait)
}

fn cannot_wait(error: std::io::Error) -> Failure {
    Failure::system(format!("cannot wait for signals: {error}"), None)
}

fn explain(error: StartError) -> Failure {
    let hint = if let StartError::Listen { source, .. } = &error {
        hint_for_listen(source)
    } else {
        None
    };
    Failure::system(error.to_string(), hint)
}

fn hint_for_listen(error: &TransportError) -> Option<&'static str> {
    if let TransportError::AddressInUse { .. } = error {
        return Some(
            "another program listens there: stop it, or choose another port with --listen",
        );
    }
    if let TransportError::PermissionDenied { .. } = error {
        return Some("ports below 1024 need privileges: choose another port with --listen");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, anonymous: bool, plaintext: bool) -> Listener {
        let mut listener = Listener::new(address.parse().expect("an endpoint"));
        listener.allow_anonymous = anonymous;
        listener.allow_plaintext = plaintext;
        listener
    }

    #[test]
    fn only_loopback_needs_no_explicit_word() {
        for (address, anonymous, plaintext, is_accepted) in [
            ("127.0.0.1:1883", false, false, true),
            ("127.9.9.9:1883", false, false, true),
            ("[::1]:1883", false, false, true),
            ("localhost:1883", false, false, true),
            ("0.0.0.0:1883", false, false, false),
            ("0.0.0.0:1883", true, false, false),
            ("0.0.0.0:1883", false, true, false),
            ("0.0.0.0:1883", true, true, true),
            ("[::]:1883", true, true, true),
            ("broker.example:1883", false, false, false),
        ] {
            let result = check(&listener(address, anonymous, plaintext));
            assert_eq!(
                result.is_ok(),
                is_accepted,
                "{address} {anonymous} {plaintext}"
            );
        }
    }
}
