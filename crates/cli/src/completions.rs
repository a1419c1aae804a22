//! `mqttstack completions`: scripts that let a shell complete the command line.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{command::Cli, failure::Failure};

/// Arguments of `mqttstack completions`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: mqttstack completions bash > ~/.local/share/bash-completion/completions/mqttstack"
)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mqttstack", &mut script);
    io::stdout().write_all(&script).map_err(Failure::output)
}
