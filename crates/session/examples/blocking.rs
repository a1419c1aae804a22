//! A client session on a plain blocking socket, without a runtime:
//! `cargo run -p mqttstack-session --example blocking`.
//!
//! Without an address it talks to a server that it starts itself.

pub mod common;

use std::{
    env,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use common::{Echo, Error, VERSION, connect, on_event, read_packets};
use mqttstack_session::{
    client::{self, Session},
    codec::{Decoder, Sender},
    limits::Instant,
};

fn main() -> Result<(), Error> {
    let clock = Clock::start();
    if let Some(address) = env::args().nth(1) {
        return run(&mut TcpStream::connect(address)?, clock);
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || serve(&listener, clock));
    run(&mut TcpStream::connect(address)?, clock)?;
    server.join().map_err(|_| "the server panicked")?
}

/// Moves bytes between the session and the socket until the connection is over.
fn run(stream: &mut TcpStream, clock: Clock) -> Result<(), Error> {
    let mut session = Session::new(client::Settings::default());
    let decoder = Decoder::new()
        .with_version(VERSION)
        .with_sender(Sender::Server);
    let (mut output, mut scratch, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    session.connect(connect(), clock.now());
    loop {
        // First what has happened, which may give something to send.
        while let Some(event) = session.poll_event() {
            let goes_on = on_event(&mut session, event, clock.now())?;
            if !goes_on {
                write_out(&mut session, clock, &mut output, &mut scratch, stream)?;
                return Ok(());
            }
        }
        write_out(&mut session, clock, &mut output, &mut scratch, stream)?;
        if session.has_packet() {
            continue;
        }
        // Then wait for bytes, but no longer than the session can.
        let wait = session.poll_timeout().map(|at| at - clock.now());
        stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
        match stream.read(&mut buffer) {
            Ok(0) => session.handle_closed(),
            Ok(len) => {
                unread.extend_from_slice(buffer.get(..len).unwrap_or_default());
                read_packets(&mut unread, decoder, |packet| {
                    Ok(session.handle_packet(packet, clock.now())?)
                })?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                session.handle_timeout(clock.now())?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn write_out(
    session: &mut Session,
    clock: Clock,
    output: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    stream: &mut TcpStream,
) -> Result<(), Error> {
    output.clear();
    while let Some(packet) = session.poll_packet(clock.now()) {
        let payload = packet.encode(VERSION, scratch, output)?;
        output.extend_from_slice(payload.map_or(&[], |payload| payload));
    }
    Ok(stream.write_all(output)?)
}

fn serve(listener: &TcpListener, clock: Clock) -> Result<(), Error> {
    let (mut stream, _) = listener.accept()?;
    let mut echo = Echo::new(clock.now());
    let mut buffer = [0; 4096];
    while !echo.is_over() {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        let answer = echo.handle(buffer.get(..len).unwrap_or_default(), clock.now())?;
        stream.write_all(&answer)?;
    }
    Ok(())
}

/// The system's clock, in the session's terms.
#[derive(Clone, Copy)]
struct Clock(std::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "an example is a driver")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn now(self) -> Instant {
        Instant::EPOCH + self.0.elapsed()
    }
}
