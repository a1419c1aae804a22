//! `--encode`: packets in JSON back to bytes.

use std::{
    fmt,
    io::{self, BufRead, Write},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mqttstack_codec::{Packet, ProtocolVersion};
use serde::{
    Deserializer as _,
    de::{self, SeqAccess, Visitor},
};
use serde_json::{Deserializer, Map, Value};

use crate::{connection::parse_version, failure::Failure};

use super::{
    input::Input,
    report::{ADDED_KEYS, Verdict},
};

/// How bytes are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// A line of hex for each object.
    Hex,
    /// A line of base64 for each object.
    Base64,
    /// The packets as they are, one after the other.
    Raw,
}

type Object = Map<String, Value>;

/// Encodes the objects of the input, and writes them.
///
/// The input is read object by object, be they elements of an array or one after the other. The
/// first that is no packet ends it, with a message on standard error.
pub(crate) fn run(
    mut input: Input,
    version: ProtocolVersion,
    format: OutputFormat,
    out: &mut impl Write,
) -> Result<Verdict, Failure> {
    let is_array =
        begins_array(&mut input.reader).map_err(|error| Failure::input(&input.name, &error))?;
    let mut encoder = Encoder {
        version,
        format,
        count: 0,
        bytes: Vec::new(),
        out,
        failure: None,
    };
    let mut deserializer = Deserializer::from_reader(&mut input.reader);
    let ended = if is_array {
        deserializer
            .deserialize_seq(Elements(&mut encoder))
            .and_then(|()| deserializer.end())
    } else {
        let mut objects = deserializer.into_iter();
        objects.try_for_each(|object| encoder.take(object?).map_err(de::Error::custom))
    };
    let count = encoder.count;
    let failure = encoder.failure.take();
    out.flush().map_err(Failure::output)?;
    match (failure, ended) {
        (Some(failure), _) => Err(failure),
        (None, Ok(())) => Ok(Verdict::Good),
        (None, Err(error)) if error.is_io() => Err(Failure::input(&input.name, &error.into())),
        (None, Err(error)) => {
            eprintln!("mqttstack inspect: object {}: {error}", count + 1);
            Ok(Verdict::Malformed)
        }
    }
}

/// Returns whether the first character that is no white space opens an array.
fn begins_array(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let chunk = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        let blank = chunk.iter().take_while(|byte| byte.is_ascii_whitespace());
        let blank = blank.count();
        let (is_empty, first) = (chunk.is_empty(), chunk.get(blank).copied());
        reader.consume(blank);
        if is_empty || first.is_some() {
            return Ok(first == Some(b'['));
        }
    }
}

/// Writes the bytes of objects.
struct Encoder<'a, W> {
    /// The version in which the next packet is written.
    version: ProtocolVersion,
    format: OutputFormat,
    /// How many objects have been written.
    count: u64,
    bytes: Vec<u8>,
    out: &'a mut W,
    /// Why the output could not be written.
    failure: Option<Failure>,
}

impl<W: Write> Encoder<'_, W> {
    /// Writes an object: a packet, or a line of `--lines`.
    fn take(&mut self, mut object: Object) -> Result<(), String> {
        self.bytes.clear();
        match object.remove("packets") {
            None => self.packet(object)?,
            Some(Value::Array(packets)) => {
                if let Some(Value::String(error)) = object.get("error") {
                    return Err(format!("it says an error, {error:?}"));
                }
                for packet in packets {
                    let Value::Object(packet) = packet else {
                        return Err("a packet is an object".to_owned());
                    };
                    self.packet(packet)?;
                }
            }
            Some(_) => return Err("`packets` is an array".to_owned()),
        }
        self.count += 1;
        self.write().map_err(|error| {
            let message = error.to_string();
            self.failure = Some(Failure::output(error));
            message
        })
    }

    fn packet(&mut self, mut form: Object) -> Result<(), String> {
        if let (Some(Value::String(error)), None) = (form.get("error"), form.get("type")) {
            return Err(format!("it says an error, {error:?}, and no packet"));
        }
        form.retain(|key, _| !ADDED_KEYS.contains(&key.as_str()));
        if let Some(protocol) = form.remove("protocol") {
            let protocol = protocol.as_str().ok_or("`protocol` is a string")?;
            self.version = parse_version(protocol)?;
        }
        let packet: Packet =
            serde_json::from_value(Value::Object(form)).map_err(|error| error.to_string())?;
        if let Packet::Connect(connect) = &packet {
            self.version = connect.version;
        }
        packet
            .encode(self.version, &mut self.bytes)
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        match self.format {
            OutputFormat::Raw => self.out.write_all(&self.bytes),
            OutputFormat::Hex => {
                self.bytes
                    .iter()
                    .try_for_each(|byte| write!(self.out, "{byte:02x}"))?;
                self.out.write_all(b"\n")
            }
            OutputFormat::Base64 => writeln!(self.out, "{}", STANDARD.encode(&self.bytes)),
        }
    }
}

/// The elements of an array, taken one by one.
struct Elements<'a, 'b, W>(&'a mut Encoder<'b, W>);

impl<'de, W: Write> Visitor<'de> for Elements<'_, '_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of packets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(object) = elements.next_element::<Object>()? {
            self.0.take(object).map_err(de::Error::custom)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
