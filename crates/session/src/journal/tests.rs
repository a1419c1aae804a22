//! What waits for the store, and what is written.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{num::NonZeroU32, time::Duration};

use mqttstack_codec::{
    Ack, Connect, Delivery, Packet, PacketType, Properties, ProtocolVersion, Publish, QoS,
    ReasonCode, Shared, SubscriptionOptions, Will,
};
use mqttstack_limits::Limits;
use proptest::prelude::*;

use super::*;
use crate::{
    SessionState, SubscriptionIds,
    server::{Acceptance, Session},
    testing::{at, id, message},
};

/// A server session that keeps a journal, and its client.
struct Journaled {
    session: Session,
    /// The place of the last operation that was drained.
    drained: OperationSequence,
}

impl Journaled {
    fn new(mut state: SessionState) -> Self {
        state.keep_journal();
        let mut session = Session::new(Arc::new(Limits::default()), at(0.0));
        let connect: Connect = Connect {
            clean_start: false,
            ..Connect::new(ProtocolVersion::V311, "c")
        };
        assert_eq!(
            session.handle_packet(Packet::Connect(connect), at(0.0)),
            Ok(())
        );
        let acceptance = Acceptance {
            state,
            session_present: true,
            ..Acceptance::default()
        };
        assert!(session.accept(acceptance, at(0.0)).is_ok());
        while session.poll_event().is_some() {}
        let mut journaled = Self {
            session,
            drained: OperationSequence::default(),
        };
        assert!(matches!(*journaled.sent(), [Packet::ConnAck(_), ..]));
        journaled
    }

    fn receive(&mut self, packet: Packet) {
        assert_eq!(self.session.handle_packet(packet, at(0.0)), Ok(()));
    }

    fn publish(&mut self, words: &str) {
        let message = message(words);
        let options = options(message.qos());
        assert!(self.session.publish(message, options, at(0.0)).is_ok());
    }

    /// Returns what is sent now; has_packet says whether there is something.
    fn sent(&mut self) -> Vec<Packet> {
        let mut sent = Vec::new();
        while let Some(packet) = self.session.poll_packet(at(0.0)) {
            sent.push(packet.into_packet(ProtocolVersion::V311).expect("a packet"));
        }
        assert!(!self.session.has_packet());
        sent
    }

    fn recorded(&mut self) -> Vec<Operation> {
        let mut operations = Vec::new();
        while let Some((sequence, operation)) = self.session.poll_operation() {
            assert_eq!(Some(sequence.get()), self.drained.get().checked_add(1));
            self.drained = sequence;
            operations.push(operation);
        }
        operations
    }

    fn store(&mut self) {
        self.recorded();
        self.session.handle_stored(self.drained);
    }
}

fn options(qos: QoS) -> DeliveryOptions {
    DeliveryOptions {
        qos,
        retain: false,
        subscription_ids: SubscriptionIds::None,
        group: None,
    }
}

fn publish(qos: QoS, packet_id: u16) -> Packet {
    Packet::Publish(Publish {
        delivery: Delivery::new(qos, Some(id(packet_id))).expect("fits"),
        ..Publish::new("a", "x".as_bytes())
    })
}

fn publish_id(packet: &Packet) -> Option<u16> {
    let Packet::Publish(publish) = packet else {
        return None;
    };
    Some(publish.packet_id().map_or(0, PacketId::get))
}

#[test]
fn without_a_journal_nothing_is_recorded_and_nothing_waits() {
    let mut state = SessionState::new();
    let limits = Limits::default();
    let queued = state.enqueue(
        message("q2 a=x"),
        options(QoS::ExactlyOnce),
        &limits,
        at(0.0),
    );
    assert!(queued.is_ok());
    assert_eq!(state.poll_operation(), None);
    assert_eq!(state.recorded(), OperationSequence::default());
    assert!(size_of::<SessionState>() <= 40);
}

