//! Endpoints from text, back to text, and to addresses.

use super::*;

#[test]
fn endpoints_read_and_show_alike() {
    for (text, host, port) in [
        ("127.0.0.1:1883", "127.0.0.1", 1883),
        ("[::1]:1883", "::1", 1883),
        ("[fe80::1%eth0]:8883", "fe80::1%eth0", 8883),
        ("localhost:1883", "localhost", 1883),
        ("broker.example.com.:0", "broker.example.com.", 0),
        ("my_broker-2:65535", "my_broker-2", 65535),
        ("bücher.example:1", "bücher.example", 1),
    ] {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!((endpoint.host(), endpoint.port()), (host, port), "{text}");
        assert_eq!(endpoint.to_string(), text);
        assert_eq!(Endpoint::new(host, port).as_ref(), Ok(&endpoint), "{text}");
    }
}

#[test]
fn what_is_no_endpoint_says_why() {
    let port_missing = |text: &str| EndpointError::PortMissing { text: text.into() };
    let port_invalid = |port: &str| EndpointError::PortInvalid { port: port.into() };
    let ambiguous = |text: &str| EndpointError::BracketsMissing { text: text.into() };
    let host_invalid = |host: &str| EndpointError::HostInvalid { host: host.into() };
    let long = "a".repeat(Endpoint::HOST_BYTES_MAX + 1);
    for (text, error) in [
        ("", port_missing("")),
        ("localhost", port_missing("localhost")),
        ("[::1]", port_missing("[::1]")),
        ("localhost:", port_invalid("")),
        ("localhost:mqtt", port_invalid("mqtt")),
        ("localhost:65536", port_invalid("65536")),
        ("localhost:+1", port_invalid("+1")),
        ("localhost:-1", port_invalid("-1")),
        ("::1", ambiguous("::1")),
        ("::1:1883:x:1", ambiguous("::1:1883:x:1")),
        (":1883", host_invalid("")),
        ("[]:1883", host_invalid("[]")),
        ("[localhost]:1883", host_invalid("[localhost]")),
        ("a b:1883", host_invalid("a b")),
        ("a\nb:1883", host_invalid("a\nb")),
        ("user@host:1883", host_invalid("user@host")),
        ("mqtt://host:1883", ambiguous("mqtt://host:1883")),
        (&format!("{long}:1"), host_invalid(&long)),
    ] {
        assert_eq!(text.parse::<Endpoint>(), Err(error), "{text:?}");
    }
}

#[test]
fn an_address_resolves_to_itself() {
    for text in ["192.0.2.7:1883", "[2001:db8::7]:1883"] {
        let endpoint: Endpoint = text.parse().unwrap();
        let expected: SocketAddr = text.parse().unwrap();
        assert_eq!(endpoint.resolve(Duration::ZERO), Ok(vec![expected]));
        assert_eq!(Endpoint::from(expected), endpoint);
    }
}

#[test]
fn localhost_resolves_to_loopback_addresses() {
    let endpoint = Endpoint::new("localhost", 7).unwrap();
    let addresses = endpoint.resolve(Duration::from_secs(60)).unwrap();
    assert!(!addresses.is_empty());
    for address in addresses {
        assert!(address.ip().is_loopback(), "{address}");
        assert_eq!(address.port(), 7);
    }
}

#[test]
fn a_name_that_cannot_exist_is_an_unknown_host() {
    // Two dots in a row: refused by the resolver itself, so no question leaves this machine.
    let endpoint = Endpoint::new("no..such..host", 7).unwrap();
    let error = endpoint.resolve(Duration::from_secs(60)).unwrap_err();
    assert!(
        matches!(&error, TransportError::HostUnknown { host, .. } if &**host == "no..such..host"),
        "{error}"
    );
}

#[test]
fn the_scope_of_a_link_local_address_survives() {
    let address: SocketAddr = "[fe80::1%3]:1883".parse().unwrap();
    let endpoint = Endpoint::from(address);
    assert_eq!(endpoint.to_string(), "[fe80::1%3]:1883");
    assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
}
