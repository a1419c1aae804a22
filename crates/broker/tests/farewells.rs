//! Whoever is refused while a transport opens reads why: no reset overtakes the answer, even where
//! more was sent than the broker has looked at.

mod common;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use mqttstack_broker::{
    Broker, ListenerSettings,
    transport::{
        ClientAuthentication, TlsServer, TlsServerOptions, TlsVersion, WebSocketServer,
        WebSocketServerOptions,
        rustls::{
            AlertDescription, ClientConfig, ClientConnection, Error, SupportedProtocolVersion,
            version::{TLS12, TLS13},
        },
    },
};

use common::{Authority, CONNECT_V311, address, hex, open, read_head, stop, upgrade};

/// More than is read at once of what a peer sends while it opens its transport; once it is open, more
/// is read.
const MUCH: usize = 64 * 1024;

fn broker(change: impl FnOnce(ListenerSettings) -> ListenerSettings) -> Broker {
    let loopback = ListenerSettings::tcp("127.0.0.1:0".parse().expect("an endpoint"));
    let builder = Broker::builder().listener(change(loopback));
    builder.start().expect("starts")
}

fn tls(authority: &Authority, change: impl FnOnce(&mut TlsServerOptions)) -> Broker {
    let mut options = TlsServerOptions::new(authority.sign("server"));
    change(&mut options);
    let tls = TlsServer::load(options).expect("a configuration");
    broker(|listener| listener.layer(tls))
}

/// Reads to an end that is announced: a reset fails the test.
#[track_caller]
fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("no reset");
    got
}

/// Opens TLS as a client, sends all at once as soon as that is possible, and returns how it ends.
#[track_caller]
fn refused(stream: &mut TcpStream, config: Arc<ClientConfig>) -> Option<Error> {
    let host = "localhost".try_into().expect("a name");
    let mut session = ClientConnection::new(config, host).expect("a session");
    session.set_buffer_limit(None);
    let mut error = None;
    let mut has_spoken = false;
    loop {
        if error.is_none() && !session.is_handshaking() && !std::mem::replace(&mut has_spoken, true)
        {
            let writer = &mut session.writer();
            writer.write_all(&hex(CONNECT_V311)).expect("written");
            writer.write_all(&[0; MUCH]).expect("written");
        }
        while error.is_none() && session.wants_write() {
            session.write_tls(stream).expect("nobody resets");
        }
        if session.read_tls(stream).expect("no reset") == 0 {
            return error;
        }
        if let Err(found) = session.process_new_packets() {
            error.get_or_insert(found);
        }
    }
}

#[test]
fn a_client_that_tls_refuses_reads_the_alert() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let certificate = stranger.sign("client");
    let both: &[&'static SupportedProtocolVersion] = &[&TLS13, &TLS12];
    let old: &[&'static SupportedProtocolVersion] = &[&TLS12];
    for (shown, versions, alert) in [
        (Some(&certificate), both, AlertDescription::UnknownCA),
        (Some(&certificate), old, AlertDescription::ProtocolVersion),
        (None, both, AlertDescription::CertificateRequired),
        (None, old, AlertDescription::ProtocolVersion),
    ] {
        let broker = tls(&authority, |options| {
            options.client_authentication = ClientAuthentication::Required;
            options.client_authorities = Some(authority.ca());
            options.version_min = TlsVersion::V1_3;
        });
        let mut stream = open(address(&broker));
        let config = authority.client_of(versions, &[], shown);
        let error = refused(&mut stream, config);
        assert_eq!(error, Some(Error::AlertReceived(alert)), "{shown:?}");
        drop(stream);
        stop(broker);
    }
}

#[test]
fn a_client_of_tls_1_2_reads_that_its_certificate_is_unknown() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let certificate = stranger.sign("client");
    let broker = tls(&authority, |options| {
        options.client_authentication = ClientAuthentication::Required;
        options.client_authorities = Some(authority.ca());
    });
    let config = authority.client_of(&[&TLS12], &[], Some(&certificate));
    let mut stream = open(address(&broker));
    let unknown = Error::AlertReceived(AlertDescription::UnknownCA);
    assert_eq!(refused(&mut stream, config), Some(unknown));
    drop(stream);
    stop(broker);
}

#[test]
fn a_client_without_tls_reads_the_alert() {
    let authority = Authority::new();
    let broker = tls(&authority, |_| {});
    let mut stream = open(address(&broker));
    let mut bytes = hex(CONNECT_V311);
    bytes.resize(MUCH, 0);
    stream.write_all(&bytes).expect("written");
    // Fatal: an unexpected message.
    assert_eq!(read_all(&mut stream), hex("15 03 01 00 02 02 0A"));
    drop(stream);
    stop(broker);
}

#[test]
fn a_client_that_asks_for_a_websocket_in_the_wrong_way_reads_the_status() {
    let mut options = WebSocketServerOptions::default();
    options.paths = vec!["/mqtt".into()];
    let broker = broker(|listener| listener.layer(WebSocketServer::new(options)));
    let mut stream = open(address(&broker));
    let mut bytes = upgrade("/elsewhere", "").into_bytes();
    bytes.resize(MUCH, b'x');
    stream.write_all(&bytes).expect("written");
    let answer = String::from_utf8(read_all(&mut stream)).expect("text");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    drop(stream);
    stop(broker);
}

#[test]
fn a_client_that_breaks_the_rules_of_websockets_reads_the_close_frame() {
    let websocket = WebSocketServer::new(WebSocketServerOptions::default());
    let broker = broker(|listener| listener.layer(websocket));
    let mut stream = open(address(&broker));
    stream
        .write_all(upgrade("/mqtt", "").as_bytes())
        .expect("written");
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    // A frame without a mask, and much behind it.
    let mut bytes = hex("82 02 C0 00");
    bytes.resize(8 * MUCH, 0);
    stream.write_all(&bytes).expect("written");
    // Close, for a protocol error (1002).
    assert_eq!(read_all(&mut stream), hex("88 02 03 EA"));
    drop(stream);
    stop(broker);
}
