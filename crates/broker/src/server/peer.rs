//! What the layers of a transport know of a client, in the words of the core.

use std::sync::Arc;

use mqttstack_transport as transport;

use crate::core::Peer;
#[cfg(feature = "websocket")]
use crate::core::PeerWebSocket;
#[cfg(any(feature = "tls", feature = "proxy"))]
use crate::core::{PeerCertificate, PeerTls};

/// Tells the core what is known by now.
pub(super) fn describe(peer: &transport::Peer, listener: &Arc<str>) -> Arc<Peer> {
    let mut described = Peer::new(peer.address.to_string());
    described.ip = peer.address.ip();
    described.listener = Some(Arc::clone(listener));
    #[cfg(feature = "proxy")]
    if let Some(proxy) = &peer.proxy {
        described.proxy = Some(proxy.proxy.to_string().into());
        described.tls = at_proxy(proxy).map(Box::new);
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = &peer.tls {
        described.tls = Some(Box::new(at_server(tls)));
    }
    #[cfg(feature = "websocket")]
    if let Some(websocket) = &peer.websocket {
        let mut asked = PeerWebSocket::default();
        asked.path.clone_from(&websocket.path);
        asked.origin.clone_from(&websocket.origin);
        described.websocket = Some(Box::new(asked));
    }
    Arc::new(described)
}

/// Says whether a proxy has told for whom it speaks.
#[cfg(feature = "proxy")]
pub(super) const fn is_named_by_proxy(peer: &transport::Peer) -> bool {
    peer.proxy.is_some()
}

/// Says whether a proxy has told for whom it speaks: none can.
#[cfg(not(feature = "proxy"))]
pub(super) const fn is_named_by_proxy(_: &transport::Peer) -> bool {
    false
}

#[cfg(feature = "tls")]
fn at_server(tls: &transport::TlsFacts) -> PeerTls {
    let version = match tls.version {
        transport::TlsVersion::V1_2 => "TLSv1.2",
        transport::TlsVersion::V1_3 => "TLSv1.3",
        // The list is open; a version without a name here has none in the log.
        _ => "TLS",
    };
    let certificate = tls.certificate.as_ref().map(|facts| PeerCertificate {
        subject: Some(facts.subject.clone()),
        common_name: facts.common_name.clone(),
        dns_names: facts.dns_names.clone(),
        emails: facts.emails.clone(),
        uris: facts.uris.clone(),
    });
    PeerTls {
        version: Some(version.into()),
        protocol: tls.protocol.clone(),
        server_name: tls.server_name.clone(),
        certificate,
        ends_at_proxy: false,
    }
}

#[cfg(feature = "proxy")]
fn at_proxy(proxy: &transport::ProxyFacts) -> Option<PeerTls> {
    let tls = proxy.tls.as_ref()?;
    let certificate = tls.is_verified.then(|| PeerCertificate {
        common_name: tls.common_name.clone(),
        ..PeerCertificate::default()
    });
    Some(PeerTls {
        version: tls.version.clone(),
        protocol: proxy.protocol.clone(),
        server_name: proxy.server_name.clone(),
        certificate,
        ends_at_proxy: true,
    })
}