#[test]
fn a_qos_2_message_leaves_when_it_is_stored_that_it_is_in_flight() {
    let mut it = Journaled::new(SessionState::new());
    it.publish("q2 a=1");
    it.publish("q1 a=2");
    it.publish("q0 a=3");
    it.publish("q2 a=4");
    // QoS 0 passes; QoS 1 keeps its place behind QoS 2.
    assert!(matches!(
        it.sent().iter().map(publish_id).collect::<Vec<_>>()[..],
        [Some(0)]
    ));
    let names = it.recorded().len();
    assert_eq!(names, 6, "three queued, three sent");
    it.session.handle_stored(OperationSequence::new(3));
    assert_eq!(it.sent(), []);
    it.session.handle_stored(it.drained);
    let sent = it.sent();
    let ids: Vec<_> = sent.iter().map(publish_id).collect();
    assert_eq!(ids, [Some(1), Some(2), Some(3)]);
}

#[test]
fn a_qos_1_message_waits_for_nothing() {
    let mut it = Journaled::new(SessionState::new());
    it.publish("q1 a=1");
    assert_eq!(it.sent().len(), 1);
    it.receive(Packet::PubAck(Ack::new(id(1))));
    assert!(matches!(
        it.recorded()[..],
        [
            Operation::Queued { .. },
            Operation::Sent { .. },
            Operation::Completed { .. }
        ]
    ));
}

#[test]
fn pubrel_leaves_when_it_is_stored_that_the_message_was_taken() {
    let mut it = Journaled::new(SessionState::new());
    it.publish("q2 a=1");
    assert_eq!(it.sent(), []);
    it.store();
    assert_eq!(it.sent().len(), 1);
    it.receive(Packet::PubRec(Ack::new(id(1))));
    // A client that repeats itself learns no more.
    it.receive(Packet::PubRec(Ack::new(id(1))));
    assert_eq!(it.sent(), []);
    it.store();
    let pubrel = Packet::PubRel(Ack::new(id(1)));
    assert_eq!(it.sent(), [pubrel.clone(), pubrel]);
}

#[test]
fn pubrec_leaves_when_the_acceptance_is_stored_and_acknowledgements_keep_their_order() {
    // v3.1.1 MQTT-4.6.0-2
    let mut it = Journaled::new(SessionState::new());
    it.receive(publish(QoS::ExactlyOnce, 7));
    it.receive(publish(QoS::AtLeastOnce, 8));
    it.session.acknowledge(id(8), ReasonCode::Success);
    assert_eq!(it.sent(), []);
    it.session.acknowledge(id(7), ReasonCode::Success);
    assert_eq!(it.sent(), [], "not before it is stored");
    assert_eq!(it.recorded(), [Operation::Accepted { packet_id: id(7) }]);
    it.session.handle_stored(it.drained);
    let acks = [
        Packet::PubRec(Ack::new(id(7))),
        Packet::PubAck(Ack::new(id(8))),
    ];
    assert_eq!(it.sent(), acks);
}

#[test]
fn a_pubrec_that_answers_a_repeat_waits_as_well() {
    let mut state = SessionState::new();
    state.keep_journal();
    let mut it = Journaled::new(state);
    it.receive(publish(QoS::ExactlyOnce, 7));
    it.session.acknowledge(id(7), ReasonCode::Success);
    it.session.handle_closed();
    let state = it.session.detach().expect("a session");
    let mut it = Journaled::new(state);
    it.receive(publish(QoS::ExactlyOnce, 7));
    assert_eq!(it.sent(), []);
    it.store();
    assert_eq!(it.sent(), [Packet::PubRec(Ack::new(id(7)))]);
}

#[test]
fn pubcomp_leaves_when_the_release_is_stored() {
    let mut it = Journaled::new(SessionState::new());
    it.receive(publish(QoS::ExactlyOnce, 7));
    it.session.acknowledge(id(7), ReasonCode::Success);
    it.store();
    assert_eq!(it.sent().len(), 1);
    it.receive(Packet::PubRel(Ack::new(id(7))));
    // Nor does another PUBREL, which nobody knows by now, tell that it is released.
    it.receive(Packet::PubRel(Ack::new(id(7))));
    assert_eq!(it.sent(), []);
    it.store();
    let pubcomp = Packet::PubComp(Ack::new(id(7)));
    assert_eq!(it.sent(), [pubcomp.clone(), pubcomp]);
}

#[test]
fn what_was_in_flight_is_sent_again_once_that_is_stored() {
    let mut it = Journaled::new(SessionState::new());
    it.publish("q2 a=1");
    assert_eq!(it.sent(), []);
    it.session.handle_closed();
    let mut it = Journaled::new(it.session.detach().expect("a session"));
    it.publish("q1 a=2");
    assert_eq!(it.sent(), [], "nothing passes what is to be sent again");
    it.store();
    let ids: Vec<_> = it.sent().iter().map(publish_id).collect();
    assert_eq!(ids, [Some(1), Some(2)]);
}

