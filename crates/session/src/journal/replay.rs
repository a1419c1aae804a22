//! Operations made again, on a state that was taken out before them.

use alloc::collections::BTreeSet;

use mqttstack_codec::PacketId;

use super::Operation;
use crate::{PublishToken, SessionState, flow::Queued};

/// Why an operation does not fit a state; the state is as it was.
///
/// It means that operations are missing, out of order, or of another session.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// No message with this token waits.
    #[error("no message {} waits", token.get())]
    UnknownToken {
        /// The token.
        token: PublishToken,
    },
    /// The message with this token is not the one that has waited longest.
    #[error("message {} is not next", token.get())]
    NotNext {
        /// The token.
        token: PublishToken,
    },
    /// A message has a token that is not above those of the messages before it.
    #[error("message {} is out of order", token.get())]
    TokenOutOfOrder {
        /// The token.
        token: PublishToken,
    },
    /// The identifier is in use already.
    #[error("packet identifier {packet_id} is in use")]
    IdentifierInUse {
        /// The identifier.
        packet_id: PacketId,
    },
    /// The identifier is not in use, or for something else.
    #[error("packet identifier {packet_id} is not in use for this")]
    UnknownIdentifier {
        /// The identifier.
        packet_id: PacketId,
    },
    /// A message that waits for a peer that is away has QoS 0.
    #[error("a message of QoS 0 does not wait")]
    QosZero,
}

impl SessionState {
    /// Makes a change that was recorded elsewhere. Nothing is recorded here.
    ///
    /// [`Swept`](Operation::Swept) looks at all that waits: a session that records it has taken a
    /// message for every few of those since the last time.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if the operation does not fit what the state holds.
    pub fn apply(&mut self, operation: Operation) -> Result<(), ReplayError> {
        match operation {
            Operation::Queued {
                token,
                message,
                options,
                expires_at,
            } => self.outbound.apply_queued(Queued {
                token,
                message,
                options,
                expires_at,
            }),
            Operation::Sent { token, packet_id } => self.outbound.apply_sent(token, packet_id),
            Operation::Taken { packet_id, token } => self.outbound.apply_taken(packet_id, token),
            Operation::Completed { packet_id } => self.outbound.apply_completed(packet_id),
            Operation::GivenUp { token } => self.outbound.apply_given_up(&[token]),
            Operation::Swept { tokens } => self.outbound.apply_given_up(&tokens),
            Operation::Accepted { packet_id } => known(
                self.inbound.enter_accepted(packet_id),
                ReplayError::IdentifierInUse { packet_id },
            ),
            Operation::Released { packet_id } => known(
                self.inbound.strike_out(packet_id),
                ReplayError::UnknownIdentifier { packet_id },
            ),
            Operation::PeerLost { resend } => {
                self.inbound.clear();
                self.outbound.session_lost(resend);
                Ok(())
            }
            Operation::Cleared => {
                self.clear_unrecorded();
                Ok(())
            }
        }
    }

    /// Makes a change like [`apply`](Self::apply), but only notes what is given up behind others.
    pub(super) fn apply_with(
        &mut self,
        operation: Operation,
        given_up: &mut BTreeSet<PublishToken>,
    ) -> Result<(), ReplayError> {
        match operation {
            Operation::GivenUp { token } => self.outbound.note_given_up(&[token], given_up)?,
            Operation::Swept { tokens } => self.outbound.note_given_up(&tokens, given_up)?,
            Operation::Cleared => {
                given_up.clear();
                self.clear_unrecorded();
            }
            Operation::Queued { .. }
            | Operation::Sent { .. }
            | Operation::Taken { .. }
            | Operation::Completed { .. }
            | Operation::Accepted { .. }
            | Operation::Released { .. }
            | Operation::PeerLost { .. } => self.apply(operation)?,
        }
        // What is next is what waits.
        self.outbound.drop_given_up_heads(given_up);
        Ok(())
    }
}

fn known(is_known: bool, error: ReplayError) -> Result<(), ReplayError> {
    if is_known { Ok(()) } else { Err(error) }
}
