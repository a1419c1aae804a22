//! `sub -F`: output formats, written as for `mosquitto_sub`.

use std::{fmt::Write as _, io};

use crate::{payload::shown, record::Record};

/// A format that has been read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Format(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Literal(Vec<u8>),
    Field {
        field: Field,
        layout: Layout,
    },
    /// A conversion of strftime, in local time.
    Time(char),
    /// Nanoseconds, `@N`.
    Nanoseconds,
}

/// Width and such: `%-20.8t`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Layout {
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    ContentType,
    CorrelationData,
    Expiry,
    PayloadFormat,
    IsoTime,
    Json,
    JsonEmbedded,
    PayloadLength,
    PacketId,
    UserProperties,
    Payload,
    Qos,
    ResponseTopic,
    Retained,
    SubscriptionIds,
    Topic,
    TopicAlias,
    UnixTime,
    PayloadHexLower,
    PayloadHexUpper,
}

/// The widest field, in characters.
const WIDTH_MAX: usize = 10_000;

/// Why a text is no format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct FormatError(String);

impl std::fmt::Display for FormatError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FormatError {}

impl std::str::FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.chars().peekable();
        let missing = |sign: char| FormatError(format!("the format ends with a single {sign}"));
        while let Some(character) = rest.next() {
            let part = match character {
                '%' if rest.next_if_eq(&'%').is_some() => None,
                '%' => {
                    let layout = read_layout(&mut rest)?;
                    let letter = rest.next().ok_or_else(|| missing('%'))?;
                    let field = field(letter)
                        .ok_or_else(|| FormatError(format!("unknown format %{letter}")))?;
                    Some(Part::Field { field, layout })
                }
                '@' if rest.next_if_eq(&'@').is_some() => None,
                '@' => match rest.next().ok_or_else(|| missing('@'))? {
                    'N' => Some(Part::Nanoseconds),
                    letter if letter.is_ascii_alphabetic() => Some(Part::Time(letter)),
                    letter => return Err(FormatError(format!("unknown format @{letter}"))),
                },
                '\\' => {
                    let escape = rest.next().ok_or_else(|| missing('\\'))?;
                    literal.push(
                        escaped(escape)
                            .ok_or_else(|| FormatError(format!("unknown escape \\{escape}")))?,
                    );
                    continue;
                }
                _ => None,
            };
            match part {
                Some(part) => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                }
                None => {
                    let mut utf8 = [0; 4];
                    literal.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                }
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self(parts))
    }
}

fn read_layout(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Layout, FormatError> {
    let mut layout = Layout::default();
    loop {
        if rest.next_if_eq(&'-').is_some() {
            layout.left = true;
        } else if rest.next_if_eq(&'0').is_some() {
            layout.zeros = true;
        } else {
            break;
        }
    }
    let mut number = || {
        let mut number = None;
        while let Some(digit) = rest.peek().and_then(|digit| digit.to_digit(10)) {
            rest.next();
            let value = number.unwrap_or(0usize) * 10 + digit as usize;
            if value > WIDTH_MAX {
                return Err(FormatError(format!("a field is wider than {WIDTH_MAX}")));
            }
            number = Some(value);
        }
        Ok(number)
    };
    layout.width = number()?.unwrap_or(0);
    if rest.next_if_eq(&'.').is_some() {
        let mut precision = 0;
        while let Some(digit) = rest.peek().and_then(|digit| digit.to_digit(10)) {
            rest.next();
            precision = (precision * 10 + digit as usize).min(WIDTH_MAX);
        }
        layout.precision = Some(precision);
    }
    Ok(layout)
}

const fn field(letter: char) -> Option<Field> {
    Some(match letter {
        'A' => Field::TopicAlias,
        'C' => Field::ContentType,
        'D' => Field::CorrelationData,
        'E' => Field::Expiry,
        'F' => Field::PayloadFormat,
        'I' => Field::IsoTime,
        'j' => Field::Json,
        'J' => Field::JsonEmbedded,
        'l' => Field::PayloadLength,
        'm' => Field::PacketId,
        'P' => Field::UserProperties,
        'p' => Field::Payload,
        'q' => Field::Qos,
        'R' => Field::ResponseTopic,
        'r' => Field::Retained,
        'S' => Field::SubscriptionIds,
        't' => Field::Topic,
        'U' => Field::UnixTime,
        'x' => Field::PayloadHexLower,
        'X' => Field::PayloadHexUpper,
        _ => return None,
    })
}

const fn escaped(letter: char) -> Option<u8> {
    Some(match letter {
        '\\' => b'\\',
        '0' => 0,
        'a' => 0x07,
        'e' => 0x1B,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0B,
        _ => return None,
    })
}

impl Format {
    /// Writes a message in this format.
    pub(crate) fn write(
        &self,
        record: &Record<'_>,
        escapes: bool,
        out: &mut impl io::Write,
    ) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Literal(literal) => out.write_all(literal)?,
                Part::Field {
                    field: Field::Payload,
                    layout,
                } => {
                    layout.write(&shown(record.payload, escapes), out)?;
                }
                Part::Field { field, layout } => {
                    let text = field.text(record);
                    layout.write(&shown(text.as_bytes(), escapes), out)?;
                }
                Part::Time(letter) => write_time(record, *letter, out)?,
                Part::Nanoseconds => write!(out, "{:09}", record.time.subsec_nanosecond())?,
            }
        }
        Ok(())
    }
}

