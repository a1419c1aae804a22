//! Bytes that came in behind an opening: they belong to the reader.

/// Hands out what is left over, as far as there is room; returns how many bytes that was.
pub(crate) fn take(left_over: &mut Vec<u8>, buffer: &mut [u8]) -> usize {
    let len = buffer.len().min(left_over.len());
    for (to, from) in buffer.iter_mut().zip(left_over.drain(..len)) {
        *to = from;
    }
    if left_over.is_empty() {
        *left_over = Vec::new(); // Gives its memory back.
    }
    len
}
