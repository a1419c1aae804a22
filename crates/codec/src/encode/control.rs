//! Writes acknowledgements, subscriptions, PINGREQ, PINGRESP, DISCONNECT and AUTH.

use super::{
    Body, Sink, append_header, append_properties, append_variable, properties_len, remaining_len,
};
use crate::{
    Ack, Auth, DecodeError, Disconnect, EncodeError, PacketId, PacketType, Properties, PropertyId,
    PropertyScope, ProtocolVersion, ReasonCode, ReasonCodes, Sender, Storage, SubAck, Subscribe,
    UnsubAck, Unsubscribe,
};

/// PINGREQ or PINGRESP.
pub(super) struct Ping(pub(super) PacketType);

impl Body for Ping {
    fn measure(&self, _: ProtocolVersion) -> Result<usize, EncodeError> {
        Ok(0)
    }

    fn append_to(&self, _: ProtocolVersion, _: u32, out: &mut impl Sink) {
        out.append(&[self.0.first_byte(), 0]);
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
pub(super) struct AckBody<'p, S: Storage> {
    packet_type: PacketType,
    scope: PropertyScope,
    ack: &'p Ack<S>,
}

impl<S: Storage> AckBody<'_, S> {
    fn reason(&self) -> ReasonBody<'_, S> {
        ReasonBody {
            packet_type: self.packet_type,
            scope: self.scope,
            reason_code: self.ack.reason_code,
            properties: &self.ack.properties,
        }
    }
}

impl<S: Storage> Body for AckBody<'_, S> {
    fn measure(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        let reason = self.reason();
        // Nearly all of them; any version has it.
        if !reason.has_code() {
            return Ok(2);
        }
        Ok(reason.measure(version)?.saturating_add(2))
    }

    #[inline]
    fn append_to(&self, version: ProtocolVersion, remaining: u32, out: &mut impl Sink) {
        let packet_id = self.ack.packet_id.get();
        append_header(self.packet_type.first_byte(), remaining, packet_id, out);
        self.reason().append_reason(version, out);
    }
}

impl<S: Storage> Ack<S> {
    /// Returns what is written as a packet of the type.
    #[inline]
    pub(super) const fn body(
        &self,
        packet_type: PacketType,
        scope: PropertyScope,
    ) -> AckBody<'_, S> {
        AckBody {
            packet_type,
            scope,
            ack: self,
        }
    }
}

impl<S: Storage> Disconnect<S> {
    /// Returns what is written.
    #[inline]
    pub(super) const fn body(&self) -> ReasonBody<'_, S> {
        ReasonBody {
            packet_type: PacketType::Disconnect,
            scope: PropertyScope::Disconnect,
            reason_code: self.reason_code,
            properties: &self.properties,
        }
    }
}

impl<S: Storage> Auth<S> {
    /// Returns what is written.
    #[inline]
    pub(super) const fn body(&self) -> ReasonBody<'_, S> {
        ReasonBody {
            packet_type: PacketType::Auth,
            scope: PropertyScope::Auth,
            reason_code: self.reason_code,
            properties: &self.properties,
        }
    }
}

/// What acknowledgements, DISCONNECT and AUTH have in common: a reason code and properties, both
/// left out where they say nothing.
pub(super) struct ReasonBody<'p, S: Storage> {
    packet_type: PacketType,
    scope: PropertyScope,
    reason_code: ReasonCode,
    properties: &'p Properties<S>,
}

impl<S: Storage> ReasonBody<'_, S> {
    fn has_code(&self) -> bool {
        self.reason_code != ReasonCode::Success || self.has_properties()
    }

    fn has_properties(&self) -> bool {
        !self.properties.is_empty()
    }

    fn append_reason(&self, version: ProtocolVersion, out: &mut impl Sink) {
        if self.has_code() {
            out.append(&[self.reason_code.as_u8()]);
        }
        if self.has_properties() {
            append_properties(self.properties, version, out);
        }
    }

    fn check_before_v5(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        let (packet_type, reason_code) = (self.packet_type, self.reason_code);
        if packet_type == PacketType::Auth {
            return Err(EncodeError::PacketTypeNotInVersion {
                packet_type,
                version,
            });
        }
        if reason_code != ReasonCode::Success {
            return Err(EncodeError::ReasonCodeNotInVersion {
                packet_type,
                reason_code,
                version,
            });
        }
        if self.has_properties() {
            return Err(EncodeError::PropertiesNotInVersion { packet_type });
        }
        Ok(())
    }
}

impl<S: Storage> Body for ReasonBody<'_, S> {
    fn measure(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        let packet_type = self.packet_type;
        if !version.has_properties() {
            self.check_before_v5(version)?;
            return Ok(0);
        }
        if !self.reason_code.is_allowed(packet_type, Sender::Any) {
            let code = self.reason_code.as_u8();
            return Err(DecodeError::InvalidReasonCode { packet_type, code }.into());
        }
        let lacks_method = packet_type == PacketType::Auth
            && self.has_code()
            && !self.properties.contains(PropertyId::AuthenticationMethod);
        if lacks_method {
            return Err(DecodeError::AuthWithoutMethod.into());
        }
        let properties = properties_len(self.properties, self.scope, packet_type, version)?;
        Ok(match (self.has_code(), self.has_properties()) {
            (true, true) => properties.saturating_add(1),
            (true, false) => 1,
            (false, _) => 0,
        })
    }

    fn append_to(&self, version: ProtocolVersion, remaining: u32, out: &mut impl Sink) {
        out.append(&[self.packet_type.first_byte()]);
        append_variable(remaining_len(remaining), out);
        self.append_reason(version, out);
    }
}

