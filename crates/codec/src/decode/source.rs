//! Where the fields of a packet come from: slices of a buffer, or shares of it.

#[cfg(feature = "alloc")]
use bytes::Bytes;

use crate::{Borrowed, Storage, Utf8Slice};
#[cfg(feature = "alloc")]
use crate::{Shared, Utf8Bytes};

/// Turns slices of the buffer that is decoded into fields.
pub(crate) trait Source<'a>: Copy {
    /// How the packet holds its fields.
    type Storage: Storage;

    /// Makes a field of text that has been checked.
    fn text(self, text: &'a [u8]) -> <Self::Storage as Storage>::Str;

    /// Makes a field of bytes.
    fn bytes(self, bytes: &'a [u8]) -> <Self::Storage as Storage>::Bytes;
}

/// Fields borrow from the buffer.
#[derive(Clone, Copy)]
pub(crate) struct Borrow;

impl<'a> Source<'a> for Borrow {
    type Storage = Borrowed<'a>;

    #[inline]
    fn text(self, text: &'a [u8]) -> Utf8Slice<'a> {
        Utf8Slice::from_validated(text)
    }

    #[inline]
    fn bytes(self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
    }
}

/// Fields share the buffer.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy)]
pub(crate) struct Share<'a>(pub(crate) &'a Bytes);

#[cfg(feature = "alloc")]
impl<'a> Source<'a> for Share<'a> {
    type Storage = Shared;

    #[inline]
    fn text(self, text: &'a [u8]) -> Utf8Bytes {
        Utf8Bytes::from_checked(text, |text| self.0.slice_ref(text))
    }

    #[inline]
    fn bytes(self, bytes: &'a [u8]) -> Bytes {
        // Fields are cut from the buffer, so that it holds them.
        if bytes.is_empty() {
            Bytes::new()
        } else {
            self.0.slice_ref(bytes)
        }
    }
}
