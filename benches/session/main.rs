//! The session: time and allocations per message, receiving and sending, in both roles' engine.
//!
//! `cargo bench -p mqttstack-benches --bench session`. A case runs [`MESSAGES`] exchanges, each to
//! its end, so that nothing grows from one run to the next. Where a journal is kept, a store takes each
//! operation at once and does nothing with it: what is measured is the price of keeping it.

#[path = "../codec/cpu_time.rs"]
mod cpu_time;

use std::{alloc::System, hint::black_box, sync::Arc, time::Duration};

use cpu_time::ThreadCpuTime;
use criterion::{Criterion, Throughput};
use mqttstack_session::{
    DeliveryOptions, Message, MessagePool, Outgoing, SubscriptionIds,
    codec::{
        Ack, Borrowed, Connect, Decoder, Delivery, Packet, PacketId, PacketRef, ProtocolVersion,
        Publish, QoS, ReasonCode, Shared,
    },
    limits::{Instant, Limits},
    server::{Acceptance, Event, Session},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VERSION: ProtocolVersion = ProtocolVersion::V5;
const NOW: Instant = Instant::from_micros(1);
const TOPIC: &str = "plant/7/line/3/temperature";
const PAYLOAD: [u8; 64] = [b'x'; 64];

/// How many messages a case moves.
const MESSAGES: u16 = 1_000;

/// Where a session keeps what outlives its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keeping {
    /// In memory alone.
    Memory,
    /// With a store, which has a part in each exchange.
    Journal,
}

/// One way of moving messages.
type Case = (&'static str, Box<dyn FnMut() -> usize>);

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(ThreadCpuTime)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .configure_from_args();
    use Keeping::{Journal, Memory};
    use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
    let cases: [Case; 11] = [
        ("receive QoS 0", receive(AtMostOnce, Memory)),
        ("receive QoS 1, PUBACK", receive(AtLeastOnce, Memory)),
        ("receive QoS 1, PUBACK, pool", receive_in_pool()),
        (
            "receive QoS 1, PUBACK, journal",
            receive(AtLeastOnce, Journal),
        ),
        ("receive QoS 2, to PUBCOMP", receive(ExactlyOnce, Memory)),
        (
            "receive QoS 2, to PUBCOMP, journal",
            receive(ExactlyOnce, Journal),
        ),
        ("receive QoS 1, bytes to bytes", receive_bytes()),
        ("send QoS 1, to PUBACK", send(AtLeastOnce, Memory)),
        ("send QoS 1, to PUBACK, journal", send(AtLeastOnce, Journal)),
        ("send QoS 2, to PUBCOMP", send(ExactlyOnce, Memory)),
        (
            "send QoS 2, to PUBCOMP, journal",
            send(ExactlyOnce, Journal),
        ),
    ];
    let mut group = criterion.benchmark_group("server session");
    group.throughput(Throughput::Elements(MESSAGES.into()));
    for (name, mut run) in cases {
        // Once to grow what is used again.
        black_box(run());
        let region = Region::new(GLOBAL);
        black_box(run());
        let allocations = region.change().allocations as f64 / f64::from(MESSAGES);
        println!("{name}: {allocations:.3} allocations a message");
        group.bench_function(name, |bencher| bencher.iter(&mut run));
    }
    group.finish();
    criterion.final_summary();
}

/// Returns a session whose client has been accepted.
fn connected(keeping: Keeping) -> Session {
    let mut session = Session::new(Arc::new(Limits::default()), NOW);
    let connect: Connect<Shared> = Connect::new(VERSION, "bench");
    session
        .handle_packet(Packet::Connect(connect), NOW)
        .expect("a CONNECT");
    while session.poll_event().is_some() {}
    let mut acceptance = Acceptance::default();
    if keeping == Keeping::Journal {
        acceptance.state.keep_journal();
    }
    session.accept(acceptance, NOW).expect("room for a CONNACK");
    while session.poll_packet(NOW).is_some() {}
    session
}

/// Stores what the session has changed; returns whether it has changed anything.
fn store(session: &mut Session) -> bool {
    let mut last = None;
    while let Some((sequence, operation)) = session.poll_operation() {
        black_box(&operation);
        last = Some(sequence);
    }
    if let Some(sequence) = last {
        session.handle_stored(sequence);
    }
    last.is_some()
}

fn ids() -> impl Iterator<Item = PacketId> {
    (1..=MESSAGES).filter_map(PacketId::new)
}

/// Takes messages, as if they had just been decoded, and answers them.
fn receive(qos: QoS, keeping: Keeping) -> Box<dyn FnMut() -> usize> {
    let mut session = connected(keeping);
    Box::new(move || {
        let mut answers = 0;
        for packet_id in ids() {
            let delivery = match qos {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                QoS::AtLeastOnce => Delivery::AtLeastOnce {
                    packet_id,
                    dup: false,
                },
                QoS::ExactlyOnce => Delivery::ExactlyOnce {
                    packet_id,
                    dup: false,
                },
            };
            let publish: Publish<Borrowed<'_>> = Publish {
                delivery,
                ..Publish::new(TOPIC, &PAYLOAD[..])
            };
            answers += take(&mut session, Packet::Publish(publish), keeping);
            if qos == QoS::ExactlyOnce {
                let release: Packet<Borrowed<'_>> = Packet::PubRel(Ack::new(packet_id));
                answers += take(&mut session, release, keeping);
            }
        }
        answers
    })
}

