//! Who may connect, publish and subscribe, and who hears of it: what the program around the broker has
//! to say.

use bytes::Bytes;
use mqttstack_codec::{Auth, Connect, QoS, ReasonCode, Shared, Will};
use mqttstack_session::{Message, server::EndCause};

use super::{ConnectionId, Peer, WorkerId};

/// Names a question that may be answered later, to be handed to
/// [`Core::resolve`](super::Core::resolve) with the answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ticket {
    pub(super) worker: WorkerId,
    pub(super) connection: ConnectionId,
    pub(super) number: u32,
}

impl Ticket {
    /// Returns the worker that asks.
    #[must_use]
    pub const fn worker(&self) -> WorkerId {
        self.worker
    }
}

/// A CONNECT that asks to be let in.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct ConnectRequest<'a> {
    /// The packet.
    pub connect: &'a Connect<Shared>,
    /// Where it comes from, and what is known of the client by its transport.
    pub peer: &'a Peer,
    /// For an answer that comes later.
    pub ticket: Ticket,
}

/// A step of a client in an exchange that proves who it is (enhanced authentication, MQTT 5.0): the
/// answer to [`Authentication::Continue`], or, once it is connected, the beginning of another exchange.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct AuthRequest<'a> {
    /// The packet: the Authentication Method, which is that of CONNECT, and the Authentication Data.
    pub auth: &'a Auth<Shared>,
    /// The Client Identifier; empty if the broker is to choose one.
    pub client_id: &'a str,
    /// Whom it has proved to be, if it is connected: it has to stay that.
    pub identity: Option<&'a str>,
    /// Whether it is connected.
    pub is_connected: bool,
    /// What was noted with the last [`Authentication::Continue`] of this exchange; empty at its
    /// beginning.
    pub note: &'a [u8],
    /// Where it comes from, and what is known of the client by its transport.
    pub peer: &'a Peer,
    /// For an answer that comes later.
    pub ticket: Ticket,
}

/// A message that a client wants to publish.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct PublishRequest<'a> {
    /// Who asks.
    pub client: Client<'a>,
    /// The message.
    pub message: &'a Message,
    /// For an answer that comes later.
    pub ticket: Ticket,
}

/// A will that a client wants to leave.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct WillRequest<'a> {
    /// Who asks.
    pub client: Client<'a>,
    /// The will.
    pub will: &'a Will<Shared>,
    /// For an answer that comes later.
    pub ticket: Ticket,
}

/// A subscription that a client wants.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct SubscribeRequest<'a> {
    /// Who asks.
    pub client: Client<'a>,
    /// The filter, without `$share/{group}/`.
    pub filter: &'a str,
    /// The group of a shared subscription.
    pub shared_group: Option<&'a str>,
    /// The QoS that is asked for.
    pub qos: QoS,
    /// For an answer that comes later.
    pub ticket: Ticket,
}

/// The answer to a [`ConnectRequest`] or an [`AuthRequest`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Authentication {
    /// Let in. Sessions are bound to the identity: nobody of another identity takes one over.
    Accept {
        /// Whom the credentials prove; `None` for an anonymous client.
        identity: Option<Box<str>>,
    },
    /// As [`Accept`](Self::Accept), with the last word of an exchange of several steps: the
    /// Authentication Data of CONNACK, or of the AUTH that ends a re-authentication.
    AcceptWith {
        /// Whom the exchange proves.
        identity: Option<Box<str>>,
        /// What the client gets.
        data: Bytes,
    },
    /// The client is to take another step, which comes as an [`AuthRequest`]: for clients that have
    /// named an Authentication Method in CONNECT, and within
    /// [`Limits::connect_timeout`](mqttstack_limits::Limits::connect_timeout).
    Continue {
        /// What it is asked: the Authentication Data of the AUTH that it gets.
        data: Bytes,
        /// What the next step is to know of this one, such as what was asked.
        note: Bytes,
    },
    /// Kept out, with the code for CONNACK, or for DISCONNECT if it is connected.
    Refuse(ReasonCode),
    /// Not known yet: [`Core::resolve`](super::Core::resolve) gives the answer.
    Deferred,
}

