//! The written form of an operation: one record.

use alloc::{boxed::Box, vec::Vec};

use super::{
    Operation,
    format::{Epoch, FormatError, Reader, Record, Writer},
    message_form::{follows, read_delivery, read_message, write_delivery, write_message},
};
use crate::PublishToken;

/// The kinds of records. Numbers are never used again for something else.
pub(super) mod kind {
    pub(in crate::journal) const QUEUED: u8 = 0x01;
    pub(in crate::journal) const SENT: u8 = 0x02;
    pub(in crate::journal) const TAKEN: u8 = 0x03;
    pub(in crate::journal) const COMPLETED: u8 = 0x04;
    pub(in crate::journal) const GIVEN_UP: u8 = 0x05;
    pub(in crate::journal) const ACCEPTED: u8 = 0x06;
    pub(in crate::journal) const RELEASED: u8 = 0x07;
    pub(in crate::journal) const PEER_LOST: u8 = 0x08;
    pub(in crate::journal) const CLEARED: u8 = 0x09;
    pub(in crate::journal) const BEGUN: u8 = 0x20;
    pub(in crate::journal) const KEYED: u8 = 0x21;
    pub(in crate::journal) const CONNECTED: u8 = 0x22;
    pub(in crate::journal) const DISCONNECTED: u8 = 0x23;
    pub(in crate::journal) const WILL_PUBLISHED: u8 = 0x24;
    pub(in crate::journal) const SUBSCRIBED: u8 = 0x25;
    pub(in crate::journal) const UNSUBSCRIBED: u8 = 0x26;
    pub(in crate::journal) const ENDED: u8 = 0x27;
    pub(in crate::journal) const SESSION: u8 = 0x40;
    pub(in crate::journal) const RETAINED: u8 = 0x41;
    pub(in crate::journal) const RETAINED_REMOVED: u8 = 0x42;
    pub(in crate::journal) const PARCEL: u8 = 0x43;
    pub(in crate::journal) const PARCEL_TAKEN: u8 = 0x44;
    pub(in crate::journal) const PARCEL_PASSED_ON: u8 = 0x45;
    pub(in crate::journal) const TOTALS: u8 = 0x80;
}

impl Operation {
    /// Appends the operation to `out`, as a record.
    ///
    /// The form is described at [`SessionState::encode`](crate::SessionState::encode).
    pub fn encode(&self, epoch: Epoch, out: &mut Vec<u8>) {
        self.write(&mut Writer::new(out, epoch));
    }

    /// Reads the operation at the head of `bytes`, and moves `bytes` on; `None` if they are empty.
    /// Records that may be skipped are.
    ///
    /// # Errors
    ///
    /// [`FormatError`]; `bytes` are as they were.
    pub fn decode(bytes: &mut &[u8], epoch: Epoch) -> Result<Option<Self>, FormatError> {
        let mut reader = Reader::new(bytes, epoch);
        while let Some(record) = reader.record()? {
            if let Some(operation) = Self::read(record)? {
                *bytes = reader.rest();
                return Ok(Some(operation));
            }
        }
        *bytes = &[];
        Ok(None)
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Queued {
                token,
                message,
                options,
                expires_at,
            } => out.record(kind::QUEUED, |out| {
                out.token(*token);
                write_delivery(out, message, options, *expires_at);
                write_message(out, message);
            }),
            Self::Sent { token, packet_id } => out.record(kind::SENT, |out| {
                out.token(*token);
                out.packet_id(*packet_id);
            }),
            Self::Taken { packet_id, token } => out.record(kind::TAKEN, |out| {
                out.packet_id(*packet_id);
                if let Some(token) = token {
                    out.token(*token);
                }
            }),
            Self::Completed { packet_id } => {
                out.record(kind::COMPLETED, |out| out.packet_id(*packet_id));
            }
            Self::GivenUp { token } => out.record(kind::GIVEN_UP, |out| out.token(*token)),
            Self::Swept { tokens } => out.record(kind::GIVEN_UP, |out| {
                for token in tokens {
                    out.token(*token);
                }
            }),
            Self::Accepted { packet_id } => {
                out.record(kind::ACCEPTED, |out| out.packet_id(*packet_id));
            }
            Self::Released { packet_id } => {
                out.record(kind::RELEASED, |out| out.packet_id(*packet_id));
            }
            Self::PeerLost { resend } => {
                out.record(kind::PEER_LOST, |out| out.byte((*resend).into()));
            }
            Self::Cleared => out.record(kind::CLEARED, |_| {}),
        }
    }

    /// Reads a record; `None` if it is to be skipped.
    pub(super) fn read(record: Record<'_>) -> Result<Option<Self>, FormatError> {
        let mut body = record.body;
        let operation = match record.kind {
            kind::QUEUED => {
                let token = body.token()?;
                let (options, deadline) = read_delivery(&mut body)?;
                let message = read_message(&mut body)?;
                let field = "deadline";
                let follows = follows(&message);
                if deadline.is_some() && deadline == follows {
                    return Err(FormatError::OutOfRange { field });
                }
                Self::Queued {
                    token,
                    options,
                    expires_at: deadline
                        .or(follows)
                        .ok_or(FormatError::OutOfRange { field })?,
                    message,
                }
            }
            kind::SENT => Self::Sent {
                token: body.token()?,
                packet_id: body.packet_id()?,
            },
            kind::TAKEN => Self::Taken {
                packet_id: body.packet_id()?,
                token: (!body.is_empty()).then(|| body.token()).transpose()?,
            },
            kind::COMPLETED => Self::Completed {
                packet_id: body.packet_id()?,
            },
            kind::GIVEN_UP => read_given_up(&mut body)?,
            kind::ACCEPTED => Self::Accepted {
                packet_id: body.packet_id()?,
            },
            kind::RELEASED => Self::Released {
                packet_id: body.packet_id()?,
            },
            kind::PEER_LOST => Self::PeerLost {
                resend: match body.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(FormatError::OutOfRange { field: "resend" }),
                },
            },
            kind::CLEARED => Self::Cleared,
            _ => return record.skip().map(|()| None),
        };
        body.finish()?;
        Ok(Some(operation))
    }
}

fn read_given_up(body: &mut Reader<'_>) -> Result<Operation, FormatError> {
    let token = body.token()?;
    if body.is_empty() {
        return Ok(Operation::GivenUp { token });
    }
    let mut tokens = Vec::from([token]);
    while !body.is_empty() {
        tokens.push(body.token()?);
    }
    let tokens: Box<[PublishToken]> = tokens.into();
    Ok(Operation::Swept { tokens })
}
