//! Authentication in steps, before CONNACK and after.

use super::*;

#[test]
fn authentication_goes_step_by_step_before_connack() {
    // v5 MQTT-4.12.0-2, v5 MQTT-4.12.0-3, v5 MQTT-4.12.0-5
    check(
        quiet(),
        "> CONNECT id=c method=M data=1
         * connect
         ! authenticate 00 data=2
         < AUTH 18 method=M data=2
         > AUTH 18 method=M data=3
         * auth 18
         ! accept data=4
         < CONNACK method=M data=4",
    );
    // v5 MQTT-4.12.0-4
    check(
        quiet(),
        "> CONNECT id=c method=M
         * connect
         ! authenticate method=M
         < AUTH 18 method=M
         ! refuse 8C
         < CONNACK 8C
         * ended Refused(BadAuthenticationMethod)
         > AUTH 18 method=M",
    );
    // The client gives up.
    check(
        quiet(),
        "> CONNECT id=c method=M will=w
         * connect
         > DISCONNECT
         * ended ClientDisconnected(Success)",
    );
    check(
        quiet(),
        "> CONNECT id=c method=M
         * connect
         ! authenticate
         < AUTH 18 method=M
         @ 10
         < CONNACK 80
         * ended ConnectTimeout",
    );
}

#[test]
fn authentication_out_of_order_ends_the_connection() {
    // v5 MQTT-4.12.0-7, v5 U-27, v5 MQTT-3.1.2-30
    for (connect, packet, error) in [
        ("method=M", "AUTH 18 method=M", "AuthenticationOutOfOrder"),
        ("method=M", "AUTH 19 method=M", "AuthenticationOutOfOrder"),
        (
            "method=M",
            "AUTH 18 method=N",
            "AuthenticationMethodChanged",
        ),
        ("method=M", "PUBLISH a=x", "UnexpectedPacket"),
        ("method=M", "CONNECT id=c", "UnexpectedPacket"),
        ("", "AUTH 18 method=M", "UnexpectedPacket"),
    ] {
        check(
            quiet(),
            &format!(
                "> CONNECT id=c {connect}
                 * connect
                 > {packet}
                 < CONNACK 82
                 * ended {error}"
            ),
        );
    }
    for (connect, packet, error) in [
        ("method=M", "AUTH 18 method=M", "AuthenticationOutOfOrder"),
        (
            "method=M",
            "AUTH 19 method=N",
            "AuthenticationMethodChanged",
        ),
        ("", "AUTH 19 method=M", "UnexpectedPacket"),
        ("v311 clean", "AUTH 19 method=M", "UnexpectedPacket"),
    ] {
        let farewell = if connect.starts_with("v311") {
            ""
        } else {
            "< DISCONNECT 82"
        };
        check_connected(
            quiet(),
            &format!("id=c {connect}"),
            &format!("> {packet}\n{farewell}\n* ended {error}"),
        );
    }
}

#[test]
fn a_client_may_authenticate_again() {
    // v5 MQTT-4.12.1-1, v5 MQTT-4.12.1-2, v5 MQTT-4.12.0-5
    check_connected(
        quiet(),
        "id=c method=M",
        "! authenticate data=unasked
         > AUTH 19 method=M data=1
         * auth 19
         > PINGREQ
         < PINGRESP
         ! authenticate 18 data=2
         < AUTH 18 method=M data=2
         ! authenticate 18 data=twice
         > AUTH 18 method=M data=3
         * auth 18
         ! authenticate 00 reason
         < AUTH 00 method=M reason
         > AUTH 19 method=M
         * auth 19
         ! disconnect 87
         < DISCONNECT 87
         * ended ServerDisconnected(NotAuthorized)",
    );
    // v5 MQTT-4.12.0-6: without a method there is nothing to send.
    check_connected(quiet(), "id=c", "! authenticate data=1");
    // v5 MQTT-3.15.2-2, v5 MQTT-3.15.2-3, v5 MQTT-3.1.2-29
    check_connected(
        quiet(),
        "id=c method=M noproblem",
        "> AUTH 19 method=M
         * auth 19
         ! authenticate 00 reason user
         < AUTH 00 method=M",
    );
}
