//! The ways to a server: a round trip over each, and what is told when one is closed.

use std::{
    format, fs, io,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    string::{String, ToString as _},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
    vec,
    vec::Vec,
};

use mqttstack_codec::{
    Ack, ConnAck, Decoder, Packet, ProtocolVersion, Publish, ReasonCode, Sender,
    Shared as SharedStorage,
};
use mqttstack_transport::{
    self as transport, AlpnServer, CertificateFiles, ClientAuthentication, Handshake, Layer,
    LayeredListener, ListenOptions, Listener, OutputQueue, Stream, TlsClientOptions, TlsError,
    TlsServer, TlsServerOptions, TransportError, TunnelError, UnixListenOptions, UnixListener,
    WebSocketError, WebSocketServer, WebSocketServerOptions, rustls,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

use super::{LONG, message, quick};
use crate::{
    Builder, BuilderError, Client, ConnectError, ProxyUrlError, core::ReconnectPolicy,
    limits::Limits,
};

/// A directory that goes away with the test, and certificates in it.
struct Certificates {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mqttstack-client-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.join("ca.pem"), certificate.pem()).unwrap();
        Self {
            directory,
            issuer: Issuer::new(params, key),
        }
    }

    fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    fn sign(&self, host: &str, year_of_end: i32) -> CertificateFiles {
        let mut params = CertificateParams::new(vec![host.into()]).unwrap();
        params.not_after = date_time_ymd(year_of_end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let [chain, private] =
            ["pem", "key"].map(|end| self.directory.join(format!("{host}-{year_of_end}.{end}")));
        fs::write(&chain, certificate.pem()).unwrap();
        fs::write(&private, key.serialize_pem()).unwrap();
        CertificateFiles::new(chain, private)
    }

    fn server(&self) -> TlsServerOptions {
        TlsServerOptions::new(self.sign("localhost", 4000))
    }

    fn client(&self) -> TlsClientOptions {
        TlsClientOptions::new(self.ca())
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn tls(options: TlsServerOptions) -> Arc<dyn Layer> {
    Arc::new(TlsServer::load(options).unwrap())
}

fn websocket() -> Arc<dyn Layer> {
    Arc::new(WebSocketServer::new(WebSocketServerOptions::default()))
}

/// Starts a server with `layers` on a port of its own, and returns `localhost:port`.
fn serve(layers: Vec<Arc<dyn Layer>>) -> String {
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = transport::TcpListener::bind(address, &ListenOptions::default()).unwrap();
    let port = listener.local_address().socket_address().unwrap().port();
    serve_at(LayeredListener::new(listener, layers));
    format!("localhost:{port}")
}

/// Takes connections, each on a thread of its own, for as long as the tests run.
fn serve_at(mut listener: impl Listener + 'static) {
    thread::spawn(move || {
        loop {
            match listener.accept().unwrap() {
                Some(mut stream) => {
                    thread::spawn(move || {
                        let _ = converse(&mut *stream);
                    });
                }
                None => nap(),
            }
        }
    });
}

fn nap() {
    thread::sleep(Duration::from_millis(1));
}

/// Accepts a client, acknowledges its messages, and sends each back.
fn converse(stream: &mut dyn Stream) -> io::Result<()> {
    while stream.handshake().map_err(io::Error::other)? == Handshake::Pending {
        nap();
    }
    let decoder = Decoder::new().with_sender(Sender::Client);
    let (mut received, mut output) = (Vec::new(), OutputQueue::new());
    let mut buffer = [0; 4096];
    loop {
        while let Some((packet, len)) = decoder
            .decode_ref(&received)
            .map_err(|_| io::ErrorKind::InvalidData)?
        {
            let packet = packet.to_shared();
            received.drain(..len);
            let answers = if let Packet::Connect(_) = packet {
                vec![Packet::ConnAck(ConnAck::new(false, ReasonCode::Success))]
            } else if let Packet::Publish(publish) = packet {
                let back = Publish::<SharedStorage>::new("back", publish.payload.clone());
                let ack = Packet::PubAck(Ack::new(publish.packet_id().unwrap()));
                vec![ack, Packet::Publish(back)]
            } else if let Packet::Disconnect(_) = packet {
                while stream.shutdown().is_err() {
                    nap();
                }
                return Ok(());
            } else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            for answer in answers {
                let mut bytes = Vec::new();
                answer.encode(ProtocolVersion::V5, &mut bytes).unwrap();
                output.push(&bytes);
            }
        }
        let _ = output.write_to(stream)?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => nap(),
            Err(error) => return Err(error),
        }
    }
}

fn client(url: &str) -> Builder {
    Client::builder(url)
        .client_id("me")
        .reconnect(ReconnectPolicy::NEVER)
}

/// Sends messages of many sizes, and has each come back.
fn round_trip(builder: Builder) {
    let (client, inbox) = builder.connect().unwrap();
    for size in [1, 100, 20_000, 70_000, 1_000_000] {
        let sent = "x".repeat(size);
        client.publish(message(&sent)).unwrap().wait(LONG).unwrap();
        let back = inbox.receive_timeout(LONG).unwrap();
        assert!(back.payload() == sent.as_bytes(), "{size} bytes");
    }
    assert!(client.shutdown(LONG).unwrap().is_complete());
}

/// Connects in vain, and returns why.
fn failure(builder: Builder) -> ConnectError {
    match builder.connect() {
        Err(BuilderError::Connect(error)) => error,
        other => panic!("{:?}", other.err()),
    }
}

fn tls_failure(error: TlsError) -> ConnectError {
    ConnectError::Transport(TransportError::Tls(error))
}

#[test]
fn messages_go_both_ways_over_each_transport() {
    let own = Certificates::new();
    let port = serve(Vec::new());
    round_trip(client(&format!("mqtt://{port}")));
    let port = serve(vec![websocket()]);
    round_trip(client(&format!("ws://{port}")));
    round_trip(client(&format!("ws://{port}/other?token=1")).websocket_header("X-Token", "1"));
    let port = serve(vec![tls(own.server())]);
    round_trip(client(&format!("mqtts://{port}")).tls(own.client()));
    let port = serve(vec![tls(own.server()), websocket()]);
    round_trip(client(&format!("wss://{port}")).tls(own.client()));
}

#[test]
fn messages_go_both_ways_over_a_unix_socket() {
    let own = Certificates::new();
    let path = own.directory.join("mqtt.sock");
    serve_at(UnixListener::bind(&path, &UnixListenOptions::default()).unwrap());
    round_trip(client(&format!("unix:{}", path.display())));
    let nobody = own.directory.join("nobody.sock");
    let error = failure(client(&format!("unix:{}", nobody.display())));
    assert!(
        matches!(
            &error,
            ConnectError::Transport(TransportError::AddressUnavailable { .. })
        ),
        "{error}"
    );
}

#[test]
fn one_port_serves_both_protocols_by_alpn() {
    let own = Certificates::new();
    let mut options = own.server();
    options.protocols = AlpnServer::PROTOCOLS.map(Into::into).into();
    let tls = TlsServer::load(options).unwrap();
    let websocket = WebSocketServer::new(WebSocketServerOptions::default());
    let port = serve(vec![Arc::new(AlpnServer::new(tls, websocket))]);
    round_trip(client(&format!("mqtts://{port}")).tls(own.client()));
    round_trip(client(&format!("wss://{port}")).tls(own.client()));
    let mut named = own.client();
    named.protocols = vec!["x-amzn-mqtt-ca".into()];
    round_trip(client(&format!("mqtts://{port}")).tls(named));
    let mut unknown = own.client();
    unknown.protocols = vec!["gopher".into()];
    assert_eq!(
        failure(client(&format!("mqtts://{port}")).tls(unknown)),
        tls_failure(TlsError::ProtocolMismatch)
    );
}

#[test]
fn a_client_shows_its_certificate_where_one_is_demanded() {
    let own = Certificates::new();
    let mut options = own.server();
    options.client_authentication = ClientAuthentication::Required;
    options.client_authorities = Some(own.ca());
    let port = serve(vec![tls(options)]);
    let mut with = own.client();
    with.certificate = Some(own.sign("ann", 4000));
    round_trip(client(&format!("mqtts://{port}")).tls(with));
    assert_eq!(
        failure(client(&format!("mqtts://{port}")).tls(own.client())),
        tls_failure(TlsError::ClientCertificateMissing)
    );
}

#[test]
fn a_configuration_of_the_callers_own_is_taken_as_it_is() {
    let own = Certificates::new();
    let port = serve(vec![tls(own.server())]);
    let mut roots = rustls::RootCertStore::empty();
    let pem = fs::read(own.ca()).unwrap();
    for certificate in rustls::pki_types::pem::PemObject::pem_slice_iter(&pem) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    round_trip(client(&format!("mqtts://{port}")).tls_config(Arc::new(config)));
}

#[test]
fn certificates_that_do_not_fit_are_told_apart() {
    let own = Certificates::new();
    let stranger = Certificates::new();
    let good = serve(vec![tls(own.server())]);
    let expired = serve(vec![tls(TlsServerOptions::new(
        own.sign("localhost", 2000),
    ))]);
    let elsewhere = serve(vec![tls(TlsServerOptions::new(
        own.sign("elsewhere", 4000),
    ))]);
    let trusting =
        |port: &str, whom: &Certificates| client(&format!("mqtts://{port}")).tls(whom.client());
    for (builder, expected) in [
        (trusting(&good, &stranger), TlsError::AuthorityUnknown),
        (trusting(&expired, &own), TlsError::CertificateExpired),
        (
            trusting(&elsewhere, &own),
            TlsError::HostMismatch {
                host: "localhost".into(),
            },
        ),
        (
            trusting(&good, &own).server_name("elsewhere"),
            TlsError::HostMismatch {
                host: "elsewhere".into(),
            },
        ),
    ] {
        assert_eq!(failure(builder), tls_failure(expected));
    }
    round_trip(trusting(&elsewhere, &own).server_name("elsewhere"));
    let mut insecure = TlsClientOptions::default();
    insecure.is_insecure = true;
    round_trip(client(&format!("mqtts://{expired}")).tls(insecure));
}

#[test]
fn the_wrong_kind_of_port_is_told() {
    let own = Certificates::new();
    let plain = serve(Vec::new());
    let encrypted = serve(vec![tls(own.server())]);
    let web = serve(vec![websocket()]);
    assert_eq!(
        failure(client(&format!("mqtt://{encrypted}"))),
        ConnectError::TlsExpected
    );
    assert_eq!(
        failure(client(&format!("ws://{encrypted}"))),
        ConnectError::Transport(TransportError::WebSocket(WebSocketError::PeerSpeaksTls))
    );
    for url in [format!("mqtts://{plain}"), format!("wss://{web}")] {
        let error = failure(client(&url).tls(own.client()));
        assert_eq!(error, tls_failure(TlsError::Unanswered), "{url}");
    }
}

#[test]
fn a_server_that_never_opens_is_given_up() {
    let own = Certificates::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let timeout = Duration::from_millis(300);
    let limits = Limits {
        connect_timeout: timeout,
        ..Limits::default()
    };
    for url in [
        format!("mqtts://localhost:{port}"),
        format!("wss://localhost:{port}"),
    ] {
        let builder = client(&url).tls(own.client()).limits(limits.clone());
        assert_eq!(failure(builder), ConnectError::OpeningTimedOut(timeout));
    }
    let builder = client(&format!("ws://localhost:{port}")).limits(limits);
    assert_eq!(failure(builder), ConnectError::OpeningTimedOut(timeout));
}

#[test]
fn an_encrypted_connection_comes_back() {
    let own = Certificates::new();
    let port = serve(vec![tls(own.server()), websocket()]);
    let (sender, told) = std::sync::mpsc::channel();
    let builder = Client::builder(&format!("wss://{port}")).tls(own.client());
    let builder = builder.reconnect(quick()).on_event(move |event| {
        sender.send(event.clone()).unwrap();
    });
    let (client, _inbox) = builder.client_id("me").connect().unwrap();
    // The server of these tests does not know the packet, and ends.
    let _ = client.subscribe([crate::codec::Subscription::new(
        "a",
        crate::codec::QoS::AtMostOnce,
    )]);
    let is_connected =
        |event: &crate::ConnectionEvent| matches!(event, crate::ConnectionEvent::Connected { .. });
    let connected = told.iter().filter(is_connected).take(2).count();
    assert_eq!(connected, 2);
}

/// A proxy that takes one connection after another: HTTP CONNECT or SOCKS5, by its first byte.
fn proxy() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for near in listener.incoming() {
            thread::spawn(move || tunnel(near.unwrap()));
        }
    });
    address
}

