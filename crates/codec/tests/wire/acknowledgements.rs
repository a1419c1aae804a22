//! The acknowledgements of PUBLISH, DISCONNECT and AUTH: their short forms and what they carry.

use mqttstack_codec::{DecodeError, Packet, PropertyId, PropertyScope, ReasonCode, Sender};

use super::hex::{check_canonical, check_exact, check_refused, v5};

#[test]
pub(crate) fn acks_may_leave_out_what_says_nothing() {
    // v5 MQTT-2.2.2-1, v5 MQTT-3.4.2-1, v5 MQTT-3.5.2-1, v5 MQTT-3.6.2-1, v5 MQTT-3.7.2-1
    for first_byte in ["40", "50", "62", "70"] {
        let short = format!("{first_byte} | 000A");
        check_exact(v5(), &short);
        check_canonical(v5(), &format!("{first_byte} | 000A 00"), &short);
        check_canonical(v5(), &format!("{first_byte} | 000A 00 00"), &short);
        check_exact(
            v5(),
            &format!("{first_byte} | 000A 00 07 26 0001 6B 0001 76"),
        );
    }
    for first_byte in ["40", "50"] {
        let short = format!("{first_byte} | 000A 87");
        check_exact(v5(), &short);
        check_canonical(v5(), &format!("{first_byte} | 000A 87 00"), &short);
    }
    for first_byte in ["62", "70"] {
        check_canonical(
            v5(),
            &format!("{first_byte} | 000A 92 00"),
            &format!("{first_byte} | 000A 92"),
        );
    }
}

#[test]
pub(crate) fn acks_need_an_identifier() {
    for first_byte in ["40", "50", "62", "70"] {
        for (body, available) in [("", 0), ("0A", 1)] {
            check_refused(
                v5(),
                &format!("{first_byte} | {body}"),
                DecodeError::FieldTruncated {
                    needed: 2,
                    available,
                },
            );
        }
    }
}

#[test]
pub(crate) fn disconnect_may_leave_out_what_says_nothing() {
    // v5 MQTT-3.14.2-1
    check_exact(v5(), "E0 00");
    check_canonical(v5(), "E0 01 00", "E0 00");
    check_canonical(v5(), "E0 02 00 00", "E0 00");
    check_exact(v5(), "E0 | 8E");
    check_exact(v5(), "E0 | 8E 05 1F 0002 6F6B");
}

#[test]
pub(crate) fn disconnect_has_properties_of_one_side() {
    // v5 MQTT-3.14.2-2; v5 §3.14.2.2.5
    let expiry = "E0 | 00 05 11 00000000";
    let reference = "E0 | 9D 04 1C 0001 73";
    let other_side = |property| DecodeError::PropertyOfOtherSide {
        property,
        scope: PropertyScope::Disconnect,
    };
    check_exact(v5().with_sender(Sender::Client), expiry);
    check_exact(v5().with_sender(Sender::Server), reference);
    check_refused(
        v5().with_sender(Sender::Server),
        expiry,
        other_side(PropertyId::SessionExpiryInterval),
    );
    check_refused(
        v5().with_sender(Sender::Client),
        "E0 | 00 04 1C 0001 73",
        other_side(PropertyId::ServerReference),
    );
}

#[test]
pub(crate) fn auth_needs_a_method_but_in_its_shortest_form() {
    // v5 U-27, v5 MQTT-3.15.2-1
    let Packet::Auth(auth) = check_exact(v5(), "F0 00") else {
        panic!("not an AUTH")
    };
    assert_eq!(auth.reason_code, ReasonCode::Success);
    for text in [
        "F0 | 18",
        "F0 | 00",
        "F0 | 18 00",
        "F0 | 19 00",
        "F0 | 18 04 16 0001 58",
    ] {
        check_refused(v5(), text, DecodeError::AuthWithoutMethod);
    }
    assert_eq!(DecodeError::AuthWithoutMethod.reason_code().as_u8(), 0x82);
    // A client cannot say Success, not even by leaving it out.
    assert!(
        v5().with_sender(Sender::Client)
            .decode_ref(&[0xF0, 0])
            .is_err()
    );
}
