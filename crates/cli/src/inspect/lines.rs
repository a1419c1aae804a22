//! `--lines`: each line of the input is a stream of its own, and gives one line of output.
//!
//! Nothing is kept of a line but the packet that is being read, however long the line is.

use std::io::{self, BufRead, Write};

use mqttstack_codec::Decoder;
use serde::Serialize;

use crate::failure::Failure;

use super::{
    flow::{Flow, Item},
    input::Input,
    report::{Entry, FaultEntry, InWords, Verdict, version_after},
    text::{Hex, TextError},
};

/// Reads the input to its end, and returns the worst of its lines.
pub(crate) fn run(
    mut input: Input,
    decoder: Decoder,
    is_json: bool,
    out: &mut impl Write,
) -> Result<Verdict, Failure> {
    let mut worst = Verdict::Good;
    let mut line = None;
    loop {
        let chunk = match input.reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            chunk => chunk.map_err(|error| Failure::input(&input.name, &error))?,
        };
        if chunk.is_empty() {
            break;
        }
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let open = line.get_or_insert_with(|| Line::new(decoder, is_json));
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            open.take(text, out).map_err(Failure::output)?;
            if text.len() < piece.len() {
                worst = worst.max(open.finish(out).map_err(Failure::output)?);
                line = None;
            }
        }
        let length = chunk.len();
        input.reader.consume(length);
        out.flush().map_err(Failure::output)?;
    }
    if let Some(mut line) = line {
        worst = worst.max(line.finish(out).map_err(Failure::output)?);
    }
    out.flush().map_err(Failure::output)?;
    Ok(worst)
}

/// A line that is being read.
struct Line {
    hex: Hex,
    flow: Flow,
    decoder: Decoder,
    is_json: bool,
    has_packets: bool,
    /// Whether the line's output is complete but for its end, and with which verdict.
    fault: Option<Verdict>,
}

/// What is wrong with a line that is no hex.
#[derive(Serialize)]
struct NoHex {
    error: String,
}

impl Line {
    fn new(decoder: Decoder, is_json: bool) -> Self {
        Self {
            hex: Hex::default(),
            flow: Flow::default(),
            decoder,
            is_json,
            has_packets: false,
            fault: None,
        }
    }

