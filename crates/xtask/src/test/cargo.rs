//! The steps that are a cargo command: formatting, lints, documentation, tests, the binary.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Totals;
use crate::process::describe;
use crate::project::{BINARY, Project, cargo};

/// A cargo command in the root of the project.
pub(super) fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo());
    command.current_dir(project.root()).args(arguments);
    command
}

/// Runs a command whose output goes to the user; it is one check.
pub(super) fn check(command: &mut Command) -> Result<bool> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", describe(command)))?;
    Ok(status.success())
}

pub(super) fn fmt(project: &Project) -> Result<Totals> {
    one(&mut command(project, &["fmt", "--all", "--check"]))
}

pub(super) fn clippy(project: &Project) -> Result<Totals> {
    one(&mut command(
        project,
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ],
    ))
}

pub(super) fn docs(project: &Project) -> Result<Totals> {
    one(command(
        project,
        &["doc", "--workspace", "--all-features", "--no-deps"],
    )
    .env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs all tests.
pub(super) fn tests(project: &Project) -> Result<Totals> {
    count_tests(&mut command(
        project,
        &["test", "--workspace", "--all-features", "--no-fail-fast"],
    ))
}

/// Runs tests and adds up the totals of each test binary.
pub(super) fn count_tests(command: &mut Command) -> Result<Totals> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo test")?;
    let stdout = child
        .stdout
        .take()
        .context("standard output is not piped")?;
    let mut output = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("reading the output of cargo test")?;
        // A test that passes is not worth a line of the reader's time.
        if !line.ends_with(" ... ok") && !line.is_empty() {
            println!("{line}");
        }
        output.push_str(&line);
        output.push('\n');
    }
    let status = child.wait().context("waiting for cargo test")?;
    let mut totals = Totals::of_test_runner(&output);
    // A build that fails, or a binary that crashes, has no closing line.
    if !status.success() && !totals.has_failed() {
        totals += Totals::failed();
    }
    Ok(totals)
}

/// Runs the examples that need nobody and end by themselves.
pub(super) fn examples(project: &Project) -> Result<Totals> {
    let mut totals = Totals::default();
    for example in ["blocking", "tokio", "bare"] {
        println!("mqttstack-session, example {example}");
        let package = ["--package", "mqttstack-session", "--example", example];
        let mut command = command(project, &["run", "--quiet"]);
        totals.count(check(command.args(package))?);
    }
    Ok(totals)
}

/// Builds the binary and returns its path.
///
/// With the profile of the tests: overflow checks and debug assertions are on, and nothing is
/// compiled twice.
pub(crate) fn build_binary(project: &Project) -> Result<PathBuf> {
    ensure!(
        project.package(BINARY).is_some(),
        "the workspace has no package {BINARY} to build"
    );
    ensure!(
        check(&mut command(project, &["build", "--package", BINARY]))?,
        "it does not build"
    );
    let binary = project.target().join("debug").join(BINARY);
    ensure!(binary.exists(), "the build left no {}", binary.display());
    Ok(binary)
}

fn one(command: &mut Command) -> Result<Totals> {
    let mut totals = Totals::default();
    totals.count(check(command)?);
    Ok(totals)
}
