//! The options of `mqttstack bench`, and what each scenario takes where they say nothing.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use clap::ValueEnum;
use mqttstack_codec::{ProtocolVersion, QoS};
use serde::Serialize;

use super::payload::Stamp;
use crate::failure::Failure;

/// What is done with the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scenario {
    /// Pairs: each publisher has one subscriber.
    P2p,
    /// One publisher, many subscribers.
    Fanout,
    /// Many publishers, one subscriber.
    Fanin,
    /// Thousands of filters with wildcards; each message matches one of them.
    Wildcard,
    /// A shared group: each message goes to one of its members.
    Shared,
    /// Retained messages are stored, then delivered to a new subscriber, then removed.
    Retained,
    /// Messages wait for a client that is away, then are delivered when it is back.
    Offline,
    /// Pairs at a fixed rate, whatever the broker does: how long messages take.
    Latency,
    /// Clients connect, subscribe and disconnect, over and over.
    ConnectStorm,
    /// Many clients that do nothing: what they cost.
    Idle,
    /// Pairs with large payloads.
    Large,
}

const EXAMPLES: &str = "\
Examples:
  mqttstack bench p2p --broker-pid $(pidof mosquitto)
      fifty pairs, QoS 0: deliveries a second, and what each cost the broker
  mqttstack bench fanout --clients 200 -q 1 --html report.html
      one publisher, two hundred subscribers, with plots
  mqttstack bench latency --rate 20000 --seconds 30
      percentiles of the time from when a message was due
  mqttstack bench idle --clients 20000 --source 127.0.0.2 --source 127.0.0.3
      connections from several addresses

Every delivery is checked: once, in order, as it was published. What is wrong is counted, and the
exit code is 1. Without --allow-remote only a broker on this machine is put under load.

Exit codes: 0 all is well, 1 wrong usage or a failed check, 2 network failure.";

/// Puts load on a broker and checks every delivery.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES, disable_help_flag = true)]
pub(crate) struct Args {
    /// What is done.
    #[arg(value_enum)]
    pub(super) scenario: Scenario,
    /// Address of the broker.
    #[arg(
        short = 'h',
        long,
        value_name = "HOST",
        env = "MQTTSTACK_HOST",
        default_value = "127.0.0.1"
    )]
    pub(super) host: String,
    /// Port of the broker.
    #[arg(short, long, env = "MQTTSTACK_PORT", default_value_t = 1883)]
    pub(super) port: u16,
    /// Put load on a broker that is not on this machine. Have its owner agree.
    #[arg(long)]
    pub(super) allow_remote: bool,
    /// Version of MQTT: 5 or 311.
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5", value_parser = version)]
    pub(super) protocol_version: ProtocolVersion,
    /// User name.
    #[arg(short, long, env = "MQTTSTACK_USERNAME")]
    pub(super) username: Option<String>,
    /// Password; only from the environment, since lists of processes show options.
    #[arg(long, env = "MQTTSTACK_PASSWORD", hide = true)]
    pub(super) password: Option<String>,
    /// How many: pairs, subscribers (fanout, wildcard), publishers (fanin), members (shared), or
    /// connections (connect-storm, idle).
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) clients: Option<u32>,
    /// How many publishers (wildcard, shared).
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) publishers: u32,
    /// How many filters all subscribers together have (wildcard).
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) filters: u32,
    /// QoS of messages and subscriptions.
    #[arg(short, long, value_name = "QOS", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(super) qos: Option<u8>,
    /// Payload of each message, in bytes.
    #[arg(short = 's', long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(20..=268_000_000))]
    pub(super) payload_size: Option<u32>,
    /// How many messages each publisher has on their way at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub(super) in_flight: Option<u32>,
    /// How many messages are sent at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub(super) burst: Option<u32>,
    /// How many messages are published in all (connect-storm: connections made), not counting a
    /// tenth more at the beginning which is not measured.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4_000_000_000))]
    pub(super) messages: Option<u64>,
    /// For how long messages are published, or idle connections held.
    #[arg(long, value_name = "SECONDS", conflicts_with = "messages")]
    pub(super) seconds: Option<u64>,
    /// Messages a second, all publishers together, sent by the clock: latencies count from when a
    /// message was due, not from when there was room for it.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(super) rate: Option<u64>,
    /// Receive Maximum that subscribers announce (5.0 only), and hold the broker to.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) receive_maximum: Option<u16>,
    /// One subscription for each idle connection (idle).
    #[arg(long)]
    pub(super) subscribe: bool,
    /// Address of this machine to connect from; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) source: Vec<IpAddr>,
    /// Process of the broker, to read its processor time and memory.
    #[arg(long, value_name = "PID")]
    pub(super) broker_pid: Option<u32>,
    /// How many seconds everything together may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(super) timeout: u64,
    /// Print the report as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Write a report with plots, a page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// No line of progress.
    #[arg(long)]
    pub(super) quiet: bool,
    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// What a run does, every choice made.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Parameters {
    pub(super) scenario: Scenario,
    pub(super) protocol_version: &'static str,
    pub(super) clients: u32,
    pub(super) publishers: u32,
    pub(super) filters: u32,
    pub(super) qos: u8,
    pub(super) payload_size: u32,
    pub(super) in_flight: u32,
    pub(super) burst: u32,
    pub(super) messages: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receive_maximum: Option<u16>,
    pub(super) subscribe: bool,
    pub(super) source: Vec<IpAddr>,
}

