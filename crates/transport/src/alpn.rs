//! MQTT and WebSocket on one port with TLS, told apart by the protocol that the client names.

use std::io::{self, IoSlice};

use mio::event::Source;

use crate::{
    Handshake, Layer, Peer, Stream, TlsServer, TlsStream, TransportError, WebSocketServer,
    WebSocketStream,
};

/// The server's end of a port that serves both: a [`Layer`] over accepted streams.
///
/// A client that agrees on `http/1.1` gets a WebSocket; every other one, whether it names `mqtt`,
/// `x-amzn-mqtt-ca` or nothing, gets the bare bytes inside TLS. [`Peer::tls`] and
/// [`Peer::websocket`] say which it was.
///
/// The TLS layer decides which protocols there are: give it [`PROTOCOLS`](Self::PROTOCOLS).
#[derive(Clone, Debug)]
pub struct AlpnServer {
    tls: TlsServer,
    websocket: WebSocketServer,
}

impl AlpnServer {
    /// What to offer in [`TlsServerOptions::protocols`](crate::TlsServerOptions::protocols).
    pub const PROTOCOLS: [&str; 3] = ["mqtt", "x-amzn-mqtt-ca", HTTP];

    /// Creates the layer from the two that it chooses between.
    #[must_use]
    pub const fn new(tls: TlsServer, websocket: WebSocketServer) -> Self {
        Self { tls, websocket }
    }

    /// Puts the layer over one stream; its handshake waits for the client's greeting.
    pub fn accept<S: Stream>(&self, stream: S) -> AlpnStream<S> {
        AlpnStream {
            stream: self.websocket.accept(self.tls.accept(stream)),
            choice: Choice::Open,
        }
    }
}

impl Layer for AlpnServer {
    fn wrap(&self, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        Box::new(self.accept(stream))
    }
}

/// The name of the protocol that opens WebSockets.
const HTTP: &str = "http/1.1";

/// A TLS connection with a WebSocket inside, or without.
#[derive(Debug)]
pub struct AlpnStream<S> {
    /// Built for the longer way; the shorter one leaves the upper layer out.
    stream: WebSocketStream<TlsStream<S>>,
    choice: Choice,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Choice {
    Open,
    Bare,
    WebSocket,
}

impl<S: Stream> AlpnStream<S> {
    fn top(&self) -> &dyn Stream {
        match self.choice {
            Choice::Open | Choice::Bare => self.stream.below(),
            Choice::WebSocket => &self.stream,
        }
    }

    fn top_mut(&mut self) -> &mut dyn Stream {
        match self.choice {
            Choice::Open | Choice::Bare => self.stream.below_mut(),
            Choice::WebSocket => &mut self.stream,
        }
    }
}

impl<S: Stream> Stream for AlpnStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.choice {
            Choice::Open => Err(io::ErrorKind::WouldBlock.into()),
            Choice::Bare | Choice::WebSocket => self.top_mut().read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.choice {
            Choice::Open => Err(io::ErrorKind::WouldBlock.into()),
            Choice::Bare | Choice::WebSocket => self.top_mut().write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.top_mut().flush()
    }

    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        if self.choice == Choice::Open {
            if self.stream.below_mut().handshake()? == Handshake::Pending {
                return Ok(Handshake::Pending);
            }
            let tls = self.stream.below().peer().tls.as_deref();
            self.choice = match tls.and_then(|tls| tls.protocol.as_deref()) {
                Some(HTTP) => Choice::WebSocket,
                Some(_) | None => Choice::Bare,
            };
        }
        self.top_mut().handshake()
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.top_mut().shutdown()
    }

    fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.top_mut().discard(buffer)
    }

    fn source(&mut self) -> &mut dyn Source {
        self.stream.source()
    }

    fn is_established(&self) -> bool {
        self.choice != Choice::Open && self.top().is_established()
    }

    fn has_buffered_input(&self) -> bool {
        self.top().has_buffered_input()
    }

    fn has_buffered_output(&self) -> bool {
        self.top().has_buffered_output()
    }

    fn peer(&self) -> &Peer {
        self.top().peer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        LayeredListener, Listener as _, OutputQueue, TlsClient, TlsServerOptions, WebSocketClient,
        WebSocketClientOptions, WebSocketServerOptions,
        memory::pair,
        test_loop::{Loop, listen},
        tls::test_authority::Authority,
    };

    fn server(authority: &Authority) -> AlpnServer {
        let options = TlsServerOptions {
            protocols: AlpnServer::PROTOCOLS.map(Into::into).into(),
            ..authority.server()
        };
        let websocket = WebSocketServer::new(WebSocketServerOptions::default());
        AlpnServer::new(TlsServer::load(options).unwrap(), websocket)
    }

    fn client(authority: &Authority, protocols: &[&str]) -> TlsClient {
        let mut options = authority.client();
        options.protocols = protocols.iter().map(|name| (*name).into()).collect();
        TlsClient::load(&options).unwrap()
    }

    fn shake(near: &mut dyn Stream, far: &mut dyn Stream) {
        while !(near.is_established() && far.is_established()) {
            let _ = near.handshake().unwrap();
            let _ = far.handshake().unwrap();
        }
    }

    fn send(from: &mut dyn Stream, to: &mut dyn Stream) {
        from.write(b"hello").unwrap();
        from.flush().unwrap();
        let mut buffer = [0; 64];
        let mut received = Vec::new();
        while received.len() < 5 {
            let count = to.read(&mut buffer).unwrap();
            received.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(received, b"hello");
    }

    #[test]
    fn a_client_of_mqtt_gets_bare_bytes() {
        let authority = Authority::new();
        let server = server(&authority);
        for protocols in [
            &["mqtt"][..],
            &["x-amzn-mqtt-ca"],
            &["http/1.1", "mqtt"],
            &[],
        ] {
            let (near, far) = pair();
            let mut near = client(&authority, protocols)
                .connect(near, "localhost")
                .unwrap();
            let mut far = server.accept(far);
            assert!(far.read(&mut [0; 8]).is_err() && far.write(b"x").is_err());
            shake(&mut near, &mut far);
            send(&mut near, &mut far);
            send(&mut far, &mut near);
            assert_eq!(far.peer().websocket, None, "{protocols:?}");
            assert!(far.peer().tls.is_some());
        }
    }

    #[test]
    fn a_client_of_http_gets_a_websocket() {
        let authority = Authority::new();
        let server = server(&authority);
        let (near, far) = pair();
        let near = client(&authority, &["http/1.1"])
            .connect(near, "localhost")
            .unwrap();
        let options = WebSocketClientOptions::new("localhost");
        let mut near = WebSocketClient::new(options).unwrap().connect(near);
        let mut far = server.accept(far);
        shake(&mut near, &mut far);
        send(&mut near, &mut far);
        send(&mut far, &mut near);
        assert!(far.peer().websocket.is_some() && far.peer().tls.is_some());
    }

    #[test]
    fn one_port_serves_both_over_loopback() {
        let authority = Authority::new();
        let (listener, address) = listen();
        let layer = std::sync::Arc::new(server(&authority));
        let mut listener = LayeredListener::new(listener, vec![layer]);
        let mut turns = Loop::new();
        turns.watch(listener.source());
        for protocol in ["mqtt", "http/1.1"] {
            let stream = crate::connect(&address.into(), &crate::ConnectOptions::default());
            let tls = client(&authority, &[protocol]).connect(stream.unwrap(), "localhost");
            let mut near: Box<dyn Stream> = if protocol == HTTP {
                let options = WebSocketClientOptions::new("localhost");
                Box::new(WebSocketClient::new(options).unwrap().connect(tls.unwrap()))
            } else {
                Box::new(tls.unwrap())
            };
            turns.watch(near.source());
            let mut far = turns.until(|| listener.accept().unwrap());
            turns.watch(far.source());
            turns.until(|| {
                let both = [near.handshake().unwrap(), far.handshake().unwrap()];
                (both == [Handshake::Complete; 2]).then_some(())
            });
            let mut queue = OutputQueue::new();
            queue.push(b"hello");
            let _ = queue.write_to(&mut *near).unwrap();
            assert_eq!(turns.read(&mut *far, 5), b"hello");
            assert_eq!(far.peer().websocket.is_some(), protocol == HTTP);
            near.shutdown().unwrap();
            assert_eq!(turns.read(&mut *far, 1), b"");
        }
    }
}
