//! Parsers of the data types that all packets are made of, shaped for nom.

use nom::Parser;

use crate::{DecodeError, PacketId};

/// What is left of the input, and what was read from its beginning.
pub(crate) type Parsed<'a, T> = nom::IResult<&'a [u8], T, Fault>;

/// A [`DecodeError`] on its way through nom, which stays private by this wrapper.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fault(pub(crate) DecodeError);

impl From<DecodeError> for nom::Err<Fault> {
    fn from(error: DecodeError) -> Self {
        Self::Error(Fault(error))
    }
}

impl<'a> nom::error::ParseError<&'a [u8]> for Fault {
    fn from_error_kind(input: &'a [u8], kind: nom::error::ErrorKind) -> Self {
        // The one nom parser in use that makes its own errors is `all_consuming`.
        debug_assert_eq!(kind, nom::error::ErrorKind::Eof);
        Self(DecodeError::TrailingBytes {
            count: saturate(input.len()),
        })
    }

    fn append(_: &'a [u8], _: nom::error::ErrorKind, other: Self) -> Self {
        other
    }
}

/// Runs a parser that has to use all of the input.
#[inline]
pub(crate) fn complete<'a, T>(
    parser: impl Parser<&'a [u8], Output = T, Error = Fault>,
    input: &'a [u8],
) -> Result<T, DecodeError> {
    match nom::combinator::all_consuming(parser).parse_complete(input) {
        Ok((_, value)) => Ok(value),
        Err(error) => Err(super::cause(error)),
    }
}

/// Nothing.
pub(crate) fn nothing(input: &[u8]) -> Parsed<'_, ()> {
    Ok((input, ()))
}

/// A byte.
#[inline]
pub(crate) fn byte(input: &[u8]) -> Parsed<'_, u8> {
    match input {
        [byte, rest @ ..] => Ok((rest, *byte)),
        [] => truncated(1, input),
    }
}

/// A Two Byte Integer.
#[inline]
pub(crate) fn two_bytes(input: &[u8]) -> Parsed<'_, u16> {
    match input.split_first_chunk() {
        Some((bytes, rest)) => Ok((rest, u16::from_be_bytes(*bytes))),
        None => truncated(2, input),
    }
}

/// A Four Byte Integer.
#[inline]
pub(crate) fn four_bytes(input: &[u8]) -> Parsed<'_, u32> {
    match input.split_first_chunk() {
        Some((bytes, rest)) => Ok((rest, u32::from_be_bytes(*bytes))),
        None => truncated(4, input),
    }
}

/// A Variable Byte Integer in its shortest form.
///
/// # Specification
///
/// v5 MQTT-1.5.5-1.
#[inline]
pub(crate) fn variable(input: &[u8]) -> Parsed<'_, u32> {
    match input {
        [first, rest @ ..] if *first < 0x80 => Ok((rest, u32::from(*first))),
        _ => long_variable(input),
    }
}

fn long_variable(input: &[u8]) -> Parsed<'_, u32> {
    match read_variable(input) {
        Variable::Value {
            value,
            rest,
            is_minimal: true,
        } => Ok((rest, value)),
        Variable::Value {
            is_minimal: false, ..
        } => Err(DecodeError::VariableByteIntegerNotMinimal.into()),
        Variable::TooLong => Err(DecodeError::VariableByteIntegerTooLong.into()),
        Variable::Incomplete => truncated(input.len().saturating_add(1), input),
    }
}

/// What the beginning of some bytes is, read as a Variable Byte Integer.
pub(crate) enum Variable<'a> {
    /// An integer, and what follows it.
    Value {
        value: u32,
        rest: &'a [u8],
        is_minimal: bool,
    },
    /// The fourth byte has a continuation bit.
    TooLong,
    /// The last byte has a continuation bit, and is not the fourth.
    Incomplete,
}

/// Reads a Variable Byte Integer.
#[inline]
pub(crate) fn read_variable(input: &[u8]) -> Variable<'_> {
    let mut value = 0;
    let mut rest = input;
    for shift in [0, 7, 14, 21] {
        let [byte, after @ ..] = rest else {
            return Variable::Incomplete;
        };
        rest = after;
        value |= u32::from(byte & 0x7F) << shift;
        if *byte < 0x80 {
            return Variable::Value {
                value,
                rest,
                is_minimal: *byte != 0 || shift == 0,
            };
        }
    }
    Variable::TooLong
}

/// As many bytes as asked for.
#[inline]
pub(crate) fn take<'a>(length: usize, input: &'a [u8]) -> Parsed<'a, &'a [u8]> {
    match input.split_at_checked(length) {
        Some((field, rest)) => Ok((rest, field)),
        None => truncated(length, input),
    }
}

/// A field with a two-byte length: Binary Data, or a string that is yet to be checked.
#[inline]
pub(crate) fn field(input: &[u8]) -> Parsed<'_, &[u8]> {
    #[cfg(all(test, feature = "std"))]
    work::add_field();
    let (input, length) = two_bytes(input)?;
    take(usize::from(length), input)
}

/// Counts what is read, for tests of how much work a packet is.
#[cfg(all(test, feature = "std"))]
pub(crate) mod work {
    use core::cell::Cell;

    std::thread_local! {
        static FIELDS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn add_field() {
        FIELDS.set(FIELDS.get().saturating_add(1));
    }

    /// Returns how many fields the thread has read since it was last asked.
    pub(crate) fn take_fields() -> usize {
        FIELDS.take()
    }
}

/// A Packet Identifier.
///
/// # Specification
///
/// v5 MQTT-2.2.1-3, v5 MQTT-2.2.1-4; v3.1.1 MQTT-2.3.1-1; V31-msgid.
#[inline]
pub(crate) fn packet_id(input: &[u8]) -> Parsed<'_, PacketId> {
    let (rest, id) = two_bytes(input)?;
    match PacketId::new(id) {
        Some(id) => Ok((rest, id)),
        None => Err(DecodeError::PacketIdZero.into()),
    }
}

#[cold]
fn truncated<'a, T>(needed: usize, input: &'a [u8]) -> Parsed<'a, T> {
    Err(DecodeError::FieldTruncated {
        needed: saturate(needed),
        available: saturate(input.len()),
    }
    .into())
}

/// Lengths inside a packet fit in 28 bits; longer input is only ever reported.
fn saturate(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