fn tunnel(mut near: TcpStream) {
    let mut first = [0];
    near.read_exact(&mut first).unwrap();
    let port = if first == [5] {
        let mut greeting = [0; 2];
        near.read_exact(&mut greeting).unwrap();
        near.write_all(&[5, 0]).unwrap();
        // A name: the proxy resolves it.
        let mut request = [0; 5 + "localhost".len() + 2];
        near.read_exact(&mut request).unwrap();
        near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        u16::from_be_bytes([request[14], request[15]])
    } else {
        let mut head = vec![first[0]];
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            near.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        if !head.contains("Proxy-Authorization: Basic YW5uOnB3\r\n") {
            near.write_all(b"HTTP/1.1 407 Denied\r\n\r\n").unwrap();
            return;
        }
        near.write_all(b"HTTP/1.1 200 Fine\r\n\r\n").unwrap();
        let target = head.split(' ').nth(1).unwrap();
        target.rsplit(':').next().unwrap().parse().unwrap()
    };
    let mut far = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let _ = io::copy(&mut far, &mut near);
    let _ = near.shutdown(std::net::Shutdown::Write);
}

#[test]
fn proxies_lead_to_the_server() {
    let own = Certificates::new();
    let proxy = proxy();
    let encrypted = format!("mqtts://{}", serve(vec![tls(own.server())]));
    let web = format!("ws://{}", serve(vec![websocket()]));
    for through in [
        format!("http://ann:pw@{proxy}"),
        format!("socks5://{proxy}"),
    ] {
        round_trip(client(&encrypted).tls(own.client()).proxy(&through));
        round_trip(client(&web).proxy(&through));
    }
    assert_eq!(
        failure(client(&web).proxy(format!("http://{proxy}"))),
        ConnectError::Transport(TransportError::Tunnel(TunnelError::CredentialsRefused))
    );
}

#[test]
fn settings_that_do_not_fit_are_refused_before_a_connection_is_tried() {
    let own = Certificates::new();
    let refused = |builder: Builder| builder.build().map(drop).unwrap_err();
    for url in ["mqtt://localhost", "ws://localhost", "unix:/x"] {
        let error = refused(client(url).tls(own.client()));
        assert_eq!(error, BuilderError::TlsNotUsed, "{url}");
    }
    let missing = TlsClientOptions::new(Path::new("/no/such/file"));
    let error = refused(client("mqtts://localhost").tls(missing)).to_string();
    assert!(error.contains("cannot read /no/such/file"), "{error}");
    let error = refused(client("ws://localhost").websocket_header("Host", "x")).to_string();
    assert!(
        error.contains("`Host` cannot stand in a request"),
        "{error}"
    );
    let error = refused(client("mqtt://localhost").proxy("ftp://x"));
    assert!(
        matches!(
            error,
            BuilderError::Proxy(ProxyUrlError::SchemeNotSupported { .. })
        ),
        "{error}"
    );
}
