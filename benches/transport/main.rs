//! What the layers of `mqttstack-transport` cost: TLS beside what rustls moves in a loop of its own, and
//! WebSockets beside bare TCP, for each message.
//!
//! Both ends of a connection are on this thread, over real loopback sockets, and the time is that
//! which the thread ran. What is compared takes turns, and the table shows the median of the rounds
//! and the ratio of the medians.

mod ends;
mod tls;
mod websocket;

use std::time::Duration;

/// How often each measurement is made.
const ROUNDS: usize = 7;

fn main() {
    // Whatever cargo passes to a bench is of no use here; `--test` asks for a short run.
    let is_short = std::env::args().any(|argument| argument == "--test");
    let scale = if is_short { 1 } else { 50 };
    tls::run(scale);
    websocket::run(scale);
}

/// Measures each of `subjects` in turn, and returns the median of its rounds.
fn medians<const N: usize>(mut subjects: [&mut dyn FnMut() -> Duration; N]) -> [Duration; N] {
    let mut rounds: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (subject, measured) in subjects.iter_mut().zip(&mut rounds) {
            measured.push(subject());
        }
    }
    rounds.map(|mut measured| {
        measured.sort();
        measured.get(ROUNDS / 2).copied().unwrap_or_default()
    })
}
