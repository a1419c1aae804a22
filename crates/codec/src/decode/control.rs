//! Reads acknowledgements, subscriptions, DISCONNECT and AUTH.

use super::primitive::{Parsed, byte, complete, packet_id, take};
use super::{Parser, Source};
use crate::{
    Ack, Auth, DecodeError, Disconnect, PacketType, Properties, PropertyId, PropertyScope,
    ProtocolVersion, ReasonCode, ReasonCodes, SubAck, Subscribe, SubscribeFilters, UnsubAck,
    Unsubscribe, UnsubscribeFilters,
};

impl<'a, I: Source<'a>> Parser<I> {
    /// Reads PUBACK, PUBREC, PUBREL or PUBCOMP.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.4.2-1, v5 MQTT-3.5.2-1, v5 MQTT-3.6.2-1, v5 MQTT-3.7.2-1.
    pub(super) fn ack(
        self,
        packet_type: PacketType,
        scope: PropertyScope,
        body: &'a [u8],
    ) -> Result<Ack<I::Storage>, DecodeError> {
        let parse = |input| {
            let (input, packet_id) = packet_id(input)?;
            let (input, (reason_code, properties)) = self.reason(packet_type, scope, input)?;
            Ok((
                input,
                Ack {
                    packet_id,
                    reason_code,
                    properties,
                },
            ))
        };
        complete(parse, body)
    }

    /// Reads a SUBSCRIBE.
    pub(super) fn subscribe(self, input: &'a [u8]) -> Parsed<'a, Subscribe<I::Storage>> {
        let (input, packet_id) = packet_id(input)?;
        let (input, properties) = self.properties(PropertyScope::Subscribe, input)?;
        let (input, filters) = SubscribeFilters::parse(self, input)?;
        Ok((
            input,
            Subscribe {
                packet_id,
                properties,
                filters,
            },
        ))
    }

    /// Reads a SUBACK.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.9.3-2; v3.1.1 MQTT-3.9.3-2; V31-suback.
    pub(super) fn suback(self, input: &'a [u8]) -> Parsed<'a, SubAck<I::Storage>> {
        let (input, packet_id) = packet_id(input)?;
        let (input, properties) = self.properties(PropertyScope::SubAck, input)?;
        let (input, reason_codes) = self.reason_codes(PacketType::SubAck, input)?;
        Ok((
            input,
            SubAck {
                packet_id,
                properties,
                reason_codes,
            },
        ))
    }

    /// Reads an UNSUBSCRIBE.
    pub(super) fn unsubscribe(self, input: &'a [u8]) -> Parsed<'a, Unsubscribe<I::Storage>> {
        let (input, packet_id) = packet_id(input)?;
        let (input, properties) = self.properties(PropertyScope::Unsubscribe, input)?;
        let (input, filters) = UnsubscribeFilters::parse(self, input)?;
        Ok((
            input,
            Unsubscribe {
                packet_id,
                properties,
                filters,
            },
        ))
    }

    /// Reads an UNSUBACK.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.11.3-2.
    pub(super) fn unsuback(self, input: &'a [u8]) -> Parsed<'a, UnsubAck<I::Storage>> {
        let (input, packet_id) = packet_id(input)?;
        let (input, properties) = self.properties(PropertyScope::UnsubAck, input)?;
        let (input, reason_codes) = if self.decoder.version.has_properties() {
            self.reason_codes(PacketType::UnsubAck, input)?
        } else {
            (input, ReasonCodes::default())
        };
        Ok((
            input,
            UnsubAck {
                packet_id,
                properties,
                reason_codes,
            },
        ))
    }

    /// Reads a DISCONNECT.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.14.2-1.
    pub(super) fn disconnect(self, input: &'a [u8]) -> Parsed<'a, Disconnect<I::Storage>> {
        let (input, (reason_code, properties)) =
            self.reason(PacketType::Disconnect, PropertyScope::Disconnect, input)?;
        Ok((
            input,
            Disconnect {
                reason_code,
                properties,
            },
        ))
    }

    /// Reads an AUTH. The shortest form has no Authentication Method; every other needs it.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.15.2-1, v5 U-27.
    pub(super) fn auth(self, input: &'a [u8]) -> Parsed<'a, Auth<I::Storage>> {
        let is_short = input.is_empty();
        let (input, (reason_code, properties)) =
            self.reason(PacketType::Auth, PropertyScope::Auth, input)?;
        if !is_short && !properties.contains(PropertyId::AuthenticationMethod) {
            return Err(DecodeError::AuthWithoutMethod.into());
        }
        Ok((
            input,
            Auth {
                reason_code,
                properties,
            },
        ))
    }

    /// Reads a reason code and properties, either of which the end of the packet may replace.
    fn reason(
        self,
        packet_type: PacketType,
        scope: PropertyScope,
        input: &'a [u8],
    ) -> Parsed<'a, (ReasonCode, Properties<I::Storage>)> {
        if !self.decoder.version.has_properties() {
            return Ok((input, (ReasonCode::Success, Properties::empty())));
        }
        if input.is_empty() {
            let reason_code = self.reason_code(packet_type, ReasonCode::Success.as_u8())?;
            return Ok((input, (reason_code, Properties::empty())));
        }
        let (input, code) = byte(input)?;
        let reason_code = self.reason_code(packet_type, code)?;
        if input.is_empty() {
            return Ok((input, (reason_code, Properties::empty())));
        }
        let (input, properties) = self.properties(scope, input)?;
        Ok((input, (reason_code, properties)))
    }

    /// Checks a reason code of MQTT 5.0.
    pub(super) fn reason_code(
        self,
        packet_type: PacketType,
        code: u8,
    ) -> Result<ReasonCode, DecodeError> {
        ReasonCode::from_u8(code)
            .filter(|code| code.is_allowed(packet_type, self.decoder.sender))
            .ok_or(DecodeError::InvalidReasonCode { packet_type, code })
    }

    /// Reads all that is left as reason codes: at least one.
    fn reason_codes(
        self,
        packet_type: PacketType,
        input: &'a [u8],
    ) -> Parsed<'a, ReasonCodes<I::Storage>> {
        let (rest, codes) = take(input.len(), input)?;
        if codes.is_empty() {
            return Err(DecodeError::EmptyList { packet_type }.into());
        }
        for code in codes {
            self.check_listed(packet_type, *code)?;
        }
        Ok((rest, ReasonCodes::from_checked(self.source.bytes(codes))))
    }

    fn check_listed(self, packet_type: PacketType, code: u8) -> Result<(), DecodeError> {
        let version = self.decoder.version;
        if version.has_properties() {
            return self.reason_code(packet_type, code).map(|_| ());
        }
        match code {
            0..=2 => Ok(()),
            // MQTT 3.1 cannot refuse a subscription.
            0x80 if version == ProtocolVersion::V311 => Ok(()),
            code => Err(DecodeError::InvalidReasonCode { packet_type, code }),
        }
    }
}
