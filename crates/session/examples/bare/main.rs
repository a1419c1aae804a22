//! A client session without standard library and operating system:
//! `cargo run -p mqttstack-session --example bare`.
//!
//! The loop is `driver.rs`, which also builds for a microcontroller (`cargo xtask test --only bare`).
//! Here its line is a few queues in memory, with the server at the other end, and time is counted.

extern crate alloc;

#[path = "../common/mod.rs"]
pub mod common;
pub mod driver;

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use common::{Echo, Error, connect, on_event};
use driver::{Driver, Line};
use mqttstack_session::limits::Instant;

/// How many bytes the line takes or gives at once: as little as a UART with a small buffer.
const CHUNK: usize = 16;

/// A line with a server at its other end.
struct Wire {
    echo: Echo,
    now: Instant,
    arriving: VecDeque<u8>,
}

impl Line for Wire {
    type Error = Infallible;

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let count = buffer.len().min(CHUNK).min(self.arriving.len());
        for (to, byte) in buffer.iter_mut().zip(self.arriving.drain(..count)) {
            *to = byte;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let sent = bytes.get(..CHUNK.min(bytes.len())).unwrap_or_default();
        match self.echo.handle(sent, self.now) {
            Ok(answer) => self.arriving.extend(answer),
            Err(error) => println!("the server gives up: {error}"),
        }
        Ok(sent.len())
    }
}

fn main() -> Result<(), Error> {
    let mut now = Instant::EPOCH;
    let wire = Wire {
        echo: Echo::new(now),
        now,
        arriving: VecDeque::new(),
    };
    let mut driver = Driver::new(wire, connect(), now);
    let mut goes_on = true;
    while goes_on {
        // A timer of the hardware.
        now = now + Duration::from_millis(1);
        let due = driver.step(now)?;
        while let Some(event) = driver.session().poll_event() {
            goes_on &= on_event(driver.session(), event, now)?;
        }
        if due == Instant::NEVER && goes_on && now > Instant::from_micros(60_000_000) {
            return Err("nothing has happened for a minute".into());
        }
    }
    // DISCONNECT goes out.
    while !driver.line().echo.is_over() {
        driver.step(now)?;
    }
    Ok(())
}
