//! What tests over real sockets share: bytes in hex, certificates, clients of TLS and WebSocket.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use mqttstack_broker::{
    Broker,
    transport::{
        CertificateFiles,
        rustls::{
            ClientConfig, ClientConnection, DEFAULT_VERSIONS, RootCertStore, StreamOwned,
            SupportedProtocolVersion,
            crypto::ring,
            pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        },
    },
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

pub(crate) const CONNECT_V311: &str = "10 0F 00 04 4D 51 54 54 04 02 00 3C 00 03 62 61 64";
pub(crate) const CONNACK_V311: &str = "20 02 00 00";

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex"))
        .collect()
}

/// Returns the address of a broker's only listener.
pub(crate) fn address(broker: &Broker) -> SocketAddr {
    broker.local_addresses()[0]
        .socket_address()
        .expect("a socket")
}

pub(crate) fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    // Long enough for a busy machine; only a failing test waits for it.
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("settable");
    stream.set_nodelay(true).expect("settable");
    stream
}

#[track_caller]
pub(crate) fn expect(stream: &mut impl Read, answer: &str) {
    let answer = hex(answer);
    let mut got = vec![0; answer.len()];
    stream.read_exact(&mut got).expect("an answer");
    assert_eq!(got, answer);
}

#[track_caller]
pub(crate) fn exchange(stream: &mut (impl Read + Write), question: &str, answer: &str) {
    stream.write_all(&hex(question)).expect("written");
    stream.flush().expect("written");
    expect(stream, answer);
}

/// Reads until the broker closes, which it has to.
#[track_caller]
pub(crate) fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Ok(_) => got,
        // It closed with bytes of ours unread.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => got,
        Err(error) => panic!("not closed: {error}, after {got:02X?}"),
    }
}

pub(crate) fn stop(broker: Broker) {
    broker.stop();
    broker.wait().expect("no worker failed");
}

/// A directory that goes away with the test.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mqttstack-broker-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate authority in a directory of its own.
pub(crate) struct Authority {
    pub(crate) directory: Directory,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Told apart by its name, as others are.
        let name = directory.0.display().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        fs::write(directory.0.join("ca.crt"), certificate.pem()).expect("written");
        let issuer = Issuer::new(params, key);
        Self { directory, issuer }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.directory.0.join("ca.crt")
    }

    /// Signs a certificate and writes it: the same files each time for the same name.
    pub(crate) fn sign(&self, name: &str) -> CertificateFiles {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("valid");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let [chain, secret] =
            ["crt", "key"].map(|it| self.directory.0.join(name).with_extension(it));
        fs::write(&chain, certificate.pem()).expect("written");
        fs::write(&secret, key.serialize_pem()).expect("written");
        CertificateFiles::new(chain, secret)
    }

    /// What a client needs to connect; `certificate` is what it shows.
    pub(crate) fn client(
        &self,
        protocols: &[&str],
        certificate: Option<&CertificateFiles>,
    ) -> Arc<ClientConfig> {
        self.client_of(DEFAULT_VERSIONS, protocols, certificate)
    }

    /// As [`client`](Self::client), with these versions of TLS alone.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
        certificate: Option<&CertificateFiles>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.ca()).expect("a certificate");
        roots.add(ca).expect("an authority");
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let chain = CertificateDer::from_pem_file(&files.chain).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
                builder
                    .with_client_auth_cert(vec![chain], key)
                    .expect("they fit")
            }
        };
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Opens a TLS connection over a stream; nothing is sent before the first write.
pub(crate) fn tls_over(stream: TcpStream, config: &Arc<ClientConfig>) -> TlsStream {
    let host = "localhost".try_into().expect("a name");
    let session = ClientConnection::new(Arc::clone(config), host).expect("a session");
    StreamOwned::new(session, stream)
}

/// A request for a WebSocket.
pub(crate) fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n{more}\r\n"
    )
}

/// Puts bytes into a client's binary frame, with a mask of zeros.
pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    let len = u8::try_from(bytes.len()).expect("short");
    assert!(len < 126, "short");
    let mut frame = vec![0x82, 0x80 | len, 0, 0, 0, 0];
    frame.extend_from_slice(bytes);
    frame
}

/// Reads the head of a response up to its empty line.
#[track_caller]
pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a response");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}
