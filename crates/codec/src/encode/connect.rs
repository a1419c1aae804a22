//! Writes CONNECT and CONNACK.

use super::{
    Body, Sink, append_field, append_header, append_properties, field_len, properties_len,
    text_len, topic_len,
};
use crate::{
    ConnAck, Connect, DecodeError, EncodeError, PacketType, PropertyId, PropertyScope,
    ProtocolVersion, ReasonCode, Sender, Storage, Will,
};

impl<S: Storage> Body for Connect<S> {
    fn measure(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        if self.version != version {
            return Err(EncodeError::VersionMismatch {
                connect: self.version,
                version,
            });
        }
        if self.bridge && version.has_properties() {
            return Err(EncodeError::BridgeNotInVersion);
        }
        if self.password.is_some() && self.username.is_none() && !version.has_properties() {
            return Err(DecodeError::PasswordWithoutUserName.into());
        }
        if self.properties.contains(PropertyId::AuthenticationData)
            && !self.properties.contains(PropertyId::AuthenticationMethod)
        {
            return Err(DecodeError::AuthenticationDataWithoutMethod.into());
        }
        // Name with its length, level, flags, keep alive.
        let mut length = version.protocol_name().len().saturating_add(6);
        let mut add = |more: usize| length = length.saturating_add(more);
        add(properties_len(
            &self.properties,
            PropertyScope::Connect,
            PacketType::Connect,
            version,
        )?);
        add(text_len(S::text(&self.client_id).as_bytes())?);
        if let Some(will) = &self.will {
            add(properties_len(
                &will.properties,
                PropertyScope::Will,
                PacketType::Connect,
                version,
            )?);
            add(topic_len(S::text(&will.topic).as_bytes())?);
            add(field_len(will.payload.as_ref())?);
        }
        if let Some(username) = &self.username {
            add(text_len(S::text(username).as_bytes())?);
        }
        if let Some(password) = &self.password {
            add(field_len(password.as_ref())?);
        }
        Ok(length)
    }

    fn append_to(&self, version: ProtocolVersion, remaining: u32, out: &mut impl Sink) {
        let first = PacketType::Connect.first_byte();
        let level = version.level() | u8::from(self.bridge) << 7;
        let flags = self.flags();
        let [high, low] = self.keep_alive.to_be_bytes();
        // The name is a part of one piece with what surrounds it.
        if version == ProtocolVersion::V31 {
            append_header(first, remaining, 6, out);
            out.append(&[b'M', b'Q', b'I', b's', b'd', b'p', level, flags, high, low]);
        } else {
            append_header(first, remaining, 4, out);
            out.append(&[b'M', b'Q', b'T', b'T', level, flags, high, low]);
        }
        append_properties(&self.properties, version, out);
        append_field(S::text(&self.client_id).as_bytes(), out);
        if let Some(will) = &self.will {
            append_properties(&will.properties, version, out);
            append_field(S::text(&will.topic).as_bytes(), out);
            append_field(will.payload.as_ref(), out);
        }
        if let Some(username) = &self.username {
            append_field(S::text(username).as_bytes(), out);
        }
        if let Some(password) = &self.password {
            append_field(password.as_ref(), out);
        }
    }
}

impl<S: Storage> Connect<S> {
    /// Returns the Connect Flags.
    fn flags(&self) -> u8 {
        u8::from(self.clean_start) << 1
            | self.will.as_ref().map_or(0, Will::flags)
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.username.is_some()) << 7
    }
}

impl<S: Storage> Will<S> {
    /// Returns the Connect Flags that describe the will.
    fn flags(&self) -> u8 {
        1 << 2 | self.qos.as_u8() << 3 | u8::from(self.retain) << 5
    }
}

impl<S: Storage> Body for ConnAck<S> {
    fn measure(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        let packet_type = PacketType::ConnAck;
        if self.session_present && self.reason_code != ReasonCode::Success {
            return Err(DecodeError::SessionPresentWithError.into());
        }
        if version.has_properties() {
            if !self.reason_code.is_allowed(packet_type, Sender::Server) {
                let code = self.reason_code.as_u8();
                return Err(DecodeError::InvalidReasonCode { packet_type, code }.into());
            }
        } else if self.reason_code.to_connect_return_code().is_none() {
            let reason_code = self.reason_code;
            return Err(EncodeError::ReasonCodeNotInVersion {
                packet_type,
                reason_code,
                version,
            });
        }
        let properties = properties_len(
            &self.properties,
            PropertyScope::ConnAck,
            packet_type,
            version,
        )?;
        Ok(properties.saturating_add(2))
    }

    fn append_to(&self, version: ProtocolVersion, remaining: u32, out: &mut impl Sink) {
        // MQTT 3.1 has no Session Present: the byte is reserved.
        let flags = u8::from(self.session_present && version != ProtocolVersion::V31);
        let code = if version.has_properties() {
            self.reason_code.as_u8()
        } else {
            self.reason_code
                .to_connect_return_code()
                .unwrap_or_default()
        };
        let next = u16::from_be_bytes([flags, code]);
        append_header(PacketType::ConnAck.first_byte(), remaining, next, out);
        append_properties(&self.properties, version, out);
    }
}