fn write_time(record: &Record<'_>, letter: char, out: &mut impl io::Write) -> io::Result<()> {
    let format = format!("%{letter}");
    let time = jiff::fmt::strtime::format(&format, record.time);
    // What strftime does not know is shown as it was written.
    out.write_all(time.unwrap_or_else(|_| format!("@{letter}")).as_bytes())
}

impl Field {
    fn text(self, record: &Record<'_>) -> String {
        let details = &record.details;
        let hex = |upper: bool| {
            let mut hex = String::with_capacity(record.payload.len() * 2);
            for byte in record.payload {
                // Writing to a string does not fail.
                let _ = if upper {
                    write!(hex, "{byte:02X}")
                } else {
                    write!(hex, "{byte:02x}")
                };
            }
            hex
        };
        match self {
            // An alias belongs to the connection: the client has resolved it.
            Self::TopicAlias => String::new(),
            Self::ContentType => details.content_type.unwrap_or_default().into(),
            Self::CorrelationData => {
                String::from_utf8_lossy(details.correlation_data.unwrap_or_default()).into_owned()
            }
            Self::Expiry => record
                .expiry
                .map(|seconds| seconds.to_string())
                .unwrap_or_default(),
            Self::PayloadFormat => details
                .payload_format
                .map(|text| u8::from(text).to_string())
                .unwrap_or_default(),
            Self::IsoTime => record.time.strftime("%Y-%m-%dT%H:%M:%S%z").to_string(),
            Self::Json => record.to_json(false),
            Self::JsonEmbedded => record.to_json(true),
            Self::PayloadLength => record.payload.len().to_string(),
            Self::PacketId => record.packet_id.map_or(0, |id| id.get()).to_string(),
            Self::UserProperties => {
                let pairs = details.user_properties.iter();
                let pairs: Vec<_> = pairs
                    .map(|(name, value)| format!("{name}:{value}"))
                    .collect();
                pairs.join(" ")
            }
            Self::Payload => String::from_utf8_lossy(record.payload).into_owned(),
            Self::Qos => record.qos.as_u8().to_string(),
            Self::ResponseTopic => details.response_topic.unwrap_or_default().into(),
            Self::Retained => u8::from(record.retain).to_string(),
            Self::SubscriptionIds => {
                let ids: Vec<_> = record.subscription_ids.iter().map(u32::to_string).collect();
                ids.join(" ")
            }
            Self::Topic => record.topic.into(),
            Self::UnixTime => {
                let time = record.time.timestamp();
                format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
            }
            Self::PayloadHexLower => hex(false),
            Self::PayloadHexUpper => hex(true),
        }
    }
}

impl Layout {
    fn write(self, bytes: &[u8], out: &mut impl io::Write) -> io::Result<()> {
        let bytes = match self.precision {
            Some(precision) => cut(bytes, precision),
            None => bytes,
        };
        let len = if self.width > 0 {
            String::from_utf8_lossy(bytes).chars().count()
        } else {
            0
        };
        let missing = self.width.saturating_sub(len);
        let padding = if self.zeros && !self.left { "0" } else { " " }.repeat(missing);
        if self.left {
            out.write_all(bytes)?;
            out.write_all(padding.as_bytes())
        } else {
            out.write_all(padding.as_bytes())?;
            out.write_all(bytes)
        }
    }
}

