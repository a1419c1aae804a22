//! From the bytes to carry to the bytes of a WebSocket: one frame for each flush.

use std::io::{self, IoSlice};

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use super::{
    decoder::Role,
    mask::{Mask, Masks},
};
use crate::Stream;

/// What waits to be sent.
///
/// Bytes to carry are collected until a flush, or until they fill a frame; the frame's header goes
/// in front of them in the room left for it. Nothing is kept while nothing waits.
#[derive(Debug)]
pub(super) struct Output {
    masks: Option<Masks>,
    /// The frame being collected: room for a header, then bytes as the owner wrote them.
    open: Vec<u8>,
    /// Bytes as they go out, and how many of them are gone.
    wire: Vec<u8>,
    sent: usize,
    pong: Option<Box<[u8]>>,
    close: Close,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Close {
    Not,
    Waiting { code: u16 },
    Queued,
}

impl Output {
    /// How many bytes one frame carries, and how many wait in it at most.
    pub(super) const FRAME_BYTES_MAX: usize = 64 * 1024;
    /// A header with the longest length and a mask.
    const HEADER_ROOM: usize = 14;

    pub(super) fn new(role: Role) -> Self {
        Self {
            masks: (role == Role::Client).then(Masks::new),
            open: Vec::new(),
            wire: Vec::new(),
            sent: 0,
            pong: None,
            close: Close::Not,
        }
    }

    /// Queues bytes that go out as they are: the opening.
    pub(super) fn push_raw(&mut self, bytes: &[u8]) {
        self.wire.extend_from_slice(bytes);
    }

    /// Queues the answer to a ping, in place of an answer that has not gone yet.
    pub(super) fn push_pong(&mut self, content: Box<[u8]>) {
        if self.close == Close::Not {
            self.pong = Some(content);
        }
    }

    /// Queues a close frame, after everything else; only the first one counts.
    pub(super) fn push_close(&mut self, code: u16) {
        if self.close == Close::Not {
            self.close = Close::Waiting { code };
        }
    }

    /// Collects as much of `slices` as fits, and returns how much that was.
    pub(super) fn push(&mut self, slices: &[IoSlice<'_>]) -> usize {
        let room = Self::FRAME_BYTES_MAX.saturating_sub(self.open_len());
        let offered = slices
            .iter()
            .fold(0usize, |sum, slice| sum.saturating_add(slice.len()));
        let mut left = room.min(offered);
        if left == 0 {
            return 0;
        }
        if self.open.is_empty() {
            self.open.reserve(Self::HEADER_ROOM + left);
            self.open.resize(Self::HEADER_ROOM, 0);
        }
        for slice in slices {
            let part = slice.get(..left).unwrap_or(slice);
            self.open.extend_from_slice(part);
            left -= part.len();
        }
        room.min(offered)
    }

    /// Sends frames until nothing waits.
    pub(super) fn write_to<S: Stream>(&mut self, stream: &mut S) -> io::Result<()> {
        while self.fill_wire() {
            match stream.write(self.wire.get(self.sent..).unwrap_or_default())? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.sent += count,
            }
            if self.sent >= self.wire.len() {
                (self.wire, self.sent) = (Vec::new(), 0);
            }
        }
        stream.flush()
    }

    pub(super) fn is_empty(&self) -> bool {
        let is_closing = matches!(self.close, Close::Waiting { .. });
        self.wire.is_empty() && self.open.is_empty() && self.pong.is_none() && !is_closing
    }

    pub(super) fn is_closed(&self) -> bool {
        self.close != Close::Not
    }

    fn open_len(&self) -> usize {
        self.open.len().saturating_sub(Self::HEADER_ROOM)
    }

    /// Puts the next frame on the wire if the one before is gone; says whether something is there.
    fn fill_wire(&mut self) -> bool {
        if !self.wire.is_empty() {
            return true;
        }
        if let Some(content) = self.pong.take() {
            self.put_control(Control::Pong, &content);
        } else if !self.open.is_empty() {
            self.put_open();
        } else if let Close::Waiting { code } = self.close {
            self.put_control(Control::Close, &code.to_be_bytes());
            self.close = Close::Queued;
        }
        !self.wire.is_empty()
    }

    fn put_control(&mut self, kind: Control, content: &[u8]) {
        let mut header = [0; Self::HEADER_ROOM];
        let (header, mut mask) = self.header(OpCode::Control(kind), content.len(), &mut header);
        self.wire.extend_from_slice(header);
        let start = self.wire.len();
        self.wire.extend_from_slice(content);
        mask.apply(self.wire.get_mut(start..).unwrap_or_default());
    }

    fn put_open(&mut self) {
        let mut frame = std::mem::take(&mut self.open);
        let mut header = [0; Self::HEADER_ROOM];
        let len = frame.len().saturating_sub(Self::HEADER_ROOM);
        let (header, mut mask) = self.header(OpCode::Data(Data::Binary), len, &mut header);
        if let Some((room, content)) = frame.split_at_mut_checked(Self::HEADER_ROOM) {
            mask.apply(content);
            self.sent = room.len() - header.len();
            if let Some(room) = room.get_mut(self.sent..) {
                room.copy_from_slice(header);
            }
        }
        self.wire = frame;
    }

    /// Writes the header of a frame into `room`, and returns it with its mask.
    fn header<'a>(
        &mut self,
        opcode: OpCode,
        len: usize,
        room: &'a mut [u8; Self::HEADER_ROOM],
    ) -> (&'a [u8], Mask) {
        let header = FrameHeader {
            opcode,
            mask: self.masks.as_mut().map(Masks::next),
            ..FrameHeader::default()
        };
        let mut rest = &mut room[..];
        // The room is that of the longest header.
        let is_written = header.format(len as u64, &mut rest).is_ok();
        debug_assert!(is_written, "a header has room");
        let left = rest.len();
        let written = room.get(..Self::HEADER_ROOM - left).unwrap_or_default();
        (written, Mask::new(header.mask.unwrap_or_default()))
    }
}
