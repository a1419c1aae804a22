//! The written form: numbers, and records that tell their kind and length.

use alloc::vec::Vec;

use mqttstack_codec::{DecodeError, PacketId};
use mqttstack_limits::Instant;

use super::ReplayError;
use crate::PublishToken;

/// The first byte of what is written; it changes when older readers could no longer make sense of
/// it. Since 2, a delivery may name a shared group.
pub(super) const VERSION: u8 = 2;

/// What was written under this version and later ones can still be read.
const VERSION_MIN: u8 = 1;

/// Kinds from here on may be skipped by readers that do not know them.
const SKIPPABLE: u8 = 0x80;

/// Where [`Instant`] zero is on a clock that outlives the process.
///
/// Instants count from an epoch that each driver chooses, often its start. What is written to be
/// read by another driver counts from the epoch of this clock instead, for example in microseconds
/// of Unix time. A deadline that has passed before the reader began is due at once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Epoch(u64);

impl Epoch {
    /// Says that [`Instant`] zero is `micros` microseconds after the zero of the lasting clock.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    const fn lasting(self, instant: Instant) -> u64 {
        instant.as_micros().saturating_add(self.0)
    }

    const fn local(self, micros: u64) -> Instant {
        match micros {
            // It does not come, on no clock.
            u64::MAX => Instant::NEVER,
            _ => Instant::from_micros(micros.saturating_sub(self.0)),
        }
    }
}

/// Why what was written cannot be read.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// The first byte names a version that this reader does not know.
    #[error("version {version} of the format is not known")]
    UnknownVersion {
        /// The version.
        version: u8,
    },
    /// The bytes end inside of something.
    #[error("truncated")]
    Truncated,
    /// A record goes on after its last field, or something follows the last record.
    #[error("{count} bytes too many")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A record has a kind that this reader does not know and may not skip.
    #[error("record of unknown kind {kind:#04X}")]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// A record stands where its kind does not belong.
    #[error("record of kind {kind:#04X} out of place")]
    MisplacedKind {
        /// The kind.
        kind: u8,
    },
    /// A number takes more bytes than it needs, or more than there are bits.
    #[error("number not in its shortest form")]
    NumberTooLong,
    /// A field has a value that it cannot have.
    #[error("{field} out of range")]
    OutOfRange {
        /// The name of the field.
        field: &'static str,
    },
    /// Text is not valid UTF-8, or not a topic name.
    #[error("{field} is not valid text")]
    InvalidText {
        /// The name of the field.
        field: &'static str,
    },
    /// The properties of a message are not valid.
    #[error(transparent)]
    Properties(#[from] DecodeError),
    /// The records contradict one another.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// Appends numbers and records.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    epoch: Epoch,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(out: &'a mut Vec<u8>, epoch: Epoch) -> Self {
        Self { out, epoch }
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// Seven bits in each byte, least first; the highest bit says that more follow.
    pub(super) fn number(&mut self, number: u64) {
        let mut rest = number;
        loop {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                self.out.push(low & 0x7F);
                return;
            }
            self.out.push(low | 0x80);
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.out.extend_from_slice(bytes);
    }

    /// What takes the rest of a record needs no length.
    pub(super) fn rest(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn instant(&mut self, instant: Instant) {
        self.number(self.epoch.lasting(instant));
    }

    pub(super) fn token(&mut self, token: PublishToken) {
        self.number(token.get());
    }

    pub(super) fn packet_id(&mut self, packet_id: PacketId) {
        self.number(packet_id.get().into());
    }

    /// Writes kind, length, and what `body` writes.
    pub(super) fn record(&mut self, kind: u8, body: impl FnOnce(&mut Writer<'_>)) {
        self.out.push(kind);
        let start = self.out.len();
        body(&mut Writer {
            out: self.out,
            epoch: self.epoch,
        });
        let len = self.out.len().saturating_sub(start);
        let mut prefix = Vec::with_capacity(10);
        Writer::new(&mut prefix, self.epoch).number(u64::try_from(len).unwrap_or(u64::MAX));
        self.out.extend_from_slice(&prefix);
        if let Some(behind_kind) = self.out.get_mut(start..) {
            behind_kind.rotate_right(prefix.len());
        }
    }
}

/// Reads what a [`Writer`] wrote, or anything else.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    epoch: Epoch,
}

/// One record: its kind, and what is in it.
pub(super) struct Record<'a> {
    pub(super) kind: u8,
    pub(super) body: Reader<'a>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8], epoch: Epoch) -> Self {
        Self { rest: bytes, epoch }
    }

    pub(super) fn byte(&mut self) -> Result<u8, FormatError> {
        let (first, rest) = self.rest.split_first().ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, FormatError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            let placed = bits << shift;
            if placed >> shift != bits || (byte == 0 && shift > 0) {
                return Err(FormatError::NumberTooLong);
            }
            number |= placed;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(FormatError::NumberTooLong)
    }

    pub(super) fn number_u32(&mut self, field: &'static str) -> Result<u32, FormatError> {
        u32::try_from(self.number()?).map_err(|_| FormatError::OutOfRange { field })
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let len = usize::try_from(self.number()?).map_err(|_| FormatError::Truncated)?;
        let split = self.rest.split_at_checked(len);
        let (bytes, rest) = split.ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, FormatError> {
        core::str::from_utf8(self.bytes()?).map_err(|_| FormatError::InvalidText { field })
    }

    /// Takes all there is.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    pub(super) fn instant(&mut self) -> Result<Instant, FormatError> {
        Ok(self.epoch.local(self.number()?))
    }

    pub(super) fn token(&mut self) -> Result<PublishToken, FormatError> {
        Ok(PublishToken::new(self.number()?))
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, FormatError> {
        let number = u16::try_from(self.number()?).ok();
        number
            .and_then(PacketId::new)
            .ok_or(FormatError::OutOfRange {
                field: "packet identifier",
            })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Checks that everything has been read.
    pub(super) const fn finish(&self) -> Result<(), FormatError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(FormatError::TrailingBytes { count }),
        }
    }

    /// Reads the version that everything begins with.
    pub(super) fn version(&mut self) -> Result<(), FormatError> {
        match self.byte()? {
            VERSION_MIN..=VERSION => Ok(()),
            version => Err(FormatError::UnknownVersion { version }),
        }
    }

    /// Reads the next record; `None` at the end.
    pub(super) fn record(&mut self) -> Result<Option<Record<'a>>, FormatError> {
        if self.is_empty() {
            return Ok(None);
        }
        let kind = self.byte()?;
        let body = Self::new(self.bytes()?, self.epoch);
        Ok(Some(Record { kind, body }))
    }
}

