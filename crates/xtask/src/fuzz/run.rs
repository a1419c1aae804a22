//! Runs one fuzz target and reads what it says.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Result};

use super::build::Fuzzer;
use super::report::{Finding, Outcome};
use crate::clock::Stopwatch;
use crate::process::{Guarded, lines};

/// How often a target that runs says how far it is.
const PROGRESS: Duration = Duration::from_secs(15);
/// An input that takes longer than this is a finding. Seconds.
const INPUT_TIME_MAX: u32 = 10;
/// An input that takes more memory than this is a finding. MiB.
const INPUT_MEMORY_MAX: u32 = 1024;
/// How long a target may take to end after its time is up.
const GRACE: Duration = Duration::from_secs(60);

/// Lets a target try inputs for some time.
pub(super) fn fuzz(fuzzer: &Fuzzer, time: Duration) -> Outcome {
    let mut command = command(fuzzer);
    command
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(&fuzzer.corpus)
        .args(&fuzzer.seeds);
    run(fuzzer, &mut command, time)
}

/// Runs a target over its committed seeds, and ends.
pub(super) fn replay(fuzzer: &Fuzzer) -> Outcome {
    let mut command = command(fuzzer);
    command.arg("-runs=0").args(&fuzzer.seeds);
    run(fuzzer, &mut command, Duration::ZERO)
}

fn command(fuzzer: &Fuzzer) -> Command {
    let mut command = Command::new(&fuzzer.binary);
    command
        .arg("-print_final_stats=1")
        .arg(format!("-timeout={INPUT_TIME_MAX}"))
        .arg(format!("-rss_limit_mb={INPUT_MEMORY_MAX}"))
        .arg(format!("-artifact_prefix={}/", fuzzer.artifacts.display()));
    command
}

fn run(fuzzer: &Fuzzer, command: &mut Command, time: Duration) -> Outcome {
    let mut outcome = Outcome::of(&fuzzer.target);
    if let Err(error) = watch(fuzzer, command, time, &mut outcome) {
        outcome.finding = Some(Finding {
            what: format!("{error:#}"),
            input: None,
            replay: None,
        });
    }
    outcome
}

/// Follows a target to its end.
fn watch(
    fuzzer: &Fuzzer,
    command: &mut Command,
    time: Duration,
    outcome: &mut Outcome,
) -> Result<()> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let watch = Stopwatch::start();
    let mut child = Guarded::spawn(command)?;
    let output = lines(child.stderr.take().context("standard error is not piped")?);
    let mut reading = Reading::default();
    let mut shown = Duration::ZERO;
    loop {
        match output.recv_timeout(PROGRESS) {
            Ok(line) => reading.read(&line, outcome),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let elapsed = watch.elapsed();
        if elapsed > time.saturating_add(GRACE) {
            child.kill()?;
            anyhow::bail!("still running {} s after its time", GRACE.as_secs());
        }
        if elapsed.saturating_sub(shown) >= PROGRESS {
            shown = elapsed;
            eprintln!(
                "{}: {} of {} s, {} executions, coverage {}",
                fuzzer.target,
                elapsed.as_secs(),
                time.as_secs(),
                outcome.executions,
                outcome.coverage
            );
        }
    }
    let status = child.wait_for(GRACE)?;
    outcome.seconds = watch.elapsed().as_secs_f64();
    if !status.success() {
        let replay = reading
            .input
            .as_ref()
            .map(|input| format!("{} {}", fuzzer.binary.display(), input.display()));
        outcome.finding = Some(Finding {
            what: reading.what.unwrap_or_else(|| status.to_string()),
            input: reading.input,
            replay,
        });
    }
    Ok(())
}

/// What has been read of a finding.
#[derive(Debug, Default)]
struct Reading {
    what: Option<String>,
    input: Option<PathBuf>,
}

impl Reading {
    fn read(&mut self, line: &str, outcome: &mut Outcome) {
        if let Some((name, value)) = line
            .strip_prefix("stat::")
            .and_then(|stat| stat.split_once(':'))
        {
            let value = value.trim().parse().unwrap_or_default();
            match name {
                "number_of_executed_units" => outcome.executions = value,
                "new_units_added" => outcome.new_inputs = value,
                _ => {}
            }
        } else if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.input = Some(PathBuf::from(path.trim()));
        } else if line.contains(" panicked at ") || line.contains("ERROR: libFuzzer") {
            self.what.get_or_insert_with(|| line.trim().to_owned());
        } else if let Some((number, rest)) =
            line.strip_prefix('#').and_then(|it| it.split_once('\t'))
        {
            // `#4096  NEW  cov: 812 ft: 2310 corp: 190/4Kb ...`
            outcome.executions = number.parse().unwrap_or(outcome.executions);
            let mut words = rest.split_whitespace();
            if words.any(|word| word == "cov:") {
                let coverage = words.next().and_then(|word| word.parse().ok());
                outcome.coverage = coverage.unwrap_or(outcome.coverage);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fuzzer_says_is_understood() {
        let mut outcome = Outcome::of("t");
        let mut reading = Reading::default();
        for line in [
            "INFO: Seed: 1",
            "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 30Mb",
            "#4096\tNEW    cov: 812 ft: 2310 corp: 190/4Kb lim: 43 exec/s: 2048 rss: 40Mb",
            "stat::number_of_executed_units: 5000",
            "stat::new_units_added:          17",
        ] {
            reading.read(line, &mut outcome);
        }
        assert_eq!(
            (outcome.executions, outcome.coverage, outcome.new_inputs),
            (5000, 812, 17)
        );
        assert!(reading.what.is_none() && reading.input.is_none());
        for line in [
            "thread '<unnamed>' panicked at targets/t.rs:9:5:",
            "==1== ERROR: libFuzzer: deadly signal",
            "artifact_prefix='fuzz/'; Test unit written to fuzz/crash-ab",
        ] {
            reading.read(line, &mut outcome);
        }
        assert_eq!(reading.input, Some(PathBuf::from("fuzz/crash-ab")));
        assert!(reading.what.is_some_and(|what| what.contains("panicked")));
    }
}
