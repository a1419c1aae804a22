//! What is known of the other end of a transport, beside what it says in MQTT.

use std::{fmt, net::IpAddr, sync::Arc};

/// The other end of a transport, as its layers have come to know it.
///
/// Shown as its address. Nothing here comes from the client's own word, unless a field says so.
#[non_exhaustive]
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Peer {
    /// Where it is, for people; behind a proxy that says so, where the client is.
    pub address: Box<str>,
    /// The internet address of the same; `None` for other kinds of transport.
    pub ip: Option<IpAddr>,
    /// The listener through which it came, by the name that the listener was given.
    pub listener: Option<Arc<str>>,
    /// The proxy that passed the connection on and named the client.
    pub proxy: Option<Box<str>>,
    /// What it showed when it opened TLS, here or at the proxy.
    pub tls: Option<Box<PeerTls>>,
    /// What it asked for when it opened a WebSocket.
    pub websocket: Option<Box<PeerWebSocket>>,
}

/// What the opening of TLS told of a client.
#[non_exhaustive]
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PeerTls {
    /// The version agreed on, such as `TLSv1.3`.
    pub version: Option<Box<str>>,
    /// The protocol agreed on for the bytes inside (ALPN).
    pub protocol: Option<Box<str>>,
    /// The host that the client asked for (SNI): its own word.
    pub server_name: Option<Box<str>>,
    /// The client's certificate; present only if it was verified.
    pub certificate: Option<PeerCertificate>,
    /// Whether TLS ends at the proxy, which tells of it.
    pub ends_at_proxy: bool,
}

/// Whom a verified certificate names.
#[non_exhaustive]
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PeerCertificate {
    /// The whole subject, as RFC 4514 writes it; `None` if a proxy keeps it to itself.
    pub subject: Option<Box<str>>,
    /// The common name, if there is exactly one that can be used as a name of a user.
    pub common_name: Option<Box<str>>,
    /// The alternative names that are host names.
    pub dns_names: Vec<Box<str>>,
    /// The alternative names that are mail addresses.
    pub emails: Vec<Box<str>>,
    /// The alternative names that are URIs.
    pub uris: Vec<Box<str>>,
}

/// What the opening of a WebSocket told of a client: all of it its own word.
#[non_exhaustive]
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PeerWebSocket {
    /// The path and query that it asked for.
    pub path: Box<str>,
    /// The web page that it belongs to; browsers tell the truth.
    pub origin: Option<Box<str>>,
}

impl Peer {
    /// Creates a peer of which only the address is known.
    #[must_use]
    pub fn new(address: impl Into<Box<str>>) -> Self {
        Self {
            address: address.into(),
            ..Self::default()
        }
    }

    /// Returns the name that a verified certificate proves: its common name, or else the whole
    /// subject.
    #[must_use]
    pub fn certified_name(&self) -> Option<&str> {
        let certificate = self.tls.as_ref()?.certificate.as_ref()?;
        let name = certificate.common_name.as_ref();
        name.or(certificate.subject.as_ref()).map(|name| &**name)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl From<&str> for Peer {
    fn from(address: &str) -> Self {
        Self::new(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_proves_its_common_name_or_its_whole_subject() {
        let certified = |subject: Option<&str>, common_name: Option<&str>| Peer {
            tls: Some(Box::new(PeerTls {
                certificate: Some(PeerCertificate {
                    subject: subject.map(Into::into),
                    common_name: common_name.map(Into::into),
                    ..PeerCertificate::default()
                }),
                ..PeerTls::default()
            })),
            ..Peer::new("192.0.2.7:1")
        };
        for (subject, common_name, name) in [
            (Some("CN=meter,O=x"), Some("meter"), Some("meter")),
            (Some("CN=a,CN=b"), None, Some("CN=a,CN=b")),
            (None, Some("meter"), Some("meter")),
            (None, None, None),
        ] {
            assert_eq!(certified(subject, common_name).certified_name(), name);
        }
        let bare = Peer::from("192.0.2.7:1");
        assert_eq!(bare.certified_name(), None);
        assert_eq!(bare.to_string(), "192.0.2.7:1");
    }
}
