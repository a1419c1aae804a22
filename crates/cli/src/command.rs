//! The commands, and how one is chosen. Each has a file of its own.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    bench, broker, certs, completions, failure::Failure, inspect, matching, publish, subscribe,
};

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
    /// Make certificates for development: an authority, a server's, those of clients.
    Certs(certs::Args),
    /// Publish messages.
    Pub(Box<publish::Args>),
    /// Subscribe to topics and print the messages.
    Sub(Box<subscribe::Args>),
    /// Put load on a broker, check every delivery, and say what it cost.
    Bench(Box<bench::Args>),
    /// Say whether a topic filter matches topic names.
    Match(matching::Args),
    /// Show what packets say, field by field: hex, base64, raw or captured.
    Inspect(inspect::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
}

pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 wrong usage, 2 network failure, 3 refused by the server,
4 time is up, 130 interrupted. match and inspect answer with theirs: see their help.";

/// Runs what the arguments say.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() {
                usage_code(&arguments)
            } else {
                0
            };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let (name, result) = match cli.command {
        Command::Broker(args) => ("broker", broker::run(&args)),
        Command::Certs(args) => ("certs", certs::run(&args)),
        Command::Pub(args) => ("pub", publish::run(*args)),
        Command::Sub(args) => ("sub", subscribe::run(*args)),
        Command::Bench(args) => ("bench", bench::run(&args)),
        Command::Match(args) => ("match", matching::run(&args)),
        Command::Inspect(args) => ("inspect", inspect::run(&args)),
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

/// Returns the exit code for arguments that do not make sense. The commands that answer by their
/// exit code need 1 for the answer.
fn usage_code(arguments: &[OsString]) -> u8 {
    // Nothing but options can stand before the command, and these have no values.
    let is_name = |argument: &&OsString| !argument.as_encoded_bytes().starts_with(b"-");
    let command = arguments.iter().skip(1).find(is_name);
    match command.and_then(|name| name.to_str()) {
        Some("match" | "inspect") => Failure::USAGE_BESIDE_VERDICT,
        Some(_) | None => Failure::USAGE,
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
    fn wrong_usage_has_the_code_that_the_command_leaves_for_it() {
        for (line, code) in [
            ("", 1),
            ("--colour", 1),
            ("publish", 1),
            ("pub --colour", 1),
            ("pub -t match", 1),
            ("match", 2),
            ("match --colour", 2),
            ("inspect --colour", 2),
            ("inspect --lines --encode", 2),
            ("inspect --input text", 2),
        ] {
            let line = std::iter::once("mqttstack").chain(line.split_whitespace());
            let arguments: Vec<_> = line.map(OsString::from).collect();
            assert!(Cli::try_parse_from(&arguments).is_err(), "{arguments:?}");
            assert_eq!(usage_code(&arguments), code, "{arguments:?}");
        }
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