/// Returns at most so many characters; of what is not text, bytes.
fn cut(bytes: &[u8], characters: usize) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let end = text
                .char_indices()
                .nth(characters)
                .map_or(text.len(), |(at, _)| at);
            &bytes[..end]
        }
        Err(_) => &bytes[..characters.min(bytes.len())],
    }
}

#[cfg(test)]
mod tests {
    use jiff::{Zoned, civil::date, tz::Offset};
    use mqttstack_client::codec::{PacketId, QoS};

    use super::*;
    use crate::record::Details;

    fn time() -> Zoned {
        let time = date(2026, 3, 1).at(8, 5, 9, 120_003_000);
        time.to_zoned(Offset::constant(2).to_time_zone()).unwrap()
    }

    fn record<'a>(time: &'a Zoned, payload: &'a [u8]) -> Record<'a> {
        Record {
            time,
            topic: "lab/t",
            payload,
            qos: QoS::AtLeastOnce,
            retain: true,
            packet_id: PacketId::new(7),
            expiry: Some(60),
            subscription_ids: &[3, 4],
            details: Details {
                content_type: Some("text/plain"),
                response_topic: Some("lab/r"),
                correlation_data: Some(b"c1"),
                payload_format: Some(true),
                user_properties: vec![("a", "b"), ("a", "c")],
            },
        }
    }

    fn write(format: &str, payload: &[u8]) -> String {
        let time = time();
        let mut out = Vec::new();
        let format: Format = format.parse().unwrap();
        format
            .write(&record(&time, payload), false, &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_field_is_written() {
        for (format, expected) in [
            ("%t: %p", "lab/t: 21.5"),
            ("%q %r %l %m", "1 1 4 7"),
            ("%x %X", "32312e35 32312E35"),
            (
                "%C|%D|%E|%F|%R|%S|%P|%A",
                "text/plain|c1|60|1|lab/r|3 4|a:b a:c|",
            ),
            ("%I", "2026-03-01T08:05:09+0200"),
            ("%U", "1772345109.120003000"),
            ("100%% a@@b", "100% a@b"),
            ("@Y-@m-@d @H:@M:@S.@N", "2026-03-01 08:05:09.120003000"),
            ("a\\tb\\n\\\\", "a\tb\n\\"),
            ("grün %t", "grün lab/t"),
            ("", ""),
        ] {
            assert_eq!(write(format, b"21.5"), expected, "{format}");
        }
    }

    #[test]
    fn fields_are_padded_and_cut() {
        for (format, expected) in [
            ("[%8t]", "[   lab/t]"),
            ("[%-8t]", "[lab/t   ]"),
            ("[%06l]", "[000004]"),
            ("[%.3t]", "[lab]"),
            ("[%6.2p]", "[    21]"),
            ("[%2t]", "[lab/t]"),
        ] {
            assert_eq!(write(format, b"21.5"), expected, "{format}");
        }
    }

    #[test]
    fn json_has_everything_in_a_fixed_order() {
        assert_eq!(
            write("%j", b"21.5"),
            "{\"tst\":\"2026-03-01T08:05:09.120003+0200\",\"topic\":\"lab/t\",\"qos\":1,\
             \"retain\":1,\"payloadlen\":4,\"mid\":7,\"properties\":{\
             \"payload-format-indicator\":1,\"message-expiry-interval\":60,\
             \"content-type\":\"text/plain\",\"response-topic\":\"lab/r\",\
             \"correlation-data\":\"c1\",\"user-properties\":[[\"a\",\"b\"],[\"a\",\"c\"]],\
             \"subscription-identifiers\":[3,4]},\"payload\":\"21.5\"}"
        );
    }

    #[test]
    fn a_payload_in_json_is_json_text_or_base64() {
        for (format, payload, expected) in [
            ("%J", &b"{\"a\": 1}"[..], "\"payload\":{\"a\": 1}}"),
            ("%j", b"{\"a\": 1}", "\"payload\":\"{\\\"a\\\": 1}\"}"),
            ("%J", b"no json", "\"payload\":\"no json\"}"),
            ("%J", b"\xff\x00", "\"payload_base64\":\"/wA=\"}"),
        ] {
            let json = write(format, payload);
            assert!(json.ends_with(expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for format in ["%", "%y", "%5", "@", "@1", "\\", "\\q", "%99999t"] {
            assert!(format.parse::<Format>().is_err(), "{format}");
        }
    }
}
