//! What is written of packets and faults: the dump for people, JSON for programs.

use std::io::{self, Write};

use mqttstack_codec::{Packet, PacketRef, ProtocolVersion, Sender};
use serde::{Serialize, Serializer};

use crate::failure::Failure;

use super::{
    capture::Origin,
    dump::dump,
    flow::{Fault, Item},
    style::{Role, Style},
};

/// What came of an input; the worse, the greater.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Verdict {
    /// All of it was packets.
    Good,
    /// Some of it was not.
    Malformed,
    /// It was not even bytes.
    Unreadable,
}

/// Writes what is found, and keeps the verdict.
pub(crate) struct Report<W> {
    out: W,
    /// `None` for JSON.
    style: Option<Style>,
    verdict: Verdict,
    has_written: bool,
}

impl<W: Write> Report<W> {
    /// Creates a report in words.
    pub(crate) const fn in_words(out: W, style: Style) -> Self {
        Self {
            out,
            style: Some(style),
            verdict: Verdict::Good,
            has_written: false,
        }
    }

    /// Creates a report in JSON.
    pub(crate) const fn in_json(out: W) -> Self {
        Self {
            out,
            style: None,
            verdict: Verdict::Good,
            has_written: false,
        }
    }

    /// Writes an item, and where it comes from if that is a capture.
    pub(crate) fn item(&mut self, item: &Item<'_>, origin: Option<&Origin>) -> Result<(), Failure> {
        if item.outcome.is_err() {
            self.verdict = self.verdict.max(Verdict::Malformed);
        }
        let written = match self.style {
            Some(style) => self.words(item, origin, style),
            None => json(&mut self.out, &Entry::new(item, origin)),
        };
        written.map_err(Failure::output)
    }

    /// Writes out what has been buffered, before a read that may take its time.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::output)
    }

    /// Returns what came of it all.
    pub(crate) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn words(&mut self, item: &Item<'_>, origin: Option<&Origin>, style: Style) -> io::Result<()> {
        if self.has_written {
            writeln!(self.out)?;
        }
        self.has_written = true;
        if let Some(origin) = origin {
            writeln!(self.out, "{}", style.paint(Role::Aside, origin))?;
        }
        match &item.outcome {
            Ok(packet) => {
                let headline = style.paint(Role::Headline, packet);
                writeln!(self.out, "{headline} (MQTT {})", item.version)?;
            }
            Err(fault) => {
                let fault = style.paint(Role::Fault, InWords(item.offset, fault));
                writeln!(self.out, "{fault}")?;
            }
        }
        dump(&mut self.out, item, style)
    }
}

/// A fault as a sentence: `error at 5: QoS 3: malformed packet (0x81)`.
pub(crate) struct InWords<'a>(pub(crate) u64, pub(crate) &'a Fault);

impl std::fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(offset, fault) = self;
        write!(f, "error at {offset}: {fault}")?;
        match fault.reason_code() {
            Some(code) if !fault.is_incomplete() => write!(f, ": {code}"),
            Some(_) | None => Ok(()),
        }
    }
}

/// An item as a JSON object.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Entry<'a, 'p> {
    Packet(PacketEntry<'a, 'p>),
    Fault(FaultEntry<'a>),
}

/// A packet in the form of the codec, and what only its place tells.
#[derive(Serialize)]
pub(crate) struct PacketEntry<'a, 'p> {
    offset: u64,
    length: usize,
    #[serde(serialize_with = "as_text")]
    protocol: ProtocolVersion,
    #[serde(flatten)]
    origin: Option<&'a Origin>,
    #[serde(flatten)]
    packet: &'a PacketRef<'p>,
}

/// Why there is no packet.
#[derive(Serialize)]
pub(crate) struct FaultEntry<'a> {
    offset: u64,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<u8>,
    #[serde(skip_serializing_if = "is_false")]
    incomplete: bool,
    #[serde(flatten)]
    origin: Option<&'a Origin>,
}

/// The keys that this file adds to the form of the codec.
pub(crate) const ADDED_KEYS: [&str; 7] = [
    "offset",
    "length",
    "connection",
    "from",
    "source",
    "destination",
    "time",
];

impl<'a, 'p> Entry<'a, 'p> {
    pub(crate) fn new(item: &'a Item<'p>, origin: Option<&'a Origin>) -> Self {
        match &item.outcome {
            Ok(packet) => Self::Packet(PacketEntry {
                offset: item.offset,
                length: item.bytes.len(),
                protocol: item.version,
                origin,
                packet,
            }),
            Err(fault) => Self::Fault(FaultEntry::new(item.offset, fault, origin)),
        }
    }
}

impl<'a> FaultEntry<'a> {
    pub(crate) fn new(offset: u64, fault: &Fault, origin: Option<&'a Origin>) -> Self {
        Self {
            offset,
            error: fault.to_string(),
            reason_code: fault.reason_code().map(|code| code.as_u8()),
            incomplete: fault.is_incomplete(),
            origin,
        }
    }
}

/// Writes a line of JSON.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

pub(crate) fn as_text<S: Serializer>(
    value: &impl ToString,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

/// Returns the version in which what follows an item is read.
pub(crate) fn version_after(item: &Item<'_>, version: ProtocolVersion) -> ProtocolVersion {
    match &item.outcome {
        Ok(Packet::Connect(connect)) => connect.version,
        Ok(_) | Err(_) => version,
    }
}

/// Returns the name of a side in JSON and in words.
pub(crate) const fn side(sender: Sender) -> &'static str {
    match sender {
        Sender::Any => "any",
        Sender::Client => "client",
        Sender::Server => "server",
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
