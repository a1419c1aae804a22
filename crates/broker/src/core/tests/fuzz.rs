//! Anything at all, in any order: no panic, bounded state, and the broker still works afterwards.

use proptest::{collection::vec, prelude::*};

use super::*;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Move {
    Open {
        core: usize,
        connect: Connect<Shared>,
    },
    Bytes(Vec<u8>),
    Send(Packet<Shared>),
    Cut,
    StopAnswering,
    Pass(u64),
    Hold(bool),
    HoldStore(bool),
    Sync(usize),
}

fn connects() -> impl Strategy<Value = Connect<Shared>> {
    let version = prop_oneof![Just(V31), Just(V311), Just(V5)];
    let id = prop_oneof![Just("a"), Just("b"), Just("c"), Just("")];
    (
        version,
        id,
        any::<bool>(),
        0..20_u32,
        any::<bool>(),
        0..20_u32,
        prop_oneof![Just(u32::MAX), 1..60_u32],
    )
        .prop_map(|(version, id, is_clean, expiry, has_will, delay, takes)| {
            let mut connect = lasting(version, id, expiry);
            if version == V5 && takes < u32::MAX {
                connect = taking(connect, takes);
            }
            connect.clean_start = is_clean;
            connect.keep_alive = 5;
            if has_will {
                let delay = if version == V5 { delay } else { 0 };
                connect = with_will(connect, delay);
            }
            connect
        })
}

fn packets() -> impl Strategy<Value = Packet<Shared>> {
    let topic = prop_oneof![Just("t"), Just("t/a"), Just("will/a"), Just("$SYS/x")];
    let filter = prop_oneof![
        Just("t"),
        Just("#"),
        Just("t/+"),
        Just("$share/g/t"),
        Just("$share/g/#"),
        Just("will/#")
    ];
    let publish = (topic, 0..3_u8, any::<bool>(), 1..4_u16).prop_map(|(topic, qos, retain, id)| {
        let mut publish = message(topic, "x", qos);
        publish.retain = retain;
        publish.delivery =
            Delivery::new(publish.qos(), (qos > 0).then(|| packet_id(id))).expect("fits");
        Packet::Publish(publish)
    });
    let ack = (1..5_u16, 0..4_u8).prop_map(|(id, kind)| {
        let ack = Ack::new(packet_id(id));
        match kind {
            0 => Packet::PubAck(ack),
            1 => Packet::PubRec(ack),
            2 => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        }
    });
    let subscribe = (filter.clone(), 0..3_u8).prop_map(|(filter, qos)| {
        Packet::Subscribe(Subscribe {
            packet_id: packet_id(9),
            properties: Properties::empty(),
            filters: SubscribeFilters::new([Subscription {
                filter,
                options: options(qos),
            }])
            .expect("well-formed"),
        })
    });
    let unsubscribe = filter.prop_map(|filter| {
        Packet::Unsubscribe(Unsubscribe {
            packet_id: packet_id(8),
            properties: Properties::empty(),
            filters: UnsubscribeFilters::new([filter]).expect("well-formed"),
        })
    });
    prop_oneof![
        4 => publish,
        2 => ack,
        3 => subscribe,
        1 => unsubscribe,
        1 => Just(Packet::PingReq),
        1 => Just(Packet::Disconnect(Disconnect::new(ReasonCode::Success))),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..2_usize, connects()).prop_map(|(core, connect)| Move::Open { core, connect }),
        1 => vec(any::<u8>(), 0..40).prop_map(Move::Bytes),
        10 => packets().prop_map(Move::Send),
        2 => Just(Move::Cut),
        1 => Just(Move::StopAnswering),
        1 => (0..10_u64).prop_map(Move::Pass),
        1 => any::<bool>().prop_map(Move::Hold),
        1 => any::<bool>().prop_map(Move::HoldStore),
        1 => (0..2_usize).prop_map(Move::Sync),
    ];
    vec(one, 0..60)
}

/// Ends everything; then nothing may be left.
fn check_nothing_is_left(net: &mut Net) {
    net.release_worker_messages();
    net.holds_store = false;
    net.sync();
    for who in 0..net.peers.len() {
        if !net.is_closed(who) {
            net.cut(who);
        }
    }
    for id in ["a", "b", "c"] {
        let who = net.join(clean(V5, id));
        net.leave(who);
    }
    net.pass(seconds(100));
    let directory = net.cores[0].directory().clone();
    assert_eq!(directory.session_count(), 0);
    assert_eq!(directory.subscription_count(), 0);
    assert_eq!(directory.connection_count(), 0);
    assert_eq!(directory.pending_count(), 0);
    for core in &net.cores {
        assert_eq!((core.session_count(), core.connection_count()), (0, 0));
        assert_eq!(core.poll_timeout(), None);
    }
    let recovered = net.image.recover(&net.limits, net.now);
    assert_eq!(recovered.sessions, []);
    let retained = net.cores[0].directory().retained_count().0;
    if net.is_durable {
        assert_eq!(recovered.retained.len(), retained);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_sequence_of_clients_and_packets_leaves_a_working_broker(
        is_durable in any::<bool>(),
        moves in moves(),
        picks in vec(any::<prop::sample::Index>(), 60),
    ) {
        // P2, M1, R2
        let mut net = if is_durable { Net::durable(2) } else { Net::workers(2) };
        for (one, pick) in moves.into_iter().zip(picks) {
            let who = (!net.peers.is_empty()).then(|| pick.index(net.peers.len()));
            match (one, who) {
                (Move::Open { core, connect }, _) => {
                    net.dial_at(core, connect);
                }
                (Move::Pass(time), _) => net.pass(seconds(time)),
                (Move::Hold(true), _) => net.holds_worker_messages = true,
                (Move::Hold(false), _) => net.release_worker_messages(),
                (Move::HoldStore(holds), _) => net.holds_store = holds,
                (Move::Sync(core), _) => {
                    net.sync_unit(core);
                    net.pump();
                }
                (Move::Bytes(bytes), Some(who)) => net.send_bytes(who, &bytes),
                (Move::Send(packet), Some(who)) => net.send(who, packet),
                (Move::Cut, Some(who)) => net.cut(who),
                (Move::StopAnswering, Some(who)) => net.stop_answering(who),
                (_, None) => {}
            }
        }
        check_nothing_is_left(&mut net);
    }

    #[test]
    fn any_bytes_behind_a_connect_are_survived(
        version in prop_oneof![Just(V31), Just(V311), Just(V5)],
        bytes in vec(any::<u8>(), 0..200),
        segment in 1..20_usize,
    ) {
        let mut net = Net::workers(2);
        let who = net.join(clean(version, "a"));
        for part in bytes.chunks(segment) {
            net.send_bytes(who, part);
        }
        check_nothing_is_left(&mut net);
    }

    #[test]
    fn any_bytes_instead_of_a_connect_are_survived(bytes in vec(any::<u8>(), 0..200)) {
        let mut net = Net::workers(2);
        let who = net.open(0);
        net.send_bytes(who, &bytes);
        check_nothing_is_left(&mut net);
    }
}