#[test]
fn a_new_session_is_recorded_as_such() {
    let mut state = SessionState::new();
    state.keep_journal();
    let limits = Limits::default();
    let queued = state.enqueue(
        message("q1 a=x"),
        options(QoS::AtLeastOnce),
        &limits,
        at(0.0),
    );
    assert!(queued.is_ok());
    state.clear();
    state.clear();
    assert!(matches!(
        state.poll_operation(),
        Some((_, Operation::Queued { .. }))
    ));
    assert_eq!(
        state.poll_operation(),
        Some((OperationSequence::new(2), Operation::Cleared))
    );
    assert_eq!(state.poll_operation(), None);
    assert!(state.keeps_journal() && state.is_empty());
}

#[test]
fn an_empty_state_that_begins_anew_can_be_replayed() {
    let mut it = Journaled::new(SessionState::new());
    it.publish("q1 a=1");
    it.store();
    it.sent();
    it.receive(Packet::PubAck(Ack::new(id(1))));
    it.session.handle_closed();
    let mut operations = it.recorded();
    let mut state = it.session.detach().expect("a session");
    assert!(state.is_empty());
    state.clear();
    state.clear();
    let limits = Limits::default();
    let again = state.enqueue(
        message("q1 a=2"),
        options(QoS::AtLeastOnce),
        &limits,
        at(0.0),
    );
    assert_eq!(again, Ok(PublishToken::new(1)), "tokens begin anew");
    operations.extend(core::iter::from_fn(|| state.poll_operation()).map(|(_, it)| it));
    let cleared = operations.iter().filter(|it| **it == Operation::Cleared);
    assert_eq!(cleared.count(), 1);
    let mut copy = SessionState::new();
    copy.apply(Operation::Queued {
        token: PublishToken::new(1),
        message: message("q1 a=1"),
        options: options(QoS::AtLeastOnce),
        expires_at: Instant::NEVER,
    })
    .expect("it was stored before");
    for operation in operations {
        assert_eq!(copy.apply(operation), Ok(()));
    }
    assert_eq!(copy, state);
}

#[test]
fn a_message_that_expires_while_it_waits_for_the_store_is_not_sent() {
    // v5 MQTT-3.3.2-5; the copy in the store gives the identifier back as well.
    for (words, then) in [("q2 a=1", "q2 a=2"), ("q2 a=1", "q1 a=2")] {
        let mut it = Journaled::new(SessionState::new());
        let brief = message(&std::format!("{words} expiry=1"));
        it.session
            .publish(brief, options(QoS::ExactlyOnce), at(0.0))
            .expect("taken");
        it.publish(then);
        assert_eq!(it.sent(), []);
        it.store();
        let sent = it.session.poll_packet(at(100.0)).expect("the second");
        let sent = sent.into_packet(ProtocolVersion::V311).expect("a packet");
        assert_eq!(publish_id(&sent), Some(2), "{words}, {then}");
        assert_eq!(it.session.poll_packet(at(100.0)), None);
        let ended = Operation::Completed { packet_id: id(1) };
        assert!(it.recorded().contains(&ended));
        let status = it.session.queue_status();
        assert_eq!((status.inflight, status.expired), (1, 1));
    }
}

#[test]
fn without_its_journal_a_session_lets_everything_go() {
    let mut it = Journaled::new(SessionState::new());
    it.publish("q2 a=1");
    it.sent();
    it.store();
    assert_eq!(it.sent().len(), 1);
    it.receive(Packet::PubRec(Ack::new(id(1))));
    it.receive(publish(QoS::ExactlyOnce, 7));
    it.session.acknowledge(id(7), ReasonCode::Success);
    it.publish("q2 a=2");
    assert_eq!(it.sent(), []);
    it.session.drop_journal();
    let kinds: Vec<_> = it.sent().iter().map(Packet::packet_type).collect();
    assert_eq!(
        kinds,
        [PacketType::PubRec, PacketType::PubRel, PacketType::Publish]
    );
    it.receive(Packet::PubRel(Ack::new(id(7))));
    assert_eq!(it.sent(), [Packet::PubComp(Ack::new(id(7)))]);
}

