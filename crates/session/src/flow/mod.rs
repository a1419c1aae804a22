//! The exchange of messages over one connection: the QoS engine that both roles share.

mod alias;
mod inbound;
mod outbound;
mod outgoing;
mod state;
mod window;

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};

use mqttstack_codec::{
    Ack, Delivery, Packet, PacketId, PacketType, PropertyId, ProtocolVersion, Publish, QoS,
    ReasonCode, Storage,
};
use mqttstack_limits::{Instant, Limits};

pub(crate) use self::outbound::Exchange;
use self::{
    alias::{InboundAliases, OutboundAliases},
    inbound::{Acknowledger, Verdict},
    outbound::Queued,
};
pub use self::{
    outbound::{DeliveryOptions, PublishToken, QueueStatus, SubscriptionIds, Undelivered},
    outgoing::{Outgoing, OutgoingPublish},
    state::SessionState,
};
use crate::{Message, ProtocolError, PublishError};

/// What the peer said it can take, in CONNECT or CONNACK.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerLimits {
    pub(crate) receive_maximum: u16,
    pub(crate) packet_size_max: u32,
    pub(crate) topic_alias_maximum: u16,
}

impl PeerLimits {
    /// Returns what holds where nothing was said.
    pub(crate) const UNLIMITED: Self = Self {
        receive_maximum: u16::MAX,
        packet_size_max: u32::MAX,
        topic_alias_maximum: 0,
    };
}

/// A message that arrived, and the identifier under which it is to be acknowledged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Arrival {
    pub(crate) message: Message,
    pub(crate) packet_id: Option<PacketId>,
}

/// How an exchange ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Completion<S: Storage> {
    pub(crate) token: PublishToken,
    pub(crate) ack: Ack<S>,
}

/// The exchange of messages over one connection, on top of the state of its session.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) state: SessionState,
    version: ProtocolVersion,
    limits: Arc<Limits>,
    peer: PeerLimits,
    /// QoS 1 and 2 messages that may still be sent, and the number at the start.
    quota: u16,
    quota_max: u16,
    /// Messages in flight from before this connection that have to be sent again, in order.
    resend: VecDeque<PacketId>,
    /// Packets other than PUBLISH, which nothing holds back.
    responses: VecDeque<Packet>,
    acknowledger: Acknowledger,
    inbound_aliases: InboundAliases,
    outbound_aliases: OutboundAliases,
}

impl Flow {
    /// Takes up the state of a session on a connection that has just been accepted; `first`, if
    /// any, is sent before all else.
    pub(crate) fn new(
        mut state: SessionState,
        version: ProtocolVersion,
        limits: Arc<Limits>,
        peer: PeerLimits,
        first: Option<Packet>,
    ) -> Self {
        state.inbound.on_connected();
        let quota_max = limits.inflight_max.min(peer.receive_maximum).max(1);
        let has_reasons = version == ProtocolVersion::V5;
        let (aliases_in, aliases_out) = if has_reasons {
            let used = limits.topic_aliases_used_max.min(peer.topic_alias_maximum);
            (limits.topic_alias_maximum, used)
        } else {
            (0, 0)
        };
        let receive_maximum = if has_reasons {
            limits.receive_maximum.max(1)
        } else {
            u16::MAX
        };
        let mut flow = Self {
            version,
            peer,
            quota: quota_max,
            quota_max,
            resend: VecDeque::new(),
            responses: first.into_iter().collect(),
            acknowledger: Acknowledger::new(receive_maximum, has_reasons),
            inbound_aliases: InboundAliases::new(aliases_in),
            outbound_aliases: OutboundAliases::new(aliases_out),
            limits,
            state,
        };
        flow.plan_resend();
        flow
    }