/// What a scenario takes where nothing is said.
struct Defaults {
    clients: u32,
    messages: u64,
    qos: u8,
    payload_size: u32,
    in_flight: u32,
    burst: u32,
}

impl Scenario {
    const fn defaults(self) -> Defaults {
        let defaults = Defaults {
            clients: 50,
            messages: 200_000,
            qos: 0,
            payload_size: 64,
            in_flight: 100,
            burst: 50,
        };
        match self {
            Self::P2p => defaults,
            Self::Fanout => Defaults {
                clients: 1_000,
                messages: 1_000,
                ..defaults
            },
            Self::Fanin => Defaults {
                clients: 1_000,
                ..defaults
            },
            Self::Wildcard => Defaults {
                clients: 200,
                ..defaults
            },
            Self::Shared => Defaults {
                clients: 10,
                qos: 1,
                ..defaults
            },
            Self::Retained => Defaults {
                clients: 1,
                messages: 100_000,
                qos: 1,
                ..defaults
            },
            Self::Offline => Defaults {
                clients: 1,
                messages: 60_000,
                qos: 1,
                ..defaults
            },
            Self::Latency => Defaults {
                messages: 100_000,
                qos: 1,
                ..defaults
            },
            Self::ConnectStorm => Defaults {
                clients: 100,
                messages: 20_000,
                ..defaults
            },
            Self::Idle => Defaults {
                clients: 10_000,
                ..defaults
            },
            Self::Large => Defaults {
                clients: 4,
                messages: 2_000,
                payload_size: 64 * 1024,
                in_flight: 4,
                burst: 1,
                ..defaults
            },
        }
    }
}

impl Parameters {
    /// Makes every choice that the options leave.
    pub(super) fn new(args: &Args) -> Result<Self, Failure> {
        let defaults = args.scenario.defaults();
        let in_flight = args.in_flight.unwrap_or(defaults.in_flight);
        let burst = args.burst.unwrap_or(defaults.burst.min(in_flight));
        let payload_size = args.payload_size.unwrap_or(defaults.payload_size);
        let rate = if args.scenario == Scenario::Latency {
            Some(args.rate.unwrap_or(10_000))
        } else {
            args.rate
        };
        if burst > in_flight {
            return Err(Failure::usage(format!(
                "a burst of {burst} does not fit into {in_flight} messages in flight"
            )));
        }
        if (payload_size as usize) < Stamp::LEN {
            return Err(Failure::usage("the payload is too small to be checked"));
        }
        Ok(Self {
            scenario: args.scenario,
            protocol_version: match args.protocol_version {
                ProtocolVersion::V5 => "5.0",
                ProtocolVersion::V311 => "3.1.1",
                ProtocolVersion::V31 => "3.1",
            },
            clients: args.clients.unwrap_or(defaults.clients),
            publishers: args.publishers,
            filters: args.filters,
            qos: args.qos.unwrap_or(defaults.qos),
            payload_size,
            in_flight,
            burst,
            messages: args.messages.unwrap_or(defaults.messages),
            seconds: args.seconds,
            rate,
            receive_maximum: args.receive_maximum,
            subscribe: args.subscribe,
            source: args.source.clone(),
        })
    }

    pub(super) fn qos(&self) -> QoS {
        QoS::from_u8(self.qos).unwrap_or(QoS::AtMostOnce)
    }
}

/// Only loopback is fair game without a word.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address
                    .to_ipv4_mapped()
                    .is_some_and(|address: Ipv4Addr| address.is_loopback())
        }
    }
}

fn version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "5" | "5.0" | "mqttv5" => Ok(ProtocolVersion::V5),
        "311" | "3.1.1" | "mqttv311" => Ok(ProtocolVersion::V311),
        _ => Err("5 or 311".into()),
    }
}
