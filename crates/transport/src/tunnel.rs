//! A client's way through a proxy: HTTP CONNECT and SOCKS5.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use mio::event::Source;

use crate::{Endpoint, Handshake, Peer, Stream, TransportError, left_over};

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TunnelProtocol {
    /// The CONNECT method of HTTP.
    HttpConnect,
    /// SOCKS version 5 (RFC 1928), with names resolved by the proxy.
    Socks5,
}

/// A client's end of a tunnel through a proxy: a layer over the stream to the proxy.
#[derive(Clone, Eq, PartialEq)]
pub struct TunnelClient {
    protocol: TunnelProtocol,
    /// User and password.
    credentials: Option<(Box<str>, Box<str>)>,
}

/// Why a proxy opened no tunnel.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TunnelError {
    /// User or password cannot be sent: SOCKS5 takes 1 to 255 bytes of each, and HTTP no colon or
    /// control character in the user.
    #[error("the proxy's user or password cannot be sent")]
    CredentialsInvalid,
    /// The peer does not answer as such a proxy does.
    #[error("the peer is no such proxy")]
    NotAProxy,
    /// The proxy wants a user and a password, or others than these.
    #[error("the proxy does not accept the user or the password")]
    CredentialsRefused,
    /// The proxy has answered with another status than success.
    #[error("the proxy answered with status {status}")]
    Status {
        /// The status of HTTP.
        status: u16,
    },
    /// The proxy's rules forbid the target.
    #[error("the proxy forbids the connection")]
    Forbidden,
    /// The proxy cannot reach the target.
    #[error("the proxy cannot reach the target (SOCKS reply {reply})")]
    Unreachable {
        /// The number in the proxy's reply.
        reply: u8,
    },
    /// The proxy's answer does not end.
    #[error("the proxy's answer is longer than {limit} bytes")]
    AnswerTooLong {
        /// The limit.
        limit: usize,
    },
}

impl TunnelClient {
    /// Asks a proxy that needs no password.
    #[must_use]
    pub const fn new(protocol: TunnelProtocol) -> Self {
        Self {
            protocol,
            credentials: None,
        }
    }

    /// Asks a proxy that needs a password. It is sent as it is: trust the way to the proxy.
    ///
    /// # Errors
    ///
    /// [`TunnelError::CredentialsInvalid`].
    pub fn with_credentials(
        protocol: TunnelProtocol,
        user: &str,
        password: &str,
    ) -> Result<Self, TunnelError> {
        let fits = |text: &str| (1..=255).contains(&text.len());
        let is_valid = match protocol {
            TunnelProtocol::Socks5 => fits(user) && fits(password),
            TunnelProtocol::HttpConnect => !user.contains(|c: char| c == ':' || c.is_control()),
        };
        is_valid
            .then(|| Self {
                protocol,
                credentials: Some((user.into(), password.into())),
            })
            .ok_or(TunnelError::CredentialsInvalid)
    }

    /// Puts the layer over the stream to the proxy; its handshake asks for a tunnel to `target`.
    pub fn connect<S: Stream>(&self, stream: S, target: &Endpoint) -> TunnelStream<S> {
        let (output, step) = match self.protocol {
            TunnelProtocol::HttpConnect => (self.http_request(target), Step::HttpAnswer),
            TunnelProtocol::Socks5 if self.credentials.is_some() => {
                (vec![SOCKS5, 2, NO_PASSWORD, PASSWORD], Step::SocksMethod)
            }
            TunnelProtocol::Socks5 => (vec![SOCKS5, 1, NO_PASSWORD], Step::SocksMethod),
        };
        TunnelStream {
            peer: stream.peer().clone(),
            inner: stream,
            client: self.clone(),
            target: target.clone(),
            step,
            output,
            input: Vec::new(),
        }
    }

    fn http_request(&self, target: &Endpoint) -> Vec<u8> {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some((user, password)) = &self.credentials {
            let both = BASE64.encode(format!("{user}:{password}"));
            request.push_str(&format!("Proxy-Authorization: Basic {both}\r\n"));
        }
        request.push_str("\r\n");
        request.into_bytes()
    }

    fn socks_password(&self) -> Option<Vec<u8>> {
        let (user, password) = self.credentials.as_ref()?;
        let mut message = vec![1];
        for text in [user, password] {
            message.push(u8::try_from(text.len()).ok()?);
            message.extend_from_slice(text.as_bytes());
        }
        Some(message)
    }
}

impl core::fmt::Debug for TunnelClient {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TunnelClient")
            .field("protocol", &self.protocol)
            .finish_non_exhaustive() // The password is nobody's business.
    }
}

const SOCKS5: u8 = 5;
const NO_PASSWORD: u8 = 0;
const PASSWORD: u8 = 2;

/// Asks a SOCKS5 proxy for a connection; a name is for the proxy to resolve.
fn socks_request(target: &Endpoint) -> Vec<u8> {
    let mut request = vec![SOCKS5, 1, 0];
    match target.ip() {
        Some(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
        None => {
            let name = target.host().as_bytes(); // At most `Endpoint::HOST_BYTES_MAX`.
            request.push(3);
            request.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            request.extend_from_slice(name);
        }
    }
    request.extend_from_slice(&target.port().to_be_bytes());
    request
}

/// A stream through a proxy. [`Peer::address`] is the proxy's.
#[derive(Debug)]
pub struct TunnelStream<S> {
    inner: S,
    peer: Peer,
    client: TunnelClient,
    target: Endpoint,
    step: Step,
    /// What the proxy still has to be told.
    output: Vec<u8>,
    /// What the proxy has said so far; then what came along with its last answer.
    input: Vec<u8>,
}

/// What the proxy is to say next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    HttpAnswer,
    SocksMethod,
    SocksPassword,
    SocksReply,
    Open,
}

