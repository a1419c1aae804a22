//! Where the bytes come from, and how they are written there.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
};

use crate::failure::Failure;

use super::text::{Base64, Hex, looks_like_base64, looks_like_hex};

/// How the input is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Two digits for a byte; spaces, colons, commas and 0x are allowed.
    Hex,
    /// Of the standard or the URL alphabet.
    Base64,
    /// The packets as they are.
    Raw,
    /// A capture, pcap or pcapng.
    Pcap,
    /// What the beginning of the input looks like.
    Auto,
}

/// How much of the input is read at a time, and looked at to tell what it is.
const CHUNK: usize = 64 * 1024;
/// How much of it is looked at, at the least: a first byte alone, which may be a digit, tells nothing.
const HEAD_MIN: usize = 2;
const PCAP_MAGICS: [[u8; 4]; 5] = [
    [0xA1, 0xB2, 0xC3, 0xD4],
    [0xD4, 0xC3, 0xB2, 0xA1],
    [0xA1, 0xB2, 0x3C, 0x4D],
    [0x4D, 0x3C, 0xB2, 0xA1],
    [0x0A, 0x0D, 0x0D, 0x0A],
];

/// An input that has been opened.
pub(crate) struct Input {
    /// Its name for messages.
    pub(crate) name: String,
    pub(crate) reader: BufReader<Box<dyn Read>>,
}

impl Input {
    /// Opens what the arguments name: a file; standard input if they are empty or `-`; or the
    /// arguments themselves, joined by `joint`, if all of them are content.
    pub(crate) fn open(
        arguments: &[String],
        file: Option<&Path>,
        joint: &str,
        is_content: impl Fn(&str) -> bool,
    ) -> Result<Self, Failure> {
        match (file, arguments) {
            (Some(path), _) => Self::file(path),
            (None, []) => Ok(Self::new("standard input", Box::new(io::stdin()))),
            (None, [dash]) if dash == "-" => Ok(Self::new("standard input", Box::new(io::stdin()))),
            (None, all) if all.iter().all(|argument| is_content(argument)) => {
                let text = all.join(joint).into_bytes();
                Ok(Self::new("the arguments", Box::new(Cursor::new(text))))
            }
            (None, [path]) if !Path::new(path).exists() => Err(Failure::usage(format!(
                "{path:?} is neither content that can be read nor the name of a file"
            ))),
            (None, [path]) => Self::file(Path::new(path)),
            (None, _) => Err(Failure::usage(
                "the arguments are neither content that can be read nor the name of one file",
            )),
        }
    }

    fn file(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::input(&name, &error))?;
        Ok(Self::new(&name, Box::new(file)))
    }

    fn new(name: &str, reader: Box<dyn Read>) -> Self {
        Self {
            name: name.to_owned(),
            reader: BufReader::with_capacity(CHUNK, reader),
        }
    }

    /// Returns the format: the one that is named, or what the input looks like.
    pub(crate) fn sniff(&mut self, named: Format) -> Result<Format, Failure> {
        if named != Format::Auto {
            return Ok(named);
        }
        let name = &self.name;
        // What one read brings is enough, unless it is less than a fixed header, or the beginning of
        // a magic number.
        let mut head = Vec::new();
        loop {
            let buffered = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffered => buffered.map_err(|error| Failure::input(name, &error))?,
            };
            let length = buffered.len();
            head.extend_from_slice(buffered);
            self.reader.consume(length);
            let begins = |magic: &[u8; 4]| magic.len() > head.len() && magic.starts_with(&head);
            let is_enough = head.len() >= HEAD_MIN && !PCAP_MAGICS.iter().any(begins);
            if length == 0 || is_enough {
                break;
            }
        }
        let format = look_at(&head);
        let rest = std::mem::replace(
            &mut self.reader,
            BufReader::with_capacity(1, Box::new(io::empty())),
        );
        self.reader = BufReader::with_capacity(CHUNK, Box::new(Cursor::new(head).chain(rest)));
        Ok(format)
    }
}

