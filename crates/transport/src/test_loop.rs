//! A poller that turns until a test has seen what it waits for.

use core::time::Duration;
use std::{io, net::SocketAddr};

use crate::{
    Event, Events, ListenOptions, Listener as _, Poller, Stream, TcpListener, TcpOptions,
    TcpStream, Token, TokenMap,
};

/// Longer than any of these tests needs, so that a broken one fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Loop {
    poller: Poller,
    events: Events,
    tokens: TokenMap<()>,
}

impl Loop {
    pub(crate) fn new() -> Self {
        Self {
            poller: Poller::new().unwrap(),
            events: Events::new(),
            tokens: TokenMap::new(64),
        }
    }

    pub(crate) fn watch(&mut self, source: &mut dyn crate::Source) -> Token {
        let token = self.tokens.insert(()).unwrap();
        self.poller.register(token, source).unwrap();
        token
    }

    pub(crate) fn forget(&mut self, source: &mut dyn crate::Source) {
        self.poller.deregister(source).unwrap();
    }

    /// Repeats `step` after each event until it brings a value.
    pub(crate) fn until<T>(&mut self, mut step: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(value) = step() {
                return value;
            }
            assert!(!self.turn(PATIENCE).is_empty(), "nothing more happens");
        }
    }

    /// Returns the events that arrive within `timeout`.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Vec<Event> {
        self.poller.wait(&mut self.events, Some(timeout)).unwrap();
        self.events.iter().collect()
    }

    /// Accepts one connection.
    pub(crate) fn accept(&mut self, listener: &mut TcpListener) -> Box<dyn Stream> {
        self.until(|| listener.accept().unwrap())
    }

    /// Reads what there is until `len` bytes or the end have come.
    pub(crate) fn read(&mut self, stream: &mut dyn Stream, len: usize) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        self.until(|| {
            loop {
                match unless_blocked(stream.read(&mut buffer))? {
                    0 => return Some(()),
                    count => all.extend_from_slice(&buffer[..count]),
                }
                if all.len() >= len {
                    return Some(());
                }
            }
        });
        all
    }
}

/// Turns "not now" into `None`; everything else that fails, fails the test.
pub(crate) fn unless_blocked<T>(result: io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// Opens a listener on loopback, on a port that the system chooses.
pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(any_port, &ListenOptions::default()).unwrap();
    let address = listener.local_address().socket_address().unwrap();
    (listener, address)
}

/// Connects two streams, both registered: the client's and the server's.
pub(crate) fn connected(turns: &mut Loop) -> (TcpStream, Box<dyn Stream>) {
    let (mut listener, address) = listen();
    turns.watch(listener.source());
    let mut client = TcpStream::start_connect(address, &TcpOptions::default()).unwrap();
    turns.watch(client.source());
    let mut server = turns.accept(&mut listener);
    turns.watch(server.source());
    turns.until(|| match client.handshake().unwrap() {
        crate::Handshake::Complete => Some(()),
        crate::Handshake::Pending => None,
    });
    (client, server)
}
