//! The HTTP head with which a WebSocket opens, collected byte by byte.

use super::WebSocketError;

/// A request or a response up to its empty line.
#[derive(Debug)]
pub(super) struct Head {
    bytes: Vec<u8>,
    bytes_max: usize,
}

/// A complete head.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Whole {
    /// The head, its empty line included.
    pub(super) head: Vec<u8>,
    /// What came after it.
    pub(super) rest: Vec<u8>,
}

impl Head {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            bytes_max,
        }
    }

    /// Adds bytes, and returns the head once it is complete.
    ///
    /// Looks at each byte once or twice, however they trickle.
    ///
    /// # Errors
    ///
    /// [`WebSocketError::OpeningTooLong`], and [`WebSocketError::PeerSpeaksTls`] or
    /// [`WebSocketError::NotHttp`] from the first byte on.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<Whole>, WebSocketError> {
        let searched = self.bytes.len().saturating_sub(3);
        self.bytes.extend_from_slice(bytes);
        match self.bytes.first() {
            Some(&(crate::TLS_HANDSHAKE | crate::TLS_ALERT)) => {
                return Err(WebSocketError::PeerSpeaksTls);
            }
            Some(first) if !first.is_ascii_uppercase() => return Err(WebSocketError::NotHttp),
            Some(_) | None => {}
        }
        let fresh = self.bytes.get(searched..).unwrap_or_default();
        let end = fresh.windows(4).position(|four| four == b"\r\n\r\n");
        let limit = self.bytes_max;
        match end.map(|end| searched + end + 4) {
            Some(len) if len <= limit => {
                let rest = self.bytes.split_off(len);
                let head = std::mem::take(&mut self.bytes);
                Ok(Some(Whole { head, rest }))
            }
            None if self.bytes.len() <= limit => Ok(None),
            Some(_) | None => Err(WebSocketError::OpeningTooLong { limit }),
        }
    }
}

/// Says whether a list of tokens, as headers have them, holds `token`.
pub(super) fn has_token<'a>(values: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    values
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}
