//! What the wire shows of one sender: identifiers in flight, and the window of its peer.

use std::collections::{BTreeMap, BTreeSet};

use mqttstack_codec::{Delivery, Packet, PacketId, PacketType, Publish, Shared};

use crate::Contents;

/// Keeps account of what one side has sent and not seen acknowledged, and finds fault with it.
///
/// It knows nothing of the sessions: it reads their packets, as a peer that trusts nobody would.
///
/// # Specification
///
/// v5 MQTT-2.2.1-2, v5 MQTT-2.2.1-3, v5 MQTT-2.2.1-4, v5 MQTT-3.3.1-1, v5 MQTT-3.3.4-7,
/// v5 MQTT-3.3.4-9, v5 MQTT-4.3.3-4, v5 MQTT-4.3.3-6; v3.1.1 MQTT-2.3.1-2, v3.1.1 MQTT-2.3.1-4.
#[derive(Clone, Debug, Default)]
pub struct SendLedger {
    in_flight: BTreeMap<PacketId, InFlight>,
    /// What was in flight in a session that is over, until the peer is told: a crash before that may
    /// bring it back.
    former: BTreeMap<PacketId, InFlight>,
    /// Messages sent on this connection and not done: what the Receive Maximum bounds.
    outstanding: BTreeSet<PacketId>,
    receive_maximum: u16,
    connection: u64,
    has_store: bool,
}

#[derive(Clone, Debug)]
struct InFlight {
    stage: Stage,
    /// On which connection it was last sent.
    connection: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Stage {
    /// A PUBLISH without an answer: its QoS, topic unless an alias stood for it, and payload.
    Published(u8, String, Vec<u8>),
    /// PUBREC has come.
    Released,
    /// SUBSCRIBE or UNSUBSCRIBE.
    Requested(PacketType),
}

impl SendLedger {
    /// The sender is on a new connection; `receive_maximum` is what its peer takes on it.
    pub fn begin(&mut self, receive_maximum: u16, session_present: bool) {
        self.connection += 1;
        self.receive_maximum = receive_maximum;
        self.outstanding.clear();
        self.former.clear();
        if session_present {
            self.in_flight
                .retain(|_, it| !matches!(it.stage, Stage::Requested(_)));
        } else {
            self.in_flight.clear();
        }
    }

    /// The sender's messages wait for a store before they leave: the first that is seen of one may be
    /// a repeat.
    pub const fn expect_store(&mut self) {
        self.has_store = true;
    }

    /// Returns whether a packet is a message that was not sent before.
    #[must_use]
    pub fn is_first(&self, packet: &Packet) -> bool {
        let Packet::Publish(publish) = packet else {
            return false;
        };
        let packet_id = publish.packet_id();
        packet_id.is_none_or(|id| !self.in_flight.contains_key(&id))
    }

    /// The sender has stopped, and goes on with these contents of its session. Returns the
    /// identifiers of messages that it has in flight and has never sent.
    pub fn on_crash(&mut self, contents: &Contents) -> Vec<PacketId> {
        self.outstanding.clear();
        let mut known = std::mem::take(&mut self.in_flight);
        known.append(&mut self.former);
        let connection = self.connection;
        let in_flight = contents.in_flight.iter();
        let (sent, unsent): (Vec<_>, Vec<_>) =
            in_flight.partition(|(id, _)| known.contains_key(id));
        for (id, copy) in sent {
            let payload = copy.payload.clone().into_bytes();
            let stage = Stage::Published(copy.qos.as_u8(), copy.topic.clone(), payload);
            self.in_flight.insert(*id, InFlight { stage, connection });
        }
        for id in &contents.released {
            let stage = Stage::Released;
            self.in_flight.insert(*id, InFlight { stage, connection });
        }
        unsent.into_iter().map(|(id, _)| *id).collect()
    }

    /// Returns the messages of QoS 2 that have not been answered: identifier and payload.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (PacketId, &[u8])> {
        self.in_flight
            .iter()
            .filter_map(|(id, it)| match &it.stage {
                Stage::Published(2, _, payload) => Some((*id, payload.as_slice())),
                Stage::Published(..) | Stage::Released | Stage::Requested(_) => None,
            })
    }

    /// The sender begins a new session, and has not told its peer.
    pub fn clear(&mut self) {
        self.former.append(&mut self.in_flight);
        self.outstanding.clear();
    }

