//! Streams between threads of one process: no socket, no descriptor, no system in between.
//!
//! One end belongs to an event loop, which meets it as it meets any other [`Stream`]: it is accepted by
//! a [`LocalListener`], and its events come from the [`Poller`]. The other end, a [`LocalStream`],
//! reads and writes like a blocking socket.
//!
//! ```
//! use std::io::{Read, Write};
//! use mqttstack_transport::{Listener, Poller, Stream, local::LocalListener};
//!
//! let poller = Poller::new()?;
//! let (mut listener, dialer) = LocalListener::new(&poller);
//! let mut client = dialer.dial()?;
//! client.write_all(b"hello")?;
//!
//! let mut server = listener.accept()?.ok_or("nobody waits")?;
//! let mut buffer = [0; 16];
//! let count = server.read(&mut buffer)?;
//! server.write(&buffer[..count])?;
//! client.read_exact(&mut buffer[..count])?;
//! assert_eq!(&buffer[..count], b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::time::Duration;
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use mio::{Interest, Registry, event::Source};

use crate::{
    AcceptError, Listener, Peer, PeerAddress, Poller, Stream,
    poller::{ReadyList, Registration},
};

/// How many bytes may be under way in one direction.
const CAPACITY_BYTES: usize = 64 * 1024;
/// How many streams may wait to be accepted.
const BACKLOG_MAX: usize = 1_024;

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Accepts the streams that other threads open with its [`LocalDialer`].
#[derive(Debug)]
pub struct LocalListener {
    backlog: Arc<Backlog>,
    address: PeerAddress,
}

/// Opens streams to a [`LocalListener`]; may be cloned and sent to other threads.
#[derive(Clone, Debug)]
pub struct LocalDialer {
    backlog: Arc<Backlog>,
}

#[derive(Debug)]
struct Backlog {
    /// `None` once the listener is gone.
    waiting: Mutex<Option<VecDeque<ServerStream>>>,
    registration: Arc<Registration>,
    ready: ReadyList,
}

impl LocalListener {
    /// Creates a listener whose events, and those of its streams, come from this poller: register
    /// them with no other.
    #[must_use]
    pub fn new(poller: &Poller) -> (Self, LocalDialer) {
        let ready = poller.ready_list();
        let backlog = Arc::new(Backlog {
            waiting: Mutex::new(Some(VecDeque::new())),
            registration: Registration::new(ready.clone()),
            ready,
        });
        let dialer = LocalDialer {
            backlog: Arc::clone(&backlog),
        };
        let address = PeerAddress::Memory(NUMBERS.fetch_add(1, Ordering::Relaxed));
        (Self { backlog, address }, dialer)
    }
}

impl Listener for LocalListener {
    fn accept(&mut self) -> Result<Option<Box<dyn Stream>>, AcceptError> {
        let stream = lock(&self.backlog.waiting)
            .as_mut()
            .and_then(VecDeque::pop_front);
        Ok(stream.map(|stream| Box::new(stream) as Box<dyn Stream>))
    }

    fn source(&mut self) -> &mut dyn Source {
        self
    }

    fn local_address(&self) -> &PeerAddress {
        &self.address
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        // Outside of the lock, the streams tell their peers.
        let _waiting = lock(&self.backlog.waiting).take();
    }
}

impl Source for LocalListener {
    fn register(&mut self, _: &Registry, token: mio::Token, _: Interest) -> io::Result<()> {
        self.backlog.registration.register(token);
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, token: mio::Token, _: Interest) -> io::Result<()> {
        self.backlog.registration.register(token);
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        self.backlog.registration.deregister();
        Ok(())
    }
}

impl LocalDialer {
    /// Opens a stream.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` if the listener is gone, or has so many streams to accept that there is no
    /// room for another.
    pub fn dial(&self) -> io::Result<LocalStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let link = Arc::new(Link {
            forth: Way::default(),
            back: Way::default(),
            registration: Registration::new(self.backlog.ready.clone()),
        });
        let server = ServerStream {
            link: Arc::clone(&link),
            peer: Peer::new(PeerAddress::Memory(NUMBERS.fetch_add(1, Ordering::Relaxed))),
        };
        let client = LocalStream {
            end: Arc::new(ClientEnd(link)),
            read_timeout: None,
            write_timeout: None,
        };
        {
            let mut waiting = lock(&self.backlog.waiting);
            let waiting = waiting.as_mut().ok_or_else(refused)?;
            if waiting.len() >= BACKLOG_MAX {
                return Err(refused());
            }
            waiting.push_back(server);
        }
        self.backlog.registration.notify();
        Ok(client)
    }
}

/// Both directions of a stream, and how to tell the event loop about them.
#[derive(Debug)]
struct Link {
    /// From the client to the event loop.
    forth: Way,
    /// From the event loop to the client.
    back: Way,
    registration: Arc<Registration>,
}

