//! The PROXY protocol, versions 1 and 2: who is behind a load balancer.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
};

use ipnet::IpNet;
use mio::event::Source;
use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};

use crate::{Handshake, Layer, Peer, PeerAddress, Stream, TransportError, left_over};

/// From whom headers are taken.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyOptions {
    /// The networks of the proxies. A peer from elsewhere says for itself who it is, so a header
    /// from there is not looked for and reaches the layer above like any other bytes. Default: none.
    pub trusted: Vec<IpNet>,
    /// Takes headers from peers without an internet address, such as those of Unix domain sockets.
    /// Default: `false`.
    pub trusts_local_sockets: bool,
    /// Refuses peers that are not trusted, instead of taking them as they are. Default: `false`.
    pub refuses_others: bool,
    /// How long a header may be, in bytes, extensions included. Default: 4096.
    pub header_bytes_max: usize,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            trusted: Vec::new(),
            trusts_local_sockets: false,
            refuses_others: false,
            header_bytes_max: 4096,
        }
    }
}

impl ProxyOptions {
    fn trusts(&self, address: &PeerAddress) -> bool {
        match address.ip() {
            Some(ip) => self.trusted.iter().any(|network| network.contains(&ip)),
            None => self.trusts_local_sockets,
        }
    }
}

/// Why a stream does not begin with a header as it has to.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProxyError {
    /// The first bytes are no header.
    #[error("the proxy sent no valid PROXY protocol header")]
    HeaderInvalid,
    /// The header is longer than this side accepts.
    #[error("the PROXY protocol header is longer than {limit} bytes")]
    HeaderTooLong {
        /// The limit.
        limit: usize,
    },
    /// The peer is none of the proxies, and only they may connect.
    #[error("{address} is no trusted proxy")]
    PeerUntrusted {
        /// The peer.
        address: PeerAddress,
    },
}

/// What a trusted proxy says of the connection that it passes on.
///
/// [`Peer::address`] is the client's then.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyFacts {
    /// The proxy itself.
    pub proxy: PeerAddress,
    /// Where the client connected to. `None` for a connection of the proxy's own, such as a check
    /// of health, and where the proxy does not know.
    pub destination: Option<SocketAddr>,
    /// The host that the client asked for.
    pub server_name: Option<Box<str>>,
    /// The protocol that client and proxy agreed on (ALPN).
    pub protocol: Option<Box<str>>,
    /// What the proxy saw of TLS; `None` when the client came without it.
    pub tls: Option<ProxyTlsFacts>,
}

/// What a trusted proxy saw of the client's TLS.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyTlsFacts {
    /// The version, in the proxy's words.
    pub version: Option<Box<str>>,
    /// The common name of the client's certificate. `None` unless the proxy has verified the
    /// certificate, and where the name is empty or holds control characters.
    pub common_name: Option<Box<str>>,
    /// The client showed a certificate, and the proxy has verified it.
    pub is_verified: bool,
}

/// The receiving end of the PROXY protocol: a [`Layer`] over accepted streams, below all others.
#[derive(Clone, Debug, Default)]
pub struct ProxyServer {
    options: Arc<ProxyOptions>,
}

impl ProxyServer {
    /// Creates the layer.
    #[must_use]
    pub fn new(options: ProxyOptions) -> Self {
        Self {
            options: Arc::new(options),
        }
    }

    /// Says whether a peer at `address` is a proxy, which speaks for others.
    #[must_use]
    pub fn trusts(&self, address: &PeerAddress) -> bool {
        self.options.trusts(address)
    }

    /// Puts the layer over one stream; its handshake waits for the header.
    pub fn accept<S: Stream>(&self, stream: S) -> ProxyStream<S> {
        ProxyStream {
            peer: stream.peer().clone(),
            inner: stream,
            options: Arc::clone(&self.options),
            is_established: false,
            bytes: Vec::new(),
        }
    }
}

impl Layer for ProxyServer {
    fn wrap(&self, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        Box::new(self.accept(stream))
    }
}

