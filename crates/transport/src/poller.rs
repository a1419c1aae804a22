//! Waiting for sockets and for other threads.

use core::{fmt, time::Duration};
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use mio::{Interest, event::Source};

use crate::Token;

/// The waker's own token, which no [`TokenMap`](crate::TokenMap) hands out.
pub(crate) const WAKER: mio::Token = mio::Token(usize::MAX);

/// Waits until something can be read or written, a time is up, or another thread calls.
///
/// Each source is registered once, for both directions. Events are *edges*: each tells of a change,
/// and none reminds of what was left unread. So nothing is registered again in the course of a
/// connection, and writability costs no system call; in exchange, the owner keeps a list of the
/// streams that it left before they would block, and does not sleep while the list has entries.
/// [`Stream`](crate::Stream) spells the contract out.
pub struct Poller {
    poll: mio::Poll,
    waker: Waker,
    ready: ReadyList,
}

impl Poller {
    /// Creates a poller without sources.
    ///
    /// # Errors
    ///
    /// The system's, when it is short of descriptors.
    pub fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = Waker {
            waker: Arc::new(mio::Waker::new(poll.registry(), WAKER)?),
        };
        let ready = ReadyList {
            sources: Arc::new(Mutex::new(Some(Vec::new()))),
            waker: waker.clone(),
        };
        Ok(Self { poll, waker, ready })
    }

    /// Starts to watch `source`; its events carry `token`.
    ///
    /// What can be read or written already is told by the next [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// The system's; `Unsupported` for a stream that no system watches.
    pub fn register(&self, token: Token, source: &mut dyn Source) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        source.register(self.poll.registry(), token.to_mio(), both)
    }

    /// Starts to watch a listener, or another source that is only ever read; its events carry
    /// `token`.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn register_readable(&self, token: Token, source: &mut dyn Source) -> io::Result<()> {
        source.register(self.poll.registry(), token.to_mio(), Interest::READABLE)
    }

    /// Stops to watch `source`; dropping a socket does the same.
    ///
    /// # Errors
    ///
    /// The system's, for a source that is not registered here.
    pub fn deregister(&self, source: &mut dyn Source) -> io::Result<()> {
        source.deregister(self.poll.registry())
    }

    /// Waits for events, at most `timeout` or for ever, and puts them into `events`.
    ///
    /// Returns without events when the time is up, and when a signal arrives.
    ///
    /// # Errors
    ///
    /// The system's; none is expected.
    pub fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut events.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.events.clear(),
            Err(error) => return Err(error),
        }
        events.is_woken = events.events.iter().any(|event| event.token() == WAKER);
        events.local.clear();
        if events.is_woken {
            self.ready.take(&mut events.local);
        }
        Ok(())
    }

    /// Returns where sources that no system watches tell of changes.
    pub(crate) fn ready_list(&self) -> ReadyList {
        self.ready.clone()
    }

    /// Returns a handle that ends the wait from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        *self.ready.lock() = None;
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

/// Ends the current or the next [`Poller::wait`] from any thread.
///
/// Calls before the poller gets to wait count as one; a caller that leaves work in a queue first
/// and wakes then can rely on its work being seen.
#[derive(Clone, Debug)]
pub struct Waker {
    waker: Arc<mio::Waker>,
}

impl Waker {
    /// Wakes the poller.
    ///
    /// # Errors
    ///
    /// The system's; none is expected while the poller lives.
    pub fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }
}

/// The sources of a poller that no system watches and that have changed.
#[derive(Clone, Debug)]
pub(crate) struct ReadyList {
    /// Each of them once; `None` when the poller is gone.
    sources: Arc<Mutex<Option<Vec<Arc<Registration>>>>>,
    waker: Waker,
}

impl ReadyList {
    fn take(&self, tokens: &mut Vec<Token>) {
        for source in self.lock().iter_mut().flat_map(|sources| sources.drain(..)) {
            // What changes from now on is told by the next wait.
            source.is_listed.store(false, Ordering::Release);
            tokens.extend(source.token());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Arc<Registration>>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source that no system watches, and the token of its events once it is registered.
#[derive(Debug)]
pub(crate) struct Registration {
    token: AtomicUsize,
    is_listed: AtomicBool,
    ready: ReadyList,
}

impl Registration {
    pub(crate) fn new(ready: ReadyList) -> Arc<Self> {
        Arc::new(Self {
            token: AtomicUsize::new(WAKER.0),
            is_listed: AtomicBool::new(false),
            ready,
        })
    }

    pub(crate) fn register(self: &Arc<Self>, token: mio::Token) {
        self.token.store(token.0, Ordering::Release);
        self.notify();
    }

    pub(crate) fn deregister(&self) {
        self.token.store(WAKER.0, Ordering::Release);
    }

    /// Tells the poller of a change; does nothing for a source that is not registered.
    pub(crate) fn notify(self: &Arc<Self>) {
        if self.token().is_none() || self.is_listed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(sources) = &mut *self.ready.lock() {
            sources.push(Arc::clone(self));
        }
        // A poller that cannot be woken is gone.
        let _ = self.ready.waker.wake();
    }

    fn token(&self) -> Option<Token> {
        let token = self.token.load(Ordering::Acquire);
        (token != WAKER.0).then(|| Token::from_mio(mio::Token(token)))
    }
}

/// Room for the events of one wait, to be used again for each.
pub struct Events {
    events: mio::Events,
    /// Sources that no system watches.
    local: Vec<Token>,
    is_woken: bool,
}

/// Something changed for a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Event {
    /// The source's token; look it up, as the source may be gone.
    pub token: Token,
    /// Reading may bring bytes, the end, or an error.
    pub is_readable: bool,
    /// Among what reading brings is the end, or an error: read until it comes.
    pub is_ending: bool,
    /// Writing may take bytes, or meet an error.
    pub is_writable: bool,
}

impl Events {
    /// How many events one wait reports at most, unless told otherwise; more wait for the next.
    pub const CAPACITY: usize = 1024;

    /// Creates room for [`CAPACITY`](Self::CAPACITY) events.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(Self::CAPACITY)
    }

    /// Creates room for `capacity` events, and for one at least.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            events: mio::Events::with_capacity(capacity.max(1)),
            local: Vec::new(),
            is_woken: false,
        }
    }

    /// Returns the events of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        let of_sources = self.events.iter().filter(|event| event.token() != WAKER);
        let of_local = self.local.iter().map(|token| Event {
            token: *token,
            is_readable: true,
            is_ending: false,
            is_writable: true,
        });
        let of_system = of_sources.map(|event| {
            // An error is met by reading or writing, whichever the owner does first.
            let is_error = event.is_error();
            let is_ending = is_error || event.is_read_closed();
            Event {
                token: Token::from_mio(event.token()),
                is_readable: is_ending || event.is_readable(),
                is_ending,
                is_writable: is_error || event.is_writable() || event.is_write_closed(),
            }
        });
        of_system.chain(of_local)
    }

    /// Says whether a [`Waker`] ended the last wait.
    #[must_use]
    pub const fn is_woken(&self) -> bool {
        self.is_woken
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
