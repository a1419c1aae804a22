//! The receiving half: which messages have arrived, and which acknowledgements are due.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
};

use mqttstack_codec::{Ack, Delivery, PacketId, PacketType, Properties, QoS, ReasonCode, Shared};

use super::responses::{AckKind, Responses};
use crate::ProtocolError;

/// What the receiving half keeps for as long as the session lives: the QoS 2 messages that have
/// arrived and are not released.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Inbound {
    received: BTreeMap<PacketId, Received>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Received {
    verdict: Verdict,
    /// Whether it counts against the Receive Maximum of the present connection.
    counted: bool,
    /// Whether a PUBREC for it waits for its turn.
    owed: bool,
}

/// What was decided about a received message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Undecided,
    Accepted,
    /// Its PUBREC carries an error: once that is sent, the identifier means a new message.
    Refused,
}

/// An acknowledgement that is owed; they leave in the order of the messages.
#[derive(Clone, Debug)]
struct Owed {
    packet_id: PacketId,
    qos: QoS,
    decision: Option<Decision>,
}

#[derive(Clone, Debug)]
struct Decision {
    reason: ReasonCode,
    properties: Option<Box<Properties<Shared>>>,
}

/// The acknowledgements of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledger {
    owed: VecDeque<Owed>,
    /// QoS 1 and 2 messages that the peer counts as outstanding.
    outstanding: u16,
    receive_maximum: u16,
    /// Whether acknowledgements can carry an error.
    has_reasons: bool,
}

/// What to do with a received PUBLISH.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Novelty {
    /// It is new: deliver it.
    New,
    /// It repeats a QoS 2 message that was delivered before.
    Repeat,
}

impl Inbound {
    /// Takes part in a new connection: nothing counts against its Receive Maximum yet, and what was
    /// refused in a PUBREC that may not have arrived comes anew.
    pub(crate) fn on_connected(&mut self) {
        self.received
            .retain(|_, received| received.verdict != Verdict::Refused);
        for received in self.received.values_mut() {
            received.counted = false;
            received.owed = false;
        }
    }

    /// Forgets what was not accepted: it arrives anew.
    pub(crate) fn forget_undecided(&mut self) {
        self.received
            .retain(|_, received| received.verdict == Verdict::Accepted);
    }

    /// Decides about a message whose PUBREC is not owed now: it came on a connection that is gone.
    /// What is refused arrives anew, to be refused in its PUBREC.
    pub(crate) fn acknowledge(&mut self, packet_id: PacketId, reason: ReasonCode) {
        if let Some(received) = self.received.get_mut(&packet_id)
            && received.verdict == Verdict::Undecided
        {
            received.verdict = Verdict::of(reason);
            if reason.is_error() {
                self.received.remove(&packet_id);
            }
        }
    }

    /// Forgets everything: the session is lost.
    pub(crate) fn clear(&mut self) {
        self.received.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.received.len()
    }
}

impl Verdict {
    const fn of(reason: ReasonCode) -> Self {
        if reason.is_error() {
            Self::Refused
        } else {
            Self::Accepted
        }
    }
}

impl Acknowledger {
    pub(crate) const fn new(receive_maximum: u16, has_reasons: bool) -> Self {
        Self {
            owed: VecDeque::new(),
            outstanding: 0,
            receive_maximum,
            has_reasons,
        }
    }

    /// Notes a received PUBLISH and owes its acknowledgement.
    pub(crate) fn on_publish(
        &mut self,
        inbound: &mut Inbound,
        delivery: Delivery,
        out: &mut Responses,
    ) -> Result<Novelty, ProtocolError> {
        match delivery {
            Delivery::AtMostOnce => Ok(Novelty::New),
            Delivery::AtLeastOnce { packet_id, .. } => {
                self.count()?;
                self.owe(packet_id, QoS::AtLeastOnce, None);
                Ok(Novelty::New)
            }
            Delivery::ExactlyOnce { packet_id, .. } => {
                self.on_exactly_once(inbound, packet_id, out)
            }
        }
    }

    fn on_exactly_once(
        &mut self,
        inbound: &mut Inbound,
        packet_id: PacketId,
        out: &mut Responses,
    ) -> Result<Novelty, ProtocolError> {
        let Some(known) = inbound.received.get_mut(&packet_id) else {
            self.count()?;
            let received = Received {
                verdict: Verdict::Undecided,
                counted: true,
                owed: true,
            };
            inbound.received.insert(packet_id, received);
            self.owe(packet_id, QoS::ExactlyOnce, None);
            return Ok(Novelty::New);
        };
        if !known.counted {
            known.counted = true;
            self.count()?;
        }
        // A PUBREC that is owed already answers this repeat as well, so that a peer which repeats
        // itself costs no memory.
        if !known.owed {
            known.owed = true;
            let is_decided = known.verdict != Verdict::Undecided;
            let decision = is_decided.then_some(Decision {
                reason: ReasonCode::Success,
                properties: None,
            });
            self.owe(packet_id, QoS::ExactlyOnce, decision);
            self.release(inbound, out);
        }
        Ok(Novelty::Repeat)
    }