/// SUBSCRIBE, SUBACK, UNSUBSCRIBE or UNSUBACK: a list that has been checked, and properties.
pub(super) struct ListBody<'p, S: Storage> {
    packet_type: PacketType,
    scope: PropertyScope,
    packet_id: PacketId,
    properties: &'p Properties<S>,
    list: &'p [u8],
}

impl<S: Storage> Body for ListBody<'_, S> {
    fn measure(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        let properties = properties_len(self.properties, self.scope, self.packet_type, version)?;
        Ok(properties.saturating_add(self.list.len()).saturating_add(2))
    }

    #[inline]
    fn append_to(&self, version: ProtocolVersion, remaining: u32, out: &mut impl Sink) {
        let packet_id = self.packet_id.get();
        append_header(self.packet_type.first_byte(), remaining, packet_id, out);
        append_properties(self.properties, version, out);
        out.append(self.list);
    }
}

impl<S: Storage> Subscribe<S> {
    /// Checks the list, and returns what is written.
    #[inline]
    pub(super) fn body(&self, version: ProtocolVersion) -> Result<ListBody<'_, S>, EncodeError> {
        self.filters.check_version(version)?;
        Ok(ListBody {
            packet_type: PacketType::Subscribe,
            scope: PropertyScope::Subscribe,
            packet_id: self.packet_id,
            properties: &self.properties,
            list: self.filters.as_bytes(),
        })
    }
}

impl<S: Storage> SubAck<S> {
    /// Checks the list, and returns what is written.
    #[inline]
    pub(super) fn body(&self, version: ProtocolVersion) -> Result<ListBody<'_, S>, EncodeError> {
        check_codes(&self.reason_codes, PacketType::SubAck, version)?;
        Ok(ListBody {
            packet_type: PacketType::SubAck,
            scope: PropertyScope::SubAck,
            packet_id: self.packet_id,
            properties: &self.properties,
            list: self.reason_codes.as_bytes(),
        })
    }
}

impl<S: Storage> Unsubscribe<S> {
    /// Checks the list, and returns what is written.
    #[inline]
    pub(super) fn body(&self, version: ProtocolVersion) -> Result<ListBody<'_, S>, EncodeError> {
        self.filters.check_version(version)?;
        Ok(ListBody {
            packet_type: PacketType::Unsubscribe,
            scope: PropertyScope::Unsubscribe,
            packet_id: self.packet_id,
            properties: &self.properties,
            list: self.filters.as_bytes(),
        })
    }
}

impl<S: Storage> UnsubAck<S> {
    /// Checks the list, and returns what is written.
    #[inline]
    pub(super) fn body(&self, version: ProtocolVersion) -> Result<ListBody<'_, S>, EncodeError> {
        check_codes(&self.reason_codes, PacketType::UnsubAck, version)?;
        Ok(ListBody {
            packet_type: PacketType::UnsubAck,
            scope: PropertyScope::UnsubAck,
            packet_id: self.packet_id,
            properties: &self.properties,
            list: self.reason_codes.as_bytes(),
        })
    }
}

/// Checks the codes of a SUBACK or UNSUBACK.
///
/// # Specification
///
/// v5 MQTT-3.9.3-2, v5 MQTT-3.11.3-2; v3.1.1 MQTT-3.9.3-2; V31-suback.
fn check_codes<S: Storage>(
    codes: &ReasonCodes<S>,
    packet_type: PacketType,
    version: ProtocolVersion,
) -> Result<(), EncodeError> {
    let is_unsuback_of_v3 = packet_type == PacketType::UnsubAck && !version.has_properties();
    if codes.is_empty() && !is_unsuback_of_v3 {
        return Err(DecodeError::EmptyList { packet_type }.into());
    }
    for reason_code in codes.iter() {
        if version.has_properties() {
            if !reason_code.is_allowed(packet_type, Sender::Server) {
                let code = reason_code.as_u8();
                return Err(DecodeError::InvalidReasonCode { packet_type, code }.into());
            }
        } else if is_unsuback_of_v3 || !is_suback_code_of_v3(reason_code, version) {
            return Err(EncodeError::ReasonCodeNotInVersion {
                packet_type,
                reason_code,
                version,
            });
        }
    }
    Ok(())
}

/// Returns whether a SUBACK of MQTT 3.x may carry the code. Only 3.1.1 can refuse.
fn is_suback_code_of_v3(code: ReasonCode, version: ProtocolVersion) -> bool {
    code.as_u8() <= 2 || code == ReasonCode::UnspecifiedError && version == ProtocolVersion::V311
}
