//! A client session on tokio: `cargo run -p mqttstack-session --example tokio`.
//!
//! Without an address it talks to a server that it starts itself.

pub mod common;

use std::env;

use common::{Echo, Error, VERSION, connect, on_event, read_packets};
use mqttstack_session::{
    client::{self, Session},
    codec::{Decoder, Sender},
    limits::Instant,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime, time,
};

fn main() -> Result<(), Error> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let clock = Clock::start();
        if let Some(address) = env::args().nth(1) {
            return run(TcpStream::connect(address).await?, clock).await;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(serve(listener, clock));
        run(TcpStream::connect(address).await?, clock).await?;
        server.await?
    })
}

/// Moves bytes between the session and the socket until the connection is over.
async fn run(mut stream: TcpStream, clock: Clock) -> Result<(), Error> {
    let mut session = Session::new(client::Settings::default());
    let decoder = Decoder::new()
        .with_version(VERSION)
        .with_sender(Sender::Server);
    let (mut output, mut scratch, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    let mut goes_on = true;
    session.connect(connect(), clock.now());
    while goes_on {
        while let Some(event) = session.poll_event() {
            goes_on &= on_event(&mut session, event, clock.now())?;
        }
        output.clear();
        while let Some(packet) = session.poll_packet(clock.now()) {
            let payload = packet.encode(VERSION, &mut scratch, &mut output)?;
            output.extend_from_slice(payload.map_or(&[], |payload| payload));
        }
        if !output.is_empty() {
            stream.write_all(&output).await?;
            continue;
        }
        if !goes_on {
            break;
        }
        // Whichever comes first: bytes, or the moment when the session wants its time.
        let due = session.poll_timeout().unwrap_or(Instant::NEVER);
        let wait = due.saturating_duration_since(clock.now());
        match time::timeout(wait, stream.read_buf(&mut unread)).await {
            Ok(Ok(0)) => session.handle_closed(),
            Ok(Ok(_)) => read_packets(&mut unread, decoder, |packet| {
                Ok(session.handle_packet(packet, clock.now())?)
            })?,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => session.handle_timeout(clock.now())?,
        }
    }
    Ok(())
}

async fn serve(listener: TcpListener, clock: Clock) -> Result<(), Error> {
    let (mut stream, _) = listener.accept().await?;
    let mut echo = Echo::new(clock.now());
    let mut bytes = Vec::new();
    while !echo.is_over() {
        bytes.clear();
        if stream.read_buf(&mut bytes).await? == 0 {
            break;
        }
        let answer = echo.handle(&bytes, clock.now())?;
        stream.write_all(&answer).await?;
    }
    Ok(())
}

/// The runtime's clock, in the session's terms.
#[derive(Clone, Copy)]
struct Clock(time::Instant);

impl Clock {
    fn start() -> Self {
        Self(time::Instant::now())
    }

    fn now(self) -> Instant {
        Instant::EPOCH + self.0.elapsed()
    }
}