impl Step {
    /// How long an answer may be, in bytes.
    const ANSWER_BYTES_MAX: usize = 8192;

    /// Reads the answer at the start of `input`; returns its length, or `None` while it is not
    /// whole.
    fn judge(self, input: &[u8]) -> Result<Option<usize>, TunnelError> {
        match self {
            Self::Open => Ok(Some(0)),
            Self::HttpAnswer => http_answer(input),
            Self::SocksMethod => match input {
                [SOCKS5, NO_PASSWORD | PASSWORD, ..] => Ok(Some(2)),
                [SOCKS5, 0xFF, ..] => Err(TunnelError::CredentialsRefused),
                [] | [SOCKS5] => Ok(None),
                _ => Err(TunnelError::NotAProxy),
            },
            Self::SocksPassword => match input {
                [1, 0, ..] => Ok(Some(2)),
                [1, _, ..] => Err(TunnelError::CredentialsRefused),
                [] | [1] => Ok(None),
                _ => Err(TunnelError::NotAProxy),
            },
            Self::SocksReply => match input {
                [SOCKS5, 2, ..] => Err(TunnelError::Forbidden),
                &[SOCKS5, reply, ..] if reply != 0 => Err(TunnelError::Unreachable { reply }),
                [SOCKS5, 0, _, 1, ..] => Ok(Some(10).filter(|len| *len <= input.len())),
                [SOCKS5, 0, _, 4, ..] => Ok(Some(22).filter(|len| *len <= input.len())),
                [SOCKS5, 0, _, 3, len, ..] => {
                    Ok(Some(7 + usize::from(*len)).filter(|len| *len <= input.len()))
                }
                [] | [SOCKS5] | [SOCKS5, 0] | [SOCKS5, 0, _] | [SOCKS5, 0, _, 3] => Ok(None),
                _ => Err(TunnelError::NotAProxy),
            },
        }
    }
}

/// Reads the head of an answer of HTTP: only its status matters.
fn http_answer(input: &[u8]) -> Result<Option<usize>, TunnelError> {
    let start = b"HTTP/1.";
    if !input.iter().zip(start).all(|(found, due)| found == due) {
        return Err(TunnelError::NotAProxy);
    }
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let status = input
        .get(9..12)
        .and_then(|digits| str::from_utf8(digits).ok());
    match status.and_then(|digits| digits.parse().ok()) {
        Some(200..=299) => Ok(Some(end + 4)),
        Some(407) => Err(TunnelError::CredentialsRefused),
        Some(403) => Err(TunnelError::Forbidden),
        Some(status) => Err(TunnelError::Status { status }),
        None => Err(TunnelError::NotAProxy),
    }
}

/// How much is read at once until the tunnel is open.
const READ_BYTES: usize = 512;

impl<S: Stream> TunnelStream<S> {
    /// Takes the answer that is there, and prepares what comes next.
    fn on_answer(&mut self, len: usize) -> Result<(), TunnelError> {
        let method = self.input.get(1).copied();
        self.input.drain(..len);
        (self.step, self.output) = match self.step {
            Step::HttpAnswer | Step::SocksReply | Step::Open => (Step::Open, Vec::new()),
            Step::SocksMethod if method == Some(PASSWORD) => {
                let message = self.client.socks_password();
                // A proxy may not choose what it was not offered.
                (Step::SocksPassword, message.ok_or(TunnelError::NotAProxy)?)
            }
            Step::SocksMethod | Step::SocksPassword => {
                (Step::SocksReply, socks_request(&self.target))
            }
        };
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let count = self.inner.write(&self.output)?;
            self.output.drain(..count);
        }
        self.inner.flush()
    }

    /// Goes on until the tunnel is open; `WouldBlock` when that has to wait.
    fn advance(&mut self) -> Result<(), TransportError> {
        let mut buffer = [0; READ_BYTES];
        while self.step != Step::Open {
            self.send()?;
            if let Some(len) = self.step.judge(&self.input)? {
                self.on_answer(len)?;
                continue;
            }
            let limit = Step::ANSWER_BYTES_MAX;
            if self.input.len() > limit {
                return Err(TunnelError::AnswerTooLong { limit }.into());
            }
            match self.inner.read(&mut buffer)? {
                0 => return Err(TransportError::Closed),
                count => self.input.extend(buffer.iter().take(count)),
            }
        }
        Ok(())
    }
}

impl<S: Stream> Stream for TunnelStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.step != Step::Open {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.input.is_empty() {
            return self.inner.read(buffer);
        }
        Ok(left_over::take(&mut self.input, buffer))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.step == Step::Open {
            self.inner.write_vectored(slices)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        if self.inner.handshake()? == Handshake::Pending {
            return Ok(Handshake::Pending);
        }
        match self.advance() {
            Ok(()) => Ok(Handshake::Complete),
            Err(TransportError::Io {
                kind: io::ErrorKind::WouldBlock,
                ..
            }) => Ok(Handshake::Pending),
            Err(error) => Err(error),
        }
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
        self.step == Step::Open
    }

    fn has_buffered_input(&self) -> bool {
        self.is_established() && !self.input.is_empty() || self.inner.has_buffered_input()
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
