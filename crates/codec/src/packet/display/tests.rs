use core::fmt::Write;

use crate::{Decoder, ProtocolVersion};

/// A line of text without an allocator.
struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.length.saturating_add(text.len());
        self.bytes
            .get_mut(self.length..end)
            .ok_or(core::fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

fn check(version: ProtocolVersion, wire: &[u8], expected: &str) {
    let decoder = Decoder::new().with_version(version);
    let (packet, _) = decoder.decode_ref(wire).expect("legal").expect("complete");
    let mut line = Line {
        bytes: [0; 512],
        length: 0,
    };
    write!(line, "{packet}").expect("fits");
    let text = core::str::from_utf8(&line.bytes[..line.length]).expect("text");
    assert_eq!(text, expected);
    assert!(!text.contains('\n'), "more than a line");
}

#[test]
fn packets_are_one_line_each() {
    let v5: [(&[u8], &str); 10] = [
        (
            b"\x10\x26\x00\x04MQTT\x05\xEE\x00\x1E\x00\x00\x02c1\x05\x18\0\0\0\x05\0\x03w/t\0\x03bye\0\x01u\0\x02\x01\x02",
            "CONNECT 5.0 client=\"c1\" clean keep-alive=30s user=\"u\" password=<2 bytes> \
             will=[\"w/t\" qos=1 retain 3 bytes {will delay interval: 5s}]",
        ),
        (
            b"\x20\x06\x01\x00\x03\x22\x00\x10",
            "CONNACK success (0x00) session-present {topic alias maximum: 16}",
        ),
        (b"\x3D\x07\x00\x01t\x00\x01\x00\x00", "PUBLISH \"t\" qos=2 id=1 dup retain 1 bytes"),
        (b"\x30\x0A\x00\x03a\nb\x03\x23\x00\x01x", "PUBLISH \"a\\nb\" qos=0 1 bytes {topic alias: 1}"),
        (
            b"\x40\x09\x00\x0A\x87\x05\x1F\x00\x02no",
            "PUBACK id=10 not authorized (0x87) {reason string: \"no\"}",
        ),
        (
            b"\x82\x13\x00\x01\x03\x0B\x80\x01\x00\x0A$share/g/a\x29",
            "SUBSCRIBE id=1 \"$share/g/a\" qos=1 retain-as-published no-retained \
             {subscription identifier: 128}",
        ),
        (
            b"\x90\x05\x00\x0A\x00\x00\x87",
            "SUBACK id=10 granted QoS 0 (0x00), not authorized (0x87)",
        ),
        (b"\xA2\x0D\x00\x0A\x00\x00\x03a/b\x00\x03c/d", "UNSUBSCRIBE id=10 \"a/b\", \"c/d\""),
        (b"\xC0\x00", "PINGREQ"),
        (
            b"\xE0\x07\x00\x05\x11\xFF\xFF\xFF\xFF",
            "DISCONNECT success (0x00) {session expiry interval: never}",
        ),
    ];
    for (wire, expected) in v5 {
        check(ProtocolVersion::V5, wire, expected);
    }
    check(ProtocolVersion::V311, b"\xB0\x02\x00\x0A", "UNSUBACK id=10");
}