/// A stream that begins with a header of the PROXY protocol.
#[derive(Debug)]
pub struct ProxyStream<S> {
    inner: S,
    peer: Peer,
    options: Arc<ProxyOptions>,
    is_established: bool,
    /// First the header as far as it has come, then what came along with it.
    bytes: Vec<u8>,
}

/// How much is read at once until the header is there.
const READ_BYTES: usize = 512;

impl<S: Stream> ProxyStream<S> {
    /// Reads until the header is there; `false` when it has to wait.
    fn read_header(&mut self) -> Result<bool, TransportError> {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.inner.read(&mut buffer) {
                Ok(0) => return Err(TransportError::Closed),
                Ok(count) => self.bytes.extend(buffer.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            let limit = self.options.header_bytes_max;
            let too_long = TransportError::from(ProxyError::HeaderTooLong { limit });
            match ProxyHeader::parse(&self.bytes, ParseConfig::default()) {
                Ok((_, len)) if len > limit => return Err(too_long),
                Ok((header, len)) => {
                    learn(&mut self.peer, &header)?;
                    self.bytes.drain(..len);
                    return Ok(true);
                }
                Err(Error::BufferTooShort) if self.bytes.len() < limit => {}
                Err(Error::BufferTooShort) => return Err(too_long),
                Err(_) => return Err(ProxyError::HeaderInvalid.into()),
            }
        }
    }
}

/// Adds what the header says to what is known of the peer.
fn learn(peer: &mut Peer, header: &ProxyHeader<'_>) -> Result<(), ProxyError> {
    let mut facts = ProxyFacts {
        proxy: peer.address.clone(),
        destination: None,
        server_name: header.authority().and_then(plain),
        protocol: header
            .alpn()
            .and_then(|name| plain(str::from_utf8(name).ok()?)),
        tls: None,
    };
    if let Some(addresses) = header.proxied_address() {
        if addresses.protocol != Protocol::Stream {
            return Err(ProxyError::HeaderInvalid);
        }
        peer.address = addresses.source.into();
        facts.destination = Some(addresses.destination);
    }
    if let Some(tls) = header.ssl()
        && tls.client_ssl()
    {
        let has_certificate = tls.client_cert_conn() || tls.client_cert_sess();
        let is_verified = has_certificate && tls.verify() == 0;
        facts.tls = Some(ProxyTlsFacts {
            version: tls.version().and_then(plain),
            common_name: tls.cn().filter(|_| is_verified).and_then(plain),
            is_verified,
        });
    }
    peer.proxy = Some(Box::new(facts));
    Ok(())
}

/// Returns a text that can be shown and stored as it is.
fn plain(text: &str) -> Option<Box<str>> {
    let is_plain = !text.is_empty() && !text.chars().any(char::is_control);
    is_plain.then(|| text.into())
}

impl<S: Stream> Stream for ProxyStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_established {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.bytes.is_empty() {
            return self.inner.read(buffer);
        }
        Ok(left_over::take(&mut self.bytes, buffer))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_established {
            self.inner.write_vectored(slices)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        if self.is_established {
            return Ok(Handshake::Complete);
        }
        if self.inner.handshake()? == Handshake::Pending {
            return Ok(Handshake::Pending);
        }
        self.peer.clone_from(self.inner.peer());
        if self.options.trusts(&self.peer.address) {
            self.is_established = self.read_header()?;
        } else if self.options.refuses_others {
            let address = self.peer.address.clone();
            return Err(ProxyError::PeerUntrusted { address }.into());
        } else {
            self.is_established = true;
        }
        Ok(if self.is_established {
            Handshake::Complete
        } else {
            Handshake::Pending
        })
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.inner.shutdown()
    }

    fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.discard(buffer)
    }

    fn source(&mut self) -> &mut dyn Source {
        self.inner.source()
    }

    fn is_established(&self) -> bool {
        self.is_established
    }

    fn has_buffered_input(&self) -> bool {
        self.is_established && !self.bytes.is_empty() || self.inner.has_buffered_input()
    }

    fn has_buffered_output(&self) -> bool {
        self.inner.has_buffered_output()
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }
}

#[cfg(test)]
mod tests;
