//! What the wire shows of one sender: identifiers in flight, the window of its peer, and the order of
//! the answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqttstack_codec::{Delivery, Packet, PacketId, PacketType, Publish, Shared};

use crate::Contents;

/// Keeps account of what one side has sent and not seen acknowledged, and finds fault with it and with
/// the answers of its peer.
///
/// It knows nothing of the sessions: it reads their packets, as a peer that trusts nobody would.
///
/// # Specification
///
/// v5 MQTT-2.2.1-2, v5 MQTT-2.2.1-3, v5 MQTT-2.2.1-4, v5 MQTT-3.3.1-1, v5 MQTT-3.3.4-7,
/// v5 MQTT-3.3.4-9, v5 MQTT-4.3.3-4, v5 MQTT-4.3.3-6, v5 MQTT-4.6.0-2, v5 MQTT-4.6.0-3,
/// v5 MQTT-4.6.0-4; v3.1.1 MQTT-2.3.1-2, v3.1.1 MQTT-2.3.1-4, v3.1.1 MQTT-4.6.0-2,
/// v3.1.1 MQTT-4.6.0-3, v3.1.1 MQTT-4.6.0-4.
#[derive(Clone, Debug, Default)]
pub struct SendLedger {
    in_flight: BTreeMap<PacketId, InFlight>,
    /// What was in flight in a session that is over, until the peer is told: a crash before that may
    /// bring it back.
    former: BTreeMap<PacketId, InFlight>,
    /// Messages sent on this connection and not done: what the Receive Maximum bounds.
    outstanding: BTreeSet<PacketId>,
    /// What the peer has to answer on this connection, in the order of its messages.
    unacknowledged: VecDeque<PacketId>,
    unreceived: VecDeque<PacketId>,
    /// What PUBREC has come for on this connection and PUBREL has not been sent for, in the order of
    /// the PUBRECs.
    unreleased: VecDeque<PacketId>,
    receive_maximum: u16,
    connection: u64,
    has_store: bool,
    /// What a crash has left in flight and was not seen on the wire, until the next connection.
    unsent: Option<BTreeSet<PacketId>>,
    doubt: Doubt,
    /// Whether a message has left on this connection that is new: behind it none is sent again.
    has_sent_new: bool,
}

/// Of which messages from before this connection nobody who reads the wire can say whether they were
/// sent: they had an identifier, and waited until that was stored.
#[derive(Clone, Debug, Default)]
enum Doubt {
    #[default]
    None,
    /// The broker has crashed, and this is what was left.
    These(BTreeSet<PacketId>),
    /// Another connection has ended.
    All,
}

