//! A WebSocket as a [`Stream`].

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use mio::event::Source;

use super::{
    WebSocketError, WebSocketServerOptions,
    decoder::{Decoder, End, Role},
    opening::Head,
    output::Output,
    request::{answer, refuse},
    response::Asked,
};
use crate::{Handshake, Peer, Stream, TransportError};

/// A WebSocket over another stream.
///
/// Frames carry the bytes of the stream and mean nothing more: the peer may cut them anywhere. What
/// is written is collected, and each [`flush`](Stream::flush) sends it as one binary frame of at
/// most 64 KiB; so an owner that flushes once per turn sends one frame per turn. What is read is
/// unpacked in the owner's buffer. An idle WebSocket has no buffer of its own.
///
/// The peer's close frame reads as the end of the stream, is answered, and lets nothing more be
/// written. The peer's breach of the rules is answered by a close frame with the reason, and is then
/// an error of kind `InvalidData` around a [`WebSocketError`]; so is a text frame. A peer that goes
/// without a close frame is an `UnexpectedEof`.
///
/// [`shutdown`](Stream::shutdown) sends a close frame. The stream below stays open until the peer
/// has answered it.
///
/// # Specification
///
/// v5 MQTT-6.0.0-1 to -4; v3.1.1 MQTT-6.0.0-1 to -4; RFC 6455.
#[derive(Debug)]
pub struct WebSocketStream<S> {
    inner: S,
    phase: Phase,
    decoder: Decoder,
    output: Output,
    /// What came along with the peer's opening.
    early: Vec<u8>,
    peer: Peer,
}

#[derive(Debug)]
enum Phase {
    /// The server waits for a request.
    Accepting {
        head: Head,
        options: Arc<WebSocketServerOptions>,
    },
    /// The client's request is on its way, or its answer awaited.
    Asking {
        head: Head,
        asked: Box<Asked>,
    },
    /// The server's answer is on its way.
    Answering,
    /// The server's refusal is on its way.
    Refusing {
        error: WebSocketError,
    },
    Open,
}

/// How much is read at once while the opening lasts.
const OPENING_READ_BYTES: usize = 1024;

impl<S: Stream> WebSocketStream<S> {
    /// How many bytes without content one read gets through before the peer counts as hostile.
    const IDLE_BYTES_MAX: usize = 256 * 1024;

    pub(super) fn accepting(inner: S, options: Arc<WebSocketServerOptions>) -> Self {
        let decoder = Decoder::new(Role::Server, options.frame_bytes_max);
        let head = Head::new(options.request_bytes_max);
        Self {
            peer: inner.peer().clone(),
            inner,
            phase: Phase::Accepting { head, options },
            decoder,
            output: Output::new(Role::Server),
            early: Vec::new(),
        }
    }

    pub(super) fn asking(inner: S, asked: Asked) -> Self {
        let mut output = Output::new(Role::Client);
        output.push_raw(&asked.request);
        let head = Head::new(asked.options.response_bytes_max);
        Self {
            peer: inner.peer().clone(),
            inner,
            phase: Phase::Asking {
                head,
                asked: Box::new(asked),
            },
            decoder: Decoder::new(Role::Client, u64::MAX),
            output,
            early: Vec::new(),
        }
    }