#[test]
fn acknowledgements_in_any_order_leave_in_that_of_the_messages() {
    // v5 MQTT-4.6.0-2, v3.1.1 MQTT-4.6.0-2
    const COUNT: u16 = 1_000;
    for step in [1, 7, 999] {
        let mut it = Journaled::new(SessionState::new());
        for n in 1..=COUNT {
            it.receive(publish(QoS::AtLeastOnce, n));
        }
        for n in (0..COUNT).rev() {
            let packet_id = id(u16::try_from(u32::from(n) * step % 1_000 + 1).expect("small"));
            it.session.acknowledge(packet_id, ReasonCode::Success);
        }
        let expected: Vec<_> = (1..=COUNT)
            .map(|n| Packet::PubAck(Ack::new(id(n))))
            .collect();
        assert_eq!(it.sent(), expected);
        assert_eq!(it.session.owed_acknowledgements(), 0);
    }
}

/// Encodes, and decodes what comes of it.
fn reread(state: &SessionState) -> (Vec<u8>, Result<SessionState, FormatError>) {
    let mut bytes = Vec::new();
    state.encode(Epoch::default(), &mut bytes);
    let read = SessionState::decode(&bytes, Epoch::default());
    (bytes, read)
}

/// A state with one of everything.
fn busy_state() -> SessionState {
    let mut it = Journaled::new(SessionState::new());
    for words in ["q2 a=1", "q1 a=2 user", "q2 a=3", "q1 a=4"] {
        it.publish(words);
    }
    it.sent();
    it.store();
    assert_eq!(it.sent().len(), 4);
    it.receive(Packet::PubRec(Ack::new(id(1))));
    it.receive(publish(QoS::ExactlyOnce, 7));
    it.session.acknowledge(id(7), ReasonCode::Success);
    it.receive(publish(QoS::ExactlyOnce, 8));
    it.session.handle_closed();
    let mut state = it.session.detach().expect("a session");
    let limits = Limits::default();
    let message = Message::builder("b", "later").qos(QoS::ExactlyOnce);
    let message = message.expiry_interval(60).build().expect("valid");
    let options = DeliveryOptions {
        retain: true,
        subscription_ids: [3, 900_000].into_iter().collect(),
        group: NonZeroU32::new(7),
        ..options(QoS::ExactlyOnce)
    };
    assert!(state.enqueue(message, options, &limits, at(0.0)).is_ok());
    state.forget_undecided();
    state
}

#[test]
fn a_state_is_read_as_it_was_written() {
    for state in [SessionState::new(), busy_state()] {
        let (_, read) = reread(&state);
        assert_eq!(read, Ok(state));
    }
}

#[test]
fn a_queued_message_takes_six_bytes_beside_topic_and_payload() {
    let mut state = SessionState::new();
    let limits = Limits::default();
    let (empty, _) = reread(&state);
    assert_eq!(empty, [2]);
    let payload = "x".repeat(64);
    for _ in 0..100 {
        let message = Message::builder("sensors/1/temperature", payload.clone());
        let message = message.qos(QoS::AtLeastOnce).build().expect("valid");
        let options = options(QoS::AtLeastOnce);
        assert!(state.enqueue(message, options, &limits, at(0.0)).is_ok());
    }
    let (bytes, _) = reread(&state);
    let totals = 5;
    assert_eq!(bytes.len(), 1 + totals + 100 * (64 + 21 + 6));
}

#[test]
fn records_that_may_be_skipped_are_and_others_are_not() {
    let (mut bytes, _) = reread(&busy_state());
    bytes.extend([0xC1, 0x02, 0xAA, 0xBB]);
    assert_eq!(
        SessionState::decode(&bytes, Epoch::default()),
        Ok(busy_state())
    );
    bytes.extend([0x7F, 0x00]);
    assert_eq!(
        SessionState::decode(&bytes, Epoch::default()),
        Err(FormatError::UnknownKind { kind: 0x7F })
    );
    assert_eq!(
        SessionState::decode(&[3], Epoch::default()),
        Err(FormatError::UnknownVersion { version: 3 })
    );
}

