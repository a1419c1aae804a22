//! The exchange of messages over one connection: the QoS engine that both roles share.

mod alias;
mod exchanges;
mod fit;
mod gate;
mod inbound;
mod outbound;
mod outbox;
mod outgoing;
mod quota;
mod responses;
mod state;
#[cfg(test)]
mod tests;
mod window;

use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};

use mqttstack_codec::{
    Delivery, EncodeError, Packet, PacketId, Properties, ProtocolVersion, Publish, QoS, ReasonCode,
    Sender, Shared, Sink, Storage,
};
use mqttstack_limits::{Instant, Limits, PROTOCOL_PACKET_SIZE_MAX};

use self::{
    alias::{InboundAliases, OutboundAliases},
    gate::{Answer, Gate},
    inbound::{Acknowledger, Novelty},
    outgoing::{encode_fleeting, encode_queued},
    quota::Quota,
    responses::AckKind,
};
pub(crate) use self::{
    exchanges::Completion,
    fit::{Fit, permitted},
    outbound::{Awaited, Queued},
    responses::Responses,
};
pub use self::{
    outbound::{DeliveryOptions, PublishToken, QueueStatus, SubscriptionIds, Undelivered},
    outgoing::{Encoded, Outgoing, OutgoingPublish},
    state::SessionState,
};
use crate::{
    Message, MessagePool, ProtocolError, PublishError,
    fault::{self, Fault},
    journal::OperationSequence,
};

/// What the peer said it can take, in CONNECT or CONNACK.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerLimits {
    pub(crate) receive_maximum: u16,
    pub(crate) packet_size_max: u32,
    pub(crate) topic_alias_maximum: u16,
    /// A client takes every QoS.
    pub(crate) maximum_qos: QoS,
    /// A client takes every RETAIN flag.
    pub(crate) retain_available: bool,
    /// Whether the peer wants Reason Strings and User Properties on all packets.
    pub(crate) problem_information: bool,
}

/// A message that has arrived.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// The message.
    pub message: Message,
    /// The identifier under which it is to be acknowledged; `None` at QoS 0.
    pub packet_id: Option<PacketId>,
}

/// The exchange of messages over one connection, on top of the state of its session.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) state: SessionState,
    limits: Arc<Limits>,
    quota: Quota,
    /// Messages in flight from before this connection that have to be sent again, in order; mostly
    /// there are none.
    #[expect(
        clippy::box_collection,
        reason = "one word instead of four, in every connection"
    )]
    resend: Option<Box<VecDeque<PacketId>>>,
    /// What waits for the store, where a journal is kept.
    gate: Option<Box<Gate>>,
    responses: Responses,
    acknowledger: Acknowledger,
    inbound_aliases: InboundAliases,
    outbound_aliases: OutboundAliases,
    /// The highest QoS that the peer takes.
    maximum_qos: QoS,
    /// Whether the peer takes messages that are to be retained.
    retain_available: bool,
}

impl Flow {
    /// Takes up the state of a session on a connection that has just been accepted; `first`, if
    /// any, is sent before all else. `local` is the role of this side.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.3.2-7, v5 MQTT-4.4.0-1, v5 MQTT-4.9.0-1; v3.1.1 MQTT-4.4.0-1; V31-reconnect.
    pub(crate) fn new(
        state: SessionState,
        version: ProtocolVersion,
        local: Sender,
        limits: Arc<Limits>,
        peer: PeerLimits,
        first: Option<Packet>,
    ) -> Self {
        let has_reasons = version == ProtocolVersion::V5;
        let (aliases_in, aliases_out) = if has_reasons {
            let used = limits.topic_aliases_used_max.min(peer.topic_alias_maximum);
            (limits.topic_alias_maximum, used)
        } else {
            (0, 0)
        };
        // A 3.x peer cannot be told of a Receive Maximum: its identifiers are the bound.
        let receive_maximum = if has_reasons {
            limits.receive_maximum.max(1)
        } else {
            u16::MAX
        };
        let mut responses = Responses::new(Fit {
            version,
            sender: local,
            packet_size_max: peer.packet_size_max,
            problem_information: peer.problem_information,
        });
        if let Some(packet) = first {
            responses.push(packet);
        }
        let in_flight = state.outbound.ids_in_order();
        let mut flow = Self {
            quota: Quota::new(
                limits.inflight_max.min(peer.receive_maximum).max(1),
                in_flight.iter().copied(),
            ),
            resend: None,
            gate: Gate::new(&state.journal),
            responses,
            acknowledger: Acknowledger::new(receive_maximum, has_reasons),
            inbound_aliases: InboundAliases::new(aliases_in),
            outbound_aliases: OutboundAliases::new(aliases_out),
            maximum_qos: peer.maximum_qos,
            retain_available: peer.retain_available,
            limits,
            state,
        };
        #[cfg(mqttstack_faults)]
        if fault::is_on(Fault::KeepAliases) {
            let earlier = core::mem::take(&mut flow.state.aliases);
            flow.outbound_aliases.keep(earlier);
        }
        flow.plan_resend(in_flight);
        flow
    }