    /// Reads the peer's opening; `None` until it is whole.
    fn read_head(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        let (Phase::Accepting { head, .. } | Phase::Asking { head, .. }) = &mut self.phase else {
            return Ok(None);
        };
        let mut buffer = [0; OPENING_READ_BYTES];
        loop {
            match self.inner.read(&mut buffer) {
                Ok(0) => return Err(TransportError::Closed),
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    if let Some(whole) = head.push(bytes)? {
                        self.early = whole.rest;
                        return Ok(Some(whole.head));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the opening one step on; `false` when it has to wait.
    fn step(&mut self) -> Result<bool, TransportError> {
        match &self.phase {
            Phase::Open => Ok(false),
            Phase::Accepting { options, .. } => {
                let options = Arc::clone(options);
                let judged = match self.read_head() {
                    Ok(None) => return Ok(false),
                    Ok(Some(head)) => answer(&head, &options),
                    Err(TransportError::WebSocket(error)) => Err(error),
                    Err(error) => return Err(error),
                };
                match judged {
                    Ok((response, facts)) => {
                        self.output.push_raw(&response);
                        self.peer.websocket = Some(Box::new(facts));
                        self.phase = Phase::Answering;
                    }
                    Err(error) => {
                        let refusal = refuse(&error).ok_or_else(|| error.clone())?;
                        self.output.push_raw(&refusal);
                        self.phase = Phase::Refusing { error };
                    }
                }
                Ok(true)
            }
            Phase::Asking { .. } => {
                if !self.send()? {
                    return Ok(false);
                }
                let Some(head) = self.read_head()? else {
                    return Ok(false);
                };
                if let Phase::Asking { asked, .. } = &self.phase {
                    self.peer.websocket = Some(Box::new(asked.judge(&head)?));
                    self.decoder = Decoder::new(Role::Client, asked.options.frame_bytes_max);
                }
                self.phase = Phase::Open;
                Ok(true)
            }
            Phase::Answering => {
                let is_sent = self.send()?;
                if is_sent {
                    self.phase = Phase::Open;
                }
                Ok(is_sent)
            }
            Phase::Refusing { error } => {
                let error = error.clone();
                if !self.send()? {
                    return Ok(false);
                }
                // The stream is of no further use; whether its end arrives changes nothing.
                let _ = self.inner.shutdown();
                Err(error.into())
            }
        }
    }

    /// Sends what waits; `false` when some of it has to wait longer.
    fn send(&mut self) -> io::Result<bool> {
        match self.output.write_to(&mut self.inner) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what the peer sent as it is: first what came with its opening.
    fn read_raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.early.is_empty() {
            return self.inner.read(buffer);
        }
        let len = buffer.len().min(self.early.len());
        for (to, from) in buffer.iter_mut().zip(self.early.drain(..len)) {
            *to = from;
        }
        if self.early.is_empty() {
            self.early = Vec::new(); // Gives its memory back.
        }
        Ok(len)
    }

    /// Queues what the last bytes of the peer call for, and sends it if that is possible now.
    fn react(&mut self) {
        if let Some(content) = self.decoder.take_ping() {
            self.output.push_pong(content);
        }
        match self.decoder.end() {
            Some(End::Closed { code }) => self.output.push_close(*code),
            Some(End::Failed(error)) => self.output.push_close(error.close_code()),
            None => {}
        }
        if !self.output.is_empty() {
            // A failure is met again by the owner's next read or write, which can report it.
            let _ = self.send();
        }
    }
}

impl<S: Stream> Stream for WebSocketStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_established() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut idle = 0;
        while !buffer.is_empty() {
            match self.decoder.end() {
                Some(End::Closed { .. }) => return Ok(0),
                Some(End::Failed(error)) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error.clone()));
                }
                None => {}
            }
            let count = match self.read_raw(buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => count,
            };
            let bytes = buffer.get_mut(..count).unwrap_or_default();
            let len = self.decoder.decode_in_place(bytes);
            if len == 0 && self.decoder.end().is_none() {
                idle += count;
                if idle > Self::IDLE_BYTES_MAX {
                    self.decoder.fail(WebSocketError::ControlFlood);
                }
            }
            self.react();
            if len > 0 {
                return Ok(len);
            }
        }
        Ok(0)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.is_established() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.output.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        let mut taken = self.output.push(slices);
        if taken == 0 {
            self.output.write_to(&mut self.inner)?;
            taken = self.output.push(slices);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.is_established() {
            return self.inner.flush();
        }
        self.output.write_to(&mut self.inner)
    }

    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        if self.inner.handshake()? == Handshake::Pending {
            return Ok(Handshake::Pending);
        }
        if self.peer.websocket.is_none() {
            self.peer.clone_from(self.inner.peer());
        }
        while self.step()? {}
        Ok(if self.is_established() {
            Handshake::Complete
        } else {
            Handshake::Pending
        })
    }

    fn shutdown(&mut self) -> io::Result<()> {
        if !self.is_established() {
            return self.inner.shutdown();
        }
        self.output.push_close(Self::GOING_WELL);
        self.output.write_to(&mut self.inner)?;
        match self.decoder.end() {
            Some(_) => self.inner.shutdown(),
            None => Ok(()), // The peer's close frame has to find its way first.
        }
    }

    fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.discard(buffer)
    }

    fn source(&mut self) -> &mut dyn Source {
        self.inner.source()
    }

    fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    fn has_buffered_input(&self) -> bool {
        !self.early.is_empty() || self.inner.has_buffered_input()
    }

    fn has_buffered_output(&self) -> bool {
        !self.output.is_empty() || self.inner.has_buffered_output()
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl<S> WebSocketStream<S> {
    /// The code of a close frame that ends a connection as intended.
    const GOING_WELL: u16 = 1000;

    /// Returns the stream below.
    #[cfg(feature = "tls")]
    pub(crate) const fn below(&self) -> &S {
        &self.inner
    }

    /// Returns the stream below, to use it instead.
    #[cfg(feature = "tls")]
    pub(crate) const fn below_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}
