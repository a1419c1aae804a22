//! Text fields: bytes that have been found to be UTF-8.
//!
//! Safe Rust has no way from checked bytes to a `&str` but to check them again. Most texts of a
//! packet are compared, hashed, matched or forwarded as bytes and never needed as a `&str`, so that
//! they are kept as bytes, and whoever needs the `&str` pays for it.

use core::{fmt, ops::Deref, str::Utf8Error};

/// A text field that borrows: always valid UTF-8.
///
/// # Examples
///
/// ```
/// use mqttstack_codec::Utf8Slice;
///
/// let topic = Utf8Slice::from("plant/press/1");
/// assert_eq!(topic, "plant/press/1");
/// assert_eq!(topic.split('/').count(), 3);
/// let text: &str = topic.as_str();
/// # assert_eq!(text.len(), 13);
/// ```
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Utf8Slice<'a>(&'a [u8]);

impl<'a> Utf8Slice<'a> {
    /// Keeps bytes that were found to be UTF-8 before, such as those of a text field of a packet that
    /// has been decoded: what forwards it need not check it again.
    ///
    /// Of bytes that are not UTF-8 after all, [`as_str`](Self::as_str) returns an empty text.
    #[must_use]
    #[inline]
    pub const fn from_validated(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the text.
    ///
    /// The bytes are checked again, which costs a few nanoseconds for a topic; where bytes will do,
    /// [`as_bytes`](Self::as_bytes) is free.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        // Every constructor has checked: the fallback is never taken.
        core::str::from_utf8(self.0).unwrap_or_default()
    }

    /// Returns the bytes of the text.
    #[must_use]
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> From<&'a str> for Utf8Slice<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl<'a> TryFrom<&'a [u8]> for Utf8Slice<'a> {
    type Error = Utf8Error;

    fn try_from(bytes: &'a [u8]) -> Result<Self, Utf8Error> {
        core::str::from_utf8(bytes).map(Self::from)
    }
}

/// What a text field has in common with `str`, by its `as_str` and `as_bytes`.
macro_rules! like_str {
    ($text:ty) => {
        impl AsRef<str> for $text {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Deref for $text {
            type Target = str;

            fn deref(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq<str> for $text {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $text {
            fn eq(&self, other: &&str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl fmt::Debug for $text {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl fmt::Display for $text {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.as_str(), f)
            }
        }
    };
}

like_str!(Utf8Slice<'_>);

#[cfg(feature = "alloc")]
pub use shared::Utf8Bytes;

#[cfg(feature = "alloc")]
mod shared {
    use alloc::string::String;
    use core::{
        cmp::Ordering,
        hash::{Hash, Hasher},
    };

    use bytes::Bytes;

    use super::{Deref, Utf8Error, Utf8Slice, fmt};

    /// A text field that can be kept: cheap to clone, always valid UTF-8.
    ///
    /// A short text is held inside, without an allocation and without a share in the buffer that it
    /// came in, which a topic that is kept would hold on to; a long one shares the buffer.
    #[derive(Clone)]
    pub struct Utf8Bytes(Repr);

    #[derive(Clone)]
    enum Repr {
        Short { len: u8, bytes: [u8; SHORT_MAX] },
        Long(Bytes),
    }

    /// As many bytes as make the type one word larger than a [`Bytes`].
    const SHORT_MAX: usize = 38;

    impl Utf8Bytes {
        /// Returns the text without copying a static string.
        #[must_use]
        pub const fn from_static(text: &'static str) -> Self {
            Self(Repr::Long(Bytes::from_static(text.as_bytes())))
        }

        /// Keeps bytes that have been found to be UTF-8: copies a short text, and lets `share` cut a
        /// long one from its buffer.
        #[inline]
        pub(crate) fn from_checked(text: &[u8], share: impl FnOnce(&[u8]) -> Bytes) -> Self {
            let mut bytes = [0; SHORT_MAX];
            match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
                (Some(room), Ok(len)) => {
                    room.copy_from_slice(text);
                    Self(Repr::Short { len, bytes })
                }
                (_, _) => Self(Repr::Long(share(text))),
            }
        }

        /// Returns the text.
        ///
        /// The bytes are checked again, which costs a few nanoseconds for a topic; where bytes will
        /// do, [`as_bytes`](Self::as_bytes) is free.
        #[must_use]
        pub fn as_str(&self) -> &str {
            self.as_slice().as_str()
        }

        /// Returns the bytes of the text.
        #[must_use]
        #[inline]
        pub fn as_bytes(&self) -> &[u8] {
            match &self.0 {
                Repr::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
                Repr::Long(bytes) => bytes,
            }
        }

        /// Returns the same text, borrowed.
        #[must_use]
        #[inline]
        pub fn as_slice(&self) -> Utf8Slice<'_> {
            Utf8Slice::from_validated(self.as_bytes())
        }

        /// Returns the text as a buffer; copies a short one.
        #[must_use]
        pub fn into_bytes(self) -> Bytes {
            match self.0 {
                Repr::Short { .. } => Bytes::copy_from_slice(self.as_bytes()),
                Repr::Long(bytes) => bytes,
            }
        }
    }

    impl Default for Utf8Bytes {
        fn default() -> Self {
            Self::from_static("")
        }
    }

    impl From<&str> for Utf8Bytes {
        fn from(text: &str) -> Self {
            Self::from(Utf8Slice::from(text))
        }
    }

    impl From<Utf8Slice<'_>> for Utf8Bytes {
        fn from(text: Utf8Slice<'_>) -> Self {
            Self::from_checked(text.as_bytes(), Bytes::copy_from_slice)
        }
    }

    impl From<String> for Utf8Bytes {
        fn from(text: String) -> Self {
            if text.len() <= SHORT_MAX {
                Self::from(&*text)
            } else {
                Self(Repr::Long(Bytes::from(text.into_bytes())))
            }
        }
    }

    impl TryFrom<Bytes> for Utf8Bytes {
        type Error = Utf8Error;

        fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
            core::str::from_utf8(&bytes)?;
            Ok(Self(Repr::Long(bytes)))
        }
    }

    // Two texts are the same if their bytes are, wherever these are held.

    impl PartialEq for Utf8Bytes {
        fn eq(&self, other: &Self) -> bool {
            self.as_bytes() == other.as_bytes()
        }
    }

    impl Eq for Utf8Bytes {}

    impl PartialOrd for Utf8Bytes {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Utf8Bytes {
        fn cmp(&self, other: &Self) -> Ordering {
            self.as_bytes().cmp(other.as_bytes())
        }
    }

    impl Hash for Utf8Bytes {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.as_bytes().hash(state);
        }
    }

    like_str!(Utf8Bytes);
}
