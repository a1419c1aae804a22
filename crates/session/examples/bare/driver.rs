//! A client session on a microcontroller: no standard library, no operating system, no threads; a
//! line that has bytes now and then, and a loop that looks.

use alloc::vec::Vec;
use core::fmt;

use mqttstack_session::{
    client::{self, Session},
    codec::{Connect, DecodeError, Decoder, EncodeError, ProtocolVersion, Sender, Shared},
    limits::Instant,
};

/// How many bytes of a packet that has not arrived whole are kept; a longer one ends the connection.
const INPUT_BYTES: usize = 512;

/// A byte stream that never blocks: a UART, a modem, a TCP/IP stack.
pub trait Line {
    /// Why it does not work.
    type Error;

    /// Takes bytes that have arrived, and returns how many; 0 if there are none yet.
    ///
    /// # Errors
    ///
    /// The line is gone.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error>;

    /// Sends as many of the bytes as there is room for, and returns how many those are.
    ///
    /// # Errors
    ///
    /// The line is gone.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error>;
}

/// Why a driver has stopped.
#[derive(Debug)]
pub enum DriverError<E> {
    /// The line is gone.
    Line(E),
    /// What came is not MQTT.
    Decode(DecodeError),
    /// What the session has to say cannot be expressed.
    Encode(EncodeError),
}

impl<E: fmt::Debug> fmt::Display for DriverError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(error) => write!(f, "the line is gone: {error:?}"),
            Self::Decode(error) => error.fmt(f),
            Self::Encode(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for DriverError<E> {}

/// A client session and the line it talks over.
pub struct Driver<L> {
    session: Session,
    line: L,
    decoder: Decoder,
    version: ProtocolVersion,
    input: [u8; INPUT_BYTES],
    /// How many bytes of the input are there.
    filled: usize,
    output: Vec<u8>,
    scratch: Vec<u8>,
}

impl<L: Line> Driver<L> {
    /// Begins to connect over a line that is open.
    pub fn new(line: L, connect: Connect<Shared>, now: Instant) -> Self {
        let version = connect.version;
        let mut session = Session::new(client::Settings::default());
        session.connect(connect, now);
        Self {
            session,
            line,
            decoder: Decoder::new()
                .with_version(version)
                .with_sender(Sender::Server)
                .with_packet_size_max(u32::try_from(INPUT_BYTES).unwrap_or(u32::MAX)),
            version,
            input: [0; INPUT_BYTES],
            filled: 0,
            output: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Returns the session, to ask it for something or to take its events.
    pub const fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Returns the line.
    pub const fn line(&self) -> &L {
        &self.line
    }

    /// Does what there is to do at this moment, and returns when to look again at the latest: call
    /// it in a loop, or when the line has interrupted.
    ///
    /// # Errors
    ///
    /// [`DriverError`]: the connection is over.
    pub fn step(&mut self, now: Instant) -> Result<Instant, DriverError<L::Error>> {
        if self.session.poll_timeout().is_some_and(|at| at <= now) {
            // An error is told by `Event::Ended`.
            let _ = self.session.handle_timeout(now);
        }
        self.read(now)?;
        self.write(now)?;
        Ok(self.session.poll_timeout().unwrap_or(Instant::NEVER))
    }

    fn read(&mut self, now: Instant) -> Result<(), DriverError<L::Error>> {
        let room = self.input.get_mut(self.filled..).unwrap_or_default();
        let count = self.line.read(room).map_err(DriverError::Line)?;
        self.filled = self.filled.saturating_add(count).min(INPUT_BYTES);
        let mut taken = 0;
        while let Some(rest) = self.input.get(taken..self.filled) {
            let decoded = self.decoder.decode_ref(rest);
            let Some((packet, len)) = decoded.map_err(DriverError::Decode)? else {
                break;
            };
            // An error is told by `Event::Ended`.
            let _ = self.session.handle_packet(packet, now);
            taken = taken.saturating_add(len);
        }
        self.input.copy_within(taken..self.filled, 0);
        self.filled = self.filled.saturating_sub(taken);
        Ok(())
    }

    fn write(&mut self, now: Instant) -> Result<(), DriverError<L::Error>> {
        // One packet at a time: what the line has no room for waits in the session, where it counts.
        while self.output.is_empty() {
            let Some(packet) = self.session.poll_packet(now) else {
                return Ok(());
            };
            let encoded = packet.encode(self.version, &mut self.scratch, &mut self.output);
            if let Some(payload) = encoded.map_err(DriverError::Encode)? {
                self.output.extend_from_slice(payload);
            }
            let count = self.line.write(&self.output).map_err(DriverError::Line)?;
            self.output.drain(..count.min(self.output.len()));
        }
        let count = self.line.write(&self.output).map_err(DriverError::Line)?;
        self.output.drain(..count.min(self.output.len()));
        Ok(())
    }
}