    /// Everything unacknowledged is sent again: PUBREL, which no window holds back, at once and
    /// PUBLISH as the window allows, each in its order.
    fn plan_resend(&mut self) {
        for id in self.state.outbound.window.ids_in_order() {
            match self.state.outbound.window.get(id) {
                Some(Exchange::AwaitPubAck(_) | Exchange::AwaitPubRec(_)) => {
                    self.resend.push_back(id);
                }
                Some(Exchange::AwaitPubComp(_)) => {
                    self.responses.push_back(Packet::PubRel(Ack::new(id)));
                }
                Some(Exchange::AwaitSubAck { .. } | Exchange::AwaitUnsubAck { .. }) | None => {}
            }
        }
    }

    /// Handles a received PUBLISH. `None` means that there is nothing to deliver: a repeat, or a
    /// message that was refused in its acknowledgement.
    pub(crate) fn on_publish<S: Storage>(
        &mut self,
        publish: &Publish<S>,
        now: Instant,
    ) -> Result<Option<Arrival>, ProtocolError> {
        let alias = publish.properties.topic_alias();
        let topic = self
            .inbound_aliases
            .resolve(publish.topic.as_ref(), alias)?;
        let state = &mut self.state;
        let verdict = self.acknowledger.on_publish(
            &mut state.inbound,
            publish.delivery,
            &mut self.responses,
        )?;
        if verdict == Verdict::Repeat {
            return Ok(None);
        }
        let packet_id = publish.delivery.packet_id();
        let payload_len = u64::try_from(publish.payload.as_ref().len()).unwrap_or(u64::MAX);
        if payload_len > u64::from(self.limits.payload_size_max) {
            if let Some(packet_id) = packet_id {
                self.acknowledge(packet_id, ReasonCode::QuotaExceeded);
            }
            return Ok(None);
        }
        Ok(Some(Arrival {
            message: Message::from_publish(publish, topic, now),
            packet_id,
        }))
    }

    /// Decides about a received QoS 1 or 2 message.
    pub(crate) fn acknowledge(&mut self, packet_id: PacketId, reason: ReasonCode) {
        self.acknowledger.acknowledge(
            &mut self.state.inbound,
            packet_id,
            reason,
            &mut self.responses,
        );
    }

    /// Returns how many received messages wait for their acknowledgement.
    pub(crate) fn owed_acknowledgements(&self) -> usize {
        self.acknowledger.owed()
    }

    pub(crate) fn on_puback<S: Storage>(
        &mut self,
        ack: Ack<S>,
    ) -> Result<Option<Completion<S>>, ProtocolError> {
        let packet_id = ack.packet_id;
        match self.state.outbound.window.get(packet_id) {
            // It may be late, after a session was lost.
            None => Ok(None),
            Some(Exchange::AwaitPubAck(queued)) => {
                let token = queued.token;
                self.complete(packet_id);
                Ok(Some(Completion { token, ack }))
            }
            Some(_) => Err(mismatch(PacketType::PubAck, packet_id)),
        }
    }

    pub(crate) fn on_pubrec<S: Storage>(
        &mut self,
        ack: Ack<S>,
    ) -> Result<Option<Completion<S>>, ProtocolError> {
        let packet_id = ack.packet_id;
        let unknown = match self.version {
            ProtocolVersion::V5 => {
                Ack::with_reason(packet_id, ReasonCode::PacketIdentifierNotFound)
            }
            // Lets the peer finish an exchange that this side has forgotten.
            ProtocolVersion::V31 | ProtocolVersion::V311 => Ack::new(packet_id),
        };
        match self.state.outbound.window.get_mut(packet_id) {
            None => {
                self.responses.push_back(Packet::PubRel(unknown));
                Ok(None)
            }
            Some(Exchange::AwaitPubRec(queued)) if ack.reason_code.is_error() => {
                let token = queued.token;
                self.complete(packet_id);
                Ok(Some(Completion { token, ack }))
            }
            Some(exchange @ Exchange::AwaitPubRec(_)) => {
                if let Exchange::AwaitPubRec(queued) = exchange {
                    *exchange = Exchange::AwaitPubComp(queued.token);
                }
                self.responses
                    .push_back(Packet::PubRel(Ack::new(packet_id)));
                Ok(None)
            }
            Some(Exchange::AwaitPubComp(_)) => {
                if !ack.reason_code.is_error() {
                    self.responses
                        .push_back(Packet::PubRel(Ack::new(packet_id)));
                }
                Ok(None)
            }
            Some(
                Exchange::AwaitPubAck(_)
                | Exchange::AwaitSubAck { .. }
                | Exchange::AwaitUnsubAck { .. },
            ) => Err(mismatch(PacketType::PubRec, packet_id)),
        }
    }

