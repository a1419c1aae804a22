//! Reads CONNECT and CONNACK.

use super::primitive::{Parsed, byte, complete, field, two_bytes};
use super::{Decoder, Parser, Source, cause};
use crate::{
    ConnAck, Connect, DecodeError, PacketType, PropertyId, PropertyScope, ProtocolVersion, QoS,
    ReasonCode, Storage, Will, text,
};

/// The bit of the level that says that the client is a bridge.
const BRIDGE: u8 = 0x80;

/// The Connect Flags.
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const RESERVED: u8 = 0b0000_0001;
    const CLEAN_START: u8 = 0b0000_0010;
    const WILL: u8 = 0b0000_0100;
    const WILL_QOS: u8 = 0b0001_1000;
    const WILL_RETAIN: u8 = 0b0010_0000;
    const PASSWORD: u8 = 0b0100_0000;
    const USER_NAME: u8 = 0b1000_0000;

    const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// Returns the Will QoS, or `None` for QoS 3.
    const fn will_qos(self) -> Option<QoS> {
        QoS::from_u8((self.0 & Self::WILL_QOS) >> 3)
    }

    /// Checks the flags by themselves.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-3, v5 MQTT-3.1.2-11, v5 MQTT-3.1.2-12, v5 MQTT-3.1.2-13; v3.1.1 MQTT-3.1.2-3,
    /// v3.1.1 MQTT-3.1.2-13, v3.1.1 MQTT-3.1.2-14, v3.1.1 MQTT-3.1.2-15, v3.1.1 MQTT-3.1.2-22;
    /// V31-reserved, V31-password.
    fn check(self, version: ProtocolVersion) -> Result<(), DecodeError> {
        let is_v31 = version == ProtocolVersion::V31;
        if self.has(Self::RESERVED) && !is_v31 {
            return Err(DecodeError::ReservedConnectFlag);
        }
        if self.has(Self::WILL) {
            if self.will_qos().is_none() {
                return Err(DecodeError::InvalidWillQoS);
            }
        } else if self.has(Self::WILL_QOS | Self::WILL_RETAIN) && !is_v31 {
            return Err(DecodeError::WillFlagsWithoutWill { flags: self.0 });
        }
        if self.has(Self::PASSWORD) && !self.has(Self::USER_NAME) && !version.has_properties() {
            return Err(DecodeError::PasswordWithoutUserName);
        }
        Ok(())
    }
}

impl<'a, I: Source<'a>> Parser<I> {
    /// Reads a CONNECT, by the version that it names.
    pub(super) fn connect(self, body: &'a [u8]) -> Result<Connect<I::Storage>, DecodeError> {
        let (body, (version, bridge)) = version(body).map_err(cause)?;
        let decoder = Decoder {
            version,
            ..self.decoder
        };
        let parser = Self {
            decoder,
            source: self.source,
        };
        complete(|body| parser.connect_of_version(bridge, body), body)
    }

