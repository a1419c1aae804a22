//! What a connection has received and not handled.

use bytes::Bytes;
use mqttstack_limits::Instant;

use super::intake::Intake;

/// Bytes that have not been handled: the beginning of a packet, or everything behind a pause.
#[derive(Debug)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    /// A large packet that is ahead of them.
    intake: Option<Box<Intake>>,
    /// How many bytes make it worth to look again.
    wanted: usize,
    /// When the packet at their head began; `NEVER` when none has.
    begun_at: Instant,
}

impl Default for Unread {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            intake: None,
            wanted: 0,
            begun_at: Instant::NEVER,
        }
    }
}

impl Unread {
    /// Keeps bytes for later.
    ///
    /// The buffer grows with what arrives, never by what is claimed, and ends at the size of the
    /// packet: a payload that shares it holds no more memory than it is counted with.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if let Some(intake) = self.intake.as_deref_mut().filter(|it| !it.is_complete()) {
            return intake.append(bytes);
        }
        let len = self.bytes.len().saturating_add(bytes.len());
        if len > self.bytes.capacity() && len <= self.wanted {
            let capacity = len.saturating_mul(2).min(self.wanted);
            // The system moves large buffers without copying them.
            self.bytes
                .reserve_exact(capacity.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Puts back what was taken: it is ahead of all that is kept.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        let behind = std::mem::replace(&mut self.bytes, bytes.to_vec());
        self.bytes.extend_from_slice(&behind);
    }

    /// Returns how many bytes make it worth to look again; `None` if that is not known, or there are
    /// enough.
    pub(super) fn missing(&self) -> Option<usize> {
        let missing = self.wanted.checked_sub(self.len());
        missing.filter(|missing| *missing > 0)
    }

    /// Notes how many bytes the packet at the head takes.
    pub(super) fn want(&mut self, wanted: usize, now: Instant) {
        self.wanted = wanted;
        self.begun_at = self.begun_at.min(now);
    }

    /// Returns when the packet at the head began, if it is not whole.
    pub(super) fn begun_at(&self) -> Option<Instant> {
        self.missing().map(|_| self.begun_at)
    }

    /// The packet at the head has been handled.
    pub(super) fn end_packet(&mut self) {
        self.begun_at = Instant::NEVER;
    }

    /// Takes what is kept, if it is worth looking at.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if let Some(intake) = self.intake.take_if(|intake| intake.is_complete()) {
            self.wanted = 0;
            return Some(intake.into_bytes());
        }
        if self.bytes.is_empty() || self.bytes.len() < self.wanted {
            return None;
        }
        self.wanted = 0;
        Some(Bytes::from(std::mem::take(&mut self.bytes)))
    }

    /// Returns the beginning of a packet, if that is all there is and its length is known: so many
    /// bytes.
    pub(super) fn begun(&self) -> Option<(&[u8], usize)> {
        let is_begun = self.intake.is_none() && self.wanted > self.bytes.len();
        is_begun.then_some((&self.bytes, self.wanted))
    }

    /// Goes on with that packet in a buffer of its own.
    pub(super) fn take_in(&mut self, intake: Box<Intake>) {
        self.bytes = Vec::new();
        self.intake = Some(intake);
    }

    /// Returns the large packet that is ahead.
    pub(super) fn intake_mut(&mut self) -> Option<&mut Intake> {
        self.intake.as_deref_mut()
    }

    /// Returns how many bytes are kept.
    fn len(&self) -> usize {
        let filled = self.intake.as_ref().map_or(0, |intake| intake.filled());
        self.bytes.len().saturating_add(filled)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether nothing is kept, and nothing awaited.
    pub(super) fn is_idle(&self) -> bool {
        self.bytes.is_empty() && self.intake.is_none()
    }

    /// Returns how much memory is taken for them.
    pub(super) fn capacity(&self) -> usize {
        let intake = self.intake.as_ref().map_or(0, |intake| intake.capacity());
        self.bytes.capacity().saturating_add(intake)
    }
}
