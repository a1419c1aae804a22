//! A Unix domain socket as a [`Stream`].

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    net::Shutdown,
    os::unix::net,
    path::Path,
};

use mio::event::Source;

use crate::{Peer, PeerAddress, Stream, TransportError, tcp::uninterrupted};

/// A connection between two processes of one machine.
#[derive(Debug)]
pub struct UnixStream {
    socket: mio::net::UnixStream,
    peer: Peer,
}

impl UnixStream {
    /// Connects to the listener at `path`.
    ///
    /// There is no network between the two ends: the listener's backlog takes the connection at
    /// once, or the call fails.
    ///
    /// # Errors
    ///
    /// [`TransportError::Refused`] when nobody listens at the socket file,
    /// [`TransportError::PermissionDenied`] when its mode keeps this process out, and
    /// [`TransportError::AddressUnavailable`] when there is no such file or its backlog is full.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, TransportError> {
        let path = path.as_ref();
        let peer = Peer::new(PeerAddress::Unix(path.into()));
        match uninterrupted(|| mio::net::UnixStream::connect(path)) {
            Ok(socket) => Ok(Self { socket, peer }),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::WouldBlock
                ) =>
            {
                Err(TransportError::AddressUnavailable {
                    address: peer.address,
                })
            }
            Err(error) => Err(TransportError::at(&peer.address, &error)),
        }
    }

    /// Takes over a connected socket, as it is, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The socket is not connected.
    pub fn from_std(socket: net::UnixStream) -> io::Result<Self> {
        let address = socket.peer_addr()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: mio::net::UnixStream::from_std(socket),
            peer: Peer::new(PeerAddress::Unix(
                address.as_pathname().unwrap_or(Path::new("")).into(),
            )),
        })
    }

    /// Wraps a socket that the listener at `path` has just accepted.
    pub(crate) fn accepted(socket: mio::net::UnixStream, listener: &PeerAddress) -> Self {
        // A client has no address of its own; what tells it apart is the door it came through.
        Self {
            socket,
            peer: Peer::new(listener.clone()),
        }
    }
}

impl Stream for UnixStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.socket.read(buffer))
    }

    fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        uninterrupted(|| self.socket.read_vectored(slices))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| self.socket.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| self.socket.write_vectored(slices))
    }

    fn shutdown(&mut self) -> io::Result<()> {
        match self.socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
            Ok(()) | Err(_) => Ok(()), // Ended twice, or gone: either way nothing more goes out.
        }
    }

    fn is_bare(&self) -> bool {
        true
    }

    fn source(&mut self) -> &mut dyn Source {
        &mut self.socket
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }
}