    /// Everything unacknowledged is sent again: PUBREL, which no window holds back, at once and
    /// PUBLISH as the window allows, each in its order.
    fn plan_resend(&mut self, in_flight: VecDeque<PacketId>) {
        if fault::is_on(Fault::NoResend) {
            return;
        }
        for id in in_flight {
            match self.state.outbound.exchange(id) {
                Some(Awaited::PubAck(_) | Awaited::PubRec(_)) => {
                    self.resend.get_or_insert_default().push_back(id);
                }
                Some(Awaited::PubComp(_)) => self.release(id),
                Some(Awaited::SubAck { .. } | Awaited::UnsubAck { .. }) | None => {}
            }
        }
    }

    /// Handles a received PUBLISH. `None` means that there is nothing to deliver: a repeat, or a
    /// message that was refused in its acknowledgement.
    pub(crate) fn on_publish<S: Storage>(
        &mut self,
        publish: &Publish<S>,
        pool: &mut MessagePool,
        now: Instant,
    ) -> Result<Option<Arrival>, ProtocolError> {
        let alias = publish.properties.topic_alias();
        // An alias is set even if its message is refused.
        let topic = self
            .inbound_aliases
            .resolve(S::text(&publish.topic), alias)?;
        let novelty = self.acknowledger.on_publish(
            &mut self.state.inbound,
            publish.delivery,
            &self.state.journal,
            &mut self.responses,
        )?;
        if novelty == Novelty::Repeat {
            return Ok(None);
        }
        let packet_id = publish.delivery.packet_id();
        let payload_len = u64::try_from(publish.payload.as_ref().len()).unwrap_or(u64::MAX);
        if payload_len > u64::from(self.limits.payload_size_max) {
            if let Some(packet_id) = packet_id {
                self.acknowledge(packet_id, ReasonCode::QuotaExceeded, Properties::empty());
            }
            return Ok(None);
        }
        Ok(Some(Arrival {
            message: Message::from_publish_in(pool, publish, topic, now),
            packet_id,
        }))
    }

    /// Decides about a received QoS 1 or 2 message.
    pub(crate) fn acknowledge(
        &mut self,
        packet_id: PacketId,
        reason: ReasonCode,
        properties: Properties<Shared>,
    ) {
        self.acknowledger.acknowledge(
            &mut self.state.inbound,
            packet_id,
            reason,
            properties,
            &mut self.state.journal,
            &mut self.responses,
        );
    }

    /// The store has made everything up to `sequence` durable: what waited for it may go.
    pub(crate) fn handle_stored(&mut self, sequence: OperationSequence) {
        self.state.journal.handle_stored(sequence);
        self.release_stored();
    }

    /// Nothing is recorded any longer: nothing has to wait for the store.
    pub(crate) fn drop_journal(&mut self) {
        self.state.drop_journal();
        self.release_stored();
    }

    /// Lets the answers go that nothing holds any longer.
    fn release_stored(&mut self) {
        let state = &mut self.state;
        self.acknowledger
            .release(&mut state.inbound, &state.journal, &mut self.responses);
        let Some(gate) = &mut self.gate else { return };
        while let Some(answer) = gate.next_answer(&state.journal) {
            self.responses
                .ack(answer.kind, answer.packet_id, answer.reason);
        }
    }

    /// Answers the peer, once what the answer says is stored.
    fn answer(&mut self, kind: AckKind, packet_id: PacketId, reason: ReasonCode) {
        let answer = Answer {
            kind,
            packet_id,
            reason,
        };
        let is_early = match kind {
            AckKind::PubRel => fault::is_on(Fault::EarlyPubrel),
            AckKind::PubComp => fault::is_on(Fault::EarlyPubcomp),
            AckKind::PubAck | AckKind::PubRec => false,
        };
        let due = match &mut self.gate {
            Some(gate) if !is_early => gate.hold_answer(answer, &self.state.journal),
            Some(_) | None => Some(answer),
        };
        if let Some(due) = due {
            self.responses.ack(due.kind, due.packet_id, due.reason);
        }
    }

