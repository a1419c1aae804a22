#![doc = include_str!("../README.md")]

mod address;
#[cfg(all(feature = "tls", feature = "websocket"))]
mod alpn;
mod connect;
mod endpoint;
mod error;
mod layer;
#[cfg(any(feature = "proxy", feature = "tunnel"))]
mod left_over;
mod listener;
pub mod local;
pub mod memory;
mod output_queue;
mod poller;
#[cfg(feature = "proxy")]
mod proxy;
mod stream;
mod tcp;
mod tcp_listener;
mod tcp_options;
#[cfg(test)]
mod test_loop;
#[cfg(feature = "tls")]
mod tls;
mod token_map;
#[cfg(feature = "tunnel")]
mod tunnel;
#[cfg(all(unix, feature = "unix"))]
mod unix;
#[cfg(all(unix, feature = "unix"))]
mod unix_listener;
#[cfg(feature = "websocket")]
mod websocket;

pub use address::PeerAddress;
#[cfg(all(feature = "tls", feature = "websocket"))]
pub use alpn::{AlpnServer, AlpnStream};
pub use connect::{ConnectOptions, connect};
pub use endpoint::{Endpoint, EndpointError};
pub use error::TransportError;
pub use layer::{Layer, LayeredListener, TLS_ALERT, TLS_HANDSHAKE};
pub use listener::{AcceptError, Listener, Retry};
pub use output_queue::{OutputQueue, SpareBuffer, WriteProgress};
pub use poller::{Event, Events, Poller, Waker};
#[cfg(feature = "proxy")]
pub use proxy::{ProxyError, ProxyFacts, ProxyOptions, ProxyServer, ProxyStream, ProxyTlsFacts};
pub use stream::{Handshake, Peer, Stream};
pub use tcp::TcpStream;
pub use tcp_listener::{ListenOptions, TcpListener};
pub use tcp_options::{KeepAlive, TcpOptions};
#[cfg(feature = "tls")]
pub use tls::{
    Authorities, CertificateFacts, CertificateFiles, ClientAuthentication, RevocationPolicy,
    TlsClient, TlsClientOptions, TlsConfigError, TlsError, TlsFacts, TlsServer, TlsServerOptions,
    TlsStream, TlsVersion,
};
pub use token_map::{Token, TokenMap};
#[cfg(feature = "tunnel")]
pub use tunnel::{TunnelClient, TunnelError, TunnelProtocol, TunnelStream};
#[cfg(all(unix, feature = "unix"))]
pub use unix::UnixStream;
#[cfg(all(unix, feature = "unix"))]
pub use unix_listener::{UnixListenOptions, UnixListener};
#[cfg(feature = "websocket")]
pub use websocket::{
    WebSocketClient, WebSocketClientOptions, WebSocketError, WebSocketFacts, WebSocketServer,
    WebSocketServerOptions, WebSocketStream,
};

/// A network, as [`ProxyOptions`] names those of the proxies.
#[cfg(feature = "proxy")]
pub use ipnet::IpNet;

/// The TLS library, whose configurations the layers of TLS accept.
#[cfg(feature = "tls")]
pub use rustls;

/// What the poller watches; a layer hands on the one of the stream below it.
pub use mio::event::Source;
