//! Any bytes to the server of a WebSocket, as an opening or as frames behind one; cuts are invisible.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqttstack_fuzz::streams::{Outcome, pair_with_cuts, read_to_end};
use mqttstack_transport::{WebSocketServer, WebSocketServerOptions};

const OPENING: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

fuzz_target!(|input: (bool, Vec<u16>, Vec<u8>)| {
    let (is_open, cuts, bytes) = input;
    let bytes = if is_open {
        [OPENING, &bytes].concat()
    } else {
        bytes
    };
    let whole = outcome(&bytes, &[]);
    assert!(whole.content.len() <= bytes.len());
    assert_eq!(outcome(&bytes, &cuts), whole);
});

fn outcome(bytes: &[u8], cuts: &[u16]) -> Outcome {
    let (mut peer, stream) = pair_with_cuts(cuts);
    let mut options = WebSocketServerOptions::default();
    options.frame_bytes_max = 2_048;
    let mut layer = WebSocketServer::new(options).accept(stream);
    read_to_end(&mut peer, bytes, &mut layer)
}
