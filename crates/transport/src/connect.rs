//! Connecting to a host by name, with a deadline.

use std::{
    io,
    net::{self, IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Endpoint, Events, Handshake, Poller, Stream as _, TcpOptions, TcpStream, TokenMap,
    TransportError,
};

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
/// A name may have many addresses, and some of them may be silent. So they are tried side by side
/// (RFC 8305): IPv6 and IPv4 in turn, beginning with what the resolver prefers, a quarter of a second
/// apart or as soon as one has failed. The first to answer wins, and the others are dropped.
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
    let mut race = Race::new(addresses.len())?;
    let timed_out = TransportError::TimedOut {
        endpoint: endpoint.clone(),
        timeout: options.timeout,
    };
    let mut most_telling = None;
    let mut note = |error: TransportError| {
        let is_silence = matches!(
            error,
            TransportError::Io {
                kind: io::ErrorKind::TimedOut,
                ..
            }
        );
        // The system's own patience may end before the caller's.
        let error = if is_silence { timed_out.clone() } else { error };
        let so_far = most_telling.as_ref().map(telling);
        if so_far.is_none_or(|so_far| telling(&error) > so_far) {
            most_telling = Some(error);
        }
    };
    let mut waiting = in_turn(addresses).into_iter().peekable();
    loop {
        // Where the time is short, all addresses are tried before it is up.
        let entrants = u32::try_from(waiting.len()).unwrap_or(u32::MAX).max(1);
        let next = Deadline::after(HEAD_START.min(deadline.remaining() / entrants));
        if let Some(address) = waiting.next()
            && let Err(error) = race.enter(address, options)
        {
            note(error);
            continue;
        }
        loop {
            match race.judge() {
                Ok(Some(stream)) => return Ok(stream),
                Ok(None) => {}
                Err(error) => {
                    note(error);
                    if waiting.peek().is_some() {
                        break; // The next one need not wait any longer.
                    }
                    continue;
                }
            }
            if race.is_empty() && waiting.peek().is_none() {
                return Err(most_telling.unwrap_or(timed_out));
            }
            if deadline.remaining().is_zero() {
                note(timed_out.clone());
                return Err(most_telling.unwrap_or(timed_out));
            }
            if waiting.peek().is_some() {
                if next.remaining().is_zero() {
                    break;
                }
                race.wait(deadline.remaining().min(next.remaining()))?;
            } else {
                race.wait(deadline.remaining())?;
            }
        }
    }
}

/// How long an address may be silent before the next one is tried as well.
const HEAD_START: Duration = Duration::from_millis(250);

/// Puts addresses of both families in turn, and leaves their order otherwise as it is.
fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first = |address: &&SocketAddr| {
        addresses.first().map(SocketAddr::is_ipv6) == Some(address.is_ipv6())
    };
    let mut preferred = addresses.iter().filter(is_first);
    let mut others = addresses.iter().filter(|address| !is_first(address));
    let mut all = Vec::with_capacity(addresses.len());
    loop {
        let (a, b) = (preferred.next(), others.next());
        if a.is_none() && b.is_none() {
            return all;
        }
        all.extend(a.into_iter().chain(b));
    }
}

/// Connections that are being made side by side.
struct Race {
    poller: Poller,
    events: Events,
    runners: Vec<TcpStream>,
    tokens: TokenMap<()>,
}

impl Race {
    /// The longest single wait; the system counts in milliseconds and not without end.
    const WAIT_MAX: Duration = Duration::from_secs(3600);

    fn new(len: usize) -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            events: Events::with_capacity(len),
            runners: Vec::new(),
            tokens: TokenMap::new(len),
        })
    }

    fn is_empty(&self) -> bool {
        self.runners.is_empty()
    }

    fn enter(
        &mut self,
        address: SocketAddr,
        options: &ConnectOptions,
    ) -> Result<(), TransportError> {
        let at = |error: io::Error| TransportError::at(&address.into(), &error);
        let socket = start(address, options).map_err(at)?;
        let mut stream = TcpStream::connecting(socket, address);
        if let Ok(token) = self.tokens.insert(()) {
            self.poller.register(token, stream.source()).map_err(at)?;
        }
        self.runners.push(stream);
        Ok(())
    }

    /// Returns the first that has arrived; an error takes its connection out of the race.
    fn judge(&mut self) -> Result<Option<TcpStream>, TransportError> {
        for index in 0..self.runners.len() {
            let Some(stream) = self.runners.get_mut(index) else {
                break;
            };
            match stream.handshake() {
                Ok(Handshake::Pending) => {}
                Ok(Handshake::Complete) => {
                    let mut winner = self.runners.swap_remove(index);
                    self.poller.deregister(winner.source())?; // The owner has its own poller.
                    return Ok(Some(winner));
                }
                Err(error) => {
                    self.runners.swap_remove(index);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        // Rounded up, so that what is left of a millisecond is no reason to spin.
        let timeout = timeout.clamp(Duration::from_millis(1), Self::WAIT_MAX);
        self.poller.wait(&mut self.events, Some(timeout))
    }
}

/// Starts to connect to one address.
fn start(address: SocketAddr, options: &ConnectOptions) -> io::Result<net::TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    options.tcp.apply((&socket).into())?;
    if let Some(ip) = options.local_ip {
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        Ok(()) | Err(_) => Ok(socket.into()),
    }
}

/// Says whether the system goes on connecting in the background.
fn is_in_progress(error: &io::Error) -> bool {
    const EINPROGRESS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
        115
    } else {
        36
    };
    error.kind() == io::ErrorKind::WouldBlock
        || cfg!(unix) && error.raw_os_error() == Some(EINPROGRESS)
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
        | TransportError::DeviceUnavailable { .. }
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
