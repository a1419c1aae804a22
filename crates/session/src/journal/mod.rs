//! What a session changed, in small steps, so that a store can keep up with it.
//!
//! A session whose [state keeps a journal](crate::SessionState::keep_journal) turns each change of
//! what outlives its connection into an [`Operation`] and gives it the next [`OperationSequence`].
//! Its owner takes them with `poll_operation`, in order, writes them down, and says with
//! `handle_stored` up to which one they would survive a crash. A session that keeps none costs and
//! allocates nothing for it.
//!
//! # The contract
//!
//! The store keeps a prefix: if an operation is stored, so are all before it. What the owner has
//! drained in one go is stored whole or not at all; so a message that an owner hands to other
//! sessions and acknowledges before it drains is either with them and accepted, or neither.
//!
//! A crash may leave half of what was being written. The store has to know: a whole unit says how
//! long it is and has a checksum, and what follows the last whole one counts for nothing. A bare
//! [`FormatError::Truncated`] cannot tell a torn record from a damaged file.
//!
//! Then four kinds of packets wait, because the peer acts on them as on a promise:
//!
//! | packet | waits until this is stored | or else, after a crash |
//! | --- | --- | --- |
//! | PUBLISH at QoS 2 | [`Queued`](Operation::Queued) and [`Sent`](Operation::Sent) | the message goes out once more under another identifier: it is delivered twice |
//! | PUBREL | [`Taken`](Operation::Taken) | the PUBLISH is repeated after the receiver has forgotten its identifier: delivered twice |
//! | PUBREC without error | [`Accepted`](Operation::Accepted) | the repeat of the PUBLISH counts as new: delivered twice |
//! | PUBCOMP | [`Released`](Operation::Released) | the sender uses the identifier again, and the new message counts as a repeat: lost |
//!
//! The others need not wait. A PUBLISH at QoS 1 may come twice, under whatever identifier. PUBACK
//! says what the owner said: it calls `acknowledge` only when the message is safe with whom it is
//! for. A PUBREC with an error promises nothing. What ends an exchange
//! ([`Completed`](Operation::Completed)) may be lost: then PUBLISH at QoS 1, or PUBREL, is sent once
//! more, and both may be.
//!
//! What waits is bounded: messages by the window of the peer, acknowledgements by the Receive
//! Maximum and `response_bytes_max`. What waits keeps its order: acknowledgements leave in the order
//! of the messages, messages of QoS 1 behind one of QoS 2 that waits. A message of QoS 0 may pass
//! them.

mod form;
mod format;
mod image;
mod message_form;
mod record;
mod replay;
mod snapshot;
mod store_form;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, collections::VecDeque};

use mqttstack_codec::PacketId;
use mqttstack_limits::Instant;

pub use self::{
    format::{Epoch, FormatError},
    image::{ParcelNumber, Recovered, SessionNumber, StoreImage, StoreOperation},
    record::{Change, RecordedPresence, RecordedSubscription, SessionRecord},
    replay::ReplayError,
};
use crate::{DeliveryOptions, Message, PublishToken};

/// Counts the operations of one session; 0 is before the first.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OperationSequence(u64);

impl OperationSequence {
    /// Returns the place with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number of the place.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// One change of what a session keeps.
///
/// [`SessionState::apply`](crate::SessionState::apply) makes the same change elsewhere: a state that
/// was taken out, with all operations since, is the state as it is, but for the counts of messages
/// that were dropped and have expired: they go with a state that is written whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operation {
    /// A QoS 1 or 2 message waits, behind all others.
    Queued {
        /// Names it.
        token: PublishToken,
        /// The message.
        message: Message,
        /// How the peer gets it.
        options: DeliveryOptions,
        /// When it need not be sent any more; [`Instant::NEVER`] if that does not happen.
        expires_at: Instant,
    },
    /// A waiting message goes out under an identifier, which is in use from here on.
    Sent {
        /// The message.
        token: PublishToken,
        /// The identifier.
        packet_id: PacketId,
    },
    /// The peer has taken a QoS 2 message, or has to be asked to forget it: the message is gone, and
    /// only PUBREL is sent from here on.
    Taken {
        /// The identifier.
        packet_id: PacketId,
        /// Whom to tell when the identifier is free; `None` if the message was given up.
        token: Option<PublishToken>,
    },
    /// An exchange has ended: its identifier is free, and so is its message if there is one.
    Completed {
        /// The identifier.
        packet_id: PacketId,
    },
    /// A waiting message will not be sent: it expired, or had to make room.
    GivenUp {
        /// The message.
        token: PublishToken,
    },
    /// Several waiting messages have expired.
    Swept {
        /// The messages, in the order in which they came.
        tokens: Box<[PublishToken]>,
    },
    /// A received QoS 2 message has been accepted: a repeat of it is not delivered.
    Accepted {
        /// The identifier that its sender gave it.
        packet_id: PacketId,
    },
    /// The sender of an accepted message has released its identifier: it names a new message next.
    Released {
        /// The identifier.
        packet_id: PacketId,
    },
    /// The peer has lost its side of the session: what was in flight waits again at the head of the
    /// queue, or is given up, and nothing counts as received.
    PeerLost {
        /// Whether it waits again.
        resend: bool,
    },
    /// The session begins anew, empty.
    Cleared,
}

/// The operations of a session that have not been drained, if it keeps any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Option<Box<Pages>>);

#[derive(Clone, Debug, Default)]
struct Pages {
    pending: VecDeque<Operation>,
    recorded: OperationSequence,
    stored: OperationSequence,
}

impl Journal {
    pub(crate) fn keep(&mut self) {
        self.0.get_or_insert_default();
    }

    pub(crate) fn drop(&mut self) {
        self.0 = None;
    }

    pub(crate) const fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Records a change, if anybody wants to know.
    pub(crate) fn record(&mut self, operation: impl FnOnce() -> Operation) {
        if let Some(pages) = self.0.as_deref_mut() {
            pages.recorded.0 = pages.recorded.0.saturating_add(1);
            pages.pending.push_back(operation());
        }
    }

    pub(crate) fn poll(&mut self) -> Option<(OperationSequence, Operation)> {
        let pages = self.0.as_deref_mut()?;
        let pending = u64::try_from(pages.pending.len()).unwrap_or(u64::MAX);
        let operation = pages.pending.pop_front()?;
        if pages.pending.is_empty() && pages.pending.capacity() > PENDING_SLOTS_KEPT {
            pages.pending = VecDeque::new();
        }
        let before = pages.recorded.0.saturating_sub(pending);
        Some((OperationSequence(before.saturating_add(1)), operation))
    }

    /// Everything up to `sequence` would survive a crash.
    pub(crate) fn handle_stored(&mut self, sequence: OperationSequence) {
        if let Some(pages) = self.0.as_deref_mut() {
            pages.stored = pages.stored.max(sequence.min(pages.recorded));
        }
    }

    /// Returns the place of the last change.
    pub(crate) fn recorded(&self) -> OperationSequence {
        self.0
            .as_deref()
            .map_or(OperationSequence(0), |pages| pages.recorded)
    }

    /// Returns whether a place is stored; all are where nobody keeps a journal.
    pub(crate) fn is_stored(&self, sequence: OperationSequence) -> bool {
        self.0
            .as_deref()
            .is_none_or(|pages| sequence <= pages.stored)
    }
}

/// How much room for operations a session keeps while there are none.
const PENDING_SLOTS_KEPT: usize = 4;
