//! What single values mean, in words.

use std::fmt;

use mqttstack_codec::{PacketType, PropertyId, ReasonCode};

/// How much of a text is shown, in bytes, and how much of other bytes.
const TEXT_BYTES_MAX: usize = 256;
const HEX_BYTES_MAX: usize = 32;

/// How the value of a property is written, and what about it is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    Byte,
    TwoBytes,
    FourBytes,
    Variable,
    Text,
    Binary,
    Secret,
    Pair,
}

/// Returns how the property's value is written.
pub(super) const fn shape(property: PropertyId) -> Shape {
    use PropertyId as Id;
    match property {
        Id::PayloadFormatIndicator
        | Id::RequestProblemInformation
        | Id::RequestResponseInformation
        | Id::MaximumQoS
        | Id::RetainAvailable
        | Id::WildcardSubscriptionAvailable
        | Id::SubscriptionIdentifierAvailable
        | Id::SharedSubscriptionAvailable => Shape::Byte,
        Id::ServerKeepAlive | Id::ReceiveMaximum | Id::TopicAliasMaximum | Id::TopicAlias => {
            Shape::TwoBytes
        }
        Id::MessageExpiryInterval
        | Id::SessionExpiryInterval
        | Id::WillDelayInterval
        | Id::MaximumPacketSize => Shape::FourBytes,
        Id::SubscriptionIdentifier => Shape::Variable,
        Id::ContentType
        | Id::ResponseTopic
        | Id::AssignedClientIdentifier
        | Id::AuthenticationMethod
        | Id::ResponseInformation
        | Id::ServerReference
        | Id::ReasonString => Shape::Text,
        Id::CorrelationData => Shape::Binary,
        Id::AuthenticationData => Shape::Secret,
        Id::UserProperty => Shape::Pair,
    }
}

/// Returns what a number says as the value of a property.
pub(super) fn number(property: PropertyId, value: u32) -> String {
    use PropertyId as Id;
    match (property, value) {
        (Id::PayloadFormatIndicator, 0) => "bytes".to_owned(),
        (Id::PayloadFormatIndicator, 1) => "text".to_owned(),
        (Id::MaximumQoS, value) => format!("QoS {value}"),
        (Id::SessionExpiryInterval, u32::MAX) => "never".to_owned(),
        (
            Id::MessageExpiryInterval
            | Id::SessionExpiryInterval
            | Id::WillDelayInterval
            | Id::ServerKeepAlive,
            seconds,
        ) => format!("{seconds} s"),
        (Id::MaximumPacketSize, bytes) => format!("{bytes} bytes"),
        (id, value @ 0..=1) if shape(id) == Shape::Byte => {
            (if value == 1 { "yes" } else { "no" }).to_owned()
        }
        (_, value) => value.to_string(),
    }
}

/// Returns what a reason code of MQTT 5.0 says in a packet of the type.
pub(super) fn reason(packet_type: PacketType, code: u8) -> String {
    let name = match (packet_type, code) {
        (PacketType::SubAck, 0) => "granted QoS 0",
        (PacketType::Disconnect, 0) => "normal disconnection",
        (_, code) => match ReasonCode::from_u8(code) {
            Some(known) => known.name(),
            None => "unknown",
        },
    };
    format!("{name} (0x{code:02X})")
}

/// Returns what a return code of MQTT 3.x says in a CONNACK or SUBACK.
pub(super) fn return_code(packet_type: PacketType, code: u8) -> String {
    let name = match (packet_type, code) {
        (PacketType::ConnAck, 0) => "accepted",
        (PacketType::ConnAck, 1) => "unacceptable protocol version",
        (PacketType::ConnAck, 2) => "identifier rejected",
        (PacketType::ConnAck, 3) => "server unavailable",
        (PacketType::ConnAck, 4) => "bad user name or password",
        (PacketType::ConnAck, 5) => "not authorized",
        (PacketType::SubAck, 0) => "granted QoS 0",
        (PacketType::SubAck, 1) => "granted QoS 1",
        (PacketType::SubAck, 2) => "granted QoS 2",
        (PacketType::SubAck, 0x80) => "failure",
        (_, _) => "unknown",
    };
    format!("{name} (0x{code:02X})")
}

/// The names of the bits that are set, `none` if none is.
pub(super) fn flags(byte: u8, names: &[(u8, &str)]) -> String {
    let set: Vec<_> = names
        .iter()
        .filter(|(bit, _)| byte & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if set.is_empty() {
        "none".to_owned()
    } else {
        set.join(", ")
    }
}

/// Bytes that may be text: quoted and escaped, with only the beginning of what is long; in hex if
/// they are no text.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.len();
        let shown = match std::str::from_utf8(self.0) {
            Ok(text) => {
                let text = beginning_of(text);
                write!(f, "{text:?}")?;
                text.len()
            }
            Err(_) => {
                f.write_str("0x")?;
                let beginning = self.0.iter().take(HEX_BYTES_MAX);
                beginning
                    .clone()
                    .try_for_each(|byte| write!(f, "{byte:02x}"))?;
                beginning.len()
            }
        };
        if shown < all {
            write!(f, " and {} bytes more", all - shown)?;
        }
        Ok(())
    }
}

/// Returns as much of a text as is shown.
fn beginning_of(text: &str) -> &str {
    // A character takes at most four bytes, so one of these four places lies between two.
    (TEXT_BYTES_MAX - 3..=TEXT_BYTES_MAX)
        .rev()
        .find_map(|length| text.get(..length))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_escaped_and_shortened() {
        let long = "\u{20AC}".repeat(100);
        let cases = [
            (&b"a/b"[..], "\"a/b\"".to_owned()),
            (b"", "\"\"".to_owned()),
            (b"\x1b[2J\n", "\"\\u{1b}[2J\\n\"".to_owned()),
            (b"\xFF\x00", "0xff00".to_owned()),
            (
                &[0xFF; 40],
                format!("0x{} and 8 bytes more", "ff".repeat(32)),
            ),
            (
                long.as_bytes(),
                format!("\"{}\" and 45 bytes more", "\u{20AC}".repeat(85)),
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Shown(bytes).to_string(), expected);
        }
    }
}
