//! The receiving half: which messages have arrived, and which acknowledgements are due.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use mqttstack_codec::{Ack, Delivery, PacketId, PacketType, Properties, QoS, ReasonCode, Shared};

use super::responses::{AckKind, Responses};
use crate::{
    ProtocolError,
    fault::{self, Fault},
    journal::{Journal, Operation, OperationSequence},
};

/// With more acknowledgements than this owed, they are looked up in an index.
const UNINDEXED_MAX: usize = 16;

/// What the receiving half keeps for as long as the session lives: the QoS 2 messages that have
/// arrived and are not released.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbound {
    /// `None` while there are none, and have been none for a while.
    #[expect(
        clippy::box_collection,
        reason = "one word instead of three, in every connection"
    )]
    received: Option<Box<BTreeMap<PacketId, Received>>>,
}

/// The same messages, whether there was room for more or not.
impl PartialEq for Inbound {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Inbound {}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Received {
    verdict: Verdict,
    /// Whether it counts against the Receive Maximum of the present connection.
    counted: bool,
    /// The number of the PUBREC for it that waits for its turn.
    owed: Option<u64>,
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
    decision: Decision,
}

#[derive(Clone, Debug)]
enum Decision {
    Open,
    Made {
        reason: ReasonCode,
        properties: Option<Box<Properties<Shared>>>,
        /// It leaves when this is stored.
        after: OperationSequence,
    },
    /// The message has been released: nothing is owed any more.
    Forgiven,
}

/// The acknowledgements of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledger {
    /// `None` while nothing is owed, and nothing has been for a while.
    debts: Option<Box<Debts>>,
    /// QoS 1 and 2 messages that the peer counts as outstanding.
    outstanding: u16,
    receive_maximum: u16,
    /// Whether acknowledgements can carry an error.
    has_reasons: bool,
}

/// What is owed.
#[derive(Clone, Debug, Default)]
struct Debts {
    owed: VecDeque<Owed>,
    /// The number of the first that is owed; they count up.
    first_owed: u64,
    /// Those that are open, by identifier and number, while many are owed.
    open: Option<BTreeSet<(PacketId, u64)>>,
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
    fn get(&self, packet_id: PacketId) -> Option<&Received> {
        self.received.as_ref()?.get(&packet_id)
    }

    fn get_mut(&mut self, packet_id: PacketId) -> Option<&mut Received> {
        self.received.as_mut()?.get_mut(&packet_id)
    }

    fn insert(&mut self, packet_id: PacketId, received: Received) -> Option<Received> {
        let all = self.received.get_or_insert_default();
        all.insert(packet_id, received)
    }

    fn remove(&mut self, packet_id: PacketId) -> Option<Received> {
        self.received.as_mut()?.remove(&packet_id)
    }

    fn iter(&self) -> impl Iterator<Item = (&PacketId, &Received)> {
        self.received.iter().flat_map(|received| received.iter())
    }

    fn retain(&mut self, mut is_kept: impl FnMut(&Received) -> bool) {
        if let Some(received) = &mut self.received {
            received.retain(|_, received| is_kept(received));
        }
    }

    /// Lets go of the memory that nothing needs now.
    pub(crate) fn rest(&mut self) {
        self.received.take_if(|received| received.is_empty());
    }

    /// Leaves a connection: nothing counts against the Receive Maximum of the next, and what was
    /// refused in a PUBREC that may not have arrived comes anew.
    pub(crate) fn on_disconnected(&mut self) {
        if fault::is_on(Fault::ForgetReceived) {
            self.clear();
        }
        self.retain(|received| received.verdict != Verdict::Refused);
        for received in self.received.iter_mut().flat_map(|all| all.values_mut()) {
            received.counted = false;
            received.owed = None;
        }
    }

    /// Forgets what was not accepted: it arrives anew.
    pub(crate) fn forget_undecided(&mut self) {
        self.retain(|received| received.verdict == Verdict::Accepted);
    }

