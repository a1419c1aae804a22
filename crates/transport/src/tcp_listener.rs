//! A TCP socket that accepts connections.

use std::{
    io,
    net::{self, SocketAddr},
    time::Duration,
};

use mio::event::Source;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::{
    AcceptError, Endpoint, Listener, PeerAddress, Stream, TcpOptions, TcpStream, TransportError,
    tcp::uninterrupted,
};

/// How a TCP listener is opened, and what its connections are like.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenOptions {
    /// How many connections may wait to be accepted; more are turned away by the system, which has
    /// an upper bound of its own. Default: 1024.
    pub backlog: u16,
    /// Lets several listeners, one per thread, share the address; the system spreads connections
    /// over them. Default: `false`.
    pub reuse_port: bool,
    /// Lets a listener on the unspecified IPv6 address, `[::]`, accept IPv4 too. Default: `true`.
    pub dual_stack: bool,
    /// The network device, such as `eth1`, through which alone connections come, whatever the
    /// address. Linux and Android only; older kernels ask for the capability `CAP_NET_RAW`.
    /// Default: `None`, all of them.
    pub device: Option<Box<str>>,
    /// The options of each accepted connection.
    pub tcp: TcpOptions,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            reuse_port: false,
            dual_stack: true,
            device: None,
            tcp: TcpOptions::default(),
        }
    }
}

/// A TCP socket that accepts connections.
#[derive(Debug)]
pub struct TcpListener {
    socket: mio::net::TcpListener,
    address: PeerAddress,
    options: TcpOptions,
}

impl TcpListener {
    /// How often a port that the system chose for one address of a host is tried on the others.
    const SHARED_PORT_ATTEMPTS: usize = 16;
    /// How long the name of a local address may take to resolve.
    const RESOLVE_TIMEOUT: Duration = Duration::from_secs(30);

    /// Opens a listener on one address; port 0 lets the system choose.
    ///
    /// An address that a closed connection of an earlier process still holds is taken over.
    ///
    /// # Errors
    ///
    /// [`TransportError::AddressInUse`], [`TransportError::AddressUnavailable`],
    /// [`TransportError::PermissionDenied`], [`TransportError::DeviceUnavailable`], or what else the
    /// system reports.
    pub fn bind(address: SocketAddr, options: &ListenOptions) -> Result<Self, TransportError> {
        open(address, options)
            .and_then(|socket| Self::from_std(socket, options.tcp.clone()))
            .map_err(|error| TransportError::at(&address.into(), &error))
    }

    /// Opens a listener on every address of a host, all on one port.
    ///
    /// So `localhost` listens on `127.0.0.1` and on `[::1]`. Addresses that this machine does not
    /// have are left out, as long as one is left.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind), and [`TransportError::HostUnknown`].
    pub fn bind_all(
        endpoint: &Endpoint,
        options: &ListenOptions,
    ) -> Result<Vec<Self>, TransportError> {
        let mut addresses = endpoint.resolve(Self::RESOLVE_TIMEOUT)?;
        addresses.sort_unstable();
        addresses.dedup();
        let mut attempt = 1;
        loop {
            match bind_each(&addresses, options) {
                Err(TransportError::AddressInUse { .. })
                    if endpoint.port() == 0 && attempt < Self::SHARED_PORT_ATTEMPTS =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// Takes over a listening socket, such as one that a service manager opened.
    ///
    /// # Errors
    ///
    /// The system's, when it is no such socket.
    pub fn from_std(socket: net::TcpListener, options: TcpOptions) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        options.apply_to_listener(SockRef::from(&socket))?;
        Ok(Self {
            address: socket.local_addr()?.into(),
            socket: mio::net::TcpListener::from_std(socket),
            options,
        })
    }
}

impl Listener for TcpListener {
    fn accept(&mut self) -> Result<Option<Box<dyn Stream>>, AcceptError> {
        match uninterrupted(|| self.socket.accept()) {
            Ok((socket, address)) => Ok(Some(Box::new(TcpStream::accepted(
                socket,
                address,
                &self.options,
            )))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(AcceptError::from(&error)),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        &mut self.socket
    }

    fn local_address(&self) -> &PeerAddress {
        &self.address
    }
}

/// Opens a listener on each address; where the port is 0, on the one chosen for the first.
fn bind_each(
    addresses: &[SocketAddr],
    options: &ListenOptions,
) -> Result<Vec<TcpListener>, TransportError> {
    let mut listeners: Vec<TcpListener> = Vec::with_capacity(addresses.len());
    let mut unavailable = None;
    for address in addresses {
        let mut address = *address;
        if address.port() == 0
            && let Some(first) = listeners.first().and_then(|l| l.address.socket_address())
        {
            address.set_port(first.port());
        }
        match TcpListener::bind(address, options) {
            Ok(listener) => listeners.push(listener),
            Err(error @ TransportError::AddressUnavailable { .. }) => unavailable = Some(error),
            Err(error) => return Err(error),
        }
    }
    match unavailable {
        Some(error) if listeners.is_empty() => Err(error),
        Some(_) | None => Ok(listeners),
    }
}

fn open(address: SocketAddr, options: &ListenOptions) -> io::Result<net::TcpListener> {
    let socket = match Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    ) {
        // A system without IPv6 has no such socket: then it has no such address either.
        Err(error) if is_family_unsupported(&error) => {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        result => result?,
    };
    if address.is_ipv6() {
        socket.set_only_v6(!(options.dual_stack && address.ip().is_unspecified()))?;
    }
    // Windows means something else by it: that any process may take the address away.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        reuse_port(&socket)?;
    }
    if let Some(device) = &options.device {
        bind_device(&socket, device)
            .map_err(|error| io::Error::other(TransportError::device(device, &error)))?;
    }
    if let Some(bytes) = options.tcp.receive_buffer_bytes {
        // Connections inherit it: what they announce when they open cannot be raised later.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog.into())?;
    Ok(socket.into())
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
fn reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
fn reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_device(socket: &Socket, device: &str) -> io::Result<()> {
    socket.bind_device(Some(device.as_bytes()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bind_device(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn is_family_unsupported(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
        97
    } else if cfg!(windows) {
        10047
    } else {
        47
    };
    error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(test)]
mod tests;