    /// Decides about a message; its acknowledgement leaves once those before it are decided.
    ///
    /// A QoS 2 message from before this connection, which its sender has yet to repeat, is decided
    /// all the same; an identifier for which nothing is open is ignored.
    pub(crate) fn acknowledge(
        &mut self,
        inbound: &mut Inbound,
        packet_id: PacketId,
        reason: ReasonCode,
        properties: Properties<Shared>,
        out: &mut Responses,
    ) {
        let open = |owed: &&mut Owed| owed.packet_id == packet_id && owed.decision.is_none();
        // MQTT 3.x cannot refuse: the message is acknowledged and goes no further.
        let reason = match self.has_reasons {
            true => reason,
            false => ReasonCode::Success,
        };
        let Some(owed) = self.owed.iter_mut().find(open) else {
            inbound.acknowledge(packet_id, reason);
            return;
        };
        let packet_type = match owed.qos {
            QoS::ExactlyOnce => PacketType::PubRec,
            QoS::AtMostOnce | QoS::AtLeastOnce => PacketType::PubAck,
        };
        let reason = out.fit().code(reason, packet_type);
        owed.decision = Some(Decision {
            reason,
            properties: (!properties.is_empty()).then(|| Box::new(properties)),
        });
        if owed.qos == QoS::ExactlyOnce
            && let Some(received) = inbound.received.get_mut(&packet_id)
        {
            received.verdict = Verdict::of(reason);
        }
        self.release(inbound, out);
    }

    /// Sends the acknowledgements that nothing holds back.
    fn release(&mut self, inbound: &mut Inbound, out: &mut Responses) {
        while let Some(first) = self.owed.front_mut() {
            let Some(Decision { reason, properties }) = first.decision.take() else {
                return;
            };
            let (packet_id, qos) = (first.packet_id, first.qos);
            self.owed.pop_front();
            let kind = if qos == QoS::ExactlyOnce {
                self.on_pubrec_sent(inbound, packet_id, reason);
                AckKind::PubRec
            } else {
                self.uncount();
                AckKind::PubAck
            };
            match properties {
                None => out.ack(kind, packet_id, reason),
                Some(properties) => {
                    out.push(kind.packet(Ack {
                        packet_id,
                        reason_code: reason,
                        properties: *properties,
                    }));
                }
            }
        }
    }

    fn on_pubrec_sent(&mut self, inbound: &mut Inbound, packet_id: PacketId, reason: ReasonCode) {
        if reason.is_error() {
            inbound.received.remove(&packet_id);
            self.uncount();
        } else if let Some(received) = inbound.received.get_mut(&packet_id) {
            received.owed = false;
        }
    }

    /// Answers PUBREL.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.3.3-11; v3.1.1 MQTT-4.3.3-2: an identifier that nobody knows is answered, too.
    pub(crate) fn on_pubrel(
        &mut self,
        inbound: &mut Inbound,
        packet_id: PacketId,
        out: &mut Responses,
    ) -> Result<(), ProtocolError> {
        let reason = match inbound.received.get(&packet_id).copied() {
            Some(Received {
                verdict: Verdict::Accepted,
                counted,
                owed,
            }) => {
                inbound.received.remove(&packet_id);
                if counted {
                    self.uncount();
                }
                if owed {
                    self.forgive(packet_id);
                }
                ReasonCode::Success
            }
            // It releases what this side has not taken.
            Some(_) => {
                return Err(ProtocolError::AckMismatch {
                    packet_type: PacketType::PubRel,
                    packet_id,
                });
            }
            None if self.has_reasons => ReasonCode::PacketIdentifierNotFound,
            None => ReasonCode::Success,
        };
        out.ack(AckKind::PubComp, packet_id, reason);
        Ok(())
    }

    fn owe(&mut self, packet_id: PacketId, qos: QoS, decision: Option<Decision>) {
        self.owed.push_back(Owed {
            packet_id,
            qos,
            decision,
        });
    }

    /// Drops a PUBREC that waits: the message has been released.
    fn forgive(&mut self, packet_id: PacketId) {
        self.owed
            .retain(|owed| owed.packet_id != packet_id || owed.qos != QoS::ExactlyOnce);
    }

    /// Returns how many messages wait for a decision or behind one.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Returns how many bytes of memory the acknowledgements take.
    pub(crate) fn bytes(&self) -> usize {
        self.owed.len().saturating_mul(size_of::<Owed>())
    }

    fn count(&mut self) -> Result<(), ProtocolError> {
        if self.outstanding >= self.receive_maximum {
            let receive_maximum = self.receive_maximum;
            return Err(ProtocolError::ReceiveMaximumExceeded { receive_maximum });
        }
        self.outstanding = self.outstanding.saturating_add(1);
        Ok(())
    }

    fn uncount(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }
}
