//! What waits until the store has caught up.

use alloc::{boxed::Box, collections::VecDeque};

use mqttstack_codec::{PacketId, ReasonCode};

use super::responses::AckKind;
use crate::{
    fault::{self, Fault},
    journal::{Journal, OperationSequence},
};

/// Packets of one connection that would promise what is not stored yet, in their order.
///
/// Both lists are made only where a journal is kept. The window of the peer bounds the messages, and
/// `response_bytes_max` the answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    /// PUBREL and PUBCOMP.
    answers: VecDeque<(OperationSequence, Answer)>,
    /// Messages in flight that have not been sent.
    messages: VecDeque<(OperationSequence, PacketId)>,
    /// What was recorded when the connection began: messages from before it are sent again once
    /// this is stored.
    resumed_after: OperationSequence,
}

/// An acknowledgement that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) kind: AckKind,
    pub(super) packet_id: PacketId,
    pub(super) reason: ReasonCode,
}

impl Gate {
    /// Makes the gate of a connection; there is none where nothing is recorded.
    pub(super) fn new(journal: &Journal) -> Option<Box<Self>> {
        journal.is_kept().then(|| {
            Box::new(Self {
                resumed_after: journal.recorded(),
                ..Self::default()
            })
        })
    }

    /// Has an answer wait until what has been recorded is stored; gives it back if nothing holds it.
    pub(super) fn hold_answer(&mut self, answer: Answer, journal: &Journal) -> Option<Answer> {
        let after = journal.recorded();
        if self.answers.is_empty() && journal.is_stored(after) {
            return Some(answer);
        }
        if fault::is_on(Fault::PubrelOutOfTurn) && answer.kind == AckKind::PubRel {
            self.answers.push_front((after, answer));
        } else {
            self.answers.push_back((after, answer));
        }
        None
    }

    /// Has a message wait until what has been recorded is stored.
    pub(super) fn hold_message(&mut self, packet_id: PacketId, journal: &Journal) {
        self.messages.push_back((journal.recorded(), packet_id));
    }

    /// Returns whether messages wait here: what comes next has to wait behind them.
    pub(super) fn holds_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Returns whether messages of earlier connections may be sent again.
    pub(super) fn may_resend(&self, journal: &Journal) -> bool {
        journal.is_stored(self.resumed_after)
    }

    /// Returns the next answer that nothing holds any longer.
    pub(super) fn next_answer(&mut self, journal: &Journal) -> Option<Answer> {
        let (after, answer) = *self.answers.front()?;
        if !journal.is_stored(after) {
            return None;
        }
        self.answers.pop_front();
        Some(answer)
    }

    /// Returns the next message that nothing holds any longer.
    pub(super) fn next_message(&mut self, journal: &Journal) -> Option<PacketId> {
        if !self.has_message(journal) {
            return None;
        }
        let (_, packet_id) = self.messages.pop_front()?;
        Some(packet_id)
    }

    /// Returns whether a message may be sent now.
    pub(super) fn has_message(&self, journal: &Journal) -> bool {
        self.messages
            .front()
            .is_some_and(|(after, _)| journal.is_stored(*after))
    }

    /// Returns how many bytes of memory the answers take.
    pub(super) fn bytes(&self) -> usize {
        let slot = size_of::<(OperationSequence, Answer)>();
        self.answers.len().saturating_mul(slot)
    }
}
