//! What came of fuzzing, for people and as JSON.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

/// What came of one target.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(super) target: String,
    pub(super) seconds: f64,
    /// How many inputs were tried.
    pub(super) executions: u64,
    /// How many places of the code were reached.
    pub(super) coverage: u64,
    /// How many inputs joined the corpus.
    pub(super) new_inputs: u64,
    pub(super) finding: Option<Finding>,
}

/// An input that fails, or a target that does not run.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) what: String,
    pub(super) input: Option<PathBuf>,
    /// The command that fails again.
    pub(super) replay: Option<String>,
}

impl Outcome {
    pub(super) fn of(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            seconds: 0.0,
            executions: 0,
            coverage: 0,
            new_inputs: 0,
            finding: None,
        }
    }

    pub(crate) const fn has_failed(&self) -> bool {
        self.finding.is_some()
    }

    fn per_second(&self) -> f64 {
        if self.seconds > 0.0 {
            self.executions as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// Prints a line a target, and after them what was found.
pub(crate) fn print_table(outcomes: &[Outcome]) {
    let width = outcomes.iter().map(|it| it.target.len()).max();
    let width = width.unwrap_or_default();
    println!(
        "{:width$} {:>9} {:>12} {:>9} {:>9} {:>7}  findings",
        "target", "seconds", "executions", "a second", "coverage", "new"
    );
    for outcome in outcomes {
        println!(
            "{:width$} {:>9.1} {:>12} {:>9.0} {:>9} {:>7}  {}",
            outcome.target,
            outcome.seconds,
            outcome.executions,
            outcome.per_second(),
            outcome.coverage,
            outcome.new_inputs,
            u8::from(outcome.has_failed())
        );
    }
    for outcome in outcomes {
        let Some(finding) = &outcome.finding else {
            continue;
        };
        println!("\n{}: {}", outcome.target, finding.what);
        if let Some(input) = &finding.input {
            println!("  input:  {}", input.display());
        }
        if let Some(replay) = &finding.replay {
            println!("  replay: {replay}");
        }
    }
}

/// Prints an object a target, one a line.
pub(super) fn print_json(outcomes: &[Outcome]) -> Result<()> {
    for outcome in outcomes {
        println!(
            "{}",
            serde_json::to_string(outcome).context("writing an outcome")?
        );
    }
    Ok(())
}
