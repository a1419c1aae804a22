//! The answer to CONNECT: what is granted, and what is announced because it differs from the
//! defaults of the standard.

use mqttstack_codec::{
    ConnAck, Connect, DecodeError, Packet, Properties, PropertyId, ProtocolVersion, QoS,
    ReasonCode, Shared,
};
use mqttstack_limits::{Limits, PROTOCOL_PACKET_SIZE_MAX};

use super::Acceptance;
use crate::ProtocolError;

/// The session expiry and keep alive of a connection: what was asked for and what is granted.
pub(super) struct Terms {
    pub(super) requested_expiry: u32,
    pub(super) session_expiry: u32,
    pub(super) keep_alive: u16,
}

impl Terms {
    pub(super) fn new(connect: &Connect<Shared>, limits: &Limits) -> Self {
        let requested_expiry = match (connect.version, connect.clean_start) {
            (ProtocolVersion::V5, _) => connect.properties.session_expiry_interval().unwrap_or(0),
            (_, true) => 0,
            (_, false) => u32::MAX,
        };
        Self {
            requested_expiry,
            session_expiry: requested_expiry.min(limits.session_expiry_max),
            keep_alive: keep_alive(connect, limits),
        }
    }
}

fn keep_alive(connect: &Connect<Shared>, limits: &Limits) -> u16 {
    let asked = connect.keep_alive;
    let maximum = limits.keep_alive_max;
    if maximum > 0 && (asked == 0 || asked > maximum) {
        return maximum;
    }
    // Only MQTT 5.0 can be told of a longer one.
    if connect.version == ProtocolVersion::V5 && asked > 0 {
        return asked.max(limits.keep_alive_min);
    }
    asked
}

/// Returns the CONNACK of an accepted connection.
pub(super) fn success(
    connect: &Connect<Shared>,
    acceptance: &Acceptance,
    terms: &Terms,
    limits: &Limits,
) -> ConnAck<Shared> {
    let mut connack = ConnAck::new(acceptance.session_present, ReasonCode::Success);
    if connect.version != ProtocolVersion::V5 {
        // A 3.1 client has no Session Present (V31-connack).
        connack.session_present &= connect.version == ProtocolVersion::V311;
        return connack;
    }
    let announced = announced(connect, acceptance, terms, limits);
    let room = connect
        .properties
        .maximum_packet_size()
        .map_or(u32::MAX, Into::into);
    connack.properties = announced;
    let size = connack_size(&connack);
    if size > room {
        // Reason String and User Properties yield (v5 MQTT-3.2.2-19, v5 MQTT-3.2.2-20).
        connack.properties = connack
            .properties
            .without(&[PropertyId::ReasonString, PropertyId::UserProperty]);
    }
    connack
}

fn connack_size(connack: &ConnAck<Shared>) -> u32 {
    Packet::ConnAck(connack.clone())
        .encoded_len(ProtocolVersion::V5)
        .ok()
        .and_then(|size| u32::try_from(size).ok())
        .unwrap_or(u32::MAX)
}

fn announced(
    connect: &Connect<Shared>,
    acceptance: &Acceptance,
    terms: &Terms,
    limits: &Limits,
) -> Properties<Shared> {
    let mut properties = Properties::builder();
    if terms.session_expiry != terms.requested_expiry {
        properties = properties.session_expiry_interval(terms.session_expiry);
    }
    if limits.receive_maximum != u16::MAX {
        properties = properties.receive_maximum(limits.receive_maximum.max(1));
    }
    if limits.maximum_qos != QoS::ExactlyOnce {
        properties = properties.maximum_qos(limits.maximum_qos);
    }
    if !limits.retain_available {
        properties = properties.retain_available(false);
    }
    if limits.packet_size_max < PROTOCOL_PACKET_SIZE_MAX {
        properties = properties.maximum_packet_size(limits.packet_size_max);
    }
    if let Some(id) = &acceptance.assigned_client_id {
        properties = properties.assigned_client_identifier(id);
    }
    if limits.topic_alias_maximum > 0 {
        properties = properties.topic_alias_maximum(limits.topic_alias_maximum);
    }
    if !limits.wildcard_subscriptions {
        properties = properties.wildcard_subscription_available(false);
    }
    if !limits.subscription_identifiers {
        properties = properties.subscription_identifier_available(false);
    }
    if !limits.shared_subscriptions {
        properties = properties.shared_subscription_available(false);
    }
    if terms.keep_alive != connect.keep_alive {
        properties = properties.server_keep_alive(terms.keep_alive);
    }
    if let Some(method) = connect.properties.authentication_method() {
        properties = properties.authentication_method(method);
    }
    for property in acceptance.properties.iter() {
        properties = properties.property(property);
    }
    // What the owner adds may collide with the above; then what the limits say stands alone.
    properties.build().unwrap_or_default()
}

/// Returns the CONNACK that refuses `connect`, if its version has one that fits.
pub(super) fn refusal(connect: &Connect<Shared>, reason: ReasonCode) -> Option<Packet> {
    refusal_in(connect.version, reason)
}

fn refusal_in(version: ProtocolVersion, reason: ReasonCode) -> Option<Packet> {
    let expressible = match version {
        ProtocolVersion::V5 => true,
        ProtocolVersion::V31 | ProtocolVersion::V311 => reason.to_connect_return_code().is_some(),
    };
    expressible.then(|| Packet::ConnAck(ConnAck::new(false, reason)))
}

/// Returns the answer to a CONNECT that cannot be read, with the version to encode it in: only
/// where the standard has one.
pub(super) fn unreadable(
    error: &ProtocolError,
    version: Option<ProtocolVersion>,
) -> Option<(ProtocolVersion, Packet)> {
    let ProtocolError::Decode(decode_error) = error else {
        return None;
    };
    let version = match decode_error {
        // A client of an older protocol can only read an answer in its own form.
        DecodeError::UnsupportedProtocolVersion { level } if matches!(level, 0..=4 | 0x80..=0x84) => {
            ProtocolVersion::V311
        }
        DecodeError::UnsupportedProtocolVersion { .. } => ProtocolVersion::V5,
        // 3.x clients are closed without an answer (v3.1.1 MQTT-3.1.4-1).
        _ => version.filter(|version| *version == ProtocolVersion::V5)?,
    };
    refusal_in(version, error.reason_code()).map(|packet| (version, packet))
}
