//! Exit codes: what a script can rely on.

use std::{error::Error, fmt, process::ExitCode};

/// What went wrong, as the exit code tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The command line, the configuration or the input is wrong.
    Usage = 1,
    /// The network, or the system, does not do what is asked of it.
    Network = 2,
}

/// An error with its exit code.
#[derive(Debug)]
pub(crate) struct CommandError {
    failure: Failure,
    message: String,
}

impl CommandError {
    /// Fails with a message that says what happened, where, and what to do.
    pub(crate) fn new(failure: Failure, message: impl fmt::Display) -> Self {
        Self {
            failure,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CommandError {}

/// Reports an error on standard error, and returns the exit code.
pub(crate) fn code(result: Result<(), CommandError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mqttstack: {error}");
            ExitCode::from(error.failure as u8)
        }
    }
}
