//! The send quota: how many QoS 1 and 2 messages the peer takes at this moment.

use alloc::{boxed::Box, collections::BTreeSet};

use mqttstack_codec::PacketId;

/// The send quota of one connection.
///
/// Spent by each PUBLISH that is sent on this connection and given back when its exchange ends. An
/// exchange of an earlier connection whose PUBLISH has not been sent on this one gives nothing
/// back, so that there are never more messages outstanding than the peer's Receive Maximum.
///
/// # Specification
///
/// v5 MQTT-4.9.0-1, v5 MQTT-4.9.0-2, v5 MQTT-3.3.4-7, v5 MQTT-3.3.4-9.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    left: u16,
    /// Exchanges that were resumed and have spent nothing; mostly there are none.
    #[expect(
        clippy::box_collection,
        reason = "one word instead of three, in every connection"
    )]
    unspent: Option<Box<BTreeSet<PacketId>>>,
}

impl Quota {
    /// Begins a connection on which `resumed` exchanges go on.
    pub(super) fn new(maximum: u16, resumed: impl IntoIterator<Item = PacketId>) -> Self {
        let unspent: BTreeSet<PacketId> = resumed.into_iter().collect();
        Self {
            left: maximum,
            unspent: (!unspent.is_empty()).then(|| Box::new(unspent)),
        }
    }

    /// Returns whether a PUBLISH may be sent.
    pub(super) const fn has_room(&self) -> bool {
        self.left > 0
    }

    /// Counts a PUBLISH that is sent.
    pub(super) fn spend(&mut self, packet_id: PacketId) {
        self.strike_out(packet_id);
        self.left = self.left.saturating_sub(1);
    }

    /// Counts an exchange that ends.
    pub(super) fn give_back(&mut self, packet_id: PacketId) {
        if !self.strike_out(packet_id) {
            self.left = self.left.saturating_add(1);
        }
    }

    /// Returns whether an exchange was resumed, and its PUBLISH has not been sent since.
    pub(super) fn is_unspent(&self, packet_id: PacketId) -> bool {
        (self.unspent.as_ref()).is_some_and(|unspent| unspent.contains(&packet_id))
    }

    /// Forgets that an exchange has spent nothing; returns whether that was so.
    fn strike_out(&mut self, packet_id: PacketId) -> bool {
        let Some(unspent) = &mut self.unspent else {
            return false;
        };
        let was_unspent = unspent.remove(&packet_id);
        self.unspent.take_if(|unspent| unspent.is_empty());
        was_unspent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).expect("not 0")
    }

    #[test]
    fn an_exchange_that_spent_nothing_gives_nothing_back() {
        // v5 MQTT-4.9.0-2
        let mut quota = Quota::new(1, [id(7)]);
        quota.spend(id(1));
        assert!(!quota.has_room());
        quota.give_back(id(7));
        assert!(!quota.has_room(), "7 was sent on an earlier connection");
        quota.give_back(id(1));
        assert!(quota.has_room());
    }

    #[test]
    fn an_exchange_that_is_sent_again_counts() {
        // v5 MQTT-4.9.0-1
        let mut quota = Quota::new(1, [id(7)]);
        quota.spend(id(7));
        assert!(!quota.has_room());
        quota.give_back(id(7));
        assert!(quota.has_room());
    }
}
