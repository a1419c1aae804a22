//! From the bytes of a WebSocket to the bytes it carries, without a buffer.

use std::io::Cursor;

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

use super::{WebSocketError, mask::Mask};

/// Which end of a WebSocket this is; the other's frames look different.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Client,
    Server,
}

/// Takes frames apart in the buffer they were read into.
///
/// What a data frame carries moves to the front of the buffer, unmasked; headers and control frames
/// fall away. So frames of any length, in any number of fragments, cost no memory but this value:
/// an owner that parses a stream of bytes never needs a whole frame.
#[derive(Debug)]
pub(super) struct Decoder {
    role: Role,
    frame_bytes_max: u64,
    state: State,
    /// A header, or what a control frame carries, as far as it has come.
    partial: [u8; Self::CONTROL_BYTES_MAX],
    partial_len: u8,
    /// A fragmented message has begun and not ended.
    is_in_message: bool,
    ping: Option<Box<[u8]>>,
    end: Option<End>,
}

#[derive(Debug)]
enum State {
    Header,
    Data { remaining: u64, mask: Mask },
    Control { kind: Control, len: u8, mask: Mask },
}

/// After this, nothing is decoded any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The peer has closed, and gave this code.
    Closed { code: u16 },
    /// The peer broke the rules.
    Failed(WebSocketError),
}

impl Decoder {
    pub(super) const CONTROL_BYTES_MAX: usize = 125;

    pub(super) const fn new(role: Role, frame_bytes_max: u64) -> Self {
        Self {
            role,
            frame_bytes_max,
            state: State::Header,
            partial: [0; Self::CONTROL_BYTES_MAX],
            partial_len: 0,
            is_in_message: false,
            ping: None,
            end: None,
        }
    }

    /// Replaces the frames in `bytes` by what they carry, and returns how much that is.
    pub(super) fn decode_in_place(&mut self, bytes: &mut [u8]) -> usize {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() && self.end.is_none() {
            match &mut self.state {
                State::Header => {
                    let rest = bytes.get(from..).unwrap_or_default();
                    from += self.take_header(rest);
                }
                State::Data { remaining, mask } => {
                    let left = usize::try_from(*remaining).unwrap_or(usize::MAX);
                    let len = left.min(bytes.len() - from);
                    bytes.copy_within(from..from + len, to);
                    mask.apply(bytes.get_mut(to..to + len).unwrap_or_default());
                    *remaining -= len as u64;
                    from += len;
                    to += len;
                    if *remaining == 0 {
                        self.state = State::Header;
                    }
                }
                State::Control { kind, len, mask } => {
                    let (kind, len, mask) = (*kind, *len, *mask);
                    let rest = bytes.get(from..).unwrap_or_default();
                    from += self.fill_partial(rest, len.into());
                    if self.partial_len == len {
                        self.on_control(kind, mask);
                    }
                }
            }
        }
        to
    }

    /// Returns what the latest ping carries, once; older ones need no answer.
    pub(super) fn take_ping(&mut self) -> Option<Box<[u8]>> {
        self.ping.take()
    }

    /// Returns why there is nothing more to come.
    pub(super) const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    pub(super) fn fail(&mut self, error: WebSocketError) {
        self.end = Some(End::Failed(error));
    }

    /// Adds to the part until it has `len` bytes, and returns how many it took.
    fn fill_partial(&mut self, bytes: &[u8], len: usize) -> usize {
        let have = usize::from(self.partial_len);
        let missing = self.partial.get_mut(have..len).unwrap_or_default();
        let count = missing.len().min(bytes.len());
        for (to, from) in missing.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.partial_len = u8::try_from(have + count).unwrap_or(u8::MAX);
        count
    }

    /// Takes what belongs to the header from `bytes`, and returns how much that was.
    fn take_header(&mut self, bytes: &[u8]) -> usize {
        let mut taken = self.fill_partial(bytes, 2);
        if let [_, second, ..] = self.partial
            && self.partial_len >= 2
        {
            let len = header_bytes(second);
            taken += self.fill_partial(bytes.get(taken..).unwrap_or_default(), len);
            if usize::from(self.partial_len) == len
                && let Err(error) = self.on_header()
            {
                self.fail(error);
            }
        }
        taken
    }

    fn on_header(&mut self) -> Result<(), WebSocketError> {
        let len = usize::from(std::mem::take(&mut self.partial_len));
        let bytes = self.partial.get(..len).unwrap_or_default();
        let opcode = bytes.first().copied().unwrap_or_default() & 0x0F;
        let Ok(Some((header, length))) = FrameHeader::parse(&mut Cursor::new(bytes)) else {
            return Err(WebSocketError::OpcodeUnknown { opcode });
        };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(WebSocketError::ExtensionUnknown);
        }
        if header.mask.is_some() != (self.role == Role::Server) {
            return Err(WebSocketError::MaskWrong);
        }
        if header.len(length) != len {
            return Err(WebSocketError::LengthNotShortest);
        }
        let mask = Mask::new(header.mask.unwrap_or_default());
        match header.opcode {
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                Err(WebSocketError::OpcodeUnknown { opcode })
            }
            OpCode::Data(Data::Text) => Err(WebSocketError::TextReceived),
            OpCode::Data(kind @ (Data::Continue | Data::Binary)) => {
                if (kind == Data::Continue) != self.is_in_message {
                    return Err(WebSocketError::FragmentMisplaced);
                }
                if length > self.frame_bytes_max {
                    let limit = self.frame_bytes_max;
                    return Err(WebSocketError::FrameTooLong { length, limit });
                }
                self.is_in_message = !header.is_final;
                if length > 0 {
                    let remaining = length;
                    self.state = State::Data { remaining, mask };
                }
                Ok(())
            }
            OpCode::Control(kind @ (Control::Close | Control::Ping | Control::Pong)) => {
                let len = match u8::try_from(length) {
                    Ok(len) if header.is_final && len <= 125 => len,
                    Ok(_) | Err(_) => return Err(WebSocketError::ControlInvalid),
                };
                if len == 0 {
                    self.on_control(kind, mask);
                } else {
                    self.state = State::Control { kind, len, mask };
                }
                Ok(())
            }
        }
    }

    fn on_control(&mut self, kind: Control, mut mask: Mask) {
        let len = usize::from(std::mem::take(&mut self.partial_len));
        self.state = State::Header;
        let content = self.partial.get_mut(..len).unwrap_or_default();
        mask.apply(content);
        match kind {
            Control::Ping => self.ping = Some((&*content).into()),
            Control::Close => self.end = Some(close(content)),
            Control::Pong | Control::Reserved(_) => {} // An answer to nothing, which is allowed.
        }
    }
}

/// Returns how long a header is, by its second byte.
const fn header_bytes(second: u8) -> usize {
    let length = match second & 0x7F {
        127 => 8,
        126 => 2,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

/// Reads what a close frame carries: nothing, or a code and a text.
fn close(content: &[u8]) -> End {
    let Some((code, reason)) = content.split_first_chunk() else {
        return if content.is_empty() {
            End::Closed {
                code: CloseCode::Normal.into(),
            }
        } else {
            End::Failed(WebSocketError::CloseInvalid)
        };
    };
    let code = u16::from_be_bytes(*code);
    if CloseCode::from(code).is_allowed() && str::from_utf8(reason).is_ok() {
        End::Closed { code }
    } else {
        End::Failed(WebSocketError::CloseInvalid)
    }
}

#[cfg(test)]
mod tests;
