//! Payloads and topics for people: safe on a terminal.

use std::{borrow::Cow, fmt::Write as _};

/// Returns bytes for output. On a terminal, control characters other than tab and line feed, and
/// bytes that are not UTF-8, are escaped: a message must not be able to command the terminal.
pub(crate) fn shown(bytes: &[u8], escapes: bool) -> Cow<'_, [u8]> {
    if !escapes {
        return Cow::Borrowed(bytes);
    }
    let is_plain = |text: &str| !text.chars().any(is_command);
    if std::str::from_utf8(bytes).is_ok_and(is_plain) {
        return Cow::Borrowed(bytes);
    }
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_command(character) {
                let mut utf8 = [0; 4];
                escape(character.encode_utf8(&mut utf8).as_bytes(), &mut shown);
            } else {
                shown.push(character);
            }
        }
        escape(chunk.invalid(), &mut shown);
    }
    Cow::Owned(shown.into_bytes())
}

fn is_command(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

fn escape(bytes: &[u8], shown: &mut String) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(shown, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_command_the_terminal() {
        for (bytes, expected) in [
            (&b"21.5"[..], "21.5"),
            ("grün\n\tx".as_bytes(), "grün\n\tx"),
            (b"\x1b[2Jgone", "\\x1b[2Jgone"),
            (b"\xff\x00a", "\\xff\\x00a"),
            ("\u{9b}x".as_bytes(), "\\xc2\\x9bx"),
            (b"a\r\x07", "a\\x0d\\x07"),
        ] {
            assert_eq!(shown(bytes, true), expected.as_bytes());
            assert_eq!(shown(bytes, false), bytes);
        }
    }
}
