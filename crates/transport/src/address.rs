//! Where the other end of a stream is.

use core::fmt;
use std::net::{IpAddr, SocketAddr};
#[cfg(all(unix, feature = "unix"))]
use std::path::Path;

/// The address of one end of a stream.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PeerAddress {
    /// An internet address; an IPv4 address is never shown in its IPv6 disguise.
    Ip(SocketAddr),
    /// A Unix domain socket, by the file that the listener made; the client has none.
    #[cfg(all(unix, feature = "unix"))]
    Unix(Box<Path>),
    /// A stream in memory; the number tells pairs apart in logs.
    Memory(u64),
    /// Not known, or [no longer](crate::Stream::forget_peer).
    Unknown,
}

impl PeerAddress {
    /// Returns the internet address without its port.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix(_) => None,
            Self::Memory(_) | Self::Unknown => None,
        }
    }

    /// Returns the internet address with its port.
    #[must_use]
    pub const fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix(_) => None,
            Self::Memory(_) | Self::Unknown => None,
        }
    }

    /// Says whether only this machine can be at the other end.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix(_) => true,
            Self::Memory(_) => true,
            Self::Unknown => false,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Memory(pair) => write!(f, "memory:{pair}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Takes an IPv4 address out of the IPv6 form that a dual-stack socket reports.
impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            ip @ IpAddr::V4(_) => Self::Ip(SocketAddr::new(ip, address.port())),
            IpAddr::V6(_) => Self::Ip(address), // Keeps the scope of a link-local address.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_an_operator_writes_them() {
        for (given, shown) in [
            ("127.0.0.1:1883", "127.0.0.1:1883"),
            ("[::1]:1883", "[::1]:1883"),
            ("[::ffff:192.0.2.7]:49152", "192.0.2.7:49152"),
            ("[fe80::1%3]:1883", "[fe80::1%3]:1883"),
        ] {
            let address: SocketAddr = given.parse().unwrap();
            assert_eq!(PeerAddress::from(address).to_string(), shown);
        }
        assert_eq!(PeerAddress::Memory(4).to_string(), "memory:4");
    }

    #[test]
    fn a_mapped_loopback_address_is_local() {
        for (given, is_local) in [
            ("127.8.9.10:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("192.0.2.7:1", false),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
        ] {
            let address: SocketAddr = given.parse().unwrap();
            assert_eq!(PeerAddress::from(address).is_local(), is_local, "{given}");
        }
    }
}
