//! Both ends of a connection over loopback, and bytes from one to the other.

use std::io;
use std::net::{TcpListener, TcpStream};

use mqttstack_transport::{self as transport, Handshake, OutputQueue, Stream};

/// A pair of connected sockets that do not block.
pub(crate) fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let near =
        TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (far, _) = listener.accept().expect("a connection");
    for socket in [&near, &far] {
        socket.set_nonblocking(true).expect("a socket");
        socket.set_nodelay(true).expect("a socket");
    }
    (near, far)
}

/// The same as streams.
pub(crate) fn streams() -> (transport::TcpStream, transport::TcpStream) {
    let (near, far) = sockets();
    let stream = |socket| transport::TcpStream::from_std(socket).expect("a connected socket");
    (stream(near), stream(far))
}

/// Takes the openings of both ends to their ends.
pub(crate) fn open(near: &mut dyn Stream, far: &mut dyn Stream) {
    loop {
        let ends = [
            near.handshake().expect("an opening"),
            far.handshake().expect("an opening"),
        ];
        if ends == [Handshake::Complete; 2] {
            return;
        }
    }
}

/// Sends what is queued, and reads at the other end until `expected` bytes have come.
pub(crate) fn carry(
    output: &mut OutputQueue,
    from: &mut dyn Stream,
    to: &mut dyn Stream,
    buffer: &mut [u8],
    expected: usize,
) {
    let mut received = 0;
    while received < expected {
        if !output.is_empty() || from.has_buffered_output() {
            let _ = output.write_to(from).expect("a write");
        }
        received += read_all(to, buffer);
    }
}

/// Reads until nothing is there, and returns how much it was.
pub(crate) fn read_all(from: &mut dyn Stream, buffer: &mut [u8]) -> usize {
    let mut received = 0;
    loop {
        match from.read(buffer) {
            Ok(0) => panic!("the stream has ended"),
            Ok(count) => received += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return received,
            Err(error) => panic!("{error}"),
        }
    }
}
