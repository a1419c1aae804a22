//! Any bytes, decoded into packets that borrow, whose every part is then looked at.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqttstack_codec::{Borrowed, Packet, PacketRef, Properties, PropertyId};

fuzz_target!(|input: &[u8]| {
    let Some((decoder, bytes)) = mqttstack_fuzz::settings(input) else {
        return;
    };
    let mut rest = bytes;
    while let Ok(Some((packet, used))) = decoder.decode_ref(rest) {
        look_at(&packet);
        rest = &rest[used..];
    }
});

fn look_at(packet: &PacketRef<'_>) {
    match packet {
        Packet::Connect(connect) => {
            properties(&connect.properties);
            if let Some(will) = &connect.will {
                properties(&will.properties);
            }
        }
        Packet::Publish(publish) => properties(&publish.properties),
        Packet::Subscribe(subscribe) => {
            assert_eq!(subscribe.filters.iter().count(), subscribe.filters.len());
        }
        Packet::Unsubscribe(unsubscribe) => {
            assert_eq!(
                unsubscribe.filters.iter().count(),
                unsubscribe.filters.len()
            );
        }
        Packet::SubAck(suback) => {
            let codes = suback
                .reason_codes
                .iter()
                .map(|code| code.as_u8())
                .collect::<Vec<_>>();
            assert_eq!(codes, suback.reason_codes.as_bytes());
        }
        _ => {}
    }
    let _ = format!("{packet:?} {packet}");
}

fn properties(properties: &Properties<Borrowed<'_>>) {
    let ids = properties
        .iter()
        .map(|property| property.id())
        .collect::<Vec<_>>();
    for id in PropertyId::ALL {
        assert_eq!(properties.contains(id), ids.contains(&id));
    }
    let again = Properties::builder().properties(properties).build();
    assert_eq!(
        again.expect("they were legal").as_bytes(),
        properties.as_bytes()
    );
    let without = properties.without(&ids[..ids.len() / 2]);
    assert!(
        without
            .iter()
            .all(|property| !ids[..ids.len() / 2].contains(&property.id()))
    );
}
