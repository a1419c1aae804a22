//! `mqttstack broker`: runs a broker until it is told to stop.

mod config;
mod units;

use std::{io::IsTerminal, net::IpAddr, path::PathBuf};

use mqttstack_broker::{Broker, StartError, Stopper, transport::Endpoint};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tracing_subscriber::EnvFilter;

use self::config::{Config, Listener};
use crate::exit::{CommandError, Failure};

const EXAMPLES: &str = "\
Examples:
  mqttstack broker
      for this machine alone, on 127.0.0.1:1883
  mqttstack broker --listen 0.0.0.0:1883 --allow-anonymous --allow-plaintext
      for everyone who reaches this machine: no passwords, no encryption
  mqttstack broker --config /etc/mqttstack.toml
      as the file says
  MQTTSTACK_LOG__LEVEL=debug mqttstack broker
      any setting, from the environment

Exit codes: 0 stopped by SIGINT or SIGTERM, 1 usage or configuration, 2 network or system.";

/// Runs a broker.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
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
pub(crate) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let config = config(arguments)?;
    start_log(&config.log.level)?;
    raise_file_limit();
    let mut builder = Broker::builder()
        .limits(config.limits.to_limits())
        .broker_limits(config.broker.to_limits())
        .workers(config.broker.workers)
        .accept_bridges(config.broker.accept_bridges);
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
    broker.wait().map_err(|error| {
        CommandError::new(Failure::Network, format!("the broker failed: {error}"))
    })?;
    tracing::info!("stopped");
    Ok(())
}

fn config(arguments: &Arguments) -> Result<Config, CommandError> {
    let mut config = Config::load(arguments.config.as_deref(), std::env::vars())
        .map_err(|error| CommandError::new(Failure::Usage, error))?;
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
fn check(listener: &Listener) -> Result<(), CommandError> {
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
            let message = format!(
                "{address} is reached from other machines and has no {missing}; \
                 to listen there all the same, say {flag}, or `{key}` in its [[listener]]"
            );
            return Err(CommandError::new(Failure::Usage, message));
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

fn start_log(level: &str) -> Result<(), CommandError> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        let message =
            format!("log level {level:?} is not error, warn, info, debug or trace: {error}");
        CommandError::new(Failure::Usage, message)
    })?;
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .init();
    Ok(())
}

/// Every connection is an open file.
fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit on open files, and so on connections");
    }
}

/// The first signal stops the broker in good order, the second at once.
fn stop_on_signals(mut signals: Signals, stopper: Stopper) -> Result<(), CommandError> {
    let wait = move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(128 + signal);
            }
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

fn cannot_wait(error: std::io::Error) -> CommandError {
    CommandError::new(
        Failure::Network,
        format!("cannot wait for signals: {error}"),
    )
}

fn explain(error: StartError) -> CommandError {
    let hint = match &error {
        StartError::Listen { source, .. } => match source {
            mqttstack_broker::transport::TransportError::AddressInUse { .. } => {
                "; another program listens there: stop it, or choose another port with --listen"
            }
            mqttstack_broker::transport::TransportError::PermissionDenied { .. } => {
                "; ports below 1024 need privileges: choose another port with --listen"
            }
            _ => "",
        },
        _ => "",
    };
    CommandError::new(Failure::Network, format!("{error}{hint}"))
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