    pub(crate) fn on_pubrel<S: Storage>(&mut self, ack: &Ack<S>) -> Result<(), ProtocolError> {
        let answer = self
            .acknowledger
            .on_pubrel(&mut self.state.inbound, ack.packet_id)?;
        self.responses.push_back(answer);
        Ok(())
    }

    pub(crate) fn on_pubcomp<S: Storage>(
        &mut self,
        ack: Ack<S>,
    ) -> Result<Option<Completion<S>>, ProtocolError> {
        let packet_id = ack.packet_id;
        match self.state.outbound.window.get(packet_id) {
            None => Ok(None),
            Some(Exchange::AwaitPubComp(token)) => {
                let token = *token;
                self.complete(packet_id);
                Ok(Some(Completion { token, ack }))
            }
            Some(_) => Err(mismatch(PacketType::PubComp, packet_id)),
        }
    }

    /// Ends an exchange of a PUBLISH: its identifier is free and the window opens by one.
    fn complete(&mut self, packet_id: PacketId) {
        self.state.outbound.window.remove(packet_id);
        self.quota = self.quota.saturating_add(1).min(self.quota_max);
    }

    /// Queues a message for the peer.
    pub(crate) fn publish(
        &mut self,
        message: Message,
        options: DeliveryOptions,
        now: Instant,
    ) -> Result<PublishToken, PublishError> {
        self.state
            .outbound
            .enqueue(message, options, &self.limits, now)
    }

    /// Begins an exchange that is not a PUBLISH; `None` if every identifier is taken.
    pub(crate) fn begin_request(&mut self, exchange: Exchange) -> Option<PacketId> {
        self.state.outbound.window.insert(exchange).ok()
    }

    /// Ends the exchange of a SUBSCRIBE; returns its token and number of filters.
    pub(crate) fn take_subscribe(
        &mut self,
        packet_id: PacketId,
    ) -> Result<(PublishToken, usize), ProtocolError> {
        let window = &mut self.state.outbound.window;
        match window.get(packet_id) {
            Some(&Exchange::AwaitSubAck { token, filters }) => {
                window.remove(packet_id);
                Ok((token, filters))
            }
            _ => Err(mismatch(PacketType::SubAck, packet_id)),
        }
    }