    /// Reads what follows the protocol level.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.3-1, v5 U-10; v3.1.1 MQTT-3.1.3-1.
    fn connect_of_version(self, bridge: bool, input: &'a [u8]) -> Parsed<'a, Connect<I::Storage>> {
        let version = self.decoder.version;
        let (input, flags) = byte(input)?;
        let flags = Flags(flags);
        flags.check(version)?;
        let (input, keep_alive) = two_bytes(input)?;
        let (input, properties) = self.properties(PropertyScope::Connect, input)?;
        if properties.contains(PropertyId::AuthenticationData)
            && !properties.contains(PropertyId::AuthenticationMethod)
        {
            return Err(DecodeError::AuthenticationDataWithoutMethod.into());
        }
        let (input, client_id) = self.text(input)?;
        let (input, will) = self.will(flags, input)?;
        let (input, username) =
            self.credential(flags.has(Flags::USER_NAME), input, |input| self.text(input))?;
        let (input, password) = self.credential(flags.has(Flags::PASSWORD), input, |input| {
            let (input, password) = field(input)?;
            Ok((input, self.source.bytes(password)))
        })?;
        let connect = Connect {
            version,
            bridge,
            clean_start: flags.has(Flags::CLEAN_START),
            keep_alive,
            properties,
            client_id,
            will,
            username,
            password,
        };
        Ok((input, connect))
    }

    /// Reads the will, if there is one.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-9, v5 MQTT-3.1.3-11; v3.1.1 MQTT-3.1.2-9, v3.1.1 MQTT-3.1.2-11,
    /// v3.1.1 MQTT-3.1.3-10; X311-3.1.3.3-a; V31-will.
    fn will(self, flags: Flags, input: &'a [u8]) -> Parsed<'a, Option<Will<I::Storage>>> {
        let Some(qos) = flags.will_qos().filter(|_| flags.has(Flags::WILL)) else {
            return Ok((input, None));
        };
        let (input, properties) = self.properties(PropertyScope::Will, input)?;
        let (input, topic) = field(input)?;
        text::check_topic_name(topic)?;
        self.check_policy(topic)?;
        let (input, payload) = field(input)?;
        let will = Will {
            qos,
            retain: flags.has(Flags::WILL_RETAIN),
            properties,
            topic: self.source.text(topic),
            payload: self.source.bytes(payload),
        };
        Ok((input, Some(will)))
    }

    /// Reads the user name or password if its flag says so. In 3.1 the Remaining Length has
    /// precedence over the flag.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-16 to v5 MQTT-3.1.2-19; v3.1.1 MQTT-3.1.2-18 to v3.1.1 MQTT-3.1.2-21;
    /// V31-userflag.
    fn credential<T>(
        self,
        is_flagged: bool,
        input: &'a [u8],
        parse: impl Fn(&'a [u8]) -> Parsed<'a, T>,
    ) -> Parsed<'a, Option<T>> {
        let is_missing = input.is_empty() && self.decoder.version == ProtocolVersion::V31;
        if !is_flagged || is_missing {
            return Ok((input, None));
        }
        let (input, value) = parse(input)?;
        Ok((input, Some(value)))
    }

    /// Reads a text field.
    fn text(self, input: &'a [u8]) -> Parsed<'a, <I::Storage as Storage>::Str> {
        let (input, text) = field(input)?;
        text::check_text(text)?;
        Ok((input, self.source.text(text)))
    }

    /// Reads a CONNACK.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.2.2-1, v5 MQTT-3.2.2-6, v5 MQTT-3.2.2-8; v3.1.1 MQTT-3.2.2-4,
    /// v3.1.1 MQTT-3.2.2-6; X311-3.2.2.1-a; V31-connack.
    pub(super) fn connack(self, input: &'a [u8]) -> Parsed<'a, ConnAck<I::Storage>> {
        let version = self.decoder.version;
        let (input, flags) = byte(input)?;
        // MQTT 3.1 has no such flags, and its clients do not look at them.
        let flags = if version == ProtocolVersion::V31 {
            0
        } else {
            flags
        };
        if flags > 1 {
            return Err(DecodeError::ReservedConnAckFlags { flags }.into());
        }
        let (input, code) = byte(input)?;
        let reason_code = if version.has_properties() {
            self.reason_code(PacketType::ConnAck, code)?
        } else {
            ReasonCode::from_connect_return_code(code).ok_or(DecodeError::InvalidReasonCode {
                packet_type: PacketType::ConnAck,
                code,
            })?
        };
        let session_present = flags != 0;
        if session_present && reason_code != ReasonCode::Success {
            return Err(DecodeError::SessionPresentWithError.into());
        }
        let (input, properties) = self.properties(PropertyScope::ConnAck, input)?;
        Ok((
            input,
            ConnAck {
                session_present,
                reason_code,
                properties,
            },
        ))
    }
}

/// Reads the protocol name and level, and with them whether the bridge bit is set.
///
/// # Specification
///
/// v5 MQTT-3.1.2-1, v5 MQTT-3.1.2-2; v3.1.1 MQTT-3.1.2-1, v3.1.1 MQTT-3.1.2-2; V31-name,
/// V31-mismatch; BRG-bit, BRG-5.
pub(super) fn version(input: &[u8]) -> Parsed<'_, (ProtocolVersion, bool)> {
    let (input, name) = field(input)?;
    let is_v31_name = name == ProtocolVersion::V31.protocol_name().as_bytes();
    if !is_v31_name && name != ProtocolVersion::V5.protocol_name().as_bytes() {
        return Err(DecodeError::UnknownProtocolName.into());
    }
    let (input, level) = byte(input)?;
    let bridge = level & BRIDGE != 0;
    let version = match (is_v31_name, level & !BRIDGE, bridge) {
        (true, 3, _) => ProtocolVersion::V31,
        (false, 4, _) => ProtocolVersion::V311,
        (false, 5, false) => ProtocolVersion::V5,
        (_, _, _) => return Err(DecodeError::UnsupportedProtocolVersion { level }.into()),
    };
    Ok((input, (version, bridge)))
}
