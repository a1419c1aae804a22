//! What the answers of the peer do to the exchanges in flight.

use mqttstack_codec::{Ack, PacketId, PacketType, ProtocolVersion, ReasonCode, Storage};

use super::{
    Flow,
    outbound::{Awaited, PublishToken},
    responses::AckKind,
};
use crate::{
    Message, MessagePool, ProtocolError,
    fault::{self, Fault},
};

/// How the exchange of a PUBLISH ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Completion<S: Storage> {
    pub(crate) token: PublishToken,
    pub(crate) ack: Ack<S>,
}

impl Flow {
    /// # Specification
    ///
    /// v5 MQTT-4.3.2-3, v5 MQTT-4.4.0-2; v3.1.1 MQTT-4.3.2-1.
    pub(crate) fn on_puback<S: Storage>(
        &mut self,
        ack: Ack<S>,
        pool: &mut MessagePool,
    ) -> Result<Option<Completion<S>>, ProtocolError> {
        let packet_id = ack.packet_id;
        match self.state.outbound.exchange(packet_id) {
            // It may be late, after a session was lost.
            None => Ok(None),
            Some(Awaited::PubAck(queued)) => {
                let token = queued.token;
                if let Some(message) = self.complete(packet_id) {
                    pool.put(message);
                }
                Ok(Some(Completion { token, ack }))
            }
            Some(_) => Err(mismatch(PacketType::PubAck, packet_id)),
        }
    }

    /// # Specification
    ///
    /// v5 MQTT-4.3.3-3, v5 MQTT-4.3.3-4, v5 MQTT-4.3.3-6, v5 MQTT-4.4.0-2; v3.1.1 MQTT-4.3.3-1.
    pub(crate) fn on_pubrec<S: Storage>(
        &mut self,
        ack: Ack<S>,
        pool: &mut MessagePool,
    ) -> Result<Option<Completion<S>>, ProtocolError> {
        let packet_id = ack.packet_id;
        match self.state.outbound.exchange(packet_id) {
            // An error ends the exchange, whoever remembers it.
            None | Some(Awaited::PubComp(_)) if ack.reason_code.is_error() => Ok(None),
            None => {
                let reason = match self.version() {
                    ProtocolVersion::V5 => ReasonCode::PacketIdentifierNotFound,
                    // Lets the peer finish an exchange that this side has forgotten.
                    ProtocolVersion::V31 | ProtocolVersion::V311 => ReasonCode::Success,
                };
                self.answer(AckKind::PubRel, packet_id, reason);
                Ok(None)
            }
            Some(Awaited::PubRec(queued)) if ack.reason_code.is_error() => {
                let token = queued.token;
                if let Some(message) = self.complete(packet_id) {
                    pool.put(message);
                }
                Ok(Some(Completion { token, ack }))
            }
            Some(Awaited::PubRec(queued)) => {
                // The message goes: from here on only PUBREL is ever sent again.
                let token = queued.token;
                let message = self.await_pubcomp(packet_id, Some(token));
                if let Some(message) = message {
                    pool.put(message);
                }
                Ok(None)
            }
            Some(Awaited::PubComp(_)) => {
                self.release(packet_id);
                Ok(None)
            }
            Some(Awaited::PubAck(_) | Awaited::SubAck { .. } | Awaited::UnsubAck { .. }) => {
                Err(mismatch(PacketType::PubRec, packet_id))
            }
        }
    }

    pub(crate) fn on_pubrel<S: Storage>(&mut self, ack: &Ack<S>) -> Result<(), ProtocolError> {
        let state = &mut self.state;
        let packet_id = ack.packet_id;
        let reason =
            self.acknowledger
                .on_pubrel(&mut state.inbound, packet_id, &mut state.journal)?;
        self.answer(AckKind::PubComp, packet_id, reason);
        Ok(())
    }

