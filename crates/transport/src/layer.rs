//! What turns accepted streams into streams of another kind.

use core::fmt;
use std::sync::Arc;

use mio::event::Source;

use crate::{AcceptError, Listener, PeerAddress, Stream};

/// The first byte of a connection that opens with TLS. No packet of MQTT and no word of HTTP starts
/// with it, so an owner can say what is wrong with such a connection on a port without TLS.
pub const TLS_HANDSHAKE: u8 = 0x16;

/// The first byte of the answer that a server of TLS gives to something else. No server of MQTT or
/// HTTP begins with it, so a client can say what is wrong with its port.
pub const TLS_ALERT: u8 = 0x15;

/// The server's side of a layer: encryption, framing, a header before the first byte.
pub trait Layer: Send + Sync {
    /// Puts the layer over a stream. What can fail fails in the new stream's handshake.
    fn wrap(&self, stream: Box<dyn Stream>) -> Box<dyn Stream>;
}

/// A listener whose streams come with layers.
pub struct LayeredListener<L> {
    listener: L,
    layers: Vec<Arc<dyn Layer>>,
}

impl<L: Listener> LayeredListener<L> {
    /// Puts `layers` over each stream of `listener`, the lowest one first.
    #[must_use]
    pub const fn new(listener: L, layers: Vec<Arc<dyn Layer>>) -> Self {
        Self { listener, layers }
    }
}

impl<L: Listener> Listener for LayeredListener<L> {
    fn accept(&mut self) -> Result<Option<Box<dyn Stream>>, AcceptError> {
        let stream = self.listener.accept()?;
        let over = |stream, layer: &Arc<dyn Layer>| layer.wrap(stream);
        Ok(stream.map(|stream| self.layers.iter().fold(stream, over)))
    }

    fn source(&mut self) -> &mut dyn Source {
        self.listener.source()
    }

    fn local_address(&self) -> &PeerAddress {
        self.listener.local_address()
    }
}

impl<L: fmt::Debug> fmt::Debug for LayeredListener<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayeredListener")
            .field("listener", &self.listener)
            .field("layers", &self.layers.len())
            .finish()
    }
}
