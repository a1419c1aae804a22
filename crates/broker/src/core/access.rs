//! Who may connect, publish and subscribe.

use mqttstack_codec::{Connect, ReasonCode, Shared};

use super::Peer;

/// A CONNECT that asks to be let in.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct ConnectRequest<'a> {
    /// The packet.
    pub connect: &'a Connect<Shared>,
    /// Where it comes from, and what is known of the client by its transport.
    pub peer: &'a Peer,
}

/// The answer to a [`ConnectRequest`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Authentication {
    /// Let in. Sessions are bound to the identity: nobody of another identity takes one over.
    Accept {
        /// Whom the credentials prove; `None` for an anonymous client.
        identity: Option<Box<str>>,
    },
    /// Kept out, with the code for CONNACK.
    Refuse(ReasonCode),
    /// Not known yet: [`Core::resolve`](super::Core::resolve) gives the answer.
    Deferred,
}

/// Decides who may do what.
///
/// The default of every method is to allow.
pub trait Access: Send {
    /// Decides about a CONNECT. Unless overridden, the identity is the name that the client's
    /// certificate proves, if it has one.
    fn authenticate(&mut self, request: &ConnectRequest<'_>) -> Authentication {
        if request.connect.properties.authentication_method().is_some() {
            return Authentication::Refuse(ReasonCode::BadAuthenticationMethod);
        }
        Authentication::Accept {
            identity: request.peer.certified_name().map(Into::into),
        }
    }

    /// Decides whether a client may publish, a will included, to a topic.
    fn may_publish(&mut self, client: &Client<'_>, topic: &str) -> bool {
        let _ = (client, topic);
        true
    }

    /// Decides whether a client may subscribe to a filter, given without `$share/{group}/`.
    fn may_subscribe(&mut self, client: &Client<'_>, filter: &str) -> bool {
        let _ = (client, filter);
        true
    }
}

/// A client that has been let in.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its Client Identifier.
    pub client_id: &'a str,
    /// Whom its credentials proved; `None` for an anonymous client.
    pub identity: Option<&'a str>,
}

/// Lets everybody do everything; names are taken from anyone, and prove nothing, but for those in
/// verified certificates.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Access for AllowAll {}
