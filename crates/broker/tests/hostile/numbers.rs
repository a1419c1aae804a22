//! N: values at their extremes.

use std::{io::Write as _, net::Shutdown, time::Duration};

use mqttstack_broker::limits::Limits;

use super::stage::*;

#[test]
fn n1_extreme_values_in_packets() {
    let stage = Stage::new();
    // Keep Alive 65,535, Session Expiry and Will Delay for ever, Receive Maximum 1.
    let mut stream = stage.open();
    exchange(
        &mut stream,
        "10 22 00 04 4D 51 54 54 05 06 FF FF  08 11 FF FF FF FF 21 00 01  00 01 65 \
         05 18 FF FF FF FF  00 01 77  00 01 78",
        CONNACK_V5,
    );
    // A message that expires in 136 years, and one that has.
    exchange(
        &mut stream,
        "32 0B 00 01 61 00 01 05 02 FF FF FF FF  32 0B 00 01 61 00 02 05 02 00 00 00 00",
        "40 03 00 01 10  40 03 00 02 10",
    );
    drop(stream);
    stage.end(());
}

/// Every number the same.
fn limits_of(number: u32) -> Limits {
    let short = u16::try_from(number).unwrap_or(u16::MAX);
    let long = match number {
        u32::MAX => u64::MAX,
        number => number.into(),
    };
    Limits {
        connect_packet_size_max: number,
        packet_size_max: number,
        payload_size_max: number,
        user_properties_max: number,
        client_id_bytes_max: short,
        topic_levels_max: u8::try_from(number).unwrap_or(u8::MAX),
        keep_alive_min: short,
        keep_alive_max: short,
        session_expiry_max: number,
        receive_maximum: short,
        inflight_max: short,
        inflight_bytes_max: long,
        topic_alias_maximum: short,
        topic_aliases_used_max: short,
        queue_messages_max: number,
        queue_bytes_max: long,
        output_bytes_max: number,
        response_bytes_max: number,
        subscriptions_max: number,
        shared_subscriptions_max: number,
        filters_per_packet_max: number,
        connect_timeout: seconds(number),
        packet_timeout: seconds(number),
        decision_timeout: seconds(number),
        ..Limits::default()
    }
}

fn seconds(number: u32) -> Duration {
    match number {
        u32::MAX => Duration::MAX,
        number => Duration::from_secs(number.into()),
    }
}

#[test]
fn n1_limits_at_their_extremes() {
    for number in [0, 1, 2, u32::MAX] {
        // With CONNECT refused for its size, and with room for it.
        for connect_packet_size_max in [number, 1_000] {
            let limits = Limits {
                connect_packet_size_max,
                ..limits_of(number)
            };
            let mut stage = Stage::with(limits, 2);
            for connect in [CONNECT_V31, CONNECT_V311, CONNECT_V5, LASTING_V5] {
                let mut stream = stage.open();
                // SUBSCRIBE, PUBLISH at each QoS, PINGREQ; then nothing more comes. It may be closed
                // any time.
                let properties = if connect.contains("54 05") { "00" } else { "" };
                let rest = [
                    format!("00 01 {properties} 00 01 74 02"),
                    format!("00 01 74 {properties} 78"),
                    format!("00 01 74 00 02 {properties} 78"),
                    format!("00 01 74 00 03 {properties} 78"),
                ];
                let mut all = hex(connect);
                for (first, rest) in [0x82, 0x31, 0x33, 0x35].into_iter().zip(&rest) {
                    all.extend(packet(first, &[&hex(rest)]));
                }
                all.extend([0xC0, 0]);
                let _ = stream.write_all(&all);
                let _ = stream.shutdown(Shutdown::Write);
                read_to_end(&mut stream);
                stage.check_bystander();
            }
            stage.end(());
        }
    }
}