/// Handles a packet, acknowledges what it brings, and takes the answers.
fn take(session: &mut Session, packet: PacketRef<'_>, keeping: Keeping) -> usize {
    session.handle_packet(packet, NOW).expect("in order");
    while let Some(event) = session.poll_event() {
        if let Event::MessageReceived { message, packet_id } = event {
            black_box(&message);
            if let Some(packet_id) = packet_id {
                session.acknowledge(packet_id, ReasonCode::Success);
            }
        }
    }
    if keeping == Keeping::Journal {
        store(session);
    }
    let mut answers = 0;
    while let Some(answer) = session.poll_packet(NOW) {
        black_box(&answer);
        answers += 1;
    }
    answers
}

/// Takes messages at QoS 1 in memory that is used again, as a broker does, and answers them.
fn receive_in_pool() -> Box<dyn FnMut() -> usize> {
    let mut session = connected(Keeping::Memory);
    let mut pool = MessagePool::new(1);
    Box::new(move || {
        let mut answers = 0;
        for packet_id in ids() {
            let publish: Publish<Borrowed<'_>> = Publish {
                delivery: Delivery::AtLeastOnce {
                    packet_id,
                    dup: false,
                },
                ..Publish::new(TOPIC, &PAYLOAD[..])
            };
            let arrival = session.handle_packet_in(Packet::Publish(publish), &mut pool, NOW);
            let arrival = arrival.expect("in order").expect("a message");
            black_box(&arrival.message);
            session.acknowledge(packet_id, ReasonCode::Success);
            pool.put(arrival.message);
            while let Some(answer) = session.poll_packet(NOW) {
                black_box(&answer);
                answers += 1;
            }
        }
        answers
    })
}

/// The same with the codec before and behind: from the bytes of PUBLISH to those of PUBACK.
fn receive_bytes() -> Box<dyn FnMut() -> usize> {
    let mut session = connected(Keeping::Memory);
    let mut wire = Vec::new();
    for packet_id in ids() {
        let publish: Publish<Shared> = Publish {
            delivery: Delivery::AtLeastOnce {
                packet_id,
                dup: false,
            },
            ..Publish::new(TOPIC, &PAYLOAD[..])
        };
        Packet::Publish(publish)
            .encode(VERSION, &mut wire)
            .expect("a packet");
    }
    let decoder = Decoder::new().with_version(VERSION);
    let (mut output, mut scratch) = (Vec::new(), Vec::new());
    Box::new(move || {
        output.clear();
        let mut rest = &*wire;
        while let Ok(Some((packet, len))) = decoder.decode_ref(rest) {
            rest = &rest[len..];
            session.handle_packet(packet, NOW).expect("in order");
            while let Some(event) = session.poll_event() {
                if let Event::MessageReceived { message, packet_id } = event {
                    black_box(&message);
                    if let Some(packet_id) = packet_id {
                        session.acknowledge(packet_id, ReasonCode::Success);
                    }
                }
            }
            while let Some(answer) = session.poll_packet(NOW) {
                answer
                    .encode(VERSION, &mut scratch, &mut output)
                    .expect("a packet");
            }
        }
        output.len()
    })
}

/// Sends messages that are shared with others, and handles the answers of the client.
fn send(qos: QoS, keeping: Keeping) -> Box<dyn FnMut() -> usize> {
    let mut session = connected(keeping);
    let message = Message::builder(TOPIC, &PAYLOAD[..]).qos(qos);
    let message = message.build().expect("a message");
    Box::new(move || {
        let mut sent = 0;
        for _ in 0..MESSAGES {
            let options = DeliveryOptions {
                qos,
                retain: false,
                subscription_ids: SubscriptionIds::None,
                group: None,
            };
            session
                .publish(message.clone(), options, NOW)
                .expect("room in the queue");
            let Some(Outgoing::Publish(publish)) = next(&mut session) else {
                continue;
            };
            sent += 1;
            let Some(packet_id) = publish.delivery().packet_id() else {
                continue;
            };
            black_box(&publish);
            answer(&mut session, packet_id, qos);
        }
        sent
    })
}

/// Returns the next packet, after the store has done what it waits for.
fn next(session: &mut Session) -> Option<Outgoing> {
    session
        .poll_packet(NOW)
        .or_else(|| store(session).then(|| session.poll_packet(NOW))?)
}

fn answer(session: &mut Session, packet_id: PacketId, qos: QoS) {
    let ack: Ack<Borrowed<'_>> = Ack::new(packet_id);
    if qos == QoS::AtLeastOnce {
        session
            .handle_packet(Packet::PubAck(ack), NOW)
            .expect("in order");
        store(session);
        return;
    }
    session
        .handle_packet(Packet::PubRec(ack.clone()), NOW)
        .expect("in order");
    black_box(next(session)).expect("a PUBREL");
    session
        .handle_packet(Packet::PubComp(ack), NOW)
        .expect("in order");
    store(session);
}
