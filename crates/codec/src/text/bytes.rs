//! The quick checks of text, one byte at a time: a few instructions of code.

/// Returns whether a text is ASCII from some character on.
pub(super) fn is_ascii_from(lowest: u8, text: &[u8]) -> bool {
    text.iter().all(|byte| (lowest..0x80).contains(byte))
}

/// Returns whether a filter is found to be plain without a close look: none is, which does without
/// the code to tell.
pub(super) const fn is_plain_filter(_: &[u8]) -> bool {
    false
}