    /// Returns whether nothing waits for an answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The sender has sent a packet.
    ///
    /// # Errors
    ///
    /// What it should not have done.
    pub fn on_sent(&mut self, packet: &Packet) -> Result<(), String> {
        match packet {
            Packet::Publish(publish) => self.on_publish_sent(publish),
            Packet::Subscribe(subscribe) => {
                self.on_request_sent(subscribe.packet_id, PacketType::SubAck)
            }
            Packet::Unsubscribe(unsubscribe) => {
                self.on_request_sent(unsubscribe.packet_id, PacketType::UnsubAck)
            }
            Packet::PubRel(ack) => match self.in_flight.get_mut(&ack.packet_id) {
                None if self.has_store => {
                    // It had an identifier, and was given up before it left.
                    let (stage, connection) = (Stage::Released, self.connection);
                    let released = InFlight { stage, connection };
                    self.in_flight.insert(ack.packet_id, released);
                    Ok(())
                }
                Some(InFlight {
                    stage: Stage::Released,
                    ..
                })
                | None => Ok(()),
                Some(other) => Err(format!("PUBREL {} amid {other:?}", ack.packet_id)),
            },
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubComp(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => Ok(()),
        }
    }

    fn on_publish_sent(&mut self, publish: &Publish<Shared>) -> Result<(), String> {
        let (id, dup) = match publish.delivery {
            Delivery::AtMostOnce => return Ok(()),
            Delivery::AtLeastOnce { packet_id, dup } | Delivery::ExactlyOnce { packet_id, dup } => {
                (packet_id, dup)
            }
        };
        let qos = publish.qos().as_u8();
        let (topic, payload) = (publish.topic.to_string(), publish.payload.to_vec());
        let connection = self.connection;
        match self.in_flight.get(&id) {
            Some(known) if known.connection == connection => {
                return Err(format!("identifier {id} is in flight: {known:?}"));
            }
            Some(known) => {
                let is_same = match &known.stage {
                    Stage::Published(known_qos, known_topic, known_payload) => {
                        *known_qos == qos
                            && (*known_topic == topic || known_topic.is_empty() || topic.is_empty())
                            && *known_payload == payload
                    }
                    Stage::Released | Stage::Requested(_) => false,
                };
                if !is_same || !dup {
                    return Err(format!("{publish:?} repeats {known:?}"));
                }
            }
            None if dup && !self.has_store => {
                return Err(format!("DUP in a first {publish:?}"));
            }
            None => {}
        }
        let stage = Stage::Published(qos, topic, payload);
        self.in_flight.insert(id, InFlight { stage, connection });
        self.outstanding.insert(id);
        if self.outstanding.len() > self.receive_maximum.into() {
            return Err(format!(
                "{} messages are outstanding, the peer takes {}",
                self.outstanding.len(),
                self.receive_maximum
            ));
        }
        Ok(())
    }

    fn on_request_sent(&mut self, id: PacketId, answer: PacketType) -> Result<(), String> {
        let request = InFlight {
            stage: Stage::Requested(answer),
            connection: self.connection,
        };
        match self.in_flight.insert(id, request) {
            Some(known) => Err(format!("identifier {id} is in flight: {known:?}")),
            None => Ok(()),
        }
    }

    /// A packet has come back to the sender.
    ///
    /// # Errors
    ///
    /// The peer acknowledges what it cannot have got.
    pub fn on_received(&mut self, packet: &Packet) -> Result<(), String> {
        match packet {
            Packet::PubAck(ack) => self.end(ack.packet_id, PacketType::PubAck),
            Packet::PubRec(ack) if ack.reason_code.is_error() => {
                self.end(ack.packet_id, PacketType::PubRec)
            }
            Packet::PubRec(ack) => match self.in_flight.get_mut(&ack.packet_id) {
                Some(known) => {
                    known.stage = Stage::Released;
                    Ok(())
                }
                None => Err(format!("PUBREC for {}, which is free", ack.packet_id)),
            },
            Packet::PubComp(ack) => self.end(ack.packet_id, PacketType::PubComp),
            Packet::SubAck(ack) => self.end(ack.packet_id, PacketType::SubAck),
            Packet::UnsubAck(ack) => self.end(ack.packet_id, PacketType::UnsubAck),
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Publish(_)
            | Packet::PubRel(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => Ok(()),
        }
    }

    fn end(&mut self, id: PacketId, by: PacketType) -> Result<(), String> {
        self.outstanding.remove(&id);
        let Some(known) = self.in_flight.remove(&id) else {
            return Err(format!("{} for {id}, which is free", by.name()));
        };
        let is_right = match (&known.stage, by) {
            (Stage::Published(qos, ..), PacketType::PubAck) => *qos == 1,
            (Stage::Published(qos, ..), PacketType::PubRec) => *qos == 2,
            (Stage::Released, PacketType::PubComp) => true,
            (Stage::Requested(answer), by) => *answer == by,
            _ => false,
        };
        if is_right {
            Ok(())
        } else {
            Err(format!("{} for {id} answers {known:?}", by.name()))
        }
    }
}

#[cfg(test)]
mod tests {
    use mqttstack_codec::Ack;

    use super::*;

    fn publish(id: u16, qos: u8, dup: bool, payload: &'static str) -> Packet {
        let packet_id = PacketId::new(id).unwrap();
        let delivery = match qos {
            1 => Delivery::AtLeastOnce { packet_id, dup },
            _ => Delivery::ExactlyOnce { packet_id, dup },
        };
        Packet::Publish(Publish {
            delivery,
            ..Publish::new("t", payload)
        })
    }

    fn ledger() -> SendLedger {
        let mut ledger = SendLedger::default();
        ledger.begin(2, false);
        ledger
    }

    #[test]
    fn faults_of_a_sender_are_found() {
        let puback = Packet::PubAck(Ack::new(PacketId::MIN));
        let pubrec = Packet::PubRec(Ack::new(PacketId::MIN));
        // What is sent before, what comes back, whether a reconnect follows, the fault.
        let cases = [
            (
                "an identifier in flight",
                vec![publish(1, 1, false, "x")],
                None,
                false,
                publish(1, 1, false, "y"),
            ),
            (
                "a repeat on one connection",
                vec![publish(1, 1, false, "x")],
                None,
                false,
                publish(1, 1, true, "x"),
            ),
            (
                "DUP in a first",
                vec![],
                None,
                false,
                publish(1, 1, true, "x"),
            ),
            (
                "no DUP in a repeat",
                vec![publish(1, 1, false, "x")],
                None,
                true,
                publish(1, 1, false, "x"),
            ),
            (
                "another payload",
                vec![publish(1, 1, false, "x")],
                None,
                true,
                publish(1, 1, true, "y"),
            ),
            (
                "a repeat after PUBREC",
                vec![publish(1, 2, false, "x")],
                Some(pubrec),
                true,
                publish(1, 2, true, "x"),
            ),
            (
                "a full window",
                vec![publish(1, 1, false, "x"), publish(2, 1, false, "y")],
                None,
                false,
                publish(3, 1, false, "z"),
            ),
            (
                "free again, but DUP",
                vec![publish(1, 1, false, "x")],
                Some(puback),
                false,
                publish(1, 1, true, "x"),
            ),
        ];
        for (name, before, back, reconnects, fault) in cases {
            let mut ledger = ledger();
            for packet in before {
                ledger.on_sent(&packet).unwrap();
            }
            if let Some(packet) = back {
                ledger.on_received(&packet).unwrap();
            }
            if reconnects {
                ledger.begin(2, true);
            }
            assert!(ledger.on_sent(&fault).is_err(), "{name}");
        }
    }

    #[test]
    fn an_honest_exchange_passes() {
        let mut ledger = ledger();
        let id = PacketId::MIN;
        ledger.on_sent(&publish(1, 2, false, "x")).unwrap();
        ledger.begin(2, true);
        ledger.on_sent(&publish(1, 2, true, "x")).unwrap();
        ledger.on_received(&Packet::PubRec(Ack::new(id))).unwrap();
        ledger.on_sent(&Packet::PubRel(Ack::new(id))).unwrap();
        ledger.begin(2, true);
        ledger.on_sent(&Packet::PubRel(Ack::new(id))).unwrap();
        ledger.on_received(&Packet::PubComp(Ack::new(id))).unwrap();
        assert!(ledger.is_empty());
        ledger.on_sent(&publish(1, 1, false, "y")).unwrap();
    }
}
