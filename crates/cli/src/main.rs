//! The one binary of mqttstack.

mod broker;
mod exit;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// MQTT 3.1, 3.1.1 and 5.0: a broker, and tools to work with one.
#[derive(Debug, Parser)]
#[command(
    name = "mqttstack",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a broker; without a configuration on 127.0.0.1:1883, for this machine alone.
    Broker(broker::Arguments),
    /// Prints a script that completes commands and options in your shell.
    Completions {
        /// The shell to write the script for.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Broker(arguments) => broker::run(&arguments),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "mqttstack", &mut std::io::stdout());
            Ok(())
        }
    };
    exit::code(result)
}
