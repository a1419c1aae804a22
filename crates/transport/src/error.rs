//! What the world does to a connection: [`TransportError`].

use core::time::Duration;
use std::io;

use crate::{Endpoint, PeerAddress};

/// Why a connection or a listener did not come about, or ended.
///
/// The variants name the cause, so that a reconnect policy can choose by it; two errors of the same
/// cause at the same address are equal.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TransportError {
    /// The name has no address, or no name server could be asked.
    #[error("host `{host}` is unknown: {reason}")]
    HostUnknown {
        /// The name that was looked up.
        host: Box<str>,
        /// What the system's resolver says; it gives no code.
        reason: Box<str>,
    },
    /// The machine answers, but nothing listens on the port.
    #[error("{address} refused the connection")]
    Refused {
        /// Who refused.
        address: PeerAddress,
    },
    /// Nothing conclusive happened in the time allowed.
    #[error("{endpoint} did not answer within {timeout:?}")]
    TimedOut {
        /// What was to be reached.
        endpoint: Endpoint,
        /// How long it had.
        timeout: Duration,
    },
    /// No route leads to the network or the machine.
    #[error("{address} is unreachable")]
    Unreachable {
        /// What was to be reached.
        address: PeerAddress,
    },
    /// The peer, or something between, broke the connection off.
    #[error("connection reset by the peer")]
    Reset,
    /// The stream ended in the middle of something.
    #[error("connection closed by the peer too early")]
    Closed,
    /// Another socket has the address to listen on.
    #[error("{address} is in use")]
    AddressInUse {
        /// Where to listen.
        address: PeerAddress,
    },
    /// This machine does not have the address, or not the address family.
    #[error("{address} is not an address of this machine")]
    AddressUnavailable {
        /// Where to listen, or where to connect from.
        address: PeerAddress,
    },
    /// This machine does not have the network device to listen through, or does not let this process
    /// choose one.
    #[error("cannot bind to the network device `{device}`: {}", describe(*kind, *code))]
    DeviceUnavailable {
        /// The device's name.
        device: Box<str>,
        /// The class of the error: `PermissionDenied` without the right to choose a device.
        kind: io::ErrorKind,
        /// The number that the operating system gave, if it came from there.
        code: Option<i32>,
    },
    /// The system does not let this process do it.
    #[error("permission denied for {address}")]
    PermissionDenied {
        /// Where to listen or to connect to.
        address: PeerAddress,
    },
    /// A proxy did not say who is behind it, or somebody pretended to be one.
    #[cfg(feature = "proxy")]
    #[error(transparent)]
    Proxy(#[from] crate::ProxyError),
    /// A TLS connection did not come about, or ended against the rules.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] crate::TlsError),
    /// A proxy opened no tunnel.
    #[cfg(feature = "tunnel")]
    #[error(transparent)]
    Tunnel(#[from] crate::TunnelError),
    /// A WebSocket did not come about, or ended against the rules.
    #[cfg(feature = "websocket")]
    #[error(transparent)]
    WebSocket(#[from] crate::WebSocketError),
    /// Anything else that the system reports.
    #[error("{}", describe(*kind, *code))]
    Io {
        /// The class of the error.
        kind: io::ErrorKind,
        /// The number that the operating system gave, if it came from there.
        code: Option<i32>,
    },
}

impl TransportError {
    /// Names the cause of `error`, which the choice of a network device met.
    pub(crate) fn device(device: &str, error: &io::Error) -> Self {
        Self::DeviceUnavailable {
            device: device.into(),
            kind: error.kind(),
            code: error.raw_os_error(),
        }
    }

    /// Names the cause of `error`, which `address` met.
    #[must_use]
    pub fn at(address: &PeerAddress, error: &io::Error) -> Self {
        let address = address.clone();
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the standard library's list of kinds is open"
        )]
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { address },
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::Unreachable { address },
            io::ErrorKind::AddrInUse => Self::AddressInUse { address },
            io::ErrorKind::AddrNotAvailable => Self::AddressUnavailable { address },
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { address },
            _ => Self::from(error),
        }
    }
}

/// Names the cause of an error on an open stream.
impl From<&io::Error> for TransportError {
    fn from(error: &io::Error) -> Self {
        if let Some(error) = of_layer(error) {
            return error;
        }
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the standard library's list of kinds is open"
        )]
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::UnexpectedEof => Self::Closed,
            kind => Self::Io {
                kind,
                code: error.raw_os_error(),
            },
        }
    }
}

impl From<io::Error> for TransportError {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

/// Unpacks what a layer has said through an [`io::Error`].
fn of_layer(error: &io::Error) -> Option<TransportError> {
    let inner = error.get_ref()?;
    #[cfg(feature = "tls")]
    if let Some(error) = inner.downcast_ref::<crate::TlsError>() {
        return Some(error.clone().into());
    }
    #[cfg(feature = "websocket")]
    if let Some(error) = inner.downcast_ref::<crate::WebSocketError>() {
        return Some(error.clone().into());
    }
    inner.downcast_ref::<TransportError>().cloned()
}

/// Says in the system's words what went wrong.
pub(crate) fn describe(kind: io::ErrorKind, code: Option<i32>) -> String {
    match code {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart() {
        let address = PeerAddress::Memory(1);
        let at = |kind: io::ErrorKind| TransportError::at(&address, &kind.into());
        for (kind, message) in [
            (
                io::ErrorKind::ConnectionRefused,
                "memory:1 refused the connection",
            ),
            (io::ErrorKind::HostUnreachable, "memory:1 is unreachable"),
            (io::ErrorKind::NetworkUnreachable, "memory:1 is unreachable"),
            (
                io::ErrorKind::ConnectionReset,
                "connection reset by the peer",
            ),
            (io::ErrorKind::BrokenPipe, "connection reset by the peer"),
            (
                io::ErrorKind::UnexpectedEof,
                "connection closed by the peer too early",
            ),
            (io::ErrorKind::AddrInUse, "memory:1 is in use"),
            (
                io::ErrorKind::AddrNotAvailable,
                "memory:1 is not an address of this machine",
            ),
            (
                io::ErrorKind::PermissionDenied,
                "permission denied for memory:1",
            ),
            (io::ErrorKind::OutOfMemory, "out of memory"),
        ] {
            assert_eq!(at(kind).to_string(), message);
        }
    }

    #[test]
    fn the_systems_number_is_kept() {
        let error = TransportError::from(io::Error::from_raw_os_error(22));
        assert!(
            matches!(error, TransportError::Io { code: Some(22), .. }),
            "{error:?}"
        );
    }
}
