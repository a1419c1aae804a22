//! `mqttstack inspect`: what do these bytes say?

mod capture;
mod dump;
mod encode;
mod flow;
mod input;
mod lines;
mod report;
mod style;
mod text;

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use mqttstack_codec::{Decoder, ProtocolVersion, Sender};

use crate::{connection::parse_version, failure::Failure};

use capture::Selection;
use encode::OutputFormat;
use flow::Flow;
use input::{Bytes, Format, Input};
use report::{Report, Verdict, version_after};
use style::Style;
use text::looks_like_hex;

const EXAMPLES: &str = r#"JSON:
  A packet is an object: its place ("offset" and "length" in bytes), the
  "protocol" it was read by, and its "type" and fields, where what is ordinary
  is left out. Packets of a capture also say "connection", "from" (client or
  server), "source", "destination" and "time".
    {"offset":0,"length":9,"protocol":"3.1.1","type":"publish","topic":"a/b",
     "qos":0,"payload":{"text":"hi"}}
  Bytes that are no packet end the stream with an object that has "error":
    {"offset":9,"error":"PUBLISH with QoS 3","reason_code":129}
  It also has "incomplete": true where the input ends within a packet.
  With --lines, each line gives one object. It always has "packets", and where
  the line does not end well, the members of the error behind them:
    {"packets":[...]}
    {"packets":[...],"offset":9,"error":"PUBLISH with QoS 3","reason_code":129}
  (An object is one line of output; the lines here are folded.)

Examples:
  mqttstack inspect 30 07 00 03 61 2f 62 68 69 --protocol 3.1.1
      packets in hex, field by field
  tcpdump -i lo -w - port 1883 | mqttstack inspect
      the packets of a capture; a file does as well
  mqttstack inspect --json trace.pcapng | jq 'select(.type == "publish")'
  mqttstack inspect --lines < wires.txt
      each line is a stream of its own, and gives one line
  echo '{"type":"pingreq"}' | mqttstack inspect --encode
      back to bytes

Exit codes: 0 all is well, 1 something is malformed or incomplete, 2 wrong usage, or input that
cannot be read.
"#;

/// Shows what packets say, field by field, or what is wrong with them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Packets in hex (in base64 with --input base64), or the name of a file that does not read as
    /// such; `-` or nothing is standard input.
    #[arg(value_name = "HEX|FILE")]
    arguments: Vec<String>,
    /// Read this file, whatever its name.
    #[arg(short, long, value_name = "FILE", conflicts_with = "arguments")]
    file: Option<PathBuf>,
    /// How the input is written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "auto")]
    input: Format,
    /// Version of MQTT until a CONNECT names one: 5, 3.1.1 or 3.1.
    #[arg(long, value_name = "VERSION", value_parser = parse_version, default_value = "5")]
    protocol: ProtocolVersion,
    /// Who sent the bytes: client, server or any. Of a capture, whose packets are shown.
    #[arg(long, value_name = "SIDE", value_parser = parse_side, default_value = "any")]
    from: Sender,
    /// Port of the server in captures; may be repeated.
    #[arg(long, value_name = "PORT", default_value = "1883")]
    port: Vec<u16>,
    /// Largest packet that is taken.
    #[arg(long, value_name = "BYTES", default_value_t = Decoder::new().packet_size_max)]
    packet_size_max: u32,
    /// Write JSON objects, one on a line.
    #[arg(long)]
    json: bool,
    /// Each line of the input is the hex of a stream of its own, and gives one line of output.
    #[arg(long)]
    lines: bool,
    /// Turn JSON objects, one after the other or in an array, back into bytes.
    #[arg(long, conflicts_with_all = ["json", "lines", "from", "input"])]
    encode: bool,
    /// How --encode writes the bytes.
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "hex",
        requires = "encode"
    )]
    output: OutputFormat,
}

/// Inspects what the arguments say.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match inspect(args).map_err(Failure::beside_verdict)? {
        Verdict::Good => Ok(()),
        Verdict::Malformed => Err(Failure::verdict(1)),
        Verdict::Unreadable => Err(Failure::verdict(2)),
    }
}

fn inspect(args: &Args) -> Result<Verdict, Failure> {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    if args.encode {
        let is_json = |argument: &str| argument.trim_start().starts_with(['{', '[']);
        let input = args.open(" ", is_json)?;
        return encode::run(input, args.protocol, args.output, &mut out);
    }
    let decoder = Decoder::new()
        .with_version(args.protocol)
        .with_sender(args.from)
        .with_packet_size_max(args.packet_size_max);
    if args.lines {
        if !matches!(args.input, Format::Auto | Format::Hex) {
            return Err(Failure::usage("--lines are lines of hex"));
        }
        let input = args.open("\n", |argument| looks_like_hex(argument.as_bytes()))?;
        return lines::run(input, decoder, args.json, &mut out);
    }
    let mut input = args.open(" ", |argument| match args.input {
        Format::Auto | Format::Hex => looks_like_hex(argument.as_bytes()),
        Format::Base64 => true,
        Format::Raw | Format::Pcap => false,
    })?;
    let mut report = if args.json {
        Report::in_json(out)
    } else {
        Report::in_words(out, Style::from_environment())
    };
    match input.sniff(args.input)? {
        Format::Pcap => {
            let selection = Selection {
                ports: args.port.clone(),
                from: args.from,
            };
            capture::run(input.reader, &input.name, selection, decoder, &mut report)?;
        }
        format @ (Format::Hex | Format::Base64 | Format::Raw | Format::Auto) => {
            stream(Bytes::new(input, format), decoder, &mut report)?
        }
    }
    report.flush()?;
    Ok(report.verdict())
}

impl Args {
    fn open(&self, joint: &str, is_content: impl Fn(&str) -> bool) -> Result<Input, Failure> {
        Input::open(&self.arguments, self.file.as_deref(), joint, is_content)
    }
}

/// Reports the packets of one stream.
fn stream<W: Write>(
    mut bytes: Bytes,
    mut decoder: Decoder,
    report: &mut Report<W>,
) -> Result<(), Failure> {
    let mut flow = Flow::default();
    while let Some(chunk) = bytes.read()? {
        flow.push(chunk);
        while let Some(item) = flow.poll(decoder) {
            decoder.version = version_after(&item, decoder.version);
            report.item(&item, None)?;
        }
        if flow.has_failed() {
            return Ok(());
        }
        report.flush()?;
    }
    match flow.finish(decoder) {
        Some(item) => report.item(&item, None),
        None => Ok(()),
    }
}

fn parse_side(text: &str) -> Result<Sender, String> {
    match text {
        "client" => Ok(Sender::Client),
        "server" => Ok(Sender::Server),
        "any" => Ok(Sender::Any),
        _ => Err("not one of client, server, any".into()),
    }
}
