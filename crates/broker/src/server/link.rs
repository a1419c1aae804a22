//! One transport of a worker, and what is on its way out.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use mqttstack_limits::Instant;
use mqttstack_transport::{OutputQueue, SpareBuffer, Stream, WriteProgress};

use super::{listener::Terms, permit::Permit, waiting::Place};
use crate::core::{ConnectionId, Outlet};

/// A transport with its connection in the core.
pub(super) struct Link {
    pub(super) stream: Box<dyn Stream>,
    pub(super) id: ConnectionId,
    pub(super) phase: LinkPhase,
    output: OutputQueue,
    /// Whether reading may bring something: cleared when it would block.
    pub(super) is_readable: bool,
    /// Whether the event loop has told of the peer's end: it is read then, whatever comes before.
    pub(super) is_ending: bool,
    /// Whether the link is in the list of those to come back to without waiting for an event.
    pub(super) is_ready: bool,
    /// Whether it was left with something to write, and room for it.
    pub(super) has_more: bool,
    /// Whether the peer broke the rules of a layer: it is heard no more, but may read why.
    pub(super) has_failed: bool,
    /// Whether the last that came of it was a part of a large packet.
    pub(super) is_bulky: bool,
    /// What holds for all connections of its listener.
    pub(super) terms: Arc<Terms>,
    /// Its place among those that wait, until it has been accepted.
    pub(super) place: Option<Box<Place>>,
    /// When it is dropped, once it is flushing or lingering.
    pub(super) until: Instant,
    /// Its room among all connections, and among those of its listener.
    _permit: Permit,
}

/// How far a link has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LinkPhase {
    /// The transport is being opened.
    Opening,
    /// Bytes flow.
    Open,
    /// The core is done with it: what is left is written, until its time is up.
    Flushing,
    /// Everything is written and the end is announced: the peer's end is awaited, until its time is
    /// up, so that no reset overtakes the last bytes.
    Lingering,
}

impl Link {
    pub(super) fn new(
        stream: Box<dyn Stream>,
        id: ConnectionId,
        terms: Arc<Terms>,
        permit: Permit,
    ) -> Self {
        Self {
            terms,
            place: None,
            until: Instant::NEVER,
            _permit: permit,
            stream,
            id,
            phase: LinkPhase::Opening,
            output: OutputQueue::new(),
            is_readable: true,
            is_ending: false,
            is_ready: false,
            has_more: false,
            has_failed: false,
            is_bulky: false,
        }
    }

    /// Writes what is queued.
    pub(super) fn flush(&mut self) -> io::Result<WriteProgress> {
        self.output.write_to(&mut *self.stream)
    }

    /// Writes what is queued, until so many bytes have left.
    pub(super) fn flush_some(
        &mut self,
        budget: usize,
        spare: &mut SpareBuffer,
    ) -> io::Result<WriteProgress> {
        self.output
            .write_lending_to(&mut *self.stream, budget, spare)
    }

    /// Returns how many bytes wait to be written.
    pub(super) fn output_len(&self) -> usize {
        self.output.len()
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty() || self.stream.has_buffered_output()
    }

    /// Returns where the core puts its packets.
    pub(super) fn outlet<'a>(&'a mut self, spare: &'a mut SpareBuffer) -> LinkOutlet<'a> {
        LinkOutlet {
            output: &mut self.output,
            spare,
        }
    }
}

/// The output of a link as the core sees it.
pub(super) struct LinkOutlet<'a> {
    output: &'a mut OutputQueue,
    /// Memory for an output that has none.
    spare: &'a mut SpareBuffer,
}

impl Outlet for LinkOutlet<'_> {
    fn waiting(&self) -> usize {
        self.output.len()
    }

    fn buffer(&mut self) -> &mut BytesMut {
        self.output.borrow(self.spare);
        self.output.buffer(0)
    }

    fn append_shared(&mut self, payload: Bytes) {
        self.output.push_shared(payload);
    }
}
