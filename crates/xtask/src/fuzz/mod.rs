//! `cargo xtask fuzz`: all fuzz targets, each for some time, and what came of it.

mod build;
mod report;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::project::Project;

use build::Fuzzer;
use report::Outcome;

pub(crate) use report::print_table;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// For how many seconds each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Runs only these targets.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// How many targets run at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
    /// Prints one JSON object a target instead of the table; progress goes to standard error.
    #[arg(long)]
    json: bool,
    /// Lists the targets and ends.
    #[arg(long)]
    list: bool,
}

/// Runs the targets; all of them run, also after one has found something.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::load()?;
    let targets = build::targets(&project)?;
    if options.list {
        targets.iter().for_each(|target| println!("{target}"));
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&targets, &options.target)?;
    let fuzzers = build::build(&project, &chosen)?;
    let time = Duration::from_secs(options.seconds);
    let outcomes = run_all(&fuzzers, time, usize::from(options.jobs));
    let has_failed = outcomes.iter().any(Outcome::has_failed);
    if options.json {
        report::print_json(&outcomes)?;
    } else {
        print_table(&outcomes);
    }
    Ok(if has_failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Runs each target over the seeds that are committed, and no other input.
///
/// # Errors
///
/// A target cannot be built or started. What a target finds is in its outcome.
pub(crate) fn replay_seeds(project: &Project) -> Result<Vec<Outcome>> {
    let fuzzers = build::build(project, &build::targets(project)?)?;
    Ok(fuzzers.iter().map(run::replay).collect())
}

fn choose(targets: &[String], wanted: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = wanted.iter().find(|name| !targets.contains(name)) {
        bail!("no fuzz target {unknown}; there are {}", targets.join(", "));
    }
    let is_wanted = |name: &&String| wanted.is_empty() || wanted.contains(name);
    Ok(targets.iter().filter(is_wanted).cloned().collect())
}

/// Runs targets at most `jobs` at once; returns the outcomes in the order of the targets.
fn run_all(fuzzers: &[Fuzzer], time: Duration, jobs: usize) -> Vec<Outcome> {
    let waiting = Mutex::new(fuzzers.iter().enumerate());
    let ended = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.min(fuzzers.len()) {
            scope.spawn(|| {
                loop {
                    // Neither lock is held over anything that could panic.
                    let next = waiting.lock().ok().and_then(|mut waiting| waiting.next());
                    let Some((number, fuzzer)) = next else { return };
                    let outcome = run::fuzz(fuzzer, time);
                    if let Ok(mut ended) = ended.lock() {
                        ended.push((number, outcome));
                    }
                }
            });
        }
    });
    let mut ended = ended.into_inner().unwrap_or_default();
    ended.sort_by_key(|(number, _)| *number);
    ended.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The folder of a kind of files that fuzzing leaves behind, made if it is not there.
fn folder(project: &Project, kind: &str, target: &str) -> Result<PathBuf> {
    let folder = project.root().join("fuzz").join(kind).join(target);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn targets_are_chosen_by_name_and_unknown_ones_refused() {
        let targets = ["a", "b"].map(String::from);
        assert_eq!(choose(&targets, &[]).unwrap(), ["a", "b"]);
        assert_eq!(choose(&targets, &["b".into()]).unwrap(), ["b"]);
        assert!(choose(&targets, &["c".into()]).is_err());
    }
}