impl Record<'_> {
    /// Says what to do with a record of a kind that is not known.
    pub(super) const fn skip(&self) -> Result<(), FormatError> {
        if self.kind >= SKIPPABLE {
            return Ok(());
        }
        Err(FormatError::UnknownKind { kind: self.kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form_each() {
        for number in [
            0,
            1,
            127,
            128,
            300,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            Writer::new(&mut out, Epoch::default()).number(number);
            let mut reader = Reader::new(&out, Epoch::default());
            assert_eq!(reader.number(), Ok(number));
            assert_eq!(reader.finish(), Ok(()));
        }
        let read = |bytes: &[u8]| Reader::new(bytes, Epoch::default()).number();
        assert_eq!(read(&[0x80, 0x00]), Err(FormatError::NumberTooLong));
        assert_eq!(read(&[0xFF; 10]), Err(FormatError::NumberTooLong));
        assert_eq!(read(&[0x80]), Err(FormatError::Truncated));
    }

    #[test]
    fn a_deadline_keeps_its_place_on_the_lasting_clock() {
        let (before, after) = (Epoch::from_micros(1_000), Epoch::from_micros(5_000));
        let cases = [
            (Instant::from_micros(6_000), Instant::from_micros(2_000)),
            // It passed while nobody ran.
            (Instant::from_micros(100), Instant::EPOCH),
            (Instant::NEVER, Instant::NEVER),
        ];
        for (written, read) in cases {
            let mut out = Vec::new();
            Writer::new(&mut out, before).instant(written);
            assert_eq!(Reader::new(&out, after).instant(), Ok(read));
        }
    }
}
