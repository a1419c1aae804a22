//! A TLS connection as a [`Stream`].

use std::io::{self, IoSlice, Read, Write};

use mio::event::Source;
use rustls::{Connection, Error};

use super::{TlsError, TlsFacts};
use crate::{Handshake, Peer, Stream, TLS_ALERT, TLS_HANDSHAKE, TransportError};

/// A TLS connection over another stream.
///
/// A failure of the peer is answered by the alert that TLS has for it, and is then an error of kind
/// `InvalidData` around a [`TlsError`]. A stream that ends without the peer's farewell is an
/// `UnexpectedEof`, so that an attacker cannot cut a connection and make it look intended.
#[derive(Debug)]
pub struct TlsStream<S> {
    inner: S,
    pub(super) session: Result<Box<Connection>, TlsError>,
    /// Whom a client means to reach.
    host: Box<str>,
    peer: Peer,
    has_begun: bool,
    is_established: bool,
    /// Decrypted bytes, or the peer's farewell, may wait in the session.
    has_input: bool,
    is_ending: bool,
}

impl<S: Stream> TlsStream<S> {
    /// How many encrypted bytes wait at most.
    const OUTPUT_BYTES_MAX: usize = 64 * 1024;

    pub(super) fn new(
        inner: S,
        session: Result<Connection, TlsError>,
        host: impl Into<Box<str>>,
    ) -> Self {
        let session = session.map(|mut session| {
            session.set_buffer_limit(Some(Self::OUTPUT_BYTES_MAX));
            Box::new(session)
        });
        Self {
            peer: inner.peer().clone(),
            inner,
            session,
            host: host.into(),
            has_begun: false,
            is_established: false,
            has_input: false,
            is_ending: false,
        }
    }

    /// Takes what the peer sent, once; `WouldBlock` when there is nothing.
    fn pull(&mut self) -> io::Result<()> {
        let Self {
            session: Ok(session),
            inner,
            has_begun,
            ..
        } = self
        else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut below = Below {
            inner,
            has_begun,
            is_server: matches!(**session, Connection::Server(_)),
            is_handshaking: session.is_handshaking(),
        };
        if let Err(error) = session.read_tls(&mut below) {
            if below.is_server && TlsError::PeerSpeaksPlain.is_inside(&error) {
                // So that a client without TLS can tell what it has met.
                let _ = self.inner.write(&UNEXPECTED_MESSAGE);
            }
            return Err(error);
        }
        match session.process_new_packets() {
            Ok(state) => {
                self.has_input = state.plaintext_bytes_to_read() > 0 || state.peer_has_closed();
                Ok(())
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// Sends the alert that belongs to an error, as far as that is possible now.
    fn fail(&mut self, error: &Error) -> io::Error {
        let _ = self.push();
        TlsError::of(error, &self.host).into()
    }

    /// Sends what waits in the session.
    fn push(&mut self) -> io::Result<()> {
        let Ok(session) = &mut self.session else {
            return self.inner.flush();
        };
        let mut below = Below {
            inner: &mut self.inner,
            has_begun: &mut self.has_begun,
            is_server: false,
            is_handshaking: false,
        };
        while session.wants_write() {
            if session.write_tls(&mut below)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.inner.flush()
    }

    /// Notes what the handshake has told.
    fn on_established(&mut self) {
        let Ok(session) = &self.session else { return };
        let server_name = match &**session {
            Connection::Server(session) => session.server_name(),
            Connection::Client(_) => Some(&*self.host),
        };
        self.peer.tls = Some(Box::new(TlsFacts::of(session, server_name)));
        self.is_established = true;
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_established {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            let Ok(session) = &mut self.session else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            match session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.has_input = false,
                result => return result,
            }
            let pulled = self.pull();
            if let Ok(session) = &self.session
                && session.wants_write()
                && let Err(error) = self.push() // The answer to a key update.
                && error.kind() != io::ErrorKind::WouldBlock
            {
                return Err(error);
            }
            pulled?;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.is_established {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.is_ending {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        for is_full in [false, true] {
            if is_full {
                self.push()?;
            }
            let Ok(session) = &mut self.session else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let taken = session.writer().write_vectored(slices)?;
            if taken > 0 {
                return Ok(taken);
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }

    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        if self.is_established {
            return Ok(Handshake::Complete);
        }
        if self.inner.handshake()? == Handshake::Pending {
            return Ok(Handshake::Pending);
        }
        // What lies below may have learnt whom a proxy speaks for, long before TLS is open.
        self.peer.clone_from(self.inner.peer());
        loop {
            let is_sent = match self.push() {
                Ok(()) => true,
                // A full stream is no reason not to read.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
                Err(error) => return Err(error.into()),
            };
            let session = self.session.as_mut().map_err(|error| error.clone())?;
            if !session.is_handshaking() {
                // The server waits for the client's last flight; nobody waits for its tickets.
                if !is_sent && let Connection::Client(_) = **session {
                    return Ok(Handshake::Pending);
                }
                self.on_established();
                return Ok(Handshake::Complete);
            }
            match self.pull() {
                Ok(()) => {
                    let session = self.session.as_mut().map_err(|error| error.clone())?;
                    if self.has_input && session.is_handshaking() {
                        return Err(TransportError::Closed); // A farewell before the greeting.
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Handshake::Pending);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn shutdown(&mut self) -> io::Result<()> {
        if let Ok(session) = &mut self.session
            && self.is_established
            && !std::mem::replace(&mut self.is_ending, true)
        {
            session.send_close_notify();
        }
        self.push()?;
        self.inner.shutdown()
    }

    fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Once its alert has left, a session that failed is good for nothing, and may hold tens of
        // kilobytes of a message that its peer began. It tells its error as often as it is asked.
        if let Ok(session) = &mut self.session
            && !session.wants_write()
            && let Err(error) = session.process_new_packets()
        {
            self.session = Err(TlsError::of(&error, &self.host));
        }
        self.inner.discard(buffer)
    }

    fn source(&mut self) -> &mut dyn Source {
        self.inner.source()
    }

    fn is_established(&self) -> bool {
        self.is_established
    }

    fn has_buffered_input(&self) -> bool {
        self.has_input || self.inner.has_buffered_input()
    }

    fn has_buffered_output(&self) -> bool {
        let waits = self
            .session
            .as_ref()
            .is_ok_and(|session| session.wants_write());
        waits || self.inner.has_buffered_output()
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// The fatal alert about a message that does not belong here.
const UNEXPECTED_MESSAGE: [u8; 7] = [TLS_ALERT, 3, 1, 0, 2, 2, 10];

/// The stream below, as the library sees it.
struct Below<'a, S> {
    inner: &'a mut S,
    has_begun: &'a mut bool,
    is_server: bool,
    is_handshaking: bool,
}

impl<S: Stream> Read for Below<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_unanswered = self.is_handshaking && !self.is_server && !*self.has_begun;
        let count = match self.inner.read(buffer) {
            Ok(0) if is_unanswered => return Err(TlsError::Unanswered.into()),
            Err(error) if is_unanswered && error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(TlsError::Unanswered.into());
            }
            Ok(0) if self.is_handshaking => return Err(io::ErrorKind::UnexpectedEof.into()),
            result => result?,
        };
        if !std::mem::replace(self.has_begun, true)
            && let Some(&first) = buffer.first()
            && first != TLS_HANDSHAKE
            // A server may answer the greeting with an alert.
            && (first != TLS_ALERT || self.is_server)
        {
            return Err(TlsError::PeerSpeaksPlain.into());
        }
        Ok(count)
    }
}

impl<S: Stream> Write for Below<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