impl Doubt {
    fn concerns(&self, id: PacketId) -> bool {
        match self {
            Self::None => false,
            Self::These(ids) => ids.contains(&id),
            Self::All => true,
        }
    }
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
        self.forget_connection();
        self.former.clear();
        self.has_sent_new = false;
        self.doubt = match (self.unsent.take(), session_present && self.has_store) {
            (_, false) => Doubt::None,
            (Some(unsent), true) => Doubt::These(unsent),
            (None, true) => Doubt::All,
        };
        if session_present {
            self.in_flight
                .retain(|_, it| !matches!(it.stage, Stage::Requested(_)));
        } else {
            self.in_flight.clear();
        }
    }

    fn forget_connection(&mut self) {
        self.outstanding.clear();
        self.unacknowledged.clear();
        self.unreceived.clear();
        self.unreleased.clear();
    }

    /// The sender's messages wait for a store before they leave: the first that is seen of one may be
    /// a repeat, if a connection or the sender has ended meanwhile.
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
        self.forget_connection();
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
        let unsent: Vec<PacketId> = unsent.into_iter().map(|(id, _)| *id).collect();
        self.unsent = Some(unsent.iter().copied().collect());
        unsent
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
        self.forget_connection();
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
            Packet::PubRel(ack) => self.on_pubrel_sent(ack.packet_id),
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

    fn on_pubrel_sent(&mut self, id: PacketId) -> Result<(), String> {
        match self.in_flight.get(&id) {
            None if self.doubt.concerns(id) => {
                // It had an identifier, and was given up before it left.
                let (stage, connection) = (Stage::Released, self.connection);
                let released = InFlight { stage, connection };
                self.in_flight.insert(id, released);
            }
            Some(InFlight {
                stage: Stage::Released,
                ..
            })
            | None => {}
            Some(other) => return Err(format!("PUBREL {id} amid {other:?}")),
        }
        // What was released on an earlier connection has no place in the order of this one.
        in_turn(&mut self.unreleased, id, PacketType::PubRel)
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
            None if dup && (self.has_sent_new || !self.doubt.concerns(id)) => {
                return Err(format!("DUP in a first {publish:?}"));
            }
            None => {}
        }
        self.has_sent_new |= !dup;
        match qos {
            2 => self.unreceived.push_back(id),
            _ => self.unacknowledged.push_back(id),
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
            Packet::PubAck(ack) => {
                in_turn(&mut self.unacknowledged, ack.packet_id, PacketType::PubAck)?;
                self.end(ack.packet_id, PacketType::PubAck)
            }
            Packet::PubRec(ack) => {
                let id = ack.packet_id;
                in_turn(&mut self.unreceived, id, PacketType::PubRec)?;
                if ack.reason_code.is_error() {
                    return self.end(id, PacketType::PubRec);
                }
                let Some(known) = self.in_flight.get_mut(&id) else {
                    return Err(format!("PUBREC for {id}, which is free"));
                };
                known.stage = Stage::Released;
                if !self.unreleased.contains(&id) {
                    self.unreleased.push_back(id);
                }
                Ok(())
            }
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

/// Strikes out what is answered, which has to be the first of those that wait; what does not wait, as it
/// was answered before, is nobody's turn.
fn in_turn(waiting: &mut VecDeque<PacketId>, id: PacketId, by: PacketType) -> Result<(), String> {
    match waiting.iter().position(|it| *it == id) {
        Some(0) => {
            waiting.pop_front();
            Ok(())
        }
        Some(_) => Err(format!("{} {id} out of turn: {waiting:?}", by.name())),
        None => Ok(()),
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

    #[test]
    fn answers_out_of_turn_are_found() {
        // v5 MQTT-4.6.0-2, v5 MQTT-4.6.0-3, v5 MQTT-4.6.0-4
        // v3.1.1 MQTT-4.6.0-2, v3.1.1 MQTT-4.6.0-3, v3.1.1 MQTT-4.6.0-4
        let ack = |id| Ack::new(PacketId::new(id).expect("not 0"));
        for is_in_turn in [true, false] {
            let [first, second] = if is_in_turn { [1, 2] } else { [2, 1] };
            for qos in [1, 2] {
                let mut ledger = ledger();
                ledger.on_sent(&publish(1, qos, false, "x")).unwrap();
                ledger.on_sent(&publish(2, qos, false, "y")).unwrap();
                let answer = match qos {
                    1 => Packet::PubAck(ack(first)),
                    _ => Packet::PubRec(ack(first)),
                };
                assert_eq!(
                    ledger.on_received(&answer).is_ok(),
                    is_in_turn,
                    "{answer:?}"
                );
            }
            let mut ledger = ledger();
            for id in [1, 2] {
                ledger.on_sent(&publish(id, 2, false, "x")).unwrap();
                ledger.on_received(&Packet::PubRec(ack(id))).unwrap();
            }
            let sent = ledger.on_sent(&Packet::PubRel(ack(first)));
            assert_eq!(sent.is_ok(), is_in_turn, "PUBREL {first}");
            if is_in_turn {
                ledger.on_sent(&Packet::PubRel(ack(second))).unwrap();
            }
        }
    }

    #[test]
    fn a_first_may_be_a_repeat_only_where_a_crash_or_a_new_connection_leaves_it_in_doubt() {
        use Doubt::{All, None as Certain, These};
        let ids = |ids: &[u16]| ids.iter().filter_map(|id| PacketId::new(*id)).collect();
        // What is in doubt, what was sent since, whether the repeat of message 3 is fine then.
        for (doubt, before, is_fine) in [
            (Certain, None, false),
            (These(ids(&[3])), None, true),
            (These(ids(&[4])), None, false),
            (These(ids(&[3])), Some(publish(5, 1, false, "y")), false),
            (All, None, true),
            (All, Some(publish(5, 1, true, "y")), true),
            (All, Some(publish(5, 1, false, "y")), false),
        ] {
            for qos in [1, 2] {
                let mut ledger = ledger();
                ledger.expect_store();
                ledger.doubt = doubt.clone();
                if let Some(before) = &before {
                    ledger.on_sent(before).unwrap();
                }
                let sent = ledger.on_sent(&publish(3, qos, true, "x"));
                assert_eq!(sent.is_ok(), is_fine, "{doubt:?} {before:?}");
            }
        }
    }
}
