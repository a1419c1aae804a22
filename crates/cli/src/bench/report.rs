//! What a run says when it is over.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::{ledger::Checks, measure::Phase, options::Parameters, sampler::Sample};

/// Everything that is known of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    /// The version of this program.
    pub(super) version: &'static str,
    pub(super) broker: String,
    pub(super) parameters: &'a Parameters,
    /// Whether every check held.
    pub(super) passed: bool,
    /// What ended the run early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) phases: Vec<Phase>,
    pub(super) checks: Checks,
    pub(super) samples: Vec<Sample>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for phase in &self.phases {
            writeln!(f, "{}", Line(phase))?;
            if let Some(latency) = &phase.latency {
                write!(f, "  latency, us:")?;
                for (at, value) in &latency.percentiles {
                    if *at >= 50.0 {
                        write!(f, " p{at} {value:.0}")?;
                    }
                }
                writeln!(f, " max {:.0}", latency.max)?;
            }
        }
        write!(f, "{}", self.verdict())
    }
}

impl Report<'_> {
    /// Says in one line whether all went well, or what did not.
    pub(super) fn verdict(&self) -> String {
        let mut text = match (&self.error, self.passed) {
            (None, true) => return "every check held".into(),
            (Some(error), _) => format!("not finished: {error}"),
            (None, false) => "checks failed".into(),
        };
        for (name, count) in self.checks.counts() {
            if count > 0 {
                let _ = write!(text, "; {name}: {count}");
            }
        }
        if let Some(first) = &self.checks.first {
            let _ = write!(text, "; the first: {first}");
        }
        text
    }
}

impl Checks {
    /// Returns the counts with their names.
    pub(super) fn counts(&self) -> [(&'static str, u64); 10] {
        [
            ("lost", self.lost),
            ("unacknowledged", self.unacknowledged),
            ("repeated or late", self.repeated),
            ("out of order", self.out_of_order),
            ("corrupted", self.corrupted),
            ("unexpected", self.unexpected),
            ("beyond the receive maximum", self.beyond_receive_maximum),
            ("refused", self.refused),
            ("protocol errors", self.protocol_errors),
            ("disconnected", self.disconnected),
        ]
    }
}

/// A phase in one line.
struct Line<'a>(&'a Phase);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(phase) = self;
        let plural = match phase.unit {
            "delivery" => "deliveries".into(),
            unit => format!("{unit}s"),
        };
        write!(
            f,
            "{:<12} {} {plural} in {:.2} s, {:.0}/s",
            phase.name, phase.count, phase.seconds, phase.rate
        )?;
        if let Some(cpu) = phase.broker_cpu_us {
            write!(f, "; broker {cpu:.3} us CPU each")?;
        }
        if let (Some(bytes), Some(_)) = (phase.bytes_each, phase.memory_after) {
            write!(f, ", {bytes:.0} bytes each")?;
        }
        if let Some(memory) = phase.memory_after {
            write!(f, ", {:.1} MB resident", memory.rss as f64 / 1e6)?;
        }
        if let Some(cpu) = phase.generator_cpu_us {
            write!(f, "; generator {cpu:.3} us")?;
        }
        Ok(())
    }
}