    /// Returns how many received messages wait for their acknowledgement.
    pub(crate) fn owed_acknowledgements(&self) -> usize {
        self.acknowledger.owed()
    }

    /// Returns how many bytes of memory the answers take that wait to be sent or decided.
    pub(crate) fn response_bytes(&self) -> usize {
        self.responses
            .bytes()
            .saturating_add(self.acknowledger.bytes())
            .saturating_add(self.gate.as_ref().map_or(0, |gate| gate.bytes()))
    }

    /// Returns how many bytes of memory the topics take that have an alias.
    pub(crate) fn alias_bytes(&self) -> usize {
        let inbound = self.inbound_aliases.bytes();
        inbound.saturating_add(self.outbound_aliases.bytes())
    }

    /// Checks that a peer that keeps asking also reads the answers.
    pub(crate) fn check_backlog(&self) -> Result<(), ProtocolError> {
        let bytes = self.response_bytes();
        let maximum = usize::try_from(self.limits.response_bytes_max).unwrap_or(usize::MAX);
        if bytes > maximum {
            return Err(ProtocolError::ResponsesNotRead);
        }
        Ok(())
    }

    /// Queues a message for the peer.
    pub(crate) fn publish(
        &mut self,
        message: Message,
        options: DeliveryOptions,
        now: Instant,
    ) -> Result<PublishToken, PublishError> {
        let state = &mut self.state;
        state
            .outbound
            .enqueue(message, options, &self.limits, now, &mut state.journal)
    }

