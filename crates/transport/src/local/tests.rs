//! One thread at the blocking end, one at the other with a poller.

use std::{
    io::{ErrorKind, Read, Write},
    thread,
};

use super::*;
use crate::{Events, Token, TokenMap};

/// How long a test waits for what has to come.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

struct Loop {
    poller: Poller,
    listener: LocalListener,
    tokens: TokenMap<()>,
    events: Events,
}

impl Loop {
    fn new() -> (Self, LocalDialer) {
        let poller = Poller::new().unwrap();
        let (mut listener, dialer) = LocalListener::new(&poller);
        let mut tokens = TokenMap::new(16);
        let token = tokens.insert(()).unwrap();
        poller.register_readable(token, &mut listener).unwrap();
        let events = Events::new();
        let this = Self {
            poller,
            listener,
            tokens,
            events,
        };
        (this, dialer)
    }

    fn wait(&mut self) -> Vec<Token> {
        self.poller.wait(&mut self.events, PATIENCE).unwrap();
        self.events.iter().map(|event| event.token).collect()
    }

    fn accept(&mut self) -> (Token, Box<dyn Stream>) {
        loop {
            if let Some(mut stream) = self.listener.accept().unwrap() {
                let token = self.tokens.insert(()).unwrap();
                self.poller.register(token, stream.source()).unwrap();
                return (token, stream);
            }
            self.wait();
        }
    }
}

fn would_block<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    result.unwrap_err().kind() == ErrorKind::WouldBlock
}

#[test]
fn bytes_go_both_ways_and_wake_whoever_waits() {
    let (mut server_loop, dialer) = Loop::new();
    let client = thread::spawn(move || {
        let mut stream = dialer.dial().unwrap();
        let mut buffer = [0; 8];
        for round in 0..200_u32 {
            stream.write_all(&round.to_be_bytes()).unwrap();
            stream.read_exact(&mut buffer).unwrap();
            assert_eq!(u64::from_be_bytes(buffer), u64::from(round) * 2);
        }
    });
    let (token, mut server) = server_loop.accept();
    let mut input: Vec<u8> = Vec::new();
    loop {
        let mut buffer = [0; 3];
        match server.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => input.extend(&buffer[..count]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                while !server_loop.wait().contains(&token) {}
            }
        }
        if let Ok(number) = <[u8; 4]>::try_from(&input[..]) {
            input.clear();
            let answer = u64::from(u32::from_be_bytes(number)) * 2;
            assert_eq!(server.write(&answer.to_be_bytes()).unwrap(), 8);
        }
    }
    client.join().unwrap();
}

#[test]
fn a_full_pipe_takes_no_more_until_somebody_reads() {
    let (mut server_loop, dialer) = Loop::new();
    let mut client = dialer.dial().unwrap();
    client.set_write_timeout(Some(Duration::ZERO));
    let (token, mut server) = server_loop.accept();
    let block = vec![7; CAPACITY_BYTES + 1];
    assert_eq!(client.write(&block).unwrap(), CAPACITY_BYTES);
    assert!(would_block(client.write(&block)));
    let mut buffer = vec![0; 10];
    assert_eq!(server.read(&mut buffer).unwrap(), 10);
    assert_eq!(client.write(&block).unwrap(), 10);

    assert_eq!(server.write(&block).unwrap(), CAPACITY_BYTES);
    assert!(would_block(server.write(&block)));
    // Events that are older than the want of room.
    server_loop
        .poller
        .wait(&mut server_loop.events, Some(Duration::ZERO))
        .unwrap();
    client.read_exact(&mut buffer).unwrap();
    while !server_loop.wait().contains(&token) {}
    assert_eq!(server.write(&block).unwrap(), 10);
}

#[test]
fn each_end_learns_of_the_end_of_the_other() {
    let (mut server_loop, dialer) = Loop::new();
    let mut client = dialer.dial().unwrap();
    let (_, mut server) = server_loop.accept();
    client.write_all(b"last").unwrap();
    client.shutdown();
    let mut buffer = [0; 8];
    assert_eq!(server.read(&mut buffer).unwrap(), 4);
    assert_eq!(server.read(&mut buffer).unwrap(), 0);
    assert_eq!(server.write(b"words").unwrap(), 5);
    server.shutdown().unwrap();
    assert_eq!(client.read(&mut buffer).unwrap(), 5);
    assert_eq!(client.read(&mut buffer).unwrap(), 0);
    drop(client);
    assert_eq!(
        server.write(b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );

    let mut client = dialer.dial().unwrap();
    let (_, server) = server_loop.accept();
    let waiting = thread::spawn(move || (client.read(&mut [0; 8]), client.write(b"x")));
    drop(server);
    let (read, written) = waiting.join().unwrap();
    assert_eq!(read.unwrap(), 0);
    assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn nobody_is_reached_once_the_listener_is_gone_or_too_many_wait() {
    let (server_loop, dialer) = Loop::new();
    let mut first = dialer.dial().unwrap();
    let others: Vec<_> = (1..BACKLOG_MAX).map(|_| dialer.dial().unwrap()).collect();
    let refused = |result: io::Result<LocalStream>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    };
    refused(dialer.dial());
    drop(others);
    drop(server_loop);
    refused(dialer.dial());
    assert_eq!(first.read(&mut [0; 8]).unwrap(), 0);
}