    /// Ends the exchange of an UNSUBSCRIBE; returns its token and number of filters.
    pub(crate) fn take_unsubscribe(
        &mut self,
        packet_id: PacketId,
    ) -> Result<(PublishToken, usize), ProtocolError> {
        let window = &mut self.state.outbound.window;
        match window.get(packet_id) {
            Some(&Exchange::AwaitUnsubAck { token, filters }) => {
                window.remove(packet_id);
                Ok((token, filters))
            }
            _ => Err(mismatch(PacketType::UnsubAck, packet_id)),
        }
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
            _ => Delivery::AtLeastOnce {
                packet_id: PacketId::MIN,
                dup: false,
            },
        };
        let queued = Queued {
            token: PublishToken(0),
            expires_at: message.expires_at(now),
            message: message.clone(),
            options: options.clone(),
        };
        let size =
            OutgoingPublish::new(queued, delivery, now).encoded_len(self.version, &mut Vec::new());
        size.ok()
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or(u64::MAX)
    }

    /// Queues a packet that nothing holds back.
    pub(crate) fn respond(&mut self, packet: Packet) {
        self.responses.push_back(packet);
    }

    /// Returns the next packet to send.
    pub(crate) fn poll_packet(&mut self, now: Instant) -> Option<Outgoing> {
        if let Some(packet) = self.responses.pop_front() {
            return Some(Outgoing::Packet(packet));
        }
        loop {
            let mut publish = match self.next_resend(now) {
                Some(publish) => publish,
                None => self.state.outbound.take_next(self.may_send_new(), now)?,
            };
            if self.fits(&mut publish) {
                if publish.delivery() != Delivery::AtMostOnce {
                    self.quota = self.quota.saturating_sub(1);
                }
                return Some(Outgoing::Publish(publish));
            }
            self.skip_too_large(&publish);
        }
    }

    fn may_send_new(&self) -> bool {
        self.quota > 0 && self.resend.is_empty()
    }

    fn next_resend(&mut self, now: Instant) -> Option<OutgoingPublish> {
        while self.quota > 0 {
            let packet_id = self.resend.pop_front()?;
            let (queued, delivery) = match self.state.outbound.window.get(packet_id) {
                Some(Exchange::AwaitPubAck(queued)) => (
                    queued,
                    Delivery::AtLeastOnce {
                        packet_id,
                        dup: true,
                    },
                ),
                Some(Exchange::AwaitPubRec(queued)) => (
                    queued,
                    Delivery::ExactlyOnce {
                        packet_id,
                        dup: true,
                    },
                ),
                // Answered before it was sent again.
                _ => continue,
            };
            return Some(OutgoingPublish::new(queued.clone(), delivery, now));
        }
        None
    }

    /// Chooses a topic alias, and returns whether the packet is within the peer's maximum.
    fn fits(&mut self, publish: &mut OutgoingPublish) -> bool {
        /// What a topic alias property adds to a packet.
        const ALIAS_BYTES: u64 = 3;
        let mut room = u64::from(self.peer.packet_size_max);
        if self.peer.packet_size_max < u32::MAX {
            let mut scratch = Vec::new();
            let Ok(size) = publish.encoded_len(self.version, &mut scratch) else {
                return false;
            };
            let size = u64::try_from(size).unwrap_or(u64::MAX);
            if size > room {
                return false;
            }
            room = room.saturating_sub(size);
        }
        if room >= ALIAS_BYTES {
            publish.set_alias(self.outbound_aliases.assign(publish.message().topic()));
        }
        true
    }

    /// Goes on as if the message had been delivered (v5 MQTT-3.1.2-25).
    fn skip_too_large(&mut self, publish: &OutgoingPublish) {
        if let Some(packet_id) = publish.delivery().packet_id() {
            self.state.outbound.window.remove(packet_id);
        }
        self.state
            .outbound
            .give_up(publish.token(), Undelivered::TooLarge);
    }

    /// Returns whether [`poll_packet`](Self::poll_packet) has something.
    pub(crate) fn has_packet(&self) -> bool {
        !self.responses.is_empty()
            || (self.quota > 0 && !self.resend.is_empty())
            || self.state.outbound.has_next(self.may_send_new())
    }

    /// Takes the state out: the connection is gone.
    pub(crate) fn into_state(mut self) -> SessionState {
        self.state.outbound.drop_qos0();
        self.state.outbound.shrink();
        self.state
    }

    pub(crate) const fn version(&self) -> ProtocolVersion {
        self.version
    }
}

/// Checks what holds for the properties of every packet.
pub(crate) fn check_properties<S: Storage>(
    properties: &mqttstack_codec::Properties<S>,
    limits: &Limits,
) -> Result<(), ProtocolError> {
    if !properties.contains(PropertyId::UserProperty) {
        return Ok(());
    }
    let maximum = limits.user_properties_max;
    let allowed = usize::try_from(maximum).unwrap_or(usize::MAX);
    if properties.user_properties().nth(allowed).is_some() {
        return Err(ProtocolError::TooManyUserProperties { maximum });
    }
    Ok(())
}

fn mismatch(packet_type: PacketType, packet_id: PacketId) -> ProtocolError {
    ProtocolError::AckMismatch {
        packet_type,
        packet_id,
    }
}
