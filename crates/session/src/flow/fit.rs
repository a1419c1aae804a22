//! What a packet may say to this peer: codes that its packet type knows, explanations that the peer
//! asked for, and no more bytes than it takes.

use mqttstack_codec::{
    Packet, PacketType, Properties, PropertyId, ProtocolVersion, ReasonCode, Sender,
};

/// How packets to a peer have to look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fit {
    pub(crate) version: ProtocolVersion,
    /// The side that sends.
    pub(crate) sender: Sender,
    /// The Maximum Packet Size of the peer.
    pub(crate) packet_size_max: u32,
    /// Whether packets other than PUBLISH, CONNACK and DISCONNECT may explain themselves.
    pub(crate) problem_information: bool,
}

impl Fit {
    /// Returns the packet without what the peer does not want to hear, or `None` if even then it is
    /// larger than the peer takes. Reason String yields first, then the User Properties.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.1.2-24, v5 MQTT-3.1.2-29, v5 MQTT-3.2.2-15.
    pub(crate) fn apply(self, mut packet: Packet) -> Option<Packet> {
        let packet_type = packet.packet_type();
        if let Some(properties) = explanations(&mut packet) {
            if !self.version.has_properties() {
                *properties = Properties::empty();
            } else if !self.problem_information && !always_explains(packet_type) {
                *properties =
                    properties.without(&[PropertyId::ReasonString, PropertyId::UserProperty]);
            }
        }
        for property in [PropertyId::ReasonString, PropertyId::UserProperty] {
            if self.takes(&packet) {
                return Some(packet);
            }
            if let Some(properties) = explanations(&mut packet) {
                *properties = properties.without(&[property]);
            }
        }
        self.takes(&packet).then_some(packet)
    }

    /// Returns whether the peer takes a packet of this size.
    pub(crate) fn takes(self, packet: &Packet) -> bool {
        if self.packet_size_max == u32::MAX {
            return true;
        }
        packet
            .encoded_len(self.version)
            .is_ok_and(|size| u32::try_from(size).is_ok_and(|size| size <= self.packet_size_max))
    }

    /// Returns `reason` if packets of this type may carry it, and else the code that comes nearest.
    pub(crate) const fn code(self, reason: ReasonCode, packet_type: PacketType) -> ReasonCode {
        permitted(reason, packet_type, self.sender)
    }
}

/// Returns `reason` if the sender may put it into packets of this type, and else the code that
/// comes nearest.
pub(crate) const fn permitted(
    reason: ReasonCode,
    packet_type: PacketType,
    sender: Sender,
) -> ReasonCode {
    if matches!(reason, ReasonCode::Success) || reason.is_allowed(packet_type, sender) {
        return reason;
    }
    match (packet_type, reason) {
        (PacketType::ConnAck, ReasonCode::ServerShuttingDown) => ReasonCode::ServerUnavailable,
        (PacketType::ConnAck, ReasonCode::AdministrativeAction) => ReasonCode::NotAuthorized,
        (PacketType::PubAck | PacketType::PubRec, ReasonCode::PacketTooLarge) => {
            ReasonCode::QuotaExceeded
        }
        _ if reason.is_error() => ReasonCode::UnspecifiedError,
        _ => ReasonCode::Success,
    }
}

/// v5 MQTT-3.1.2-29: these may carry Reason String and User Properties whatever the client wants.
const fn always_explains(packet_type: PacketType) -> bool {
    matches!(
        packet_type,
        PacketType::ConnAck | PacketType::Publish | PacketType::Disconnect
    )
}

/// Returns the properties of a packet that answers or ends something.
fn explanations(packet: &mut Packet) -> Option<&mut Properties> {
    match packet {
        Packet::ConnAck(connack) => Some(&mut connack.properties),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            Some(&mut ack.properties)
        }
        Packet::SubAck(suback) => Some(&mut suback.properties),
        Packet::UnsubAck(unsuback) => Some(&mut unsuback.properties),
        Packet::Disconnect(disconnect) => Some(&mut disconnect.properties),
        Packet::Auth(auth) => Some(&mut auth.properties),
        Packet::Connect(_)
        | Packet::Publish(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingReq
        | Packet::PingResp => None,
    }
}

#[cfg(test)]
mod tests {
    use mqttstack_codec::{
        Ack, Auth, ConnAck, Disconnect, PacketId, ReasonCodes, SubAck, UnsubAck,
    };

    use super::*;

    const METHOD: &str = "M";

    fn explained(packet_type: PacketType) -> Packet {
        let mut properties = Properties::builder();
        if packet_type == PacketType::Auth {
            properties = properties.authentication_method(METHOD);
        }
        let properties = properties
            .reason_string("because")
            .user_property("k", "v")
            .build()
            .expect("valid");
        let packet_id = PacketId::MIN;
        let reason_code = ReasonCode::Success;
        let ack = Ack {
            packet_id,
            reason_code,
            properties: properties.clone(),
        };
        let reason_codes = ReasonCodes::new([ReasonCode::Success]);
        match packet_type {
            PacketType::ConnAck => Packet::ConnAck(ConnAck {
                session_present: false,
                reason_code,
                properties,
            }),
            PacketType::PubAck => Packet::PubAck(ack),
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubRel => Packet::PubRel(ack),
            PacketType::PubComp => Packet::PubComp(ack),
            PacketType::SubAck => Packet::SubAck(SubAck {
                packet_id,
                properties,
                reason_codes,
            }),
            PacketType::UnsubAck => Packet::UnsubAck(UnsubAck {
                packet_id,
                properties,
                reason_codes,
            }),
            PacketType::Disconnect => Packet::Disconnect(Disconnect {
                reason_code,
                properties,
            }),
            PacketType::Auth => Packet::Auth(Auth {
                reason_code: ReasonCode::ContinueAuthentication,
                properties,
            }),
            PacketType::Connect
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq
            | PacketType::PingResp => unreachable!("{packet_type} explains nothing"),
        }
    }

