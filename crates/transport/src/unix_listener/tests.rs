//! Unix domain sockets in a directory of their own.

use std::{
    io::IoSlice,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::test_loop::Loop;

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mqttstack-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn in_use(path: &Path) -> TransportError {
    TransportError::AddressInUse {
        address: PeerAddress::Unix(path.into()),
    }
}

#[test]
fn a_connection_carries_bytes_both_ways_and_ends_well() {
    let directory = Directory::new();
    let mut listener =
        UnixListener::bind(directory.socket(), &UnixListenOptions::default()).unwrap();
    let mut turns = Loop::new();
    turns.watch(listener.source());
    let mut client = UnixStream::connect(directory.socket()).unwrap();
    turns.watch(client.source());
    let mut server = turns.until(|| listener.accept().unwrap());
    turns.watch(server.source());
    assert_eq!(client.write(b"ping").unwrap(), 4);
    assert_eq!(turns.read(&mut *server, 4), b"ping");
    let slices = [IoSlice::new(b"po"), IoSlice::new(b"ng")];
    assert_eq!(server.write_vectored(&slices).unwrap(), 4);
    server.shutdown().unwrap();
    server.shutdown().unwrap();
    assert_eq!(turns.read(&mut client, 5), b"pong", "and then the end");
    assert!(server.peer().address.is_local());
    assert_eq!(server.peer().address, *listener.local_address());
}

#[test]
fn the_file_has_its_mode_and_goes_with_the_listener() {
    let directory = Directory::new();
    for mode in [0o600, 0o660, 0o666] {
        let options = UnixListenOptions {
            mode,
            ..UnixListenOptions::default()
        };
        let listener = UnixListener::bind(directory.socket(), &options).unwrap();
        let found = fs::metadata(listener.path()).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode);
        drop(listener);
        assert!(!directory.socket().exists());
    }
}

#[test]
fn a_stale_file_is_replaced_and_a_live_one_is_not() {
    let directory = Directory::new();
    let path = directory.socket();
    drop(net::UnixListener::bind(&path).unwrap()); // Leaves its file behind.
    assert!(path.exists());
    let listener = UnixListener::bind(&path, &UnixListenOptions::default()).unwrap();
    let error = UnixListener::bind(&path, &UnixListenOptions::default()).unwrap_err();
    assert_eq!(error, in_use(&path));
    drop(listener);
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let directory = Directory::new();
    let path = directory.socket();
    fs::write(&path, "precious").unwrap();
    let error = UnixListener::bind(&path, &UnixListenOptions::default()).unwrap_err();
    assert_eq!(error, in_use(&path));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_listener_leaves_the_file_of_its_successor_alone() {
    let directory = Directory::new();
    let path = directory.socket();
    let first = UnixListener::bind(&path, &UnixListenOptions::default()).unwrap();
    // A second name keeps the inode from being used again for the successor.
    fs::hard_link(&path, directory.0.join("kept")).unwrap();
    fs::remove_file(&path).unwrap();
    let second = UnixListener::bind(&path, &UnixListenOptions::default()).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[test]
fn a_failed_connect_says_what_is_missing() {
    let directory = Directory::new();
    let path = directory.socket();
    let address = PeerAddress::Unix(path.clone().into());
    assert_eq!(
        UnixStream::connect(&path).unwrap_err(),
        TransportError::AddressUnavailable {
            address: address.clone()
        }
    );
    drop(net::UnixListener::bind(&path).unwrap());
    assert_eq!(
        UnixStream::connect(&path).unwrap_err(),
        TransportError::Refused { address }
    );
}

#[test]
fn a_path_too_long_for_the_system_is_an_error() {
    let long = PathBuf::from(format!("/{}", "x".repeat(300)));
    assert!(UnixListener::bind(&long, &UnixListenOptions::default()).is_err());
    assert!(UnixStream::connect(&long).is_err());
}

#[test]
fn clones_share_the_connections_and_the_file() {
    let directory = Directory::new();
    let path = directory.socket();
    let mut first = UnixListener::bind(&path, &UnixListenOptions::default()).unwrap();
    let mut second = first.try_clone().unwrap();
    let _near = [
        net::UnixStream::connect(&path).unwrap(),
        net::UnixStream::connect(&path).unwrap(),
    ];
    assert!(first.accept().unwrap().is_some());
    assert!(second.accept().unwrap().is_some());
    assert!(first.accept().unwrap().is_none());
    drop(first);
    assert!(path.exists(), "the other one still listens");
    let _another = net::UnixStream::connect(&path).unwrap();
    assert!(second.accept().unwrap().is_some());
    drop(second);
    assert!(!path.exists());
}
