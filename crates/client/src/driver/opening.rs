//! Opening a transport without holding anything up.

use std::{
    boxed::Box,
    fmt,
    sync::{Arc, mpsc},
    thread,
};

use mqttstack_transport::{Stream, TransportError, Waker};

/// How a transport is opened: the place for a stream of your own.
///
/// It is called on a thread of its own for each attempt, and may block; give up after about
/// [`Limits::connect_timeout`](mqttstack_limits::Limits::connect_timeout).
#[derive(Clone)]
pub struct Opener(Arc<dyn Fn() -> Result<Box<dyn Stream>, TransportError> + Send + Sync>);

impl Opener {
    /// Opens transports by a function.
    pub fn new(
        open: impl Fn() -> Result<Box<dyn Stream>, TransportError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(open))
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}

/// An attempt under way. Dropping it throws the transport away when it comes.
#[derive(Debug)]
pub(super) struct Attempt(mpsc::Receiver<Result<Box<dyn Stream>, TransportError>>);

impl Attempt {
    pub(super) fn start(opener: &Opener, waker: Waker) -> Result<Self, TransportError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let opener = opener.clone();
        thread::Builder::new()
            .name("mqtt-connect".into())
            .spawn(move || {
                // Nobody listens any more when the attempt was given up.
                let _ = sender.send((opener.0)());
                let _ = waker.wake();
            })?;
        Ok(Self(receiver))
    }

    /// Returns what came of it, once it has.
    pub(super) fn poll(&self) -> Option<Result<Box<dyn Stream>, TransportError>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(mpsc::TryRecvError::Empty) => None,
            // The function has panicked.
            Err(mpsc::TryRecvError::Disconnected) => Some(Err(TransportError::Closed)),
        }
    }
}
