//! The answer to CONNECT: what is granted, and what is announced because it differs from the
//! defaults of the standard.

use mqttstack_codec::{
    ConnAck, Connect, DecodeError, Packet, PacketType, Properties, PropertyId, ProtocolVersion,
    QoS, ReasonCode, Sender, Shared,
};
use mqttstack_limits::{Limits, PROTOCOL_PACKET_SIZE_MAX};

use super::Acceptance;
use crate::{
    ProtocolError,
    flow::{Fit, permitted},
};

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

/// Returns how packets to the client have to look.
pub(super) fn fit(connect: &Connect<Shared>) -> Fit {
    let properties = &connect.properties;
    Fit {
        version: connect.version,
        sender: Sender::Server,
        packet_size_max: properties
            .maximum_packet_size()
            .map_or(u32::MAX, Into::into),
        problem_information: properties.request_problem_information().unwrap_or(true),
    }
}

/// Returns the CONNACK of an accepted connection; `None` if the client does not take one so large.
///
/// # Specification
///
/// v5 MQTT-3.1.4-5, v5 MQTT-3.2.2-2, v5 MQTT-3.2.2-3; v3.1.1 MQTT-3.1.4-4.
pub(super) fn success(
    connect: &Connect<Shared>,
    acceptance: &Acceptance,
    terms: &Terms,
    limits: &Limits,
) -> Option<Packet> {
    let mut connack = ConnAck::new(acceptance.session_present, ReasonCode::Success);
    match connect.version {
        // A 3.1 client has no Session Present (V31-connack).
        ProtocolVersion::V31 => connack.session_present = false,
        ProtocolVersion::V311 => {}
        ProtocolVersion::V5 => connack.properties = announced(connect, acceptance, terms, limits),
    }
    fit(connect).apply(Packet::ConnAck(connack))
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
        properties = properties.maximum_packet_size(limits.packet_size_max.max(1));
    }
    // v5 MQTT-3.2.2-16: the answer to an empty one, and to nothing else.
    if let Some(id) = &acceptance.assigned_client_id
        && connect.client_id.as_bytes().is_empty()
    {
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
    let may_inform = connect.properties.request_response_information() == Some(true);
    let may_authenticate = connect
        .properties
        .contains(PropertyId::AuthenticationMethod);
    let further = acceptance.properties.iter().filter(|property| {
        let id = property.id();
        matches!(
            id,
            PropertyId::ReasonString | PropertyId::UserProperty | PropertyId::ServerReference
        ) || (may_authenticate && id == PropertyId::AuthenticationData)
            // v5 MQTT-3.1.2-28
            || (may_inform && id == PropertyId::ResponseInformation)
    });
    // Every part is valid, and none is there twice.
    properties.properties(further).build().unwrap_or_default()
}

/// Returns the answer to a CONNECT that cannot be read, with the version to encode it in: only
/// where the standard has one.
///
/// # Specification
///
/// v5 MQTT-3.1.4-1; v3.1.1 MQTT-3.1.2-2, v3.1.1 MQTT-3.1.4-1; V31-badconnect; BRG-5.
pub(super) fn unreadable(
    error: &ProtocolError,
    version: Option<ProtocolVersion>,
) -> Option<(ProtocolVersion, Packet)> {
    let version =
        if let ProtocolError::Decode(DecodeError::UnsupportedProtocolVersion { level }) = error {
            // A client of an older protocol can only read an answer in its own form.
            match level & 0x7F {
                0..=4 => ProtocolVersion::V311,
                _ => ProtocolVersion::V5,
            }
        } else {
            // 3.x clients are closed without an answer.
            version.filter(|version| *version == ProtocolVersion::V5)?
        };
    let reason = permitted(error.reason_code(), PacketType::ConnAck, Sender::Server);
    Some((version, Packet::ConnAck(ConnAck::new(false, reason))))
}
