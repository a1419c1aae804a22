//! Connecting to a host by name, with a deadline.

use std::{
    io,
    net::{self, IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{Endpoint, TcpOptions, TcpStream, TransportError};

/// How a client connects.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectOptions {
    /// How long everything may take: the name, and all addresses in turn. Default: 30 seconds.
    pub timeout: Duration,
    /// The address of this machine to connect from. Default: `None`, the system chooses.
    pub local_ip: Option<IpAddr>,
    /// The options of the connection.
    pub tcp: TcpOptions,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            local_ip: None,
            tcp: TcpOptions::default(),
        }
    }
}

/// Connects to `endpoint`, waiting at most `options.timeout`, and returns a stream that no longer
/// blocks.
///
/// The addresses of a name are tried in the resolver's order, each with an equal share of the time
/// that is left, so that one silent address cannot use up the time of the others.
///
/// # Errors
///
/// When every address failed, the most telling cause: an answer, such as
/// [`TransportError::Refused`], before [`TransportError::TimedOut`], before
/// [`TransportError::Unreachable`]. When the name has no address, [`TransportError::HostUnknown`].
pub fn connect(endpoint: &Endpoint, options: &ConnectOptions) -> Result<TcpStream, TransportError> {
    let deadline = Deadline::after(options.timeout);
    let addresses = endpoint.resolve(options.timeout)?;
    connect_to_any(&addresses, endpoint, options, &deadline)
}

fn connect_to_any(
    addresses: &[SocketAddr],
    endpoint: &Endpoint,
    options: &ConnectOptions,
    deadline: &Deadline,
) -> Result<TcpStream, TransportError> {
    let timed_out = || TransportError::TimedOut {
        endpoint: endpoint.clone(),
        timeout: options.timeout,
    };
    let mut most_telling = None;
    for (index, address) in addresses.iter().enumerate() {
        let waiting = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let error = match connect_to(*address, deadline.remaining() / waiting, options) {
            Ok(socket) => return TcpStream::from_std(socket).map_err(TransportError::from),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => timed_out(),
            Err(error) => TransportError::at(&(*address).into(), &error),
        };
        if most_telling
            .as_ref()
            .is_none_or(|so_far| telling(&error) > telling(so_far))
        {
            most_telling = Some(error);
        }
    }
    Err(most_telling.unwrap_or_else(timed_out))
}

/// Connects to one address.
fn connect_to(
    address: SocketAddr,
    timeout: Duration,
    options: &ConnectOptions,
) -> io::Result<net::TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    options.tcp.apply((&socket).into())?;
    if let Some(ip) = options.local_ip {
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    // The system counts in milliseconds, and takes zero for "do not wait".
    socket.connect_timeout(&address.into(), timeout.max(Duration::from_millis(1)))?;
    Ok(socket.into())
}

/// Ranks causes by how much they tell of what is wrong.
const fn telling(error: &TransportError) -> u8 {
    match error {
        TransportError::AddressUnavailable { .. } => 0,
        TransportError::Unreachable { .. } => 1,
        TransportError::TimedOut { .. } => 2,
        TransportError::HostUnknown { .. }
        | TransportError::Refused { .. }
        | TransportError::Reset
        | TransportError::Closed
        | TransportError::AddressInUse { .. }
        | TransportError::PermissionDenied { .. }
        | TransportError::Io { .. } => 3,
        #[cfg(feature = "proxy")]
        TransportError::Proxy(_) => 3,
        #[cfg(feature = "tunnel")]
        TransportError::Tunnel(_) => 3,
        #[cfg(feature = "tls")]
        TransportError::Tls(_) => 3,
        #[cfg(feature = "websocket")]
        TransportError::WebSocket(_) => 3,
    }
}

/// The end of the time allowed; never, when it lies beyond what the clock can count.
struct Deadline(Option<Instant>);

#[expect(
    clippy::disallowed_methods,
    reason = "this call blocks, so it has to look at the clock itself"
)]
impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    fn remaining(&self) -> Duration {
        match self.0 {
            Some(end) => end.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        }
    }
}

#[cfg(test)]
mod tests;
