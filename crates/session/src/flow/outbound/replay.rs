//! What is in flight and what waits, written to a store and read from it.

use alloc::collections::BTreeSet;
use core::mem::{replace, take};

use mqttstack_codec::{PacketId, QoS};

use super::{Awaited, Outbound, PublishToken, Queued};
use crate::journal::ReplayError;

#[cfg(test)]
std::thread_local! {
    /// How many waiting messages were looked at to drop some of them.
    pub(crate) static LOOKED_AT: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

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
        let bytes = queued.bytes();
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
                    self.land(&queued);
                }
            }
            Some(_) => return Err(ReplayError::UnknownIdentifier { packet_id }),
        }
        Ok(())
    }

    /// Ends the exchange of a message.
    pub(crate) fn apply_completed(&mut self, packet_id: PacketId) -> Result<(), ReplayError> {
        match self.window.remove(packet_id) {
            Some(Awaited::PubAck(queued) | Awaited::PubRec(queued)) => self.land(&queued),
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
        let mut given_up = BTreeSet::new();
        self.note_given_up(tokens, &mut given_up)?;
        self.drop_given_up(&given_up);
        Ok(())
    }

    /// Notes waiting messages, which are named in their order, to be dropped with others that were
    /// noted before.
    pub(crate) fn note_given_up(
        &self,
        tokens: &[PublishToken],
        given_up: &mut BTreeSet<PublishToken>,
    ) -> Result<(), ReplayError> {
        let mut last = None;
        for token in tokens.iter().copied() {
            if last.is_some_and(|last| last >= token) {
                return Err(ReplayError::TokenOutOfOrder { token });
            }
            let place = (self.queue).binary_search_by_key(&token, |queued| queued.token);
            if place.is_err() || given_up.contains(&token) {
                return Err(ReplayError::UnknownToken { token });
            }
            last = Some(token);
        }
        given_up.extend(tokens);
        Ok(())
    }

    /// Drops messages that were noted, as far as nothing waits ahead of them.
    pub(crate) fn drop_given_up_heads(&mut self, given_up: &mut BTreeSet<PublishToken>) {
        while (self.queue.front()).is_some_and(|first| given_up.remove(&first.token)) {
            if let Some(first) = self.queue.pop_front() {
                self.forget(&first);
            }
        }
    }

    /// Drops messages that were noted; looks at all that wait.
    pub(crate) fn drop_given_up(&mut self, given_up: &BTreeSet<PublishToken>) {
        if given_up.is_empty() {
            return;
        }
        let mut queue = take(&mut self.queue);
        queue.retain(|queued| {
            #[cfg(test)]
            LOOKED_AT.set(LOOKED_AT.get().saturating_add(1));
            let stays = !given_up.contains(&queued.token);
            if !stays {
                self.forget(queued);
            }
            stays
        });
        self.queue = queue;
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

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, vec::Vec};

    use mqttstack_limits::Instant;

    use super::*;
    use crate::{
        DeliveryOptions, SessionState, SubscriptionIds,
        journal::{Epoch, FormatError, Operation},
        testing::message,
    };

    fn queued(token: u64) -> Operation {
        Operation::Queued {
            token: PublishToken(token),
            message: message("q1 a=x"),
            options: DeliveryOptions {
                qos: QoS::AtLeastOnce,
                retain: false,
                subscription_ids: SubscriptionIds::None,
                group: None,
            },
            expires_at: Instant::NEVER,
        }
    }

    fn swept(tokens: &[u64]) -> Operation {
        let tokens: Box<[PublishToken]> = tokens.iter().map(|it| PublishToken(*it)).collect();
        Operation::Swept { tokens }
    }

    /// Reads operations as a state is read, and applies them one by one; returns both.
    fn read(operations: &[Operation]) -> [Result<SessionState, FormatError>; 2] {
        let epoch = Epoch::from_micros(0);
        let mut bytes = Vec::new();
        SessionState::new().encode(epoch, &mut bytes);
        for operation in operations {
            operation.encode(epoch, &mut bytes);
        }
        let decoded = SessionState::decode(&bytes, epoch);
        let mut state = SessionState::new();
        let mut applied = operations.iter().cloned();
        let applied = applied.try_for_each(|operation| state.apply(operation));
        [
            decoded,
            applied.map(|()| state).map_err(FormatError::Replay),
        ]
    }

    #[test]
    fn what_is_given_up_is_gone_when_it_is_next() {
        let sent = |token, packet_id| Operation::Sent {
            token: PublishToken(token),
            packet_id: PacketId::new(packet_id).expect("not 0"),
        };
        let given_up = |token| Operation::GivenUp {
            token: PublishToken(token),
        };
        let four = [queued(1), queued(2), queued(3), queued(4)];
        // What follows four messages, and what waits then.
        for (then, expected) in [
            (Vec::from([swept(&[2, 3])]), Ok(2)),
            (Vec::from([swept(&[2, 3]), sent(1, 1), sent(4, 2)]), Ok(0)),
            (
                Vec::from([swept(&[3]), given_up(1), sent(2, 9), queued(5)]),
                Ok(2),
            ),
            (
                Vec::from([
                    swept(&[2]),
                    Operation::PeerLost { resend: true },
                    sent(1, 1),
                    sent(3, 2),
                ]),
                Ok(1),
            ),
            (
                Vec::from([swept(&[2]), Operation::Cleared, queued(2), sent(2, 1)]),
                Ok(0),
            ),
            (
                Vec::from([swept(&[2, 3]), swept(&[3, 4])]),
                Err(ReplayError::UnknownToken {
                    token: PublishToken(3),
                }),
            ),
            (
                Vec::from([swept(&[3, 2])]),
                Err(ReplayError::TokenOutOfOrder {
                    token: PublishToken(2),
                }),
            ),
            (
                Vec::from([swept(&[2]), sent(1, 1), sent(2, 2)]),
                Err(ReplayError::NotNext {
                    token: PublishToken(2),
                }),
            ),
        ] {
            let operations: Vec<Operation> = four.iter().cloned().chain(then).collect();
            let [decoded, applied] = read(&operations);
            assert_eq!(decoded, applied, "{operations:?}");
            let waiting = decoded.map(|state| state.queue_status().queued_messages);
            assert_eq!(
                waiting,
                expected.map_err(FormatError::Replay),
                "{operations:?}"
            );
        }
    }

    #[test]
    fn reading_a_state_looks_at_what_waits_once() {
        let mut operations: Vec<Operation> = (1..=2_000).map(queued).collect();
        operations.extend((1..500).map(|n| swept(&[4 * n, 4 * n + 2])));
        let epoch = Epoch::from_micros(0);
        let mut bytes = Vec::new();
        SessionState::new().encode(epoch, &mut bytes);
        for operation in operations {
            operation.encode(epoch, &mut bytes);
        }
        LOOKED_AT.set(0);
        let state = SessionState::decode(&bytes, epoch).expect("it fits");
        let status = state.queue_status();
        assert_eq!(status.queued_messages, 1_002);
        assert_eq!(status.queued_bytes, 1_002 * 2);
        assert_eq!(LOOKED_AT.get(), 2_000);
    }
}
