//! What a connection takes that says nothing: counted, so that it cannot creep back.

use std::{alloc::System, sync::Arc};

use bytes::{Bytes, BytesMut};
use mqttstack_broker::{
    core::{Core, Directory, Outlet, Peer, Settings, WorkerId},
    limits::{Instant, Limits},
};
use mqttstack_codec::{
    Connect, Packet, PacketId, Properties, ProtocolVersion, QoS, Shared, Subscribe,
    SubscribeFilters, Subscription,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: Instant = Instant::from_micros(1_000_000);
const CONNECTIONS: u32 = 10_000;

/// Forgets what it is given, and keeps its memory for all.
#[derive(Default)]
struct Output(BytesMut);

impl Outlet for Output {
    fn waiting(&self) -> usize {
        self.0.len()
    }

    fn buffer(&mut self) -> &mut BytesMut {
        &mut self.0
    }

    fn append_shared(&mut self, payload: Bytes) {
        self.0.extend_from_slice(&payload);
    }
}

/// Opens connections to a core, each with a subscription or without; returns what each takes.
fn heap_bytes_each(version: ProtocolVersion, has_subscription: bool) -> usize {
    let mut unguessable = 0;
    let mut core = Core::new(Settings::new(
        WorkerId::new(0),
        Directory::new(7),
        move || {
            unguessable += 1;
            unguessable
        },
    ));
    let limits = Arc::new(Limits::default());
    let listener: Arc<str> = "127.0.0.1:1883".into();
    let mut output = Output::default();
    let mut bytes = BytesMut::new();
    let mut open = |core: &mut Core, number: u32| {
        bytes.clear();
        let connect = Connect::<Shared>::new(version, format!("b0123abcd{number:08}"));
        Packet::Connect(connect)
            .encode(version, &mut bytes)
            .expect("fits");
        if has_subscription {
            let filter = format!("sensors/{number:08}");
            let subscribe = Packet::Subscribe(Subscribe::<Shared> {
                packet_id: PacketId::MIN,
                properties: Properties::empty(),
                filters: SubscribeFilters::new([Subscription::new(&filter, QoS::AtMostOnce)])
                    .expect("one"),
            });
            subscribe.encode(version, &mut bytes).expect("fits");
        }
        let [.., low] = number.to_be_bytes();
        let mut peer = Peer::new(format!("192.0.2.{low}:1883"));
        peer.ip = Some([192, 0, 2, low].into());
        peer.listener = Some(Arc::clone(&listener));
        let id = core
            .handle_opened(u64::from(number), Arc::new(peer), Arc::clone(&limits), NOW)
            .expect("room");
        core.handle_input(id, &bytes, NOW);
        while let Some((id, _)) = core.poll_dirty() {
            let _ = core.drain(id, NOW, &mut output);
            output.0.clear();
        }
        while core.poll_notice().is_some() {}
    };
    // What the first ones cost is everybody's.
    (0..1_000).for_each(|number| open(&mut core, number));
    let region = Region::new(ALLOCATOR);
    (1_000..1_000 + CONNECTIONS).for_each(|number| open(&mut core, number));
    let change = region.change();
    assert_eq!(core.session_count(), 1_000 + CONNECTIONS as usize);
    (change.bytes_allocated - change.bytes_deallocated) / CONNECTIONS as usize
}

#[test]
fn an_idle_connection_takes_little() {
    // One test: the allocator counts for all threads.
    for (version, has_subscription, bytes_max) in [
        (ProtocolVersion::V311, false, 610),
        (ProtocolVersion::V5, false, 610),
        (ProtocolVersion::V311, true, 790),
    ] {
        let each = heap_bytes_each(version, has_subscription);
        println!("{version:?}, subscribed: {has_subscription}: {each}");
        assert!(each <= bytes_max, "{version:?}: {each} of {bytes_max}");
    }
}
