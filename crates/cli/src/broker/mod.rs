//! `mqttstack broker`: runs a broker until it is told to stop.

mod address;
mod certificates;
mod config;
mod listener;
mod units;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    sync::mpsc::{Sender, channel},
    time::{Duration, Instant},
};

use mqttstack_broker::{
    Broker, StartError, Stopper, limits::BrokerLimits, transport::TransportError,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use self::{
    address::ListenAddress,
    certificates::Certificates,
    config::{Config, Level},
    listener::{ClientCertificates, Listener, ListenerError},
};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  mqttstack broker
      for this machine alone, on 127.0.0.1:1883
  mqttstack broker --listen 0.0.0.0:1883 --allow-anonymous --allow-plaintext
      for everyone who reaches this machine: no passwords, no encryption
  mqttstack broker --listen mqtts://0.0.0.0 --listen wss://0.0.0.0 --allow-anonymous \\
        --cert server.crt --key server.key
      the same with encryption, on ports 8883 and 8084; `mqttstack certs` makes certificates
  mqttstack broker --config /etc/mqttstack.toml
      as the file says
  MQTTSTACK_LOG__LEVEL=debug mqttstack broker
      any setting but listeners, from the environment: MQTTSTACK_SECTION__KEY

SIGHUP reads certificates, keys, authorities and revocation lists again.

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
    /// An address to listen on, instead of those in the configuration; may be repeated:
    /// mqtt://HOST:PORT (or just that), mqtts://, ws://, wss:// or unix:/path. Port 0 lets the
    /// system choose.
    #[arg(
        short,
        long,
        value_name = "URL",
        env = "MQTTSTACK_LISTEN",
        value_delimiter = ','
    )]
    listen: Vec<ListenAddress>,
    /// The certificate to show on mqtts:// and wss://, in PEM, instead of that in `[tls]`.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Who may sign the certificates of clients, in PEM.
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// Whether clients show certificates.
    #[arg(long, value_name = "WHETHER")]
    client_certificates: Option<ClientCertificates>,
    /// Let clients in without credentials on addresses that other machines reach.
    #[arg(long, env = "MQTTSTACK_ALLOW_ANONYMOUS")]
    allow_anonymous: bool,
    /// Accept connections without encryption on addresses that other machines reach.
    #[arg(long, env = "MQTTSTACK_ALLOW_PLAINTEXT")]
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
    let limits = config.limits.to_limits();
    let mut builder = Broker::builder()
        .limits(limits.clone())
        .broker_limits(within_open_files(&config))
        .accept_bridges(config.broker.accept_bridges);
    if let Some(workers) = &config.broker.workers {
        builder = builder.workers(workers.0);
    }
    if let Some(interval) = &config.broker.status_interval {
        builder = builder.status_interval(interval.0);
    }
    let mut certificates = Certificates::default();
    for listener in &config.listener {
        let prepared = listener.prepare(&config.tls, &limits).map_err(wrong)?;
        if let Some(tls) = prepared.tls {
            certificates.add(listener.address.to_string(), tls);
        }
        builder = builder.listener(prepared.settings);
    }
    // Before it listens: whoever sees that it does may signal at once.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(cannot_wait)?;
    let (reload, orders) = channel();
    certificates
        .watch(config.tls.watch_interval(), orders)
        .map_err(cannot_start_thread)?;
    let broker = builder.start().map_err(explain)?;
    heed_signals(signals, broker.stopper(), reload)?;
    for (address, name) in broker.local_addresses().iter().zip(broker.listener_names()) {
        tracing::info!("listening on {address} ({name})");
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
    let tls = &mut config.tls;
    if let (Some(certificate), Some(key)) = (&arguments.cert, &arguments.key) {
        tls.certificate = Some(certificate.clone());
        tls.key = Some(key.clone());
    }
    if let Some(authority) = &arguments.cafile {
        tls.ca = Some(authority.clone());
    }
    tls.client_certificates = arguments.client_certificates.or(tls.client_certificates);
    for listener in &mut config.listener {
        listener.allow_anonymous |= arguments.allow_anonymous;
        listener.allow_plaintext |= arguments.allow_plaintext;
        listener.check(&config.tls).map_err(wrong)?;
    }
    Ok(config)
}

fn wrong(error: ListenerError) -> Failure {
    Failure::configuration(error.message, &error.hint)
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

/// Every connection is an open file: as many are allowed as the system lets this process have, less
/// what it needs for itself.
fn within_open_files(config: &Config) -> BrokerLimits {
    let mut limits = config.broker.to_limits();
    let files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit on open files, and so on connections");
            return limits;
        }
    };
    let room = connections_within(files);
    if config.broker.connections_max.is_none() {
        limits.connections_max = room;
    } else if limits.connections_max > room {
        tracing::warn!(
            "broker.connections_max is {}, but with {files} open files allowed there is room for \
             {room}: raise the hard limit (ulimit -H -n, LimitNOFILE=)",
            limits.connections_max
        );
    }
    limits
}

/// Returns how many connections may be open where so many files may.
fn connections_within(files: u64) -> u32 {
    /// A twentieth is kept for listeners, logs and stores, within these bounds.
    const RESERVED: (u64, u64) = (64, 4_096);
    let reserved = (files / 20).clamp(RESERVED.0, RESERVED.1);
    u32::try_from(files.saturating_sub(reserved)).unwrap_or(u32::MAX)
}

/// The first signal stops the broker in good order, a later one at once. One that follows on its
/// heels is the same: a terminal and a supervisor may both pass on what was meant once. SIGHUP has
/// the certificates read again.
#[expect(
    clippy::disallowed_methods,
    reason = "signals come by the clock of people"
)]
fn heed_signals(mut signals: Signals, stopper: Stopper, reload: Sender<()>) -> Result<(), Failure> {
    let wait = move || {
        let mut stopping_since: Option<Instant> = None;
        for signal in signals.forever() {
            if signal == SIGHUP {
                // Nobody takes the order if the broker ends just now.
                let _ = reload.send(());
                continue;
            }
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

fn cannot_start_thread(error: io::Error) -> Failure {
    Failure::system(format!("cannot start a thread: {error}"), None)
}

fn cannot_wait(error: io::Error) -> Failure {
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
    if let TransportError::DeviceUnavailable { kind, .. } = error {
        return Some(if *kind == io::ErrorKind::PermissionDenied {
            "choosing a device takes the capability CAP_NET_RAW (AmbientCapabilities= of systemd)"
        } else {
            "see `ip link` for the devices of this machine"
        });
    }
    if let TransportError::PermissionDenied { .. } = error {
        return Some("ports below 1024 need privileges: choose another port with --listen");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        for (files, connections) in [
            (64, 0),
            (1_024, 960),
            (20_000, 19_000),
            (1_048_576, 1_044_480),
            (u64::MAX, u32::MAX),
        ] {
            assert_eq!(connections_within(files), connections, "{files}");
        }
    }
}