#[test]
fn what_version_1_wrote_can_be_read() {
    // It had everything but shared groups.
    let mut state = SessionState::new();
    let message = message("q1 a=x");
    let options = options(QoS::AtLeastOnce);
    let limits = Limits::default();
    assert!(state.enqueue(message, options, &limits, at(0.0)).is_ok());
    let written = [1, 1, 6, 1, 1, 1, 1, b'a', b'x', 0x80, 3, 1, 0, 0];
    assert_eq!(SessionState::decode(&written, Epoch::default()), Ok(state));
}

#[test]
fn one_message_that_expired_in_the_middle_of_a_queue_is_replayed() {
    let queued = |number| Operation::Queued {
        token: PublishToken::new(number),
        message: message("q1 t=x"),
        options: options(QoS::AtLeastOnce),
        expires_at: Instant::NEVER,
    };
    let swept = Operation::Swept {
        tokens: [PublishToken::new(2)].into(),
    };
    let mut bytes = Vec::new();
    swept.encode(Epoch::from_micros(0), &mut bytes);
    // Written, it is the same as a message given up.
    let read = Operation::decode(&mut bytes.as_slice(), Epoch::from_micros(0));
    let read = read.expect("valid").expect("one");
    for swept in [swept, read] {
        let mut state = SessionState::new();
        for operation in [queued(1), queued(2), queued(3), swept] {
            assert_eq!(state.apply(operation), Ok(()));
        }
        assert_eq!(state.queue_status().queued_messages, 2);
        let unknown = Operation::GivenUp {
            token: PublishToken::new(2),
        };
        assert!(state.apply(unknown).is_err());
    }
}

