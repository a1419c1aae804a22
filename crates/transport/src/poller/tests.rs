//! Events reach whom they are for, once.

use std::thread;

use super::*;
use crate::{
    Stream as _, TokenMap, memory,
    test_loop::{Loop, connected},
};

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    let mut poller = Poller::new().unwrap();
    let mut events = Events::new();
    let waker = poller.waker();
    let thread = thread::spawn(move || waker.wake().unwrap());
    poller.wait(&mut events, None).unwrap();
    thread.join().unwrap();
    assert!(events.is_woken());
    assert_eq!(events.iter().count(), 0, "the waker is not a source");
}

#[test]
fn wakes_before_the_wait_count_as_one() {
    let mut poller = Poller::new().unwrap();
    let mut events = Events::with_capacity(0);
    for _ in 0..3 {
        poller.waker().wake().unwrap();
    }
    poller.wait(&mut events, None).unwrap();
    assert!(events.is_woken());
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(!events.is_woken());
}

#[test]
fn an_event_tells_of_a_change_and_does_not_remind() {
    let mut turns = Loop::new();
    let (mut client, mut server) = connected(&mut turns);
    while !turns.turn(Duration::ZERO).is_empty() {}
    client.write(b"ab").unwrap();
    let events = turns.turn(Duration::from_secs(60));
    assert!(
        matches!(
            &*events,
            [Event {
                is_readable: true,
                ..
            }]
        ),
        "{events:?}"
    );
    server.read(&mut [0; 1]).unwrap();
    assert_eq!(
        turns.turn(Duration::ZERO),
        [],
        "one byte is left, and nothing says so"
    );
}

#[test]
fn an_event_on_its_way_to_a_removed_connection_reaches_nobody() {
    let mut turns = Loop::new();
    let (mut client, mut server) = connected(&mut turns);
    let mut poller = Poller::new().unwrap();
    let mut events = Events::new();
    let mut connections = TokenMap::new(8);
    let token = connections.insert("old").unwrap();
    turns.forget(server.source());
    poller.register(token, server.source()).unwrap();
    client.write(b"x").unwrap();
    poller.wait(&mut events, None).unwrap();
    connections.remove(token);
    let next = connections.insert("new").unwrap();
    for event in events.iter() {
        assert_eq!(event.token, token);
        assert_eq!(connections.get(event.token), None);
    }
    assert_eq!(connections.get(next), Some(&"new"));
}

#[test]
fn a_source_that_is_no_longer_watched_stays_silent() {
    let mut turns = Loop::new();
    let (mut client, mut server) = connected(&mut turns);
    turns.forget(server.source());
    while !turns.turn(Duration::ZERO).is_empty() {}
    client.write(b"x").unwrap();
    assert_eq!(turns.turn(Duration::from_millis(10)), []);
}

#[test]
fn memory_cannot_be_watched() {
    let (mut near, _far) = memory::pair();
    let poller = Poller::new().unwrap();
    let token = TokenMap::new(1).insert(()).unwrap();
    let error = poller.register(token, near.source()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}
