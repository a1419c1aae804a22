//! Texts inside the records they belong to.

use alloc::boxed::Box;
use core::str;

/// A text that a record keeps: in place up to [`Text::IN_PLACE_MAX`] bytes, so that comparing it
/// reads no further memory, else in an allocation of its own.
#[derive(Debug)]
pub(crate) enum Text {
    InPlace {
        len: u8,
        bytes: [u8; Self::IN_PLACE_MAX],
    },
    Boxed(Box<[u8]>),
}

impl Text {
    /// Makes a text 40 bytes large. Most filters and names in the field are no longer than this.
    pub(crate) const IN_PLACE_MAX: usize = 38;

    pub(crate) fn new(text: &str) -> Self {
        let mut bytes = [0; Self::IN_PLACE_MAX];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(text.as_bytes());
                Self::InPlace { len, bytes }
            }
            (_, _) => Self::Boxed(text.as_bytes().into()),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::InPlace { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Boxed(bytes) => bytes,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::InPlace { len, .. } => *len as usize,
            Self::Boxed(bytes) => bytes.len(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        // Only `new` makes a text, and it is given one.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn is(&self, text: &str) -> bool {
        self.as_bytes() == text.as_bytes()
    }
}
