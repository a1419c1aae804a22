//! What is known of a client's transport, in as little memory as it takes.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::peer::Peer;

/// What is known of the client of a connection.
///
/// Once it has been let in that is seldom wanted, and mostly it is an internet address and a port: a
/// large broker keeps these, and makes the rest anew.
#[derive(Debug)]
pub(super) enum KnownPeer {
    Whole(Arc<Peer>),
    Bare(BarePeer),
}

/// A client of which its address is known, and nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct BarePeer {
    /// An IPv4 address in its IPv6 form.
    ip: [u8; 16],
    is_v4: bool,
    port: u16,
    /// Its place among the names.
    listener: Option<ListenerNumber>,
}

/// The place of a listener's name among those of a worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct ListenerNumber(u16);

/// The names of the listeners that connections of a worker have come to.
#[derive(Debug, Default)]
pub(super) struct ListenerNames(Vec<Arc<str>>);

impl KnownPeer {
    /// Returns what is known.
    pub(super) fn get(&self, listeners: &ListenerNames) -> Arc<Peer> {
        match self {
            Self::Whole(peer) => Arc::clone(peer),
            Self::Bare(bare) => Arc::new(bare.unpack(listeners)),
        }
    }

    /// Keeps what cannot be made anew, and no more.
    pub(super) fn pack(&mut self, listeners: &mut ListenerNames) {
        if let Self::Whole(peer) = self
            && let Some(bare) = BarePeer::of(peer, listeners)
        {
            *self = Self::Bare(bare);
        }
    }
}

impl BarePeer {
    /// Returns the short form of a peer; `None` if that would lose something.
    fn of(peer: &Peer, listeners: &mut ListenerNames) -> Option<Self> {
        let address: SocketAddr = peer.address.parse().ok()?;
        let listener = match &peer.listener {
            Some(name) => Some(listeners.number_of(name)?),
            None => None,
        };
        let bare = Self {
            ip: match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            },
            is_v4: address.is_ipv4(),
            port: address.port(),
            listener,
        };
        (bare.unpack(listeners) == *peer).then_some(bare)
    }

    fn unpack(self, listeners: &ListenerNames) -> Peer {
        let ip = IpAddr::from(self.ip);
        let ip = if self.is_v4 { ip.to_canonical() } else { ip };
        let mut peer = Peer::new(SocketAddr::new(ip, self.port).to_string());
        peer.ip = Some(ip);
        peer.listener = self.listener.and_then(|number| listeners.name_of(number));
        peer
    }
}

impl ListenerNames {
    /// Returns the number of a name; `None` if there are too many.
    fn number_of(&mut self, name: &Arc<str>) -> Option<ListenerNumber> {
        let known = self.0.iter().position(|known| known == name);
        let number = u16::try_from(known.unwrap_or(self.0.len())).ok()?;
        if known.is_none() {
            self.0.push(Arc::clone(name));
        }
        Some(ListenerNumber(number))
    }

    fn name_of(&self, number: ListenerNumber) -> Option<Arc<str>> {
        self.0.get(usize::from(number.0)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::PeerTls;

    #[test]
    fn what_is_packed_comes_back_as_it_was() {
        let mut listeners = ListenerNames::default();
        let at = |address: &str, ip: Option<&str>| {
            let mut peer = Peer::new(address);
            peer.ip = ip.map(|ip| ip.parse().expect("an address"));
            peer.listener = Some(Arc::from("front"));
            peer
        };
        let secured = {
            let mut peer = at("192.0.2.7:1883", Some("192.0.2.7"));
            peer.tls = Some(Box::new(PeerTls::default()));
            peer
        };
        for (peer, is_packed) in [
            (at("192.0.2.7:1883", Some("192.0.2.7")), true),
            (at("[2001:db8::7]:1", Some("2001:db8::7")), true),
            (at("[::ffff:192.0.2.7]:1", Some("::ffff:192.0.2.7")), true),
            // The scope would be lost.
            (at("[fe80::1%3]:1883", Some("fe80::1")), false),
            (at("192.0.2.7:1883", None), false),
            (at("/run/mqtt.sock", None), false),
            (secured, false),
        ] {
            let mut known = KnownPeer::Whole(Arc::new(peer.clone()));
            known.pack(&mut listeners);
            assert_eq!(matches!(known, KnownPeer::Bare(_)), is_packed, "{peer}");
            assert_eq!(*known.get(&listeners), peer);
        }
        assert_eq!(listeners.0.len(), 1);
        assert!(size_of::<KnownPeer>() <= 24);
    }
}
