//! Messages that are over, for the memory that the next ones need.

use alloc::{sync::Arc, vec::Vec};

use mqttstack_codec::{Presence, QoS};

use super::{Body, Expiry, Inner, Message, fill};

/// Keeps the memory of small messages that nobody holds any longer, for those that arrive next: who
/// passes many on allocates for none of them, once as many have come as are under way at a time.
///
/// Hand received packets in with [`server::Session::handle_packet_in`], which takes memory from here
/// and gives back that of what was acknowledged; [`put`](Self::put) everything else back that is done
/// with, such as a QoS 0 message that has been encoded. What is not put back is freed as usual.
///
/// [`server::Session::handle_packet_in`]: crate::server::Session::handle_packet_in
#[derive(Debug, Default)]
pub struct MessagePool {
    /// Nobody else holds any of them.
    spare: Vec<Message>,
    /// How many of them have not been needed since the last [`rest`](Self::rest).
    unused: usize,
    maximum: usize,
}

impl MessagePool {
    /// Creates a pool that keeps the memory of so many messages at most, some 180 bytes for each.
    #[must_use]
    pub const fn new(maximum: usize) -> Self {
        Self {
            spare: Vec::new(),
            unused: 0,
            maximum,
        }
    }

    /// Gives a message back. Its memory is kept if there is room, nobody else holds the message, and
    /// all of it lies in one piece: topic, properties and payload of up to 112 bytes.
    pub fn put(&mut self, message: Message) {
        // Who holds the only one is the only one who could make it more.
        let is_last = Arc::strong_count(&message.0) == 1;
        if is_last
            && self.spare.len() < self.maximum
            && matches!(message.0.body, Body::Inline { .. })
        {
            self.spare.push(message);
        }
    }

    /// Returns how many messages there is memory for.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.spare.len()
    }

    /// Takes memory for so many messages at most out, to be [`put`](Self::put) into another pool: where
    /// messages come in at one place and end at another, it would all gather at the other.
    pub fn take_spare(&mut self, count: usize) -> impl Iterator<Item = Message> + '_ {
        let first = self.spare.len().saturating_sub(count);
        self.unused = self.unused.min(first);
        self.spare.drain(first..)
    }

    /// Gives the memory back that no message has needed since the last call; call it at intervals.
    pub fn rest(&mut self) {
        let needed = self.spare.len().saturating_sub(self.unused);
        self.spare.truncate(needed);
        if self.spare.capacity() > needed.saturating_mul(4) {
            self.spare.shrink_to(needed.saturating_mul(2));
        }
        self.unused = needed;
    }

    /// Makes a message, in the memory of an earlier one if there is any.
    pub(super) fn make(&mut self, inner: Inner) -> Message {
        if let Some(mut message) = self.spare.pop()
            && let Some(place) = Arc::get_mut(&mut message.0)
        {
            self.unused = self.unused.min(self.spare.len());
            *place = inner;
            return message;
        }
        Message(Arc::new(inner))
    }

    /// Makes a message without properties in the memory of an earlier one, if there is any and the
    /// message is small enough.
    pub(super) fn remake(
        &mut self,
        topic: &[u8],
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Option<Message> {
        let topic_len = u16::try_from(topic.len()).ok()?;
        let mut message = self.spare.pop()?;
        self.unused = self.unused.min(self.spare.len());
        let inner = Arc::get_mut(&mut message.0)?;
        let Body::Inline { len, bytes } = &mut inner.body else {
            return None;
        };
        let Some(filled) = fill(bytes, [topic, payload]) else {
            self.spare.push(message);
            return None;
        };
        *len = filled;
        inner.topic_len = topic_len;
        inner.qos = qos;
        inner.retain = retain;
        inner.properties_len = 0;
        inner.presence = Presence::default();
        inner.expiry = Expiry::Never;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_no_message_needs_is_given_back() {
        let mut pool = MessagePool::new(100);
        let message = || Message::builder("a", "x").build().expect("fits");
        for _ in 0..100 {
            pool.put(message());
        }
        pool.rest();
        assert_eq!(pool.spare(), 100, "they have just come");
        // Thirty are needed at a time.
        let make = |pool: &mut MessagePool| {
            let qos = QoS::AtMostOnce;
            let made = pool.remake(b"a", b"x", qos, false);
            made.expect("there is memory")
        };
        let busy: Vec<Message> = (0..30).map(|_| make(&mut pool)).collect();
        busy.into_iter().for_each(|message| pool.put(message));
        pool.rest();
        assert_eq!(pool.spare(), 30);
        pool.rest();
        assert_eq!((pool.spare(), pool.spare.capacity()), (0, 0));
    }
}