/// Tells a format from the beginning of an input. Packets hold bytes that are no text: at least
/// the upper half of a length.
fn look_at(head: &[u8]) -> Format {
    if PCAP_MAGICS.iter().any(|magic| head.starts_with(magic)) {
        Format::Pcap
    } else if looks_like_hex(head) {
        Format::Hex
    } else if looks_like_base64(head) {
        Format::Base64
    } else {
        Format::Raw
    }
}

/// The bytes of an input that is no capture.
pub(crate) struct Bytes {
    input: Input,
    form: Form,
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum Form {
    Raw,
    Hex(Hex),
    Base64(Base64),
}

impl Bytes {
    /// Reads the input in a format; anything but text is taken as it is.
    pub(crate) fn new(input: Input, format: Format) -> Self {
        let form = match format {
            Format::Hex => Form::Hex(Hex::default()),
            Format::Base64 => Form::Base64(Base64::default()),
            Format::Raw | Format::Pcap | Format::Auto => Form::Raw,
        };
        Self {
            input,
            form,
            scratch: Vec::new(),
        }
    }

    /// Returns the next bytes, which may be none; `None` at the end.
    pub(crate) fn read(&mut self) -> Result<Option<&[u8]>, Failure> {
        let name = &self.input.name;
        let chunk = loop {
            match self.input.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::input(name, &error)),
                Ok(_) => break self.input.reader.buffer(),
            }
        };
        let length = chunk.len();
        let bytes = &mut self.scratch;
        bytes.clear();
        match &mut self.form {
            Form::Raw => bytes.extend_from_slice(chunk),
            Form::Hex(hex) if length == 0 => hex
                .finish()
                .map_err(|error| Failure::usage(format!("{name}: {error}")))?,
            Form::Hex(hex) => hex
                .decode(chunk, bytes)
                .map_err(|error| Failure::usage(format!("{name}: {error}")))?,
            Form::Base64(base64) if length == 0 => base64
                .finish(bytes)
                .map_err(|error| Failure::usage(format!("{name}: {error}")))?,
            Form::Base64(base64) => base64
                .decode(chunk, bytes)
                .map_err(|error| Failure::usage(format!("{name}: {error}")))?,
        }
        self.input.reader.consume(length);
        let is_over = length == 0 && self.scratch.is_empty();
        Ok((!is_over).then_some(&self.scratch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_by_its_beginning() {
        for (head, format) in [
            (&b"c0 00"[..], Format::Hex),
            (b"0x10, 0x0d", Format::Hex),
            (b"", Format::Hex),
            (b"MAcAA2EvYmhp\n", Format::Base64),
            (b"\x30\x07\x00\x03a/bhi", Format::Raw),
            (b"\xC0\x00", Format::Raw),
            (b"\xD4\xC3\xB2\xA1\x02\x00", Format::Pcap),
            (b"\xA1\xB2\x3C\x4D", Format::Pcap),
            (b"\x0A\x0D\x0D\x0A", Format::Pcap),
        ] {
            assert_eq!(look_at(head), format, "{head:?}");
        }
    }

    /// Brings one byte a read.
    struct Trickle(Cursor<&'static [u8]>);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn a_read_of_one_byte_tells_nothing() {
        for (content, format) in [
            (&b"\x30\x07\x00\x03a/bhi"[..], Format::Raw),
            (b"c000", Format::Hex),
            (b"\xD4\xC3\xB2\xA1\x02\x00", Format::Pcap),
            (b"\x30", Format::Hex),
            (b"", Format::Hex),
        ] {
            let mut input = Input::new("a test", Box::new(Trickle(Cursor::new(content))));
            assert_eq!(input.sniff(Format::Auto).unwrap(), format, "{content:?}");
            let mut rest = Vec::new();
            input.reader.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, content);
        }
    }

    #[test]
    fn looking_at_an_input_takes_nothing_from_it() {
        for content in ["", "c", "c000", "c000d000c000"] {
            let arguments = [content.to_owned()];
            let mut input = Input::open(&arguments, None, " ", |_| true).unwrap();
            assert_eq!(input.sniff(Format::Auto).unwrap(), Format::Hex);
            let mut rest = String::new();
            input.reader.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, content);
        }
    }
}