/// The answer to a [`PublishRequest`], a [`WillRequest`] or a [`SubscribeRequest`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Authorization {
    /// The client may.
    Allow,
    /// It may not. The reason goes into PUBACK, PUBREC, SUBACK or CONNACK, if it has a place there;
    /// MQTT 3.x clients are told nothing of a message that goes no further.
    Deny(ReasonCode),
    /// Not known yet: [`Core::resolve`](super::Core::resolve) gives the answer.
    Deferred,
}

impl Authorization {
    /// Returns [`Allow`](Self::Allow), or a denial with 0x87 (Not authorized).
    #[must_use]
    pub const fn of(is_allowed: bool) -> Self {
        if is_allowed {
            Self::Allow
        } else {
            Self::Deny(ReasonCode::NotAuthorized)
        }
    }
}

/// An answer that comes later.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// To a [`ConnectRequest`] or an [`AuthRequest`].
    Authentication(Authentication),
    /// To any other request.
    Authorization(Authorization),
}

impl From<Authentication> for Answer {
    fn from(answer: Authentication) -> Self {
        Self::Authentication(answer)
    }
}

impl From<Authorization> for Answer {
    fn from(answer: Authorization) -> Self {
        Self::Authorization(answer)
    }
}

/// Decides who may do what, and hears what happens.
///
/// The default of every method is to allow, or to do nothing. Each worker has its own; the methods
/// are called on its thread, between other work: whatever may wait for a disk or a network answers
/// `Deferred`, and gives its answer when it has one. Until then nothing more of that client is
/// looked at, so that its packets keep their order; the others do not notice. An answer that has not
/// come after [`Limits::decision_timeout`](mqttstack_limits::Limits::decision_timeout) is no.
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

    /// Decides about a further step of an exchange that [`authenticate`](Self::authenticate) has begun
    /// with `Continue`, or that a connected client begins to prove itself anew. A connected client has
    /// to stay who it is. Unless overridden, the client is kept out.
    fn authenticate_step(&mut self, request: &AuthRequest<'_>) -> Authentication {
        let _ = request;
        Authentication::Refuse(ReasonCode::BadAuthenticationMethod)
    }

    /// Decides about a message. Unless overridden, [`may_publish`](Self::may_publish) does.
    fn authorize_publish(&mut self, request: &PublishRequest<'_>) -> Authorization {
        Authorization::of(self.may_publish(&request.client, request.message.topic()))
    }

    /// Decides about a will, when a client connects with one. Unless overridden,
    /// [`may_publish`](Self::may_publish) does.
    fn authorize_will(&mut self, request: &WillRequest<'_>) -> Authorization {
        Authorization::of(self.may_publish(&request.client, &request.will.topic))
    }

    /// Decides about a subscription. Unless overridden, [`may_subscribe`](Self::may_subscribe) does.
    fn authorize_subscribe(&mut self, request: &SubscribeRequest<'_>) -> Authorization {
        Authorization::of(self.may_subscribe(&request.client, request.filter))
    }

    /// Decides at once whether a client may publish to a topic; asked once more of a will when it is
    /// to be published.
    fn may_publish(&mut self, client: &Client<'_>, topic: &str) -> bool {
        let _ = (client, topic);
        true
    }

    /// Decides at once whether a client may subscribe to a filter, given without `$share/{group}/`.
    fn may_subscribe(&mut self, client: &Client<'_>, filter: &str) -> bool {
        let _ = (client, filter);
        true
    }

    /// A client has been let in.
    fn on_connect(&mut self, client: &Client<'_>, peer: &Peer, session_present: bool) {
        let _ = (client, peer, session_present);
    }

    /// The connection of a client that had been let in is over.
    fn on_disconnect(&mut self, client: &Client<'_>, cause: &EndCause) {
        let _ = (client, cause);
    }

    /// A message is about to go to its subscribers: of a client, or its will.
    fn on_publish(&mut self, client: &Client<'_>, message: &Message) {
        let _ = (client, message);
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

impl Access for AllowAll {
    fn authorize_publish(&mut self, _: &PublishRequest<'_>) -> Authorization {
        Authorization::Allow
    }
}
