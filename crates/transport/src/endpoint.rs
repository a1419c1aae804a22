//! Where to listen or connect to, as people write it: `host:port`.

use core::{fmt, str::FromStr};
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::TransportError;

/// A host, by name or by address, and a port.
///
/// # Examples
///
/// ```
/// use mqttstack_transport::Endpoint;
///
/// let endpoint: Endpoint = "[::1]:1883".parse()?;
/// assert_eq!((endpoint.host(), endpoint.port()), ("::1", 1883));
/// assert_eq!(endpoint.to_string(), "[::1]:1883");
/// assert!("localhost".parse::<Endpoint>().is_err(), "the port is not guessed");
/// # Ok::<(), mqttstack_transport::EndpointError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Endpoint {
    host: Box<str>,
    port: u16,
}

/// Why a text names no endpoint.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EndpointError {
    /// Nothing says where the host ends and the port begins.
    #[error("`{text}` has no port; write host:port")]
    PortMissing {
        /// What was given.
        text: String,
    },
    /// The port is not a number up to 65535.
    #[error("`{port}` is not a port; ports are numbers from 0 to 65535")]
    PortInvalid {
        /// What stands in its place.
        port: String,
    },
    /// An IPv6 address stands without brackets, so its last group could be the port.
    #[error("`{text}` is ambiguous; write an IPv6 address in brackets, as in [::1]:1883")]
    BracketsMissing {
        /// What was given.
        text: String,
    },
    /// The host is empty, too long, or holds what no name or address holds.
    #[error("`{host}` is not a host name or address")]
    HostInvalid {
        /// What stands in its place.
        host: String,
    },
}

impl Endpoint {
    /// The longest host accepted, in bytes: DNS has no longer name, and a final dot is allowed.
    pub const HOST_BYTES_MAX: usize = 254;

    /// Creates an endpoint from its parts; an IPv6 address may stand with or without brackets.
    ///
    /// # Errors
    ///
    /// [`EndpointError::HostInvalid`].
    pub fn new(host: &str, port: u16) -> Result<Self, EndpointError> {
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let is_valid = match bare {
            Some(address) => is_ipv6(address),
            None => is_name(host) || is_ipv6(host),
        };
        if !is_valid {
            return Err(EndpointError::HostInvalid { host: host.into() });
        }
        Ok(Self {
            host: bare.unwrap_or(host).into(),
            port,
        })
    }

    /// Returns every address of the host, in the resolver's order, waiting at most `timeout`.
    ///
    /// A host that is an address answers at once. A name is given to the system's resolver on a
    /// thread of its own, because that call cannot be interrupted: past `timeout` its answer is
    /// thrown away when it comes.
    ///
    /// # Errors
    ///
    /// [`TransportError::HostUnknown`] and [`TransportError::TimedOut`].
    pub fn resolve(&self, timeout: Duration) -> Result<Vec<SocketAddr>, TransportError> {
        if let Some(ip) = self.ip() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let (answer, answers) = mpsc::sync_channel(1);
        let host = self.host.clone();
        let port = self.port;
        thread::Builder::new()
            .name("resolver".into())
            .spawn(move || {
                let found = (&*host, port).to_socket_addrs().map(Vec::from_iter);
                // Nobody listens any more when the time was up; then there is nothing to tell.
                let _ = answer.send(found);
            })
            .map_err(|error| TransportError::from(&error))?;
        let unknown = |reason: &str| TransportError::HostUnknown {
            host: self.host.clone(),
            reason: reason.into(),
        };
        match answers.recv_timeout(timeout) {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(unknown("it has no address")),
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(unknown(&error.to_string())),
            Err(_) => Err(TransportError::TimedOut {
                endpoint: self.clone(),
                timeout,
            }),
        }
    }

    /// Returns the host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port; 0 lets a listener choose.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the host's address if it was given by address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(EndpointError::BracketsMissing { text: text.into() });
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(EndpointError::PortMissing { text: text.into() });
        };
        if host.starts_with('[') && !host.ends_with(']') {
            return Err(EndpointError::PortMissing { text: text.into() });
        }
        if host.contains(':') && !host.starts_with('[') {
            return Err(EndpointError::BracketsMissing { text: text.into() });
        }
        // `u16::from_str` would take a sign.
        let port = match port.parse() {
            Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => number,
            _ => return Err(EndpointError::PortInvalid { port: port.into() }),
        };
        Self::new(host, port)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => address.ip().to_string(),
        };
        Self {
            host: host.into(),
            port: address.port(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Says whether `text` is an IPv6 address, with or without the interface it is valid on.
fn is_ipv6(text: &str) -> bool {
    let (address, interface) = text.split_once('%').unwrap_or((text, "1"));
    address.parse::<Ipv6Addr>().is_ok() && is_name(interface)
}

/// Says whether the resolver may be asked for `text`: the name itself is its business, but nothing
/// that would break a log line or stand for another part of an address goes through.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=Endpoint::HOST_BYTES_MAX).contains(&text.len()) && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests;
