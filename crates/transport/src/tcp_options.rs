//! The options of a TCP connection, for both ends.

use core::time::Duration;
use std::io;

use socket2::{SockRef, TcpKeepalive};

/// The socket options of a TCP connection.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TcpOptions {
    /// Sends each write at once instead of waiting to fill a segment. Default: `true`; an owner
    /// that writes once per turn gains nothing from waiting.
    pub no_delay: bool,
    /// Lets the system probe a silent peer. Default: `None`; the protocol above usually has a keep
    /// alive of its own, which also notices a peer that hangs.
    pub keep_alive: Option<KeepAlive>,
    /// The system's send buffer, in bytes. Default: `None`, the system adapts it.
    pub send_buffer_bytes: Option<usize>,
    /// The system's receive buffer, in bytes. Default: `None`, the system adapts it.
    pub receive_buffer_bytes: Option<usize>,
}

/// How the system probes a peer that sends nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeepAlive {
    /// How long the peer may be silent before the first probe; full seconds.
    pub idle: Duration,
    /// How far apart the probes are, where the system lets it be set; full seconds.
    pub interval: Duration,
}

impl TcpOptions {
    /// Whether an accepted connection has the options of its listening socket: one system call less
    /// for each. Elsewhere they are set on every connection.
    const ARE_INHERITED: bool = cfg!(target_os = "linux");

    /// Sets the options on a socket that listens, for those it accepts.
    pub(crate) fn apply_to_listener(&self, socket: SockRef<'_>) -> io::Result<()> {
        if Self::ARE_INHERITED {
            self.apply(socket)?;
        }
        Ok(())
    }

    /// Sets the options on a socket that has been accepted, as far as it does not have them.
    pub(crate) fn apply_to_accepted(&self, socket: SockRef<'_>) -> io::Result<()> {
        if !Self::ARE_INHERITED {
            self.apply(socket)?;
        }
        Ok(())
    }

    /// Sets the options on a socket.
    pub(crate) fn apply(&self, socket: SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(self.no_delay)?;
        if let Some(keep_alive) = self.keep_alive {
            socket.set_tcp_keepalive(&keep_alive.into())?;
        }
        if let Some(bytes) = self.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    }
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            no_delay: true,
            keep_alive: None,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
        }
    }
}

impl From<KeepAlive> for TcpKeepalive {
    fn from(keep_alive: KeepAlive) -> Self {
        let options = Self::new().with_time(keep_alive.idle);
        // OpenBSD and a few others have one interval for the whole system.
        #[cfg(any(
            target_os = "linux",
            target_os = "android",
            target_os = "freebsd",
            target_os = "netbsd",
            target_vendor = "apple",
            windows
        ))]
        let options = options.with_interval(keep_alive.interval);
        options
    }
}
