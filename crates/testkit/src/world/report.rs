//! What a run of a world came to: numbers, or something that must not be.

use std::{fmt, ops::AddAssign};

use super::WorldSettings;
use crate::Seed;

/// How many lines of trace a violation shows of all that it has.
const TRACE_LINES: usize = 120;

/// What a run came to. The same seed gives the same report.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Things that happened: arrivals, letters, deadlines.
    pub events: u64,
    /// Messages that the broker took over, repeats included.
    pub published: u64,
    /// Messages that applications got, repeats included.
    pub delivered: u64,
    /// Connections that the broker accepted.
    pub connections: u64,
    /// Sessions that began: connections that did not go on with a stored one.
    pub sessions: u64,
    /// Wills that were published.
    pub wills: u64,
    /// Times that the broker stopped without a word.
    pub crashes: u64,
    /// A number that stands for the run: what was delivered to whom, and when.
    pub fingerprint: u64,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.published += other.published;
        self.delivered += other.delivered;
        self.connections += other.connections;
        self.sessions += other.sessions;
        self.wills += other.wills;
        self.crashes += other.crashes;
        // Runs may be added up in any order.
        self.fingerprint ^= other.fingerprint;
    }
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The seed of the run.
    pub seed: Seed,
    /// The settings of the run.
    pub settings: WorldSettings,
    /// In which step of the work it showed; the number of steps if it showed at the end.
    pub step: usize,
    /// What is wrong.
    pub what: String,
    /// Everything that happened.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.trace.len().saturating_sub(TRACE_LINES);
        for line in self.trace.iter().skip(skipped) {
            writeln!(f, "  {line}")?;
        }
        let Self {
            seed, step, what, ..
        } = self;
        writeln!(f, "violation with seed {seed} in step {step}: {what}")?;
        write!(f, "in {:?}", self.settings)
    }
}