#[test]
fn subscription_identifiers_that_mqtt_cannot_write_are_refused() {
    for (ids, is_fine) in [
        (&[1][..], true),
        (&[268_435_455], true),
        (&[1, 268_435_455], true),
        (&[0], false),
        (&[268_435_456], false),
        (&[1, 0], false),
    ] {
        let limits = Limits::default();
        let options = DeliveryOptions {
            subscription_ids: ids.iter().copied().collect(),
            ..options(QoS::AtLeastOnce)
        };
        let mut state = SessionState::new();
        let queued = state.enqueue(message("q1 a=x"), options, &limits, at(0.0));
        assert!(queued.is_ok());
        assert_eq!(reread(&state).1.is_ok(), is_fine, "{ids:?}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let refused = |body: &[u8]| {
        let bytes = [&[1], body].concat();
        SessionState::decode(&bytes, Epoch::default()).expect_err("refused")
    };
    // Sent without being queued; completed twice; a token that repeats; an identifier of 0.
    assert!(matches!(
        refused(&[2, 2, 1, 1]),
        FormatError::Replay(ReplayError::NotNext { .. })
    ));
    assert!(matches!(
        refused(&[3, 1, 5, 4, 1, 5, 4, 1, 5]),
        FormatError::Replay(ReplayError::UnknownIdentifier { .. })
    ));
    let queued = [1, 6, 1, 1, 1, 1, b'a', b'x'];
    assert!(matches!(
        refused(&[queued, queued].concat()),
        FormatError::Replay(ReplayError::TokenOutOfOrder { .. })
    ));
    assert!(matches!(
        refused(&[4, 1, 0]),
        FormatError::OutOfRange { .. }
    ));
    // A wildcard is no topic; a QoS 0 message does not wait; a byte too many.
    assert!(matches!(
        refused(&[1, 6, 1, 1, 1, 1, b'#', b'x']),
        FormatError::InvalidText { .. }
    ));
    assert!(matches!(
        refused(&[1, 6, 1, 0, 1, 1, b'a', b'x']),
        FormatError::Replay(ReplayError::QosZero)
    ));
    // Group 0, and one beyond 32 bits.
    for group in [&[0][..], &[0x80, 0x80, 0x80, 0x80, 0x10]] {
        let delivery = [&[1, 0x41], group, &[1, 1, b'a']].concat();
        let len = u8::try_from(delivery.len()).expect("short");
        assert_eq!(
            refused(&[&[1, len][..], &delivery].concat()),
            FormatError::OutOfRange {
                field: "shared group"
            }
        );
    }
    assert_eq!(refused(&[9, 1, 0]), FormatError::TrailingBytes { count: 1 });
}

fn any_message() -> impl Strategy<Value = Message> {
    let expiry = prop_oneof![Just(None), any::<u32>().prop_map(Some)];
    (
        0_u8..=2,
        any::<bool>(),
        expiry,
        "[a-c/]{1,9}",
        0_usize..90,
        any::<bool>(),
    )
        .prop_map(|(qos, retain, expiry, topic, payload, has_properties)| {
            let qos = QoS::from_u8(qos).expect("0 to 2");
            let mut builder = Message::builder(topic, Vec::from([7_u8; 100].split_at(payload).0));
            builder = builder.qos(qos).retain(retain);
            if let Some(seconds) = expiry {
                builder = builder.expiry_interval(seconds);
            }
            if has_properties {
                builder = builder.content_type("text").user_property("a", "b");
            }
            builder.build().expect("valid")
        })
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let packet_id = || (1_u16..6).prop_map(id);
    let token = || (1_u64..9).prop_map(PublishToken::new);
    let queued = (
        token(),
        any_message(),
        0_u8..=2,
        prop::collection::vec(1_u32..900_000, 0..3),
        any::<Option<u32>>(),
    );
    prop_oneof![
        4 => queued.prop_map(|(token, message, qos, ids, deadline)| Operation::Queued {
            token,
            options: DeliveryOptions {
                qos: QoS::from_u8(qos).expect("0 to 2"),
                retain: qos == 1,
                group: NonZeroU32::new(ids.len().try_into().expect("a few")),
                subscription_ids: ids.into_iter().collect(),
            },
            expires_at: deadline.map_or(Instant::NEVER, |micros| at(0.0) + Duration::from_micros(micros.into())),
            message,
        }),
        4 => (token(), packet_id()).prop_map(|(token, packet_id)| Operation::Sent { token, packet_id }),
        2 => (packet_id(), prop::option::of(token())).prop_map(|(packet_id, token)| Operation::Taken { packet_id, token }),
        2 => packet_id().prop_map(|packet_id| Operation::Completed { packet_id }),
        1 => token().prop_map(|token| Operation::GivenUp { token }),
        1 => prop::collection::vec(token(), 2..4).prop_map(|tokens| Operation::Swept { tokens: tokens.into() }),
        2 => packet_id().prop_map(|packet_id| Operation::Accepted { packet_id }),
        1 => packet_id().prop_map(|packet_id| Operation::Released { packet_id }),
        1 => any::<bool>().prop_map(|resend| Operation::PeerLost { resend }),
        1 => Just(Operation::Cleared),
    ]
}

fn any_will() -> impl Strategy<Value = Will<Shared>> {
    (any_message(), prop::option::of(any::<u32>())).prop_map(|(message, delay)| {
        let mut properties = Properties::builder().properties(message.properties().iter());
        if let Some(delay) = delay {
            properties = properties.will_delay_interval(delay);
        }
        Will {
            qos: message.qos(),
            retain: message.retain(),
            properties: properties.build().expect("valid"),
            topic: message.topic().into(),
            payload: message.payload_bytes(),
        }
    })
}

fn any_change() -> impl Strategy<Value = Change> {
    let moment = || {
        prop_oneof![
            Just(Instant::NEVER),
            any::<u32>().prop_map(|it| at(it.into()))
        ]
    };
    let subscribed = ("[a-c/#+]{1,9}", 0_u8..=2, any::<bool>(), 0_u32..3);
    prop_oneof![
        1 => ("[a-c]{0,5}", prop::option::of("[a-c]{0,5}"), any::<u64>()).prop_map(|(client_id, identity, key)| {
            Change::Begun { client_id: client_id.into(), identity: identity.map(Into::into), key }
        }),
        1 => any::<u64>().prop_map(|key| Change::Keyed { key }),
        2 => (any::<u32>(), prop::option::of(any_will())).prop_map(|(session_expiry_interval, will)| {
            Change::Connected { session_expiry_interval, will: will.map(Box::new) }
        }),
        2 => (moment(), prop::option::of(moment())).prop_map(|(expires_at, will_at)| Change::Disconnected { expires_at, will_at }),
        1 => Just(Change::WillPublished),
        2 => subscribed.prop_map(|(filter, qos, no_local, id)| Change::Subscribed {
            filter: filter.into(),
            subscription: RecordedSubscription {
                options: SubscriptionOptions { no_local, ..SubscriptionOptions::new(QoS::from_u8(qos).expect("0 to 2")) },
                subscription_id: (id > 0).then_some(id),
            },
        }),
        1 => "[a-c/#+]{1,9}".prop_map(|filter| Change::Unsubscribed { filter: filter.into() }),
        6 => any_operation().prop_map(Change::State),
        1 => Just(Change::Ended),
    ]
}

fn any_store_operation() -> impl Strategy<Value = StoreOperation> {
    let parcel =
        || (any::<u8>(), 1_u64..9).prop_map(|(worker, number)| ParcelNumber { worker, number });
    let targets = prop::collection::vec((any::<u64>(), 1_u8..=2), 0..4);
    let moment = prop_oneof![
        Just(Instant::NEVER),
        any::<u32>().prop_map(|it| at(it.into()))
    ];
    prop_oneof![
        4 => (1_u64..4, any_change()).prop_map(|(number, change)| StoreOperation::Session { session: SessionNumber(number), change }),
        1 => (any_message(), moment, 0_u64..9).prop_map(|(message, expires_at, version)| StoreOperation::Retained { message, expires_at, version }),
        1 => ("[a-c]{1,5}", 0_u64..9).prop_map(|(topic, version)| StoreOperation::RetainedRemoved { topic: topic.into(), version }),
        1 => (parcel(), parcel(), any_message(), targets).prop_map(|(parcel, origin, message, targets)| StoreOperation::Parcel {
            parcel,
            origin,
            message,
            targets: targets.into_iter().map(|(key, qos)| (key, options(QoS::from_u8(qos).expect("1 or 2")))).collect(),
        }),
        1 => parcel().prop_map(|parcel| StoreOperation::ParcelTaken { parcel }),
    ]
}

#[test]
fn of_two_sessions_of_a_client_the_later_is_recovered_and_parcels_arrive() {
    let mut image = StoreImage::new();
    let session = |number, change| StoreOperation::Session {
        session: SessionNumber(number),
        change,
    };
    let begun = |key| Change::Begun {
        client_id: "c".into(),
        identity: None,
        key,
    };
    let parcel = |number| ParcelNumber { worker: 0, number };
    let sent = |number, key, words: &str| StoreOperation::Parcel {
        parcel: parcel(number),
        origin: parcel(number),
        message: message(words),
        targets: [(key, options(QoS::AtLeastOnce))].into(),
    };
    for operation in [
        session(2, begun(7)),
        session(1, begun(6)),
        sent(1, 7, "q1 a=taken"),
        sent(2, 7, "q1 a=under-way"),
        sent(3, 6, "q1 a=for-nobody"),
        StoreOperation::ParcelTaken { parcel: parcel(1) },
        // What belongs to a session that has ended says nothing.
        session(9, Change::WillPublished),
    ] {
        assert_eq!(image.apply(operation), Ok(()));
    }
    let recovered = image.recover(&Limits::default(), at(0.0));
    let [(number, record)] = &recovered.sessions[..] else {
        panic!("{recovered:?}");
    };
    assert_eq!(
        (number.0, record.state.queue_status().queued_messages),
        (2, 1)
    );
    // Nothing is left that would change it once more.
    assert_eq!(image.recover(&Limits::default(), at(0.0)), recovered);
}

#[test]
fn what_one_worker_sent_is_recovered_in_its_order_though_some_of_it_was_passed_on() {
    // v5 MQTT-4.6.0-6; v3.1.1 MQTT-4.6.0-6
    let mut image = StoreImage::new();
    let begun = Change::Begun {
        client_id: "c".into(),
        identity: None,
        key: 7,
    };
    let session = SessionNumber(1);
    let operation = StoreOperation::Session {
        session,
        change: begun,
    };
    assert_eq!(image.apply(operation), Ok(()));
    let parcel = |worker, number| ParcelNumber { worker, number };
    for (parcel, origin, words) in [
        // Worker 1 sent these two; the first went by the old place of the session, with worker 2.
        (parcel(1, 2), parcel(1, 2), "q1 a=second"),
        (parcel(2, 1), parcel(1, 1), "q1 a=first"),
        (parcel(0, 9), parcel(0, 9), "q1 a=from-elsewhere"),
    ] {
        let operation = StoreOperation::Parcel {
            parcel,
            origin,
            message: message(words),
            targets: [(7, options(QoS::AtLeastOnce))].into(),
        };
        assert_eq!(image.apply(operation), Ok(()));
    }
    let recovered = image.recover(&Limits::default(), at(0.0));
    let mut state = SessionState::default();
    for words in ["q1 a=from-elsewhere", "q1 a=first", "q1 a=second"] {
        let (options, limits) = (options(QoS::AtLeastOnce), Limits::default());
        let queued = state.enqueue(message(words), options, &limits, at(0.0));
        assert!(queued.is_ok());
    }
    assert_eq!(recovered.sessions[0].1.state, state);
}

#[test]
fn the_latest_retained_message_holds_whoever_writes_first() {
    let mut image = StoreImage::new();
    let retained = |words: &str, version, expires_at| StoreOperation::Retained {
        message: message(words),
        expires_at,
        version,
    };
    let removed = |topic: &str, version| StoreOperation::RetainedRemoved {
        topic: topic.into(),
        version,
    };
    for operation in [
        retained("a=new", 2, Instant::NEVER),
        retained("a=old", 1, Instant::NEVER),
        removed("b", 4),
        retained("b=old", 3, Instant::NEVER),
        retained("c=expired", 5, at(0.0)),
    ] {
        assert_eq!(image.apply(operation), Ok(()));
    }
    let recovered = image.recover(&Limits::default(), at(0.0));
    assert_eq!(recovered.retained, [(message("a=new"), Instant::NEVER)]);
}

proptest! {
    #[test]
    fn store_operations_are_read_as_they_were_written(operations in prop::collection::vec(any_store_operation(), 0..20)) {
        let mut bytes = Vec::new();
        for operation in &operations {
            operation.encode(Epoch::default(), &mut bytes);
        }
        let mut rest = bytes.as_slice();
        for operation in operations {
            prop_assert_eq!(StoreOperation::decode(&mut rest, Epoch::default()), Ok(Some(operation)));
        }
        prop_assert_eq!(StoreOperation::decode(&mut rest, Epoch::default()), Ok(None));
        for len in 0..bytes.len() {
            let mut cut = bytes.get(..len).unwrap_or_default();
            while let Ok(Some(_)) = StoreOperation::decode(&mut cut, Epoch::default()) {}
        }
    }

    #[test]
    fn a_session_is_read_as_it_was_written(changes in prop::collection::vec(any_change(), 0..60)) {
        let mut record = SessionRecord::new("c".into(), None, 1);
        for change in changes {
            let _ = record.apply(change);
        }
        let mut bytes = Vec::new();
        record.encode(Epoch::default(), &mut bytes);
        prop_assert_eq!(SessionRecord::decode(&bytes, Epoch::default()), Ok(record));
        for len in 0..bytes.len() {
            let cut = bytes.get(..len).unwrap_or_default();
            let _ = SessionRecord::decode(cut, Epoch::default());
        }
    }

    #[test]
    fn any_operations_leave_a_state_that_is_written_and_read(operations in prop::collection::vec(any_operation(), 0..60)) {
        let mut state = SessionState::new();
        let mut journal = Vec::new();
        for operation in operations {
            let before = state.clone();
            let mut bytes = Vec::new();
            operation.encode(Epoch::default(), &mut bytes);
            let read = Operation::decode(&mut bytes.as_slice(), Epoch::default());
            prop_assert_eq!(read.as_ref(), Ok(&Some(operation.clone())));
            match state.apply(operation) {
                Ok(()) => journal.extend(bytes),
                Err(_) => prop_assert_eq!(&state, &before, "a refused operation changes nothing"),
            }
        }
        let (_, read) = reread(&state);
        prop_assert_eq!(read.as_ref(), Ok(&state));
        // The journal alone leads there as well.
        let replayed = SessionState::decode(&[&[1], journal.as_slice()].concat(), Epoch::default());
        prop_assert_eq!(replayed, Ok(state));
    }

    #[test]
    fn m3_no_bytes_bring_the_reader_down(bytes in prop::collection::vec(any::<u8>(), 0..80), at in 0_usize..300) {
        let _ = SessionState::decode(&bytes, Epoch::default());
        let _ = Operation::decode(&mut bytes.as_slice(), Epoch::default());
        let (mut damaged, _) = reread(&busy_state());
        for (place, byte) in damaged.iter_mut().skip(at).zip(bytes) {
            *place ^= byte;
        }
        let _ = SessionState::decode(&damaged, Epoch::from_micros(9));
        damaged.truncate(at);
        let _ = SessionState::decode(&damaged, Epoch::default());
    }
}
