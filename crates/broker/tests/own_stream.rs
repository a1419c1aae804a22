//! A transport of one's own that passes for a socket, and leaves out what it need not have.

mod common;

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write as _},
    thread,
};

use mqttstack_broker::{
    Broker, ListenerSettings,
    transport::{
        AcceptError, Handshake, ListenOptions, Listener, Peer, PeerAddress, Source, Stream,
        TcpListener, TransportError,
    },
};

use common::{CONNACK_V311, exchange, expect, hex, open, stop};

/// CONNECT of a client that leaves its name to the broker.
const CONNECT: &str = "10 0C 00 04 4D 51 54 54 04 02 00 3C 00 00";
/// The length of the payload of a large packet.
const LARGE: usize = 300_000;

/// A listener of [`Plain`] streams.
struct PlainListener(TcpListener);

/// A stream without vectored reads. What it is to read comes in bursts, each all at once: no event
/// tells of a part of it.
struct Plain {
    inner: Box<dyn Stream>,
    bursts: VecDeque<usize>,
    received: VecDeque<u8>,
}

impl Plain {
    fn receive(&mut self, burst: usize) -> io::Result<()> {
        let mut bytes = vec![0; burst];
        let mut count = 0;
        while count < burst {
            match self.inner.read(&mut bytes[count..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        self.received.extend(bytes);
        Ok(())
    }
}

impl Stream for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.received.is_empty() {
            match self.bursts.pop_front() {
                Some(burst) => self.receive(burst)?,
                None => return self.inner.read(buffer),
            }
        }
        io::Read::read(&mut self.received, buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        self.inner.handshake()
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.inner.shutdown()
    }

    fn source(&mut self) -> &mut dyn Source {
        self.inner.source()
    }

    fn is_bare(&self) -> bool {
        true
    }

    fn peer(&self) -> &Peer {
        self.inner.peer()
    }
}

impl Listener for PlainListener {
    fn accept(&mut self) -> Result<Option<Box<dyn Stream>>, AcceptError> {
        let accepted = self.0.accept()?;
        Ok(accepted.map(|inner| {
            Box::new(Plain {
                inner: Box::new(inner),
                bursts: VecDeque::from([hex(CONNECT).len(), large_and_ping().len()]),
                received: VecDeque::new(),
            }) as Box<dyn Stream>
        }))
    }

    fn source(&mut self) -> &mut dyn Source {
        self.0.source()
    }

    fn local_address(&self) -> &PeerAddress {
        Listener::local_address(&self.0)
    }
}

fn large_and_ping() -> Vec<u8> {
    // PUBLISH to `t` at QoS 0, of 300,003 bytes.
    let mut bytes = hex("30 E3 A7 12 00 01 74");
    bytes.resize(bytes.len() + LARGE, 0);
    bytes.extend(hex("C0 00"));
    bytes
}

#[test]
fn what_follows_a_large_packet_is_read_without_vectored_reads_too() {
    let loopback = "127.0.0.1:0".parse().expect("an address");
    let listener = TcpListener::bind(loopback, &ListenOptions::default()).expect("listens");
    let address = Listener::local_address(&listener).socket_address();
    let broker = Broker::builder()
        .listener(ListenerSettings::opened(Box::new(PlainListener(listener))))
        .workers(1)
        .start()
        .expect("starts");
    let mut stream = open(address.expect("a socket"));
    exchange(&mut stream, CONNECT, CONNACK_V311);
    stream.write_all(&large_and_ping()).expect("written");
    expect(&mut stream, "D0 00");
    drop(stream);
    stop(broker);
}
