//! Frames taken apart: what they carry, and which of them end the connection.

use proptest::prelude::*;

use super::*;

/// What a decoder made of its input.
#[derive(Debug, Eq, PartialEq)]
struct Decoded {
    content: Vec<u8>,
    ping: Option<Box<[u8]>>,
    end: Option<End>,
}

/// Decodes `wire` in pieces that end at `cuts`.
fn decode(role: Role, limit: u64, wire: &[u8], cuts: &[usize]) -> Decoded {
    let mut decoder = Decoder::new(role, limit);
    let mut content = Vec::new();
    let mut start = 0;
    for cut in cuts.iter().copied().chain([wire.len()]) {
        let end = cut.clamp(start, wire.len());
        let mut piece = wire[start..end].to_vec();
        let len = decoder.decode_in_place(&mut piece);
        content.extend_from_slice(&piece[..len]);
        start = end;
    }
    Decoded {
        content,
        ping: decoder.take_ping(),
        end: decoder.end().cloned(),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Decodes whole, then byte by byte, and expects the same of both.
fn check(role: Role, wire: &str, content: &str, end: Option<End>) {
    let wire = hex(wire);
    let every: Vec<usize> = (0..wire.len()).collect();
    for cuts in [&[][..], &every] {
        let decoded = decode(role, 1000, &wire, cuts);
        assert_eq!(decoded.content, hex(content), "{wire:02x?}");
        assert_eq!(decoded.end, end, "{wire:02x?}");
    }
}

fn failed(error: WebSocketError) -> Option<End> {
    Some(End::Failed(error))
}

// v5 MQTT-6.0.0-2, v3.1.1 MQTT-6.0.0-2
#[test]
fn frames_may_cut_packets_anywhere() {
    let frames = [
        ("82 02 C0 00", "C000"),                   // one packet, one frame
        ("82 04 C0 00 C0 00", "C000C000"),         // two packets in one frame
        ("82 01 C0 82 01 00", "C000"),             // half a packet in each
        ("02 01 C0 80 01 00", "C000"),             // a fragmented message
        ("02 01 C0 00 00 00 01 00 80 00", "C000"), // with empty fragments
        ("82 00 82 00 82 02 C0 00", "C000"),       // empty frames
        ("02 01 C0 89 00 80 01 00", "C000"),       // a ping between fragments
        ("02 01 C0 8A 02 FF FF 80 01 00", "C000"), // a pong that nobody asked for
    ];
    for (wire, content) in frames {
        check(Role::Client, wire, content, None);
    }
}

#[test]
fn a_server_unmasks_each_frame_with_its_own_mask() {
    // "Hello" of RFC 6455 section 5.7, then one byte under another mask.
    let wire = "82 85 37FA213D 7F9F4D5158 82 81 FF000000 DE";
    check(Role::Server, wire, "48656C6C6F 21", None);
}

// v5 MQTT-6.0.0-1, v3.1.1 MQTT-6.0.0-1
#[test]
fn a_text_frame_is_the_end_and_what_came_before_it_is_not_lost() {
    let end = failed(WebSocketError::TextReceived);
    check(Role::Client, "82 01 C0 81 01 41", "C0", end.clone());
    check(Role::Client, "01 01 41 80 01 41", "", end);
}

#[test]
fn breaches_of_the_rules_are_told_apart() {
    use WebSocketError as E;
    let too_long = |length| E::FrameTooLong {
        length,
        limit: 1000,
    };
    for (role, wire, error) in [
        (Role::Server, "82 01 41", E::MaskWrong),
        (Role::Server, "82 00", E::MaskWrong), // An empty frame needs a mask as well.
        (Role::Client, "82 81 00000000 41", E::MaskWrong),
        (Role::Client, "C2 01 41", E::ExtensionUnknown), // Compression, for one.
        (Role::Client, "A2 01 41", E::ExtensionUnknown),
        (Role::Client, "92 01 41", E::ExtensionUnknown),
        (Role::Client, "83 00", E::OpcodeUnknown { opcode: 3 }),
        (Role::Client, "8B 00", E::OpcodeUnknown { opcode: 11 }),
        (Role::Client, "80 01 41", E::FragmentMisplaced),
        (Role::Client, "02 00 82 00", E::FragmentMisplaced),
        (Role::Client, "09 00", E::ControlInvalid),
        (Role::Client, "89 7E 0080", E::ControlInvalid),
        (Role::Client, "82 7E 007D", E::LengthNotShortest),
        (Role::Client, "82 7F 000000000000FFFF", E::LengthNotShortest),
        (Role::Client, "82 7E 03E9", too_long(1001)),
        (Role::Client, "82 7F FFFFFFFFFFFFFFFF", too_long(u64::MAX)),
        (Role::Client, "88 01 03", E::CloseInvalid), // Half a code.
        (Role::Client, "88 02 03ED", E::CloseInvalid), // 1005 is never sent.
        (Role::Client, "88 02 0000", E::CloseInvalid),
        (Role::Client, "88 03 03E8 FF", E::CloseInvalid), // No UTF-8.
    ] {
        check(role, wire, "", failed(error));
    }
}

#[test]
fn a_close_frame_ends_and_what_follows_it_is_ignored() {
    for (wire, code) in [
        ("88 00 82 01 41", 1000),
        ("88 02 03E9 FFFF", 1001),
        ("88 05 0BB8 627965 00", 3000),
    ] {
        check(Role::Client, wire, "", Some(End::Closed { code }));
    }
}

#[test]
fn only_the_latest_ping_waits_for_an_answer() {
    let wire = hex("89 01 41 89 02 42 43 82 01 C0");
    let decoded = decode(Role::Client, 1000, &wire, &[]);
    assert_eq!(decoded.ping.as_deref(), Some(&b"BC"[..]));
    assert_eq!(decoded.content, [0xC0]);
}

#[test]
fn a_length_of_the_limit_is_taken() {
    let mut wire = hex("82 7E 03E8");
    wire.resize(4 + 1000, 7);
    let decoded = decode(Role::Client, 1000, &wire, &[3, 500]);
    assert_eq!((decoded.content, decoded.end), (vec![7; 1000], None));
}

proptest! {
    #[test]
    fn any_bytes_cut_anywhere_decode_alike(
        wire in proptest::collection::vec(
            prop_oneof![4 => any::<u8>(), 1 => Just(0x82), 1 => Just(0x02), 1 => Just(0x80)],
            0..300,
        ),
        mut cuts in proptest::collection::vec(0usize..300, 0..8),
        is_server: bool,
    ) {
        cuts.sort_unstable();
        let role = if is_server { Role::Server } else { Role::Client };
        let whole = decode(role, 100, &wire, &[]);
        prop_assert!(whole.content.len() <= wire.len());
        prop_assert_eq!(decode(role, 100, &wire, &cuts), whole);
    }

    #[test]
    fn frames_of_any_kind_carry_what_was_put_in(
        frames in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..400), any::<[u8; 4]>(), 0u8..4),
            0..12,
        ),
        mut cuts in proptest::collection::vec(0usize..4000, 0..8),
    ) {
        cuts.sort_unstable();
        let (mut wire, mut content, mut is_in_message) = (Vec::new(), Vec::new(), false);
        for (payload, key, kind) in frames {
            let (opcode, is_final, payload) = match kind {
                0 => (OpCode::Control(Control::Pong), true, &payload[..payload.len().min(125)]),
                kind => {
                    let data = if is_in_message { Data::Continue } else { Data::Binary };
                    is_in_message = kind == 1;
                    content.extend_from_slice(&payload);
                    (OpCode::Data(data), !is_in_message, &payload[..])
                }
            };
            let header = FrameHeader { is_final, opcode, mask: Some(key), ..FrameHeader::default() };
            header.format(payload.len() as u64, &mut wire).unwrap();
            let mut masked = payload.to_vec();
            Mask::new(key).apply(&mut masked);
            wire.extend_from_slice(&masked);
        }
        let decoded = decode(Role::Server, u64::MAX, &wire, &cuts);
        prop_assert_eq!((decoded.content, decoded.end), (content, None));
    }
}
