//! One open transport: its bytes in and out.

use core::{mem, ops::Range, time::Duration};
use std::{boxed::Box, io};

use mqttstack_limits::Instant;
use mqttstack_transport::{Handshake, OutputQueue, Stream, TLS_ALERT, Token, TransportError};

use super::error::ConnectError;
use crate::core::ClientCore;

/// How much one call reads, and how many calls one turn makes.
pub(super) const READ_BYTES: usize = 64 * 1024;
const READS_PER_TURN: usize = 16;

/// How long the orderly close of a transport may stand still.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// An open transport.
#[derive(Debug)]
pub(super) struct Link {
    stream: Box<dyn Stream>,
    pub(super) token: Token,
    pub(super) output: OutputQueue,
    /// The core knows that the transport is open.
    pub(super) is_announced: bool,
    /// When the opening of the layers is given up.
    pub(super) opening_until: Instant,
    /// The server has said something.
    has_begun: bool,
    /// Reading may bring something.
    pub(super) may_read: bool,
    /// What was read to the scratch memory and not taken, because the inbox was full.
    untaken: Range<usize>,
    /// Writing may be taken.
    may_write: bool,
    /// The connection is over: write what is left, then close, at the latest then.
    pub(super) closing: Option<Instant>,
    is_shut_down: bool,
}

/// Why a link is of no further use.
#[derive(Debug)]
pub(super) enum Broken {
    /// The peer has closed it.
    Closed,
    /// It broke.
    Failed(TransportError),
    /// The layers did not open in time.
    TimedOut(Duration),
    /// The peer speaks TLS, and there is none on this side.
    TlsExpected,
}

impl Broken {
    /// Chooses the one that tells more: the broken pipe of a write tells nothing.
    pub(super) fn or(self, written: Self) -> Self {
        match self {
            Self::Closed | Self::Failed(TransportError::Reset) => written,
            Self::Failed(_) | Self::TimedOut(_) | Self::TlsExpected => self,
        }
    }

    /// Returns what there is to say of it.
    pub(super) fn into_error(self) -> Option<ConnectError> {
        match self {
            Self::Closed => None,
            Self::Failed(error) => Some(error.into()),
            Self::TimedOut(timeout) => Some(ConnectError::OpeningTimedOut(timeout)),
            Self::TlsExpected => Some(ConnectError::TlsExpected),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Link {
    pub(super) fn new(stream: Box<dyn Stream>, token: Token, opening_until: Instant) -> Self {
        Self {
            stream,
            token,
            output: OutputQueue::new(),
            is_announced: false,
            opening_until,
            has_begun: false,
            may_read: true,
            untaken: 0..0,
            may_write: true,
            closing: None,
            is_shut_down: false,
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn mqttstack_transport::Source {
        self.stream.source()
    }

    /// Returns whether packets may flow: it neither opens nor closes.
    pub(super) const fn is_flowing(&self) -> bool {
        self.is_announced && self.closing.is_none()
    }

    pub(super) fn on_event(&mut self, is_readable: bool, is_writable: bool) {
        self.may_read |= is_readable;
        self.may_write |= is_writable;
    }

    /// Returns whether the layers are still being opened.
    pub(super) const fn is_opening(&self) -> bool {
        !self.is_announced && self.closing.is_none()
    }

    /// Takes the opening further; returns whether bytes may flow. `timeout` is what it was given.
    pub(super) fn handshake(&mut self, timeout: Duration, now: Instant) -> Result<bool, Broken> {
        match self.stream.handshake() {
            Ok(Handshake::Complete) => Ok(true),
            Ok(Handshake::Pending) if self.opening_until <= now => Err(Broken::TimedOut(timeout)),
            Ok(Handshake::Pending) => Ok(false),
            Err(error) => Err(Broken::Failed(error)),
        }
    }

    /// Reads what is there into the core, within the turn's budget and the room that the core knows.
    pub(super) fn read(
        &mut self,
        core: &mut ClientCore,
        scratch: &mut [u8],
        now: Instant,
    ) -> Result<(), Broken> {
        for _ in 0..READS_PER_TURN {
            self.hand_over(core, scratch, now);
            if !core.has_room() {
                return Ok(());
            }
            let (result, is_large) = match core.large_input() {
                Some(room) => (self.stream.read(room), true),
                None => (self.stream.read(scratch), false),
            };
            match result {
                Ok(0) => return Err(Broken::Closed),
                Ok(count) if is_large => core.handle_large_input(count, now),
                Ok(count) => {
                    if !mem::replace(&mut self.has_begun, true)
                        && scratch.first() == Some(&TLS_ALERT)
                    {
                        return Err(Broken::TlsExpected);
                    }
                    self.untaken = 0..count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // No event will tell of what a layer has already.
                    self.may_read = self.stream.has_buffered_input();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.hand_over(core, scratch, now);
        Ok(())
    }

    /// Gives the core what was read, as far as it has room.
    fn hand_over(&mut self, core: &mut ClientCore, scratch: &[u8], now: Instant) {
        let untaken = scratch.get(self.untaken.clone()).unwrap_or_default();
        self.untaken.start += core.handle_input(untaken, now);
    }

    /// Writes what waits, as far as the transport takes it, and returns whether it took something.
    /// A close that gets on is given time.
    pub(super) fn write(&mut self, now: Instant) -> Result<bool, Broken> {
        if !self.may_write || (self.output.is_empty() && !self.stream.has_buffered_output()) {
            return Ok(false);
        }
        let progress = self.output.write_to(&mut *self.stream)?;
        self.may_write = !progress.is_blocked;
        if progress.written > 0 && self.closing.is_some() {
            self.closing = Some(now + CLOSE_TIMEOUT);
        }
        Ok(progress.written > 0)
    }

    /// Takes the close further; returns whether the transport may be dropped.
    pub(super) fn close(&mut self, scratch: &mut [u8], now: Instant) -> Result<bool, Broken> {
        let Some(deadline) = self.closing else {
            return Ok(false);
        };
        if deadline <= now {
            return Ok(true);
        }
        if !self.output.is_empty() {
            return Ok(false);
        }
        if !self.is_shut_down {
            match self.stream.shutdown() {
                Ok(()) => self.is_shut_down = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        // What still comes in has to be read, or a reset could overtake the last bytes.
        for _ in 0..READS_PER_TURN {
            match self.stream.read(scratch) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.may_read = false;
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}
