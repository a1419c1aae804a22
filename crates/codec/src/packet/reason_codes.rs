//! The reason codes that SUBACK and UNSUBACK carry, kept as their bytes.

use crate::{Borrowed, DefaultStorage, EncodeError, ReasonCode, Sink, SliceSink, Storage};

/// A list of reason codes, kept as its bytes.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct ReasonCodes<S: Storage = DefaultStorage>(S::Bytes);

impl<S: Storage> ReasonCodes<S> {
    /// Returns how many codes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Returns whether there is no code.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Returns the codes in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReasonCode> + Clone + use<'_, S> {
        // Every constructor has checked: the fallback is never taken.
        self.as_bytes()
            .iter()
            .map(|code| ReasonCode::from_u8(*code).unwrap_or_default())
    }

    /// Returns the bytes of the codes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Returns the same codes, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> ReasonCodes<Borrowed<'_>> {
        ReasonCodes(self.0.as_ref())
    }

    /// Returns the same codes, to be kept; copies them if they are borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> ReasonCodes<crate::Shared> {
        ReasonCodes(S::share_bytes(&self.0))
    }

    /// Keeps bytes that are reason codes.
    pub(crate) const fn from_checked(codes: S::Bytes) -> Self {
        Self(codes)
    }
}

#[cfg(feature = "alloc")]
impl ReasonCodes<crate::Shared> {
    /// Creates the list.
    #[must_use]
    pub fn new(codes: impl IntoIterator<Item = ReasonCode>) -> Self {
        Self(codes.into_iter().map(ReasonCode::as_u8).collect())
    }
}

#[cfg(feature = "alloc")]
impl FromIterator<ReasonCode> for ReasonCodes<crate::Shared> {
    fn from_iter<T: IntoIterator<Item = ReasonCode>>(codes: T) -> Self {
        Self::new(codes)
    }
}

impl<'b> ReasonCodes<Borrowed<'b>> {
    /// Creates the list in a buffer; needs no allocator.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BufferTooSmall`].
    pub fn new_in(
        buffer: &'b mut [u8],
        codes: impl IntoIterator<Item = ReasonCode>,
    ) -> Result<Self, EncodeError> {
        let mut out = SliceSink::new(buffer);
        for code in codes {
            out.reserve(1)?;
            out.append(&[code.as_u8()]);
        }
        Ok(Self(out.into_written()))
    }
}