    const EXPLAINED: [PacketType; 9] = [
        PacketType::ConnAck,
        PacketType::PubAck,
        PacketType::PubRec,
        PacketType::PubRel,
        PacketType::PubComp,
        PacketType::SubAck,
        PacketType::UnsubAck,
        PacketType::Disconnect,
        PacketType::Auth,
    ];

    fn fit(packet_size_max: u32, problem_information: bool) -> Fit {
        Fit {
            version: ProtocolVersion::V5,
            sender: Sender::Server,
            packet_size_max,
            problem_information,
        }
    }

    /// Returns the size of the packet, and which of Reason String and User Property it has.
    fn look(packet: &mut Packet) -> (u32, bool, bool) {
        let size = packet.encoded_len(ProtocolVersion::V5).expect("valid");
        let properties = explanations(packet).expect("has some");
        (
            u32::try_from(size).expect("small"),
            properties.contains(PropertyId::ReasonString),
            properties.contains(PropertyId::UserProperty),
        )
    }

    #[test]
    fn explanations_yield_one_after_the_other_to_the_maximum_packet_size() {
        // v5 MQTT-3.1.2-24: a packet of exactly the maximum may be sent.
        // Reason String: v5 MQTT-3.2.2-19, v5 MQTT-3.4.2-2, v5 MQTT-3.5.2-2, v5 MQTT-3.6.2-2,
        // v5 MQTT-3.7.2-2, v5 MQTT-3.9.2-1, v5 MQTT-3.11.2-1, v5 MQTT-3.14.2-3, v5 MQTT-3.15.2-2.
        // User Property: v5 MQTT-3.2.2-20, v5 MQTT-3.4.2-3, v5 MQTT-3.5.2-3, v5 MQTT-3.6.2-3,
        // v5 MQTT-3.7.2-3, v5 MQTT-3.9.2-2, v5 MQTT-3.11.2-2, v5 MQTT-3.14.2-4, v5 MQTT-3.15.2-3.
        for packet_type in EXPLAINED {
            let mut whole = explained(packet_type);
            let (size, ..) = look(&mut whole);
            let at = |room: u32| fit(room, true).apply(explained(packet_type));

            assert_eq!(at(size), Some(whole), "{packet_type}");
            let mut without_reason = at(size - 1).expect("fits without a reason");
            let (next, reason, user) = look(&mut without_reason);
            assert_eq!((reason, user), (false, true), "{packet_type}");
            let mut bare = at(next - 1).expect("fits bare");
            let (least, reason, user) = look(&mut bare);
            assert_eq!((reason, user), (false, false), "{packet_type}");
            assert_eq!(at(least - 1), None, "{packet_type}");
        }
    }

    #[test]
    fn without_problem_information_only_connack_and_disconnect_explain_themselves() {
        // v5 MQTT-3.1.2-29
        for packet_type in EXPLAINED {
            let mut packet = fit(u32::MAX, false)
                .apply(explained(packet_type))
                .expect("fits");
            let (_, reason, user) = look(&mut packet);
            let allowed = matches!(packet_type, PacketType::ConnAck | PacketType::Disconnect);
            assert_eq!((reason, user), (allowed, allowed), "{packet_type}");
            let method = explanations(&mut packet).and_then(|p| p.authentication_method());
            assert_eq!(method.is_some(), packet_type == PacketType::Auth);
        }
    }

    #[test]
    fn versions_3_know_no_explanations() {
        let fit = Fit {
            version: ProtocolVersion::V311,
            ..fit(u32::MAX, true)
        };
        let mut packet = fit.apply(explained(PacketType::PubAck)).expect("fits");
        assert!(explanations(&mut packet).is_some_and(|properties| properties.is_empty()));
    }

    #[test]
    fn codes_that_a_packet_does_not_know_become_the_nearest_that_it_does() {
        use ReasonCode as Code;
        let server = Sender::Server;
        for (given, packet_type, sender, sent) in [
            (
                Code::ServerShuttingDown,
                PacketType::ConnAck,
                server,
                Code::ServerUnavailable,
            ),
            (
                Code::AdministrativeAction,
                PacketType::ConnAck,
                server,
                Code::NotAuthorized,
            ),
            (
                Code::SessionTakenOver,
                PacketType::ConnAck,
                server,
                Code::UnspecifiedError,
            ),
            (Code::Banned, PacketType::ConnAck, server, Code::Banned),
            (
                Code::PacketTooLarge,
                PacketType::PubRec,
                server,
                Code::QuotaExceeded,
            ),
            (
                Code::NoMatchingSubscribers,
                PacketType::PubAck,
                server,
                Code::NoMatchingSubscribers,
            ),
            (
                Code::NoMatchingSubscribers,
                PacketType::PubAck,
                Sender::Client,
                Code::Success,
            ),
            (
                Code::KeepAliveTimeout,
                PacketType::Disconnect,
                server,
                Code::KeepAliveTimeout,
            ),
            (
                Code::KeepAliveTimeout,
                PacketType::Disconnect,
                Sender::Client,
                Code::UnspecifiedError,
            ),
            (
                Code::Banned,
                PacketType::SubAck,
                server,
                Code::UnspecifiedError,
            ),
        ] {
            assert_eq!(
                permitted(given, packet_type, sender),
                sent,
                "{given} in {packet_type}"
            );
        }
    }
}
