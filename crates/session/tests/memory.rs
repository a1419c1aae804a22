//! What a session weighs while nothing is in flight: its own bytes, and what it has on the heap.

use std::{alloc::System, sync::Arc};

use mqttstack_session::{
    DeliveryOptions, Message, Outgoing, SessionState, SubscriptionIds, client,
    codec::{
        Ack, Connect, Delivery, Packet, PacketId, ProtocolVersion, Publish, QoS, ReasonCode, Shared,
    },
    limits::{Instant, Limits},
    server::{self, Acceptance},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: Instant = Instant::EPOCH;
const VERSION: ProtocolVersion = ProtocolVersion::V5;

/// How many messages go each way before a session that was busy is weighed.
const MESSAGES: u16 = 1_000;

/// Returns what `make` makes, and its bytes: its own, and those on the heap that it has kept.
fn weighed<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(GLOBAL);
    let made = make();
    let change = region.change();
    let heap = change.bytes_allocated.checked_sub(change.bytes_deallocated);
    let heap = heap.expect("nothing is freed that was not made");
    (made, size_of::<T>() + heap)
}

fn accepted(limits: &Arc<Limits>) -> server::Session {
    let mut session = server::Session::new(Arc::clone(limits), NOW);
    let connect: Connect<Shared> = Connect::new(VERSION, "client");
    session
        .handle_packet(Packet::Connect(connect), NOW)
        .expect("a CONNECT");
    while session.poll_event().is_some() {}
    session
        .accept(Acceptance::default(), NOW)
        .expect("room for a CONNACK");
    while session.poll_packet(NOW).is_some() {}
    session
}

/// Takes messages of each QoS, and answers them.
fn receive(session: &mut server::Session) {
    for packet_id in (1..=MESSAGES).filter_map(PacketId::new) {
        let dup = false;
        for delivery in [
            Delivery::AtMostOnce,
            Delivery::AtLeastOnce { packet_id, dup },
            Delivery::ExactlyOnce { packet_id, dup },
        ] {
            let publish: Publish<Shared> = Publish {
                delivery,
                ..Publish::new("a/b", "x")
            };
            session
                .handle_packet(Packet::Publish(publish), NOW)
                .expect("in order");
            while session.poll_event().is_some() {}
            session.acknowledge(packet_id, ReasonCode::Success);
            while session.poll_packet(NOW).is_some() {}
        }
        let release: Packet = Packet::PubRel(Ack::new(packet_id));
        session.handle_packet(release, NOW).expect("in order");
        while session.poll_packet(NOW).is_some() {}
    }
}

/// Sends messages of each QoS, all of them before the first answer.
fn send(session: &mut server::Session) {
    for number in 0..MESSAGES {
        let qos = match number % 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let message = Message::builder("a/b", "x")
            .qos(qos)
            .build()
            .expect("a message");
        let options = DeliveryOptions {
            qos,
            retain: false,
            subscription_ids: SubscriptionIds::None,
            group: None,
        };
        session
            .publish(message, options, NOW)
            .expect("room in the queue");
    }
    while let Some(packet) = session.poll_packet(NOW) {
        let answer: Packet = match packet {
            Outgoing::Publish(publish) => match publish.delivery() {
                Delivery::AtMostOnce => continue,
                Delivery::AtLeastOnce { packet_id, .. } => Packet::PubAck(Ack::new(packet_id)),
                Delivery::ExactlyOnce { packet_id, .. } => Packet::PubRec(Ack::new(packet_id)),
            },
            Outgoing::Packet(Packet::PubRel(ack)) => Packet::PubComp(Ack::new(ack.packet_id)),
            Outgoing::Packet(other) => panic!("{other:?}"),
        };
        session.handle_packet(answer, NOW).expect("in order");
        while session.poll_event().is_some() {}
    }
}

/// One test, as all threads of a process share its heap.
#[test]
fn a_session_with_nothing_in_flight_weighs_little_heap_included() {
    let limits = Arc::new(Limits::default());
    let mut failed = Vec::new();
    let mut check = |name: &str, bytes: usize, bytes_max: usize| {
        println!("{name}: {bytes} bytes");
        if bytes > bytes_max {
            failed.push(format!("{name}: {bytes} bytes of {bytes_max}"));
        }
    };
    let (_fresh, bytes) = weighed(SessionState::new);
    check("a state that has just begun", bytes, 40);

    let (session, bytes) = weighed(|| accepted(&limits));
    check("a server session that nothing was sent on", bytes, 248);
    drop(session);

    let (session, bytes) = weighed(|| {
        let mut session = accepted(&limits);
        receive(&mut session);
        send(&mut session);
        session.rest();
        session
    });
    check("a server session that was busy", bytes, 248);
    drop(session);

    let (state, bytes) = weighed(|| {
        let mut session = accepted(&limits);
        receive(&mut session);
        send(&mut session);
        session.handle_closed();
        while session.poll_event().is_some() {}
        session.detach().expect("it was accepted")
    });
    check(
        "the state of one that was busy, its client away",
        bytes,
        200,
    );
    drop(state);

    let (state, bytes) = weighed(|| {
        let mut state = SessionState::new();
        state.keep_journal();
        state
    });
    check("a state that keeps a journal", bytes, 88);
    drop(state);

    let (client, bytes) = weighed(|| client::Session::new(client::Settings::default()));
    check("a client session", bytes, 600);
    drop(client);
    assert!(failed.is_empty(), "{failed:?}");
}
