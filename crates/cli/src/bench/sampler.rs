//! What a run looks like over time: one look at everything, several times a second.

use serde::Serialize;

use super::{
    process::{CpuTime, Process},
    progress::Progress,
};

/// Between two samples, in nanoseconds.
const INTERVAL: u64 = 200_000_000;
/// How many samples are kept; then every other one goes, and the interval doubles.
const SAMPLES_MAX: usize = 2_000;

/// One look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Sample {
    /// Seconds since the run began.
    pub(super) seconds: f64,
    pub(super) connections: usize,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    /// Processor time of the broker since it began, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broker_cpu: Option<f64>,
    /// Resident memory of the broker, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broker_rss: Option<u64>,
}

/// Takes samples.
#[derive(Debug)]
pub(super) struct Sampler {
    broker: Option<Process>,
    own: Process,
    progress: Progress,
    pub(super) samples: Vec<Sample>,
    interval: u64,
    next: u64,
}

impl Sampler {
    pub(super) fn new(broker: Option<Process>, progress: Progress) -> Self {
        Self {
            broker,
            own: Process::own(),
            progress,
            samples: Vec::new(),
            interval: INTERVAL,
            next: 0,
        }
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        now >= self.next
    }

    pub(super) fn sample(&mut self, now: u64, sent: u64, delivered: u64, connections: usize) {
        self.next = now + self.interval;
        let cpu = self.broker_cpu();
        let memory = self.broker.as_ref().and_then(Process::memory_quickly);
        let sample = Sample {
            seconds: now as f64 / 1e9,
            connections,
            sent,
            delivered,
            broker_cpu: cpu.map(|cpu| cpu.total),
            broker_rss: memory,
        };
        self.progress.show(self.samples.last(), &sample);
        self.samples.push(sample);
        if self.samples.len() >= SAMPLES_MAX {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.interval *= 2;
        }
    }

    pub(super) fn broker_cpu(&self) -> Option<CpuTime> {
        self.broker.as_ref()?.cpu_time()
    }

    pub(super) fn own_cpu(&self) -> Option<CpuTime> {
        self.own.cpu_time()
    }

    pub(super) fn broker(&self) -> Option<&Process> {
        self.broker.as_ref()
    }

    /// Says what is being done now.
    pub(super) fn begin(&mut self, doing: &'static str) {
        self.progress.begin(doing);
    }

    /// Takes the line of progress away.
    pub(super) fn end(&mut self) {
        self.progress.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_a_bounded_number_of_samples() {
        let mut sampler = Sampler::new(None, Progress::silent());
        let mut now = 0;
        for _ in 0..10 * SAMPLES_MAX {
            now = sampler.next;
            sampler.sample(now, 0, 0, 0);
        }
        assert!(sampler.samples.len() < SAMPLES_MAX);
        let last = sampler.samples.last().unwrap().seconds;
        assert!(now as f64 / 1e9 - last <= sampler.interval as f64 / 1e9);
    }
}
