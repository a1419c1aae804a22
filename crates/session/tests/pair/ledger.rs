//! What has to hold for the messages of one direction, kept by watching the wire and the owners.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the watcher picks out what it counts"
)]

use std::collections::{BTreeMap, BTreeSet};

use mqttstack_session::codec::{Delivery, Packet, PacketId, QoS};

use super::disk::may_have_arrived;

/// One direction: its messages are numbered, and the number is the payload.
#[derive(Default)]
pub(crate) struct Ledger {
    published: Vec<QoS>,
    /// First arrivals at the receiver's owner, in order.
    arrived: BTreeMap<QoS, Vec<usize>>,
    arrivals: Vec<usize>,
    accepted: Vec<usize>,
    refused: BTreeSet<usize>,
    /// Sender: identifiers in flight, with their message and whether PUBREL was sent.
    in_flight: BTreeMap<PacketId, (usize, bool)>,
    /// Sender: identifiers that took a slot of the window on this connection.
    outstanding: BTreeSet<PacketId>,
    window: usize,
    /// Whether nothing in flight was ever lost with its session.
    is_exact: bool,
    /// Messages that the sender forgot in a crash.
    unpublished: BTreeSet<usize>,
    /// Whether what is in flight may wait for a store, and be sent first on a later connection.
    has_store: bool,
}

impl Ledger {
    pub(crate) fn new(has_store: bool) -> Self {
        Self {
            has_store,
            is_exact: true,
            window: usize::from(u16::MAX),
            ..Self::default()
        }
    }

    pub(crate) fn publish(&mut self, qos: QoS) -> String {
        self.published.push(qos);
        self.arrivals.push(0);
        self.accepted.push(0);
        (self.published.len() - 1).to_string()
    }

    /// The message was not taken after all.
    pub(crate) fn withdraw(&mut self) {
        self.published.pop();
        self.arrivals.pop();
        self.accepted.pop();
    }

    pub(crate) fn connected(&mut self, window: usize) {
        self.window = window;
        self.outstanding.clear();
    }

    /// The sender has lost what was in flight.
    pub(crate) fn forget(&mut self) {
        self.is_exact &= self.in_flight.is_empty();
        self.in_flight.clear();
    }

    /// The receiver has lost which messages of QoS 2 it has.
    pub(crate) fn receiver_forgets(&mut self) {
        self.is_exact = false;
    }

    /// The receiver has crashed, and knows no more that it accepted these.
    pub(crate) fn forget_acceptances(&mut self, numbers: &[usize]) {
        for number in numbers {
            self.accepted[*number] -= 1;
        }
    }

    /// The sender has crashed: some messages are gone, and some exchanges.
    pub(crate) fn sender_crashed(
        &mut self,
        unpublished: &[usize],
        in_flight: BTreeMap<PacketId, (usize, bool)>,
    ) {
        for number in unpublished {
            let may_be_out = may_have_arrived(self.published[*number]);
            assert!(
                may_be_out || self.arrivals[*number] == 0,
                "QoS 2 {number} went out before it was stored"
            );
            self.unpublished.insert(*number);
        }
        self.in_flight = in_flight;
    }

    /// The sender of this direction sends a packet.
    pub(crate) fn on_sent(&mut self, packet: &Packet) {
        match packet {
            Packet::Publish(publish) => {
                let number = number(&publish.payload);
                assert_eq!(self.published[number], publish.qos());
                match publish.delivery {
                    Delivery::AtMostOnce => {}
                    Delivery::AtLeastOnce { packet_id, dup }
                    | Delivery::ExactlyOnce { packet_id, dup } => {
                        let before = self.in_flight.insert(packet_id, (number, false));
                        let expected = dup.then_some((number, false));
                        let waited = self.has_store && dup && before.is_none();
                        assert!(
                            before == expected || waited,
                            "DUP says what was in flight: {before:?}, not {expected:?}"
                        );
                        assert!(self.outstanding.insert(packet_id), "sent twice");
                        assert!(self.outstanding.len() <= self.window, "window exceeded");
                    }
                }
            }
            Packet::PubRel(ack) => {
                if let Some((_, released)) = self.in_flight.get_mut(&ack.packet_id) {
                    *released = true;
                }
            }
            _ => {}
        }
    }

    /// The sender of this direction receives a packet.
    pub(crate) fn on_answered(&mut self, packet: &Packet) {
        match packet {
            Packet::PubAck(ack) | Packet::PubComp(ack) => self.end(ack.packet_id),
            Packet::PubRec(ack) if ack.reason_code.is_error() => self.end(ack.packet_id),
            _ => {}
        }
    }

    fn end(&mut self, packet_id: PacketId) {
        self.in_flight.remove(&packet_id);
        self.outstanding.remove(&packet_id);
    }

    /// A message reaches the receiver's owner.
    pub(crate) fn on_arrived(&mut self, payload: &[u8]) -> usize {
        let number = number(payload);
        self.arrivals[number] += 1;
        if self.arrivals[number] == 1 {
            let qos = self.published[number];
            self.arrived.entry(qos).or_default().push(number);
        }
        number
    }

    /// The receiver's owner has decided.
    pub(crate) fn on_decided(&mut self, number: usize, is_accepted: bool) {
        if is_accepted {
            self.accepted[number] += 1;
        } else {
            self.refused.insert(number);
        }
    }

    /// Checks what has to hold once all is quiet.
    pub(crate) fn check(&self, name: &str) {
        for (qos, arrived) in &self.arrived {
            let in_order = arrived.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(
                in_order || !self.is_exact,
                "{name}: {qos:?} out of order: {arrived:?}"
            );
        }
        for (number, qos) in self.published.iter().enumerate() {
            let (arrivals, accepted) = (self.arrivals[number], self.accepted[number]);
            let refused = self.refused.contains(&number) || self.unpublished.contains(&number);
            match qos {
                QoS::AtMostOnce => assert!(arrivals <= 1, "{name}: QoS 0 came {arrivals} times"),
                QoS::AtLeastOnce => {
                    assert!(accepted >= 1 || refused, "{name}: QoS 1 {number} lost")
                }
                QoS::ExactlyOnce => {
                    assert!(accepted >= 1 || refused, "{name}: QoS 2 {number} lost");
                    let most = if self.is_exact { 1 } else { usize::MAX };
                    assert!(
                        accepted <= most,
                        "{name}: QoS 2 {number} came {accepted} times"
                    );
                }
            }
        }
        assert!(
            self.in_flight.is_empty(),
            "{name}: {:?} never ended",
            self.in_flight
        );
    }
}

fn number(payload: &[u8]) -> usize {
    let text = std::str::from_utf8(payload).expect("text");
    text.parse().expect("a number")
}
