//! What the messages carry: enough to know each of them again, and to see whether it was changed.

/// Which message it is, and when it was due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    /// The run, so that what an earlier one left behind is not taken for its own.
    pub(super) run: u32,
    /// The stream: messages of one publisher to one topic.
    pub(super) stream: u32,
    /// Counts up from 0 within the stream.
    pub(super) sequence: u32,
    /// When it was to be sent, in nanoseconds of the run's clock.
    pub(super) due: u64,
}

impl Stamp {
    /// How many bytes it takes at the head of each payload.
    pub(super) const LEN: usize = 20;

    pub(super) fn write(self, out: &mut [u8]) {
        out[0..4].copy_from_slice(&self.run.to_be_bytes());
        out[4..8].copy_from_slice(&self.stream.to_be_bytes());
        out[8..12].copy_from_slice(&self.sequence.to_be_bytes());
        out[12..Self::LEN].copy_from_slice(&self.due.to_be_bytes());
    }

    /// Reads the stamp of a payload, and returns what follows.
    pub(super) fn read(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (run, rest) = payload.split_first_chunk()?;
        let (stream, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (due, rest) = rest.split_first_chunk()?;
        let stamp = Self {
            run: u32::from_be_bytes(*run),
            stream: u32::from_be_bytes(*stream),
            sequence: u32::from_be_bytes(*sequence),
            due: u64::from_be_bytes(*due),
        };
        Some((stamp, rest))
    }
}

/// The bytes behind the stamp: the same in every message of a run, and of every value.
pub(super) fn filler(payload_size: usize) -> Vec<u8> {
    (0_u32..)
        .map(|at| at.wrapping_mul(0x9E37_79B1).to_be_bytes()[0])
        .take(payload_size.saturating_sub(Stamp::LEN))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp {
            run: 1,
            stream: 0x0203_0405,
            sequence: u32::MAX,
            due: 0x0607_0809_0A0B_0C0D,
        };
        let mut payload = vec![0; Stamp::LEN + 3];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some((stamp, &[0, 0, 0][..])));
        assert_eq!(Stamp::read(&payload[..Stamp::LEN - 1]), None);
    }

    #[test]
    fn the_filler_ends_where_the_payload_does() {
        for (payload, filler_len) in [(0, 0), (Stamp::LEN, 0), (64, 64 - Stamp::LEN)] {
            assert_eq!(filler(payload).len(), filler_len);
        }
        assert!(filler(1024).windows(2).any(|pair| pair[0] != pair[1]));
    }
}
