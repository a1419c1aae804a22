//! What a message costs over WebSockets, beside bare TCP.

use std::time::Duration;

use cpu_time::ThreadTime;
use mqttstack_transport::{
    OutputQueue, Stream, WebSocketClient, WebSocketClientOptions, WebSocketServer,
    WebSocketServerOptions,
};

use crate::{ends, medians};

/// A PUBLISH of a short topic and 48 bytes or so.
const MESSAGE_BYTES: usize = 64;

pub(crate) fn run(scale: usize) {
    let messages = scale * 2_000;
    println!("WebSocket, messages of {MESSAGE_BYTES} bytes, {messages} a round");
    println!("| direction | messages a turn | TCP | WebSocket | ratio |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, is_upward) in [("client to server", true), ("server to client", false)] {
        for burst in [1, 10, 100, 1_000] {
            let mut tcp = Ends::tcp();
            let mut websocket = Ends::websocket();
            let [tcp, websocket] =
                medians([&mut || tcp.round(messages, burst, is_upward), &mut || {
                    websocket.round(messages, burst, is_upward)
                }]);
            println!(
                "| {name} | {burst} | {:.0} ns | {:.0} ns | {:.2} |",
                each(tcp, messages),
                each(websocket, messages),
                websocket.as_secs_f64() / tcp.as_secs_f64()
            );
        }
    }
    println!();
}

fn each(time: Duration, messages: usize) -> f64 {
    time.as_secs_f64() * 1e9 / messages as f64
}

struct Ends {
    near: Box<dyn Stream>,
    far: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Ends {
    fn tcp() -> Self {
        let (near, far) = ends::streams();
        Self::new(Box::new(near), Box::new(far))
    }

    fn websocket() -> Self {
        let (near, far) = ends::streams();
        let client = WebSocketClient::new(WebSocketClientOptions::new("localhost"));
        let near = client.expect("a request").connect(near);
        let far = WebSocketServer::new(WebSocketServerOptions::default()).accept(far);
        Self::new(Box::new(near), Box::new(far))
    }

    fn new(mut near: Box<dyn Stream>, mut far: Box<dyn Stream>) -> Self {
        ends::open(&mut *near, &mut *far);
        Self {
            near,
            far,
            buffer: vec![0; 64 * 1024],
        }
    }

    /// Sends `messages` messages, `burst` in each turn, and each turn when the last one has arrived.
    fn round(&mut self, messages: usize, burst: usize, is_upward: bool) -> Duration {
        let (from, to) = if is_upward {
            (&mut *self.near, &mut *self.far)
        } else {
            (&mut *self.far, &mut *self.near)
        };
        let message = [7; MESSAGE_BYTES];
        let mut output = OutputQueue::new();
        let start = ThreadTime::now();
        for _ in 0..messages / burst {
            for _ in 0..burst {
                output.push(&message);
            }
            ends::carry(
                &mut output,
                from,
                to,
                &mut self.buffer,
                burst * MESSAGE_BYTES,
            );
        }
        start.elapsed()
    }
}