    /// Decides about a message whose PUBREC is not owed now: it came on a connection that is gone.
    /// What is refused arrives anew, to be refused in its PUBREC.
    pub(crate) fn acknowledge(
        &mut self,
        packet_id: PacketId,
        reason: ReasonCode,
        journal: &mut Journal,
    ) {
        if let Some(received) = self.get_mut(packet_id)
            && received.verdict == Verdict::Undecided
        {
            received.verdict = Verdict::of(reason);
            if reason.is_error() {
                self.remove(packet_id);
            } else {
                journal.record(|| Operation::Accepted { packet_id });
            }
        }
    }

    /// Enters a message that was accepted elsewhere; returns false if its identifier is known.
    pub(crate) fn enter_accepted(&mut self, packet_id: PacketId) -> bool {
        let accepted = Received {
            verdict: Verdict::Accepted,
            counted: false,
            owed: None,
        };
        self.insert(packet_id, accepted).is_none()
    }

    /// Strikes out a message that was released elsewhere; returns false if nobody knows it.
    pub(crate) fn strike_out(&mut self, packet_id: PacketId) -> bool {
        self.remove(packet_id).is_some()
    }

    /// Returns the messages that have been accepted and not released.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = PacketId> {
        let accepted = |received: &Received| received.verdict == Verdict::Accepted;
        self.iter()
            .filter_map(move |(id, received)| accepted(received).then_some(*id))
    }

    /// Forgets everything: the session is lost.
    pub(crate) fn clear(&mut self) {
        self.received = None;
    }

    pub(crate) fn len(&self) -> usize {
        self.received.as_ref().map_or(0, |received| received.len())
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
            debts: None,
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
        journal: &Journal,
        out: &mut Responses,
    ) -> Result<Novelty, ProtocolError> {
        match delivery {
            Delivery::AtMostOnce => Ok(Novelty::New),
            Delivery::AtLeastOnce { packet_id, .. } => {
                self.count()?;
                self.debts()
                    .owe(packet_id, QoS::AtLeastOnce, Decision::Open);
                Ok(Novelty::New)
            }
            Delivery::ExactlyOnce { packet_id, .. } => {
                self.on_exactly_once(inbound, packet_id, journal, out)
            }
        }
    }

    fn on_exactly_once(
        &mut self,
        inbound: &mut Inbound,
        packet_id: PacketId,
        journal: &Journal,
        out: &mut Responses,
    ) -> Result<Novelty, ProtocolError> {
        let Some(known) = inbound.get_mut(packet_id) else {
            self.count()?;
            let number = self
                .debts()
                .owe(packet_id, QoS::ExactlyOnce, Decision::Open);
            let received = Received {
                verdict: Verdict::Undecided,
                counted: true,
                owed: Some(number),
            };
            inbound.insert(packet_id, received);
            return Ok(Novelty::New);
        };
        if !known.counted {
            known.counted = true;
            self.count()?;
        }
        // A PUBREC that is owed already answers this repeat as well, so that a peer which repeats
        // itself costs no memory.
        if known.owed.is_none() {
            let decision = match known.verdict {
                Verdict::Undecided => Decision::Open,
                Verdict::Accepted | Verdict::Refused => Decision::Made {
                    reason: ReasonCode::Success,
                    properties: None,
                    // That it was accepted is among what has been recorded.
                    after: journal.recorded(),
                },
            };
            known.owed = Some(self.debts().owe(packet_id, QoS::ExactlyOnce, decision));
            self.release(inbound, journal, out);
        }
        if fault::is_on(Fault::DeliverRepeat) {
            return Ok(Novelty::New);
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
        journal: &mut Journal,
        out: &mut Responses,
    ) {
        // MQTT 3.x cannot refuse: the message is acknowledged and goes no further.
        let reason = match self.has_reasons {
            true => reason,
            false => ReasonCode::Success,
        };
        let debts = self.debts.as_mut();
        if properties.is_empty() && debts.is_some_and(|debts| debts.settle_only(packet_id)) {
            self.uncount();
            let reason = out.fit().code(reason, PacketType::PubAck);
            return out.ack(AckKind::PubAck, packet_id, reason);
        }
        let open = self
            .debts
            .as_mut()
            .and_then(|debts| debts.take_open(packet_id));
        let Some(owed) = open else {
            inbound.acknowledge(packet_id, reason, journal);
            return;
        };
        let packet_type = match owed.qos {
            QoS::ExactlyOnce => PacketType::PubRec,
            QoS::AtMostOnce | QoS::AtLeastOnce => PacketType::PubAck,
        };
        let reason = out.fit().code(reason, packet_type);
        let mut after = OperationSequence::default();
        if owed.qos == QoS::ExactlyOnce
            && let Some(received) = inbound.get_mut(packet_id)
        {
            received.verdict = Verdict::of(reason);
            if received.verdict == Verdict::Accepted {
                journal.record(|| Operation::Accepted { packet_id });
                if !fault::is_on(Fault::EarlyPubrec) {
                    after = journal.recorded();
                }
            }
        }
        owed.decision = Decision::Made {
            reason,
            properties: (!properties.is_empty()).then(|| Box::new(properties)),
            after,
        };
        self.release(inbound, journal, out);
    }

    /// Sends the acknowledgements that nothing holds back.
    pub(crate) fn release(
        &mut self,
        inbound: &mut Inbound,
        journal: &Journal,
        out: &mut Responses,
    ) {
        while let Some(Owed {
            packet_id,
            qos,
            decision,
        }) = self.debts.as_mut().and_then(|debts| debts.pop_due(journal))
        {
            let Decision::Made {
                reason, properties, ..
            } = decision
            else {
                continue;
            };
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
            inbound.remove(packet_id);
            self.uncount();
        } else if let Some(received) = inbound.get_mut(packet_id) {
            received.owed = None;
        }
    }

    /// Handles PUBREL, and returns how it is to be answered.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.3.3-11; v3.1.1 MQTT-4.3.3-2: an identifier that nobody knows is answered, too.
    pub(crate) fn on_pubrel(
        &mut self,
        inbound: &mut Inbound,
        packet_id: PacketId,
        journal: &mut Journal,
    ) -> Result<ReasonCode, ProtocolError> {
        match inbound.get(packet_id).copied() {
            Some(Received {
                verdict: Verdict::Accepted,
                counted,
                owed,
            }) => {
                inbound.remove(packet_id);
                if counted {
                    self.uncount();
                }
                let debts = self.debts.as_mut().zip(owed);
                if let Some(owed) = debts.and_then(|(debts, number)| debts.owed_mut(number)) {
                    owed.decision = Decision::Forgiven;
                }
                journal.record(|| Operation::Released { packet_id });
                Ok(ReasonCode::Success)
            }
            // It releases what this side has not taken.
            Some(_) => Err(ProtocolError::AckMismatch {
                packet_type: PacketType::PubRel,
                packet_id,
            }),
            None if self.has_reasons => Ok(ReasonCode::PacketIdentifierNotFound),
            None => Ok(ReasonCode::Success),
        }
    }

    /// Returns how many messages wait for a decision or behind one.
    pub(crate) fn owed(&self) -> usize {
        self.debts.as_ref().map_or(0, |debts| debts.owed.len())
    }

    /// Returns how many bytes of memory the acknowledgements take.
    pub(crate) fn bytes(&self) -> usize {
        self.owed().saturating_mul(size_of::<Owed>())
    }

    /// Lets go of the memory that nothing needs now.
    pub(crate) fn rest(&mut self) {
        self.debts.take_if(|debts| debts.owed.is_empty());
    }

    fn debts(&mut self) -> &mut Debts {
        self.debts.get_or_insert_default()
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

impl Debts {
    /// Notes an acknowledgement that is owed, and returns its number.
    fn owe(&mut self, packet_id: PacketId, qos: QoS, decision: Decision) -> u64 {
        let number = self.number_of(self.owed.len());
        let is_open = matches!(decision, Decision::Open);
        self.owed.push_back(Owed {
            packet_id,
            qos,
            decision,
        });
        if let Some(open) = &mut self.open {
            if is_open {
                open.insert((packet_id, number));
            }
        } else if self.owed.len() > UNINDEXED_MAX {
            let numbered = (self.first_owed..).zip(&self.owed);
            let open = numbered.filter(|(_, owed)| matches!(owed.decision, Decision::Open));
            let open = open.map(|(number, owed)| (owed.packet_id, number));
            self.open = Some(open.collect());
        }
        number
    }

    /// Takes out the only acknowledgement that is owed, if it is an open one of QoS 1 for this
    /// identifier: the usual case, where each message is decided before the next one arrives.
    fn settle_only(&mut self, packet_id: PacketId) -> bool {
        let is_it = |owed: &Owed| {
            owed.packet_id == packet_id
                && owed.qos == QoS::AtLeastOnce
                && matches!(owed.decision, Decision::Open)
        };
        if self.owed.len() != 1 || !self.owed.front().is_some_and(is_it) {
            return false;
        }
        self.owed.clear();
        self.open = None;
        self.first_owed = self.first_owed.wrapping_add(1);
        true
    }

    /// Takes the first out, if nothing holds it back.
    fn pop_due(&mut self, journal: &Journal) -> Option<Owed> {
        let is_due = match &self.owed.front()?.decision {
            Decision::Open => false,
            Decision::Made { after, .. } => journal.is_stored(*after),
            Decision::Forgiven => true,
        };
        if !is_due {
            let may_overtake =
                fault::is_on(Fault::PubackOutOfTurn) || fault::is_on(Fault::PubrecOutOfTurn);
            return may_overtake.then(|| self.pop_out_of_turn(journal))?;
        }
        let first = self.owed.pop_front()?;
        self.first_owed = self.first_owed.wrapping_add(1);
        if self.owed.is_empty() {
            self.open = None;
        }
        Some(first)
    }

    /// Takes one out whose turn has not come, which is a [fault](crate::fault).
    fn pop_out_of_turn(&mut self, journal: &Journal) -> Option<Owed> {
        let overtakes = |owed: &Owed| match (&owed.decision, owed.qos) {
            (Decision::Open | Decision::Forgiven, _) => false,
            (Decision::Made { after, .. }, QoS::ExactlyOnce) => {
                fault::is_on(Fault::PubrecOutOfTurn) && journal.is_stored(*after)
            }
            (Decision::Made { after, .. }, QoS::AtMostOnce | QoS::AtLeastOnce) => {
                fault::is_on(Fault::PubackOutOfTurn) && journal.is_stored(*after)
            }
        };
        let owed = self.owed.iter_mut().find(|owed| overtakes(owed))?;
        Some(Owed {
            packet_id: owed.packet_id,
            qos: owed.qos,
            decision: core::mem::replace(&mut owed.decision, Decision::Forgiven),
        })
    }

    /// Returns the oldest acknowledgement for an identifier that is open; it is about to be decided.
    fn take_open(&mut self, packet_id: PacketId) -> Option<&mut Owed> {
        let Some(index) = &mut self.open else {
            return self.owed.iter_mut().find(|owed| {
                owed.packet_id == packet_id && matches!(owed.decision, Decision::Open)
            });
        };
        let all = (packet_id, 0)..=(packet_id, u64::MAX);
        let found = *index.range(all).next()?;
        index.remove(&found);
        self.owed_mut(found.1)
    }

    fn owed_mut(&mut self, number: u64) -> Option<&mut Owed> {
        let at = usize::try_from(number.checked_sub(self.first_owed)?).ok()?;
        self.owed.get_mut(at)
    }

    fn number_of(&self, at: usize) -> u64 {
        self.first_owed
            .saturating_add(u64::try_from(at).unwrap_or(u64::MAX))
    }
}
