//! How a packet holds its strings and bytes: borrowed from a buffer, or sharing it.

use core::{fmt::Debug, marker::PhantomData};

#[cfg(feature = "alloc")]
use bytes::Bytes;

#[cfg(feature = "alloc")]
use crate::Utf8Bytes;
use crate::Utf8Slice;

mod sealed {
    #[expect(unnameable_types, reason = "a seal is not to be named outside")]
    pub trait Sealed {}
}

/// How a packet holds its strings and bytes.
///
/// Every packet type is generic over it, so that the borrowed and the owned face are one set of
/// types: [`Borrowed`] holds slices of the buffer that was decoded and needs no allocator,
/// [`Shared`] holds reference-counted slices and can be kept, queued and sent to other threads.
pub trait Storage: sealed::Sealed + Clone + Copy + Debug + Default + Eq {
    /// A text field: valid UTF-8. What has been decoded or can be encoded is without U+0000.
    type Str: AsRef<str> + Clone + Debug + Default + Eq;
    /// A binary field, a payload, or an encoded list.
    type Bytes: AsRef<[u8]> + Clone + Debug + Default + Eq;

    /// An empty binary field.
    const NO_BYTES: Self::Bytes;

    /// Returns the same text field, borrowed.
    fn text(text: &Self::Str) -> Utf8Slice<'_>;

    /// Returns a text field to be kept; copies it if it is borrowed.
    #[cfg(feature = "alloc")]
    fn share_text(text: &Self::Str) -> Utf8Bytes;

    /// Returns a binary field to be kept; copies it if it is borrowed.
    #[cfg(feature = "alloc")]
    fn share_bytes(bytes: &Self::Bytes) -> Bytes;
}

/// Fields are slices of a buffer that lives for `'a`; nothing is copied and nothing allocated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Borrowed<'a>(PhantomData<&'a ()>);

impl sealed::Sealed for Borrowed<'_> {}

impl<'a> Storage for Borrowed<'a> {
    type Str = Utf8Slice<'a>;
    type Bytes = &'a [u8];

    const NO_BYTES: &'a [u8] = &[];

    #[inline]
    fn text<'t>(text: &'t Utf8Slice<'a>) -> Utf8Slice<'t> {
        *text
    }

    #[cfg(feature = "alloc")]
    fn share_text(text: &Utf8Slice<'a>) -> Utf8Bytes {
        Utf8Bytes::from(*text)
    }

    #[cfg(feature = "alloc")]
    fn share_bytes(bytes: &&'a [u8]) -> Bytes {
        if bytes.is_empty() {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(bytes)
        }
    }
}

/// Fields are reference-counted slices of the received buffer; texts of up to 38 bytes are copied
/// instead, which is cheaper than counting.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Shared;

#[cfg(feature = "alloc")]
impl sealed::Sealed for Shared {}

#[cfg(feature = "alloc")]
impl Storage for Shared {
    type Str = Utf8Bytes;
    type Bytes = Bytes;

    const NO_BYTES: Bytes = Bytes::new();

    #[inline]
    fn text(text: &Utf8Bytes) -> Utf8Slice<'_> {
        text.as_slice()
    }

    fn share_text(text: &Utf8Bytes) -> Utf8Bytes {
        text.clone()
    }

    fn share_bytes(bytes: &Bytes) -> Bytes {
        bytes.clone()
    }
}

/// The storage that packet types use when none is named: [`Shared`] where there is an allocator.
#[cfg(feature = "alloc")]
pub type DefaultStorage = Shared;
/// The storage that packet types use when none is named: static data where there is no allocator.
#[cfg(not(feature = "alloc"))]
pub type DefaultStorage = Borrowed<'static>;
