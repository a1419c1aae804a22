//! A TCP connection as a [`Stream`].

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    net::{self, Shutdown, SocketAddr},
};

use mio::event::Source;
use socket2::SockRef;

use crate::{Handshake, Peer, PeerAddress, Stream, TcpOptions, TransportError, stream::FORGOTTEN};

/// A TCP connection.
#[derive(Debug)]
pub struct TcpStream {
    socket: mio::net::TcpStream,
    /// Until the owner wants it no longer.
    peer: Option<Box<Peer>>,
    is_established: bool,
}

impl TcpStream {
    /// Starts to connect to `address`, and returns without waiting.
    ///
    /// Register the stream and call [`handshake`](Stream::handshake) on its events. The deadline is
    /// the caller's; [`connect`](crate::connect()) is the call that waits, and knows names.
    ///
    /// # Errors
    ///
    /// What can be told without waiting, such as [`TransportError::Unreachable`].
    pub fn start_connect(
        address: SocketAddr,
        options: &TcpOptions,
    ) -> Result<Self, TransportError> {
        let peer = Peer::new(address.into());
        let open = || {
            let socket = mio::net::TcpStream::connect(address)?;
            options.apply(SockRef::from(&socket))?;
            Ok(socket)
        };
        match open() {
            Ok(socket) => Ok(Self {
                socket,
                peer: Some(Box::new(peer)),
                is_established: false,
            }),
            Err(error) => Err(TransportError::at(&peer.address, &error)),
        }
    }

    /// Takes over a connected socket, as it is, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The socket is not connected, or not a socket.
    pub fn from_std(socket: net::TcpStream) -> io::Result<Self> {
        let peer = Peer::new(socket.peer_addr()?.into());
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: mio::net::TcpStream::from_std(socket),
            peer: Some(Box::new(peer)),
            is_established: true,
        })
    }

    /// Wraps a socket that does not block, and that the system is connecting to `address`.
    pub(crate) fn connecting(socket: net::TcpStream, address: SocketAddr) -> Self {
        Self {
            socket: mio::net::TcpStream::from_std(socket),
            peer: Some(Box::new(Peer::new(address.into()))),
            is_established: false,
        }
    }

    /// Wraps a socket that a listener has just accepted.
    pub(crate) fn accepted(
        socket: mio::net::TcpStream,
        address: SocketAddr,
        options: &TcpOptions,
    ) -> Self {
        // Fails where the peer has reset the connection already; the first read will say so.
        let _ = options.apply_to_accepted(SockRef::from(&socket));
        Self {
            socket,
            peer: Some(Box::new(Peer::new(address.into()))),
            is_established: true,
        }
    }

    /// Returns this end's address.
    ///
    /// # Errors
    ///
    /// The system's, for a connection that is gone.
    pub fn local_address(&self) -> io::Result<PeerAddress> {
        Ok(self.socket.local_addr()?.into())
    }

    /// Refuses to move bytes while the connection is still being made: systems differ in what they
    /// answer then.
    fn established(&self) -> io::Result<&mio::net::TcpStream> {
        if self.is_established {
            Ok(&self.socket)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
}

impl Stream for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = self.established()?;
        uninterrupted(|| socket.read(buffer))
    }

    fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut socket = self.established()?;
        uninterrupted(|| socket.read_vectored(slices))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = self.established()?;
        uninterrupted(|| socket.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut socket = self.established()?;
        uninterrupted(|| socket.write_vectored(slices))
    }

    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        if self.is_established {
            return Ok(Handshake::Complete);
        }
        let at_peer = |error: io::Error| TransportError::at(&self.peer().address, &error);
        if let Some(error) = self.socket.take_error().map_err(at_peer)? {
            return Err(at_peer(error));
        }
        // An event alone proves nothing; only a connected socket has a peer.
        match self.socket.peer_addr() {
            Ok(_) => {
                self.is_established = true;
                Ok(Handshake::Complete)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(Handshake::Pending),
            Err(error) => Err(at_peer(error)),
        }
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

    fn is_established(&self) -> bool {
        self.is_established
    }

    fn peer(&self) -> &Peer {
        self.peer.as_deref().unwrap_or(&FORGOTTEN)
    }

    fn forget_peer(&mut self) {
        self.peer = None;
    }
}

/// Repeats a system call that a signal cut short.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
