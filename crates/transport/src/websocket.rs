//! WebSocket (RFC 6455) over any stream: both roles, binary frames, no extensions.

mod decoder;
mod error;
mod mask;
mod opening;
mod output;
mod request;
mod response;
mod stream;

pub use error::WebSocketError;
pub use request::{WebSocketServer, WebSocketServerOptions};
pub use response::{WebSocketClient, WebSocketClientOptions};
pub use stream::WebSocketStream;

/// The subprotocol of MQTT 3.1.1 and 5.0.
pub(crate) const MQTT: &str = "mqtt";
/// The subprotocol that clients of MQTT 3.1 offer by custom.
pub(crate) const MQTT_V31: &str = "mqttv3.1";

/// What the opening of a WebSocket told of the other end, beside its address.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebSocketFacts {
    /// The path and query that the client asked for. Nothing in them was checked beyond the list of
    /// paths, if there is one: X311-6-a.
    pub path: Box<str>,
    /// The web page that the client belongs to, as its browser says. Clients that are no browsers
    /// say nothing, or whatever they like.
    pub origin: Option<Box<str>>,
    /// The subprotocol agreed on.
    pub subprotocol: &'static str,
}

#[cfg(test)]
mod tests;
