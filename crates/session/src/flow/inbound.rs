//! The receiving half: which messages have arrived, and which acknowledgements are due.

use alloc::collections::{BTreeMap, VecDeque};

use mqttstack_codec::{Ack, Delivery, Packet, PacketId, PacketType, QoS, ReasonCode};

use crate::ProtocolError;

/// What the receiving half keeps for as long as the session lives: the QoS 2 messages that have
/// arrived and are not released.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Inbound {
    received: BTreeMap<PacketId, Received>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Received {
    /// Whether it counts against the Receive Maximum of the present connection.
    counted: bool,
    /// Whether PUBREC has been decided.
    decided: bool,
}

/// An acknowledgement that is owed; they leave in the order of the messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Owed {
    packet_id: PacketId,
    qos: QoS,
    decision: Option<ReasonCode>,
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
pub(crate) enum Verdict {
    /// It is new.
    Deliver,
    /// It repeats a QoS 2 message that was delivered before.
    Repeat,
}

impl Inbound {
    /// Takes part in a new connection: nothing counts against its Receive Maximum yet, and what
    /// had not been acknowledged arrives anew.
    pub(crate) fn on_connected(&mut self) {
        self.received.retain(|_, received| received.decided);
        for received in self.received.values_mut() {
            received.counted = false;
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

impl Acknowledger {
    pub(crate) fn new(receive_maximum: u16, has_reasons: bool) -> Self {
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
        out: &mut VecDeque<Packet>,
    ) -> Result<Verdict, ProtocolError> {
        match delivery {
            Delivery::AtMostOnce => Ok(Verdict::Deliver),
            Delivery::AtLeastOnce { packet_id, .. } => {
                self.count()?;
                self.owed.push_back(Owed {
                    packet_id,
                    qos: QoS::AtLeastOnce,
                    decision: None,
                });
                Ok(Verdict::Deliver)
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
        out: &mut VecDeque<Packet>,
    ) -> Result<Verdict, ProtocolError> {
        let qos = QoS::ExactlyOnce;
        let Some(known) = inbound.received.get_mut(&packet_id) else {
            self.count()?;
            inbound.received.insert(
                packet_id,
                Received {
                    counted: true,
                    decided: false,
                },
            );
            self.owed.push_back(Owed {
                packet_id,
                qos,
                decision: None,
            });
            return Ok(Verdict::Deliver);
        };
        if !known.counted {
            known.counted = true;
            self.count()?;
        }
        if known.decided {
            self.owed.push_back(Owed {
                packet_id,
                qos,
                decision: Some(ReasonCode::Success),
            });
            self.release(inbound, out);
        }
        Ok(Verdict::Repeat)
    }

    /// Decides about a message; its acknowledgement leaves once those before it are decided.
    ///
    /// An identifier for which nothing is owed is ignored.
    pub(crate) fn acknowledge(
        &mut self,
        inbound: &mut Inbound,
        packet_id: PacketId,
        reason: ReasonCode,
        out: &mut VecDeque<Packet>,
    ) {
        let open = |owed: &&mut Owed| owed.packet_id == packet_id && owed.decision.is_none();
        let Some(owed) = self.owed.iter_mut().find(open) else {
            return;
        };
        // MQTT 3.x cannot refuse: the message is acknowledged and goes no further.
        let reason = if self.has_reasons {
            reason
        } else {
            ReasonCode::Success
        };
        owed.decision = Some(reason);
        if owed.qos == QoS::ExactlyOnce {
            if let Some(received) = inbound.received.get_mut(&packet_id) {
                received.decided = true;
            }
        }
        self.release(inbound, out);
    }

    /// Sends the acknowledgements that nothing holds back.
    fn release(&mut self, inbound: &mut Inbound, out: &mut VecDeque<Packet>) {
        while let Some(Owed {
            packet_id,
            qos,
            decision: Some(reason),
        }) = self.owed.front().copied()
        {
            self.owed.pop_front();
            let ack = Ack::with_reason(packet_id, reason);
            if qos == QoS::ExactlyOnce {
                if reason.is_error() {
                    inbound.received.remove(&packet_id);
                    self.uncount();
                }
                out.push_back(Packet::PubRec(ack));
            } else {
                self.uncount();
                out.push_back(Packet::PubAck(ack));
            }
        }
    }

    /// Answers PUBREL.
    pub(crate) fn on_pubrel(
        &mut self,
        inbound: &mut Inbound,
        packet_id: PacketId,
    ) -> Result<Packet, ProtocolError> {
        match inbound.received.get(&packet_id).copied() {
            Some(Received { decided: false, .. }) => Err(ProtocolError::AckMismatch {
                packet_type: PacketType::PubRel,
                packet_id,
            }),
            Some(Received { counted, .. }) => {
                inbound.received.remove(&packet_id);
                if counted {
                    self.uncount();
                }
                Ok(Packet::PubComp(Ack::new(packet_id)))
            }
            None if self.has_reasons => Ok(Packet::PubComp(Ack::with_reason(
                packet_id,
                ReasonCode::PacketIdentifierNotFound,
            ))),
            None => Ok(Packet::PubComp(Ack::new(packet_id))),
        }
    }

    /// Returns how many messages wait for a decision or behind one.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
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
