//! What TLS tells of the other end.

use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use x509_cert::{
    Certificate,
    der::{Decode as _, oid::db::rfc4519},
    ext::pkix::{
        SubjectAltName,
        name::{DirectoryString, GeneralName},
    },
    name::Name,
};

/// A version of TLS.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// What a TLS handshake told of the other end.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFacts {
    /// The version agreed on.
    pub version: TlsVersion,
    /// The protocol agreed on for the bytes inside (ALPN), if the two ends spoke of one.
    pub protocol: Option<Box<str>>,
    /// The host that the client asked for (SNI). On a client, the host it asked for.
    pub server_name: Option<Box<str>>,
    /// The peer's certificate. On a server, `None` for a client that showed none.
    pub certificate: Option<CertificateFacts>,
    /// The handshake went on from an earlier one, and the certificate was verified then.
    pub is_resumed: bool,
}

/// Whom a verified certificate names.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// The whole subject as a text, as RFC 4514 writes it: `CN=meter-7,O=Example`.
    pub subject: Box<str>,
    /// The common name. `None` when there is none, or more than one, or one that is empty or holds
    /// control characters: it may be used as a name of a user as it is.
    pub common_name: Option<Box<str>>,
    /// The alternative names that are host names.
    pub dns_names: Vec<Box<str>>,
    /// The alternative names that are mail addresses.
    pub emails: Vec<Box<str>>,
    /// The alternative names that are URIs.
    pub uris: Vec<Box<str>>,
}

impl TlsFacts {
    pub(super) fn of(session: &CommonState, server_name: Option<&str>) -> Self {
        let protocol = session.alpn_protocol().map(String::from_utf8_lossy);
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        Self {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
                Some(_) | None => TlsVersion::V1_2,
            },
            protocol: protocol.map(Into::into),
            server_name: server_name.map(Into::into),
            certificate: certificate.and_then(|der| CertificateFacts::read(der)),
            is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

impl CertificateFacts {
    /// Reads a certificate; `None` for one that cannot be read, which names nobody.
    fn read(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let certificate = certificate.tbs_certificate();
        let mut facts = Self {
            subject: certificate.subject().to_string().into(),
            common_name: common_name(certificate.subject()),
            dns_names: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
        };
        if let Ok(Some((_, names))) = certificate.get_extension::<SubjectAltName>() {
            for name in names.0 {
                match name {
                    GeneralName::DnsName(name) => facts.dns_names.push(name.as_str().into()),
                    GeneralName::Rfc822Name(name) => facts.emails.push(name.as_str().into()),
                    GeneralName::UniformResourceIdentifier(uri) => {
                        facts.uris.push(uri.as_str().into());
                    }
                    GeneralName::OtherName(_)
                    | GeneralName::DirectoryName(_)
                    | GeneralName::EdiPartyName(_)
                    | GeneralName::IpAddress(_)
                    | GeneralName::RegisteredId(_) => {}
                }
            }
        }
        Some(facts)
    }
}

fn common_name(subject: &Name) -> Option<Box<str>> {
    let mut names = subject
        .iter()
        .filter(|part| part.oid == rfc4519::COMMON_NAME);
    let (Some(name), None) = (names.next(), names.next()) else {
        return None; // Which of two would be meant?
    };
    let name = name.value.decode_as::<DirectoryString>().ok()?;
    let name = name.value();
    let is_plain = !name.is_empty() && !name.chars().any(char::is_control);
    is_plain.then(|| name.into())
}
