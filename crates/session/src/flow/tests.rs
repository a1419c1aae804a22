//! What a session costs, and the engine where no role shows it.

use alloc::sync::Arc;

use super::*;
use crate::testing::{at, message};

fn flow(state: SessionState, limits: Limits, peer: PeerLimits) -> Flow {
    let version = ProtocolVersion::V5;
    Flow::new(state, version, Sender::Server, Arc::new(limits), peer, None)
}

fn anything() -> PeerLimits {
    PeerLimits {
        receive_maximum: u16::MAX,
        packet_size_max: u32::MAX,
        topic_alias_maximum: 0,
        maximum_qos: QoS::ExactlyOnce,
        retain_available: true,
        problem_information: true,
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

#[test]
fn a_session_with_nothing_in_flight_is_small() {
    assert!(size_of::<SessionState>() <= 40);
    assert!(size_of::<Flow>() <= 176);
}

#[test]
fn a_session_that_was_busy_gives_its_memory_back() {
    let mut flow = flow(SessionState::new(), Limits::default(), anything());
    for _ in 0..1_000 {
        let message = message("q1 a=x");
        assert!(
            flow.publish(message, options(QoS::AtLeastOnce), at(0.0))
                .is_ok()
        );
    }
    while let Some(Outgoing::Publish(publish)) = flow.poll_packet(at(0.0)) {
        let packet_id = publish.delivery().packet_id().expect("QoS 1");
        let ack = mqttstack_codec::Ack::<Shared>::new(packet_id);
        assert!(flow.on_puback(ack, &mut MessagePool::default()).is_ok());
    }
    let state = flow.into_state();
    let status = state.queue_status();
    assert_eq!(
        (status.queued_messages, status.queued_bytes, status.inflight),
        (0, 0, 0)
    );
    assert!(state.outbound.is_at_rest());
}

#[test]
fn an_alias_never_takes_a_packet_past_the_maximum_size() {
    // v5 MQTT-3.1.2-24: lengths of fields grow with what they count.
    let bare = 2 + 7 + 1;
    for payload in (0..40).chain(110..140) {
        for room in 0..8 {
            let peer = PeerLimits {
                packet_size_max: u32::try_from(bare + payload + room).expect("small"),
                topic_alias_maximum: 1,
                ..anything()
            };
            let mut flow = flow(SessionState::new(), Limits::default(), peer);
            let text = "x".repeat(payload);
            let message = Message::builder("topic", text).build().expect("valid");
            // The second has an alias beside its topic, the third in its place.
            for _ in 0..3 {
                assert!(
                    flow.publish(message.clone(), options(QoS::AtMostOnce), at(0.0))
                        .is_ok()
                );
                if let Some(packet) = flow.poll_packet(at(0.0)) {
                    let packet = packet.into_packet(ProtocolVersion::V5).expect("a packet");
                    let size = packet.encoded_len(ProtocolVersion::V5).expect("fits");
                    assert!(u32::try_from(size).is_ok_and(|size| size <= peer.packet_size_max));
                }
            }
        }
    }
}

#[test]
fn messages_of_all_qos_leave_in_the_order_in_which_they_came() {
    // v5 MQTT-4.6.0-5, v3.1.1 MQTT-4.6.0-5; beyond them, QoS 0 keeps its place as well.
    let mut flow = flow(SessionState::new(), Limits::default(), anything());
    for (n, qos) in [
        QoS::AtLeastOnce,
        QoS::AtMostOnce,
        QoS::ExactlyOnce,
        QoS::AtMostOnce,
    ]
    .into_iter()
    .enumerate()
    {
        let message = message(&std::format!("a={n}"));
        assert!(flow.publish(message, options(qos), at(0.0)).is_ok());
    }
    for n in 0..4 {
        let Some(Outgoing::Publish(publish)) = flow.poll_packet(at(0.0)) else {
            panic!("message {n} is missing");
        };
        assert_eq!(publish.message().payload(), std::format!("{n}").as_bytes());
    }
}

#[test]
fn a_session_whose_identifiers_are_all_in_use_waits() {
    // v5 MQTT-2.2.1-3, v3.1.1 MQTT-2.3.1-2
    let mut flow = flow(SessionState::new(), Limits::default(), anything());
    let request = || Awaited::SubAck {
        token: PublishToken(0),
        filters: 1,
    };
    for _ in 0..u16::MAX {
        assert!(flow.begin_request(request()).is_some());
    }
    assert_eq!(flow.begin_request(request()), None);
    let message = message("q1 a=x");
    assert!(
        flow.publish(message, options(QoS::AtLeastOnce), at(0.0))
            .is_ok()
    );
    assert!(!flow.has_packet());
    assert_eq!(flow.poll_packet(at(0.0)), None);
    assert!(flow.on_suback(PacketId::MIN, 1).is_ok());
    assert!(flow.poll_packet(at(0.0)).is_some());
}