    /// Takes the next piece of the line.
    fn take(&mut self, text: &[u8], out: &mut impl Write) -> io::Result<()> {
        if self.fault.is_some() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(text.len() / 2);
        let decoded = self.hex.decode(text, &mut bytes);
        self.flow.push(&bytes);
        let mut flow = std::mem::take(&mut self.flow);
        while let Some(item) = flow.poll(self.decoder) {
            self.decoder.version = version_after(&item, self.decoder.version);
            self.write(&item, out)?;
        }
        self.flow = flow;
        match decoded {
            Err(error) if self.fault.is_none() => self.no_hex(error, out),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes what is left to write, and returns what came of the line.
    fn finish(&mut self, out: &mut impl Write) -> io::Result<Verdict> {
        if self.fault.is_none() {
            match self.hex.finish() {
                Err(error) => self.no_hex(error, out)?,
                Ok(()) => {
                    let mut flow = std::mem::take(&mut self.flow);
                    if let Some(item) = flow.finish(self.decoder) {
                        self.write(&item, out)?;
                    }
                }
            }
        }
        let end = match (self.is_json, self.has_packets, self.fault) {
            (true, false, None) => "{\"packets\":[]}\n",
            (true, true, None) => "]}\n",
            (true, _, Some(_)) => "}\n",
            (false, false, None) => "no packets\n",
            (false, _, _) => "\n",
        };
        out.write_all(end.as_bytes())?;
        Ok(self.fault.unwrap_or(Verdict::Good))
    }

    fn write(&mut self, item: &Item<'_>, out: &mut impl Write) -> io::Result<()> {
        match &item.outcome {
            Err(fault) => {
                let words = InWords(item.offset, fault).to_string();
                let entry = FaultEntry::new(item.offset, fault, None);
                self.write_fault(Verdict::Malformed, &entry, &words, out)
            }
            Ok(packet) => {
                let separator = match (self.is_json, self.has_packets) {
                    (true, false) => "{\"packets\":[",
                    (true, true) => ",",
                    (false, false) => "",
                    (false, true) => " | ",
                };
                self.has_packets = true;
                out.write_all(separator.as_bytes())?;
                if self.is_json {
                    Ok(serde_json::to_writer(&mut *out, &Entry::new(item, None))?)
                } else {
                    write!(out, "{packet}")
                }
            }
        }
    }

    fn no_hex(&mut self, error: TextError, out: &mut impl Write) -> io::Result<()> {
        let error = error.to_string();
        let words = format!("error: {error}");
        self.write_fault(Verdict::Unreadable, &NoHex { error }, &words, out)
    }

    /// Ends the packets, and writes the members of the entry behind them.
    fn write_fault(
        &mut self,
        verdict: Verdict,
        entry: &impl Serialize,
        words: &str,
        out: &mut impl Write,
    ) -> io::Result<()> {
        self.fault = Some(verdict);
        if self.is_json {
            let members = serde_json::to_string(entry)?;
            let members = members
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            let begin = if self.has_packets {
                "]"
            } else {
                "{\"packets\":[]"
            };
            write!(out, "{begin},{}", members.unwrap_or_default())
        } else {
            let separator = if self.has_packets { " | " } else { "" };
            write!(out, "{separator}{words}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, is_json: bool) -> (Verdict, String) {
        let arguments = [text.to_owned()];
        let input = Input::open(&arguments, None, "\n", |_| true).unwrap();
        let mut out = Vec::new();
        let verdict = run(input, Decoder::new(), is_json, &mut out).unwrap();
        (verdict, String::from_utf8(out).unwrap())
    }

    #[test]
    fn each_line_of_input_gives_a_line_of_output() {
        let cases = [
            (
                "c000",
                Verdict::Good,
                "PINGREQ\n",
                "{\"packets\":[{\"offset\":0,\"length\":2,\"protocol\":\"5.0\",\
                 \"type\":\"pingreq\"}]}\n",
            ),
            (
                "C0 00 D0 00\r\n",
                Verdict::Good,
                "PINGREQ | PINGRESP\n",
                "{\"packets\":[{\"offset\":0,\"length\":2,\"protocol\":\"5.0\",\
                 \"type\":\"pingreq\"},{\"offset\":2,\"length\":2,\"protocol\":\"5.0\",\
                 \"type\":\"pingresp\"}]}\n",
            ),
            ("\n", Verdict::Good, "no packets\n", "{\"packets\":[]}\n"),
            (
                "3600",
                Verdict::Malformed,
                "error at 0: PUBLISH with QoS 3: malformed packet (0x81)\n",
                "{\"packets\":[],\"offset\":0,\"error\":\"PUBLISH with QoS 3\",\
                 \"reason_code\":129}\n",
            ),
            (
                "c0003007",
                Verdict::Malformed,
                "PINGREQ | error at 2: incomplete packet: 2 of 9 bytes\n",
                "{\"packets\":[{\"offset\":0,\"length\":2,\"protocol\":\"5.0\",\
                 \"type\":\"pingreq\"}],\"offset\":2,\
                 \"error\":\"incomplete packet: 2 of 9 bytes\",\"reason_code\":129,\
                 \"incomplete\":true}\n",
            ),
            (
                "c0 00 xx",
                Verdict::Unreadable,
                "PINGREQ | error: character 7, 'x', is not a hex digit\n",
                "{\"packets\":[{\"offset\":0,\"length\":2,\"protocol\":\"5.0\",\
                 \"type\":\"pingreq\"}],\"error\":\"character 7, 'x', is not a hex digit\"}\n",
            ),
            (
                "c",
                Verdict::Unreadable,
                "error: half a byte before character 2: a byte is two hex digits\n",
                "{\"packets\":[],\
                 \"error\":\"half a byte before character 2: a byte is two hex digits\"}\n",
            ),
        ];
        for (text, verdict, words, json) in cases {
            assert_eq!(read(text, false), (verdict, words.to_owned()), "{text:?}");
            assert_eq!(read(text, true), (verdict, json.to_owned()), "{text:?}");
        }
        let all = cases.map(|(text, ..)| text.trim_end()).join("\n");
        let lines = cases.map(|(_, _, _, json)| json).concat();
        assert_eq!(read(&all, true), (Verdict::Unreadable, lines));
        assert_eq!(read("", true), (Verdict::Good, String::new()));
    }

    #[test]
    fn a_connect_sets_the_version_of_its_line_only() {
        let v311 = "100D00044D5154540402003C000161 30070003612F626869";
        let (verdict, words) = read(&format!("{v311}\n30070003612F626869"), false);
        assert_eq!(verdict, Verdict::Malformed);
        let lines: Vec<_> = words.lines().collect();
        assert_eq!(
            lines[0],
            "CONNECT 3.1.1 client=\"a\" clean keep-alive=60s | PUBLISH \"a/b\" qos=0 2 bytes"
        );
        assert!(lines[1].starts_with("error at 0: "), "{lines:?}");
    }
}
