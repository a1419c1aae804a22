//! Bytes from hex and base64 text that comes in pieces of any size.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Why text is not the bytes it is meant to be. Characters are counted from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TextError {
    #[error("character {position}, {:?}, is not a hex digit", char::from(*.byte))]
    NotHex { byte: u8, position: u64 },
    #[error("half a byte before character {position}: a byte is two hex digits")]
    HalfByte { position: u64 },
    #[error("character {position}, {:?}, is not base64", char::from(*.byte))]
    NotBase64 { byte: u8, position: u64 },
    #[error("the four characters of base64 before character {position} are no bytes")]
    BadQuantum { position: u64 },
}

/// Reads hex: two digits for a byte; bytes may be set apart by white space, `:`, `,` or `-`, and
/// begin with `0x`.
#[derive(Debug, Default)]
pub(crate) struct Hex {
    high: Option<u8>,
    /// How many characters have been read.
    position: u64,
}

impl Hex {
    /// Appends the bytes that the text stands for.
    pub(crate) fn decode(&mut self, text: &[u8], bytes: &mut Vec<u8>) -> Result<(), TextError> {
        for character in text {
            self.position += 1;
            let position = self.position;
            let digit = char::from(*character).to_digit(16);
            match (self.high, digit.and_then(|digit| u8::try_from(digit).ok())) {
                (None, Some(digit)) => self.high = Some(digit),
                (Some(high), Some(digit)) => {
                    bytes.push(high << 4 | digit);
                    self.high = None;
                }
                (Some(0), None) if matches!(character, b'x' | b'X') => self.high = None,
                (Some(_), None) if is_separator(*character) => {
                    return Err(TextError::HalfByte { position });
                }
                (None, None) if is_separator(*character) => {}
                (_, None) => {
                    return Err(TextError::NotHex {
                        byte: *character,
                        position,
                    });
                }
            }
        }
        Ok(())
    }

    /// The text has ended.
    pub(crate) fn finish(&self) -> Result<(), TextError> {
        match self.high {
            None => Ok(()),
            Some(_) => Err(TextError::HalfByte {
                position: self.position + 1,
            }),
        }
    }
}

/// Returns whether the text holds nothing but what hex is written with.
pub(crate) fn looks_like_hex(text: &[u8]) -> bool {
    let is_hex =
        |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'x' | b'X') || is_separator(*byte);
    text.iter().all(is_hex)
}

const fn is_separator(character: u8) -> bool {
    character.is_ascii_whitespace() || matches!(character, b':' | b',' | b'-')
}

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads base64: of the standard or the URL alphabet, with or without padding, broken into lines
/// or not, and several texts one after the other if each is padded.
#[derive(Debug, Default)]
pub(crate) struct Base64 {
    quantum: [u8; 4],
    length: usize,
    position: u64,
}

impl Base64 {
    /// Appends the bytes that the text stands for.
    pub(crate) fn decode(&mut self, text: &[u8], bytes: &mut Vec<u8>) -> Result<(), TextError> {
        for character in text {
            self.position += 1;
            let character = match character {
                b'-' => b'+',
                b'_' => b'/',
                character => *character,
            };
            if character.is_ascii_whitespace() {
                continue;
            }
            if !is_base64(character) {
                return Err(TextError::NotBase64 {
                    byte: character,
                    position: self.position,
                });
            }
            if let Some(place) = self.quantum.get_mut(self.length) {
                *place = character;
                self.length += 1;
            }
            if self.length == self.quantum.len() {
                self.flush(bytes)?;
            }
        }
        Ok(())
    }

    /// The text has ended.
    pub(crate) fn finish(&mut self, bytes: &mut Vec<u8>) -> Result<(), TextError> {
        self.flush(bytes)
    }

    fn flush(&mut self, bytes: &mut Vec<u8>) -> Result<(), TextError> {
        let quantum = self.quantum.get(..self.length).unwrap_or_default();
        self.length = 0;
        ENGINE
            .decode_vec(quantum, bytes)
            .map_err(|_| TextError::BadQuantum {
                position: self.position + 1,
            })
    }
}

