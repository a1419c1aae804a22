//! The rows of the table: what is done, what is read off, and what is to be reached.

use crate::peers::{Program, Relaying};

/// What is read off a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Quantity {
    /// Processor time of the broker for each thing that the phase counts, in microseconds.
    CpuMicros,
    /// Memory of the broker for each of them.
    Bytes,
    /// The 99th percentile of latency, in microseconds.
    LatencyP99,
}

/// What a row is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// At most this part of what mosquitto takes.
    OfMosquitto(f64),
    /// At most this many times what the relay takes.
    OfRelay(f64),
    AtMost(f64),
    /// Less than every other broker.
    Best,
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// For `mqttstack bench`.
    pub(crate) arguments: &'static str,
    /// How many messages, for brokers that are quick and for those that are not.
    messages: Option<(u64, u64)>,
    pub(crate) phase: &'static str,
    pub(crate) quantity: Quantity,
    pub(crate) goal: Goal,
    pub(crate) relay: Relaying,
}

impl Row {
    /// Returns whether a program takes part.
    pub(crate) fn is_for(&self, program: Program) -> bool {
        program != Program::Relay || self.relay != Relaying::Never
    }

    pub(crate) fn messages(&self, program: Program) -> Option<u64> {
        self.messages.map(|(quick, slow)| match program {
            Program::Relay | Program::Mqttstack => quick,
            Program::Mosquitto | Program::Rumqttd => slow,
        })
    }
}

const fn cpu(
    name: &'static str,
    arguments: &'static str,
    messages: (u64, u64),
    goal: f64,
    relay: Relaying,
) -> Row {
    Row {
        name,
        arguments,
        messages: Some(messages),
        phase: "flow",
        quantity: Quantity::CpuMicros,
        goal: Goal::OfMosquitto(1.0 / goal),
        relay,
    }
}

const fn bytes(
    name: &'static str,
    arguments: &'static str,
    phase: &'static str,
    at_most: f64,
) -> Row {
    Row {
        name,
        arguments,
        messages: None,
        phase,
        quantity: Quantity::Bytes,
        goal: Goal::AtMost(at_most),
        relay: Relaying::Never,
    }
}

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    use Relaying::{Bytes, Frames, Never};
    const MANY: (u64, u64) = (2_000_000, 200_000);
    vec![
        cpu("50 pairs, QoS 0", "p2p", MANY, 25.0, Bytes),
        cpu("50 pairs, QoS 1", "p2p -q 1", MANY, 25.0, Bytes),
        cpu(
            "50 pairs, QoS 2",
            "p2p -q 2",
            (1_000_000, 100_000),
            25.0,
            Bytes,
        ),
        cpu("1 to 1,000, QoS 0", "fanout", (3_000, 500), 20.0, Bytes),
        cpu(
            "1 to 1,000, QoS 1",
            "fanout -q 1",
            (2_000, 400),
            10.0,
            Bytes,
        ),
        cpu(
            "1,000 to 1, QoS 0",
            "fanin",
            (1_000_000, 300_000),
            9.0,
            Frames,
        ),
        cpu(
            "1,000 to 1, QoS 1",
            "fanin -q 1",
            (1_000_000, 300_000),
            10.0,
            Frames,
        ),
        cpu("10,000 wildcard filters", "wildcard", MANY, 12.0, Never),
        cpu("shared group of 10, QoS 1", "shared", MANY, 20.0, Never),
        Row {
            phase: "set",
            ..cpu("retained, set", "retained", (100_000, 100_000), 7.0, Never)
        },
        Row {
            phase: "delivered",
            ..cpu(
                "retained, delivered",
                "retained",
                (100_000, 100_000),
                6.0,
                Never,
            )
        },
        Row {
            phase: "drained",
            ..cpu(
                "60,000 queued, drained",
                "offline",
                (60_000, 60_000),
                3.5,
                Never,
            )
        },
        Row {
            phase: "storm",
            goal: Goal::OfMosquitto(0.7),
            ..cpu(
                "connect, subscribe, disconnect",
                "connect-storm",
                (20_000, 10_000),
                1.0,
                Never,
            )
        },
        Row {
            goal: Goal::OfRelay(1.2),
            ..cpu(
                "50 pairs, one at a time",
                "p2p --in-flight 1 --burst 1",
                (100_000, 50_000),
                1.0,
                Bytes,
            )
        },
        Row {
            goal: Goal::OfRelay(1.15),
            ..cpu("64 KiB payloads", "large", (8_000, 8_000), 1.0, Bytes)
        },
        Row {
            goal: Goal::OfRelay(1.15),
            ..cpu("1 MiB payloads", "large -s 1048576", (600, 600), 1.0, Bytes)
        },
        bytes("idle connection", "idle", "connected", 600.0),
        bytes(
            "connection with a subscription",
            "idle --subscribe",
            "connected",
            1_000.0,
        ),
        bytes(
            "queued message of 64 bytes",
            "offline -n 60000",
            "queued",
            300.0,
        ),
        bytes(
            "retained message of 64 bytes",
            "retained -n 100000",
            "set",
            300.0,
        ),
        Row {
            messages: None,
            quantity: Quantity::LatencyP99,
            goal: Goal::Best,
            ..cpu(
                "p99 latency, 10,000 messages a second, QoS 1",
                "latency --rate 10000 --seconds 5",
                (0, 0),
                1.0,
                Bytes,
            )
        },
    ]
}
