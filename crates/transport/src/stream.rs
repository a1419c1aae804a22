//! The byte stream that every transport implements, and every layer stacks on.

use core::fmt;
use std::io::{self, IoSlice, IoSliceMut};

use mio::event::Source;

use crate::{PeerAddress, TransportError};

/// A non-blocking stream of bytes in both directions.
///
/// Implement it for a transport of your own, or for a layer (encryption, framing) over another
/// stream; `Box<dyn Stream>` is a stream too.
///
/// # The owner's contract
///
/// 1. Call [`handshake`](Self::handshake) when the stream is new and after each event, until it is
///    [`Complete`](Handshake::Complete). Before that, reads and writes would block.
/// 2. Events are *edges*: one arrives when something changes, not while something is there. So
///    after an event, read until [`WouldBlock`](io::ErrorKind::WouldBlock) or the end; an owner
///    whose budget for one stream ends earlier puts the stream in a queue of its own and comes back
///    without waiting for an event. The same holds for writing: only a refused write is followed by
///    an event. Writability was registered from the start, so no further system call asks for it.
/// 3. A layer moves bytes of its own: a read may produce answers (a pong, a key update), a write may
///    park encrypted bytes. When [`has_buffered_output`](Self::has_buffered_output) says so at the
///    end of a turn, call [`flush`](Self::flush); if that would block, again on the next writable
///    event. When [`has_buffered_input`](Self::has_buffered_input) says so, no event will announce
///    those bytes: keep reading.
/// 4. To end well, write everything, [`shutdown`](Self::shutdown), then read until the end or a
///    deadline, then drop. Dropping at once, with input unread, lets the system send a reset that
///    can overtake the last bytes written. To end at once, drop.
///
/// # The implementor's contract
///
/// Never block; report "not now" as [`WouldBlock`](io::ErrorKind::WouldBlock) and nothing else that
/// way, and handle [`Interrupted`](io::ErrorKind::Interrupted) inside. Bound what the layer buffers
/// in each direction: a full layer refuses writes and leaves input where it is.
pub trait Stream: Send {
    /// Reads what is there, up to the length of `buffer`.
    ///
    /// `Ok(0)` for a buffer that has room means that the peer has sent all it ever will, and said
    /// so; writing may go on.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing is there now. Everything else ends the stream: `ConnectionReset`
    /// when the connection broke, `UnexpectedEof` when a layer misses the peer's goodbye,
    /// `InvalidData` when the peer broke the rules of a layer.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads what is there into `slices`, in order, up to their lengths together.
    ///
    /// So the rest of a large packet goes where it stays, and what follows it elsewhere, with one
    /// system call. A stream that cannot do it fills the first that has room: an owner that reads
    /// as much as fits there cannot tell whether there is more, and reads again.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match slices.iter_mut().find(|slice| !slice.is_empty()) {
            Some(slice) => self.read(slice),
            None => Ok(0),
        }
    }

    /// Writes as much of `bytes` as fits now, and returns how much that was.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing fits now. Everything else ends the stream.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes as much of `slices`, in order, as fits now, and returns how much that was.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices.iter().find(|slice| !slice.is_empty()) {
            Some(slice) => self.write(slice),
            None => Ok(0),
        }
    }

    /// Passes on what this stream and those below it have accepted but not yet sent.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when some of it has to wait. Everything else ends the stream.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Takes the opening of the connection, in all its layers, as far as it goes without waiting.
    ///
    /// # Errors
    ///
    /// The opening failed. The peer may be owed an answer, such as an alert: to let it have that,
    /// [`shutdown`](Self::shutdown), then [`discard`](Self::discard) until the end or a deadline.
    /// Besides that, the stream is of no further use.
    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        Ok(Handshake::Complete)
    }

    /// Ends this side's output in all layers; the peer reads an end after the last byte.
    ///
    /// Harmless when repeated, or when the connection is already gone.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when bytes have to go first: call again on the next writable event.
    fn shutdown(&mut self) -> io::Result<()>;

    /// Reads what the peer still sends, below all layers, for it to be thrown away.
    ///
    /// This is how to wait for the peer's end after a [`handshake`](Self::handshake) that failed:
    /// there, reads bring nothing. A layer passes it to the stream below.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }

    /// Returns what the event loop registers; a layer returns that of the stream below.
    fn source(&mut self) -> &mut dyn Source;

    /// Says whether the opening is complete, in all layers.
    fn is_established(&self) -> bool {
        true
    }

    /// Says whether this is a socket of the system and nothing else.
    ///
    /// Then a read that leaves room in its buffer has taken all there was, but for an end that the
    /// event loop tells of; so has a vectored read that leaves room, unless it ends with the first
    /// slice: that says nothing, as [`read_vectored`](Self::read_vectored) may fill the first alone.
    /// And dropping it ends the output as [`shutdown`](Self::shutdown) does.
    fn is_bare(&self) -> bool {
        false
    }

    /// Says whether bytes that were received already wait in a layer to be read.
    fn has_buffered_input(&self) -> bool {
        false
    }

    /// Says whether bytes wait in a layer for [`flush`](Self::flush).
    fn has_buffered_output(&self) -> bool {
        false
    }

    /// Returns what is known of the other end; layers add to it while the handshake runs.
    fn peer(&self) -> &Peer;

    /// The owner knows what it wants to know of the peer: a stream may let go of it, and say from now
    /// on that the peer is at an [unknown](PeerAddress::Unknown) address. Where there are many
    /// connections that is a good part of what each takes.
    fn forget_peer(&mut self) {}
}

/// How far the opening of a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Handshake {
    /// Bytes may flow.
    Complete,
    /// The next event of the stream may bring it further.
    Pending,
}

/// What the layers of a stream know of the other end.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Where it is.
    pub address: PeerAddress,
    /// What the proxy in between said of it.
    #[cfg(feature = "proxy")]
    pub proxy: Option<Box<crate::ProxyFacts>>,
    /// What it showed when it opened TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<Box<crate::TlsFacts>>,
    /// What it said when it opened a WebSocket.
    #[cfg(feature = "websocket")]
    pub websocket: Option<Box<crate::WebSocketFacts>>,
}

/// A peer of which nothing is known any more.
pub(crate) static FORGOTTEN: Peer = Peer::new(PeerAddress::Unknown);

impl Peer {
    /// Creates the facts about a peer of which only the address is known.
    #[must_use]
    pub const fn new(address: PeerAddress) -> Self {
        Self {
            address,
            #[cfg(feature = "proxy")]
            proxy: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "websocket")]
            websocket: None,
        }
    }
}

impl fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("peer", self.peer())
            .field("is_established", &self.is_established())
            .finish_non_exhaustive()
    }
}

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read(buffer)
    }

    fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (**self).read_vectored(slices)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (**self).write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (**self).write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }

    fn handshake(&mut self) -> Result<Handshake, TransportError> {
        (**self).handshake()
    }

    fn shutdown(&mut self) -> io::Result<()> {
        (**self).shutdown()
    }

    fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).discard(buffer)
    }

    fn source(&mut self) -> &mut dyn Source {
        (**self).source()
    }

    fn is_established(&self) -> bool {
        (**self).is_established()
    }

    fn is_bare(&self) -> bool {
        (**self).is_bare()
    }

    fn has_buffered_input(&self) -> bool {
        (**self).has_buffered_input()
    }

    fn has_buffered_output(&self) -> bool {
        (**self).has_buffered_output()
    }

    fn peer(&self) -> &Peer {
        (**self).peer()
    }

    fn forget_peer(&mut self) {
        (**self).forget_peer();
    }
}
