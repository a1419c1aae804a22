//! The subscribing half of a client: what it is to get, and the answers it owes.

use super::{
    ledger::{Checks, Expected, Fault, Ledger},
    wire::{AckType, ack},
};

/// Takes deliveries and acknowledges them at once.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) expected: Expected,
    /// What the client announced, or what holds without that.
    receive_maximum: u16,
    /// QoS 2 messages that have not been released, a bit for each identifier.
    unreleased: Vec<u64>,
    /// Messages whose last answer has not left.
    held: u32,
    /// Of these, how many have their answer on its way out.
    answered: u32,
}

/// A delivery at QoS 1 or 2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Acknowledged {
    Once(u16),
    Exactly(u16),
}

impl Receiver {
    pub(super) fn new(expected: Expected, receive_maximum: Option<u16>) -> Self {
        Self {
            expected,
            receive_maximum: receive_maximum.unwrap_or(u16::MAX),
            unreleased: Vec::new(),
            held: 0,
            answered: 0,
        }
    }

    /// Answers a delivery; returns whether it is a new one.
    pub(super) fn on_publish(
        &mut self,
        delivery: Acknowledged,
        out: &mut Vec<u8>,
        checks: &mut Checks,
    ) -> bool {
        let is_new = match delivery {
            Acknowledged::Once(packet_id) => {
                ack(out, AckType::PubAck, packet_id);
                self.answered += 1;
                true
            }
            Acknowledged::Exactly(packet_id) => {
                ack(out, AckType::PubRec, packet_id);
                !self.set_unreleased(packet_id, true)
            }
        };
        if !is_new {
            return false;
        }
        self.held += 1;
        if self.held > u32::from(self.receive_maximum) {
            let (held, maximum) = (self.held, self.receive_maximum);
            checks.note(Fault::BeyondReceiveMaximum, || {
                format!("{held} messages without an acknowledgement, {maximum} were allowed")
            });
        }
        true
    }

    /// The server releases a QoS 2 message.
    pub(super) fn on_pubrel(&mut self, packet_id: u16, out: &mut Vec<u8>, checks: &mut Checks) {
        if !self.set_unreleased(packet_id, false) {
            let what = || format!("PUBREL for {packet_id}, which was not received");
            checks.note(Fault::ProtocolError, what);
        }
        ack(out, AckType::PubComp, packet_id);
        self.answered += 1;
    }

    /// Answers have left: how many of them cannot be told, so all of them may have.
    pub(super) fn on_written(&mut self) {
        self.held = self.held.saturating_sub(self.answered);
        self.answered = 0;
    }

    pub(super) fn take(&mut self, ledger: &mut Ledger, topic: &str, payload: &[u8], now: u64) {
        ledger.receive(&mut self.expected, topic, payload, now);
    }

    /// Changes a bit and returns what it was.
    fn set_unreleased(&mut self, packet_id: u16, value: bool) -> bool {
        let (word, bit) = (usize::from(packet_id / 64), 1_u64 << (packet_id % 64));
        if self.unreleased.len() <= word {
            self.unreleased.resize(word + 1, 0);
        }
        let was = self.unreleased[word] & bit != 0;
        if value {
            self.unreleased[word] |= bit;
        } else {
            self.unreleased[word] &= !bit;
        }
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_receive_maximum_is_found() {
        let (mut out, mut checks) = (Vec::new(), Checks::default());
        let mut receiver = Receiver::new(Expected::new(0..1, false), Some(2));
        for id in [1, 2] {
            assert!(receiver.on_publish(Acknowledged::Once(id), &mut out, &mut checks));
        }
        assert!(checks.is_good());
        receiver.on_publish(Acknowledged::Once(3), &mut out, &mut checks);
        assert_eq!(checks.beyond_receive_maximum, 1);
        receiver.on_written();
        receiver.on_publish(Acknowledged::Once(1), &mut out, &mut checks);
        assert_eq!(checks.beyond_receive_maximum, 1);
    }

    #[test]
    fn a_qos_2_message_counts_until_it_is_released() {
        let (mut out, mut checks) = (Vec::new(), Checks::default());
        let mut receiver = Receiver::new(Expected::new(0..1, false), Some(1));
        assert!(receiver.on_publish(Acknowledged::Exactly(9), &mut out, &mut checks));
        assert!(!receiver.on_publish(Acknowledged::Exactly(9), &mut out, &mut checks));
        receiver.on_written();
        assert!(checks.is_good());
        receiver.on_publish(Acknowledged::Exactly(10), &mut out, &mut checks);
        assert_eq!(checks.beyond_receive_maximum, 1);
        receiver.on_pubrel(9, &mut out, &mut checks);
        receiver.on_pubrel(9, &mut out, &mut checks);
        assert_eq!(checks.protocol_errors, 1);
        let answers = [
            0x50, 2, 0, 9, 0x50, 2, 0, 9, 0x50, 2, 0, 10, 0x70, 2, 0, 9, 0x70, 2, 0, 9,
        ];
        assert_eq!(out, answers);
    }
}
