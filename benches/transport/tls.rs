//! How fast TLS moves bytes: our stream, and rustls in a loop of its own over the same kind of sockets.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use mqttstack_transport::{
    CertificateFiles, OutputQueue, Stream, TlsClient, TlsClientOptions, TlsServer,
    TlsServerOptions, rustls,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};

use crate::{ends, medians};

/// How much is written at a time: a turn of a busy broker.
const TURN_BYTES: usize = 64 * 1024;
const MEBIBYTE: usize = 1024 * 1024;

pub(crate) fn run(scale: usize) {
    let bytes = scale * 8 * MEBIBYTE;
    println!(
        "TLS 1.3, {TURN_BYTES} bytes a write, {} MiB a round",
        bytes / MEBIBYTE
    );
    println!("| direction | rustls in a loop of its own | `TlsStream` | share |");
    println!("| --- | --- | --- | --- |");
    let certified = generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    for (name, is_upward) in [("client to server", true), ("server to client", false)] {
        let mut bare = Bare::new(&certified);
        let mut ours = Ours::new(&certified);
        let [bare, ours] = medians([&mut || bare.round(bytes, is_upward), &mut || {
            ours.round(bytes, is_upward)
        }]);
        println!(
            "| {name} | {:.0} MiB/s | {:.0} MiB/s | {:.0} % |",
            speed(bytes, bare),
            speed(bytes, ours),
            100.0 * bare.as_secs_f64() / ours.as_secs_f64()
        );
    }
    println!();
}

fn speed(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / MEBIBYTE as f64 / time.as_secs_f64()
}

/// Streams as the broker and the client have them.
struct Ours {
    near: Box<dyn Stream>,
    far: Box<dyn Stream>,
    content: Vec<u8>,
    buffer: Vec<u8>,
}

impl Ours {
    fn new(certified: &CertifiedKey<rcgen::KeyPair>) -> Self {
        let folder = std::env::temp_dir().join(format!("mqttstack-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let files = CertificateFiles::new(folder.join("chain"), folder.join("key"));
        std::fs::write(&files.chain, certified.cert.pem()).expect("a file");
        std::fs::write(&files.key, certified.signing_key.serialize_pem()).expect("a file");
        let client = TlsClient::load(&TlsClientOptions::new(&files.chain)).expect("a client");
        let server = TlsServer::load(TlsServerOptions::new(files)).expect("a server");
        std::fs::remove_dir_all(folder).expect("a folder");
        let (near, far) = ends::streams();
        let mut near = client.connect(near, "localhost").expect("a name");
        let mut far = server.accept(far);
        ends::open(&mut near, &mut far);
        Self {
            near: Box::new(near),
            far: Box::new(far),
            content: vec![7; TURN_BYTES],
            buffer: vec![0; TURN_BYTES],
        }
    }

    fn round(&mut self, bytes: usize, is_upward: bool) -> Duration {
        let (from, to) = if is_upward {
            (&mut *self.near, &mut *self.far)
        } else {
            (&mut *self.far, &mut *self.near)
        };
        let mut output = OutputQueue::new();
        let start = ThreadTime::now();
        for _ in 0..bytes / TURN_BYTES {
            output.push(&self.content);
            ends::carry(&mut output, from, to, &mut self.buffer, TURN_BYTES);
        }
        start.elapsed()
    }
}

/// The library with nothing around it.
struct Bare {
    near: (Connection, TcpStream),
    far: (Connection, TcpStream),
    content: Vec<u8>,
    buffer: Vec<u8>,
}

impl Bare {
    fn new(certified: &CertifiedKey<rcgen::KeyPair>) -> Self {
        let certificate = CertificateDer::from(certified.cert.der().to_vec());
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a certificate");
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate");
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(client), name).expect("a client");
        let server = ServerConnection::new(Arc::new(server)).expect("a server");
        let (near, far) = ends::sockets();
        let mut new = Self {
            near: (client.into(), near),
            far: (server.into(), far),
            content: vec![7; TURN_BYTES],
            buffer: vec![0; TURN_BYTES],
        };
        while new.near.0.is_handshaking() || new.far.0.is_handshaking() {
            for (session, socket) in [&mut new.near, &mut new.far] {
                send(session, socket);
                receive(session, socket);
            }
        }
        new
    }

    fn round(&mut self, bytes: usize, is_upward: bool) -> Duration {
        let (from, to) = if is_upward {
            (&mut self.near, &mut self.far)
        } else {
            (&mut self.far, &mut self.near)
        };
        let start = ThreadTime::now();
        for _ in 0..bytes / TURN_BYTES {
            let (mut written, mut received) = (0, 0);
            while received < TURN_BYTES {
                written += from
                    .0
                    .writer()
                    .write(self.content.get(written..).unwrap_or_default())
                    .expect("a write");
                send(&mut from.0, &mut from.1);
                while receive(&mut to.0, &mut to.1) {
                    received += read_all(&mut to.0, &mut self.buffer);
                }
            }
        }
        start.elapsed()
    }
}

fn send(session: &mut Connection, socket: &mut TcpStream) {
    while session.wants_write() {
        match session.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Takes what is there in once; says whether there was something.
fn receive(session: &mut Connection, socket: &mut TcpStream) -> bool {
    match session.read_tls(socket) {
        Ok(count) => {
            assert!(count > 0, "the stream has ended");
            session.process_new_packets().expect("TLS");
            true
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

fn read_all(session: &mut Connection, buffer: &mut [u8]) -> usize {
    let mut received = 0;
    loop {
        match session.reader().read(buffer) {
            Ok(0) => panic!("the stream has ended"),
            Ok(count) => received += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return received,
            Err(error) => panic!("{error}"),
        }
    }
}