    /// # Specification
    ///
    /// v5 MQTT-4.3.3-5; v3.1.1 MQTT-2.3.1-3.
    pub(crate) fn on_pubcomp<S: Storage>(
        &mut self,
        ack: Ack<S>,
    ) -> Result<Option<Completion<S>>, ProtocolError> {
        let packet_id = ack.packet_id;
        match self.state.outbound.exchange(packet_id) {
            None => Ok(None),
            Some(Awaited::PubComp(token)) => {
                let token = *token;
                let ack = self.as_delivered(ack);
                self.complete(packet_id);
                Ok(token.map(|token| Completion { token, ack }))
            }
            Some(_) => Err(mismatch(PacketType::PubComp, packet_id)),
        }
    }

    /// A peer that does not know the identifier of a PUBREL that is sent again has answered the
    /// first one, and that answer got lost: the message was delivered.
    ///
    /// # Specification
    ///
    /// v5 §3.7.2.1: 0x92 is not an error during recovery.
    fn as_delivered<S: Storage>(&self, mut ack: Ack<S>) -> Ack<S> {
        let is_recovery = self.quota.is_unspent(ack.packet_id);
        if is_recovery && ack.reason_code == ReasonCode::PacketIdentifierNotFound {
            ack.reason_code = ReasonCode::Success;
        }
        ack
    }

    /// Lets go of a message; only PUBREL is sent from here on, once that is stored.
    pub(super) fn await_pubcomp(
        &mut self,
        packet_id: PacketId,
        token: Option<PublishToken>,
    ) -> Option<Message> {
        let state = &mut self.state;
        let message = state
            .outbound
            .await_pubcomp(packet_id, token, &mut state.journal);
        if fault::is_on(Fault::FreeAtPubrec) {
            self.complete(packet_id);
        }
        self.release(packet_id);
        message
    }

    pub(super) fn release(&mut self, packet_id: PacketId) {
        self.answer(AckKind::PubRel, packet_id, ReasonCode::Success);
    }

    /// Ends an exchange of a PUBLISH: its identifier is free and the window opens by one. Returns the
    /// message, if it was still held.
    pub(super) fn complete(&mut self, packet_id: PacketId) -> Option<Message> {
        let state = &mut self.state;
        let message = state.outbound.end_exchange(packet_id, &mut state.journal);
        self.quota.give_back(packet_id);
        message
    }

    /// Begins an exchange that is not a PUBLISH; `None` if every identifier is taken.
    pub(crate) fn begin_request(&mut self, exchange: Awaited) -> Option<PacketId> {
        self.state.outbound.begin_request(exchange)
    }

    /// Ends an exchange that is not a PUBLISH and was not sent after all.
    pub(crate) fn cancel_request(&mut self, packet_id: PacketId) {
        self.state.outbound.end_request(packet_id);
    }

    /// Ends the exchange of a SUBSCRIBE that is answered with so many codes; returns its token.
    pub(crate) fn on_suback(
        &mut self,
        packet_id: PacketId,
        codes: usize,
    ) -> Result<PublishToken, ProtocolError> {
        match self.state.outbound.exchange(packet_id) {
            Some(&Awaited::SubAck { token, filters }) => {
                check_count(filters, codes)?;
                self.state.outbound.end_request(packet_id);
                Ok(token)
            }
            _ => Err(mismatch(PacketType::SubAck, packet_id)),
        }
    }

    /// Ends the exchange of an UNSUBSCRIBE that is answered with so many codes; returns its token.
    pub(crate) fn on_unsuback(
        &mut self,
        packet_id: PacketId,
        codes: usize,
    ) -> Result<PublishToken, ProtocolError> {
        match self.state.outbound.exchange(packet_id) {
            Some(&Awaited::UnsubAck { token, filters }) => {
                // 3.x answers without codes.
                if self.version() == ProtocolVersion::V5 {
                    check_count(filters, codes)?;
                }
                self.state.outbound.end_request(packet_id);
                Ok(token)
            }
            _ => Err(mismatch(PacketType::UnsubAck, packet_id)),
        }
    }
}

fn check_count(expected: usize, actual: usize) -> Result<(), ProtocolError> {
    if expected == actual {
        return Ok(());
    }
    Err(ProtocolError::ReasonCodeCount { expected, actual })
}

const fn mismatch(packet_type: PacketType, packet_id: PacketId) -> ProtocolError {
    ProtocolError::AckMismatch {
        packet_type,
        packet_id,
    }
}
