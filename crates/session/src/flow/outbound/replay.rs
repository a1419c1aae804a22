//! What is in flight and what waits, written to a store and read from it.

use core::mem::{replace, take};

use mqttstack_codec::{PacketId, QoS};

use super::{Awaited, Outbound, PublishToken, Queued, message_bytes};
use crate::journal::ReplayError;

impl Outbound {
    /// Puts a message behind all others, as it was elsewhere.
    pub(crate) fn apply_queued(&mut self, queued: Queued) -> Result<(), ReplayError> {
        let token = queued.token;
        if queued.options.qos == QoS::AtMostOnce {
            return Err(ReplayError::QosZero);
        }
        self.note_token(token)?;
        self.wait(queued);
        Ok(())
    }

    /// Moves a message into flight, under the identifier that it had elsewhere.
    pub(crate) fn apply_sent(
        &mut self,
        token: PublishToken,
        packet_id: PacketId,
    ) -> Result<(), ReplayError> {
        if self.window.get(packet_id).is_some() {
            return Err(ReplayError::IdentifierInUse { packet_id });
        }
        let queued = self.take_first(token)?;
        let bytes = message_bytes(&queued.message);
        let exchange = match queued.options.qos {
            QoS::ExactlyOnce => Awaited::PubRec(queued),
            QoS::AtMostOnce | QoS::AtLeastOnce => Awaited::PubAck(queued),
        };
        self.inflight_bytes = self.inflight_bytes.saturating_add(bytes);
        let taken = self.window.insert_as(packet_id, exchange);
        debug_assert!(taken.is_ok(), "the identifier was free");
        Ok(())
    }

    /// Lets go of a QoS 2 message, or takes over an exchange that had come so far.
    pub(crate) fn apply_taken(
        &mut self,
        packet_id: PacketId,
        token: Option<PublishToken>,
    ) -> Result<(), ReplayError> {
        match self.window.get_mut(packet_id) {
            None => {
                if let Some(token) = token {
                    // What is in flight is written ahead of what waits.
                    if !self.queue.is_empty() {
                        return Err(ReplayError::TokenOutOfOrder { token });
                    }
                    self.note_token(token)?;
                }
                let taken = self.window.insert_as(packet_id, Awaited::PubComp(token));
                debug_assert!(taken.is_ok(), "the identifier was free");
            }
            Some(exchange @ Awaited::PubRec(_)) => {
                if let (Awaited::PubRec(queued), Some(token)) = (&*exchange, token)
                    && queued.token != token
                {
                    return Err(ReplayError::NotNext { token });
                }
                if let Awaited::PubRec(queued) = replace(exchange, Awaited::PubComp(token)) {
                    self.land(&queued.message);
                }
            }
            Some(_) => return Err(ReplayError::UnknownIdentifier { packet_id }),
        }
        Ok(())
    }

    /// Ends the exchange of a message.
    pub(crate) fn apply_completed(&mut self, packet_id: PacketId) -> Result<(), ReplayError> {
        match self.window.remove(packet_id) {
            Some(Awaited::PubAck(queued) | Awaited::PubRec(queued)) => self.land(&queued.message),
            Some(Awaited::PubComp(_)) => {}
            Some(Awaited::SubAck { .. } | Awaited::UnsubAck { .. }) | None => {
                return Err(ReplayError::UnknownIdentifier { packet_id });
            }
        }
        Ok(())
    }

    /// Drops waiting messages, which are named in their order.
    pub(crate) fn apply_given_up(&mut self, tokens: &[PublishToken]) -> Result<(), ReplayError> {
        let first = self.queue.front().map(|first| first.token);
        if let [token] = *tokens
            && first == Some(token)
        {
            return self.take_first(token).map(drop);
        }
        let mut last = None;
        for token in tokens.iter().copied() {
            if last.is_some_and(|last| last >= token) {
                return Err(ReplayError::TokenOutOfOrder { token });
            }
            self.queue
                .binary_search_by_key(&token, |queued| queued.token)
                .map_err(|_| ReplayError::UnknownToken { token })?;
            last = Some(token);
        }
        let mut queue = take(&mut self.queue);
        queue.retain(|queued| {
            let stays = tokens.binary_search(&queued.token).is_err();
            if !stays {
                self.forget(queued);
            }
            stays
        });
        self.queue = queue;
        Ok(())
    }

    /// Takes the message that has waited longest, which has to be this one: messages leave in their
    /// order.
    fn take_first(&mut self, token: PublishToken) -> Result<Queued, ReplayError> {
        if self.queue.front().is_none_or(|first| first.token != token) {
            return Err(ReplayError::NotNext { token });
        }
        let first = self.queue.pop_front();
        let queued = first.ok_or(ReplayError::NotNext { token })?;
        self.forget(&queued);
        Ok(queued)
    }

    /// Tokens count up, here as elsewhere.
    fn note_token(&mut self, token: PublishToken) -> Result<(), ReplayError> {
        if token.0 <= self.last_token {
            return Err(ReplayError::TokenOutOfOrder { token });
        }
        self.last_token = token.0;
        Ok(())
    }

    /// Returns what a snapshot says beside the messages: the last token, and how many messages were
    /// dropped and have expired.
    pub(crate) fn totals(&self) -> [u64; 3] {
        let reports = self.undelivered.as_deref();
        let (dropped, expired) = reports.map_or((0, 0), |it| (it.dropped, it.expired));
        [self.last_token, dropped, expired]
    }

    /// Takes over the totals of a snapshot.
    pub(crate) fn set_totals(&mut self, [last_token, dropped, expired]: [u64; 3]) {
        self.last_token = self.last_token.max(last_token);
        if (dropped, expired) != (0, 0) {
            let reports = self.reports();
            (reports.dropped, reports.expired) = (dropped, expired);
        }
    }

    /// Returns what is in flight, oldest first.
    pub(crate) fn exchanges(&self) -> impl Iterator<Item = (PacketId, &Awaited)> {
        self.window.iter_in_order()
    }

    /// Returns the QoS 1 and 2 messages that wait, in their order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Queued> {
        self.queue.iter()
    }
}
