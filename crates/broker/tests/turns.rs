//! Connections take turns by what reading them costs, not by what it brings.

mod common;

use std::{
    io::{self, IoSlice, Write as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use mqttstack_broker::{
    Broker, ListenerSettings,
    transport::{Handshake, Layer, Peer, Source, Stream, TransportError},
};

use common::{CONNACK_V311, CONNECT_V311, address, exchange, hex, open, read_to_end, stop};

/// How often the second connection is read before it ends.
const READS: usize = 1_000;
/// How often one connection is read at most before the other has its turn.
const READS_PER_TURN: usize = 16;
/// A PUBLISH of 256 MiB, as far as its fixed header.
const PUBLISH: &str = "30 FF FF FF 7F";

/// Whose turn it was, read by read, from the first of the second connection to its last.
#[derive(Default)]
struct Reads {
    order: Vec<usize>,
    of_second: usize,
}

/// A layer whose streams, once a PUBLISH has begun, find one more byte whenever they are read.
#[derive(Clone, Default)]
struct Endless {
    connections: Arc<AtomicUsize>,
    reads: Arc<Mutex<Reads>>,
}

impl Endless {
    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layer for Endless {
    fn wrap(&self, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        Box::new(EndlessStream {
            number: self.connections.fetch_add(1, Ordering::Relaxed),
            layer: self.clone(),
            has_begun: false,
            stream,
        })
    }
}

struct EndlessStream {
    number: usize,
    layer: Endless,
    has_begun: bool,
    stream: Box<dyn Stream>,
}

impl Stream for EndlessStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.has_begun {
            let count = self.stream.read(buffer)?;
            self.has_begun = buffer[..count].starts_with(&hex(PUBLISH));
            return Ok(count);
        }
        let mut reads = self.layer.reads();
        if reads.of_second == READS {
            return Ok(0);
        }
        reads.of_second += self.number;
        if reads.of_second > 0 {
            reads.order.push(self.number);
        }
        buffer[0] = b'x';
        Ok(1)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(slices)
    }

    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        self.stream.handshake()
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown()
    }

    fn source(&mut self) -> &mut dyn Source {
        self.stream.source()
    }

    fn peer(&self) -> &Peer {
        self.stream.peer()
    }
}

#[test]
fn a_layer_that_hands_on_a_byte_at_a_time_gets_no_more_than_its_turn() {
    let layer = Endless::default();
    let loopback = ListenerSettings::tcp("127.0.0.1:0".parse().expect("an endpoint"));
    let broker = Broker::builder()
        .listener(loopback.layer(layer.clone()))
        .workers(1)
        .start()
        .expect("starts");
    let mut clients =
        [CONNECT_V311, &CONNECT_V311.replace("62 61 64", "62 61 65")].map(|connect| {
            let mut client = open(address(&broker));
            exchange(&mut client, connect, CONNACK_V311);
            client.write_all(&hex(PUBLISH)).expect("written");
            client
        });
    for client in &mut clients {
        assert_eq!(read_to_end(client), []);
    }
    let reads = layer.reads();
    assert_eq!(reads.of_second, READS);
    for turn in reads.order.chunk_by(|one, next| one == next) {
        assert!(
            turn.len() <= READS_PER_TURN,
            "{} reads in a row",
            turn.len()
        );
    }
    drop(reads);
    stop(broker);
}
