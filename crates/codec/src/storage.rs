//! How a packet holds its strings and bytes: borrowed from a buffer, or sharing it.

use core::{fmt::Debug, marker::PhantomData};

#[cfg(feature = "alloc")]
use bytes::Bytes;

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
    /// A text field: valid UTF-8 without U+0000.
    type Str: AsRef<str> + Clone + Debug + Default + Eq;
    /// A binary field, a payload, or an encoded list.
    type Bytes: AsRef<[u8]> + Clone + Debug + Default + Eq;

    /// An empty binary field.
    const NO_BYTES: Self::Bytes;

    /// Returns the bytes of a text field without checking them again.
    fn text_bytes(text: &Self::Str) -> &[u8];

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
    type Str = &'a str;
    type Bytes = &'a [u8];

    const NO_BYTES: &'a [u8] = &[];

    #[inline]
    fn text_bytes<'t>(text: &'t &'a str) -> &'t [u8] {
        text.as_bytes()
    }

    #[cfg(feature = "alloc")]
    fn share_text(text: &&'a str) -> Utf8Bytes {
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

/// Fields are reference-counted slices of the received buffer; nothing is copied.
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
    fn text_bytes(text: &Utf8Bytes) -> &[u8] {
        text.as_bytes()
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

/// A text field over [`Bytes`]: cheap to clone, always valid UTF-8.
#[cfg(feature = "alloc")]
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Utf8Bytes(Bytes);

#[cfg(feature = "alloc")]
impl Utf8Bytes {
    /// Returns the text without copying a static string.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Returns the text.
    ///
    /// The bytes are checked again, which costs a few nanoseconds for a topic; where bytes will do,
    /// [`as_bytes`](Self::as_bytes) is free.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Every constructor has checked: the fallback is never taken.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Makes a text of bytes that have been found to be well-formed.
    pub(crate) const fn from_checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the buffer behind the text.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

#[cfg(feature = "alloc")]
mod utf8_bytes_impls {
    use alloc::string::String;
    use core::{fmt, ops::Deref};

    use bytes::Bytes;

    use super::Utf8Bytes;

    impl AsRef<str> for Utf8Bytes {
        fn as_ref(&self) -> &str {
            self.as_str()
        }
    }

    impl Deref for Utf8Bytes {
        type Target = str;

        fn deref(&self) -> &str {
            self.as_str()
        }
    }

    impl From<&str> for Utf8Bytes {
        fn from(text: &str) -> Self {
            if text.is_empty() {
                Self::default()
            } else {
                Self(Bytes::copy_from_slice(text.as_bytes()))
            }
        }
    }

    impl From<String> for Utf8Bytes {
        fn from(text: String) -> Self {
            Self(Bytes::from(text.into_bytes()))
        }
    }

    impl TryFrom<Bytes> for Utf8Bytes {
        type Error = core::str::Utf8Error;

        fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
            core::str::from_utf8(&bytes)?;
            Ok(Self(bytes))
        }
    }

    impl PartialEq<str> for Utf8Bytes {
        fn eq(&self, other: &str) -> bool {
            self.as_bytes() == other.as_bytes()
        }
    }

    impl PartialEq<&str> for Utf8Bytes {
        fn eq(&self, other: &&str) -> bool {
            self.as_bytes() == other.as_bytes()
        }
    }

    impl fmt::Debug for Utf8Bytes {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Debug::fmt(self.as_str(), f)
        }
    }

    impl fmt::Display for Utf8Bytes {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self.as_str(), f)
        }
    }
}
