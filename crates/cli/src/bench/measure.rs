//! What a stretch of a run came to: the difference between two looks at everything.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    engine::Engine,
    process::{CpuTime, Memory, Process},
};

/// A look at everything that counts up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    nanos: u64,
    sent: u64,
    delivered: u64,
    broker: Option<CpuTime>,
    own: Option<CpuTime>,
    memory: Option<Memory>,
}

impl Mark {
    pub(super) fn now(engine: &Engine) -> Self {
        Self {
            broker: engine.sampler.broker_cpu(),
            own: engine.sampler.own_cpu(),
            memory: engine.sampler.broker().and_then(Process::memory),
            sent: engine.sent(),
            delivered: engine.ledger.delivered,
            nanos: engine.clock.nanos(),
        }
    }

    /// Returns what has happened since, counted in deliveries.
    pub(super) fn deliveries(self, name: &'static str, engine: &Engine) -> Phase {
        let delivered = engine.ledger.delivered - self.delivered;
        self.phase(name, "delivery", delivered, engine)
    }

    /// Returns what has happened since, counted in messages sent.
    pub(super) fn messages(self, name: &'static str, engine: &Engine) -> Phase {
        let sent = engine.sent() - self.sent;
        self.phase(name, "message", sent, engine)
    }

    /// Returns what has happened since, counted in `count` of something.
    pub(super) fn phase(
        self,
        name: &'static str,
        unit: &'static str,
        count: u64,
        engine: &Engine,
    ) -> Phase {
        let end = Self::now(engine);
        let cpu = |end: Option<CpuTime>, begin: Option<CpuTime>| Some(end?.since(begin?));
        let broker_cpu = cpu(end.broker, self.broker);
        let generator_cpu = cpu(end.own, self.own);
        let per_unit = |cpu: CpuTime| cpu.total * 1e6 / count.max(1) as f64;
        let seconds = (end.nanos - self.nanos) as f64 / 1e9;
        Phase {
            name,
            unit,
            count,
            messages: end.sent - self.sent,
            seconds,
            rate: count as f64 / seconds.max(1e-9),
            broker_cpu_us: broker_cpu.map(per_unit),
            broker_cpu,
            generator_cpu_us: generator_cpu.map(per_unit),
            memory_before: self.memory,
            memory_after: end.memory,
            bytes_each: None,
            latency: None,
        }
    }
}

/// A stretch of a run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    /// What is counted.
    pub(super) unit: &'static str,
    pub(super) count: u64,
    /// Messages published meanwhile.
    pub(super) messages: u64,
    pub(super) seconds: f64,
    /// Counted things a second.
    pub(super) rate: f64,
    /// Processor time of the broker for each, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broker_cpu_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broker_cpu: Option<CpuTime>,
    /// Processor time of this program for each, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) generator_cpu_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_before: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_after: Option<Memory>,
    /// What each took of the broker's memory, in bytes, where the phase fills it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_each: Option<f64>,
    /// From when a message was due to when it arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency: Option<Latency>,
}

impl Phase {
    /// The phase filled memory: says how much each took.
    pub(super) fn with_bytes_each(mut self) -> Self {
        if let (Some(before), Some(after)) = (self.memory_before, self.memory_after) {
            let grown = after.rss as f64 - before.rss as f64;
            self.bytes_each = Some(grown / self.count.max(1) as f64);
        }
        self
    }
}

/// A distribution of times, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) mean: f64,
    /// Percentiles and the times that they are at.
    pub(super) percentiles: Vec<(f64, f64)>,
    pub(super) max: f64,
}

const PERCENTILES: [f64; 10] = [1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];

impl Latency {
    pub(super) fn new(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            mean: histogram.mean() / 1e3,
            percentiles: PERCENTILES
                .iter()
                .map(|&at| (at, histogram.value_at_percentile(at) as f64 / 1e3))
                .collect(),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::ledger::histogram;

    #[test]
    fn percentiles_are_microseconds() {
        let mut histogram = histogram().unwrap();
        for micros in 1..=1_000 {
            histogram.record(micros * 1_000).unwrap();
        }
        let latency = Latency::new(&histogram);
        for (at, expected) in [(50.0, 500.0), (99.0, 990.0)] {
            let found = latency.percentiles.iter().find(|it| it.0 == at);
            let found = found.unwrap().1;
            assert!((found - expected).abs() < 1.0, "{at}: {found}");
        }
        assert_eq!(latency.count, 1_000);
    }
}
