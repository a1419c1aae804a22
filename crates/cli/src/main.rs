//! The `mqttstack` command.

mod bench;
mod broker;
mod certs;
mod command;
mod completions;
mod connection;
mod encryption;
mod failure;
mod format;
mod inspect;
mod interrupt;
mod matching;
mod payload;
mod properties;
mod publish;
mod record;
mod subscribe;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::run(std::env::args_os())
}