/// Returns whether the text holds nothing but what base64 is written with.
pub(crate) fn looks_like_base64(text: &[u8]) -> bool {
    let is_text =
        |byte: &u8| is_base64(*byte) || matches!(byte, b'-' | b'_') || byte.is_ascii_whitespace();
    text.iter().all(is_text)
}

const fn is_base64(character: u8) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads hex cut at every place, which must make no difference.
    fn hex(text: &str) -> Result<Vec<u8>, TextError> {
        let whole = hex_in_pieces(text, 0);
        for cut in 1..text.len() {
            assert_eq!(hex_in_pieces(text, cut), whole, "{text:?} cut at {cut}");
        }
        whole
    }

    fn hex_in_pieces(text: &str, cut: usize) -> Result<Vec<u8>, TextError> {
        let (mut hex, mut bytes) = (Hex::default(), Vec::new());
        let (first, second) = text.as_bytes().split_at(cut);
        hex.decode(first, &mut bytes)?;
        hex.decode(second, &mut bytes)?;
        hex.finish()?;
        Ok(bytes)
    }

    #[test]
    fn hex_is_read_however_it_is_set_apart() {
        for text in [
            "c000d0",
            "C000D0",
            "c0 00 d0",
            "c0:00:d0",
            "c0-00-d0\n",
            "0xc0, 0x00, 0xd0",
            "0xC000D0",
            "\tc0\r\n00 \n\n d0",
        ] {
            assert_eq!(hex(text), Ok(vec![0xC0, 0x00, 0xD0]), "{text:?}");
        }
        assert_eq!(hex(""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_hex_is_named_with_its_place() {
        for (text, error) in [
            (
                "c0 zz",
                TextError::NotHex {
                    byte: b'z',
                    position: 4,
                },
            ),
            ("c0 1", TextError::HalfByte { position: 5 }),
            ("c 0", TextError::HalfByte { position: 2 }),
            (
                "1x",
                TextError::NotHex {
                    byte: b'x',
                    position: 2,
                },
            ),
            (
                "xc0",
                TextError::NotHex {
                    byte: b'x',
                    position: 1,
                },
            ),
            (
                "c0\u{e9}",
                TextError::NotHex {
                    byte: 0xC3,
                    position: 3,
                },
            ),
        ] {
            assert_eq!(hex(text), Err(error), "{text:?}");
        }
    }

    fn base64(text: &str) -> Result<Vec<u8>, TextError> {
        let (mut base64, mut bytes) = (Base64::default(), Vec::new());
        for character in text.as_bytes().chunks(1) {
            base64.decode(character, &mut bytes)?;
        }
        base64.finish(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn base64_is_read_in_its_usual_forms() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("MAcAA2EvYmhp", b"\x30\x07\x00\x03a/bhi"),
            ("MAcA\nA2Ev\r\nYmhp\n", b"\x30\x07\x00\x03a/bhi"),
            ("wAA=", b"\xC0\x00"),
            ("wAA", b"\xC0\x00"),
            ("wAA=\n0AA=\n", b"\xC0\x00\xD0\x00"),
            ("-_-_", b"\xFB\xFF\xBF"),
            ("+/+/", b"\xFB\xFF\xBF"),
        ] {
            assert_eq!(base64(text).as_deref(), Ok(bytes), "{text:?}");
        }
        for (text, error) in [
            (
                "wA!A",
                TextError::NotBase64 {
                    byte: b'!',
                    position: 3,
                },
            ),
            ("wAAAw", TextError::BadQuantum { position: 6 }),
            ("w===", TextError::BadQuantum { position: 5 }),
            ("=AAA", TextError::BadQuantum { position: 5 }),
        ] {
            assert_eq!(base64(text), Err(error), "{text:?}");
        }
    }
}
