//! The project's own commands, run as `cargo xtask COMMAND`.

mod clock;
mod conformance;
mod embedded;
mod fuzz;
mod interop;
mod process;
mod project;
mod simulate;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Commands of the mqttstack project",
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs every check of the project; what continuous integration runs.
    Test(test::Options),
    /// Runs simulated worlds from many seeds until one shows a violation.
    #[command(disable_help_flag = true)]
    Simulate(simulate::Options),
    /// Builds for a microcontroller, and says how large programs are.
    Embedded(embedded::Options),
    /// Runs the fuzz targets for some time each.
    Fuzz(fuzz::Options),
    /// Runs the interoperability tests alone: other people's clients against a broker.
    Interop(interop::Options),
    /// Holds the statements of the specification against the tests and writes docs/conformance.md.
    Conformance(conformance::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Test(options) => test::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Embedded(options) => embedded::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Interop(options) => interop::run(&options),
        Command::Conformance(options) => conformance::run(&options),
    }
}
