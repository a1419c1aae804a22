//! Headers of both versions, from those who may send them and those who may not.

use proptest::prelude::*;
use proxy_header::{ProxiedAddress, SslInfo, Tlv};

use super::*;
use crate::memory::{MemoryStream, pair};

/// A server that takes headers from anybody in memory.
fn server() -> ProxyServer {
    ProxyServer::new(ProxyOptions {
        trusts_local_sockets: true,
        ..ProxyOptions::default()
    })
}

/// Sends `bytes` to `server`, and returns its stream and what became of the handshake.
fn send(
    server: &ProxyServer,
    bytes: &[u8],
) -> (
    MemoryStream,
    ProxyStream<MemoryStream>,
    Result<Handshake, TransportError>,
) {
    let (mut near, far) = pair();
    let mut far = server.accept(far);
    near.write(bytes).unwrap();
    let result = far.handshake();
    (near, far, result)
}

fn v2(change: impl FnOnce(&mut ProxyHeader<'_>)) -> Vec<u8> {
    let address = |text: &str| text.parse().unwrap();
    let addresses =
        ProxiedAddress::stream(address("[2001:db8::7]:5000"), address("[2001:db8::1]:8883"));
    let mut header = ProxyHeader::with_address(addresses);
    change(&mut header);
    let mut bytes = Vec::new();
    header.encode_v2(&mut bytes).unwrap();
    bytes
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn both_versions_name_the_client_and_leave_what_follows() {
    let v1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 1883\r\n".to_vec();
    for (mut header, client, destination) in [
        (v1, "192.0.2.7:5000", "192.0.2.1:1883"),
        (v2(|_| {}), "[2001:db8::7]:5000", "[2001:db8::1]:8883"),
    ] {
        header.extend_from_slice(b"\x10\x0c");
        let (_near, mut far, result) = send(&server(), &header);
        assert_eq!(result, Ok(Handshake::Complete));
        assert_eq!(far.peer().address, address(client).into());
        let facts = far.peer().proxy.as_deref().unwrap();
        assert_eq!(facts.destination, Some(address(destination)));
        assert!(matches!(facts.proxy, PeerAddress::Memory(_)));
        assert!(
            far.has_buffered_input(),
            "no event will tell of what follows"
        );
        let mut buffer = [0; 8];
        assert_eq!(far.read(&mut buffer).unwrap(), 2);
        assert_eq!(buffer[..2], *b"\x10\x0c");
        assert!(!far.has_buffered_input());
    }
}

#[test]
fn a_connection_of_the_proxys_own_keeps_its_address() {
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [
        &local[..],
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ::1 ::1 1 2\r\n",
    ] {
        let (_near, far, result) = send(&server(), header);
        assert_eq!(result, Ok(Handshake::Complete));
        assert!(matches!(far.peer().address, PeerAddress::Memory(_)));
        assert_eq!(far.peer().proxy.as_ref().unwrap().destination, None);
    }
}

#[test]
fn what_the_proxy_saw_of_tls_is_passed_on_as_far_as_it_was_verified() {
    let tls = |is_shown, verify, name: &'static str| {
        v2(|header| {
            let mut ssl = SslInfo::new(true, is_shown, false, verify);
            ssl.append_tlv(Tlv::SslVersion("TLSv1.3".into()));
            ssl.append_tlv(Tlv::SslCn(name.into()));
            header.append_tlv(Tlv::Ssl(ssl));
            header.append_tlv(Tlv::Authority("broker.example".into()));
            header.append_tlv(Tlv::Alpn(b"mqtt"[..].into()));
        })
    };
    for (header, is_verified, name) in [
        (tls(true, 0, "meter-7"), true, Some("meter-7")),
        (tls(true, 1, "meter-7"), false, None),
        (tls(false, 0, "meter-7"), false, None),
        (tls(true, 0, "a\nb"), true, None),
        (tls(true, 0, ""), true, None),
    ] {
        let (_near, far, result) = send(&server(), &header);
        assert_eq!(result, Ok(Handshake::Complete));
        let facts = far.peer().proxy.as_deref().unwrap();
        assert_eq!(facts.server_name.as_deref(), Some("broker.example"));
        assert_eq!(facts.protocol.as_deref(), Some("mqtt"));
        let tls = facts.tls.as_ref().unwrap();
        assert_eq!(tls.version.as_deref(), Some("TLSv1.3"));
        assert_eq!(
            (tls.is_verified, tls.common_name.as_deref()),
            (is_verified, name)
        );
    }
}

#[test]
fn a_header_from_a_stranger_is_bytes_like_any_other() {
    let bytes = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 1883\r\n";
    let (_near, mut far, result) = send(&ProxyServer::default(), bytes);
    assert_eq!(result, Ok(Handshake::Complete));
    assert!(matches!(far.peer().address, PeerAddress::Memory(_)));
    assert_eq!(far.peer().proxy, None);
    assert_eq!(far.read(&mut [0; 64]).unwrap(), bytes.len());

    let strict = ProxyServer::new(ProxyOptions {
        refuses_others: true,
        ..ProxyOptions::default()
    });
    let (near, _far, result) = send(&strict, bytes);
    let address = near.peer().address.clone();
    assert_eq!(result, Err(ProxyError::PeerUntrusted { address }.into()));
}

#[test]
fn networks_are_compared_by_their_prefix() {
    let options = ProxyOptions {
        trusted: vec![
            "192.0.2.0/25".parse().unwrap(),
            "2001:db8::/64".parse().unwrap(),
        ],
        ..ProxyOptions::default()
    };
    for (peer, is_trusted) in [
        ("192.0.2.127:1", true),
        ("192.0.2.128:1", false),
        ("[::ffff:192.0.2.1]:1", true), // As a dual-stack listener shows it.
        ("[2001:db8::ffff]:1", true),
        ("[2001:db8:0:1::1]:1", false),
    ] {
        assert_eq!(options.trusts(&address(peer).into()), is_trusted, "{peer}");
    }
}

#[test]
fn what_is_no_header_ends_the_connection() {
    let limit = ProxyOptions::default().header_bytes_max;
    let mut long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
    long.resize(5000, 0);
    let datagram =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\x01\x01\x01\x01\x02\x02\x02\x02\0\x01\0\x02";
    for (bytes, error) in [
        (&b"\x10\x0c\0\x04MQTT"[..], ProxyError::HeaderInvalid),
        (b"GET / HTTP/1.1\r\n\r\n", ProxyError::HeaderInvalid),
        (b"PROXY TCP4 a b c d\r\n", ProxyError::HeaderInvalid),
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 99999 1\r\n",
            ProxyError::HeaderInvalid,
        ),
        (&[b'P'; 200], ProxyError::HeaderInvalid),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
            ProxyError::HeaderInvalid,
        ), // Version 3.
        (datagram, ProxyError::HeaderInvalid),
        (&long, ProxyError::HeaderTooLong { limit }),
    ] {
        let (_near, _far, result) = send(&server(), bytes);
        assert_eq!(result, Err(error.into()), "{bytes:.20x?}");
    }
}

#[test]
fn a_header_that_trickles_waits_and_moves_no_bytes() {
    let (mut near, far) = pair();
    let mut far = server().accept(far);
    for byte in v2(|_| {}) {
        assert_eq!(far.handshake(), Ok(Handshake::Pending));
        assert_eq!(
            far.read(&mut [0; 8]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert_eq!(
            far.write(b"x").unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        near.write(&[byte]).unwrap();
    }
    assert_eq!(far.handshake(), Ok(Handshake::Complete));
    let (mut near, far) = pair();
    let mut far = server().accept(far);
    near.write(b"PROXY TC").unwrap();
    drop(near);
    assert_eq!(far.handshake(), Err(TransportError::Closed));
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic(
        start in prop_oneof![
            Just(&b"PROXY "[..]), Just(&b"PROXY TCP4 "[..]), Just(&b"PROXY TCP6 ::1 "[..]),
            Just(&b"\r\n\r\n\0\r\nQUIT\n"[..]), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14"[..]), Just(&b""[..]),
        ],
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let whole = [start, &bytes].concat();
        let (_near, far, result) = send(&server(), &whole);
        prop_assert_eq!(far.is_established(), result == Ok(Handshake::Complete));
    }
}
