//! What accepts streams, and what to do when accepting fails.

use core::time::Duration;
use std::io;

use mio::event::Source;

use crate::{PeerAddress, Stream, error::describe};

/// A source of streams that others open.
///
/// After an event, call [`accept`](Self::accept) until it returns `Ok(None)`, or until the owner's
/// budget ends and it has queued the listener to come back: events are edges.
pub trait Listener: Send {
    /// Returns the next stream that waits, or `None` when there is none now.
    ///
    /// # Errors
    ///
    /// [`AcceptError::retry`] says when to call again. **No event follows an error**: an owner that
    /// ignores the advice either spins or never accepts again.
    fn accept(&mut self) -> Result<Option<Box<dyn Stream>>, AcceptError>;

    /// Returns what the event loop registers.
    fn source(&mut self) -> &mut dyn Source;

    /// Returns the address that this listens on, with the port that the system chose.
    fn local_address(&self) -> &PeerAddress;
}

impl<L: Listener + ?Sized> Listener for Box<L> {
    fn accept(&mut self) -> Result<Option<Box<dyn Stream>>, AcceptError> {
        (**self).accept()
    }

    fn source(&mut self) -> &mut dyn Source {
        (**self).source()
    }

    fn local_address(&self) -> &PeerAddress {
        (**self).local_address()
    }
}

/// Why no stream was accepted.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AcceptError {
    /// The peer was gone before it was accepted.
    #[error("the peer left before it was accepted")]
    PeerLeft,
    /// The process or the system has no descriptor or no memory left for another stream, or
    /// something else is amiss that accepting at once would meet again.
    ///
    /// The connection stays in the backlog and is accepted later, or by its client given up.
    #[error("no resources for another connection: {}", describe(*kind, *code))]
    OutOfResources {
        /// The class of the error.
        kind: io::ErrorKind,
        /// The number that the operating system gave, if it came from there.
        code: Option<i32>,
    },
    /// The listener itself is broken.
    #[error("the listener failed: {}", describe(*kind, *code))]
    Failed {
        /// The class of the error.
        kind: io::ErrorKind,
        /// The number that the operating system gave, if it came from there.
        code: Option<i32>,
    },
}

/// When to call [`Listener::accept`] again after an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retry {
    /// At once: the error concerned one connection.
    Now,
    /// After this time, or as soon as a connection of this process ends; sooner would spin.
    After(Duration),
    /// Not at all: the listener has to be opened anew.
    Never,
}

impl AcceptError {
    /// How long to leave a listener alone that had no resources.
    pub const BACK_OFF: Duration = Duration::from_millis(100);

    /// Returns when to accept again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::PeerLeft => Retry::Now,
            Self::OutOfResources { .. } => Retry::After(Self::BACK_OFF),
            Self::Failed { .. } => Retry::Never,
        }
    }
}

/// Sorts the system's errors by whom they concern: one connection, the process, the listener.
impl From<&io::Error> for AcceptError {
    fn from(error: &io::Error) -> Self {
        let (kind, code) = (error.kind(), error.raw_os_error());
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the standard library's list of kinds is open, and to wait is always safe"
        )]
        match kind {
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::PermissionDenied // A firewall's word.
            | io::ErrorKind::TimedOut => Self::PeerLeft,
            // macOS hands out connections that were reset already, and gives them no address.
            io::ErrorKind::InvalidInput if code.is_none() => Self::PeerLeft,
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => Self::Failed { kind, code },
            _ => Self::OutOfResources { kind, code },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn an_error_says_when_to_accept_again() {
        let back_off = Retry::After(AcceptError::BACK_OFF);
        for (name, code, retry) in [
            ("ECONNABORTED", 103, Retry::Now),
            ("ECONNRESET", 104, Retry::Now),
            ("ENETDOWN", 100, Retry::Now),
            ("EHOSTUNREACH", 113, Retry::Now),
            ("EPERM, from a firewall", 1, Retry::Now),
            ("EMFILE", 24, back_off),
            ("ENFILE", 23, back_off),
            ("ENOBUFS", 105, back_off),
            ("ENOMEM", 12, back_off),
            ("a number without a meaning", 4000, back_off),
            (
                "EINVAL, as for a socket that does not listen",
                22,
                Retry::Never,
            ),
            ("EOPNOTSUPP", 95, Retry::Never),
        ] {
            let error = AcceptError::from(&io::Error::from_raw_os_error(code));
            assert_eq!(error.retry(), retry, "{name}");
        }
    }

    #[test]
    fn a_connection_without_an_address_concerns_nobody_else() {
        let error = AcceptError::from(&io::Error::from(io::ErrorKind::InvalidInput));
        assert_eq!(error, AcceptError::PeerLeft);
    }
}
