//! One client: its socket, its buffers, and how far its connection has come.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use super::{receiver::Receiver, sender::Sender};

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// There is none.
    Closed,
    /// The socket is being connected.
    Connecting,
    /// CONNECT is on its way.
    Greeting,
    /// So many SUBACKs are awaited.
    Subscribing(u16),
    /// Everything is there.
    Ready,
    /// DISCONNECT has been sent.
    Leaving,
}

/// A client that may connect once or often.
#[derive(Debug)]
pub(super) struct Client {
    /// CONNECT.
    pub(super) greeting: Box<[u8]>,
    /// SUBSCRIBE packets and their number.
    pub(super) subscribe: (Box<[u8]>, u16),
    /// Where it connects from.
    pub(super) source: Option<SocketAddr>,
    pub(super) socket: Option<TcpStream>,
    pub(super) phase: Phase,
    pub(super) output: Vec<u8>,
    written: usize,
    /// The beginning of a packet.
    pub(super) partial: Vec<u8>,
    /// How many bytes make it worth to look at it again.
    pub(super) wanted: usize,
    pub(super) sender: Option<Box<Sender>>,
    pub(super) receiver: Option<Box<Receiver>>,
    /// Whether it is in the list of those with something to write.
    pub(super) is_dirty: bool,
    /// When something was written last.
    pub(super) written_at: u64,
    /// Whether CONNACK said that the server knows the session.
    pub(super) session_present: bool,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    All,
    /// An event follows when there is room.
    Part,
}

impl Client {
    pub(super) fn new(greeting: Vec<u8>, subscribe: (Vec<u8>, u16)) -> Self {
        Self {
            greeting: greeting.into(),
            subscribe: (subscribe.0.into(), subscribe.1),
            source: None,
            socket: None,
            phase: Phase::Closed,
            output: Vec::new(),
            written: 0,
            partial: Vec::new(),
            wanted: 0,
            sender: None,
            receiver: None,
            is_dirty: false,
            written_at: 0,
            session_present: false,
        }
    }

    /// Begins to connect.
    pub(super) fn connect(&mut self, broker: SocketAddr) -> io::Result<&mut TcpStream> {
        let socket = Socket::new(
            Domain::for_address(broker),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = self.source {
            socket.bind(&source.into())?;
        }
        match socket.connect(&broker.into()) {
            Ok(()) => {}
            Err(error) if is_in_progress(&error) => {}
            Err(error) => return Err(error),
        }
        self.phase = Phase::Connecting;
        Ok(self.socket.insert(TcpStream::from_std(socket.into())))
    }

    /// Returns whether the socket is connected by now.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let Some(socket) = &self.socket else {
            return Ok(false);
        };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads once; `None` means that nothing is there.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(socket) = &mut self.socket else {
            return Ok(None);
        };
        loop {
            match socket.read(buffer) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what there is.
    pub(super) fn write(&mut self, now: u64) -> io::Result<Written> {
        let Some(socket) = &mut self.socket else {
            return Ok(Written::All);
        };
        while self.written < self.output.len() {
            match socket.write(&self.output[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.written_at = now;
                    if let Some(receiver) = &mut self.receiver {
                        receiver.on_written();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // What has left is forgotten now and then, not byte by byte.
                    if self.written > self.output.len() / 2 {
                        self.output.drain(..self.written);
                        self.written = 0;
                    }
                    return Ok(Written::Part);
                }
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(Written::All)
    }

    /// Lets go of the connection and what belongs to it.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.phase = Phase::Closed;
        self.output.clear();
        self.written = 0;
        self.partial.clear();
        self.wanted = 0;
    }
}

/// A connection that does not wait takes a moment: the system says so in one of two ways.
fn is_in_progress(error: &io::Error) -> bool {
    /// `EINPROGRESS` on Linux; the standard library has a name for it only in newer versions.
    const IN_PROGRESS: i32 = 115;
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(IN_PROGRESS)
        || error.to_string().contains("in progress")
}
