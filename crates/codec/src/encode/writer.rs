//! Writes the data types that all packets are made of into a slice of the right size.

/// The largest value of a Variable Byte Integer.
pub(crate) const VARIABLE_MAX: u32 = 268_435_455;

/// Fills a slice from its beginning.
///
/// The length has been computed before, and the sink keeps its word on the room, so that everything
/// fits; a write that would not is left out, and the debug assertion in [`finish`](Self::finish)
/// finds it.
pub(crate) struct Writer<'b> {
    room: &'b mut [u8],
    is_complete: bool,
}

impl<'b> Writer<'b> {
    #[inline]
    pub(crate) const fn new(room: &'b mut [u8]) -> Self {
        Self {
            room,
            is_complete: true,
        }
    }

    /// Checks that exactly what was computed has been written.
    #[inline]
    pub(crate) fn finish(self) {
        debug_assert!(
            self.is_complete && self.room.is_empty(),
            "encoded length was wrong"
        );
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        match core::mem::take(&mut self.room).split_at_mut_checked(bytes.len()) {
            Some((room, rest)) => {
                room.copy_from_slice(bytes);
                self.room = rest;
            }
            None => self.is_complete = false,
        }
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    #[inline]
    pub(crate) fn two_bytes(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes a field with its two-byte length.
    #[inline]
    pub(crate) fn field(&mut self, field: &[u8]) {
        debug_assert!(
            field.len() <= usize::from(u16::MAX),
            "field length was not checked"
        );
        self.two_bytes(u16::try_from(field.len()).unwrap_or(u16::MAX));
        self.bytes(field);
    }

    /// Writes a Variable Byte Integer in its shortest form.
    ///
    /// # Specification
    ///
    /// v5 MQTT-1.5.5-1.
    #[inline]
    pub(crate) fn variable(&mut self, value: u32) {
        if value < 0x80 {
            return self.byte(value.to_le_bytes()[0]);
        }
        let mut rest = value;
        while rest > 0x7F {
            self.byte(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.byte(rest.to_le_bytes()[0]);
    }
}

/// Returns how many bytes a Variable Byte Integer takes.
#[inline]
pub(crate) const fn variable_len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// A Variable Byte Integer in its shortest form.
pub(super) enum Variable {
    One([u8; 1]),
    Two([u8; 2]),
    Three([u8; 3]),
    Four([u8; 4]),
}

#[inline(always)]
pub(super) fn variable(value: u32) -> Variable {
    let digit = |shift: u32| (value >> shift & 0x7F).to_le_bytes()[0];
    match value {
        0..=0x7F => Variable::One([digit(0)]),
        0x80..=0x3FFF => Variable::Two([digit(0) | 0x80, digit(7)]),
        0x4000..=0x1F_FFFF => Variable::Three([digit(0) | 0x80, digit(7) | 0x80, digit(14)]),
        _ => Variable::Four([
            digit(0) | 0x80,
            digit(7) | 0x80,
            digit(14) | 0x80,
            digit(21),
        ]),
    }
}
