//! Where encoded packets go.

use core::fmt;

use crate::EncodeError;

/// Something that takes encoded bytes: a slice through [`SliceSink`], or with feature `alloc` a
/// `Vec<u8>` or a `BytesMut`.
///
/// Encoding first asks for room for all of a packet, so that nothing is written unless everything
/// fits.
pub trait Sink {
    /// Makes room for as many further bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BufferTooSmall`]; nothing changes.
    fn reserve(&mut self, length: usize) -> Result<(), EncodeError>;

    /// Appends as many bytes of any value and returns all of them to be written. Only called within
    /// what was reserved, so that no sink returns fewer: one that did would lose what belongs there.
    fn claim(&mut self, length: usize) -> &mut [u8];

    /// Appends bytes. Only called within what was reserved.
    fn append(&mut self, bytes: &[u8]);
}

/// Writes into a slice that the caller owns; needs no allocator.
pub struct SliceSink<'b> {
    buffer: &'b mut [u8],
    written: usize,
}

impl<'b> SliceSink<'b> {
    /// Creates a sink that fills the buffer from its beginning.
    #[must_use]
    pub const fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, written: 0 }
    }

    /// Returns what has been written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.written).unwrap_or_default()
    }

    /// Returns what has been written, for as long as the buffer lives.
    #[must_use]
    pub fn into_written(self) -> &'b [u8] {
        let buffer: &'b [u8] = self.buffer;
        buffer.get(..self.written).unwrap_or_default()
    }

    /// Returns how many bytes still fit.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.buffer.len().saturating_sub(self.written)
    }
}

/// Without the bytes: they may be a CONNECT with its password.
impl fmt::Debug for SliceSink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SliceSink")
            .field("written", &self.written)
            .field("remaining", &self.remaining())
            .finish()
    }
}

impl Sink for SliceSink<'_> {
    #[inline]
    fn reserve(&mut self, length: usize) -> Result<(), EncodeError> {
        let available = self.remaining();
        if length > available {
            return Err(EncodeError::BufferTooSmall {
                needed: length,
                available,
            });
        }
        Ok(())
    }

    #[inline]
    fn claim(&mut self, length: usize) -> &mut [u8] {
        let length = length.min(self.remaining());
        let start = self.written;
        self.written = start.saturating_add(length);
        self.buffer.get_mut(start..self.written).unwrap_or_default()
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        let free = self.buffer.get_mut(self.written..).unwrap_or_default();
        if let Some(room) = free.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.written = self.written.saturating_add(bytes.len());
        }
    }
}

#[cfg(feature = "alloc")]
impl Sink for alloc::vec::Vec<u8> {
    #[inline]
    fn reserve(&mut self, length: usize) -> Result<(), EncodeError> {
        Self::reserve(self, length);
        Ok(())
    }

    #[inline]
    fn claim(&mut self, length: usize) -> &mut [u8] {
        let start = self.len();
        self.resize(start.saturating_add(length), 0);
        self.get_mut(start..).unwrap_or_default()
    }

    #[inline(always)]
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(feature = "alloc")]
impl Sink for bytes::BytesMut {
    #[inline]
    fn reserve(&mut self, length: usize) -> Result<(), EncodeError> {
        Self::reserve(self, length);
        Ok(())
    }

    #[inline]
    fn claim(&mut self, length: usize) -> &mut [u8] {
        let start = self.len();
        self.resize(start.saturating_add(length), 0);
        self.get_mut(start..).unwrap_or_default()
    }

    #[inline(always)]
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn what_a_slice_holds_is_not_shown() {
        let mut buffer = *b"secret and more";
        let mut sink = SliceSink::new(&mut buffer);
        sink.append(b"secret");
        let shown = format!("{sink:?}");
        assert_eq!(shown, "SliceSink { written: 6, remaining: 9 }");
    }
}
