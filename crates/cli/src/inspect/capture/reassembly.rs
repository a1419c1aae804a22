//! One direction of a TCP connection, put back into its order.

use std::collections::BTreeMap;

/// How many bytes may wait for those before them, in one direction.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What keeping a segment costs besides its bytes.
const SEGMENT_OVERHEAD: usize = 64;

/// Puts segments into the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    /// The sequence number that comes next; `None` before the first segment.
    next: Option<u32>,
    /// How many bytes precede it in the stream.
    position: u64,
    /// What came too early, by its position.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_cost: usize,
}

impl Reassembly {
    /// The direction begins, after this sequence number; no news if it has begun.
    pub(crate) fn begin(&mut self, sequence: u32) {
        self.next.get_or_insert(sequence.wrapping_add(1));
    }

    /// Takes a segment, and hands on the bytes that follow those before. A direction whose
    /// beginning was not captured begins with its first segment.
    ///
    /// Returns `false` once so much waits for bytes that are missing that they will not come.
    pub(crate) fn take(
        &mut self,
        sequence: u32,
        payload: &[u8],
        mut hand_on: impl FnMut(&[u8]),
    ) -> bool {
        let next = *self.next.get_or_insert(sequence);
        // Sequence numbers wrap around; the shorter way from one to another is the right one.
        let ahead = sequence.wrapping_sub(next).cast_signed();
        match u64::try_from(ahead) {
            Ok(ahead) if ahead > 0 => self.keep(self.position + ahead, payload),
            Ok(_) | Err(_) => {
                let known = usize::try_from(ahead.unsigned_abs()).unwrap_or(usize::MAX);
                self.advance(payload.get(known..).unwrap_or_default(), &mut hand_on);
                self.catch_up(&mut hand_on);
            }
        }
        self.waiting_cost <= WAITING_BYTES_MAX
    }

    /// Returns how many bytes are missing before the next that are there, if any are.
    pub(crate) fn gap(&self) -> Option<u64> {
        let (position, _) = self.waiting.first_key_value()?;
        Some(position.saturating_sub(self.position))
    }

    /// Returns how many bytes the segments that wait take in memory.
    pub(crate) const fn buffered(&self) -> usize {
        self.waiting_cost
    }

    fn keep(&mut self, position: u64, payload: &[u8]) {
        let is_longer = |kept: &Vec<u8>| kept.len() < payload.len();
        if !payload.is_empty() && self.waiting.get(&position).is_none_or(is_longer) {
            self.waiting_cost += payload.len() + SEGMENT_OVERHEAD;
            let replaced = self.waiting.insert(position, payload.to_vec());
            self.forget(replaced.as_ref());
        }
    }

    fn forget(&mut self, segment: Option<&Vec<u8>>) {
        if let Some(segment) = segment {
            let cost = segment.len() + SEGMENT_OVERHEAD;
            self.waiting_cost = self.waiting_cost.saturating_sub(cost);
        }
    }

    fn advance(&mut self, bytes: &[u8], hand_on: &mut impl FnMut(&[u8])) {
        if bytes.is_empty() {
            return;
        }
        hand_on(bytes);
        self.position += bytes.len() as u64;
        // A segment is far shorter than the space of sequence numbers.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.next = self.next.map(|next| next.wrapping_add(length));
    }

    /// Hands on what has waited and need not any more.
    fn catch_up(&mut self, hand_on: &mut impl FnMut(&[u8])) {
        while let Some(first) = self.waiting.first_entry() {
            if *first.key() > self.position {
                break;
            }
            let (position, segment) = first.remove_entry();
            self.forget(Some(&segment));
            let known = usize::try_from(self.position - position).unwrap_or(usize::MAX);
            self.advance(segment.get(known..).unwrap_or_default(), hand_on);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_together(begin: Option<u32>, segments: &[(u32, &str)]) -> (String, Option<u64>) {
        let mut reassembly = Reassembly::default();
        if let Some(sequence) = begin {
            reassembly.begin(sequence);
        }
        let mut bytes = Vec::new();
        for (sequence, payload) in segments {
            let goes_on = reassembly.take(*sequence, payload.as_bytes(), |piece| {
                bytes.extend_from_slice(piece);
            });
            assert!(goes_on);
        }
        if reassembly.gap().is_none() {
            assert_eq!(reassembly.buffered(), 0);
        }
        (String::from_utf8(bytes).unwrap(), reassembly.gap())
    }

    #[test]
    fn segments_are_put_into_their_order() {
        let wrapped = u32::MAX - 1;
        type Case<'a> = (
            &'a str,
            Option<u32>,
            &'a [(u32, &'a str)],
            &'a str,
            Option<u64>,
        );
        let cases: [Case<'_>; 10] = [
            ("in order", Some(9), &[(10, "ab"), (12, "cd")], "abcd", None),
            ("swapped", Some(9), &[(12, "cd"), (10, "ab")], "abcd", None),
            (
                "reversed",
                Some(9),
                &[(14, "e"), (12, "cd"), (10, "ab")],
                "abcde",
                None,
            ),
            (
                "repeated",
                Some(9),
                &[(10, "ab"), (10, "ab"), (12, "c")],
                "abc",
                None,
            ),
            (
                "overlapping",
                Some(9),
                &[(10, "abc"), (11, "bcd"), (12, "cde")],
                "abcde",
                None,
            ),
            (
                "overlapping while waiting",
                Some(9),
                &[(12, "cd"), (11, "bcde"), (12, "c"), (10, "a")],
                "abcde",
                None,
            ),
            (
                "wrapping",
                Some(wrapped - 1),
                &[(wrapped, "ab"), (0, "cd")],
                "abcd",
                None,
            ),
            (
                "without a beginning",
                None,
                &[(500, "ab"), (502, "cd")],
                "abcd",
                None,
            ),
            ("a gap", Some(9), &[(10, "ab"), (15, "f")], "ab", Some(3)),
            (
                "keep alive probe",
                Some(9),
                &[(10, "ab"), (11, "b"), (12, "c")],
                "abc",
                None,
            ),
        ];
        for (name, begin, segments, bytes, gap) in cases {
            assert_eq!(
                put_together(begin, segments),
                (bytes.to_owned(), gap),
                "{name}"
            );
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut reassembly = Reassembly::default();
        reassembly.begin(0);
        let mut sequence = 100;
        while reassembly.take(sequence, b"x", |_| {}) {
            sequence += 2;
        }
        assert!(reassembly.buffered() <= WAITING_BYTES_MAX + SEGMENT_OVERHEAD + 1);
        assert_eq!(reassembly.gap(), Some(99));
    }
}
