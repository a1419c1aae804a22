//! What accepts streams, and what to do when accepting fails.

use core::time::Duration;
use std::io;

use mio::event::Source;

use crate::{PeerAddress, Stream};

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

/// Why no stream was accepted.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AcceptError {
    /// The peer was gone before it was accepted.
    #[error("the peer left before it was accepted")]
    PeerLeft,
    /// The process or the system has no descriptor or no memory left for another stream.
    ///
    /// The connection stays in the backlog and is accepted later, or by its client given up.
    #[error("no resources for another connection: {}", io::Error::from_raw_os_error(*code))]
    OutOfResources {
        /// The number that the operating system gave.
        code: i32,
    },
    /// The listener itself is broken.
    #[error("the listener failed: {kind}")]
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
        match error.raw_os_error() {
            Some(code) if codes::OUT_OF_RESOURCES.contains(&code) => Self::OutOfResources { code },
            Some(code) if codes::BROKEN_LISTENER.contains(&code) => Self::Failed {
                kind: error.kind(),
                code: Some(code),
            },
            // The network errors of a connection show up here too, and their list is long.
            Some(_) => Self::PeerLeft,
            None => Self::Failed {
                kind: error.kind(),
                code: None,
            },
        }
    }
}

/// The numbers that `accept` fails with; the standard library has no kind for most of them.
#[cfg(unix)]
mod codes {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const ENOBUFS: i32 = 105;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const ENOBUFS: i32 = 55;

    const EBADF: i32 = 9;
    const EFAULT: i32 = 14;
    const EINVAL: i32 = 22;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const ENOTSOCK: i32 = 88;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const ENOTSOCK: i32 = 38;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const EOPNOTSUPP: i32 = 95;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const EOPNOTSUPP: i32 = 45;

    pub(super) const OUT_OF_RESOURCES: [i32; 4] = [EMFILE, ENFILE, ENOBUFS, ENOMEM];
    pub(super) const BROKEN_LISTENER: [i32; 5] = [EBADF, EFAULT, EINVAL, ENOTSOCK, EOPNOTSUPP];
}

/// The numbers that `accept` fails with; the standard library has no kind for most of them.
#[cfg(not(unix))]
mod codes {
    const WSAEMFILE: i32 = 10024;
    const WSAENOBUFS: i32 = 10055;
    const WSAEFAULT: i32 = 10014;
    const WSAEINVAL: i32 = 10022;
    const WSAENOTSOCK: i32 = 10038;
    const WSAEOPNOTSUPP: i32 = 10045;
    const WSANOTINITIALISED: i32 = 10093;

    pub(super) const OUT_OF_RESOURCES: [i32; 2] = [WSAEMFILE, WSAENOBUFS];
    pub(super) const BROKEN_LISTENER: [i32; 5] = [
        WSAEFAULT,
        WSAEINVAL,
        WSAENOTSOCK,
        WSAEOPNOTSUPP,
        WSANOTINITIALISED,
    ];
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
            ("ENETDOWN", 100, Retry::Now),
            ("EPROTO", 71, Retry::Now),
            ("EPERM, from a firewall", 1, Retry::Now),
            ("EMFILE", 24, back_off),
            ("ENFILE", 23, back_off),
            ("ENOBUFS", 105, back_off),
            ("ENOMEM", 12, back_off),
            ("EBADF", 9, Retry::Never),
            ("EINVAL", 22, Retry::Never),
            ("ENOTSOCK", 88, Retry::Never),
        ] {
            let error = AcceptError::from(&io::Error::from_raw_os_error(code));
            assert_eq!(error.retry(), retry, "{name}");
        }
    }

    #[test]
    fn an_error_that_is_not_the_systems_is_the_listeners() {
        let error = AcceptError::from(&io::Error::from(io::ErrorKind::Unsupported));
        assert_eq!(error.retry(), Retry::Never);
        assert_eq!(error.to_string(), "the listener failed: unsupported");
    }
}