    /// Returns the size of the packet that would carry the message now, in bytes.
    pub(crate) fn packet_size(
        &self,
        message: &Message,
        options: &DeliveryOptions,
        now: Instant,
    ) -> u64 {
        let delivery = match options.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            // Every identifier takes the same room.
            QoS::AtLeastOnce | QoS::ExactlyOnce => Delivery::AtLeastOnce {
                packet_id: PacketId::MIN,
                dup: false,
            },
        };
        let queued = Queued {
            token: PublishToken::new(0),
            expires_at: message.expires_at(now),
            message: message.clone(),
            options: options.clone(),
        };
        let size = OutgoingPublish::new(queued, delivery, now)
            .encoded_len(self.version(), &mut Vec::new());
        size.ok()
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or(u64::MAX)
    }

    /// Queues a packet that nothing holds back, without what the peer does not want to hear.
    /// Returns false, and drops it, if it is larger than the peer takes.
    pub(crate) fn respond(&mut self, packet: Packet) -> bool {
        self.responses.push(packet)
    }

    /// Queues PINGREQ.
    pub(crate) fn ping(&mut self) {
        self.responses.ping();
    }

    /// Queues PINGRESP.
    pub(crate) fn pong(&mut self) {
        self.responses.pong();
    }

    /// Returns how packets to the peer have to look.
    pub(crate) const fn fit(&self) -> Fit {
        self.responses.fit()
    }

    /// Returns the next packet to send.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.3.4-8, v5 MQTT-3.3.4-10, v5 MQTT-4.9.0-3: a window that is full holds back QoS 1
    /// and 2 messages and nothing else.
    pub(crate) fn poll_packet(&mut self, now: Instant) -> Option<Outgoing> {
        loop {
            // A message that is skipped may leave a PUBREL here.
            if let Some(packet) = self.responses.pop() {
                return Some(Outgoing::Packet(packet));
            }
            let mut publish = match self.next_stored(now).or_else(|| self.next_resend(now)) {
                Some(publish) => publish,
                None => {
                    let publish = self.next_new(now)?;
                    if self.has_to_wait(&publish) {
                        continue;
                    }
                    publish
                }
            };
            let result = self.admit(&mut publish);
            if let Err(why) = result {
                self.skip(&publish, why);
                continue;
            }
            let delivery = publish.delivery();
            if delivery.dup()
                && let Some(packet_id) = delivery.packet_id()
            {
                self.quota.spend(packet_id);
            }
            return Some(Outgoing::Publish(publish));
        }
    }

    /// Encodes the next packet to send.
    pub(crate) fn encode_next(
        &mut self,
        pool: &mut MessagePool,
        scratch: &mut Vec<u8>,
        out: &mut impl Sink,
        now: Instant,
    ) -> Option<Result<Encoded, EncodeError>> {
        let version = self.version();
        if !self.sends_as_queued() || self.state.outbound.is_next_large() {
            let packet = self.poll_packet(now)?;
            return Some(Encoded::of(packet, version, pool, scratch, out));
        }
        if let Some(result) = self.responses.encode_next(out) {
            return Some(result.map(|()| Encoded::Packet));
        }
        let (quota, bytes_max) = (self.may_send_new(), self.limits.inflight_bytes_max);
        let state = &mut self.state;
        let next = state
            .outbound
            .next_to_send(quota, bytes_max, now, &mut state.journal)?;
        let packet_id = next.delivery.packet_id();
        let payload = encode_queued(next.queued(), next.delivery, version, scratch, out, now);
        if let Some(message) = next.into_message() {
            pool.put(message);
        }
        if let Some(packet_id) = packet_id {
            self.quota.spend(packet_id);
        }
        Some(payload.map(Encoded::Publish))
    }

    /// Encodes a QoS 0 message that is handed over, if it would leave just so and at once; returns
    /// whether it has been.
    pub(crate) fn encode_at_once(
        &self,
        message: &Message,
        options: &DeliveryOptions,
        scratch: &mut Vec<u8>,
        out: &mut impl Sink,
    ) -> bool {
        options.qos == QoS::AtMostOnce
            && self.responses.is_empty()
            && self.state.outbound.has_nothing_waiting()
            && self.sends_as_queued()
            && message.is_lasting()
            && message.shared_payload().is_none()
            && message.size() <= usize::from(u16::MAX)
            && encode_fleeting(message, options, self.version(), scratch, out).is_ok()
    }

    /// Returns whether messages go out in the order in which they wait, each as it is: nothing waits
    /// for the store or is to be sent again, and the peer takes every message and wants no aliases.
    fn sends_as_queued(&self) -> bool {
        self.gate.is_none()
            && self.resend.is_none()
            && self.maximum_qos == QoS::ExactlyOnce
            && self.retain_available
            && self.fit().packet_size_max >= PROTOCOL_PACKET_SIZE_MAX
            && !self.outbound_aliases.is_in_use()
    }

    /// Moves the next message that waits into flight.
    fn next_new(&mut self, now: Instant) -> Option<OutgoingPublish> {
        let (quota, bytes_max) = (self.may_send_new(), self.limits.inflight_bytes_max);
        let state = &mut self.state;
        state
            .outbound
            .take_next(quota, bytes_max, now, &mut state.journal)
    }

    /// Counts a new message, and has it wait if it must: at QoS 2 until it is stored that it is in
    /// flight, at QoS 1 behind others that wait.
    fn has_to_wait(&mut self, publish: &OutgoingPublish) -> bool {
        let Some(packet_id) = publish.delivery().packet_id() else {
            return false;
        };
        self.quota.spend(packet_id);
        let Some(gate) = &mut self.gate else {
            return false;
        };
        let waits = (publish.delivery().qos() == QoS::ExactlyOnce || gate.holds_messages())
            && !fault::is_on(Fault::EarlyPublish);
        if waits {
            gate.hold_message(packet_id, &self.state.journal);
        }
        waits
    }

    /// Returns the next new message in flight that waited until that was stored.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.3.2-5: one that expired meanwhile was never sent, so its identifier is free.
    fn next_stored(&mut self, now: Instant) -> Option<OutgoingPublish> {
        loop {
            let packet_id = self.gate.as_mut()?.next_message(&self.state.journal)?;
            if let Some(token) = self.state.outbound.expired_in_flight(packet_id, now) {
                self.complete(packet_id);
                self.state.outbound.give_up(token, Undelivered::Expired);
                continue;
            }
            if let Some(publish) = self.in_flight(packet_id, false, now) {
                return Some(publish);
            }
        }
    }

    /// Returns whether a QoS 1 or 2 message may be sent that is not in flight yet, if there is none to
    /// be sent again. Messages that a peer never finishes count, over as many connections as it
    /// likes.
    fn may_send_new(&self) -> bool {
        let outbound = &self.state.outbound;
        (self.resend.is_none() || self.may_resend())
            && (self.quota.has_room() || fault::is_on(Fault::IgnoreReceiveMaximum))
            && outbound.messages_in_flight() < self.limits.inflight_max.max(1)
            && outbound.has_free_id()
    }

    fn may_resend(&self) -> bool {
        let gate = self.gate.as_ref();
        self.quota.has_room() && gate.is_none_or(|gate| gate.may_resend(&self.state.journal))
    }

    fn next_resend(&mut self, now: Instant) -> Option<OutgoingPublish> {
        while self.may_resend() {
            let packet_id = self.resend.as_mut()?.pop_front()?;
            self.resend.take_if(|resend| resend.is_empty());
            // It may have been answered before it was sent again.
            if let Some(publish) = self.in_flight(packet_id, true, now) {
                return Some(publish);
            }
        }
        None
    }

    /// Returns a message in flight that the peer has not taken.
    fn in_flight(&self, packet_id: PacketId, dup: bool, now: Instant) -> Option<OutgoingPublish> {
        let dup = dup && !fault::is_on(Fault::NoDup);
        let (queued, delivery) = match self.state.outbound.exchange(packet_id)? {
            Awaited::PubAck(queued) => (queued, Delivery::AtLeastOnce { packet_id, dup }),
            Awaited::PubRec(queued) => (queued, Delivery::ExactlyOnce { packet_id, dup }),
            Awaited::PubComp(_) | Awaited::SubAck { .. } | Awaited::UnsubAck { .. } => return None,
        };
        Some(OutgoingPublish::new(queued.clone(), delivery, now))
    }

    /// Checks that the peer takes the packet, and chooses a topic alias.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-24, v5 MQTT-3.2.2-11, v5 MQTT-3.2.2-14, v5 MQTT-3.2.2-15.
    fn admit(&mut self, publish: &mut OutgoingPublish) -> Result<(), Undelivered> {
        /// What a topic alias may add to a packet: the property, and one byte more for each of the
        /// two lengths.
        const ALIAS_BYTES: u64 = 5;
        if publish.delivery().qos() > self.maximum_qos {
            return Err(Undelivered::QosNotSupported);
        }
        if publish.retain() && !self.retain_available {
            return Err(Undelivered::RetainNotSupported);
        }
        let maximum = self.fit().packet_size_max.min(PROTOCOL_PACKET_SIZE_MAX);
        let mut room = u64::from(maximum);
        // What the protocol can express is measured only where it could be exceeded.
        if maximum < PROTOCOL_PACKET_SIZE_MAX || publish.message().size() > usize::from(u16::MAX) {
            let size = publish
                .encoded_len(self.version(), &mut Vec::new())
                .ok()
                .and_then(|size| u64::try_from(size).ok());
            room = size
                .and_then(|size| room.checked_sub(size))
                .ok_or(Undelivered::TooLarge)?;
        }
        if room >= ALIAS_BYTES && self.outbound_aliases.is_in_use() {
            publish.set_alias(self.outbound_aliases.assign(publish.message().topic()));
        }
        Ok(())
    }

    /// Goes on as if the message had been delivered (v5 MQTT-3.1.2-25).
    ///
    /// A QoS 2 message that an earlier connection sent may have arrived: its identifier is free only
    /// after the peer has released it (v5 MQTT-4.3.3-6), so its exchange is finished with PUBREL.
    fn skip(&mut self, publish: &OutgoingPublish, why: Undelivered) {
        match publish.delivery() {
            Delivery::AtMostOnce => {}
            Delivery::ExactlyOnce {
                packet_id,
                dup: true,
            } => {
                self.await_pubcomp(packet_id, None);
            }
            Delivery::AtLeastOnce { packet_id, .. } | Delivery::ExactlyOnce { packet_id, .. } => {
                self.complete(packet_id);
            }
        }
        self.state.outbound.give_up(publish.token(), why);
    }

    /// Returns whether [`poll_packet`](Self::poll_packet) may have something.
    pub(crate) fn has_packet(&self) -> bool {
        !self.responses.is_empty()
            || (self.gate.as_ref()).is_some_and(|gate| gate.has_message(&self.state.journal))
            || (self.may_resend() && self.resend.is_some())
            || self
                .state
                .outbound
                .has_next(self.may_send_new(), self.limits.inflight_bytes_max)
    }

    /// Takes the state out: the connection is gone.
    pub(crate) fn into_state(self) -> SessionState {
        self.into_parts().0
    }

    /// Takes the state out, and the answers that have not been sent: the connection is about to go.
    pub(crate) fn into_parts(mut self) -> (SessionState, Responses) {
        self.state.inbound.on_disconnected();
        self.state.outbound.drop_qos0();
        self.state.rest();
        #[cfg(mqttstack_faults)]
        {
            self.state.aliases = self.outbound_aliases;
        }
        (self.state, self.responses)
    }

    /// Lets go of the memory that nothing needs now.
    pub(crate) fn rest(&mut self) {
        self.state.rest();
        self.responses.rest();
        self.acknowledger.rest();
    }

    pub(crate) const fn version(&self) -> ProtocolVersion {
        self.fit().version
    }
}
