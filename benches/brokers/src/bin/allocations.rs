//! Counts what a publish allocates in the core of the broker, once queues are warm: from the bytes of
//! the publisher to the bytes for the subscribers, acknowledgements included.

use std::{alloc::System, collections::HashMap, sync::Arc};

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use mqttstack_broker::{
    core::{ConnectionId, Core, Directory, Outlet, Settings, WorkerId},
    limits::{Instant, Limits},
};
use mqttstack_codec::{
    Connect, Decoder, Delivery, Packet, PacketId, Properties, ProtocolVersion, Publish, QoS,
    Shared, Subscribe, SubscribeFilters, Subscription,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VERSION: ProtocolVersion = ProtocolVersion::V311;
const NOW: Instant = Instant::from_micros(1_000_000);
const WARM_UP: u32 = 1_000;
const COUNTED: u32 = 10_000;

/// Keeps its memory, as the server's buffers do.
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

struct Bench {
    /// The workers.
    cores: Vec<Core>,
    outputs: HashMap<u64, (usize, ConnectionId, Output)>,
    /// What a client answers, used again.
    answers: BytesMut,
}

fn main() -> Result<()> {
    println!("| workers | QoS | subscribers | allocations a publish | bytes a publish |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    for workers in [1, 2] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for subscribers in [1, 100] {
                let (allocations, bytes) = count(workers, qos, subscribers)?;
                let qos = qos.as_u8();
                println!("| {workers} | {qos} | {subscribers} | {allocations:.3} | {bytes:.1} |");
            }
        }
    }
    Ok(())
}

/// Counts for one publisher, which is with the first worker, and subscribers, who are with the last.
fn count(workers: u8, qos: QoS, subscribers: u64) -> Result<(f64, f64)> {
    let directory = Directory::new(7);
    let core = |index| {
        let mut unguessable = u128::from(index) << 64;
        Core::new(Settings::new(
            WorkerId::new(index),
            directory.clone(),
            move || {
                unguessable += 1;
                unguessable
            },
        ))
    };
    let mut bench = Bench {
        cores: (0..workers).map(core).collect(),
        outputs: HashMap::new(),
        answers: BytesMut::new(),
    };
    bench.open(0, 0)?;
    for handle in 1..=subscribers {
        bench.open(handle, usize::from(workers) - 1)?;
    }
    for handle in 1..=subscribers {
        let subscribe = Packet::Subscribe(Subscribe::<Shared> {
            packet_id: PacketId::MIN,
            properties: Properties::empty(),
            filters: SubscribeFilters::new([Subscription::new("sensors/1", qos)])?,
        });
        bench.send(handle, &subscribe)?;
    }
    let packet_id = (qos != QoS::AtMostOnce).then_some(PacketId::MIN);
    let publish = Publish::<Shared> {
        delivery: Delivery::new(qos, packet_id).context("QoS and identifier agree")?,
        ..Publish::new("sensors/1", vec![b'x'; 64])
    };
    let mut bytes = Vec::new();
    publish.encode(VERSION, &mut bytes)?;
    for _ in 0..WARM_UP {
        bench.receive(0, &bytes)?;
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..COUNTED {
        bench.receive(0, &bytes)?;
    }
    let change = region.change();
    let each = |total: usize| total as f64 / f64::from(COUNTED);
    Ok((
        each(change.allocations + change.reallocations),
        each(change.bytes_allocated),
    ))
}

impl Bench {
    fn open(&mut self, handle: u64, worker: usize) -> Result<()> {
        let core = self.cores.get_mut(worker).context("a worker")?;
        let (name, limits) = (Arc::new("client".into()), Arc::new(Limits::default()));
        let id = core.handle_opened(handle, name, limits, NOW);
        let id = id.context("there is room")?;
        self.outputs.insert(handle, (worker, id, Output::default()));
        let connect = Connect::<Shared>::new(VERSION, format!("client-{handle}"));
        self.send(handle, &Packet::Connect(connect))
    }

    fn send(&mut self, handle: u64, packet: &Packet) -> Result<()> {
        let mut bytes = Vec::new();
        packet.encode(VERSION, &mut bytes)?;
        self.receive(handle, &bytes)
    }

    /// Hands bytes to a core, and has the clients answer what comes of it until all is quiet.
    fn receive(&mut self, handle: u64, bytes: &[u8]) -> Result<()> {
        let (worker, id, _) = self.outputs.get(&handle).context("a connection")?;
        self.cores[*worker].handle_input(*id, bytes, NOW);
        loop {
            let mut is_quiet = true;
            for worker in 0..self.cores.len() {
                self.drain(worker)?;
                while let Some((to, letter)) = self.cores[worker].poll_worker_message() {
                    self.cores[usize::from(to.index())].handle_worker_message(letter, NOW);
                    is_quiet = false;
                }
            }
            if is_quiet {
                return Ok(());
            }
        }
    }

    fn drain(&mut self, worker: usize) -> Result<()> {
        let core = &mut self.cores[worker];
        while let Some((id, handle)) = core.poll_dirty() {
            let (_, _, output) = self.outputs.get_mut(&handle).context("a connection")?;
            let _ = core.drain(id, NOW, output);
            answer(&output.0, &mut self.answers)?;
            output.0.clear();
            if !self.answers.is_empty() {
                core.handle_input(id, &self.answers, NOW);
                self.answers.clear();
            }
        }
        Ok(())
    }
}

/// Says what a client says to these packets.
fn answer(bytes: &[u8], answers: &mut BytesMut) -> Result<()> {
    let decoder = Decoder::new().with_version(VERSION);
    let mut rest = bytes;
    while let Some((packet, len)) = decoder.decode_ref(rest)? {
        rest = &rest[len..];
        let (first, packet_id) = if let Packet::Publish(publish) = packet {
            match publish.delivery {
                Delivery::AtMostOnce => continue,
                Delivery::AtLeastOnce { packet_id, .. } => (0x40, packet_id),
                Delivery::ExactlyOnce { packet_id, .. } => (0x50, packet_id),
            }
        } else if let Packet::PubRec(ack) = packet {
            (0x62, ack.packet_id)
        } else if let Packet::PubRel(ack) = packet {
            (0x70, ack.packet_id)
        } else {
            continue;
        };
        let [high, low] = packet_id.get().to_be_bytes();
        answers.extend_from_slice(&[first, 2, high, low]);
    }
    Ok(())
}
