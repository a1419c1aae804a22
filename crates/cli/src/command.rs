//! The commands, and how one is chosen. Each has a file of its own.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{broker, completions, failure::Failure, matching, publish, subscribe};

/// MQTT 3.1, 3.1.1 and 5.0 on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "mqttstack",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = EXIT_CODES
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What `mqttstack` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a broker; without a configuration on 127.0.0.1:1883, for this machine alone.
    Broker(broker::Args),
    /// Publish messages.
    Pub(Box<publish::Args>),
    /// Subscribe to topics and print the messages.
    Sub(Box<subscribe::Args>),
    /// Say whether a topic filter matches topic names.
    Match(matching::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
}

pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 wrong usage, 2 network failure, 3 refused by the server,
4 time is up, 130 interrupted.";

/// Runs what the arguments say.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() {
                Failure::USAGE
            } else {
                0
            };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let (name, result) = match cli.command {
        Command::Broker(args) => ("broker", broker::run(&args)),
        Command::Pub(args) => ("pub", publish::run(*args)),
        Command::Sub(args) => ("sub", subscribe::run(*args)),
        Command::Match(args) => ("match", matching::run(&args)),
        Command::Completions(args) => ("completions", completions::run(&args)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(name);
            ExitCode::from(failure.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn short_h_is_the_host_and_long_help_is_help() {
        let cli = Cli::try_parse_from(["mqttstack", "pub", "-h", "broker", "-t", "a", "-n"]);
        assert!(matches!(cli.unwrap().command, Command::Pub(_)));
        let error = Cli::try_parse_from(["mqttstack", "sub", "--help"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp);
        assert!(error.to_string().contains("Examples:"), "{error}");
    }
}
