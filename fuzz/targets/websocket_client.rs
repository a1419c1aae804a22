//! Any bytes to the client of a WebSocket, as an answer or as frames behind one; cuts are invisible.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqttstack_fuzz::streams::{Outcome, pair_with_cuts, read_to_end};
use mqttstack_transport::{Stream as _, WebSocketClient, WebSocketClientOptions};
use tungstenite::handshake::derive_accept_key;

fuzz_target!(|input: (bool, Vec<u16>, Vec<u8>)| {
    let (is_open, cuts, bytes) = input;
    let whole = outcome(is_open, &bytes, &[]);
    assert!(whole.content.len() <= bytes.len());
    assert_eq!(outcome(is_open, &bytes, &cuts), whole);
});

fn outcome(is_open: bool, bytes: &[u8], cuts: &[u16]) -> Outcome {
    let (mut peer, stream) = pair_with_cuts(cuts);
    let mut options = WebSocketClientOptions::new("a");
    options.frame_bytes_max = 2_048;
    let client = WebSocketClient::new(options).expect("a request");
    let mut layer = client.connect(stream);
    let mut answer = Vec::new();
    if is_open {
        let _ = layer.handshake().expect("a request on its way");
        let mut request = [0; 1_024];
        let len = peer.read(&mut request).expect("a request");
        let request = String::from_utf8_lossy(&request[..len]).into_owned();
        let key = request
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("sec-websocket-key")
                    .then_some(value)
            })
            .expect("a key");
        let accept = derive_accept_key(key.as_bytes());
        answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        .into_bytes();
    }
    answer.extend_from_slice(bytes);
    read_to_end(&mut peer, &answer, &mut layer)
}
