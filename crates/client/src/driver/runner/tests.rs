//! What may happen between the last turn of the driver and its sleep.

use core::time::Duration;
use std::{
    format,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
    vec::Vec,
};

use super::Driver;
use crate::driver::{Client, Inbox, InboxLimits};

const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];
const PUBLISH: [u8; 7] = [0x30, 5, 0, 1, b't', 0, b'x'];

/// Returns a client that is connected to a server which does as `script` says.
fn connected<T: Send + 'static>(
    inbox: InboxLimits,
    script: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Client, Inbox, Driver, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&CONNACK).unwrap();
        script(stream)
    });
    let builder = Client::builder(&url).client_id("me").inbox(inbox);
    let (client, inbox, mut driver) = builder.build().unwrap();
    while !client.is_connected() {
        let _ = driver.step(Some(Duration::from_millis(50)));
    }
    (client, inbox, driver, server)
}

#[test]
fn a_client_that_nobody_holds_any_more_does_not_sleep() {
    let (client, inbox, mut driver, server) = connected(InboxLimits::default(), |mut stream| {
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    });
    driver.turn();
    drop((client, inbox)); // Nobody is asleep yet, so nobody is woken.
    driver.shared.fall_asleep();
    assert_eq!(driver.time_to_wait(None), Some(Duration::ZERO));
    driver.shared.awake();
    driver.run();
    assert!(server.join().unwrap().ends_with(&[0xe0, 0]), "DISCONNECT");
}

#[test]
fn a_driver_that_sleeps_over_a_full_inbox_is_woken_when_there_is_room() {
    let limits = InboxLimits {
        messages_max: 1,
        ..InboxLimits::default()
    };
    let (client, inbox, mut driver, server) = connected(limits, |mut stream| {
        stream.write_all(&PUBLISH).unwrap();
        stream
    });
    // The turn that fills the inbox is the last before the sleep.
    while driver.shared.lock().inbox.is_empty() {
        if let Some(link) = &mut driver.parts.link {
            link.may_read = true;
        }
        driver.turn();
    }
    driver.shared.fall_asleep();
    assert_ne!(driver.time_to_wait(None), Some(Duration::ZERO));
    // On another thread: the one that drives is not to wait for itself.
    let application = thread::spawn(move || {
        let payload = inbox.receive().map(|received| received.payload().to_vec());
        (payload, inbox) // To drop the inbox would wake the driver.
    });
    let (payload, inbox) = application.join().unwrap();
    assert_eq!(payload.as_deref(), Some(&b"x"[..]));
    assert!(!driver.shared.is_asleep());
    drop((client, inbox, driver, server));
}