#[derive(Debug, Default)]
struct Way {
    pipe: Mutex<Pipe>,
    /// The client waits for bytes, or for room.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    is_ended: bool,
    has_no_reader: bool,
    /// Whether the event loop found no room, and wants to hear of some.
    wants_room: bool,
}

impl Pipe {
    /// Takes bytes out; `None` if there are none yet.
    fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let len = buffer.len().min(self.bytes.len());
        if len == 0 && !self.is_ended && !buffer.is_empty() {
            return None;
        }
        let (head, tail) = self.bytes.as_slices();
        let (of_head, of_tail) = buffer.split_at_mut(len.min(head.len()));
        let rest = len - of_head.len();
        of_head.copy_from_slice(&head[..of_head.len()]);
        of_tail[..rest].copy_from_slice(&tail[..rest]);
        self.bytes.drain(..len);
        Some(len)
    }

    /// Puts bytes in; `None` if there is no room yet.
    fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if self.is_ended || self.has_no_reader {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let len = bytes.len().min(CAPACITY_BYTES - self.bytes.len());
        if len == 0 && !bytes.is_empty() {
            return Ok(None);
        }
        self.bytes.extend(&bytes[..len]);
        Ok(Some(len))
    }
}

/// The end that belongs to the event loop.
#[derive(Debug)]
struct ServerStream {
    link: Arc<Link>,
    peer: Peer,
}

impl Stream for ServerStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let way = &self.link.forth;
        let read = lock(&way.pipe).read(buffer);
        way.changed.notify_all();
        read.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let way = &self.link.back;
        let mut pipe = lock(&way.pipe);
        let written = pipe.write(bytes)?;
        pipe.wants_room = written.is_none();
        drop(pipe);
        way.changed.notify_all();
        written.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn shutdown(&mut self) -> io::Result<()> {
        lock(&self.link.back.pipe).is_ended = true;
        self.link.back.changed.notify_all();
        Ok(())
    }

    fn source(&mut self) -> &mut dyn Source {
        self
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        lock(&self.link.back.pipe).is_ended = true;
        lock(&self.link.forth.pipe).has_no_reader = true;
        self.link.back.changed.notify_all();
        self.link.forth.changed.notify_all();
    }
}

impl Source for ServerStream {
    fn register(&mut self, _: &Registry, token: mio::Token, _: Interest) -> io::Result<()> {
        self.link.registration.register(token);
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, token: mio::Token, _: Interest) -> io::Result<()> {
        self.link.registration.register(token);
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        self.link.registration.deregister();
        Ok(())
    }
}

/// The other end of a stream: reads and writes wait, as those of a socket do.
///
/// A clone is another handle to the same end, for a thread that writes while one reads; the end is
/// closed when the last one is dropped.
#[derive(Clone, Debug)]
pub struct LocalStream {
    end: Arc<ClientEnd>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

#[derive(Debug)]
struct ClientEnd(Arc<Link>);

impl LocalStream {
    /// Sets how long a read of this handle waits; it ends with `WouldBlock` then. `None` is for ever,
    /// which is the default.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    /// Sets how long a write of this handle waits; it ends with `WouldBlock` then. `None` is for
    /// ever, which is the default.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    /// Ends this side's output; the other end reads an end after the last byte.
    pub fn shutdown(&self) {
        let link = &self.end.0;
        lock(&link.forth.pipe).is_ended = true;
        link.registration.notify();
    }
}

impl io::Read for LocalStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let link = &self.end.0;
        let is_waiting =
            |pipe: &mut Pipe| !buffer.is_empty() && pipe.bytes.is_empty() && !pipe.is_ended;
        let mut pipe = link.back.wait_while(self.read_timeout, is_waiting);
        let read = pipe.read(buffer);
        let is_awaited = std::mem::take(&mut pipe.wants_room);
        drop(pipe);
        if is_awaited {
            link.registration.notify();
        }
        read.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl io::Write for LocalStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let link = &self.end.0;
        let is_waiting = |pipe: &mut Pipe| {
            let is_open = !pipe.is_ended && !pipe.has_no_reader;
            is_open && pipe.bytes.len() >= CAPACITY_BYTES
        };
        let mut pipe = link.forth.wait_while(self.write_timeout, is_waiting);
        let written = pipe.write(bytes)?;
        drop(pipe);
        link.registration.notify();
        written.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        lock(&self.0.forth.pipe).is_ended = true;
        lock(&self.0.back.pipe).has_no_reader = true;
        self.0.registration.notify();
    }
}

impl Way {
    fn wait_while(
        &self,
        timeout: Option<Duration>,
        is_waiting: impl FnMut(&mut Pipe) -> bool,
    ) -> MutexGuard<'_, Pipe> {
        let pipe = lock(&self.pipe);
        match timeout {
            None => self
                .changed
                .wait_while(pipe, is_waiting)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                self.changed
                    .wait_timeout_while(pipe, timeout, is_waiting)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        }
    }
}

/// Locks what no code of ours leaves half changed: nothing in it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
